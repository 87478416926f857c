//! What a caller may show instead of an API key: a client certificate, or a token of an issuer that the operator trusts.
//!
//! Never verifies one: what stands in [`CertificateNames`] and [`Vouched`] was verified by the door and by `providers`.
//! Invariant: names are compared exactly, a pattern matches whole segments only, and all of them are covered by the keyed
//! hash of their caller. Next: `callers.rs` of the broker looks a caller up by [`CallerIdentity::lookup`].

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::guarded::Canonical;

/// The longest name, issuer, subject and claim.
const LONGEST: usize = 512;

/// One thing that a caller is known by.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallerIdentity {
    /// A DNS name in a certificate, lower case.
    CertificateDns(String),
    /// A URI in a certificate, such as a SPIFFE id.
    CertificateUri(String),
    /// A token that says this.
    Token(TokenRule),
}

/// Which tokens of an issuer are a caller's.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRule {
    /// The issuer, as the configuration names it.
    pub issuer: String,
    /// `sub`, exactly or with `*` for whole segments.
    pub subject: String,
    /// Further claims, exactly. A name that begins with `/` is a JSON pointer (RFC 6901).
    #[serde(default)]
    pub claims: BTreeMap<String, String>,
}

/// The names in a client certificate that was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// DNS names, lower case.
    pub dns: Vec<String>,
    /// URIs, as they stand there.
    pub uris: Vec<String>,
}

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Who says it.
    pub issuer: String,
    /// Of whom.
    pub subject: String,
    /// And what else.
    pub claims: Map<String, Value>,
}

/// What is wrong with an identity that somebody wants to give a caller. Says what belongs there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadIdentity(pub String);

fn bad(text: &str, remedy: &str) -> BadIdentity {
    let shown: String = text.chars().take(80).collect();
    BadIdentity(format!("{shown:?}: {remedy}"))
}

impl CallerIdentity {
    /// A DNS name.
    ///
    /// # Errors
    /// It is none, or has a wildcard in it.
    pub fn dns(text: &str) -> Result<Self, BadIdentity> {
        let label = |label: &str| {
            let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            (1..=63).contains(&label.len())
                && inner
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            return Ok(Self::CertificateDns(text.to_ascii_lowercase()));
        }
        let remedy = "use a host name such as crm.example.com, without wildcards; certificates are compared exactly";
        Err(bad(text, remedy))
    }

