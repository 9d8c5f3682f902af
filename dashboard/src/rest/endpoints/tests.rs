use std::sync::Arc;

use serde_json::json;
use starling_proto::histogram::HistogramSum;

use super::*;
use crate::hub::{LastMinute, OfSource, Second, Standing};

fn reading() -> Reading {
    let mut sum = HistogramSum::new();
    sum.record(2_000_000, 90);
    sum.record(50_000_000, 10);
    let latency = v1::Latency {
        p50_micros: 2_000.0,
        count: 100.0,
        error_bound_ppm: 3_906,
        histogram: sum.to_histogram().encode(),
        ..Default::default()
    };
    let view = v1::ClusterView {
        tick: 1_700_000_000,
        completeness: Some(v1::Completeness {
            nodes_reporting: Some(2),
            nodes_expected: Some(3),
            copies: 1,
            copies_on_disk: Some(1),
            skipped_cells: Some(4),
            sections: Some(v1::SectionNodes { cpu: Some(2), memory: Some(1), ..Default::default() }),
            nodes_missing: vec!["web-3".to_owned()],
            ..Default::default()
        }),
        sections: Some(v1::Sections {
            traffic: Some(v1::Traffic {
                requests_per_second: Some(100.0),
                errors_per_second: Some(2.0),
                latency: Some(latency.clone()),
                latency_last_minute: Some(latency),
                protocols: vec![v1::ProtocolTraffic {
                    protocol: "http2".into(),
                    requests_per_second: Some(100.0),
                    errors_per_second: Some(2.0),
                    active: Some(7.0),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            connections: Some(v1::Connections {
                active: Some(6.0),
                idle: Some(2.0),
                total: Some(10.0),
                healthy: Some(8.0),
                warning: Some(2.0),
                error: Some(3.0),
                opened_per_second: Some(12.0),
                resets_per_second: Some(1.0),
                ..Default::default()
            }),
            cpu: Some(v1::Cpu {
                utilization_ratio: Some(0.25),
                load1: Some(1.0),
                load5: Some(2.0),
                load15: Some(3.0),
                busiest: vec![v1::CoreUtilization { node_id: "a".into(), core: Some(1), utilization_ratio: Some(0.5) }],
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let second = Second::Cluster(Box::new(view));
    // The minute up to this second, of which nothing else is known.
    let minute = LastMinute::of(&second);
    Reading { second: Arc::new(second), verdict: Default::default(), alerts: warned(), minute }
}

/// An open alert about the failures of HTTP/2.
fn warned() -> OfSource {
    let episode = v1::AlertEpisode {
        rule: "errors".into(),
        attributes: vec![v1::AlertAttribute { key: "protocol".into(), value: "http2".into() }],
        state: v1::AlertState::Firing.into(),
        severity: v1::AlertSeverity::Warning.into(),
        ..Default::default()
    };
    let alert = v1::Alert { episode: Some(episode), ..Default::default() };
    OfSource { standing: Standing::Followed, list: vec![alert.into()], ..Default::default() }
}

fn answer(endpoint: &Endpoint, columns: Columns) -> Value {
    let facts = Facts { reading: &reading(), columns, target_rps: Some(150.0), now: 1_700_000_000_250 };
    endpoint.answer(&facts)
}

#[test]
fn every_answer_says_when_and_how_complete() {
    for endpoint in [
        Endpoint::Rps,
        Endpoint::Latency,
        Endpoint::Connections,
        Endpoint::Cpu,
        Endpoint::Memory,
        Endpoint::Protocols,
        Endpoint::System,
    ] {
        let answer = answer(&endpoint, Columns::default());
        assert_eq!(answer["timestamp"], "2023-11-14T22:13:20.000Z", "{endpoint:?}");
        assert_eq!(
            answer["completeness"],
            json!({
                "nodesReporting": 2,
                "nodesExpected": 3,
                "tick": 1_700_000_000,
                "ageMs": 250,
                "copies": 1,
                "copiesOnDisk": 1,
                "skippedCells": 4,
                "sections": {
                    "cpu": 2, "memory": 1, "disk": 0, "filesystem": 0, "network": 0, "connections": 0, "traffic": 0,
                    "latency": 0,
                },
                "nodesMissing": ["web-3"],
            })
        );
    }
}

#[test]
fn rps_has_its_target_and_history() {
    let columns = Columns { first_tick: 1_699_999_999, values: vec![vec![f32::NAN, 100.0]] };
    let answer = answer(&Endpoint::Rps, columns);
    assert_eq!((&answer["current"], &answer["target"]), (&json!(100), &json!(150)));
    assert_eq!(answer["historicalData"][0], json!({"timestamp": "2023-11-14T22:13:19.000Z", "value": null}));
    assert_eq!(answer["historicalData"][1]["value"], 100);
    assert_eq!(answer["trend"]["direction"], "unknown");
}

#[test]
fn latency_is_micros_and_its_rows_hold_every_request() {
    let answer = answer(&Endpoint::Latency, Columns::default());
    assert_eq!(answer["p50Micros"], 2_000);
    assert_eq!(answer["errorBoundPpm"], 3_906);
    let rows = answer["distribution"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["count"].as_u64().unwrap()).sum::<u64>(), 100);
    assert!(rows[0]["fromMicros"].as_f64().unwrap() <= 2_000.0 && rows[0]["toMicros"].as_f64().unwrap() > 2_000.0);
    assert_eq!(answer["latencyLastMinute"]["count"], 100);
}

#[test]
fn what_was_not_reported_is_null() {
    let memory = answer(&Endpoint::Memory, Columns::default());
    for field in ["totalBytes", "usedBytes", "bufferCacheBytes", "hugePagesUsedBytes", "applicationBytes"] {
        assert!(memory.as_object().unwrap().contains_key(field), "{field}");
        assert_eq!(memory[field], Value::Null);
    }
}

#[test]
fn the_rest_of_the_shapes() {
    let cpu = answer(&Endpoint::Cpu, Columns::default());
    assert_eq!((&cpu["utilizationRatio"], &cpu["load15"]), (&json!(0.25), &json!(3)));
    assert_eq!(cpu["busiest"], json!([{"nodeId": "a", "core": 1, "utilizationRatio": 0.5}]));
    let connections = answer(&Endpoint::Connections, Columns::default());
    // Sockets are shares of sockets, attempts of attempts.
    assert_eq!(connections["healthStatus"]["warning"], json!({"count": 2, "of": 10, "ratio": 0.2}));
    assert_eq!(connections["healthStatus"]["error"], json!({"count": 3, "of": 12, "ratio": 0.25}));
    assert_eq!(connections["attemptsLastMinute"], json!({"opened": 12, "failed": 3, "reset": 1}));
    assert_eq!((&connections["active"], &connections["retransmitRatio"]), (&json!(6), &Value::Null));
    let protocols = answer(&Endpoint::Protocols, Columns::default());
    assert_eq!(protocols["distribution"], json!([{"protocol": "http2", "ratio": 1}]));
    assert_eq!(protocols["protocols"][0]["status"], "warning");
    assert_eq!(protocols["protocols"][0]["errorRatio"], 0.02);
    let system = answer(&Endpoint::System, Columns::default());
    assert_eq!(system["protocols"]["http1"], Value::Null);
    assert_eq!(system["protocols"]["http2"]["active"], 7);
    assert_eq!((&system["connections"]["total"], &system["connections"]["openedPerSecond"]), (&json!(10), &json!(12)));
    assert_eq!((&system["requestsPerSecond"], &system["errorsPerSecond"]), (&json!(100), &json!(2)));
    assert_eq!(system["cpu"]["utilizationRatio"], 0.25);
}

#[test]
fn the_timeline_is_cut_and_covered() {
    let values = |from: f32| (0..120_u16).map(|i| from + f32::from(i)).collect::<Vec<_>>();
    let columns = Columns { first_tick: 1_700_000_000 - 119, values: (0..5).map(|_| values(0.0)).collect() };
    let asked = Parameters::of(&[("range", "1h"), ("protocols", "http1,grpc")]);
    let endpoint = Endpoint::Requests(Timeline::default()).followed(&asked).unwrap();
    let body = answer(&endpoint, columns.clone());
    let points = body["points"].as_array().unwrap();
    assert_eq!(points.len(), 120);
    assert!(points.iter().all(|point| point["requestsPerSecond"].as_object().unwrap().len() == 2));
    assert_eq!(body["coverage"]["availableSeconds"], 120);
    assert_eq!(body["coverage"]["complete"], false);
    assert!(body["coverage"]["note"].as_str().unwrap().contains("15 minutes"));

    let endpoint = Endpoint::Requests(Timeline::default());
    let facts = Facts { reading: &reading(), columns, target_rps: None, now: 0 };
    let point = endpoint.tick(&facts);
    assert_eq!(point["points"].as_array().unwrap().len(), 1);
    let point = &point["points"][0];
    assert_eq!(
        (&point["timestamp"], &point["requestsPerSecond"]["grpc"]),
        (&json!("2023-11-14T22:13:20.000Z"), &json!(119))
    );
}
