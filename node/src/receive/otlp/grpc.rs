//! OTLP over gRPC: `opentelemetry.proto.collector.metrics.v1.MetricsService`.

use std::{sync::Arc, time::Duration};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    metrics::v1::Metric,
};
use starling_proto::limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use starling_service::{listen::Connections, log::LogLimiter};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codec::CompressionEncoding, transport::Server};
use tower::{limit::GlobalConcurrencyLimitLayer, load_shed::LoadShedLayer};
use tracing::warn;

use super::{decode, origin::Origin};
use crate::{
    metrics::Metrics,
    receive::{Outcome, SharedReceiver},
};

/// Largest request, after decompression: about 5,000 points of 200 bytes. Exporters split larger ones when set to (the
/// OpenTelemetry Collector by `send_batch_max_size`).
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Requests read, decoded or converted at once. An empty point takes 2 bytes on the wire and up to 208 in memory, so
/// that the worst message decodes to 104 MiB, half of that again while the list grows for the last time, and the two
/// to 312 MiB. Beyond two the sender is asked to come back (RESOURCE_EXHAUSTED) and nothing of it is read, where a
/// queue would hold what it has sent so far.
const REQUESTS_MAX: usize = 2;
/// A request that is not read and converted within this time is given up, so that senders that stall cannot keep the
/// others out.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// Streams of one connection at once.
const STREAMS_MAX: u32 = 16;
/// Points converted under one lock: about a millisecond.
const POINTS_PER_TURN: usize = 200;
/// A sender whose points are refused is named in the log at most this often.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// Serves the receiver until `shutdown`; requests that are being taken are finished.
///
/// # Errors
/// When the listener fails.
pub(crate) async fn serve(
    listener: TcpListener,
    receiver: SharedReceiver,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let service = MetricsServiceServer::new(OtlpService { receiver, metrics, lines: LogLimiter::new(REPEAT_AFTER) })
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_MAX)
        .timeout(REQUEST_MAX)
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(REQUESTS_MAX))
        .add_service(service)
        .serve_with_incoming_shutdown(Connections::of(listener), shutdown.cancelled_owned())
        .await
}

struct OtlpService {
    receiver: SharedReceiver,
    metrics: Arc<Metrics>,
    lines: LogLimiter,
}

#[tonic::async_trait]
impl MetricsService for OtlpService {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let request = request.into_inner();
        let mut outcome = Outcome::default();
        for resource in &request.resource_metrics {
            for scope in &resource.scope_metrics {
                let origin = Origin::new(resource.resource.as_ref(), scope.scope.as_ref());
                for metric in &scope.metrics {
                    self.take(&origin, metric, &mut outcome).await;
                }
            }
        }
        self.metrics.otlp(outcome.taken, &outcome.refused);
        Ok(Response::new(ExportMetricsServiceResponse { partial_success: self.partial_success(&outcome) }))
    }
}

impl OtlpService {
    async fn take(&self, origin: &Origin, metric: &Metric, outcome: &mut Outcome) {
        for from in (0..decode::points(metric)).step_by(POINTS_PER_TURN) {
            let (now, part) = (self.receiver.now(), from..from + POINTS_PER_TURN);
            decode::take(&mut self.receiver.lock(), origin, metric, &part, now, outcome);
            // Gives way by the runtime's own budget, so that a large request does not hold up the second's cut.
            tokio::task::coop::consume_budget().await;
        }
    }

