//! Who has which right, as far as the operators were told, and the questions that can be asked with them.
//!
//! A right that was taken is kept a while, so that somebody goes on asking with it. Invariant: a question lists all that it
//! stands on. Next: [`super::load`] asks them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;
use token_broker_client::v1::MailProtocol;

use super::clients::Key;
use super::history::{Ask, Place, STANDS, Subject};

/// Labels that accounts are spread over, and services have rights to.
pub(super) const LABELS: usize = 3;
/// Protocols of the adapters.
pub(super) const PROTOCOLS: [MailProtocol; 2] = [MailProtocol::Imap, MailProtocol::Smtp];
/// Passwords of an account.
pub(super) const PASSWORDS: usize = 2;
/// Open sessions that are remembered.
const SESSIONS: usize = 4096;
/// Those of them that are renewed.
const RECENT: usize = 256;
/// Accounts asked for in one batch.
const BATCH: usize = 4;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Stage {
    pub(super) apps: Vec<App>,
    pub(super) accounts: Vec<Account>,
    pub(super) services: Vec<Slot<Caller>>,
    pub(super) adapters: Vec<Slot<Caller>>,
    pub(super) sessions: VecDeque<Opened>,
    /// Accounts by their ids for people, also former ones.
    pub(super) names: HashMap<String, Subject>,
}

#[derive(Clone, Debug)]
pub(super) struct App {
    pub(super) id: String,
    pub(super) subject: Subject,
}

#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) mailbox: Arc<str>,
    pub(super) app: usize,
    pub(super) label: usize,
    pub(super) subject: Subject,
    pub(super) labelled: Subject,
    pub(super) passwords: [Slot<Password>; PASSWORDS],
}

/// What is there now, and what was there before.
#[derive(Clone, Debug)]
pub(super) struct Slot<T> {
    pub(super) now: Option<T>,
    pub(super) before: Option<T>,
}

#[derive(Clone, Debug)]
pub(super) struct Password {
    pub(super) subject: Subject,
    pub(super) secret: Arc<str>,
    /// Its resource name.
    pub(super) name: Arc<str>,
}

/// A service or an adapter.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) id: Arc<str>,
    pub(super) subject: Subject,
    pub(super) key: ApiKey,
    /// By label or protocol.
    pub(super) rights: Vec<Subject>,
}

#[derive(Clone, Debug)]
pub(super) struct ApiKey {
    pub(super) subject: Subject,
    pub(super) shown: Key,
    pub(super) id: Arc<str>,
}

/// An open session.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) id: Arc<str>,
    pub(super) key: Key,
    pub(super) hash: [u8; 32],
    pub(super) on: [Subject; STANDS],
}

/// A mailbox whose token is wanted, and what that stands on.
pub(super) type Wanted = (Arc<str>, [Subject; STANDS]);

/// Something to ask.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// For the tokens of an account, or of several in one call.
    Tokens(Key, Vec<Wanted>),
    /// For a session.
    Open(Login),
    /// For another token of a session.
    Renew(Opened),
}

#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) key: Key,
    pub(super) protocol: MailProtocol,
    pub(super) mailbox: Arc<str>,
    pub(super) secret: Arc<str>,
    pub(super) on: [Subject; STANDS],
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { now: None, before: None }
    }
}

impl<T: Clone> Slot<T> {
    pub(super) fn of(now: T) -> Self {
        Self { now: Some(now), before: None }
    }

    /// Puts something else there.
    pub(super) fn put(&mut self, new: T) {
        self.before = self.now.replace(new);
    }

    /// Mostly what is there now.
    fn pick(&self, dice: &mut StdRng) -> Option<&T> {
        let formerly = dice.random_range(0..100) < 8;
        match &self.before {
            Some(before) if formerly => Some(before),
            _ => self.now.as_ref(),
        }
    }
}

impl Question {
    /// What for.
    pub(super) fn ask(&self) -> Ask {
        match self {
            Self::Tokens(_, accounts) if accounts.len() > 1 => Ask::Batch,
            Self::Tokens(..) => Ask::Token,
            Self::Open(_) => Ask::Open,
            Self::Renew(_) => Ask::Renew,
        }
    }
}

