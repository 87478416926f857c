//! Commands of a client that is not logged in, and their answers.
//!
//! Never asks the broker: AUTH goes to `exchange`. Invariant: a password is not asked for, nor read, where others could
//! read it too. Next: `downstream` carries the turn out.

use adapter_core::dialogue::ClientFacts;

use super::{State, Turn, exchanged};
use crate::command::{self, Command};
use crate::exchange::Exchange;
use crate::line::Line;
use crate::{extension, reply};

/// Between commands.
#[derive(Default)]
pub(super) struct Talking {
    /// Whether EHLO or HELO came, in this TLS state.
    greeted: bool,
}

impl Talking {
    /// After EHLO, or within what only comes after it.
    pub(super) fn greeted() -> Self {
        Self { greeted: true }
    }

    /// Answers one command.
    pub(super) fn line(&self, line: &Line, facts: &ClientFacts) -> Turn {
        let text = match line {
            Line::Whole(text) => text,
            Line::TooLong(start) if command::is_auth(start) => return say(reply::SASL_TOO_LONG),
            Line::TooLong(_) => return say(reply::TOO_LONG),
            Line::Dirty => return say(reply::DIRTY_LINE),
        };
        match command::parse(text) {
            Command::Ehlo => Turn::Go(ehlo(facts), State::Talking(Self::greeted())),
            Command::Helo => Turn::Go(
                reply::naming("250", &facts.server_name, ""),
                State::Talking(Self::greeted()),
            ),
            Command::StartTls if facts.encrypted => say(reply::ALREADY_TLS),
            Command::StartTls if !facts.starttls => say(reply::NO_TLS),
            Command::StartTls => Turn::Secure,
            Command::Auth(mechanism, initial) => match self.auth_refusal(facts) {
                Some(refusal) => say(refusal),
                None => exchanged(Exchange::begin(mechanism, initial)),
            },
            Command::UnknownMechanism => say(reply::UNKNOWN_MECHANISM),
            Command::NeedsLogin => say(login_first(facts)),
            Command::Bdat => Turn::Close(login_first(facts).to_vec()),
            Command::Http => Turn::Close(reply::NOT_HTTP.to_vec()),
            Command::Quit => Turn::Close(reply::BYE.to_vec()),
            Command::Noop | Command::Rset => say(reply::OK),
            Command::Vrfy => say(reply::NO_VERIFYING),
            Command::Help => say(reply::HELP),
            Command::BadParameters => say(reply::BAD_PARAMETERS),
            Command::Unknown => say(reply::UNKNOWN),
        }
    }

    /// Why AUTH is not possible now.
    fn auth_refusal(&self, facts: &ClientFacts) -> Option<&'static [u8]> {
        if !password_is_safe(facts) {
            return Some(tls_first(facts));
        }
        (!self.greeted).then_some(reply::EHLO_FIRST)
    }
}

fn ehlo(facts: &ClientFacts) -> Vec<u8> {
    let mut lines = vec![reply::printable(&facts.server_name, 255)];
    lines.extend(extension::shown(facts));
    reply::several("250", &lines)
}

fn password_is_safe(facts: &ClientFacts) -> bool {
    facts.encrypted || facts.plain_allowed
}

fn login_first(facts: &ClientFacts) -> &'static [u8] {
    if password_is_safe(facts) { reply::LOGIN_FIRST } else { tls_first(facts) }
}

fn tls_first(facts: &ClientFacts) -> &'static [u8] {
    if facts.starttls { reply::TLS_FIRST } else { reply::TLS_PORT }
}

fn say(text: &'static [u8]) -> Turn {
    Turn::Say(text.to_vec())
}
