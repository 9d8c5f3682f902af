//! Frames that nobody has acknowledged are on the disk of the daemon: whatever ends it, the next start hands them over.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{
    fs::{self, File},
    io::Write as _,
    process::Command,
    time::Duration,
};

use starling_testkit::eventually;
use starling_tests::{Cluster, Program, Scrape, this_second};

async fn metric(daemon: &Program, name: &str) -> Result<f64, String> {
    Ok(Scrape::of(daemon.address("admin")).await?.sum(name))
}

async fn all_is_acknowledged(daemon: &Program) {
    eventually("nothing waits for an acknowledgement", async || {
        let (unacknowledged, acknowledged) = (
            metric(daemon, "starling_node_frames_unacked").await?,
            metric(daemon, "starling_node_frames_acked_total").await?,
        );
        if unacknowledged <= 4.0 && acknowledged > 4.0 { Ok(()) } else { Err(format!("{unacknowledged}")) }
    })
    .await;
}

/// That both aggregators have the node in every second of `ticks`, once.
async fn have(cluster: &Cluster, ticks: impl Iterator<Item = u32>) {
    for tick in ticks {
        for at in 0..2 {
            eventually("the second holds the node", async || {
                let completeness = cluster.view(at, tick).await?.completeness.unwrap_or_default();
                let reporting = completeness.nodes_reporting();
                if reporting == 1 { Ok(()) } else { Err(format!("{tick} at {at}: {completeness:?}")) }
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_daemon_kept_is_handed_over_by_those_after_it() {
    let mut cluster = Cluster::start(2).await;
    let mut daemon = Program::daemon("web-1", &cluster.seeds(), &["shutdown_grace_secs=5"]);
    all_is_acknowledged(&daemon).await;
    let mut up = vec![this_second() - 3];
    cluster.aggregators.iter_mut().for_each(Program::kill);
    let mut seconds = Vec::new();
    // Killed twice, stopped in order once.
    for round in 0..3 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let killed = this_second();
        if round == 1 {
            assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
            assert!(daemon.log().contains("are on the disk for the next start"), "{}", daemon.log());
        } else {
            daemon.kill();
        }
        seconds.extend(up[round]..killed);
        daemon.start_again();
        // The first second of a start holds what is not a difference to one before.
        up.push(this_second() + 2);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let stream = |log: &str| log.lines().filter(|line| line.contains("frames of starts before")).count();
    assert_eq!(stream(&daemon.log()), 3, "{}", daemon.log());
    let recovered = metric(&daemon, "starling_node_frames_recovered_total").await.unwrap();
    assert!(recovered >= seconds.len() as f64 - 6.0, "{recovered} of {}", seconds.len());
    cluster.aggregators.iter_mut().for_each(Program::start_again);
    all_is_acknowledged(&daemon).await;
    seconds.extend(up[3]..this_second() - 3);
    println!("{} seconds, {recovered} of them read from the disk", seconds.len());
    have(&cluster, seconds.into_iter()).await;
    assert_eq!(metric(&daemon, "starling_node_frames_lost_total").await, Ok(0.0));
    assert_eq!(metric(&daemon, "starling_node_spool_unreadable_total").await, Ok(0.0));
    // One stream all the time: it was never told that one ended, and nobody took the node for two.
    for aggregator in &cluster.aggregators {
        assert!(!aggregator.log().contains("two daemons"), "{}", aggregator.log());
    }
    // What is acknowledged goes from the disk.
    eventually("the disk holds one segment", async || {
        let bytes = metric(&daemon, "starling_node_spool_bytes").await?;
        if bytes < 2.5e6 { Ok(()) } else { Err(format!("{bytes} bytes")) }
    })
    .await;
    assert_eq!(daemon.stop().await, Some(0));
    let left: Vec<_> = walk(&daemon.folder().join("spool"));
    assert!(left.iter().all(|name| name.ends_with("lock")), "a stream that ended leaves nothing: {left:?}");
}

/// The files below a folder.
fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            all.extend(walk(&entry.path()));
        } else {
            all.push(entry.path().display().to_string());
        }
    }
    all
}

/// A file system of its own, until this is dropped.
struct Small(tempfile::TempDir);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_costs_the_spool_only_and_that_comes_back() {
    let small = Small(tempfile::tempdir().unwrap());
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(small.0.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("left out: who runs this may not mount a file system");
        return;
    }
    let cluster = Cluster::start(1).await;
    let spool = format!("spool_dir={}", small.0.path().join("spool").display());
    let daemon = Program::daemon("web-1", &cluster.seeds(), &[&spool]);
    all_is_acknowledged(&daemon).await;
    let filler = small.0.path().join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write(&[7; 4096]).is_ok_and(|written| written > 0) {}
    eventually("the spool says so", async || {
        let failures = metric(&daemon, "starling_node_spool_failures_total").await?;
        if failures >= 1.0 { Ok(()) } else { Err(format!("{failures} failures")) }
    })
    .await;
    let from = this_second();
    tokio::time::sleep(Duration::from_secs(4)).await;
    for tick in from..from + 3 {
        let completeness = cluster.view(0, tick).await.unwrap().completeness.unwrap_or_default();
        assert_eq!(completeness.nodes_reporting(), 1, "the live view goes on: {tick}");
    }
    assert!(daemon.log().contains("No space left"), "{}", daemon.log());
    fs::remove_file(&filler).unwrap();
    drop(file);
    eventually("it writes again", async || {
        let bytes = metric(&daemon, "starling_node_spool_bytes").await?;
        if bytes > 0.0 { Ok(()) } else { Err(format!("{bytes} bytes")) }
    })
    .await;
}
