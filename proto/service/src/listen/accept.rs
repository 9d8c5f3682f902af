//! The one accept loop of every listener.
//!
//! A connection is *opened* beside the loop: of a plain one the first byte must come, of a TLS one the handshake must
//! end, both within a time. Those that are being opened are bounded; when there are too many, the oldest that has said
//! nothing goes: an honest one speaks within milliseconds. When all have spoken, handshakes wait for a processor: who comes
//! then waits in the queue of the kernel until one is done or has had its time, since giving up handshakes that are half
//! done would only make more of them.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::Stream;

use super::{
    admission::{Admission, Whose},
    connection::{Connection, Proof},
    metrics::ListenMetrics,
};
use crate::{
    credentials::{Credentials, Security, key_digest, plain},
    identity::Identity,
};

/// Wait after an accept that failed for want of something. Without it a process that is out of descriptors spins on one
/// core: the connection stays in the queue and the listener stays readable.
const AFTER_ERROR: Duration = Duration::from_millis(100);
/// How long a first byte, or a handshake, may take.
const OPENED_WITHIN: Duration = Duration::from_secs(5);
/// Connections of one listener that are being opened. A handshake costs a core about a millisecond.
const OPENING_MAX: usize = 2_048;
/// How long one that has spoken is kept when there are too many.
const SPEAKING_OLD: Duration = Duration::from_secs(1);

/// Connections as they come in, small writes sent at once, each opened. Never ends.
#[derive(Debug)]
pub struct Connections {
    listener: TcpListener,
    /// The end of the pause after a failure.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    prepare: fn(&TcpStream),
    security: Security,
    metrics: ListenMetrics,
    admission: Admission,
    opening: JoinSet<Option<Connection>>,
    /// By age, the oldest first.
    ages: VecDeque<Age>,
    /// Until one of them is old, while there are too many.
    full: Option<Pin<Box<tokio::time::Sleep>>>,
}

/// One that is being opened.
#[derive(Debug)]
struct Age {
    since: Instant,
    spoke: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Age {
    /// From when on it goes for one that comes.
    fn old_at(&self) -> Instant {
        if self.spoke.load(Relaxed) { self.since + SPEAKING_OLD } else { self.since }
    }
}

impl Connections {
    /// Takes the connections of `listener`, in plain text.
    #[must_use]
    pub fn of(listener: TcpListener) -> Self {
        Self {
            listener,
            pause: None,
            prepare: |_| {},
            security: Security::plain(),
            metrics: ListenMetrics::default(),
            admission: Admission::default(),
            opening: JoinSet::new(),
            ages: VecDeque::new(),
            full: None,
        }
    }

    /// Has each new connection prepared, such as with a smaller buffer.
    #[must_use]
    pub const fn prepared(mut self, prepare: fn(&TcpStream)) -> Self {
        self.prepare = prepare;
        self
    }

    /// By mutual TLS, when `security` says so.
    #[must_use]
    pub fn secured(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// Counts where the service shows it.
    #[must_use]
    pub fn counted(mut self, metrics: ListenMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// The next connection. Cancel safe.
    pub async fn next(&mut self) -> Connection {
        std::future::poll_fn(|context| self.poll_open(context)).await
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Connection> {
        loop {
            while let Poll::Ready(Some(ended)) = self.opening.poll_join_next(context) {
                // One that was given up, and one whose opening panicked, is no connection.
                if let Ok(Some(connection)) = ended {
                    return Poll::Ready(connection);
                }
            }
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            std::task::ready!(self.poll_room(context));
            match std::task::ready!(self.listener.poll_accept(context)) {
                Ok((connection, peer)) => self.open(connection, peer),
                // The client went before it was taken; the next may be there already.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
                Err(error) => {
                    self.metrics.fail(&error);
                    self.evict(self.next_to_go());
                    self.pause = Some(Box::pin(tokio::time::sleep(AFTER_ERROR)));
                }
            }
        }
    }

    fn open(&mut self, stream: TcpStream, peer: SocketAddr) {
        // A connection that cannot be tuned is no reason to refuse the client.
        let _ = stream.set_nodelay(true);
        (self.prepare)(&stream);
        // Each that ended and stands here keeps the memory of its task.
        while self.ages.front().is_some_and(|age| age.task.is_finished()) {
            self.ages.pop_front();
        }
        if self.ages.len() >= 2 * OPENING_MAX {
            self.ages.retain(|age| !age.task.is_finished());
        }
        let spoke = Arc::<AtomicBool>::default();
        let opening = Opening {
            stream,
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            metrics: self.metrics.clone(),
            admission: self.admission.clone(),
            spoke: spoke.clone(),
        };
        let task = match self.security.credentials() {
            None => self.opening.spawn(opening.plain()),
            Some(credentials) => self.opening.spawn(opening.tls(Arc::clone(credentials))),
        };
        self.ages.push_back(Age { since: Instant::now(), spoke, task });
    }

    /// Room for one more: at once, or once one is old enough to go.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.opening.len() >= OPENING_MAX {
            if let Some(full) = &mut self.full {
                std::task::ready!(full.as_mut().poll(context));
            }
            self.ages.retain(|age| !age.task.is_finished());
            let next = self.next_to_go();
            let old_at = next.and_then(|at| self.ages.get(at)).map(Age::old_at);
            match old_at.filter(|old| *old > Instant::now()) {
                // One that ends before makes room too, and wakes this one.
                Some(old) => self.full = Some(Box::pin(tokio::time::sleep_until(old))),
                None => {
                    self.evict(next);
                    break;
                }
            }
        }
        self.full = None;
        Poll::Ready(())
    }

    /// Which of those that are being opened goes first: the oldest of the silent, else the oldest.
    fn next_to_go(&self) -> Option<usize> {
        let open = |age: &Age| !age.task.is_finished();
        let silent = self.ages.iter().position(|age| open(age) && !age.spoke.load(Relaxed));
        silent.or_else(|| self.ages.iter().position(open))
    }

    fn evict(&mut self, next: Option<usize>) {
        if let Some(age) = next.and_then(|at| self.ages.remove(at)) {
            age.task.abort();
            self.metrics.refused.of("evicted").inc();
        }
    }
}

/// A connection that is being opened.
struct Opening {
    stream: TcpStream,
    peer: SocketAddr,
    metrics: ListenMetrics,
    admission: Admission,
    /// Something came from it.
    spoke: Arc<AtomicBool>,
}

impl Opening {
    async fn plain(self) -> Option<Connection> {
        // Nothing is there of what was closed: whoever reads it finds out. That a socket is said to be readable is not enough: it
        // is said of new ones to which nothing came.
        match timeout(OPENED_WITHIN, self.stream.peek(&mut [0])).await {
            Ok(Ok(_)) => self.spoke.store(true, Relaxed),
            Ok(Err(_)) => return self.refused("closed", None),
            Err(_) => return self.refused("silent", None),
        }
        match self.admission.take(Whose::Address(self.peer.ip())) {
            Ok(place) => Some(Connection::plain(self.stream, self.peer, place, self.metrics)),
            Err(why) => self.refused("many", Some(&why)),
        }
    }

