//! One good token per algorithm, every way in which one can be bad, and issuers that are slow, silent or somebody else.

use std::sync::LazyLock;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use url::Url;

use super::*;
use crate::providers::rogue::{Act, NOW, Rogue, limits};

const ISSUER: &str = "https://issuer.test";
const AUDIENCE: &str = "token-broker";
const SUBJECT: &str = "system:serviceaccount:mail:crm";

struct Pair {
    algorithm: Algorithm,
    private: EncodingKey,
}

impl Pair {
    fn new(algorithm: Algorithm) -> Self {
        let private = if algorithm == Algorithm::ES256 {
            let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
            EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap()
        } else if algorithm == Algorithm::ES384 {
            let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
            EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap()
        } else {
            let size = rcgen::RsaKeySize::_2048;
            let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
            EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap()
        };
        Self { algorithm, private }
    }

    fn jwk(&self, kid: &str) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        jwk
    }

    fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = Header { kid: Some(kid.into()), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.private).unwrap()
    }
}

static ES256: LazyLock<Pair> = LazyLock::new(|| Pair::new(Algorithm::ES256));

fn set(keys: &[(&Pair, &str)]) -> String {
    let keys: Vec<Jwk> = keys.iter().map(|(pair, kid)| pair.jwk(kid)).collect();
    json!({ "keys": keys }).to_string()
}

fn settings(keys: KeyPlace) -> IssuerSettings {
    IssuerSettings {
        issuer: ISSUER.into(),
        audiences: vec![AUDIENCE.into(), "second".into()],
        keys,
        ca_file: None,
        algorithms: SigningAlgorithm::usual().to_vec(),
        leeway: Duration::from_secs(30),
        max_age: Duration::from_secs(3600),
        addresses: limits().addresses,
    }
}

fn claims_at(now: Time) -> Value {
    let now = now.seconds();
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "iat": now, "exp": now + 600})
}

