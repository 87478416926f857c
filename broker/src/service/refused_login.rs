//! A refused login: how long its answer waits, and how it is written down.
//!
//! Never one record for each guess of an attack: the first refusals of a minute are recorded one by one, what goes beyond is
//! counted and written at its end, by credential, network and adapter. Invariants: no count is lost but by a crash, and a
//! refusal hands nothing out. Next: `domain/guessing` has the waits, `gathered` the sums; `open_session` asks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::clock::Time;
use crate::domain::caller::Caller;
use crate::domain::event::{Event, What};
use crate::domain::guessing::{Guess, Guesses, HALF_LIFE, Network};
use crate::domain::ids::Mailbox;
use crate::domain::parts::Parts;
use crate::memory::Basis;
use crate::seal::credential::parse;
use crate::service::gathered::{Gathered, Refused, Sums};
use crate::service::open_session::LoginAttempt;
use crate::service::{Error, Service};

/// Counts that are told to the other brokers.
const SHARED: usize = 500;

/// What was refused lately. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    guesses: Guesses,
    gathered: Gathered<Key>,
    /// Whether there is something to tell the others.
    news: bool,
}

/// Whose refusals are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    project: String,
    adapter: String,
    credential: String,
    network: String,
    protocol: &'static str,
    reason: i32,
}

impl Refused for Key {
    fn project(&self) -> &str {
        &self.project
    }
}

impl Refusals {
    /// What is to be written now.
    pub(super) fn take(&self, now: Time, all: bool) -> Sums<Key> {
        self.with(|state| state.gathered.take(now, all))
    }

    /// What could not be written.
    pub(super) fn put_back(&self, sums: Sums<Key>) {
        self.with(|state| state.gathered.put_back(sums));
    }

    /// The records of it.
    pub(super) fn events(&self, sums: &Sums<Key>, now: Time) -> Vec<Event> {
        let event = |key: Key, count: u64| Event {
            at: now,
            what: What::SessionRefusals,
            project: key.project,
            actor: key.adapter,
            account: String::new(),
            subject: key.credential,
            granted: false,
            reason: key.reason,
            address: key.network,
            detail: format!("{} {count}", key.protocol),
        };
        let rest = |(project, count): (&String, &u64)| {
            let key = Key {
                project: project.clone(),
                adapter: "broker".to_owned(),
                credential: String::new(),
                network: String::new(),
                protocol: "all",
                reason: Error::Unauthenticated.reason_number(),
            };
            event(key, *count)
        };
        let each = sums.each.iter().map(|(key, count)| event(key.clone(), *count));
        each.chain(sums.rest.iter().map(rest)).collect()
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // Counts are whole after every statement, whoever panicked.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Service {
    /// Counts a refused login and has it written down; says how long its answer waits.
    ///
    /// # Errors
    /// [`Error::Overtaken`] if rights changed meanwhile, [`Error::Unavailable`] if it cannot be recorded.
    pub(super) async fn login_refused(
        &self,
        caller: &Caller,
        attempt: &LoginAttempt,
        (event, basis): (Event, Basis),
    ) -> Result<Duration, Error> {
        let now = self.parts.clock.now();
        let adapter = caller.resource_name();
        let credential = credential_of(attempt);
        let guess = Guess {
            credential: &counted_for(&credential, attempt, &self.salt),
            network: Network::of(attempt.address),
            adapter: &adapter,
            fingerprint: self.fingerprint_of(attempt),
        };
        let key = Key {
            project: event.project.clone(),
            adapter: adapter.clone(),
            credential,
            network: guess.network.to_string(),
            protocol: attempt.protocol.as_str(),
            reason: event.reason,
        };
        if self.refusals.with(|state| state.gathered.note(key, now)) {
            self.decide(basis, event, None).await?;
        }
        Ok(self.refusals.with(|state| {
            state.news = true;
            state.guesses.refused(&guess, now)
        }))
    }

    /// Tells the other brokers what was counted here, and hears what they counted.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; then this broker counts on alone.
    pub async fn share_refusals(&self) -> Result<(), Error> {
        if self.parts.store.engine() == "sqlite" {
            return Ok(());
        }
        let now = self.parts.clock.now();
        let since = now.before(HALF_LIFE * 4);
        let own = self.parts.replica.clone();
        let news = self.refusals.with(|state| {
            std::mem::take(&mut state.news).then(|| state.guesses.pressures(SHARED, now))
        });
        if let Some(pressures) = news {
            let replica = own.clone();
            self.write(move |tx| {
                Box::pin(
                    async move { tx.put_login_pressure(&replica, &pressures, (since, now)).await },
                )
            })
            .await?;
        }
        let of_others = self.read().await?.login_pressure(&own, since).await?;
        self.refusals.with(|state| state.guesses.hear(of_others, now));
        Ok(())
    }

    /// A number that tells one wrong login from another. Keyed at each start, so that it is worth nothing elsewhere.
    fn fingerprint_of(&self, attempt: &LoginAttempt) -> u64 {
        let parts = Parts::new("login")
            .with(&self.salt)
            .with(attempt.login_name.as_bytes())
            .with(attempt.secret.expose().as_bytes());
        first_eight(&Sha256::digest(parts.as_bytes()))
    }
}

/// The public part of the secret; empty for what is no credential of ours.
fn credential_of(attempt: &LoginAttempt) -> String {
    parse(attempt.secret.expose()).map_or_else(|_| String::new(), |it| it.id.as_str().to_owned())
}

/// Whom a guess is counted for. Without a credential it is the login name, as a number: people type passwords there.
fn counted_for(credential: &str, attempt: &LoginAttempt, salt: &[u8; 16]) -> String {
    if !credential.is_empty() {
        return credential.to_owned();
    }
    // Other spellings of an address are the same address here too.
    let address = Mailbox::parse(&attempt.login_name);
    let name = address.as_ref().map_or(attempt.login_name.as_str(), Mailbox::as_str);
    let parts = Parts::new("login name").with(salt).with(name.as_bytes());
    format!("~{:016x}", first_eight(&Sha256::digest(parts.as_bytes())))
}

fn first_eight(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::mail::MailProtocol;
    use crate::domain::secret::Secret;

    fn counted(login_name: &str) -> String {
        let attempt = LoginAttempt {
            protocol: MailProtocol::Imap,
            login_name: login_name.to_owned(),
            secret: Secret::new("a password of their own".to_owned()),
            address: [192, 0, 2, 7].into(),
        };
        counted_for("", &attempt, &[7; 16])
    }

    #[test]
    fn t13_another_spelling_of_an_address_does_not_begin_another_count() {
        let ann = counted("ann@example.com");
        assert_eq!(counted("Ann@EXAMPLE.com"), ann);
        assert_eq!(counted(" ann@example.com "), ann);
        assert_ne!(counted("bob@example.com"), ann);
        assert_ne!(counted("ann"), counted("Ann"), "what is no address is taken as it is");
    }
}
