//! The series of the cluster as scrapers take them: by hand, by promtool, by a real Prometheus.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use starling_testkit::{Engine, eventually, growth, installed};
use support::{Aggregator, TestNode, now};
use tokio::sync::oneshot;

/// Requests per second of a node at a second.
fn requests(tick: u32) -> u64 {
    u64::from(tick % 10) + 1
}

/// A node that sends each second as it ends, until it is told to go; then it gives itself back.
fn live(mut node: TestNode) -> (oneshot::Sender<()>, tokio::task::JoinHandle<TestNode>) {
    let (stop, mut stopped) = oneshot::channel();
    let sending = tokio::spawn(async move {
        let mut next = now();
        while matches!(stopped.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            while next <= now() {
                node.send(next, requests(next), 2_000).await;
                next += 1;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        node
    });
    (stop, sending)
}

async fn get(aggregator: &Aggregator, path: &str, accept: &str) -> (u16, String, String) {
    let url = format!("http://{}{path}", aggregator.service.address("admin").unwrap());
    let answer = reqwest::Client::new().get(url).header("accept", accept).send().await.unwrap();
    let form = answer.headers().get("content-type").map(|form| form.to_str().unwrap().to_owned()).unwrap_or_default();
    (answer.status().as_u16(), form, answer.text().await.unwrap())
}

/// The value of the sample that is written like `name`.
fn value(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

const REQUESTS: &str = "cluster:traffic_requests_total{protocol=\"grpc\"}";

#[tokio::test]
async fn counters_rise_buckets_stay_and_what_is_wrong_is_named() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let (stop, sending) = live(node);
    let first = eventually("a first scrape with series", async || {
        let (_, _, text) = get(&aggregator, "/metrics/cluster", "").await;
        if value(&text, REQUESTS).is_some() { Ok(text) } else { Err(text) }
    })
    .await;
    let bounds = |text: &str| -> Vec<String> {
        let buckets = text.lines().filter(|line| line.starts_with("cluster:traffic_duration_seconds_bucket"));
        buckets.map(|line| line.split_once("le=\"").unwrap().1.split_once('"').unwrap().0.to_owned()).collect()
    };
    // Scenario 14.
    assert_eq!(bounds(&first).last().map(String::as_str), Some("+Inf"));
    let later = eventually("a counter that rose", async || {
        let (_, _, text) = get(&aggregator, "/metrics/cluster", "").await;
        if value(&text, REQUESTS) > value(&first, REQUESTS) { Ok(text) } else { Err("not yet".to_owned()) }
    })
    .await;
    assert_eq!(bounds(&first), bounds(&later));
    let (infinite, count) = (
        value(&later, "cluster:traffic_duration_seconds_bucket{protocol=\"grpc\",le=\"+Inf\"}"),
        value(&later, "cluster:traffic_duration_seconds_count{protocol=\"grpc\"}"),
    );
    assert!(infinite.is_some() && infinite == count && count == value(&later, REQUESTS), "{later}");
    assert_eq!(value(&later, "group:system_cpu_utilization_ratio{zone=\"a\"}"), Some(0.5), "{later}");
    assert!(!later.contains("node=\""), "nodes only when they are asked for");

    let (_, form, text) =
        get(&aggregator, "/metrics/cluster?scope=nodes", "application/openmetrics-text;version=1.0.0").await;
    assert!(form.starts_with("application/openmetrics-text; version=1.0.0") && text.ends_with("# EOF\n"), "{form}");
    assert!(text.contains("traffic_requests_created{node=\"web-1\",protocol=\"grpc\",zone=\"a\"}"), "{text}");
    let (_, _, text) =
        get(&aggregator, "/metrics/cluster?match[]={__name__=~\"cluster:traffic_requests.*\"}", "").await;
    assert!(
        text.lines().filter(|line| !line.starts_with('#')).all(|line| line.starts_with("cluster:traffic_requests"))
    );
    for (path, status, wanted) in
        [("/metrics/cluster?scope=all", 400, "scope: \"all\""), ("/metrics/cluster?match[]={", 400, "match[]")]
    {
        let (found, _, text) = get(&aggregator, path, "").await;
        assert!(found == status && text.contains(wanted), "{text}");
    }

    if installed("promtool") {
        let mut check = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        check.stdin.take().unwrap().write_all(later.as_bytes()).unwrap();
        let checked = check.wait_with_output().unwrap();
        let said = String::from_utf8(checked.stderr).unwrap();
        // What is merged has names of its own, with colons; OpenTelemetry's name of the number of cores ends in count.
        let known = |line: &str| {
            line.ends_with("metric names should not contain ':'")
                || line.contains("system_cpu_logical_count non-histogram")
        };
        let other: Vec<&str> = said.lines().filter(|line| !known(line)).collect();
        assert!(other.is_empty() && checked.status.code() != Some(1), "{said}");
    }
    drop(stop);
    drop(sending.await.unwrap());
    aggregator.stopped().await;
}

#[tokio::test]
async fn a_real_prometheus_scrapes_native_histograms_and_sees_a_node_end() {
    if !installed("prometheus") {
        return;
    }
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut nodes = [TestNode::new("web-1", "a"), TestNode::new("web-2", "b")];
    for node in &mut nodes {
        node.connect(&aggregator.url()).await;
    }
    let [one, two] = nodes.map(live);
    let admin = aggregator.service.address("admin").unwrap();
    let job = |name: &str, scope: &str| {
        format!(
            "- {{job_name: {name}, metrics_path: /metrics/cluster, params: {{scope: [{scope}]}}, static_configs: [{{targets: ['{admin}']}}]}}"
        )
    };
    let scrapes = ["scrape_configs:".to_owned(), job("merged", "'cluster,groups'"), job("nodes", "nodes")].join("\n");
    let prometheus = Engine::prometheus(&scrapes).await;
    let quantile = eventually("a quantile of a native histogram", async || {
        let query = "histogram_quantile(0.99, rate(cluster:traffic_duration_seconds[5s]))";
        prometheus.number(query).await?.filter(|value| value.is_finite()).ok_or_else(|| "none yet".to_owned())
    })
    .await;
    assert!((quantile - 0.002).abs() <= 0.002 * 0.026, "{quantile}");
    // Every second counts once: the growth between two scrapes is that of the seconds in between.
    let samples = eventually("ten scrapes", async || {
        let found = prometheus.samples("cluster:traffic_requests_total{job=\"merged\"}", "1m").await?;
        let (_, samples) = found.first().ok_or("none")?;
        if samples.len() >= 10 { Ok(samples.clone()) } else { Err(format!("{samples:?}")) }
    })
    .await;
    let (seconds, grown) = (samples.last().unwrap().0 - samples[0].0, growth(&samples));
    assert!(samples.is_sorted_by(|a, b| a.1 <= b.1), "{samples:?}");
    // 5.5 requests per second and node; the ends are a second or two off, of at most 10 each.
    assert!((grown - 11.0 * seconds).abs() <= 60.0, "{grown} in {seconds} s");
    let of_one = "sum by (node) (traffic_requests_total{job=\"nodes\"})";
    assert_eq!(prometheus.ask(of_one).await.unwrap().len(), 2);

    // Scenario 25: without a word, then nothing of it within 10 s, and 2 s for the scrape.
    drop(one.0);
    drop(one.1.await.unwrap());
    let gone = std::time::Instant::now();
    eventually("one node less", async || {
        let found = prometheus.ask(of_one).await?;
        if found.len() == 1 { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert!(gone.elapsed() < Duration::from_secs(14), "{:?}", gone.elapsed());
    drop(two.0);
    drop(two.1.await.unwrap());
    aggregator.stopped().await;
}
