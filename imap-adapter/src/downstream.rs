//! The client's side of IMAP, from the greeting to the answer to its login.
//!
//! Never reads past the login: what a client pipelines behind it goes upstream unread. Invariant: at most [`MAX_TOTAL`] bytes
//! are kept, 20 commands and a few refused logins are answered, then the conversation is over. Next: the relay, or `Close`.
//!
//! [`MAX_TOTAL`]: crate::inbox::MAX_TOTAL

use adapter_core::dialogue::{
    Blame, ClientDialogue, ClientEvent, ClientFacts, ClientStep, Login, Verdict,
};

use crate::command::{self, Command, Request};
use crate::inbox::{Inbox, Line, MAX_LINE};
use crate::literal::Arguments;
use crate::reply;

/// Most command lines before login.
const MAX_COMMANDS: u8 = 20;

/// A client that is not logged in.
pub struct Downstream {
    facts: ClientFacts,
    inbox: Inbox,
    state: State,
    say: Vec<u8>,
    asked_capability: bool,
    commands: u8,
    refused: u8,
}

enum State {
    /// The next line is a command.
    Commands,
    /// A literal of LOGIN is on its way.
    Literal(PartialLogin, usize),
    /// The line of LOGIN goes on behind a literal.
    Rest(PartialLogin),
    /// The client was asked for its SASL response.
    Response(Tag),
    /// The driver asks the broker.
    Asking(Tag),
    /// Nothing more is read.
    Over,
}

struct Tag(String);

struct PartialLogin {
    tag: Tag,
    arguments: Arguments,
}

/// What a piece of work leads to.
enum Flow {
    /// There may be more to read.
    On,
    /// More bytes are needed.
    Wait,
    /// `say` is written and the connection closed.
    Close,
    StartTls,
    Ask(Login),
}

impl Downstream {
    /// A client that just connected.
    pub fn new(facts: ClientFacts) -> Self {
        Self {
            facts,
            inbox: Inbox::new(),
            state: State::Commands,
            say: Vec::new(),
            asked_capability: false,
            commands: 0,
            refused: 0,
        }
    }

    fn work(&mut self) -> ClientStep {
        loop {
            let flow = match std::mem::replace(&mut self.state, State::Over) {
                State::Commands => self.next_command(),
                State::Literal(login, length) => self.next_literal(login, length),
                State::Rest(login) => self.next_rest(login),
                State::Response(tag) => self.next_response(tag),
                waiting @ (State::Asking(_) | State::Over) => {
                    self.state = waiting;
                    Flow::Wait
                }
            };
            let say = |this: &mut Self| std::mem::take(&mut this.say);
            match flow {
                Flow::On => {}
                Flow::Wait => return ClientStep::Listen { say: say(self) },
                Flow::StartTls => return ClientStep::StartTls { say: say(self) },
                Flow::Ask(login) => return ClientStep::Ask { say: say(self), login },
                Flow::Close => {
                    self.state = State::Over;
                    return ClientStep::Close { say: say(self) };
                }
            }
        }
    }

    fn next_command(&mut self) -> Flow {
        self.state = State::Commands;
        let line = match self.inbox.line(MAX_LINE) {
            Line::Incomplete => return Flow::Wait,
            Line::TooLong => return self.end("Line too long"),
            Line::Dirty => None,
            Line::Clean(line) => Some(line),
        };
        self.commands += 1;
        if self.commands > MAX_COMMANDS {
            return self.end("Too many commands before login");
        }
        let Some(line) = line else {
            return self.answer(reply::bad(None, "Lines end with CR LF and hold no NUL"));
        };
        match command::parse(&line) {
            Some(request) => self.obey(request),
            None => self.answer(reply::bad(None, "Not a command")),
        }
    }

