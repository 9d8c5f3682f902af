//! What an aggregator still knows after a restart.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use starling_aggregator::{Config, Service};
use starling_proto::v1;
use starling_service::{Running, requests::RequestReports};
use support::{Aggregator, TestNode, eventually, now};
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