fn changed(name: &str, value: Value) -> Value {
    let mut claims = claims_at(NOW);
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

/// An issuer whose keys are in a file.
struct Home {
    workloads: Workloads,
    clock: Clock,
    folder: tempfile::TempDir,
}

impl Home {
    fn new(keys: &str, change: impl FnOnce(&mut IssuerSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jwks.json");
        std::fs::write(&file, keys).unwrap();
        let mut settings = settings(KeyPlace::File(file));
        change(&mut settings);
        let clock = Clock::manual(NOW);
        Self { workloads: Workloads::new(&[settings], &clock).unwrap(), clock, folder }
    }

    async fn ask(&self, token: &str) -> Result<Vouched, TokenRefused> {
        self.workloads.verify(token, self.clock.now()).await
    }
}

/// An issuer that is asked over HTTP.
fn over(rogue: &Rogue) -> (Workloads, Clock) {
    let clock = Clock::manual(NOW);
    let url = Url::parse(&format!("http://{}/jwks", rogue.at)).unwrap();
    (Workloads::new(&[settings(KeyPlace::Url(url))], &clock).unwrap(), clock)
}

#[tokio::test]
async fn a_good_token_of_each_configured_algorithm_says_who_calls() {
    for algorithm in [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::ES256,
        Algorithm::ES384,
    ] {
        let pair = Pair::new(algorithm);
        let home = Home::new(&set(&[(&pair, "k")]), |settings| {
            settings.algorithms = vec![SigningAlgorithm(algorithm)];
        });
        let vouched = home.ask(&pair.sign("k", &claims_at(NOW))).await.unwrap();
        assert_eq!((vouched.issuer.as_str(), vouched.subject.as_str()), (ISSUER, SUBJECT));
        let other = Home::new(&set(&[(&pair, "k")]), |settings| {
            settings.algorithms = vec![SigningAlgorithm(Algorithm::EdDSA)];
        });
        let refused = other.ask(&pair.sign("k", &claims_at(NOW))).await;
        assert_eq!(refused, Err(TokenRefused::Algorithm), "{algorithm:?}");
    }
}

#[tokio::test]
async fn every_bad_claim_is_refused() {
    let home = Home::new(&set(&[(&ES256, "k")]), |_| {});
    let now = NOW.seconds();
    for (name, value, why) in [
        ("iss", json!(null), TokenRefused::Issuer),
        ("iss", json!("https://issuer.test/"), TokenRefused::Issuer),
        ("iss", json!("https://ISSUER.test"), TokenRefused::Issuer),
        ("iss", json!([ISSUER]), TokenRefused::Issuer),
        ("aud", json!(null), TokenRefused::Audience),
        ("aud", json!("token-broker-2"), TokenRefused::Audience),
        ("aud", json!([]), TokenRefused::Audience),
        ("aud", json!(["other", 7]), TokenRefused::Audience),
        ("aud", json!({"token-broker": 1}), TokenRefused::Audience),
        ("exp", json!(null), TokenRefused::Expired),
        ("exp", json!(now - 31), TokenRefused::Expired),
        ("exp", json!("2100"), TokenRefused::Expired),
        ("exp", json!(-1), TokenRefused::Expired),
        ("iat", json!(null), TokenRefused::IssueTime),
        ("iat", json!(now + 60), TokenRefused::IssueTime),
        ("iat", json!(now - 3700), TokenRefused::IssueTime),
        ("nbf", json!(now + 60), TokenRefused::IssueTime),
        ("nbf", json!("soon"), TokenRefused::IssueTime),
        ("sub", json!(null), TokenRefused::Subject),
        ("sub", json!(""), TokenRefused::Subject),
        ("sub", json!("a\nb"), TokenRefused::Subject),
        ("sub", json!("x".repeat(513)), TokenRefused::Subject),
    ] {
        let refused = home.ask(&ES256.sign("k", &changed(name, value.clone()))).await;
        assert_eq!(refused, Err(why), "{name} {value}");
    }
    for (name, value) in [
        ("aud", json!(["other", AUDIENCE])),
        ("aud", json!("second")),
        ("exp", json!(now - 29)),
        ("iat", json!(now + 29)),
        ("nbf", json!(now - 5)),
    ] {
        let taken = home.ask(&ES256.sign("k", &changed(name, value.clone()))).await;
        assert!(taken.is_ok(), "{name} {value}: {taken:?}");
    }
}

#[tokio::test]
async fn t19_a_token_that_chooses_its_own_key_or_algorithm_is_refused() {
    let home = Home::new(&set(&[(&ES256, "k")]), |_| {});
    let stranger = Pair::new(Algorithm::ES256);
    let forged = stranger.sign("k", &claims_at(NOW));
    assert_eq!(home.ask(&forged).await, Err(TokenRefused::Signature));
    let with_key = Header {
        kid: Some("k".into()),
        jwk: Some(stranger.jwk("k")),
        jku: Some("https://evil.test/jwks".into()),
        ..Header::new(Algorithm::ES256)
    };
    let forged = encode(&with_key, &claims_at(NOW), &stranger.private).unwrap();
    assert_eq!(home.ask(&forged).await, Err(TokenRefused::Signature), "its own key is not used");
    let good = ES256.sign("k", &claims_at(NOW));
    let parts: Vec<&str> = good.split('.').collect();
    let header = |text: &str| URL_SAFE_NO_PAD.encode(text);
    for bad in [r#"{"alg":"none"}"#, r#"{"alg":"HS256","kid":"k"}"#, r#"{"alg":"ES256 "}"#, "{}"] {
        let token = format!("{}.{}.{}", header(bad), parts[1], parts[2]);
        assert_eq!(home.ask(&token).await, Err(TokenRefused::Algorithm), "{bad}");
    }
    let unsigned = format!("{}.{}.", header(r#"{"alg":"none"}"#), parts[1]);
    assert_eq!(home.ask(&unsigned).await, Err(TokenRefused::Algorithm));
    // The public key as a shared secret: the oldest trick of all.
    let public = serde_json::to_vec(&ES256.jwk("k")).unwrap();
    let secret = EncodingKey::from_secret(&public);
    let hmac = Header { kid: Some("k".into()), ..Header::new(Algorithm::HS256) };
    let forged = encode(&hmac, &claims_at(NOW), &secret).unwrap();
    assert_eq!(home.ask(&forged).await, Err(TokenRefused::Algorithm));
    let critical = r#"{"alg":"ES256","kid":"k","crit":["b64"],"b64":false}"#;
    let token = format!("{}.{}.{}", header(critical), parts[1], parts[2]);
    assert!(home.ask(&token).await.is_err());
    for (typ, taken) in [("at+jwt", true), ("jwt", true), ("dpop+jwt", false), ("JOSE", false)] {
        let typed = Header { typ: Some(typ.into()), ..hmac.clone() };
        let typed = Header { alg: Algorithm::ES256, ..typed };
        let token = encode(&typed, &claims_at(NOW), &ES256.private).unwrap();
        assert_eq!(home.ask(&token).await.is_ok(), taken, "{typ}");
    }
    for text in ["", "..", "a.b", "a.b.c.d", "a.!.c", &"x".repeat(9000), &format!("{good}.x")] {
        assert!(home.ask(text).await.is_err(), "{text}");
    }
    for at in 0..good.len() {
        let mut spoilt = good.clone().into_bytes();
        spoilt[at] = if spoilt[at] == b'A' { b'Q' } else { b'A' };
        let spoilt = String::from_utf8(spoilt).unwrap();
        assert!(home.ask(&spoilt).await.is_err(), "character {at}");
    }
}

#[tokio::test]
async fn keys_are_fetched_once_and_forged_kids_cannot_hammer_the_issuer() {
    let rogue = Rogue::json(200, &set(&[(&ES256, "k")])).await;
    let (workloads, clock) = over(&rogue);
    let good = ES256.sign("k", &claims_at(NOW));
    for _ in 0..5 {
        workloads.verify(&good, clock.now()).await.unwrap();
    }
    assert_eq!(rogue.requests().len(), 1);
    let forged = ES256.sign("forged", &claims_at(NOW));
    let asked = (0..50).map(|_| workloads.verify(&forged, NOW));
    for refused in futures_util::future::join_all(asked).await {
        assert_eq!(refused, Err(TokenRefused::UnknownKey));
    }
    assert_eq!(rogue.requests().len(), 1, "the set was fetched a moment ago");
    clock.advance(Duration::from_secs(31));
    let asked = (0..50).map(|_| workloads.verify(&forged, clock.now()));
    futures_util::future::join_all(asked).await;
    assert_eq!(rogue.requests().len(), 2, "and again once the cool-down is over");
}

#[tokio::test]
async fn a_new_key_is_found_and_an_outage_keeps_the_old_ones_for_a_day() {
    let other = Pair::new(Algorithm::ES256);
    let (old, new) = (set(&[(&ES256, "a")]), set(&[(&other, "b")]));
    let acts = vec![Act::Json(200, old), Act::Json(200, new), Act::Json(503, String::new())];
    let rogue = Rogue::start(acts).await;
    let (workloads, clock) = over(&rogue);
    let first = ES256.sign("a", &claims_at(NOW));
    workloads.verify(&first, NOW).await.unwrap();
    clock.advance(Duration::from_secs(31));
    let fresh = |clock: &Clock| other.sign("b", &claims_at(clock.now()));
    workloads.verify(&fresh(&clock), clock.now()).await.unwrap();
    let gone = workloads.verify(&first, clock.now()).await;
    assert_eq!(gone, Err(TokenRefused::UnknownKey), "a key that was taken back is gone");
    clock.advance(Duration::from_secs(7200));
    workloads.verify(&fresh(&clock), clock.now()).await.unwrap();
    clock.advance(Duration::from_secs(86_400));
    let away = workloads.verify(&fresh(&clock), clock.now()).await;
    assert!(matches!(away, Err(TokenRefused::KeysAway(_))), "{away:?}");
}

#[tokio::test]
async fn an_issuer_that_never_answered_is_away_and_not_the_caller_wrong() {
    let good = ES256.sign("k", &claims_at(NOW));
    for act in [
        Act::CloseBefore,
        Act::Json(500, String::new()),
        Act::Json(200, "[]".into()),
        Act::Flood,
        Act::Say(
            "HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".into(),
        ),
    ] {
        let rogue = Rogue::start(vec![act.clone()]).await;
        let (workloads, clock) = over(&rogue);
        let away = workloads.verify(&good, clock.now()).await;
        assert!(matches!(away, Err(TokenRefused::KeysAway(_))), "{act:?}: {away:?}");
    }
}

#[tokio::test]
async fn keys_are_discovered_and_metadata_of_another_issuer_are_refused() {
    for (issuer, jwks, taken) in [
        ("http://{at}", "http://{at}/jwks", true),
        ("http://{at}/", "http://{at}/jwks", false),
        ("https://issuer.test", "http://{at}/jwks", false),
        ("http://{at}", "http://169.254.169.254/jwks", false),
        ("http://{at}", "", false),
    ] {
        let metadata = json!({"issuer": issuer, "jwks_uri": jwks}).to_string();
        let keys = set(&[(&ES256, "k")]);
        let rogue = Rogue::start(vec![Act::Json(200, metadata), Act::Json(200, keys)]).await;
        let own = format!("http://{}", rogue.at);
        let settings = IssuerSettings { issuer: own.clone(), ..settings(KeyPlace::Discovered) };
        let clock = Clock::manual(NOW);
        let workloads = Workloads::new(&[settings], &clock).unwrap();
        let token = ES256.sign("k", &changed("iss", json!(own)));
        let answer = workloads.verify(&token, NOW).await;
        assert_eq!(answer.is_ok(), taken, "{issuer} {jwks}: {answer:?}");
        let first = rogue.requests()[0].clone();
        assert!(first.starts_with("GET /.well-known/openid-configuration "), "{first}");
    }
}

#[tokio::test]
async fn a_key_file_is_read_again() {
    let other = Pair::new(Algorithm::ES256);
    let home = Home::new(&set(&[(&ES256, "a")]), |_| {});
    home.ask(&ES256.sign("a", &claims_at(NOW))).await.unwrap();
    std::fs::write(home.folder.path().join("jwks.json"), set(&[(&other, "b")])).unwrap();
    home.clock.advance(Duration::from_secs(31));
    home.ask(&other.sign("b", &claims_at(NOW))).await.unwrap();
    assert_eq!(home.ask(&ES256.sign("a", &claims_at(NOW))).await, Err(TokenRefused::UnknownKey));
}

#[tokio::test]
async fn one_issuers_key_signs_nothing_of_another() {
    let other = Pair::new(Algorithm::ES256);
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str, pair: &Pair| {
        let file = folder.path().join(name);
        std::fs::write(&file, set(&[(pair, "k")])).unwrap();
        KeyPlace::File(file)
    };
    let one = settings(place("one", &ES256));
    let two =
        IssuerSettings { issuer: "https://two.test".into(), ..settings(place("two", &other)) };
    let workloads = Workloads::new(&[one, two], &Clock::manual(NOW)).unwrap();
    let of_two = changed("iss", json!("https://two.test"));
    assert!(workloads.verify(&other.sign("k", &of_two), NOW).await.is_ok());
    let crossed = workloads.verify(&ES256.sign("k", &of_two), NOW).await;
    assert_eq!(crossed, Err(TokenRefused::Signature));
}

#[test]
fn a_shared_secret_is_no_signature() {
    for name in ["HS256", "HS384", "HS512", "none", "", "rs256"] {
        assert_eq!(SigningAlgorithm::parse(name), None, "{name}");
    }
    for name in SigningAlgorithm::NAMES {
        assert!(SigningAlgorithm::parse(name).is_some(), "{name}");
    }
}
