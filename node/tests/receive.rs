//! The whole daemon in this process: OTLP over real gRPC in, frames at an aggregator out.

use std::{collections::HashSet, time::Duration};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint,
        Metric, ResourceMetrics, ScopeMetrics, Summary, SummaryDataPoint, exponential_histogram_data_point::Buckets,
        metric::Data,
    },
};
use starling_node::{Config, Service};
use starling_proto::{catalogue, frame::Content, ids::NodeId, series::Value};
use starling_service::{Program as _, Running, admin::Readiness, metrics::Registry};
use starling_testkit::{FakeAggregator, LIMIT, Manners, Seen, eventually, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, codec::CompressionEncoding, transport::Channel};

const ACKS: Manners =
    Manners { redirect_to: None, ack: true, ranked: vec![], refuse_hello: None, clock_is_behind: false };

struct Daemon {
    otlp: String,
    admin: std::net::SocketAddr,
    ready: tokio::sync::watch::Receiver<Readiness>,
    stop: CancellationToken,
    running: Running,
}

fn config(aggregator: &str) -> Config {
    Config {
        node_id: NodeId::sanitised("node-1"),
        aggregators: vec![aggregator.to_owned()],
        admin_listen: "127.0.0.1:0".parse().expect("an address"),
        otlp_listen: "127.0.0.1:0".parse().expect("an address"),
        ..Config::default()
    }
}

async fn start(config: Config) -> Daemon {
    let stop = CancellationToken::new();
    let running = Running::start::<Service>(config, stop.clone()).await.expect("free ports");
    let otlp = format!("http://{}", running.address("otlp").expect("an open receiver"));
    let (admin, ready) = (running.address("admin").expect("an address"), running.readiness());
    Daemon { otlp, admin, ready, stop, running }
}

impl Daemon {
    async fn client(&self) -> MetricsServiceClient<Channel> {
        MetricsServiceClient::connect(self.otlp.clone()).await.expect("an open receiver")
    }

    async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(LIMIT, self.running.ended()).await.expect("it ends in time");
        ended.expect("no failure");
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

fn export(metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    }
}

/// 10 good and 3 failed requests over HTTP/1.1, 60 over gRPC.
fn traffic() -> ExportMetricsServiceRequest {
    let point = |count: u64, sum: f64, attributes: Vec<KeyValue>| HistogramDataPoint {
        count,
        sum: Some(sum),
        bucket_counts: vec![count, 0],
        explicit_bounds: vec![0.1],
        min: Some(0.01),
        max: Some(0.1),
        attributes,
        ..HistogramDataPoint::default()
    };
    let http = Histogram {
        data_points: vec![
            point(10, 0.5, vec![attribute("network.protocol.version", "1.1")]),
            point(3, 0.2, vec![attribute("network.protocol.version", "1.1"), attribute("error.type", "500")]),
        ],
        aggregation_temporality: AggregationTemporality::Delta as i32,
    };
    let grpc = ExponentialHistogram {
        data_points: vec![ExponentialHistogramDataPoint {
            count: 60,
            sum: Some(0.5),
            scale: 5,
            positive: Some(Buckets { offset: -223, bucket_counts: vec![10, 20, 30] }),
            attributes: vec![attribute("rpc.system", "grpc")],
            ..ExponentialHistogramDataPoint::default()
        }],
        aggregation_temporality: AggregationTemporality::Delta as i32,
    };
    let metric =
        |name: &str, data| Metric { name: name.into(), unit: "s".into(), data: Some(data), ..Metric::default() };
    export(vec![
        metric("http.server.request.duration", Data::Histogram(http)),
        metric("rpc.server.call.duration", Data::ExponentialHistogram(grpc)),
    ])
}

fn counted<'a>(contents: impl Iterator<Item = &'a Content>, metric: &catalogue::Metric, protocol: &str) -> u64 {
    contents
        .flat_map(|content| &content.samples)
        .filter(|sample| sample.series.is(metric) && sample.series.attribute("protocol") == Some(protocol))
        .map(|sample| match &sample.value {
            Value::Counter(n) => *n,
            Value::Histogram(histogram) => histogram.count(),
            Value::Gauge(_) => 0,
        })
        .sum()
}

