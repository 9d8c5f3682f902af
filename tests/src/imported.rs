//! History that was imported, and programs that answer from it.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use starling_proto::{hex, histogram::Histogram, v1};
use starling_service::grpc::query_client::QueryClient;
use starling_testkit::eventually;
use tonic::transport::Channel;

use crate::{Program, binary, http_get};

/// Tiers of which only the hours stay.
pub const SHORT: [&str; 3] = ["history.keep_1s_secs=60", "history.keep_10s_secs=60", "history.keep_1m_secs=60"];

/// What is imported: lines of text, and of JSON.
#[derive(Debug, Default)]
pub struct Input {
    text: String,
    json: String,
}

impl Input {
    /// One sample, in Prometheus's text form.
    pub fn line(&mut self, series: &str, value: impl Display, tick: u32) {
        let _ = writeln!(self.text, "{series} {value} {tick}");
    }

    /// Values of some seconds of one histogram series of a node, in seconds.
    pub fn histograms(&mut self, node: &str, name: &str, seconds: &[(u32, Arc<Histogram>)]) {
        let times: Vec<String> = seconds.iter().map(|(tick, _)| tick.to_string()).collect();
        let all: Vec<String> =
            seconds.iter().map(|(_, one)| format!("{{\"bytes\":\"{}\"}}", hex::encode(&one.encode()))).collect();
        let _ = writeln!(
            self.json,
            "{{\"subject\":\"node/{node}\",\"name\":\"{name}\",\"unit\":\"s\",\"times\":[{}],\"histograms\":[{}]}}",
            times.join(","),
            all.join(",")
        );
    }

    /// Into the store below `state`, which may be there.
    ///
    /// # Panics
    /// When it is refused.
    pub fn add_to(&self, state: &Path) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let [text, json] = ["input.om", "input.jsonl"].map(|name| dir.path().join(name));
        fs::write(&text, &self.text).expect("a file");
        fs::write(&json, &self.json).expect("a file");
        store(state, "import", &[&text, &json]);
    }

    /// Into a new store below `dir`, and a copy of it.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn import(&self, dir: &Path) -> [PathBuf; 2] {
        let [state, copy] = ["state", "copy"].map(|name| dir.join(name));
        self.add_to(&state);
        store(&state, "snapshot", &[&copy]);
        [state, copy]
    }
}

