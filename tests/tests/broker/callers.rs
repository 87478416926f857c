//! Who may do what: default deny, asked on every call.

use anyhow::Result;
use e2e::world::house::private;
use e2e::world::{ALICE, APP, BOB, Operator, World};
use token_broker_client::v1::{CallerRole, ErrorReason};
use token_broker_client::{Error, MailLogin, Options, v1};

use crate::words::reason;

fn selecting(change: impl FnOnce(&mut v1::AccountSelector)) -> Vec<v1::Right> {
    let mut accounts = v1::AccountSelector::default();
    change(&mut accounts);
    vec![v1::Right {
        accounts: Some(accounts),
        audiences: vec!["mail".to_owned()],
        ..Default::default()
    }]
}

/// Somebody of that role at the admin door.
async fn somebody(world: &World, id: &str, role: CallerRole) -> Result<Operator> {
    let rights = selecting(|accounts| accounts.all = true);
    let fill = |caller: &mut v1::Caller| match role {
        CallerRole::Service => caller.rights = rights,
        CallerRole::Adapter => caller.protocols = vec![v1::MailProtocol::Imap.into()],
        _ => {}
    };
    let (_, key) = world.operator.caller(id, role, fill).await?;
    let file = world.house.folder().join(format!("{id}.key"));
    private(&file, &key)?;
    Operator::with_key(&world.house, &file).await
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Error>) -> bool {
    matches!(answer, Err(Error::NotPermitted { .. } | Error::Unauthenticated { .. }))
}

#[tokio::test]
async fn each_role_may_do_its_own_and_nothing_else() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let roles = [
        (CallerRole::Admin, [true, true, true]),
        (CallerRole::Operator, [true, false, false]),
        (CallerRole::Service, [false, false, true]),
        (CallerRole::Adapter, [false, false, false]),
    ];
    for (role, [manages, makes_callers, gets_tokens]) in roles {
        let id = role.as_str_name().to_lowercase().replace("caller_role_", "test-");
        let them = somebody(&world, &id, role).await?;
        let admin = them.admin();
        let ask = v1::ListAppsRequest::default();
        let managed = admin.ask(admin.apps().list_apps(ask)).await;
        assert_eq!(managed.is_ok(), manages, "{role:?}: {managed:?}");
        assert!(manages || refused(managed), "{role:?}");
        let ask = v1::ListCallersRequest::default();
        let callers = admin.ask(admin.callers().list_callers(ask)).await;
        assert_eq!(callers.is_ok(), makes_callers, "{role:?}: {callers:?}");
        let token = them.tokens().access_token(ALICE).await;
        assert_eq!(token.is_ok(), gets_tokens, "{role:?}: {token:?}");
        let login = MailLogin::connect(
            Options::new(format!("http://{}", world.house.doors().grpc))
                .api_key_file(them.key_file()),
        )
        .await?;
        let ask = v1::OpenSessionRequest {
            protocol: v1::MailProtocol::Imap.into(),
            login_name: ALICE.to_owned(),
            secret: "tb_wrong".to_owned(),
            client_address: "127.0.0.1".to_owned(),
            ..Default::default()
        };
        let opened = login.open_session(ask, std::time::Duration::from_secs(10)).await;
        assert_eq!(opened.is_ok(), role == CallerRole::Adapter, "{role:?}: {opened:?}");
    }
    world.end().await
}

#[tokio::test]
async fn a_service_gets_the_mailboxes_its_rights_select_and_no_other() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let alice = world.connect(ALICE).await?;
    world.connect(BOB).await?;
    let id = alice.name.rsplit('/').next().unwrap_or_default().to_owned();
    let cases = [
        ("nothing", Vec::new(), [false, false]),
        ("all", selecting(|it| it.all = true), [true, true]),
        ("one", selecting(|it| it.accounts = vec![id]), [true, false]),
        ("domain", selecting(|it| it.domains = vec!["example.test".to_owned()]), [true, true]),
        ("other", selecting(|it| it.domains = vec!["ample.test".to_owned()]), [false, false]),
    ];
    for (name, rights, expected) in cases {
        let role = CallerRole::Service;
        let (_, key) = world.operator.caller(name, role, |caller| caller.rights = rights).await?;
        let tokens = world.tokens(&key).await?;
        for (mailbox, allowed) in [ALICE, BOB].into_iter().zip(expected) {
            let answer = tokens.access_token(mailbox).await;
            assert_eq!(answer.is_ok(), allowed, "{name} {mailbox}: {answer:?}");
            assert!(allowed || reason(answer) == Some(ErrorReason::NotPermitted), "{name}");
        }
    }
    let empty = selecting(|_| {});
    let role = CallerRole::Service;
    let made = world.operator.caller("empty", role, |caller| caller.rights = empty).await;
    assert!(made.is_err(), "a right that selects nothing is a mistake: {made:?}");
    world.end().await
}

