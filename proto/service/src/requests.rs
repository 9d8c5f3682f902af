//! A program's own requests, measured and sent to a daemon's receiver as any application would: OTLP over gRPC with
//! exponential histograms of delta temporality, by the OpenTelemetry SDK.
//!
//! Starling counts itself by the same path as the applications it watches. What counts as one request is stated where
//! [`RequestMeter::record`] is called: an HTTP request, a unary gRPC call, one message of a stream.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::{
    KeyValue,
    metrics::{Histogram, MeterProvider as _, UpDownCounter},
};
use opentelemetry_otlp::{MetricExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{
        Aggregation, Instrument, InstrumentKind, PeriodicReader, SdkMeterProvider, Stream, Temporality,
        data::ResourceMetrics, exporter::PushMetricExporter,
    },
};
use tracing::{debug, info, warn};

use crate::{channel::Dial, credentials::Security, log::LogLimiter, settings::kind};

/// Name of the instrumentation scope of own requests. With it, and a service of this kind of name, the daemon tells
/// them from those of the users.
pub const SCOPE: &str = "starling";
/// How the names of Starling's own services begin.
pub const SERVICES: &str = "starling-";

/// How often the SDK exports.
const EXPORT_INTERVAL: Duration = Duration::from_secs(1);
/// An export that takes longer is given up.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(2);
/// So many exports fail before a line says so: what is started together need not be there at once.
const FAILING_AFTER: u64 = 10;
/// That line is written at most this often.
const FAILING_AGAIN: Duration = Duration::from_secs(600);
/// Buckets and scale of the exponential histograms: 160 buckets at scale 5 span a factor of 32 at 2.2 % width; the
/// SDK lowers the scale by itself when the values of a second span more.
const EXPONENTIAL_BUCKETS: u32 = 160;
const EXPONENTIAL_SCALE: i8 = 5;

crate::settings! {
    /// Where a program reports the requests that it serves.
    pub struct RequestReports {
        /// Report the requests that this program serves, as metrics of an application: it counts itself by the same
        /// path as everything it watches. Costs one small message a second.
        pub report: bool = true, kind::flag();
        /// The OTLP receiver (gRPC) of the node daemon they go to.
        pub endpoint: String = "http://127.0.0.1:4317".to_owned(), kind::http_endpoint();
    }
}

impl RequestReports {
    /// Nothing is reported.
    #[must_use]
    pub fn off() -> Self {
        Self { report: false, ..Self::default() }
    }

    /// Reports to "http://host:port".
    #[must_use]
    pub fn to(endpoint: String) -> Self {
        Self { report: true, endpoint }
    }

    /// The meter of a program; see [`RequestMeter::start`].
    #[must_use]
    pub fn meter(&self, service: &'static str, instance: &str) -> RequestMeter {
        if self.report { RequestMeter::start(&self.endpoint, service, instance) } else { RequestMeter::disabled() }
    }
}

/// What a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// WebSocket: one message.
    WebSocket,
    /// gRPC: one unary call or one message of a stream.
    Grpc,
}

impl Protocol {
    fn attributes(self) -> Vec<KeyValue> {
        let (name, version) = match self {
            Self::Http1 => ("http", "1.1"),
            Self::Http2 => ("http", "2"),
            Self::WebSocket => ("websocket", "13"),
            Self::Grpc => return vec![KeyValue::new("rpc.system.name", "grpc")],
        };
        vec![KeyValue::new("network.protocol.name", name), KeyValue::new("network.protocol.version", version)]
    }
}

/// Records requests. Cheap to clone; a disabled one records nothing.
#[derive(Debug, Clone, Default)]
pub struct RequestMeter(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    provider: SdkMeterProvider,
    http_duration: Histogram<f64>,
    http_active: UpDownCounter<i64>,
    rpc_duration: Histogram<f64>,
    rpc_active: UpDownCounter<i64>,
}

