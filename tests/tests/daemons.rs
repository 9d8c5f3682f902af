//! Real daemons of this host: the cluster is the sum of its nodes, second for second, also across a kill.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::BTreeMap;

use starling_proto::v1::{GetSeriesRequest, NodeView, Sections, WatchNodeRequest};
use starling_tests::{Cluster, Oracle, Program, eventually};

const NODES: u32 = 3;

fn daemons(cluster: &Cluster) -> Vec<Program> {
    let zone = |i: u32| format!("labels.zone=z{}", i % 2);
    (0..NODES).map(|i| Program::daemon(&format!("host-{i}"), &cluster.seeds(), &[&zone(i)])).collect()
}

/// The newest second with all nodes in it, as one aggregator sees it.
async fn whole_second(cluster: &Cluster, aggregator: usize) -> u32 {
    eventually("a second holds every node", async || {
        let view = cluster.view(aggregator, 0).await?;
        let completeness = view.completeness.unwrap_or_default();
        if completeness.nodes_reporting() == NODES { Ok(view.tick) } else { Err(format!("{completeness:?}")) }
    })
    .await
}

/// One node at one second, asked of an aggregator that may not hold its stream.
async fn node_at(cluster: &Cluster, aggregator: usize, node_id: String, tick: u32) -> NodeView {
    let request = WatchNodeRequest { node_id, from_tick: tick, ..Default::default() };
    let mut views = eventually("the aggregator knows the node", async || {
        let answer = cluster.query(aggregator).await.watch_node(request.clone()).await;
        answer.map(tonic::Response::into_inner).map_err(|status| status.to_string())
    })
    .await;
    let view = views.message().await.unwrap().expect("a first view");
    assert_eq!(view.tick, tick, "the stream starts where it was asked to");
    view
}

