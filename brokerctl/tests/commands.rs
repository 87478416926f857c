//! The real binary against a broker in this process: what scripts see, exit codes, and where secrets go.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

#[path = "fake/broker.rs"]
mod fake;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake::{Fake, World, detailed, finish, refusal};
use prost_types::Timestamp;
use serde_json::json;
use tokenbroker_proto::v1::*;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tonic::Code;
use tonic_types::ErrorDetails;

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn ann() -> Account {
    Account {
        name: "projects/default/accounts/ann".into(),
        mailbox: "ann@example.com".into(),
        app: "projects/default/apps/work".into(),
        labels: HashMap::from([("team".into(), "sales".into())]),
        state: AccountState::NeedsConsent.into(),
        reason: ErrorReason::AccountNeedsConsent.into(),
        provider_code: "invalid_grant".into(),
        token_expire_time: at(1_800_000_000),
        etag: "e1".into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_account_has_the_same_fields_for_scripts_forever() {
    let fake = Fake::default();
    fake.on("get_account", |ask: &GetAccountRequest| {
        assert_eq!(ask.name, "projects/default/accounts/ann");
        Ok(ann())
    });
    let run = fake.start().await.run("account show ann --json").await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let expected = json!({
        "name": "projects/default/accounts/ann", "id": "ann", "mailbox": "ann@example.com",
        "display_name": null, "app": "projects/default/apps/work", "labels": {"team": "sales"},
        "state": "needs_consent", "reason": "ACCOUNT_NEEDS_CONSENT", "provider_code": "invalid_grant",
        "provider_message": null, "subject": null, "sasl_user": null, "generation": 0, "revocation_pending": false,
        "token_expire_time": "2027-01-15T08:00:00Z", "refresh_time": null, "create_time": null,
        "update_time": null, "etag": "e1", "refresh": null,
    });
    assert_eq!(run.json(), expected);
}

#[tokio::test]
async fn a_list_is_fetched_to_its_last_page_and_reads_well() {
    let fake = Fake::default();
    fake.on("list_accounts", |ask: &ListAccountsRequest| {
        let next_page_token = if ask.page_token.is_empty() { "2" } else { "" }.into();
        Ok(ListAccountsResponse { accounts: vec![ann()], next_page_token })
    });
    let world = fake.start().await;
    assert_eq!(
        world.run("account list --json").await.json()["accounts"].as_array().unwrap().len(),
        2
    );
    assert_eq!(
        world.run("account list --json --limit 1").await.json()["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let people = world.run("account list").await.stdout;
    assert!(people.contains("MAILBOX") && people.contains("ann@example.com"), "{people}");
    assert!(!people.contains('\u{1b}'), "no colour into a pipe: {people:?}");
}

#[tokio::test]
async fn every_kind_of_failure_has_its_exit_code_and_a_remedy() {
    let mut link = ErrorDetails::new();
    link.add_help_link("consent", "https://broker.example/c/1");
    let field = ErrorDetails::with_bad_request_violation("name", "an id has no blanks");
    let wait = ErrorDetails::with_retry_info(Some(Duration::from_secs(7)));
    let none = ErrorDetails::new;
    for (code, reason, details, exit, remedy) in [
        (Code::InvalidArgument, "INVALID_FIELD", field, 1, "an id has no blanks"),
        (Code::FailedPrecondition, "APP_REJECTED", none(), 1, "add-secret"),
        (Code::AlreadyExists, "ALREADY_EXISTS", none(), 1, "show"),
        (Code::Internal, "INTERNAL", none(), 1, "log"),
        (Code::NotFound, "NOT_FOUND", none(), 3, "list"),
        (Code::PermissionDenied, "NOT_PERMITTED", none(), 3, "whoami"),
        (Code::FailedPrecondition, "ACCOUNT_NEEDS_CONSENT", link, 4, "https://broker.example/c/1"),
        (Code::Unavailable, "PROVIDER_UNAVAILABLE", wait, 5, "in 7 s"),
    ] {
        let fake = Fake::default();
        let status = detailed(code, reason, "the broker's words", details);
        fake.on("get_account", move |_: &GetAccountRequest| Err::<Account, _>(status.clone()));
        let world = fake.start().await;
        let run = world.run("account show ann").await;
        assert_eq!(run.code, exit, "{reason}: {}", run.stderr);
        let lines: Vec<_> = run.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{}", run.stderr);
        assert!(lines[0].starts_with("error: the broker's words"), "{}", lines[0]);
        assert!(lines[1].starts_with("  try: ") && lines[1].contains(remedy), "{}", lines[1]);

        let run = world.run("account show ann --json").await;
        let error = run.error();
        assert_eq!((run.code, run.stdout.as_str()), (exit, ""));
        assert_eq!(
            (error["exit_code"].as_i64(), error["reason"].as_str()),
            (Some(exit.into()), Some(reason))
        );
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_a_wrong_key_and_wrong_words_are_told_apart() {
    let world = Fake::default().start().await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let run = world.run(&format!("status --server http://{free}")).await;
    assert_eq!(run.code, 6, "{}", run.stderr);
    assert!(run.stderr.contains(&free.to_string()), "{}", run.stderr);

    let mut wrong_key = world.command("status --json");
    wrong_key.env("BROKERCTL_KEY", "tbk_wrong");
    let run = finish(wrong_key).await;
    assert_eq!((run.code, run.error()["kind"].as_str()), (3, Some("not_permitted")));

    let mut no_key = world.command("status");
    no_key.env_remove("BROKERCTL_KEY");
    let run = finish(no_key).await;
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("--key-file"), "{}", run.stderr);

    for args in [
        "",
        "app",
        "account shwo",
        "credential create ann --expires soon",
        "status --server http://192.0.2.1:1",
    ] {
        assert_eq!(world.run(args).await.code, 2, "{args}");
    }
    let run = world.run("account shwo --json").await;
    assert_eq!((run.code, run.error()["kind"].as_str()), (2, Some("usage")));
}

#[cfg(unix)]
#[tokio::test]
async fn the_config_file_names_broker_and_key_and_a_readable_key_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let fake = Fake::default();
    fake.on("who_am_i", |_: &WhoAmIRequest| {
        Ok(Caller { name: "projects/default/callers/root".into(), ..Default::default() })
    });
    let world = fake.start().await;
    let key = world.home.path().join("key");
    std::fs::write(&key, "tbk_canary\n").unwrap();
    let folder = world.home.path().join(".config/token-broker");
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!("server = \"http://{}\"\nkey_file = \"{}\"\n", world.address, key.display());
    std::fs::write(folder.join("brokerctl.toml"), text).unwrap();
    for (mode, code, words) in [(0o644, 2, "chmod 600"), (0o600, 0, "")] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut command = world.command("caller whoami");
        command.env_remove("BROKERCTL_KEY").env_remove("BROKERCTL_SERVER");
        let run = finish(command).await;
        assert_eq!(run.code, code, "{}", run.stderr);
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
}

#[tokio::test]
async fn a_client_secret_comes_by_file_stdin_or_environment_and_is_never_shown() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let fake = Fake::default();
    let heard = Arc::clone(&seen);
    fake.on("create_app", move |ask: &CreateAppRequest| {
        heard.lock().unwrap().push(ask.client_secret.clone());
        let app = ask.app.clone().unwrap();
        assert_eq!((app.preset.as_str(), app.client_id.as_str()), ("google", "id-1"));
        Ok(App { name: format!("projects/default/apps/{}", ask.app_id), ..app })
    });
    let world = fake.start().await;
    let file = world.home.path().join("secret");
    std::fs::write(&file, "canary-file\n").unwrap();
    let create = "app create work --preset google --client-id id-1";
    let by_file = world.run(&format!("{create} --client-secret-file {}", file.display())).await;
    let by_stdin =
        world.run_with(&format!("{create} --client-secret-file - --json"), "canary-stdin").await;
    let mut by_environment = world.command(create);
    by_environment.env("TOKEN_BROKER_CLIENT_SECRET", "canary-env");
    let by_environment = finish(by_environment).await;
    let public = world.run(create).await;
    for run in [by_file, by_stdin, by_environment, public] {
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(!format!("{}{}", run.stdout, run.stderr).contains("canary"));
    }
    assert_eq!(*seen.lock().unwrap(), ["canary-file", "canary-stdin", "canary-env", ""]);
    let argument = world.run(&format!("{create} --client-secret canary")).await;
    assert_eq!(argument.code, 2, "never as an argument");
}

#[tokio::test]
async fn only_what_was_named_is_changed() {
    let fake = Fake::default();
    fake.on("update_app", |ask: &UpdateAppRequest| {
        let mut paths = ask.update_mask.clone().unwrap().paths;
        paths.sort();
        assert_eq!(paths, ["disabled", "extra_scopes", "mail_hosts", "return_uris"]);
        let app = ask.app.clone().unwrap();
        assert!(app.disabled && app.return_uris.is_empty());
        Ok(app)
    });
    let world = fake.start().await;
    let args = "app update work --disable --extra-scope openid --mail-host imaps://h:993 --clear return-uris --json";
    let run = world.run(args).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.json()["mail_hosts"], json!(["imaps://h:993"]));
    assert_eq!(world.run("app update work").await.code, 2);
}

#[tokio::test]
async fn a_refused_app_is_an_exit_code_too() {
    let fake = Fake::default();
    fake.on("verify_app", |_: &VerifyAppRequest| {
        Ok(VerifyAppResponse { accepted: false, findings: vec!["invalid_client\u{1b}[2J".into()] })
    });
    let world = fake.start().await;
    let run = world.run("app verify work").await;
    assert_eq!(run.code, 1);
    assert!(
        run.stdout.contains("invalid_client") && !run.stdout.contains('\u{1b}'),
        "{:?}",
        run.stdout
    );
    assert_eq!(world.run("app verify work --json").await.json()["accepted"], json!(false));
}

fn credential(id: &str) -> Credential {
    Credential {
        name: format!("projects/default/accounts/ann/credentials/{id}"),
        protocols: vec![MailProtocol::Imap.into(), MailProtocol::Smtp.into()],
        state: CredentialState::Active.into(),
        login_names: vec!["ann@example.com".into(), "ann".into()],
        ..Default::default()
    }
}

#[tokio::test]
async fn a_generated_password_is_shown_once_or_put_into_a_private_file() {
    let fake = Fake::default();
    fake.on("create_credential", |ask: &CreateCredentialRequest| {
        assert_eq!(ask.parent, "ann@example.com");
        assert_eq!(ask.credential.as_ref().unwrap().protocols, [1, 2]);
        Ok(CreateCredentialResponse {
            credential: Some(credential("c1")),
            secret: "tb_canary".into(),
        })
    });
    let world = fake.start().await;
    let run = world.run("credential create ann@example.com --json").await;
    let shown = run.json();
    assert_eq!((shown["id"].as_str(), shown["secret"].as_str()), (Some("c1"), Some("tb_canary")));
    assert_eq!(shown["login_names"], json!(["ann@example.com", "ann"]));
    assert!(!run.stderr.contains("canary") && run.stderr.contains("shown once"));

    let path = world.home.path().join("password");
    let args =
        format!("credential create ann@example.com --json --output-secret {}", path.display());
    let run = world.run(&args).await;
    assert!(!format!("{}{}", run.stdout, run.stderr).contains("canary"));
    assert_eq!(run.json()["secret_file"].as_str(), path.to_str());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "tb_canary\n");
    assert_eq!(
        world.run(&args).await.code,
        2,
        "no file is overwritten, and no password made in vain"
    );
}

#[tokio::test]
async fn a_refused_password_leaves_no_empty_file() {
    let fake = Fake::default();
    fake.on("create_credential", |_: &CreateCredentialRequest| {
        Err::<CreateCredentialResponse, _>(refusal(Code::NotFound, "NOT_FOUND", "no such account"))
    });
    let world = fake.start().await;
    let path = world.home.path().join("password");
    let run = world.run(&format!("credential create bob --output-secret {}", path.display())).await;
    assert_eq!(run.code, 3);
    assert!(!path.exists());
}

#[tokio::test]
async fn rotation_shows_the_new_and_the_old_one() {
    let fake = Fake::default();
    fake.on("rotate_credential", |ask: &RotateCredentialRequest| {
        assert_eq!(ask.overlap.as_ref().unwrap().seconds, 3600);
        Ok(RotateCredentialResponse {
            credential: Some(credential("c2")),
            secret: "tb_new".into(),
            previous: Some(credential("c1")),
        })
    });
    let run = fake.start().await.run("credential rotate c1 --overlap 1h --json").await;
    let shown = run.json();
    assert_eq!(
        (&shown["id"], &shown["secret"], &shown["previous"]["id"]),
        (&json!("c2"), &json!("tb_new"), &json!("c1"))
    );
}

#[tokio::test]
async fn a_service_has_rights_and_a_service_without_any_is_refused_here() {
    let fake = Fake::default();
    fake.on("create_caller", |ask: &CreateCallerRequest| {
        let caller = ask.caller.clone().unwrap();
        assert_eq!(caller.role(), CallerRole::Service);
        assert_eq!(caller.rights[0].audiences, ["mail"]);
        assert_eq!(ask.key_ttl.as_ref().unwrap().seconds, 30 * 86_400);
        Ok(CreateCallerResponse { caller: Some(caller), api_key: "tbk_new".into() })
    });
    let world = fake.start().await;
    let run = world
        .run("caller create crm --role service --domain example.com --key-ttl 30d --json")
        .await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.json()["rights"][0]["domains"], json!(["example.com"]));
    assert_eq!(run.json()["secret"], json!("tbk_new"));
    assert_eq!(world.run("caller create crm --role service").await.code, 2);
    assert_eq!(world.run("caller create crm --role adapter --domain x").await.code, 2);
}

