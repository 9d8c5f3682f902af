//! What is older than what is kept, read from real engines, and from such as fail.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod feed;
mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use feed::FalseEngine;
use starling_aggregator::{Config, EngineSettings, HistorySettings};
use starling_history::{Cell, Subject};
use starling_proto::{
    catalogue::{self, Kind, Scope},
    histogram::Histogram,
    series::Series,
    v1,
};
use starling_testkit::{Engine, installed};
use support::{Aggregator, TestNode, now};

/// Seconds that are kept here, of which each has ten requests of 2 ms.
const OWN: u32 = 120;
/// Seconds that the engine holds before them.
const OLDER: u32 = 3 * 3_600;
/// Requests a second before the seam in the engine, and what it holds of the same node after it: own data wins.
const RATE: u64 = 10;

fn reading(url: String) -> Config {
    let engine = EngineSettings { url: Some(url), ..EngineSettings::default() };
    Config { history: HistorySettings { engine, ..HistorySettings::default() }, ..Config::default() }
}

/// An aggregator with [`OWN`] seconds of one node up to `to`.
async fn with_own_seconds(url: String, to: u32) -> (Aggregator, TestNode) {
    let aggregator = Aggregator::start_with("solo", &[], reading(url)).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let ticks: Vec<u32> = (to + 1 - OWN..=to).collect();
    for some in ticks.chunks(20) {
        for tick in some {
            node.send(*tick, RATE, 2_000).await;
        }
        node.until_acked(some.iter().copied()).await;
    }
    (aggregator, node)
}

/// One second of the node, and of the cluster and the group, which it is alone in.
fn second(tick: u32) -> Vec<(Series, Cell)> {
    let grpc = [("protocol", "grpc")];
    let durations = Histogram::of(200_000_000, RATE);
    vec![
        (Series::of(&catalogue::REQUESTS, &grpc), Cell::second(RATE as f64)),
        (Series::of(&catalogue::CPU_UTILIZATION, &[]), Cell::second(f64::from(tick % 10) / 10.0)),
        (
            Series::of(&catalogue::DURATION, &grpc),
            Cell { histogram: Some(Arc::new(durations)), ..Cell::second(RATE as f64) },
        ),
    ]
}

fn subjects() -> Vec<Subject> {
    ["cluster", "group/zone:a", "node/web-1"].map(|text| Subject::parse(text).unwrap()).to_vec()
}

fn asked(from: u32, to: u32, step: u32, scope: v1::Scope, name: &str, statistics: &[&str]) -> v1::QueryRangeRequest {
    v1::QueryRangeRequest {
        scope: Some(scope),
        name: name.to_owned(),
        from_tick: from,
        to_tick: to,
        step_seconds: step,
        statistics: statistics.iter().map(ToString::to_string).collect(),
        ..v1::QueryRangeRequest::default()
    }
}

fn node() -> v1::Scope {
    v1::Scope { node_id: "web-1".into(), ..Default::default() }
}

fn each_node() -> v1::Scope {
    v1::Scope { each_node: true, ..Default::default() }
}

fn zone() -> v1::Scope {
    v1::Scope { group: "zone:a".into(), ..Default::default() }
}

async fn query(aggregator: &Aggregator, request: v1::QueryRangeRequest) -> v1::RangeAnswer {
    aggregator.query().await.query_range(request).await.unwrap().into_inner()
}

