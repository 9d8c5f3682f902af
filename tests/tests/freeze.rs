//! Tables that fill up, in another order at every aggregator: no log freezes, no node vanishes. Both loads once froze
//! honest logs, with default settings and without malice.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use starling_proto::{
    catalogue::{Kind, Scope},
    frame::Content,
    series::{Sample, Series, Value},
};
use starling_tests::{
    Cluster, Oracle, Scrape, eventually, every_log_advances, same_view,
    swarm::{Shape, Swarm, SwarmConfig, Template},
};

const AGGREGATORS: usize = 5;

fn swarm(cluster: &Cluster, prefix: &str, templates: Vec<Arc<Template>>, nodes: usize, zones: usize) -> Swarm {
    Swarm::start(SwarmConfig {
        targets: cluster.aggregators.iter().map(|aggregator| aggregator.address("grpc")).collect(),
        nodes,
        prefix: prefix.into(),
        templates,
        labels: Box::new(move |i| HashMap::from([("zone".to_owned(), format!("zone-{}", i % zones))])),
        spread: Duration::from_millis(200),
        ramp: 200.0,
        tls: None,
    })
}

/// A usual small node.
fn usual() -> Vec<Arc<Template>> {
    Shape { recordings: 20, period: 4, ..Shape::of(40) }.templates(2, 3)
}

/// Every aggregator shows all nodes, all logs advance, views are equal, everybody is ready.
async fn all_is_well(cluster: &Cluster, nodes: usize) {
    let members = cluster.members();
    eventually(&format!("every aggregator shows {nodes} nodes"), async || {
        for i in 0..AGGREGATORS {
            let reporting = cluster.view(i, 0).await?.completeness.unwrap_or_default().nodes_reporting();
            if reporting as usize != nodes {
                return Err(format!("aggregator {} shows {reporting} of {nodes}", i + 1));
            }
        }
        Ok(())
    })
    .await;
    every_log_advances(&members).await.unwrap();
    // Three seconds back everything has settled.
    let tick = Oracle::now() - 3;
    eventually("the views are equal", async || same_view(&members, tick).await).await;
    for member in &members {
        eventually("everybody is ready", async || member.ready().await).await;
    }
}

/// The sum over all aggregators of the metrics of which the name holds one of `texts`.
async fn counted(cluster: &Cluster, texts: &[&str]) -> f64 {
    let mut sum = 0.0;
    for aggregator in &cluster.aggregators {
        let scrape = Scrape::of(aggregator.address("admin")).await.unwrap();
        sum += texts.iter().flat_map(|text| scrape.containing(text)).map(|(_, value)| value).sum::<f64>();
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_zones_freeze_nothing() {
    let cluster = Cluster::start(AGGREGATORS).await;
    let _nodes = swarm(&cluster, "zoned", usual(), 500, 500);
    all_is_well(&cluster, 500).await;
    // 64 groups an aggregator by default: further ones are one group by name, and counted.
    let left_out = counted(&cluster, &["groups_other_total"]).await;
    assert!(left_out > 0.0, "groups beyond the limit are counted");
}

/// 4,096 counters that no process has seen before: half of them new names, half new values of an attribute.
fn new_names(node: usize) -> Arc<Template> {
    let series: Vec<Series> = (0..4_096)
        .map(|i| {
            let (name, user) = match i % 2 {
                0 => (format!("app.new.n{node}_{i}"), "all".to_owned()),
                _ => ("app.logins".to_owned(), format!("user-{node}-{i}")),
            };
            let attributes = [("user", user.as_str())];
            Series::application(&name, &attributes, Kind::Counter, "1", 0, Scope::Cluster).unwrap()
        })
        .collect();
    let content = |tick| Content {
        tick,
        samples: series.iter().map(|series| Sample { series: series.clone(), value: Value::Counter(1) }).collect(),
        dropped: 0,
    };
    Arc::new(Template::of(&[content(0), content(1)]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_thousand_new_names_freeze_nothing() {
    let cluster = Cluster::start(AGGREGATORS).await;
    let usual = swarm(&cluster, "usual", usual(), 8, 2);
    eventually("the usual nodes are connected", async || match usual.counts().connected {
        8 => Ok(()),
        connected => Err(format!("{connected} of 8")),
    })
    .await;
    let names: Vec<Arc<Template>> = (0..3).map(new_names).collect();
    let naming = swarm(&cluster, "naming", names, 3, 2);
    eventually("the new names are sent to two aggregators at least", async || match naming.counts() {
        counts if counts.sent >= 6 && counts.by.len() >= 2 => Ok(()),
        counts => Err(format!("{counts:?}")),
    })
    .await;
    all_is_well(&cluster, 11).await;
    let left_out = counted(&cluster, &["samples_to_other_total", "samples_left_out_total", "values_other_total"]).await;
    assert!(left_out > 0.0, "samples beyond the tables are counted");
    let counts = naming.counts();
    assert_eq!((counts.refused, counts.lost, counts.broken), (0, 0, 0), "{counts:?}");
    eventually("their frames are acknowledged", async || match naming.counts().acked {
        acked if acked >= 6 => Ok(()),
        acked => Err(format!("{acked}")),
    })
    .await;
}
