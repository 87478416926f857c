//! What the providers' servers offered after login, kept for protocols that must tell before login what will work.
//!
//! Never offers what one of the servers lately seen does not: which of them a client is for is known only after its login.
//! Invariant: at most [`HOSTS`] servers are remembered. Next: `connection` tells a new dialogue.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Most servers remembered; beyond them nothing new is learned.
const HOSTS: usize = 64;

/// What each server offers, line by line.
#[derive(Debug, Default)]
pub struct Offers(Mutex<BTreeMap<String, Vec<String>>>);

impl Offers {
    /// Remembers the lines of a server; empty ones teach nothing.
    pub fn learn(&self, host: &str, lines: &str) {
        let lines: Vec<_> = lines.lines().map(str::to_owned).collect();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !lines.is_empty() && (known.len() < HOSTS || known.contains_key(host)) {
            known.insert(host.to_owned(), lines);
        }
    }

    /// The lines all servers have in common; of `SIZE n` the smallest.
    pub fn common(&self) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut servers = known.values();
        let mut common = servers.next().cloned().unwrap_or_default();
        for lines in servers {
            common = common.iter().filter_map(|line| both(line, lines)).collect();
        }
        common
    }
}

fn both(line: &str, lines: &[String]) -> Option<String> {
    let Some(mine) = size(line) else {
        return lines.iter().any(|other| other.eq_ignore_ascii_case(line)).then(|| line.to_owned());
    };
    let theirs = lines.iter().find_map(|other| size(other))?;
    let limits = [mine, theirs].into_iter().filter(|limit| *limit > 0);
    Some(limits.min().map_or("SIZE".to_owned(), |limit| format!("SIZE {limit}")))
}

/// The number behind SIZE; 0, also when there is none, means no limit (RFC 1870 section 3).
fn size(line: &str) -> Option<u64> {
    let mut words = line.split(' ');
    let size = words.next()?.eq_ignore_ascii_case("SIZE");
    size.then(|| words.next().and_then(|number| number.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_all_servers_offer_is_offered() {
        let offers = Offers::default();
        assert!(offers.common().is_empty());
        offers.learn("a", "8BITMIME\nSIZE 100\nDSN");
        offers.learn("b", "SIZE 50\n8bitmime\nSMTPUTF8");
        assert_eq!(offers.common(), ["8BITMIME", "SIZE 50"]);
        offers.learn("c", "SIZE\n8BITMIME");
        assert_eq!(offers.common(), ["8BITMIME", "SIZE 50"]);
    }
}