/// Runs `starling store` on `state`.
fn store(state: &Path, command: &str, paths: &[&Path]) {
    let output =
        Command::new(binary("starling")).args(["store", command]).args(paths).arg("--state").arg(state).output();
    let output = output.expect("starling runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

/// An aggregator called `name` of the cluster `test` with its history below `state`, on free ports.
#[must_use]
pub fn holder(name: &str, state: &Path, seeds: &[&Program], settings: &[&str]) -> Program {
    let seeds: Vec<String> = seeds.iter().map(|seed| format!("\"{}\"", seed.address("gossip"))).collect();
    let own = [
        format!("aggregator_id={name}"),
        format!("seeds=[{}]", seeds.join(",")),
        format!("state_dir={}", state.display()),
        "grpc_listen=127.0.0.1:0".to_owned(),
        "gossip_listen=127.0.0.1:0".to_owned(),
        "admin_listen=127.0.0.1:0".to_owned(),
        "cluster=test".to_owned(),
    ];
    let all: Vec<&str> = own.iter().map(String::as_str).chain(settings.iter().copied()).collect();
    Program::with_settings("starling-aggregator", &all)
}

/// A dashboard that asks only `aggregator`, on free ports.
#[must_use]
pub fn dashboard(aggregator: &Program) -> Program {
    let seeds = format!("aggregators=[\"{}\"]", aggregator.address("grpc"));
    Program::with_settings("starling-dashboard", &[&seeds, "listen=127.0.0.1:0", "admin_listen=127.0.0.1:0"])
}

/// What a dashboard answers to `path`, which is JSON.
///
/// # Panics
/// When it is none.
pub async fn rest(dashboard: &Program, path: &str) -> Value {
    let (_, text) = http_get(dashboard.address("http"), path).await.expect("the dashboard answers");
    // The body may come in pieces, with their lengths around them.
    let body = text.find('{').zip(text.rfind('}')).map_or("", |(from, to)| &text[from..=to]);
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: {text}"))
}

/// An aggregator on an imported store, and a dashboard beside it.
#[derive(Debug)]
pub struct Stack {
    /// The aggregator.
    pub aggregator: Program,
    /// The dashboard.
    pub dashboard: Program,
    /// Asks the aggregator.
    pub client: QueryClient<Channel>,
}

impl Stack {
    /// With [`SHORT`] it waits until retention took the seconds.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn start(state: &Path, settings: &[&str]) -> Self {
        let aggregator = holder("agg-1", state, &[], settings);
        let dashboard = dashboard(&aggregator);
        let client = QueryClient::connect(aggregator.url("grpc")).await.expect("the aggregator answers");
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

    /// Some statistics of the one series there is.
    ///
    /// # Panics
    /// When there is not one.
    pub async fn range(
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
    ///
    /// # Panics
    /// When there is not one.
    pub async fn values(&self, node: &str, name: &str, range: (u32, u32, u32), statistic: &str) -> Vec<f64> {
        self.range(node, name, range, &[statistic]).await.series[0].statistics[0].values.clone()
    }

    /// The points of the one series there is, by second.
    ///
    /// # Panics
    /// When there are more.
    pub async fn points(&self, query: &str, range: (u32, u32, u32)) -> BTreeMap<u32, f64> {
        let answer = self.client.clone().query_promql(promql(query, range)).await;
        let answer = answer.unwrap_or_else(|status| panic!("{query}: {status}")).into_inner();
        assert!(answer.series.len() <= 1, "{query}: {answer:?}");
        points(&answer)
    }

    /// A series of `n1` summed up.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn summary(&self, name: &str, from_tick: u32, to_tick: u32, zone: &str) -> v1::Summary {
        let (name, time_zone) = (name.to_owned(), zone.to_owned());
        let request =
            v1::SummarizeRequest { scope: scope("n1"), name, from_tick, to_tick, time_zone, ..Default::default() };
        let answer = self.client.clone().summarize(request).await;
        answer.unwrap_or_else(|status| panic!("{status}")).into_inner()
    }

    /// The merged histogram of a series, with p50, p90 and p99.
    ///
    /// # Errors
    /// What it answered instead.
    pub async fn distribution(&self, node: &str, name: &str, from: u32, to: u32) -> Result<v1::Distribution, String> {
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

    /// As [`rest`], of its dashboard.
    ///
    /// # Panics
    /// As [`rest`].
    pub async fn rest(&self, path: &str) -> Value {
        rest(&self.dashboard, path).await
    }
}

/// The points of the first series, by second.
#[must_use]
pub fn points(answer: &v1::PromqlAnswer) -> BTreeMap<u32, f64> {
    let one = answer.series.first().cloned().unwrap_or_default();
    one.times_ms.iter().map(|ms| (ms / 1_000) as u32).zip(one.values).collect()
}

/// A query over a range, or about one moment when its ends are one.
#[must_use]
pub fn promql(query: &str, (start, end, step): (u32, u32, u32)) -> v1::QueryPromqlRequest {
    let ms = |tick: u32| i64::from(tick) * 1_000;
    let step_ms = if start == end { 0 } else { ms(step) };
    v1::QueryPromqlRequest { query: query.into(), start_ms: ms(start), end_ms: ms(end), step_ms, ..Default::default() }
}

/// One node; the cluster for no name.
#[must_use]
pub fn scope(node: &str) -> Option<v1::Scope> {
    Some(v1::Scope { node_id: node.into(), ..Default::default() })
}

/// Now, Unix seconds.
#[must_use]
pub fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}
