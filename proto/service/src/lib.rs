//! What every Starling program offers its operator, written once: where settings come from, the admin port, logs,
//! signals, how a listener is opened, and how a program's own requests reach the daemon's door.

pub mod admin;
pub mod listen;
pub mod requests;
pub mod settings;
pub mod shutdown;

/// Clients and servers of `starling.v1`, as generated; the messages are those of [`starling_proto::v1`].
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    unused_qualifications,
    clippy::large_futures,
    clippy::semicolon_if_nothing_returned
)]
#[rustfmt::skip]
#[path = "gen/starling.v1.rs"]
pub mod grpc;

use std::{fmt::Write as _, net::SocketAddr, path::PathBuf};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Flags of every program.
#[derive(Debug, Clone, clap::Args)]
pub struct CommonArgs {
    /// Settings file (TOML). Without it the defaults apply.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, such as `--set listen=127.0.0.1:7400`; wins over the environment and the file. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Check the settings, print what is wrong, and stop.
    #[arg(long)]
    pub check_config: bool,
    /// Form of the log lines.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error at level `info`; see [`init_logging_at`].
pub fn init_logging(format: LogFormat) {
    init_logging_at(format, "info");
}

/// Starts logging to standard error. The level comes from `STARLING_LOG` (such as `info` or `starling_node=debug`),
/// and is `default` without it. Does nothing when logging was started before.
pub fn init_logging_at(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_env("STARLING_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    // A second start (several services in one process) keeps the first.
    let _ = match format {
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr)).try_init(),
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init(),
    };
}

/// Prints the one line on standard output that says that a program works and where: its name, the word `listening`,
/// and `what=address` for each face. With port 0 in the settings this is where the chosen ports are told.
pub fn announce(program: &str, addresses: &[(&str, SocketAddr)]) {
    println!("{}", announcement(program, addresses));
}

fn announcement(program: &str, addresses: &[(&str, SocketAddr)]) -> String {
    addresses.iter().fold(format!("{program} listening"), |mut line, (what, address)| {
        let _ = write!(line, " {what}={address}");
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_one_line_of_pairs() {
        let address = "127.0.0.1:7400".parse().unwrap();
        assert_eq!(announcement("starling-node", &[("otlp", address)]), "starling-node listening otlp=127.0.0.1:7400");
    }
}