    async fn tls(self, credentials: Arc<Credentials>) -> Option<Connection> {
        let acceptor = TlsAcceptor::from(credentials.server());
        let Self { stream, peer, metrics, admission, spoke } = self;
        let refused = |reason, why: Option<&str>| {
            metrics.refuse(reason, peer, why);
            None
        };
        let handshake = async {
            stream.peek(&mut [0]).await?;
            spoke.store(true, Relaxed);
            acceptor.accept(stream).await
        };
        let accepted = match timeout(OPENED_WITHIN, handshake).await {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(error)) if is_gone(&error) => return refused("closed", None),
            Ok(Err(error)) => {
                let (reason, why) = of_handshake(&error);
                if is_foreign(&error) {
                    metrics.refuse_foreign(reason, peer, &why);
                    return None;
                }
                return refused(reason, Some(&why));
            }
            Err(_) => return refused("silent", None),
        };
        let own = accepted.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let identity = match own.map(Identity::of).transpose() {
            Ok(identity) => identity,
            // Checked in the handshake.
            Err(error) => return refused("certificate", Some(&error.to_string())),
        };
        // 0: who was taken out since the handshake began is seen at the first read.
        let proof = own.and_then(key_digest).map(|key| Proof { credentials, key, seen: 0 });
        let whose = identity.clone().map_or(Whose::Address(peer.ip()), Whose::Certificate);
        match admission.take(whose) {
            Ok(place) => Some(Connection::tls(accepted, (peer, identity.zip(proof)), place, metrics)),
            Err(why) => refused("many", Some(&why)),
        }
    }

    fn refused(self, reason: &'static str, why: Option<&str>) -> Option<Connection> {
        self.metrics.refuse(reason, self.peer, why);
        None
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Whether nothing shows that it is somebody of a cluster: no certificate that is not taken, and not ours that it does not take.
fn is_foreign(error: &io::Error) -> bool {
    use rustls::Error as Tls;
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>());
    !matches!(tls, Some(Tls::InvalidCertificate(_) | Tls::AlertReceived(_)))
}

/// The reason as a label, and why in words.
fn of_handshake(error: &io::Error) -> (&'static str, String) {
    use rustls::Error as Tls;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        Some(refused @ Tls::InvalidCertificate(_)) => {
            ("certificate", format!("its certificate is not taken: {}", plain(refused)))
        }
        Some(Tls::NoCertificatesPresented) => {
            ("certificate", "it brought no certificate; every program here has one of its own".to_owned())
        }
        Some(Tls::InvalidMessage(_)) => {
            ("tls", "it does not speak TLS here; a program of Starling has no [tls] in its settings then".to_owned())
        }
        Some(Tls::AlertReceived(alert)) => ("tls", format!("it does not take our certificate ({alert:?})")),
        Some(other) => ("tls", other.to_string()),
        None => ("tls", error.to_string()),
    }
}

/// For tonic's servers.
impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_open(context).map(|connection| Some(Ok(connection)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_that_were_opened_are_forgotten() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut connections = Connections::of(listener);
        for _ in 0..50 {
            let mut speaks = std::net::TcpStream::connect(at).unwrap();
            io::Write::write_all(&mut speaks, b"GET").unwrap();
            connections.next().await;
        }
        assert!(connections.ages.len() <= 2, "{}", connections.ages.len());
    }
}