#[tokio::test]
async fn a_token_stands_alone_on_stdout() {
    let fake = Fake::default();
    fake.on("get_access_token", |ask: &GetAccessTokenRequest| {
        assert_eq!(
            (ask.account.as_str(), ask.min_ttl.as_ref().map(|ttl| ttl.seconds)),
            ("ann@example.com", Some(1800))
        );
        Ok(GetAccessTokenResponse {
            access_token: "ya29.abc".into(),
            token_type: "Bearer".into(),
            expire_time: at(4_000_000_000),
            refresh_after: at(3_999_999_000),
            stale: true,
            last_error: ErrorReason::ProviderUnavailable.into(),
            ..Default::default()
        })
    });
    let world = fake.start().await;
    let run = world.run("token get ann@example.com --min-ttl 30m").await;
    assert_eq!((run.code, run.stdout.as_str()), (0, "ya29.abc\n"), "{}", run.stderr);
    assert!(run.stderr.contains("PROVIDER_UNAVAILABLE"), "{}", run.stderr);
    let json = world.run("token get ann@example.com --min-ttl 30m --json").await.json();
    assert_eq!(json["access_token"], json!("ya29.abc"));
    assert_eq!(json["expire_time"], json!("2096-10-02T07:06:40Z"));
    assert_eq!(
        (&json["stale"], &json["last_error"]),
        (&json!(true), &json!("PROVIDER_UNAVAILABLE"))
    );
}

