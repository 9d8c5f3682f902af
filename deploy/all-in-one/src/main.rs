//! `starling up`: see this host, now.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use starling::{Plan, Running, UpArgs};
use starling_service::{self as service, LogFormat, shutdown};

/// Starling watches a fleet of hosts as one machine.
#[derive(Debug, Parser)]
#[command(name = "starling", version)]
struct Args {
    /// Form of the log lines. Their level comes from STARLING_LOG, such as `info`; without it only warnings are shown.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process: aggregator, this host's node and the dashboard.
    Up(UpArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let Command::Up(up) = args.command;
    service::init_logging_at(args.log_format, "warn");
    match run(&up).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starling: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(up: &UpArgs) -> anyhow::Result<()> {
    let plan = Plan::of(up)?;
    let asked = shutdown::on_signal()?;
    let running = Running::start(plan).await?;
    running.introduce();
    running.until(asked).await
}
