//! Rows in which no column has its default, so that one that is not written or not read shows.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Time;
use crate::domain::account::{Account, Standing};
use crate::domain::app::{App, AppHealth, AppSecret, ClientAuthMethod, Endpoints, Rotation};
use crate::domain::caller::{CallClass, Caller, CallerKey, Right, Role, Selector};
use crate::domain::caller_identity::{CallerIdentity, TokenRule};
use crate::domain::consent::{Consent, ConsentMode, ConsentState};
use crate::domain::credential::{Credential, Limits};
use crate::domain::event::{Event, What};
use crate::domain::grant::{AccessToken, Attempt, Grant};
use crate::domain::guarded::Guarded;
use crate::domain::ids::*;
use crate::domain::mail::{MailHost, MailProtocol};
use crate::domain::secret::Sealed;
use crate::domain::session::MailSession;
use crate::entropy::Entropy;
use crate::store::{Decision, Sight, Store};

pub(super) const NOW: Time = Time::from_millis(1_800_000_000_123);

/// A row id, or anything else made of time and randomness.
pub(super) fn fresh<T>(make: impl FnOnce(Time, &Entropy) -> T) -> T {
    make(NOW, &Entropy::system())
}

pub(super) fn at(millis: i64) -> Time {
    Time::from_millis(NOW.millis() + millis)
}

pub(super) fn name(text: &str) -> ResourceId {
    ResourceId::parse(text).unwrap()
}

pub(super) fn project() -> ProjectId {
    ProjectId::default_project()
}

pub(super) fn sealed(text: &str) -> Sealed {
    Sealed::from_bytes(text.as_bytes().to_vec())
}

pub(super) fn guard<T>(value: &T) -> Guarded<T>
where
    T: Clone,
{
    Guarded::new(value.clone(), vec![7; 32])
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

fn labels(value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("team".to_owned(), value.to_owned()), ("a\"b".to_owned(), "\\".to_owned())])
}

pub(super) fn app(called: &str) -> App {
    App {
        id: fresh(AppId::new),
        project: project(),
        name: name(called),
        display_name: "Händler".into(),
        preset: "microsoft".into(),
        authority: "common".into(),
        client_id: "client".into(),
        client_auth: Some(ClientAuthMethod::Post),
        endpoints: Endpoints {
            issuer: "https://issuer.example".into(),
            authorization: "https://issuer.example/a".into(),
            token: "https://issuer.example/t".into(),
            revocation: "https://issuer.example/r".into(),
            userinfo: "https://issuer.example/u".into(),
            jwks: "https://issuer.example/j".into(),
            iss_advertised: true,
        },
        base_scopes: texts(&["openid", "with \"quotes\""]),
        extra_scopes: texts(&["extra"]),
        skip_scopes: texts(&["skip"]),
        mail_hosts: vec![MailHost::parse("imap+tls://imap.example:993").unwrap()],
        return_uris: texts(&["https://app.example/back"]),
        rotation: Some(Rotation::Strict),
        disabled: true,
        health: AppHealth::Rejected { since: at(1), code: "invalid_client".into() },
        version: 1,
        created_at: at(2),
        updated_at: at(3),
    }
}

pub(super) fn app_secret(app: &App, active: bool) -> AppSecret {
    AppSecret {
        id: fresh(AppSecretId::new),
        app: app.id,
        sealed: sealed("app secret"),
        active,
        created_at: at(1),
        expires_at: Some(at(2)),
    }
}

pub(super) fn account(app: &App, called: &str) -> Account {
    Account {
        id: fresh(AccountId::new),
        project: project(),
        name: name(called),
        mailbox: Mailbox::parse(&format!("{called}@example.com")).unwrap(),
        sasl_user: "sasl".into(),
        display_name: "Ann".into(),
        app: app.id,
        labels: labels("mail"),
        subject: "tid.oid".into(),
        authority: "tenant".into(),
        disabled: true,
        standing: Standing::NeedsInteraction,
        provider_code: "AADSTS50076".into(),
        provider_message: "do something".into(),
        version: 1,
        created_at: at(2),
        updated_at: at(3),
    }
}

pub(super) fn grant(account: &Account, generation: i64) -> Grant {
    Grant {
        id: fresh(GrantId::new),
        account: account.id,
        generation,
        parent: generation - 1,
        refresh_token: Some(sealed("refresh")),
        received_at: at(generation),
        proven: false,
        ends_at: Some(at(generation + 1)),
        carried: true,
        refusals: 2,
    }
}

pub(super) fn token(account: &Account, generation: i64) -> AccessToken {
    AccessToken {
        id: fresh(TokenId::new),
        account: account.id,
        audience: "mail".into(),
        generation,
        sealed: sealed(&format!("token {generation}")),
        token_type: "Bearer".into(),
        scopes: texts(&["imap", "smtp"]),
        issued_at: at(generation),
        expires_at: at(3_600_000),
        fingerprint: vec![u8::try_from(generation).unwrap(); 32],
        rejected: false,
        used_at: None,
    }
}

