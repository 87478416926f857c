//! Which addresses we talk to (SSRF: threat T24).
//!
//! Never connects to an address other than the one it looked at: the resolver that checks is the one the connection
//! uses, so a name that changes its mind between two look-ups gains nothing. Invariant: without the operator's word no
//! request goes to loopback, private or link-local addresses, and none goes in clear. Next: [`wire`](super::wire).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// What the operator's settings allow beyond public https.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressRule {
    /// Loopback addresses, there also by plain `http`. For test worlds.
    pub allow_insecure_loopback: bool,
    /// Private networks (RFC 1918, RFC 4193, RFC 6598): an authorization server inside the house.
    pub allow_private: bool,
}

/// Why an address is refused. Names no URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// Not `https`.
    #[error("only https is allowed")]
    NotHttps,
    /// A user name, password or fragment in the URL.
    #[error("a URL here must not hold a user, a password or a fragment")]
    Decorated,
    /// No host in the URL.
    #[error("the URL names no host")]
    NoHost,
    /// The address is loopback, private, link-local or otherwise not public.
    #[error("the address is not a public one")]
    NotPublic,
}

impl AddressRule {
    /// Checks scheme and host of a URL; a name is looked up and checked again when it is connected to.
    pub fn check(self, url: &Url) -> Result<(), AddressRefused> {
        let decorated = !url.username().is_empty() || url.password().is_some();
        if decorated || url.fragment().is_some() {
            return Err(AddressRefused::Decorated);
        }
        let host = url.host().ok_or(AddressRefused::NoHost)?;
        let address = match host {
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
            Host::Domain("localhost") => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Host::Domain(_) => None,
        };
        if let Some(address) = address.filter(|address| !self.permits(*address)) {
            tracing::debug!(%address, "endpoint address refused");
            return Err(AddressRefused::NotPublic);
        }
        let loopback = address.is_some_and(|address| address.is_loopback());
        match url.scheme() {
            "https" => Ok(()),
            "http" if loopback && self.allow_insecure_loopback => Ok(()),
            _ => Err(AddressRefused::NotHttps),
        }
    }

    /// Whether this address may be connected to.
    pub fn permits(self, address: IpAddr) -> bool {
        match address.to_canonical() {
            address if address.is_loopback() => self.allow_insecure_loopback,
            IpAddr::V4(v4) if is_private_v4(v4) => self.allow_private,
            IpAddr::V6(v6) if v6.is_unique_local() => self.allow_private,
            IpAddr::V4(v4) => is_public_v4(v4),
            IpAddr::V6(v6) => is_public_v6(v6),
        }
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private() || (a == 100 && (64..128).contains(&b))
}

/// Not the special-purpose blocks of RFC 6890, among them 169.254/16 where clouds keep machine credentials.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special =
        a == 0 || a >= 240 || (a, b, c) == (192, 0, 0) || (a == 198 && (18..20).contains(&b));
    !(special
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation())
}

/// Global unicast without the blocks that carry an IPv4 address inside (NAT64, 6to4, Teredo) or documentation.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let tunnel = a == 0x2002 || (a == 0x2001 && b < 0x0200);
    let documentation = (a, b) == (0x2001, 0x0db8) || a == 0x3fff;
    (0x2000..0x4000).contains(&a) && !tunnel && !documentation
}

/// The resolver of the one client: looks up once, passes on only what the rule permits.
pub(super) struct GuardedResolver(pub(super) AddressRule);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let permitted: Vec<SocketAddr> = found.filter(|to| rule.permits(to.ip())).collect();
            if permitted.is_empty() {
                return Err(AddressRefused::NotPublic.into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GuardedResolver").field(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: AddressRule =
        AddressRule { allow_insecure_loopback: false, allow_private: false };
    const HOUSE: AddressRule = AddressRule { allow_insecure_loopback: false, allow_private: true };
    const WORLD: AddressRule = AddressRule { allow_insecure_loopback: true, allow_private: false };

    fn check(rule: AddressRule, url: &str) -> Result<(), AddressRefused> {
        rule.check(&Url::parse(url).unwrap())
    }

    #[test]
    fn only_public_addresses_are_reachable_by_default() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "fec0::1",
        ] {
            assert!(!PUBLIC.permits(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["8.8.8.8", "142.250.1.1", "2a00:1450:4001::1", "2600::1"] {
            assert!(PUBLIC.permits(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn permission_for_the_house_does_not_open_the_machine() {
        assert!(HOUSE.permits("10.1.2.3".parse().unwrap()));
        assert!(HOUSE.permits("fd00::1".parse().unwrap()));
        assert!(!HOUSE.permits("127.0.0.1".parse().unwrap()));
        assert!(!HOUSE.permits("169.254.169.254".parse().unwrap()));
    }

    #[test]
    fn plain_http_needs_loopback_and_the_operators_word() {
        assert_eq!(check(WORLD, "http://127.0.0.1:8080/token"), Ok(()));
        assert_eq!(check(WORLD, "http://[::1]:8080/token"), Ok(()));
        assert_eq!(check(WORLD, "http://localhost:8080/token"), Ok(()));
        assert_eq!(check(WORLD, "http://provider.example/token"), Err(AddressRefused::NotHttps));
        assert_eq!(check(PUBLIC, "http://127.0.0.1/token"), Err(AddressRefused::NotPublic));
        assert_eq!(check(PUBLIC, "https://localhost/token"), Err(AddressRefused::NotPublic));
        assert_eq!(check(PUBLIC, "http://provider.example/"), Err(AddressRefused::NotHttps));
        assert_eq!(check(PUBLIC, "file:///etc/passwd"), Err(AddressRefused::NoHost));
        assert_eq!(check(PUBLIC, "https://u:p@provider.example/"), Err(AddressRefused::Decorated));
        assert_eq!(check(PUBLIC, "https://0x7f.1/token"), Err(AddressRefused::NotPublic));
        assert_eq!(check(PUBLIC, "https://provider.example/token"), Ok(()));
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_when_it_is_looked_up() {
        let lookup = |rule| GuardedResolver(rule).resolve("localhost".parse().unwrap());
        assert!(lookup(PUBLIC).await.is_err());
        assert!(lookup(WORLD).await.is_ok(), "the attack would work without the rule");
    }
}