#[tokio::test]
async fn requests_reach_the_aggregator_and_count_once() {
    let aggregator = FakeAggregator::start("agg-1", ACKS).await;
    let mut daemon = start(config(&aggregator.address.to_string())).await;
    let mut client = daemon.client().await.send_compressed(CompressionEncoding::Gzip);
    let answer = client.export(traffic()).await.expect("taken").into_inner();
    assert_eq!(answer.partial_success, None);
    let of = |seen: &Seen, metric, protocol| counted(seen.contents.values(), metric, protocol);
    let seen = aggregator.until("requests", |seen| of(seen, &catalogue::REQUESTS, "grpc") > 0).await;
    assert_eq!(of(&seen, &catalogue::REQUESTS, "grpc"), 60);
    assert_eq!(of(&seen, &catalogue::DURATION, "grpc"), 60);
    assert_eq!(of(&seen, &catalogue::REQUESTS, "http1"), 13);
    assert_eq!(of(&seen, &catalogue::ERRORS, "http1"), 3);

    // The host is there too, by the second, without gaps.
    let seen = aggregator.until("three seconds", |seen| seen.contents.len() >= 3).await;
    let ticks: Vec<u32> = seen.contents.keys().copied().collect();
    assert!(ticks.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ticks:?}");
    let last = seen.contents.values().last().expect("three of them");
    for metric in [&catalogue::CPU_UTILIZATION, &catalogue::MEMORY_LIMIT, &catalogue::DAEMON_MEMORY] {
        assert!(last.samples.iter().any(|sample| sample.series.is(metric)), "{} is missing", metric.name);
    }
    let names: HashSet<_> = last.samples.iter().map(|sample| &sample.series).collect();
    assert_eq!(names.len(), last.samples.len(), "one sample a series");
    assert!(seen.hellos[0].host.as_ref().is_some_and(|host| host.cores > 0));
    until(&mut daemon.ready, "readiness", |ready| *ready == Readiness::Ready).await;

    // What is taken in the last moment is part of the last second.
    client.export(traffic()).await.expect("taken");
    daemon.stop().await;
    let seen = aggregator.until("end of stream", |seen| !seen.ends_of_stream.is_empty()).await;
    assert_eq!(of(&seen, &catalogue::REQUESTS, "grpc"), 120);
    assert_eq!(seen.contents.keys().last(), seen.ends_of_stream.first());
}

#[tokio::test]
async fn bad_input_is_answered_and_everything_else_goes_on() {
    let aggregator = FakeAggregator::start("agg-1", ACKS).await;
    let daemon = start(config(&aggregator.address.to_string())).await;
    let mut client = daemon.client().await;

    let summary = Summary { data_points: vec![SummaryDataPoint::default(); 2] };
    let bad = Metric { name: "old.summary".into(), data: Some(Data::Summary(summary)), ..Metric::default() };
    let answer = client.export(export(vec![bad])).await.expect("an answer").into_inner();
    let refused = answer.partial_success.expect("points were refused");
    assert_eq!(refused.rejected_data_points, 2);
    assert!(refused.error_message.contains("old.summary: summaries cannot be merged"), "{}", refused.error_message);

    // 1 MiB of one name, and a few bytes around it.
    let long = Metric { name: "x".repeat(1 << 20), ..Metric::default() };
    let status = client.export(export(vec![long])).await.expect_err("too large");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");

    // Bytes that are no HTTP/2, and HTTP/2 with a body that is no message.
    let address = daemon.otlp.trim_start_matches("http://").to_owned();
    let mut garbage = TcpStream::connect(&address).await.expect("an open receiver");
    garbage.write_all(&[0xa5; 4096]).await.expect("it reads");
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(LIMIT, garbage.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "the connection is ended");
    let status = garbage_message(&daemon.otlp).await;
    assert_eq!(status, Code::Internal);

    client.export(traffic()).await.expect("the receiver still takes");
    let of = |seen: &Seen| counted(seen.contents.values(), &catalogue::REQUESTS, "grpc");
    let seen = aggregator.until("requests", |seen| of(seen) == 60).await;
    let dropped: u32 = seen.contents.values().map(|content| content.dropped).sum();
    assert_eq!(dropped, 2, "refused points are reported in the frames");
    let metrics = http_get(daemon.admin, "/metrics").await;
    assert!(metrics.contains("starling_node_otlp_refused_points_total{reason=\"type\"}"), "{metrics}");
    daemon.stop().await;
}

