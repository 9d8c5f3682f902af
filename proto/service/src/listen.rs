//! Opening a listener, with errors that name the next step, and taking its connections.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use starling_proto::address::LOOPBACK_ONLY;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::Stream;
use tracing::warn;

use crate::log::LogLimiter;

/// Wait after an accept that failed for want of something. Without it a process that is out of descriptors spins on one
/// core: the connection stays in the queue and the listener stays readable.
const AFTER_ERROR: Duration = Duration::from_millis(100);
/// Between two lines about accepts that failed.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not a loopback address.
    #[error("{setting} = {address}: {LOOPBACK_ONLY}")]
    NotLoopback {
        /// Name of the setting.
        setting: String,
        /// Its value.
        address: SocketAddr,
    },
    /// The operating system refused, mostly because the port is taken.
    #[error("{setting} = {address}: {}", reason(source))]
    Bind {
        /// Name of the setting.
        setting: String,
        /// Its value.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it or set another port".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted; set a port above 1023".to_owned(),
        _ => error.to_string(),
    }
}

/// Refuses addresses that other hosts can reach.
///
/// # Errors
/// [`ListenError::NotLoopback`], naming the setting.
fn require_loopback(address: SocketAddr, setting: &str) -> Result<(), ListenError> {
    if address.ip().is_loopback() {
        Ok(())
    } else {
        Err(ListenError::NotLoopback { setting: setting.to_owned(), address })
    }
}

/// Opens a TCP listener on a loopback address, and says where it is: port 0 takes a free one.
///
/// # Errors
/// [`ListenError`], naming the setting and the next step.
pub async fn tcp(address: SocketAddr, setting: &str) -> Result<(TcpListener, SocketAddr), ListenError> {
    require_loopback(address, setting)?;
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bound.await.map_err(|source| ListenError::Bind { setting: setting.to_owned(), address, source })
}

/// Connections as they come in, small writes sent at once. The one accept loop of every listener: an accept that fails
/// is logged now and then, and followed by a pause, so that being out of descriptors costs next to nothing. Never ends.
#[derive(Debug)]
pub struct Connections {
    listener: TcpListener,
    lines: LogLimiter,
    /// The end of the pause after a failure.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    prepare: fn(&TcpStream),
}

impl Connections {
    /// Takes the connections of `listener`.
    #[must_use]
    pub const fn of(listener: TcpListener) -> Self {
        Self { listener, lines: LogLimiter::new(LINE_EVERY), pause: None, prepare: |_| {} }
    }

    /// Has each new connection prepared, such as with a smaller buffer.
    #[must_use]
    pub const fn prepared(mut self, prepare: fn(&TcpStream)) -> Self {
        self.prepare = prepare;
        self
    }

    /// The next connection and who made it. Cancel safe.
    pub async fn next(&mut self) -> (TcpStream, SocketAddr) {
        std::future::poll_fn(|context| self.poll_accept(context)).await
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<(TcpStream, SocketAddr)> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match std::task::ready!(self.listener.poll_accept(context)) {
                Ok((connection, peer)) => {
                    // A connection that cannot be tuned is no reason to refuse the client.
                    let _ = connection.set_nodelay(true);
                    (self.prepare)(&connection);
                    return Poll::Ready((connection, peer));
                }
                // The client went before it was taken; the next may be there already.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
                Err(error) => {
                    if let Some(left_out) = self.lines.allow() {
                        warn!(%error, left_out, "connection not accepted, waiting a moment");
                    }
                    self.pause = Some(Box::pin(tokio::time::sleep(AFTER_ERROR)));
                }
            }
        }
    }
}

/// For tonic's servers.
impl Stream for Connections {
    type Item = io::Result<TcpStream>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_accept(context).map(|(connection, _)| Some(Ok(connection)))
    }
}

/// For axum's servers.
impl axum::serve::Listener for Connections {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        self.next().await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_names_the_setting_and_the_next_step() {
        let (_first, taken) = tcp("127.0.0.1:0".parse().unwrap(), "grpc_listen").await.unwrap();
        let error = tcp(taken, "grpc_listen").await.unwrap_err().to_string();
        assert!(error.contains("grpc_listen = 127.0.0.1:") && error.contains("set another port"), "{error}");
    }

    #[tokio::test]
    async fn other_hosts_are_kept_out() {
        let error = tcp("0.0.0.0:0".parse().unwrap(), "listen").await.unwrap_err().to_string();
        assert!(error.contains("listen = 0.0.0.0:0") && error.contains("loopback"), "{error}");
    }
}
