//! `make chaos`: a cluster under kills, stops, set clocks, clashes of names, partitions and loss, and whether its books
//! and all it shows are right.
//!
//! As root it runs itself again in a network namespace of its own, where it may cut links; else the faults are those
//! of processes only, and it says so.

use std::{process::Command, time::Duration};

use clap::Parser;
use starling_tests::chaos::{ChaosConfig, FAULTS_MAX, network_available, run};

/// Lets faults come over a cluster and checks every second of it.
#[derive(Debug, Parser)]
struct Arguments {
    /// Minutes of faults, at most 30.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Decides every draw; random when it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Aggregators, 3 to 9.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=9))]
    aggregators: u8,
    /// Nodes, 1 to 40.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=40))]
    nodes: u8,
    /// Faults of processes only.
    #[arg(long)]
    processes_only: bool,
    /// Set by itself: it is in a namespace of its own.
    #[arg(long, hide = true)]
    inside: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    if !arguments.inside && !arguments.processes_only {
        match network_available() {
            Ok(()) => {
                let own = std::env::current_exe()?;
                let mut again = Command::new("unshare");
                let status = again.arg("--net").arg(own).args(std::env::args_os().skip(1)).arg("--inside").status()?;
                std::process::exit(status.code().unwrap_or(1));
            }
            Err(why) => println!("without partitions and loss: {why}"),
        }
    }
    let faults = Duration::try_from_secs_f64(arguments.minutes * 60.0)?;
    if faults > FAULTS_MAX {
        return Err(format!("at most {} minutes", FAULTS_MAX.as_secs() / 60).into());
    }
    let config = ChaosConfig {
        aggregators: arguments.aggregators.into(),
        nodes: arguments.nodes.into(),
        faults,
        seed: arguments.seed.unwrap_or_else(rand::random),
        network: arguments.inside,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let verdict = runtime.block_on(run(&config))?;
    println!("\nseed {}\n{verdict}", config.seed);
    if verdict.is_good() { Ok(()) } else { Err("the books are wrong".into()) }
}
