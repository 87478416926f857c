//! Signs where the audit's chains stand, so that whoever has the public key can tell a checkpoint of ours from another.
//!
//! Never keeps a private key: it is derived in the keyring, per term, and made anew for each use. Invariant: the key that signs
//! checkpoints seals and proves nothing else. Next: `witness.rs` writes them down.

use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use super::keyring::TermKeys;
use super::sealer::Sealer;
use crate::domain::checkpoint::{Checkpoint, Signed};

/// The library would not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library refuses to sign")]
pub struct CannotSign;

impl Sealer {
    /// A checkpoint signed by the active term.
    ///
    /// # Errors
    /// [`CannotSign`].
    pub fn sign(&self, checkpoint: Checkpoint) -> Result<Signed, CannotSign> {
        let keyring = self.keyring();
        let pair = pair(keyring.active())?;
        let instance = *keyring.instance();
        let signature = pair.try_sign(&checkpoint.signed_bytes(&instance))?;
        Ok(Signed {
            checkpoint,
            instance,
            key: pair.public_key().as_ref().to_vec(),
            signature: signature.as_ref().to_vec(),
        })
    }

    /// The public keys of all terms that there are, oldest first.
    ///
    /// # Errors
    /// [`CannotSign`].
    pub fn checkpoint_keys(&self) -> Result<Vec<(u32, Vec<u8>)>, CannotSign> {
        let keyring = self.keyring();
        let key = |term: u32| {
            let keys = keyring.term(term).map_err(|_| CannotSign)?;
            Ok((term, pair(keys)?.public_key().as_ref().to_vec()))
        };
        keyring.terms().map(key).collect()
    }
}

fn pair(keys: &TermKeys) -> Result<Ed25519KeyPair, CannotSign> {
    Ok(Ed25519KeyPair::from_seed_unchecked(keys.checkpoints.bytes())?)
}

impl From<KeyRejected> for CannotSign {
    fn from(_: KeyRejected) -> Self {
        Self
    }
}

impl From<Unspecified> for CannotSign {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;
    use crate::clock::Time;
    use crate::domain::chain::Point;
    use crate::entropy::Entropy;
    use crate::seal::{Kek, Keyring};

    #[test]
    fn a_checkpoint_is_believed_with_our_key_and_not_when_it_was_touched() {
        let entropy = Entropy::seeded(7);
        let kek = Kek::generate(&entropy);
        let (first, _) = Keyring::create(&kek, [1; 16], &entropy);
        let second = first.with_term(&entropy).unwrap().activated().unwrap();
        let sealer = Sealer::new(first, entropy);
        let point = Point { sequence: 7, hash: vec![9; 32] };
        let at = Time::from_millis(1234);
        let signed = sealer.sign(Checkpoint { chain: "one".into(), point, at }).unwrap();
        assert_eq!(sealer.checkpoint_keys().unwrap(), [(1, signed.key.clone())]);
        let key = UnparsedPublicKey::new(&ED25519, &signed.key);
        let bytes = signed.checkpoint.signed_bytes(&signed.instance);
        assert!(key.verify(&bytes, &signed.signature).is_ok());
        let mut touched = signed.checkpoint.clone();
        touched.point.sequence = 8;
        assert!(key.verify(&touched.signed_bytes(&signed.instance), &signed.signature).is_err());
        sealer.adopt(second);
        let again = sealer.sign(signed.checkpoint.clone()).unwrap();
        assert_ne!(again.key, signed.key, "a new term signs with a new key");
        assert_eq!(sealer.checkpoint_keys().unwrap(), [(1, signed.key), (2, again.key)]);
    }
}
