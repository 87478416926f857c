//! Speaks with a mail client until it is logged in.
//!
//! Never lets a command through to the mail server before that, and never reads the mail afterwards. Invariant: at most
//! one line and [`AHEAD`] bytes are held, and a client has [`COMMANDS`] commands and [`BYTES`] bytes to log in.
//!
//! Bytes behind the last line of AUTH are kept and go upstream first. RFC 4954 section 4 wants AUTH last in a group and
//! some servers hang up here; we do not, since clients that send on lose their mail otherwise. It is safe: those bytes came
//! over the same channel, protected by the same TLS, as the credential before them, so whoever wrote them could log
//! in. What TLS does not protect is what came before it, and a byte behind STARTTLS closes the connection. If the
//! login is refused, the bytes are read as commands of somebody who is not logged in.
//! Next: `talking` for the commands, `exchange` for AUTH, `reply` for the words.

mod talking;

use adapter_core::dialogue::{
    Blame, ClientDialogue, ClientEvent, ClientFacts, ClientStep, Login, Ready, Verdict,
};

use crate::command;
use crate::exchange::{Exchange, Progress};
use crate::line::{LONGEST, Line, Lines};
use crate::reply;

use talking::Talking;

/// Commands before login, EHLO and AUTH included. Answers within an AUTH exchange do not count, they are two at most.
const COMMANDS: u32 = 20;

/// Bytes before login.
const BYTES: usize = 64 * 1024;

/// Bytes kept behind AUTH, for the mail server.
const AHEAD: usize = 8 * 1024;

/// The client's side of one connection.
pub(crate) struct Downstream {
    facts: ClientFacts,
    state: State,
    lines: Lines,
    spent: Spent,
}

/// What a client has used up of its chances.
#[derive(Default)]
struct Spent {
    commands: u32,
    bytes: usize,
    refusals: u8,
}

/// Where the conversation stands; one struct each where there is something to know.
enum State {
    /// Nothing was said yet.
    Unopened,
    /// Between commands.
    Talking(Talking),
    /// Within AUTH.
    Exchanging(Exchanging),
    /// The handshake is running.
    Handshaking,
    /// The broker and the mail server are asked.
    Asking(Asking),
    /// Relayed or closed.
    Over,
}

/// Within AUTH: the next line belongs to the exchange.
struct Exchanging {
    exchange: Exchange,
}

/// While the login is decided.
struct Asking {
    /// What the client sent behind its login.
    ahead: Vec<u8>,
}

/// What a line leads to.
enum Turn {
    /// Say this and stay.
    Say(Vec<u8>),
    /// Say this and go on there.
    Go(Vec<u8>, State),
    /// Do the TLS handshake.
    Secure,
    /// Ask about this login.
    Ask(Login),
    /// Answer as if the broker had refused the login.
    Refuse,
    /// Say this and close.
    Close(Vec<u8>),
}

impl Downstream {
    /// A dialogue for a client that just connected.
    pub(crate) fn new(facts: ClientFacts) -> Self {
        Self { facts, state: State::Unopened, lines: Lines::default(), spent: Spent::default() }
    }

