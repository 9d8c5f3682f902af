//! Every number stands under its own name: one second in which no two numbers are alike, read in every form.
//!
//! A swap of two fields (p95 with p99, received with sent) leaves every other test green; here it is another number.

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use starling_proto::{live::View, v1};
use tokio::time::timeout;

use starling_testkit::{Script, Scripted};

use crate::harness::{LIMIT, Server, charted, now, table, view};

/// Percentiles from `first` on, each larger by one: p50, p95, p99, p99.9, mean, maximum, count.
fn latency(first: f64) -> v1::Latency {
    v1::Latency {
        p50_micros: first,
        p95_micros: first + 1.0,
        p99_micros: first + 2.0,
        p999_micros: first + 3.0,
        mean_micros: first + 4.0,
        max_micros: first + 5.0,
        count: first + 6.0,
        error_bound_ppm: 3_906,
        histogram: Default::default(),
    }
}

/// What the JSON forms make of [`latency`].
fn percentiles(first: u32) -> Value {
    json!({
        "p50Micros": first, "p95Micros": first + 1, "p99Micros": first + 2, "p999Micros": first + 3,
        "meanMicros": first + 4, "maxMicros": first + 5, "count": first + 6, "errorBoundPpm": 3906,
    })
}

/// What the aggregator charts, by column.
const CHARTED: [(&str, f64); 23] = [
    ("rps.http1", 10.0),
    ("rps.http2", 11.0),
    ("rps.http3", 12.0),
    ("rps.websocket", 13.0),
    ("rps.grpc", 14.0),
    ("rps.total", 100.0),
    ("errors.total", 7.0),
    ("latency.p50", 1_000.0),
    ("latency.p95", 1_001.0),
    ("latency.p99", 1_002.0),
    ("latency.p999", 1_003.0),
    ("connections.total", 203.0),
    ("connections.active", 201.0),
    ("connections.healthy", 120.0),
    ("connections.warning", 60.0),
    ("connections.error", 20.0),
    ("cpu.total", 0.25),
    ("memory.used_ratio", 0.5),
    ("network.received", 601.0),
    ("network.sent", 602.0),
    ("disk.read", 701.0),
    ("disk.written", 702.0),
    ("load.1m", 301.0),
];

/// A second of a cluster whose numbers are all different.
fn second(tick: u32) -> v1::ClusterView {
    let mut view = view(tick, 100.0);
    let sections = view.sections.as_mut().unwrap();
    let traffic = sections.traffic.as_mut().unwrap();
    traffic.errors_per_second = Some(7.0);
    traffic.reported_every_seconds = Some(60.0);
    traffic.latency = Some(latency(1_000.0));
    traffic.latency_last_minute = Some(latency(2_000.0));
    traffic.protocols = (0..5u8)
        .zip(["http1", "http2", "http3", "websocket", "grpc"])
        .map(|(i, protocol)| v1::ProtocolTraffic {
            protocol: protocol.to_owned(),
            requests_per_second: Some(10.0 + f64::from(i)),
            errors_per_second: Some(25.0 + f64::from(i)),
            active: Some(30.0 + f64::from(i)),
            latency: Some(latency(3_000.0 + 100.0 * f64::from(i))),
            reported_every_seconds: Some(61.0 + f64::from(i)),
        })
        .collect();
    sections.connections = Some(v1::Connections {
        active: Some(201.0),
        idle: Some(202.0),
        total: Some(203.0),
        opened_per_second: Some(250.0),
        resets_per_second: Some(205.0),
        segments_sent_per_second: Some(400.0),
        retransmits_per_second: Some(100.0),
        retransmit_ratio: Some(0.25),
        healthy: Some(120.0),
        warning: Some(60.0),
        error: Some(20.0),
        ..Default::default()
    });
    sections.cpu = Some(v1::Cpu {
        utilization_ratio: Some(0.25),
        load1: Some(301.0),
        load5: Some(302.0),
        load15: Some(303.0),
        cores: Some(304.0),
        utilization_ratio_max: Some(0.75),
        ..Default::default()
    });
    sections.memory = Some(v1::Memory {
        total_bytes: Some(1_000.0),
        used_bytes: Some(500.0),
        available_bytes: Some(502.0),
        buffer_cache_bytes: Some(503.0),
        application_bytes: Some(504.0),
        system_bytes: Some(505.0),
        free_bytes: Some(506.0),
        swap_total_bytes: Some(507.0),
        swap_used_bytes: Some(508.0),
        huge_pages_total_bytes: Some(509.0),
        huge_pages_used_bytes: Some(510.0),
        used_ratio: Some(0.5),
    });
    sections.network = Some(v1::Network {
        received_bytes_per_second: Some(601.0),
        sent_bytes_per_second: Some(602.0),
        ..Default::default()
    });
    sections.disk = Some(v1::Disk {
        read_bytes_per_second: Some(701.0),
        written_bytes_per_second: Some(702.0),
        ..Default::default()
    });
    view.charted = CHARTED.map(|(column, value)| (column.to_owned(), value)).into();
    view
}

