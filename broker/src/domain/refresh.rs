//! The refresh, decided without I/O: what may be spent, what an answer or a refusal means, when the next one is due.
//!
//! Never reads a clock, a row or a socket: it is told the time, the rows and the dice. Invariants: a refresh token is spent
//! only after the intent to spend it was written, and by one holder of the lease at a time; what was handed out is kept
//! before anything else happens; one that may have been spent without an answer is spent again only as the provider's
//! rotation allows; nothing but the provider's own confirmed word makes an account need consent (design section 7).
//! `flight` is the walk of one refresh, `admit` its beginning, `settle` its bad end, `keep` its good one; `schedule` says
//! when the next is due, `gate` how many there may be. `service/refresh` drives all this over real stores and providers,
//! the simulation over models of them. Next: `flight.rs`.

pub mod admit;
pub mod flight;
pub mod gate;
pub mod keep;
pub mod schedule;
pub mod settle;

use std::time::Duration;

use crate::clock::Time;
use crate::domain::account::Standing;
use crate::domain::app::Rotation;

/// Randomness as the decisions need it.
pub trait Dice {
    /// A number from 0 to 65535, each as likely as any other.
    fn roll(&mut self) -> u16;
}

/// What holds for all refreshes of one app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What becomes of a refresh token that is spent.
    pub rotation: Rotation,
    /// How long a spent one still works where `rotation` is grace.
    pub grace: Duration,
    /// How long a refresh token lives without being used, if that is known.
    pub idle: Option<Duration>,
    /// How long after the first refusal of a grant it is asked for confirmation.
    pub confirm_after: Duration,
    /// How long a lease lasts; longer than a request to the provider may take.
    pub lease: Duration,
}

impl Rules {
    /// Whether a token that was first sent at `since`, without an answer, may be sent again now and harms nothing.
    pub fn replay_is_safe(&self, since: Time, now: Time) -> bool {
        match self.rotation {
            Rotation::None | Rotation::Replace => true,
            Rotation::Grace => self.in_grace(since, now),
            Rotation::Strict => false,
        }
    }

    /// Whether a grace that began at `since` still runs; one that begins far in the future was written by a wrong clock.
    pub(crate) fn in_grace(&self, since: Time, now: Time) -> bool {
        now < since.after(self.grace) && since < now.after(self.grace)
    }
}

/// A moment of the past that is further in the future than this was written while a clock was wrong.
const WRONG_CLOCK: Duration = Duration::from_secs(24 * 3600);

/// Whether something that has happened was written down by a clock that was far ahead: nothing may wait for it.
pub(crate) fn is_from_wrong_clock(past: Time, now: Time) -> bool {
    past > now.after(WRONG_CLOCK)
}

/// What is known of one account, read in the transaction that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// How the provider sees the account.
    pub standing: Standing,
    /// Its refresh tokens, newest first.
    pub generations: Vec<Generation>,
    /// Generations that were sent without an answer, in any order.
    pub doubts: Vec<Doubt>,
    /// Its access tokens, one for each audience.
    pub tokens: Vec<Bearer>,
    /// How long somebody else still has the lease, by the database's clock.
    pub held: Option<Duration>,
    /// Before this moment nobody but an operator tries.
    pub not_before: Time,
    /// Failures since the last success.
    pub failures: u32,
    /// Whether its app may be used.
    pub app: AppGate,
    /// Where in a span of time this account's turn is; never changes.
    pub spread: Spread,
}

/// One refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number in the account, from 1.
    pub number: i64,
    /// The generation that bought it; 0 if a consent did.
    pub parent: i64,
    /// When it came.
    pub received_at: Time,
    /// When the provider said that it ends, if it did.
    pub ends_at: Option<Time>,
    /// Whether it holds a token at all.
    pub usable: bool,
    /// The token is the parent's: the answer brought none.
    pub carried: bool,
    /// How often the provider refused it for good.
    pub refusals: i64,
}

