//! The history of a node is at two aggregators, whoever of them goes.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use starling_aggregator::{Config, HistorySettings};
use starling_proto::v1;
use starling_service::grpc::peer_client::PeerClient;
use support::{Aggregator, TestNode, eventually, now, requests_answer};

const NODES: u32 = 6;
const WINDOW: u32 = 300;

/// Copies of an aggregator that is gone are restored after a second.
fn soon() -> Config {
    let history = HistorySettings { restore_after: Duration::from_secs(1), ..HistorySettings::default() };
    Config { history, ..Config::default() }
}

async fn start(name: &str, others: &[&Aggregator]) -> Aggregator {
    let seeds: Vec<String> = others.iter().map(|other| other.gossip()).collect();
    Aggregator::start_with(name, &seeds, soon()).await
}

/// Waits until each sees all of them ready, and nobody else.
async fn agree(aggregators: &[&Aggregator]) {
    for aggregator in aggregators {
        eventually("a cluster of ready members", async || {
            let list = aggregator.cluster().await.list_aggregators(v1::ListAggregatorsRequest {}).await;
            let list = list.map_err(|status| status.to_string())?.into_inner().aggregators;
            let ready = list.iter().filter(|one| one.state() == v1::AggregatorState::Ready).count();
            if ready == aggregators.len() { Ok(()) } else { Err(format!("{list:?}")) }
        })
        .await;
    }
}

/// The nodes of which an aggregator has blocks of seconds on its disk that touch this range.
async fn on_disk(aggregator: &Aggregator, [from_tick, to_tick]: [u32; 2]) -> Result<BTreeSet<String>, String> {
    let mut client = PeerClient::new(aggregator.channel().await);
    let request = v1::ListBlocksRequest { tier_seconds: 1, from_tick, to_tick, after_segment: 0 };
    let mut lists = client.list_blocks(request).await.map_err(|status| status.to_string())?.into_inner();
    let mut nodes = BTreeSet::new();
    while let Some(list) = lists.message().await.map_err(|status| status.to_string())? {
        nodes.extend(list.nodes.into_iter().map(|node| node.node_id));
    }
    Ok(nodes)
}

/// Waits until the blocks of each node are at `copies` of the aggregators; who has them.
async fn copied(aggregators: &[&Aggregator], range: [u32; 2], copies: usize) -> BTreeMap<String, Vec<String>> {
    eventually("copies of every node", async || {
        let mut holders = BTreeMap::<String, Vec<String>>::new();
        for aggregator in aggregators {
            for node in on_disk(aggregator, range).await? {
                holders.entry(node).or_default().push(aggregator.name.clone());
            }
        }
        let whole = holders.len() == NODES as usize && holders.values().all(|holders| holders.len() == copies);
        if whole { Ok(holders) } else { Err(format!("{holders:?}")) }
    })
    .await
}

/// What an aggregator answers of a node over a range: its values, and who is missing.
async fn asked(
    aggregator: &Aggregator,
    node: &str,
    [from_tick, to_tick]: [u32; 2],
) -> Result<(Vec<f64>, Vec<v1::MissingPart>), String> {
    let scope = v1::Scope { node_id: node.into(), ..v1::Scope::default() };
    let answer = requests_answer(aggregator, scope, [from_tick, to_tick, 1]).await?;
    let values = answer.series.iter().flat_map(|series| series.statistics[0].values.clone()).collect();
    Ok((values, answer.missing))
}

/// What the owner of a node shows of its last 15 minutes, from `from_tick` on.
async fn last_minutes(aggregator: &Aggregator, node: &str, from_tick: u32) -> Result<BTreeMap<u32, f64>, String> {
    let request = v1::GetSeriesRequest {
        node_id: node.into(),
        name: "traffic.requests".into(),
        total: true,
        statistics: vec!["value".into()],
        from_tick,
        ..v1::GetSeriesRequest::default()
    };
    let answer = aggregator.query().await.get_series(request).await.map_err(|status| status.to_string())?.into_inner();
    let values = answer.series.iter().flat_map(|series| series.statistics[0].values.clone());
    Ok(answer.points.iter().map(|point| point.tick).zip(values).filter(|(_, value)| !value.is_nan()).collect())
}

/// Waits until the last minutes of a node begin with what it sent elsewhere.
async fn goes_on(aggregator: &Aggregator, node: &str, expected: &BTreeMap<u32, f64>) {
    let first = *expected.keys().next().unwrap();
    eventually("the last minutes of a node that moved", async || {
        let held = last_minutes(aggregator, node, first).await?;
        if held == *expected { Ok(()) } else { Err(format!("{} of {} seconds", held.len(), expected.len())) }
    })
    .await;
}

fn requests(node: u32, tick: u32) -> u64 {
    u64::from(tick % 17 + 100 * node)
}

/// Every one of `aggregators` answers for every node, and nothing is missing.
async fn all_answer(aggregators: &[&Aggregator], start: u32) {
    for aggregator in aggregators {
        for node in 0..NODES {
            let expected: Vec<f64> = (start..start + WINDOW).map(|tick| requests(node, tick) as f64).collect();
            let answer = eventually("a whole answer", async || {
                let (values, missing) = asked(aggregator, &format!("node-{node}"), [start, start + WINDOW - 1]).await?;
                let seconds = values.iter().filter(|value| !value.is_nan()).count();
                let text = format!("{} of node-{node}: {seconds} seconds, missing {missing:?}", aggregator.name);
                if seconds == WINDOW as usize && missing.is_empty() { Ok(values) } else { Err(text) }
            })
            .await;
            assert_eq!(answer, expected, "node-{node} at {}", aggregator.name);
        }
    }
}