    /// How many bytes are held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        let ahead =
            if let State::Asking(asking) = &self.state { asking.ahead.capacity() } else { 0 };
        self.lines.held() + ahead
    }

    /// Reads lines until one needs more than an answer. `say` begins with what is still unsaid.
    fn read(&mut self, mut say: Vec<u8>, mut input: &[u8]) -> ClientStep {
        loop {
            let before = input.len();
            let line = self.next_line(&mut input);
            self.spent.bytes += before - input.len();
            if self.spent.bytes > BYTES {
                return self.close(say, reply::TOO_MANY_COMMANDS);
            }
            let Some(line) = line else { return ClientStep::Listen { say } };
            match self.turn(&line) {
                Turn::Say(text) => say.extend(text),
                Turn::Go(text, state) => {
                    say.extend(text);
                    self.state = state;
                }
                Turn::Secure => return self.secure(say, input),
                Turn::Ask(login) => return self.ask(say, login, input),
                Turn::Refuse => {
                    if let Some(closed) = self.refused(&mut say, Blame::BadCredential, "") {
                        return closed;
                    }
                }
                Turn::Close(text) => return self.close(say, &text),
            }
        }
    }

    fn next_line(&mut self, input: &mut &[u8]) -> Option<Line> {
        match self.state {
            State::Exchanging(_) => self.lines.next(input, |_| LONGEST),
            _ => self.lines.next(input, command::limit),
        }
    }

    fn turn(&mut self, line: &Line) -> Turn {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Exchanging(within) => within.line(line),
            State::Talking(talking) => {
                self.spent.commands += 1;
                if self.spent.commands > COMMANDS {
                    return Turn::Close(reply::TOO_MANY_COMMANDS.to_vec());
                }
                let turn = talking.line(line, &self.facts);
                self.state = State::Talking(talking);
                turn
            }
            _ => Turn::Close(reply::CONFUSED.to_vec()),
        }
    }

    /// Goes into TLS, unless a byte came ahead of it: it would be read as if it had come protected (CVE-2011-0411).
    fn secure(&mut self, mut say: Vec<u8>, behind: &[u8]) -> ClientStep {
        if !behind.is_empty() {
            return self.close(say, reply::AFTER_STARTTLS);
        }
        self.state = State::Handshaking;
        say.extend_from_slice(reply::GO_AHEAD_TLS);
        ClientStep::StartTls { say }
    }

    fn ask(&mut self, say: Vec<u8>, login: Login, behind: &[u8]) -> ClientStep {
        if behind.len() > AHEAD {
            return self.close(say, reply::TOO_MUCH_AHEAD);
        }
        self.state = State::Asking(Asking { ahead: behind.to_vec() });
        ClientStep::Ask { say, login }
    }

    fn decided(&mut self, asking: Asking, verdict: Verdict) -> ClientStep {
        match verdict {
            Verdict::Accepted(ready) => accepted(asking, &ready),
            Verdict::Denied { blame, text } => {
                let mut say = Vec::new();
                match self.refused(&mut say, blame, &text) {
                    Some(closed) => closed,
                    None => self.read(say, &asking.ahead),
                }
            }
        }
    }

    /// Says that a login was refused. Closes if it was one too many, or if trying again at once cannot help.
    fn refused(&mut self, say: &mut Vec<u8>, blame: Blame, text: &str) -> Option<ClientStep> {
        say.extend(reply::denial(blame, text));
        self.spent.refusals = self.spent.refusals.saturating_add(1);
        if blame == Blame::Limit {
            return Some(self.close(std::mem::take(say), b""));
        }
        if self.spent.refusals >= self.facts.attempts {
            return Some(self.close(std::mem::take(say), reply::TOO_MANY_REFUSALS));
        }
        self.state = State::Talking(Talking::greeted());
        None
    }

    fn close(&mut self, mut say: Vec<u8>, text: &[u8]) -> ClientStep {
        self.state = State::Over;
        self.lines = Lines::default();
        say.extend_from_slice(text);
        ClientStep::Close { say }
    }
}

impl ClientDialogue for Downstream {
    fn advance(&mut self, event: ClientEvent<'_>) -> ClientStep {
        match (std::mem::replace(&mut self.state, State::Over), event) {
            (State::Over, _) => self.close(Vec::new(), b""),
            (_, ClientEvent::TimeUp(why)) => self.close(Vec::new(), &reply::farewell(why)),
            (State::Unopened, ClientEvent::Opened) => {
                self.state = State::Talking(Talking::default());
                ClientStep::Listen {
                    say: reply::naming("220", &self.facts.server_name, "ESMTP ready"),
                }
            }
            (State::Handshaking, ClientEvent::Secured) => {
                self.facts.encrypted = true;
                self.state = State::Talking(Talking::default());
                ClientStep::Listen { say: Vec::new() }
            }
            (State::Handshaking, ClientEvent::Bytes(_)) => {
                self.close(Vec::new(), reply::AFTER_STARTTLS)
            }
            (State::Asking(asking), ClientEvent::Verdict(verdict)) => self.decided(asking, verdict),
            (state @ (State::Talking(_) | State::Exchanging(_)), ClientEvent::Bytes(bytes)) => {
                self.state = state;
                self.read(Vec::new(), bytes)
            }
            _ => self.close(Vec::new(), reply::CONFUSED),
        }
    }
}

impl Exchanging {
    fn line(self, line: &Line) -> Turn {
        exchanged(self.exchange.answer(line))
    }
}

/// Where AUTH leads; whoever is within it has greeted us.
fn exchanged(progress: Progress) -> Turn {
    let back = State::Talking(Talking::greeted());
    match progress {
        Progress::Challenge(text, exchange) => {
            Turn::Go(text.to_vec(), State::Exchanging(Exchanging { exchange }))
        }
        Progress::Failed(text) => Turn::Go(text.to_vec(), back),
        Progress::Login(login) => Turn::Ask(login),
        Progress::Wrong => Turn::Refuse,
    }
}

/// The answer to the login, then what the server already said, then the relay.
fn accepted(asking: Asking, ready: &Ready) -> ClientStep {
    let say = [reply::LOGGED_IN, &ready.unread].concat();
    ClientStep::Relay { say, unread: asking.ahead }
}

#[cfg(test)]
mod tests;
