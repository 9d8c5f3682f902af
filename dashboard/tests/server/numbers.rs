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
fn percentiles(first: f64) -> Value {
    json!({
        "p50": first, "p95": first + 1.0, "p99": first + 2.0, "p999": first + 3.0,
        "mean": first + 4.0, "max": first + 5.0, "count": first + 6.0, "errorBound": 0.003906,
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
    traffic.latency = Some(latency(1_000.0));
    traffic.latency_last_minute = Some(latency(2_000.0));
    traffic.protocols = (0..5u8)
        .zip(["http1", "http2", "http3", "websocket", "grpc"])
        .map(|(i, protocol)| v1::ProtocolTraffic {
            protocol: protocol.to_owned(),
            requests_per_second: Some(10.0 + f64::from(i)),
            errors_per_second: Some(20.0 + f64::from(i)),
            active: Some(30.0 + f64::from(i)),
            latency: Some(latency(3_000.0 + 100.0 * f64::from(i))),
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

/// Fails unless `answer` has each of `wanted`.
fn has(answer: &Value, wanted: &Value, of: &str) {
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(answer.get(name), Some(value), "{of}: {name} of {answer}");
    }
}

/// What an answer of each path must say; also said by its socket.
fn wanted() -> [(&'static str, Option<&'static str>, Value); 6] {
    let protocols: Vec<Value> = (0..5u8)
        .zip(["http1", "http2", "http3", "websocket", "grpc"])
        .map(|(i, name)| {
            let i = f64::from(i);
            json!({
                // Ten requests in one known second are too few to be judged.
                "name": name, "status": "healthy", "rps": 10.0 + i, "avgLatency": 3_004.0 + 100.0 * i,
                "p99Latency": 3_002.0 + 100.0 * i, "errorRate": 20.0 + i, "errorRatio": (20.0 + i) / (10.0 + i),
                "activeConnections": 30.0 + i,
            })
        })
        .collect();
    let share = |count: f64, of: f64| json!({"count": count, "of": of, "ratio": count / of});
    let mut latency = percentiles(1_000.0);
    latency["lastMinute"] = percentiles(2_000.0);
    [
        ("/api/v1/metrics/latency", Some("/ws/metrics/latency"), latency),
        ("/api/v1/system/metrics", Some("/ws/system/health"), json!({"rps": 100.0, "latency": percentiles(1_000.0)})),
        ("/api/v1/metrics/protocols", None, json!({"protocols": protocols})),
        (
            "/api/v1/connections/metrics",
            Some("/ws/connections/metrics"),
            json!({
                "active": 201.0, "idle": 202.0, "total": 203.0, "connectionRate": 250.0, "resetsPerSecond": 205.0,
                "retransmitRatio": 0.25,
                "healthStatus": {"healthy": share(120.0, 180.0), "warning": share(60.0, 180.0), "error": share(20.0, 250.0)},
                "attemptsLastMinute": {"opened": 250.0, "failed": 20.0, "reset": 205.0},
            }),
        ),
        (
            "/api/v1/system/cpu",
            Some("/ws/metrics/cpu"),
            json!({
                "totalUtilization": 25.0, "loadAverage": [301.0, 302.0, 303.0], "logicalCores": 304.0,
                "maxNodeUtilization": 75.0,
            }),
        ),
        (
            "/api/v1/system/memory",
            Some("/ws/metrics/memory"),
            json!({
                "totalMemory": 1_000.0, "usedMemory": 500.0, "availableMemory": 502.0, "bufferCache": 503.0,
                "applicationMemory": 504.0, "systemMemory": 505.0, "freeMemory": 506.0, "swapTotal": 507.0,
                "swapUsage": 508.0, "hugePagesTotal": 509.0, "hugePagesUsage": 510.0, "utilization": 50.0,
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
