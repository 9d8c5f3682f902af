//! The shell of sealed gossip.
//!
//! The library's messages become bytes only inside its own UDP socket. So that socket is kept on a pair of loopback ports
//! that no datagram leaves, as the codec, and what comes out of it is sealed and sent by a socket of ours. Way A of the
//! two that there are: the other is a copy of the library.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use chitchat::{
    ChitchatEnvelope,
    transport::{RecvOutcome, SendOutcome, Socket, UdpSocket as Codec},
};
use tokio::{net::UdpSocket, sync::watch, time::timeout};

use super::{
    super::{ring::InUse, seeds::canonical},
    seal::{Dropped, Opened, Seal},
};
use crate::metrics::Metrics;

/// Longest payload of a UDP datagram over IPv4.
const DATAGRAM_MAX: usize = 65_507;
/// How long a message may take through the codec: it is microseconds, and never when the kernel dropped it or the library
/// does not understand it.
const CODEC_WITHIN: Duration = Duration::from_millis(50);
/// An ephemeral port of loopback.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A socket whose datagrams only holders of a key understand.
pub(in crate::membership) struct SealedSocket {
    network: UdpSocket,
    codec: Codec,
    codec_at: SocketAddr,
    inner: UdpSocket,
    inner_at: SocketAddr,
    /// `None` before there is a key.
    seal: Option<Seal>,
    sends_sealed: bool,
    believes_open: bool,
    cluster: String,
    /// Bytes of a sealed datagram.
    longest: usize,
    /// Of those that [`Seal::incomplete`] counts, those that were reported.
    incomplete: u64,
    ring: watch::Receiver<InUse>,
    buffer: Box<[u8]>,
    /// Who sent the datagram that was handed to the codec and has not come out of it: a receive may be given up between.
    under_way: Option<SocketAddr>,
    metrics: Arc<Metrics>,
}

impl SealedSocket {
    /// Around a socket that is open, of a member of `cluster`. Sealed datagrams have `longest` bytes at most.
    pub(in crate::membership) async fn new(
        network: UdpSocket,
        (cluster, longest): (String, usize),
        ring: watch::Receiver<InUse>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let codec = Codec::open(LOOPBACK).await?;
        let inner = UdpSocket::bind(LOOPBACK).await.context("no port of loopback for gossip")?;
        let (codec_at, inner_at) = (codec.local_addr()?, inner.local_addr()?);
        let buffer = vec![0; DATAGRAM_MAX].into_boxed_slice();
        let mut socket = Self {
            network,
            codec,
            codec_at,
            inner,
            inner_at,
            seal: None,
            sends_sealed: true,
            believes_open: false,
            cluster,
            longest,
            incomplete: 0,
            ring,
            buffer,
            under_way: None,
            metrics,
        };
        socket.take_ring();
        Ok(socket)
    }

    /// Takes up another ring.
    fn follow_ring(&mut self) {
        if self.ring.has_changed().unwrap_or(false) {
            self.take_ring();
        }
    }

    fn take_ring(&mut self) {
        let InUse { keys, sends_sealed, believes_open, .. } = self.ring.borrow_and_update().clone();
        (self.sends_sealed, self.believes_open) = (sends_sealed, believes_open);
        match (keys, &mut self.seal) {
            (Some(keys), Some(seal)) => {
                tracing::info!(before = seal.ring().names(), now = keys.names(), "keys of gossip, the first seals");
                seal.replace(keys);
            }
            (Some(keys), none) => *none = Some(Seal::new(keys, self.cluster.clone(), rand::random())),
            // There is no way back to no key but by a way back to open gossip, which opens what is sealed.
            (None, _) => {}
        }
    }

    /// What is in a datagram that was received into the buffer.
    fn open(&mut self, length: usize) -> Result<Opened, Dropped> {
        let datagram = &self.buffer[..length];
        let opened = self.seal.as_mut().map_or(Err(Dropped::NoKey), |seal| seal.open(datagram));
        match opened {
            Err(Dropped::NotSealed) if self.believes_open => Ok(Opened::Message(datagram.to_vec())),
            opened => opened,
        }
    }

