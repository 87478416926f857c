//! A fake OAuth 2.0 and OpenID Connect provider that keeps the ground truth.
//!
//! It remembers every token it ever issued, to whom, and every reuse, and fails in every way it is told to. It listens on
//! 127.0.0.1 only and trusts whoever asks. Invariant: what [`Truth`] says happened, happened. The walk of a call goes
//! `token` -> `stage` (latency, faults) -> `ledger` (rules) -> `answer`; the levers are [`settings`] and [`faults`].

pub mod admin;
pub mod answer;
pub mod authorize;
pub mod client_auth;
pub mod codes;
pub mod discovery;
pub mod faults;
pub mod http_date;
pub mod identity;
pub mod inspect;
pub mod keys;
pub mod ledger;
pub mod line;
pub mod pages;
pub mod record;
pub mod settings;
pub mod sim;
pub mod stage;
pub mod tally;
pub mod token;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use super::background::Background;
use super::clock::Clock;
use faults::Rule;
use ledger::{Grant, Issued, Refusal};
use line::{Cutter, Loopback};
use record::{Kind, Rate, Snapshot, Stats, TokenRecord, UserTruth};
use settings::ProviderSettings;
use sim::Sim;

const BODY_MAX: usize = 64 * 1024;

/// A running provider; dropping it stops it.
#[derive(Debug)]
pub struct Provider {
    sim: Sim,
    address: SocketAddr,
    background: Background,
}

impl Provider {
    /// Starts on 127.0.0.1.
    ///
    /// # Errors
    /// The port is taken, or there is no randomness for keys.
    pub async fn start(settings: ProviderSettings) -> Result<Self> {
        let port = settings.port;
        let listener =
            Loopback::bind(port).await.with_context(|| format!("listen on 127.0.0.1:{port}"))?;
        let address = listener.address()?;
        let background = Background::default();
        let issuer = format!("http://{address}");
        let stopping = background.stopping();
        let sim = Sim::new(&issuer, settings, keys::Keys::generate()?, stopping.clone());
        let service = router(sim.clone()).into_make_service_with_connect_info::<Cutter>();
        let serving =
            axum::serve(listener, service).with_graceful_shutdown(stopping.cancelled_owned());
        background.spawn(async move { drop(serving.await) });
        Ok(Self { sim, address, background })
    }

    /// Its name, such as `http://127.0.0.1:8080`; the endpoints hang below it.
    pub fn issuer(&self) -> &str {
        &self.sim.issuer
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The id of the first registered app.
    pub fn client_id(&self) -> String {
        self.sim
            .state()
            .settings
            .clients
            .first()
            .map(|client| client.id.clone())
            .unwrap_or_default()
    }

    /// The first secret of that app that has not expired.
    pub fn client_secret(&self) -> String {
        let state = self.sim.state();
        let secrets = state.settings.clients.first().map(|client| client.secrets.as_slice());
        let live = secrets.unwrap_or_default().iter().find(|secret| !secret.expired);
        live.map(|secret| secret.value.clone()).unwrap_or_default()
    }

    /// What really happened.
    pub fn truth(&self) -> Truth {
        Truth(self.sim.clone())
    }

    /// Its clock, which tests may move.
    pub fn clock(&self) -> Clock {
        self.sim.clock.clone()
    }

    /// Moves its clock forward.
    pub fn advance(&self, span: Duration) {
        self.sim.clock.advance(span);
    }

    /// Adds a rule of misbehaviour.
    pub fn fault(&self, rule: Rule) {
        self.sim.state().faults.add(rule);
    }

    /// Forgets all rules of misbehaviour.
    pub fn clear_faults(&self) {
        self.sim.state().faults.clear();
    }

    /// Changes settings while it runs.
    pub fn change(&self, change: impl FnOnce(&mut ProviderSettings)) {
        change(&mut self.sim.state().settings);
    }

    /// Revokes everything of a mailbox behind the clients' back; returns how many tokens that were.
    pub fn revoke_user(&self, user: &str) -> usize {
        let now = self.sim.clock.now_ms();
        self.sim.state().ledger.revoke_user(user, now)
    }

    /// Issues a first pair of tokens as if `user` had consented to the first app; for imports and load tests.
    pub fn issue(&self, user: &str, scope: &str) -> Issued {
        let grant =
            Grant { user: user.to_owned(), client: self.client_id(), scope: scope.to_owned() };
        let now = self.sim.clock.now_ms();
        let mut state = self.sim.state();
        let sim::State { ledger, settings, .. } = &mut *state;
        ledger.open(&grant, settings, now)
    }

    /// The same for `count` made-up mailboxes, `user-000000@example.test` and so on; the refresh token of each.
    pub fn issue_many(&self, count: usize, scope: &str) -> BTreeMap<String, String> {
        self.sim.issue((0..count).map(sim::numbered_user), &self.client_id(), scope)
    }

    /// Takes over all tokens of a provider that is gone, as its snapshot listed them.
    pub fn adopt(&self, book: Vec<TokenRecord>) {
        self.sim.state().ledger.adopt(book);
    }

    /// Stops it and waits until its port is free again.
    pub async fn stop(self) {
        self.background.stop().await;
    }
}

/// The ground truth: a handle that outlives nothing and may be cloned freely.
#[derive(Clone, Debug)]
pub struct Truth(Sim);

impl Truth {
    /// Everything, at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    /// The time, by the provider's clock.
    pub fn now_ms(&self) -> i64 {
        self.0.clock.now_ms()
    }