pub(super) fn attempt(account: &Account) -> Attempt {
    Attempt {
        id: fresh(AttemptId::new),
        account: account.id,
        audience: "mail".into(),
        generation: 3,
        owner: "replica".into(),
        started_at: at(1),
        ended_at: None,
        outcome: String::new(),
        code: String::new(),
    }
}

pub(super) fn consent(app: &App, called: &str) -> Consent {
    Consent {
        id: fresh(ConsentId::new),
        project: project(),
        name: name(called),
        app: app.id,
        account: None,
        account_name: "ann".into(),
        labels: labels("consent"),
        mode: ConsentMode::Invitation,
        state: ConsentState::Open,
        expected_mailbox: Some(Mailbox::parse("ann@example.com").unwrap()),
        requester: "Help desk".into(),
        return_uri: "https://app.example/back".into(),
        redirect_uri: "https://broker.example/callback".into(),
        ticket_hash: format!("ticket {called}").into_bytes(),
        state_hash: format!("state {called}").into_bytes(),
        cookie_hash: vec![3; 32],
        finish_hash: vec![4; 32],
        verifier: Some(sealed("verifier")),
        nonce: Some(sealed("nonce")),
        answer: Some(sealed("answer")),
        failure: "none".into(),
        created_by: "projects/default/callers/desk".into(),
        created_at: at(1),
        expires_at: at(600_000),
    }
}

pub(super) fn credential(account: &Account, key: &str) -> Credential {
    Credential {
        id: fresh(CredentialId::new),
        key: key.into(),
        account: account.id,
        description: "printer".into(),
        protocols: vec![MailProtocol::Imap, MailProtocol::Smtp],
        ip_ranges: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        limits: Limits { sessions: Some(3), logins_per_minute: Some(4) },
        expires_at: Some(at(1)),
        revoked_at: Some(at(2)),
        secret_hash: vec![5; 32],
        successor: "next".into(),
        version: 1,
        created_at: at(3),
        last_used_at: Some(at(4)),
        last_used_from: "10.0.0.7".into(),
    }
}

pub(super) fn caller(called: &str) -> Caller {
    let accounts = Selector {
        all: true,
        accounts: texts(&["ann"]),
        domains: texts(&["example.com"]),
        labels: labels("right"),
    };
    Caller {
        id: fresh(CallerId::new),
        project: project(),
        name: name(called),
        display_name: "CRM".into(),
        role: Role::Service,
        rights: vec![Right {
            accounts,
            audiences: texts(&["mail", "*"]),
            calls: vec![CallClass::Status, CallClass::Tokens],
            scopes: texts(&["https://mail.example/"]),
        }],
        protocols: vec![MailProtocol::Pop3],
        ip_ranges: vec!["192.0.2.0/24".parse().unwrap()],
        identities: identities(),
        min_interval: Duration::from_millis(1500),
        revoked_at: Some(at(1)),
        version: 1,
        created_at: at(2),
    }
}

pub(super) fn identities() -> Vec<CallerIdentity> {
    vec![
        CallerIdentity::dns("crm.example.com").unwrap(),
        CallerIdentity::uri("spiffe://example.org/crm").unwrap(),
        CallerIdentity::token(TokenRule {
            issuer: "https://issuer.test".into(),
            subject: "system:serviceaccount:mail:*".into(),
            claims: labels("claim"),
        })
        .unwrap(),
    ]
}

pub(super) fn caller_key(caller: &Caller, key: &str) -> CallerKey {
    CallerKey {
        id: fresh(CallerKeyId::new),
        key: key.into(),
        caller: caller.id,
        secret_hash: vec![6; 32],
        expires_at: Some(at(1)),
        revoked_at: None,
        created_at: at(2),
        last_used_at: Some(at(3)),
    }
}

pub(super) fn session(adapter: &Caller, credential: &Credential) -> MailSession {
    MailSession {
        id: fresh(SessionId::new),
        adapter: adapter.id,
        credential: credential.id,
        account: credential.account,
        protocol: MailProtocol::Imap,
        client_address: "192.0.2.9".into(),
        opened_at: at(1),
        ended_at: None,
        renewals: 0,
        upstream: "accepted".into(),
        bytes_up: 11,
        bytes_down: 22,
    }
}

pub(super) fn event(account: &str) -> Event {
    Event {
        at: NOW,
        what: What::Token,
        project: "default".into(),
        actor: "projects/default/callers/crm".into(),
        account: account.into(),
        subject: "tb_key".into(),
        granted: true,
        reason: 11,
        address: "192.0.2.9".into(),
        detail: "mail".into(),
    }
}

/// A token that was handed out, on what was looked at.
pub(super) fn decision(account: &str, basis: &[Sight]) -> Decision {
    Decision { basis: basis.to_vec(), event: event(account), opening: None }
}

/// Stores an app and an account of it.
pub(super) async fn settled(store: &Store) -> (App, Account) {
    let app = app("shop");
    let account = account(&app, "ann");
    let (first, second) = (guard(&app), guard(&account));
    store
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_app(&first).await?;
                tx.insert_account(&second).await
            })
        })
        .await
        .unwrap();
    (app, account)
}
