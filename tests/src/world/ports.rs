//! Free ports on 127.0.0.1.
//!
//! Every port handed out was free a moment ago and is handed out once in this process. They lie below the range that the
//! system gives to outgoing connections, so that no client takes one by chance. Next: [`super::house`].

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

const FIRST: u16 = 12_000;
const COUNT: u16 = 8_000;

static HANDED_OUT: AtomicU16 = AtomicU16::new(0);

/// A free address.
///
/// # Errors
/// All ports are taken.
pub fn free() -> Result<SocketAddr> {
    // Test programs that run side by side begin at different places.
    let start = u16::try_from(std::process::id() % 200).unwrap_or(0) * 40;
    for _ in 0..COUNT {
        let step = HANDED_OUT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT)
}
