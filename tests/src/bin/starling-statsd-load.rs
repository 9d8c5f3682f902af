//! How many samples of StatsD a daemon takes: starts one, sends to it at a rate, and says what arrived and what it cost.
//! Built for release to be worth something.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use clap::Parser;
use starling_testkit::{FakeAggregator, Manners};
use starling_tests::{Program, Scrape};

/// Sends StatsD to a daemon and counts what it took.
#[derive(Debug, Parser)]
struct Arguments {
    /// Samples a second.
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    rate: u64,
    /// How long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Samples in one datagram: 1 as simple clients send, 30 as those that fill an Ethernet frame.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    packed: u64,
    /// Series, a third each of counts, gauges and timings.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=500))]
    series: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { rate, seconds, packed, series } = *arguments;
    let acks = Manners { ack: true, ..Manners::default() };
    let aggregator = FakeAggregator::start("agg-1", acks).await;
    let node = Program::daemon("loaded", &[aggregator.address.to_string()], &[]);
    aggregator.until("the node", |seen| !seen.contents.is_empty()).await;
    let lines = (0..series).map(|i| match i % 3 {
        0 => format!("load.count.{i}:1|c|#service:load,env:test"),
        1 => format!("load.gauge.{i}:{}.5|g|#service:load,env:test", i * 7),
        _ => format!("load.took.{i}:{}.25|ms|#service:load,env:test", i % 90),
    });
    let lines: Vec<String> = lines.collect();
    let mut all = lines.iter().cycle();
    // As many different datagrams as there are series; each is whole.
    let datagrams: Vec<String> = (0..series)
        .map(|_| all.by_ref().take(usize::try_from(packed).unwrap_or(1)).cloned().collect::<Vec<_>>().join("\n"))
        .collect();
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(node.address("statsd"))?;

    let (before, began) = (node.cost().0, Instant::now());
    let (mut sent, mut next) = (0u64, datagrams.iter().cycle());
    // In steps of a millisecond, as many clients together would send.
    for step in 1..=seconds * 1_000 {
        let due = rate * step / 1_000;
        while sent + packed <= due {
            if let Some(datagram) = next.next() {
                socket.send(datagram.as_bytes())?;
            }
            sent += packed;
        }
        tokio::time::sleep_until((began + Duration::from_millis(step)).into()).await;
    }
    let took = began.elapsed();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let cost = node.cost().0.saturating_sub(before);
    let metrics = Scrape::of(node.address("admin")).await?;
    println!("sent {sent} samples, {packed} a datagram, {series} series, in {:.2} s", took.as_secs_f64());
    println!("cost {:.2} s of CPU, {:.3} of a core", cost.as_secs_f64(), cost.as_secs_f64() / took.as_secs_f64());
    for name in ["samples_total", "dropped_datagrams_total", "refused_samples_total"] {
        println!("{name} {:.0}", metrics.sum(&format!("starling_node_statsd_{name}")).abs());
    }
    Ok(())
}
