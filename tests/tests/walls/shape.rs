//! How long and how deep: files, functions, nesting, and the sentence that opens a file.
//!
//! Never counts tests into a file's length. Invariant: the limits are constants here and the same for every crate.
//! Next: `text`, for what no file may hold.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::finding::Finding;
use crate::rust;

/// Most lines of a file, its `#[cfg(test)]` items not counted.
pub(crate) const FILE_LINES: usize = 400;
/// Most lines of a function's body.
pub(crate) const FUNCTION_LINES: usize = 60;
/// Most control structures (`if`, `match`, `for`, `while`, `loop`, closures with a block) inside each other.
const DEPTH: usize = 5;

/// Everything that is too long in one file; the length of a file of tests is free.
pub(crate) fn check(path: &str, text: &str, file: &syn::File, test: bool) -> Vec<Finding> {
    let mut findings = check_parts(path, text, file);
    let lines = text.lines().count().saturating_sub(rust::test_lines(file));
    if lines > FILE_LINES && !test {
        let told = format!(
            "{lines} lines without tests, at most {FILE_LINES}. Find the second thought in it and give it a file of its own"
        );
        findings.push(Finding::new(path, 1, told));
    }
    findings
}

fn check_parts(path: &str, text: &str, file: &syn::File) -> Vec<Finding> {
    let mut functions = Functions { path, findings: Vec::new(), name: String::new(), depth: 0 };
    if !text.starts_with("//!") {
        let told = "does not open with `//!`. Say what the file is for, what it never does, its invariant, what to read next";
        functions.findings.push(Finding::new(path, 1, told));
    }
    functions.visit_file(file);
    functions.findings
}

struct Functions<'a> {
    path: &'a str,
    findings: Vec<Finding>,
    name: String,
    depth: usize,
}

impl Functions<'_> {
    fn function(&mut self, name: &syn::Ident, block: &syn::Block) {
        let (from, to) = (block.brace_token.span.open(), block.brace_token.span.close());
        let lines = to.end().line - from.start().line + 1;
        if lines > FUNCTION_LINES {
            let told =
                format!("{name}() has {lines} lines, at most {FUNCTION_LINES}. Name its steps");
            self.findings.push(Finding::new(self.path, name.span().start().line, told));
        }
        let around = (std::mem::replace(&mut self.name, name.to_string()), self.depth);
        self.depth = 0;
        visit::visit_block(self, block);
        (self.name, self.depth) = around;
    }

    fn deeper(&mut self, line: usize, visit: impl FnOnce(&mut Self)) {
        self.depth += 1;
        if self.depth == DEPTH + 1 {
            let told = format!(
                "{}() is more than {DEPTH} deep. Return early, or name the inner part",
                self.name
            );
            self.findings.push(Finding::new(self.path, line, told));
        }
        visit(self);
        self.depth -= 1;
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig.ident, block);
        }
    }

    fn visit_expr_if(&mut self, branch: &'ast syn::ExprIf) {
        self.deeper(branch.span().start().line, |this| {
            this.visit_expr(&branch.cond);
            this.visit_block(&branch.then_branch);
        });
        match &branch.else_branch {
            // `else if` is a further arm, not a deeper one.
            Some((_, other)) if matches!(**other, syn::Expr::If(_)) => self.visit_expr(other),
            Some((_, other)) => {
                self.deeper(other.span().start().line, |this| this.visit_expr(other));
            }
            None => {}
        }
    }

    fn visit_expr_match(&mut self, branch: &'ast syn::ExprMatch) {
        self.deeper(branch.span().start().line, |this| visit::visit_expr_match(this, branch));
    }

    fn visit_expr_for_loop(&mut self, branch: &'ast syn::ExprForLoop) {
        self.deeper(branch.span().start().line, |this| visit::visit_expr_for_loop(this, branch));
    }

    fn visit_expr_while(&mut self, branch: &'ast syn::ExprWhile) {
        self.deeper(branch.span().start().line, |this| visit::visit_expr_while(this, branch));
    }

    fn visit_expr_loop(&mut self, branch: &'ast syn::ExprLoop) {
        self.deeper(branch.span().start().line, |this| visit::visit_expr_loop(this, branch));
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        match &*closure.body {
            syn::Expr::Block(block) => {
                self.deeper(closure.span().start().line, |this| this.visit_expr_block(block));
            }
            body => self.visit_expr(body),
        }
    }
}
