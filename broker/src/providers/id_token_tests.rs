//! One good ID token per algorithm, and every way in which one can be bad.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;
use crate::providers::rogue::{Act, NOW, Rogue, client, limits, provider};

const NONCE: &str = "nonce-1";
const TID: &str = "7f1a2b3c-0000-4000-8000-123456789abc";
const MSA: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// A key pair as a provider has it.
struct Pair {
    algorithm: Algorithm,
    private: EncodingKey,
}

impl Pair {
    fn new(algorithm: Algorithm) -> Self {
        let private = match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => {
                let size = rcgen::RsaKeySize::_2048;
                let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
                EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap()
            }
            Algorithm::ES256 => {
                let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
                EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap()
            }
            _ => EncodingKey::from_ed_der(&ed25519()),
        };
        Self { algorithm, private }
    }

    fn key(&self, kid: &str) -> Key {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        Key { jwk, issuer: None }
    }

    fn sign(&self, claims: &Value) -> Secret {
        let header = Header { kid: Some("k1".into()), ..Header::new(self.algorithm) };
        Secret::new(encode(&header, claims, &self.private).unwrap())
    }
}

/// A private key without its public half: the form whose length `jsonwebtoken` knows.
fn ed25519() -> Vec<u8> {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    [&head, &pair.serialize_der()[16..48]].concat()
}

static ES256: LazyLock<Pair> = LazyLock::new(|| Pair::new(Algorithm::ES256));

fn google() -> Resolved {
    provider("google", "127.0.0.1:1".parse().unwrap())
}

fn claims() -> Value {
    let now = NOW.seconds();
    json!({
        "iss": "https://accounts.google.com", "aud": "client id", "sub": "1234567890",
        "email": "owner@example.com", "email_verified": true,
        "nonce": NONCE, "iat": now, "exp": now + 3600,
    })
}

fn microsoft_claims(tid: &str) -> Value {
    let mut claims = claims();
    claims["iss"] = json!(format!("https://login.microsoftonline.com/{tid}/v2.0"));
    claims["tid"] = json!(tid);
    claims["oid"] = json!("oid-1");
    claims
}

fn verdict(provider: &Resolved, claims: &Value) -> Result<Identity, IdTokenError> {
    verdict_of(provider, &ES256.sign(claims), &[ES256.key("k1")])
}

fn verdict_of(provider: &Resolved, token: &Secret, keys: &[Key]) -> Result<Identity, IdTokenError> {
    let (algorithm, _) = header(token)?;
    check(provider, token, (algorithm, keys), NONCE, NOW)
}

fn changed(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

#[test]
fn a_good_token_of_each_allowed_algorithm_names_its_owner() {
    for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA] {
        let pair = Pair::new(algorithm);
        let identity = verdict_of(&google(), &pair.sign(&claims()), &[pair.key("k1")]).unwrap();
        let expected = Identity {
            subject: "1234567890".into(),
            tenant: None,
            mailbox: Some("owner@example.com".into()),
            email_verified: true,
        };
        assert_eq!(identity, expected, "{algorithm:?}");
    }
}

#[test]
fn every_bad_claim_is_refused() {
    let now = NOW.seconds();
    let bad = [
        ("iss", json!(null), IdTokenError::Issuer),
        ("iss", json!("https://accounts.google.com/"), IdTokenError::Issuer),
        ("iss", json!("accounts.google.com"), IdTokenError::Issuer),
        ("iss", json!("https://ACCOUNTS.google.com"), IdTokenError::Issuer),
        ("iss", json!("https://evil.example"), IdTokenError::Issuer),
        ("iss", json!(["https://accounts.google.com"]), IdTokenError::Issuer),
        ("aud", json!(null), IdTokenError::Audience),
        ("aud", json!("another client"), IdTokenError::Audience),
        ("aud", json!("client id "), IdTokenError::Audience),
        ("aud", json!([]), IdTokenError::Audience),
        ("aud", json!(["another client"]), IdTokenError::Audience),
        ("aud", json!(["client id", "another client"]), IdTokenError::Audience),
        ("aud", json!({"client id": true}), IdTokenError::Audience),
        ("azp", json!("another client"), IdTokenError::Audience),
        ("azp", json!(7), IdTokenError::Audience),
        ("exp", json!(null), IdTokenError::Expired),
        ("exp", json!(now - 60), IdTokenError::Expired),
        ("exp", json!("tomorrow"), IdTokenError::Expired),
        ("exp", json!(-1), IdTokenError::Expired),
        ("exp", json!(1e300), IdTokenError::Expired),
        ("iat", json!(null), IdTokenError::IssueTime),
        ("iat", json!(now + 61), IdTokenError::IssueTime),
        ("iat", json!(now - 3601), IdTokenError::IssueTime),
        ("nbf", json!(now + 61), IdTokenError::IssueTime),
        ("nonce", json!(null), IdTokenError::Nonce),
        ("nonce", json!(""), IdTokenError::Nonce),
        ("nonce", json!("nonce-2"), IdTokenError::Nonce),
        ("nonce", json!("NONCE-1"), IdTokenError::Nonce),
        ("sub", json!(null), IdTokenError::Subject),
        ("sub", json!(""), IdTokenError::Subject),
        ("sub", json!(17), IdTokenError::Subject),
        ("sub", json!("x".repeat(256)), IdTokenError::Subject),
    ];
    for (name, value, expected) in bad {
        let claims = changed(name, value.clone());
        assert_eq!(verdict(&google(), &claims), Err(expected), "{name} = {value}");
        let token = ES256.sign(&claims);
        assert!(
            verified(&token, Algorithm::ES256, &ES256.key("k1")).is_some(),
            "the signature alone would pass"
        );
    }
}

