//! What applications send by StatsD and Prometheus, through clients that are not ours, is what arrives: to the count.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::BTreeMap;

use serde_json::Value as Json;
use starling_proto::series::Value;
use starling_testkit::{Engine, FakeAggregator, Manners, Seen, installed};
use starling_tests::{Program, Serving, python};

const ACKS: Manners =
    Manners { redirect_to: None, ack: true, ranked: vec![], refuse_hello: None, clock_is_behind: false };

/// What arrived of one name over all seconds: counts, values of histograms with their sum, and the largest gauge.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Arrived {
    counts: u64,
    values: u64,
    sum: u128,
    last_gauge: Option<i64>,
    largest_gauge: Option<i64>,
}

fn arrived(seen: &Seen) -> BTreeMap<String, Arrived> {
    let mut all = BTreeMap::<String, Arrived>::new();
    for sample in seen.contents.values().flat_map(|content| &content.samples) {
        let arrived = all.entry(sample.series.name().to_owned()).or_default();
        match &sample.value {
            Value::Counter(n) => arrived.counts += n,
            Value::Histogram(histogram) => {
                arrived.values += histogram.count();
                arrived.sum += histogram.sum();
            }
            Value::Gauge(value) => {
                arrived.last_gauge = Some(*value);
                arrived.largest_gauge = arrived.largest_gauge.max(Some(*value));
            }
        }
    }
    all
}

async fn metrics(node: &Program) -> String {
    reqwest::get(format!("{}/metrics", node.url("admin"))).await.unwrap().text().await.unwrap()
}

/// Waits until all counters and timings that `sent` names have arrived, and checks that nothing more did.
async fn all_arrived(aggregator: &FakeAggregator, sent: &Json) -> BTreeMap<String, Arrived> {
    let counts: BTreeMap<String, u64> = serde_json::from_value(sent["counts"].clone()).unwrap();
    let seen = aggregator
        .until("every count", |seen| {
            let all = arrived(seen);
            counts.iter().all(|(name, n)| all.get(name).is_some_and(|arrived| arrived.counts >= *n))
        })
        .await;
    let all = arrived(&seen);
    for (name, n) in &counts {
        assert_eq!(all[name].counts, *n, "{name}");
    }
    for (name, timings) in sent["timings"].as_object().unwrap() {
        let found = all.get(name).copied().unwrap_or_default();
        let wanted = (timings["count"].as_u64().unwrap(), u128::from(timings["sum_ns"].as_u64().unwrap()));
        assert_eq!((found.values, found.sum), wanted, "{name}");
    }
    all
}

