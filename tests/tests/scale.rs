//! The load driver does what it says: its frames are taken, counted and acknowledged by a real aggregator.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{collections::HashMap, time::Duration};

use starling_proto::histogram::Histogram;
use starling_service::credentials::Security;
use starling_tests::{
    Cluster, eventually,
    swarm::{Shape, Swarm, SwarmConfig, Watch},
};

const NODES: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_frame_of_a_swarm_is_taken_and_acknowledged() {
    let cluster = Cluster::start(2).await;
    // 2,000 series: the first frame is larger than the window of a stream and has to wait for it.
    let shape = Shape { recordings: 10, period: 4, ..Shape::of(2_000) };
    let swarm = Swarm::start(SwarmConfig {
        targets: cluster.aggregators.iter().map(|aggregator| aggregator.address("grpc")).collect(),
        nodes: NODES,
        prefix: "swarm".into(),
        templates: shape.templates(2, 7),
        labels: Box::new(|i| HashMap::from([("zone".to_owned(), format!("z{}", i % 3))])),
        spread: Duration::from_millis(40),
        ramp: 40.0,
        tls: None,
    });
    let watch = Watch::start(cluster.aggregators[0].address("grpc"), Security::plain());
    eventually("all nodes are in several seconds when they are first shown", async || {
        let whole = watch.seen().values().filter(|seen| seen.first as usize == NODES).count();
        if whole >= 3 { Ok(()) } else { Err(format!("{:?}, {:?}", watch.seen(), swarm.counts())) }
    })
    .await;
    let counts = swarm.counts();
    assert_eq!(
        (counts.connected, counts.refused, counts.keyframe_requests, counts.lost),
        (NODES, 0, 0, 0),
        "{counts:?}"
    );
    assert!(counts.by.len() == 2 && counts.redirects > 0, "both aggregators own nodes: {counts:?}");
    eventually("frames are acknowledged", async || {
        let counts = swarm.counts();
        if counts.acked >= 3 * NODES as u64 { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    // What is shown is what the shape says: five protocols of ten values each, from every node.
    let view = cluster.view(1, 0).await.unwrap();
    let latency = view.sections.unwrap().traffic.unwrap().latency.unwrap();
    let reporting = u64::from(view.completeness.unwrap().nodes_reporting());
    assert_eq!(Histogram::decode(&latency.histogram).unwrap().count(), 50 * reporting);
}