#[tokio::test]
async fn help_names_the_exit_codes_and_every_shell_gets_its_completion() {
    let world = Fake::default().start().await;
    let help = world.run("--help").await.stdout;
    assert!(help.contains("Exit codes:") && help.contains("cannot be reached"), "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let mut command = world.command(&format!("completion {shell}"));
        command.env_remove("BROKERCTL_KEY");
        let run = finish(command).await;
        assert_eq!(run.code, 0);
        assert!(run.stdout.contains("brokerctl"), "{shell}");
    }
}

#[tokio::test]
async fn an_invitation_shows_its_link_in_one_piece() {
    let link = format!("https://broker.example/consent/{}", "x".repeat(200));
    let fake = Fake::default();
    let uri = link.clone();
    fake.on("create_consent", move |ask: &CreateConsentRequest| {
        assert_eq!(ask.mode(), ConsentMode::Invitation);
        assert_eq!(ask.ttl.as_ref().unwrap().seconds, 3 * 86_400);
        let expected_mailbox = ask.expected_mailbox.clone();
        Ok(Consent { uri: uri.clone(), expected_mailbox, ..Default::default() })
    });
    let world = fake.start().await;
    let args = "account invite --app work --mailbox ann@example.com --ttl 3d";
    let run = world.run(args).await;
    assert!(run.stdout.lines().any(|line| line == link), "{}", run.stdout);
    assert_eq!(world.run(&format!("{args} --json")).await.json()["uri"], json!(link));
    assert_eq!(world.run("account invite --app work").await.code, 2, "the mailbox is mandatory");
}

