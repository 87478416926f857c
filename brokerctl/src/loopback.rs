//! A listener on this machine that waits for the provider to send the browser back, RFC 8252 section 7.3.
//!
//! Never listens off loopback, never answers with anything but a small static page, never believes a callback without
//! the expected `state`: a stranger's page that makes the browser call here changes nothing and ends nothing.
//! Invariant: at most one callback comes out; every connection is bounded in size and time. Next: `request` reads,
//! `page` answers.

mod page;
mod request;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use token_broker_client::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) use self::page::Page;
use self::request::{Answer, Heard};
use crate::failure::Failure;

/// A browser's request with a long code and its cookies for localhost.
const MAX_HEAD: usize = 16 * 1024;
/// Browsers open connections ahead of time and say nothing on them.
const MAX_CONNECTIONS: usize = 32;
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// The exchange at the provider takes part of this.
const ANSWER_DEADLINE: Duration = Duration::from_secs(90);
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// Bound, not yet answering.
pub(crate) struct Listener {
    sockets: Vec<TcpListener>,
    port: u16,
    uri: String,
}

/// What the provider sent, with the browser still waiting for its page.
pub(crate) struct Callback {
    pub(crate) state: String,
    pub(crate) code: Secret,
    pub(crate) iss: String,
    pub(crate) error: String,
    page: oneshot::Sender<Page>,
}

impl Callback {
    /// Shows `page` in the browser.
    pub(crate) fn answer(self, page: Page) {
        // A browser that went away misses only the page.
        let _ = self.page.send(page);
    }
}

impl Listener {
    /// Takes a free port on 127.0.0.1, and the same on ::1 where there is one.
    pub(crate) async fn bind() -> Result<Self, Failure> {
        let mut last = None;
        for _ in 0..10 {
            match both().await {
                Ok((sockets, port)) => {
                    return Ok(Self { sockets, port, uri: format!("http://localhost:{port}/") });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(Failure::local(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into())))
    }

    /// Where it listens, for the broker.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// Answers from now on; only a callback with this `state` counts.
    pub(crate) fn expecting(self, state: String) -> Waiting {
        let (found, callbacks) = mpsc::channel(1);
        let hall = Arc::new(Hall { port: self.port, state, used: AtomicBool::new(false), found });
        let mut doors = JoinSet::new();
        for socket in self.sockets {
            doors.spawn(accept(socket, Arc::clone(&hall)));
        }
        Waiting { callbacks, doors, hall }
    }
}

/// Both families or, without IPv6, one. A port that somebody else has on `::1` is no good: browsers would go there.
async fn both() -> io::Result<(Vec<TcpListener>, u16)> {
    let four = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = four.local_addr()?.port();
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
        Ok(six) => Ok((vec![four, six], port)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => Ok((vec![four], port)),
    }
}

/// Answering, until dropped.
pub(crate) struct Waiting {
    callbacks: mpsc::Receiver<Callback>,
    doors: JoinSet<()>,
    hall: Arc<Hall>,
}

impl Waiting {
    /// The callback.
    pub(crate) async fn next(&mut self) -> Callback {
        match self.callbacks.recv().await {
            Some(callback) => callback,
            // The hall keeps a sender, so this does not happen.
            None => std::future::pending().await,
        }
    }

    /// Stops, after pages on their way have arrived.
    pub(crate) async fn close(mut self) {
        self.hall.used.store(true, Ordering::SeqCst);
        self.callbacks.close();
        let quiet = async {
            while Arc::strong_count(&self.hall) > 1 + self.doors.len() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = timeout(CLOSE_DEADLINE, quiet).await;
        self.doors.shutdown().await;
    }
}

/// What all connections share.
struct Hall {
    port: u16,
    state: String,
    used: AtomicBool,
    found: mpsc::Sender<Callback>,
}

async fn accept(socket: TcpListener, hall: Arc<Hall>) {
    let mut guests = JoinSet::new();
    loop {
        while guests.len() >= MAX_CONNECTIONS {
            guests.join_next().await;
        }
        match socket.accept().await {
            Ok((stream, _)) => {
                // Only a request that has begun keeps the hall from closing.
                guests.spawn(serve(stream, Arc::downgrade(&hall)));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        while guests.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, hall: std::sync::Weak<Hall>) {
    let head = timeout(HEAD_DEADLINE, head(&mut stream)).await;
    let Ok(Ok(Some(head))) = head else { return };
    let Some(hall) = hall.upgrade() else { return };
    let answer = match request::read(&head, hall.port, &hall.state) {
        Heard::Other(answer) => answer,
        Heard::Callback(sent) => hear(&hall, sent).await,
    };
    let reply = answer.to_bytes();
    let told = async {
        stream.write_all(&reply).await?;
        stream.shutdown().await
    };
    let _ = timeout(CLOSE_DEADLINE, told).await;
}

/// Hands the first callback on and waits for what became of it.
async fn hear(hall: &Hall, sent: request::Sent) -> Answer {
    if hall.used.swap(true, Ordering::SeqCst) {
        return Answer { status: "409 Conflict", page: Page::already() };
    }
    let (page, shown) = oneshot::channel();
    let request::Sent { state, code, iss, error } = sent;
    let callback = Callback { state, code, iss, error, page };
    if hall.found.send(callback).await.is_err() {
        return Answer { status: "409 Conflict", page: Page::already() };
    }
    let page = timeout(ANSWER_DEADLINE, shown).await;
    let page = page.ok().and_then(Result::ok);
    let page = page.unwrap_or_else(|| Page::failed("brokerctl was stopped before it was done"));
    Answer { status: "200 OK", page }
}

/// The request's head, or nothing if the other side said nothing or too much.
async fn head(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 2048];
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk[..count]);
        if bytes.windows(4).any(|four| four == b"\r\n\r\n") || bytes.len() > MAX_HEAD {
            // What is no text or too long is answered as any other nonsense.
            bytes.truncate(MAX_HEAD);
            return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}

#[cfg(test)]
mod tests;
