use std::collections::{BTreeMap, HashMap};

use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

/// The names of a path, or of a module within its crate.
pub(crate) type Path = Vec<String>;

/// The modules of a crate, and what each name in them stands for.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) files: Vec<File>,
    modules: HashMap<Path, Module>,
}

/// A file that was read, and the module that it is.
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) module: Path,
    pub(crate) content: syn::File,
}

#[derive(Default)]
struct Module {
    names: BTreeMap<String, Vec<Meaning>>,
    /// Of which all names are imported.
    globs: Vec<Path>,
}

enum Meaning {
    /// Something that is defined in this file.
    Item(String),
    Module,
    /// Whatever a `use` leads to.
    Use(Path),
}

pub(crate) enum Target {
    File(String),
    Module(Path),
}

/// A name that a `use` brings in, and where it leads. Without a name, all that is there are brought in.
pub(crate) struct Leaf {
    pub(crate) path: Path,
    pub(crate) line: usize,
    pub(crate) name: Option<String>,
}

/// Of a `use` that leads to another and so on. What leads to itself ends here.
const MAX_STEPS: usize = 16;

impl Names {
    /// Of the crate that begins with the file `root`. `read` gives what is in a file that is there.
    pub(crate) fn of(root: &str, read: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut names = Self::default();
        let source = read(root).unwrap_or_else(|| panic!("there is no {root}"));
        names.add_file(root.to_owned(), "", &source, Vec::new(), read);
        names
    }

    fn add_file(
        &mut self,
        name: String,
        folder: &str,
        source: &str,
        module: Path,
        read: &dyn Fn(&str) -> Option<String>,
    ) {
        let content = syn::parse_file(source).unwrap_or_else(|error| panic!("{name}: {error}"));
        self.add_items(&content.items, &name, folder, &module, read);
        self.files.push(File { name, module, content });
    }

