//! The two ports of OTLP, over one intake.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::Request};
use starling_proto::limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use starling_service::listen::Connections;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};

use super::{grpc, http, intake::Intake};
use crate::{metrics::Metrics, receive::SharedReceiver};

/// Requests of one connection at once.
const STREAMS_MAX: u32 = 16;

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
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let intake = Arc::new(Intake::new(receiver, metrics));
    let OtlpPorts { grpc: (grpc_listener, grpc_address), http } = ports;
    let http_port = http.as_ref().map(|(_, address)| address.port());
    let over_grpc = {
        let intake = Arc::clone(&intake);
        Router::new().fallback(move |request: Request| grpc::answer(intake, http_port, request))
    };
    let over_grpc = serve_on(grpc_listener, over_grpc, shutdown.clone());
    let Some((http_listener, _)) = http else { return over_grpc.await };
    let over_http = Router::new().fallback(move |request: Request| http::answer(intake, grpc_address.port(), request));
    tokio::try_join!(over_grpc, serve_on(http_listener, over_http, shutdown)).map(|_| ())
}

/// HTTP/1.1 and HTTP/2 on both: who takes one port for the other gets an answer.
async fn serve_on(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_MAX)
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(Connections::of(listener), shutdown.cancelled_owned())
        .await
}

impl OtlpPorts {
    /// The addresses by name: `otlp`, and `otlp_http` when there is one.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let http = self.http.as_ref().map(|(_, address)| ("otlp_http", *address));
        [("otlp", self.grpc.1)].into_iter().chain(http)
    }
}