#[test]
fn claims_at_the_edge_are_accepted() {
    let now = NOW.seconds();
    for (name, value) in [
        ("exp", json!(now - 59)),
        ("iat", json!(now + 60)),
        ("exp", json!(f64::from(1_800_000_100) + 0.5)),
        ("aud", json!(["client id"])),
        ("azp", json!("client id")),
        ("email_verified", json!("true")),
    ] {
        let mut claims = changed(name, value.clone());
        if name == "exp" {
            claims["iat"] = json!(now - 120);
        }
        assert!(verdict(&google(), &claims).is_ok(), "{name} = {value}");
    }
    let mut two = changed("aud", json!(["client id", "another client"]));
    two["azp"] = json!("client id");
    assert!(verdict(&google(), &two).is_ok());
}

#[test]
fn unsigned_and_symmetric_tokens_are_refused() {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let public = URL_SAFE_NO_PAD
        .decode(serde_json::to_value(&ES256.key("k1").jwk).unwrap()["x"].as_str().unwrap());
    let public = EncodingKey::from_secret(&public.unwrap());
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let token = Secret::new(encode(&Header::new(algorithm), &claims(), &public).unwrap());
        assert_eq!(verdict_of(&google(), &token, &[ES256.key("k1")]), Err(IdTokenError::Algorithm));
    }
    for algorithm in ["none", "None", "NONE", "", "ES384", "RS512", "RS1", "HS256"] {
        let token =
            format!("{}.{}.", part(&json!({"alg": algorithm, "kid": "k1"})), part(&claims()));
        let refused = verdict_of(&google(), &Secret::new(token), &[ES256.key("k1")]);
        assert_eq!(refused, Err(IdTokenError::Algorithm), "{algorithm}");
    }
}

