//! What an operator is shown of refreshes, breakers and secrets, by the real binary against a broker in this process.

#[path = "fake/broker.rs"]
#[expect(dead_code, reason = "the other tests need more of it")]
mod fake;

use fake::Fake;
use prost_types::{Duration, Timestamp};
use serde_json::json;
use tokenbroker_proto::v1::*;

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

/// An account with an interrupted refresh at a strict provider.
fn ann() -> Account {
    let generation = |generation, parent| GrantGeneration {
        generation,
        parent,
        receive_time: at(1_700_000_000),
        ..Default::default()
    };
    let attempts = vec![RefreshAttempt {
        start_time: at(1_700_000_100),
        end_time: at(1_700_000_200),
        audience: "mail".into(),
        generation: 2,
        outcome: "lost".into(),
        code: "interrupted".into(),
        owner: "a-7".into(),
    }];
    Account {
        name: "projects/default/accounts/ann".into(),
        mailbox: "ann@example.com".into(),
        app: "projects/default/apps/work".into(),
        state: AccountState::Active.into(),
        refresh: Some(RefreshState {
            due_time: at(4_000_000_000),
            failures: 3,
            class: "transient".into(),
            code: "503".into(),
            in_doubt: true,
            in_doubt_since_time: at(1_700_000_100),
            lease_owner: "a-8".into(),
            lease_remaining: Some(Duration { seconds: 7, nanos: 500_000_000 }),
            rotation: Rotation::Strict.into(),
            generations: vec![
                GrantGeneration { in_doubt: true, refusals: 1, ..generation(2, 1) },
                GrantGeneration { proven: true, carried: true, ..generation(1, 0) },
            ],
            attempts,
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_account_shows_its_generations_and_what_failed_lately() {
    let fake = Fake::default();
    fake.on("get_account", |_: &GetAccountRequest| Ok(ann()));
    let world = fake.start().await;
    let people = world.run("account show ann").await.stdout;
    for words in [
        "3 in a row; transient: 503",
        "a-8, for 8 s more at most",
        "strict",
        "cold: nobody asks",
        "consent",
        "sent without an answer, refused once",
        "same token as before, has worked",
        "interrupted",
    ] {
        assert!(people.contains(words), "{words}: {people}");
    }
    let refresh = world.run("account show ann --json").await.json()["refresh"].take();
    let expected = json!({
        "due_time": "2096-10-02T07:06:40Z", "not_before_time": null, "failures": 3, "class": "transient",
        "code": "503", "attempt_time": null, "in_doubt": true, "in_doubt_since_time": "2023-11-14T22:15:00Z",
        "lease_owner": "a-8", "lease_remaining_seconds": 7.5, "rotation": "strict", "grant_end_time": null,
        "warm": false,
        "generations": [
            {"generation": 2, "parent": 1, "receive_time": "2023-11-14T22:13:20Z", "proven": false, "refusals": 1,
             "carried": false, "end_time": null, "in_doubt": true},
            {"generation": 1, "parent": 0, "receive_time": "2023-11-14T22:13:20Z", "proven": true, "refusals": 0,
             "carried": true, "end_time": null, "in_doubt": false},
        ],
        "attempts": [
            {"start_time": "2023-11-14T22:15:00Z", "end_time": "2023-11-14T22:16:40Z", "audience": "mail",
             "generation": 2, "outcome": "lost", "code": "interrupted", "owner": "a-7"},
        ],
    });
    assert_eq!(refresh, expected);
}

fn finding(severity: FindingSeverity, text: &str, remedy: &str) -> Finding {
    let (text, remedy) = (text.to_owned(), remedy.to_owned());
    Finding { severity: severity.into(), text, remedy, next_time: at(4_000_000_000) }
}

#[tokio::test]
async fn the_doctor_prints_what_was_found_and_only_an_error_is_an_exit_code() {
    for (severity, word, code) in [
        (FindingSeverity::Ok, "ok", 0),
        (FindingSeverity::Notice, "notice", 0),
        (FindingSeverity::Warning, "warning", 0),
        (FindingSeverity::Error, "error", 7),
    ] {
        let fake = Fake::default();
        fake.on("diagnose_account", move |ask: &DiagnoseAccountRequest| {
            assert_eq!(ask.name, "projects/default/accounts/ann");
            let findings = vec![
                finding(severity, "the app is\u{1b}[2J refused", "brokerctl app verify work"),
                finding(FindingSeverity::Ok, "it works", ""),
            ];
            Ok(DiagnoseAccountResponse { account: Some(ann()), findings })
        });
        let world = fake.start().await;
        let run = world.run("account doctor ann").await;
        assert_eq!(run.code, code, "{word}: {}", run.stderr);
        for words in
            [word, "ann@example.com (ann), app work", "next: in ", "try: brokerctl app verify"]
        {
            assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
        }
        assert!(!run.stdout.contains('\u{1b}'), "no colour into a pipe: {:?}", run.stdout);
        assert_eq!(run.stderr.is_empty(), code == 0, "{}", run.stderr);

        let run = world.run("account doctor ann --json").await;
        let told = run.json();
        assert_eq!((run.code, &told["severity"]), (code, &json!(word)));
        assert_eq!(told["findings"][0]["remedy"], json!("brokerctl app verify work"));
        assert_eq!(told["findings"][1]["remedy"], json!(null));
        assert_eq!(told["account"]["id"], json!("ann"));
        if code != 0 {
            assert_eq!(
                (run.error()["kind"].take(), run.error()["exit_code"].take()),
                (json!("found"), json!(7))
            );
        }
    }
}

#[tokio::test]
async fn an_app_shows_its_breakers_and_the_state_of_its_secrets() {
    let secret = |secret_id: &str, active, seconds| AppSecret {
        secret_id: secret_id.to_owned(),
        active,
        expire_time: at(seconds),
        ..Default::default()
    };
    let app = App {
        name: "projects/default/apps/work".into(),
        health: AppHealth::Rejected.into(),
        health_time: at(1_700_000_000),
        health_code: "invalid_client".into(),
        retry_time: at(4_000_000_000),
        refusals: 4,
        endpoint_retry_time: at(4_000_000_000),
        endpoint_failures: 6,
        secrets: vec![secret("s1", true, 1_700_000_000), secret("s2", false, 4_000_000_000)],
        ..Default::default()
    };
    let fake = Fake::default();
    fake.on("get_app", move |_: &GetAppRequest| Ok(app.clone()));
    let world = fake.start().await;
    let people = world.run("app show work").await.stdout;
    for words in [
        "rejected",
        "invalid_client, 4 in a row",
        "refused; asked again in ",
        "away, 6 failures in a row",
        "s1 (in use, ENDED ",
        "s2 (kept, ends in ",
    ] {
        assert!(people.contains(words), "{words}: {people}");
    }
    let told = world.run("app show work --json").await.json();
    assert_eq!((&told["health_code"], &told["refusals"]), (&json!("invalid_client"), &json!(4)));
    assert_eq!(told["retry_time"], told["endpoint_retry_time"]);
}

#[tokio::test]
async fn help_teaches_what_the_doctor_says_and_how_a_script_asks() {
    let world = Fake::default().start().await;
    let help = world.run("account doctor --help").await.stdout;
    assert!(help.contains("Exit code 7") && help.contains("jq"), "{help}");
    assert!(world.run("account show --help").await.stdout.contains("In doubt"));
    assert!(world.run("--help").await.stdout.contains("7  `account doctor`"));
}