#[tokio::test]
async fn whoever_has_no_right_cannot_tell_what_exists() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let (_, key) = world.operator.caller("stranger", CallerRole::Service, |_| {}).await?;
    let tokens = world.tokens(&key).await?;
    let there = tokens.access_token(ALICE).await.map_err(|error| error.to_string());
    let not_there = tokens.access_token("nobody@example.test").await;
    assert_eq!(there.err(), not_there.err().map(|error| error.to_string()));
    world.end().await
}

#[tokio::test]
async fn a_call_without_a_valid_key_is_nobodys() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let (caller, key) = world.operator.caller("crm", CallerRole::Service, |_| {}).await?;
    let wrong_end = format!("{}x", &key[..key.len() - 1]);
    for key in ["tbk_aaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaa_aa", wrong_end.as_str(), "x"] {
        let answer = world.tokens(key).await?.access_token(ALICE).await;
        assert_eq!(reason(answer), Some(ErrorReason::Unauthenticated), "{key}");
    }
    world.operator.ctl(&["caller", "revoke", "crm"]).await?;
    let answer = world.tokens(&key).await?.access_token(ALICE).await;
    assert_eq!(reason(answer), Some(ErrorReason::Unauthenticated), "{}", caller.name);
    world.end().await
}

#[tokio::test]
async fn a_key_works_only_from_its_networks() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    for (id, range, allowed) in [("near", "127.0.0.0/8", true), ("far", "192.0.2.0/24", false)] {
        let fill = |caller: &mut v1::Caller| {
            caller.rights = selecting(|accounts| accounts.all = true);
            caller.ip_ranges = vec![range.to_owned()];
        };
        let (_, key) = world.operator.caller(id, CallerRole::Service, fill).await?;
        let answer = world.tokens(&key).await?.access_token(ALICE).await;
        assert_eq!(answer.is_ok(), allowed, "{range}: {answer:?}");
    }
    world.end().await
}

#[tokio::test]
async fn a_switched_off_account_or_app_hands_nothing_out() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let service = world.service("crm").await?;
    world.operator.ctl(&["account", "disable", ALICE]).await?;
    assert_eq!(reason(service.access_token(ALICE).await), Some(ErrorReason::AccountDisabled));
    world.operator.ctl(&["account", "enable", ALICE]).await?;
    assert!(service.access_token(ALICE).await.is_ok());
    world.operator.ctl(&["app", "update", APP, "--disable"]).await?;
    assert_eq!(reason(service.access_token(ALICE).await), Some(ErrorReason::AppDisabled));
    assert!(world.operator.invite(APP, BOB).await.is_err(), "no consent begins");
    world.operator.ctl(&["app", "update", APP, "--enable"]).await?;
    assert!(service.access_token(ALICE).await.is_ok());
    world.end().await
}

#[tokio::test]
async fn t12_a_service_cannot_tell_a_strangers_account_from_none() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let elsewhere = selecting(|it| it.domains = vec!["other.test".to_owned()]);
    let narrow = |caller: &mut v1::Caller| caller.rights = elsewhere;
    let (_, key) = world.operator.caller("narrow", CallerRole::Service, narrow).await?;
    let narrow = world.tokens(&key).await?;
    for account in [ALICE, "nobody@example.test"] {
        let scopes = ["no-such-scope".to_owned()];
        let asked = narrow.access_token(account).scopes(scopes).await;
        assert_eq!(reason(asked), Some(ErrorReason::NotPermitted), "{account}");
    }
    world.end().await
}

#[tokio::test]
async fn an_operator_that_asks_for_a_token_is_refused_on_the_record() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let them = somebody(&world, "curious", CallerRole::Operator).await?;
    assert!(refused(them.tokens().access_token(ALICE).await));
    let records = world.operator.audit().await?;
    let theirs: Vec<_> =
        records.iter().filter(|one| one.actor.ends_with("callers/curious")).collect();
    assert!(matches!(theirs.as_slice(), [one] if !one.granted && one.event == "token"));
    world.end().await
}

#[tokio::test]
async fn revoking_a_key_again_changes_nothing() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let (caller, _) = world.operator.caller("twice", CallerRole::Service, |_| {}).await?;
    let admin = world.operator.admin();
    for _ in 0..2 {
        let (name, key_id) = (caller.name.clone(), caller.keys[0].key_id.clone());
        let ask = v1::RevokeCallerKeyRequest { name, key_id };
        let caller = admin.ask(admin.callers().revoke_caller_key(ask)).await?;
        assert!(caller.keys[0].revoked);
    }
    world.end().await
}