#[tokio::test]
async fn a_consent_is_finished_with_a_code_that_is_no_argument() {
    let fake = Fake::default();
    fake.on("finish_consent", |ask: &FinishConsentRequest| {
        assert_eq!(
            (ask.name.as_str(), ask.code.as_str()),
            ("projects/default/consents/k1", "c0de")
        );
        Ok(Consent {
            state: ConsentState::Finished.into(),
            result: Some(ann()),
            ..Default::default()
        })
    });
    let world = fake.start().await;
    let run = world.run_with("consent finish k1 --code-file - --json", "c0de\n").await;
    assert_eq!(run.json()["result"]["id"], json!("ann"));
    assert_eq!(world.run("consent finish k1").await.code, 2);
}

fn relaxed_decisions() -> Decisions {
    Decisions {
        relaxed: true,
        epoch: 41,
        epoch_lag: 2,
        waiting: 3,
        room: 1024,
        last_commit: None,
        chain: "broker-1".into(),
        relaxed_lag: Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 }),
    }
}

#[tokio::test]
async fn status_and_audit_read_for_scripts_and_people() {
    let fake = Fake::default();
    fake.on("get_system_status", |_: &GetSystemStatusRequest| {
        let accounts = vec![StateCount { state: "active".into(), count: 3 }];
        Ok(GetSystemStatusResponse {
            version: "9.9".into(),
            store_engine: "sqlite".into(),
            accounts,
            due_accounts: 17,
            interrupted_accounts: 1,
            endpoints: vec![TokenEndpoint {
                endpoint: "id.example:443/token".into(),
                failures: 6,
                retry_time: at(4_000_000_000),
            }],
            paused_apps: vec![PausedApp {
                app: "work".into(),
                retry_time: at(4_000_000_000),
                refusals: 2,
            }],
            decisions: Some(relaxed_decisions()),
            ..Default::default()
        })
    });
    fake.on("list_audit_records", |ask: &ListAuditRecordsRequest| {
        assert_eq!((ask.account.as_str(), ask.page_size), ("ann@example.com", 50));
        let record = AuditRecord {
            sequence: 7,
            chain: "broker-1".into(),
            event: "token.granted".into(),
            granted: true,
            hash: vec![0xab, 1],
            ..Default::default()
        };
        Ok(ListAuditRecordsResponse { records: vec![record], ..Default::default() })
    });
    let world = fake.start().await;
    let status = world.run("status --json").await.json();
    assert_eq!(status["accounts"], json!({"active": 3}));
    assert_eq!(status["paused_apps"][0]["refusals"], json!(2));
    assert_eq!(status["endpoints"][0]["failures"], json!(6));
    assert_eq!((&status["due_accounts"], &status["interrupted_accounts"]), (&json!(17), &json!(1)));
    let people = world.run("status").await.stdout;
    assert_eq!(status["decisions"]["relaxed_lag_ms"], json!(50.0));
    assert!(people.contains("RELAXED") && people.contains("acts within 50 ms"), "{people}");
    assert!(people.contains("epoch 41, 2 not looked at yet; 3 of 1024 waiting"), "{people}");
    for words in
        ["3 active", "work: refused, asked again", "id.example:443/token: 6 failures", "17"]
    {
        assert!(people.contains(words), "{words}: {people}");
    }
    let records = world.run("audit list --account ann@example.com --json").await.json();
    assert_eq!(
        (&records["records"][0]["sequence"], &records["records"][0]["hash"]),
        (&json!(7), &json!("ab01"))
    );
    assert!(world.run("audit list --account ann@example.com").await.stdout.contains("broker-1/7"));
}

