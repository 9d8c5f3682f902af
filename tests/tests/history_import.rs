//! Known faults of others in history, each by the number under which it is collected, through the whole stack: one import,
//! one aggregator on it with the usual tiers and one whose fine tiers have gone, asked over gRPC and through a dashboard.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use serde_json::Value;
use starling_proto::{
    histogram::{Histogram, HistogramSum},
    v1,
};
use starling_service::grpc::query_client::QueryClient;
use starling_tests::{Program, binary, eventually, http_get};
use tonic::transport::Channel;

const HOUR: u32 = 3_600;
const DAY: u32 = 86_400;
/// Every second of the import stays.
const LONG: [&str; 1] = ["history.keep_1s_secs=600000"];
/// Tiers of which only the hours stay.
const SHORT: [&str; 3] = ["history.keep_1s_secs=60", "history.keep_10s_secs=60", "history.keep_1m_secs=60"];

/// What is imported: lines of text, and of JSON.
#[derive(Default)]
struct Input {
    text: String,
    json: String,
}

impl Input {
    fn line(&mut self, series: &str, value: impl std::fmt::Display, tick: u32) {
        let _ = writeln!(self.text, "{series} {value} {tick}");
    }

    /// Values of some seconds of one histogram series of a node.
    fn histograms(&mut self, node: &str, name: &str, seconds: &[(u32, Arc<Histogram>)]) {
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        };
        let times: Vec<String> = seconds.iter().map(|(tick, _)| tick.to_string()).collect();
        let all: Vec<String> =
            seconds.iter().map(|(_, one)| format!("{{\"bytes\":\"{}\"}}", hex(&one.encode()))).collect();
        let _ = writeln!(
            self.json,
            "{{\"subject\":\"node/{node}\",\"name\":\"{name}\",\"unit\":\"s\",\"times\":[{}],\"histograms\":[{}]}}",
            times.join(","),
            all.join(",")
        );
    }

    /// Into a new store; and a copy of it.
    fn import(&self, dir: &Path) -> [PathBuf; 2] {
        let [state, copy, text, json] = ["state", "copy", "input.om", "input.jsonl"].map(|name| dir.join(name));
        fs::write(&text, &self.text).unwrap();
        fs::write(&json, &self.json).unwrap();
        for arguments in
            [vec!["import".as_ref(), text.as_path(), json.as_path()], vec!["snapshot".as_ref(), copy.as_path()]]
        {
            let output =
                Command::new(binary("starling")).arg("store").args(arguments).arg("--state").arg(&state).output();
            let output = output.unwrap();
            let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{told}");
        }
        [state, copy]
    }
}

/// An aggregator on an imported store, and a dashboard beside it.
struct Stack {
    aggregator: Program,
    dashboard: Program,
    client: QueryClient<Channel>,
}

impl Stack {
    /// With [`SHORT`] it waits until retention took the seconds.
    async fn start(state: &Path, settings: &[&str]) -> Self {
        let folder = format!("state_dir={}", state.display());
        let free = ["grpc_listen=127.0.0.1:0", "gossip_listen=127.0.0.1:0", "admin_listen=127.0.0.1:0", "cluster=test"];
        let all = [&[folder.as_str()], &free[..], settings].concat();
        let aggregator = Program::with_settings("starling-aggregator", &all);
        let seeds = format!("aggregators=[\"{}\"]", aggregator.address("grpc"));
        let dashboard =
            Program::with_settings("starling-dashboard", &[&seeds, "listen=127.0.0.1:0", "admin_listen=127.0.0.1:0"]);
        let client = QueryClient::connect(aggregator.url("grpc")).await.unwrap();
        let stack = Self { aggregator, dashboard, client };
        eventually("it answers, and the seconds have gone", async || {
            let left = fs::read_dir(state.join("history/segments/1s")).map_err(|error| error.to_string())?.count();
            let settled = stack.client.clone().get_cluster(v1::GetClusterRequest::default()).await;
            settled.map_err(|status| status.to_string())?;
            if settings != SHORT || left <= 2 { Ok(()) } else { Err(format!("{left} segments")) }
        })
        .await;
        stack
    }

