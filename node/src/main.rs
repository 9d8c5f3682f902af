//! The daemon of a host. Settings: `deploy/config/node.toml`. Admin port: `/metrics`, `/live`, `/ready`.

use std::process::ExitCode;

fn main() -> ExitCode {
    starling_service::program::main::<starling_node::Service>()
}