    fn add_items(
        &mut self,
        items: &[Item],
        file: &str,
        folder: &str,
        module: &Path,
        read: &dyn Fn(&str) -> Option<String>,
    ) {
        self.modules.entry(module.clone()).or_default();
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            match item {
                Item::Mod(item) => self.add_module(item, file, folder, module, read),
                Item::Use(item) => self.add_use(item, module),
                Item::Macro(item) if has(&item.attrs, "macro_export") => {
                    let name = item.ident.as_ref().expect("only a definition is exported").to_string();
                    self.add_name(&Vec::new(), name, Meaning::Item(file.to_owned()));
                }
                _ => {
                    if let Some(name) = name_of(item) {
                        self.add_name(module, name, Meaning::Item(file.to_owned()));
                    }
                }
            }
        }
    }

    fn add_module(
        &mut self,
        item: &ItemMod,
        file: &str,
        folder: &str,
        parent: &Path,
        read: &dyn Fn(&str) -> Option<String>,
    ) {
        assert!(!has(&item.attrs, "path"), "{file}: where a module with a #[path] lies is not known here");
        let name = item.ident.to_string();
        let module: Path = parent.iter().cloned().chain([name.clone()]).collect();
        let below = format!("{folder}{name}/");
        self.add_name(parent, name.clone(), Meaning::Module);
        if let Some((_, items)) = &item.content {
            self.add_items(items, file, &below, &module, read);
            return;
        }
        let places = [format!("{folder}{name}.rs"), format!("{below}mod.rs")];
        let (place, source) = places
            .into_iter()
            .find_map(|place| read(&place).map(|source| (place, source)))
            .unwrap_or_else(|| panic!("{file}: there is no file of `mod {name};`"));
        self.add_file(place, &below, &source, module, read);
    }

    fn add_use(&mut self, item: &ItemUse, module: &Path) {
        for leaf in leaves(item) {
            match leaf.name {
                Some(name) => self.add_name(module, name, Meaning::Use(leaf.path)),
                None => self.modules.entry(module.clone()).or_default().globs.push(leaf.path),
            }
        }
    }

    fn add_name(&mut self, module: &Path, name: String, meaning: Meaning) {
        self.modules.entry(module.clone()).or_default().names.entry(name).or_default().push(meaning);
    }

    /// What a path leads to that is written in a module. Nothing if that is of another crate.
    pub(crate) fn resolve(&self, module: &Path, path: &[String]) -> Vec<Target> {
        self.follow(module, path, MAX_STEPS)
    }

    fn follow(&self, module: &Path, path: &[String], steps: usize) -> Vec<Target> {
        let Some(steps) = steps.checked_sub(1) else { return Vec::new() };
        match path {
            [] => vec![Target::Module(module.clone())],
            [name, rest @ ..] if name == "crate" => self.follow(&Vec::new(), rest, steps),
            [name, rest @ ..] if name == "self" => self.follow(module, rest, steps),
            [name, rest @ ..] if name == "super" => match module.split_last() {
                Some((_, parent)) => self.follow(&parent.to_vec(), rest, steps),
                None => Vec::new(),
            },
            [name, rest @ ..] => {
                let mut targets = self.look_up(module, name, steps);
                // Only a module has something below it that is defined elsewhere.
                if !rest.is_empty() && targets.iter().any(|target| matches!(target, Target::Module(_))) {
                    targets.retain(|target| matches!(target, Target::Module(_)));
                }
                let below = |target| match target {
                    Target::Module(module) => self.follow(&module, rest, steps),
                    Target::File(_) => vec![target],
                };
                targets.into_iter().flat_map(below).collect()
            }
        }
    }

    fn look_up(&self, module: &Path, name: &str, steps: usize) -> Vec<Target> {
        let Some(known) = self.modules.get(module) else { return Vec::new() };
        if let Some(meanings) = known.names.get(name) {
            return meanings.iter().flat_map(|meaning| self.mean(module, name, meaning, steps)).collect();
        }
        let Some(steps) = steps.checked_sub(1) else { return Vec::new() };
        let globs = known.globs.iter().flat_map(|glob| self.follow(module, glob, steps));
        globs
            .flat_map(|target| match target {
                Target::Module(module) => self.look_up(&module, name, steps),
                // The variants of an enum, of which the `use` itself is counted.
                Target::File(_) => Vec::new(),
            })
            .collect()
    }

    fn mean(&self, module: &Path, name: &str, meaning: &Meaning, steps: usize) -> Vec<Target> {
        match meaning {
            Meaning::Item(file) => vec![Target::File(file.clone())],
            Meaning::Module => {
                vec![Target::Module(module.iter().cloned().chain([name.to_owned()]).collect())]
            }
            Meaning::Use(path) => self.follow(module, path, steps),
        }
    }
}

/// Passes names on that are defined elsewhere.
pub(crate) fn is_re_export(item: &ItemUse) -> bool {
    !matches!(item.vis, Visibility::Inherited)
}

pub(crate) fn leaves(item: &ItemUse) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    if item.leading_colon.is_none() {
        gather(&item.tree, Vec::new(), &mut leaves);
    }
    leaves
}

fn gather(tree: &UseTree, mut path: Path, leaves: &mut Vec<Leaf>) {
    let (imported, name, place) = match tree {
        UseTree::Path(tree) => {
            path.push(tree.ident.to_string());
            return gather(&tree.tree, path, leaves);
        }
        UseTree::Group(tree) => {
            return tree.items.iter().for_each(|tree| gather(tree, path.clone(), leaves));
        }
        UseTree::Name(tree) => (Some(&tree.ident), Some(&tree.ident), tree.ident.span()),
        UseTree::Rename(tree) => (Some(&tree.ident), Some(&tree.rename), tree.ident.span()),
        UseTree::Glob(tree) => (None, None, tree.star_token.span),
    };
    path.extend(imported.filter(|name| *name != "self").map(ToString::to_string));
    let name = match name {
        Some(name) if name == "self" => path.last().cloned(),
        name => name.map(ToString::to_string),
    };
    leaves.push(Leaf { path, line: place.start().line, name });
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]`, and `any(test, …)` too, for that is no part of what others build either.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = match &attribute.meta {
            syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string(),
            _ => return false,
        };
        let words: Vec<_> = condition.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        words.contains(&"test") && !words.contains(&"not")
    })
}

fn has(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident(name))
}
