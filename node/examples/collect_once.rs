//! What reading this host costs. What it brings, `starling-node --once` prints.
//!
//! ```text
//! cargo run --release -p starling-node --example collect_once ROUNDS [PAUSE_MS]
//! ```
//!
//! It collects that often, PAUSE_MS apart (default 0), and prints the processor time of a round, and the
//! wall time of each collector. A pause lets the caches cool as they do between real ticks.

use std::{collections::BTreeMap, sync::mpsc, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use starling_node::{CollectConfig, Collectors};
use starling_proto::{catalogue, series::Value};

/// A collector that takes longer is left out.
const LIMIT: Duration = Duration::from_secs(1);

fn main() {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (Some(Ok(rounds @ 1..)), Ok(pause)) = (numbers.next(), numbers.next().unwrap_or(Ok(0))) else {
        eprintln!("usage: collect_once ROUNDS [PAUSE_MS]");
        std::process::exit(2);
    };
    let config = CollectConfig::default();
    let mut collectors = Collectors::new(&config);
    collectors.collect(Duration::ZERO, LIMIT);
    measure(&mut collectors, rounds, Duration::from_millis(pause));
}

fn measure(collectors: &mut Collectors, rounds: u64, pause: Duration) {
    let mut spent = Vec::new();
    let mut by_collector: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..rounds {
        wait(pause);
        let before = cpu_ns();
        // A second each, so that what is asked every ten seconds is asked in every tenth round.
        let samples = collectors.collect(Duration::from_secs(1), LIMIT).samples;
        spent.push(cpu_ns() - before);
        for sample in samples.iter().filter(|sample| sample.series.is(&catalogue::COLLECT_DURATION)) {
            if let (Value::Counter(ns), Some(name)) = (&sample.value, sample.series.attribute("collector")) {
                *by_collector.entry(name.to_owned()).or_default() += ns;
            }
        }
    }
    spent.sort_unstable();
    let us = |ns: u64| ns as f64 / 1000.0;
    println!(
        "collect: {rounds} rounds, cpu time mean {:.1} us, p50 {:.1} us, p99 {:.1} us",
        us(spent.iter().sum::<u64>()) / rounds as f64,
        us(spent[spent.len() / 2]),
        us(spent[spent.len() * 99 / 100]),
    );
    for (name, ns) in by_collector {
        println!("  {name:<12} {:>8.1} us wall, mean", us(ns) / rounds as f64);
    }
}

fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Waits on a channel without a sender.
fn wait(time: Duration) {
    let (_sender, receiver) = mpsc::channel::<()>();
    // Timing out is the purpose.
    receiver.recv_timeout(time).unwrap_or_default();
}
