//! The good end of a refresh: where the answer belongs among the generations, and when the next is due.
//!
//! Never refuses an answer because it is late: what somebody who lost the lease brings may be the only token that lives.
//! Invariant: numbers only rise, and a generation knows which one bought it. Next: `service/refresh_outcome` stores it.

use super::admit::{Spend, waits};
use super::{AppGate, Bearer, Generation, Ledger, Rules, schedule};
use crate::clock::Time;
use crate::domain::account::Standing;

/// What an answer brought, without the secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// Whether there was a refresh token.
    pub refresh_token: bool,
    /// When the provider says that the grant ends, if it does.
    pub grant_ends_at: Option<Time>,
    /// When the access token ends; `None` without one.
    pub expires_at: Option<Time>,
}

/// Which attempts at the `parent` of a generation that carries its token over speak about that generation from now on: the
/// token is the same, so a doubt about it is too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarriedDoubts {
    /// None: the generation has a token of its own.
    None,
    /// Those that are open, which may be sent yet, and those that began with the attempt that is kept or after it; what was
    /// lost before, this answer has settled.
    Later,
    /// All of them: the answer says nothing about that token.
    All,
}

/// What to write down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// The new generation. If it is `carried`, its refresh token is that of its `parent`.
    pub generation: Generation,
    /// Which attempts are about it from now on.
    pub doubts: CarriedDoubts,
    /// When the account is due next.
    pub due_at: Option<Time>,
    /// What the account becomes, if it was refused before.
    pub standing: Option<Standing>,
    /// What the app becomes, if anything: the provider took its call.
    pub app: Option<AppGate>,
}

