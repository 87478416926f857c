//! Randomness, handed in so that tests can repeat it.
//!
//! Never used for anything but keys, nonces, ids and secrets. Invariant: this is the only file that asks the system
//! for random bytes, and without them nothing goes on. Next: `assemble` hands an [`Entropy`] down.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Gives random bytes: the system's, or a repeatable stream from a seed for tests.
#[derive(Clone)]
pub struct Entropy(Source);

#[derive(Clone)]
enum Source {
    System,
    Seeded(Arc<Mutex<(u64, u64)>>),
}

impl Entropy {
    /// The system's random source.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A stream that is the same for the same seed. For tests; it keeps no secret.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new((seed, 0)))))
    }

    /// `N` random bytes.
    ///
    /// # Panics
    /// If the system has no random source: no key or nonce may ever be made without one.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// Fills `out` with random bytes.
    ///
    /// # Panics
    /// As [`bytes`](Self::bytes).
    #[expect(clippy::disallowed_methods, reason = "this is the Entropy")]
    #[expect(
        clippy::expect_used,
        reason = "going on without randomness would be worse than stopping"
    )]
    pub fn fill(&self, out: &mut [u8]) {
        match &self.0 {
            Source::System => getrandom::fill(out).expect("the system has a random source"),
            Source::Seeded(state) => {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                for chunk in out.chunks_mut(32) {
                    chunk.copy_from_slice(&block(state.0, state.1)[..chunk.len()]);
                    state.1 += 1;
                }
            }
        }
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn block(seed: u64, counter: u64) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&seed.to_be_bytes()).expect("a key of any length");
    mac.update(&counter.to_be_bytes());
    mac.finalize().into_bytes().into()
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Entropy::System",
            Source::Seeded(_) => "Entropy::Seeded",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_the_system_does_not() {
        assert_eq!(Entropy::seeded(7).bytes::<40>(), Entropy::seeded(7).bytes::<40>());
        assert_ne!(Entropy::seeded(7).bytes::<40>(), Entropy::seeded(8).bytes::<40>());
        assert_ne!(Entropy::system().bytes::<32>(), Entropy::system().bytes::<32>());
    }
}