    /// A URI.
    ///
    /// # Errors
    /// It has no scheme, is too long, holds a blank or wildcard, or is no SPIFFE id though it says so.
    pub fn uri(text: &str) -> Result<Self, BadIdentity> {
        let plain = text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic());
        let scheme = text.split_once(':').map(|(scheme, rest)| (scheme, rest.len()));
        let has_scheme = scheme.is_some_and(|(scheme, rest)| {
            let word = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
            rest > 0 && word && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        });
        if !plain || !has_scheme || text.contains('*') {
            let remedy = "use a URI such as spiffe://example.org/crm, without wildcards; certificates are compared exactly";
            return Err(bad(text, remedy));
        }
        if is_spiffe(text) && !is_spiffe_id(text) {
            let remedy = "a SPIFFE id is spiffe://trust-domain/path, in lower case up to the path, without port, query \
                          and fragment, and no / at the end";
            return Err(bad(text, remedy));
        }
        Ok(Self::CertificateUri(text.to_owned()))
    }

    /// A rule for tokens.
    ///
    /// # Errors
    /// The subject or a claim is not what it has to be.
    pub fn token(rule: TokenRule) -> Result<Self, BadIdentity> {
        check_subject(&rule.subject)?;
        if rule.claims.len() > 16 {
            return Err(BadIdentity("use at most 16 claims".to_owned()));
        }
        for (name, value) in &rule.claims {
            let sane = |text: &str| {
                (1..=LONGEST).contains(&text.len()) && !text.chars().any(char::is_control)
            };
            if !sane(name) || !sane(value) {
                let remedy = "claims have a name and an exact value, 1 to 512 bytes each";
                return Err(bad(name, remedy));
            }
            if matches!(name.as_str(), "sub" | "iss" | "aud" | "exp" | "nbf" | "iat") {
                let remedy = "this claim is checked anyway: say the issuer and the subject in their own fields";
                return Err(bad(name, remedy));
            }
            if value.contains('*') {
                return Err(bad(value, "a claim is compared exactly; only a subject may have *"));
            }
        }
        Ok(Self::Token(rule))
    }

    /// Under which text the caller is found who has it. Proves nothing.
    pub fn lookup(&self) -> String {
        match self {
            Self::CertificateDns(name) => format!("dns\n{name}"),
            Self::CertificateUri(uri) => format!("uri\n{uri}"),
            Self::Token(rule) if rule.subject.contains('*') => pattern_lookup(&rule.issuer),
            Self::Token(rule) => subject_lookup(&rule.issuer, &rule.subject),
        }
    }

    /// Whether nobody else may have it: a certificate's name leads to one caller.
    pub const fn is_exclusive(&self) -> bool {
        matches!(self, Self::CertificateDns(_) | Self::CertificateUri(_))
    }

    pub(super) fn is_among(&self, names: &CertificateNames) -> bool {
        match self {
            Self::CertificateDns(name) => names.dns.contains(name),
            Self::CertificateUri(uri) => names.uris.contains(uri),
            Self::Token(_) => false,
        }
    }

    pub(super) fn fits(&self, vouched: &Vouched) -> bool {
        let Self::Token(rule) = self else { return false };
        rule.issuer == vouched.issuer
            && subject_fits(&rule.subject, &vouched.subject)
            && rule.claims.iter().all(|(name, value)| vouched.says(name, value))
    }

    /// Adds it to the canonical form of its caller.
    pub(super) fn columns(&self, row: Canonical) -> Canonical {
        match self {
            Self::CertificateDns(name) => row.text("certificate_dns", name.as_str()),
            Self::CertificateUri(uri) => row.text("certificate_uri", uri.as_str()),
            Self::Token(TokenRule { issuer, subject, claims }) => {
                let pairs = claims.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
                row.text("token_issuer", issuer.as_str())
                    .text("token_subject", subject.as_str())
                    .list("token_claims", pairs)
            }
        }
    }
}

impl std::fmt::Display for CallerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CertificateDns(name) | Self::CertificateUri(name) => write!(f, "{name:?}"),
            Self::Token(rule) => write!(f, "{:?} of {}", rule.subject, rule.issuer),
        }
    }
}

impl CertificateNames {
    /// Where callers with one of these names are found. At most 32: a certificate with more names is nobody's.
    pub fn lookups(&self) -> Vec<String> {
        if self.dns.len() + self.uris.len() > 32 {
            return Vec::new();
        }
        let dns = self.dns.iter().map(|name| format!("dns\n{name}"));
        dns.chain(self.uris.iter().map(|uri| format!("uri\n{uri}"))).collect()
    }

    /// Whether these names can be believed: a certificate with a SPIFFE id has no other URI (X.509-SVID section 2).
    pub fn are_plain(&self) -> bool {
        !self.uris.iter().any(|uri| is_spiffe(uri)) || self.uris.len() == 1
    }
}

impl Vouched {
    /// Where callers with rules for such a token are found.
    pub fn lookups(&self) -> Vec<String> {
        vec![subject_lookup(&self.issuer, &self.subject), pattern_lookup(&self.issuer)]
    }

    fn says(&self, name: &str, expected: &str) -> bool {
        let found = match name.strip_prefix('/') {
            None => self.claims.get(name),
            Some(path) => {
                let mut steps =
                    path.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
                let first = steps.next().and_then(|step| self.claims.get(&step));
                first.and_then(|first| {
                    steps.try_fold(first, |value, step| value.as_object()?.get(&step))
                })
            }
        };
        match found {
            Some(Value::String(text)) => text == expected,
            Some(Value::Bool(truth)) => truth.to_string() == expected,
            Some(Value::Number(number)) => number.to_string() == expected,
            _ => false,
        }
    }
}