/// Scenario 56 with a real engine: every second once, whoever is asked, and by whatever question.
async fn across_the_seam(engine: Engine, keeps_histograms: bool) {
    let to = now() - 2;
    let from = to + 1 - OWN - OLDER;
    // It lags behind, the last minute is not there; and it has the first minute that is kept here otherwise.
    let values = |tick: u32| {
        let mut all = second(tick);
        if tick > to - OWN {
            all[0].1 = Cell::second(1e6);
        }
        all
    };
    feed::write(&engine.url(""), &subjects(), from..=to - 60, from + 5_000, values).await;
    let (aggregator, _node) = with_own_seconds(engine.url(""), to).await;
    for scope in [v1::Scope::default(), zone(), node(), each_node()] {
        // By the minute, by 15 s, and by the second over the seam.
        for (first, step) in [(from, 60), (from, 15), (to - OWN - 599, 1)] {
            let request = asked(first, to, step, scope.clone(), "traffic.requests", &["increase", "rate", "max"]);
            let answer = query(&aggregator, request).await;
            assert!(answer.missing.is_empty() && answer.series.len() == 1, "{scope:?} {step}: {answer:?}");
            let read =
                |at: usize| answer.series[0].statistics[at].values.iter().copied().filter(|value| !value.is_nan());
            let growth: f64 = read(0).sum();
            assert_eq!(growth, f64::from(to - first + 1) * RATE as f64, "{scope:?} in steps of {step}");
            let odd: Vec<f64> = read(1).filter(|rate| (rate - RATE as f64).abs() > 0.01).collect();
            assert!(odd.is_empty(), "{scope:?} in steps of {step}: {odd:?}");
            assert_eq!(read(0).count(), answer.points.len());
            let engine_part = answer.from_engine.as_ref().unwrap();
            assert_eq!(engine_part.engine, engine.url(""));
            assert_eq!(
                (engine_part.to_tick, engine_part.from_tick >= first - step),
                (to - OWN, true),
                "{engine_part:?}"
            );
            // Cells of 10 s belong to the step of 15 s in which they begin.
            let whole = answer.points.iter().all(|point| point.seconds() == point.seconds_expected());
            assert!(whole || step == 15, "{scope:?} {step}");
        }
        let cpu = asked(
            from,
            to - OWN,
            600,
            scope.clone(),
            "system.cpu.utilization",
            &["mean", "min", "max", "deviation", "last"],
        );
        let answer = query(&aggregator, cpu).await;
        assert_eq!(answer.series.len(), 1, "{answer:?}");
        let statistics: Vec<f64> = answer.series[0].statistics.iter().map(|one| one.values[3]).collect();
        let close = |a: f64, b: f64| (a - b).abs() < 0.005;
        assert!(
            close(statistics[0], 0.45) && statistics[1] == 0.0 && statistics[2] == 0.9,
            "{scope:?}: {statistics:?}"
        );
        assert!(close(statistics[3], 8.25f64.sqrt() / 10.0), "{statistics:?}");
    }
    // Ten of each second at 0.2 s before the seam, at 2 ms after it: one distribution, or what is known and why not more.
    let mut client = aggregator.query().await;
    let request = v1::GetDistributionRequest { from_tick: from, to_tick: to, ..Default::default() };
    let answer = client.get_distribution(request).await.unwrap().into_inner();
    let own = f64::from(OWN) * RATE as f64;
    if keeps_histograms {
        let (all, lost) = (f64::from(OWN + OLDER) * RATE as f64, f64::from(OWN + OLDER) * RATE as f64 - answer.count());
        // Of the first step and of that of the restart the engine estimates.
        assert!(lost.abs() < all / 500.0, "{lost} of {all}: {answer:?}");
        let p50 = answer.quantiles.iter().find(|one| one.quantile() == 0.5).unwrap();
        let bound = f64::from(answer.error_bound_ppm) / 1e6;
        assert!((p50.value() / 0.2 - 1.0).abs() <= bound && bound < 0.03, "{answer:?}");
        assert!(answer.missing.is_empty() && answer.from_engine.is_some(), "{answer:?}");
    } else {
        assert_eq!(answer.count(), own);
        let [missing] = &answer.missing[..] else { panic!("{answer:?}") };
        assert!(missing.reason.contains("keeps no native histograms (VictoriaMetrics)"), "{missing:?}");
        assert_eq!((missing.from_tick, missing.to_tick), (from, to - OWN), "{missing:?}");
    }
    // PromQL: one line with all its points, the same rate on both sides.
    let promql = |query: &str, from: u32, step: u32| v1::QueryPromqlRequest {
        query: query.to_owned(),
        start_ms: i64::from(from) * 1_000,
        end_ms: i64::from(to) * 1_000,
        step_ms: i64::from(step) * 1_000,
        ..Default::default()
    };
    for text in ["rate(traffic_requests_total[1m])", "rate(cluster:traffic_requests_total[1m])"] {
        let answer = client.query_promql(promql(text, to - 1_200, 15)).await.unwrap().into_inner();
        assert_eq!((answer.series.len(), answer.series[0].values.len()), (1, 81), "{text}: {answer:?}");
        let odd: Vec<f64> = answer.series[0].values.iter().copied().filter(|rate| (rate - 10.0).abs() > 1e-6).collect();
        assert!(odd.is_empty() && answer.warnings.is_empty(), "{text}: {odd:?}");
        assert!(answer.infos.iter().any(|info| info.contains(&engine.url(""))), "{:?}", answer.infos);
    }
    // A summary, a picture and plain points have the older part too.
    let summary = v1::SummarizeRequest { from_tick: from, to_tick: to, ..Default::default() };
    let summary = client.summarize(summary).await.unwrap().into_inner();
    assert!((summary.average.unwrap() - 10.0).abs() < 0.01, "{summary:?}");
    assert!(summary.series.unwrap().from_engine.is_some());
    let map = v1::GetHeatmapRequest {
        name: "system.cpu.utilization".into(),
        scope: Some(each_node()),
        from_tick: from,
        to_tick: to - OWN,
        ..Default::default()
    };
    let map = client.get_heatmap(map).await.unwrap().into_inner();
    let cells = &map.rows[0].cells;
    // Also when the question ends before the first second that is kept here, wherever in its hour that is.
    assert!(cells.iter().all(|cell| !cell.is_nan()), "{map:?}");
    // The outer columns are parts.
    let whole = &cells[1..cells.len() - 1];
    assert!(map.rows.len() == 1 && whole.iter().all(|cell| (cell - 0.45).abs() < 0.05), "{map:?}");
    let points = v1::GetSeriesRequest {
        name: "traffic.requests".into(),
        total: true,
        statistics: vec!["value".into(), "nodes".into()],
        from_tick: to - 2_000,
        to_tick: to - OWN,
        ..Default::default()
    };
    let points = client.get_series(points).await.unwrap().into_inner();
    let values: Vec<&Vec<f64>> = points.series[0].statistics.iter().map(|one| &one.values).collect();
    assert!(values[0].iter().all(|value| *value == 10.0), "{values:?}");
    assert!(values[1].iter().all(|value| value.is_nan()), "how many nodes there were the engine does not say");
    assert!(points.from_engine.is_some());
    // What is kept here is not asked of it.
    let recent = query(&aggregator, asked(to - OWN + 1, to, 1, node(), "traffic.requests", &["increase"])).await;
    assert!(recent.from_engine.is_none() && recent.missing.is_empty());
    aggregator.stopped().await;
}

