//! Who the client really is, told by a load balancer in front (PROXY protocol, versions 1 and 2).
//!
//! Never guesses: a listener either requires the header, as the first bytes and once, or takes none. Invariant: a header is
//! believed only from networks that are listed, and not one byte behind it is read. Next: `listen` counts the address.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest header of version 1, in bytes.
const MAX_V1: usize = 107;
/// Longest header of version 2 that is read, in bytes; what load balancers add to it stays well below.
const MAX_V2: usize = 1024;
/// What both versions are told apart by; shorter than the shortest of either.
const SIGNATURE: usize = 12;

/// Why a connection is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Whoever connects is not one of the listed load balancers.
    #[error("{0} is not in proxy_protocol")]
    Stranger(IpAddr),
    /// No header, or a broken one.
    #[error("no PROXY header: {0}")]
    Header(&'static str),
    /// The connection broke.
    #[error("no PROXY header: {0}")]
    Io(#[from] io::Error),
}

/// Reads the header and tells the client's address. A load balancer that speaks for itself (`LOCAL`, `UNKNOWN`) is the client.
/// The caller sets the deadline.
///
/// # Errors
/// [`ProxyError`]; the connection has to be closed then.
pub async fn client_address(
    stream: &mut (impl AsyncRead + Unpin),
    peer: SocketAddr,
    trusted: &[IpNet],
) -> Result<SocketAddr, ProxyError> {
    let ip = peer.ip().to_canonical();
    if !trusted.iter().any(|network| network.contains(&ip)) {
        return Err(ProxyError::Stranger(ip));
    }
    let mut header = vec![0; SIGNATURE];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        read_v2(stream, &mut header).await?;
        let parsed =
            v2::Header::try_from(header.as_slice()).map_err(|_| ProxyError::Header("malformed"))?;
        return Ok(address_v2(&parsed).unwrap_or(peer));
    }
    if !header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        return Err(ProxyError::Header("something else came"));
    }
    while !header.ends_with(b"\r\n") {
        if header.len() == MAX_V1 {
            return Err(ProxyError::Header("too long"));
        }
        header.push(stream.read_u8().await?);
    }
    let parsed =
        v1::Header::try_from(header.as_slice()).map_err(|_| ProxyError::Header("malformed"))?;
    Ok(address_v1(&parsed).unwrap_or(peer))
}

async fn read_v2(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
) -> Result<(), ProxyError> {
    header.resize(SIGNATURE + 4, 0);
    stream.read_exact(&mut header[SIGNATURE..]).await?;
    let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if header.len() + rest > MAX_V2 {
        return Err(ProxyError::Header("too long"));
    }
    header.resize(SIGNATURE + 4 + rest, 0);
    stream.read_exact(&mut header[SIGNATURE + 4..]).await?;
    Ok(())
}

fn address_v1(header: &v1::Header<'_>) -> Option<SocketAddr> {
    match header.addresses {
        v1::Addresses::Tcp4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Tcp6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

fn address_v2(header: &v2::Header<'_>) -> Option<SocketAddr> {
    match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => {
            Some((ip.source_address, ip.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => {
            Some((ip.source_address, ip.source_port).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8], peer: &str) -> (Result<SocketAddr, ProxyError>, Vec<u8>) {
        let mut stream = bytes;
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let address = client_address(&mut stream, peer.parse().unwrap(), &trusted).await;
        (address, stream.to_vec())
    }

    const BALANCER: &str = "10.1.1.1:4000";

    fn version_2() -> Vec<u8> {
        let addresses = v2::IPv4::new([192, 0, 2, 7], [10, 0, 0, 1], 5000, 993);
        v2::Builder::with_addresses(
            v2::Version::Two | v2::Command::Proxy,
            v2::Protocol::Stream,
            addresses,
        )
        .build()
        .unwrap()
    }

    #[tokio::test]
    async fn both_versions_tell_the_client_and_leave_the_rest_alone() {
        let (address, rest) =
            read(b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 993\r\na1 NOOP\r\n", BALANCER).await;
        assert_eq!(address.unwrap(), "192.0.2.7:5000".parse().unwrap());
        assert_eq!(rest, b"a1 NOOP\r\n");
        let (address, rest) = read(&[&version_2()[..], b"xyz"].concat(), BALANCER).await;
        assert_eq!(address.unwrap(), "192.0.2.7:5000".parse().unwrap());
        assert_eq!(rest, b"xyz");
    }

    #[tokio::test]
    async fn a_balancer_that_speaks_for_itself_is_the_client() {
        let (address, _) = read(b"PROXY UNKNOWN\r\n", BALANCER).await;
        assert_eq!(address.unwrap(), BALANCER.parse().unwrap());
    }

    #[tokio::test]
    async fn a_stranger_is_not_believed() {
        let (address, rest) = read(b"PROXY TCP4 192.0.2.7 1.1.1.1 1 2\r\n", "192.0.2.1:9").await;
        assert!(matches!(address, Err(ProxyError::Stranger(_))));
        assert!(rest.starts_with(b"PROXY"), "not one byte of a stranger is read");
    }

    #[tokio::test]
    async fn a_second_header_is_left_to_the_protocol_and_changes_nothing() {
        let twice =
            b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 993\r\nPROXY TCP4 6.6.6.6 10.0.0.1 1 2\r\n";
        let (address, rest) = read(twice, BALANCER).await;
        assert_eq!(address.unwrap().ip(), IpAddr::from([192, 0, 2, 7]));
        assert!(rest.starts_with(b"PROXY TCP4 6.6.6.6"));
    }

    #[tokio::test]
    async fn no_header_or_a_broken_one_is_refused_wherever_it_ends() {
        let whole = version_2();
        for end in 0..whole.len() {
            assert!(read(&whole[..end], BALANCER).await.0.is_err(), "cut at {end}");
        }
        for wrong in ["* OK hello there", "PROXY TCP4 x y 1 2\r\n", "PROXY  TCP4 \r\n      "] {
            assert!(read(wrong.as_bytes(), BALANCER).await.0.is_err(), "{wrong:?}");
        }
        let endless = format!("PROXY TCP4 {}", "1".repeat(300));
        assert!(read(endless.as_bytes(), BALANCER).await.0.is_err());
    }
}
