//! IDLE (RFC 2177): tells of new mail until the client says DONE.
//!
//! Also ends with the session's token, where the settings say so. Next: [`super::Session::announce`].

use std::io;
use std::time::Duration;

use super::syntax::Command;
use super::{Next, Session};

const LOOK_EVERY: Duration = Duration::from_millis(200);

enum Woken {
    Mail,
    Tick,
    Line(Option<Vec<u8>>),
}

impl Session<'_> {
    pub(super) async fn idle(&mut self, command: &Command) -> io::Result<Next> {
        let mut changes = self.door.store.changes();
        self.wire.say("+ idling").await?;
        loop {
            self.announce(true).await?;
            if self.guest.as_ref().is_some_and(|guest| self.door.is_over(guest)) {
                self.wire.say("* BYE Session invalidated - AccessTokenExpired").await?;
                return Ok(Next::End);
            }
            // All three may be dropped and tried again: a half-read line stays in the wire's buffer.
            let woken = tokio::select! {
                line = self.wire.line() => Woken::Line(line?),
                changed = changes.changed() => changed.map_or(Woken::Tick, |()| Woken::Mail),
                () = tokio::time::sleep(LOOK_EVERY) => Woken::Tick,
            };
            match woken {
                Woken::Mail | Woken::Tick => {}
                Woken::Line(None) => return Ok(Next::End),
                Woken::Line(Some(line)) if line.eq_ignore_ascii_case(b"DONE") => {
                    return self.done(&command.tag, "OK IDLE completed").await;
                }
                Woken::Line(Some(_)) => return self.done(&command.tag, "BAD Expected DONE").await,
            }
        }
    }
}
