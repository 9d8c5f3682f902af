//! `starling-aggregator`: one aggregator in a process of its own.

use std::process::ExitCode;

use clap::Parser;
use starling_aggregator::{Config, run};
use starling_service::{CommonArgs, announce, init_logging, shutdown};

/// Takes the frames of nodes, keeps the ledger with its peers and answers for the whole cluster.
#[derive(Debug, Parser)]
#[command(name = "starling-aggregator", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starling-aggregator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn start() -> anyhow::Result<()> {
    let Args { common } = Args::parse();
    let config = Config::load(common.config.as_deref(), &common.overrides)?;
    if common.check_config {
        println!("the settings are valid");
        return Ok(());
    }
    init_logging(common.log_format);
    let shutdown = shutdown::on_signal()?;
    run(config, shutdown, |at| {
        announce("starling-aggregator", &[("grpc", at.grpc), ("gossip", at.gossip), ("admin", at.admin)]);
    })
    .await
}
