//! The bad end of a refresh: what a refusal means for attempt, grant, account, app and schedule.
//!
//! Never kills on hearsay: a grant is dead when the provider has said so of the newest generation twice and no other is left
//! that it could take; an outage, a throttle or a refused app changes no account (promise P8). Invariant: a refusal that a
//! newer generation has overtaken says nothing. Next: `service/refresh_outcome` writes a [`Settlement`] down.

use std::time::Duration;

use super::admit::{BELIEVED, Spend, spendable, waits};
use super::{AppGate, Dice, Doubt, Ledger, Rules, backoff, schedule};
use crate::clock::Time;
use crate::domain::account::Standing;
use crate::domain::refusal::{Reached, RefusalClass, Refused};

/// How an attempt is written down whose answer never came: its token may have been spent.
pub const LOST: &str = "lost";

/// How long a provider that says "too many requests" and no more is left alone.
const SILENCE: Duration = Duration::from_secs(30);

/// The pause between two probes of a refused app doubles between these.
const PROBE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15 * 60));

/// What to write down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// How the attempt ended: [`LOST`], or a class of refusal.
    pub outcome: &'static str,
    /// How often the generation was refused now, if this counts.
    pub refusals: Option<i64>,
    /// What the account becomes, if anything.
    pub standing: Option<Standing>,
    /// Failures in a row now.
    pub failures: u32,
    /// Before then nobody but an operator tries.
    pub not_before: Time,
    /// When the account is due next.
    pub due_at: Option<Time>,
    /// What the app becomes, if anything.
    pub app: Option<AppGate>,
    /// The same token may be sent again at once.
    pub again: bool,
}

/// Judges a refusal of `spend`; `ledger` was read after it came, without the attempt that ends with it.
pub fn settle(
    ledger: &Ledger,
    spend: &Spend,
    refused: &Refused,
    (rules, now): (&Rules, Time),
    dice: &mut dyn Dice,
) -> Settlement {
    let lost = matches!(refused.reached, Reached::Maybe | Reached::Garbled);
    let outcome = if lost { LOST } else { refused.class.as_str() };
    let mut end = Settlement {
        outcome,
        refusals: None,
        standing: None,
        failures: ledger.failures,
        not_before: ledger.not_before,
        due_at: None,
        app: None,
        again: false,
    };
    let mut retry_at = None;
    // The wish for silence is the app's, whatever became of the account.
    if refused.class == RefusalClass::Throttled {
        end.app = Some(silence(ledger, refused.retry_after, now));
    }
    let overtaken = ledger.newest().is_some_and(|newest| newest.number > spend.newest);
    if !overtaken {
        match refused.class {
            // Whoever was asked for silence keeps it first, and finds out then what else is wrong.
            RefusalClass::AppBroken if is_silent(ledger, now) => {}
            // Those that were under way when the app was found out say nothing new: only the probe counts.
            RefusalClass::AppBroken if is_shut(ledger, now) && !spend.probe => {}
            RefusalClass::AppBroken => {
                let refusals = match ledger.app {
                    AppGate::Rejected { refusals, .. } => refusals,
                    AppGate::Open | AppGate::Throttled { .. } => 0,
                };
                let until = now.after(backoff(refusals, PROBE.0, PROBE.1, dice));
                end.app = Some(AppGate::Rejected { until, refusals: refusals.saturating_add(1) });
            }
            RefusalClass::Throttled => {}
            RefusalClass::Transient | RefusalClass::Ambiguous => {
                end.failures = ledger.failures.saturating_add(1);
                end.not_before =
                    schedule::caller_retry(end.failures, refused.retry_after, now, dice);
                end.again = lost && !spend.replay && rules.replay_is_safe(now, now);
                if end.again {
                    end.not_before = ledger.not_before;
                } else {
                    retry_at = Some(schedule::retry(end.failures, refused.retry_after, now, dice));
                }
            }
            RefusalClass::NeedsConsent => doubted(&mut end, ledger, spend, (rules, now)),
            RefusalClass::NeedsInteraction => {
                end.standing = Some(Standing::NeedsInteraction);
                end.not_before = schedule::look_again(now, dice);
            }
            RefusalClass::BlockedByPolicy => {
                end.standing = Some(Standing::BlockedByPolicy);
                end.not_before = schedule::look_again(now, dice);
            }
        }
    }
    let due_at = due_after(ledger, &end, spend, (rules, now));
    end.due_at = due_at.map(|time| retry_at.map_or(time, |retry: Time| time.max(retry)));
    end
}

