//! Remote write into real engines: what they hold is what questions here answer, over an engine that is away and an aggregator
//! that is killed.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use starling_proto::v1;
use starling_service::{
    grpc::query_client::QueryClient,
    requests::{Protocol, RequestMeter},
};
use starling_testkit::{Engine, EngineSamples, eventually, growth, installed};
use starling_tests::{Program, Scrape};
use tokio_util::task::AbortOnDropHandle;

fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32
}

/// One series of the node or of the cluster by the second.
async fn answered(
    aggregator: &Program,
    scope: v1::Scope,
    name: &str,
    attribute: (&str, &str),
    statistic: &str,
    (from, to): (u32, u32),
) -> BTreeMap<u32, f64> {
    let mut client = QueryClient::connect(aggregator.url("grpc")).await.unwrap();
    let request = v1::QueryRangeRequest {
        scope: Some(scope),
        name: name.into(),
        attributes: [(attribute.0.to_owned(), attribute.1.to_owned())].into(),
        statistics: vec![statistic.into()],
        from_tick: from,
        to_tick: to,
        step_seconds: 1,
        ..v1::QueryRangeRequest::default()
    };
    let answer = client.query_range(request).await.unwrap().into_inner();
    let ticks = answer.points.iter().map(|point| point.tick);
    let values = answer.series[0].statistics[0].values.iter().copied();
    ticks.zip(values).filter(|(_, value)| !value.is_nan()).collect()
}

/// The samples of whole seconds, by the second. None twice.
fn by_second(samples: &EngineSamples) -> BTreeMap<u32, f64> {
    let whole: Vec<(u32, f64)> =
        samples.iter().filter(|(time, _)| time.fract() == 0.0).map(|(time, value)| (*time as u32, *value)).collect();
    let all: BTreeMap<u32, f64> = whole.iter().copied().collect();
    assert_eq!(all.len(), whole.len(), "a second twice: {whole:?}");
    all
}

async fn only(engine: &Engine, selector: &str) -> EngineSamples {
    let found = engine.samples(selector, "5m").await.unwrap();
    let [(_, samples)] = &found[..] else { panic!("{selector}: {found:?}") };
    samples.clone()
}

/// An application that serves 100 requests a second, until this is dropped: of 200 in a row each takes another whole number of
/// milliseconds, from 1 to 200.
fn serving(daemon: &Program) -> AbortOnDropHandle<()> {
    let meter = RequestMeter::start(&daemon.url("otlp"), "remote-write-test", "1");
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut timer = tokio::time::interval(Duration::from_millis(10));
        for n in 0u64.. {
            timer.tick().await;
            meter.record(Protocol::Http1, Duration::from_millis(n * 37 % 200 + 1), false);
        }
    }))
}

