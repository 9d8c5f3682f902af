//! `starling-dashboard`: the dashboard server as a program. Settings: `deploy/config/dashboard.toml`. On its port, or on
//! `admin_listen`: `/metrics`, `/live`, `/ready`.

use std::process::ExitCode;

use clap::Parser;
use starling_dashboard::{Config, Service};
use starling_service::{CommonArgs, announce, init_logging, shutdown};
use tracing::error;

/// Serves the Starling dashboard: the page, JSON faces and live WebSockets over any aggregator.
#[derive(Debug, Parser)]
#[command(name = "starling-dashboard", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Args { common } = Args::parse();
    let config = match Config::load(common.config.as_deref(), &common.overrides) {
        Ok(config) => config,
        Err(mistakes) => {
            eprintln!("the settings were not taken:\n{:#}", anyhow::Error::from(mistakes));
            return ExitCode::from(2);
        }
    };
    if common.check_config {
        println!("the settings are good");
        return ExitCode::SUCCESS;
    }
    init_logging(common.log_format);
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{failure:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let shutdown = shutdown::on_signal()?;
    let service = Service::bind(config).await?;
    announce("starling-dashboard", &[("http", service.address()), ("admin", service.admin_address())]);
    service.run(shutdown).await
}
