//! The refresh simulation in short: some hundred seeds hold, and each step that is done wrong on purpose is found.
//!
//! Never depends on the machine's speed: time is virtual. `make simulate` plays as many seeds as one likes.

use e2e::simulation::{Break, run};

/// Seeds that `make test` plays; `make simulate` plays more.
const SEEDS: u64 = 300;

/// The most seeds that it may take to find a broken step.
const FOUND_WITHIN: u64 = 1_000;

fn all_hold(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let out = run(seed, None, 0);
        assert!(out.broken.is_none(), "{}", run(seed, None, 60));
    }
}

#[test]
fn the_invariants_hold_over_the_first_half_of_the_seeds() {
    all_hold(1..SEEDS / 2 + 1);
}

#[test]
fn the_invariants_hold_over_the_second_half_of_the_seeds() {
    all_hold(SEEDS / 2 + 1..SEEDS + 1);
}

#[test]
fn a_seed_plays_the_same_again() {
    for seed in [3, 30] {
        let (one, two) = (run(seed, None, 60), run(seed, None, 60));
        assert_eq!((one.events, one.calls, one.trace), (two.events, two.calls, two.trace));
    }
}

#[test]
fn a_seed_that_breaks_says_what_broke_and_how_to_see_it_again() {
    let out = run(1, Some(Break::NoIntent), 60);
    let told = out.to_string();
    assert!(told.contains("without an intent") && told.contains("FIRST_SEED=1 SEEDS=1"), "{told}");
    assert!(out.trace.len() > 2, "{told}");
}

/// Which invariant the step breaks first, if any.
fn found(broken: Break) -> Option<String> {
    (1..=FOUND_WITHIN).find_map(|seed| run(seed, Some(broken), 0).broken)
}

macro_rules! is_found {
    ($($sentence:ident: $broken:ident says $what:literal;)*) => {$(
        #[test]
        fn $sentence() {
            let found = found(Break::$broken).unwrap_or_default();
            assert!(found.contains($what), "{found}");
        }
    )*};
}

is_found! {
    a_token_that_is_spent_without_an_intent_is_found: NoIntent says "intent";
    a_lease_that_nobody_heeds_is_found: NoLease says "I6";
    an_answer_that_is_told_before_it_is_stored_is_found: StoreAfterParse says "P4";
    a_late_answer_that_is_thrown_away_is_found: Overwrite says "I1";
    a_refusal_that_is_believed_at_once_is_found: BelieveFirst says "I1";
    a_spill_file_that_is_forgotten_is_found: ForgetSpill says "spilled";
    a_refusal_that_is_judged_by_what_was_known_before_is_found: NoReread says "I1";
    an_answer_that_is_stored_twice_is_found: KeepTwice says "I5";
    a_refusal_that_is_counted_twice_is_found: NoteTwice says "counts twice";
    a_shut_app_that_is_called_all_the_same_is_found: NoSilence says "cost";
    rights_that_are_believed_too_long_are_found: StaleRights says "I2";
}