fn is_shut(ledger: &Ledger, now: Time) -> bool {
    matches!(ledger.app, AppGate::Rejected { until, .. } if waits(until, now))
}

fn is_silent(ledger: &Ledger, now: Time) -> bool {
    matches!(ledger.app, AppGate::Throttled { until } if waits(until, now))
}

/// The longer of two silences.
fn silence(ledger: &Ledger, asked: Option<Duration>, now: Time) -> AppGate {
    let until = now.after(asked.unwrap_or(SILENCE));
    match ledger.app {
        AppGate::Throttled { until: longer } if waits(longer, now) && longer > until => ledger.app,
        _ => AppGate::Throttled { until },
    }
}

/// The provider says that the grant is dead: count it, and believe it when nothing else is left.
fn doubted(end: &mut Settlement, ledger: &Ledger, spend: &Spend, (rules, now): (&Rules, Time)) {
    let counted = after(ledger, spend, 1);
    let refusals = counted
        .generations
        .iter()
        .find(|it| it.number == spend.generation)
        .map_or(1, |it| it.refusals);
    end.refusals = Some(refusals);
    end.failures = ledger.failures.saturating_add(1);
    match spendable(&counted, rules, now).next() {
        None => end.standing = Some(Standing::NeedsConsent),
        Some(next) if next == spend.generation && refusals < BELIEVED => {
            end.not_before = now.after(rules.confirm_after);
            end.again = rules.confirm_after.is_zero();
        }
        Some(_) => end.not_before = now,
    }
}

/// The ledger as it will be, with `more` refusals of the generation that was spent.
fn after(ledger: &Ledger, spend: &Spend, more: i64) -> Ledger {
    let mut after = ledger.clone();
    for generation in &mut after.generations {
        if generation.number == spend.generation {
            generation.refusals += more;
        }
    }
    after
}

