//! Measures the product against what the machine can do without it, in one run.
//!
//! Absolute numbers mean little on a shared machine: each figure stands beside its baseline, taken minutes apart with the same
//! load generator, and the load of the machine is printed too. Nothing is asserted. Next: [`calls`], [`refresh`],
//! [`schedule`], [`relay`], [`revoke`], [`guess`], [`keys`], [`build`].

mod apart;
mod attack;
mod build;
mod calls;
mod database;
mod guess;
mod keys;
mod load;
mod machine;
mod prober;
mod progress;
mod refresh;
mod relay;
pub mod revoke;
mod schedule;
mod table;

use anyhow::Result;
use serde_json::{Value, json};

use crate::world::Engine;

pub use attack::attack;
pub use calls::serve_echo;
pub use prober::probe;
pub use table::table;

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Tokens handed out a second.
    Calls,
    /// Refreshes a second.
    Refresh,
    /// Finding who is due among very many accounts, and the weight of a broker with them.
    Schedule,
    /// Mail fetched through the adapter.
    Relay,
    /// How long relayed sessions outlive their credential.
    Revoke,
    /// Honest logins beside fifty adapters that guess.
    Guess,
    /// Changing the keys under very many sealed rows, while calls are made.
    Keys,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Only these; all if empty.
    pub only: Vec<Part>,
    /// Accounts that are kept fresh.
    pub accounts: usize,
    /// Accounts that one who is due is found among, at most; and rows that are sealed anew.
    pub rows: usize,
    /// Seconds of each measurement of calls and of refreshes.
    pub seconds: u64,
    /// Seconds of honest logins, without guesses and again beside them.
    pub guess_seconds: u64,
    /// Megabytes in the mailbox that is fetched.
    pub megabytes: usize,
    /// Sessions whose credential is revoked.
    pub sessions: usize,
    /// Whether to fetch from a real Dovecot too.
    pub real: bool,
    /// Whether to build the workspace, cold and warm; takes minutes.
    pub build: bool,
}

/// Measures; one object with all figures.
///
/// # Errors
/// Something does not come up.
pub async fn measure(plan: Plan) -> Result<Value> {
    let before = machine::load();
    let wants = |part| plan.only.is_empty() || plan.only.contains(&part);
    let mut figures =
        json!({ "profile": if cfg!(debug_assertions) { "debug" } else { "release" } });
    if wants(Part::Calls) {
        figures["calls"] = Box::pin(calls::measure(plan.seconds)).await?;
    }
    if wants(Part::Refresh) {
        for engine in Engine::each()? {
            let seen = Box::pin(refresh::measure(engine, plan.accounts, plan.seconds)).await?;
            figures["refresh"][key(engine)] = seen;
        }
    }
    if wants(Part::Schedule) {
        let sizes: Vec<usize> =
            SIZES.into_iter().filter(|size| *size < plan.rows).chain([plan.rows]).collect();
        for engine in Engine::each()? {
            figures["schedule"][key(engine)] = Box::pin(schedule::measure(engine, &sizes)).await?;
        }
    }
    if wants(Part::Relay) {
        let mut relay = Box::pin(relay::measure(plan.megabytes)).await?;
        if plan.real {
            relay["dovecot"] = Box::pin(relay::measure_on_dovecot(plan.megabytes)).await?;
        }
        figures["imap_fetch"] = relay;
    }
    if wants(Part::Revoke) {
        for engine in Engine::each()? {
            let seen = Box::pin(revoke::measure(engine, plan.sessions)).await?;
            figures["revoke"][key(engine)] = seen;
        }
    }
    if wants(Part::Guess) {
        for engine in Engine::each()? {
            let seen = Box::pin(guess::measure(engine, plan.guess_seconds)).await?;
            figures["guess"][key(engine)] = seen;
        }
    }
    if wants(Part::Keys) {
        for engine in Engine::each()? {
            figures["keys"][key(engine)] = Box::pin(keys::measure(engine, plan.rows)).await?;
        }
    }
    if plan.build {
        figures["build"] = build::measure().await?;
    }
    figures["machine"] = json!({
        "cores": machine::cores(), "load_before": before, "load_after": machine::load(),
    });
    Ok(figures)
}

/// Numbers of accounts to look among, below the largest.
const SIZES: [usize; 2] = [1_000, 100_000];

/// An engine as the figures have it.
fn key(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "sqlite",
        Engine::Postgres => "postgres",
    }
}

/// An engine for people.
fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    }
}
