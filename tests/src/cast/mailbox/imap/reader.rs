//! Gathers one command with its literals.
//!
//! A literal stays where it stood, `{n}` and CRLF before it, so that the parser sees one text. Bounded; a literal that is
//! too large ends the connection, for it may already be on its way. Next: [`super::syntax`].

use std::io;

use super::super::store::MESSAGE_MAX;
use super::super::wire::LINE_MAX;
use super::Session;

const LITERAL_BEFORE_LOGIN_MAX: usize = 4 * 1024;

impl Session<'_> {
    /// The next command, or `None` at the end of the stream.
    pub(super) async fn read_command(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(mut command) = self.wire.line().await? else { return Ok(None) };
        let mut literals = 0;
        while let Some((count, synchronising)) = literal_at_end(&command) {
            let most = if self.guest.is_some() { MESSAGE_MAX } else { LITERAL_BEFORE_LOGIN_MAX };
            literals += count;
            if literals > most || command.len() > literals + LINE_MAX {
                self.wire.say("* BYE [TOOBIG] Literal too large").await?;
                return Ok(None);
            }
            if synchronising {
                self.wire.say("+ Go ahead").await?;
            }
            command.extend_from_slice(b"\r\n");
            command.extend(self.wire.bytes(count).await?);
            let Some(rest) = self.wire.line().await? else { return Ok(None) };
            command.extend(rest);
        }
        Ok(Some(command))
    }
}

/// The size of a literal announced at the end of a line, and whether the client waits for `+`.
fn literal_at_end(line: &[u8]) -> Option<(usize, bool)> {
    let inside = line.strip_suffix(b"}")?;
    let open = inside.iter().rposition(|&byte| byte == b'{')?;
    let number = std::str::from_utf8(&inside[open + 1..]).ok()?;
    let (number, synchronising) =
        number.strip_suffix('+').map_or((number, true), |number| (number, false));
    number.parse().ok().map(|count| (count, synchronising))
}
