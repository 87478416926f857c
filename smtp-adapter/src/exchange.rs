//! One SASL exchange with a mail client: from the AUTH command to a login.
//!
//! Never asks the broker and never keeps a response: it is decoded and wiped. Invariant: an exchange ends after at most
//! two answers of the client, whatever they are. Next: `downstream` asks about the [`Login`] and says the replies.

use adapter_core::dialogue::Login;
use adapter_core::sasl::{self, SaslError};
use zeroize::Zeroizing;

use crate::command::{Initial, Mechanism};
use crate::line::Line;
use crate::reply;

/// `User Name` and `Password` in base64 would do as well, but these two are what clients look for.
const ASK_NAME: &[u8] = b"334 VXNlcm5hbWU6\r\n";
const ASK_SECRET: &[u8] = b"334 UGFzc3dvcmQ6\r\n";

/// The empty challenge; RFC 4954 section 4 wants the space.
const ASK_RESPONSE: &[u8] = b"334 \r\n";

/// What the client has to answer next.
pub(crate) enum Exchange {
    /// The PLAIN response.
    Plain,
    /// The user name of LOGIN.
    Name,
    /// The password of LOGIN.
    Secret(Secret),
}

/// A LOGIN of which only the password is missing.
pub(crate) struct Secret {
    name: Zeroizing<Vec<u8>>,
}

