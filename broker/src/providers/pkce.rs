//! Proof keys for code exchange (RFC 7636).
//!
//! Never makes a plain challenge. Invariant: a verifier has 256 bits. Next: the verifier waits sealed in the consent
//! row until [`ProviderClient::exchange_code`](super::ProviderClient::exchange_code) sends it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::domain::secret::Secret;
use crate::entropy::Entropy;

/// A new verifier: 43 characters from 32 random bytes (RFC 7636 section 4.1).
pub fn new_verifier(entropy: &Entropy) -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(entropy.bytes::<32>()))
}

/// The S256 challenge of a verifier (RFC 7636 section 4.2).
pub fn challenge(verifier: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        let verifier = Secret::from("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn verifiers_are_long_enough_and_differ() {
        let entropy = Entropy::seeded(1);
        let (one, two) = (new_verifier(&entropy), new_verifier(&entropy));
        assert_eq!(one.len(), 43);
        assert_ne!(one, two);
    }
}
