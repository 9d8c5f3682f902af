//! The whole daemon in this process: OTLP over real gRPC and HTTP in, frames at an aggregator out.

use std::{collections::HashSet, time::Duration};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
        HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
        exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
    },
};
use prost::Message as _;
use starling_node::{Config, Service};
use starling_proto::{catalogue, frame::Content, ids::NodeId, series::Value};
use starling_service::{Program as _, Running, admin::Readiness, metrics::Registry};
use starling_testkit::{FakeAggregator, LIMIT, Manners, Seen, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_stream::StreamExt as _;
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
        node_id: Some(NodeId::sanitised("node-1")),
        aggregators: vec![aggregator.to_owned()],
        admin_listen: "127.0.0.1:0".parse().expect("an address"),
        otlp_listen: "127.0.0.1:0".parse().expect("an address"),
        otlp_http_listen: "127.0.0.1:0".parse().expect("an address"),
        statsd_listen: "127.0.0.1:0".parse().expect("an address"),
        // What one test leaves on the disk would be handed over by another, whose daemon has the same name.
        spool: false,
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

    // 4 MiB of one name, and a few bytes around it; and few bytes that would take half a gigabyte. Both are final: senders
    // do not repeat them.
    let long = Metric { name: "x".repeat(4 << 20), ..Metric::default() };
    let gauge = Gauge { data_points: vec![NumberDataPoint::default(); 1_500_000] };
    let heavy = Metric { data: Some(Data::Gauge(gauge)), ..Metric::default() };
    for metric in [long, heavy] {
        let status = client.export(export(vec![metric])).await.expect_err("too large");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains("send_batch_max_size"), "{status}");
    }

    // Bytes that are no HTTP/2, and HTTP/2 with a body that is no message.
    let address = daemon.otlp.trim_start_matches("http://").to_owned();
    let mut garbage = TcpStream::connect(&address).await.expect("an open receiver");
    garbage.write_all(&[0xa5; 4096]).await.expect("it reads");
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(LIMIT, garbage.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "the connection is ended");
    let status = garbage_message(&daemon.otlp).await;
    assert_eq!(status, Code::InvalidArgument);

    client.export(traffic()).await.expect("the receiver still takes");
    let of = |seen: &Seen| counted(seen.contents.values(), &catalogue::REQUESTS, "grpc");
    let seen = aggregator.until("requests", |seen| of(seen) == 60).await;
    let dropped: u32 = seen.contents.values().map(|content| content.dropped).sum();
    assert_eq!(dropped, 2, "refused points are reported in the frames");
    let metrics = http_get(daemon.admin, "/metrics").await;
    assert!(metrics.contains("starling_node_otlp_refused_points_total{reason=\"type\"} 2"), "{metrics}");
    assert!(metrics.contains("starling_node_otlp_failed_requests_total{reason=\"too_large\"} 2"), "{metrics}");
    daemon.stop().await;
}