/// Gives an answer to `spend` its place; `ledger` is read in the transaction that stores it.
pub fn keep(
    ledger: &Ledger,
    spend: &Spend,
    brought: &Brought,
    (rules, now): (&Rules, Time),
) -> Keeping {
    let number =
        1 + ledger.generations.iter().map(|it| it.number).max().unwrap_or(spend.generation);
    // Without a token in it, a late answer must not put the old token before one that was bought with it meanwhile.
    let newest = ledger.newest().filter(|newest| newest.number > spend.newest && newest.usable);
    let carries = newest.map_or(spend.generation, |newest| newest.number);
    let source = ledger.generations.iter().find(|it| it.number == carries);
    let (carried, old_end) = (!brought.refresh_token, source.and_then(|source| source.ends_at));
    let generation = Generation {
        number,
        parent: if brought.refresh_token { spend.generation } else { carries },
        received_at: now,
        // Where nothing is said of it, carrying a token over does not make it live longer.
        ends_at: brought.grant_ends_at.or_else(|| carried.then_some(old_end).flatten()),
        usable: true,
        carried,
        refusals: 0,
    };
    // The provider itself takes back what it, or a refusal that we believed, said before.
    let refused = matches!(
        ledger.standing,
        Standing::NeedsInteraction | Standing::BlockedByPolicy | Standing::NeedsConsent
    );
    let standing = refused.then_some(Standing::Active);
    let mut after = ledger.clone();
    after.generations.insert(0, generation);
    after.standing = standing.unwrap_or(ledger.standing);
    (after.not_before, after.failures) = (now, 0);
    if let Some(expires_at) = brought.expires_at {
        let used_at = ledger.token(&spend.audience).and_then(|old| old.used_at);
        after.tokens.retain(|token| token.audience != spend.audience);
        after.tokens.push(Bearer {
            audience: spend.audience.clone(),
            generation: number,
            issued_at: now,
            expires_at,
            used_at,
            rejected: false,
        });
    }
    let due_at = schedule::due(&after, rules, now).map(|(time, _)| time);
    // A call that was under way does not end the silence that another was asked for.
    let silent = matches!(ledger.app, AppGate::Throttled { until } if waits(until, now));
    let app = (ledger.app != AppGate::Open && !silent).then_some(AppGate::Open);
    let doubts = match (brought.refresh_token, newest) {
        (true, _) => CarriedDoubts::None,
        (false, None) => CarriedDoubts::Later,
        (false, Some(_)) => CarriedDoubts::All,
    };
    Keeping { generation, doubts, due_at, standing, app }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, bearer, generation, ledger, rules};
    use super::*;
    use crate::domain::app::Rotation;

    fn spend(generation: i64) -> Spend {
        Spend {
            generation,
            audience: "mail".into(),
            newest: generation,
            replay: false,
            probe: false,
        }
    }

    fn brought() -> Brought {
        Brought { refresh_token: true, grant_ends_at: None, expires_at: Some(at(5600)) }
    }

    fn kept(ledger: &Ledger, brought: &Brought) -> Keeping {
        keep(ledger, &spend(1), brought, (&rules(Rotation::Strict), at(2000)))
    }

    #[test]
    fn an_answer_becomes_the_next_generation_however_late_it_is() {
        let moved =
            Ledger { generations: vec![generation(3), generation(2), generation(1)], ..ledger() };
        let Keeping { generation, .. } = kept(&moved, &brought());
        assert_eq!((generation.number, generation.parent, generation.carried), (4, 1, false));
    }

    #[test]
    fn without_a_refresh_token_in_it_the_old_one_is_carried_over() {
        let none = Brought { refresh_token: false, ..brought() };
        assert!(kept(&ledger(), &none).generation.carried);
    }

    #[test]
    fn a_token_that_is_carried_over_keeps_the_doubts_that_came_after_this_call() {
        let none = Brought { refresh_token: false, ..brought() };
        assert_eq!(kept(&ledger(), &none).doubts, CarriedDoubts::Later);
        assert_eq!(kept(&ledger(), &brought()).doubts, CarriedDoubts::None);
        let moved = Ledger { generations: vec![generation(2), generation(1)], ..ledger() };
        assert_eq!(kept(&moved, &none).doubts, CarriedDoubts::All, "it was never sent");
    }

    #[test]
    fn a_late_answer_without_a_token_does_not_put_the_old_token_before_its_child() {
        let moved = Ledger { generations: vec![generation(2), generation(1)], ..ledger() };
        let none = Brought { refresh_token: false, ..brought() };
        let kept = kept(&moved, &none).generation;
        assert_eq!((kept.number, kept.parent, kept.carried), (3, 2, true));
    }

    #[test]
    fn a_success_opens_a_refused_app_and_does_not_end_a_silence() {
        let of = |app| kept(&Ledger { app, ..ledger() }, &brought()).app;
        assert_eq!(of(AppGate::Open), None);
        assert_eq!(of(AppGate::Rejected { until: at(9999), refusals: 2 }), Some(AppGate::Open));
        assert_eq!(of(AppGate::Throttled { until: at(2060) }), None, "it was under way");
        assert_eq!(of(AppGate::Throttled { until: at(1999) }), Some(AppGate::Open));
    }

    #[test]
    fn a_warm_account_is_due_at_half_of_the_new_life_and_a_failed_one_is_forgiven() {
        let mut warm = Ledger { failures: 7, not_before: at(1999), ..ledger() };
        warm.tokens = vec![Bearer { used_at: Some(at(1000)), ..bearer(1) }];
        assert_eq!(kept(&warm, &brought()).due_at, Some(at(3620)));
    }

    #[test]
    fn an_account_that_gets_a_token_is_locked_no_longer_and_a_late_answer_raises_the_dead() {
        for standing in [Standing::BlockedByPolicy, Standing::NeedsConsent] {
            let locked = Ledger { standing, ..ledger() };
            assert_eq!(kept(&locked, &brought()).standing, Some(Standing::Active));
        }
        let given_back = Ledger { standing: Standing::Revoked, ..ledger() };
        assert_eq!(kept(&given_back, &brought()).standing, None, "only a consent does that");
    }
}
