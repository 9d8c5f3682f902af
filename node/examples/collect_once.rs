//! Reads this host twice, a second apart, and prints what a frame would hold; then what reading costs.
//!
//! ```text
//! cargo run --release -p starling-node --example collect_once [ROUNDS [PAUSE_MS]]
//! ```
//!
//! With ROUNDS it collects that often, PAUSE_MS apart (default 0), and prints the processor time of a round, and the
//! wall time of each collector. A pause lets the caches cool as they do between real ticks.

use std::{
    collections::BTreeMap,
    sync::mpsc,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use starling_node::{CollectConfig, Collectors, host_facts};
use starling_proto::{catalogue, series::Value};

/// A collector that takes longer is left out.
const LIMIT: Duration = Duration::from_secs(1);

fn main() {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (Ok(rounds), Ok(pause)) = (numbers.next().unwrap_or(Ok(0)), numbers.next().unwrap_or(Ok(0))) else {
        eprintln!("usage: collect_once [ROUNDS [PAUSE_MS]]");
        std::process::exit(2);
    };
    let config = CollectConfig::default();
    println!("{:#?}", host_facts(&config));
    let mut collectors = Collectors::new(&config);
    collectors.collect(Duration::ZERO, LIMIT);
    let start = Instant::now();
    wait(Duration::from_secs(1));
    let samples = collectors.collect(start.elapsed(), LIMIT).samples;
    for sample in &samples {
        let (series, scale) = (&sample.series, 10f64.powi(sample.series.scale().into()));
        match &sample.value {
            Value::Counter(increment) => println!("{series} +{} {}", *increment as f64 / scale, series.unit()),
            Value::Gauge(value) => println!("{series} {} {}", *value as f64 / scale, series.unit()),
            Value::Histogram(histogram) => println!("{series} {} values", histogram.count()),
        }
    }
    println!("{} samples", samples.len());
    if rounds > 0 {
        measure(&mut collectors, rounds, Duration::from_millis(pause));
    }
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
