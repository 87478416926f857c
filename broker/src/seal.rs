//! Turns secrets into bytes that may lie in a database, and back; proves that rows which grant rights are unchanged.
//!
//! Never names a table's meaning, never speaks SQL, never reads the environment or the system's randomness by itself.
//! Invariant: a sealed value opens only at the [`Place`] it was sealed for, in the instance it was sealed in.
//!
//! From the outside in: [`Sealer`] is what services hold; it uses the term keys of a [`Keyring`], which is itself
//! sealed by a [`Kek`] that the [`Custody`] finds in a [`KeySource`]. Below lie `envelope` (the bytes), `xaes` (the cipher) and
//! `key`. Next: `sealer`.

mod checkpoint;
pub mod credential;
mod custody;
mod envelope;
mod error;
mod kek;
mod key;
mod keyring;
mod outgrown;
mod place;
mod refused;
mod rights;
mod sealer;
mod source;
mod tag;
mod xaes;

#[cfg(test)]
mod day_one;

pub use checkpoint::CannotSign;
pub use custody::{Custody, CustodyError};
pub use error::SealError;
pub use kek::{Kek, KekFormat};
pub use keyring::{Keyring, KeyringError, SealedTerm};
pub use outgrown::Outgrown;
pub use place::Place;
pub use refused::RefusedRow;
pub use rights::RightsMac;
pub use sealer::Sealer;
pub use source::{Environment, KeySource, SourceError, write_new};
