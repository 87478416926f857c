//! The provider's side of IMAP, from its greeting to its capabilities after login.
//!
//! Never tells the client what the server says before the login is decided, and never sends a secret before TLS stands
//! where TLS was asked for. Invariant: only the tagged answer to our own command decides, and only after the token was
//! sent. Next: `adapter_core::relay` takes over with [`Ready`], or `adapter_core::login` with the refusal.

use adapter_core::dialogue::{
    Mechanism, Outcome, ProviderDialogue, ProviderEvent, ProviderStep, Ready, Upstream,
};
use adapter_core::sasl;
use zeroize::Zeroizing;

use crate::capability::Capabilities;
use crate::inbox::{Inbox, Line, MAX_LINE};
use crate::refusal;
use crate::response::{Response, Status};

/// Longest AUTHENTICATE line with its response, in bytes: RFC 7162 section 4 recommends servers to take 8192, and some
/// (Dovecot) disconnect beyond it without an answer.
const MAX_INLINE: usize = 8000;
/// Most error challenges answered in one login.
const MAX_CHALLENGES: u8 = 2;

/// A login at a provider.
pub struct UpstreamLogin {
    upstream: Upstream,
    secured: bool,
    inbox: Inbox,
    state: State,
    offered: Option<Capabilities>,
}

enum State {
    Greeting,
    /// `t` was sent to ask for TLS.
    StartTls,
    /// `c` was sent to learn what the server offers before login.
    Offers,
    /// `a` was sent.
    Authenticate(Attempt),
    /// `n` was sent to prove the login.
    Probe,
    /// `p` was sent to learn what the server offers after login.
    Capabilities,
    Over,
}

struct Attempt {
    mechanism: Mechanism,
    /// The response that waits for the server's continuation; `None` once sent.
    unsent: Option<Zeroizing<String>>,
    challenges: u8,
}

enum Flow {
    On,
    Say(Zeroizing<Vec<u8>>),
    StartTls,
    Done(Outcome),
}

impl UpstreamLogin {
    /// A login with this.
    pub fn new(upstream: Upstream) -> Self {
        let inbox = Inbox::new();
        Self { upstream, secured: false, inbox, state: State::Greeting, offered: None }
    }

    fn work(&mut self) -> ProviderStep {
        let mut say = Zeroizing::new(Vec::new());
        loop {
            if matches!(self.state, State::Over) {
                return ProviderStep::Listen { say };
            }
            let line = match self.inbox.line(MAX_LINE) {
                Line::Incomplete => return ProviderStep::Listen { say },
                Line::Clean(line) => line,
                Line::Dirty | Line::TooLong => return self.done(nonsense("an impossible line")),
            };
            match self.read(&line) {
                Flow::On => {}
                Flow::Say(more) => say.extend_from_slice(&more),
                Flow::StartTls => return ProviderStep::StartTls { say: Vec::new() },
                Flow::Done(outcome) => return self.done(outcome),
            }
        }
    }

    fn read(&mut self, line: &[u8]) -> Flow {
        let Some(response) = Response::parse(line) else {
            return Flow::Done(nonsense("a line that is no response"));
        };
        if let Response::Untagged(Status::Bye, text) = &response {
            return Flow::Done(refusal::bye(text));
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Greeting => self.greeted(&response),
            State::StartTls => self.may_start_tls(response),
            State::Offers => self.offers(response),
            State::Authenticate(attempt) => self.authenticating(attempt, response),
            State::Probe => self.probed(response),
            State::Capabilities => self.capabilities(response),
            State::Over => Flow::On,
        }
    }

    fn greeted(&mut self, greeting: &Response<'_>) -> Flow {
        let Response::Untagged(Status::Ok, text) = greeting else {
            // PREAUTH is how an attacker makes a client skip TLS; nobody we log in to has a use for it.
            return Flow::Done(nonsense("no greeting that lets us log in"));
        };
        if self.upstream.starttls && !self.secured {
            self.state = State::StartTls;
            // Behind a greeting nothing may come before we speak: it would be read as the answer.
            return if self.inbox.is_empty() {
                Flow::Say(Zeroizing::new(b"t STARTTLS\r\n".to_vec()))
            } else {
                Flow::Done(nonsense("it talks before its turn"))
            };
        }
        match text.capabilities() {
            Some(list) => self.choose(list),
            None => self.ask_offers(),
        }
    }

    fn may_start_tls(&mut self, response: Response<'_>) -> Flow {
        match response {
            Response::Tagged("t", Status::Ok, _) if self.inbox.is_empty() => Flow::StartTls,
            Response::Tagged("t", Status::Ok, _) => {
                Flow::Done(nonsense("bytes in clear behind STARTTLS"))
            }
            Response::Tagged(..) => Flow::Done(nonsense("STARTTLS refused")),
            _ => {
                self.state = State::StartTls;
                Flow::On
            }
        }
    }

    fn ask_offers(&mut self) -> Flow {
        self.state = State::Offers;
        Flow::Say(Zeroizing::new(b"c CAPABILITY\r\n".to_vec()))
    }

    fn offers(&mut self, response: Response<'_>) -> Flow {
        match response {
            Response::Capability(list) => self.offered = Some(list),
            Response::Tagged("c", Status::Ok, _) => {
                let offered = self.offered.take().unwrap_or_default();
                return self.choose(offered);
            }
            Response::Tagged(..) => return Flow::Done(nonsense("CAPABILITY refused")),
            _ => {}
        }
        self.state = State::Offers;
        Flow::On
    }

