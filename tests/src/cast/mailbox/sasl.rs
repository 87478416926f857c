//! The words of XOAUTH2 and OAUTHBEARER, both ways.
//!
//! Says and understands login messages and the challenges of a refusal; checks no token. Sources: Google's XOAUTH2
//! description, RFC 7628, RFC 5801 for the escapes. Next: [`super::door`], which checks.

use data_encoding::BASE64;

use super::settings::Mechanism;

/// Longest base64 of a login message (RFC 4954 section 4).
pub const RESPONSE_MAX: usize = 12_288;

/// What a client says to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The mailbox; OAUTHBEARER may leave it to the token.
    pub user: Option<String>,
    /// The bearer token.
    pub token: String,
}

/// The base64 login message for a mailbox and a token.
pub fn response(mechanism: Mechanism, user: &str, token: &str) -> String {
    let message = match mechanism {
        Mechanism::Xoauth2 => format!("user={user}\x01auth=Bearer {token}\x01\x01"),
        Mechanism::Oauthbearer => {
            let user = user.replace('=', "=3D").replace(',', "=2C");
            format!("n,a={user},\x01auth=Bearer {token}\x01\x01")
        }
    };
    BASE64.encode(message.as_bytes())
}

/// Understands a base64 login message.
pub fn understand(mechanism: Mechanism, response: &str) -> Option<Credentials> {
    let message = String::from_utf8(BASE64.decode(response.as_bytes()).ok()?).ok()?;
    let mut parts = message.strip_suffix("\x01\x01")?.split('\x01');
    let first = parts.next()?;
    let user = match mechanism {
        Mechanism::Xoauth2 => Some(first.strip_prefix("user=")?.to_owned()),
        Mechanism::Oauthbearer => gs2_user(first)?,
    };
    let (scheme, token) = parts.find_map(|part| part.strip_prefix("auth="))?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Credentials { user, token: token.to_owned() })
}

/// The base64 challenge that tells a client why its token was refused.
pub fn challenge(mechanism: Mechanism) -> String {
    let reason = match mechanism {
        Mechanism::Xoauth2 => r#"{"status":"400","schemes":"Bearer","scope":"mail"}"#,
        Mechanism::Oauthbearer => r#"{"status":"invalid_token","scope":"mail"}"#,
    };
    BASE64.encode(reason.as_bytes())
}

/// Whether a line is the empty response that a client must answer the challenge with.
pub fn is_dummy(line: &str) -> bool {
    line.is_empty() || line == "AQ=="
}

/// `Some(None)` is a header without a mailbox, `None` one that is not understood.
fn gs2_user(header: &str) -> Option<Option<String>> {
    let name = header.strip_prefix("n,")?.strip_suffix(',')?;
    let name = name.strip_prefix("a=").or(name.is_empty().then_some(""))?;
    let name = name.replace("=2C", ",").replace("=3D", "=");
    Some((!name.is_empty()).then_some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xoauth2_is_what_google_prints() {
        let said = response(Mechanism::Xoauth2, "alice@example.com", "tok-123");
        assert_eq!(said, "dXNlcj1hbGljZUBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB0b2stMTIzAQE=");
    }

    #[test]
    fn what_is_said_is_understood() {
        for mechanism in [Mechanism::Xoauth2, Mechanism::Oauthbearer] {
            let heard =
                understand(mechanism, &response(mechanism, "a,b=c@example.test", "t")).unwrap();
            assert_eq!(heard.user.as_deref(), Some("a,b=c@example.test"));
            assert_eq!(heard.token, "t");
        }
    }

    #[test]
    fn the_rfc_7628_example_is_understood() {
        let example = "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB";
        let heard = understand(Mechanism::Oauthbearer, example).unwrap();
        assert_eq!(heard.user.as_deref(), Some("user@example.com"));
        assert_eq!(heard.token, "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
    }
}
