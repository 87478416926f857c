//! Speaks with the provider's mail server until we are logged in there.
//!
//! Never sends the next command before the last one is answered, and never sends a token inside the AUTH command: RFC
//! 4954 section 4 counts it against 512 bytes, Gmail and Postfix cut or refuse longer ones and call the token bad. So
//! `initial_response` has no meaning here. Invariant: a server that speaks out of turn is not believed, before TLS least
//! of all. Next: the relay; the server has had our EHLO, so MAIL works at once.

use adapter_core::dialogue::{
    Mechanism, Outcome, ProviderDialogue, ProviderEvent, ProviderStep, Ready, Upstream,
};
use adapter_core::sasl;
use zeroize::Zeroizing;

use crate::classify;
use crate::line::{Line, Lines};
use crate::reply::{LINE, Nonsense, Replies, Reply};

/// Bytes a server may send behind its last answer; it has nothing to say there but that it stops (421).
const UNREAD: usize = 8 * 1024;

const OUT_OF_TURN: &str = "the server speaks out of turn";

/// The provider's side of one login.
pub(crate) struct Provider {
    upstream: Upstream,
    state: State,
    lines: Lines,
    replies: Replies,
}

/// Which answer is due.
enum State {
    /// The connection stands or not.
    Unopened,
    /// The 220 the server begins with.
    Greeting,
    /// The answer to EHLO.
    Ehlo(Ehlo),
    /// The 220 that lets us go into TLS.
    TlsGoAhead,
    /// The handshake is running.
    Handshaking,
    /// The 334 to AUTH.
    Challenge(Challenge),
    /// The answer to the token.
    Decision(Decision),
    /// The refusal that follows an answered error challenge.
    Refusal,
    /// The answer to the NOOP that proves the login.
    Probe(Features),
    /// Decided.
    Over,
}

/// EHLO was sent.
struct Ehlo {
    /// Whether STARTTLS is still to be done.
    before_tls: bool,
}

/// AUTH was sent, its response is not.
struct Challenge {
    mechanism: Mechanism,
    response: Zeroizing<String>,
    features: Features,
}

/// The response was sent.
struct Decision {
    mechanism: Mechanism,
    features: Features,
}

/// The EHLO keyword lines, joined by newlines.
struct Features(String);

/// What a reply leads to.
enum Turn {
    /// Say this and expect that.
    Say(Zeroizing<Vec<u8>>, State),
    /// Do the TLS handshake.
    Secure,
    /// Logged in.
    In(Features),
    /// Not logged in.
    Out(Outcome),
}

impl Provider {
    /// A dialogue that logs in with `upstream`.
    pub(crate) fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            state: State::Unopened,
            lines: Lines::default(),
            replies: Replies::default(),
        }
    }

    /// How many bytes are held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.lines.held() + self.replies.held()
    }

    fn read(&mut self, mut input: &[u8]) -> ProviderStep {
        while let Some(line) = self.lines.next(&mut input, |_| LINE) {
            let reply = match read_line(&mut self.replies, &line) {
                Ok(Some(reply)) => reply,
                Ok(None) => continue,
                Err(Nonsense(why)) => return self.done(classify::nonsense(why)),
            };
            return match self.turn(&reply) {
                Turn::In(features) => self.logged_in(features, input),
                Turn::Out(outcome) => self.done(outcome),
                _ if !input.is_empty() => self.done(classify::nonsense(OUT_OF_TURN)),
                Turn::Secure => self.secure(),
                Turn::Say(say, state) => {
                    self.state = state;
                    ProviderStep::Listen { say }
                }
            };
        }
        ProviderStep::Listen { say: Zeroizing::default() }
    }

    fn turn(&mut self, reply: &Reply) -> Turn {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Greeting if reply.code == 220 => {
                let before_tls = self.upstream.starttls;
                Turn::Say(self.ehlo(), State::Ehlo(Ehlo { before_tls }))
            }
            State::Ehlo(ehlo) => ehlo.reply(reply, &self.upstream),
            State::TlsGoAhead if reply.code == 220 => Turn::Secure,
            State::Challenge(challenge) => challenge.reply(reply),
            State::Decision(decision) => decision.reply(reply, &self.upstream),
            State::Refusal if reply.class() == 2 => unfit("the server took back its refusal"),
            State::Refusal => Turn::Out(classify::refusal(reply, &self.upstream)),
            State::Probe(features) if reply.class() == 2 => Turn::In(features),
            _ => Turn::Out(classify::trouble(reply)),
        }
    }

    fn ehlo(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(format!("EHLO {}\r\n", self.upstream.helo_name).into_bytes())
    }

    fn secure(&mut self) -> ProviderStep {
        self.state = State::Handshaking;
        ProviderStep::StartTls { say: Vec::new() }
    }

    fn logged_in(&mut self, features: Features, behind: &[u8]) -> ProviderStep {
        if behind.len() > UNREAD {
            return self.done(classify::nonsense(OUT_OF_TURN));
        }
        self.done(Outcome::Ready(Ready { capabilities: features.0, unread: behind.to_vec() }))
    }

    fn done(&mut self, outcome: Outcome) -> ProviderStep {
        self.state = State::Over;
        self.lines = Lines::default();
        self.replies = Replies::default();
        ProviderStep::Done(outcome)
    }
}

