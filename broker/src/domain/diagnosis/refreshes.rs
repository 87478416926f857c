//! What is to be said about an account's refreshes: its grant, what was tried, its tokens, what comes next.
//!
//! Never asked about an account that can have no tokens. Invariant: when something comes next is what `refresh` would
//! decide now, by its own functions. Next: `domain/refresh/schedule.rs`.

use std::time::Duration;

use super::{Case, Finding, error, in_brackets, notice, ok, warning};
use crate::domain::account::Account;
use crate::domain::app::Rotation;
use crate::domain::chart::Chart;
use crate::domain::refresh::admit::{BELIEVED, spendable};
use crate::domain::refresh::schedule::{doubt_end, half_life, idle_end, is_warm};
use crate::domain::refresh::{AppGate, Bearer, Rules};

/// Being due for longer than this without being done is worth a look.
const LATE: Duration = Duration::from_secs(60);

impl Case<'_> {
    /// Whether the refresh token is there and good.
    pub(super) fn grant(&self, found: &mut Vec<Finding>) {
        let chart = self.chart;
        let Some(rules) = &chart.rules else { return };
        if spendable(&chart.ledger, rules, chart.at).next().is_none() {
            let words = "no refresh token is left that the provider has not refused: the next try will ask for consent";
            let Account { name, mailbox, .. } = self.account;
            let remedy = format!(
                "account invite --app {} --account {name} --mailbox {mailbox}",
                self.app.name
            );
            found.push(error(words).remedy(self.ctl(&remedy)));
            return;
        }
        let Some(newest) = chart.ledger.newest() else { return };
        if newest.refusals > 0 {
            let until = chart.ledger.not_before;
            let words = format!(
                "the provider has refused this grant {} of {BELIEVED} times{}: that is believed only when confirmed; it is \
                 asked again {}",
                newest.refusals,
                in_brackets(&chart.state.code),
                self.when(Some(until)),
            );
            found.push(warning(words).next(Some(until)));
        }
        self.doubt(found, newest.number, rules);
        if let Some(end) = newest.ends_at {
            let words = if end > chart.at {
                notice(format!(
                    "the provider said that the grant ends at {end} unless it is used before"
                ))
            } else {
                warning(format!(
                    "the provider said that the grant ends at {end} unless it is used before; that is past"
                ))
            };
            found.push(words.next(Some(end).filter(|end| *end > chart.at)));
        }
    }

    /// Whether the refresh token was sent and nobody knows what became of it.
    fn doubt(&self, found: &mut Vec<Finding>, newest: i64, rules: &Rules) {
        let chart = self.chart;
        let Some(since) = chart.unanswered(newest) else { return };
        if chart.in_doubt_since().is_none() {
            let words = format!(
                "the answer to the refresh of {since} never came; this provider takes the same refresh token again, so nothing \
                 is lost"
            );
            found.push(notice(words));
            return;
        }
        let last = doubt_end(&chart.ledger, rules, chart.at);
        let last = last.map(|time| time.max(chart.ledger.not_before));
        let kind = match rules.rotation {
            Rotation::Grace => "takes an old one for a short time only, which is over",
            _ => "takes each only once",
        };
        let words = format!(
            "in doubt: the answer to the refresh of {since} never came. The provider may have replaced the refresh token, and \
             it {kind}. The broker hands out the token at hand while it lives and tries {}; if the provider refuses then, \
             the owner has to consent again",
            self.when(last),
        );
        let refresh = self.ctl(&format!("account refresh {}", self.account.name));
        let remedy = format!("wait; to know now: {refresh}");
        found.push(warning(words).remedy(remedy).next(last));
    }

    /// What was tried last, and by whom.
    pub(super) fn tries(&self, found: &mut Vec<Finding>) {
        let chart = self.chart;
        if let Some(owner) = chart.held_by() {
            let left = chart.state.lease.left.as_secs().max(1);
            found.push(notice(format!(
                "a refresh is under way in {owner}, for at most {left} s more"
            )));
        }
        let suspected = chart.ledger.newest().is_some_and(|newest| newest.refusals > 0);
        if chart.ledger.failures > 0 && !suspected {
            let code = in_brackets(&chart.state.code);
            let words = format!(
                "the last {} tries failed: {}{code}; the account is unharmed, and callers may try again {}",
                chart.ledger.failures,
                chart.state.class.replace('_', " "),
                self.when(Some(chart.ledger.not_before)),
            );
            found.push(warning(words).next(chart.not_before().or(chart.state.due_at)));
        }
        if let Some(worked) = chart.state.refreshed_at {
            found.push(ok(format!("the last refresh that worked was at {worked}")));
        }
    }

    /// Which access tokens are at hand.
    pub(super) fn tokens(&self, found: &mut Vec<Finding>) {
        let now = self.chart.at;
        for Bearer { audience, expires_at, rejected, .. } in &self.chart.ledger.tokens {
            found.push(if *rejected {
                warning(format!("the token for {audience} is refused where it was used; it is not handed out again"))
            } else if *expires_at > now {
                ok(format!("a token for {audience} is at hand until {expires_at}"))
            } else {
                notice(format!("the token for {audience} ended at {expires_at}; the next request fetches one"))
            });
        }
        if self.chart.ledger.tokens.is_empty() {
            found.push(notice("no token is at hand; the next request fetches one"));
        }
    }

    /// When it is refreshed by itself.
    pub(super) fn schedule(&self, found: &mut Vec<Finding>) {
        let Chart { ledger, state, at, .. } = self.chart;
        let warm = ledger.tokens.iter().filter(|token| is_warm(token, *at));
        if let Some(token) = warm.min_by_key(|token| half_life(token, ledger.spread)) {
            let next = half_life(token, ledger.spread).max(ledger.not_before);
            let used =
                token.used_at.map_or_else(String::new, |used| format!(", last about {used}"));
            let words = format!(
                "warm: its token is asked for{used}; it is renewed at half of its life, {}",
                self.when(Some(next))
            );
            found.push(ok(words).next(Some(next)));
        } else {
            let next =
                self.chart.rules.as_ref().and_then(|rules| idle_end(ledger, rules, self.chart.at));
            found.push(match next {
                Some(next) => {
                    let when = self.when(Some(next));
                    let words = format!("cold: nobody asks for its tokens; the grant is used {when} so that it stays alive");
                    ok(words).next(Some(next))
                }
                None => ok("cold: nobody asks for its tokens; it is refreshed when somebody does"),
            });
        }
        let waits =
            ledger.app != AppGate::Open || self.endpoint.is_some_and(|it| it.shut_until.is_some());
        let late = state.due_at.filter(|due| due.after(LATE) < *at);
        if let (Some(due), false, None) = (late, waits || self.app.disabled, self.chart.held_by()) {
            let words =
                format!("a refresh is due since {due} and not done: the schedule is behind");
            found.push(warning(words).remedy(self.ctl("status")));
        }
    }
}
