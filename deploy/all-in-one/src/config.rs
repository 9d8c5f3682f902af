//! Settings of `starling up`: one table, and flags that are short for its most used keys.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use starling_service::{
    credentials::{Exposure, TlsSettings},
    settings::{Mistakes, kind},
};

/// Most aggregators in one process: more only share the same processors, and the ninth would listen where the page is.
const AGGREGATORS_MAX: u16 = 8;
/// Most nodes in one process.
const NODES_MAX: u16 = 1_000;
/// From one aggregator's ports to the next one's.
const PORT_STEP: u16 = 10;

starling_service::settings! {
    /// Settings of everything in one process.
    pub struct Config {
        /// Aggregators to run; number i listens 10 ports above number i-1.
        pub aggregators: u16 = 1, kind::number(1..=AGGREGATORS_MAX);
        /// Nodes in all: this host, and simulated replays of it with varied load.
        pub nodes: u16 = 1, kind::number(1..=NODES_MAX);
        /// Where the page is served.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7480)), kind::listen();
        /// First gRPC port of the aggregators; gossip and admin are the two after it.
        pub grpc_port: u16 = 7400, kind::number(1..=u16::MAX);
        /// Where application metrics are taken (OTLP over gRPC).
        pub otlp_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 4317)), kind::listen();
        /// Admin port of the node: /metrics, /live, /ready.
        pub node_admin_port: u16 = 7490, kind::number(1..=u16::MAX);
        /// Take free ports instead of those above and print them; for tests.
        pub free_ports: bool = false, kind::flag();
        /// Folder for what must survive a restart, the history among it. Default: $XDG_STATE_HOME/starling, else ~/.local/state/starling.
        pub state_dir: Option<PathBuf> = None, kind::optional(kind::folder()), example "\"/var/lib/starling\"";
    }
    tables {
        /// Of each aggregator. Names, listeners, seeds, state and requests follow from the keys above.
        pub aggregator: starling_aggregator::Config = starling_aggregator::Config { tls: TlsSettings::default(), ..Default::default() };
        /// Of this host's node. Listeners and aggregators follow from the keys above.
        pub node: starling_node::Config = node();
        /// Of the dashboard. Listeners, aggregators and requests follow from the keys above.
        pub dashboard: starling_dashboard::Config = starling_dashboard::Config { tls: TlsSettings::default(), ..Default::default() };
    }
    together together;
}

/// Under the name of this host, whatever that is: one that is looked at is no fleet.
fn node() -> starling_node::Config {
    let config = starling_node::Config { tls: TlsSettings::default(), ..Default::default() };
    starling_node::Config { node_id: Some(config.name()), ..config }
}

fn together(config: &Config, mistakes: &mut Mistakes) {
    if let Err(error) = config.check_ports() {
        mistakes.add(error.key(), error);
    }
    config.dashboard.guarded("listen", config.listen, mistakes);
    Exposure::of(&config.dashboard.tls, config.dashboard.insecure).plain_listener("listen", config.listen, mistakes);
    Exposure::of(&config.node.tls, config.node.insecure).plain_listener("otlp_listen", config.otlp_listen, mistakes);
}

/// Why the ports of the settings do not fit together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum PortsError {
    /// Two APIs would listen at one address.
    #[error(
        "{0} would be used twice: choose another --grpc-port, --listen, --otlp-listen or --node-admin-port; through \
         make: make run ARGS=\"--grpc-port 7500\""
    )]
    Twice(SocketAddr),
    /// The last port would be beyond 65,535.
    #[error("{0} is too high for that many aggregators, {PORT_STEP} ports are used for each")]
    Port(u16),
}

impl PortsError {
    /// The setting to change.
    const fn key(&self) -> &'static str {
        "grpc_port"
    }
}

impl Config {
    /// A port of this host; with `free_ports` one that the system chooses.
    pub(crate) fn loopback(&self, port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, if self.free_ports { 0 } else { port }))
    }

    /// The gRPC port of each aggregator; gossip and admin are the two after it. Call on checked settings only.
    pub(crate) fn first_ports(&self) -> impl Iterator<Item = u16> {
        (0..self.aggregators).map(|i| self.grpc_port + i * PORT_STEP)
    }

    /// Checks that every API has an address of its own. Gossip is left out: it listens on UDP.
    fn check_ports(&self) -> Result<(), PortsError> {
        if self.grpc_port.checked_add(self.aggregators.saturating_mul(PORT_STEP)).is_none() {
            return Err(PortsError::Port(self.grpc_port));
        }
        let mut all: Vec<SocketAddr> =
            self.first_ports().flat_map(|first| [first, first + 2]).map(|port| self.loopback(port)).collect();
        all.push(self.loopback(self.node_admin_port));
        if !self.free_ports {
            all.extend([self.listen, self.otlp_listen]);
        }
        all.retain(|address| address.port() != 0);
        all.sort_unstable();
        match all.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(PortsError::Twice(pair[0])),
            None => Ok(()),
        }
    }
}

