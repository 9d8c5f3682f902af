//! The daemon of a host. Settings: `deploy/config/node.toml`. Admin port: `/metrics`, `/live`, `/ready`.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use starling_node::{Config, Service};
use starling_service::{self as service, CommonArgs};
use tracing::error;

/// Reads this host every second, takes application metrics by OTLP, and hands both to an aggregator.
#[derive(Debug, Parser)]
#[command(name = "starling-node", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
}

/// How long blocking reads of the host may hold up the end of the process, such as a filesystem that does not answer.
const BLOCKING_GRACE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let args = Args::parse();
    let config = match Config::load(&args.common) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("the settings were not taken:\n{:#}", anyhow::Error::from(error));
            return ExitCode::from(2);
        }
    };
    if args.common.check_config {
        println!("the settings are good");
        return ExitCode::SUCCESS;
    }
    service::init_logging(args.common.log_format);
    // Two threads: one for the second's cut, one for the door. More only cost memory.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let result = runtime.block_on(run(config));
        runtime.shutdown_timeout(BLOCKING_GRACE);
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{failure:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let service = Service::start(config).await?;
    let faces = [("admin", Some(service.admin_address()?)), ("otlp", service.otlp_address()?)];
    service::announce(
        "starling-node",
        &faces.into_iter().filter_map(|(what, at)| Some((what, at?))).collect::<Vec<_>>(),
    );
    let shutdown = service::shutdown::on_signal()?;
    service.run(shutdown).await
}