    /// What the sender hears, and once in a while the operator.
    fn partial_success(&self, outcome: &Outcome) -> Option<ExportMetricsPartialSuccess> {
        let refused = outcome.refused_total();
        if refused == 0 {
            return None;
        }
        let message = outcome.to_string();
        if let Some(left_out) = self.lines.allow() {
            warn!(left_out, refused, taken = outcome.taken, detail = %message, "data points refused");
        }
        Some(ExportMetricsPartialSuccess {
            rejected_data_points: i64::try_from(refused).unwrap_or(i64::MAX),
            error_message: message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::metrics::v1::{
        ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, metric::Data,
    };
    use prost::Message;

    /// What the doc of [`REQUESTS_MAX`] says of one message.
    const DECODED_BYTES_MAX: usize = 104 * 1024 * 1024;

    /// Bytes of the longest list of a message of which all is empty elements, after decoding.
    fn decoded(request: &ExportMetricsServiceRequest, list: fn(&ExportMetricsServiceRequest) -> usize) -> usize {
        let bytes = request.encode_to_vec();
        assert!(bytes.len() <= MESSAGE_BYTES_MAX && bytes.len() > MESSAGE_BYTES_MAX - 100, "{} bytes", bytes.len());
        list(&ExportMetricsServiceRequest::decode(&bytes[..]).unwrap())
    }

    fn list_bytes<T>(list: &Vec<T>) -> usize {
        list.capacity() * size_of::<T>()
    }

    fn data(request: &ExportMetricsServiceRequest) -> &Data {
        request.resource_metrics[0].scope_metrics[0].metrics[0].data.as_ref().unwrap()
    }

    #[test]
    fn the_worst_message_decodes_to_what_the_bound_says() {
        // Room for the lengths of the messages around the list.
        const N: usize = (MESSAGE_BYTES_MAX - 40) / 2;
        let one = |data| {
            let scope_metrics = vec![ScopeMetrics {
                metrics: vec![Metric { data: Some(data), ..Metric::default() }],
                ..ScopeMetrics::default()
            }];
            ExportMetricsServiceRequest {
                resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
            }
        };
        let numbers = vec![NumberDataPoint::default(); N];
        let lists = [
            decoded(&one(Data::Gauge(Gauge { data_points: numbers.clone() })), |request| match data(request) {
                Data::Gauge(gauge) => list_bytes(&gauge.data_points),
                _ => 0,
            }),
            decoded(&one(Data::Sum(Sum { data_points: numbers, ..Sum::default() })), |request| match data(request) {
                Data::Sum(sum) => list_bytes(&sum.data_points),
                _ => 0,
            }),
            decoded(
                &one(Data::Histogram(Histogram {
                    data_points: vec![HistogramDataPoint::default(); N],
                    ..Histogram::default()
                })),
                |request| match data(request) {
                    Data::Histogram(histogram) => list_bytes(&histogram.data_points),
                    _ => 0,
                },
            ),
            decoded(
                &one(Data::ExponentialHistogram(ExponentialHistogram {
                    data_points: vec![ExponentialHistogramDataPoint::default(); N],
                    ..ExponentialHistogram::default()
                })),
                |request| match data(request) {
                    Data::ExponentialHistogram(histogram) => list_bytes(&histogram.data_points),
                    _ => 0,
                },
            ),
            decoded(&one(Data::Summary(Summary { data_points: vec![SummaryDataPoint::default(); N] })), |request| {
                match data(request) {
                    Data::Summary(summary) => list_bytes(&summary.data_points),
                    _ => 0,
                }
            }),
            decoded(
                &ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics::default(); N] },
                |request| list_bytes(&request.resource_metrics),
            ),
            decoded(
                &ExportMetricsServiceRequest {
                    resource_metrics: vec![ResourceMetrics {
                        scope_metrics: vec![ScopeMetrics::default(); N],
                        ..ResourceMetrics::default()
                    }],
                },
                |request| list_bytes(&request.resource_metrics[0].scope_metrics),
            ),
            decoded(
                &ExportMetricsServiceRequest {
                    resource_metrics: vec![ResourceMetrics {
                        scope_metrics: vec![ScopeMetrics {
                            metrics: vec![Metric::default(); N],
                            ..ScopeMetrics::default()
                        }],
                        ..ResourceMetrics::default()
                    }],
                },
                |request| list_bytes(&request.resource_metrics[0].scope_metrics[0].metrics),
            ),
        ];
        let worst = lists.into_iter().max().unwrap_or_default();
        assert!(worst <= DECODED_BYTES_MAX && worst > DECODED_BYTES_MAX / 2, "{worst} bytes: {lists:?}");
    }
}
