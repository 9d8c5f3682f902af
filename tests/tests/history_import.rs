//! Percentiles of what was imported, through the whole stack: one aggregator with every tier on an import, and one whose fine tiers
//! have gone.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use starling_proto::{
    histogram::{Histogram, HistogramSum},
    v1,
};
use starling_service::grpc::query_client::QueryClient;
use starling_tests::{Program, binary, eventually};
use tonic::transport::Channel;

const HOUR: u32 = 3_600;

/// Tiers of which only the hours stay.
const SHORT: [&str; 3] = ["history.keep_1s_secs=60", "history.keep_10s_secs=60", "history.keep_1m_secs=60"];

/// What is imported: lines of JSON.
#[derive(Default)]
struct Input {
    json: String,
}

impl Input {
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
        let [state, copy, json] = ["state", "copy", "input.jsonl"].map(|name| dir.join(name));
        fs::write(&json, &self.json).unwrap();
        for arguments in [vec!["import".as_ref(), json.as_path()], vec!["snapshot".as_ref(), copy.as_path()]] {
            let output =
                Command::new(binary("starling")).arg("store").args(arguments).arg("--state").arg(&state).output();
            let output = output.unwrap();
            let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{told}");
        }
        [state, copy]
    }
}

/// An aggregator on an imported store.
struct Stack {
    /// Runs as long as this.
    _aggregator: Program,
    client: QueryClient<Channel>,
}

impl Stack {
    /// With [`SHORT`] it waits until retention took the seconds.
    async fn start(state: &Path, settings: &[&str]) -> Self {
        let folder = format!("state_dir={}", state.display());
        let free = ["grpc_listen=127.0.0.1:0", "gossip_listen=127.0.0.1:0", "admin_listen=127.0.0.1:0", "cluster=test"];
        let all = [&[folder.as_str()], &free[..], settings].concat();
        let aggregator = Program::with_settings("starling-aggregator", &all);
        let client = QueryClient::connect(aggregator.url("grpc")).await.unwrap();
        let stack = Self { _aggregator: aggregator, client };
        eventually("it answers, and the seconds have gone", async || {
            let left = fs::read_dir(state.join("history/segments/1s")).map_err(|error| error.to_string())?.count();
            let settled = stack.client.clone().get_cluster(v1::GetClusterRequest::default()).await;
            settled.map_err(|status| status.to_string())?;
            if settings.is_empty() || left <= 2 { Ok(()) } else { Err(format!("{left} segments")) }
        })
        .await;
        stack
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
}

fn scope(node: &str) -> Option<v1::Scope> {
    Some(v1::Scope { node_id: node.into(), ..Default::default() })
}

fn now() -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as u32
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_range_of_any_nodes_is_one_histogram_of_all_samples() {
    let dir = tempfile::tempdir().unwrap();
    let start = (now() - 48 * HOUR) / HOUR * HOUR;
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
