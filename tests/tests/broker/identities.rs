//! Who calls with a client certificate or a token instead of a key, on real connections of real processes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::world::house::private;
use e2e::world::{ALICE, Engine, World};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use token_broker_client::v1::caller_identity::Kind;
use token_broker_client::v1::{CallerRole, ErrorReason};
use token_broker_client::{Error, Options, TokenBroker, v1};

use crate::words::reason;

const ISSUER: &str = "https://kubernetes.test";
const SPIFFE: &str = "spiffe://example.test/crm";

/// An issuer of tokens: its key, and the file with its public half.
struct Issuer(EncodingKey);

impl Issuer {
    fn new() -> Result<Self> {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        Ok(Self(EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes())?))
    }

    fn jwks(&self) -> Result<String> {
        let mut jwk = Jwk::from_encoding_key(&self.0, Algorithm::ES256)?;
        jwk.common.key_id = Some("k1".to_owned());
        Ok(json!({ "keys": [jwk] }).to_string())
    }

    fn token(&self, subject: &str, change: impl FnOnce(&mut Value)) -> Result<String> {
        let now = std::time::UNIX_EPOCH.elapsed()?.as_secs();
        let mut claims = json!({
            "iss": ISSUER, "aud": ["token-broker"], "sub": subject, "iat": now, "exp": now + 600,
            "kubernetes.io": {"namespace": "mail"},
        });
        change(&mut claims);
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
        Ok(encode(&header, &claims, &self.0)?)
    }
}

/// A world whose serving door asks for certificates, and which trusts an issuer; both as an operator configures them.
async fn world() -> Result<(World, Issuer)> {
    let mut world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let issuer = Issuer::new()?;
    std::fs::write(world.house.folder().join("jwks.json"), issuer.jwks()?)?;
    let config = world.house.config();
    let text = std::fs::read_to_string(&config)?;
    let tls = "[grpc]\ntls = { certificate = \"server.pem\", key = \"server.key\", client_ca = \"ca.pem\" }\n";
    let issuers = format!(
        "[[callers.issuer]]\nurl = \"{ISSUER}\"\naudiences = [\"token-broker\"]\nkeys_file = \"jwks.json\"\n"
    );
    std::fs::write(&config, text.replace("[grpc]\n", tls) + &issuers)?;
    world.house.crash().await?;
    Ok((world, issuer))
}

fn everything() -> Vec<v1::Right> {
    vec![v1::Right {
        accounts: Some(v1::AccountSelector { all: true, ..Default::default() }),
        audiences: vec!["mail".to_owned()],
        ..Default::default()
    }]
}

fn identity(kind: Kind) -> v1::CallerIdentity {
    v1::CallerIdentity { kind: Some(kind) }
}

fn rule(subject: &str) -> v1::CallerIdentity {
    let claims = [("/kubernetes.io/namespace".to_owned(), "mail".to_owned())].into();
    identity(Kind::Token(v1::TokenRule {
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
        claims,
    }))
}

async fn service(world: &World, id: &str, identities: Vec<v1::CallerIdentity>) -> Result<String> {
    let fill = |caller: &mut v1::Caller| {
        caller.rights = everything();
        caller.identities = identities;
    };
    Ok(world.operator.caller(id, CallerRole::Service, fill).await?.1)
}

fn options(world: &World) -> Options {
    let port = world.house.doors().grpc.port();
    Options::new(format!("https://localhost:{port}"))
        .ca_file(world.house.ca_file())
        .cache_entries(0)
}

/// A certificate of the house's authority for these URIs, as files.
fn certificate(world: &World, name: &str, uris: &[&str]) -> Result<[PathBuf; 2]> {
    let (chain, key) = world.ca.client_certificate(&[], uris)?;
    let file = |kind: &str| world.house.folder().join(format!("{name}.{kind}"));
    std::fs::write(file("pem"), chain)?;
    private(&file("key.pem"), &key)?;
    Ok([file("pem"), file("key.pem")])
}

async fn ask(options: Options) -> Result<Option<ErrorReason>> {
    let answer = TokenBroker::connect(options).await?.access_token(ALICE).await;
    match answer {
        Err(error @ (Error::Disconnected { .. } | Error::Unreachable { .. })) => Err(error.into()),
        other => Ok(reason(other)),
    }
}