/// A consent whose loopback address the test learns.
fn consenting(fake: &Fake) -> Arc<Mutex<String>> {
    let uri = Arc::new(Mutex::new(String::new()));
    let learnt = Arc::clone(&uri);
    fake.on("create_consent", move |ask: &CreateConsentRequest| {
        assert_eq!(ask.mode(), ConsentMode::Loopback);
        assert_eq!(ask.app, "projects/default/apps/work");
        learnt.lock().unwrap().clone_from(&ask.loopback_uri);
        Ok(Consent {
            name: "projects/default/consents/k1".into(),
            uri: "https://idp.example/authorize?x=1".into(),
            loopback_state: "right".into(),
            ..Default::default()
        })
    });
    uri
}

/// Starts `account connect` and waits for its link.
async fn connecting(
    world: &World,
    more: &str,
) -> (tokio::process::Child, BufReader<tokio::process::ChildStderr>) {
    let args = format!("account connect --app work --no-browser --json {more}");
    let mut child = world.command(&args).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).await.unwrap();
    assert_eq!(line, "Open this link: https://idp.example/authorize?x=1\n");
    (child, stderr)
}

async fn browse(uri: &Mutex<String>, query: &str) -> String {
    let uri = uri.lock().unwrap().clone();
    let authority = uri.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut stream = tokio::net::TcpStream::connect(&authority).await.unwrap();
    let request = format!("GET /?{query} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    page
}

#[tokio::test]
async fn connecting_takes_only_the_right_callback_and_prints_one_object() {
    let fake = Fake::default();
    let uri = consenting(&fake);
    fake.on("exchange_consent", |ask: &ExchangeConsentRequest| {
        assert_eq!(
            (ask.state.as_str(), ask.code.as_str(), ask.iss.as_str()),
            ("right", "c0de", "https://idp.example")
        );
        let result = Some(ann());
        Ok(Consent { state: ConsentState::Finished.into(), result, ..Default::default() })
    });
    let world = fake.start().await;
    let (child, _stderr) = connecting(&world, "").await;
    assert!(browse(&uri, "state=wrong&code=stolen").await.starts_with("HTTP/1.1 400"));
    let page = browse(&uri, "state=right&code=c0de&iss=https%3A%2F%2Fidp.example").await;
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("ann@example.com is connected"),
        "{page}"
    );
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    let account: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(account["mailbox"], json!("ann@example.com"));
}

