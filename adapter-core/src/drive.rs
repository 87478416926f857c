//! Carries out what dialogues want: reads, writes, shakes hands, asks, and keeps the time.
//!
//! Never interprets a byte. Invariant: a client that has not logged in is gone when its time is over, whatever it does; between
//! STARTTLS and the handshake no byte in clear is taken from either peer. Next: `login` for an `Ask`, `connection` for a relay.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroizing;

use crate::boundary::Boundaries;
use crate::dialogue::{
    ClientDialogue, ClientEvent, ClientStep, Farewell, Outcome, Protocol, ProviderDialogue,
    ProviderEvent, ProviderStep,
};
use crate::limits::{MAX_BYTES_BEFORE_LOGIN, MAX_WRITE};
use crate::login::{Client, Desk, LoggedIn};
use crate::stream::{Side, Stream};
use crate::tls::ServerTls;

/// Read at once before login, in bytes.
const CHUNK: usize = 4096;
/// Bytes read and thrown away, and time spent on it, so that a good-bye is not lost to a reset.
const LINGER: (usize, Duration) = (64 * 1024, Duration::from_secs(1));

/// A client that is logged in.
pub(crate) struct Admitted {
    pub(crate) client: Stream,
    pub(crate) upstream: LoggedIn,
    /// Has seen the answer to the login.
    pub(crate) line: Box<dyn Boundaries>,
}

/// A client that is not logged in yet, and what its connection needs.
pub(crate) struct Visit<'a, P> {
    pub(crate) desk: &'a Desk<P>,
    pub(crate) client: Client,
    pub(crate) tls: Option<&'a ServerTls>,
    /// When the client has to be logged in.
    pub(crate) until: Instant,
    /// Bytes it has sent.
    pub(crate) received: usize,
}

/// What waiting for the client brought.
enum Heard {
    Bytes(Zeroizing<Vec<u8>>),
    Gone,
    TimeUp(Farewell),
}

impl<P: Protocol> Visit<'_, P> {
    /// Carries `dialogue` until the client is logged in or gone. A client that leaves is no error.
    pub(crate) async fn drive(
        mut self,
        dialogue: &mut dyn ClientDialogue,
        mut stream: Stream,
    ) -> io::Result<Option<Admitted>> {
        let mut upstream = None;
        let mut step = dialogue.advance(ClientEvent::Opened);
        loop {
            step = match step {
                ClientStep::Listen { say } => {
                    write(&mut stream, &say).await?;
                    match self.hear(&mut stream).await? {
                        Heard::Gone => return Ok(None),
                        Heard::TimeUp(why) => dialogue.advance(ClientEvent::TimeUp(why)),
                        Heard::Bytes(bytes) => dialogue.advance(ClientEvent::Bytes(&bytes)),
                    }
                }
                ClientStep::StartTls { say } => {
                    stream = self.start_tls(stream, &say).await?;
                    dialogue.advance(ClientEvent::Secured)
                }
                ClientStep::Ask { say, login } => {
                    write(&mut stream, &say).await?;
                    let (verdict, logged_in) = self.desk.log_in(login, &self.client).await;
                    upstream = logged_in;
                    dialogue.advance(ClientEvent::Verdict(verdict))
                }
                ClientStep::Relay { say, unread } => {
                    let line = self.desk.protocol.boundaries();
                    return hand_over(stream, upstream, line, (&say, &unread)).await.map(Some);
                }
                ClientStep::Close { say } => {
                    write(&mut stream, &say).await?;
                    linger(stream).await;
                    return Ok(None);
                }
            };
        }
    }

    /// The dialogue bounds what it takes; a client that floods one that forgot to is gone.
    async fn hear(&mut self, stream: &mut Stream) -> io::Result<Heard> {
        let mut bytes = Zeroizing::new(vec![0; CHUNK]);
        let length = tokio::select! {
            read = timeout_at(self.until, stream.read(&mut bytes)) => match read {
                Ok(length) => length?,
                Err(_) => return Ok(Heard::TimeUp(Farewell::TooSlow)),
            },
            () = self.desk.stopping() => return Ok(Heard::TimeUp(Farewell::Stopping)),
        };
        bytes.truncate(length);
        self.received += length;
        let gone = length == 0 || self.received > 2 * MAX_BYTES_BEFORE_LOGIN;
        Ok(if gone { Heard::Gone } else { Heard::Bytes(bytes) })
    }

    async fn start_tls(&mut self, mut stream: Stream, say: &[u8]) -> io::Result<Stream> {
        let tls = self.tls.ok_or_else(|| io::Error::other("STARTTLS without a certificate"))?;
        stream.nothing_unread()?;
        write(&mut stream, say).await?;
        let limit = self.desk.limits().tls;
        let stream = stream.secure(Side::Server(tls.acceptor()), limit).await?;
        self.client.tls_version = Some(stream.tls_version());
        Ok(stream)
    }
}

/// Carries a provider's dialogue until its login is decided. The caller keeps the time.
pub(crate) async fn drive_provider(
    dialogue: &mut dyn ProviderDialogue,
    mut stream: Stream,
    side: impl Fn() -> Side,
    tls_limit: Duration,
) -> io::Result<(Outcome, Stream)> {
    let mut bytes = vec![0; CHUNK];
    let mut step = dialogue.advance(ProviderEvent::Opened);
    loop {
        step = match step {
            ProviderStep::Listen { say } => {
                write(&mut stream, &say).await?;
                let length = stream.read(&mut bytes).await?;
                if length == 0 {
                    return Err(io::Error::other("the server hung up"));
                }
                dialogue.advance(ProviderEvent::Bytes(&bytes[..length]))
            }
            ProviderStep::StartTls { say } => {
                write(&mut stream, &say).await?;
                stream.nothing_unread()?;
                stream = stream.secure(side(), tls_limit).await?;
                dialogue.advance(ProviderEvent::Secured)
            }
            ProviderStep::Done(outcome) => return Ok((outcome, stream)),
        };
    }
}

/// The last bytes before the relay: the answer to the login, and what the client had said behind it.
async fn hand_over(
    mut client: Stream,
    upstream: Option<LoggedIn>,
    mut line: Box<dyn Boundaries>,
    (say, unread): (&[u8], &[u8]),
) -> io::Result<Admitted> {
    let mut upstream = upstream.ok_or_else(|| io::Error::other("a relay without a login"))?;
    write(&mut client, say).await?;
    line.to_client(say);
    write(&mut upstream.stream, unread).await?;
    line.to_server(unread);
    Ok(Admitted { client, upstream, line })
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let write = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    timeout(MAX_WRITE, write).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Closes such that the client reads our last words: a socket with unread bytes would be reset.
async fn linger(mut stream: Stream) {
    let (most, limit) = LINGER;
    let read_on = async {
        stream.shutdown().await?;
        let mut bytes = vec![0; CHUNK];
        for _ in 0..most / CHUNK {
            if stream.read(&mut bytes).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    let _ = timeout(limit, read_on).await;
}
