//! When an account is due.
//!
//! Never later than the token or the grant can bear. Invariants: a *warm* account, one whose tokens are asked for, is due at
//! about half of its token's life, so that an outage of nearly half a life goes unnoticed; a *cold* one only as often as the
//! provider's idle clock demands; each account has its own fixed place in the span, so that those which were made together,
//! or were late together after an outage, are not due together for ever. Next: `service/due` asks the store by it.

use std::time::Duration;

use super::{Bearer, Dice, Ledger, Rules, Spread, backoff, is_from_wrong_clock};
use crate::clock::Time;
use crate::domain::account::Standing;
use crate::domain::app::Rotation;

/// How long an account stays warm after its token was asked for: two lives, between these.
const WARM: (Duration, Duration) = (Duration::from_secs(2 * 3600), Duration::from_secs(24 * 3600));

/// An account that the provider locked until somebody does something is looked at this often: it may have been done.
const LOOK_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// The pause of the schedule after failures that concern one account doubles between these.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(5 * 60));

/// The pause for callers who wait doubles between these; a single failure may be chance and costs them none.
const CALLER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Tokens that live for seconds are fetched when somebody asks: a provider that says so by mistake is not called all the time.
const SPACING: Duration = Duration::from_secs(10);

/// The shortest pause between two refreshes for the sake of the grant's own end.
const SHORTEST_IDLE: Duration = Duration::from_secs(10 * 60);

/// A doubtful token at a strict provider is sent again when the access token has this much life left.
const LAST_MOMENT: Duration = Duration::from_secs(60);

/// The longest that a failure makes an account wait: what a provider may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Whether tokens of this audience are asked for.
pub fn is_warm(token: &Bearer, now: Time) -> bool {
    let stay = (token.issued_at.until(token.expires_at) * 2).clamp(WARM.0, WARM.1);
    token.used_at.is_some_and(|used| used.after(stay) > now)
}

/// When the token is refreshed if it is warm: between 45 % and 55 % of its life; at once if it is refused.
pub fn half_life(token: &Bearer, spread: Spread) -> Time {
    if token.rejected {
        return token.issued_at;
    }
    let life = token.issued_at.until(token.expires_at);
    token.issued_at.after(spread.between(life * 9 / 20, life * 11 / 20).max(SPACING))
}

/// When the grant itself has to be used so that it does not die of rest: after 60 % to 70 % of the idle clock, or of what
/// the provider said is left of it.
pub fn idle_end(ledger: &Ledger, rules: &Rules, now: Time) -> Option<Time> {
    let newest = ledger.newest()?;
    if is_from_wrong_clock(newest.received_at, now) {
        return Some(now);
    }
    let told = newest.ends_at.map(|end| newest.received_at.until(end));
    let span = match (rules.idle, told) {
        (Some(idle), Some(told)) => idle.min(told),
        (one, other) => one.or(other)?,
    };
    let wait = ledger.spread.between(span * 6 / 10, span * 7 / 10).max(SHORTEST_IDLE);
    Some(newest.received_at.after(wait))
}

/// When the account is due next, and for which audience; `None` if only on demand.
pub fn due(ledger: &Ledger, rules: &Rules, now: Time) -> Option<(Time, Option<String>)> {
    match ledger.standing {
        Standing::Active => {}
        Standing::NeedsInteraction | Standing::BlockedByPolicy => {
            let time = if may_wait(ledger, now) { ledger.not_before } else { now };
            return Some((time, None));
        }
        Standing::Pending | Standing::NeedsConsent | Standing::Revoked => return None,
    }
    let warm = ledger.tokens.iter().filter(|token| is_warm(token, now));
    let half_life = |token: &&Bearer| match is_from_wrong_clock(token.issued_at, now) {
        true => now,
        false => half_life(token, ledger.spread),
    };
    let soonest = warm.min_by_key(half_life);
    let by_use = soonest.map(|token| (half_life(&token), Some(token.audience.clone())));
    let by_rest = idle_end(ledger, rules, now).map(|time| (time, None));
    let by_doubt = doubt_end(ledger, rules, now).map(|time| (time, None));
    let first = [by_use, by_rest, by_doubt].into_iter().flatten().min_by_key(|(time, _)| *time);
    let wait = if may_wait(ledger, now) { ledger.not_before } else { now };
    first.map(|(time, audience)| (time.max(wait), audience))
}

