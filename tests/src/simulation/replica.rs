//! A replica: its flights, its gates, its clock, what it has in memory and what survives a crash.
//!
//! Never touches the store or the provider itself. Invariant: a crash leaves the spill files and nothing else. Next: `drive`.

use std::collections::BTreeMap;

use token_broker::clock::Time;
use token_broker::domain::refresh::admit::Spend;
use token_broker::domain::refresh::flight::{Event, Flight};
use token_broker::domain::refresh::gate::{Breaker, Bucket};
use token_broker::domain::refresh::{Demand, Ledger};
use token_broker::domain::refusal::Refused;

use super::plan::Plan;
use super::transact::Bounty;

/// Somebody who wants a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// When it asked, in true time.
    pub(super) since: i64,
    /// It may ask for a refresh; once.
    pub(super) may_demand: bool,
}

/// A refresh under way.
#[derive(Debug)]
pub(super) struct Aloft {
    pub(super) id: u64,
    pub(super) flight: Flight,
    pub(super) demand: Demand,
    pub(super) passengers: Vec<Caller>,
    /// There is room for one call that was not made yet.
    pub(super) room: bool,
    /// When it began last, in true time.
    pub(super) begun_at: i64,
    pub(super) spend: Option<Spend>,
    pub(super) token: usize,
    pub(super) attempt: u64,
    pub(super) ledger: Option<Box<Ledger>>,
    pub(super) bounty: Option<Bounty>,
    pub(super) refused: Option<Refused>,
    pub(super) spilled: bool,
}

/// What comes with an event.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    Nothing,
    Begun { attempt: u64, token: usize, ledger: Box<Ledger> },
    Bounty(Box<Bounty>),
    Refused(Box<Refused>),
}

/// Something that reaches a replica.
#[derive(Clone, Debug)]
pub(super) enum Mail {
    Flight {
        account: usize,
        id: u64,
        event: Event,
        payload: Payload,
    },
    /// The first spill file was stored, or not.
    Replayed(bool),
    /// The next step of a start, after one that failed.
    StartOn,
    /// The replica's own past is put in order, or not.
    TakenOver(bool),
    /// There was no token for this caller.
    Lacks {
        account: usize,
        caller: Caller,
        newer_than: Option<i64>,
    },
}

/// How far a replica has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Down,
    Starting,
    Running,
    Stopping,
}

/// One replica.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) life: u32,
    pub(super) phase: Phase,
    pub(super) paused_until: i64,
    /// Cut off from the store until then.
    pub(super) cut_until: i64,
    /// Its clock, against the true time.
    pub(super) skew: i64,
    pub(super) flights: BTreeMap<usize, Aloft>,
    pub(super) spill: Vec<(usize, Bounty)>,
    pub(super) buckets: Vec<Bucket>,
    pub(super) breakers: Vec<Breaker>,
    /// The last pauses: when each began and ended, in true time.
    pub(super) pauses: Vec<(i64, i64)>,
}

impl Replica {
    pub(super) fn of(plan: &Plan, now: Time) -> Self {
        let mut replica = Self {
            life: 1,
            phase: Phase::Running,
            paused_until: 0,
            cut_until: 0,
            skew: 0,
            flights: BTreeMap::new(),
            spill: Vec::new(),
            buckets: Vec::new(),
            breakers: Vec::new(),
            pauses: Vec::new(),
        };
        replica.fresh_gates(plan, now);
        replica
    }

    /// As a new process has them.
    pub(super) fn fresh_gates(&mut self, plan: &Plan, now: Time) {
        self.buckets = plan.apps.iter().map(|app| Bucket::new(app.rate, now)).collect();
        self.breakers = vec![Breaker::default(); plan.apps.len()];
    }

    /// How long it stood still since `from`, in milliseconds.
    pub(super) fn stood_still(&self, from: i64, now: i64) -> i64 {
        let during = |(start, end): &(i64, i64)| (*end).min(now) - (*start).max(from);
        self.pauses.iter().map(during).filter(|span| *span > 0).sum()
    }
}