    /// Counts messages of which pieces were lost.
    fn count_incomplete(&mut self, from: SocketAddr) {
        let incomplete = self.seal.as_ref().map_or(0, Seal::incomplete);
        for _ in self.incomplete..incomplete {
            self.metrics.gossip_dropped("incomplete", from);
        }
        self.incomplete = incomplete;
    }

    /// The bytes of a message.
    async fn encode(&mut self, envelope: ChitchatEnvelope) -> anyhow::Result<usize> {
        // What a send that was given up has left.
        while self.inner.try_recv_from(&mut self.buffer).is_ok() {}
        self.codec.send(self.inner_at, envelope).await?;
        loop {
            let (length, from) = timeout(CODEC_WITHIN, self.inner.recv_from(&mut self.buffer))
                .await
                .context("a message did not come out of its codec")??;
            if from == self.codec_at {
                return Ok(length);
            }
        }
    }

    /// The message that is under way through the codec.
    async fn decoded(&mut self, from: SocketAddr) -> anyhow::Result<Option<RecvOutcome>> {
        loop {
            match timeout(CODEC_WITHIN, self.codec.recv()).await {
                // Somebody else on this host found the port.
                Ok(Ok(stray)) if stray.from_addr != self.inner_at => {}
                Ok(decoded) => {
                    self.under_way = None;
                    return decoded.map(|decoded| Some(RecvOutcome { from_addr: from, ..decoded }));
                }
                Err(_) => {
                    self.under_way = None;
                    self.metrics.gossip_dropped("not_understood", from);
                    return Ok(None);
                }
            }
        }
    }

    async fn receive(&mut self) -> anyhow::Result<RecvOutcome> {
        loop {
            if let Some(from) = self.under_way
                && let Some(decoded) = self.decoded(from).await?
            {
                return Ok(decoded);
            }
            let (length, from) = match self.network.recv_from(&mut self.buffer).await {
                Ok(received) => received,
                // An ICMP answer to what was sent before.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::OutOfMemory) => {
                    continue;
                }
                Err(error) => return Err(error).context("cannot receive gossip"),
            };
            self.follow_ring();
            match self.open(length) {
                Ok(Opened::Message(content)) => {
                    self.inner.send_to(&content, self.codec_at).await.context("a message did not reach its codec")?;
                    self.under_way = Some(canonical(from));
                }
                Ok(Opened::Nothing) => self.count_incomplete(from),
                Ok(Opened::Answer(answer, dropped)) => {
                    // No line: every process is new once.
                    if let Some(dropped) = dropped {
                        self.metrics.gossip_dropped.of(dropped.as_str()).inc();
                    }
                    // What is lost is asked for again. Not waited for: a send that is given up in the middle is sent whole or not.
                    let _ = self.network.try_send_to(&answer, from);
                }
                Err(dropped) => self.metrics.gossip_dropped(dropped.as_str(), from),
            }
        }
    }
}

impl Socket for SealedSocket {
    fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.network.local_addr()?)
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
        Box::pin(async move {
            self.follow_ring();
            let length = self.encode(envelope).await?;
            let content = &self.buffer[..length];
            let datagrams = match (&mut self.seal, self.sends_sealed) {
                (_, false) => vec![content.to_vec()],
                (Some(seal), true) => seal.seal(content, self.longest),
                // The aggregator says that it waits for a key.
                (None, true) => return Ok(SendOutcome { num_bytes_sent: 0 }),
            };
            if datagrams.len() > 1 {
                self.metrics.gossip_in_pieces(content.len(), datagrams.len());
            }
            let mut num_bytes_sent = 0;
            for datagram in datagrams {
                match self.network.send_to(&datagram, to).await {
                    Ok(sent) => num_bytes_sent += sent,
                    // The library would say nothing of it.
                    Err(error) => {
                        self.metrics.gossip_not_sent(to, datagram.len(), &error);
                        return Err(error).context("cannot send gossip");
                    }
                }
            }
            Ok(SendOutcome { num_bytes_sent })
        })
    }

    /// Cancel safe.
    fn recv<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = anyhow::Result<RecvOutcome>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.receive())
    }
}