/// When a token that may have been spent unseen is sent again, whether anybody asks for it or not: at once while a grace
/// runs, at the last moment where sending it again may kill what lives. Where it can do neither good nor harm there is no hurry.
pub fn doubt_end(ledger: &Ledger, rules: &Rules, now: Time) -> Option<Time> {
    let newest = ledger.newest()?;
    // What the provider called dead once is asked about again.
    if newest.refusals > 0 {
        return Some(ledger.not_before);
    }
    let since = ledger.last_doubt(newest.number)?;
    match rules.rotation {
        Rotation::None | Rotation::Replace => None,
        Rotation::Grace if rules.replay_is_safe(since, now) => Some(since.min(now)),
        Rotation::Grace | Rotation::Strict => {
            let living = ledger.tokens.iter().filter(|token| !token.rejected);
            let last = living.filter_map(|token| last_moment(token, now)).min();
            Some(last.unwrap_or(now))
        }
    }
}

/// The last moment at which a doubtful token is sent again, as long as this access token lives.
pub(super) fn last_moment(token: &Bearer, now: Time) -> Option<Time> {
    let lives = token.expires_at > now && !is_from_wrong_clock(token.issued_at, now);
    lives.then(|| token.expires_at.before(LAST_MOMENT))
}

/// Whether the account's pause can be meant: a longer one was written while a clock was wrong.
pub(super) fn may_wait(ledger: &Ledger, now: Time) -> bool {
    let longest = if ledger.standing == Standing::Active { LONGEST_WAIT } else { LOOK_AGAIN * 2 };
    ledger.not_before <= now.after(longest)
}

/// When to try again after the `failures`-th failure in a row; no earlier than the provider asked.
pub fn retry(failures: u32, asked: Option<Duration>, now: Time, dice: &mut dyn Dice) -> Time {
    let pause = backoff(failures.saturating_sub(1), RETRY.0, RETRY.1, dice);
    now.after(pause.max(asked.unwrap_or_default()))
}

/// When a caller may try again after the `failures`-th failure in a row; no earlier than the provider asked.
pub fn caller_retry(
    failures: u32,
    asked: Option<Duration>,
    now: Time,
    dice: &mut dyn Dice,
) -> Time {
    let pause = match failures {
        0 | 1 => Duration::ZERO,
        more => backoff(more - 2, CALLER.0, CALLER.1, dice),
    };
    now.after(pause.max(asked.unwrap_or_default()))
}

/// When to look again at an account that waits for somebody at the provider.
pub fn look_again(now: Time, dice: &mut dyn Dice) -> Time {
    now.after(Spread::from_roll(dice.roll()).between(LOOK_AGAIN, LOOK_AGAIN * 11 / 10))
}

#[cfg(test)]
mod tests {
    use super::super::Doubt;
    use super::super::samples::{Fixed, HOUR, at, bearer, ledger, rules};
    use super::*;

    fn used(used_at: i64) -> Ledger {
        Ledger { tokens: vec![Bearer { used_at: Some(at(used_at)), ..bearer(1) }], ..ledger() }
    }

    fn due_at(ledger: &Ledger, now: i64) -> Option<i64> {
        due(ledger, &rules(Rotation::None), at(now)).map(|(time, _)| time.seconds())
    }

    #[test]
    fn a_warm_account_is_due_at_half_of_its_tokens_life() {
        assert_eq!(due_at(&used(10), 20), Some(1620));
        let late = Ledger { spread: Spread::from_roll(u16::MAX), ..used(10) };
        assert!((1975..=1980).contains(&due_at(&late, 20).unwrap()));
    }

    #[test]
    fn a_token_that_lives_for_a_moment_causes_no_storm() {
        let mut brief = used(10);
        brief.tokens[0].expires_at = at(1);
        assert_eq!(due_at(&brief, 0), Some(10));
    }

    #[test]
    fn a_cold_account_is_due_when_its_grant_would_begin_to_die() {
        let days = |days: i64| days * 24 * 3600;
        assert_eq!(due_at(&ledger(), 20), Some(days(54)));
        assert_eq!(due_at(&used(0), 7200), Some(days(54)), "it went cold");
        let no_clock = Rules { idle: None, ..rules(Rotation::None) };
        assert_eq!(due(&ledger(), &no_clock, at(20)), None, "nothing is known to end");
    }