#[tokio::test]
async fn the_seam_to_prometheus_is_counted_once() {
    if installed("prometheus") {
        across_the_seam(Engine::prometheus("").await, true).await;
    }
}

#[tokio::test]
async fn the_seam_to_victoria_metrics_is_counted_once() {
    if installed("victoria-metrics") {
        across_the_seam(Engine::victoria().await, false).await;
    }
}

#[tokio::test]
async fn an_engine_that_fails_costs_its_part_and_no_more_time() {
    let to = now() - 2;
    let from = to + 1 - OWN - 3_600;
    let huge = {
        let mut body = br#"{"status":"success","data":{"resultType":"matrix","result":["#.to_vec();
        body.resize(40 * 1024 * 1024, b' ');
        body
    };
    let error = br#"{"status":"error","errorType":"execution","error":"out of memory"}"#.to_vec();
    let cases = [
        (None, "did not answer within"),
        (Some(("503 Service Unavailable", "", b"overloaded".to_vec())), "answered 503 Service Unavailable: overloaded"),
        (Some(("422 Unprocessable Entity", "", error)), "answered 422 Unprocessable Entity: out of memory"),
        (Some(("401 Unauthorized", "", Vec::new())), "answered 401 Unauthorized"),
        (
            Some(("302 Found", "Location: http://127.0.0.1:1/\r\n", Vec::new())),
            "answered 302 Found to \"http://127.0.0.1:1/\"",
        ),
        (Some(("200 OK", "", b"<html>".to_vec())), "answered what is not its JSON"),
        (Some(("200 OK", "", huge)), "answered with more than 33554432 bytes"),
    ];
    let each = cases.into_iter().map(async |(answer, wanted)| {
        let engine = FalseEngine::start(answer).await;
        let (aggregator, _node) = with_own_seconds(engine.url.clone(), to).await;
        let began = Instant::now();
        let answer = query(&aggregator, asked(from, to, 60, node(), "traffic.requests", &["increase"])).await;
        assert!(began.elapsed() < Duration::from_millis(2_500), "{wanted}: {:?}", began.elapsed());
        let own: f64 = answer.series[0].statistics[0].values.iter().filter(|value| !value.is_nan()).sum();
        assert_eq!(own, f64::from(OWN) * RATE as f64, "{wanted}: what is here is answered");
        let [missing] = &answer.missing[..] else { panic!("{answer:?}") };
        assert!(missing.reason.contains(&engine.url) && missing.reason.contains(wanted), "{wanted}: {missing:?}");
        assert_eq!((missing.from_tick, missing.to_tick), (from, to - OWN), "{wanted}");
        assert!(answer.from_engine.is_none());
        let strict = v1::QueryRangeRequest { strict: true, ..asked(from, to, 60, node(), "traffic.requests", &[]) };
        let refused = aggregator.query().await.query_range(strict).await.unwrap_err();
        assert!(refused.message().contains("strict: ") && refused.message().contains(&engine.url), "{refused}");
        aggregator.stopped().await;
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn an_engine_that_keeps_failing_is_left_alone() {
    let to = now() - 2;
    let engine = FalseEngine::start(Some(("500 Internal Server Error", "", Vec::new()))).await;
    let (aggregator, _node) = with_own_seconds(engine.url.clone(), to).await;
    let mut reasons = Vec::new();
    for _ in 0..10 {
        // One window, one request.
        let request = asked(to - 3_600 - 3_600, to - 3_600, 1, node(), "traffic.requests", &[]);
        reasons.extend(query(&aggregator, request).await.missing.into_iter().map(|part| part.reason));
    }
    assert_eq!(engine.requests(), 3, "{reasons:?}");
    assert!(reasons[9].contains("failed several times and is asked again in"), "{reasons:?}");
    aggregator.stopped().await;
}

#[tokio::test]
async fn series_that_nobody_here_knows_are_found_by_name() {
    let to = now() - 2;
    let (from, end) = (to - 4_000, to - 2_000);
    if !installed("prometheus") {
        return;
    }
    let engine = Engine::prometheus("").await;
    let app = |name: &str, kind, unit: &str, scale| {
        Series::application(name, &[("till", "7")], kind, unit, scale, Scope::Cluster).unwrap()
    };
    let took = Cell { histogram: Some(Arc::new(Histogram::of(500_000_000, 1))), ..Cell::second(1.0) };
    let values = |_| {
        vec![
            (app("shop.orders", Kind::Counter, "{order}", 0), Cell::second(3.0)),
            (app("shop.size", Kind::Gauge, "By", 0), Cell::second(512.0)),
            (app("shop.took", Kind::Histogram, "s", 9), took.clone()),
        ]
    };
    feed::write(&engine.url(""), &[Subject::parse("node/web-9").unwrap()], from..=end, 0, values).await;
    let (aggregator, _node) = with_own_seconds(engine.url(""), to).await;
    let gone = || v1::Scope { node_id: "web-9".into(), ..Default::default() };
    let read = async |name: &str, statistic: &str| {
        let answer = query(&aggregator, asked(from + 100, end, 60, gone(), name, &[statistic])).await;
        let [series] = &answer.series[..] else { panic!("{name}: {answer:?}") };
        assert_eq!((series.node_id.as_str(), series.attributes.get("till").map(String::as_str)), ("web-9", Some("7")));
        assert!(!series.attributes.contains_key("replica"), "{series:?}");
        (series.kind.clone(), series.unit.clone(), series.statistics[0].values[5])
    };
    assert_eq!(read("shop.orders", "rate").await, ("counter".to_owned(), String::new(), 3.0));
    assert_eq!(read("shop.size", "mean").await, ("gauge".to_owned(), "By".to_owned(), 512.0));
    let (kind, unit, p99) = read("shop.took", "p99").await;
    assert!(kind == "histogram" && unit == "s" && (p99 - 0.5).abs() < 0.015, "{kind} {unit} {p99}");
    let promql = v1::QueryPromqlRequest {
        query: "sum by (node) (rate(shop_orders_total{till=\"7\"}[1m]))".into(),
        start_ms: i64::from(end) * 1_000,
        end_ms: i64::from(end) * 1_000,
        ..Default::default()
    };
    let answer = aggregator.query().await.query_promql(promql).await.unwrap().into_inner();
    assert_eq!((answer.series.len(), answer.series[0].values[0]), (1, 3.0), "{answer:?}");
    aggregator.stopped().await;
}