    async fn range(
        &self,
        node: &str,
        name: &str,
        (from, to, step): (u32, u32, u32),
        statistics: &[&str],
    ) -> v1::RangeAnswer {
        let request = v1::QueryRangeRequest {
            scope: scope(node),
            name: name.into(),
            from_tick: from,
            to_tick: to,
            step_seconds: step,
            statistics: statistics.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        let answer = self.client.clone().query_range(request).await;
        let answer = answer.unwrap_or_else(|status| panic!("{name}: {status}")).into_inner();
        assert_eq!(answer.series.len(), 1, "{name}: {answer:?}");
        answer
    }

    /// The values of one statistic of the one series there is.
    async fn values(&self, node: &str, name: &str, range: (u32, u32, u32), statistic: &str) -> Vec<f64> {
        self.range(node, name, range, &[statistic]).await.series[0].statistics[0].values.clone()
    }

    /// The points of the one series there is, by second.
    async fn points(&self, query: &str, range: (u32, u32, u32)) -> BTreeMap<u32, f64> {
        let answer = self.client.clone().query_promql(promql(query, range)).await;
        let answer = answer.unwrap_or_else(|status| panic!("{query}: {status}")).into_inner();
        assert!(answer.series.len() <= 1, "{query}: {answer:?}");
        let one = answer.series.first().cloned().unwrap_or_default();
        one.times_ms.iter().map(|ms| (ms / 1_000) as u32).zip(one.values).collect()
    }

    async fn summary(&self, name: &str, from_tick: u32, to_tick: u32, zone: &str) -> v1::Summary {
        let (name, time_zone) = (name.to_owned(), zone.to_owned());
        let request =
            v1::SummarizeRequest { scope: scope("n1"), name, from_tick, to_tick, time_zone, ..Default::default() };
        let answer = self.client.clone().summarize(request).await;
        answer.unwrap_or_else(|status| panic!("{status}")).into_inner()
    }

    async fn distribution(&self, node: &str, name: &str, from: u32, to: u32) -> Result<v1::Distribution, String> {
        let request = v1::GetDistributionRequest {
            scope: scope(node),
            name: name.into(),
            from_tick: from,
            to_tick: to,
            quantiles: vec![0.5, 0.9, 0.99],
            include_histogram: true,
            ..Default::default()
        };
        let answer = self.client.clone().get_distribution(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| status.to_string())
    }

    async fn rest(&self, path: &str) -> Value {
        let (_, text) = http_get(self.dashboard.address("http"), path).await.unwrap();
        // The body may come in pieces, with their lengths around them.
        let body = text.find('{').zip(text.rfind('}')).map_or("", |(from, to)| &text[from..=to]);
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{text}"))
    }
}

fn promql(query: &str, (start, end, step): (u32, u32, u32)) -> v1::QueryPromqlRequest {
    let ms = |tick: u32| i64::from(tick) * 1_000;
    let step_ms = if start == end { 0 } else { ms(step) };
    v1::QueryPromqlRequest { query: query.into(), start_ms: ms(start), end_ms: ms(end), step_ms, ..Default::default() }
}

fn scope(node: &str) -> Option<v1::Scope> {
    Some(v1::Scope { node_id: node.into(), ..Default::default() })
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-4 * b.abs().max(1.0)
}

fn now() -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as u32
}

/// The hour of a case; a day and more lies after all of them.
fn of(start: u32, case: u32) -> u32 {
    start + case * HOUR
}

