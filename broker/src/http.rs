//! The browser's door: the page behind a link, the way to the provider, the provider's answer; and [`ops`] on its own port.
//!
//! Never decides: it unpacks, calls a verb of `service` and shows a page. Never sends a script or anything from elsewhere,
//! never puts into a page what a browser sent. Invariant: every answer carries the headers of `guard`, and nothing is
//! started at a provider by a page or site that is not ours.
//! The walk: `connections` (sockets) -> `guard` (limits, headers) -> `consent` (the handlers) -> `page` or `refusal`.

mod connections;
mod consent;
mod cookies;
mod guard;
mod html;
pub mod ops;
mod page;
mod refusal;
mod verbs;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use url::Url;

use crate::entropy::Entropy;
use crate::service::Service;
use crate::tasks::Tasks;
use refusal::Refusal;
use verbs::Verbs;

/// Most bytes of a form.
const LONGEST_BODY: usize = 8 * 1024;
/// Most requests worked on at once; more are turned away with a page that says so.
const MOST_REQUESTS: usize = 64;

/// The door for browsers.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Where to listen.
    pub address: SocketAddr,
    /// How browsers reach it: the redirect URIs begin with this.
    pub public_url: Url,
}

/// What the door needs.
#[derive(Clone, Debug)]
pub struct Door {
    /// The verbs.
    pub service: Service,
    /// Where browsers reach us.
    pub settings: HttpSettings,
    /// Makes the tokens of forms.
    pub entropy: Entropy,
}

/// How browsers reach us.
#[derive(Clone, Debug)]
struct Site {
    /// The origin of our own pages, as browsers write it.
    origin: String,
    https: bool,
}

/// What every handler shares.
#[derive(Clone)]
struct Shared<V> {
    verbs: V,
    site: Site,
    entropy: Entropy,
    gate: Arc<Semaphore>,
}

/// Serves browsers until [`Tasks::stop`]; requests in flight then end within their deadline, watched by [`Tasks::drain`].
pub async fn serve(listener: TcpListener, door: Door, tasks: &Tasks) {
    let router = router(door.service, &door.settings, door.entropy);
    connections::serve(listener, router, tasks).await;
}

fn router<V: Verbs>(verbs: V, settings: &HttpSettings, entropy: Entropy) -> Router {
    let site = Site {
        origin: settings.public_url.origin().ascii_serialization(),
        https: settings.public_url.scheme() == "https",
    };
    let gate = Arc::new(Semaphore::new(MOST_REQUESTS));
    let shared = Shared { verbs, site, entropy, gate };
    Router::new()
        .route("/", get(async || page::home()))
        .route("/consent/{ticket}", get(consent::show_consent).post(consent::start_consent))
        .route("/renew/{token}", get(consent::show_renewal).post(consent::start_renewal))
        .route("/oauth/callback/{project}/{app}", get(consent::receive))
        .fallback(async || Refusal::no_page())
        .method_not_allowed_fallback(async || Refusal::no_method())
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(from_fn_with_state(shared.clone(), guard::bound))
        .layer(from_fn_with_state(shared.site.clone(), guard::dress))
        .layer(from_fn(guard::count))
        .with_state(shared)
}
