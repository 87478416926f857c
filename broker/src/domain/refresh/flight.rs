//! The walk of one refresh as a state machine: `step(event)` gives what to do next, and whoever drives it comes back with the
//! next event.
//!
//! Never does anything itself. Invariants: the provider is asked only after [`Event::Begun`] said that the intent is written;
//! an answer is kept, and kept again, until the store has it or a spill file does; there is one [`Effect::Land`], at the
//! end. Next: `service/refresh` drives it over the real world, the simulation over models.

use std::time::Duration;

use super::admit::{Admission, Spend, Why};
use super::{Dice, Urgency, backoff};
use crate::clock::Time;
use crate::domain::refusal::{Reached, RefusalClass};

/// How often to look whether the holder of the lease is done, if nobody rings before.
pub const POLL: Duration = Duration::from_millis(500);

/// The pause before a request is sent again that surely never arrived.
const RESEND: Duration = Duration::from_millis(250);

/// It is sent again only if that was known so soon: the lease lasts for one request that takes as long as it may.
const KNOWN_SOON: Duration = Duration::from_secs(2);

/// The pause after a store that failed doubles between these.
const STORE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How often a refusal is tried to be written down; what is not written stays in doubt.
const NOTES: u32 = 5;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It begins.
    Start,
    /// There is room at app and endpoint.
    Entered,
    /// There will be, after this long.
    Full(Duration),
    /// The endpoint is shut for this long.
    Shut(Duration),
    /// The store decided; if it says "spend", the intent is written.
    Begun(Admission),
    /// The store did not answer, or said no: nothing may be spent.
    NotBegun,
    /// The pause is over, or somebody rang.
    Woke,
    /// The provider handed something out.
    Answered,
    /// The provider refused, or did not answer.
    Refused(RefusalClass, Reached),
    /// The answer is stored.
    Kept,
    /// The answer is not wanted any more: the account was given back.
    Unwanted,
    /// The store did not take the answer.
    NotKept,
    /// The refusal is written down; `again` if the same token may be sent at once.
    Noted {
        /// Whether it may.
        again: bool,
    },
    /// The store did not take the refusal.
    NotNoted,
    /// The broker stops.
    Stop,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask app and endpoint for room.
    Enter,
    /// Decide and write the intent, in one transaction.
    Begin,
    /// Ask the provider.
    Ask(Spend),
    /// Store what it handed out.
    Keep,
    /// Put what it handed out into a spill file.
    Spill,
    /// Write the refusal down.
    Note,
    /// Come back after this long, or when somebody rings.
    Sleep(Duration),
    /// It is over.
    Land(Outcome),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a newer token in the store.
    Renewed,
    /// The account was given back meanwhile.
    Unwanted,
    /// The provider refused; what that means is written down.
    Refused,
    /// It is no use before then.
    NotYet(Time, Why),
    /// Nothing is to be done: not due.
    Rest,
    /// The account is in no state for it.
    Locked,
    /// No refresh token is left.
    Dead,
    /// Somebody else is at it still.
    Busy,
    /// App or endpoint have no room for so long.
    NoRoom(Duration),
    /// The endpoint is shut for so long.
    Shut(Duration),
    /// The store is away.
    StoreAway,
}

/// A refresh on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    urgency: Urgency,
    patience: Time,
    state: State,
    again: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Entering,
    Beginning,
    Waiting { for_room: bool },
    Asking { spend: Spend, resend_until: Option<Time> },
    Resending { spend: Spend },
    Keeping { failures: u32, pausing: bool },
    Noting { failures: u32, pausing: bool },
    Landed,
}

impl Flight {
    /// One that waits for others until `patience` at most.
    pub const fn new(urgency: Urgency, patience: Time) -> Self {
        Self { urgency, patience, state: State::Entering, again: false }
    }

    /// Whether an answer of the provider is in hand that no store has yet.
    pub const fn holds_an_answer(&self) -> bool {
        matches!(self.state, State::Keeping { .. })
    }