#[tokio::test]
async fn an_owner_who_says_no_is_told_to_the_broker_and_ends_in_exit_code_1() {
    let fake = Fake::default();
    let uri = consenting(&fake);
    fake.on("exchange_consent", |ask: &ExchangeConsentRequest| {
        assert_eq!((ask.error.as_str(), ask.code.as_str()), ("access_denied", ""));
        let failure = "access_denied".into();
        Ok(Consent { state: ConsentState::Failed.into(), failure, ..Default::default() })
    });
    let world = fake.start().await;
    let (child, mut stderr) = connecting(&world, "").await;
    let page = browse(&uri, "state=right&error=access_denied").await;
    assert!(page.contains("Not connected"), "{page}");
    assert_eq!(child.wait_with_output().await.unwrap().status.code(), Some(1));
    let mut line = String::new();
    stderr.read_line(&mut line).await.unwrap();
    assert!(line.contains("\"kind\":\"refused\""), "{line}");
}

#[tokio::test]
async fn a_mailbox_that_is_not_the_expected_one_is_explained_in_the_browser() {
    let fake = Fake::default();
    let uri = consenting(&fake);
    fake.on("exchange_consent", |_: &ExchangeConsentRequest| {
        let failure = "this is bob's mailbox, ann's was expected".into();
        Ok(Consent { state: ConsentState::Failed.into(), failure, ..Default::default() })
    });
    let world = fake.start().await;
    let (child, _stderr) = connecting(&world, "--mailbox ann@example.com").await;
    let page = browse(&uri, "state=right&code=c").await;
    assert!(page.contains("this is bob&#39;s mailbox"), "{page}");
    assert_eq!(child.wait_with_output().await.unwrap().status.code(), Some(1));
}