/// A generation that was sent and nobody knows what the provider did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Which.
    pub generation: i64,
    /// When it was sent first.
    pub since: Time,
}

/// One access token, as far as the schedule cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// What it is for.
    pub audience: String,
    /// The generation it came with.
    pub generation: i64,
    /// When it came.
    pub issued_at: Time,
    /// When it ends.
    pub expires_at: Time,
    /// When it, or one before it, was last handed out; coarse.
    pub used_at: Option<Time>,
    /// A resource refuses it.
    pub rejected: bool,
}

/// Whether an app may be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppGate {
    /// Yes.
    Open,
    /// The provider asked for silence until then.
    Throttled {
        /// Until when.
        until: Time,
    },
    /// The provider refuses the app; the next probe is allowed then.
    Rejected {
        /// Until when.
        until: Time,
        /// How often in a row.
        refusals: u32,
    },
}

/// How the refresh of an account stands, as the store keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefreshState {
    /// When it is due next.
    pub due_at: Option<Time>,
    /// Who is at it.
    pub lease: Lease,
    /// Failures since the last success.
    pub failures: u32,
    /// Before this moment nobody but an operator tries.
    pub not_before: Time,
    /// When the last one worked.
    pub refreshed_at: Option<Time>,
    /// When the last one was begun.
    pub tried_at: Option<Time>,
    /// The class of the last refusal; empty after a success.
    pub class: String,
    /// The provider's code for it.
    pub code: String,
}

/// The right to refresh an account, for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// The replica that took it last; may be long gone.
    pub owner: String,
    /// Rises each time it is taken.
    pub fence: i64,
    /// What is left of it, by the database's clock; zero if it is over.
    pub left: Duration,
}

/// A fixed place between 0 and 1 for each account, so that accounts made together are not due together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread(u16);

impl Spread {
    /// The place of the account with this row id, whose last bytes are random.
    pub const fn of(id: [u8; 16]) -> Self {
        Self(u16::from_be_bytes([id[14], id[15]]))
    }

    /// The place that a die shows.
    pub const fn from_roll(roll: u16) -> Self {
        Self(roll)
    }

    /// The point of this place between `from` and `to`.
    pub fn between(self, from: Duration, to: Duration) -> Duration {
        from + (to.saturating_sub(from) / u32::from(u16::MAX)) * u32::from(self.0)
    }
}

/// Who wants a refresh, and how badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The token that is wanted; the one that is due, if the schedule asks.
    pub audience: Option<String>,
    /// Only a token of a newer generation will do.
    pub newer_than: Option<i64>,
    /// How badly.
    pub urgency: Urgency,
}

/// How badly a refresh is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// The schedule says that it is time.
    Scheduled,
    /// A caller waits.
    Wanted,
    /// An operator says so, whatever failed before.
    Forced,
}

impl Ledger {
    /// The newest generation.
    pub fn newest(&self) -> Option<&Generation> {
        self.generations.first()
    }

    /// The access token for `audience`.
    pub fn token(&self, audience: &str) -> Option<&Bearer> {
        self.tokens.iter().find(|token| token.audience == audience)
    }

    /// Since when a generation is in doubt, if it is.
    pub fn doubt(&self, generation: i64) -> Option<Time> {
        let of_it = self.doubts.iter().filter(|doubt| doubt.generation == generation);
        of_it.map(|doubt| doubt.since).min()
    }

    /// When a generation in doubt was sent last: if that call was the one that spent it, its grace runs from then.
    pub fn last_doubt(&self, generation: i64) -> Option<Time> {
        let of_it = self.doubts.iter().filter(|doubt| doubt.generation == generation);
        of_it.map(|doubt| doubt.since).max()
    }

    /// Whether the newest refresh token may have been spent without an answer, at a provider where that may have killed it.
    pub fn is_in_doubt(&self, rules: &Rules, now: Time) -> bool {
        let since = self.newest().and_then(|newest| self.doubt(newest.number));
        since.is_some_and(|since| !rules.replay_is_safe(since, now))
    }
}

