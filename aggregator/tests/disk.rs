//! What an aggregator says of its disk, and what it does when that is full.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use starling_aggregator::Config;
use starling_proto::v1;
use support::{Aggregator, TestNode, cluster, eventually, now};

/// What `of` says of the disks of all aggregators, by name.
async fn stores(of: &Aggregator) -> Result<Vec<(String, Option<v1::HistoryStore>)>, String> {
    let list = of.cluster().await.list_aggregators(v1::ListAggregatorsRequest {}).await;
    let list = list.map_err(|status| status.to_string())?.into_inner();
    Ok(list.aggregators.into_iter().map(|one| (one.aggregator_id, one.history_store)).collect())
}

#[tokio::test]
async fn every_aggregator_says_what_the_disks_of_all_hold() {
    let aggregators = cluster(2).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregators[0].url()).await;
    let to = now() - 2;
    for tick in to - 30..=to {
        node.send(tick, 5, 1_000).await;
    }
    node.until_acked(to - 30..=to).await;
    for aggregator in &aggregators {
        eventually("both disks", async || {
            let stores = stores(aggregator).await?;
            let whole = |store: &Option<v1::HistoryStore>| {
                store.as_ref().is_some_and(|store| {
                    let names: Vec<&str> = store.tiers.iter().map(|tier| tier.name.as_str()).collect();
                    let limits = store.tiers.iter().all(|tier| tier.bytes_max() > 0);
                    names == ["1s", "10s", "1m", "1h"]
                        && limits
                        && store.log_bytes() > 0
                        && store.paused_since_tick == 0
                })
            };
            if stores.len() == 2 && stores.iter().all(|(_, store)| whole(store)) {
                Ok(())
            } else {
                Err(format!("{stores:?}"))
            }
        })
        .await;
    }
    for aggregator in aggregators {
        aggregator.stopped().await;
    }
    let without = Config {
        history: starling_aggregator::HistorySettings { enabled: false, ..Default::default() },
        ..Config::default()
    };
    let aggregator = Aggregator::start_with("solo", &[], without).await;
    let shown = eventually("the list", async || stores(&aggregator).await).await;
    assert_eq!(shown, [("solo".to_owned(), None)], "what is not kept is absent, not empty");
    aggregator.stopped().await;
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// How a series goes, as QueryRange has it: the values that there are.
async fn growth(of: &Aggregator, from_tick: u32, to_tick: u32) -> Result<Vec<(u32, f64)>, String> {
    let asked = v1::QueryRangeRequest {
        scope: Some(v1::Scope { node_id: "web-1".into(), ..Default::default() }),
        name: "traffic.requests".into(),
        statistics: vec!["increase".into()],
        from_tick,
        to_tick,
        step_seconds: 1,
        ..Default::default()
    };
    let answer = of.query().await.query_range(asked).await.map_err(|status| status.to_string())?.into_inner();
    let values = answer.series.iter().flat_map(|series| series.statistics[0].values.clone());
    let points = answer.points.iter().map(|point| point.tick).zip(values);
    Ok(points.filter(|(_, value)| !value.is_nan()).collect())
}

