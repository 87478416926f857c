//! Where the broker finds its key-encryption keys while it runs: the one in use, and the next.
//!
//! Never keeps a key: each is read when it is needed and wiped after. Invariant: a keyring is opened only by the key that
//! its rows name. What the environment held at start is kept, because nobody can change it from outside. Next: `keyring`.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::kek::Kek;
use super::keyring::{Keyring, KeyringError, SealedTerm};
use super::source::{CREDENTIALS, Environment, KeySource, SourceError};

/// The sources of the key-encryption keys. Clones share them.
#[derive(Clone)]
pub struct Custody(Arc<Inner>);

struct Inner {
    current: KeySource,
    next: Option<KeySource>,
    environment: Vec<(String, OsString)>,
}

/// Why a stored keyring cannot be opened.
#[derive(Debug, Error)]
pub enum CustodyError {
    /// The key that was asked for cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The rows.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The rows were sealed by a key that no source gives.
    #[error(
        "the keyring of this instance is sealed by key {sealed_by}; `[keys] kek` ({from}) gives key {given}, {next}. \
         Put key {sealed_by} where one of the two says: no other opens this database"
    )]
    Elsewhere {
        /// The id in the rows.
        sealed_by: String,
        /// The source in use, in words.
        from: String,
        /// The id of the key it gives.
        given: String,
        /// What the next one gives, in words.
        next: String,
    },
    /// There is no source for a next key.
    #[error(
        "say where the next key-encryption key is: `[keys] next_kek = {{ file = \"kek.next\" }}`"
    )]
    NoNext,
}

impl Custody {
    /// Over these sources, with what `environment` says about them now.
    pub fn new(current: KeySource, next: Option<KeySource>, environment: Environment<'_>) -> Self {
        let named =
            [Some(&current), next.as_ref()].into_iter().flatten().filter_map(
                |source| match source {
                    KeySource::Environment(name) => Some(name.clone()),
                    KeySource::Systemd(_) => Some(CREDENTIALS.to_owned()),
                    KeySource::File(_) => None,
                },
            );
        let environment = named.filter_map(|name| Some((environment(&name)?, name)));
        let environment = environment.map(|(value, name)| (name, value)).collect();
        Self(Arc::new(Inner { current, next, environment }))
    }

    /// The key in use.
    ///
    /// # Errors
    /// [`SourceError`] tells the operator what to do.
    pub fn current(&self) -> Result<Kek, SourceError> {
        self.read(&self.0.current)
    }

    /// The next key.
    ///
    /// # Errors
    /// [`CustodyError::NoNext`] if none is configured, else as [`current`](Self::current).
    pub fn next(&self) -> Result<Kek, CustodyError> {
        let source = self.0.next.as_ref().ok_or(CustodyError::NoNext)?;
        Ok(self.read(source)?)
    }

    /// The ids of the keys that can be read now.
    pub fn ids(&self) -> Vec<String> {
        let both = [self.current().ok(), self.next().ok()];
        let mut ids: Vec<String> = both.iter().flatten().map(|kek| kek.id().to_owned()).collect();
        ids.dedup();
        ids
    }

    /// The key with this id.
    ///
    /// # Errors
    /// [`CustodyError`] says what the sources give instead.
    pub fn find(&self, id: &str) -> Result<Kek, CustodyError> {
        let (current, next) = (self.current(), self.next());
        let found = [current.as_ref().ok(), next.as_ref().ok()];
        if let Some(at) = found.iter().position(|kek| kek.is_some_and(|kek| kek.id() == id)) {
            return if at == 0 { Ok(current?) } else { next };
        }
        let given = current?.id().to_owned();
        let next = match next {
            Ok(kek) => format!("`next_kek` gives key {}", kek.id()),
            Err(CustodyError::NoNext) => "there is no `next_kek`".to_owned(),
            Err(error) => format!("`next_kek` gives none ({error})"),
        };
        let (sealed_by, from) = (id.to_owned(), self.0.current.to_string());
        Err(CustodyError::Elsewhere { sealed_by, from, given, next })
    }

    /// Opens the stored rows with whichever key they name.
    ///
    /// # Errors
    /// [`CustodyError`]; nothing is opened in part.
    pub fn open(&self, instance: [u8; 16], rows: Vec<SealedTerm>) -> Result<Keyring, CustodyError> {
        let id = rows.first().map(|row| row.kek_id.clone()).ok_or(KeyringError::Empty)?;
        Ok(Keyring::open(&self.find(&id)?, instance, rows)?)
    }

    fn read(&self, source: &KeySource) -> Result<Kek, SourceError> {
        source.read(&|name| {
            let mut known = self.0.environment.iter();
            known.find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custody")
            .field("current", &self.0.current)
            .field("next", &self.0.next)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::write_new;
    use super::*;
    use crate::entropy::Entropy;

    const HERE: [u8; 16] = [1; 16];

    fn kek(seed: u64) -> Kek {
        Kek::generate(&Entropy::seeded(seed))
    }

    /// Two files, the second of which is not there yet.
    fn custody(folder: &tempfile::TempDir) -> Custody {
        let at = |name: &str| KeySource::File(folder.path().join(name));
        write_new(&kek(1), &folder.path().join("kek")).unwrap();
        Custody::new(at("kek"), Some(at("kek.next")), &|_| None)
    }

    #[test]
    fn a_keyring_opens_by_the_key_it_names_be_it_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let custody = custody(&folder);
        let (ring, rows) = Keyring::create(&kek(1), HERE, &Entropy::seeded(9));
        assert!(custody.open(HERE, rows).is_ok());
        assert_eq!(custody.ids(), [kek(1).id()]);
        let rows = ring.rewrap(&kek(2), &Entropy::seeded(10));
        let told = custody.open(HERE, rows.clone()).unwrap_err().to_string();
        assert!(told.contains(kek(2).id()) && told.contains("kek.next"), "names both: {told}");
        write_new(&kek(2), &folder.path().join("kek.next")).unwrap();
        assert!(custody.open(HERE, rows.clone()).is_ok(), "it is read anew");
        assert_eq!(custody.ids(), [kek(1).id(), kek(2).id()]);
        std::fs::remove_file(folder.path().join("kek")).unwrap();
        assert!(custody.open(HERE, rows).is_ok(), "the old one is not needed any more");
    }

    #[test]
    fn the_old_key_alone_is_refused_with_the_id_of_the_one_that_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        write_new(&kek(1), &folder.path().join("kek")).unwrap();
        let custody = Custody::new(KeySource::File(folder.path().join("kek")), None, &|_| None);
        let (ring, _) = Keyring::create(&kek(1), HERE, &Entropy::seeded(9));
        let told = custody.open(HERE, ring.rewrap(&kek(2), &Entropy::seeded(10))).unwrap_err();
        assert!(
            matches!(&told, CustodyError::Elsewhere { sealed_by, .. } if sealed_by == kek(2).id())
        );
        assert!(matches!(custody.next(), Err(CustodyError::NoNext)));
    }

    #[test]
    fn nothing_of_a_key_prints() {
        let text = kek(1).to_text();
        let value = OsString::from(text.expose());
        let source = KeySource::Environment("KEK".to_owned());
        let custody = Custody::new(source, None, &|_| Some(value.clone()));
        assert_eq!(custody.current().unwrap().id(), kek(1).id());
        assert!(!format!("{custody:?}").contains(text.expose()));
    }
}
