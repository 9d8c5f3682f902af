//! Incidents that are planted in a cluster of processes: the sentence, the alerts and the message name the cause, once.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{fs, time::Duration};

use starling_proto::v1;
use starling_service::grpc::alerts_client::AlertsClient;
use starling_tests::{Cluster, Program, eventually, sink::Sink};
use tonic::transport::Channel;

async fn client(program: &Program) -> AlertsClient<Channel> {
    AlertsClient::connect(program.url("grpc")).await.unwrap()
}

async fn listed(program: &Program) -> v1::ListAlertsResponse {
    client(program).await.list(v1::ListAlertsRequest::default()).await.unwrap().into_inner()
}

fn sentence(answer: &v1::ListAlertsResponse) -> String {
    answer.verdict.iter().flat_map(|verdict| &verdict.parts).map(|part| part.text.as_str()).collect()
}

/// The rules of what is gone that fire, each as often as it does.
fn firing(alerts: &[v1::Alert]) -> Vec<String> {
    // What else this host goes through while tests run on it is not looked at.
    let rules = alerts.iter().map(|one| one.episode.as_ref().unwrap().rule.clone());
    let mut rules: Vec<String> = rules.filter(|rule| rule.ends_with("-gone")).collect();
    rules.sort();
    rules
}

/// A zone that is cut off is one message with its name, not one for each of its nodes, whoever has these; and what is said of
/// nodes by their labels holds at every aggregator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_that_is_cut_off_is_told_once_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let notify = dir.path().join("notify.toml");
    let file = format!(
        "[notifier.ops]\nkind = \"webhook\"\nurl = \"{}\"\nallow_networks = [\"127.0.0.0/8\"]\n\n[[route]]\nnotifiers = [\"ops\"]\nmatch = [\"rule=~(node|group|many-nodes)-gone\"]\ngroup_wait_secs = 0\n",
        sink.url()
    );
    fs::write(&notify, file).unwrap();
    let cluster = Cluster::start_with(3, &[&format!("alerts.notify=\"{}\"", notify.display())]).await;
    let daemon = |zone: &str, at: u32| {
        Program::daemon(&format!("{zone}-{at}"), &cluster.seeds(), &[&format!("labels={{zone=\"{zone}\"}}")])
    };
    let mut zone_a: Vec<Program> = (1..=3).map(|at| daemon("a", at)).collect();
    let _zone_b: Vec<Program> = (1..=5).map(|at| daemon("b", at)).collect();
    for aggregator in &cluster.aggregators {
        eventually("all report", async || {
            let said = sentence(&listed(aggregator).await);
            if said.contains("all 8 nodes report") { Ok(()) } else { Err(said) }
        })
        .await;
    }
    // The time of grace after the start.
    tokio::time::sleep(Duration::from_secs(6)).await;
    zone_a.iter_mut().for_each(Program::kill);
    for aggregator in &cluster.aggregators {
        eventually("the zone is named", async || {
            let answer = listed(aggregator).await;
            let said = sentence(&answer);
            let all = ["group-gone", "many-nodes-gone", "node-gone", "node-gone", "node-gone"];
            if said.contains("nodes: zone:a since") && firing(&answer.alerts) == all {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        })
        .await;
        let answer = listed(aggregator).await;
        let held: Vec<bool> = answer.alerts.iter().map(|one| !one.held_back_by.is_empty()).collect();
        assert_eq!(held.iter().filter(|held| **held).count(), 4, "{answer:?}");
        let matcher = v1::AlertMatcher { key: "zone".into(), value: "a".into(), ..Default::default() };
        let silence = v1::AlertSilence { matchers: vec![matcher], author: "op-1".into(), ..Default::default() };
        let preview = v1::SilenceRequest {
            matchers: silence.matchers,
            author: silence.author,
            for_seconds: 60,
            preview: true,
            ..Default::default()
        };
        let covers = client(aggregator).await.silence(preview).await.unwrap().into_inner().covers;
        let all = ["group-gone", "node-gone", "node-gone", "node-gone"];
        assert_eq!(firing(&covers), all, "the group and its nodes, whoever had their streams: {covers:?}");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let told: Vec<String> = sink.taken().iter().map(|(_, body)| body.to_string()).collect();
    assert!(told.len() == 1 && told[0].contains("many-nodes-gone") && told[0].contains("zone:a"), "{told:#?}");
    zone_a.iter_mut().for_each(Program::start_again);
    for aggregator in &cluster.aggregators {
        eventually("it is over", async || {
            let answer = listed(aggregator).await;
            if firing(&answer.alerts).is_empty() { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }
    eventually(
        "its end is told",
        async || if sink.taken().len() >= 2 { Ok(()) } else { Err("one message".to_owned()) },
    )
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told: Vec<String> = sink.taken().iter().map(|(_, body)| body.to_string()).collect();
    assert!(told.len() == 2 && told[1].contains("many-nodes-gone"), "one beginning and one end: {told:#?}");
}

/// A37: all nodes of an aggregator vanish at once. It says so of itself, and calls none of them gone; they are back half a minute later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregator_that_lost_all_its_nodes_at_once_is_named_and_none_of_them_is() {
    let (dir, sink) = (tempfile::tempdir().unwrap(), Sink::start().await);
    let notify = dir.path().join("notify.toml");
    let file = format!(
        "[notifier.ops]\nkind = \"webhook\"\nurl = \"{}\"\nallow_networks = [\"127.0.0.0/8\"]\n\n[[route]]\nnotifiers = [\"ops\"]\nmatch = [\"rule=~aggregator-blind|.*-gone\"]\ngroup_wait_secs = 0\n",
        sink.url()
    );
    fs::write(&notify, file).unwrap();
    let cluster = Cluster::start_with(1, &[&format!("alerts.notify=\"{}\"", notify.display())]).await;
    let aggregator = &cluster.aggregators[0];
    let mut nodes: Vec<Program> =
        (1..=6).map(|at| Program::daemon(&format!("link-{at}"), &cluster.seeds(), &[])).collect();
    eventually("all report", async || {
        let said = sentence(&listed(aggregator).await);
        if said.contains("all 6 nodes report") { Ok(()) } else { Err(said) }
    })
    .await;
    // The time of grace after the start.
    tokio::time::sleep(Duration::from_secs(6)).await;
    nodes.iter_mut().for_each(Program::kill);
    let blind = "the cluster has aggregators that lost all their nodes at once: agg-1 (had 6 nodes)";
    eventually("it is named", async || {
        let answer = listed(aggregator).await;
        let found = answer.alerts.iter().any(|one| one.sentence == blind);
        if found { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(firing(&listed(aggregator).await.alerts), [""; 0], "they may be on their way");
    nodes.iter_mut().for_each(Program::start_again);
    eventually(
        "its end is told",
        async || {
            if sink.taken().len() >= 2 { Ok(()) } else { Err(format!("{:?}", sink.taken())) }
        },
    )
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let told: Vec<String> = sink.taken().iter().map(|(_, body)| body["title"].to_string()).collect();
    assert!(
        told.len() == 2 && told.iter().all(|title| title.contains("blind") || title.contains("agg-1")),
        "{told:#?}"
    );
}
