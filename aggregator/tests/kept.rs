//! What an aggregator still knows after a restart.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use starling_aggregator::{Config, Service};
use starling_proto::v1;
use starling_service::{Running, requests::RequestReports};
use support::{Aggregator, TestNode, eventually, now, requests_over};
use tokio_util::sync::CancellationToken;

/// The load of a node by second, as GetSeries has it.
async fn requests(aggregator: &Aggregator, from_tick: u32) -> Result<Vec<(u32, f64)>, String> {
    let asked = v1::GetSeriesRequest {
        node_id: "web-1".into(),
        name: "traffic.requests".into(),
        total: true,
        statistics: vec!["value".into()],
        from_tick,
        ..v1::GetSeriesRequest::default()
    };
    let answer = aggregator.query().await.get_series(asked).await.map_err(|status| status.to_string())?.into_inner();
    let values = answer.series.iter().flat_map(|series| series.statistics.iter().flat_map(|one| one.values.clone()));
    let points = answer.points.iter().map(|point| point.tick).zip(values);
    Ok(points.filter(|(_, value)| !value.is_nan()).collect())
}

#[tokio::test]
async fn the_open_seconds_of_a_node_are_there_after_a_restart_and_go_on() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let first = now() - 400;
    for tick in first..first + 400 {
        node.send(tick, u64::from(tick % 17), 1_000).await;
    }
    node.until_acked(first..first + 400).await;
    let before = requests(&aggregator, first).await.unwrap();
    assert_eq!(before.len(), 400);
    let state = aggregator.stopped_with_state().await;

    let again = Aggregator::start_in("solo", &[], Config::default(), state).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&again.url()).await;
    let next = now();
    node.send(next, 5, 1_000).await;
    let after = eventually("the new second", async || {
        let points = requests(&again, first).await?;
        if points.last().is_some_and(|(tick, _)| *tick == next) { Ok(points) } else { Err(format!("{points:?}")) }
    })
    .await;
    assert_eq!(&after[..400], &before[..]);
    assert_eq!((after.len(), after[400]), (401, (next, 5.0)));
    again.stopped().await;
}

/// Segments of the finest tier.
fn segments(aggregator: &Aggregator) -> usize {
    let folder = aggregator.state().join("history/segments/1s");
    let files =
        std::fs::read_dir(folder).map(|files| files.filter_map(Result::ok).collect::<Vec<_>>()).unwrap_or_default();
    files.iter().filter(|file| file.path().extension().is_some_and(|is| is == "seg")).count()
}

#[tokio::test]
async fn windows_that_are_over_are_on_the_disk_of_node_cluster_and_group() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let start = (now() - 800).next_multiple_of(300);
    for tick in start..start + 300 {
        node.send(tick, u64::from(tick % 17), 1_000).await;
    }
    node.until_acked(start..start + 300).await;
    eventually("a sealed window", async || match segments(&aggregator) {
        0 => Err("no segment".to_owned()),
        _ => Ok(()),
    })
    .await;
    // The node's block is sealed after ten seconds without a new one, the cluster at once: both are there then.
    let of_node = || v1::Scope { node_id: "web-1".into(), ..v1::Scope::default() };
    let of_zone = || v1::Scope { group: "zone:a".into(), ..v1::Scope::default() };
    let expected: Vec<(u32, f64)> = (start..start + 300).map(|tick| (tick, f64::from(tick % 17))).collect();
    let before = requests_over(&aggregator, of_node(), [start, start + 299, 1]).await.unwrap();
    assert_eq!(before, expected);
    eventually("the node on the disk", async || match segments(&aggregator) {
        0 | 1 => Err("one segment".to_owned()),
        _ => Ok(()),
    })
    .await;
    let state = aggregator.stopped_with_state().await;
    // Only what was sealed is left.
    std::fs::remove_dir_all(state.path().join("history/log")).unwrap();
    let again = Aggregator::start_in("solo", &[], Config::default(), state).await;
    let mut node = TestNode::new("web-2", "a");
    node.connect(&again.url()).await;
    node.send(now(), 1, 1_000).await;
    for scope in [of_node(), v1::Scope::default(), of_zone()] {
        let after =
            eventually("an answer", async || requests_over(&again, scope.clone(), [start, start + 299, 1]).await).await;
        assert_eq!(after, expected, "{scope:?}");
        let minutes = requests_over(&again, scope.clone(), [start, start + 299, 60]).await.unwrap();
        assert_eq!(minutes.len(), 5);
        let (sum, all) =
            (minutes.iter().map(|(_, sum)| sum).sum::<f64>(), expected.iter().map(|(_, one)| one).sum::<f64>());
        assert!((sum - all).abs() < 1e-9, "{scope:?}: {minutes:?}");
    }
    again.stopped().await;
}

#[tokio::test]
async fn two_processes_on_one_folder_are_refused_with_the_name_of_the_setting() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let free = "127.0.0.1:0".parse().unwrap();
    let config = Config {
        grpc_listen: free,
        gossip_listen: free,
        admin_listen: free,
        state_dir: aggregator.state().to_owned(),
        requests: RequestReports::off(),
        ..Config::default()
    };
    let Err(refused) = Running::start::<Service>(config, CancellationToken::new()).await else {
        panic!("two aggregators have one folder")
    };
    let text = format!("{refused:#}");
    assert!(text.starts_with("state_dir: ") && text.contains("in use by another process"), "{text}");
    aggregator.stopped().await;
}
