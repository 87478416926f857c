//! What a mail server means when it does not let us in.
//!
//! Never blames a token for a server's trouble (promise P8): only replies that speak of the account or its credential
//! are a refusal, all else is "try later". Invariant: what is kept of the server's words is printable, short, and
//! does not hold the secret. Next: adapter-core renews the token once when it was refused.

use adapter_core::dialogue::{Outcome, Upstream};

use crate::reply::Reply;

/// How servers say that we have too many connections or log in too often: `421 4.7.0 Too many concurrent SMTP
/// connections`, `432 4.3.2 Concurrent connections limit exceeded`, `454 4.7.0 Too many login attempts`.
const LIMIT_WORDS: [&str; 5] = [
    "too many",
    "concurrent connection",
    "simultaneous connection",
    "connection limit",
    "rate limit",
];

/// Wraps our own sentence about a server that cannot be used.
pub(crate) fn nonsense(why: &str) -> Outcome {
    Outcome::Unavailable { said: why.to_owned() }
}

/// The meaning of a negative reply before the token was shown: it cannot be the token's fault.
pub(crate) fn trouble(reply: &Reply) -> Outcome {
    let said = reply.said();
    if is_limit(reply) { Outcome::Limit { said } } else { Outcome::Unavailable { said } }
}

/// The meaning of a negative reply to the token.
///
/// 535: the credential. 534 and 525: the account may not log in so (Google asks for a web login with 534, RFC 4954; 525
/// is a disabled account, RFC 5248). 538 (encryption required), 530, 504, 500, 555 and the like are between the server
/// and us. All 4xx are temporary. A limit is a limit under any code, since some servers give it 535.
pub(crate) fn refusal(reply: &Reply, upstream: &Upstream) -> Outcome {
    if matches!(reply.code, 525 | 534 | 535) && !is_limit(reply) {
        return Outcome::Refused { said: without_secret(reply.said(), upstream) };
    }
    match trouble(reply) {
        Outcome::Limit { said } => Outcome::Limit { said: without_secret(said, upstream) },
        Outcome::Unavailable { said } => {
            Outcome::Unavailable { said: without_secret(said, upstream) }
        }
        other => other,
    }
}

fn is_limit(reply: &Reply) -> bool {
    let text = reply.lines.join(" ").to_ascii_lowercase();
    LIMIT_WORDS.iter().any(|words| text.contains(words))
}

/// A server may say back what we sent it; `said` goes to the log. `said` is cut, so the start of the secret has to do.
fn without_secret(said: String, upstream: &Upstream) -> String {
    let start: String = upstream.secret.chars().take(12).collect();
    if start.is_empty() || !said.contains(&start) {
        return said;
    }
    let code: String = said.chars().take(3).collect();
    format!("{code} [the server repeated the secret]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cast::upstream;

    fn reply(code: u16, text: &str) -> Reply {
        Reply { code, lines: vec![text.to_owned()] }
    }

    fn word(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Ready(_) => "ready",
            Outcome::Refused { .. } => "refused",
            Outcome::Unavailable { .. } => "unavailable",
            Outcome::Limit { .. } => "limit",
        }
    }

    #[test]
    fn only_words_about_the_account_blame_the_token() {
        for (code, text, meaning) in [
            (535, "5.7.8 Username and Password not accepted.", "refused"),
            (535, "5.7.3 Authentication unsuccessful", "refused"),
            (534, "5.7.9 Please log in via your web browser", "refused"),
            (525, "5.7.13 User account disabled", "refused"),
            (538, "5.7.11 Encryption required", "unavailable"),
            (530, "5.7.57 Client not authenticated", "unavailable"),
            (454, "4.7.0 Temporary authentication failure", "unavailable"),
            (421, "4.3.2 Service not available", "unavailable"),
            (504, "5.5.4 Unrecognized authentication type", "unavailable"),
            (500, "5.5.2 Line too long", "unavailable"),
            (555, "5.5.2 Syntax error, command line too long", "unavailable"),
            (454, "4.7.0 Too many login attempts, please try again later", "limit"),
            (421, "4.7.0 Too many concurrent SMTP connections", "limit"),
            (432, "4.3.2 Concurrent connections limit exceeded", "limit"),
            (535, "5.7.0 Too many simultaneous connections", "limit"),
            (235, "2.7.0 surprise", "unavailable"),
        ] {
            assert_eq!(word(&refusal(&reply(code, text), &upstream())), meaning, "{code} {text}");
        }
    }

    #[test]
    fn before_the_token_is_shown_nothing_is_its_fault() {
        assert_eq!(word(&trouble(&reply(535, "5.7.8 go away"))), "unavailable");
        assert_eq!(word(&trouble(&reply(421, "4.7.0 Too many connections"))), "limit");
    }

    #[test]
    fn a_secret_that_the_server_repeats_does_not_reach_the_log() {
        let upstream = upstream();
        for text in
            [upstream.secret.to_string(), format!("{} {}", "x".repeat(150), &*upstream.secret)]
        {
            let outcome = format!("{:?}", refusal(&reply(535, &text), &upstream));
            assert!(!outcome.contains(&upstream.secret[..12]), "{outcome}");
        }
    }
}
