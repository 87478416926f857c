//! How a mail protocol is spoken, without a socket in sight.
//!
//! Two sides of one idea: a [`ClientDialogue`] talks to the mail client that came to us, a [`ProviderDialogue`] talks to the
//! mail server we log in to. Both are fed events and answer with the next step; they never read, write, wait or ask the
//! time. Invariant: a dialogue bounds everything it keeps, whatever bytes it is fed and however they are split.
//! Next: `drive` owns the sockets and carries the steps out.

use std::fmt;

use zeroize::Zeroizing;

use crate::boundary::Boundaries;

/// Speaks with the mail client.
pub trait ClientDialogue: Send {
    /// Takes one event, says what to do next.
    fn advance(&mut self, event: ClientEvent<'_>) -> ClientStep;
}

/// What happened on the client's side.
#[derive(Debug)]
pub enum ClientEvent<'a> {
    /// The connection stands; over implicit TLS the handshake is done. The greeting is due.
    Opened,
    /// Bytes came in. The dialogue keeps what it cannot use yet.
    Bytes(&'a [u8]),
    /// The handshake asked for by [`ClientStep::StartTls`] is done.
    Secured,
    /// The answer to [`ClientStep::Ask`].
    Verdict(Verdict),
    /// The time for logging in is over, or the adapter stops: say good-bye.
    TimeUp(Farewell),
}

/// Why the adapter ends a conversation on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The client took too long to log in.
    TooSlow,
    /// The adapter is stopping.
    Stopping,
    /// The client's credential, its account or this adapter may not any more.
    Revoked,
    /// The mailbox owner has to consent.
    NeedsConsent,
    /// An administrator has to act.
    ContactAdmin,
    /// An operator ended the session; the client may come again.
    Operator,
    /// No broker was heard of for too long.
    CutOff,
}

/// What to do next on the client's side. `say` is written first and may be empty.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientStep {
    /// Write, then read on.
    Listen {
        /// Bytes for the client.
        say: Vec<u8>,
    },
    /// Write, then do the TLS handshake. Any byte the client sent before it closes the connection.
    StartTls {
        /// Bytes for the client.
        say: Vec<u8>,
    },
    /// Write, then ask the broker and log in upstream. Nothing is read from the client meanwhile.
    Ask {
        /// Bytes for the client.
        say: Vec<u8>,
        /// What the client showed.
        login: Login,
    },
    /// Write, then relay: `unread` goes upstream first, then bytes both ways, untouched.
    Relay {
        /// Bytes for the client: the answer to its login.
        say: Vec<u8>,
        /// What the client had pipelined behind its login.
        unread: Vec<u8>,
    },
    /// Write, then close.
    Close {
        /// Bytes for the client.
        say: Vec<u8>,
    },
}

/// A login as the client gave it.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The login name, as it came, at most 320 bytes.
    pub name: String,
    /// The proxy credential, at most 256 bytes; wiped when dropped.
    pub secret: Zeroizing<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("name", &self.name).field("secret", &"[secret]").finish()
    }
}

/// How the login ended, broker and provider together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Logged in upstream.
    Accepted(Ready),
    /// Not logged in; the class decides the words on the wire.
    Denied {
        /// Whose fault it is.
        blame: Blame,
        /// One line of printable ASCII for the client's user; may be empty.
        text: String,
    },
}

/// Whose fault a refused login is. Each has one answer in each protocol (design section 9, promise P8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client showed a wrong credential.
    BadCredential,
    /// The mailbox owner has to consent.
    NeedsConsent,
    /// The operator's OAuth app is refused.
    ContactAdmin,
    /// Broker, provider or mail server is away; try later.
    Unavailable,
    /// Too many logins or sessions.
    Limit,
}

/// What the provider's server said when it let us in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// IMAP: the capability list after login, without the word CAPABILITY; empty if the server would not say.
    /// SMTP: the EHLO keyword lines of the server, joined by newlines.
    pub capabilities: String,
    /// Bytes the server sent behind its last answer; the client's dialogue puts them behind its own answer to the login.
    pub unread: Vec<u8>,
}

