//! Remote write as a receiver sees it that keeps everything and does as it is told.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod receiver;
mod support;

use std::time::{Duration, Instant};

use receiver::{Answer, Receiver};
use starling_aggregator::{Config, RemoteWriteSettings, WriteVersion};
use starling_testkit::{eventually, growth};
use support::{Aggregator, TestNode, now};

/// Requests per second of a node at a second.
fn requests(tick: u32) -> u64 {
    u64::from(tick % 10) + 1
}

fn writing(receiver: &Receiver, protocol: WriteVersion) -> Config {
    let remote_write = RemoteWriteSettings {
        url: Some(receiver.url()),
        protocol,
        gather: Duration::from_secs(1),
        external_labels: [("cluster".to_owned(), "c1".to_owned())].into(),
        ..RemoteWriteSettings::default()
    };
    Config { remote_write, ..Config::default() }
}

/// A counter of the aggregator itself, over all its labels.
async fn counted(aggregator: &Aggregator, name: &str) -> f64 {
    let url = format!("http://{}/metrics", aggregator.service.address("admin").unwrap());
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let name = format!("starling_aggregator_remote_write_{name}");
    let of_name = |line: &&str| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{']));
    text.lines().filter(of_name).map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

/// Sends seconds from `from` on as they end, until `to`.
async fn live(node: &mut TestNode, from: u32, to: u32) {
    for tick in from..=to {
        while now() < tick {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        node.send(tick, requests(tick), 2_000).await;
    }
}

const NODE: &str = "traffic_requests_total{cluster=\"c1\",node=\"web-1\",protocol=\"grpc\",zone=\"a\"}";
const CLUSTER: &str = "cluster:traffic_requests_total{cluster=\"c1\",protocol=\"grpc\"}";
const GROUP: &str = "group:traffic_requests_total{cluster=\"c1\",protocol=\"grpc\",zone=\"a\"}";
const DURATION: &str = "cluster:traffic_duration_seconds{cluster=\"c1\",protocol=\"grpc\"}";

/// Samples of whole seconds, as seconds and values.
fn whole(samples: &[(i64, f64)]) -> Vec<(f64, f64)> {
    samples.iter().filter(|(time, _)| time % 1_000 == 0).map(|(time, value)| (*time as f64 / 1_000.0, *value)).collect()
}

/// Waits until `series` has all seconds up to `to`.
async fn until_sent(receiver: &Receiver, series: &str, to: u32) {
    eventually("the last second at the receiver", async || {
        let last = receiver.samples(series).iter().map(|one| one.0).filter(|time| time % 1_000 == 0).max();
        if last >= Some(i64::from(to) * 1_000) {
            Ok(())
        } else {
            Err(format!("{last:?}, wanted {to} in {:?}", receiver.names()))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_second_of_each_series_is_sent_once_and_a_node_that_is_gone_ends() {
    for protocol in [WriteVersion::One, WriteVersion::Two] {
        let receiver = Receiver::start().await;
        let aggregator = Aggregator::start_with("solo", &[], writing(&receiver, protocol)).await;
        let mut node = TestNode::new("web-1", "a");
        node.connect(&aggregator.url()).await;
        let from = now();
        live(&mut node, from, from + 11).await;
        for series in [NODE, CLUSTER, GROUP] {
            until_sent(&receiver, series, from + 11).await;
            let samples = receiver.samples(series);
            assert!(samples.is_sorted_by(|a, b| a.0 < b.0), "{series}: {samples:?}");
            // A zero before the first, then every second.
            assert_eq!(samples[0], (i64::from(from) * 1_000 - 500, 0.0), "{series}");
            let ticks: Vec<u32> = whole(&samples).iter().map(|one| one.0 as u32).collect();
            assert_eq!(ticks, (from..=from + 11).collect::<Vec<_>>(), "{series}");
            let sent: Vec<(f64, f64)> = samples.iter().map(|one| (one.0 as f64, one.1)).collect();
            assert_eq!(growth(&sent), (from..=from + 11).map(requests).sum::<u64>() as f64, "{series}");
        }
        let counts = whole(&receiver.samples(DURATION));
        assert_eq!(counts.last().unwrap().1, (from..=from + 11).map(requests).sum::<u64>() as f64);
        let load: Vec<f64> = whole(&receiver.samples("cluster:system_cpu_utilization_ratio{cluster=\"c1\"}"))
            .iter()
            .map(|one| one.1)
            .collect();
        assert_eq!(load, [0.5; 12]);
        if protocol == WriteVersion::Two {
            // Kind and start of a counter.
            assert_eq!(receiver.about(NODE), Some((1, i64::from(from - 1) * 1_000)));
        }

        // Scenario 25: three seconds are missed, which is no end; then no word any more.
        live(&mut node, from + 15, from + 16).await;
        until_sent(&receiver, NODE, from + 16).await;
        assert!(receiver.samples(NODE).iter().all(|one| !one.1.is_nan()), "{:?}", receiver.samples(NODE));
        drop(node);
        let gone = Instant::now();
        let ended = eventually("a stale marker of each series of the node", async || {
            let of_node: Vec<String> = receiver.names().into_iter().filter(|name| name.contains("node=")).collect();
            let open = of_node.iter().filter(|name| !receiver.has_ended(name)).count();
            if open == 0 { Ok(of_node.len()) } else { Err(format!("{open} of {of_node:?} have not ended")) }
        })
        .await;
        assert!(ended > 5 && gone.elapsed() < Duration::from_secs(12), "{ended} in {:?}", gone.elapsed());
        let last = *receiver.samples(NODE).last().unwrap();
        assert_eq!(last.0, i64::from(from + 16) * 1_000 + 250);
        eventually("everything counted", async || {
            let (queued, sent) =
                (counted(&aggregator, "samples_queued_total").await, counted(&aggregator, "samples_sent_total").await);
            let (dropped, waiting) =
                (counted(&aggregator, "samples_dropped_total").await, counted(&aggregator, "samples_waiting").await);
            if (dropped, waiting) == (0.0, 0.0) && queued == sent && sent > 100.0 {
                Ok(())
            } else {
                Err(format!("{queued} {sent} {dropped} {waiting}"))
            }
        })
        .await;
        aggregator.stopped().await;
    }
}

/// Scenario 23.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_cannot_is_given_time_and_one_that_refuses_is_not_asked_twice() {
    let receiver = Receiver::start().await;
    let slow_down = Answer { status: 429, retry_after: Some(2), text: "slow down" };
    let busy = Answer { status: 503, retry_after: None, text: "busy" };
    let wrong = Answer { status: 400, retry_after: None, text: "out of bounds" };
    receiver.answers([slow_down, slow_down, busy, busy, busy, wrong]);
    let aggregator = Aggregator::start_with("solo", &[], writing(&receiver, WriteVersion::One)).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let from = now();
    live(&mut node, from, from + 8).await;
    until_sent(&receiver, NODE, from + 8).await;
    let asked = receiver.requests();
    let pauses: Vec<Duration> = asked.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(pauses[..2].iter().all(|pause| *pause >= Duration::from_secs(2)), "{pauses:?}");
    // Half of 0.5 s, 1 s, 2 s at least, as the first two count too; never at once.
    assert!(pauses[2..5].iter().all(|pause| *pause >= Duration::from_millis(500)), "{pauses:?}");
    // The same request until it is done, and then the next one at once.
    assert!(asked[..6].windows(2).all(|pair| pair[0].body == pair[1].body), "one body");
    assert!(asked[6].body != asked[5].body && pauses[5] < Duration::from_millis(500), "{pauses:?}");
    assert_eq!(receiver.at_once(), 1);
    let refused = asked[5].samples as f64;
    assert_eq!(counted(&aggregator, "samples_dropped_total").await, refused);
    // All that was not refused is there: in order, each second once.
    let ticks: Vec<u32> = whole(&receiver.samples(NODE)).iter().map(|one| one.0 as u32).collect();
    assert!(ticks.windows(2).all(|pair| pair[1] == pair[0] + 1) && ticks.last() == Some(&(from + 8)), "{ticks:?}");
    aggregator.stopped().await;
}

/// Scenario 22: what waits survives an end of the process; the live view does not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_missed_is_sent_by_the_next_process() {
    let receiver = Receiver::start().await;
    receiver.down();
    let aggregator = Aggregator::start_with("solo", &[], writing(&receiver, WriteVersion::One)).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let from = now();
    live(&mut node, from, from + 4).await;
    node.until_acked(from..=from + 4).await;
    let query = aggregator.query().await;
    eventually("a live view of the last second", async || {
        let view = query.clone().get_cluster(starling_proto::v1::GetClusterRequest::default()).await;
        let tick = view.map_err(|status| status.to_string())?.into_inner().tick;
        if tick >= from + 4 { Ok(()) } else { Err(format!("{tick}, wanted {}", from + 4)) }
    })
    .await;
    let state = aggregator.stopped_with_state().await;
    let aggregator = Aggregator::start_in("solo", &[], writing(&receiver, WriteVersion::One), state).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    // Not in a second that it sent before.
    let again = now().max(from + 5);
    live(&mut node, again, again + 3).await;
    node.until_acked(again..=again + 3).await;
    assert_eq!(receiver.requests().iter().filter(|one| one.status < 300).count(), 0);
    receiver.up();
    for series in [NODE, CLUSTER] {
        until_sent(&receiver, series, again + 3).await;
        let samples = receiver.samples(series);
        assert!(samples.is_sorted_by(|a, b| a.0 < b.0), "{samples:?}");
        let ticks: Vec<u32> = whole(&samples).iter().map(|one| one.0 as u32).collect();
        assert_eq!(ticks, (from..=from + 4).chain(again..=again + 3).collect::<Vec<_>>(), "{series}");
        let sent: Vec<(f64, f64)> =
            samples.iter().filter(|one| !one.1.is_nan()).map(|one| (one.0 as f64, one.1)).collect();
        assert_eq!(growth(&sent), ticks.iter().map(|tick| requests(*tick)).sum::<u64>() as f64, "{series}");
    }
    aggregator.stopped().await;
}

/// Once per series, whoever is asked: of two aggregators each sends its nodes, and one the cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_aggregators_each_series_comes_from_one() {
    let receiver = Receiver::start().await;
    let first = Aggregator::start_with("agg-1", &[], writing(&receiver, WriteVersion::One)).await;
    let second = Aggregator::start_with("agg-2", &[first.gossip()], writing(&receiver, WriteVersion::One)).await;
    eventually("two ready members", async || {
        let list = second.cluster().await.list_aggregators(starling_proto::v1::ListAggregatorsRequest {}).await;
        let list = list.map_err(|status| status.to_string())?.into_inner().aggregators;
        let ready = list.iter().filter(|one| one.state() == starling_proto::v1::AggregatorState::Ready).count();
        if ready == 2 { Ok(()) } else { Err(format!("{list:?}")) }
    })
    .await;
    let mut nodes = [TestNode::new("web-1", "a"), TestNode::new("web-2", "a")];
    nodes[0].connect_here(&first.url()).await;
    nodes[1].connect_here(&second.url()).await;
    let from = now();
    for tick in from..=from + 12 {
        for node in &mut nodes {
            live(node, tick, tick).await;
        }
    }
    for series in [NODE, &NODE.replace("web-1", "web-2"), CLUSTER, GROUP] {
        until_sent(&receiver, series, from + 12).await;
        let samples = receiver.arrived(series);
        // In the order of arrival: nothing twice, nothing of another.
        assert!(samples.is_sorted_by(|a, b| a.0 < b.0), "{series}: {samples:?}");
        let sent: Vec<(f64, f64)> =
            samples.iter().filter(|one| !one.1.is_nan()).map(|one| (one.0 as f64, one.1)).collect();
        let (last, value) = whole(&samples).last().copied().unwrap();
        let nodes = if series.contains("node=") { 1.0 } else { 2.0 };
        let begun = whole(&samples)[0].0 as u32;
        assert_eq!(growth(&sent), nodes * (begun..=last as u32).map(requests).sum::<u64>() as f64, "{series}: {value}");
    }
    drop(nodes);
    first.stopped().await;
    second.stopped().await;
}
