//! A short run of `make chaos` with faults of processes only: kills, stops, held processes, of aggregators and nodes.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::time::Duration;

use starling_tests::chaos::{ChaosConfig, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_counted_twice_and_nothing_acknowledged_is_lost() {
    let faults = Duration::from_secs(35);
    let config = ChaosConfig { aggregators: 5, nodes: 10, faults, seed: rand::random(), network: false };
    let verdict = run(&config).await.unwrap();
    println!("{verdict}");
    assert!(verdict.is_good(), "seed {}\n{verdict}", config.seed);
    assert!(verdict.frames > 300 && verdict.reads > 100, "the run saw something: {verdict}");
}