/// Waits until what the application of Prometheus did has arrived, and checks that it is no more: `jobs` of its jobs, and all else.
async fn worked(aggregator: &FakeAggregator, done: &Json, jobs: u64) -> Seen {
    let wanted = |key: &str| done[key].as_u64().unwrap();
    let seen = aggregator
        .until("every count", |seen| {
            let all = arrived(seen);
            let of = |name: &str| all.get(name).copied().unwrap_or_default();
            of("app_jobs_total").counts >= jobs
                && of("traffic.requests").counts >= wanted("requests")
                && of("app_sizes_bytes").values >= wanted("sizes")
                && of("app_depth").last_gauge == Some(125)
        })
        .await;
    let all = arrived(&seen);
    assert_eq!(all["app_jobs_total"].counts, jobs);
    assert_eq!((all["traffic.requests"].counts, all["traffic.errors"].counts), (wanted("requests"), wanted("errors")));
    assert_eq!(all["traffic.duration"].values, wanted("requests"));
    assert_eq!(all["app_sizes_bytes"].values, wanted("sizes"));
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statsd_clients_are_counted_exactly() {
    let aggregator = FakeAggregator::start("agg-1", ACKS).await;
    let settings = ["statsd_socket={dir}/statsd.sock", "statsd_stream_socket={dir}/stream.sock"];
    let node = Program::daemon("statsd", &[aggregator.address.to_string()], &settings);
    aggregator.until("the node", |seen| !seen.contents.is_empty()).await;
    let socket = |name: &str| node.folder().join(name).display().to_string();
    let arguments =
        [node.address("statsd").port().to_string(), socket("statsd.sock"), socket("stream.sock"), "1000".to_owned()];
    let sent = python("statsd_app.py", &arguments).await;
    let all = all_arrived(&aggregator, &sent).await;
    for way in ["udp", "datagrams", "streams"] {
        assert_eq!(all[&format!("dog.{way}.users")].largest_gauge, Some(7), "{way}");
    }
    let seen = aggregator
        .until("the gauges", |seen| {
            let all = arrived(seen);
            ["plain.depth", "dog.degrees"].iter().all(|name| all.contains_key(*name))
        })
        .await;
    let all = arrived(&seen);
    assert_eq!((all["plain.depth"].last_gauge, all["dog.degrees"].last_gauge), (Some(6), Some(-5)));
    let shop = |sample: &starling_proto::series::Sample| sample.series.attribute("service.name") == Some("shop");
    assert!(seen.contents.values().flat_map(|content| &content.samples).any(shop));
    let metrics = metrics(&node).await;
    for line in [
        "starling_node_statsd_refused_samples_total{reason=\"event\"} 1",
        "starling_node_statsd_refused_samples_total{reason=\"service_check\"} 1",
        "starling_node_statsd_dropped_datagrams_total 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_statsd_on_the_default_port_is_left_alone() {
    // Whoever has it; if nobody has, this test has.
    let taken = std::net::UdpSocket::bind("127.0.0.1:8125");
    let aggregator = FakeAggregator::start("agg-1", ACKS).await;
    let node = Program::start(
        "starling-node",
        &[
            "--set",
            "node_id=beside",
            "--set",
            &format!("aggregators=[\"{}\"]", aggregator.address),
            "--set",
            "admin_listen=127.0.0.1:0",
            "--set",
            "otlp=false",
        ],
    );
    aggregator.until("the node", |seen| seen.contents.len() > 1).await;
    let ready = reqwest::get(format!("{}/ready", node.url("admin"))).await.unwrap();
    assert!(ready.status().is_success(), "{ready:?}");
    let log = node.log();
    assert!(log.contains("another StatsD has the default port") && log.contains("statsd = false"), "{log}");
    drop(taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_prometheus_client_is_scraped_exactly() {
    let aggregator = FakeAggregator::start("agg-1", ACKS).await;
    let settings = ["scrape_files=[\"{dir}/targets-*.json\"]"];
    let node = Program::daemon("scraped", &[aggregator.address.to_string()], &settings);
    aggregator.until("the node", |seen| !seen.contents.is_empty()).await;
    let mut app = Serving::start("prometheus_app.py", &["1000".to_owned()]);
    let port = app.says().await["port"].as_u64().unwrap();
    let targets = format!(r#"[{{"targets": ["127.0.0.1:{port}", "127.0.0.1:1"], "labels": {{"job": "shop"}}}}]"#);
    std::fs::write(node.folder().join("targets-1.json"), targets).unwrap();
    let done = app.says().await;
    let seen = worked(&aggregator, &done, done["counts"]["app_jobs_total"].as_u64().unwrap()).await;
    // One target is there and one is not.
    let samples = seen.contents.values().flat_map(|content| &content.samples);
    let ups: BTreeMap<String, Value> = samples
        .filter(|sample| sample.series.name() == "up")
        .map(|sample| (sample.series.attribute("instance").unwrap().to_owned(), sample.value.clone()))
        .collect();
    let wanted = [("127.0.0.1:1".to_owned(), Value::Gauge(0)), (format!("127.0.0.1:{port}"), Value::Gauge(1))];
    assert_eq!(ups, BTreeMap::from(wanted));
    assert!(done["zipped"].as_u64().unwrap() > 0, "answers are asked for as gzip: {done}");
    let metrics = metrics(&node).await;
    for line in [
        "starling_node_scrape_targets 2",
        "starling_node_scrape_failures_total{reason=\"unreachable\"}",
        "starling_node_scrape_refused_samples_total{reason=\"type\"}",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_writes_what_it_scraped() {
    if !installed("prometheus") {
        return;
    }
    let aggregator = FakeAggregator::start("agg-1", ACKS).await;
    let node = Program::daemon("written", &[aggregator.address.to_string()], &[]);
    aggregator.until("the node", |seen| !seen.contents.is_empty()).await;
    let mut app = Serving::start("prometheus_app.py", &["1000".to_owned()]);
    let port = app.says().await["port"].as_u64().unwrap();
    let settings = format!(
        "scrape_configs:\n- job_name: shop\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n\
         remote_write:\n- url: '{}/api/v1/write'\n  queue_config: {{batch_send_deadline: 1s}}\n",
        node.url("otlp_http")
    );
    let _prometheus = Engine::prometheus(&settings).await;
    let done = app.says().await;
    // The first total is where counting begins.
    worked(&aggregator, &done, done["counts"]["app_jobs_total"].as_u64().unwrap() - 1_000).await;
    let metrics = metrics(&node).await;
    assert!(metrics.contains("starling_node_write_requests_total"), "{metrics}");
    assert!(!metrics.contains("starling_node_otlp_failed_requests_total{"), "{metrics}");
}

/// A server certificate for `shop.internal`, and the authority that signed it: PEM files in `folder`.
fn certificates(folder: &std::path::Path) -> [String; 3] {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let shop = CertificateParams::new(vec!["shop.internal".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let files = [("ca.pem", authority.pem()), ("shop.pem", shop.pem()), ("shop-key.pem", key.serialize_pem())];
    files.map(|(name, text)| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).display().to_string()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_by_tls_with_a_token_is_scraped_exactly_and_others_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, certificate, key] = certificates(folder.path());
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret-of-shop\n").unwrap();
    let mut app =
        Serving::start("prometheus_app.py", &["1000".to_owned(), certificate, key, "s3cret-of-shop".to_owned()]);
    let port = app.says().await["port"].as_u64().unwrap();
    let aggregator = FakeAggregator::start("agg-1", ACKS).await;
    let base = format!("https://127.0.0.1:{port}");
    let token = token.display();
    let targets = [
        format!("{base} job=shop ca_file={ca} server_name=shop.internal token_file={token}"),
        format!("{base} job=nobody instance=nobody ca_file={ca} server_name=shop.internal"),
        format!("{base} job=stranger instance=stranger server_name=shop.internal token_file={token}"),
        format!("{base} job=misnamed instance=misnamed ca_file={ca} token_file={token}"),
        format!("http://127.0.0.1:{port} job=plain instance=plain token_file={token}"),
    ];
    let targets: Vec<String> = targets.iter().map(|target| format!("{target:?}")).collect();
    let settings = format!("scrape_targets=[{}]", targets.join(","));
    let node = Program::daemon("secured", &[aggregator.address.to_string()], &[&settings]);
    let done = app.says().await;
    // What it had counted before it was asked is where counting begins.
    let seen = worked(&aggregator, &done, done["counts"]["app_jobs_total"].as_u64().unwrap() - 1_000).await;
    assert!(done["zipped"].as_u64().unwrap() > 0, "{done}");
    let samples = seen.contents.values().flat_map(|content| &content.samples);
    let ups: BTreeMap<&str, &Value> = samples
        .filter(|sample| sample.series.name() == "up")
        .map(|sample| (sample.series.attribute("service.name").unwrap(), &sample.value))
        .collect();
    let (up, down) = (Value::Gauge(1), Value::Gauge(0));
    let wanted = [("shop", &up), ("nobody", &down), ("stranger", &down), ("misnamed", &down), ("plain", &down)];
    assert_eq!(ups, BTreeMap::from(wanted));
    // Each in its own words, with the next step, and never the token.
    let log = node.log();
    for part in [
        "401 Unauthorized: who is it?; it wants to know who asks: add token_file=/path",
        "is not signed by a CA that this host trusts: ca_file names another",
        "server_name says which name of its certificate is meant",
    ] {
        assert!(log.contains(part), "{part} is not in\n{log}");
    }
    assert!(!log.contains("s3cret"), "{log}");
    let metrics = metrics(&node).await;
    for reason in ["denied", "unreachable"] {
        let line = format!("starling_node_scrape_failures_total{{reason=\"{reason}\"}}");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
}

/// Prometheus itself is an application of the client library of Go, which speaks the binary format.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_is_scraped_in_the_binary_format() {
    if !installed("prometheus") {
        return;
    }
    let aggregator = FakeAggregator::start("agg-1", ACKS).await;
    let prometheus = Engine::prometheus("").await;
    let target = prometheus.url("/metrics");
    let answer = reqwest::Client::new()
        .get(&target)
        .header("accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
        .send();
    let kind = answer.await.unwrap().headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/vnd.google.protobuf"), "{kind}");
    let settings = format!("scrape_targets=[\"{target} job=prometheus\"]");
    let node = Program::daemon("binary", &[aggregator.address.to_string()], &[&settings]);
    // It counts our own questions.
    let seen = aggregator
        .until("our questions", |seen| {
            let all = arrived(seen);
            let of = |name: &str| all.get(name).copied().unwrap_or_default();
            of("prometheus_http_requests_total").counts >= 3
                && of("prometheus_http_request_duration_seconds").values >= 3
                && of("go_goroutines").last_gauge > Some(0)
        })
        .await;
    let samples = || seen.contents.values().flat_map(|content| &content.samples);
    assert!(samples().any(|one| one.series.name() == "up" && one.value == Value::Gauge(1)));
    let metrics = metrics(&node).await;
    assert!(!metrics.contains("starling_node_scrape_failures_total{"), "{metrics}");
}
