//! Connections as they come in.

use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

/// Wait after a failed accept. Without it a process that is out of descriptors spins on one core.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Accepts for ever, small writes sent at once.
pub(crate) fn connections(listener: TcpListener) -> impl Stream<Item = std::io::Result<TcpStream>> {
    stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => {
                    if let Err(error) = connection.set_nodelay(true) {
                        warn!(%error, "connection without nodelay");
                    }
                    return Some((Ok(connection), listener));
                }
                Err(error) => {
                    warn!(%error, "connection not accepted");
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            }
        }
    })
}
