//! A server for tests that answers as badly as it is told, and the tests of the wire and the verbs against it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::clock::{Clock, Time};
use crate::domain::app::{App, AppHealth};
use crate::domain::ids::{AppId, ProjectId, ResourceId};
use crate::providers::address::AddressRule;
use crate::providers::{Presets, ProviderClient, Resolved, Wire, WireSettings};
use crate::tasks::Tasks;

/// What is done with a connection.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Read the request, send these bytes, close.
    Say(String),
    /// The same with a JSON body, in which `{at}` is the server's own address.
    Json(u16, String),
    /// Read the request, send these bytes, then nothing more.
    SayAndHang(String),
    /// Read the request, send a head and then bytes for ever, as fast as they are taken.
    Flood,
    /// Close at once.
    CloseBefore,
    /// Read the request, close.
    CloseAfter,
}

/// A loopback server that keeps every request it read. Later connections repeat the last act.
#[derive(Debug)]
pub(super) struct Rogue {
    pub(super) at: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    tasks: Tasks,
}

impl Rogue {
    pub(super) async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rogue =
            Self { at: listener.local_addr().unwrap(), seen: Arc::default(), tasks: Tasks::new() };
        let (tasks, seen) = (rogue.tasks.clone(), Arc::clone(&rogue.seen));
        drop(rogue.tasks.spawn(async move {
            let mut number = 0;
            loop {
                let next = tokio::select! {
                    next = listener.accept() => next.unwrap().0,
                    () = tasks.stopping() => return,
                };
                let act = acts[number.min(acts.len() - 1)].clone();
                number += 1;
                drop(tasks.spawn(serve(next, act, Arc::clone(&seen), tasks.clone())));
            }
        }));
        rogue
    }

    pub(super) async fn json(status: u16, body: &str) -> Self {
        Self::start(vec![Act::Json(status, body.to_owned())]).await
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

fn json(status: u16, body: &str) -> String {
    head(status, body.len(), "Content-Type: application/json\r\n") + body
}

pub(super) fn head(status: u16, length: usize, more: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n")
}

async fn serve(
    mut stream: tokio::net::TcpStream,
    act: Act,
    seen: Arc<Mutex<Vec<String>>>,
    tasks: Tasks,
) {
    if matches!(act, Act::CloseBefore) {
        return;
    }
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !is_whole(&request) {
        match stream.read(&mut piece).await {
            Ok(count) if count > 0 => request.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
    seen.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
    match act {
        Act::Json(status, body) => {
            let at = stream.local_addr().unwrap().to_string();
            let text = json(status, &body.replace("{at}", &at));
            drop(stream.write_all(text.as_bytes()).await);
        }
        Act::Say(text) => drop(stream.write_all(text.as_bytes()).await),
        Act::SayAndHang(text) => {
            drop(stream.write_all(text.as_bytes()).await);
            tasks.stopping().await;
        }
        Act::Flood => {
            drop(stream.write_all(head(200, 1 << 30, "").as_bytes()).await);
            while stream.write_all(&[b' '; 1024]).await.is_ok() {}
        }
        Act::CloseBefore | Act::CloseAfter => {}
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.to_ascii_lowercase().lines().find_map(|line| {
        line.strip_prefix("content-length:").and_then(|length| length.trim().parse::<usize>().ok())
    });
    body.len() >= length.unwrap_or(0)
}

/// 2027-01-15, when these tests take place.
pub(super) const NOW: Time = Time::from_millis(1_800_000_000_000);

/// Limits of a test: loopback allowed, and deadlines that matter only where a server hangs for ever.
pub(super) fn limits() -> WireSettings {
    WireSettings {
        connect_deadline: Duration::from_secs(20),
        total_deadline: Duration::from_secs(20),
        answer_cap: 16 * 1024,
        addresses: AddressRule { allow_insecure_loopback: true, allow_private: false },
        extra_ca_file: None,
    }
}

pub(super) fn client(settings: WireSettings) -> (ProviderClient, Clock) {
    let clock = Clock::manual(NOW);
    (ProviderClient::new(Wire::new(settings, clock.clone()).unwrap(), clock.clone()), clock)
}

/// An app as an operator registers it, with nothing but a preset and a client id.
pub(super) fn app(preset: &str) -> App {
    App {
        id: AppId::from_bytes([1; 16]),
        project: ProjectId::default_project(),
        name: ResourceId::parse("app").unwrap(),
        display_name: String::new(),
        preset: preset.into(),
        authority: String::new(),
        client_id: "client id".into(),
        client_auth: None,
        endpoints: Default::default(),
        base_scopes: Vec::new(),
        extra_scopes: Vec::new(),
        skip_scopes: Vec::new(),
        mail_hosts: Vec::new(),
        return_uris: Vec::new(),
        rotation: None,
        disabled: false,
        health: AppHealth::Unknown,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// A preset with all its endpoints at one server.
pub(super) fn provider(preset: &str, at: SocketAddr) -> Resolved {
    let url = |path: &str| format!("http://{at}/{path}");
    let mut app = app(preset);
    if preset == "generic-oidc" {
        app.authority = format!("http://{at}");
    }
    app.endpoints.authorization = url("authorize");
    app.endpoints.token = url("token");
    app.endpoints.revocation = url("revoke");
    app.endpoints.userinfo = url("userinfo");
    app.endpoints.jwks = url("jwks");
    let presets = Presets::embedded().unwrap();
    presets.find(preset).unwrap().resolve(&app, None, limits().addresses).unwrap()
}

#[path = "client_tests.rs"]
mod client_tests;
