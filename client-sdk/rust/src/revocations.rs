//! The adapter plane's watch: which sessions have to end, as a stream that is never silent for long.
//!
//! Never goes on by itself: when it ends, whoever watches asks again with the last cursor they heard. Invariant: a broker
//! that says nothing for the time its watcher has patience is left for another. Next: `mail.rs` begins it.

use std::time::Duration;

use tokenbroker_proto::v1::WatchRevocationsResponse;
use tokio::time::timeout;
use tonic::Streaming;

use crate::errors::Error;
use crate::transport::Connection;

/// A watch that has begun.
#[derive(Debug)]
pub struct Revocations {
    pub(crate) stream: Streaming<WatchRevocationsResponse>,
    pub(crate) connection: Connection,
    /// The endpoint that was asked first when it began.
    pub(crate) at: usize,
    pub(crate) patience: Duration,
}

impl Revocations {
    /// What has to end next, or the next checkpoint. `None` if the broker ended the watch in peace: ask again.
    ///
    /// # Errors
    /// [`Error::Deadline`] if nothing came for the time of patience; whatever the broker or the network says. The next
    /// watch begins at another endpoint then.
    pub async fn next(&mut self) -> Result<Option<WatchRevocationsResponse>, Error> {
        let heard = match timeout(self.patience, self.stream.message()).await {
            Ok(heard) => heard.map_err(Error::from),
            Err(_) => Err(Error::Deadline),
        };
        if heard.is_err() {
            self.connection.leave(self.at);
        }
        heard
    }
}