#[tokio::test]
async fn stalled_senders_take_nobodys_place() {
    let daemon = start(config("127.0.0.1:9")).await;
    let mut stalled = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let channel = Channel::from_shared(daemon.otlp.clone()).expect("a URL").connect().await.expect("a receiver");
        for _ in 0..16 {
            let mut grpc = tonic::client::Grpc::new(channel.clone());
            stalled.spawn(async move {
                grpc.ready().await.expect("a connection");
                // The beginning of a message, and then nothing.
                let body = tokio_stream::iter([bytes::Bytes::from_static(&[7; 1000])]).chain(tokio_stream::pending());
                grpc.client_streaming::<_, _, _, RawCodec>(tonic::Request::new(body), export_path(), RawCodec).await
            });
        }
    }
    let mut client = daemon.client().await;
    for _ in 0..50 {
        client.export(traffic()).await.expect("it is taken beside them");
    }
    let first = tokio::time::timeout(LIMIT, stalled.join_next()).await.expect("they are given up");
    let status = first.expect("there are some").expect("no panic").expect_err("given up");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    drop(stalled);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_at_once_are_taken_or_asked_to_come_again() {
    let daemon = start(config("127.0.0.1:9")).await;
    let point = NumberDataPoint {
        attributes: vec![attribute("http.route", "/api/v1/customers/orders/items"), attribute("k", "1")],
        value: Some(number_data_point::Value::AsInt(1)),
        ..NumberDataPoint::default()
    };
    let sum = Sum {
        data_points: vec![point; 30_000],
        aggregation_temporality: AggregationTemporality::Delta as i32,
        is_monotonic: true,
    };
    let metric = Metric { name: "jobs".into(), data: Some(Data::Sum(sum)), ..Metric::default() };
    let request = std::sync::Arc::new(export(vec![metric]));
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (mut client, request) = (daemon.client().await, std::sync::Arc::clone(&request));
        senders.spawn(async move {
            let mut refused = 0;
            // As the SDKs do it: again after the time that the answer says.
            while let Err(status) = client.export((*request).clone()).await {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                let retry_info = b"type.googleapis.com/google.rpc.RetryInfo";
                assert!(status.details().windows(retry_info.len()).any(|part| part == retry_info), "{status:?}");
                refused += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            refused
        });
    }
    let refused: u32 = tokio::time::timeout(LIMIT * 2, senders.join_all()).await.expect("all are taken").iter().sum();
    let metrics = http_get(daemon.admin, "/metrics").await;
    assert!(metrics.contains("starling_node_otlp_points_total 360000"), "{refused} refused: {metrics}");
    daemon.stop().await;
}

/// The status and the text of an answer to one request over HTTP/1.1.
async fn http(address: std::net::SocketAddr, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.expect("an open port");
    let head = format!("{head}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.expect("it reads");
    // A refusal may come before all of the body was read.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head, answer[end + 4..].to_vec())
}

fn post(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\ncontent-type: application/x-protobuf{more}")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn otlp_over_http_is_taken_like_over_grpc() {
    let aggregator = FakeAggregator::start("agg-1", ACKS).await;
    let daemon = start(config(&aggregator.address.to_string())).await;
    let otlp_http = daemon.running.address("otlp_http").expect("an open port");
    let message = traffic().encode_to_vec();
    let (status, head, body) = http(otlp_http, &post("/v1/metrics", ""), &message).await;
    assert_eq!((status, body), (200, vec![]), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    let zipped = gzip(&message);
    let (status, head, _) = http(otlp_http, &post("/v1/metrics", "\r\ncontent-encoding: gzip"), &zipped).await;
    assert_eq!(status, 200, "{head}");
    let of = |seen: &Seen| counted(seen.contents.values(), &catalogue::REQUESTS, "grpc");
    let seen = aggregator.until("requests", |seen| of(seen) == 120).await;
    assert_eq!(counted(seen.contents.values(), &catalogue::ERRORS, "http1"), 6);

    // What is refused says why, in the form of the protocol.
    let (status, _, body) = http(otlp_http, &post("/v1/metrics", ""), &[0x0a, 100, 0xff]).await;
    assert!(status == 400 && String::from_utf8_lossy(&body).contains("not protocol buffers"), "{status}: {body:?}");
    let bomb = gzip(&vec![0; 60 << 20]);
    let (status, ..) = http(otlp_http, &post("/v1/metrics", "\r\ncontent-encoding: gzip"), &bomb).await;
    assert_eq!(status, 413);
    let (status, ..) = http(otlp_http, &post("/v1/metrics", "\r\ncontent-encoding: zstd"), &message).await;
    assert_eq!(status, 415);
    let (status, _, body) = http(otlp_http, "POST /v1/metrics HTTP/1.1\r\ncontent-type: text/plain", b"{}").await;
    assert!(status == 415 && String::from_utf8_lossy(&body).contains("http/protobuf"), "{status}: {body:?}");
    assert_eq!(http(otlp_http, "GET /v1/metrics HTTP/1.1", b"").await.0, 405);
    let (status, _, body) = http(otlp_http, &post("/", ""), &message).await;
    assert!(status == 404 && String::from_utf8_lossy(&body).contains("POST /v1/metrics"), "{status}: {body:?}");
    daemon.stop().await;
}

/// A counter as the web and scripts send it, by its total at a time after the start.
fn json_requests(total: u64, after_s: u64) -> String {
    let (start, time) = (1_700_000_000_000_000_000u64, 1_700_000_000_000_000_000 + after_s * 1_000_000_000);
    format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"web"}}}}]}},
        "scopeMetrics":[{{"scope":{{"name":"page"}},"metrics":[{{"name":"clicks","unit":"{{click}}","sum":{{
        "aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{{"startTimeUnixNano":"{start}",
        "timeUnixNano":"{time}","asInt":"{total}","attributes":[]}}]}}}}]}}]}}]}}"#
    )
}

