//! One aggregator in a process of its own. Settings: `deploy/config/aggregator.toml`. Admin port: `/metrics`, `/live`,
//! `/ready`.

use std::process::ExitCode;

fn main() -> ExitCode {
    starling_service::program::main::<starling_aggregator::Service>()
}
