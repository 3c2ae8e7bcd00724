use std::collections::{BTreeMap, BTreeSet};

use crate::imports::Import;

/// Files of which each imports each other, if only through others of them.
#[derive(Debug)]
pub(crate) struct Circle {
    pub(crate) files: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
}

impl Circle {
    pub(crate) fn has(&self, file: &str) -> bool {
        self.files.contains(file)
    }

    pub(crate) fn is_within(&self, files: &[&str]) -> bool {
        self.files.iter().all(|file| files.contains(&file.as_str()))
    }
}

/// The strongly connected components of more than one file.
pub(crate) fn circles(imports: &[Import]) -> Vec<Circle> {
    let mut direct: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for import in imports {
        direct.entry(&import.from).or_default().insert(&import.to);
    }
    let all: BTreeMap<&str, BTreeSet<&str>> =
        direct.keys().map(|&file| (file, reached(file, &direct))).collect();
    let reaches = |from: &str, to: &str| all.get(from).is_some_and(|reached| reached.contains(to));
    let components: BTreeSet<BTreeSet<String>> = all
        .iter()
        .map(|(file, reached)| {
            reached.iter().filter(|to| reaches(to, file)).map(|&to| to.to_owned()).collect()
        })
        .filter(|files: &BTreeSet<_>| files.len() > 1)
        .collect();
    let between = |files: &BTreeSet<String>| {
        imports
            .iter()
            .filter(|import| files.contains(&import.from) && files.contains(&import.to))
            .cloned()
            .collect()
    };
    components.into_iter().map(|files| Circle { imports: between(&files), files }).collect()
}

/// All that a file imports, and what these import, and so on.
fn reached<'a>(file: &'a str, direct: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        for &next in direct.get(file).into_iter().flatten() {
            if reached.insert(next) {
                open.push(next);
            }
        }
    }
    reached
}
