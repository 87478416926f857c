//! Histories made by hand, with and without a violation.

use super::super::history::{Fault, Harm, LINGERS, STANDS};
use super::*;

struct Hand {
    history: History,
    subject: Subject,
}

/// A credential that was made at 0 and acknowledged at 10.
fn hand() -> Hand {
    let mut history = History::default();
    let subject = history.thing(Kind::Credential, "abc".to_owned());
    let mut hand = Hand { history, subject };
    hand.gives(0, Some(10));
    hand
}

impl Hand {
    fn write(&mut self, takes: bool, begun: Micros, acknowledged: Option<Micros>) {
        let end = acknowledged.map_or(End::Maybe, End::Acknowledged);
        let what = if takes { "revoke" } else { "give" };
        self.history.write(self.subject, Write { takes, what, broker: 0, begun, end });
    }

    fn takes(&mut self, begun: Micros, acknowledged: Option<Micros>) {
        self.write(true, begun, acknowledged);
    }

    fn gives(&mut self, begun: Micros, acknowledged: Option<Micros>) {
        self.write(false, begun, acknowledged);
    }

    fn asks(&mut self, begun: Micros, ended: Micros, heard: Heard) {
        let mut on = [Subject::NONE; STANDS];
        on[3] = self.subject;
        self.history.calls.push(Call { begun, ended, on, ask: Ask::Open, heard, broker: 2 });
    }

    fn granted(&mut self, begun: Micros, ended: Micros) {
        self.asks(begun, ended, Heard::Granted);
    }

    fn violated(&self) -> u64 {
        judge(&self.history).violated()
    }
}

#[test]
fn what_is_handed_out_before_during_and_just_as_a_right_is_taken_is_clean() {
    let mut hand = hand();
    hand.granted(20, 30);
    hand.takes(100, Some(200));
    hand.granted(90, 300);
    hand.granted(150, 160);
    // It began in the very microsecond of the acknowledgement.
    hand.granted(200, 210);
    assert_eq!(hand.violated(), 0);
    assert_eq!(judge(&hand.history).grants, 4);
}

#[test]
fn what_began_after_the_acknowledgement_is_a_violation_and_is_shown() {
    let mut hand = hand();
    hand.takes(100, Some(200));
    hand.granted(90, 150);
    hand.granted(201, 5_000);
    let verdict = judge(&hand.history);
    assert_eq!(verdict.violated(), 1);
    assert_eq!(verdict.found, BTreeMap::from([((Ask::Open, Kind::Credential), 1)]));
    let shown = excerpt(&hand.history, &verdict.violations[0]);
    for part in [
        "OpenSession at broker 2 was granted; it began 0.001 ms after \"revoke\" of credential abc was",
        "0.000100  broker 0: revoke, acknowledged at 0.000200",
        "0.000000  broker 0: give, acknowledged at 0.000010",
        "0.000201  broker 2: OpenSession granted at 0.005000   <-- must be refused",
        "0.000090  broker 2: OpenSession granted at 0.000150",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[test]
fn a_right_that_was_never_given_back_stays_gone_however_long_ago() {
    let mut hand = hand();
    hand.takes(100, Some(200));
    hand.granted(60_000_000_000, 60_000_000_001);
    assert_eq!(hand.violated(), 1);
}

#[test]
fn a_refusal_and_an_answer_that_did_not_come_violate_nothing() {
    let mut hand = hand();
    hand.takes(100, Some(200));
    hand.asks(300, 310, Heard::Refused);
    hand.asks(300, 310, Heard::Unsure);
    let verdict = judge(&hand.history);
    assert_eq!((verdict.violated(), verdict.grants, verdict.pressed), (0, 0, 1));
}

#[test]
fn a_taking_whose_answer_was_lost_never_counts() {
    let mut hand = hand();
    hand.takes(100, None);
    hand.granted(300, 310);
    hand.granted(900_000_000, 900_000_001);
    assert_eq!(hand.violated(), 0);
    // Until it is repeated and acknowledged.
    hand.takes(901_000_000, Some(901_000_100));
    hand.granted(901_000_200, 901_000_300);
    assert_eq!(hand.violated(), 1);
}

#[test]
fn a_right_counts_as_given_back_from_the_beginning_of_the_giving() {
    let mut hand = hand();
    hand.takes(100, Some(200));
    hand.gives(300, Some(400));
    hand.granted(250, 300);
    hand.granted(250, 350);
    hand.granted(350, 360);
    hand.granted(500, 510);
    assert_eq!(hand.violated(), 0);
    // This one was over before the giving began.
    hand.granted(250, 299);
    assert_eq!(hand.violated(), 1);
}

#[test]
fn a_giving_that_was_over_before_the_taking_began_excuses_nothing() {
    let mut hand = hand();
    hand.gives(20, Some(99));
    hand.takes(100, Some(200));
    hand.granted(300, 310);
    assert_eq!(hand.violated(), 1);
}

#[test]
fn of_a_taking_and_a_giving_at_the_same_time_either_may_have_been_the_last() {
    let mut hand = hand();
    hand.gives(50, Some(150));
    hand.takes(100, Some(200));
    hand.granted(300, 310);
    assert_eq!(hand.violated(), 0);
    // A later taking is the last for certain.
    hand.takes(400, Some(500));
    hand.granted(600, 610);
    assert_eq!(hand.violated(), 1);
}

#[test]
fn a_long_taking_that_ends_last_does_not_hide_a_later_one() {
    let mut hand = hand();
    hand.takes(100, Some(900));
    hand.gives(200, Some(300));
    hand.takes(400, Some(500));
    // The first may have been done before the giving, the second was not.
    hand.granted(1000, 1010);
    assert_eq!(hand.violated(), 1);
    let verdict = judge(&hand.history);
    assert_eq!(verdict.violations[0].taken, 3, "the one that began last");
}

#[test]
fn a_giving_without_an_answer_may_come_late_but_not_for_ever() {
    let mut hand = hand();
    hand.gives(20, None);
    hand.takes(100, Some(200));
    hand.granted(300, 310);
    assert_eq!(hand.violated(), 0, "it may have been done after the taking");
    let over = 20 + 2 * LINGERS + 1;
    hand.takes(over, Some(over + 10));
    hand.granted(over + 20, over + 30);
    assert_eq!(hand.violated(), 1, "nobody can be at it any more");
}

#[test]
fn the_death_of_its_broker_ends_a_giving_without_an_answer() {
    let mut hand = hand();
    hand.gives(20, None);
    let (from, to) = (1_000_000, 2_000_000);
    hand.history.faults.push(Fault { broker: 0, harm: Harm::Kill, from, to });
    hand.takes(7_000_001, Some(7_000_010));
    hand.granted(7_000_020, 7_000_030);
    assert_eq!(hand.violated(), 1);
    // Had another broker died, it might still be at it.
    hand.history.faults[0].broker = 1;
    assert_eq!(hand.violated(), 0);
}

#[test]
fn one_right_of_many_is_enough() {
    let mut hand = hand();
    let app = hand.history.thing(Kind::App, "app".to_owned());
    let end = End::Acknowledged(1);
    hand.history.write(app, Write { takes: false, what: "made", broker: 0, begun: 0, end });
    hand.granted(20, 30);
    hand.history.calls[0].on[4] = app;
    assert_eq!(hand.violated(), 0);
    let end = End::Acknowledged(15);
    hand.history.write(app, Write { takes: true, what: "disable", broker: 0, begun: 12, end });
    assert_eq!(judge(&hand.history).found, BTreeMap::from([((Ask::Open, Kind::App), 1)]));
}
