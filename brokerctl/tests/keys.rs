//! `key`, `drain` and `app reset-breaker`, the real binary against a broker in this process.

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "fake/broker.rs"]
mod fake;

use std::sync::atomic::{AtomicI64, Ordering};

use fake::{Fake, refusal};
use prost_types::Timestamp;
use serde_json::json;
use tokenbroker_proto::v1::*;
use tonic::Code;

fn stands() -> KeyStatus {
    KeyStatus {
        key_encryption_key: "00aa".into(),
        active_term: 2,
        terms: vec![
            KeyTerm {
                term: 1,
                state: KeyTermState::Retired.into(),
                uses: vec![
                    KeyUse { kind: "grants.refresh_token".into(), count: 7, resealable: true },
                    KeyUse { kind: "credentials.secret_hash".into(), count: 3, resealable: false },
                ],
                needs: vec!["3 passwords were not used since".into()],
            },
            KeyTerm { term: 2, state: KeyTermState::Active.into(), ..Default::default() },
        ],
        ..Default::default()
    }
}

fn reseal(state: ResealState, done: i64, refused: i64) -> Option<Reseal> {
    let row = RefusedRow { table: "accounts".into(), column: "mac".into(), id: "0f".into() };
    Some(Reseal {
        state: state.into(),
        term: 2,
        replica: "a/1".into(),
        start_time: Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        end_time: None,
        total: 10,
        done,
        refused,
        refused_rows: (0..refused).map(|_| row.clone()).collect(),
    })
}

#[tokio::test]
async fn the_keys_have_the_same_fields_for_scripts_forever_and_read_well() {
    let fake = Fake::default();
    fake.on("get_key_status", |_: &GetKeyStatusRequest| Ok(stands()));
    let world = fake.start().await;
    let run = world.run("key status --json").await;
    let expected = json!({
        "key_encryption_key": "00aa", "next_key_encryption_key": null, "active_term": 2,
        "terms": [
            {"term": 1, "state": "retired", "needs": ["3 passwords were not used since"], "uses": [
                {"kind": "grants.refresh_token", "count": 7, "resealable": true},
                {"kind": "credentials.secret_hash", "count": 3, "resealable": false},
            ]},
            {"term": 2, "state": "active", "uses": [], "needs": []},
        ],
        "reseal": null, "refused_rows": [],
    });
    assert_eq!(run.json(), expected);
    let people = world.run("key status").await.stdout;
    assert!(people.contains("term 1: 3 passwords were not used since"), "{people}");
    assert!(people.contains("TERM") && people.contains("retired"), "{people}");
}

#[tokio::test]
async fn a_reseal_is_followed_to_its_end_and_what_was_refused_is_an_exit_code() {
    for (refused, code) in [(0, 0), (2, 7)] {
        let fake = Fake::default();
        fake.on("start_reseal", |_: &StartResealRequest| {
            Ok(KeyStatus { reseal: reseal(ResealState::Running, 0, 0), ..stands() })
        });
        let looks = AtomicI64::new(0);
        fake.on("get_key_status", move |_: &GetKeyStatusRequest| {
            let look = looks.fetch_add(1, Ordering::SeqCst);
            let state = if look < 2 { ResealState::Running } else { ResealState::Done };
            Ok(KeyStatus { reseal: reseal(state, 4 * look, refused), ..stands() })
        });
        let run = fake.start().await.run("key reseal --json").await;
        assert_eq!(run.code, code, "{}", run.stderr);
        assert_eq!(run.json()["reseal"]["state"], "done");
        if refused > 0 {
            assert_eq!(run.json()["reseal"]["refused_rows"][0]["table"], "accounts");
            assert_eq!(run.error()["kind"], "found");
        }
    }
}

#[tokio::test]
async fn a_term_that_is_needed_is_refused_with_what_needs_it() {
    let fake = Fake::default();
    fake.on("remove_key_term", |ask: &RemoveKeyTermRequest| {
        assert_eq!(ask.term, 1);
        Err::<KeyStatus, _>(refusal(Code::FailedPrecondition, "IN_USE", "key term 1: 3 passwords"))
    });
    let run = fake.start().await.run("key remove 1").await;
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("3 passwords"), "{}", run.stderr);
}

#[tokio::test]
async fn the_help_teaches_the_order_of_the_steps() {
    let world = Fake::default().start().await;
    let help = world.run("key --help").await.stdout;
    let at = |step: &str| help.find(step).unwrap_or_else(|| panic!("no {step}: {help}"));
    let steps = ["new-key", "key rotate-kek", "key rotate ", "key reseal", "key remove"];
    assert!(steps.windows(2).all(|two| at(two[0]) < at(two[1])), "{help}");
}

#[tokio::test]
async fn a_drain_that_waits_ends_when_the_broker_is_idle_or_says_that_it_is_not() {
    let fake = Fake::default();
    let calls = AtomicI64::new(3);
    fake.on("drain_broker", move |_: &DrainBrokerRequest| {
        let calls_in_flight = calls.fetch_sub(1, Ordering::SeqCst).max(0);
        Ok(ServingState { draining: true, calls_in_flight, refreshes_in_flight: 0 })
    });
    let world = fake.start().await;
    assert_eq!(world.run("drain --json").await.json()["calls_in_flight"], 3);
    let run = world.run("drain --wait --json").await;
    assert_eq!((run.code, run.json()["calls_in_flight"].as_i64()), (0, Some(0)));
    let busy = Fake::default();
    busy.on("drain_broker", |_: &DrainBrokerRequest| {
        Ok(ServingState { draining: true, calls_in_flight: 0, refreshes_in_flight: 1 })
    });
    busy.on("resume_broker", |_: &ResumeBrokerRequest| Ok(ServingState::default()));
    let world = busy.start().await;
    assert_eq!(world.run("drain --wait --at-most 1s").await.code, 5);
    assert_eq!(world.run("resume --json").await.json()["draining"], false);
}

#[tokio::test]
async fn an_apps_breaker_is_reset_by_its_name() {
    let fake = Fake::default();
    fake.on("reset_breaker", |ask: &ResetBreakerRequest| {
        assert_eq!(ask.app, "projects/default/apps/work");
        Ok(ResetBreakerResponse { endpoint: "id.example:443/token".into(), pause_lifted: true })
    });
    let run = fake.start().await.run("app reset-breaker work --json").await;
    let expected = json!({"endpoint": "id.example:443/token", "pause_lifted": true});
    assert_eq!(run.json(), expected);
}
