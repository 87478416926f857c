//! How the refreshes of an account are shown.

use serde::Serialize;
use token_broker_client::v1;

use super::{some, word};
use crate::output::Screen;
use crate::when::{iso, seconds};

/// How the refreshes of an account go.
#[derive(Serialize)]
pub(super) struct RefreshView {
    due_time: Option<String>,
    not_before_time: Option<String>,
    failures: u32,
    /// `needs_consent`, `needs_interaction`, `blocked_by_policy`, `app_broken`, `throttled`, `transient`, `ambiguous`, or null
    /// after a success.
    class: Option<String>,
    code: Option<String>,
    attempt_time: Option<String>,
    in_doubt: bool,
    in_doubt_since_time: Option<String>,
    lease_owner: Option<String>,
    lease_remaining_seconds: Option<f64>,
    /// `none`, `replace`, `grace`, `strict`.
    rotation: Option<String>,
    grant_end_time: Option<String>,
    warm: bool,
    generations: Vec<GenerationView>,
    attempts: Vec<AttemptView>,
}

#[derive(Serialize)]
struct GenerationView {
    generation: i64,
    parent: i64,
    receive_time: Option<String>,
    proven: bool,
    refusals: u32,
    carried: bool,
    end_time: Option<String>,
    in_doubt: bool,
}

#[derive(Serialize)]
struct AttemptView {
    start_time: Option<String>,
    end_time: Option<String>,
    audience: String,
    generation: i64,
    /// A class, `lost`, `unwanted`, or null while it runs.
    outcome: Option<String>,
    code: Option<String>,
    owner: String,
}

impl From<v1::RefreshState> for RefreshView {
    fn from(state: v1::RefreshState) -> Self {
        Self {
            rotation: word(state.rotation().as_str_name(), "ROTATION_"),
            due_time: iso(state.due_time),
            not_before_time: iso(state.not_before_time),
            failures: state.failures,
            class: some(state.class),
            code: some(state.code),
            attempt_time: iso(state.attempt_time),
            in_doubt: state.in_doubt,
            in_doubt_since_time: iso(state.in_doubt_since_time),
            lease_owner: some(state.lease_owner),
            lease_remaining_seconds: state.lease_remaining.map(seconds),
            grant_end_time: iso(state.grant_end_time),
            warm: state.warm,
            generations: state.generations.into_iter().map(Into::into).collect(),
            attempts: state.attempts.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::GrantGeneration> for GenerationView {
    fn from(of: v1::GrantGeneration) -> Self {
        Self {
            generation: of.generation,
            parent: of.parent,
            receive_time: iso(of.receive_time),
            proven: of.proven,
            refusals: of.refusals,
            carried: of.carried,
            end_time: iso(of.end_time),
            in_doubt: of.in_doubt,
        }
    }
}

impl From<v1::RefreshAttempt> for AttemptView {
    fn from(of: v1::RefreshAttempt) -> Self {
        Self {
            start_time: iso(of.start_time),
            end_time: iso(of.end_time),
            audience: of.audience,
            generation: of.generation,
            outcome: some(of.outcome),
            code: some(of.code),
            owner: of.owner,
        }
    }
}

impl RefreshView {
    /// The lines of the account's record.
    pub(super) fn lines(&self, screen: &Screen) -> Vec<(&'static str, String)> {
        let warm = if self.warm { "warm: its token is asked for" } else { "cold: nobody asks" };
        let failed = [&self.class, &self.code].into_iter().flatten().cloned().collect::<Vec<_>>();
        let failures = match self.failures {
            0 => failed.join(": "),
            times => format!("{times} in a row; {}", failed.join(": ")),
        };
        let lease = self.lease_owner.as_ref().map(|owner| {
            let left = self.lease_remaining_seconds.unwrap_or_default().ceil();
            format!("{owner}, for {left} s more at most")
        });
        let doubt = screen.time(&self.in_doubt_since_time);
        let doubt = if self.in_doubt { format!("since {doubt}") } else { String::new() };
        vec![
            ("Use", warm.to_owned()),
            ("Next refresh", screen.time(&self.due_time)),
            ("Not before", screen.time(&self.not_before_time)),
            ("Failures", failures),
            ("Last try", screen.time(&self.attempt_time)),
            ("In doubt", doubt),
            ("Refreshing now", lease.unwrap_or_default()),
            ("Rotation", self.rotation.clone().unwrap_or_default()),
            ("Grant ends", screen.time(&self.grant_end_time)),
        ]
    }

    /// Generations and attempts, each as a table with its title.
    pub(super) fn tables(&self, screen: &Screen) -> String {
        let generations = self.generations.iter().map(|it| it.row(screen)).collect();
        let heading = ["GENERATION", "FROM", "CAME", "ENDS", "NOTES"];
        let generations = screen.table(&heading, generations, "No generation.");
        let attempts = self.attempts.iter().map(|it| it.row(screen)).collect();
        let heading = ["BEGAN", "ENDED", "FOR", "GENERATION", "OUTCOME", "CODE", "BROKER"];
        let attempts = screen.table(&heading, attempts, "No attempt failed lately.");
        format!(
            "Refresh tokens, newest first:\n{generations}\n\nTries that did not work or run still:\n{attempts}"
        )
    }
}

impl GenerationView {
    fn row(&self, screen: &Screen) -> Vec<String> {
        let from = match self.parent {
            0 => "consent".to_owned(),
            parent => parent.to_string(),
        };
        let refused = match self.refusals {
            0 => None,
            1 => Some("refused once".to_owned()),
            times => Some(format!("refused {times} times")),
        };
        let notes = [
            self.in_doubt.then(|| "sent without an answer".to_owned()),
            refused,
            self.carried.then(|| "same token as before".to_owned()),
            self.proven.then(|| "has worked".to_owned()),
        ];
        vec![
            self.generation.to_string(),
            from,
            screen.time(&self.receive_time),
            screen.time(&self.end_time),
            notes.into_iter().flatten().collect::<Vec<_>>().join(", "),
        ]
    }
}

impl AttemptView {
    fn row(&self, screen: &Screen) -> Vec<String> {
        vec![
            screen.time(&self.start_time),
            screen.time(&self.end_time),
            self.audience.clone(),
            self.generation.to_string(),
            self.outcome.clone().unwrap_or_else(|| "under way".to_owned()),
            self.code.clone().unwrap_or_default(),
            self.owner.clone(),
        ]
    }
}
