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
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        writeln!(list, "    {},", Entry { root: &root, file, hash: hash(file)? })?;
    }
    list.push(']');
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("assets.rs"), list)?;
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

fn hash(file: &Path) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    hasher.write(&fs::read(file)?);
    Ok(hasher.finish())
}

struct Entry<'a> {
    root: &'a Path,
    file: &'a Path,
    hash: u64,
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relative = self.file.strip_prefix(self.root).unwrap_or(self.file);
        let path = relative.to_string_lossy().replace('\\', "/");
        let etag = format!("W/\"{:016x}\"", self.hash);
        write!(f, "Asset {{ path: {path:?}, etag: {etag:?}, bytes: include_bytes!({:?}) }}", self.file)
    }
}