async fn compare(mut engine: Engine, native: bool) {
    let url = format!("remote_write.url=\"{}\"", engine.url("/api/v1/write"));
    let mut aggregator = Program::with_settings(
        "starling-aggregator",
        &[
            "aggregator_id=agg-1",
            "cluster=test",
            "grpc_listen=127.0.0.1:0",
            "gossip_listen=127.0.0.1:0",
            "admin_listen=127.0.0.1:0",
            "state_dir={dir}/state",
            "remote_write.gather_secs=1",
            &url,
        ],
    );
    let seeds = [aggregator.address("grpc").to_string()];
    let daemon = Program::daemon("web-1", &seeds, &[]);
    let _serving = serving(&daemon);
    let load = "system_memory_utilization_ratio{node=\"web-1\"}";
    eventually("series at the engine", async || {
        let found = engine.ask("cluster:system_cpu_time_seconds_total{cpu_mode=\"user\"}").await?;
        if found.is_empty() || engine.ask(load).await?.is_empty() { Err(format!("{found:?}")) } else { Ok(()) }
    })
    .await;
    let from = now() + 1;
    tokio::time::sleep(Duration::from_secs(5)).await;
    // The engine is away, and the aggregator dies meanwhile.
    engine.stop();
    tokio::time::sleep(Duration::from_secs(3)).await;
    aggregator.start_again();
    tokio::time::sleep(Duration::from_secs(5)).await;
    engine.again().await;
    let to = now();
    eventually("all at the engine", async || {
        let scrape = Scrape::of(aggregator.address("admin")).await?;
        let waiting = scrape.sum("starling_aggregator_remote_write_samples_waiting");
        let newest = engine.samples("cluster:system_cpu_time_seconds_total{cpu_mode=\"user\"}", "1m").await?;
        let newest = newest.first().and_then(|(_, all)| all.last()).map_or(0, |last| last.0 as u32);
        if waiting == 0.0 && newest >= to { Ok(()) } else { Err(format!("{waiting} wait, newest {newest} of {to}")) }
    })
    .await;
    let scrape = Scrape::of(aggregator.address("admin")).await.unwrap();
    assert_eq!(scrape.sum("starling_aggregator_remote_write_samples_dropped_total"), 0.0);
    assert_eq!(scrape.sum("starling_aggregator_remote_write_lost_subject_seconds_total"), 0.0);

    // The range that both hold, a step inside of either end.
    let range = (from, to - 1);
    let inside = |all: BTreeMap<u32, f64>| -> BTreeMap<u32, f64> {
        all.into_iter().filter(|(tick, _)| (range.0..=range.1).contains(tick)).collect()
    };
    let node = || v1::Scope { node_id: "web-1".into(), ..v1::Scope::default() };
    for (scope, selector) in [
        (node(), "system_memory_usage_bytes{node=\"web-1\",system_memory_state=\"free\"}"),
        (v1::Scope::default(), "cluster:system_memory_usage_bytes{system_memory_state=\"free\"}"),
    ] {
        let here =
            answered(&aggregator, scope, "system.memory.usage", ("system.memory.state", "free"), "last", range).await;
        let there = inside(by_second(&only(&engine, selector).await));
        assert!(here.len() > 10, "{selector}: {here:?}");
        assert_eq!(here, there, "{selector}");
    }
    for (scope, selector) in [
        (node(), "system_cpu_time_seconds_total{node=\"web-1\",cpu_mode=\"user\"}"),
        (v1::Scope::default(), "cluster:system_cpu_time_seconds_total{cpu_mode=\"user\"}"),
    ] {
        let here = answered(&aggregator, scope, "system.cpu.time", ("cpu.mode", "user"), "increase", range).await;
        let mut there: EngineSamples = only(&engine, selector).await;
        // What is before the first second is not asked for.
        there.retain(|(time, _)| *time >= f64::from(range.0 - 1) && *time <= f64::from(range.1));
        let seconds: BTreeMap<u32, f64> = inside(by_second(&there));
        assert_eq!(here.keys().collect::<Vec<_>>(), seconds.keys().collect::<Vec<_>>(), "{selector}");
        let (grown, sent) = (here.values().sum::<f64>(), growth(&there));
        assert!((grown - sent).abs() < 1e-6 * grown.max(1.0), "{selector}: {grown} here, {sent} there: {there:?}");
        // It began again once, when the aggregator was killed.
        let falls = there.windows(2).filter(|pair| pair[1].1 < pair[0].1).count();
        assert!(falls <= 1, "{selector}: {there:?}");
    }
    if native {
        // What the application served in the last 20 seconds.
        let quantile =
            |at: &str| format!("histogram_quantile(0.9, sum(rate(cluster:traffic_duration_seconds[20s]{at})))");
        let mut client = QueryClient::connect(aggregator.url("grpc")).await.unwrap();
        let request = v1::QueryPromqlRequest {
            query: quantile(""),
            start_ms: i64::from(to) * 1_000,
            end_ms: i64::from(to) * 1_000,
            ..v1::QueryPromqlRequest::default()
        };
        let here = client.query_promql(request).await.unwrap().into_inner();
        let [here] = &here.series[..] else { panic!("{here:?}") };
        let here = here.values[0];
        let there = engine.number(&quantile(&format!(" @ {to}"))).await.unwrap().unwrap();
        // It took 1 to 200 ms, each as often.
        assert!((here - 0.180).abs() <= 0.180 * 0.03, "{here} here");
        assert!((here - there).abs() <= 0.03 * here, "{here} here, {there} there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_holds_what_questions_answer() {
    if installed("prometheus") {
        compare(Engine::prometheus("").await, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_victoria_metrics_holds_what_questions_answer() {
    if installed("victoria-metrics") {
        compare(Engine::victoria().await, false).await;
    }
}