async fn copies_of(aggregator: &Aggregator) -> v1::HistoryCopies {
    let list = aggregator.cluster().await.list_aggregators(v1::ListAggregatorsRequest {}).await.unwrap().into_inner();
    let mut own = list.aggregators.into_iter().filter(|one| one.self_);
    let (own, more) = (own.next().unwrap(), own.next());
    assert_eq!((own.aggregator_id.as_str(), more), (aggregator.name.as_str(), None));
    own.history_copies.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_of_a_node_is_at_two_aggregators_whoever_loses_its_disk() {
    let a = start("agg-a", &[]).await;
    let b = start("agg-b", &[&a]).await;
    let c = start("agg-c", &[&a, &b]).await;
    agree(&[&a, &b, &c]).await;
    // A window that is over.
    let start_tick = (now() - 800).next_multiple_of(WINDOW);
    let range = [start_tick, start_tick + WINDOW - 1];
    let mut nodes = Vec::new();
    for at in 0..NODES {
        let mut node = TestNode::new(&format!("node-{at}"), "a");
        node.connect(&a.url()).await;
        for tick in start_tick..start_tick + WINDOW {
            node.send(tick, requests(at, tick), 1_000).await;
        }
        nodes.push(node);
    }
    for node in &nodes {
        node.until_acked(start_tick..start_tick + WINDOW).await;
    }
    let holders = copied(&[&a, &b, &c], range, 2).await;
    for node in &nodes {
        assert!(holders[&node.id].contains(&node.aggregator().to_owned()), "{holders:?}: {}", node.id);
    }

    // One goes for good, with its disk.
    a.stopped().await;
    agree(&[&b, &c]).await;
    copied(&[&b, &c], range, 2).await;
    all_answer(&[&b, &c], start_tick).await;
    // Whoever has its nodes now shows their last minutes, from its own copies.
    for (at, node) in (0..).zip(&mut nodes).filter(|(_, node)| node.aggregator() == "agg-a") {
        let owner = node.connect(&b.url()).await;
        let owner = [&b, &c].into_iter().find(|one| one.name == owner).unwrap();
        let newest = now();
        node.send(newest, 7, 1_000).await;
        let mut expected: BTreeMap<u32, f64> =
            (start_tick..start_tick + WINDOW).map(|tick| (tick, requests(at, tick) as f64)).collect();
        expected.insert(newest, 7.0);
        goes_on(owner, &node.id, &expected).await;
    }

    // Another one takes its place and gets what it is to have.
    let a = start("agg-a", &[&b, &c]).await;
    agree(&[&a, &b, &c]).await;
    let wanted: BTreeSet<String> = holders
        .iter()
        .filter(|(_, holders)| holders.contains(&"agg-a".to_owned()))
        .map(|(node, _)| node.clone())
        .collect();
    assert!(!wanted.is_empty());
    eventually("the copies of the new one", async || {
        let held = on_disk(&a, range).await?;
        if held == wanted { Ok(()) } else { Err(format!("{held:?} of {wanted:?}")) }
    })
    .await;
    let whole = eventually("a whole look", async || {
        let copies = copies_of(&a).await;
        if copies.whole_tick > 0 && !copies.restoring() { Ok(copies) } else { Err(format!("{copies:?}")) }
    })
    .await;
    assert!(whole.fetched_blocks() >= wanted.len() as u64 && whole.fetched_bytes() > 0, "{whole:?}");
    assert_eq!((whole.lacking_blocks, whole.spans_done), (Some(0), whole.spans), "{whole:?}");

    // And of two holders any one is enough.
    b.stopped().await;
    agree(&[&a, &c]).await;
    all_answer(&[&a, &c], start_tick).await;
    a.stopped().await;
    c.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_minutes_of_a_node_go_where_it_goes() {
    let a = start("agg-a", &[]).await;
    let b = start("agg-b", &[&a]).await;
    agree(&[&a, &b]).await;
    let mut node = TestNode::new("node-1", "a");
    node.connect(&a.url()).await;
    let (from, to) = if node.aggregator() == "agg-a" { (&a, &b) } else { (&b, &a) };
    // Two windows, the later of which is still open.
    let newest = now() - 2;
    let first = newest - 400;
    for tick in first..newest {
        node.send(tick, requests(1, tick), 1_000).await;
    }
    node.until_acked(first..newest).await;
    assert_eq!(last_minutes(from, "node-1", first).await.unwrap().len(), 400);

    node.connect_here(&to.url()).await;
    assert_eq!(node.aggregator(), to.name);
    node.send(newest, requests(1, newest), 1_000).await;
    let expected: BTreeMap<u32, f64> = (first..=newest).map(|tick| (tick, requests(1, tick) as f64)).collect();
    for aggregator in [to, from] {
        goes_on(aggregator, "node-1", &expected).await;
    }
    // And watched from a second before it moved, none is left out.
    let asked = v1::WatchNodeRequest { node_id: "node-1".into(), from_tick: first, ..v1::WatchNodeRequest::default() };
    let mut seconds = to.query().await.watch_node(asked).await.unwrap().into_inner();
    for tick in expected.keys() {
        let view = tokio::time::timeout(support::LIMIT, seconds.message()).await.unwrap().unwrap().unwrap();
        assert_eq!(view.tick, *tick);
    }
    a.stopped().await;
    b.stopped().await;
}
