//! Names of things: 16-byte row ids, and the ids people write.
//!
//! Never parses a whole resource name (`grpc/names.rs` does). Invariant: a [`ResourceId`] and a [`Mailbox`] are in their one
//! canonical form, so two that are equal to people are equal here. Next: `app`, `account`, `caller` use them.

use std::fmt;

use uuid::{Builder, Uuid};

use crate::clock::Time;
use crate::entropy::Entropy;

macro_rules! row_ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, roughly ordered by time (UUID version 7, RFC 9562).
            pub fn new(now: Time, entropy: &Entropy) -> Self {
                let millis = u64::try_from(now.millis()).unwrap_or(0);
                Self(Builder::from_unix_timestamp_millis(millis, &entropy.bytes()).into_uuid())
            }

            /// The id that `text` is, as its `Display` wrote it.
            pub fn parse(text: &str) -> Option<Self> {
                Uuid::try_parse(text).ok().map(Self)
            }

            /// The id as the store keeps it.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The id as the store keeps it.
            pub const fn bytes(self) -> [u8; 16] {
                *self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    )*};
}

row_ids! {
    /// The row of an OAuth app.
    AppId;
    /// The row of one client secret of an app.
    AppSecretId;
    /// The row of a mail account.
    AccountId;
    /// The row of one generation of an account's refresh token.
    GrantId;
    /// The row of an access token, one per account and audience.
    TokenId;
    /// The row of a consent on its way.
    ConsentId;
    /// The row of a proxy credential.
    CredentialId;
    /// The row of a caller.
    CallerId;
    /// The row of one API key of a caller.
    CallerKeyId;
    /// The row of a mail session.
    SessionId;
    /// The row of one attempt to refresh.
    AttemptId;
}

/// A project's id; `default` exists from the start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectId(ResourceId);

impl ProjectId {
    /// The project that is implied everywhere.
    pub fn default_project() -> Self {
        Self(ResourceId("default".to_owned()))
    }

    /// Checks and takes an id.
    ///
    /// # Errors
    /// As [`ResourceId::parse`].
    pub fn parse(text: &str) -> Result<Self, BadName> {
        ResourceId::parse(text).map(Self)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The id people give a resource (AIP-122): 1 to 63 of `a-z`, `0-9` and `-`, a letter or digit at both ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId(String);

impl ResourceId {
    /// Checks and takes an id.
    ///
    /// # Errors
    /// [`BadName`] if it is not 1 to 63 of the allowed characters.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let bytes = text.as_bytes();
        let edges = [bytes.first(), bytes.last()];
        let well_formed = (1..=63).contains(&bytes.len())
            && bytes.iter().all(|b| allowed(*b))
            && edges.iter().all(|b| *b != Some(&b'-'));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(BadName::Id) }
    }

