//! The doors of a real broker against the model: every call of the contract for every role, and tokens for many callers.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use e2e::world::house::private;
use e2e::world::{ALICE, APP, BOB, World};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use token_broker_client::v1::token_service_client::TokenServiceClient;
use token_broker_client::v1::{CallerRole, ErrorReason};
use token_broker_client::{Connection, Error, Options, v1};
use tonic::Code;

use super::model::{Call, Mail, Paper, Person, may, person};
use super::raw::{Method, ask, methods};

const REFUSAL: &str = "no such resource, or no right to it";

/// How many services are made.
const SERVICES: usize = 60;

async fn open(world: &World, door: &str, id: &str, key: &str) -> Result<Connection> {
    let file = world.house.folder().join(format!("{id}.key"));
    private(&file, key)?;
    let options = Options::new(format!("http://{door}")).api_key_file(file);
    Ok(Connection::open(&options).await?)
}

/// Whether a role may make calls of a service at all.
fn plane(role: CallerRole, method: &Method) -> bool {
    use CallerRole::{Adapter, Admin, Operator, Service};
    match (method.service.as_str(), method.name.as_str()) {
        ("TokenService", _) => matches!(role, Admin | Service),
        ("MailLoginService", _) => role == Adapter,
        ("CallerService", "WhoAmI") => role != Adapter,
        ("CallerService" | "KeyService", _) => role == Admin,
        _ => matches!(role, Admin | Operator),
    }
}

/// Whether a call that is permitted changes nothing.
fn is_harmless(method: &Method) -> bool {
    ["Get", "List", "WhoAmI"].iter().any(|begin| method.name.starts_with(begin))
}

#[tokio::test]
async fn t8_t9_each_role_has_its_plane_and_every_foreign_call_is_refused_in_one_text_on_the_record()
-> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let methods = methods()?;
    let (mut refused, mut taken) = (0, 0);
    for role in [CallerRole::Admin, CallerRole::Operator, CallerRole::Service, CallerRole::Adapter]
    {
        let id = role.as_str_name().to_lowercase().replace("caller_role_", "role-");
        let imap = |caller: &mut v1::Caller| {
            if role == CallerRole::Adapter {
                caller.protocols = vec![v1::MailProtocol::Imap.into()];
            }
        };
        let (caller, key) = world.operator.caller(&id, role, imap).await?;
        let admin = open(&world, &world.house.doors().admin.to_string(), &id, &key).await?;
        let mut of_role = 0;
        for method in &methods {
            let answer = match (plane(role, method), is_harmless(method)) {
                (true, false) => continue,
                _ => ask(&admin, method).await,
            };
            let what = format!("{role:?} {}/{}: {answer:?}", method.service, method.name);
            // A token of an account that does not exist is refused like one of somebody else's.
            if plane(role, method) && method.service != "TokenService" {
                let code = answer.err().map_or(Code::Ok, |status| status.code());
                assert!(!matches!(code, Code::PermissionDenied | Code::Unauthenticated), "{what}");
                taken += 1;
            } else if method.name != "BatchGetAccessTokens" {
                let status = answer.err().with_context(|| what.clone())?;
                assert_eq!(
                    (status.code(), status.message()),
                    (Code::PermissionDenied, REFUSAL),
                    "{what}"
                );
                of_role += 1;
            }
        }
        let records = world.operator.audit().await?;
        let theirs = records.iter().filter(|one| one.actor == caller.name && !one.granted);
        assert_eq!(theirs.count(), of_role, "{role:?}: each refusal is on the record");
        refused += of_role;
    }
    println!("{} methods, {taken} calls taken, {refused} refused and recorded", methods.len());
    assert!(refused > methods.len() && taken > 10);
    world.end().await
}

#[tokio::test]
async fn t35_the_door_for_services_has_no_admin_plane_and_nothing_that_lists() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let (_, key) = world.operator.caller("boss", CallerRole::Admin, |_| {}).await?;
    let serving = open(&world, &world.house.doors().grpc.to_string(), "boss", &key).await?;
    for method in methods()? {
        if matches!(method.service.as_str(), "TokenService" | "MailLoginService") {
            let lists = ["List", "Watch", "Search", "Find"];
            assert!(!lists.iter().any(|word| method.name.starts_with(word)), "{method:?}");
            continue;
        }
        let status = ask(&serving, &method).await.err().context("it is served")?;
        assert_eq!(status.code(), Code::Unimplemented, "{method:?}");
    }
    world.end().await
}

fn wire(paper: &Paper, ids: &BTreeMap<&str, String>) -> v1::Right {
    let word = |word: &&str| (*word).to_owned();
    let id = |id: &&str| ids.get(*id).cloned().unwrap_or_else(|| (*id).to_owned());
    let labels = paper.labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let class = |class: &&str| match *class {
        "tokens" => v1::CallClass::Tokens.into(),
        _ => v1::CallClass::Status.into(),
    };
    v1::Right {
        accounts: Some(v1::AccountSelector {
            all: paper.all,
            accounts: paper.ids.iter().map(id).collect(),
            domains: paper.domains.iter().map(word).collect(),
            labels: labels.collect(),
        }),
        audiences: paper.audiences.iter().map(word).collect(),
        calls: paper.calls.iter().map(class).collect(),
        scopes: Vec::new(),
    }
}

