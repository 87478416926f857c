//! Guessing: how long a refused login waits, by what was refused before to the same credential, network and adapter.
//!
//! Never locks anything: a right secret is never late, whatever happened before it. Invariants: the same wrong secret again
//! counts once, so that a forgotten script does no harm; memory is bounded, whatever is tried; a count halves every
//! [`HALF_LIFE`]. Pure: the time is handed in, secrets come as fingerprints. Next: `service/refused_login` asks.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::clock::Time;

/// How long the first refusals wait.
pub const LEAST_DELAY: Duration = Duration::from_secs(1);

/// The longest wait; the contract allows no more.
pub const LONGEST_DELAY: Duration = Duration::from_secs(15);

/// After this a count is worth half.
pub const HALF_LIFE: Duration = Duration::from_secs(5 * 60);

/// Guesses that a credential bears before each doubling of the delay: few people type a generated password.
const OF_CREDENTIAL: f64 = 4.0;
/// The same for a network: an office behind one address has some wrong settings.
const OF_NETWORK: f64 = 16.0;
/// The same for an adapter: everybody comes through it.
const OF_ADAPTER: f64 = 1_000.0;

/// Subjects of each kind that are remembered. Of more, those that were refused least are forgotten.
const REMEMBERED: usize = 10_000;
/// Wrong secrets of a subject that are recognised when they come again.
const RECOGNISED: usize = 8;

/// The network a client is in: an IPv4 /24 or an IPv6 /64 (RFC 6177: a site has at least that).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpAddr);

impl Network {
    /// The network of an address. An IPv4 address in IPv6 clothes counts as IPv4.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & !0xff)),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        })
    }

    /// As [`Display`](fmt::Display) writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let fits = matches!((address, length), (IpAddr::V4(_), "24") | (IpAddr::V6(_), "64"));
        fits.then(|| Self::of(address))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = if self.0.is_ipv4() { 24 } else { 64 };
        write!(f, "{}/{length}", self.0)
    }
}

/// A refused login.
#[derive(Clone, Debug)]
pub struct Guess<'a> {
    /// The public part of the secret, or the login name where it has none.
    pub credential: &'a str,
    /// Where the client is.
    pub network: Network,
    /// Who reported it.
    pub adapter: &'a str,
    /// Tells one wrong login from another; not the secret.
    pub fingerprint: u64,
}

/// What was refused lately.
#[derive(Debug, Default)]
pub struct Guesses {
    credentials: Counts<String>,
    networks: Counts<Network>,
    adapters: Counts<String>,
}

/// A count that others should know of.
#[derive(Clone, Debug, PartialEq)]
pub struct Pressure {
    /// Whose.
    pub subject: Subject,
    /// How many guesses it is worth now, at least one.
    pub count: f64,
}

/// Who is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A credential, by its public part.
    Credential(String),
    /// A network.
    Network(Network),
    /// An adapter.
    Adapter(String),
}

impl Guesses {
    /// Counts a refusal and says how long its answer waits.
    pub fn refused(&mut self, guess: &Guess<'_>, now: Time) -> Duration {
        let again = self.credentials.knows(guess.credential, guess.fingerprint);
        let worth = if again { 0.0 } else { 1.0 };
        let mut of_credential = self.credentials.add(guess.credential, worth, now);
        if !again {
            self.credentials.recognise(guess.credential, guess.fingerprint);
        }
        if again {
            // The wait of its owner's mistake does not grow by what strangers guess.
            of_credential = of_credential.min(OF_CREDENTIAL - 1.0);
        }
        let of_network = self.networks.add(&guess.network, worth, now);
        let of_adapter = self.adapters.add(guess.adapter, worth, now);
        let level = [
            doublings(of_credential, OF_CREDENTIAL),
            doublings(of_network, OF_NETWORK),
            doublings(of_adapter, OF_ADAPTER),
        ];
        let level = level.into_iter().max().unwrap_or(0).min(4);
        (LEAST_DELAY * 2_u32.pow(level)).min(LONGEST_DELAY)
    }

