//! One connection from its first byte to its last.
//!
//! Never dials before the login here is accepted. Invariant: the steps are the same for every protocol: who is it, TLS,
//! dialogue, relay; each has a deadline. Next: `proxy_protocol`, `tls`, `drive`, `relay`, in this order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use token_broker_client::v1::SessionEndReason;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::dialogue::{ClientFacts, Farewell, Protocol};
use crate::drive::{Admitted, Visit};
use crate::limits::{Gate, Pass};
use crate::login::{Client, Desk};
use crate::metrics::{Entry, Metrics};
use crate::proxy_protocol::client_address;
use crate::relay::{End, Pool, Terms, relay};
use crate::settings::{ListenerSettings, ListenerTls};
use crate::stream::{Side, Stream};
use crate::tasks::Tasks;
use crate::tls::ServerTls;

/// What all connections of one listener share.
pub(crate) struct Door<P> {
    pub(crate) desk: Arc<Desk<P>>,
    pub(crate) listener: ListenerSettings,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) server_name: String,
    pub(crate) gate: Gate,
    pub(crate) pool: Pool,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Tasks,
}

impl<P: Protocol> Door<P> {
    /// Serves one connection; what goes wrong with it concerns nobody else.
    pub(crate) async fn serve(&self, tcp: TcpStream, peer: SocketAddr, pass: Pass) {
        if let Err(error) = Box::pin(self.talk(tcp, peer, pass)).await {
            debug!(%peer, %error, "connection ended");
        }
    }

    async fn talk(&self, tcp: TcpStream, peer: SocketAddr, mut pass: Pass) -> io::Result<()> {
        let until = Instant::now() + self.desk.limits().login;
        let mut stream = Stream::plain(tcp)?;
        let address = self.who(&mut stream, peer).await?;
        if let Err(full) = pass.identify(address.ip()) {
            self.metrics.entered(Entry::Full);
            return Err(io::Error::other(full));
        }
        let stream = self.secured(stream).await?;
        self.metrics.entered(Entry::Accepted);
        let mut dialogue = self.desk.protocol.client(self.facts(&stream, peer, address));
        let tls_version = stream.is_encrypted().then(|| stream.tls_version());
        let client = Client { address, tls_version };
        let (desk, tls) = (self.desk.as_ref(), self.tls.as_ref());
        let visit = Visit { desk, client, tls, until, received: 0 };
        let Some(admitted) = visit.drive(dialogue.as_mut(), stream).await? else { return Ok(()) };
        drop(dialogue);
        pass.logged_in();
        self.relay(admitted).await;
        Ok(())
    }

    /// The client's address, told by the socket or by the load balancer in front.
    async fn who(&self, stream: &mut Stream, peer: SocketAddr) -> io::Result<SocketAddr> {
        let Some(trusted) = &self.listener.proxy_protocol else { return Ok(peer) };
        let header = client_address(stream, peer, trusted);
        let told = timeout(self.desk.limits().tls, header).await;
        let told = told.map_err(io::Error::other).and_then(|told| told.map_err(io::Error::other));
        told.inspect_err(|_| self.metrics.entered(Entry::NoProxyHeader))
    }

    async fn secured(&self, stream: Stream) -> io::Result<Stream> {
        match (&self.tls, self.listener.tls) {
            (Some(tls), ListenerTls::Implicit) => {
                let side = Side::Server(tls.acceptor());
                let secured = stream.secure(side, self.desk.limits().tls).await;
                secured.inspect_err(|_| self.metrics.entered(Entry::NoTls))
            }
            (None, ListenerTls::Implicit) => Err(io::Error::other("no certificate")),
            _ => Ok(stream),
        }
    }

    /// A password may come in clear if it has not left this machine: from the peer on it has not, and where the listener expects
    /// TLS, neither must it have before the load balancer.
    fn facts(&self, stream: &Stream, peer: SocketAddr, client: SocketAddr) -> ClientFacts {
        let here = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        let encrypted = stream.is_encrypted();
        let plain_listener = self.listener.tls == ListenerTls::Plain;
        ClientFacts {
            server_name: self.server_name.clone(),
            encrypted,
            starttls: !encrypted && self.tls.is_some() && !plain_listener,
            plain_allowed: here(peer) && (plain_listener || here(client)),
            extensions: self.desk.offers.common(),
            attempts: self.desk.limits().attempts,
        }
    }

    async fn relay(&self, admitted: Admitted) {
        let Admitted { mut client, mut upstream, mut line } = admitted;
        let limits = self.desk.limits();
        let desk = Arc::clone(&self.desk);
        let words = Box::new(move |why| desk.protocol.farewell(why));
        let terms = Terms { idle: limits.idle, drain: limits.drain, words };
        self.metrics.session_began();
        let traffic = upstream.session.traffic();
        let end = relay(
            (&mut client, &mut upstream.stream),
            (&self.pool, traffic, &terms),
            line.as_mut(),
            (self.tasks.stopping(), upstream.watched.told()),
        )
        .await;
        let why = reason(end);
        self.metrics.session_ended(why, traffic.up(), traffic.down());
        debug!(?end, up = traffic.up(), down = traffic.down(), "session ended");
        upstream.session.ends(why);
    }
}

/// The end of a relay in the words of the contract.
fn reason(end: End) -> SessionEndReason {
    match end {
        End::Finished => SessionEndReason::Finished,
        End::Broken => SessionEndReason::Broken,
        End::Idle => SessionEndReason::Idle,
        End::Stopped => SessionEndReason::AdapterStopped,
        End::Told(Farewell::NeedsConsent) => SessionEndReason::NeedsConsent,
        End::Told(Farewell::ContactAdmin) => SessionEndReason::ContactAdmin,
        End::Told(Farewell::Operator) => SessionEndReason::Operator,
        End::Told(Farewell::CutOff) => SessionEndReason::CutOff,
        End::Told(_) => SessionEndReason::Revoked,
    }
}