    /// The next steps after `event`, in order; empty while something is still under way.
    pub fn step(&mut self, event: Event, now: Time, dice: &mut dyn Dice) -> Vec<Effect> {
        match (self.state.clone(), event) {
            (State::Entering, Event::Start) => vec![Effect::Enter],
            (State::Entering, Event::Entered) => self.begin(),
            (State::Entering, Event::Full(wait)) => self.wait_for_room(wait, now),
            (State::Entering, Event::Shut(left)) => self.land(Outcome::Shut(left)),
            (State::Beginning, Event::Begun(admission)) => self.begun(admission, now),
            (State::Beginning, Event::NotBegun) => self.land(Outcome::StoreAway),
            (State::Waiting { for_room: true }, Event::Woke) => {
                self.state = State::Entering;
                vec![Effect::Enter]
            }
            (State::Waiting { for_room: false }, Event::Woke) => self.begin(),
            (State::Waiting { .. }, Event::Stop) => self.land(Outcome::Busy),
            (State::Asking { .. }, Event::Answered) => {
                self.state = State::Keeping { failures: 0, pausing: false };
                vec![Effect::Keep]
            }
            (
                State::Asking { spend, resend_until: Some(until) },
                Event::Refused(RefusalClass::Transient, Reached::Never),
            ) if now <= until => {
                self.state = State::Resending { spend };
                vec![Effect::Sleep(RESEND)]
            }
            (State::Asking { .. }, Event::Refused(..)) | (State::Resending { .. }, Event::Stop) => {
                self.state = State::Noting { failures: 0, pausing: false };
                vec![Effect::Note]
            }
            (State::Resending { spend }, Event::Woke) => {
                self.state = State::Asking { spend: spend.clone(), resend_until: None };
                vec![Effect::Ask(spend)]
            }
            (State::Keeping { failures, pausing }, event) => {
                self.keeping(event, (failures, pausing), dice)
            }
            (State::Noting { failures, pausing }, event) => {
                self.noting(event, (failures, pausing), dice)
            }
            // Whatever is under way comes to its end first.
            _ => Vec::new(),
        }
    }

    fn begin(&mut self) -> Vec<Effect> {
        self.state = State::Beginning;
        vec![Effect::Begin]
    }

    fn begun(&mut self, admission: Admission, now: Time) -> Vec<Effect> {
        match admission {
            Admission::Have { .. } => self.land(Outcome::Renewed),
            Admission::Rest { .. } => self.land(Outcome::Rest),
            Admission::NotYet { until, why } => self.land(Outcome::NotYet(until, why)),
            Admission::Locked => self.land(Outcome::Locked),
            Admission::Dead => self.land(Outcome::Dead),
            Admission::Held { .. }
                if self.urgency == Urgency::Scheduled || now >= self.patience =>
            {
                self.land(Outcome::Busy)
            }
            Admission::Held { left } => {
                self.state = State::Waiting { for_room: false };
                vec![Effect::Sleep(left.min(POLL).max(Duration::from_millis(1)))]
            }
            Admission::Spend(spend) => {
                let resend_until = Some(now.after(KNOWN_SOON));
                self.state = State::Asking { spend: spend.clone(), resend_until };
                vec![Effect::Ask(spend)]
            }
        }
    }

    fn wait_for_room(&mut self, wait: Duration, now: Time) -> Vec<Effect> {
        if now.after(wait) > self.patience {
            return self.land(Outcome::NoRoom(wait));
        }
        self.state = State::Waiting { for_room: true };
        vec![Effect::Sleep(wait)]
    }

    fn keeping(
        &mut self,
        event: Event,
        (failures, pausing): (u32, bool),
        dice: &mut dyn Dice,
    ) -> Vec<Effect> {
        match (event, pausing) {
            (Event::Kept, false) => self.land(Outcome::Renewed),
            (Event::Unwanted, false) => self.land(Outcome::Unwanted),
            (Event::NotKept, false) => {
                self.state = State::Keeping { failures: failures.saturating_add(1), pausing: true };
                let pause = Effect::Sleep(backoff(failures, STORE.0, STORE.1, dice));
                if failures == 0 { vec![Effect::Spill, pause] } else { vec![pause] }
            }
            (Event::Woke, true) => {
                self.state = State::Keeping { failures, pausing: false };
                vec![Effect::Keep]
            }
            // The spill file has it.
            (Event::Stop, true) => self.land(Outcome::StoreAway),
            _ => Vec::new(),
        }
    }