async fn shows_token(world: &World, token: &str) -> Result<Option<ErrorReason>> {
    let file = world.house.folder().join("token");
    std::fs::write(&file, token)?;
    ask(options(world).token_file(&file)).await
}

#[tokio::test]
async fn t10_a_certificate_says_who_calls_until_its_caller_is_revoked_on_an_open_connection()
-> Result<()> {
    let (world, _) = world().await?;
    let key = service(&world, "crm", vec![identity(Kind::CertificateUri(SPIFFE.into()))]).await?;
    let other = service(&world, "other", Vec::new()).await?;
    let [chain, private] = certificate(&world, "crm", &[SPIFFE])?;
    let shown = || options(&world).client_certificate(&chain, &private);
    assert_eq!(ask(shown()).await?, None);
    assert_eq!(ask(shown().api_key(&key)).await?, None, "key and certificate of one caller");
    let both = ask(shown().api_key(&other)).await?;
    assert_eq!(both, Some(ErrorReason::Unauthenticated), "key and certificate of two callers");
    assert_eq!(ask(options(&world).api_key(&other)).await?, None, "a key without a certificate");
    for uri in ["spiffe://example.test/crm2", "spiffe://example.test", "spiffe://evil.test/crm"] {
        let [chain, private] = certificate(&world, "stranger", &[uri])?;
        let stranger = options(&world).client_certificate(&chain, &private);
        assert_eq!(ask(stranger).await?, Some(ErrorReason::Unauthenticated), "{uri}");
    }
    let [chain, private] = certificate(&world, "double", &[SPIFFE, "spiffe://example.test/x"])?;
    let double = options(&world).client_certificate(&chain, &private);
    assert_eq!(ask(double).await?, Some(ErrorReason::Unauthenticated), "no X.509-SVID");
    let open = TokenBroker::connect(shown()).await?;
    open.access_token(ALICE).await?;
    world.operator.ctl(&["caller", "revoke", "crm"]).await?;
    let after = reason(open.access_token(ALICE).await);
    assert_eq!(after, Some(ErrorReason::Unauthenticated), "the connection is still open");
    world.end().await
}

#[tokio::test]
async fn a_certificate_of_another_authority_does_not_get_in() -> Result<()> {
    let (world, _) = world().await?;
    service(&world, "crm", vec![identity(Kind::CertificateUri(SPIFFE.into()))]).await?;
    let evil = e2e::cast::ca::TestCa::generate()?;
    let (chain, key) = evil.client_certificate(&[], &[SPIFFE])?;
    let file = |name: &str| world.house.folder().join(name);
    std::fs::write(file("evil.pem"), chain)?;
    private(&file("evil.key"), &key)?;
    let shown = options(&world).client_certificate(file("evil.pem"), file("evil.key"));
    let answer = TokenBroker::connect(shown).await?.access_token(ALICE).await;
    assert!(answer.is_err(), "{answer:?}");
    world.end().await
}

#[tokio::test]
async fn a_token_says_who_calls_if_exactly_one_callers_rule_fits() -> Result<()> {
    let (world, issuer) = world().await?;
    service(&world, "crm", vec![rule("system:serviceaccount:mail:crm")]).await?;
    let crm = issuer.token("system:serviceaccount:mail:crm", |_| {})?;
    assert_eq!(shows_token(&world, &crm).await?, None);
    let unauthenticated = Some(ErrorReason::Unauthenticated);
    let elsewhere = |claims: &mut Value| claims["kubernetes.io"]["namespace"] = json!("web");
    let late = |claims: &mut Value| claims["exp"] = json!(1_700_000_000);
    for (what, token) in [
        ("another subject", issuer.token("system:serviceaccount:mail:crm2", |_| {})?),
        ("another claim", issuer.token("system:serviceaccount:mail:crm", elsewhere)?),
        ("expired", issuer.token("system:serviceaccount:mail:crm", late)?),
        (
            "another audience",
            issuer.token("system:serviceaccount:mail:crm", |it| it["aud"] = json!("x"))?,
        ),
        ("another key", Issuer::new()?.token("system:serviceaccount:mail:crm", |_| {})?),
        ("unsigned", unsigned(&crm)?),
    ] {
        assert_eq!(shows_token(&world, &token).await?, unauthenticated, "{what}");
    }
    let key = service(&world, "wide", vec![rule("system:serviceaccount:mail:*")]).await?;
    assert_eq!(shows_token(&world, &crm).await?, unauthenticated, "two callers fit");
    let web = issuer.token("system:serviceaccount:mail:web", |_| {})?;
    assert_eq!(shows_token(&world, &web).await?, None, "one of them");
    world.operator.ctl(&["caller", "revoke", "wide"]).await?;
    assert_eq!(shows_token(&world, &web).await?, unauthenticated);
    assert_eq!(shows_token(&world, &crm).await?, None, "one is left");
    assert_eq!(ask(options(&world).api_key(key)).await?, unauthenticated);
    world.end().await
}

