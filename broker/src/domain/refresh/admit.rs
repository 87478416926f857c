//! The beginning of a refresh: whether to spend a token now, and which.
//!
//! Never spends beside somebody else: whoever holds the lease is waited for, and waiting too long never means "refresh
//! anyway". Invariants: the newest generation goes first, an older one only where the provider can still take it; a token
//! that may have been spent unseen is sent again at once where that is safe, and as late as possible where it could kill
//! what lives. Next: `flight.rs` acts on it; `settle.rs` if the provider refuses.

use std::time::Duration;

use super::{AppGate, Demand, Generation, Ledger, Rules, Urgency, schedule};
use crate::clock::Time;
use crate::domain::account::Standing;
use crate::domain::app::Rotation;

/// How often a generation must be refused until that is believed; an older one that bought something needs no confirmation.
pub const BELIEVED: i64 = 2;

/// The longest that any refusal makes an account or an app wait: what a provider may ask for. A wait that is longer was
/// written while a clock was wrong.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What becomes of a demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// A token that will do is there by now.
    Have {
        /// Its audience.
        audience: String,
    },
    /// Somebody else is at it, for so long at most.
    Held {
        /// Until the lease ends.
        left: Duration,
    },
    /// Nothing is to be done before then; never, if `None`.
    Rest {
        /// When.
        due_at: Option<Time>,
    },
    /// It would be of no use, or harm, before then.
    NotYet {
        /// When.
        until: Time,
        /// Why.
        why: Why,
    },
    /// The account is in no state to be refreshed.
    Locked,
    /// There is no refresh token that the provider has not refused.
    Dead,
    /// Spend this one.
    Spend(Spend),
}

/// Why a refresh has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The provider refuses the app.
    AppRejected,
    /// The provider asked for silence.
    AppThrottled,
    /// The provider refused the grant once; it is asked again then.
    Suspected,
    /// The last try failed.
    Failed,
    /// The token may have been spent unseen, and sending it again may kill the one that lives.
    InDoubt,
}

/// A refresh token to be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    /// Which.
    pub generation: i64,
    /// The newest there was when this was decided.
    pub newest: i64,
    /// For what.
    pub audience: String,
    /// It was sent before, and no answer came.
    pub replay: bool,
    /// It asks for the app as a whole, which is refused: nobody else may ask meanwhile.
    pub probe: bool,
}

/// Decides on a demand.
pub fn admit(ledger: &Ledger, demand: &Demand, rules: &Rules, now: Time) -> Admission {
    let looks_again = demand.urgency != Urgency::Wanted;
    match ledger.standing {
        Standing::Active => {}
        Standing::NeedsInteraction | Standing::BlockedByPolicy if looks_again => {}
        _ => return Admission::Locked,
    }
    let due = schedule::due(ledger, rules, now);
    if demand.urgency == Urgency::Scheduled {
        match &due {
            Some((time, _)) if *time <= now => {}
            _ => return Admission::Rest { due_at: due.map(|(time, _)| time) },
        }
    }
    let audience = demand.audience.clone().or(due.and_then(|(_, audience)| audience));
    let audience = audience.unwrap_or_else(|| usual_audience(ledger));
    if let (Some(token), Some(than)) = (ledger.token(&audience), demand.newer_than)
        && token.generation > than
        && !token.rejected
    {
        return Admission::Have { audience };
    }
    // A lease that lasts longer than leases do was taken by a clock that has gone back since.
    if let Some(left) = ledger.held.filter(|left| *left <= rules.lease) {
        return Admission::Held { left };
    }
    match choose(ledger, demand.urgency, audience, (rules, now)) {
        // The schedule comes back then, and not each second until then.
        Admission::NotYet { until, .. } if demand.urgency == Urgency::Scheduled => {
            Admission::Rest { due_at: Some(until) }
        }
        admission => admission,
    }
}