/// What adds up over nodes, by name; `None` when a collector was late in that second, as on a busy host.
fn figures(sections: &Sections) -> Option<BTreeMap<String, f64>> {
    let (memory, network, disk) = (sections.memory?, sections.network?, sections.disk?);
    let (connections, cpu) = (sections.connections.as_ref()?, sections.cpu.as_ref()?);
    let mut figures = BTreeMap::from([
        ("memory.total".to_owned(), memory.total_bytes()),
        ("memory.free".to_owned(), memory.free_bytes?),
        ("memory.application".to_owned(), memory.application_bytes?),
        ("network.received".to_owned(), network.received_bytes_per_second?),
        ("network.packets".to_owned(), network.sent_packets_per_second?),
        ("disk.written".to_owned(), disk.written_bytes_per_second?),
        ("filesystem.used".to_owned(), disk.filesystem_used_bytes?),
        ("tcp.segments".to_owned(), connections.segments_sent_per_second?),
        ("tcp.total".to_owned(), connections.total?),
        ("cpu.cores".to_owned(), cpu.cores?),
    ]);
    for (state, n) in &connections.by_state {
        figures.insert(format!("tcp.{state}"), *n);
    }
    Some(figures)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_is_the_sum_of_its_daemons_at_every_aggregator() {
    let cluster = Cluster::start(3).await;
    let _daemons = daemons(&cluster);
    let (tick, nodes) = eventually("every collector is in time in one second", async || {
        let tick = whole_second(&cluster, 0).await;
        let mut nodes = Vec::new();
        for i in 0..NODES {
            let mut seen_by = Vec::new();
            for aggregator in 0..3 {
                let view = node_at(&cluster, aggregator, format!("host-{i}"), tick).await;
                let late = || format!("a collector of host-{i} was late in {tick}");
                seen_by.push(figures(&view.sections.unwrap()).ok_or_else(late)?);
            }
            nodes.push(seen_by);
        }
        Ok((tick, nodes))
    })
    .await;
    let mut wanted = BTreeMap::<String, f64>::new();
    for (i, seen_by) in nodes.into_iter().enumerate() {
        assert!(seen_by.windows(2).all(|pair| pair[0] == pair[1]), "aggregators differ on host-{i}: {seen_by:?}");
        for (name, figure) in &seen_by[0] {
            *wanted.entry(name.clone()).or_default() += figure;
        }
    }
    assert!(wanted["memory.total"] > 0.0 && wanted["cpu.cores"] >= f64::from(NODES), "{wanted:?}");
    for aggregator in 0..3 {
        let view = eventually("the second is whole here too", async || {
            let view = cluster.view(aggregator, tick).await?;
            let reporting = view.completeness.as_ref().map_or(0, |c| c.nodes_reporting());
            if reporting == NODES { Ok(view) } else { Err(format!("{reporting} nodes")) }
        })
        .await;
        assert_eq!(figures(&view.sections.unwrap()), Some(wanted.clone()), "tick {tick} at aggregator {aggregator}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_second_of_a_daemon_is_lost_or_doubled_when_its_aggregator_is_killed() {
    let mut cluster = Cluster::start(3).await;
    let daemons = daemons(&cluster);
    let first = whole_second(&cluster, 0).await;
    // A new node is in the table of another aggregator a moment after its first second is in the sums.
    let holder = eventually("another aggregator knows who holds the node", async || {
        let wanted = starling_proto::v1::GetNodeRequest { node_id: "host-0".into(), ..Default::default() };
        let answer = cluster.query(1).await.get_node(wanted).await.map_err(|status| status.to_string())?;
        let holder = answer.into_inner().row.map(|row| row.aggregator_id).unwrap_or_default();
        if holder.is_empty() { Err("nobody".to_owned()) } else { Ok(holder) }
    })
    .await;
    let victim: usize = holder.strip_prefix("agg-").unwrap().parse().unwrap();
    cluster.aggregators[victim - 1].kill();
    let killed_at = Oracle::now();
    let survivors: Vec<usize> = (0..3).filter(|&i| i != victim - 1).collect();
    let last = eventually("seconds after the kill hold every node", async || {
        let view = cluster.view(survivors[0], 0).await?;
        let reporting = view.completeness.as_ref().map_or(0, |c| c.nodes_reporting());
        if reporting == NODES && view.tick > killed_at + 3 {
            Ok(view.tick)
        } else {
            Err(format!("{reporting} at {}", view.tick))
        }
    })
    .await;
    for &aggregator in &survivors {
        for tick in first..=last {
            eventually("the second is whole", async || {
                let ledger = cluster.ledger(aggregator, tick).await?;
                assert!(ledger.conservation.as_ref().is_some_and(|c| c.balanced()), "{ledger:?}");
                assert_eq!((ledger.overlaps(), ledger.forks()), (0, 0), "{ledger:?}");
                assert!(ledger.frames_counted() <= NODES, "doubled: {ledger:?}");
                if ledger.frames_counted() == NODES {
                    Ok(())
                } else {
                    Err(format!("tick {tick}: {} frames", ledger.frames_counted()))
                }
            })
            .await;
        }
    }
    drop(daemons);
}

/// An aggregator that started again has the seconds of a node that did not come back, and gives them out.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_seconds_of_a_node_that_is_gone_outlive_a_restart_of_the_aggregator() {
    let mut cluster = Cluster::start(1).await;
    let mut daemon = Program::daemon("host-0", &cluster.seeds(), &[]);
    let first = eventually("five seconds", async || {
        let newest = cluster.view(0, 0).await?.tick;
        cluster.view(0, newest - 5).await.and_then(|view| {
            match view.completeness.unwrap_or_default().nodes_reporting() {
                1 => Ok(view.tick),
                other => Err(format!("{other} nodes")),
            }
        })
    })
    .await;
    daemon.kill();
    // Written within a second.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    cluster.aggregators[0].start_again();
    let asked = GetSeriesRequest {
        node_id: "host-0".into(),
        name: "system.cpu.utilization".into(),
        from_tick: first,
        to_tick: first + 4,
        ..Default::default()
    };
    eventually("its seconds", async || {
        let answer =
            cluster.query(0).await.get_series(asked.clone()).await.map_err(|status| status.to_string())?.into_inner();
        let there = answer.points.iter().filter(|point| point.seconds == Some(1)).count();
        if there == 5 && answer.series.len() == 1 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}
