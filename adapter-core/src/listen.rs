//! The front door: binds, accepts, and lets in whoever there is room for.
//!
//! Never waits for a client: after `accept` everything happens in the connection's own task. Invariant: no more tasks than the
//! [`Gate`] has places. Next: `connection`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

use crate::connection::Door;
use crate::dialogue::Protocol;
use crate::metrics::Entry;

/// Rest after a failed `accept`: out of file descriptors, most likely, and asking again at once would spin.
const REST: Duration = Duration::from_millis(100);

/// Why nobody can come in here.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: cannot listen on {address}: {problem}")]
pub struct ListenError {
    /// The field that asks for it.
    pub setting: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// What the system says, in words that help.
    pub problem: String,
}

/// Takes the address that `setting` asks for.
///
/// # Errors
/// [`ListenError`] names setting and address; a port in use and a port one may not have are told in plain words.
pub async fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|error| {
        let problem = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "the port is in use; stop the other program or choose another port".to_owned()
            }
            std::io::ErrorKind::PermissionDenied => {
                "no permission; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned()
            }
            _ => error.to_string(),
        };
        ListenError { setting, address, problem }
    })
}

/// Accepts until the adapter stops.
pub(crate) async fn accept<P: Protocol>(listener: TcpListener, door: Arc<Door<P>>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = door.tasks.stopping() => return,
        };
        match accepted {
            Ok((tcp, peer)) => enter(&door, tcp, peer),
            Err(error) => {
                warn!(%error, "cannot accept");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

fn enter<P: Protocol>(door: &Arc<Door<P>>, tcp: TcpStream, peer: SocketAddr) {
    match door.gate.enter() {
        Ok(pass) => {
            let inside = Arc::clone(door);
            door.tasks.spawn(async move { inside.serve(tcp, peer, pass).await });
        }
        Err(full) => {
            debug!(%peer, %full, "not let in");
            door.metrics.entered(Entry::Full);
        }
    }
}
