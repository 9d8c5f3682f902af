//! What the last release has written is read by this one: the state folder of an aggregator that watched four nodes for six
//! minutes, in `released/`, with what `starling store export` said of it then. The README there says how it was made.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use starling_proto::v1::{GetSeriesRequest, ListRulesRequest, SeriesPoint};
use starling_service::grpc::{alerts_client::AlertsClient, query_client::QueryClient};
use starling_tests::{Program, binary, eventually, http_get};
use tempfile::TempDir;

/// Seconds of the recording in which all four nodes report.
const RECORDED: (u32, u32) = (1_795_863_410, 1_795_863_760);

fn recorded(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("released").join(file)
}

/// The state folder, unpacked.
fn state() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let packed = recorded("state.tar.gz");
    let status = Command::new("tar").arg("-xzf").arg(packed).arg("-C").arg(folder.path()).status().unwrap();
    assert!(status.success());
    folder
}

fn store(state: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::new(binary("starling")).arg("store").args(arguments).arg("--state").arg(state).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains("panicked"), "{error}");
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_history_of_the_last_release_says_what_it_said() {
    let folder = state();
    let state = folder.path().join("aggregator-1");
    let (code, said) = store(&state, &["check", "--deep"]);
    assert_eq!(code, Some(0), "{said}");
    for (tier, subject) in [("1s", "cluster"), ("10s", "node/*"), ("1m", "*"), ("1h", "*")] {
        let (code, said) = store(&state, &["export", "--quiet", "--tier", tier, "--subject", subject]);
        assert_eq!(code, Some(0), "{tier}");
        let file = recorded(&format!("export-{tier}.json.gz"));
        let wanted = Command::new("gzip").arg("-dc").arg(&file).output().unwrap().stdout;
        assert!(said.as_bytes() == wanted, "{tier} of {subject} says something else than {}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_goes_on_with_the_state_of_the_last_release() {
    let folder = state();
    let state = folder.path().join("aggregator-1");
    // It is older than any tier is kept by default, by now.
    let mut settings = ["1s", "10s", "1m", "1h"].map(|tier| format!("history.keep_{tier}_secs=315360000")).to_vec();
    settings.extend(["grpc_listen", "gossip_listen", "admin_listen"].map(|key| format!("{key}=127.0.0.1:0")));
    settings.push(format!("state_dir={}", state.display()));
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let aggregator = Program::with_settings("starling-aggregator", &settings);
    eventually("it is ready", async || match http_get(aggregator.address("admin"), "/ready").await? {
        (200, _) => Ok(()),
        (_, why) => Err(why),
    })
    .await;
    let url = aggregator.url("grpc");
    let mut client = QueryClient::connect(url.clone()).await.unwrap();
    let (from, to) = RECORDED;
    for node_id in ["", "sim-03"] {
        let asked = GetSeriesRequest {
            node_id: node_id.into(),
            name: "system.cpu.utilization".into(),
            from_tick: from,
            to_tick: to,
            ..GetSeriesRequest::default()
        };
        let answer = client.get_series(asked).await.unwrap().into_inner();
        let of = |point: &&SeriesPoint| {
            point.seconds == Some(1) && (!node_id.is_empty() || point.nodes_reporting == Some(4))
        };
        let there = answer.points.iter().filter(of).count();
        assert_eq!(there, (to - from + 1) as usize, "whole seconds of {node_id:?}");
        assert!(!answer.series.is_empty(), "{node_id:?}");
    }
    let rules = AlertsClient::connect(url).await.unwrap().list_rules(ListRulesRequest::default()).await;
    assert!(!rules.unwrap().into_inner().rules.is_empty());
    let log = aggregator.log();
    let wrong: Vec<&str> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
