//! Three aggregators that find each other and keep one ledger.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use starling_proto::v1;
use support::{Aggregator, TestNode, cluster, eventually, now};
use tokio_stream::StreamExt as _;
use tonic::Code;

/// Nodes spread over the cluster by their owners.
async fn nodes(aggregators: &[Aggregator], count: usize) -> Vec<TestNode> {
    let mut nodes = Vec::new();
    for i in 0..count {
        let mut node = TestNode::new(&format!("node-{i}"), if i % 2 == 0 { "even" } else { "odd" });
        node.connect(&aggregators[i % aggregators.len()].url()).await;
        nodes.push(node);
    }
    nodes
}

/// Every aggregator shows `expected` requests at each tick, from `count` nodes, and the same books.
async fn agree(aggregators: &[Aggregator], expected: &BTreeMap<u32, u64>, count: u32) {
    for (&tick, &requests) in expected {
        let (mut hashes, mut busiest) = (Vec::new(), Vec::new());
        for aggregator in aggregators {
            let mut query = aggregator.query().await;
            eventually("the sum of what the nodes sent", async || {
                let asked = v1::GetClusterRequest { tick, ..v1::GetClusterRequest::default() };
                let view = query.get_cluster(asked).await.map_err(|status| status.to_string())?.into_inner();
                let completeness = view.completeness.unwrap();
                let found = view
                    .sections
                    .as_ref()
                    .and_then(|is| is.traffic.as_ref())
                    .map_or(0.0, |traffic| traffic.requests_per_second());
                let counted = view
                    .sections
                    .as_ref()
                    .and_then(|is| is.traffic.as_ref())
                    .and_then(|t| t.latency.as_ref())
                    .map_or(0.0, |latency| latency.count);
                let same = (found - requests as f64).abs() < 1e-9 && (counted - requests as f64).abs() < 1e-9;
                if same && (completeness.nodes_reporting(), completeness.nodes_expected()) == (count, count) {
                    Ok(())
                } else {
                    Err(format!("{} at {tick}: {found} of {requests}, {completeness:?}", aggregator.name))
                }
            })
            .await;
            let books =
                aggregator.cluster().await.get_ledger(v1::GetLedgerRequest { tick }).await.unwrap().into_inner();
            assert!(books.conservation.as_ref().unwrap().balanced(), "{books:?}");
            assert_eq!((books.frames_counted(), books.overlaps(), books.forks()), (count, 0, 0), "{books:?}");
            hashes.push(books.view_hash);
            // Of a second before all of this nothing is held, and nothing said.
            let request = v1::GetLedgerRequest { tick: tick - 300 };
            let before = aggregator.cluster().await.get_ledger(request).await.unwrap().into_inner();
            let said =
                (before.conservation.and_then(|check| check.balanced), before.frames_counted, before.completeness);
            assert_eq!(said, (None, None, None));
            let asked = v1::GetClusterRequest { tick, ..v1::GetClusterRequest::default() };
            let view = query.get_cluster(asked).await.unwrap().into_inner();
            let behind = view.completeness.unwrap();
            let sections = behind.sections.unwrap();
            let reported = [sections.cpu(), sections.memory(), sections.traffic(), sections.latency(), sections.disk()];
            assert_eq!((reported, behind.nodes_missing), ([count, count, count, count, 0], Vec::new()));
            busiest.push(view.sections.unwrap().cpu.unwrap().busiest);
        }
        assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "views differ at {tick}: {hashes:?}");
        // The busiest cores are those of this second, wherever their nodes are connected.
        assert!(!busiest[0].is_empty() && busiest.windows(2).all(|pair| pair[0] == pair[1]), "{tick}: {busiest:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_aggregator_tells_the_same_sum() {
    let aggregators = cluster(3).await;
    let mut nodes = nodes(&aggregators, 9).await;
    let holders: std::collections::BTreeSet<_> = nodes.iter().map(|node| node.aggregator().to_owned()).collect();
    assert!(holders.len() > 1, "all nodes are on {holders:?}");
    let first = now() - 6;
    let mut expected: BTreeMap<u32, u64> = BTreeMap::new();
    for tick in first..first + 5 {
        for (node, i) in nodes.iter_mut().zip(1u64..) {
            let requests = i * 10 + u64::from(tick % 7);
            node.send(tick, requests, 100 * i).await;
            *expected.entry(tick).or_default() += requests;
        }
    }
    agree(&aggregators, &expected, 9).await;
    for node in &nodes {
        node.until_acked(expected.keys().copied()).await;
        node.received(|received| {
            assert!(received.acked.values().all(|(copies, alone)| *copies >= 2 && !alone), "{received:?}");
        });
    }

    // Drill-down and tables from any aggregator, whoever holds the node.
    for aggregator in &aggregators {
        let mut query = aggregator.query().await;
        eventually("a table of all nodes", async || {
            let table = query.list_nodes(v1::ListNodesRequest::default()).await.unwrap().into_inner();
            let held = table.nodes.iter().filter(|row| !row.aggregator_id.is_empty()).count();
            if held == 9 { Ok(()) } else { Err(format!("{} knows {:?}", aggregator.name, table.nodes)) }
        })
        .await;
        let odd = query
            .list_nodes(v1::ListNodesRequest { group: "zone:odd".into(), ..Default::default() })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(odd.nodes.len(), 4);
        for node in &nodes {
            let view = query
                .get_node(v1::GetNodeRequest { node_id: node.id.clone(), ..Default::default() })
                .await
                .unwrap()
                .into_inner();
            assert_eq!((view.tick, view.row.unwrap().aggregator_id.as_str()), (first + 4, node.aggregator()));
        }
        let asked = v1::WatchNodeRequest { node_id: "node-0".into(), from_tick: first, ..Default::default() };
        let mut watch = query.watch_node(asked).await.unwrap().into_inner();
        for tick in first..first + 5 {
            assert_eq!(watch.next().await.unwrap().unwrap().tick, tick);
        }
        let asked = v1::GetClusterRequest { group: "zone:even".into(), tick: first, ..Default::default() };
        let even = query.get_cluster(asked).await.unwrap().into_inner();
        let wanted: u64 = (1..=9).step_by(2).map(|i| i * 10 + u64::from(first % 7)).sum();
        assert!((even.sections.unwrap().traffic.unwrap().requests_per_second() - wanted as f64).abs() < 1e-9);
        let completeness = even.completeness.unwrap();
        assert_eq!((completeness.nodes_reporting(), completeness.nodes_expected()), (5, 5));
        let status =
            query.get_node(v1::GetNodeRequest { node_id: "nobody".into(), ..Default::default() }).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        series_are_the_same_numbers(aggregator, &expected, &nodes[1]).await;
    }
}

/// Series by name say what the views say: of the cluster, of a group, and of a node that another aggregator holds.
async fn series_are_the_same_numbers(aggregator: &Aggregator, expected: &BTreeMap<u32, u64>, node: &TestNode) {
    let mut query = aggregator.query().await;
    let (&first, &last) = (expected.first_key_value().unwrap().0, expected.last_key_value().unwrap().0);
    let asked = |name: &str| v1::GetSeriesRequest {
        name: name.to_owned(),
        from_tick: first,
        to_tick: last,
        ..v1::GetSeriesRequest::default()
    };
    let answer = query.get_series(asked("traffic.requests")).await.unwrap().into_inner();
    assert_eq!((answer.answered_by.as_str(), answer.left_out()), (aggregator.name.as_str(), 0));
    let wanted: Vec<f64> = expected.values().map(|requests| *requests as f64).collect();
    let [grpc] = answer.series.as_slice() else { panic!("{answer:?}") };
    assert_eq!((grpc.attributes["protocol"].as_str(), &grpc.statistics[0].values), ("grpc", &wanted));
    assert!(
        answer
            .points
            .iter()
            .all(|point| (point.seconds(), point.nodes_reporting(), point.nodes_expected()) == (1, 9, 9))
    );

    let statistics = vec!["count".to_owned(), "p50".to_owned()];
    let merged = v1::GetSeriesRequest { step_seconds: 900, statistics, ..asked("traffic.duration") };
    let answer = query.get_series(merged).await.unwrap().into_inner();
    let count: f64 = answer.series[0].statistics[0].values.iter().sum();
    assert!((count - wanted.iter().sum::<f64>()).abs() < 1e-9, "{answer:?}");
    assert_eq!(answer.series[0].statistics[1].error_bound_ppm, 3_906);

    let of_group = v1::GetSeriesRequest { group: "zone:even".into(), ..asked("system.memory.limit") };
    let answer = query.get_series(of_group).await.unwrap().into_inner();
    assert!(answer.series[0].statistics[0].values.iter().all(|bytes| (bytes - 5e9).abs() < 1.0), "{answer:?}");

    let of_node = |name: &str| v1::GetSeriesRequest { node_id: node.id.clone(), ..asked(name) };
    let answer = query.get_series(of_node("system.cpu.core.utilization")).await.unwrap().into_inner();
    assert_eq!(answer.answered_by, node.aggregator());
    let cores: Vec<_> = answer
        .series
        .iter()
        .map(|core| (&*core.attributes["cpu.logical_number"], core.statistics[0].values[0]))
        .collect();
    assert_eq!(cores, [("0", 0.25), ("1", 0.75)]);
    let listed =
        query.get_series(v1::GetSeriesRequest { node_id: node.id.clone(), ..Default::default() }).await.unwrap();
    let names: Vec<_> = listed.get_ref().series.iter().map(|series| series.name.as_str()).collect();
    assert!(names.contains(&"system.cpu.core.utilization") && names.is_sorted(), "{names:?}");

    // All that is kept can be read; a second for each of fifty years is too much.
    let early = v1::GetSeriesRequest { from_tick: 1, ..asked("traffic.requests") };
    let status = query.get_series(early).await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().starts_with("from_tick: "), "{status}");
    let both = v1::GetSeriesRequest { group: "zone:even".into(), ..of_node("traffic.requests") };
    assert_eq!(query.get_series(both).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_aggregator_hands_over_and_nothing_is_lost_or_doubled() {
    let mut aggregators = cluster(3).await;
    let mut nodes = nodes(&aggregators, 6).await;
    let leaving = nodes[0].aggregator().to_owned();
    let tick = now() - 3;
    for node in &mut nodes {
        node.send(tick, 10, 1_000).await;
    }
    let gone = aggregators.iter().position(|aggregator| aggregator.name == leaving).unwrap();
    let gone = aggregators.remove(gone);
    gone.stop.cancel();
    // Its nodes hear where to go; they send again what was not acknowledged, with the pin it has.
    for node in nodes.iter_mut().filter(|node| node.aggregator() == leaving) {
        let redirect = eventually("a redirect", async || {
            node.received(|received| received.redirect.clone().ok_or_else(|| format!("{received:?}")))
        })
        .await;
        assert!(redirect.ranked.iter().all(|endpoint| endpoint.aggregator_id != leaving), "{redirect:?}");
        let taken = node.connect(&format!("http://{}", redirect.ranked[0].address)).await;
        assert_ne!(taken, leaving);
        node.offer(tick).await;
        node.send(tick + 1, 10, 1_000).await;
    }
    for node in nodes.iter_mut() {
        if !node.received(|received| received.acked.contains_key(&(tick + 1))) {
            node.send(tick + 1, 10, 1_000).await;
        }
    }
    gone.stopped().await;
    agree(&aggregators, &BTreeMap::from([(tick, 60), (tick + 1, 60)]), 6).await;
    for node in &nodes {
        node.until_acked([tick + 1]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_follows_its_node_to_another_aggregator() {
    let aggregators = cluster(3).await;
    let mut node = TestNode::new("node-0", "even");
    node.connect(&aggregators[0].url()).await;
    let holder = node.aggregator().to_owned();
    let first = now() - 20;
    node.send(first, 10, 1_000).await;
    let mut watchers = Vec::new();
    for aggregator in &aggregators {
        let mut query = aggregator.query().await;
        // A start in the future begins with the next second.
        for from_tick in [first, now() + 3_600] {
            let asked = || v1::WatchNodeRequest { node_id: node.id.clone(), from_tick, ..Default::default() };
            let watch = eventually("a stream of the node", async || {
                query.watch_node(asked()).await.map_err(|status| status.to_string())
            });
            let mut watch = watch.await.into_inner();
            if from_tick == first {
                assert_eq!(watch.next().await.unwrap().unwrap().tick, first);
            }
            watchers.push((aggregator.name.clone(), from_tick, watch));
        }
    }
    // It moves twice: away from its owner, which stays alive, and on to the third one.
    let others = aggregators.iter().filter(|aggregator| aggregator.name != holder);
    for (other, tick) in others.zip(now() + 2..) {
        let moved = Instant::now();
        assert_eq!(node.connect(&other.url()).await, other.name);
        node.send(tick, 10, 1_000).await;
        for (name, from, watch) in &mut watchers {
            let next = tokio::time::timeout(support::LIMIT, watch.next()).await;
            let view = next.unwrap_or_else(|_| panic!("{name} never showed {tick}, from {from}")).unwrap().unwrap();
            assert_eq!(view.tick, tick, "at {name} from {from}");
            // After 15 s there, which a busy machine may take, it is sent back to its owner.
            if moved.elapsed() < Duration::from_secs(12) {
                assert_eq!(view.row.unwrap().aggregator_id, other.name);
            }
        }
    }
}
