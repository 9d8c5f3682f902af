//! Rules over seven days of imported history: how often they would have fired, as `starling rules backtest` says it.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use starling_proto::v1;
use starling_service::grpc::query_client::QueryClient;
use starling_tests::{Program, binary, eventually};

const DAY: u32 = 86_400;
/// Seconds between two samples.
const EVERY: usize = 20;
/// Busy times: hour of the first day, and minutes within it.
const BUSY: [(u32, std::ops::Range<u32>); 3] = [(50, 0..6), (50, 7..12), (100, 30..40)];

const RULES: &str = r#"
[[rule]]
name = "queue-long"
scope = "cluster"
expression = "shop.queue[60s]"
above = 100
clear = 80
for = "2m"
severity = "error"
summary = "has {value} waiting"

[[rule]]
name = "queue-of-node"
scope = "node"
expression = "shop.queue[60s]"
by = ["shop"]
above = 60
for = "2m"
severity = "warning"
summary = "has {value} waiting"

[[rule]]
name = "queue-asked"
promql = "max_over_time(shop_queue{shop=\"a\"}[10m])"
every = "5m"
above = 60
severity = "warning"
summary = "has {value} waiting at {node}"

[[rule]]
name = "silent"
scope = "node"
expression = "node.silent_seconds"
above = 60
severity = "warning"
summary = "is silent"
"#;

fn starling(arguments: &[&str]) -> (bool, String) {
    let output: Output = Command::new(binary("starling")).args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), told)
}

/// Seven days of two nodes up to `end`: one of them is busy at times.
fn import(state: &Path, dir: &Path, end: u32) {
    let first = end - 7 * DAY;
    let mut text = String::new();
    // A day a line.
    for from in (first..end).step_by(DAY as usize) {
        let times: Vec<u32> = (from..from + DAY).step_by(EVERY).collect();
        let busy = |tick: &u32| {
            let (hour, minute) = ((tick - first) / 3_600, (tick - first) / 60 % 60);
            let is_busy = BUSY.iter().any(|(at, minutes)| *at == hour && minutes.contains(&minute));
            if is_busy { 130 } else { 20 }
        };
        for (node, values) in [("web-1", times.iter().map(busy).collect()), ("web-2", vec![10; times.len()])] {
            let _ = writeln!(
                text,
                "{{\"subject\":\"node/{node}\",\"name\":\"shop.queue\",\"attributes\":{{\"shop\":\"a\"}},\"times\":{times:?},\"values\":{values:?}}}"
            );
        }
    }
    let input = dir.join("input.jsonl");
    fs::write(&input, text).unwrap();
    let (done, told) = starling(&["store", "import", input.to_str().unwrap(), "--state", state.to_str().unwrap()]);
    assert!(done, "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_judged_over_seven_days() {
    let dir = tempfile::tempdir().unwrap();
    let (state, rules) = (dir.path().join("state"), dir.path().join("rules.toml"));
    fs::write(&rules, RULES).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as u32;
    let end = now / 3_600 * 3_600 - 3_600;
    import(&state, dir.path(), end);
    let folder = format!("state_dir={}", state.display());
    let free = ["grpc_listen=127.0.0.1:0", "gossip_listen=127.0.0.1:0", "admin_listen=127.0.0.1:0", "cluster=test"];
    let aggregator = Program::with_settings("starling-aggregator", &[&[folder.as_str()], &free[..]].concat());
    eventually("it answers", async || {
        let mut client = QueryClient::connect(aggregator.url("grpc")).await.map_err(|error| error.to_string())?;
        let answer = client.get_cluster(v1::GetClusterRequest::default()).await;
        answer.map(|_| ()).map_err(|status| status.to_string())
    })
    .await;
    let (file, to) = (rules.to_str().unwrap(), (end - 1).to_string());
    let url = aggregator.url("grpc");
    let usual = ["rules", "backtest", file, "--aggregator", &url, "--to", &to, "--over", "7d"];
    let (done, told) = starling(&[&usual[..], &["--json"]].concat());
    assert!(done, "{told}");
    let answer: Value = serde_json::from_str(&told).unwrap();
    let rule = |name: &str| answer["rules"].as_array().unwrap().iter().find(|one| one["rule"] == name).unwrap().clone();
    let queue = rule("queue-long");
    assert_eq!((&queue["stepSeconds"], &queue["subjects"]), (&Value::from(60), &Value::from(1)), "{told}");
    let runs: Vec<(u64, u64, u64)> = queue["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| ["forSeconds", "holdSeconds", "times"].map(|key| run[key].as_u64().unwrap()).into())
        .collect();
    // One good minute lies between the first two.
    let wanted = [(120, 0, 3), (120, 30, 3), (120, 120, 2), (120, 300, 2), (300, 0, 2)];
    assert_eq!(runs, wanted, "{told}");
    let first = &queue["runs"][0]["fired"][0];
    let since = u64::from(end - 7 * DAY + 50 * 3_600);
    assert_eq!((first["since"].as_u64(), first["fired"].as_u64()), (Some(since), Some(since + 120)), "{first}");
    assert_eq!((first["worst"].as_f64(), first["lengthSeconds"].as_u64()), (Some(140.0), Some(360)), "{first}");
    let of_node = rule("queue-of-node");
    let fired = of_node["runs"][0]["fired"].as_array().unwrap();
    assert_eq!((of_node["subjects"].as_u64(), fired.len()), (Some(2), 3), "{of_node}");
    assert!(fired.iter().all(|one| one["subject"] == "web-1" && one["attributes"]["shop"] == "a"), "{of_node}");
    // Asked every five minutes for the worst of ten: what lies less than that apart is one.
    let asked = rule("queue-asked");
    let fired = asked["runs"][0]["fired"].as_array().unwrap();
    assert_eq!((asked["stepSeconds"].as_u64(), fired.len()), (Some(300), 2), "{asked}");
    assert!(fired.iter().all(|one| one["attributes"]["node"] == "web-1" && one["worst"] == 130.0), "{asked}");
    assert!(rule("silent")["refused"].as_str().unwrap().contains("node.silent_seconds is a fact"), "{told}");

    let (done, told) = starling(&[&usual[..], &["--rule", "queue-long", "--try-hold", "90s"]].concat());
    let line = "queue-long: would have fired 3 times in 7 d; with hold 90 s twice; with for 5 min twice";
    assert!(done && told.contains(line) && told.contains("for 6 min: the cluster: error, 140 when it fired"), "{told}");
    let (done, told) = starling(&[&usual[..], &["--rule", "queue-of-node", "--subject", "node web-2"]].concat());
    assert!(done && told.contains("queue-of-node: would not have fired in 7 d"), "{told}");
    // What is asked for and cannot be is said in one line.
    let (done, told) = starling(&["rules", "backtest", file, "--aggregator", "127.0.0.1:1"]);
    assert!(!done && told.contains("no aggregator answers at 127.0.0.1:1"), "{told}");
    let (done, told) = starling(&[&usual[..], &["--rule", "nothing"]].concat());
    assert!(!done && told.contains("there is no rule \"nothing\""), "{told}");
}

/// As with `starling rules defaults | head -1`.
#[test]
fn output_that_nobody_reads_ends_a_tool_without_a_word() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(binary("starling")).args(["rules", "defaults"]).stdout(writer).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), told.as_ref()), (Some(141), ""));
}