/// Scenario 8 with a running aggregator: the live view goes on, writing resumes by itself, nothing is lost.
#[tokio::test]
async fn a_full_disk_stops_nothing_but_the_writing() {
    let state = tempfile::tempdir().unwrap();
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "starling-test"]).arg(state.path()).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: this process may not mount a file system");
        return;
    }
    let mounted = Mounted(state.path().to_owned());
    let aggregator = Aggregator::start_in("solo", &[], Config::default(), state).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let first = now() - 120;
    let expected = |upto: u32| (first..=upto).map(|tick| (tick, f64::from(tick % 7 + 1))).collect::<Vec<_>>();
    let (before, last) = (first + 59, first + 110);
    for tick in first..=before {
        node.send(tick, u64::from(tick % 7 + 1), 1_000).await;
    }
    node.until_acked(first..=before).await;
    let foreign = mounted.0.join("foreign");
    let mut size = 8 << 20;
    while size > 0 && fs::write(&foreign, vec![1; size]).is_err() {
        size -= 4_096;
    }
    for tick in before + 1..=last {
        node.send(tick, u64::from(tick % 7 + 1), 1_000).await;
    }
    let paused = eventually("a disk that is full", async || {
        let store = stores(&aggregator).await?.remove(0).1.unwrap();
        if store.paused_since_tick > 0 { Ok(store) } else { Err(format!("{store:?}")) }
    })
    .await;
    assert!(paused.paused_reason.contains("No space left"), "{paused:?}");
    assert!(now() - paused.paused_since_tick < 60, "{paused:?}");
    eventually("the live view", async || {
        let shown = growth(&aggregator, first, last).await?;
        if shown == expected(last) { Ok(()) } else { Err(format!("{shown:?}")) }
    })
    .await;
    fs::remove_file(&foreign).unwrap();
    let freed = Instant::now();
    eventually("writing that resumes", async || {
        let store = stores(&aggregator).await?.remove(0).1.unwrap();
        if store.paused_since_tick == 0 { Ok(()) } else { Err(store.paused_reason) }
    })
    .await;
    assert!(freed.elapsed() < Duration::from_secs(10), "{:?}", freed.elapsed());
    node.until_acked(first..=last).await;
    let state = aggregator.stopped_with_state().await;
    // Twice: what the first start reads back it writes on.
    let again = Aggregator::start_in("solo", &[], Config::default(), state).await;
    let state = again.stopped_with_state().await;
    let again = Aggregator::start_in("solo", &[], Config::default(), state).await;
    eventually("all seconds after a restart", async || {
        let shown = growth(&again, first, last).await?;
        if shown == expected(last) { Ok(()) } else { Err(format!("{shown:?}")) }
    })
    .await;
    let state = again.stopped_with_state().await;
    drop(mounted);
    drop(state);
}

/// A file system that becomes read-only, as after an error of the disk, and can be written again: no more than writing stops, and it
/// goes on by itself.
#[tokio::test]
async fn a_file_system_that_becomes_read_only_stops_nothing_but_the_writing() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_owned();
    let aggregator = Aggregator::start_in("solo", &[], Config::default(), folder).await;
    let mount = |arguments: &[&str]| {
        let output = Command::new("mount").args(arguments).arg(&state).output();
        output.is_ok_and(|output| output.status.success())
    };
    // What is open stays open for writing, as it would; nothing can be begun.
    if !mount(&["--bind", state.to_str().unwrap()]) {
        println!("SKIPPED: this process may not mount a file system");
        return;
    }
    let mounted = Mounted(state.clone());
    assert!(mount(&["-o", "remount,bind,ro"]));
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    // A window that is over and is to be sealed.
    let first = (now() - 600) / 300 * 300;
    let last = first + 59;
    let expected: Vec<_> = (first..=last).map(|tick| (tick, f64::from(tick % 7 + 1))).collect();
    for tick in first..=last {
        node.send(tick, u64::from(tick % 7 + 1), 1_000).await;
    }
    node.until_acked(first..=last).await;
    eventually("a disk that cannot be written", async || {
        let store = stores(&aggregator).await?.remove(0).1.unwrap();
        if store.paused_reason.contains("Read-only file system") { Ok(()) } else { Err(format!("{store:?}")) }
    })
    .await;
    eventually("the live view", async || {
        let shown = growth(&aggregator, first, last).await?;
        if shown == expected { Ok(()) } else { Err(format!("{shown:?}")) }
    })
    .await;
    drop(mounted);
    eventually("writing that resumes", async || {
        let store = stores(&aggregator).await?.remove(0).1.unwrap();
        let sealed = store.tiers[0].segments.is_some_and(|segments| segments > 0);
        if store.paused_since_tick == 0 && sealed { Ok(()) } else { Err(format!("{store:?}")) }
    })
    .await;
    aggregator.stopped().await;
}
