//! Prints: tables that fit the terminal for people, one JSON object for scripts.
//!
//! Never lets what came from outside steer the terminal. Invariant: data to stdout, notes to stderr; colour only on a
//! terminal and not with `NO_COLOR`. Next: `views` say what is printed.

use std::io::{self, Write};
use std::time::SystemTime;

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;
use crate::when;

/// Something that can be shown: to scripts as it serialises, to people as it draws itself.
pub(crate) trait View: Serialize {
    /// For people, without a line break at the end.
    fn draw(&self, screen: &Screen) -> String;
}

/// Where to and how.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    screen: Screen,
}

impl Output {
    /// For this process's stdout.
    pub(crate) fn new(json: bool) -> Self {
        let term = Term::stdout();
        let colour = term.is_term() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let width = term.is_term().then(|| term.size().1);
        Self { json, screen: Screen { colour, width, now: when::now() } }
    }

    /// Whether scripts read.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints the answer.
    pub(crate) fn show(&self, view: &impl View) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string_pretty(view).map_err(|error| Failure::Output(error.into()))?
        } else {
            view.draw(&self.screen)
        };
        self.line(&text)
    }

    /// Prints one line of data.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(Failure::Output)
    }

    /// Says something beside the data, for people and for who reads the log.
    pub(crate) fn note(&self, text: &str) {
        // A tool without stderr still does its work.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// A bar on stderr, for people at a terminal.
    pub(crate) fn bar(&self, what: &str, total: u64) -> ProgressBar {
        if self.json {
            return ProgressBar::hidden();
        }
        let template = format!("{{wide_bar}} {{human_pos}} of {{human_len}} {what}, {{eta}}");
        let bar = ProgressBar::new(total);
        match ProgressStyle::with_template(&template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }

    /// Says what to do next; scripts know.
    pub(crate) fn hint(&self, text: &str) {
        if !self.json {
            self.note(text);
        }
    }
}

/// What drawing depends on.
#[derive(Debug)]
pub(crate) struct Screen {
    colour: bool,
    width: Option<u16>,
    now: SystemTime,
}

impl Screen {
    /// A table with a heading.
    pub(crate) fn table(&self, heading: &[&str], rows: Vec<Vec<String>>, none: &str) -> String {
        if rows.is_empty() {
            return none.to_owned();
        }
        let mut table = self.empty();
        table.set_header(heading.iter().map(|text| self.faint(text)));
        for row in rows {
            table.add_row(row.iter().map(|text| self.cell(text)));
        }
        table.trim_fmt()
    }

    /// One thing, a line for each of its parts; empty parts are left out.
    pub(crate) fn record(&self, parts: &[(&str, String)]) -> String {
        let mut table = self.empty();
        for (label, value) in parts.iter().filter(|(_, value)| !value.is_empty()) {
            table.add_row([self.faint(label), self.cell(value)]);
        }
        table.trim_fmt()
    }

    /// How far away a time is; empty if there is none.
    pub(crate) fn time(&self, at: &Option<String>) -> String {
        at.as_ref().map_or_else(String::new, |at| when::relative(Some(at), self.now))
    }

    fn empty(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if let Some(width) = self.width {
            table.set_width(width);
        }
        table
    }

    fn faint(&self, text: &str) -> Cell {
        Cell::new(text).fg(Color::DarkGrey)
    }

    fn cell(&self, text: &str) -> Cell {
        let cell = Cell::new(if text.is_empty() { "-".into() } else { plain(text) });
        match text {
            "active" | "ok" | "granted" | "finished" | "available" => cell.fg(Color::Green),
            "rejected" | "revoked" | "failed" | "refused" | "blocked_by_policy" | "error" => {
                cell.fg(Color::Red)
            }
            "needs_consent" | "needs_interaction" | "pending" | "open" | "disabled" | "expired"
            | "rotating" | "warning" => cell.fg(Color::Yellow),
            _ => cell,
        }
    }
}

/// `text` with everything that could steer a terminal made visible. Line breaks stay.
pub(crate) fn plain(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(width: Option<u16>) -> Screen {
        Screen { colour: false, width, now: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn what_came_from_outside_cannot_steer_the_terminal() {
        let drawn = screen(None).record(&[("Message", "a\u{1b}[2Jb\u{7}\u{202e}c".into())]);
        assert!(
            !drawn.contains('\u{1b}') && !drawn.contains('\u{7}') && !drawn.contains('\u{202e}')
        );
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let rows = vec![vec!["x".repeat(60), "y z ".repeat(40)]];
        let drawn = screen(Some(50)).table(&["A", "B"], rows, "none");
        assert!(drawn.lines().all(|line| line.chars().count() <= 50), "{drawn}");
        assert_eq!(screen(None).table(&["A"], vec![], "no apps yet"), "no apps yet");
    }

    #[test]
    fn without_colour_there_is_no_escape() {
        let drawn = screen(None).table(&["STATE"], vec![vec!["active".into()]], "");
        assert!(!drawn.contains('\u{1b}'), "{drawn:?}");
        let colourful = Screen { colour: true, ..screen(None) };
        assert!(colourful.table(&["STATE"], vec![vec!["active".into()]], "").contains('\u{1b}'));
    }
}