#[tokio::test]
async fn nobody_who_consents_in_time_ends_the_consent() {
    let cancelled = Arc::new(Mutex::new(String::new()));
    let fake = Fake::default();
    let _uri = consenting(&fake);
    let heard = Arc::clone(&cancelled);
    fake.on("cancel_consent", move |ask: &CancelConsentRequest| {
        heard.lock().unwrap().clone_from(&ask.name);
        Ok(Consent::default())
    });
    let world = fake.start().await;
    let (child, mut stderr) = connecting(&world, "--timeout 1s").await;
    assert_eq!(child.wait_with_output().await.unwrap().status.code(), Some(4));
    let mut line = String::new();
    stderr.read_line(&mut line).await.unwrap();
    assert!(line.contains("\"kind\":\"needs_consent\""), "{line}");
    assert_eq!(*cancelled.lock().unwrap(), "projects/default/consents/k1");
}

fn session(id: &str) -> Session {
    let mut session = Session {
        name: format!("projects/default/sessions/{id}"),
        account: "projects/default/accounts/ann".into(),
        credential: "projects/default/accounts/ann/credentials/c1".into(),
        adapter: "projects/default/callers/imap".into(),
        client_address: "192.0.2.9".into(),
        bytes_down: 4711,
        ..Default::default()
    };
    session.set_state(SessionState::Ended);
    session.set_end_reason(SessionEndReason::CutOff);
    session
}

#[tokio::test]
async fn sessions_are_listed_with_their_use_and_their_end() {
    let fake = Fake::default();
    fake.on("list_sessions", |ask: &ListSessionsRequest| {
        let filter = ask.filter.clone().unwrap();
        assert_eq!((filter.adapter.as_str(), filter.live_only), ("imap", true));
        Ok(ListSessionsResponse { sessions: vec![session("s1")], ..Default::default() })
    });
    let world = fake.start().await;
    let seen = world.run("session list --adapter imap --live --json").await.json();
    let one = &seen["sessions"][0];
    assert_eq!((&one["id"], &one["end_reason"]), (&"s1".into(), &"cut_off".into()));
    let table = world.run("session list --adapter imap --live").await.stdout;
    for word in ["s1", "ann", "c1", "imap", "192.0.2.9", "ended: cut_off", "4711"] {
        assert!(table.contains(word), "{word} in {table}");
    }
}

#[tokio::test]
async fn one_session_is_ended_by_its_name_and_many_after_a_question() {
    let fake = Fake::default();
    fake.on("end_session", |ask: &EndSessionRequest| {
        assert_eq!(ask.name, "projects/default/sessions/s1");
        Ok(session("s1"))
    });
    let calls = std::sync::atomic::AtomicUsize::new(0);
    fake.on("end_sessions", move |ask: &EndSessionsRequest| {
        assert!(ask.all);
        let first = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        Ok(EndSessionsResponse { ended: 3, more: first })
    });
    let world = fake.start().await;
    assert_eq!(world.run("session end s1 --json").await.json()["id"], "s1");
    assert_eq!(world.run("session end --all --yes --json").await.json()["ended"], 6);
    assert_eq!(world.run("session end").await.code, 2);
    assert_eq!(world.run("session end s1 --all --yes").await.code, 2);
    assert_eq!(world.run("session end --account a --adapter b --yes").await.code, 2);
}

fn token_record(sequence: i64) -> AuditRecord {
    AuditRecord {
        chain: "one".into(),
        sequence,
        project: "default".into(),
        event: "token".into(),
        account: "ann".into(),
        granted: true,
        time: at(1_800_000_000 + sequence),
        hash: vec![0xab; 32],
        ..Default::default()
    }
}

