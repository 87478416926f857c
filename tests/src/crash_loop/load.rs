//! What the clients do while the broker waits for its death: ask, refresh, consent, revoke, all at the same time.
//!
//! Each account has one client that does everything in turn and one that only asks for tokens. Invariant: what was heard
//! goes into the [`Facts`](super::fleet::Facts) before the next call. Next: [`super::judge`].

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use token_broker_client::v1::ErrorReason;
use token_broker_client::{Error, v1};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::clients::{Clients, Heard};
use super::fleet::{Facts, Member, Status, Verdicts};
use super::scene::Scene;
use crate::cast::provider::Truth;

/// Longest pause between two calls of one client.
const THINK_MS: u64 = 40;

/// One client of one account.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) member: Arc<Member>,
    pub(super) clients: Clients,
    pub(super) truth: Truth,
    pub(super) verdicts: Arc<Verdicts>,
}

/// Of a hundred acts, how many are consents and revocations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    consents: u32,
    revocations: u32,
}

impl Mix {
    /// One that reaches the failpoint `label` soon.
    pub(super) fn towards(label: &str) -> Self {
        match label.split_once('.') {
            Some(("consent", _)) => Self { consents: 60, revocations: 5 },
            Some(("revoke", _)) => Self::revoking(),
            _ => Self { consents: 2, revocations: 2 },
        }
    }

    /// One in which much is revoked.
    pub(super) fn revoking() -> Self {
        Self { consents: 2, revocations: 30 }
    }
}

/// Starts all clients; they end after `stop`.
pub(super) fn start(
    scene: &Scene,
    clients: &Clients,
    (seed, mix): (u64, Mix),
    stop: &CancellationToken,
) -> JoinSet<()> {
    let mut running = JoinSet::new();
    for (member, number) in scene.fleet.iter().zip(0u64..) {
        let actor = Actor {
            member: Arc::clone(member),
            clients: clients.clone(),
            truth: scene.provider.truth(),
            verdicts: Arc::clone(&scene.verdicts),
        };
        let mut dice = StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(number));
        running.spawn(actor.clone().live(StdRng::seed_from_u64(dice.random()), mix, stop.clone()));
        running.spawn(actor.only_ask(dice, stop.clone()));
    }
    running
}

impl Actor {
    async fn live(self, mut dice: StdRng, mix: Mix, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let (status, thrown) = (self.member.facts().status, dice.random_range(0..100));
            match status {
                Status::Active if thrown < mix.revocations => self.revoke().await,
                Status::Active if thrown < mix.revocations + mix.consents => self.consent().await,
                Status::Active if thrown < 40 => self.refresh().await,
                Status::Active if thrown < 70 => {
                    self.refresh().await;
                    // Its answer names no token; this one does, so that a loss of it has no excuse.
                    self.ask().await;
                }
                Status::Revoked | Status::Unsure if thrown < 50 => self.consent().await,
                _ => self.ask().await,
            }
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..THINK_MS))).await;
        }
    }

    async fn only_ask(self, mut dice: StdRng, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..4 * THINK_MS))).await;
            self.ask().await;
        }
    }

    /// Asks for a token and checks what comes; whether one came.
    pub(super) async fn ask(&self) {
        let before = *self.member.facts();
        match self.clients.token(&self.member).await {
            Heard::Answer(token) => self.check_grant(&before, &token),
            Heard::Nothing | Heard::Refusal(Error::Deadline) => self.member.facts().unsure += 1,
            Heard::Refusal(error) => self.check_refusal(&before, &error),
        }
    }

    async fn refresh(&self) {
        let before = *self.member.facts();
        match self.clients.refresh(&self.member).await {
            Heard::Answer(account) => {
                let mut facts = self.member.facts();
                if facts.epoch == before.epoch {
                    facts.generation = facts.generation.max(account.generation);
                }
            }
            Heard::Refusal(error) => self.check_refusal(&before, &error),
            Heard::Nothing => {}
        }
    }

    async fn revoke(&self) {
        self.member.facts().begin_epoch();
        match self.clients.revoke(&self.member).await {
            Heard::Answer(_) => self.member.facts().status = Status::Revoked,
            Heard::Refusal(error) if !error.is_retryable() => {
                self.verdicts.broken("I7", &self.member, &format!("no revocation: {error}"));
            }
            Heard::Refusal(_) | Heard::Nothing => {}
        }
    }

    /// The owner consents once more; of a connected account it changes nothing that a client could see.
    pub(super) async fn consent(&self) {
        let was_active = self.member.facts().status == Status::Active;
        if !was_active {
            self.member.facts().begin_epoch();
        }
        // The browser may hear of the broker's death before we know of it: a failure proves nothing.
        if let Some(Ok(())) = self.clients.consent(&self.member).await {
            self.member.facts().status = Status::Active;
        }
    }

    fn check_grant(&self, before: &Facts, token: &v1::GetAccessTokenResponse) {
        let mut facts = self.member.facts();
        facts.granted += 1;
        let broken = |invariant, what: String| self.verdicts.broken(invariant, &self.member, &what);
        let Some(record) = self.truth.token(&token.access_token) else {
            return broken("I3", "was given a token that the provider never issued".to_owned());
        };
        if record.user != self.member.mailbox || record.client != self.member.mode.name() {
            broken("I3", format!("was given a token of {}", record.user));
        }
        let same = facts.epoch == before.epoch;
        if same && before.status == Status::Revoked {
            let what = "was given a token after its revocation was acknowledged";
            broken("I2", what.to_owned());
        }
        if same {
            facts.generation = facts.generation.max(token.generation);
            facts.newest = facts.newest.max(record.id);
        }
    }

    fn check_refusal(&self, before: &Facts, error: &Error) {
        let same = self.member.facts().epoch == before.epoch;
        let wanted = same && before.status == Status::Active;
        if wanted && error.reason() == Some(ErrorReason::AccountNeedsConsent) {
            self.verdicts.broken("I1", &self.member, "needs consent though nobody was killed");
        }
        if matches!(error, Error::Internal { .. }) {
            self.verdicts.broken("I7", &self.member, &format!("internal error: {error}"));
        }
    }
}