    #[test]
    fn a_grant_that_was_told_its_end_is_used_before_it() {
        let mut ends = ledger();
        ends.generations[0].ends_at = Some(at(24 * 3600));
        let when = due_at(&ends, 20).unwrap();
        assert!((14 * 3600..17 * 3600).contains(&when), "{when}");
    }

    #[test]
    fn a_dead_account_is_never_due_and_a_locked_one_is_looked_at_again() {
        for (standing, due) in [
            (Standing::NeedsConsent, None),
            (Standing::Revoked, None),
            (Standing::Pending, None),
            (Standing::NeedsInteraction, Some(77)),
            (Standing::BlockedByPolicy, Some(77)),
        ] {
            let ledger = Ledger { standing, not_before: at(77), ..used(10) };
            assert_eq!(due_at(&ledger, 20), due, "{standing:?}");
        }
    }

    #[test]
    fn a_failure_puts_it_off_but_no_earlier_than_the_provider_asked() {
        let ledger = Ledger { not_before: at(3000), ..used(10) };
        assert_eq!(due_at(&ledger, 20), Some(3000));
        assert_eq!(retry(1, Some(HOUR), at(0), &mut Fixed(0)), at(3600));
        assert!(retry(1, None, at(0), &mut Fixed(u16::MAX)) <= at(2));
        assert!(retry(99, None, at(0), &mut Fixed(u16::MAX)) <= at(5 * 60));
        let caller = |failures| caller_retry(failures, None, at(0), &mut Fixed(u16::MAX));
        assert_eq!(caller(1), at(0), "one may be chance");
        assert!(caller(2) > at(0) && caller(99) <= at(30), "a caller does not wait as long");
    }

    #[test]
    fn a_doubt_within_a_grace_is_due_at_once_even_if_nobody_asks() {
        let doubts = vec![Doubt { generation: 1, since: at(100) }];
        let doubted = Ledger { doubts, ..ledger() };
        let when = |rotation, now| {
            due(&doubted, &rules(rotation), at(now)).map(|(time, _)| time.seconds())
        };
        assert_eq!(when(Rotation::Grace, 115), Some(100), "the grace runs out");
        assert_eq!(when(Rotation::Grace, 131), Some(3540), "it is over: now it may kill");
        assert_eq!(when(Rotation::Strict, 115), Some(3540), "the last moment");
        assert_eq!(when(Rotation::Strict, 3601), Some(3601), "there is nothing to lose any more");
        let asleep = Some(54 * 24 * 3600);
        assert_eq!((when(Rotation::None, 115), when(Rotation::Replace, 115)), (asleep, asleep));
    }

    #[test]
    fn an_account_that_a_wrong_clock_refreshed_is_due_when_the_clock_is_right_again() {
        let future = 10 * 365 * 24 * 3600;
        let mut warm = used(future);
        warm.tokens[0] = Bearer {
            issued_at: at(future),
            expires_at: at(future + 3600),
            ..warm.tokens[0].clone()
        };
        assert_eq!(due_at(&warm, 20), Some(20));
        let mut cold = ledger();
        cold.generations[0].received_at = at(future);
        assert_eq!(due_at(&cold, 20), Some(20));
        let waits = Ledger { not_before: at(future), ..used(10) };
        assert_eq!(due_at(&waits, 1800), Some(1800), "nor does it wait for ten years");
    }

    #[test]
    fn a_token_that_a_resource_refuses_is_due_at_once() {
        let mut refused = used(10);
        refused.tokens[0].rejected = true;
        assert_eq!(due_at(&refused, 20), Some(0));
    }

    #[test]
    fn of_two_audiences_the_one_that_ends_sooner_is_due() {
        let mut two = used(10);
        let graph =
            Bearer { audience: "graph".into(), expires_at: at(600), ..two.tokens[0].clone() };
        two.tokens.push(graph);
        let (time, audience) = due(&two, &rules(Rotation::None), at(20)).unwrap();
        assert_eq!((time, audience.as_deref()), (at(270), Some("graph")));
    }
}
