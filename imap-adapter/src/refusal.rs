//! What a server's no means for a login: is it the token, the server, or the number of connections?
//!
//! Never blames a token on weak evidence: each renewal costs a call to the provider, and a server that is merely busy must not
//! cause one. Invariant: only NO to AUTHENTICATE can be [`Outcome::Refused`]. Next: `adapter_core::login` renews or gives up.

use adapter_core::dialogue::Outcome;

use crate::response::Text;

/// Codes that tell of the server's state and not of the token (RFC 5530, RFC 9051).
const TEMPORARY: [&str; 4] = ["UNAVAILABLE", "INUSE", "SERVERBUG", "THROTTLED"];

/// NO to AUTHENTICATE.
pub(crate) fn no(text: &Text<'_>) -> Outcome {
    let said = text.printable();
    let code = text.code().and_then(|code| code.split(' ').next()).unwrap_or("");
    if code.eq_ignore_ascii_case("LIMIT") || too_many(&said) {
        Outcome::Limit { said }
    } else if TEMPORARY.iter().any(|known| code.eq_ignore_ascii_case(known)) {
        Outcome::Unavailable { said }
    } else {
        Outcome::Refused { said }
    }
}

/// The server hangs up on us.
pub(crate) fn bye(text: &Text<'_>) -> Outcome {
    let said = format!("BYE {}", text.printable());
    if too_many(&said) { Outcome::Limit { said } } else { Outcome::Unavailable { said } }
}

/// It said OK and then would not do a NOOP (Exchange: "User is authenticated but not connected").
pub(crate) fn not_connected(text: &Text<'_>) -> Outcome {
    Outcome::Unavailable { said: text.printable() }
}

/// Gmail and Dovecot have no code for it: `Too many simultaneous connections`, `Maximum number of connections from user+IP
/// exceeded`.
fn too_many(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    (said.contains("too many") && said.contains("connection"))
        || said.contains("maximum number of connections")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::Response;

    fn after_no(line: &str) -> Outcome {
        match Response::parse(line.as_bytes()) {
            Some(Response::Tagged(_, _, text)) => no(&text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_no_is_blamed_on_the_token_only_if_nothing_else_is_said() {
        let refused = |line| matches!(after_no(line), Outcome::Refused { .. });
        assert!(refused("a NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)"));
        assert!(refused("a NO AUTHENTICATE failed."));
        assert!(!refused("a NO [UNAVAILABLE] Temporary authentication failure"));
        assert!(!refused("a NO [INUSE] Mailbox busy"));
    }

    #[test]
    fn too_many_connections_is_a_limit_whatever_the_code() {
        for line in [
            "a NO [ALERT] Too many simultaneous connections. (Failure)",
            "a NO [LIMIT] Later",
            "a NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded",
        ] {
            assert!(matches!(after_no(line), Outcome::Limit { .. }), "{line}");
        }
    }
}