    /// Sends AUTHENTICATE with the best mechanism both sides know, and the response along with it where that is safe.
    fn choose(&mut self, offered: Capabilities) -> Flow {
        let wanted = self.upstream.mechanisms.iter().copied();
        let Some(mechanism) = wanted.into_iter().find(|mechanism| offered.offer(*mechanism)) else {
            return Flow::Done(nonsense("it offers no mechanism we may use"));
        };
        let Ok(response) = sasl::client_response(mechanism, &self.upstream) else {
            return Flow::Done(nonsense("the broker's answer holds control bytes"));
        };
        let command = format!("a AUTHENTICATE {}", mechanism.name());
        let inline = self.upstream.initial_response
            && offered.has("SASL-IR")
            && command.len() + 1 + response.len() <= MAX_INLINE;
        let (say, unsent) = if inline {
            (Zeroizing::new(format!("{command} {}\r\n", *response)), None)
        } else {
            (Zeroizing::new(format!("{command}\r\n")), Some(response))
        };
        self.state = State::Authenticate(Attempt { mechanism, unsent, challenges: 0 });
        Flow::Say(Zeroizing::new(say.as_bytes().to_vec()))
    }

    fn authenticating(&mut self, mut attempt: Attempt, response: Response<'_>) -> Flow {
        let say = match response {
            Response::Continuation => match attempt.unsent.take() {
                Some(response) => Zeroizing::new(format!("{}\r\n", *response)),
                None if attempt.challenges < MAX_CHALLENGES => {
                    attempt.challenges += 1;
                    Zeroizing::new(format!("{}\r\n", sasl::failure_answer(attempt.mechanism)))
                }
                None => return Flow::Done(nonsense("it challenges without end")),
            },
            Response::Tagged("a", Status::Ok, _) if attempt.unsent.is_some() => {
                return Flow::Done(nonsense("it lets us in before it saw a token"));
            }
            Response::Tagged("a", Status::Ok, text) => {
                if let Some(list) = text.capabilities() {
                    self.offered = Some(list);
                }
                return self.logged_in();
            }
            Response::Tagged("a", Status::No, text) => return Flow::Done(refusal::no(&text)),
            Response::Tagged(..) => return Flow::Done(nonsense("AUTHENTICATE is BAD")),
            Response::Capability(list) => {
                self.offered = Some(list);
                Zeroizing::default()
            }
            Response::Untagged(..) | Response::Other => Zeroizing::default(),
        };
        self.state = State::Authenticate(attempt);
        Flow::Say(Zeroizing::new(say.as_bytes().to_vec()))
    }

    fn logged_in(&mut self) -> Flow {
        if self.upstream.probe_after_login {
            self.state = State::Probe;
            return Flow::Say(Zeroizing::new(b"n NOOP\r\n".to_vec()));
        }
        self.finish_or_ask()
    }

    fn probed(&mut self, response: Response<'_>) -> Flow {
        match response {
            Response::Tagged("n", Status::Ok, _) => self.finish_or_ask(),
            Response::Tagged(_, _, text) => Flow::Done(refusal::not_connected(&text)),
            _ => {
                self.state = State::Probe;
                Flow::On
            }
        }
    }

    fn finish_or_ask(&mut self) -> Flow {
        if self.offered.is_some() {
            return self.ready();
        }
        self.state = State::Capabilities;
        Flow::Say(Zeroizing::new(b"p CAPABILITY\r\n".to_vec()))
    }

    fn capabilities(&mut self, response: Response<'_>) -> Flow {
        match response {
            Response::Capability(list) => self.offered = Some(list),
            Response::Tagged("p", ..) => return self.ready(),
            Response::Tagged(..) => return Flow::Done(nonsense("an answer nobody asked for")),
            _ => {}
        }
        self.state = State::Capabilities;
        Flow::On
    }

    fn ready(&mut self) -> Flow {
        let capabilities = self.offered.take().unwrap_or_default().into_text();
        Flow::Done(Outcome::Ready(Ready { capabilities, unread: self.inbox.rest() }))
    }

    fn done(&mut self, outcome: Outcome) -> ProviderStep {
        self.state = State::Over;
        ProviderStep::Done(outcome)
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.inbox.held()
    }
}

impl ProviderDialogue for UpstreamLogin {
    fn advance(&mut self, event: ProviderEvent<'_>) -> ProviderStep {
        match event {
            ProviderEvent::Opened => ProviderStep::Listen { say: Zeroizing::default() },
            ProviderEvent::Bytes(bytes) if self.inbox.push(bytes) => self.work(),
            ProviderEvent::Bytes(_) => self.done(nonsense("it talks without end")),
            ProviderEvent::Secured => {
                self.secured = true;
                // What it offered in clear counts for nothing (RFC 3501 section 6.2.1).
                self.offered = None;
                match self.ask_offers() {
                    Flow::Say(say) => ProviderStep::Listen { say },
                    _ => ProviderStep::Listen { say: Zeroizing::default() },
                }
            }
        }
    }
}

fn nonsense(said: &str) -> Outcome {
    Outcome::Unavailable { said: said.to_owned() }
}

#[cfg(test)]
mod tests;