impl RequestMeter {
    /// A meter that records nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self(None)
    }

    /// A meter that exports to `endpoint` ("http://host:port") every second, under the resource `service.name` and
    /// `service.instance.id`. An endpoint that does not answer costs the seconds that could not be delivered, nothing
    /// else. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(endpoint: &str, service: &'static str, instance: &str) -> Self {
        let address = endpoint.strip_prefix("http://").unwrap_or(endpoint);
        let channel = match Dial::within(EXPORT_TIMEOUT).connect_lazy(&Security::plain(), address) {
            Ok(channel) => channel,
            Err(error) => {
                warn!(endpoint, error, "own requests are not measured");
                return Self::disabled();
            }
        };
        let exporter = MetricExporter::builder()
            .with_tonic()
            .with_channel(channel)
            .with_timeout(EXPORT_TIMEOUT)
            .with_temporality(Temporality::Delta)
            .build();
        let exporter = match exporter {
            Ok(exporter) => exporter,
            Err(error) => {
                warn!(endpoint, %error, "own requests are not measured");
                return Self::disabled();
            }
        };
        let exponential = |instrument: &Instrument| {
            if instrument.kind() != InstrumentKind::Histogram {
                return None;
            }
            Stream::builder()
                .with_aggregation(Aggregation::Base2ExponentialHistogram {
                    max_size: EXPONENTIAL_BUCKETS,
                    max_scale: EXPONENTIAL_SCALE,
                    record_min_max: true,
                })
                .build()
                .ok()
        };
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", service),
                KeyValue::new("service.instance.id", instance.to_owned()),
            ])
            .build();
        let provider = SdkMeterProvider::builder()
            .with_reader(
                PeriodicReader::builder(Noticed::new(exporter, endpoint)).with_interval(EXPORT_INTERVAL).build(),
            )
            .with_view(exponential)
            .with_resource(resource)
            .build();
        let meter = provider.meter(SCOPE);
        Self(Some(Arc::new(Inner {
            http_duration: meter.f64_histogram("http.server.request.duration").with_unit("s").build(),
            http_active: meter.i64_up_down_counter("http.server.active_requests").with_unit("{request}").build(),
            rpc_duration: meter.f64_histogram("rpc.server.call.duration").with_unit("s").build(),
            rpc_active: meter.i64_up_down_counter("rpc.server.active_requests").with_unit("{request}").build(),
            provider,
        })))
    }

    /// Records one served request.
    pub fn record(&self, protocol: Protocol, took: Duration, failed: bool) {
        let Some(inner) = &self.0 else { return };
        let mut attributes = protocol.attributes();
        if failed {
            attributes.push(KeyValue::new("error.type", "_OTHER"));
        }
        let histogram = if protocol == Protocol::Grpc { &inner.rpc_duration } else { &inner.http_duration };
        histogram.record(took.as_secs_f64(), &attributes);
    }

    /// Counts a request, stream or socket as open until the guard is dropped.
    #[must_use]
    pub fn open(&self, protocol: Protocol) -> OpenRequest {
        self.add_active(protocol, 1);
        OpenRequest { meter: self.clone(), protocol, since: Instant::now() }
    }

    fn add_active(&self, protocol: Protocol, n: i64) {
        if let Some(inner) = &self.0 {
            let active = if protocol == Protocol::Grpc { &inner.rpc_active } else { &inner.http_active };
            active.add(n, &protocol.attributes());
        }
    }

    /// Sends what was recorded and stops exporting. Waits for at most the export timeout, on a blocking thread.
    pub async fn shutdown(self) {
        if let Some(inner) = self.0 {
            let outcome = tokio::task::spawn_blocking(move || inner.provider.shutdown()).await;
            debug!(?outcome, "own requests: last export");
        }
    }
}

/// An exporter whose failures are seen: the SDK says nothing of them.
#[derive(Debug)]
struct Noticed<E> {
    exporter: E,
    endpoint: String,
    /// Exports that failed in a row.
    failed: AtomicU64,
    lines: LogLimiter,
    /// The log says that exports fail.
    said: AtomicBool,
}

impl<E> Noticed<E> {
    fn new(exporter: E, endpoint: &str) -> Self {
        Self {
            exporter,
            endpoint: endpoint.to_owned(),
            failed: AtomicU64::new(0),
            lines: LogLimiter::new(FAILING_AGAIN),
            said: AtomicBool::new(false),
        }
    }

    /// Takes note of one export; true when a line was written.
    fn note(&self, failure: Option<&dyn std::fmt::Display>) -> bool {
        let Some(error) = failure else {
            self.failed.store(0, Ordering::Relaxed);
            let said = self.said.swap(false, Ordering::Relaxed);
            if said {
                info!(endpoint = self.endpoint, "own requests are reported again");
            }
            return said;
        };
        let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
        if failed < FAILING_AFTER || self.lines.allow().is_none() {
            return false;
        }
        self.said.store(true, Ordering::Relaxed);
        // The libraries below name a cause in their own text and again as the cause.
        let error = error.to_string();
        let mut causes: Vec<&str> = error.split(": ").collect();
        causes.dedup();
        let error = causes.join(": ");
        warn!(
            endpoint = self.endpoint,
            seconds = failed,
            error,
            "own requests are not reported: start a starling-node there, or set requests.endpoint or requests.report = false"
        );
        true
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Noticed<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        self.note(result.as_ref().err().map(|error| error as &dyn std::fmt::Display));
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

/// A request, stream or socket that is open.
#[derive(Debug)]
pub struct OpenRequest {
    meter: RequestMeter,
    protocol: Protocol,
    since: Instant,
}

impl OpenRequest {
    /// Records it as one served request, of the time since it was opened.
    pub fn served(self, failed: bool) {
        self.meter.record(self.protocol, self.since.elapsed(), failed);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.meter.add_active(self.protocol, -1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_that_fail_are_said_once_and_so_is_their_end() {
        let noticed = Noticed::new((), "http://127.0.0.1:4317");
        let refused: &dyn std::fmt::Display = &"refused";
        assert!(!noticed.note(None));
        assert!((1..FAILING_AFTER).all(|_| !noticed.note(Some(refused))), "it may still start");
        assert!(!noticed.note(None), "it did, and nothing was said");
        let lines = (0..FAILING_AFTER + 300).filter(|_| noticed.note(Some(refused))).count();
        assert_eq!(lines, 1, "one in ten minutes");
        assert!(noticed.note(None) && !noticed.note(None), "the end once");
    }
}
