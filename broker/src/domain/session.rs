//! A mail session: one accepted login at an adapter, and whether it may go on.
//!
//! Never the token. Invariants: it is renewed at most once, and only by the adapter that opened it; who could not log in now
//! does not stay in ([`OpenSession::must_end`]). Next: `service/open_session` makes one, `service/renew_session` uses it up,
//! `service/watch_revocations` ends it.

use std::net::{IpAddr, Ipv4Addr};

use crate::clock::Time;
use crate::domain::account::{Account, Standing};
use crate::domain::caller::OpenSessions;
use crate::domain::credential::Credential;
use crate::domain::ids::{AccountId, CallerId, CredentialId, SessionId};
use crate::domain::mail::MailProtocol;

/// A mail session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailSession {
    /// Its row, also its name towards the adapter.
    pub id: SessionId,
    /// The adapter that opened it.
    pub adapter: CallerId,
    /// The credential that was shown.
    pub credential: CredentialId,
    /// The account it logs in to.
    pub account: AccountId,
    /// Over which protocol.
    pub protocol: MailProtocol,
    /// Where the client was.
    pub client_address: String,
    /// When it was opened.
    pub opened_at: Time,
    /// When it ended, if it has.
    pub ended_at: Option<Time>,
    /// How often it asked for another token.
    pub renewals: i64,
    /// How the login at the provider went: empty, `accepted`, `refused`, `unreachable`.
    pub upstream: String,
    /// Bytes from client to provider.
    pub bytes_up: i64,
    /// Bytes from provider to client.
    pub bytes_down: i64,
}

/// A session with what became of it, for operators. Names are those of today, or the last ones of what was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The session.
    pub session: MailSession,
    /// Its project; empty if all that could tell was removed by an older broker.
    pub project: String,
    /// The account's id for people.
    pub account: String,
    /// The public part of the credential.
    pub credential: String,
    /// The adapter's id for people.
    pub adapter: String,
    /// Why it ended, if that is known.
    pub end_reason: Option<EndReason>,
    /// Whether an operator asked for its end.
    pub end_wanted: bool,
    /// When its adapter told of it last.
    pub heard_at: Option<Time>,
}

/// Why a relayed session ended, or has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Client or mail server ended it.
    Finished,
    /// A connection broke.
    Broken,
    /// Nothing was carried for too long.
    Idle,
    /// The adapter stopped.
    AdapterStopped,
    /// The upstream login did not work.
    NoLogin,
    /// Credential, account or adapter may not any more.
    Revoked,
    /// The mailbox owner has to consent.
    NeedsConsent,
    /// The app is switched off, or a policy forbids the account.
    ContactAdmin,
    /// An operator ended it.
    Operator,
    /// Its adapter had not heard of us for too long.
    CutOff,
    /// We have not heard of its adapter for too long.
    Lost,
}

/// What of an open session decides whether it may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// The session.
    pub id: SessionId,
    /// The credential that was shown.
    pub credential: CredentialId,
    /// The account it logs in to.
    pub account: AccountId,
    /// Over which protocol.
    pub protocol: MailProtocol,
    /// Where the client was.
    pub address: IpAddr,
    /// Whether an operator asked for its end.
    pub end_wanted: bool,
}

/// What the things that a session stands on look like now; `None` is one that was removed.
#[derive(Clone, Copy, Debug)]
pub struct Grounds<'a> {
    /// The adapter.
    pub adapter: &'a OpenSessions,
    /// The credential.
    pub credential: Option<&'a Credential>,
    /// The account.
    pub account: Option<&'a Account>,
    /// Whether the account's app is switched off.
    pub app_disabled: bool,
}