/// What a broker takes: a right that selects nothing or has no audience is a mistake that it refuses to store.
fn is_storable(paper: &Paper) -> bool {
    let silent = !paper.all && paper.ids.is_empty() && paper.domains.is_empty();
    let selects = !silent || !paper.labels.is_empty();
    selects && !paper.audiences.is_empty()
}

/// Services as the model's strategy gives them, from a fixed seed.
fn services() -> Result<Vec<Person>> {
    let mut runner = TestRunner::deterministic();
    let mut people = Vec::new();
    while people.len() < SERVICES {
        let tree = person().new_tree(&mut runner).map_err(|why| anyhow::anyhow!("{why}"))?;
        let mut person = tree.current();
        person.rights.retain(is_storable);
        for right in &mut person.rights {
            right.scopes.clear();
        }
        if person.role == "service" {
            people.push(Person {
                project: "default",
                networks: Vec::new(),
                revoked: false,
                ..person
            });
        }
    }
    Ok(people)
}

async fn is_allowed(connection: &Connection, account: &str, call: &Call) -> Result<bool> {
    let mut client = TokenServiceClient::new(connection.door());
    let error = match call {
        Call::Token { audience, .. } => {
            let ask = v1::GetAccessTokenRequest {
                account: account.to_owned(),
                audience: (*audience).to_owned(),
                ..Default::default()
            };
            client.get_access_token(ask).await.err()
        }
        Call::Status { audience } => {
            let (account, audience) = (account.to_owned(), (*audience).to_owned());
            client.get_token_status(v1::GetTokenStatusRequest { account, audience }).await.err()
        }
        other => anyhow::bail!("no call of a service: {other:?}"),
    };
    let reason = error.and_then(|status| Error::from(status).reason());
    Ok(reason != Some(ErrorReason::NotPermitted))
}

async fn label(world: &World, account: &v1::Account, key: &str, value: &str) -> Result<()> {
    let id = account.name.rsplit('/').next().unwrap_or_default();
    world.operator.ctl(&["account", "update", id, "--label", &format!("{key}={value}")]).await?;
    Ok(())
}

#[tokio::test]
async fn t9_services_get_from_a_real_broker_what_the_model_says_and_a_wrong_model_is_noticed()
-> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let (alice, bob) = (world.connect(ALICE).await?, world.connect(BOB).await?);
    label(&world, &alice, "team", "sales").await?;
    label(&world, &bob, "site", "ops").await?;
    let id = |account: &v1::Account| account.name.rsplit('/').next().unwrap_or_default().to_owned();
    let ids = BTreeMap::from([("ann", id(&alice)), ("bob", id(&bob))]);
    let mail = |id, labels: &[(&'static str, &'static str)]| Mail {
        project: "default",
        id,
        domain: "example.test",
        labels: labels.iter().copied().collect(),
    };
    let accounts =
        [(ALICE, mail("ann", &[("team", "sales")])), (BOB, mail("bob", &[("site", "ops")]))];
    let (mut compared, mut allowed, mut wrong_model) = (0, 0, 0);
    for (number, person) in services()?.into_iter().enumerate() {
        let name = format!("service-{number}");
        let rights = person.rights.iter().map(|paper| wire(paper, &ids)).collect();
        let fill = |caller: &mut v1::Caller| caller.rights = rights;
        let (_, key) = world.operator.caller(&name, CallerRole::Service, fill).await?;
        let tokens = open(&world, &world.house.doors().grpc.to_string(), &name, &key).await?;
        for (mailbox, mail) in &accounts {
            for audience in ["mail", "contacts"] {
                for call in
                    [Call::Token { audience, scopes: vec!["read"] }, Call::Status { audience }]
                {
                    let expected = may(&person, mail, &call, 127);
                    let found = is_allowed(&tokens, mailbox, &call).await?;
                    assert_eq!(found, expected, "{APP} {person:?} {mail:?} {call:?}");
                    compared += 1;
                    allowed += u32::from(expected);
                    // A model that forgets labels has to disagree somewhere, or this test sees nothing.
                    let mut forgetful = person.clone();
                    for right in &mut forgetful.rights {
                        right.all |= !right.labels.is_empty();
                        right.labels.clear();
                    }
                    wrong_model += u32::from(may(&forgetful, mail, &call, 127) != found);
                }
            }
        }
        let nobody = Call::Token { audience: "mail", scopes: Vec::new() };
        assert!(!is_allowed(&tokens, "nobody@example.test", &nobody).await?, "a guessed name");
    }
    println!(
        "{compared} cases, {allowed} allowed, a model without labels is wrong {wrong_model} times"
    );
    assert!(allowed > 20 && allowed < compared - 20 && wrong_model > 0);
    world.end().await
}