    fn noting(
        &mut self,
        event: Event,
        (failures, pausing): (u32, bool),
        dice: &mut dyn Dice,
    ) -> Vec<Effect> {
        match (event, pausing) {
            (Event::Noted { again: true }, false) if !self.again => {
                // Another call to the provider needs room of its own.
                self.again = true;
                self.state = State::Entering;
                vec![Effect::Enter]
            }
            (Event::Noted { .. }, false) => self.land(Outcome::Refused),
            (Event::NotNoted, false) if failures + 1 < NOTES => {
                self.state = State::Noting { failures: failures + 1, pausing: true };
                vec![Effect::Sleep(backoff(failures, STORE.0, STORE.1, dice))]
            }
            (Event::NotNoted, false) | (Event::Stop, true) => self.land(Outcome::StoreAway),
            (Event::Woke, true) => {
                self.state = State::Noting { failures, pausing: false };
                vec![Effect::Note]
            }
            _ => Vec::new(),
        }
    }

    fn land(&mut self, outcome: Outcome) -> Vec<Effect> {
        self.state = State::Landed;
        vec![Effect::Land(outcome)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Fixed, at};
    use super::*;

    fn spend() -> Spend {
        Spend { generation: 1, newest: 1, audience: "mail".into(), replay: false, probe: false }
    }

    /// Steps through `events` and gives all effects in order.
    fn walk(urgency: Urgency, events: &[Event]) -> Vec<Effect> {
        let mut flight = Flight::new(urgency, at(10));
        let steps =
            events.iter().flat_map(|event| flight.step(event.clone(), at(0), &mut Fixed(0)));
        steps.collect()
    }

    fn asked(then: &[Event]) -> Vec<Effect> {
        let spend = Event::Begun(Admission::Spend(spend()));
        let events = [&[Event::Start, Event::Entered, spend], then].concat();
        let mut effects = walk(Urgency::Wanted, &events);
        assert_eq!(effects[..3], [Effect::Enter, Effect::Begin, Effect::Ask(self::spend())]);
        effects.split_off(3)
    }

    #[test]
    fn the_short_way_is_intent_ask_keep_land() {
        let effects = asked(&[Event::Answered, Event::Kept]);
        assert_eq!(effects, [Effect::Keep, Effect::Land(Outcome::Renewed)]);
    }

    #[test]
    fn without_an_intent_nothing_is_spent() {
        let effects = walk(Urgency::Forced, &[Event::Start, Event::Entered, Event::NotBegun]);
        assert_eq!(effects[2], Effect::Land(Outcome::StoreAway));
    }

    #[test]
    fn an_answer_that_the_store_does_not_take_is_spilled_once_and_kept_until_it_does() {
        let effects = asked(&[
            Event::Answered,
            Event::NotKept,
            Event::Woke,
            Event::NotKept,
            Event::Woke,
            Event::Kept,
        ]);
        let is =
            |wanted: fn(&Effect) -> bool| effects.iter().filter(|effect| wanted(effect)).count();
        assert_eq!(is(|effect| *effect == Effect::Spill), 1);
        assert_eq!(is(|effect| *effect == Effect::Keep), 3);
        assert_eq!(effects.last(), Some(&Effect::Land(Outcome::Renewed)));
    }

    #[test]
    fn a_stop_ends_only_what_can_be_taken_up_again() {
        assert_eq!(asked(&[Event::Stop, Event::Answered, Event::Stop]), [Effect::Keep]);
        let spilled = asked(&[Event::Answered, Event::NotKept, Event::Stop]);
        assert_eq!(spilled.last(), Some(&Effect::Land(Outcome::StoreAway)));
        assert!(spilled.contains(&Effect::Spill));
    }

    #[test]
    fn a_request_that_surely_never_arrived_is_sent_once_more_and_no_other_is() {
        let never = Event::Refused(RefusalClass::Transient, Reached::Never);
        let effects = asked(&[never.clone(), Event::Woke, never]);
        assert_eq!(effects, [Effect::Sleep(RESEND), Effect::Ask(spend()), Effect::Note]);
        for reached in [Reached::Maybe, Reached::Garbled, Reached::Answered] {
            assert_eq!(asked(&[Event::Refused(RefusalClass::Transient, reached)]), [Effect::Note]);
        }
    }

    #[test]
    fn a_request_that_took_long_to_never_arrive_is_not_sent_again_beyond_the_lease() {
        let mut flight = Flight::new(Urgency::Wanted, at(10));
        let spend = Event::Begun(Admission::Spend(spend()));
        for event in [Event::Start, Event::Entered, spend] {
            flight.step(event, at(0), &mut Fixed(0));
        }
        let never = Event::Refused(RefusalClass::Transient, Reached::Never);
        assert_eq!(flight.step(never, at(5), &mut Fixed(0)), [Effect::Note]);
    }

    #[test]
    fn where_a_replay_is_safe_it_begins_again_once_with_an_intent_of_its_own() {
        let lost = Event::Refused(RefusalClass::Transient, Reached::Maybe);
        let again = Event::Noted { again: true };
        let begun = Event::Begun(Admission::Spend(spend()));
        let effects = asked(&[lost.clone(), again.clone(), Event::Entered, begun, lost, again]);
        let land = Effect::Land(Outcome::Refused);
        assert_eq!(
            effects,
            [Effect::Note, Effect::Enter, Effect::Begin, Effect::Ask(spend()), Effect::Note, land]
        );
    }

    #[test]
    fn asking_again_without_room_for_a_second_call_is_over() {
        let lost = Event::Refused(RefusalClass::Transient, Reached::Maybe);
        let full = Event::Full(Duration::from_secs(11));
        let effects = asked(&[lost, Event::Noted { again: true }, full]);
        let land = Effect::Land(Outcome::NoRoom(Duration::from_secs(11)));
        assert_eq!(effects, [Effect::Note, Effect::Enter, land]);
    }

    #[test]
    fn the_holder_of_the_lease_is_waited_for_and_never_overtaken() {
        let held = Event::Begun(Admission::Held { left: Duration::from_secs(9) });
        let begin = [Event::Start, Event::Entered, held.clone()];
        let mut flight = Flight::new(Urgency::Wanted, at(10));
        let effects: Vec<Effect> =
            begin.into_iter().flat_map(|event| flight.step(event, at(0), &mut Fixed(0))).collect();
        assert_eq!(effects[2..], [Effect::Sleep(POLL)]);
        assert_eq!(flight.step(Event::Woke, at(9), &mut Fixed(0)), [Effect::Begin]);
        let late = flight.step(held.clone(), at(10), &mut Fixed(0));
        assert_eq!(
            late,
            [Effect::Land(Outcome::Busy)],
            "waiting too long never means refresh anyway"
        );
        let scheduled = walk(Urgency::Scheduled, &[Event::Start, Event::Entered, held]);
        assert_eq!(scheduled[2..], [Effect::Land(Outcome::Busy)], "the schedule does not wait");
    }

    #[test]
    fn room_is_waited_for_as_long_as_patience_lasts() {
        let wait = |seconds| Event::Full(Duration::from_secs(seconds));
        let effects = walk(Urgency::Wanted, &[Event::Start, wait(3), Event::Woke, wait(11)]);
        let long = Duration::from_secs(11);
        let sleep = Effect::Sleep(Duration::from_secs(3));
        assert_eq!(
            effects,
            [Effect::Enter, sleep, Effect::Enter, Effect::Land(Outcome::NoRoom(long))]
        );
    }

    #[test]
    fn a_refusal_that_cannot_be_written_is_tried_and_then_left_in_doubt() {
        let refused = Event::Refused(RefusalClass::NeedsConsent, Reached::Answered);
        let mut events = vec![refused];
        for _ in 0..NOTES {
            events.extend([Event::NotNoted, Event::Woke]);
        }
        let effects = asked(&events);
        assert_eq!(effects.iter().filter(|effect| **effect == Effect::Note).count(), 5);
        assert_eq!(effects.last(), Some(&Effect::Land(Outcome::StoreAway)));
    }
}