fn unsigned(token: &str) -> Result<String> {
    let claims = token.split('.').nth(1).context("no claims")?;
    Ok(format!("{}.{claims}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"k1"}"#)))
}

#[tokio::test]
async fn t9_a_service_that_asks_too_often_is_told_when_to_come_back() -> Result<()> {
    let (world, _) = world().await?;
    let key = service(&world, "eager", Vec::new()).await?;
    world.operator.ctl(&["caller", "update", "eager", "--min-interval", "1h"]).await?;
    let eager =
        TokenBroker::connect(options(&world).api_key(&key).deadline(Duration::from_secs(20)));
    let eager = eager.await?;
    let elsewhere = eager.access_token("nobody@example.test").await;
    assert_eq!(reason(elsewhere), Some(ErrorReason::NotPermitted), "costs no turn");
    eager.access_token(ALICE).await?;
    let again = eager.access_token(ALICE).await.err().context("too soon")?;
    assert_eq!(again.reason(), Some(ErrorReason::CallerThrottled));
    let wait = again.retry_after().context("when?")?;
    assert!(wait > Duration::from_secs(3000) && wait <= Duration::from_secs(3600), "{wait:?}");
    world.operator.ctl(&["caller", "update", "eager", "--min-interval", "0s"]).await?;
    eager.access_token(ALICE).await?;
    world.end().await
}

#[tokio::test]
async fn what_cannot_be_an_identity_or_a_right_is_refused_with_its_field() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let token = |subject: &str| rule(subject);
    let with = |change: &dyn Fn(&mut v1::Caller)| {
        let mut caller = v1::Caller { rights: everything(), ..Default::default() };
        change(&mut caller);
        caller
    };
    let select = |caller: &mut v1::Caller, change: &dyn Fn(&mut v1::AccountSelector)| {
        change(caller.rights[0].accounts.get_or_insert_default());
    };
    let dns = |name: &str| vec![identity(Kind::CertificateDns(name.to_owned()))];
    let uri = |name: &str| vec![identity(Kind::CertificateUri(name.to_owned()))];
    let cases = [
        ("caller.identities.certificate_dns", with(&|it| it.identities = dns("*.example.com"))),
        ("caller.identities.certificate_uri", with(&|it| it.identities = uri("spiffe://A/b"))),
        ("caller.identities.token", with(&|it| it.identities = vec![token("*")])),
        ("caller.identities.token", with(&|it| it.identities = vec![token("repo:acme*")])),
        ("caller.identities", with(&|it| it.identities = vec![v1::CallerIdentity { kind: None }])),
        (
            "caller.rights.accounts.accounts",
            with(&|it| select(it, &|to| to.accounts = vec!["A B".into()])),
        ),
        (
            "caller.rights.accounts.domains",
            with(&|it| select(it, &|to| to.domains = vec!["*.test".into()])),
        ),
        (
            "caller.rights.accounts.domains",
            with(&|it| select(it, &|to| to.domains = vec!["".into()])),
        ),
        ("caller.rights.accounts", with(&|it| it.rights[0].accounts = Some(Default::default()))),
        ("caller.rights.audiences", with(&|it| it.rights[0].audiences = vec!["a b".into()])),
        ("caller.rights.scopes", with(&|it| it.rights[0].scopes = vec!["a b".into()])),
        ("caller.rights.calls", with(&|it| it.rights[0].calls = vec![9])),
        ("caller.ip_ranges", with(&|it| it.ip_ranges = vec!["10.0.0.0/33".into()])),
        (
            "caller.min_interval",
            with(&|it| it.min_interval = Some(prost_types::Duration { seconds: 7200, nanos: 0 })),
        ),
    ];
    for (number, (field, caller)) in cases.into_iter().enumerate() {
        let shown = format!("{caller:?}");
        let id = format!("bad-{number}");
        let made = world.operator.caller(&id, CallerRole::Service, |it| {
            *it = v1::Caller { role: it.role, ..caller };
        });
        let error = made.await.err().with_context(|| format!("taken: {shown}"))?;
        let Some(Error::Invalid { field: named, remedy, .. }) = error.downcast_ref() else {
            anyhow::bail!("{shown}: {error:?}")
        };
        assert_eq!(named, field, "{shown}");
        assert!(remedy.len() > 15, "{remedy}");
    }
    world.end().await
}

/// Has brokers read the callers anew: what they remember is genuine, whatever stands in the database meanwhile.
async fn look_again(database: &mut PgConnection) -> Result<()> {
    let raise = "update rights_epoch set epoch = epoch + 1";
    let tell = "insert into rights_changes (epoch, kind, subject)
        select epoch, 'caller', id from rights_epoch, callers
        where callers.id in (select caller from caller_keys) and callers.display_name = 'spoilt'";
    sqlx::query(raise).execute(&mut *database).await?;
    sqlx::query(tell).execute(database).await?;
    Ok(())
}

#[tokio::test]
async fn a_certificates_name_is_one_callers_until_that_is_revoked() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let taken = vec![identity(Kind::CertificateUri(SPIFFE.into()))];
    service(&world, "first", taken.clone()).await?;
    let second = service(&world, "second", taken.clone()).await;
    assert!(
        second.is_err_and(|it| it.to_string().contains("another caller")),
        "one name, one caller"
    );
    world.operator.ctl(&["caller", "revoke", "first"]).await?;
    service(&world, "third", taken).await?;
    world.end().await
}

