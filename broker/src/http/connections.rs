//! Connections: HTTP/1.1, one request each, bounded in number, size and time.
//!
//! Never keeps a connection for a next request: a page is one document, so there is none. Invariant: nobody holds a place for
//! longer than [`LONGEST`], however slowly they send or read, and a stop lets what was begun come to its end.
//! Next: the router it was given.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::guard::DEADLINE;
use crate::tasks::Tasks;

/// Most connections at once; further ones wait in the system's queue.
const MOST: usize = 256;
/// Longest time for a request's head to arrive.
const HEAD: Duration = Duration::from_secs(10);
/// Longest time for a whole connection.
const LONGEST: Duration = DEADLINE.saturating_add(Duration::from_secs(20));
/// Most bytes of a head.
const LONGEST_HEAD: usize = 32 * 1024;
/// How long to wait after the system refused us a connection, as when it has no more descriptors.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// Serves `router` until [`Tasks::stop`].
pub(super) async fn serve(listener: TcpListener, router: Router, tasks: &Tasks) {
    let places = Arc::new(Semaphore::new(MOST));
    let stopping = tasks.stopping();
    tokio::pin!(stopping);
    loop {
        let next = tokio::select! {
            () = &mut stopping => return,
            next = accept(&listener, &places) => next,
        };
        match next {
            Ok((stream, place)) => {
                let stopping = tasks.stopping();
                let talk = converse(stream, router.clone(), stopping);
                drop(tasks.spawn(async move {
                    let _ = tokio::time::timeout(LONGEST, talk).await;
                    drop(place);
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(AFTER_REFUSAL).await;
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

async fn converse(stream: TcpStream, router: Router, stopping: impl Future<Output = ()>) {
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LONGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopping => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a browser's connection ended early");
    }
}
