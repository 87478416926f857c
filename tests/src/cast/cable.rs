//! A cable between a program and a server on loopback, which a test can cut and mend.
//!
//! It passes bytes on and knows nothing of them. Cut, every connection ends with a reset and new ones end at once; what was on
//! the way is lost, as in life. Holds at most 256 connections and 16 KiB of each direction. Loopback only. Next:
//! [`crate::world::replica`], whose brokers reach their database through one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::background::{Background, Spawner};

const CONNECTIONS_MAX: usize = 256;
const BUFFER: usize = 16 * 1024;

/// A running cable; dropping it cuts it for good.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    whole: watch::Sender<bool>,
    _background: Background,
}

impl Cable {
    /// Lays one from a free port to `to`.
    ///
    /// # Errors
    /// `to` is not on loopback, or no port is free.
    pub async fn lay(to: SocketAddr) -> Result<Self> {
        ensure!(to.ip().is_loopback(), "{to} is not on loopback");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a cable")?;
        let address = listener.local_addr()?;
        let (whole, state) = watch::channel(true);
        let background = Background::default();
        background.spawn(pass(listener, to, state, background.spawner()));
        Ok(Self { address, whole, _background: background })
    }

    /// The end to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts it: all connections end now, new ones at once.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Makes it whole again, for new connections.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn pass(
    listener: TcpListener,
    to: SocketAddr,
    whole: watch::Receiver<bool>,
    spawner: Spawner,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok((near, _)) = listener.accept().await {
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            reset(&near);
            continue;
        };
        let whole = whole.clone();
        spawner.spawn(async move {
            carry(near, to, whole).await;
            drop(place);
        });
    }
}

/// One connection, until either side ends it or the cable is cut.
async fn carry(mut near: TcpStream, to: SocketAddr, mut whole: watch::Receiver<bool>) {
    if !*whole.borrow() {
        return reset(&near);
    }
    let Ok(mut far) = TcpStream::connect(to).await else { return reset(&near) };
    for side in [&near, &far] {
        // Small packets wait for nobody; a socket that is gone cares not.
        let _ = side.set_nodelay(true);
    }
    let cut = tokio::select! {
        biased;
        _ = whole.wait_for(|whole| !*whole) => true,
        _ = copy_bidirectional_with_sizes(&mut near, &mut far, BUFFER, BUFFER) => false,
    };
    if cut {
        reset(&near);
        reset(&far);
    }
}

/// Its end will be a reset.
fn reset(stream: &TcpStream) {
    // A socket that is gone needs none.
    let _ = stream.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn an_echo() -> (SocketAddr, Background) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let background = Background::default();
        let spawner = background.spawner();
        background.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                spawner.spawn(async move {
                    let (mut from, mut into) = stream.split();
                    drop(tokio::io::copy(&mut from, &mut into).await);
                });
            }
        });
        (address, background)
    }

    async fn says_back(stream: &mut TcpStream) -> bool {
        let mut heard = [0; 2];
        let told = stream.write_all(b"hi").await.is_ok();
        told && stream.read_exact(&mut heard).await.is_ok() && heard == *b"hi"
    }

    #[tokio::test]
    async fn a_cable_that_is_cut_ends_what_was_on_it_and_carries_again_when_it_is_mended() {
        let (server, _background) = an_echo().await;
        let cable = Cable::lay(server).await.unwrap();
        let mut first = TcpStream::connect(cable.address()).await.unwrap();
        assert!(says_back(&mut first).await);
        cable.cut();
        assert!(first.read_u8().await.is_err(), "what was connected is not");
        let mut second = TcpStream::connect(cable.address()).await.unwrap();
        assert!(!says_back(&mut second).await);
        cable.mend();
        assert!(!says_back(&mut second).await, "what was cut stays cut");
        let mut third = TcpStream::connect(cable.address()).await.unwrap();
        assert!(says_back(&mut third).await);
    }
}
