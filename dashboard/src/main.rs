//! The dashboard server as a program. Settings: `deploy/config/dashboard.toml`. On its port, or on `admin_listen`:
//! `/metrics`, `/live`, `/ready`.

use std::process::ExitCode;

fn main() -> ExitCode {
    starling_service::program::main::<starling_dashboard::Service>()
}