    /// The `most` heaviest counts of this broker's own, heaviest first.
    pub fn pressures(&self, most: usize, now: Time) -> Vec<Pressure> {
        let credentials = self.credentials.own(now, |key| Subject::Credential(key.clone()));
        let networks = self.networks.own(now, |network| Subject::Network(*network));
        let adapters = self.adapters.own(now, |name| Subject::Adapter(name.clone()));
        let mut all: Vec<_> = credentials.chain(networks).chain(adapters).collect();
        all.sort_by(|one, other| other.count.total_cmp(&one.count));
        all.truncate(most);
        all
    }

    /// Takes in what the other brokers counted; what they said before is forgotten.
    pub fn hear(&mut self, of_others: impl IntoIterator<Item = Pressure>, now: Time) {
        self.credentials.forget_others();
        self.networks.forget_others();
        self.adapters.forget_others();
        for Pressure { subject, count } in of_others {
            match subject {
                Subject::Credential(key) => self.credentials.hear(key, count, now),
                Subject::Network(network) => self.networks.hear(network, count, now),
                Subject::Adapter(name) => self.adapters.hear(name, count, now),
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count is small and not negative"
)]
fn doublings(count: f64, each: f64) -> u32 {
    (count / each).clamp(0.0, 31.0) as u32
}

/// Decaying counts by subject.
#[derive(Debug)]
struct Counts<K>(HashMap<K, Count>);

#[derive(Clone, Debug, Default)]
struct Count {
    own: f64,
    of_others: f64,
    at: Time,
    /// Of wrong secrets, the newest last.
    seen: Vec<u64>,
}

impl Count {
    /// As of `now`; a clock that went back changes nothing.
    fn settle(&mut self, now: Time) {
        let faded = fade(self.at, now);
        (self.own, self.of_others) = (self.own * faded, self.of_others * faded);
        self.at = self.at.max(now);
    }
}

fn fade(since: Time, now: Time) -> f64 {
    0.5_f64.powf(since.until(now).as_secs_f64() / HALF_LIFE.as_secs_f64())
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Counts<K> {
    fn knows<Q>(&self, subject: &Q, fingerprint: u64) -> bool
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(subject).is_some_and(|count| count.seen.contains(&fingerprint))
    }

    fn recognise<Q>(&mut self, subject: &Q, fingerprint: u64)
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(count) = self.0.get_mut(subject) {
            if count.seen.len() == RECOGNISED {
                count.seen.remove(0);
            }
            count.seen.push(fingerprint);
        }
    }

    fn add<Q>(&mut self, subject: &Q, worth: f64, now: Time) -> f64
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if !self.0.contains_key(subject) {
            self.make_room(now);
            self.0.insert(subject.to_owned(), Count { at: now, ..Count::default() });
        }
        let Some(count) = self.0.get_mut(subject) else { return worth };
        count.settle(now);
        count.own += worth;
        count.own + count.of_others
    }

    fn hear(&mut self, subject: K, worth: f64, now: Time) {
        if !self.0.contains_key(&subject) && self.0.len() >= REMEMBERED {
            return;
        }
        let count = self.0.entry(subject).or_insert_with(|| Count { at: now, ..Count::default() });
        count.settle(now);
        count.of_others += worth;
    }

    fn forget_others(&mut self) {
        self.0.values_mut().for_each(|count| count.of_others = 0.0);
    }

    fn own(&self, now: Time, subject: impl Fn(&K) -> Subject) -> impl Iterator<Item = Pressure> {
        let worth = move |count: &Count| count.own * fade(count.at, now);
        self.0
            .iter()
            .map(move |(key, count)| Pressure { subject: subject(key), count: worth(count) })
            .filter(|pressure| pressure.count >= 1.0)
    }

    /// Of a full memory the lighter half is forgotten at once, so that this is rare.
    fn make_room(&mut self, now: Time) {
        if self.0.len() < REMEMBERED {
            return;
        }
        self.0.values_mut().for_each(|count| count.settle(now));
        let mut weights: Vec<f64> =
            self.0.values().map(|count| count.own + count.of_others).collect();
        let (_, middle, _) = weights.select_nth_unstable_by(REMEMBERED / 2, f64::total_cmp);
        let middle = *middle;
        self.0.retain(|_, count| count.own + count.of_others > middle);
        if self.0.len() > REMEMBERED / 2 + 1 {
            // They all weigh the same.
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::from_millis(1_800_000_000_000);

    fn guess<'a>(credential: &'a str, address: &str, fingerprint: u64) -> Guess<'a> {
        let network = Network::of(address.parse().unwrap());
        Guess { credential, network, adapter: "door", fingerprint }
    }