fn due_after(
    ledger: &Ledger,
    end: &Settlement,
    spend: &Spend,
    (rules, now): (&Rules, Time),
) -> Option<Time> {
    let mut after = after(ledger, spend, 0);
    if end.outcome == LOST {
        after.doubts.push(Doubt { generation: spend.generation, since: now });
    }
    after.standing = end.standing.unwrap_or(ledger.standing);
    after.not_before = end.not_before;
    if end.refusals.is_some() && after.standing == Standing::Active {
        // A suspicion is settled soon, whoever asks for the account meanwhile.
        return Some(end.not_before.max(now));
    }
    schedule::due(&after, rules, now).map(|(time, _)| time)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Fixed, at, bearer, generation, ledger, rules};
    use super::super::{Bearer, Generation};
    use super::*;
    use crate::domain::app::Rotation;

    fn refused(class: RefusalClass, reached: Reached) -> Refused {
        Refused::ours(class, "code", "words", reached)
    }

    fn spend(generation: i64) -> Spend {
        Spend {
            generation,
            audience: "mail".into(),
            newest: generation,
            replay: false,
            probe: false,
        }
    }

    fn end(
        ledger: &Ledger,
        class: RefusalClass,
        reached: Reached,
        rotation: Rotation,
    ) -> Settlement {
        settle(
            ledger,
            &spend(1),
            &refused(class, reached),
            (&rules(rotation), at(100)),
            &mut Fixed(0),
        )
    }

    #[test]
    fn a_grant_is_dead_when_the_provider_has_said_so_twice() {
        let first = end(&ledger(), RefusalClass::NeedsConsent, Reached::Answered, Rotation::Strict);
        assert_eq!((first.standing, first.refusals), (None, Some(1)));
        assert_eq!((first.not_before, first.due_at), (at(130), Some(at(130))));
        let mut once = ledger();
        once.generations[0].refusals = 1;
        let second = end(&once, RefusalClass::NeedsConsent, Reached::Answered, Rotation::Strict);
        assert_eq!((second.standing, second.due_at), (Some(Standing::NeedsConsent), None));
    }

    #[test]
    fn without_a_pause_the_confirmation_is_asked_for_at_once() {
        let at_once = Rules { confirm_after: Duration::ZERO, ..rules(Rotation::None) };
        let refused = refused(RefusalClass::NeedsConsent, Reached::Answered);
        let first = settle(&ledger(), &spend(1), &refused, (&at_once, at(100)), &mut Fixed(0));
        assert!(first.again && first.standing.is_none());
    }

    #[test]
    fn a_refusal_that_a_newer_generation_overtook_says_nothing() {
        let moved = Ledger { generations: vec![generation(2), generation(1)], ..ledger() };
        for class in
            [RefusalClass::NeedsConsent, RefusalClass::BlockedByPolicy, RefusalClass::AppBroken]
        {
            let end = end(&moved, class, Reached::Answered, Rotation::Strict);
            assert_eq!((end.standing, end.refusals, end.app), (None, None, None), "{class:?}");
            assert_eq!(end.failures, 0);
        }
    }

    #[test]
    fn a_sibling_that_may_live_is_tried_before_the_owner_is_asked() {
        let mut two = ledger();
        two.generations = vec![Generation { refusals: 1, ..generation(2) }, generation(1)];
        let refused = refused(RefusalClass::NeedsConsent, Reached::Answered);
        let judge = |rotation| {
            settle(&two, &spend(2), &refused, (&rules(rotation), at(100)), &mut Fixed(0))
        };
        let replaced = judge(Rotation::Replace);
        assert_eq!((replaced.standing, replaced.not_before), (None, at(100)));
        assert_eq!(judge(Rotation::Strict).standing, Some(Standing::NeedsConsent));
    }

    #[test]
    fn an_outage_a_throttle_and_a_refused_app_change_no_account() {
        for class in [
            RefusalClass::Transient,
            RefusalClass::Ambiguous,
            RefusalClass::Throttled,
            RefusalClass::AppBroken,
        ] {
            for reached in [Reached::Never, Reached::Maybe, Reached::Garbled, Reached::Answered] {
                let end = end(&ledger(), class, reached, Rotation::Strict);
                assert_eq!((end.standing, end.refusals), (None, None), "{class:?} {reached:?}");
            }
        }
    }

    #[test]
    fn an_answer_that_never_came_leaves_a_doubt_and_is_asked_for_again_where_that_is_safe() {
        for (rotation, again) in [
            (Rotation::None, true),
            (Rotation::Replace, true),
            (Rotation::Grace, true),
            (Rotation::Strict, false),
        ] {
            let end = end(&ledger(), RefusalClass::Transient, Reached::Maybe, rotation);
            assert_eq!((end.outcome, end.again), (LOST, again), "{rotation:?}");
        }
        let surely = end(&ledger(), RefusalClass::Transient, Reached::Never, Rotation::Strict);
        assert_eq!((surely.outcome, surely.again), ("transient", false));
        let replay = Spend { replay: true, ..spend(1) };
        let refused = refused(RefusalClass::Transient, Reached::Maybe);
        let rules = rules(Rotation::Replace);
        let twice = settle(&ledger(), &replay, &refused, (&rules, at(100)), &mut Fixed(0));
        assert!(!twice.again, "once at once, then with pauses");
    }

    #[test]
    fn a_refused_app_is_probed_less_and_less_and_a_throttle_is_kept() {
        let first = end(&ledger(), RefusalClass::AppBroken, Reached::Answered, Rotation::None);
        assert_eq!(first.app, Some(AppGate::Rejected { until: at(115), refusals: 1 }));
        assert_eq!(
            (first.not_before, first.failures),
            (at(0), 0),
            "the account waits for the app only"
        );
        let later = Ledger { app: AppGate::Rejected { until: at(0), refusals: 9 }, ..ledger() };
        let later = end(&later, RefusalClass::AppBroken, Reached::Answered, Rotation::None);
        assert_eq!(later.app, Some(AppGate::Rejected { until: at(550), refusals: 10 }));
        let wait = Some(Duration::from_secs(600));
        let throttled =
            Refused { retry_after: wait, ..refused(RefusalClass::Throttled, Reached::Answered) };
        let rules = rules(Rotation::None);
        let end = settle(&ledger(), &spend(1), &throttled, (&rules, at(100)), &mut Fixed(0));
        assert_eq!(end.app, Some(AppGate::Throttled { until: at(700) }));
    }

    #[test]
    fn a_herd_that_finds_an_app_refused_raises_its_pause_once() {
        let shut = Ledger { app: AppGate::Rejected { until: at(110), refusals: 1 }, ..ledger() };
        let late = end(&shut, RefusalClass::AppBroken, Reached::Answered, Rotation::None);
        assert_eq!(late.app, None);
        let probe = Spend { probe: true, ..spend(1) };
        let refused = refused(RefusalClass::AppBroken, Reached::Answered);
        let rules = rules(Rotation::None);
        let end = settle(&shut, &probe, &refused, (&rules, at(100)), &mut Fixed(0));
        assert_eq!(end.app, Some(AppGate::Rejected { until: at(130), refusals: 2 }));
    }

    #[test]
    fn a_silence_is_kept_although_the_account_moved_on_or_others_say_something_else() {
        let asked = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            Refused { retry_after, ..refused(RefusalClass::Throttled, Reached::Answered) }
        };
        let judge = |ledger: &Ledger, refused: &Refused| {
            let now = (&rules(Rotation::None), at(100));
            settle(ledger, &spend(1), refused, now, &mut Fixed(0)).app
        };
        let silent = |until| Some(AppGate::Throttled { until: at(until) });
        let moved = Ledger { generations: vec![generation(2), generation(1)], ..ledger() };
        assert_eq!(judge(&moved, &asked(600)), silent(700));
        let told = Ledger { app: AppGate::Throttled { until: at(700) }, ..ledger() };
        assert_eq!(judge(&told, &asked(5)), silent(700), "the longer one holds");
        let broken = refused(RefusalClass::AppBroken, Reached::Answered);
        assert_eq!(judge(&told, &broken), None, "no probe before its end");
    }

    #[test]
    fn a_cold_account_whose_answer_was_lost_in_a_grace_is_due_at_once() {
        let end = end(&ledger(), RefusalClass::Transient, Reached::Maybe, Rotation::Grace);
        assert_eq!((end.outcome, end.due_at), (LOST, Some(at(100))));
    }

    #[test]
    fn a_warm_account_that_failed_is_due_when_it_may_be_tried_again() {
        let mut warm = ledger();
        warm.tokens = vec![Bearer { used_at: Some(at(50)), ..bearer(1) }];
        let late = (&rules(Rotation::None), at(2000));
        let refused = refused(RefusalClass::Transient, Reached::Answered);
        let end = settle(&warm, &spend(1), &refused, late, &mut Fixed(0));
        assert_eq!(end.due_at, Some(at(2001)), "the schedule waits a little");
        assert_eq!(end.not_before, at(2000), "a caller need not");
    }
}
