//! What a Rust file names: every path of it, with its line, wherever it stands.
//!
//! Never resolves types; `use x as y` is seen at the `use`. Invariant: what is under `#[cfg(test)]` is not reported.
//! Next: `arrows` judges the paths.

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A path such as `crate::store::Store`, and the line it stands on.
pub(crate) struct Named {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    /// How many inline modules (`mod x { .. }`) are around it; each takes one `super`.
    pub(crate) inside: usize,
}

/// Every path of two or more words, and what `use` names.
pub(crate) fn names(file: &syn::File) -> Vec<Named> {
    let mut names = Names { found: Vec::new(), inside: 0 };
    names.visit_file(file);
    names.found
}

/// Whether an item is there only in tests.
pub(crate) fn only_in_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

/// Where the modules are that `path` declares with `#[cfg(test)] mod x;`, or with `mod x;` if it is itself a test: files, and
/// folders ending in `/`.
pub(crate) fn test_modules(path: &str, file: &syn::File, test: bool) -> Vec<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.trim_end_matches(".rs");
    let under = match stem {
        "main" | "lib" | "mod" => folder.to_owned(),
        _ => format!("{folder}/{stem}"),
    };
    let mut found = Vec::new();
    for item in &file.items {
        let syn::Item::Mod(module) = item else { continue };
        if module.content.is_none() && (test || only_in_tests(&module.attrs)) {
            let written = module.attrs.iter().find_map(path_attribute);
            let base = match written {
                Some(written) => format!("{folder}/{}", written.trim_end_matches(".rs")),
                None => format!("{under}/{}", module.ident),
            };
            found.extend([format!("{base}.rs"), format!("{base}/")]);
        }
    }
    found
}

fn path_attribute(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    match &pair.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. })
            if pair.path.is_ident("path") =>
        {
            Some(text.value())
        }
        _ => None,
    }
}

struct Names {
    found: Vec<Named>,
    inside: usize,
}

impl Names {
    fn add(&mut self, path: Vec<String>, line: usize) {
        self.found.push(Named { path, line, inside: self.inside });
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |word: &syn::Ident| [before, &[word.to_string()]].concat();
        match tree {
            syn::UseTree::Path(step) => self.tree(&with(&step.ident), &step.tree),
            syn::UseTree::Name(name) => self.add(with(&name.ident), name.span().start().line),
            syn::UseTree::Rename(name) => self.add(with(&name.ident), name.span().start().line),
            syn::UseTree::Glob(glob) => self.add(before.to_vec(), glob.span().start().line),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.tree(before, item));
            }
        }
    }

    /// Paths inside a macro's arguments, which are not parsed.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if colons != 2 {
                        self.end(&mut path, line);
                        line = word.span().start().line;
                    }
                    path.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.end(&mut path, line);
                    self.tokens(group.stream());
                }
                _ => {
                    self.end(&mut path, line);
                    colons = 0;
                }
            }
        }
        self.end(&mut path, line);
    }

    fn end(&mut self, path: &mut Vec<String>, line: usize) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.add(path, line);
        }
    }

    /// `crate::room` in a doc comment is a link, and a link is a name.
    fn doc(&mut self, text: &str, line: usize) {
        for rest in text.split("crate::").skip(1) {
            let word: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            self.add(vec!["crate".to_owned(), word], line);
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !only_in_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !only_in_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.inside += 1;
        visit::visit_item_mod(self, module);
        self.inside -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
        item.attrs.iter().for_each(|attribute| self.visit_attribute(attribute));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if words.len() > 1 {
            self.add(words, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        match &attribute.meta {
            syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => {
                if let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value {
                    self.doc(&text.value(), attribute.span().start().line);
                }
            }
            syn::Meta::List(list) => {
                self.visit_path(&list.path);
                self.tokens(list.tokens.clone());
            }
            meta => visit::visit_meta(self, meta),
        }
    }
}

/// The attributes of any item.
fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::ExternCrate(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Lines of items that are there only in tests.
pub(crate) fn test_lines(file: &syn::File) -> usize {
    let tests = file.items.iter().filter(|item| only_in_tests(attributes(item)));
    tests.map(|item| item.span().end().line - item.span().start().line + 1).sum()
}