fn choose(
    ledger: &Ledger,
    urgency: Urgency,
    audience: String,
    (rules, now): (&Rules, Time),
) -> Admission {
    let forced = urgency == Urgency::Forced;
    let probe = match ledger.app {
        AppGate::Open => false,
        AppGate::Throttled { until } if waits(until, now) => {
            return Admission::NotYet { until, why: Why::AppThrottled };
        }
        AppGate::Rejected { until, .. } if waits(until, now) && !forced => {
            return Admission::NotYet { until, why: Why::AppRejected };
        }
        AppGate::Throttled { .. } => false,
        AppGate::Rejected { .. } => true,
    };
    if ledger.not_before > now && !forced && schedule::may_wait(ledger, now) {
        let suspected = ledger.newest().is_some_and(|newest| newest.refusals > 0);
        let why = if suspected { Why::Suspected } else { Why::Failed };
        return Admission::NotYet { until: ledger.not_before, why };
    }
    let Some(generation) = spendable(ledger, rules, now).next() else { return Admission::Dead };
    let since = ledger.last_doubt(generation);
    if since.is_some_and(|since| !rules.replay_is_safe(since, now)) && !forced {
        let living = ledger.token(&audience).filter(|token| !token.rejected);
        let until = living.and_then(|token| schedule::last_moment(token, now));
        if let Some(until) = until.filter(|until| *until > now) {
            return Admission::NotYet { until, why: Why::InDoubt };
        }
    }
    let newest = ledger.newest().map_or(generation, |newest| newest.number);
    Admission::Spend(Spend { generation, newest, audience, replay: since.is_some(), probe })
}

/// Whether an app is still left alone until then.
pub(super) fn waits(until: Time, now: Time) -> bool {
    until > now && until <= now.after(LONGEST_WAIT)
}

/// The generations that may be spent, in the order in which they should be.
pub fn spendable<'l>(
    ledger: &'l Ledger,
    rules: &'l Rules,
    now: Time,
) -> impl Iterator<Item = i64> + 'l {
    let newest = ledger.newest().map_or(0, |newest| newest.number);
    ledger
        .generations
        .iter()
        .filter(|generation| generation.usable)
        .filter(move |generation| {
            let bought = ledger.generations.iter().any(|it| it.parent == generation.number);
            let believed = if generation.number == newest || !bought { BELIEVED } else { 1 };
            generation.refusals < believed
        })
        .filter(move |generation| {
            generation.number == newest || lives_on(generation, ledger, rules, now)
        })
        .map(|generation| generation.number)
}

/// Whether the provider may still take a generation that is not the newest.
fn lives_on(old: &Generation, ledger: &Ledger, rules: &Rules, now: Time) -> bool {
    let bought = |it: &&Generation| it.parent == old.number;
    // The same token again, under a newer number.
    if ledger.generations.iter().filter(bought).any(|it| it.carried) {
        return false;
    }
    let spent = ledger.generations.iter().filter(bought).map(|it| it.received_at).min();
    match (rules.rotation, spent) {
        (Rotation::None | Rotation::Replace, _) | (_, None) => true,
        (Rotation::Grace, Some(since)) => rules.in_grace(since, now),
        (Rotation::Strict, Some(_)) => false,
    }
}