    #[test]
    fn the_wait_doubles_with_each_handful_of_guesses_and_has_an_end() {
        let mut guesses = Guesses::default();
        let waits: Vec<u64> = (0..40)
            .map(|n| guesses.refused(&guess("abc", "192.0.2.7", n), START).as_secs())
            .collect();
        assert_eq!(waits[..3], [1, 1, 1]);
        assert_eq!((waits[3], waits[7], waits[11], waits[15]), (2, 4, 8, 15));
        assert!(waits.iter().all(|wait| *wait <= 15));
    }

    #[test]
    fn the_same_wrong_secret_again_does_not_escalate() {
        let mut guesses = Guesses::default();
        for _ in 0..1_000 {
            let wait = guesses.refused(&guess("abc", "192.0.2.7", 5), START);
            assert_eq!(wait, LEAST_DELAY);
        }
        assert!(guesses.pressures(10, START).iter().all(|it| it.count <= 1.0));
    }

    #[test]
    fn a_network_that_tries_many_credentials_waits_and_its_neighbour_does_not() {
        let mut guesses = Guesses::default();
        let names: Vec<String> = (0..64).map(|n| format!("c{n}")).collect();
        let last = names.iter().zip(0..).map(|(name, n)| {
            let address = format!("192.0.2.{n}");
            guesses.refused(&guess(name, &address, n), START)
        });
        assert_eq!(last.last(), Some(LONGEST_DELAY));
        assert_eq!(guesses.refused(&guess("other", "198.51.100.1", 99), START), LEAST_DELAY);
    }

    #[test]
    fn what_was_long_ago_counts_less() {
        let mut guesses = Guesses::default();
        for n in 0..16 {
            guesses.refused(&guess("abc", "192.0.2.7", n), START);
        }
        let later = START.after(HALF_LIFE * 4);
        assert_eq!(guesses.refused(&guess("abc", "192.0.2.7", 99), later), LEAST_DELAY);
    }

    #[test]
    fn t11_brokers_that_hear_of_each_other_count_together() {
        let (mut one, mut two) = (Guesses::default(), Guesses::default());
        for n in 0..12 {
            one.refused(&guess("abc", "192.0.2.7", n), START);
        }
        assert_eq!(two.refused(&guess("abc", "198.51.100.1", 50), START), LEAST_DELAY);
        for _ in 0..3 {
            // Said again, not counted again.
            two.hear(one.pressures(10, START), START);
        }
        let wait = two.refused(&guess("abc", "198.51.100.1", 51), START);
        assert_eq!(wait, Duration::from_secs(8));
        assert!(two.pressures(10, START).iter().all(|it| it.count <= 2.0), "its own only");
    }

    #[test]
    fn t30_whatever_is_tried_the_memory_is_bounded_and_the_heaviest_stay() {
        let mut guesses = Guesses::default();
        for n in 0..20 {
            guesses.refused(&guess("aim", "192.0.2.7", n), START);
        }
        for n in 0..30_000_u32 {
            let address = Ipv4Addr::from_bits(n << 8).to_string();
            guesses.refused(&guess(&n.to_string(), &address, 1), START);
        }
        let sizes = (guesses.credentials.0.len(), guesses.networks.0.len());
        assert!(sizes.0 <= REMEMBERED && sizes.1 <= REMEMBERED, "{sizes:?}");
        let wait = guesses.refused(&guess("aim", "203.0.113.1", 99), START);
        assert!(wait > LEAST_DELAY * 4, "{wait:?}");
    }

    #[test]
    fn a_network_comes_back_as_it_was_written() {
        for (address, text) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            let network = Network::of(address.parse().unwrap());
            assert_eq!(network.to_string(), text);
            assert_eq!(Network::parse(text), Some(network));
        }
        for bad in ["", "192.0.2.0", "192.0.2.0/8", "2001:db8::/24", "x/24"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
