//! The keys as they are shown.

use serde::Serialize;
use token_broker_client::v1;

use super::{some, word};
use crate::output::{Screen, View};
use crate::when::iso;

/// How the keys stand.
#[derive(Serialize)]
pub(crate) struct KeysView {
    key_encryption_key: String,
    next_key_encryption_key: Option<String>,
    active_term: u32,
    terms: Vec<TermView>,
    reseal: Option<ResealView>,
    refused_rows: Vec<RefusedView>,
}

/// A term.
#[derive(Serialize)]
pub(crate) struct TermView {
    term: u32,
    state: Option<String>,
    uses: Vec<UseView>,
    needs: Vec<String>,
}

/// How much of a kind is under a term.
#[derive(Serialize)]
struct UseView {
    kind: String,
    count: i64,
    resealable: bool,
}

/// A re-seal.
#[derive(Serialize)]
struct ResealView {
    state: Option<String>,
    term: u32,
    replica: Option<String>,
    start_time: Option<String>,
    end_time: Option<String>,
    total: i64,
    done: i64,
    refused: i64,
    refused_rows: Vec<RefusedView>,
}

/// A row that was changed behind the broker's back, or is damaged.
#[derive(Serialize)]
pub(crate) struct RefusedView {
    table: String,
    column: String,
    id: String,
}

impl RefusedView {
    /// In one line.
    pub(crate) fn words(&self) -> String {
        format!("{}.{} of {}", self.table, self.column, self.id)
    }
}

impl From<v1::KeyStatus> for KeysView {
    fn from(of: v1::KeyStatus) -> Self {
        Self {
            key_encryption_key: of.key_encryption_key,
            next_key_encryption_key: some(of.next_key_encryption_key),
            active_term: of.active_term,
            terms: of.terms.into_iter().map(Into::into).collect(),
            reseal: of.reseal.map(Into::into),
            refused_rows: of.refused_rows.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::KeyTerm> for TermView {
    fn from(of: v1::KeyTerm) -> Self {
        let state = word(of.state().as_str_name(), "KEY_TERM_STATE_");
        let uses = of.uses.into_iter().map(|one| UseView {
            kind: one.kind,
            count: one.count,
            resealable: one.resealable,
        });
        Self { term: of.term, state, uses: uses.collect(), needs: of.needs }
    }
}

impl From<v1::Reseal> for ResealView {
    fn from(of: v1::Reseal) -> Self {
        Self {
            state: word(of.state().as_str_name(), "RESEAL_STATE_"),
            term: of.term,
            replica: some(of.replica),
            start_time: iso(of.start_time),
            end_time: iso(of.end_time),
            total: of.total,
            done: of.done,
            refused: of.refused,
            refused_rows: of.refused_rows.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::RefusedRow> for RefusedView {
    fn from(of: v1::RefusedRow) -> Self {
        Self { table: of.table, column: of.column, id: of.id }
    }
}

impl TermView {
    /// In one line.
    pub(crate) fn words(&self) -> String {
        format!("{} {}", self.term, self.state.as_deref().unwrap_or("unknown"))
    }

    fn row(&self) -> Vec<String> {
        let of = |moves: bool| -> i64 {
            self.uses.iter().filter(|one| one.resealable == moves).map(|one| one.count).sum()
        };
        let state = self.state.clone().unwrap_or_default();
        vec![self.term.to_string(), state, of(true).to_string(), of(false).to_string()]
    }
}

impl ResealView {
    fn words(&self, screen: &Screen) -> String {
        let refused = match self.refused {
            0 => String::new(),
            count => format!(", {count} refused"),
        };
        let when = match &self.end_time {
            Some(_) => format!("done {}", screen.time(&self.end_time)),
            None => format!("running since {}", screen.time(&self.start_time)),
        };
        format!("to term {}: {} of {} moved{refused}; {when}", self.term, self.done, self.total)
    }
}

impl View for KeysView {
    fn draw(&self, screen: &Screen) -> String {
        let refused = |rows: &[RefusedView]| {
            rows.iter().map(RefusedView::words).collect::<Vec<_>>().join("\n")
        };
        let needs = self
            .terms
            .iter()
            .flat_map(|term| term.needs.iter().map(|need| format!("term {}: {need}", term.term)));
        let reseal = self.reseal.as_ref();
        let head = screen.record(&[
            ("Keyring sealed by", self.key_encryption_key.clone()),
            ("Next key", self.next_key_encryption_key.clone().unwrap_or_else(|| "none".into())),
            ("Re-seal", reseal.map(|it| it.words(screen)).unwrap_or_default()),
            ("Not moved", reseal.map(|it| refused(&it.refused_rows)).unwrap_or_default()),
            ("Damaged rows", refused(&self.refused_rows)),
            ("Still needed", needs.collect::<Vec<_>>().join("\n")),
        ]);
        let rows = self.terms.iter().map(TermView::row).collect();
        let terms = screen.table(&["TERM", "STATE", "VALUES", "HASHES"], rows, "no terms");
        format!("{head}\n\n{terms}")
    }
}