    /// A made-up id of 12 characters, 60 bits.
    pub fn random(entropy: &Entropy) -> Self {
        const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
        let letters = entropy.bytes::<12>().map(|b| char::from(LETTERS[usize::from(b & 31)]));
        Self(letters.iter().collect())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A mailbox address in the one form it is compared in: trimmed, ASCII lower case.
///
/// Everything that compares addresses goes through this type, so that no two parts of the broker can disagree on whether
/// two of them are the same. Non-ASCII addresses (RFC 6531) are kept as they are: guessing a folding would be worse.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mailbox(String);

impl Mailbox {
    /// Checks and takes an address.
    ///
    /// # Errors
    /// [`BadName::Mailbox`] unless it is `local@domain`, at most 320 bytes, free of blanks and control characters.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let text = text.trim_matches(' ');
        let split = text.rsplit_once('@');
        let parts = split.filter(|(local, domain)| !local.is_empty() && !domain.is_empty());
        let clean = !text.chars().any(|c| c.is_control() || c.is_whitespace());
        if parts.is_none() || !clean || text.len() > 320 {
            return Err(BadName::Mailbox);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the last `@`.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that is not in its proper form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Not a resource id.
    #[error("use 1 to 63 of a-z, 0-9 and -, not beginning or ending with -")]
    Id,
    /// Not a mailbox address.
    #[error("use an address such as ann@example.com, at most 320 bytes")]
    Mailbox,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_short_and_plain() {
        for good in ["a", "google-main", "2fast", &"x".repeat(63)] {
            assert!(ResourceId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Ann", "a_b", "a/b", "ä", &"x".repeat(64)] {
            assert!(ResourceId::parse(bad).is_err(), "{bad}");
        }
        let made_up = ResourceId::random(&Entropy::system());
        assert!(ResourceId::parse(made_up.as_str()).is_ok(), "{made_up}");
    }

    #[test]
    fn t13_an_address_has_one_form() {
        let mailbox = Mailbox::parse(" Ann@Example.COM ").unwrap();
        assert_eq!(mailbox.as_str(), "ann@example.com");
        assert_eq!(Mailbox::parse(mailbox.as_str()), Ok(mailbox.clone()));
        assert_eq!(mailbox.domain(), "example.com");
        for bad in ["", "ann", "@example.com", "ann@", "a b@c", "a\u{1}auth=Bearer x@c", "a\r\nb@c"]
        {
            assert_eq!(Mailbox::parse(bad), Err(BadName::Mailbox), "{bad:?}");
        }
    }

    #[test]
    fn t13_what_looks_like_an_address_is_another_one_or_none() {
        let ann = Mailbox::parse("ann@example.com").unwrap();
        let alike = [
            "\u{430}nn@example.com",
            "a\u{578}n@example.com",
            "\u{ff41}nn@example.com",
            "a\u{301}nn@example.com",
            "ann@ex\u{e1}mple.com",
            "ann@example.com.",
            "ann@example\u{3002}com",
            "ann@example\u{ff0e}com",
            "ann+@example.com",
            "ann+mail@example.com",
            "a.nn@example.com",
            "\"ann\"@example.com",
            "ann@@example.com",
            "ann@example.com@example.com",
            "\u{200b}ann@example.com",
            "an\u{ad}n@example.com",
            "\u{202e}ann@example.com",
            "\u{feff}ann@example.com",
            "ann\u{a0}@example.com",
            "ann\t@example.com",
            "ann@example.com\n",
            "ann@example.com\0",
        ];
        for text in alike {
            assert_ne!(Mailbox::parse(text).as_ref(), Ok(&ann), "{text:?}");
        }
        // What is folded is ASCII and nothing else: the Kelvin sign is no k, and a long s no s.
        for (text, other) in [("\u{212a}im@x.example", "kim@x.example"), ("\u{17f}am@x", "sam@x")] {
            assert_ne!(Mailbox::parse(text), Mailbox::parse(other), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn t13_an_address_in_its_one_form_stays_as_it_is(text in "\\PC{0,20}@\\PC{0,20}") {
            if let Ok(mailbox) = Mailbox::parse(&text) {
                let again = Mailbox::parse(mailbox.as_str());
                prop_assert_eq!(again, Ok(mailbox));
            }
        }

        #[test]
        fn t13_two_addresses_meet_only_if_they_differ_in_the_case_of_ascii_letters(
            one in "[a-cA-C\u{e4}\u{c4}.+]{1,2}@[a-bA-B.]{1,2}",
            other in "[a-cA-C\u{e4}\u{c4}.+]{1,2}@[a-bA-B.]{1,2}",
        ) {
            let meet = Mailbox::parse(&one).unwrap() == Mailbox::parse(&other).unwrap();
            prop_assert_eq!(meet, one.eq_ignore_ascii_case(&other));
        }
    }

    #[test]
    fn row_ids_survive_the_store() {
        let id = AccountId::new(Time::from_millis(1_700_000_000_000), &Entropy::system());
        assert_eq!(AccountId::from_bytes(id.bytes()), id);
    }
}