/// Speaks with the provider's mail server.
pub trait ProviderDialogue: Send {
    /// Takes one event, says what to do next.
    fn advance(&mut self, event: ProviderEvent<'_>) -> ProviderStep;
}

/// What happened on the provider's side.
#[derive(Debug)]
pub enum ProviderEvent<'a> {
    /// The connection stands; over implicit TLS the handshake is done. The server speaks first.
    Opened,
    /// Bytes came in.
    Bytes(&'a [u8]),
    /// The handshake asked for by [`ProviderStep::StartTls`] is done.
    Secured,
}

/// What to do next on the provider's side.
#[derive(Debug, PartialEq, Eq)]
pub enum ProviderStep {
    /// Write (it may be a secret), then read on.
    Listen {
        /// Bytes for the server.
        say: Zeroizing<Vec<u8>>,
    },
    /// Write, then do the TLS handshake. Any byte the server sent before it ends the attempt.
    StartTls {
        /// Bytes for the server.
        say: Vec<u8>,
    },
    /// The login is decided; the connection is kept for the relay if it worked, closed otherwise.
    Done(Outcome),
}

/// How the login at the provider ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Logged in.
    Ready(Ready),
    /// The server refuses this token (or password): worth one renewed token.
    Refused {
        /// What the server said, printable, at most 200 bytes. For our log, never for the client.
        said: String,
    },
    /// The server is busy, broken, or speaks nonsense: try later, the token is not to blame.
    Unavailable {
        /// As above.
        said: String,
    },
    /// The server has too many connections of ours.
    Limit {
        /// As above.
        said: String,
    },
}

/// What a [`ProviderDialogue`] logs in with.
#[derive(Clone)]
pub struct Upstream {
    /// The server's name, as it is dialled and as its certificate carries it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether the dialogue has to ask for STARTTLS before anything else.
    pub starttls: bool,
    /// What the adapter calls itself, where the protocol wants to know: a host name or an address literal.
    pub helo_name: String,
    /// The user name towards the provider.
    pub user: String,
    /// Access token or app password; wiped when dropped.
    pub secret: Zeroizing<String>,
    /// Mechanisms to try, best first, among what the server offers.
    pub mechanisms: Vec<Mechanism>,
    /// Whether an initial response may be sent where the protocol allows it.
    pub initial_response: bool,
    /// Whether an OK has to be proven by one NOOP.
    pub probe_after_login: bool,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({}:{} as {:?})", self.host, self.port, self.user)
    }
}

/// A SASL mechanism towards the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Google's and Microsoft's.
    XOauth2,
    /// RFC 7628.
    OAuthBearer,
    /// RFC 4616, for app passwords.
    Plain,
}

/// One protocol: how its two dialogues are made.
pub trait Protocol: Send + Sync + 'static {
    /// Its name as settings, logs and metrics say it: `imap`, `smtp`.
    const NAME: &'static str;
    /// A dialogue for a client that just connected.
    fn client(&self, facts: ClientFacts) -> Box<dyn ClientDialogue>;
    /// A dialogue for a login upstream.
    fn provider(&self, upstream: Upstream) -> Box<dyn ProviderDialogue>;
    /// What finds the places where a relayed client may be told something, from the first byte after the login on.
    fn boundaries(&self) -> Box<dyn Boundaries>;
    /// What to tell a client when its relayed session has to end, at such a place.
    fn farewell(&self, why: Farewell) -> Vec<u8>;
}

/// What a client dialogue is told at its birth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFacts {
    /// The name the adapter goes by in greetings.
    pub server_name: String,
    /// Whether TLS already stands.
    pub encrypted: bool,
    /// Whether STARTTLS can be offered (not yet encrypted, certificate at hand).
    pub starttls: bool,
    /// Whether a password may come without TLS: only for a client on loopback.
    pub plain_allowed: bool,
    /// The EHLO keywords to show before login (SMTP), probed from the provider and cached; empty until known.
    pub extensions: Vec<String>,
    /// How many refused logins end the connection. Default 3.
    pub attempts: u8,
}
