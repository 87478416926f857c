//! Incidents: what is wrong inside the broker, logged under a number that the caller is told instead of the cause.
//!
//! Never tells the caller more than the number. Invariant: no two incidents of a process share one; the prefix keeps those
//! of different processes apart. Next: `grpc/status.rs` puts it into the answer.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells processes apart; not a secret, and nothing depends on it.
static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("process"));

static COUNT: AtomicU64 = AtomicU64::new(1);

/// Logs `cause` with all its causes and says under which number.
pub fn note(cause: &(dyn std::error::Error + 'static)) -> String {
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let incident = format!("{:016x}-{number}", *PROCESS);
    let causes = std::iter::successors(Some(cause), |cause| cause.source());
    let causes = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    tracing::error!(%incident, cause = %causes, "an internal error was answered");
    incident
}