impl Stage {
    /// Something to ask, as the dice fall.
    pub(super) fn question(&mut self, dice: &mut StdRng) -> Option<Question> {
        match dice.random_range(0..100) {
            0..50 => self.tokens(dice, 1),
            50..54 => self.tokens(dice, BATCH),
            54..92 => {
                let adapter = pick(&self.adapters, dice)?.pick(dice)?.clone();
                let account = dice.random_range(0..self.accounts.len());
                self.login(&adapter, account, dice)
            }
            _ => self.a_session(dice).map(|mut session| {
                // A hash of another token costs the provider no call.
                if dice.random_range(0..50) > 0 {
                    session.hash = dice.random();
                }
                Question::Renew(session)
            }),
        }
    }

    /// Takes out an open session, not an old one: most old ones have lost something that they stand on.
    fn a_session(&mut self, dice: &mut StdRng) -> Option<Opened> {
        let newest = self.sessions.len();
        let at = newest.checked_sub(1 + dice.random_range(0..newest.clamp(1, RECENT)))?;
        self.sessions.remove(at)
    }

    fn tokens(&self, dice: &mut StdRng, count: usize) -> Option<Question> {
        let service = pick(&self.services, dice)?.pick(dice)?;
        let accounts: Vec<_> =
            (0..count).map(|_| dice.random_range(0..self.accounts.len())).collect();
        Some(self.token(service, &accounts))
    }

    /// The tokens of these accounts, for a service.
    pub(super) fn token(&self, service: &Caller, accounts: &[usize]) -> Question {
        let one = |&number: &usize| {
            let account = &self.accounts[number];
            let on = self.stands(service, account.label, account, account.labelled);
            (Arc::clone(&account.mailbox), on)
        };
        Question::Tokens(service.key.shown.clone(), accounts.iter().map(one).collect())
    }

    /// A session of an account, at an adapter.
    pub(super) fn login(
        &self,
        adapter: &Caller,
        account: usize,
        dice: &mut StdRng,
    ) -> Option<Question> {
        let account = &self.accounts[account];
        let password = pick(&account.passwords, dice)?.pick(dice)?;
        let protocol = dice.random_range(0..PROTOCOLS.len());
        Some(self.login_with(adapter, (account, password), protocol))
    }

    /// A session with a password.
    pub(super) fn login_with(
        &self,
        adapter: &Caller,
        (account, password): (&Account, &Password),
        protocol: usize,
    ) -> Question {
        Question::Open(Login {
            key: adapter.key.shown.clone(),
            protocol: PROTOCOLS[protocol],
            mailbox: Arc::clone(&account.mailbox),
            secret: Arc::clone(&password.secret),
            on: self.stands(adapter, protocol, account, password.subject),
        })
    }

    /// Remembers an open session; the oldest is forgotten.
    pub(super) fn opened(&mut self, session: Opened) {
        if self.sessions.len() >= SESSIONS {
            self.sessions.pop_front();
        }
        self.sessions.push_back(session);
    }

    /// Takes out up to `most` sessions that stand on this.
    pub(super) fn sessions_on(&mut self, subject: Subject, most: usize) -> Vec<Opened> {
        let mut found = Vec::new();
        self.sessions.retain(|session| {
            let wanted = found.len() < most && session.on.contains(&subject);
            if wanted {
                found.push(session.clone());
            }
            !wanted
        });
        found
    }

    fn stands(
        &self,
        caller: &Caller,
        right: usize,
        account: &Account,
        way: Subject,
    ) -> [Subject; STANDS] {
        let mut on = [Subject::NONE; STANDS];
        on[Place::Caller as usize] = caller.subject;
        on[Place::Key as usize] = caller.key.subject;
        on[Place::Right as usize] = caller.rights.get(right).copied().unwrap_or(Subject::NONE);
        on[Place::Account as usize] = account.subject;
        on[Place::App as usize] = self.apps[account.app].subject;
        on[Place::Way as usize] = way;
        on
    }
}

/// One of them.
pub(super) fn pick<'a, T>(all: &'a [T], dice: &mut StdRng) -> Option<&'a T> {
    if all.is_empty() { None } else { all.get(dice.random_range(0..all.len())) }
}