/// Where an exchange stands after an answer.
pub(crate) enum Progress {
    /// Say this challenge and wait for an answer.
    Challenge(&'static [u8], Exchange),
    /// The client has shown everything.
    Login(Login),
    /// The exchange is over with this reply; the client may start another.
    Failed(&'static [u8]),
    /// What was shown can be no login of ours: to be answered like a wrong credential.
    Wrong,
}

impl Exchange {
    /// Begins with the AUTH command.
    pub(crate) fn begin(mechanism: Mechanism, initial: Option<Initial>) -> Progress {
        match (mechanism, initial) {
            (Mechanism::Plain, None) => Progress::Challenge(ASK_RESPONSE, Self::Plain),
            (Mechanism::Plain, Some(Initial(response))) => plain(&response),
            (Mechanism::Login, None) => Progress::Challenge(ASK_NAME, Self::Name),
            (Mechanism::Login, Some(Initial(response))) => name(&response),
        }
    }

    /// Takes the client's next line.
    pub(crate) fn answer(self, line: &Line) -> Progress {
        let text = match line {
            Line::Whole(text) => text,
            Line::TooLong(_) => return Progress::Failed(reply::SASL_TOO_LONG),
            Line::Dirty => return Progress::Failed(reply::DIRTY_LINE),
        };
        if text.as_slice() == b"*" {
            return Progress::Failed(reply::CANCELLED);
        }
        match self {
            Self::Plain => plain(text),
            Self::Name => name(text),
            Self::Secret(known) => known.secret(text),
        }
    }
}

impl Secret {
    fn secret(self, text: &[u8]) -> Progress {
        progress(sasl::decode(text).and_then(|secret| sasl::login(&self.name, &secret)))
    }
}

fn plain(response: &[u8]) -> Progress {
    progress(sasl::decode_plain(response))
}

fn name(response: &[u8]) -> Progress {
    match sasl::decode(response) {
        Ok(name) if name.len() > sasl::MAX_NAME => Progress::Wrong,
        Ok(name) => Progress::Challenge(ASK_SECRET, Exchange::Secret(Secret { name })),
        Err(_) => Progress::Failed(reply::NOT_BASE64),
    }
}

fn progress(login: Result<Login, SaslError>) -> Progress {
    match login {
        Ok(login) => Progress::Login(login),
        Err(error) if error.is_syntax() => Progress::Failed(reply::NOT_BASE64),
        Err(_) => Progress::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn initial(text: &str) -> Option<Initial> {
        Some(Initial(Zeroizing::new(text.as_bytes().to_vec())))
    }

    fn line(text: &str) -> Line {
        Line::Whole(Zeroizing::new(text.as_bytes().to_vec()))
    }

    /// Feeds all answers; the login as `name/secret`, or the reply.
    fn outcome(mut progress: Progress, answers: &[&str]) -> String {
        for answer in answers {
            let Progress::Challenge(_, exchange) = progress else { panic!("no challenge") };
            progress = exchange.answer(&line(answer));
        }
        match progress {
            Progress::Challenge(text, _) => String::from_utf8_lossy(text).trim_end().to_owned(),
            Progress::Login(login) => format!("{}/{}", login.name, login.secret.as_str()),
            Progress::Failed(text) => String::from_utf8_lossy(&text[..9]).into_owned(),
            Progress::Wrong => "wrong".to_owned(),
        }
    }

    const PLAIN: &str = "AGFsaWNlQGV4YW1wbGUuY29tAHB3LTE=";
    const NAME: &str = "YWxpY2VAZXhhbXBsZS5jb20=";
    const SECRET: &str = "cHctMQ==";

    #[test]
    fn all_forms_of_auth_show_the_same_login() {
        let alice = "alice@example.com/pw-1";
        let begin = Exchange::begin;
        assert_eq!(outcome(begin(Mechanism::Plain, initial(PLAIN)), &[]), alice);
        assert_eq!(outcome(begin(Mechanism::Plain, None), &[PLAIN]), alice);
        assert_eq!(outcome(begin(Mechanism::Login, None), &[NAME, SECRET]), alice);
        assert_eq!(outcome(begin(Mechanism::Login, initial(NAME)), &[SECRET]), alice);
    }

    #[test]
    fn the_challenges_are_those_clients_look_for() {
        assert_eq!(outcome(Exchange::begin(Mechanism::Login, None), &[]), "334 VXNlcm5hbWU6");
        assert_eq!(outcome(Exchange::begin(Mechanism::Login, None), &[NAME]), "334 UGFzc3dvcmQ6");
        let Progress::Challenge(text, _) = Exchange::begin(Mechanism::Plain, None) else {
            panic!()
        };
        assert_eq!(text, b"334 \r\n");
    }

    #[test]
    fn a_star_cancels_at_every_answer() {
        assert_eq!(outcome(Exchange::begin(Mechanism::Plain, None), &["*"]), "501 5.7.0");
        assert_eq!(outcome(Exchange::begin(Mechanism::Login, None), &["*"]), "501 5.7.0");
        assert_eq!(outcome(Exchange::begin(Mechanism::Login, None), &[NAME, "*"]), "501 5.7.0");
    }

    #[test]
    fn what_is_not_base64_is_a_syntax_error() {
        assert_eq!(outcome(Exchange::begin(Mechanism::Plain, initial("???")), &[]), "501 5.5.2");
        assert_eq!(outcome(Exchange::begin(Mechanism::Plain, initial("")), &[]), "501 5.5.2");
        assert_eq!(outcome(Exchange::begin(Mechanism::Login, None), &["a b"]), "501 5.5.2");
        assert_eq!(outcome(Exchange::begin(Mechanism::Login, None), &[NAME, "%"]), "501 5.5.2");
    }

    #[test]
    fn what_can_be_no_login_of_ours_is_a_wrong_credential_not_a_syntax_error() {
        let foreign = STANDARD.encode("bob\0alice\0pw");
        let long = STANDARD.encode("x".repeat(400));
        let control = STANDARD.encode("alice\x01auth=Bearer stolen");
        assert_eq!(outcome(Exchange::begin(Mechanism::Plain, initial(&foreign)), &[]), "wrong");
        assert_eq!(outcome(Exchange::begin(Mechanism::Login, None), &[&long]), "wrong");
        assert_eq!(outcome(Exchange::begin(Mechanism::Login, None), &[NAME, &long]), "wrong");
        assert_eq!(outcome(Exchange::begin(Mechanism::Login, None), &[&control, SECRET]), "wrong");
        assert_eq!(outcome(Exchange::begin(Mechanism::Login, initial("")), &[SECRET]), "wrong");
    }

    #[test]
    fn an_answer_over_the_limit_ends_the_exchange() {
        let Progress::Challenge(_, exchange) = Exchange::begin(Mechanism::Plain, None) else {
            panic!()
        };
        let Progress::Failed(text) = exchange.answer(&Line::TooLong(Zeroizing::default())) else {
            panic!()
        };
        assert!(text.starts_with(b"500 5.5.6"));
    }
}