#[tokio::test]
async fn otlp_as_json_is_taken_and_answered_in_kind() {
    let aggregator = FakeAggregator::start("agg-1", ACKS).await;
    let daemon = start(config(&aggregator.address.to_string())).await;
    let otlp_http = daemon.running.address("otlp_http").expect("an open port");
    let json = |path: &str| format!("POST {path} HTTP/1.1\r\ncontent-type: application/json; charset=utf-8");
    for (total, after) in [(5, 1), (47, 2)] {
        let (status, head, body) = http(otlp_http, &json("/v1/metrics"), json_requests(total, after).as_bytes()).await;
        assert_eq!((status, &body[..]), (200, &b"{}"[..]), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
    }
    let clicks = |seen: &Seen| {
        let all = seen.contents.values().flat_map(|content| &content.samples);
        let of = |sample: &starling_proto::series::Sample| match sample.value {
            Value::Counter(n) if sample.series.name() == "clicks" => n,
            _ => 0,
        };
        all.map(of).sum::<u64>()
    };
    aggregator.until("what was clicked between the two", |seen| clicks(seen) >= 42).await;
    let (status, _, body) = http(otlp_http, &json("/v1/metrics"), b"{\"resourceMetrics\":7}").await;
    let said = String::from_utf8_lossy(&body).into_owned();
    assert!(status == 400 && said.contains("\"code\":3") && said.contains("line 1 column"), "{status}: {said}");
    let spans = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{},{}]}]}]}"#;
    let (status, _, body) = http(otlp_http, &json("/v1/traces"), spans).await;
    let said = String::from_utf8_lossy(&body).into_owned();
    assert!(
        status == 200 && said.contains(r#""rejectedSpans":"2""#) && said.contains("OTEL_TRACES_EXPORTER"),
        "{said}"
    );
    daemon.stop().await;
}

#[tokio::test]
async fn traces_and_logs_are_rejected_with_what_to_set() {
    let daemon = start(config("127.0.0.1:9")).await;
    let otlp_http = daemon.running.address("otlp_http").expect("an open port");
    // Three empty spans, or log records, of one resource and scope.
    let three = [0x0a, 8, 0x12, 6, 0x12, 0, 0x12, 0, 0x12, 0];
    for (path, variable) in [("/v1/traces", "OTEL_TRACES_EXPORTER=none"), ("/v1/logs", "OTEL_LOGS_EXPORTER=none")] {
        let (status, _, body) = http(otlp_http, &post(path, ""), &three).await;
        // partial_success, and in it rejected = 3.
        assert!(status == 200 && body.windows(3).any(|part| part == [0x08, 3, 0x12]), "{status}: {body:?}");
        assert!(String::from_utf8_lossy(&body).contains(variable), "{body:?}");
    }
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    );
    let answer = raw(&daemon.otlp, path, &three).await.expect("an answer");
    assert!(String::from_utf8_lossy(&answer).contains("OTEL_TRACES_EXPORTER=none"), "{answer:?}");
    let metrics = http_get(daemon.admin, "/metrics").await;
    assert!(metrics.contains("starling_node_otlp_other_signals_total{signal=\"traces\"} 2"), "{metrics}");
    daemon.stop().await;
}