/// Flags of `starling up`, short for `--set`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct UpArgs {
    /// Aggregators to run, 1 to 8; number i listens 10 ports above number i-1 [default: 1]
    #[arg(long, value_name = "N")]
    aggregators: Option<String>,
    /// Nodes in all, 1 to 1000: this host, and simulated replays of it with varied load [default: 1]
    #[arg(long, value_name = "N")]
    nodes: Option<String>,
    /// Where the page is served [default: 127.0.0.1:7480]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// First gRPC port of the aggregators; gossip and admin are the two after it [default: 7400]
    #[arg(long, value_name = "PORT")]
    grpc_port: Option<String>,
    /// Where application metrics are taken (OTLP over gRPC) [default: 127.0.0.1:4317]
    #[arg(long, value_name = "ADDRESS")]
    otlp_listen: Option<String>,
    /// Admin port of the node: /metrics, /live, /ready [default: 7490]
    #[arg(long, value_name = "PORT")]
    node_admin_port: Option<String>,
    /// Take free ports instead of those above and print them; for tests
    #[arg(long)]
    free_ports: bool,
    /// Folder for what must survive a restart, the history among it [default: ~/.local/state/starling]
    #[arg(long, value_name = "DIR")]
    state: Option<String>,
}

impl UpArgs {
    /// What the flags say, as `key=value`.
    #[must_use]
    pub fn overrides(&self) -> Vec<String> {
        let free_ports = self.free_ports.then(|| "true".to_owned());
        [
            ("aggregators", &self.aggregators),
            ("nodes", &self.nodes),
            ("listen", &self.listen),
            ("grpc_port", &self.grpc_port),
            ("otlp_listen", &self.otlp_listen),
            ("node_admin_port", &self.node_admin_port),
            ("free_ports", &free_ports),
            ("state_dir", &self.state),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}={value}")))
        .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use clap::Parser;
    use starling_service::{
        generated,
        settings::{self, Settings as _, Sources},
    };
    use std::path::Path;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        up: UpArgs,
    }

    /// The settings that flags give.
    pub(crate) fn flags(flags: &[&str]) -> Result<Config, String> {
        let line = ["up", "--state", "/nowhere"].iter().chain(flags);
        let sources = Sources { overrides: Line::parse_from(line).up.overrides(), ..Sources::default() };
        settings::load("up", &sources).map(|loaded| loaded.settings).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_file_is_written_from_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/up.toml");
        generated::is_current(&path, &settings::example::<Config>("up")).unwrap();
        Config::default().check().unwrap();
    }

    #[test]
    fn mistakes_name_the_key_and_the_reason() {
        for (line, part) in [
            (["--aggregators", "0"], "aggregators: 0 is out of range"),
            (["--aggregators", "nine"], "aggregators: \"nine\" is text"),
            (["--nodes", "1001"], "nodes: 1001 is out of range"),
            (["--grpc-port", "65530"], "grpc_port: 65530 is too high"),
            (["--grpc-port", "7480"], "127.0.0.1:7480 would be used twice"),
            (["--listen", "0.0.0.0:80"], "listen: 0.0.0.0:80 can be reached by other hosts without TLS"),
            (["--listen", "0.0.0.0:80"], "listen: 0.0.0.0:80 can be reached by other hosts without a log-in"),
        ] {
            let error = flags(&line).unwrap_err();
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }

    #[test]
    fn the_tables_of_the_programs_are_reached() {
        let overrides = ["node.labels.zone=a", "dashboard.target_rps=100", "aggregator.copies=1"].map(String::from);
        let sources = Sources { overrides: overrides.into(), ..Sources::default() };
        let config = settings::load::<Config>("up", &sources).unwrap().settings;
        assert_eq!((config.node.labels["zone"].as_str(), config.aggregator.copies), ("a", 1));
        assert_eq!(config.dashboard.target_rps, Some(100.0));
    }
}
