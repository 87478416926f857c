//! SASL, both ways: what clients show us is decoded, what providers want is encoded.
//!
//! Never speaks a protocol: base64 in, base64 out, no tags and no reply codes. Invariant: nothing that holds a control
//! byte passes in either direction, so a name can neither add a field to XOAUTH2 (`^A`) nor a command to a line (CR, LF).
//! Next: the dialogues of the adapters put these texts on the wire.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::dialogue::{Login, Mechanism, Upstream};

/// Longest base64 line a SASL exchange may hold, in bytes (RFC 4954 section 4 asks for at least 12288).
pub const MAX_LINE: usize = 12_288;
/// Longest login name, in bytes: 64 for the local part, 255 for the domain, one for the `@`.
pub const MAX_NAME: usize = 320;
/// Longest proxy credential, in bytes.
pub const MAX_SECRET: usize = 256;

/// Why a client's login, or the text for a provider, is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// Not base64 as in RFC 4648 section 4, padding included.
    #[error("not base64")]
    NotBase64,
    /// Not `authzid NUL authcid NUL password` (RFC 4616).
    #[error("not a PLAIN response")]
    NotPlain,
    /// The client wants to act for somebody else; there is no such right.
    #[error("the authorization identity differs from the login name")]
    ForeignIdentity,
    /// A name or a secret is empty or longer than it can be.
    #[error("a name or secret of impossible length")]
    Length,
    /// A control byte, or a name that is not UTF-8.
    #[error("a name or secret with a byte that cannot be in it")]
    Byte,
}

impl SaslError {
    /// Whether the client's words are wrong (answer: a syntax error) and not what they say (answer: wrong credential).
    pub fn is_syntax(self) -> bool {
        matches!(self, Self::NotBase64 | Self::NotPlain)
    }
}

/// A text without control bytes: a user name towards a provider.
#[derive(Clone, Copy)]
struct SaslUser<'a>(&'a str);

/// A text without control bytes: an access token or an app password.
#[derive(Clone, Copy)]
struct BearerToken<'a>(&'a str);

impl<'a> SaslUser<'a> {
    fn new(text: &'a str) -> Result<Self, SaslError> {
        without_controls(text).map(Self)
    }

    /// As a gs2 `saslname` (RFC 5801 section 4): `=` and `,` have to be written as codes.
    fn gs2(self) -> String {
        self.0.replace('=', "=3D").replace(',', "=2C")
    }
}

impl<'a> BearerToken<'a> {
    fn new(text: &'a str) -> Result<Self, SaslError> {
        without_controls(text).map(Self)
    }
}

/// Decodes the response of a client that logs in with PLAIN (RFC 4616).
///
/// # Errors
/// Base64, form, lengths and bytes as in [`SaslError`]; an authorization identity has to be empty or the login name.
pub fn decode_plain(response: &[u8]) -> Result<Login, SaslError> {
    let decoded = decode(response)?;
    let mut parts = decoded.split(|byte| *byte == 0);
    let (Some(identity), Some(name), Some(secret), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::NotPlain);
    };
    if !identity.is_empty() && identity != name {
        return Err(SaslError::ForeignIdentity);
    }
    login(name, secret)
}

/// Decodes one answer of a client that logs in with the mechanism LOGIN: the name, or the password.
///
/// # Errors
/// [`SaslError::NotBase64`]; the bytes themselves are checked by [`login`].
pub fn decode(response: &[u8]) -> Result<Zeroizing<Vec<u8>>, SaslError> {
    let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(response.len())]);
    let length = STANDARD.decode_slice(response, &mut decoded).map_err(|_| SaslError::NotBase64)?;
    decoded.truncate(length);
    Ok(decoded)
}