    /// The numbers, at this moment.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// The record of a token, if it was ever issued.
    pub fn token(&self, token: &str) -> Option<TokenRecord> {
        self.0.state().ledger.find(token).cloned()
    }

    /// All tokens of a kind that a mailbox was ever issued, oldest first.
    pub fn tokens_of(&self, user: &str, kind: Kind) -> Vec<TokenRecord> {
        let state = self.0.state();
        state.ledger.of_user(user).filter(|record| record.kind == kind).cloned().collect()
    }

    /// What is known of a mailbox: its calls and its current refresh token.
    pub fn user(&self, user: &str) -> UserTruth {
        self.0.user(user)
    }

    /// The same of every mailbox that ever had a token, by its address in lower case.
    pub fn users(&self) -> BTreeMap<String, UserTruth> {
        self.0.users()
    }

    /// The calls of the token endpoint over time.
    pub fn rate(&self) -> Rate {
        self.0.state().tally.rate()
    }

    /// The refresh token that a mailbox was issued last, dead or alive.
    pub fn newest_refresh(&self, user: &str) -> Option<TokenRecord> {
        let state = self.0.state();
        let mut newest_first = state.ledger.of_user(user).rev();
        newest_first.find(|record| record.kind == Kind::Refresh).cloned()
    }

    /// Whether a token would be accepted now, without counting as a use.
    pub fn is_live(&self, token: &str) -> bool {
        let now = self.0.clock.now_ms();
        self.0.state().ledger.find(token).is_some_and(|record| record.is_live(now))
    }

    /// Shows an access token for the mailbox of `user`, as a mail server does; counts as a use.
    ///
    /// # Errors
    /// Why it does not open that mailbox.
    pub fn check_access(&self, token: &str, user: &str) -> Result<TokenRecord, Refusal> {
        let now = self.0.clock.now_ms();
        self.0.state().ledger.check_access(token, Some(user), now)
    }
}

fn router(sim: Sim) -> Router {
    let oauth = Router::new()
        .route("/.well-known/openid-configuration", get(discovery::metadata))
        .route("/.well-known/oauth-authorization-server", get(discovery::metadata))
        .route("/jwks", get(discovery::jwks))
        .route("/authorize", get(authorize::show))
        .route("/authorize/decide", post(authorize::decide))
        .route("/token", post(token::token))
        .route("/revoke", post(inspect::revoke))
        .route("/introspect", post(inspect::introspect))
        .route("/userinfo", get(inspect::userinfo).post(inspect::userinfo));
    let back_stage = Router::new()
        .route("/_sim/truth", get(admin::truth))
        .route("/_sim/stats", get(admin::stats))
        .route("/_sim/rate", get(admin::rate))
        .route("/_sim/users", get(admin::users))
        .route("/_sim/issue", post(admin::issue))
        .route(
            "/_sim/faults",
            get(admin::faults).post(admin::add_fault).delete(admin::clear_faults),
        )
        .route("/_sim/settings", get(admin::settings).patch(admin::change_settings))
        .route("/_sim/revoke", post(admin::revoke))
        .route("/_sim/clock", get(admin::clock).post(admin::move_clock));
    oauth.merge(back_stage).layer(DefaultBodyLimit::max(BODY_MAX)).with_state(sim)
}
