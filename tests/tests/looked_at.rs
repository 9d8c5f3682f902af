//! What is dear to read of a host is read while somebody looks, through any aggregator, and not otherwise.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{
    process::{Child, Command},
    time::{Duration, Instant},
};

use starling_proto::v1;
use starling_service::grpc::query_client::QueryClient;
use starling_tests::{Cluster, Program, eventually};
use tonic::Code;

/// A process that works as long as this lives.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn detail(url: &str, node: &str) -> Result<v1::NodeDetailView, tonic::Status> {
    let mut client = QueryClient::connect(url.to_owned()).await.unwrap();
    let request = v1::GetNodeDetailRequest { node_id: node.to_owned() };
    Ok(client.get_node_detail(request).await?.into_inner())
}

/// How often the daemon has looked at its processes.
async fn looks(daemon: &Program) -> u64 {
    let text = reqwest::get(format!("{}/metrics", daemon.url("admin"))).await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with("starling_node_detail_looks_total")).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_read_while_somebody_looks_through_any_aggregator() {
    let cluster = Cluster::start(2).await;
    let daemon = Program::daemon("web-1", &cluster.seeds(), &[]);
    let urls: Vec<String> = cluster.aggregators.iter().map(|one| one.url("grpc")).collect();
    for url in &urls {
        eventually("the node is known", async || match detail(url, "web-1").await {
            Ok(_) => Ok(()),
            Err(status) => Err(status.to_string()),
        })
        .await;
    }
    let busy = Busy::start();
    let seen = eventually("the one that works is named", async || {
        let view = detail(&urls[0], "web-1").await.map_err(|status| status.to_string())?;
        let found = view.detail.clone().unwrap_or_default();
        let one = found.processes.iter().find(|one| one.pid == busy.0.id()).cloned();
        one.filter(|one| one.cpu_cores() > 0.05).map(|one| (view, one)).ok_or_else(|| format!("{found:?}"))
    })
    .await;
    let (view, one) = seen;
    assert_eq!((&*one.name, view.node_id.as_str()), ("sh", "web-1"));
    let read = view.detail.unwrap();
    assert!(read.cost_cpu_seconds > 0.0 && read.process_count as usize >= read.processes.len(), "{read:?}");
    // Both say who has the stream: one of them asked the other.
    let other = detail(&urls[1], "web-1").await.unwrap();
    assert_eq!(other.answered_by, view.answered_by);

    // It ends by itself some time after the last question.
    eventually("nobody looks any more", async || {
        let before = looks(&daemon).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let after = looks(&daemon).await;
        if before == after { Ok(()) } else { Err(format!("{before} looks, {after} after 4 s")) }
    })
    .await;
    let asked = Instant::now();
    let again = detail(&urls[0], "web-1").await.unwrap();
    assert!(asked.elapsed() < Duration::from_millis(2_500), "{:?}", asked.elapsed());
    assert!(again.detail.unwrap().tick > read.tick + 4, "not what was read before");

    let missing = detail(&urls[0], "web-2").await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound, "{missing}");
}