/// Makes a login of a name and a secret, however they came.
///
/// # Errors
/// [`SaslError::Length`] and [`SaslError::Byte`].
pub fn login(name: &[u8], secret: &[u8]) -> Result<Login, SaslError> {
    if name.is_empty() || name.len() > MAX_NAME || secret.is_empty() || secret.len() > MAX_SECRET {
        return Err(SaslError::Length);
    }
    Ok(Login {
        name: checked_text(name)?.to_owned(),
        secret: Zeroizing::new(checked_text(secret)?.to_owned()),
    })
}

/// What logs in at a provider: the base64 text of the (initial) client response.
///
/// # Errors
/// [`SaslError::Byte`] if the user, the secret or the host holds a control byte: nothing of it may be sent.
pub fn client_response(
    mechanism: Mechanism,
    upstream: &Upstream,
) -> Result<Zeroizing<String>, SaslError> {
    let user = SaslUser::new(&upstream.user)?;
    let token = BearerToken::new(&upstream.secret)?;
    let host = without_controls(&upstream.host)?;
    let plain = Zeroizing::new(match mechanism {
        Mechanism::XOauth2 => format!("user={}\x01auth=Bearer {}\x01\x01", user.0, token.0),
        Mechanism::OAuthBearer => format!(
            "n,a={},\x01host={host}\x01port={}\x01auth=Bearer {}\x01\x01",
            user.gs2(),
            upstream.port,
            token.0
        ),
        Mechanism::Plain => format!("\0{}\0{}", user.0, token.0),
    });
    Ok(Zeroizing::new(STANDARD.encode(plain.as_bytes())))
}

/// What a provider has to be told after its error challenge, before it says no: XOAUTH2 wants an empty line, OAUTHBEARER
/// one `^A` (RFC 7628 section 3.2.3); PLAIN knows no challenge, so it is cancelled.
pub fn failure_answer(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::XOauth2 => "",
        Mechanism::OAuthBearer => "AQ==",
        Mechanism::Plain => "*",
    }
}

impl Mechanism {
    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::XOauth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::Plain => "PLAIN",
        }
    }
}

fn checked_text(bytes: &[u8]) -> Result<&str, SaslError> {
    std::str::from_utf8(bytes).map_err(|_| SaslError::Byte).and_then(without_controls)
}