fn input(start: u32) -> Input {
    let mut all = Input::default();
    // 1: a reset on the seam of two windows.
    for t in 0..900 {
        let value = if t < 10 { 10 + 10 * t } else { (96 + 11 * (t - 10)).min(195) };
        all.line("x_total{node=\"n1\"}", value, of(start, 0) + t);
    }
    // 4: one a second.
    (0..=600).for_each(|t| all.line("g4{node=\"n1\"}", 1, of(start, 1) + t));
    // 5: two nodes that differ.
    let times = |value: u64, n: u64| Arc::new(Histogram::of(value, n));
    let a: Vec<_> = (0..60).map(|t| (of(start, 2) + t, times(10_000_000, 165))).collect();
    let b: Vec<_> = (0..60).map(|t| (of(start, 2) + t, times(1_000_000_000, if t < 20 { 4 } else { 3 }))).collect();
    all.histograms("a5", "lat5", &a);
    all.histograms("b5", "lat5", &b);
    // 13: twenty nodes, half of the time the other way round.
    for (k, t) in (1..=20i64).flat_map(|k| (0..HOUR).step_by(10).map(move |t| (k, t))) {
        all.line(&format!("cpu13{{node=\"n{k}\"}}"), if t < 1_800 { k } else { 40 - 2 * k }, of(start, 3) + t);
    }
    // 16: buckets as they are.
    for (bound, n) in [("0.1", 10), ("0.5", 40), ("1", 90), ("+Inf", 100)] {
        all.line(&format!("b16_bucket{{node=\"n1\",le=\"{bound}\"}}"), n, of(start, 5));
    }
    // 17: growth between two windows.
    for t in 0..=300 {
        all.line("a17_total{node=\"n1\"}", if t <= 150 { 100 } else { 105 }, of(start, 6) + t);
        all.line("b17_total{node=\"n1\"}", t / 7, of(start, 6) + t);
    }
    // 19: a hole.
    for t in (0..=120).filter(|t| !(60..65).contains(t)) {
        all.line("c19_total{node=\"n1\"}", 300 * t, of(start, 7) + t);
    }
    // 34: a burst.
    for t in 480..520 {
        all.line("c34_total{node=\"n1\"}", 50 * t + if t >= 500 { 3_000 } else { 0 }, of(start, 8) + t);
    }
    // 50: an hour, and a minute of the next one.
    (0..HOUR).for_each(|t| all.line("g50{node=\"n1\"}", 10, of(start, 9) + t));
    (7_140..7_200).for_each(|t| all.line("g50{node=\"n1\"}", 100, of(start, 9) + t));
    // 58: zeros.
    let mut zeros = HistogramSum::new();
    zeros.record(0, 80);
    zeros.record(1_000_000_000, 20);
    let zeros = Arc::new(zeros.to_histogram());
    let zeros: Vec<_> = (0..10).map(|t| (of(start, 12) + 6 * t, zeros.clone())).collect();
    all.histograms("n58", "lat58", &zeros);
    // 59: the highest rate of an hour, and a process that begins again.
    for t in 0..HOUR {
        let value = if t < 2_345 { 10 * t + if t >= 1_234 { 4_990 } else { 0 } } else { 10 * (t - 2_345) };
        all.line("c59_total{node=\"n1\"}", value, of(start, 13) + t);
    }
    // 2: a day with one peak; by the minute but for the hour of the peak.
    for t in (0..DAY).filter(|t| t / HOUR == 41_237 / HOUR || t % 60 == 0) {
        all.line("g2{node=\"n1\"}", if t == 41_237 { 640 } else { 5 }, of(start, 14) + t);
    }
    // 35: an hour long ago.
    (0..360).for_each(|n| all.line("c35_total{node=\"n1\"}", 500 * n, start - 300 * DAY + 10 * n));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_faults_of_others_give_the_right_answers() {
    let dir = tempfile::tempdir().unwrap();
    let start = (now() - 3 * DAY) / HOUR * HOUR;
    let [state, copy] = input(start).import(dir.path());
    let stack = Stack::start(&state, &LONG).await;

    let t = of(start, 0);
    assert_eq!(stack.values("n1", "x_total", (t, t + 19, HOUR), "increase").await.iter().sum::<f64>(), 285.0, "1");

    let t = of(start, 14);
    let answer = stack.range("n1", "g2", (t, t + DAY - 1, 300), &["min", "mean", "max"]).await;
    let values: Vec<f64> = answer.series[0].statistics.iter().map(|one| one.values[41_237 / 300]).collect();
    assert!(values[0] == 5.0 && near(values[1], 5.0 + 635.0 / 300.0) && values[2] == 640.0, "2: {values:?}");
    for (from, to) in [(t, t + DAY - 1), (t + 41_100, t + 41_399), (t - 5 * HOUR, t + DAY - 1)] {
        let peak = stack.summary("g2", from, to, "").await.peak.unwrap();
        assert_eq!((peak.value, peak.tick), (Some(640.0), t + 41_237), "2: {from} to {to}");
    }

    let t = of(start, 1);
    let cells = stack.values("n1", "g4", (t, t + 600, 60), "sum").await;
    assert_eq!((cells[0], cells.iter().sum::<f64>()), (60.0, 601.0), "4");
    let counts = stack.points("count_over_time(g4[1m])", (t + 60, t + 600, 1)).await;
    assert!(counts.len() == 541 && counts.values().all(|n| *n == 60.0), "4: {counts:?}");

    two_nodes_are_one_histogram(&stack, of(start, 2), "usual tiers").await;

    let t = of(start, 3);
    let top = v1::QueryRangeRequest {
        scope: Some(v1::Scope { each_node: true, ..Default::default() }),
        name: "cpu13".into(),
        from_tick: t,
        to_tick: t + HOUR - 1,
        step_seconds: 60,
        statistics: vec!["mean".into()],
        top: 3,
        ..Default::default()
    };
    let top = stack.client.clone().query_range(top).await.unwrap().into_inner();
    let ranked: Vec<_> = top.series.iter().map(|one| (one.node_id.as_str(), one.rank_value.unwrap())).collect();
    assert_eq!(ranked, [("n1", 19.5), ("n2", 19.0), ("n3", 18.5)], "13");
    assert!(top.series.iter().all(|one| one.statistics[0].values.iter().all(|value| !value.is_nan())), "13");
    let top = stack.client.clone().query_promql(promql("topk(3, cpu13)", (t, t + HOUR - 10, 60))).await.unwrap();
    assert_eq!(top.into_inner().series.len(), 6, "13");

    let t = of(start, 5);
    for (q, wanted) in [("0.05", 0.05), ("0.25", 0.3), ("0.5", 0.6), ("0.9", 1.0), ("0.99", 1.0)] {
        let points = stack.points(&format!("histogram_quantile({q}, b16_bucket)"), (t, t, 1)).await;
        assert!(points.get(&t).is_some_and(|value| near(*value, wanted)), "16: {q}: {points:?}");
    }

    let t = of(start, 6);
    let grown = stack.values("n1", "a17_total", (t, t + 300, 15), "increase").await;
    assert_eq!((grown.iter().sum::<f64>(), grown.iter().filter(|value| **value > 0.0).count()), (5.0, 1), "17");
    let grown = stack.values("n1", "b17_total", (t, t + 300, 15), "increase").await;
    assert!(grown.iter().all(|value| value.fract() == 0.0) && grown.iter().sum::<f64>() == 42.0, "17: {grown:?}");
    let grown = stack.points("increase(a17_total[15s])", (t + 15, t + 300, 15)).await;
    assert!(grown.len() == 20 && grown.values().all(|value| *value == 0.0), "17: {grown:?}");

    let t = of(start, 7);
    let rates = stack.values("n1", "c19_total", (t, t + 120, 1), "rate").await;
    assert!(rates.iter().all(|rate| rate.is_nan() || *rate <= 300.0), "19: {rates:?}");
    let answer = stack.range("n1", "c19_total", (t + 60, t + 64, 5), &["rate"]).await;
    assert_eq!(answer.points.iter().map(v1::RangePoint::seconds).sum::<u32>(), 0, "19: {answer:?}");
    let rates = stack.points("rate(c19_total[5s])", (t + 6, t + 120, 1)).await;
    let at = |second: u32| rates.get(&(t + second)).map(|rate| rate.round());
    assert_eq!([at(60), at(62), at(63), at(65)], [Some(300.0), Some(150.0), None, None], "19: {rates:?}");
    assert_eq!([at(66), at(67), at(69)], [Some(90.0), Some(150.0), Some(300.0)], "19: {rates:?}");

    let t = of(start, 8);
    let rates = stack.points("rate(c34_total[4s])", (t + 499, t + 503, 1)).await;
    let rates: Vec<f64> = rates.values().map(|rate| rate.round()).collect();
    assert_eq!(rates, [50.0, 1_050.0, 1_050.0, 1_050.0, 50.0], "34");
    assert_eq!(stack.values("n1", "c34_total", (t + 499, t + 501, 1), "rate").await, [50.0, 3_050.0, 50.0], "34");

    hour_and_minute(&stack, of(start, 9)).await;
    let to = of(start, 9) + 7_199;
    let rest = stack.rest(&format!("/prometheus/api/v1/query?query=avg_over_time(g50[2h])&time={to}")).await;
    let value = rest["data"]["result"][0]["value"][1].as_str().unwrap_or_default().to_owned();
    assert!(value.starts_with("11.475"), "50: {rest}");

    zeros_are_a_row(&stack, of(start, 12)).await;
    let t = of(start, 13);
    let rates = stack.values("n1", "c59_total", (t, t + HOUR - 1, 60), "max").await;
    assert_eq!(rates.into_iter().fold(0.0, f64::max), 5_000.0, "59");
    drop(stack);

    let stack = Stack::start(&copy, &SHORT).await;
    let t = of(start, 0);
    let answer = stack.range("n1", "x_total", (t, t + HOUR - 1, HOUR), &["increase"]).await;
    let grown = answer.series[0].statistics[0].values[0];
    assert_eq!((grown, answer.resolution_seconds), (285.0, HOUR), "1, of the hours");
    two_nodes_are_one_histogram(&stack, of(start, 2), "hours").await;
    zeros_are_a_row(&stack, of(start, 12)).await;
    hour_and_minute(&stack, of(start, 9)).await;
    let t = of(start, 13);
    let answer = stack.range("n1", "c59_total", (t, t + HOUR - 1, HOUR), &["max", "mean", "min"]).await;
    let values: Vec<f64> = answer.series[0].statistics.iter().map(|one| one.values[0]).collect();
    assert!(values[0] == 5_000.0 && (values[1] - 11.38).abs() < 0.01 && values[2] >= 0.0, "59: {values:?}");
    // 35: a window narrower than the tier is refused with the smallest that works.
    let old = start - 300 * DAY;
    let narrow = stack.client.clone().query_promql(promql("rate(c35_total[1m])", (old, old + HOUR, 60))).await;
    let refused = narrow.unwrap_err();
    assert!(refused.message().contains("the window must be at least 7200 s"), "35: {refused}");
    assert!(!stack.aggregator.log().contains("ERROR"), "{}", stack.aggregator.log());
}

/// 5. A percentile is that of all values, never made of percentiles.
async fn two_nodes_are_one_histogram(stack: &Stack, t: u32, tier: &str) {
    let mut whole = HistogramSum::new();
    whole.record(10_000_000, 9_900);
    whole.record(1_000_000_000, 200);
    let whole = whole.to_histogram();
    for (from, to) in [(t, t + HOUR - 1), (t - 4 * DAY, t + 2 * HOUR - 1)] {
        let found = stack.distribution("", "lat5", from, to).await.unwrap();
        assert_eq!(found.count, Some(10_100.0), "5: {tier}, {from} to {to}");
        let value = |at: usize| found.quantiles[at].value.unwrap();
        assert!((value(0) - 0.01).abs() < 1e-4 && (value(2) - 1.0).abs() < 0.004, "5: {tier}: {:?}", found.quantiles);
        let merged = Histogram::decode(&found.histogram).unwrap();
        assert!(merged.buckets().eq(whole.buckets()), "5: {tier}: bucket by bucket");
    }
    let of_node = stack.distribution("b5", "lat5", t, t + HOUR - 1).await.unwrap();
    let p99 = of_node.quantiles[2].value.unwrap();
    assert!(of_node.count == Some(200.0) && (p99 - 1.0).abs() < 0.035, "5: {of_node:?}");
}

/// 50. A mean weighs seconds.
async fn hour_and_minute(stack: &Stack, t: u32) {
    let summary = stack.summary("g50", t, t + 7_199, "").await;
    let (average, deviation) = (summary.average.unwrap(), summary.standard_deviation.unwrap());
    assert!(near(average, 11.4754) && (deviation - 11.428).abs() < 2e-3, "50: {average} {deviation}");
    assert_eq!((summary.seconds, summary.seconds_expected), (3_660, 7_200), "50");
    let extremes = [summary.low, summary.peak].map(|extreme| extreme.unwrap().value);
    assert_eq!(extremes, [Some(10.0), Some(100.0)], "50");
}

/// 58. Values that are zero stay zero.
async fn zeros_are_a_row(stack: &Stack, t: u32) {
    let found = stack.distribution("n58", "lat58", t, t + HOUR - 1).await.unwrap();
    let value = |at: usize| found.quantiles[at].value.unwrap();
    assert!(value(0) == 0.0 && (value(1) - 1.0).abs() < 0.035, "58: {:?}", found.quantiles);
    assert_eq!(found.count, Some(1_000.0), "58");
    assert!(found.buckets.iter().all(|bucket| bucket.lower.unwrap() >= 0.0), "58: {:?}", found.buckets);
}

/// A percentile over any tier, range and set is that of one histogram of all samples, bucket for bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_range_of_any_nodes_is_one_histogram_of_all_samples() {
    let dir = tempfile::tempdir().unwrap();
    let start = (now() - 2 * DAY) / HOUR * HOUR;
    let mut seed = u64::from(now()) | 1;
    println!("seed {seed}");
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    // Of each node seconds with some values each, over four hours; most seconds have none.
    let mut samples: BTreeMap<(&str, u32), Vec<u64>> = BTreeMap::new();
    for _ in 0..1_500 {
        let node = ["a", "b", "c"][random(3) as usize];
        let tick = start + random(4 * u64::from(HOUR)) as u32;
        let magnitude = 1u64 << random(41);
        let values: Vec<u64> = (0..=random(6)).map(|_| random(magnitude)).collect();
        samples.entry((node, tick)).or_default().extend(values);
    }
    let together = |values: &[u64]| {
        let mut sum = HistogramSum::new();
        values.iter().for_each(|value| sum.record(*value, 1));
        sum.to_histogram()
    };
    let mut input = Input::default();
    for node in ["a", "b", "c"] {
        let of_node = samples.iter().filter(|((own, _), _)| *own == node);
        let seconds: Vec<_> = of_node.map(|((_, tick), values)| (*tick, Arc::new(together(values)))).collect();
        input.histograms(node, "lat", &seconds);
    }
    let [state, copy] = input.import(dir.path());
    for (folder, settings, grains) in [(&state, &[][..], [1, 10, 60, HOUR]), (&copy, &SHORT[..], [HOUR; 4])] {
        let stack = Stack::start(folder, settings).await;
        // Nothing is joined that is too old to stay.
        assert!(!stack.aggregator.log().contains("work=\"join\""), "{}", stack.aggregator.log());
        for case in 0..40 {
            let grain = grains[case % 4];
            let steps = 4 * HOUR / grain;
            let from = random(steps.into()) as u32;
            // Longer ranges may be read in steps that reach beyond their ends by a third of a percent.
            let longest = (steps - from).min(if grain == 1 { 2_900 } else { steps });
            let to = from + 1 + random(longest.into()) as u32;
            let (from, to) = (start + from * grain, start + to * grain - 1);
            let node = ["", "a", "b", "c"][random(4) as usize];
            let wanted = samples.iter().filter(|((own, _), _)| node.is_empty() || *own == node);
            let wanted = wanted.filter(|((_, tick), _)| (from..=to).contains(tick));
            let wanted = together(&wanted.flat_map(|(_, values)| values.clone()).collect::<Vec<_>>());
            let found = match stack.distribution(node, "lat", from, to).await {
                Ok(found) if wanted.is_empty() => {
                    assert_eq!((found.count, found.histogram.len()), (None, 0), "{node:?} {from} to {to}");
                    continue;
                }
                Ok(found) => Histogram::decode(&found.histogram).unwrap(),
                Err(status) => {
                    assert!(wanted.is_empty(), "{node:?} {from} to {to}: {status}");
                    continue;
                }
            };
            let same = |a: &Histogram, b: &Histogram| {
                a.buckets().eq(b.buckets()) && (a.count(), a.sum(), a.max()) == (b.count(), b.sum(), b.max())
            };
            // Nodes have one digit beyond ten seconds.
            let right = same(&found, &wanted) || (!node.is_empty() && same(&found.coarse(), &wanted.coarse()));
            assert!(right, "{node:?} {from} to {to}, grain {grain}: {found:?} instead of {wanted:?}");
        }
    }
}
