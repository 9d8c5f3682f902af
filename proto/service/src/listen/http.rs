//! Serving HTTP/1.1 and HTTP/2 on one listener, with a time for every head of a request.

use std::{io, pin::pin, time::Duration};

use axum::{Router, extract::Request};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use starling_proto::limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use tower::ServiceExt as _;
use tracing::debug;

use super::Connections;

/// How long the head of a request may take, and how long a connection of HTTP/1.1 may be idle between two.
const HEAD_WITHIN: Duration = Duration::from_secs(60);
/// Streams of HTTP/2 on one connection at once.
const STREAMS_MAX: u32 = 128;
/// Bytes of the head of a request: names of routes and tokens are short.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Serves `router` on all connections until `shutdown`; requests that were begun are finished then. Each request has its
/// [`Peer`](super::Peer) among its extensions.
///
/// # Errors
/// When the listener is gone.
pub async fn serve_http(
    mut connections: Connections,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    connections.local_addr()?;
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let connection = tokio::select! {
            biased;
            () = &mut shutdown => break,
            connection = connections.next() => connection,
        };
        let peer = connection.peer().clone();
        let routed = router.clone().map_request(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer.clone());
            request.map(axum::body::Body::new)
        });
        let served = builder
            .serve_connection_with_upgrades(TokioIo::new(connection), TowerToHyperService::new(routed))
            .into_owned();
        let watched = graceful.watch(served);
        // It ends with its connection, or with the process; `graceful` waits for it.
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                debug!(error, "connection ended with an error");
            }
        });
    }
    drop(connections);
    graceful.shutdown().await;
    Ok(())
}