fn without_controls(text: &str) -> Result<&str, SaslError> {
    if text.bytes().any(|byte| byte.is_ascii_control()) { Err(SaslError::Byte) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn upstream(user: &str, secret: &str) -> Upstream {
        Upstream {
            host: "imap.example.com".to_owned(),
            port: 993,
            starttls: false,
            helo_name: "[127.0.0.1]".to_owned(),
            user: user.to_owned(),
            secret: Zeroizing::new(secret.to_owned()),
            mechanisms: vec![],
            initial_response: true,
            probe_after_login: false,
        }
    }

    fn sent(mechanism: Mechanism, user: &str, secret: &str) -> String {
        client_response(mechanism, &upstream(user, secret)).unwrap().to_string()
    }

    #[test]
    fn xoauth2_is_written_as_google_and_microsoft_publish_it() {
        assert_eq!(
            sent(Mechanism::XOauth2, "alice@example.com", "tok-123"),
            "dXNlcj1hbGljZUBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB0b2stMTIzAQE="
        );
        assert_eq!(
            sent(
                Mechanism::XOauth2,
                "someuser@example.com",
                "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
            ),
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJo\
             ZG1semRHRXVZMjl0Q2cBAQ=="
        );
    }

    #[test]
    fn oauthbearer_names_host_and_port() {
        assert_eq!(
            sent(Mechanism::OAuthBearer, "alice@example.com", "tok-123"),
            "bixhPWFsaWNlQGV4YW1wbGUuY29tLAFob3N0PWltYXAuZXhhbXBsZS5jb20BcG9ydD05OTMBYXV0aD1CZWFyZXIgdG9r\
             LTEyMwEB"
        );
        let mut rfc = upstream("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        rfc.host = "server.example.com".to_owned();
        rfc.port = 143;
        assert_eq!(
            client_response(Mechanism::OAuthBearer, &rfc).unwrap().as_str(),
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZG\
             OWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
        );
    }

    #[test]
    fn a_comma_in_a_user_name_does_not_end_the_gs2_header() {
        let response = sent(Mechanism::OAuthBearer, "a=b,c@example.com", "t");
        let decoded = STANDARD.decode(response).unwrap();
        assert!(decoded.starts_with(b"n,a=a=3Db=2Cc@example.com,\x01host="));
    }

    #[test]
    fn plain_is_written_without_an_authorization_identity() {
        assert_eq!(
            sent(Mechanism::Plain, "alice@example.com", "pw-1"),
            "AGFsaWNlQGV4YW1wbGUuY29tAHB3LTE="
        );
    }

    #[test]
    fn a_plain_response_is_read_with_and_without_the_same_identity() {
        let login = decode_plain(b"AGFsaWNlQGV4YW1wbGUuY29tAHB3LTE=").unwrap();
        assert_eq!((login.name.as_str(), login.secret.as_str()), ("alice@example.com", "pw-1"));
        let twice = STANDARD.encode(b"bob\0bob\0pw");
        assert_eq!(decode_plain(twice.as_bytes()).unwrap().name, "bob");
        let foreign = STANDARD.encode(b"root\0bob\0pw");
        assert_eq!(decode_plain(foreign.as_bytes()), Err(SaslError::ForeignIdentity));
    }

    #[test]
    fn malformed_plain_responses_are_syntax_errors() {
        for wrong in ["", "?", "AGFsaWNl", "AAAAAA==", "AGEAYgBj"] {
            assert!(decode_plain(wrong.as_bytes()).unwrap_err().is_syntax(), "{wrong:?}");
        }
    }

    #[test]
    fn t14_control_bytes_pass_in_neither_direction() {
        for byte in (0u8..0x20).chain([0x7f]) {
            let text = format!("a{}b", char::from(byte));
            assert_eq!(login(text.as_bytes(), b"s"), Err(SaslError::Byte));
            assert_eq!(login(b"n", text.as_bytes()), Err(SaslError::Byte));
            for mechanism in [Mechanism::XOauth2, Mechanism::OAuthBearer, Mechanism::Plain] {
                assert!(client_response(mechanism, &upstream(&text, "t")).is_err());
                assert!(client_response(mechanism, &upstream("u", &text)).is_err());
            }
        }
    }

    #[test]
    fn t14_without_the_check_a_name_could_add_a_field() {
        let evil = "a\x01auth=Bearer stolen\x01\x01";
        let unguarded = format!("user={evil}\x01auth=Bearer mine\x01\x01");
        let first = unguarded.split('\x01').find(|field| field.starts_with("auth=")).unwrap();
        assert_eq!(first, "auth=Bearer stolen");
        assert!(client_response(Mechanism::XOauth2, &upstream(evil, "mine")).is_err());
    }

    proptest! {
        #[test]
        fn t14_xoauth2_decodes_to_exactly_two_fields(user in "\\PC{1,64}", token in "[!-~]{1,200}") {
            prop_assume!(!user.bytes().any(|byte| byte.is_ascii_control()));
            let decoded = STANDARD.decode(sent(Mechanism::XOauth2, &user, &token)).unwrap();
            let fields: Vec<_> = decoded.split(|byte| *byte == 1).collect();
            prop_assert_eq!(fields.len(), 4);
            let (first, second) = (format!("user={user}"), format!("auth=Bearer {token}"));
            prop_assert_eq!(fields[0], first.as_bytes());
            prop_assert_eq!(fields[1], second.as_bytes());
            prop_assert!(fields[2].is_empty() && fields[3].is_empty());
        }

        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode_plain(&bytes);
            let _ = decode_plain(STANDARD.encode(&bytes).as_bytes());
        }
    }
}
