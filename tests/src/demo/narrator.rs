//! Tells the audience what happens.
//!
//! Plain lines that read the same in a log; colours only on a terminal and not with `NO_COLOR`. It decides nothing.

use std::io::{IsTerminal, Write, stdout};

const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const FAINT: &str = "\u{1b}[2m";
const BOLD: &str = "\u{1b}[1m";
const PLAIN: &str = "\u{1b}[0m";

/// Speaks on stdout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Narrator {
    colour: bool,
}

impl Default for Narrator {
    fn default() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: stdout().is_terminal() && !unwanted }
    }
}

impl Narrator {
    /// Says something.
    pub(super) fn say(self, text: &str) {
        // An audience that has left does not stop the play.
        drop(writeln!(stdout().lock(), "{text}").and_then(|()| stdout().lock().flush()));
    }

    /// Announces a step.
    pub(super) fn announce(self, step: usize, of: usize, name: &str, what: &str) {
        let head = format!("{step}/{of} {name}");
        self.say(&format!("\n{}: {what}", self.painted(BOLD, &head)));
    }

    /// Shows a command as one would type it.
    pub(super) fn command(self, text: &str) {
        self.say(&format!("    {}", self.painted(FAINT, &format!("$ {text}"))));
    }

    /// Tells what was seen.
    pub(super) fn seen(self, text: &str) {
        self.say(&format!("    {}", text.trim_end().replace('\n', "\n    ")));
    }

    /// Says that a step went well.
    pub(super) fn ok(self, step: usize, of: usize, name: &str) {
        self.say(&format!("{step}/{of} {name} ... {}", self.painted(GREEN, "ok")));
    }

    /// Says that it did not.
    pub(super) fn failed(self, step: usize, of: usize, name: &str) {
        self.say(&format!("{step}/{of} {name} ... {}", self.painted(RED, "FAILED")));
    }

    /// Says why the play ends early.
    pub(super) fn error(self, text: &str) {
        self.say(&format!("\n{}", self.painted(RED, text)));
    }

    fn painted(self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }
}
