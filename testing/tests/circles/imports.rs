use std::collections::HashSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, Visibility,
    visit::{self, Visit},
};

use crate::names::{self, File, Names, Path, Target};

/// A place where a file names what another defines.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) line: usize,
    /// As it is written, and whole where a `use` has it in parts.
    pub(crate) path: String,
}

impl Import {
    fn is_like(&self, other: &Self) -> bool {
        (&self.from, &self.to, &self.path) == (&other.from, &other.to, &other.path)
    }

    /// With the folder that its files lie in.
    pub(crate) fn within(mut self, folder: &str) -> Self {
        self.from = format!("{folder}/{}", self.from);
        self.to = format!("{folder}/{}", self.to);
        self
    }
}

/// All of a crate.
pub(crate) fn imports(names: &Names) -> Vec<Import> {
    let of_file = |file| {
        let mut reader = Reader {
            names,
            file,
            module: file.module.clone(),
            imports: Vec::new(),
            imported: HashSet::new(),
        };
        reader.visit_file(&file.content);
        reader.imports
    };
    names.files.iter().flat_map(of_file).collect()
}

struct Reader<'a> {
    names: &'a Names,
    file: &'a File,
    /// That what is read stands in.
    module: Path,
    imports: Vec<Import>,
    /// Names that a `use` in a module brought in, which say nothing new where they are used.
    imported: HashSet<(Path, String)>,
}

impl Reader<'_> {
    /// Returns whether the path leads to what a file defines.
    fn note(&mut self, path: &[String], line: usize) -> bool {
        let mut is_defined = false;
        for target in self.names.resolve(&self.module, path) {
            // A module by itself is only a way to what is in it.
            let Target::File(to) = target else { continue };
            is_defined = true;
            let import = Import { from: self.file.name.clone(), to, line, path: path.join("::") };
            if import.to != import.from && !self.imports.iter().any(|known| known.is_like(&import)) {
                self.imports.push(import);
            }
        }
        is_defined
    }

    fn note_use(&mut self, item: &ItemUse) {
        for leaf in names::leaves(item) {
            let is_defined = self.note(&leaf.path, leaf.line);
            if let (true, Some(name)) = (is_defined, leaf.name) {
                self.imported.insert((self.module.clone(), name));
            }
        }
    }

    fn note_path(&mut self, path: &syn::Path) {
        let names: Path = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let Some(first) = path.segments.first().filter(|_| path.leading_colon.is_none()) else { return };
        if !self.imported.contains(&(self.module.clone(), first.ident.to_string())) {
            self.note(&names, first.ident.span().start().line);
        }
    }

    /// What a macro is given is no Rust before it is expanded, but paths in it are written as everywhere.
    fn read_tokens(&mut self, tokens: TokenStream) {
        let mut path: Path = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.note_of_macro(&path, line);
                        path.clear();
                        line = name.span().start().line;
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                token => {
                    self.note_of_macro(&path, line);
                    path.clear();
                    colons = 0;
                    if let TokenTree::Group(group) = token {
                        self.read_tokens(group.stream());
                    }
                }
            }
        }
        self.note_of_macro(&path, line);
    }

    /// A name alone may be a field or a variable, and what it was imported by is counted.
    fn note_of_macro(&mut self, path: &[String], line: usize) {
        if path.len() > 1 {
            self.note(path, line);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !names::is_for_tests(names::attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes: &[Attribute] = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            _ => &[],
        };
        if !names::is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !names::is_re_export(item) {
            self.note_use(item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.note_path(path);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        visit::visit_macro(self, item);
        self.read_tokens(item.tokens.clone());
    }

    // The modules that may see something are not what it is made of.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}