#[test]
fn a_token_that_is_not_what_was_signed_is_refused() {
    let good = ES256.sign(&claims());
    let parts: Vec<&str> = good.expose().split('.').collect();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let forged = part(&changed("sub", json!("somebody else")));
    let keys = [ES256.key("k1")];
    for token in [
        format!("{}.{forged}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], "AAAA"),
        format!("{}.{}.{}=", parts[0], parts[1], parts[2]),
    ] {
        assert_eq!(
            verdict_of(&google(), &Secret::new(token.clone()), &keys),
            Err(IdTokenError::Signature),
            "{token}"
        );
    }
    let other = Pair::new(Algorithm::ES256);
    assert_eq!(verdict_of(&google(), &other.sign(&claims()), &keys), Err(IdTokenError::Signature));
    assert_eq!(verdict_of(&google(), &good, &[]), Err(IdTokenError::UnknownKey));
    let crit = part(&json!({"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false}));
    let crit = Secret::new(format!("{crit}.{}.{}", parts[1], parts[2]));
    assert_eq!(verdict_of(&google(), &crit, &keys), Err(IdTokenError::Critical));
    for token in ["", "a", "a.b", "a.b.c.d", "..", "a.b.c.d.e", &"x".repeat(20_000)] {
        let refused = verdict_of(&google(), &Secret::from(token), &keys).unwrap_err();
        assert!(
            matches!(refused, IdTokenError::Malformed | IdTokenError::Algorithm),
            "{token}: {refused:?}"
        );
    }
}

#[test]
fn a_key_in_the_token_itself_counts_for_nothing() {
    let attacker = Pair::new(Algorithm::ES256);
    let header = Header {
        kid: Some("k1".into()),
        jwk: Some(attacker.key("k1").jwk),
        jku: Some("https://evil.example/keys".into()),
        ..Header::new(Algorithm::ES256)
    };
    let token = Secret::new(encode(&header, &claims(), &attacker.private).unwrap());
    assert_eq!(verdict_of(&google(), &token, &[ES256.key("k1")]), Err(IdTokenError::Signature));
    assert!(
        verdict_of(&google(), &token, &[attacker.key("k1")]).is_ok(),
        "believing it would let it in"
    );
}

#[test]
fn microsofts_tenants_are_kept_apart() {
    let at = |authority: &str| {
        let microsoft = provider("microsoft", "127.0.0.1:1".parse().unwrap());
        Resolved { authority: Some(authority.to_owned()), ..microsoft }
    };
    let identity = verdict(&at("common"), &microsoft_claims(TID)).unwrap();
    assert_eq!((identity.subject.as_str(), identity.tenant.as_deref()), ("oid-1", Some(TID)));
    assert_eq!(identity.account_subject(), format!("{TID}.oid-1"));
    for (authority, tid, expected) in [
        ("common", MSA, None),
        ("organizations", TID, None),
        ("organizations", MSA, Some(IdTokenError::Tenant)),
        ("consumers", MSA, None),
        ("consumers", TID, Some(IdTokenError::Tenant)),
        (TID, TID, None),
        (TID, "00000000-0000-4000-8000-000000000000", Some(IdTokenError::Tenant)),
        ("contoso.com", TID, None),
        ("contoso.com", MSA, Some(IdTokenError::Tenant)),
        ("common", "evil.example/x#", Some(IdTokenError::Tenant)),
        ("common", "", Some(IdTokenError::Tenant)),
    ] {
        let verdict = verdict(&at(authority), &microsoft_claims(tid));
        assert_eq!(verdict.err(), expected, "{authority} {tid}");
    }
    let mut mixed = microsoft_claims(TID);
    mixed["iss"] = json!(format!("https://login.microsoftonline.com/{MSA}/v2.0"));
    assert_eq!(verdict(&at("common"), &mixed), Err(IdTokenError::Issuer));
    let mut literal = microsoft_claims(TID);
    literal["iss"] = json!("https://login.microsoftonline.com/{tenantid}/v2.0");
    assert_eq!(verdict(&at("common"), &literal), Err(IdTokenError::Issuer));
    let mut no_oid = microsoft_claims(TID);
    no_oid["oid"] = json!(null);
    assert_eq!(verdict(&at("common"), &no_oid), Err(IdTokenError::Subject), "sub is no substitute");
    let token = ES256.sign(&microsoft_claims(TID));
    for (issuer, expected) in [
        ("https://login.microsoftonline.com/{tenantid}/v2.0".to_owned(), None),
        (format!("https://login.microsoftonline.com/{TID}/v2.0"), None),
        (format!("https://login.microsoftonline.com/{MSA}/v2.0"), Some(IdTokenError::Issuer)),
    ] {
        let bound = Key { issuer: Some(issuer.clone()), ..ES256.key("k1") };
        assert_eq!(verdict_of(&at("common"), &token, &[bound]).err(), expected, "{issuer}");
    }
}

#[test]
fn the_mailbox_is_the_first_claim_that_is_an_address() {
    let rule =
        IdentityRule { mailbox: vec!["email".into(), "upn".into()], ..IdentityRule::default() };
    let found = |claims: Value| mailbox(&rule, claims.as_object().unwrap());
    assert_eq!(
        found(json!({"email": "a@b.example", "upn": "c@d.example"})).as_deref(),
        Some("a@b.example")
    );
    assert_eq!(
        found(json!({"email": "nobody", "upn": "c@d.example"})).as_deref(),
        Some("c@d.example")
    );
    assert_eq!(found(json!({"email": "a@b\u{1}auth=x", "sub": "x@y"})), None);
    assert_eq!(found(json!({"email": 5})), None);
}

fn key_set(pairs: &[(&Pair, &str)]) -> String {
    let keys: Vec<Jwk> = pairs.iter().map(|(pair, kid)| pair.key(kid).jwk).collect();
    json!({"keys": keys}).to_string()
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_only_when_they_must_be() {
    let set = key_set(&[(&ES256, "k1")]);
    let rogue = Rogue::json(200, &set).await;
    let google = provider("google", rogue.at);
    let (client, clock) = client(limits());
    let token = ES256.sign(&claims());
    for _ in 0..3 {
        client.verify_id_token(&google, &token, NONCE).await.unwrap();
    }
    assert_eq!(rogue.requests().len(), 1, "the set is kept");

    let header = Header { kid: Some("forged".into()), ..Header::new(Algorithm::ES256) };
    let forged = Secret::new(encode(&header, &claims(), &ES256.private).unwrap());
    for _ in 0..5 {
        let refused = client.verify_id_token(&google, &forged, NONCE).await;
        assert_eq!(refused, Err(IdTokenError::UnknownKey));
    }
    assert_eq!(rogue.requests().len(), 1, "the set was fetched within the minute");
    clock.advance(Duration::from_secs(61));
    for _ in 0..5 {
        client.verify_id_token(&google, &forged, NONCE).await.unwrap_err();
    }
    assert_eq!(rogue.requests().len(), 2, "an unknown key is asked for once a minute");
    clock.advance(Duration::from_secs(3600));
    client.verify_id_token(&google, &token, NONCE).await.unwrap_err();
    assert_eq!(rogue.requests().len(), 3, "an hour later the set is asked for again");
}

#[tokio::test]
async fn a_new_key_is_found_and_an_outage_keeps_the_old_ones() {
    let other = Pair::new(Algorithm::EdDSA);
    let (old, new) = (key_set(&[(&ES256, "k1")]), key_set(&[(&other, "k1"), (&ES256, "k2")]));
    let rogue =
        Rogue::start(vec![Act::Json(200, old), Act::Json(200, new), Act::Json(503, String::new())])
            .await;
    let google = provider("google", rogue.at);
    let (client, clock) = client(limits());
    let fresh = |clock: &crate::clock::Clock| {
        let now = clock.now().seconds();
        let mut claims = claims();
        claims["iat"] = json!(now);
        claims["exp"] = json!(now + 600);
        claims
    };
    client.verify_id_token(&google, &ES256.sign(&fresh(&clock)), NONCE).await.unwrap();
    clock.advance(Duration::from_secs(61));
    client.verify_id_token(&google, &other.sign(&fresh(&clock)), NONCE).await.unwrap();
    clock.advance(Duration::from_secs(7200));
    client.verify_id_token(&google, &other.sign(&fresh(&clock)), NONCE).await.unwrap();
    assert_eq!(rogue.requests().len(), 3);
    clock.advance(Duration::from_secs(86_400));
    let dead = client.verify_id_token(&google, &other.sign(&fresh(&clock)), NONCE).await;
    assert!(matches!(dead, Err(IdTokenError::Keys(_))), "{dead:?}");
}

#[tokio::test]
async fn only_keys_made_for_it_can_check_a_token() {
    let second = Pair::new(Algorithm::ES256);
    let mut for_encryption = ES256.key("k1").jwk;
    for_encryption.common.public_key_use = Some(PublicKeyUse::Encryption);
    let mut other_algorithm = ES256.key("k1").jwk;
    other_algorithm.common.key_algorithm = Some(jsonwebtoken::jwk::KeyAlgorithm::ES384);
    let symmetric = json!({"kty": "oct", "kid": "k1", "k": "AAAA"});
    let unreadable = json!({"kty": "EC", "kid": "k1"});
    let good = ES256.key("k1").jwk;
    let no_kid =
        Secret::new(encode(&Header::new(Algorithm::ES256), &claims(), &ES256.private).unwrap());
    let named = ES256.sign(&claims());
    for (set, token, ok) in [
        (json!({"keys": [for_encryption]}), &named, false),
        (json!({"keys": [other_algorithm]}), &named, false),
        (json!({"keys": [symmetric]}), &named, false),
        (json!({"keys": []}), &named, false),
        (json!({}), &named, false),
        (json!({"keys": [symmetric, unreadable, 5, good]}), &named, true),
        (json!({"keys": [good, second.key("k2").jwk]}), &no_kid, false),
        (json!({"keys": [good]}), &no_kid, true),
    ] {
        let rogue = Rogue::json(200, &set.to_string()).await;
        let result =
            client(limits()).0.verify_id_token(&provider("google", rogue.at), token, NONCE).await;
        assert_eq!(result.is_ok(), ok, "{set}: {result:?}");
    }
}
