//! What the refresh knows of an account: the lease, the failures, when it is due.
//!
//! Never grants anything and never decides. Invariants: a lease is taken and judged by the database's clock, so brokers whose
//! clocks differ agree on it; its fence only rises; finding who is due is one look into an index, however many accounts there
//! are. Next: `ledger.rs` reads it for a decision, `attempts.rs` keeps what was tried.

use std::time::Duration;

use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::error::{Error, Result};
use super::row::{Cells, millis, row, time};
use crate::clock::Time;
use crate::domain::ids::{AccountId, AppId};
use crate::domain::refresh::{AppGate, Lease, RefreshState};

row!(StateRow, state_columns {
    account: Vec<u8>, due_at: Option<i64>, lease_owner: String, lease_fence: i64, lease_until: i64, failures: i64,
    not_before: i64, refreshed_at: Option<i64>, tried_at: Option<i64>, class: String, code: String,
});

row!(GateRow, gate_columns {
    id: Vec<u8>, disabled: i64, health: String, retry_at: i64, refusals: i64,
});

statements! {
    STATE = concat!("select ", state_columns!(), " from refreshes where account = $1");
    BEGIN_TURN = "insert into refreshes (account, app, due_at, refreshed_at) values ($1, $2, $3, $4)
        on conflict (account) do update set app = excluded.app, due_at = excluded.due_at,
            refreshed_at = excluded.refreshed_at, failures = 0, not_before = 0, class = '', code = ''";
    TAKE_LEASE = "insert into refreshes (account, app, due_at, lease_owner, lease_fence, lease_until, tried_at)
        values ($1, $2, $3, $4, 1, $5, $6)
        on conflict (account) do update set due_at = excluded.due_at, lease_owner = excluded.lease_owner,
            lease_fence = refreshes.lease_fence + 1, lease_until = excluded.lease_until,
            tried_at = excluded.tried_at
        returning lease_fence";
    END_TURN = "update refreshes set failures = $2, not_before = $3, due_at = $4, class = $5, code = $6,
            refreshed_at = coalesce($7, refreshed_at),
            lease_until = case when lease_owner = $8 and lease_fence = $9 then 0 else lease_until end
        where account = $1";
    SET_DUE = "update refreshes set due_at = $2 where account = $1";
    FREE_LEASE = "update refreshes set lease_until = 0 where account = $1 and lease_owner = $2";
    DUE = "select account, due_at from refreshes where app = $1 and due_at <= $2 order by due_at limit $3";
    DUE_COUNT = "select count(*) from (select 1 from refreshes where app = $1 and due_at <= $2 limit 10000) as due";
    SET_RIGHT = "update refreshes set due_at = $2 where app = $1 and due_at > $3";
    GATE = concat!("select ", gate_columns!(), " from apps where id = $1");
    GATES = concat!("select ", gate_columns!(), " from apps order by id limit 10000");
    SET_GATE = "update apps set retry_at = $2, refusals = $3 where id = $1";
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnEnd {
    /// Failures in a row.
    pub failures: u32,
    /// Before then nobody but an operator tries.
    pub not_before: Time,
    /// When the account is due next.
    pub due_at: Option<Time>,
    /// A class of refusal; empty after a success.
    pub class: String,
    /// The provider's code.
    pub code: String,
    /// When it worked, if it did.
    pub refreshed_at: Option<Time>,
}

impl Conn {
    /// How the refresh of an account stands. `None` for an account that never had a turn.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the row cannot be understood; else as every read.
    pub async fn refresh_state(&mut self, account: AccountId) -> Result<Option<RefreshState>> {
        let Some(row) = maybe!(self, STATE => StateRow; account.bytes().to_vec())? else {
            return Ok(None);
        };
        self.read_state(row).await.map(Some)
    }

    /// What is left of a lease is known by the database's clock alone.
    pub(super) async fn read_state(&mut self, row: StateRow) -> Result<RefreshState> {
        let left = if row.lease_until == 0 {
            Duration::ZERO
        } else {
            self.database_now().await?.until(Time::from_millis(row.lease_until))
        };
        row.read(left)
    }

    /// Accounts of an app that are due at `now`, the longest due first.
    ///
    /// # Errors
    /// As [`refresh_state`](Self::refresh_state).
    pub async fn due(
        &mut self,
        app: AppId,
        now: Time,
        limit: i64,
    ) -> Result<Vec<(AccountId, Time)>> {
        let rows = all!(self, DUE => (Vec<u8>, i64); app.bytes().to_vec(); now.millis(); limit)?;
        let read = |(id, due): (Vec<u8>, i64)| {
            let id = Cells::of("refreshes", &id).id("account", &id, AccountId::from_bytes)?;
            Ok((id, Time::from_millis(due)))
        };
        rows.into_iter().map(read).collect()
    }

    /// How many accounts of an app are due, counted up to 10,000.
    ///
    /// # Errors
    /// As every read.
    pub async fn due_count(&mut self, app: AppId, now: Time) -> Result<i64> {
        let row = maybe!(self, DUE_COUNT => (i64,); app.bytes().to_vec(); now.millis())?;
        Ok(row.map_or(0, |(count,)| count))
    }

    /// Whether an app may be used. `None` if it is gone.
    ///
    /// # Errors
    /// As [`refresh_state`](Self::refresh_state).
    pub async fn app_gate(&mut self, app: AppId) -> Result<Option<AppGate>> {
        let row = maybe!(self, GATE => GateRow; app.bytes().to_vec())?;
        row.map(|row| row.gate()).transpose()
    }

    /// The first 10,000 apps that are not switched off, and whether they may be used.
    ///
    /// # Errors
    /// As [`refresh_state`](Self::refresh_state).
    pub async fn app_gates(&mut self) -> Result<Vec<(AppId, AppGate)>> {
        let rows = all!(self, GATES => GateRow)?;
        let gates = rows.into_iter().map(GateRow::read).collect::<Result<Vec<_>>>()?;
        Ok(gates.into_iter().filter(|(_, on, _)| *on).map(|(id, _, gate)| (id, gate)).collect())
    }
}

impl Tx {
    /// A consent gave the account a grant: whatever failed before is forgotten.
    ///
    /// # Errors
    /// [`Error::Dangling`] without its account.
    pub async fn begin_turns(
        &mut self,
        (account, app): (AccountId, AppId),
        refreshed_at: Time,
        due_at: Option<Time>,
    ) -> Result<()> {
        run!(self, BEGIN_TURN; account.bytes().to_vec(); app.bytes().to_vec(); millis(due_at);
            refreshed_at.millis())
        .map(drop)
    }

    /// Takes the lease, whoever had it: the caller has seen in this transaction that nobody has. Gives its fence. Until it
    /// ends the account counts as not due.
    ///
    /// # Errors
    /// [`Error::Dangling`] without its account.
    pub async fn take_lease(
        &mut self,
        (account, app): (AccountId, AppId),
        owner: &str,
        length: Duration,
        now: Time,
    ) -> Result<i64> {
        let until = self.database_now().await?.after(length);
        let due_at = now.after(length);
        let row = maybe!(self, TAKE_LEASE => (i64,); account.bytes().to_vec(); app.bytes().to_vec();
            due_at.millis(); owner; until.millis(); now.millis())?;
        row.map(|(fence,)| fence).ok_or(Error::Dangling { what: "refreshes".into() })
    }

    /// Writes down how a turn ended, and gives the lease back if it is still this one.
    ///
    /// # Errors
    /// As every write.
    pub async fn end_turn(
        &mut self,
        account: AccountId,
        (owner, fence): (&str, i64),
        end: &TurnEnd,
    ) -> Result<()> {
        run!(self, END_TURN; account.bytes().to_vec(); i64::from(end.failures); end.not_before.millis();
            millis(end.due_at); end.class.as_str(); end.code.as_str(); millis(end.refreshed_at); owner; fence)
        .map(drop)
    }

    /// Says when the account is due next; `None`: only on demand.
    ///
    /// # Errors
    /// As every write.
    pub async fn set_due(&mut self, account: AccountId, due_at: Option<Time>) -> Result<()> {
        run!(self, SET_DUE; account.bytes().to_vec(); millis(due_at)).map(drop)
    }

    /// Makes due what is due so far in the future that only a wrong clock can have said so. Says how many there were.
    ///
    /// # Errors
    /// As every write.
    pub async fn set_right(&mut self, app: AppId, (now, far): (Time, Time)) -> Result<u64> {
        run!(self, SET_RIGHT; app.bytes().to_vec(); now.millis(); far.millis())
    }

    /// Gives back the lease of a broker that is no more.
    ///
    /// # Errors
    /// As every write.
    pub async fn free_lease(&mut self, account: AccountId, owner: &str) -> Result<()> {
        run!(self, FREE_LEASE; account.bytes().to_vec(); owner).map(drop)
    }

    /// Opens or shuts an app for refreshes; what people see of its health is set apart.
    ///
    /// # Errors
    /// As every write.
    pub async fn set_app_gate(&mut self, app: AppId, gate: AppGate) -> Result<()> {
        let (retry_at, refusals) = match gate {
            AppGate::Open => (0, 0),
            AppGate::Throttled { until } => (until.millis(), 0),
            AppGate::Rejected { until, refusals } => (until.millis(), i64::from(refusals)),
        };
        run!(self, SET_GATE; app.bytes().to_vec(); retry_at; refusals).map(drop)
    }
}

impl StateRow {
    fn read(self, left: Duration) -> Result<RefreshState> {
        let at = Cells::of("refreshes", &self.account);
        Ok(RefreshState {
            due_at: time(self.due_at),
            lease: Lease { owner: self.lease_owner, fence: self.lease_fence, left },
            failures: at.number("failures", self.failures)?,
            not_before: Time::from_millis(self.not_before),
            refreshed_at: time(self.refreshed_at),
            tried_at: time(self.tried_at),
            class: self.class,
            code: self.code,
        })
    }
}

impl GateRow {
    /// The gate alone.
    pub(super) fn gate(self) -> Result<AppGate> {
        self.read().map(|(_, _, gate)| gate)
    }

    /// Row, whether it is on, gate.
    fn read(self) -> Result<(AppId, bool, AppGate)> {
        let at = Cells::of("apps", &self.id);
        let until = Time::from_millis(self.retry_at);
        let refusals = at.number("refusals", self.refusals)?;
        let gate = match (self.health.as_str(), self.retry_at) {
            ("rejected", _) => AppGate::Rejected { until, refusals },
            (_, 0) => AppGate::Open,
            _ => AppGate::Throttled { until },
        };
        Ok((at.id("id", &self.id, AppId::from_bytes)?, self.disabled == 0, gate))
    }
}
