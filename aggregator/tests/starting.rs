//! Aggregators that start: beside one of their own name, in the wrong cluster, and before they know what others know.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use std::collections::BTreeSet;

use starling_aggregator::Config;
use starling_proto::v1;
use starling_service::admin::Readiness;
use support::{Aggregator, LIMIT, TestNode, cluster, eventually, now};
use tonic::Code;

/// The text with which it ends.
async fn ends_with(aggregator: &mut Aggregator) -> String {
    let ended = tokio::time::timeout(LIMIT, aggregator.service.ended()).await.expect("it ends by itself");
    format!("{:#}", ended.expect_err("with an error"))
}

/// The members of `aggregator` as name, state and address.
async fn members(aggregator: &Aggregator) -> Vec<(String, v1::AggregatorState, String)> {
    let list = aggregator.cluster().await.list_aggregators(v1::ListAggregatorsRequest {}).await.unwrap().into_inner();
    list.aggregators.iter().map(|a| (a.aggregator_id.clone(), a.state(), a.grpc_address.clone())).collect()
}

#[tokio::test]
async fn one_whose_name_is_alive_does_not_start_and_leaves_no_trace() {
    let aggregators = cluster(2).await;
    let before = members(&aggregators[0]).await;
    let mut second = Aggregator::start("agg-1", &[aggregators[0].gossip()]).await;
    let text = ends_with(&mut second).await;
    let wanted = format!("agg-1 is alive at {}", aggregators[1].grpc());
    assert!(text.contains(&wanted) && text.contains("aggregator_id"), "{text}");
    // Longer than gossip takes to find the dead.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    for aggregator in &aggregators {
        assert_eq!(members(aggregator).await, before, "at {}", aggregator.name);
    }
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregators[0].url()).await;
    for aggregator in aggregators {
        aggregator.stopped().await;
    }
}

#[tokio::test]
async fn one_that_is_replaced_by_a_newer_process_stops() {
    // Neither knows of the other, as on two sides of a cut network.
    let mut first = Aggregator::start("agg-1", &[]).await;
    let second = Aggregator::start("agg-1", &[]).await;
    let hub = Aggregator::start("agg-2", &[first.gossip(), second.gossip()]).await;
    let text = ends_with(&mut first).await;
    assert!(text.contains(&format!("a newer process at {} has taken the name agg-1", second.grpc())), "{text}");
    let ready = |name: &str, aggregator: &Aggregator| {
        (name.to_owned(), v1::AggregatorState::Ready, aggregator.grpc().to_string())
    };
    let wanted = vec![ready("agg-1", &second), ready("agg-2", &hub)];
    eventually("the newer one alone", async || {
        let mut client = hub.cluster().await;
        client.list_aggregators(v1::ListAggregatorsRequest {}).await.map_err(|status| status.to_string())?;
        let found = members(&hub).await;
        if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    second.stopped().await;
    hub.stopped().await;
}

#[tokio::test]
async fn one_of_another_cluster_says_so_and_is_not_ready() {
    let first = Aggregator::start("agg-0", &[]).await;
    let like = Config { cluster: "other".to_owned(), ..Config::default() };
    let second = Aggregator::start_with("agg-1", &[first.gossip()], like).await;
    let mut readiness = second.service.readiness();
    let not_ready = |ready: &Readiness| matches!(ready, Readiness::NotReady(why) if why.contains("none of the seeds"));
    let shown = tokio::time::timeout(LIMIT, readiness.wait_for(not_ready)).await.expect("it says so").unwrap().clone();
    let Readiness::NotReady(why) = shown else { panic!("ready") };
    assert!(why.contains(&first.gossip()) && why.contains("(other)"), "{why}");
    // Alone it still works for whoever finds it.
    let mut node = TestNode::new("web-1", "a");
    assert_eq!(node.connect(&second.url()).await, "agg-1");
    first.stopped().await;
    second.stopped().await;
}

#[tokio::test]
async fn one_that_starts_answers_nothing_before_it_holds_what_the_others_hold() {
    let aggregators = cluster(2).await;
    let mut nodes: Vec<TestNode> = (0..3).map(|i| TestNode::new(&format!("node-{i}"), "a")).collect();
    let first = now() - 40;
    for node in &mut nodes {
        node.connect(&aggregators[0].url()).await;
        for tick in first..first + 38 {
            node.send(tick, 10, 1_000).await;
        }
        node.until_acked(first..first + 38).await;
    }
    let seeds: Vec<String> = aggregators.iter().map(Aggregator::gossip).collect();
    let newcomer = Aggregator::start("agg-2", &seeds).await;
    let mut query = newcomer.query().await;
    let mut refused = 0;
    let view = eventually("its first answer", async || {
        let asked = v1::GetClusterRequest { tick: first + 20, ..Default::default() };
        match query.get_cluster(asked).await {
            Ok(view) => Ok(view.into_inner()),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                assert!(status.message().contains("agg-2 has just started"), "{status}");
                refused += 1;
                Err(status.to_string())
            }
        }
    })
    .await;
    assert!(refused > 0, "it was asked before it had caught up");
    let completeness = view.completeness.unwrap();
    assert_eq!((completeness.nodes_reporting(), completeness.nodes_expected()), (3, 3), "in its first answer");
    let table = query.list_nodes(v1::ListNodesRequest::default()).await.unwrap().into_inner();
    assert_eq!(table.nodes.len(), 3, "{table:?}");
    let asked = v1::WatchClusterRequest { from_tick: first, ..Default::default() };
    let mut views = query.watch_cluster(asked).await.unwrap().into_inner();
    let mut seen = BTreeSet::new();
    while seen.len() < 38 {
        let view = views.message().await.unwrap().unwrap();
        assert_eq!(view.completeness.unwrap().nodes_reporting(), 3, "{}", view.tick);
        seen.insert(view.tick);
    }
    assert_eq!(seen, (first..first + 38).collect(), "every second that the others have");
    newcomer.stopped().await;
    for aggregator in aggregators {
        aggregator.stopped().await;
    }
}