fn subject_lookup(issuer: &str, subject: &str) -> String {
    format!("sub\n{issuer}\n{subject}")
}

fn pattern_lookup(issuer: &str) -> String {
    format!("sub*\n{issuer}")
}

fn is_spiffe(uri: &str) -> bool {
    uri.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("spiffe:"))
}

fn is_spiffe_id(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("spiffe://") else { return false };
    let (domain, path) = rest.split_once('/').unwrap_or((rest, "x"));
    let in_domain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    let in_path = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let step = |step: &str| !matches!(step, "" | "." | "..") && step.bytes().all(in_path);
    !domain.is_empty() && domain.bytes().all(in_domain) && path.split('/').all(step)
}

const BORDERS: [char; 2] = [':', '/'];

fn check_subject(subject: &str) -> Result<(), BadIdentity> {
    let sane = (1..=LONGEST).contains(&subject.len()) && !subject.chars().any(char::is_control);
    if !sane {
        return Err(bad(subject, "a subject has 1 to 512 bytes and no control characters"));
    }
    let mut segments = subject.split(BORDERS);
    if segments.next().is_some_and(|first| first.contains('*')) {
        let remedy =
            "begin the subject with a segment that is exact: * alone is everybody the issuer knows";
        return Err(bad(subject, remedy));
    }
    if segments.any(|segment| segment.contains('*') && segment != "*") {
        let remedy =
            "* stands for a whole segment between : and /, such as system:serviceaccount:mail:*";
        return Err(bad(subject, remedy));
    }
    Ok(())
}