/// A pause that grows with each failure, never regular: between half of it and all of it is waited.
pub fn backoff(failures: u32, least: Duration, most: Duration, dice: &mut dyn Dice) -> Duration {
    let full =
        least.saturating_mul(1_u32.checked_shl(failures.min(20)).unwrap_or(u32::MAX)).min(most);
    Spread::from_roll(dice.roll()).between(full / 2, full)
}

#[cfg(test)]
pub(crate) mod samples {
    //! Ledgers for the tests of this room.

    use super::*;

    pub(crate) const HOUR: Duration = Duration::from_secs(3600);

    /// Always the same number.
    pub(crate) struct Fixed(pub(crate) u16);

    impl Dice for Fixed {
        fn roll(&mut self) -> u16 {
            self.0
        }
    }

    pub(crate) const fn at(seconds: i64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    pub(crate) fn rules(rotation: Rotation) -> Rules {
        Rules {
            rotation,
            grace: Duration::from_secs(30),
            idle: Some(90 * 24 * HOUR),
            confirm_after: Duration::from_secs(30),
            lease: Duration::from_secs(15),
        }
    }

    pub(crate) fn generation(number: i64) -> Generation {
        Generation {
            number,
            parent: number - 1,
            received_at: at(0),
            ends_at: None,
            usable: true,
            carried: false,
            refusals: 0,
        }
    }

    pub(crate) fn bearer(generation: i64) -> Bearer {
        Bearer {
            audience: "mail".to_owned(),
            generation,
            issued_at: at(0),
            expires_at: at(3600),
            used_at: None,
            rejected: false,
        }
    }

    /// An account with one generation and a token of it, from the beginning of time.
    pub(crate) fn ledger() -> Ledger {
        Ledger {
            standing: Standing::Active,
            generations: vec![generation(1)],
            doubts: Vec::new(),
            tokens: vec![bearer(1)],
            held: None,
            not_before: at(0),
            failures: 0,
            app: AppGate::Open,
            spread: Spread(0),
        }
    }

    pub(crate) fn wanted() -> Demand {
        Demand { audience: Some("mail".to_owned()), newer_than: Some(1), urgency: Urgency::Wanted }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{Fixed, at, ledger, rules};
    use super::*;

    #[test]
    fn a_backoff_doubles_up_to_its_end_and_is_never_regular() {
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(backoff(0, least, most, &mut Fixed(0)), Duration::from_millis(500));
        assert_eq!(backoff(3, least, most, &mut Fixed(0)), Duration::from_secs(4));
        assert_eq!(backoff(u32::MAX, least, most, &mut Fixed(0)), Duration::from_secs(30));
        assert!(backoff(9, least, most, &mut Fixed(u16::MAX)) <= most);
    }

    #[test]
    fn a_grace_that_a_wrong_clock_began_does_not_run_for_ten_years() {
        let ten_years = 10 * 365 * 24 * 3600;
        assert!(!rules(Rotation::Grace).replay_is_safe(at(ten_years), at(0)));
        assert!(rules(Rotation::Grace).replay_is_safe(at(2), at(0)), "two clocks differ a little");
    }

    #[test]
    fn doubt_is_about_what_the_provider_may_have_killed() {
        let doubted = Ledger { doubts: vec![Doubt { generation: 1, since: at(0) }], ..ledger() };
        assert!(doubted.is_in_doubt(&rules(Rotation::Strict), at(1)));
        assert!(!doubted.is_in_doubt(&rules(Rotation::Replace), at(1)));
        assert!(!doubted.is_in_doubt(&rules(Rotation::Grace), at(29)));
        assert!(doubted.is_in_doubt(&rules(Rotation::Grace), at(30)));
        let older = Ledger { doubts: vec![Doubt { generation: 0, since: at(0) }], ..ledger() };
        assert!(!older.is_in_doubt(&rules(Rotation::Strict), at(1)));
    }
}
