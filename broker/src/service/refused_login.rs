//! A refused login: how long its answer waits, and how it is written down.
//!
//! Never one record for each guess of an attack: the first refusals of a minute are recorded one by one, what goes beyond is
//! counted and written at its end, by credential, network and adapter. Invariants: a minute of attack costs at most
//! [`AT_ONCE`] and [`GATHERED`] records and one for the rest; no count is lost but by a crash, and a refusal hands nothing
//! out. Next: `domain/guessing` has the waits, `open_session` asks.

use std::collections::HashMap;
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
use crate::service::open_session::LoginAttempt;
use crate::service::{Error, Service};

/// Refusals of a minute that have a record of their own.
pub(super) const AT_ONCE: u32 = 60;

/// Records of a minute that sum up the others, the most frequent first; one more has the rest.
pub(super) const GATHERED: usize = 100;

/// Credential, network and adapter of which more refusals are told apart within a minute.
const TOLD_APART: usize = 10_000;

/// A minute of refusals.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts that are told to the other brokers.
const SHARED: usize = 500;

/// What was refused lately. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    guesses: Guesses,
    /// When the minute began.
    since: Time,
    /// Refusals of this minute that were recorded one by one.
    recorded: u32,
    gathered: HashMap<Key, u64>,
    rest: u64,
    /// Whether there is something to tell the others.
    news: bool,
}

/// Whose refusals are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    project: String,
    adapter: String,
    credential: String,
    network: String,
    protocol: &'static str,
    reason: i32,
}

impl Refusals {
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
        if self.refusals.with(|state| state.note(key, now)) {
            self.decide(basis, event, None).await?;
        }
        Ok(self.refusals.with(|state| {
            state.news = true;
            state.guesses.refused(&guess, now)
        }))
    }

    /// Writes down what was gathered, if a minute is over or `all` is wanted now.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; then it is kept for the next time.
    pub async fn write_refusals(&self, all: bool) -> Result<(), Error> {
        let now = self.parts.clock.now();
        let (gathered, rest) = self.refusals.with(|state| state.take(now, all));
        if gathered.is_empty() && rest == 0 {
            return Ok(());
        }
        let events = self.summed_up(&gathered, rest, now);
        let written = self.write(move |tx| {
            Box::pin(async move {
                for event in events {
                    tx.append_audit(event).await?;
                }
                Ok(())
            })
        });
        if let Err(error) = written.await {
            self.refusals.with(|state| state.put_back(gathered, rest));
            return Err(error);
        }
        Ok(())
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

    fn summed_up(&self, gathered: &HashMap<Key, u64>, rest: u64, now: Time) -> Vec<Event> {
        let mut sums: Vec<_> = gathered.iter().collect();
        sums.sort_by(|(one, of_one), (other, of_other)| of_other.cmp(of_one).then(one.cmp(other)));
        let beyond: u64 = sums.iter().skip(GATHERED).map(|(_, count)| **count).sum();
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
        let mut events: Vec<Event> =
            sums.iter().take(GATHERED).map(|(key, count)| event((*key).clone(), **count)).collect();
        if beyond + rest > 0 {
            let rest_of = Key {
                project: sums.first().map_or_else(String::new, |(key, _)| key.project.clone()),
                adapter: "broker".to_owned(),
                credential: String::new(),
                network: String::new(),
                protocol: "all",
                reason: Error::Unauthenticated.reason_number(),
            };
            events.push(event(rest_of, beyond + rest));
        }
        events
    }
}

impl State {
    /// Counts a refusal; whether it is to have a record of its own.
    fn note(&mut self, key: Key, now: Time) -> bool {
        if self.recorded == 0 && self.gathered.is_empty() {
            self.since = now;
        }
        if self.recorded < AT_ONCE {
            self.recorded += 1;
            return true;
        }
        if self.gathered.len() < TOLD_APART || self.gathered.contains_key(&key) {
            *self.gathered.entry(key).or_default() += 1;
        } else {
            self.rest += 1;
        }
        false
    }

    fn take(&mut self, now: Time, all: bool) -> (HashMap<Key, u64>, u64) {
        if !all && self.since.after(WINDOW) > now {
            return (HashMap::new(), 0);
        }
        (self.recorded, self.since) = (0, now);
        (std::mem::take(&mut self.gathered), std::mem::take(&mut self.rest))
    }

    fn put_back(&mut self, gathered: HashMap<Key, u64>, rest: u64) {
        for (key, count) in gathered {
            *self.gathered.entry(key).or_default() += count;
        }
        self.rest += rest;
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
