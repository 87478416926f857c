//! What a broker is called: among those that share a store, in its leases, and as the owner of an audit chain.
//!
//! Never gives two brokers one name: the store grants it. Invariant: what a start is called differs from every other start.

use crate::config::Config;
use crate::domain::ids::ResourceId;
use crate::entropy::Entropy;
use crate::store::{self, Bell, Error as StoreError, OWN_CHAIN, Store};
use crate::tasks::Tasks;

/// Joins the brokers that share the store, under the configured name, or else the host's unless another broker has it.
pub(super) async fn join(
    store: &Store,
    configured: Option<String>,
    (bell, tasks): (&Bell, &Tasks),
) -> Result<Option<String>, StoreError> {
    if configured.is_some() {
        store.join(configured.as_deref(), bell, tasks).await?;
        return Ok(configured);
    }
    let host = host_name();
    match store.join(host.as_deref(), bell, tasks).await {
        Ok(()) => Ok(host),
        Err(StoreError::NameTaken { name }) => {
            let remedy =
                "set `replica`, so that this broker knows after a crash what it had under way";
            tracing::warn!(host = name, remedy, "another broker on this host has its name");
            store.join(None, bell, tasks).await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The host's name as a broker may have it.
fn host_name() -> Option<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = host.chars().map(plain).take(63).collect();
    ResourceId::parse(name.trim_matches('-')).ok().map(|name| name.to_string())
}

/// The audit chain of what this broker hands out. A broker of a shared database that has no name begins one at each start.
pub(super) fn chain<'a>(config: &'a Config, replica: &'a str) -> &'a str {
    match (&config.replica, &config.store) {
        (Some(name), _) => name,
        (None, store::Settings::Sqlite { .. }) => OWN_CHAIN,
        (None, store::Settings::Postgres { .. }) => replica,
    }
}

/// What tells this start of a broker from every other.
pub(super) fn start_of(entropy: &Entropy) -> String {
    format!("{}-{:08x}", std::process::id(), u32::from_be_bytes(entropy.bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_name_that_a_broker_can_have() {
        let name = host_name().unwrap();
        assert!(ResourceId::parse(&name).is_ok(), "{name}");
    }
}
