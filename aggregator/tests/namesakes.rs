//! Two machines that report under one name.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use std::time::{Duration, Instant};

use starling_aggregator::{Config, Duplicates};
use starling_proto::v1;
use support::{Aggregator, TestNode, cluster, eventually, now};
use tonic::Code;

/// Another daemon start of the name `web-1` on a machine and boot.
fn daemon(machine: u8, boot: u8) -> TestNode {
    let mut node = TestNode::new("web-1", "a");
    node.machine = (machine, boot);
    node
}

/// The row of `web-1` as `aggregator` has it, once `wanted` holds.
async fn row(aggregator: &Aggregator, what: &str, wanted: impl Fn(&v1::NodeRow) -> bool) -> v1::NodeRow {
    let mut query = aggregator.query().await;
    eventually(what, async || {
        let table = query.list_nodes(v1::ListNodesRequest::default()).await.map_err(|status| status.to_string())?;
        let rows = table.into_inner().nodes;
        let row = rows.iter().find(|row| row.node_id == "web-1").filter(|row| wanted(row)).cloned();
        row.ok_or_else(|| format!("{rows:?}"))
    })
    .await
}

#[tokio::test]
async fn a_second_machine_is_refused_and_both_are_shown() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut first = daemon(1, 1);
    first.connect(&aggregator.url()).await;
    first.send(now(), 10, 1_000).await;
    // A clone of its image, another container of the same machine, another machine.
    for (machine, boot) in [(1, 2), (2, 1), (2, 2)] {
        let status = daemon(machine, boot).try_connect(&aggregator.url()).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists);
        assert!(status.message().contains("node web-1") && status.message().contains("node_id"), "{status}");
    }
    let row = row(&aggregator, "a row with the clash", |row| row.name_clash.is_some()).await;
    let clash = row.name_clash.unwrap();
    assert_eq!((clash.times, clash.aggregator_id.as_str(), clash.renamed_to.as_str()), (3, "solo", ""));
    assert!(clash.address.starts_with("127.0.0.1:") && row.address.starts_with("127.0.0.1:"));
    assert_ne!(clash.address, row.address);
    // The same machine is never refused: a restart, and daemons that do not know which machine they are on.
    for (machine, boot) in [(1, 1), (0, 0), (1, 0), (0, 1)] {
        let mut again = daemon(machine, boot);
        again.connect(&aggregator.url()).await;
        again.send(now(), 10, 1_000).await;
        let mut back = daemon(1, 1);
        back.connect(&aggregator.url()).await;
    }
    aggregator.stopped().await;
}

#[tokio::test]
async fn another_machine_gets_the_name_when_the_first_is_silent() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut first = daemon(1, 1);
    first.connect(&aggregator.url()).await;
    first.send(now(), 10, 1_000).await;
    let began = Instant::now();
    // Its connection stays open, as of a host without power.
    let mut next = daemon(1, 2);
    eventually("the name", async || next.try_connect(&aggregator.url()).await.map_err(|status| status.to_string()))
        .await;
    assert!(began.elapsed() >= Duration::from_secs(4), "not while the first may be alive");
    drop(first);
    let mut reinstalled = daemon(3, 3);
    next.raw(v1::ingest_request::Body::EndOfStream(v1::EndOfStream { last_tick: 0, ..Default::default() })).await;
    eventually("the name of one that stopped", async || {
        reinstalled.try_connect(&aggregator.url()).await.map_err(|status| status.to_string())
    })
    .await;
    aggregator.stopped().await;
}

#[tokio::test]
async fn the_second_gets_a_name_of_its_own_if_the_settings_say_so() {
    let policy = Config { duplicate_nodes: Duplicates::Rename, ..Config::default() };
    let aggregator = Aggregator::start_with("solo", &[], policy).await;
    let (mut first, mut second) = (daemon(1, 1), daemon(0xab, 2));
    first.connect(&aggregator.url()).await;
    second.connect(&aggregator.url()).await;
    assert_eq!((first.known_as.as_str(), second.known_as.as_str()), ("web-1", "web-1.abababab"));
    let tick = now();
    first.send(tick, 10, 1_000).await;
    second.send(tick, 20, 1_000).await;
    let row = row(&aggregator, "a row with the clash", |row| row.name_clash.is_some()).await;
    assert_eq!(row.name_clash.unwrap().renamed_to, "web-1.abababab");
    let mut query = aggregator.query().await;
    eventually("both, each once", async || {
        let asked = v1::GetClusterRequest { tick, ..Default::default() };
        let view = query.get_cluster(asked).await.map_err(|status| status.to_string())?.into_inner();
        let requests = view.sections.clone().and_then(|is| is.traffic).map_or(0.0, |is| is.requests_per_second());
        if requests == 30.0 { Ok(()) } else { Err(format!("{view:?}")) }
    })
    .await;
    aggregator.stopped().await;
}

#[tokio::test]
async fn it_is_refused_at_another_aggregator_too() {
    let aggregators = cluster(2).await;
    let mut first = daemon(1, 1);
    let owner = first.connect(&aggregators[0].url()).await;
    let other = aggregators.iter().find(|aggregator| aggregator.name != owner).unwrap();
    first.send(now(), 10, 1_000).await;
    row(other, "the row at the other aggregator", |row| row.aggregator_id == owner).await;
    // It must be taken wherever it asks, were it not for its name.
    let asked = v1::Hello { final_hop: true, session: 5, ..daemon(2, 2).hello() };
    first.send(now() + 1, 10, 1_000).await;
    let status = support::open(&other.url(), asked).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status}");
    assert!(status.message().contains(&owner), "{status}");
    // The aggregator that holds the node hears of it.
    for aggregator in &aggregators {
        let row = row(aggregator, "the clash", |row| row.name_clash.is_some()).await;
        assert_eq!(row.name_clash.unwrap().aggregator_id, other.name);
    }
    // The machine itself may move there at any time.
    let moved = v1::Hello { final_hop: true, session: 9, ..first.hello() };
    let (_outbox, mut inbound) = support::open(&other.url(), moved).await.unwrap();
    assert!(inbound.message().await.unwrap().is_some());
    for aggregator in aggregators {
        aggregator.stopped().await;
    }
}

#[tokio::test]
async fn of_two_that_came_at_once_the_later_one_goes() {
    let aggregators = cluster(2).await;
    let (mut links, mut tick) = (Vec::new(), now());
    let mut nodes = [daemon(1, 1), daemon(2, 2)];
    for (node, aggregator) in nodes.iter_mut().zip(&aggregators) {
        node.connect_here(&aggregator.url()).await;
        links.push(aggregator.name.clone());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eventually("the end of the later stream", async || {
        for node in &mut nodes {
            if node.received(|received| received.ended.is_none()) {
                node.send(tick, 10, 1_000).await;
            }
        }
        tick += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let ended = nodes.each_ref().map(|node| node.received(|received| received.ended.clone()));
        match &ended {
            [None, Some(Err(status))] if status.code() == Code::AlreadyExists => Ok(()),
            _ => Err(format!("{links:?}: {ended:?}")),
        }
    })
    .await;
    for aggregator in aggregators {
        aggregator.stopped().await;
    }
}
