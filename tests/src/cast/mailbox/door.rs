//! Who may come in, and what is remembered about it.
//!
//! Both servers ask here; a token is believed only if the provider's truth says that it is live and of that user. It
//! speaks no protocol. At most 65,536 logins are remembered. Next: [`super::imap`] and [`super::smtp`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::sasl::{self, Credentials};
use super::settings::{MailboxSettings, Mechanism, Trouble};
use super::store::MailStore;
use crate::cast::provider::Truth;

const LOGINS_MAX: usize = 65_536;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// IMAP.
    Imap,
    /// SMTP submission.
    Smtp,
}

/// One try to log in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoginRecord {
    /// When, by the provider's clock.
    pub at_ms: i64,
    /// Where.
    pub protocol: Protocol,
    /// How.
    pub mechanism: Mechanism,
    /// The mailbox named, if any.
    pub user: Option<String>,
    /// The token shown, if it was ever issued.
    pub token_id: Option<usize>,
    /// Whether it worked.
    pub welcome: bool,
}

/// Numbers over everything since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailStats {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// TLS handshakes finished, STARTTLS included.
    pub tls: u64,
    /// Logins that worked.
    pub welcomed: u64,
    /// Logins that did not.
    pub refused: u64,
    /// Challenges that a client did not answer with the empty response.
    pub unanswered_challenges: u64,
    /// Mails taken over SMTP.
    pub delivered: u64,
}

/// Someone who has logged in.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Their mailbox.
    pub user: String,
    /// The token that opened it.
    pub token: String,
    /// Whether every command is to be refused ([`Trouble::NotConnected`]).
    pub disconnected: bool,
}

/// How a login ends.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Come in.
    Welcome(Guest),
    /// The token is no good.
    Refused,
    /// Not the token's fault.
    Trouble(Trouble),
}

/// The door of all servers of one mailbox.
#[derive(Clone, Debug)]
pub struct Door {
    /// The mail behind it.
    pub store: MailStore,
    truth: Truth,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    settings: MailboxSettings,
    trouble: Option<(Trouble, Option<u32>)>,
    stats: MailStats,
    logins: Vec<LoginRecord>,
}

impl Door {
    /// A door that believes `truth`.
    pub fn new(settings: MailboxSettings, truth: Truth) -> Self {
        let state =
            State { settings, trouble: None, stats: MailStats::default(), logins: Vec::new() };
        Self { store: MailStore::default(), truth, state: Arc::new(Mutex::new(state)) }
    }

    /// The settings now.
    pub fn settings(&self) -> MailboxSettings {
        self.state().settings.clone()
    }

    /// Changes settings.
    pub fn change(&self, change: impl FnOnce(&mut MailboxSettings)) {
        change(&mut self.state().settings);
    }

    /// Makes trouble so often (for ever, if `None`).
    pub fn make_trouble(&self, trouble: Trouble, times: Option<u32>) {
        self.state().trouble = Some((trouble, times));
    }

    /// Ends all trouble.
    pub fn end_trouble(&self) {
        self.state().trouble = None;
    }

    /// The numbers now.
    pub fn stats(&self) -> MailStats {
        self.state().stats
    }

    /// Changes the numbers.
    pub fn count(&self, change: impl FnOnce(&mut MailStats)) {
        change(&mut self.state().stats);
    }

    /// Every try to log in, oldest first.
    pub fn logins(&self) -> Vec<LoginRecord> {
        self.state().logins.clone()
    }

    /// The trouble due at a greeting, counted down.
    pub fn early_trouble(&self) -> Option<Trouble> {
        self.state().next_trouble(true)
    }

    /// Whether a guest's session is over because the token is.
    pub fn is_over(&self, guest: &Guest) -> bool {
        self.state().settings.ends_with_token && !self.truth.is_live(&guest.token)
    }

    /// The time, by the provider's clock.
    pub fn now_ms(&self) -> i64 {
        self.truth.now_ms()
    }

    /// Decides about a login message.
    pub fn knock(&self, protocol: Protocol, mechanism: Mechanism, response: &str) -> Verdict {
        let said = sasl::understand(mechanism, response);
        let trouble = self.state().next_trouble(false);
        let verdict = self.judge(said.as_ref(), trouble);
        let record = LoginRecord {
            at_ms: self.truth.now_ms(),
            protocol,
            mechanism,
            user: said.as_ref().and_then(|said| said.user.clone()),
            token_id: said.as_ref().and_then(|said| self.truth.token(&said.token)).map(|it| it.id),
            welcome: matches!(verdict, Verdict::Welcome(_)),
        };
        self.state().note(record);
        verdict
    }

    fn judge(&self, said: Option<&Credentials>, trouble: Option<Trouble>) -> Verdict {
        match trouble {
            None | Some(Trouble::NotConnected) => {}
            Some(Trouble::Refuse) => return Verdict::Refused,
            Some(trouble) => return Verdict::Trouble(trouble),
        }
        let Some(said) = said else { return Verdict::Refused };
        let owner = self.truth.token(&said.token).map(|record| record.user);
        let Some(user) = said.user.clone().or(owner) else { return Verdict::Refused };
        match self.truth.check_access(&said.token, &user) {
            Ok(record) => Verdict::Welcome(Guest {
                user: record.user,
                token: record.token,
                disconnected: trouble == Some(Trouble::NotConnected),
            }),
            Err(_) => Verdict::Refused,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_trouble(&mut self, early: bool) -> Option<Trouble> {
        let (trouble, times) =
            self.trouble.as_mut().filter(|(trouble, _)| trouble.is_early() == early)?;
        let trouble = *trouble;
        match times {
            Some(0 | 1) => self.trouble = None,
            Some(times) => *times -= 1,
            None => {}
        }
        Some(trouble)
    }

    fn note(&mut self, record: LoginRecord) {
        let counter =
            if record.welcome { &mut self.stats.welcomed } else { &mut self.stats.refused };
        *counter += 1;
        if self.logins.len() < LOGINS_MAX {
            self.logins.push(record);
        }
    }
}
