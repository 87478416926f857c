//! How a client shows its login: LOGIN in all its forms, AUTHENTICATE PLAIN in both.
//!
//! Never asks for a password that must not come without TLS. Invariant: every form ends in `show`, which alone
//! hands a login to the broker. Next: back to `downstream`.

use adapter_core::dialogue::{Blame, Login};
use adapter_core::sasl::{self, SaslError};

use super::{Downstream, Flow, PartialLogin, State, Tag};
use crate::capability::may_log_in;
use crate::inbox::{Line, MAX_LINE};
use crate::literal::{Announced, MAX_LITERAL, Progress};
use crate::reply;

impl Downstream {
    pub(super) fn login_text(&mut self, mut login: PartialLogin, text: &[u8]) -> Flow {
        match login.arguments.text(text) {
            Progress::Complete => {
                let (name, secret) = login.arguments.name_and_secret();
                self.show(login.tag, sasl::login(name, secret))
            }
            Progress::Malformed(why) => self.answer(reply::bad(Some(&login.tag.0), why)),
            Progress::Literal(announced) => self.expect_literal(login, announced),
        }
    }

    fn expect_literal(&mut self, login: PartialLogin, announced: Announced) -> Flow {
        let allowed = may_log_in(&self.facts);
        match announced {
            Announced { length, waits: true } if length > MAX_LITERAL => {
                self.answer(reply::bad(Some(&login.tag.0), "[TOOBIG] No literal of that length"))
            }
            Announced { length, .. } if length > MAX_LITERAL => self.end("Literal too long"),
            Announced { waits: true, .. } if !allowed => {
                self.answer(reply::privacy_required(&login.tag.0))
            }
            Announced { length, waits } => {
                if waits {
                    self.say.extend(reply::send_literal());
                }
                self.state = State::Literal(login, length);
                Flow::On
            }
        }
    }

    pub(super) fn next_literal(&mut self, mut login: PartialLogin, length: usize) -> Flow {
        let Some(bytes) = self.inbox.exactly(length) else {
            self.state = State::Literal(login, length);
            return Flow::Wait;
        };
        login.arguments.literal(bytes);
        self.state = State::Rest(login);
        Flow::On
    }

    pub(super) fn next_rest(&mut self, login: PartialLogin) -> Flow {
        match self.inbox.line(MAX_LINE) {
            Line::Clean(text) => {
                self.state = State::Commands;
                self.login_text(login, &text)
            }
            Line::Dirty => {
                self.answer(reply::bad(Some(&login.tag.0), "Lines end with CR LF and hold no NUL"))
            }
            Line::TooLong => self.end("Line too long"),
            Line::Incomplete => {
                self.state = State::Rest(login);
                Flow::Wait
            }
        }
    }

    pub(super) fn authenticate(
        &mut self,
        tag: Tag,
        mechanism: &str,
        initial: Option<&[u8]>,
    ) -> Flow {
        if !may_log_in(&self.facts) {
            return self.answer(reply::privacy_required(&tag.0));
        }
        if mechanism != "PLAIN" {
            return self.answer(reply::no_such_mechanism(&tag.0));
        }
        match initial {
            Some(b"=") => self.show(tag, sasl::decode_plain(b"")),
            Some(response) => self.show(tag, sasl::decode_plain(response)),
            None => {
                self.say.extend(reply::send_response());
                self.state = State::Response(tag);
                Flow::On
            }
        }
    }

    pub(super) fn next_response(&mut self, tag: Tag) -> Flow {
        match self.inbox.line(sasl::MAX_LINE) {
            Line::Clean(response) if response.as_slice() == b"*" => {
                self.answer(reply::bad(Some(&tag.0), "Cancelled"))
            }
            Line::Clean(response) => self.show(tag, sasl::decode_plain(&response)),
            Line::Dirty => self.show(tag, Err(SaslError::NotBase64)),
            Line::TooLong => self.end("Line too long"),
            Line::Incomplete => {
                self.state = State::Response(tag);
                Flow::Wait
            }
        }
    }

    /// Shows a login to the broker, or refuses one that cannot be right.
    pub(super) fn show(&mut self, tag: Tag, login: Result<Login, SaslError>) -> Flow {
        match login {
            Err(error) if error.is_syntax() => {
                self.answer(reply::bad(Some(&tag.0), "Not a PLAIN response in base64"))
            }
            _ if !may_log_in(&self.facts) => self.answer(reply::privacy_required(&tag.0)),
            Err(_) => self.refuse(&tag, Blame::BadCredential, ""),
            Ok(login) => {
                self.state = State::Asking(tag);
                Flow::Ask(login)
            }
        }
    }
}
