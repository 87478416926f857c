//! How long anything may take and how many connections there may be.
//!
//! Never slows a connection down and never queues one: there is room or there is none. Invariant: connections without a
//! login take at most half of the room, so a flood of them cannot keep out a client with a credential that is already
//! in. Next: `listen` asks the [`Gate`] before it reads a byte.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Every bound an operator may set. The defaults fit a small server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest TLS handshake, either side.
    pub tls: Duration,
    /// Longest time from the connection to the login, whatever the client does.
    pub login: Duration,
    /// Longest time to reach a provider's server.
    pub dial: Duration,
    /// Longest time for dialling and logging in upstream, both attempts together.
    pub upstream_login: Duration,
    /// Longest time without a byte after login. RFC 9051 section 5.4 asks for at least 30 minutes.
    pub idle: Duration,
    /// How long sessions go on without a word of a broker; then nobody could take them back, and they end.
    pub orphan_ttl: Duration,
    /// How long relays may go on after the adapter was told to stop.
    pub drain: Duration,
    /// Most connections at a time.
    pub connections: usize,
    /// Most connections without a login per IPv4 address or IPv6 /64.
    pub unauthenticated_per_ip: usize,
    /// Refused logins that end a connection.
    pub attempts: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tls: Duration::from_secs(10),
            login: Duration::from_secs(60),
            dial: Duration::from_secs(10),
            upstream_login: Duration::from_secs(30),
            idle: Duration::from_secs(40 * 60),
            orphan_ttl: Duration::from_secs(300),
            drain: Duration::from_secs(10),
            connections: 2048,
            unauthenticated_per_ip: 20,
            attempts: 3,
        }
    }
}

/// Most bytes a client may send before its login, whatever its dialogue allows.
pub(crate) const MAX_BYTES_BEFORE_LOGIN: usize = 64 * 1024;
/// Longest wait for a peer to take what we say before login.
pub(crate) const MAX_WRITE: Duration = Duration::from_secs(10);

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// No room at all, or none for connections without a login.
    #[error("too many connections")]
    House,
    /// This client's address has enough connections that never log in.
    #[error("too many connections without a login from this address")]
    Address,
}

/// Counts connections. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    limits: Limits,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    all: usize,
    waiting: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Pass {
    counts: Arc<Counts>,
    address: Option<IpAddr>,
    waiting: bool,
}

impl Gate {
    /// Nobody is in.
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Counts { limits, now: Mutex::default() }))
    }

    /// Lets one connection in that has not logged in and whose address is not certain yet.
    ///
    /// # Errors
    /// [`Full::House`].
    pub fn enter(&self) -> Result<Pass, Full> {
        let limits = &self.0.limits;
        let mut now = self.0.lock();
        if now.all >= limits.connections || now.waiting >= limits.connections.div_ceil(2) {
            return Err(Full::House);
        }
        now.all += 1;
        now.waiting += 1;
        Ok(Pass { counts: Arc::clone(&self.0), address: None, waiting: true })
    }
}

impl Pass {
    /// Counts the connection for its client's address, once that is known.
    ///
    /// # Errors
    /// [`Full::Address`].
    pub fn identify(&mut self, address: IpAddr) -> Result<(), Full> {
        let network = network(address);
        let most = self.counts.limits.unauthenticated_per_ip;
        let mut now = self.counts.lock();
        let count = now.by_address.entry(network).or_insert(0);
        if *count >= most {
            return Err(Full::Address);
        }
        *count += 1;
        self.address = Some(network);
        Ok(())
    }

    /// The connection has logged in: it makes room for others that have not.
    pub fn logged_in(&mut self) {
        let mut now = self.counts.lock();
        if std::mem::take(&mut self.waiting) {
            now.waiting -= 1;
        }
        now.forget(self.address.take());
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut now = self.counts.lock();
        now.all -= 1;
        if self.waiting {
            now.waiting -= 1;
        }
        now.forget(self.address.take());
    }
}

impl Counts {
    fn lock(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Now {
    fn forget(&mut self, address: Option<IpAddr>) {
        let Some(Entry::Occupied(mut entry)) = address.map(|ip| self.by_address.entry(ip)) else {
            return;
        };
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

/// Whoever has an IPv6 address has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(connections: usize, per_ip: usize) -> Gate {
        Gate::new(Limits { connections, unauthenticated_per_ip: per_ip, ..Limits::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn half_of_the_room_is_kept_for_those_who_logged_in() {
        let gate = gate(4, 10);
        let mut first = gate.enter().unwrap();
        let second = gate.enter().unwrap();
        assert_eq!(gate.enter().unwrap_err(), Full::House);
        first.logged_in();
        let third = gate.enter().unwrap();
        assert_eq!(gate.enter().unwrap_err(), Full::House);
        drop((second, third));
        assert!(gate.enter().is_ok());
    }

    #[test]
    fn one_address_cannot_take_all_the_room() {
        let gate = gate(100, 1);
        let mut first = gate.enter().unwrap();
        first.identify(ip("192.0.2.1")).unwrap();
        assert_eq!(gate.enter().unwrap().identify(ip("192.0.2.1")), Err(Full::Address));
        assert_eq!(gate.enter().unwrap().identify(ip("::ffff:192.0.2.1")), Err(Full::Address));
        gate.enter().unwrap().identify(ip("192.0.2.2")).unwrap();
        first.logged_in();
        gate.enter().unwrap().identify(ip("192.0.2.1")).unwrap();
    }

    #[test]
    fn a_whole_ipv6_network_counts_as_one_client() {
        let gate = gate(100, 1);
        let mut first = gate.enter().unwrap();
        first.identify(ip("2001:db8::1")).unwrap();
        assert_eq!(gate.enter().unwrap().identify(ip("2001:db8::ffff:2")), Err(Full::Address));
        gate.enter().unwrap().identify(ip("2001:db8:0:1::1")).unwrap();
    }

    #[test]
    fn nothing_is_remembered_of_clients_that_left() {
        let gate = gate(100, 5);
        for host in 0..50u8 {
            gate.enter().unwrap().identify(IpAddr::from([10, 0, 0, host])).unwrap();
        }
        assert!(gate.0.lock().by_address.is_empty());
        assert_eq!(gate.0.lock().all, 0);
    }
}
