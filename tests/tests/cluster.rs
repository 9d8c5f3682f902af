//! Three aggregators as processes, nodes whose frames are known: every aggregator shows their sum, each frame once.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use starling_proto::histogram::Histogram;
use starling_tests::{Cluster, Known, Oracle, Program, eventually};

/// Checks one second at one aggregator against what the nodes sent.
async fn check(cluster: &Cluster, aggregator: usize, tick: u32, known: &Known) -> Result<(), String> {
    let view = cluster.view(aggregator, tick).await?;
    let completeness = view.completeness.unwrap_or_default();
    if completeness.nodes_reporting() != known.nodes {
        return Err(format!("tick {tick}: {} of {} nodes", completeness.nodes_reporting(), known.nodes));
    }
    let traffic = view.sections.as_ref().and_then(|is| is.traffic.as_ref()).ok_or("no traffic")?;
    let latency = traffic.latency.as_ref().ok_or("no latency")?;
    let histogram = Histogram::decode(&latency.histogram).map_err(|e| e.to_string())?;
    let seen = (
        traffic.requests_per_second(),
        traffic.errors_per_second(),
        view.sections.as_ref().and_then(|is| is.memory).ok_or("no memory")?.total_bytes(),
    );
    let wanted = (known.requests as f64, known.errors as f64, known.memory as f64);
    // Every node is in: from here on a difference is wrong for good, not early.
    assert_eq!(seen, wanted, "tick {tick} at aggregator {aggregator}");
    assert_eq!(histogram, known.latency, "tick {tick} at aggregator {aggregator}");
    let ledger = cluster.ledger(aggregator, tick).await?;
    assert!(ledger.conservation.as_ref().is_some_and(|c| c.balanced()), "{ledger:?}");
    assert_eq!((ledger.overlaps(), ledger.forks(), ledger.frames_counted()), (0, 0, known.nodes));
    Ok(())
}

/// Waits until every second shows the same, right sums at every aggregator in `alive`, and nothing is outstanding.
async fn settle(cluster: &Cluster, oracle: &Oracle, alive: &[usize]) {
    eventually("every frame is acknowledged", async || match oracle.outstanding() {
        (0, 0) => Ok(()),
        (unacked, lost) => Err(format!("{unacked} unacknowledged, {lost} lost, owners {:?}", oracle.owners())),
    })
    .await;
    for (&tick, known) in oracle.known() {
        for &aggregator in alive {
            eventually("all nodes are in", async || check(cluster, aggregator, tick, known).await).await;
        }
        let mut hashes = Vec::new();
        for &aggregator in alive {
            hashes.push(cluster.ledger(aggregator, tick).await.unwrap().view_hash);
        }
        assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "tick {tick}: {hashes:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_aggregators_show_the_sum_of_what_three_nodes_sent() {
    let cluster = Cluster::start(3).await;
    let mut oracle = Oracle::start(3, &cluster.seeds(), rand::random());
    for _ in 0..6 {
        oracle.cut().await;
    }
    settle(&cluster, &oracle, &[0, 1, 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_killed_aggregators_acknowledged_is_on_their_disks() {
    let mut cluster = Cluster::start(2).await;
    let mut oracle = Oracle::start(3, &cluster.seeds(), rand::random());
    for _ in 0..5 {
        oracle.cut().await;
    }
    settle(&cluster, &oracle, &[0, 1]).await;
    let newest = *oracle.known().keys().next_back().unwrap();
    let completeness = cluster.view(0, newest).await.unwrap().completeness.unwrap();
    assert_eq!((completeness.copies, completeness.copies_on_disk()), (2, 2));
    // The nodes have forgotten these frames: nobody holds them but the disks.
    cluster.aggregators.iter_mut().for_each(Program::kill);
    cluster.aggregators.iter_mut().for_each(Program::start_again);
    cluster.agree(2).await;
    oracle.cut().await;
    settle(&cluster, &oracle, &[0, 1]).await;
    // And from the disk of one alone.
    cluster.aggregators.iter_mut().for_each(Program::kill);
    cluster.aggregators[1].start_again();
    settle(&cluster, &oracle, &[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_aggregator_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start(3).await;
    let mut oracle = Oracle::start(9, &cluster.seeds(), rand::random());
    for _ in 0..3 {
        oracle.cut().await;
    }
    let victim = eventually("an aggregator holds a node", async || {
        let owners = oracle.owners();
        if owners.iter().any(Option::is_none) {
            return Err(format!("{owners:?}"));
        }
        owners[0]
            .as_deref()
            .and_then(|name| name.strip_prefix("agg-")?.parse::<usize>().ok())
            .ok_or(format!("{owners:?}"))
    })
    .await;
    // Frames are in flight: some acknowledged, some merged and not acknowledged, some only sent.
    oracle.cut().await;
    cluster.aggregators[victim - 1].kill();
    for _ in 0..5 {
        oracle.cut().await;
    }
    let alive: Vec<usize> = (0..3).filter(|&i| i != victim - 1).collect();
    settle(&cluster, &oracle, &alive).await;
    let name = format!("agg-{victim}");
    assert!(oracle.owners().iter().flatten().all(|owner| *owner != name), "{:?}", oracle.owners());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_aggregator_acknowledges_and_says_that_it_is_alone() {
    let cluster = Cluster::start(1).await;
    let mut oracle = Oracle::start(2, &cluster.seeds(), rand::random());
    for _ in 0..3 {
        oracle.cut().await;
    }
    settle(&cluster, &oracle, &[0]).await;
    let connected = oracle.uplinks()[0].stats().borrow().connected.clone().unwrap();
    assert!(connected.alone && connected.copies == 1, "{connected:?}");
    assert_eq!(cluster.view(0, 0).await.unwrap().completeness.unwrap().copies, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregator_that_leaves_hands_its_nodes_over() {
    let mut cluster = Cluster::start(3).await;
    let mut oracle = Oracle::start(6, &cluster.seeds(), rand::random());
    for _ in 0..3 {
        oracle.cut().await;
    }
    assert_eq!(cluster.aggregators[1].stop().await, Some(0));
    for _ in 0..4 {
        oracle.cut().await;
    }
    settle(&cluster, &oracle, &[0, 2]).await;
}
