//! The adapter plane's watch: a stream of what has to end, with a checkpoint at least every other second.
//!
//! Never believes that its caller is still one: that is asked again before each message, as at every call. Invariant: a
//! checkpoint follows everything it stands for. Next: `service/watch_revocations.rs` finds what has to end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokenbroker_proto::v1::{self, SessionEnd, WatchRevocationsRequest, WatchRevocationsResponse};
use tokio::time::Instant;
use tonic::{Request, Status};

use super::authenticate;
use super::convert::{bounded, proto_end_reason, timestamp};
use super::serve::Door;
use super::status;
use crate::service::{self, Cursor, Error, Watcher};
use crate::telemetry::metrics;

/// The stream of a watch.
pub(super) type Revocations =
    Pin<Box<dyn Stream<Item = Result<WatchRevocationsResponse, Status>> + Send>>;

/// Ends in one message.
const ENDS: usize = 500;

/// A watch ends after this, so that its connection can: a replaced certificate or a moved broker is noticed.
const AGE: Duration = Duration::from_secs(15 * 60);

/// One adapter's watch.
struct Watch {
    door: Door,
    /// What the caller showed, to be asked again.
    shown: Request<()>,
    watcher: Watcher,
    until: Instant,
    unsent: VecDeque<WatchRevocationsResponse>,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Door {
    /// Begins a watch.
    pub(super) async fn watch(
        &self,
        request: Request<WatchRevocationsRequest>,
    ) -> Result<Revocations, Status> {
        let caller = self.caller(&request).await?;
        let permit = caller.may_open_sessions().map_err(Error::from);
        self.on_record(&caller, authenticate::asked(&request), permit).await?;
        let (metadata, extensions, asked) = request.into_parts();
        let cursor = status::or(bounded("cursor", &asked.cursor, 64))?;
        let watcher = status::or(self.service.watch_revocations(&caller, Cursor::parse(&cursor)))?;
        let watch = Watch {
            door: self.clone(),
            shown: Request::from_parts(metadata, extensions, ()),
            watcher,
            until: Instant::now() + AGE,
            unsent: VecDeque::new(),
            stopping: Box::pin(self.service.stopping()),
        };
        Ok(Box::pin(stream::unfold(Some(watch), step)))
    }
}

/// The next message, and what is left of the watch after it.
async fn step(
    watch: Option<Watch>,
) -> Option<(Result<WatchRevocationsResponse, Status>, Option<Watch>)> {
    let mut watch = watch?;
    if watch.unsent.is_empty() {
        if Instant::now() >= watch.until {
            return None;
        }
        if let Err(refused) = watch.look().await {
            return Some((Err(refused), None));
        }
    }
    let message = watch.unsent.pop_front()?;
    Some((Ok(message), Some(watch)))
}

impl Watch {
    async fn look(&mut self) -> Result<(), Status> {
        tokio::select! {
            waited = self.watcher.wait() => status::or(waited)?,
            () = &mut self.stopping => return Err(Status::unavailable("this broker stops: ask another")),
        }
        let caller = self.door.caller(&self.shown).await?;
        let permit = status::or(caller.may_open_sessions().map_err(Into::into))?;
        let found = status::or(self.watcher.next(&permit).await)?;
        self.unsent.extend(pack(&found));
        Ok(())
    }
}

fn pack(found: &service::Revocations) -> Vec<WatchRevocationsResponse> {
    let mut messages: Vec<_> = found
        .ends
        .chunks(ENDS)
        .map(|ends| {
            let one = |(session, reason): &(crate::domain::ids::SessionId, _)| SessionEnd {
                session: session.to_string(),
                reason: proto_end_reason(*reason).into(),
            };
            WatchRevocationsResponse { ends: ends.iter().map(one).collect(), checkpoint: None }
        })
        .collect();
    for (_, reason) in &found.ends {
        metrics::session_end(reason.as_str());
    }
    let checkpoint = v1::Checkpoint {
        cursor: found.cursor.to_string(),
        time: Some(timestamp(found.cursor.time())),
    };
    match messages.last_mut() {
        Some(last) => last.checkpoint = Some(checkpoint),
        None => messages
            .push(WatchRevocationsResponse { ends: Vec::new(), checkpoint: Some(checkpoint) }),
    }
    messages
}
