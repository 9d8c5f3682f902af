//! Who did it: the cluster answers which command used its processors at a given second, over nodes and their rest.
//!
//! The hosts are made up: two folders that look like `/proc`, whose counters this test moves, so that the right answer is
//! known.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use starling_proto::v1::{GetSeriesRequest, SeriesAnswer};
use starling_tests::{Cluster, Program, eventually};

/// Of the 200 ticks a second that two processors have.
const JAVA: [u64; 2] = [80, 40];
const POSTGRES: u64 = 30;
/// What no process is named for.
const REST: u64 = 10;
const TICKS: u64 = 200;

/// One made-up host.
struct Host {
    files: HashMap<&'static str, File>,
    java: u64,
}

impl Host {
    fn new(proc: &Path, java: u64) -> Self {
        let file = |name: &'static str| {
            let path = proc.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            (name, File::create(path).unwrap())
        };
        let host = Self { files: ["stat", "10/stat", "11/stat"].map(file).into(), java };
        host.at(Duration::ZERO);
        host
    }

    /// Numbers of one width, written in one go: whoever reads meanwhile sees the old ones or the new.
    fn at(&self, time: Duration) {
        let ticks = |a_second: u64| 1_000_000 + time.as_millis() as u64 * a_second / 1_000;
        let busy = ticks(self.java + POSTGRES + REST);
        let half = |ticks: u64| ticks / 2;
        let idle = ticks(TICKS - self.java - POSTGRES - REST);
        let core = |n: u8| format!("cpu{n} {:010} 0 0 {:010} 0 0 0 0 0 0\n", half(busy), half(idle));
        let stat = format!("cpu  {busy:010} 0 0 {idle:010} 0 0 0 0 0 0\n{}{}btime 1795450244\n", core(0), core(1));
        let process = |pid: u8, name: &str, used: u64| {
            format!("{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 {used:010} 0 0 0 20 0 1 0 5 1000 10 0\n")
        };
        for (name, text) in [
            ("stat", stat),
            ("10/stat", process(10, "java", ticks(self.java))),
            ("11/stat", process(11, "postgres", ticks(POSTGRES))),
        ] {
            self.files[name].write_all_at(text.as_bytes(), 0).unwrap();
        }
    }
}

/// What the cluster says of `name` in the last 20 seconds, as one aggregator sees it.
async fn asked(cluster: &Cluster, aggregator: usize, name: &str) -> Result<SeriesAnswer, String> {
    let to_tick = cluster.view(aggregator, 0).await?.tick;
    let request = GetSeriesRequest { name: name.to_owned(), from_tick: to_tick - 9, to_tick, ..Default::default() };
    let answer = cluster.query(aggregator).await.get_series(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.to_string())
}

/// The mean of each command over the seconds that hold both nodes; an error while there are fewer than eight.
fn means(answer: &SeriesAnswer) -> Result<HashMap<String, f64>, String> {
    let whole: Vec<usize> =
        (0..answer.points.len()).filter(|&at| answer.points[at].nodes_reporting == Some(2)).collect();
    if whole.len() < 8 {
        return Err(format!("{} of 8 seconds", whole.len()));
    }
    let mean = |values: &[f64]| {
        let sum: f64 = whole.iter().map(|&at| values[at]).filter(|value| value.is_finite()).sum();
        sum / whole.len() as f64
    };
    let series = answer.series.iter().filter_map(|series| {
        Some((series.attributes.get("process.executable.name")?.clone(), mean(&series.statistics.first()?.values)))
    });
    Ok(series.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_says_which_command_used_its_processors() {
    let folder = tempfile::tempdir().unwrap();
    let hosts: Vec<Host> =
        JAVA.iter().enumerate().map(|(i, java)| Host::new(&folder.path().join(format!("proc-{i}")), *java)).collect();
    let ended = Arc::new(AtomicBool::new(false));
    let moving = std::thread::spawn({
        let (ended, begun) = (Arc::clone(&ended), Instant::now());
        move || {
            while !ended.load(Ordering::Relaxed) {
                hosts.iter().for_each(|host| host.at(begun.elapsed()));
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
    });
    let cluster = Cluster::start(2).await;
    let daemon = |i: usize| {
        let procfs = format!("procfs={}", folder.path().join(format!("proc-{i}")).display());
        Program::daemon(&format!("host-{i}"), &cluster.seeds(), &[&procfs, "collect.fine_hz=0"])
    };
    let _daemons = [daemon(0), daemon(1)];
    let share = |ticks: u64| ticks as f64 / (2 * TICKS) as f64;
    for aggregator in 0..2 {
        eventually("the shares are right", async || {
            let of_commands = means(&asked(&cluster, aggregator, "system.process.command.cpu.utilization").await?)?;
            let wanted =
                [("java", share(JAVA[0] + JAVA[1])), ("postgres", share(2 * POSTGRES)), ("_other", share(2 * REST))];
            for (name, wanted) in wanted {
                let said = of_commands.get(name).copied().unwrap_or_default();
                if (said - wanted).abs() > 0.02 {
                    return Err(format!("{name} {said}, wanted {wanted}: {of_commands:?}"));
                }
            }
            Ok(())
        })
        .await;
    }
    ended.store(true, Ordering::Relaxed);
    moving.join().unwrap();
}
