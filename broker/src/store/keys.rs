//! The instance and its keyring rows.
//!
//! Never opens a key: a term's key is sealed by a key the store has never seen. Invariant: the instance is made once; the
//! keyring is replaced as a whole in one transaction, so there is always a newest active term. Next: `seal/keyring.rs`.

use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::error::Result;
use super::row::{Cells, row};
use crate::clock::Time;
use crate::domain::secret::Sealed;

/// Which instance a database belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Random, made by `init`.
    pub id: [u8; 16],
    /// When that was.
    pub created_at: Time,
}

/// A row of the keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTerm {
    /// The term's number, from 1.
    pub term: u32,
    /// Its key, sealed by the key-encryption key.
    pub sealed: Sealed,
    /// Which key-encryption key.
    pub kek_id: String,
    /// Whether new values are sealed under it.
    pub active: bool,
}

row!(KeyRow, key_columns { term: i64, sealed: Vec<u8>, kek_id: String, active: i64 });

statements! {
    INSTANCE = "select id, created_at from instance where one = 1";
    CREATE_INSTANCE = "insert into instance (one, id, created_at) values (1, $1, $2)";
    KEYRING = concat!("select ", key_columns!(), " from keyring order by term limit 10000");
    CLEAR_KEYRING = "delete from keyring";
    ADD_KEY = concat!("insert into keyring (", key_columns!(), ") values ($1, $2, $3, $4)");
}

impl Conn {
    /// Which instance this is; `None` before `init`.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if the id is not 16 bytes; else as every read.
    pub async fn instance(&mut self) -> Result<Option<Instance>> {
        let Some((id, at)) = maybe!(self, INSTANCE => (Vec<u8>, i64))? else { return Ok(None) };
        let id = Cells::of("instance", &id).id("id", &id, |id| id)?;
        Ok(Some(Instance { id, created_at: Time::from_millis(at) }))
    }

    /// All terms, oldest first.
    ///
    /// # Errors
    /// As every read.
    pub async fn keyring(&mut self) -> Result<Vec<KeyTerm>> {
        all!(self, KEYRING => KeyRow)?.into_iter().map(KeyRow::read).collect()
    }
}

impl Tx {
    /// Makes the instance.
    ///
    /// # Errors
    /// [`Error::Conflict`](super::Error::Conflict) if there is one.
    pub async fn create_instance(&mut self, instance: &Instance) -> Result<()> {
        run!(self, CREATE_INSTANCE; instance.id.to_vec(); instance.created_at.millis()).map(drop)
    }

    /// Puts `terms` in place of the whole keyring.
    ///
    /// # Errors
    /// [`Error::Conflict`](super::Error::Conflict) if a term is there twice.
    pub async fn replace_keyring(&mut self, terms: &[KeyTerm]) -> Result<()> {
        run!(self, CLEAR_KEYRING)?;
        for KeyTerm { term, sealed, kek_id, active } in terms {
            run!(self, ADD_KEY; i64::from(*term); sealed.as_bytes(); kek_id.as_str(); i64::from(*active))?;
        }
        Ok(())
    }
}

impl KeyRow {
    fn read(self) -> Result<KeyTerm> {
        let number = self.term.to_string();
        let term = Cells::of("keyring", number.as_bytes()).number("term", self.term)?;
        let sealed = Sealed::from_bytes(self.sealed);
        Ok(KeyTerm { term, sealed, kek_id: self.kek_id, active: self.active == 1 })
    }
}
