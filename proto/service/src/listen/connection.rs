//! One connection that was taken: plain or by TLS, with who is at the other end.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::{admission::Place, metrics::ListenMetrics};
use crate::{
    credentials::{Credentials, KeyDigest},
    identity::Identity,
};

/// A request, or the start of HTTP/2, must have begun within this time.
const BEGUN_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of the shortest request that there is, "GET / HTTP/1.0" and two ends of line, less two.
const REQUEST_BYTES_LEAST: u64 = 16;
/// Bytes of the start of HTTP/2 (RFC 9113, section 3.4), which begins with this letter.
const PREFACE_BYTES: u64 = 24;
const PREFACE_FIRST: u8 = b'P';

/// Who is at the other end; among the extensions of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection came from. Never an identity.
    pub address: SocketAddr,
    /// By its certificate; `None` in plain text, and for who may bring a token instead.
    pub identity: Option<Arc<Identity>>,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
}

impl Peer {
    /// Whether it may speak for `name` in `role`. In plain text everybody may.
    ///
    /// # Errors
    /// Whom it may speak for instead.
    pub fn speaks_for(&self, role: crate::identity::Role, name: &str) -> Result<(), String> {
        match &self.identity {
            None if !self.encrypted => Ok(()),
            None => Err("it has brought no certificate".to_owned()),
            Some(identity) if identity.role == role && identity.name.as_str() == name => Ok(()),
            Some(identity) => Err(format!("its certificate is that of {}", identity.short())),
        }
    }
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// By what the other end was taken, which may be refused later.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) credentials: Arc<Credentials>,
    pub(super) key: KeyDigest,
    /// [`Credentials::refusals`] when it was last looked at.
    pub(super) seen: u64,
}

/// A connection that was taken.
#[derive(Debug)]
pub struct Connection {
    io: Io,
    peer: Peer,
    proof: Option<Proof>,
    /// Until it has shown that it means something.
    unproved: Option<Unproved>,
    open: Open,
}

#[derive(Debug)]
struct Unproved {
    until: Pin<Box<Sleep>>,
    read: u64,
    is_http2: bool,
}

/// Counted as open as long as it lives.
#[derive(Debug)]
struct Open {
    metrics: ListenMetrics,
    _place: Place,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.open.add(-1.0);
    }
}

impl Connection {
    pub(super) fn plain(stream: TcpStream, peer: SocketAddr, place: Place, metrics: ListenMetrics) -> Self {
        let peer = Peer { address: peer, identity: None, encrypted: false };
        Self::new(Io::Plain(stream), (peer, None), place, metrics)
    }

    pub(super) fn tls(
        stream: TlsStream<TcpStream>,
        (address, proved): (SocketAddr, Option<(Identity, Proof)>),
        place: Place,
        metrics: ListenMetrics,
    ) -> Self {
        let (identity, proof) = proved.unzip();
        let peer = Peer { address, identity: identity.map(Arc::new), encrypted: true };
        Self::new(Io::Tls(Box::new(stream)), (peer, proof), place, metrics)
    }

    fn new(io: Io, (peer, proof): (Peer, Option<Proof>), place: Place, metrics: ListenMetrics) -> Self {
        metrics.opened.inc();
        metrics.open.add(1.0);
        let until = Box::pin(tokio::time::sleep(BEGUN_WITHIN));
        let unproved = Some(Unproved { until, read: 0, is_http2: false });
        Self { io, peer, proof, unproved, open: Open { metrics, _place: place } }
    }

    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Connection {
    /// Fails once who is at the other end was taken out. Looked at with every read: what is open is read all the time,
    /// pings at least.
    fn still_taken(&mut self) -> io::Result<()> {
        let (Some(proof), Some(identity)) = (&mut self.proof, &self.peer.identity) else { return Ok(()) };
        let refusals = proof.credentials.refusals();
        if proof.seen == refusals {
            return Ok(());
        }
        proof.seen = refusals;
        let Some(why) = proof.credentials.refuses(identity, &proof.key) else { return Ok(()) };
        let why = format!("its certificate is not taken any more: {why}");
        self.open.metrics.refuse("certificate", self.peer.address, Some(&why));
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, why))
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.still_taken()?;
        let before = buf.filled().len();
        let read = match &mut this.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
        };
        let Some(unproved) = &mut this.unproved else { return read };
        if read.is_pending() {
            ready!(unproved.until.as_mut().poll(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request in time")));
        }
        let new = &buf.filled()[before..];
        if unproved.read == 0 {
            unproved.is_http2 = new.first() == Some(&PREFACE_FIRST);
        }
        unproved.read += new.len() as u64;
        if unproved.read >= if unproved.is_http2 { PREFACE_BYTES } else { REQUEST_BYTES_LEAST } {
            this.unproved = None;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, bytes),
            Io::Tls(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, bytes),
            Io::Tls(io) => Pin::new(io).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