impl ProviderDialogue for Provider {
    fn advance(&mut self, event: ProviderEvent<'_>) -> ProviderStep {
        match (&self.state, event) {
            (State::Unopened, ProviderEvent::Opened) => {
                self.state = State::Greeting;
                ProviderStep::Listen { say: Zeroizing::default() }
            }
            (State::Handshaking, ProviderEvent::Secured) => {
                self.state = State::Ehlo(Ehlo { before_tls: false });
                ProviderStep::Listen { say: self.ehlo() }
            }
            (State::Unopened | State::Handshaking | State::Over, _)
            | (_, ProviderEvent::Opened | ProviderEvent::Secured) => {
                self.done(classify::nonsense(OUT_OF_TURN))
            }
            (_, ProviderEvent::Bytes(bytes)) => self.read(bytes),
        }
    }
}

impl Ehlo {
    fn reply(&self, reply: &Reply, upstream: &Upstream) -> Turn {
        if reply.code != 250 {
            return Turn::Out(classify::trouble(reply));
        }
        let keywords = reply.lines.get(1..).unwrap_or_default();
        if !self.before_tls {
            return authenticate(keywords, upstream);
        }
        if !keywords.iter().any(|line| line.trim().eq_ignore_ascii_case("STARTTLS")) {
            return unfit("the server does not offer STARTTLS");
        }
        Turn::Say(Zeroizing::new(b"STARTTLS\r\n".to_vec()), State::TlsGoAhead)
    }
}

impl Challenge {
    fn reply(self, reply: &Reply) -> Turn {
        if reply.code != 334 {
            return Turn::Out(classify::trouble(reply));
        }
        let mut say = Zeroizing::new(Vec::with_capacity(self.response.len() + 2));
        say.extend_from_slice(self.response.as_bytes());
        say.extend_from_slice(b"\r\n");
        let Self { mechanism, features, .. } = self;
        Turn::Say(say, State::Decision(Decision { mechanism, features }))
    }
}

impl Decision {
    fn reply(self, reply: &Reply, upstream: &Upstream) -> Turn {
        match reply.code {
            235 if upstream.probe_after_login => {
                Turn::Say(Zeroizing::new(b"NOOP\r\n".to_vec()), State::Probe(self.features))
            }
            235 => Turn::In(self.features),
            // An error challenge: the same JSON for a bad token and for too many connections. What counts comes after.
            334 => {
                let answer = format!("{}\r\n", sasl::failure_answer(self.mechanism));
                Turn::Say(Zeroizing::new(answer.into_bytes()), State::Refusal)
            }
            _ => Turn::Out(classify::refusal(reply, upstream)),
        }
    }
}

/// Chooses the best of our mechanisms that the server offers, and names it alone.
fn authenticate(keywords: &[String], upstream: &Upstream) -> Turn {
    let offered =
        |mechanism: &&Mechanism| keywords.iter().any(|line| offers(line, mechanism.name()));
    let Some(mechanism) = upstream.mechanisms.iter().copied().find(|m| offered(&m)) else {
        return unfit("the server offers none of the login mechanisms we may use");
    };
    let Ok(response) = sasl::client_response(mechanism, upstream) else {
        return unfit("the user name or the token holds a control byte, nothing was sent");
    };
    if response.len() > sasl::MAX_LINE {
        return unfit("the token is longer than a SASL line may be, it was not sent");
    }
    let say = Zeroizing::new(format!("AUTH {}\r\n", mechanism.name()).into_bytes());
    let features = Features(keywords.join("\n"));
    Turn::Say(say, State::Challenge(Challenge { mechanism, response, features }))
}

/// Whether an EHLO line offers a mechanism: `AUTH XOAUTH2 PLAIN`, or the old `AUTH=XOAUTH2`.
fn offers(line: &str, mechanism: &str) -> bool {
    let mut words = line.split([' ', '=']);
    words.next().is_some_and(|word| word.eq_ignore_ascii_case("AUTH"))
        && words.any(|word| word.eq_ignore_ascii_case(mechanism))
}

fn read_line(replies: &mut Replies, line: &Line) -> Result<Option<Reply>, Nonsense> {
    match line {
        Line::Whole(text) => replies.line(text),
        Line::TooLong(_) => Err(Nonsense("a reply line is too long")),
        Line::Dirty => Err(Nonsense("NUL, bare CR or bare LF in a reply")),
    }
}

fn unfit(why: &'static str) -> Turn {
    Turn::Out(classify::nonsense(why))
}

#[cfg(test)]
mod tests;
