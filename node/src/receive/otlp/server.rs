//! The two ports of OTLP, over one intake.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, extract::Request};
use starling_service::listen::{Connections, ListenMetrics, serve_http};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{grpc, http, intake::Intake};
use crate::{metrics::Metrics, receive::SharedReceiver};

/// The listeners of OTLP.
#[derive(Debug)]
pub(crate) struct OtlpPorts {
    /// For gRPC.
    pub(crate) grpc: (TcpListener, SocketAddr),
    /// For HTTP, when there is one.
    pub(crate) http: Option<(TcpListener, SocketAddr)>,
}

/// Serves the receiver until `shutdown`; requests that are being taken are finished.
///
/// # Errors
/// When a listener fails.
pub(crate) async fn serve(
    ports: OtlpPorts,
    receiver: SharedReceiver,
    (metrics, listening): (Arc<Metrics>, ListenMetrics),
    shutdown: CancellationToken,
) -> io::Result<()> {
    let intake = Arc::new(Intake::new(receiver, metrics));
    let OtlpPorts { grpc: (grpc_listener, grpc_address), http } = ports;
    let http_port = http.as_ref().map(|(_, address)| address.port());
    let over_grpc = {
        let intake = Arc::clone(&intake);
        Router::new().fallback(move |request: Request| grpc::answer(intake, http_port, request))
    };
    let over_grpc = serve_on(grpc_listener, over_grpc, listening.clone(), shutdown.clone());
    let Some((http_listener, _)) = http else { return over_grpc.await };
    let over_http = {
        let intake = Arc::clone(&intake);
        Router::new().fallback(move |request: Request| http::answer(intake, grpc_address.port(), request))
    };
    let both =
        async { tokio::try_join!(over_grpc, serve_on(http_listener, over_http, listening, shutdown)).map(|_| ()) };
    let ended = tokio::select! {
        ended = both => ended,
        () = intake.settle() => Ok(()),
    };
    intake.settle_all();
    ended
}

/// HTTP/1.1 and HTTP/2 on both: who takes one port for the other gets an answer.
async fn serve_on(
    listener: TcpListener,
    router: Router,
    listening: ListenMetrics,
    shutdown: CancellationToken,
) -> io::Result<()> {
    serve_http(Connections::of(listener).counted(listening), router, shutdown.cancelled_owned()).await
}

impl OtlpPorts {
    /// The addresses by name: `otlp`, and `otlp_http` when there is one.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let http = self.http.as_ref().map(|(_, address)| ("otlp_http", *address));
        [("otlp", self.grpc.1)].into_iter().chain(http)
    }
}
