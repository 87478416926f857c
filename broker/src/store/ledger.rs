//! What a refresh is decided on, in as few questions as it can be: beside the account and its grants, how its turn stands with
//! its app's gate, and what it holds with what is in doubt.
//!
//! Never decides. Invariant: read within one transaction these fit together, because writers take turns. Next:
//! `service/refresh_begin` makes the domain's ledger of them.

use super::engine::{Conn, all, maybe, statements};
use super::error::Result;
use super::refreshes::{GateRow, StateRow};
use super::row::{row, time};
use crate::clock::Time;
use crate::domain::ids::{AccountId, AppId, AttemptId};
use crate::domain::refresh::{AppGate, Bearer, Doubt, RefreshState};

row!(TurnRow, turn_columns {
    account: Option<Vec<u8>>, due_at: Option<i64>, lease_owner: Option<String>, lease_fence: Option<i64>,
    lease_until: Option<i64>, failures: Option<i64>, not_before: Option<i64>, refreshed_at: Option<i64>,
    tried_at: Option<i64>, class: Option<String>, code: Option<String>, id: Vec<u8>, disabled: i64, health: String,
    retry_at: i64, refusals: i64,
});

statements! {
    TURN = concat!("select ", turn_columns!(), " from apps left join refreshes on account = $1 where id = $2");
    HOLDINGS = "select audience, generation, issued_at, expires_at, used_at, rejected from access_tokens where account = $1
        union all select '', generation, started_at, cast(-1 as bigint), cast(null as bigint), cast(0 as bigint)
            from refresh_attempts where account = $1 and outcome in ('', 'lost') and id <> $2
        order by 1, 2, 3 limit 1100";
}

/// No token ends then: the row is a doubt.
const DOUBT: i64 = -1;

impl Conn {
    /// How the refresh of an account stands and whether its app may be used; `None` for an account that never had a turn, and
    /// for an app that is gone.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if the row cannot be understood; else as every read.
    pub async fn turn(
        &mut self,
        account: AccountId,
        app: AppId,
    ) -> Result<(Option<RefreshState>, Option<AppGate>)> {
        let (account, app) = (account.bytes().to_vec(), app.bytes().to_vec());
        let Some(row) = maybe!(self, TURN => TurnRow; account; app)? else {
            return Ok((None, None));
        };
        let (state, gate) = row.split();
        let state = match state {
            Some(state) => Some(self.read_state(state).await?),
            None => None,
        };
        Ok((state, Some(gate.gate()?)))
    }

    /// The access tokens of an account, by audience, and the generations that were sent without an answer, but for the attempt
    /// `except`.
    ///
    /// # Errors
    /// As every read.
    pub async fn holdings(
        &mut self,
        account: AccountId,
        except: Option<AttemptId>,
    ) -> Result<(Vec<Bearer>, Vec<Doubt>)> {
        type Row = (String, i64, i64, i64, Option<i64>, i64);
        let except = except.map_or([0; 16], AttemptId::bytes).to_vec();
        let rows = all!(self, HOLDINGS => Row; account.bytes().to_vec(); except)?;
        let (mut bearers, mut doubts) = (Vec::new(), Vec::new());
        for (audience, generation, at, expires_at, used_at, rejected) in rows {
            let at = Time::from_millis(at);
            if audience.is_empty() && expires_at == DOUBT {
                doubts.push(Doubt { generation, since: at });
                continue;
            }
            bearers.push(Bearer {
                audience,
                generation,
                issued_at: at,
                expires_at: Time::from_millis(expires_at),
                used_at: time(used_at),
                rejected: rejected == 1,
            });
        }
        Ok((bearers, doubts))
    }
}

impl TurnRow {
    fn split(self) -> (Option<StateRow>, GateRow) {
        let Self { id, disabled, health, retry_at, refusals, .. } = self;
        let gate = GateRow { id, disabled, health, retry_at, refusals };
        let state = || {
            Some(StateRow {
                account: self.account?,
                due_at: self.due_at,
                lease_owner: self.lease_owner?,
                lease_fence: self.lease_fence?,
                lease_until: self.lease_until?,
                failures: self.failures?,
                not_before: self.not_before?,
                refreshed_at: self.refreshed_at,
                tried_at: self.tried_at,
                class: self.class?,
                code: self.code?,
            })
        };
        (state(), gate)
    }
}
