//! The end: all faults are over, everything had its time, each account was refreshed once more. What is lost now is lost.
//!
//! Never forgives silently. Invariant: a refresh token that died although nobody took it back is excused only by what
//! happened between the provider's commit and ours, and only if the account says so.

use token_broker::domain::account::Standing;
use token_broker::domain::app::Rotation;

use super::judge::Kind;
use super::plan::GRACE;
use super::store::Row;
use super::world::World;

/// A replica that is back so long after the beginning of a grace can still use it.
const IN_TIME: i64 = 8_000;

impl World {
    /// After the time to settle, before anybody helps: who is asked for has a token.
    pub(super) fn judge_stuck(&mut self) {
        for account in 0..self.plan.accounts.len() {
            let row = &self.store.rows[account];
            let lately = row.tokens.iter().filter_map(|it| it.0.used_at).max();
            let asked = lately.is_some_and(|at| at.millis() > self.now - 3_600_000);
            let good = row.tokens.iter().any(|it| {
                it.0.expires_at.millis() > self.now && self.provider.is_good(it.1, self.now)
            });
            let alive = self.is_alive(row);
            if row.standing == Standing::Active && alive && asked && !good {
                self.break_with(format!(
                    "I7: a{account} is stuck: asked for, alive, and without a token"
                ));
            }
        }
    }

    /// The last word on each account.
    pub(super) fn last_judgement(&mut self) {
        for account in 0..self.plan.accounts.len() {
            let row = &self.store.rows[account];
            let refreshed = row
                .generations
                .first()
                .is_some_and(|it| it.generation.received_at.millis() >= self.judge.probed_from);
            let alive = self.is_alive(row);
            let taken_back = row
                .generations
                .iter()
                .all(|it| self.provider.families[self.provider.tokens[it.token].family].revoked);
            let found = match row.standing {
                Standing::Revoked => None,
                Standing::Active if alive && refreshed => None,
                Standing::Active if alive => Some("I7: is alive, but cannot be refreshed"),
                Standing::Active => Some("I1: is dead, and nobody says so"),
                Standing::NeedsConsent if alive => Some("I1: needs consent, but is alive"),
                Standing::NeedsConsent if taken_back => None,
                Standing::NeedsConsent => self.excuse(account),
                _ => Some("I7: is in a state that nothing here leads to"),
            };
            if let Some(found) = found {
                let row = &self.store.rows[account];
                let told =
                    format!("{found}: a{account} {:?} {:?}", self.plan.apps[row.app].rotation, row);
                self.break_with(told);
            }
        }
        let lost = self.judge.spilled.iter().find(|(account, generation, token)| {
            let row = &self.store.rows[*account];
            let there = row.generations.iter().any(|it| it.generation.number == *generation);
            there && !self.judge.has_stored(*token)
        });
        if let Some((account, generation, _)) = lost {
            let told = format!(
                "I1: what generation {generation} of a{account} bought was spilled and never stored"
            );
            self.break_with(told);
        }
    }

    fn is_alive(&self, row: &Row) -> bool {
        let plan = &self.plan.apps[row.app];
        row.generations.iter().any(|it| self.provider.takes(it.token, plan, self.now))
    }

    /// Why a grant may be dead that nobody took back; or what is wrong about it.
    fn excuse(&mut self, account: usize) -> Option<&'static str> {
        let row = &self.store.rows[account];
        match self.plan.apps[row.app].rotation {
            Rotation::None | Rotation::Replace => Some("I1: is lost where nothing can be lost"),
            Rotation::Grace => {
                let spent =
                    row.generations.first().and_then(|it| self.provider.tokens[it.token].spent_at);
                if spent.is_some_and(|at| self.was_quiet(at)) {
                    return Some("I1: is lost although there was time within the grace");
                }
                self.out.excused += 1;
                None
            }
            Rotation::Strict => {
                self.out.excused += 1;
                None
            }
        }
    }

    /// Whether, after the answer to a token spent at `at` was lost, somebody could have sent it again in time.
    fn was_quiet(&self, at: i64) -> bool {
        let window = |from: i64, to: i64| to > at + 1 && from < at + GRACE;
        // What a wrong clock wrote is in the way for longer.
        let clocks = |it: &(i64, i64, Kind)| it.2 == Kind::Clock && it.0 < at + GRACE;
        if self.judge.disturbances.iter().any(clocks) {
            return false;
        }
        let shared = self.judge.disturbances.iter().any(|(from, to, kind)| {
            !matches!(kind, Kind::Replica(_)) && window(*from, *to) && *from > at
                || matches!(kind, Kind::Provider | Kind::Store) && window(*from, *to)
        });
        let able = (0..self.replicas.len()).any(|replica| {
            self.judge.disturbances.iter().all(|(from, to, kind)| {
                *kind != Kind::Replica(replica) || !window(*from, *to) || *to < at + IN_TIME
            })
        });
        !shared && able && self.plan.store_trouble < 10
    }
}