impl EndReason {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Finished,
        Self::Broken,
        Self::Idle,
        Self::AdapterStopped,
        Self::NoLogin,
        Self::Revoked,
        Self::NeedsConsent,
        Self::ContactAdmin,
        Self::Operator,
        Self::CutOff,
        Self::Lost,
    ];

    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::AdapterStopped => "adapter_stopped",
            Self::NoLogin => "no_login",
            Self::Revoked => "revoked",
            Self::NeedsConsent => "needs_consent",
            Self::ContactAdmin => "contact_admin",
            Self::Operator => "operator",
            Self::CutOff => "cut_off",
            Self::Lost => "lost",
        }
    }

    /// From the store.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl OpenSession {
    /// Why it has to end at `now`; `None` if it may go on. The same questions that a login is asked, but for the secret.
    pub fn must_end(&self, grounds: &Grounds<'_>, now: Time) -> Option<EndReason> {
        if self.end_wanted {
            return Some(EndReason::Operator);
        }
        let (Some(credential), Some(account)) = (grounds.credential, grounds.account) else {
            return Some(EndReason::Revoked);
        };
        let admitted = credential.admits(self.protocol, self.address, now).is_ok();
        if !admitted || !grounds.adapter.allows(self.protocol) || account.disabled {
            return Some(EndReason::Revoked);
        }
        match account.standing {
            Standing::Active if grounds.app_disabled => Some(EndReason::ContactAdmin),
            Standing::Active => None,
            Standing::Pending | Standing::Revoked => Some(EndReason::Revoked),
            Standing::NeedsConsent | Standing::NeedsInteraction => Some(EndReason::NeedsConsent),
            Standing::BlockedByPolicy => Some(EndReason::ContactAdmin),
        }
    }

    /// The address of a client as stored. One that we did not write fits no range.
    pub fn address(text: &str) -> IpAddr {
        text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::caller::{Caller, Role};
    use crate::domain::credential::Limits;
    use crate::domain::ids::{AppId, Mailbox, ProjectId, ResourceId};

    const NOW: Time = Time::from_millis(1_800_000_000_000);

    fn adapter(protocols: &[MailProtocol]) -> OpenSessions {
        let caller = Caller {
            id: CallerId::from_bytes([1; 16]),
            project: ProjectId::default_project(),
            name: ResourceId::parse("imap").unwrap(),
            display_name: String::new(),
            role: Role::Adapter,
            rights: vec![],
            protocols: protocols.to_vec(),
            ip_ranges: vec![],
            identities: vec![],
            min_interval: Duration::ZERO,
            revoked_at: None,
            version: 1,
            created_at: NOW,
        };
        caller.may_open_sessions().unwrap()
    }

    fn credential() -> Credential {
        Credential {
            id: CredentialId::from_bytes([2; 16]),
            key: "abc".into(),
            account: AccountId::from_bytes([3; 16]),
            description: String::new(),
            protocols: vec![MailProtocol::Imap, MailProtocol::Smtp],
            ip_ranges: vec!["192.0.2.0/24".parse().unwrap()],
            limits: Limits::default(),
            expires_at: Some(NOW.after(Duration::from_secs(1))),
            revoked_at: None,
            secret_hash: vec![],
            successor: String::new(),
            version: 1,
            created_at: NOW,
            last_used_at: None,
            last_used_from: String::new(),
        }
    }

    fn account() -> Account {
        Account {
            id: AccountId::from_bytes([3; 16]),
            project: ProjectId::default_project(),
            name: ResourceId::parse("ann").unwrap(),
            mailbox: Mailbox::parse("ann@example.com").unwrap(),
            sasl_user: String::new(),
            display_name: String::new(),
            app: AppId::from_bytes([4; 16]),
            labels: std::collections::BTreeMap::new(),
            subject: String::new(),
            authority: String::new(),
            disabled: false,
            standing: Standing::Active,
            provider_code: String::new(),
            provider_message: String::new(),
            version: 1,
            created_at: NOW,
            updated_at: NOW,
        }
    }

    const SESSION: OpenSession = OpenSession {
        id: SessionId::from_bytes([5; 16]),
        credential: CredentialId::from_bytes([2; 16]),
        account: AccountId::from_bytes([3; 16]),
        protocol: MailProtocol::Imap,
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)),
        end_wanted: false,
    };

    fn judged(
        session: OpenSession,
        credential: &Credential,
        account: &Account,
    ) -> Option<EndReason> {
        let adapter = adapter(&[MailProtocol::Imap, MailProtocol::Smtp]);
        let (credential, account) = (Some(credential), Some(account));
        let grounds = Grounds { adapter: &adapter, credential, account, app_disabled: false };
        session.must_end(&grounds, NOW)
    }

    #[test]
    fn a_session_goes_on_as_long_as_its_client_could_log_in_again() {
        assert_eq!(judged(SESSION, &credential(), &account()), None);
        let renamed = Credential { description: "x".into(), version: 9, ..credential() };
        assert_eq!(judged(SESSION, &renamed, &account()), None);
        let rotating = Credential { successor: "def".into(), ..credential() };
        assert_eq!(judged(SESSION, &rotating, &account()), None);
    }

    #[test]
    fn t38_whatever_is_taken_from_a_credential_ends_its_sessions() {
        let revoked = Some(EndReason::Revoked);
        for taken in [
            Credential { revoked_at: Some(NOW), ..credential() },
            Credential { expires_at: Some(NOW), ..credential() },
            Credential { protocols: vec![MailProtocol::Smtp], ..credential() },
            Credential { ip_ranges: vec!["198.51.100.0/24".parse().unwrap()], ..credential() },
        ] {
            assert_eq!(judged(SESSION, &taken, &account()), revoked, "{taken:?}");
        }
    }

    #[test]
    fn an_account_that_may_not_ends_its_sessions_and_says_who_has_to_act() {
        for (standing, reason) in [
            (Standing::Pending, EndReason::Revoked),
            (Standing::Revoked, EndReason::Revoked),
            (Standing::NeedsConsent, EndReason::NeedsConsent),
            (Standing::NeedsInteraction, EndReason::NeedsConsent),
            (Standing::BlockedByPolicy, EndReason::ContactAdmin),
        ] {
            let account = Account { standing, ..account() };
            assert_eq!(judged(SESSION, &credential(), &account), Some(reason), "{standing:?}");
        }
        let disabled = Account { disabled: true, ..account() };
        assert_eq!(judged(SESSION, &credential(), &disabled), Some(EndReason::Revoked));
    }

    #[test]
    fn what_was_removed_carries_no_session_and_an_operators_word_is_enough() {
        let (credential, account) = (credential(), account());
        let all = adapter(&[MailProtocol::Imap]);
        let none = adapter(&[MailProtocol::Smtp]);
        let grounds = Grounds {
            adapter: &all,
            credential: Some(&credential),
            account: Some(&account),
            app_disabled: false,
        };
        let judge = |grounds: Grounds<'_>| SESSION.must_end(&grounds, NOW);
        assert_eq!(judge(grounds), None);
        assert_eq!(judge(Grounds { credential: None, ..grounds }), Some(EndReason::Revoked));
        assert_eq!(judge(Grounds { account: None, ..grounds }), Some(EndReason::Revoked));
        assert_eq!(judge(Grounds { adapter: &none, ..grounds }), Some(EndReason::Revoked));
        assert_eq!(judge(Grounds { app_disabled: true, ..grounds }), Some(EndReason::ContactAdmin));
        let wanted = OpenSession { end_wanted: true, ..SESSION };
        assert_eq!(wanted.must_end(&grounds, NOW), Some(EndReason::Operator));
    }

    #[test]
    fn reasons_are_stored_under_words_of_their_own() {
        for reason in EndReason::ALL {
            assert_eq!(EndReason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(OpenSession::address("nonsense"), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }
}
