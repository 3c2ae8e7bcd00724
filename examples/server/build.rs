//! Lists the files of `web/` for `src/page.rs`, so that a new file of the page can't be forgotten.

use std::{
    env, fmt,
    fmt::Write as _,
    fs,
    hash::{DefaultHasher, Hasher as _},
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=web");
    match write_list() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error=The files of the page can't be listed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_list() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("web");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        let path = file.strip_prefix(&root)?;
        copy(file, &out.join("web").join(path))?;
        writeln!(list, "    {},", Entry { path, hash: hash(file)? })?;
    }
    list.push(']');
    fs::write(out.join("assets.rs"), list)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Beside the list: a target directory that several clones share is used by one when another is gone.
fn copy(file: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(file, to).map(drop)
}

fn hash(file: &Path) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    hasher.write(&fs::read(file)?);
    Ok(hasher.finish())
}

struct Entry<'a> {
    path: &'a Path,
    hash: u64,
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.to_string_lossy().replace('\\', "/");
        let etag = format!("W/\"{:016x}\"", self.hash);
        let bytes = format!("web/{path}");
        write!(f, "Asset {{ path: {path:?}, etag: {etag:?}, bytes: include_bytes!({bytes:?}) }}")
    }
}