fn usual_audience(ledger: &Ledger) -> String {
    ledger.tokens.first().map_or_else(|| "mail".to_owned(), |token| token.audience.clone())
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, bearer, generation, ledger, rules, wanted};
    use super::super::{Bearer, Doubt};
    use super::*;

    fn spends(generation: i64) -> Admission {
        spends_of(generation, generation)
    }

    fn spends_of(generation: i64, newest: i64) -> Admission {
        let audience = "mail".to_owned();
        Admission::Spend(Spend { generation, newest, audience, replay: false, probe: false })
    }

    fn wants(ledger: &Ledger, rotation: Rotation, now: i64) -> Admission {
        admit(ledger, &wanted(), &rules(rotation), at(now))
    }

    #[test]
    fn the_newest_generation_is_spent() {
        let two = Ledger { generations: vec![generation(2), generation(1)], ..ledger() };
        for rotation in [Rotation::None, Rotation::Replace, Rotation::Grace, Rotation::Strict] {
            assert_eq!(wants(&two, rotation, 10), spends(2), "{rotation:?}");
        }
    }

    #[test]
    fn a_newer_token_that_is_there_costs_nothing_even_if_somebody_holds_the_lease() {
        let held = Some(Duration::from_secs(9));
        let newer = Ledger { tokens: vec![bearer(2)], held, ..ledger() };
        assert_eq!(wants(&newer, Rotation::None, 10), Admission::Have { audience: "mail".into() });
        let refused = Bearer { rejected: true, ..bearer(2) };
        let refused = Ledger { tokens: vec![refused], ..ledger() };
        assert_eq!(wants(&refused, Rotation::None, 10), spends(1));
    }

    #[test]
    fn nobody_spends_beside_the_holder_of_the_lease_however_badly_it_is_wanted() {
        let left = Duration::from_secs(9);
        let held = Ledger { held: Some(left), ..ledger() };
        for urgency in [Urgency::Wanted, Urgency::Forced] {
            let demand = Demand { urgency, ..wanted() };
            let admission = admit(&held, &demand, &rules(Rotation::Strict), at(9_999_999));
            assert_eq!(admission, Admission::Held { left });
        }
    }

    #[test]
    fn in_doubt_a_replay_is_at_once_where_safe_and_at_the_last_moment_where_not() {
        let doubts = vec![Doubt { generation: 1, since: at(0) }];
        let doubted = Ledger { doubts, ..ledger() };
        let replay = Admission::Spend(Spend {
            generation: 1,
            newest: 1,
            audience: "mail".into(),
            replay: true,
            probe: false,
        });
        let until = at(3540);
        let wait = Admission::NotYet { until, why: Why::InDoubt };
        for rotation in [Rotation::None, Rotation::Replace, Rotation::Grace] {
            assert_eq!(wants(&doubted, rotation, 1), replay, "{rotation:?}");
        }
        assert_eq!(wants(&doubted, Rotation::Grace, 31), wait, "the grace is over");
        assert_eq!(wants(&doubted, Rotation::Strict, 1), wait);
        assert_eq!(wants(&doubted, Rotation::Strict, 3541), replay, "the token is nearly used up");
        let forced = Demand { urgency: Urgency::Forced, ..wanted() };
        assert_eq!(admit(&doubted, &forced, &rules(Rotation::Strict), at(1)), replay);
        let empty = Ledger { tokens: Vec::new(), ..doubted };
        assert_eq!(wants(&empty, Rotation::Strict, 1), replay, "there is nothing to lose");
    }

    #[test]
    fn a_grace_runs_from_the_last_call_that_may_have_spent_the_token_not_from_the_first() {
        let doubts = [0, 24].map(|since| Doubt { generation: 1, since: at(since) }).to_vec();
        let doubted = Ledger { doubts, ..ledger() };
        for (now, spends) in [(32, true), (53, true), (54, false)] {
            let admission = wants(&doubted, Rotation::Grace, now);
            assert_eq!(matches!(admission, Admission::Spend(_)), spends, "{now}: {admission:?}");
        }
    }

    #[test]
    fn an_older_generation_is_tried_only_where_the_provider_can_still_take_it() {
        let mut two = ledger();
        two.generations =
            vec![Generation { refusals: 2, received_at: at(100), ..generation(2) }, generation(1)];
        assert_eq!(wants(&two, Rotation::Replace, 110), spends_of(1, 2));
        assert_eq!(wants(&two, Rotation::Grace, 129), spends_of(1, 2));
        assert_eq!(wants(&two, Rotation::Grace, 130), Admission::Dead);
        assert_eq!(wants(&two, Rotation::Strict, 110), Admission::Dead);
        two.generations[0].parent = 0;
        assert_eq!(
            wants(&two, Rotation::Strict, 110),
            spends_of(1, 2),
            "a sibling that was never spent"
        );
    }

    #[test]
    fn a_sibling_that_was_refused_once_and_never_spent_is_asked_for_confirmation_too() {
        let mut two = ledger();
        two.generations = vec![
            Generation { refusals: 2, parent: 0, ..generation(2) },
            Generation { refusals: 1, ..generation(1) },
        ];
        assert_eq!(wants(&two, Rotation::Strict, 110), spends_of(1, 2));
        two.generations[1].refusals = 2;
        assert_eq!(wants(&two, Rotation::Strict, 110), Admission::Dead);
    }

    #[test]
    fn a_token_that_was_only_carried_over_is_not_tried_under_its_old_number() {
        let mut two = ledger();
        two.generations =
            vec![Generation { refusals: 2, carried: true, ..generation(2) }, generation(1)];
        assert_eq!(wants(&two, Rotation::None, 110), Admission::Dead);
    }

    #[test]
    fn one_refusal_is_not_believed() {
        let mut once = ledger();
        once.generations[0].refusals = 1;
        once.not_before = at(30);
        let wait = Admission::NotYet { until: at(30), why: Why::Suspected };
        assert_eq!(wants(&once, Rotation::None, 10), wait);
        assert_eq!(wants(&once, Rotation::None, 30), spends(1), "asked for confirmation");
        once.generations[0].refusals = 2;
        assert_eq!(wants(&once, Rotation::None, 30), Admission::Dead);
    }

    #[test]
    fn a_refused_app_is_asked_by_one_probe_at_a_time_and_a_silence_is_kept() {
        let rejected = AppGate::Rejected { until: at(60), refusals: 3 };
        let shut = Ledger { app: rejected, ..ledger() };
        let wait = Admission::NotYet { until: at(60), why: Why::AppRejected };
        assert_eq!(wants(&shut, Rotation::None, 59), wait);
        let probe = wants(&shut, Rotation::None, 60);
        assert!(matches!(probe, Admission::Spend(Spend { probe: true, .. })), "{probe:?}");
        let silent = Ledger { app: AppGate::Throttled { until: at(60) }, ..ledger() };
        let forced = Demand { urgency: Urgency::Forced, ..wanted() };
        let wait = Admission::NotYet { until: at(60), why: Why::AppThrottled };
        assert_eq!(admit(&silent, &forced, &rules(Rotation::None), at(59)), wait);
        assert_eq!(wants(&silent, Rotation::None, 60), spends(1));
    }

    #[test]
    fn the_schedule_leaves_alone_what_is_not_due() {
        let scheduled = Demand { audience: None, newer_than: None, urgency: Urgency::Scheduled };
        let mut warm = ledger();
        warm.tokens[0].used_at = Some(at(100));
        let ask = |ledger: &Ledger, now| admit(ledger, &scheduled, &rules(Rotation::None), at(now));
        assert_eq!(ask(&warm, 1619), Admission::Rest { due_at: Some(at(1620)) });
        assert_eq!(ask(&warm, 1620), spends(1));
        let asleep = ask(&ledger(), 1620);
        assert!(
            matches!(asleep, Admission::Rest { due_at: Some(_) }),
            "nobody asks for it: {asleep:?}"
        );
    }

    #[test]
    fn the_schedule_is_told_when_to_come_back_and_does_not_come_each_second() {
        let scheduled = Demand { audience: None, newer_than: None, urgency: Urgency::Scheduled };
        let mut warm = ledger();
        warm.tokens[0].used_at = Some(at(1000));
        let rejected = AppGate::Rejected { until: at(2600), refusals: 3 };
        let shut = Ledger { app: rejected, ..warm };
        let admission = admit(&shut, &scheduled, &rules(Rotation::None), at(2000));
        assert_eq!(admission, Admission::Rest { due_at: Some(at(2600)) });
    }

    #[test]
    fn what_a_wrong_clock_wrote_keeps_nobody_waiting_for_ten_years() {
        let until = at(10 * 365 * 24 * 3600);
        let ten_years = Some(Duration::from_secs(10 * 365 * 24 * 3600));
        for stuck in [
            Ledger { not_before: until, ..ledger() },
            Ledger { app: AppGate::Throttled { until }, ..ledger() },
            Ledger { held: ten_years, ..ledger() },
        ] {
            assert_eq!(wants(&stuck, Rotation::Strict, 10), spends(1), "{stuck:?}");
        }
        let app = AppGate::Rejected { until, refusals: 1 };
        let probe = wants(&Ledger { app, ..ledger() }, Rotation::Strict, 10);
        assert!(matches!(probe, Admission::Spend(Spend { probe: true, .. })), "{probe:?}");
    }

    #[test]
    fn a_locked_account_is_looked_at_by_the_schedule_and_a_dead_one_by_nobody() {
        let locked = Ledger { standing: Standing::NeedsInteraction, ..ledger() };
        assert_eq!(wants(&locked, Rotation::None, 10), Admission::Locked);
        let scheduled = Demand { audience: None, newer_than: None, urgency: Urgency::Scheduled };
        let look = admit(&locked, &scheduled, &rules(Rotation::None), at(10));
        assert_eq!(look, spends(1));
        let dead = Ledger { standing: Standing::NeedsConsent, ..ledger() };
        for urgency in [Urgency::Scheduled, Urgency::Wanted, Urgency::Forced] {
            let demand = Demand { urgency, ..wanted() };
            let admission = admit(&dead, &demand, &rules(Rotation::None), at(10));
            assert_eq!(admission, Admission::Locked);
        }
    }
}