/// Whether a subject is the one meant. A `*` between borders is one segment that is not empty; at the end it is all that
/// follows, which is not empty either.
fn subject_fits(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern, subject);
    loop {
        let Some(at) = pattern.find('*') else { return pattern == subject };
        let Some(rest) = subject.strip_prefix(&pattern[..at]) else { return false };
        pattern = &pattern[at + 1..];
        if pattern.is_empty() {
            return !rest.is_empty();
        }
        let end = rest.find(BORDERS).unwrap_or(rest.len());
        if end == 0 {
            return false;
        }
        subject = &rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://issuer.test";

    fn vouched(subject: &str, claims: Value) -> Vouched {
        let claims = claims.as_object().cloned().unwrap_or_default();
        Vouched { issuer: ISSUER.into(), subject: subject.into(), claims }
    }

    fn rule(subject: &str, claims: &[(&str, &str)]) -> Result<CallerIdentity, BadIdentity> {
        let claims = claims.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        CallerIdentity::token(TokenRule {
            issuer: ISSUER.into(),
            subject: subject.into(),
            claims: claims.collect(),
        })
    }

    #[test]
    fn a_star_is_a_whole_segment_or_all_that_follows() {
        for (pattern, yes, no) in [
            (
                "system:serviceaccount:mail:crm",
                &["system:serviceaccount:mail:crm"][..],
                &[
                    "system:serviceaccount:mail:crm2",
                    "system:serviceaccount:mail:cr",
                    "system:serviceaccount:mail:*",
                ][..],
            ),
            (
                "system:serviceaccount:mail:*",
                &["system:serviceaccount:mail:crm"][..],
                &["system:serviceaccount:mail:", "system:serviceaccount:mail-evil:crm"][..],
            ),
            (
                "repo:acme/*:ref:refs/heads/main",
                &["repo:acme/app:ref:refs/heads/main"][..],
                &[
                    "repo:acme/:ref:refs/heads/main",
                    "repo:acme/app/x:ref:refs/heads/main",
                    "repo:acme/app:ref:refs/heads/main2",
                    "repo:acme/app:evil:ref:refs/heads/main",
                ][..],
            ),
            ("repo:acme/*", &["repo:acme/app:ref:x"][..], &["repo:acme-evil/app", "repo:acme"][..]),
        ] {
            let identity = rule(pattern, &[]).unwrap();
            for subject in yes {
                assert!(identity.fits(&vouched(subject, Value::Null)), "{pattern} {subject}");
            }
            for subject in no {
                assert!(!identity.fits(&vouched(subject, Value::Null)), "{pattern} {subject}");
            }
        }
    }

    #[test]
    fn a_pattern_that_could_be_anybodys_is_refused_and_the_remedy_named() {
        for (pattern, remedy) in [
            ("*", "begin the subject"),
            ("*:serviceaccount:mail:crm", "begin the subject"),
            ("repo:acme*", "whole segment"),
            ("", "1 to 512"),
            ("a\nb", "control"),
        ] {
            let BadIdentity(told) = rule(pattern, &[]).unwrap_err();
            assert!(told.contains(remedy), "{pattern:?}: {told}");
        }
    }

    #[test]
    fn claims_are_exact_and_may_be_deep() {
        let deep = serde_json::json!({
            "kubernetes.io": {"namespace": "mail", "pod": {"uid": 7}},
            "groups": ["mail"], "admin": true,
        });
        let token = vouched("s", deep);
        for (name, value, fits) in [
            ("/kubernetes.io/namespace", "mail", true),
            ("/kubernetes.io/pod/uid", "7", true),
            ("admin", "true", true),
            ("/kubernetes.io/namespace", "mai", false),
            ("/kubernetes.io", "mail", false),
            ("groups", "mail", false),
            ("/groups/0", "mail", false),
            ("absent", "x", false),
            ("/", "x", false),
        ] {
            let identity = rule("s", &[(name, value)]).unwrap();
            assert_eq!(identity.fits(&token), fits, "{name}={value}");
        }
        assert!(rule("s", &[("sub", "x")]).unwrap_err().0.contains("own fields"));
        assert!(rule("s", &[("a", "x*")]).unwrap_err().0.contains("exactly"));
    }

    #[test]
    fn certificate_names_are_exact() {
        assert!(CallerIdentity::dns("*.example.com").is_err());
        assert!(CallerIdentity::dns("").is_err() && CallerIdentity::dns("a..b").is_err());
        assert!(CallerIdentity::uri("crm").is_err() && CallerIdentity::uri("a:*").is_err());
        for uri in [
            "spiffe://Example.org/crm",
            "spiffe://example.org:8/crm",
            "spiffe://example.org/",
            "spiffe://example.org/a/../b",
            "spiffe:///crm",
            "SPIFFE://example.org/crm",
            "spiffe://example.org/a?b",
        ] {
            let told = CallerIdentity::uri(uri).unwrap_err().0;
            assert!(told.contains("SPIFFE id is"), "{uri}: {told}");
        }
        let names = CertificateNames {
            dns: vec!["crm.example.com".into(), "*.wild.test".into()],
            uris: vec!["spiffe://example.org/crm".into()],
        };
        for (identity, among) in [
            (CallerIdentity::dns("CRM.example.com"), true),
            (CallerIdentity::dns("example.com"), false),
            (CallerIdentity::dns("a.wild.test"), false),
            (CallerIdentity::uri("spiffe://example.org/crm"), true),
            (CallerIdentity::uri("spiffe://example.org/crm/x"), false),
            (CallerIdentity::uri("spiffe://example.org"), false),
        ] {
            assert_eq!(identity.unwrap().is_among(&names), among);
        }
    }

    #[test]
    fn a_spiffe_certificate_has_one_uri() {
        let with = |uris: &[&str]| CertificateNames {
            uris: uris.iter().map(|&uri| uri.to_owned()).collect(),
            ..CertificateNames::default()
        };
        assert!(with(&["spiffe://a/b"]).are_plain() && with(&["https://a", "urn:b:c"]).are_plain());
        assert!(!with(&["spiffe://a/b", "spiffe://a/c"]).are_plain());
        assert!(!with(&["Spiffe://a/b", "https://a"]).are_plain());
    }
}
