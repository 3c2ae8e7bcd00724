//! No file of a crate imports one that imports it back, on no way round: what is read later may know what was read
//! before, and each file can be understood, tested and moved without those that use it.
//!
//! A file imports another where it names something that is defined there, in a `use` or in a path. What re-exports a
//! name is passed over: only who defines it is imported. `mod x;` imports nothing, and what is built for tests alone
//! is left out.
//!
//! The circles of another tree, without the list of those that are allowed here:
//! `MESSENGER_CIRCLES_TREE=../other cargo test --package messenger-testing --test circles`

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod allowed;
mod circles;
mod imports;
mod names;
#[cfg(test)]
mod tests;

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use allowed::{ALLOWED, Allowed};
use circles::{Circle, circles};
use names::Names;

#[test]
fn no_file_imports_one_that_imports_it_back() {
    let (tree, allowed) = match env::var_os("MESSENGER_CIRCLES_TREE") {
        Some(tree) => (PathBuf::from(tree), &[][..]),
        None => (Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), ALLOWED),
    };
    let found: Vec<_> = roots(&tree).iter().flat_map(|root| circles_of(&tree, root)).collect();
    let problems = problems(&found, allowed);
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// Circles that nothing allows, and what is allowed without need.
fn problems(found: &[Circle], allowed: &[Allowed]) -> Vec<String> {
    let forbidden = found
        .iter()
        .filter(|circle| !allowed.iter().any(|allowed| circle.is_within(allowed.files)))
        .map(Circle::to_string);
    let needless = allowed.iter().flat_map(|allowed| {
        let idle =
            |file: &&&str| !found.iter().any(|circle| circle.is_within(allowed.files) && circle.has(file));
        allowed.files.iter().filter(idle).map(|file| {
            format!("{file} is in no circle that tests/circles/allowed.rs allows it (\"{}\")", allowed.reason)
        })
    });
    forbidden.chain(needless).collect()
}

/// The file that a crate begins with, as a path within the tree.
struct Root {
    folder: PathBuf,
    file: String,
}

/// Those of every crate of the tree: of its library and of each of its programs.
fn roots(tree: &Path) -> Vec<Root> {
    let mut roots = Vec::new();
    for folder in [tree.to_owned(), tree.join("examples")].iter().flat_map(|folder| folders(folder)) {
        let src = folder.join("src");
        let begin = ["lib.rs", "main.rs"].map(|file| src.join(file)).into_iter().filter(|file| file.exists());
        for file in begin.chain(files(&src.join("bin"))) {
            let file = file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
            roots.push(Root { folder: src.strip_prefix(tree).unwrap().to_owned(), file });
        }
    }
    assert!(!roots.is_empty(), "there is no crate in {}", tree.display());
    roots
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|entry| entry.join("Cargo.toml").exists()).collect()
}

/// What is in a folder, in order; nothing if it is none.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn circles_of(tree: &Path, root: &Root) -> Vec<Circle> {
    let prefix = root.folder.to_str().unwrap().replace('\\', "/");
    let names = Names::of(&root.file, &|file| fs::read_to_string(tree.join(&root.folder).join(file)).ok());
    let imports: Vec<_> = imports::imports(&names).into_iter().map(|import| import.within(&prefix)).collect();
    circles(&imports)
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} files import each other:", self.files.len())?;
        for file in &self.files {
            writeln!(f, "  {file}")?;
            for import in self.imports.iter().filter(|import| import.from == *file) {
                writeln!(f, "    {}: {} is in {}", import.line, import.path, import.to)?;
            }
        }
        Ok(())
    }
}