async fn served() -> (Script, Scripted, Server, u32) {
    let (script, tick) = (Script::default(), now());
    script.report(second(tick), Some(table(tick, 2)));
    let double = Scripted::start(&script, "a1", 0).await;
    let server = Server::start(&[double.address]).await;
    server.ready().await;
    (script, double, server, tick)
}

/// The same number: reading JSON may round the last bit of a fraction.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) if x.is_f64() && y.is_f64() => {
            x.as_f64().zip(y.as_f64()).is_some_and(|(x, y)| (x - y).abs() <= y.abs() * f64::EPSILON)
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(name, x)| y.get(name).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}

/// Fails unless `answer` has each of `wanted`.
fn has(answer: &Value, wanted: &Value, of: &str) {
    for (name, value) in wanted.as_object().unwrap() {
        let is = answer.get(name).unwrap_or(&Value::Null);
        assert!(same(is, value), "{of}: {name} is {is}, wanted {value}");
    }
}

/// What an answer of each path must say; also said by its socket. The names and units are those of gRPC's JSON.
fn wanted() -> [(&'static str, Option<&'static str>, Value); 6] {
    let protocols: Vec<Value> = (0..5u32)
        .zip(["http1", "http2", "http3", "websocket", "grpc"])
        .map(|(i, protocol)| {
            json!({
                // Ten requests in one known second are too few to be judged.
                "protocol": protocol, "status": "healthy", "requestsPerSecond": 10 + i, "errorsPerSecond": 25 + i,
                "errorRatio": Value::from(f64::from(25 + i) / f64::from(10 + i)), "active": 30 + i,
                "reportedEverySeconds": 61 + i, "latency": percentiles(3_000 + 100 * i),
            })
        })
        .collect();
    let share = |count: u32, of: u32| json!({"count": count, "of": of, "ratio": f64::from(count) / f64::from(of)});
    let mut latency = percentiles(1_000);
    latency["latencyLastMinute"] = percentiles(2_000);
    let connections = json!({
        "active": 201, "idle": 202, "total": 203, "openedPerSecond": 250, "resetsPerSecond": 205,
        "segmentsSentPerSecond": 400, "retransmitsPerSecond": 100, "retransmitRatio": 0.25,
    });
    let mut health = connections.clone();
    health["healthStatus"] = json!({"healthy": share(120, 180), "warning": share(60, 180), "error": share(20, 250)});
    health["attemptsLastMinute"] = json!({"opened": 250, "failed": 20, "reset": 205});
    [
        ("/api/v1/metrics/latency", Some("/ws/metrics/latency"), latency),
        (
            "/api/v1/system/metrics",
            Some("/ws/system/health"),
            json!({
                "requestsPerSecond": 100, "errorsPerSecond": 7, "reportedEverySeconds": 60, "latency": percentiles(1_000), "connections": connections,
            }),
        ),
        ("/api/v1/metrics/protocols", None, json!({"protocols": protocols})),
        ("/api/v1/connections/metrics", Some("/ws/connections/metrics"), health),
        (
            "/api/v1/system/cpu",
            Some("/ws/metrics/cpu"),
            json!({
                "utilizationRatio": 0.25, "load1": 301, "load5": 302, "load15": 303, "cores": 304,
                "utilizationRatioMax": 0.75,
            }),
        ),
        (
            "/api/v1/system/memory",
            Some("/ws/metrics/memory"),
            json!({
                "totalBytes": 1_000, "usedBytes": 500, "availableBytes": 502, "bufferCacheBytes": 503,
                "applicationBytes": 504, "systemBytes": 505, "freeBytes": 506, "swapTotalBytes": 507,
                "swapUsedBytes": 508, "hugePagesTotalBytes": 509, "hugePagesUsedBytes": 510, "usedRatio": 0.5,
            }),
        ),
    ]
}

#[tokio::test]
async fn answers_put_every_number_under_its_name() {
    let (_script, _double, server, tick) = served().await;
    for (path, socket, wanted) in wanted() {
        let (status, answer) = server.get(path).await;
        assert_eq!((status, &answer["completeness"]["tick"]), (200, &json!(tick)), "{path}: {answer}");
        has(&answer, &wanted, path);
        let Some(socket) = socket else { continue };
        let message = timeout(LIMIT, server.socket(socket).await.next()).await.expect("an object comes");
        let object = serde_json::from_str(message.unwrap().unwrap().to_text().unwrap()).unwrap();
        has(&object, &wanted, socket);
    }
}

#[tokio::test]
async fn the_page_gets_every_number_in_its_column() {
    let (_script, _double, server, tick) = served().await;
    let mut page = server.page().await;
    page.subscribe(1, View::Overview, "", 0).await;
    let history = page.snapshot().await.history.unwrap();
    for (column, value) in CHARTED {
        assert_eq!(f64::from(charted(&history, column, tick)), value, "{column}");
    }
}