#[tokio::test]
async fn t5_a_flipped_bit_in_a_rights_column_of_a_caller_never_widens_anything() -> Result<()> {
    let world = World::builder().engine(Engine::Postgres).without_adapters().start().await?;
    world.connect(ALICE).await?;
    let narrow = |caller: &mut v1::Caller| {
        caller.rights = everything();
        caller.display_name = "spoilt".to_owned();
        caller.rights[0].scopes = vec!["none.such".to_owned()];
        caller.identities = vec![rule("system:serviceaccount:mail:*")];
        caller.min_interval = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    };
    let (_, key) = world.operator.caller("narrow", CallerRole::Service, narrow).await?;
    let tokens = world.tokens(&key).await?;
    assert_eq!(reason(tokens.access_token(ALICE).await), Some(ErrorReason::NotPermitted));
    let url = world.house.postgres_url().context("no database")?;
    let mut database = PgConnection::connect(url).await?;
    let (mut corrupt, mut flipped) = (0, 0);
    for column in ["role", "rights", "protocols", "ip_ranges", "identities", "project", "name"] {
        let sql = format!("select {column} from callers where name = 'narrow'");
        let text: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut database).await?;
        for bit in (0..text.len() * 7).step_by(5) {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 7] ^= 1 << (bit % 7);
            let spoilt = String::from_utf8(bytes)?;
            let sql = format!(
                "update callers set {column} = $1 where id = (select caller from caller_keys where key_id = $2)"
            );
            let key_id = key.split('_').nth(1).context("no id")?;
            for (value, is_spoilt) in [(&spoilt, true), (&text, false)] {
                let set = sqlx::query(AssertSqlSafe(sql.as_str())).bind(value).bind(key_id);
                if set.execute(&mut database).await.is_err() {
                    continue;
                }
                look_again(&mut database).await?;
                let answer = tokens.access_token(ALICE).await;
                assert!(answer.is_err(), "{column} bit {bit}: {spoilt}");
                let told = reason(answer);
                assert!(is_spoilt || told == Some(ErrorReason::NotPermitted), "{column}: {told:?}");
                flipped += u32::from(is_spoilt);
                corrupt += u32::from(is_spoilt && told == Some(ErrorReason::Internal));
            }
        }
    }
    for column in
        ["min_interval = 0", "identities = '[]'", "rights = replace(rights, 'scopes', 'scopez')"]
    {
        let sql = format!("update callers set {column} where name = 'narrow'");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut database).await?;
        look_again(&mut database).await?;
        assert_eq!(
            reason(tokens.access_token(ALICE).await),
            Some(ErrorReason::Internal),
            "{column}"
        );
    }
    println!("{flipped} flipped, {corrupt} refused as corrupt, 0 widened");
    assert_eq!(flipped, corrupt, "each is noticed");
    world.end().await
}