#[tokio::test]
async fn stalled_senders_are_asked_to_come_back() {
    let mut settings = config("127.0.0.1:9");
    settings.shutdown_grace = Duration::from_secs(5);
    let daemon = start(settings).await;
    let channel = Channel::from_shared(daemon.otlp.clone()).expect("a URL").connect().await.expect("an open receiver");
    let mut stalled = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        stalled.spawn(async move {
            grpc.ready().await.expect("a connection");
            let body = tokio_stream::pending::<bytes::Bytes>();
            let _never = grpc.client_streaming(tonic::Request::new(body), export_path(), RawCodec).await;
        });
    }
    // The receiver is full once both are being read.
    let mut client = MetricsServiceClient::new(channel);
    let status = eventually("a full receiver", async || match client.clone().export(traffic()).await {
        Err(status) => Ok(status),
        Ok(_) => Err("it took a request".to_owned()),
    })
    .await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    stalled.shutdown().await;
    eventually("an open receiver", async || client.export(traffic()).await.map_err(|status| status.to_string())).await;
    daemon.stop().await;
}

fn export_path() -> tonic::codegen::http::uri::PathAndQuery {
    let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    tonic::codegen::http::uri::PathAndQuery::from_static(path)
}

/// Sends an Export whose message is not protobuf.
async fn garbage_message(endpoint: &str) -> Code {
    let channel = Channel::from_shared(endpoint.to_owned()).expect("a URL").connect().await.expect("an open receiver");
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.expect("a connection");
    // A string field where a message is wanted: tag 1, length 100, 3 bytes.
    let bytes = bytes::Bytes::from_static(&[0x0a, 100, 0xff, 0xff, 0xff]);
    let answer = grpc.unary(tonic::Request::new(bytes), export_path(), RawCodec).await;
    answer.expect_err("not a message").code()
}

/// Sends bytes as they are.
struct RawCodec;

impl tonic::codec::Codec for RawCodec {
    type Encode = bytes::Bytes;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for RawCodec {
    type Item = bytes::Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: bytes::Bytes, buffer: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), tonic::Status> {
        bytes::BufMut::put(buffer, item);
        Ok(())
    }
}

impl tonic::codec::Decoder for RawCodec {
    type Item = ();
    type Error = tonic::Status;

    fn decode(&mut self, _: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<()>, tonic::Status> {
        Ok(Some(()))
    }
}

async fn http_get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the admin port");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn without_an_aggregator_it_runs_is_not_ready_and_stops_in_time() {
    let mut settings = config("127.0.0.1:9");
    settings.shutdown_grace = Duration::from_secs(5);
    settings.tcp = false;
    let mut daemon = start(settings).await;
    until(&mut daemon.ready, "kept seconds", |ready| {
        matches!(ready, Readiness::NotReady(why) if why.contains("1 seconds are kept") || why.contains("2 seconds are kept"))
    })
    .await;
    let answer = http_get(daemon.admin, "/ready").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("no aggregator has taken the stream"), "{answer}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut settings = config("127.0.0.1:9");
    settings.otlp_listen = taken.local_addr().expect("an address");
    let error = Service::bind(settings, Registry::default()).await.err().expect("the port is taken").to_string();
    assert!(error.contains("otlp_listen") && error.contains("another program"), "{error}");
}