#[tokio::test]
async fn a_bad_record_is_named_with_exit_code_1_and_all_chains_are_shown() {
    let fake = Fake::default();
    fake.on("verify_audit", |ask: &VerifyAuditRequest| {
        let good = AuditChainVerdict { last_sequence: 9, records: 9, ..Default::default() };
        let bad = AuditChainVerdict {
            chain: "one".into(),
            flaw: AuditFlaw::Edited.into(),
            bad_sequence: 4,
            detail: "record 4 does not follow".into(),
            ..good
        };
        let (chain, next) = if ask.page_token.is_empty() { (good, "more") } else { (bad, "") };
        let next_page_token = next.to_owned();
        Ok(VerifyAuditResponse { chains: vec![chain], next_page_token, ..Default::default() })
    });
    let world = fake.start().await;
    let run = world.run("audit verify --json").await;
    let told = run.json();
    assert_eq!((run.code, &told["intact"], &told["records"]), (1, &json!(false), &json!(18)));
    assert_eq!(
        (&told["chains"][0]["flaw"], &told["chains"][1]["flaw"]),
        (&json!(null), &json!("edited"))
    );
    assert_eq!(run.error()["kind"], json!("broken"));
    let people = world.run("audit verify").await;
    assert!(people.stderr.contains("chain one, record 4: edited"), "{}", people.stderr);
    assert!(
        people.stdout.contains("edited at 4") && people.stdout.contains("changes"),
        "{}",
        people.stdout
    );
}

#[tokio::test]
async fn an_export_is_whole_or_not_there_and_what_is_wrong_with_it_is_found_without_a_broker() {
    let fake = Fake::default();
    fake.on("list_audit_chains", |_: &ListAuditChainsRequest| {
        let head_hash = vec![0xab; 32];
        let one =
            AuditChain { chain: "one".into(), head_sequence: 2, head_hash, ..Default::default() };
        Ok(ListAuditChainsResponse {
            chains: vec![one],
            instance: vec![7; 16],
            ..Default::default()
        })
    });
    fake.on("export_audit_records", |ask: &ExportAuditRecordsRequest| {
        let records = (ask.after_sequence + 1..=3).map(token_record).collect();
        Ok(ExportAuditRecordsResponse { records })
    });
    let world = fake.start().await;
    let file = world.home.path().join("audit.jsonl");
    let run = world.run(&format!("audit export {} --json", file.display())).await;
    assert_eq!((run.code, &run.json()["records"]), (0, &json!(2)), "{}", run.stderr);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 3, "a header and two records, none after the head: {text}");
    let again = world.run(&format!("audit export {}", file.display())).await;
    assert_eq!(again.code, 2, "never over a file that is there: {}", again.stderr);
    let mut alone = world.command(&format!("audit verify --json --file {}", file.display()));
    alone.env_remove("BROKERCTL_KEY").env_remove("BROKERCTL_SERVER");
    let run = finish(alone).await;
    let chain = &run.json()["chains"][0];
    assert_eq!(
        (run.code, &chain["bad_sequence"], &chain["flaw"]),
        (1, &json!(1), &json!("edited"))
    );
    std::fs::write(&file, "{}\n").unwrap();
    let run = world.run(&format!("audit verify --file {}", file.display())).await;
    assert!(run.code == 2 && run.stderr.contains("line 1"), "{}", run.stderr);
}

#[tokio::test]
async fn what_comes_is_shown_line_by_line_until_somebody_ends_it() {
    let fake = Fake::default();
    let looks = Arc::new(Mutex::new(4_i64));
    fake.on("list_audit_chains", move |_: &ListAuditChainsRequest| {
        let mut head = looks.lock().unwrap();
        *head += 1;
        let one = AuditChain { chain: "one".into(), head_sequence: *head, ..Default::default() };
        Ok(ListAuditChainsResponse { chains: vec![one], ..Default::default() })
    });
    fake.on("list_audit_records", |_: &ListAuditRecordsRequest| {
        // Number 6 came after the chains were looked at, and comes again with the next look.
        let records = [6, 5, 4].map(token_record).to_vec();
        Ok(ListAuditRecordsResponse { records, ..Default::default() })
    });
    fake.on("export_audit_records", |ask: &ExportAuditRecordsRequest| {
        Ok(ExportAuditRecordsResponse { records: vec![token_record(ask.after_sequence + 1)] })
    });
    let world = fake.start().await;
    let mut child = world.command("audit tail --json --every 0s --account ann").spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for expected in 4..=8 {
        let line = lines.next_line().await.unwrap().unwrap();
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(record["sequence"], json!(expected));
    }
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    while lines.next_line().await.unwrap().is_some() {}
    assert_eq!(child.wait().await.unwrap().code(), Some(0), "Ctrl-C is how it is meant to end");
}