#[tokio::test]
async fn who_takes_one_port_for_the_other_is_told_in_words() {
    let daemon = start(config("127.0.0.1:9")).await;
    let (grpc, http_port) =
        (daemon.running.address("otlp").expect("open"), daemon.running.address("otlp_http").expect("open"));
    let (status, _, body) = http(grpc, &post("/v1/metrics", ""), &traffic().encode_to_vec()).await;
    let advice = format!(
        "OTLP over gRPC here; send OTLP over HTTP to port {}, or set OTEL_EXPORTER_OTLP_PROTOCOL=grpc\n",
        http_port.port()
    );
    assert_eq!((status, String::from_utf8_lossy(&body).as_ref()), (415, advice.as_str()));
    let status = raw(&format!("http://{http_port}"), export_path(), &[]).await.expect_err("no gRPC there");
    assert!(status.code() == Code::Unimplemented && status.message().contains("OTLP over HTTP here"), "{status}");
    let path = tonic::codegen::http::uri::PathAndQuery::from_static("/some.Other/Call");
    let status = raw(&daemon.otlp, path, &[]).await.expect_err("no such call");
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    let metrics = http_get(daemon.admin, "/metrics").await;
    for port in ["grpc", "http"] {
        let line = format!("starling_node_otlp_foreign_requests_total{{port=\"{port}\"}} 1");
        assert!(metrics.contains(&line), "{metrics}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_second_daemon_does_without_the_http_port_of_the_first() {
    // Taken by whatever runs here, or by this test.
    let default = Config::default().otlp_http_listen;
    let _taken = tokio::net::TcpListener::bind(default).await;
    let stop = CancellationToken::new();
    let settings = Config { otlp_http_listen: default, ..config("127.0.0.1:9") };
    let mut running = Running::start::<Service>(settings, stop.clone()).await.expect("it starts all the same");
    assert!(running.address("otlp").is_some() && running.address("otlp_http").is_none());
    stop.cancel();
    tokio::time::timeout(LIMIT, running.ended()).await.expect("it ends in time").expect("no failure");
}

fn export_path() -> tonic::codegen::http::uri::PathAndQuery {
    let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    tonic::codegen::http::uri::PathAndQuery::from_static(path)
}

/// Sends an Export whose message is not protobuf.
async fn garbage_message(endpoint: &str) -> Code {
    // A string field where a message is wanted: tag 1, length 100, 3 bytes.
    raw(endpoint, export_path(), &[0x0a, 100, 0xff, 0xff, 0xff]).await.expect_err("not a message").code()
}

/// Calls `path` with the bytes of a message, and returns those of the answer.
async fn raw(
    endpoint: &str,
    path: tonic::codegen::http::uri::PathAndQuery,
    message: &[u8],
) -> Result<bytes::Bytes, tonic::Status> {
    let channel = Channel::from_shared(endpoint.to_owned()).expect("a URL").connect().await.expect("an open receiver");
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.expect("a connection");
    let message = bytes::Bytes::copy_from_slice(message);
    grpc.unary(tonic::Request::new(message), path, RawCodec).await.map(tonic::Response::into_inner)
}

/// Sends bytes as they are.
struct RawCodec;

impl tonic::codec::Codec for RawCodec {
    type Encode = bytes::Bytes;
    type Decode = bytes::Bytes;
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
    type Item = bytes::Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, buffer: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<bytes::Bytes>, tonic::Status> {
        let length = bytes::Buf::remaining(buffer);
        Ok(Some(bytes::Buf::copy_to_bytes(buffer, length)))
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
