//! The socket that gossips, and what it says of messages of another cluster.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use chitchat::{
    ChitchatEnvelope, ChitchatMessage,
    transport::{RecvOutcome, SendOutcome, Socket, UdpSocket},
};

use crate::metrics::Metrics;

/// A socket that reports by whom we, or our cluster, are mistaken for another: the library knows, but not the address.
pub(super) struct ClusterSocket {
    socket: UdpSocket,
    cluster: String,
    metrics: Arc<Metrics>,
}

impl ClusterSocket {
    /// Around an open one, of a member of `cluster`.
    pub(super) const fn new(socket: UdpSocket, cluster: String, metrics: Arc<Metrics>) -> Self {
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
