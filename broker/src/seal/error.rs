//! Why something sealed could not be opened, or something signed not be believed.
//!
//! Never carries a byte of what was sealed. Invariant: a value that names an unknown version, algorithm or term says
//! so by type, so that a missing key is never taken for a forgery. Next: `sealer`, which returns these.

use thiserror::Error;

/// What stands between a stored value and its content. Every case is the store's or the operator's, none the caller's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    /// The value is shorter than an empty one would be.
    #[error("sealed value of {0} bytes is cut short")]
    Truncated(usize),
    /// The value was written in a format that this program does not know: by a newer one, or not by us.
    #[error("sealed value has format version {0}, which is unknown here")]
    UnknownVersion(u8),
    /// The value was sealed by an algorithm that this program does not know.
    #[error("sealed value uses algorithm {0}, which is unknown here")]
    UnknownAlgorithm(u8),
    /// The key of this term was removed, or never was in the keyring.
    #[error("key term {0} is not in the keyring")]
    UnknownTerm(u32),
    /// The term is newer than all in the keyring at hand. Another replica may have added it: read the keyring again.
    #[error("key term {0} is newer than the keyring at hand")]
    NewerTerm(u32),
    /// The value was changed, moved here from another place, or replaced by an older one.
    #[error("integrity check failed: the value was changed or does not belong here")]
    Integrity,
    /// The value is genuine but not the text that was asked for.
    #[error("sealed value is not text")]
    NotText,
    /// More bytes than may be sealed at once.
    #[error("{0} bytes are too many to be sealed as one value")]
    TooLong(usize),
    /// A rights MAC or keyed hash that does not have its fixed length.
    #[error("keyed tag of {0} bytes has the wrong length")]
    TagLength(usize),
}
