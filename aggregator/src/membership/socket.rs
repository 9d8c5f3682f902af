//! The sockets that gossip, plain or sealed, and what they say of messages of another cluster.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use chitchat::{
    ChitchatEnvelope, ChitchatMessage,
    transport::{RecvOutcome, SendOutcome, Socket, Transport, UdpSocket},
};
use tokio::sync::watch;

use super::{ring::InUse, sealed::SealedSocket};
use crate::metrics::Metrics;

/// A socket of the network, open.
pub(super) enum Wire {
    /// The library's own.
    Plain(UdpSocket),
    /// Ours, to be sealed.
    ToBeSealed(tokio::net::UdpSocket),
}

impl Wire {
    /// Opens one.
    pub(super) async fn open(address: SocketAddr, sealed: bool) -> anyhow::Result<Self> {
        Ok(match sealed {
            true => Self::ToBeSealed(tokio::net::UdpSocket::bind(address).await?),
            false => Self::Plain(UdpSocket::open(address).await?),
        })
    }

    /// Where it is.
    pub(super) fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        match self {
            Self::Plain(socket) => socket.local_addr(),
            Self::ToBeSealed(socket) => Ok(socket.local_addr()?),
        }
    }
}

/// Hands over a socket that is already open, so that its port is known before the first message names it. Opened
/// again by address when the task is started again.
pub(super) struct OpenTransport {
    pub(super) open: Mutex<Option<Wire>>,
    pub(super) cluster: String,
    /// Bytes of a sealed datagram.
    pub(super) longest: usize,
    /// The keys that seal; `None`: plain.
    pub(super) keys: Option<watch::Receiver<InUse>>,
    pub(super) metrics: Arc<Metrics>,
}

impl Transport for OpenTransport {
    fn open<'a, 'b>(
        &'a self,
        listen_addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = anyhow::Result<Box<dyn Socket>>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            // Short section: the lock is released before the wait below.
            let ready = self.open.lock().ok().and_then(|mut socket| socket.take());
            let wire = match ready {
                Some(wire) => wire,
                None => Wire::open(listen_addr, self.keys.is_some()).await?,
            };
            let (cluster, metrics) = (self.cluster.clone(), self.metrics.clone());
            let socket: Box<dyn Socket> = match (wire, &self.keys) {
                (Wire::ToBeSealed(socket), Some(keys)) => {
                    let sealed =
                        SealedSocket::new(socket, (cluster.clone(), self.longest), keys.clone(), metrics.clone())
                            .await?;
                    Box::new(ClusterSocket::new(Box::new(sealed), cluster, metrics))
                }
                (Wire::Plain(socket), None) => Box::new(ClusterSocket::new(Box::new(socket), cluster, metrics)),
                _ => anyhow::bail!("a socket was opened for the other kind of gossip"),
            };
            Ok(socket)
        })
    }
}

/// A socket that reports by whom we, or our cluster, are mistaken for another: the library knows, but not the address.
struct ClusterSocket {
    socket: Box<dyn Socket>,
    cluster: String,
    metrics: Arc<Metrics>,
}

impl ClusterSocket {
    /// Around an open one, of a member of `cluster`.
    const fn new(socket: Box<dyn Socket>, cluster: String, metrics: Arc<Metrics>) -> Self {
        Self { socket, cluster, metrics }
    }

    fn look_at(&self, received: &RecvOutcome) {
        match &received.envelope.message {
            ChitchatMessage::Syn { cluster_id, .. } if *cluster_id != self.cluster => {
                self.metrics.wrong_cluster(received.from_addr, &self.cluster, cluster_id);
            }
            ChitchatMessage::BadCluster => self.metrics.wrong_cluster(received.from_addr, &self.cluster, ""),
            _ => {}
        }
    }
}

impl Socket for ClusterSocket {
    fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn send<'a, 'b>(
        &'a mut self,
        to: SocketAddr,
        envelope: ChitchatEnvelope,
    ) -> Pin<Box<dyn Future<Output = anyhow::Result<SendOutcome>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        self.socket.send(to, envelope)
    }

    fn recv<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = anyhow::Result<RecvOutcome>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let received = self.socket.recv().await?;
            self.look_at(&received);
            Ok(received)
        })
    }
}