    fn obey(&mut self, request: Request) -> Flow {
        let tag = request.tag;
        match request.command {
            Command::Capability => {
                self.asked_capability = true;
                self.answer(reply::capabilities(&tag, &self.facts))
            }
            Command::Noop => self.answer(reply::ok(&tag, "Nothing done")),
            Command::Id => self.answer(reply::id(&tag)),
            Command::Logout => {
                self.say.extend(reply::logout(&tag));
                Flow::Close
            }
            Command::StartTls => self.start_tls(&tag),
            Command::Login(rest) => {
                let login = PartialLogin { tag: Tag(tag), arguments: Arguments::default() };
                self.login_text(login, &rest)
            }
            Command::Authenticate { mechanism, initial } => self.authenticate(
                Tag(tag),
                &mechanism,
                initial.as_ref().map(|text| text.as_slice()),
            ),
            Command::Unknown { literal_follows: true } => self.end("Literals belong to LOGIN"),
            Command::Unknown { .. } => self
                .answer(reply::bad(Some(&tag), "Unknown here, or wrong arguments; log in first")),
        }
    }

    /// Whatever came behind STARTTLS in clear could be an attacker's; nothing of this connection is worth keeping then.
    fn start_tls(&mut self, tag: &str) -> Flow {
        if self.facts.encrypted || !self.facts.starttls {
            return self.answer(reply::bad(Some(tag), "TLS cannot be started here"));
        }
        if !self.inbox.is_empty() {
            self.say.extend(reply::bad(Some(tag), "Nothing may follow STARTTLS in clear"));
            return Flow::Close;
        }
        self.say.extend(reply::ok(tag, "Begin TLS"));
        Flow::StartTls
    }

    fn refuse(&mut self, tag: &Tag, blame: Blame, text: &str) -> Flow {
        self.say.extend(reply::denied(&tag.0, blame, text));
        self.refused = self.refused.saturating_add(1);
        if self.refused >= self.facts.attempts {
            return self.end("Too many refused logins");
        }
        self.state = State::Commands;
        Flow::On
    }

    fn verdict(&mut self, verdict: Verdict) -> ClientStep {
        let State::Asking(tag) = std::mem::replace(&mut self.state, State::Over) else {
            return ClientStep::Close { say: reply::bye("Out of step") };
        };
        match verdict {
            Verdict::Accepted(ready) => ClientStep::Relay {
                say: reply::accepted(&tag.0, self.asked_capability, &ready),
                unread: self.inbox.rest(),
            },
            Verdict::Denied { blame, text } => match self.refuse(&tag, blame, &text) {
                Flow::Close => ClientStep::Close { say: std::mem::take(&mut self.say) },
                _ => self.work(),
            },
        }
    }

    /// TLS stands: whatever was learned in clear is forgotten (RFC 3501 section 6.2.1).
    fn secured(&mut self) -> ClientStep {
        self.facts.encrypted = true;
        self.asked_capability = false;
        self.state = State::Commands;
        ClientStep::Listen { say: Vec::new() }
    }

    fn answer(&mut self, line: Vec<u8>) -> Flow {
        self.say.extend(line);
        self.state = State::Commands;
        Flow::On
    }

    fn end(&mut self, text: &str) -> Flow {
        self.say.extend(reply::bye(text));
        Flow::Close
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.inbox.held() + self.say.capacity()
    }
}

impl ClientDialogue for Downstream {
    fn advance(&mut self, event: ClientEvent<'_>) -> ClientStep {
        match event {
            ClientEvent::Opened => ClientStep::Listen { say: reply::greeting(&self.facts) },
            ClientEvent::Bytes(bytes) if self.inbox.push(bytes) => self.work(),
            ClientEvent::Bytes(_) => {
                self.state = State::Over;
                ClientStep::Close { say: reply::bye("Too much before login") }
            }
            ClientEvent::Secured => self.secured(),
            ClientEvent::Verdict(verdict) => self.verdict(verdict),
            ClientEvent::TimeUp(why) => {
                self.state = State::Over;
                ClientStep::Close { say: reply::farewell(why) }
            }
        }
    }
}

mod login;
#[cfg(test)]
mod tests;
