//! What to run and where, worked out before anything starts.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
};

use anyhow::Context as _;

use crate::config::Config;

/// Addresses and folders of everything that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The aggregators, by number.
    pub aggregators: Vec<AggregatorPlan>,
    /// Simulated nodes beside this host.
    pub simulated: usize,
    /// Where the page is served.
    pub dashboard: SocketAddr,
    /// Where application metrics are taken over gRPC.
    pub otlp: SocketAddr,
    /// Where they are taken over HTTP.
    pub otlp_http: SocketAddr,
    /// Where StatsD is taken by UDP.
    pub statsd: SocketAddr,
    /// Admin port of the node.
    pub node_admin: SocketAddr,
    /// Where state is kept.
    pub state: PathBuf,
}

/// Addresses of one aggregator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AggregatorPlan {
    /// Its name; `None` takes the host's.
    pub name: Option<String>,
    /// gRPC endpoint.
    pub grpc: SocketAddr,
    /// Gossip, UDP.
    pub gossip: SocketAddr,
    /// Admin port.
    pub admin: SocketAddr,
}

impl Plan {
    /// Works out the addresses.
    ///
    /// # Errors
    /// When no port is free with `free_ports`, or no folder is known for state.
    pub(crate) fn of(config: &Config) -> anyhow::Result<Self> {
        let port = |number: u16| config.loopback(number);
        let aggregators = config
            .first_ports()
            .zip(1..)
            .map(|(first, i)| {
                let name = (config.aggregators > 1).then(|| format!("agg-{i}"));
                AggregatorPlan { name, grpc: port(first), gossip: port(first + 1), admin: port(first + 2) }
            })
            .collect();
        Ok(Self {
            aggregators,
            simulated: usize::from(config.nodes) - 1,
            dashboard: if config.free_ports { port(0) } else { config.listen },
            // Every other program must know the receiver before it is open, so its port is chosen here. Another process
            // may take it in between; then the start fails and says so.
            otlp: if config.free_ports { free_address()? } else { config.otlp_listen },
            otlp_http: if config.free_ports { port(0) } else { config.node.otlp_http_listen },
            statsd: if config.free_ports { port(0) } else { config.node.statsd_listen },
            node_admin: port(config.node_admin_port),
            state: config.state_dir.clone().map_or_else(default_state, Ok)?,
        })
    }
}

/// `$XDG_STATE_HOME/starling`, else `~/.local/state/starling` (XDG Base Directory Specification).
fn default_state() -> anyhow::Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("XDG_STATE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("starling"))
        .context("no folder for state: set HOME, or --state DIR")
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    listener.local_addr().context("no free port")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::flags;

    fn plan(line: &[&str]) -> Plan {
        Plan::of(&flags(line).unwrap()).unwrap()
    }

    #[test]
    fn ports_follow_the_table() {
        let plan = plan(&["--aggregators", "3", "--nodes", "20"]);
        let grpc: Vec<u16> = plan.aggregators.iter().map(|a| a.grpc.port()).collect();
        assert_eq!(grpc, [7400, 7410, 7420]);
        assert_eq!((plan.aggregators[1].gossip.port(), plan.aggregators[1].admin.port()), (7411, 7412));
        assert_eq!((plan.simulated, plan.dashboard.port(), plan.otlp.port()), (19, 7480, 4317));
        assert_eq!(plan.aggregators[2].name.as_deref(), Some("agg-3"));
        assert_eq!(self::plan(&["--aggregators", "8"]).aggregators.len(), 8);
    }

    #[test]
    fn free_ports_are_left_to_the_system_but_for_the_receiver() {
        let plan = plan(&["--free-ports"]);
        assert_eq!((plan.dashboard.port(), plan.aggregators[0].grpc.port()), (0, 0));
        assert_ne!(plan.otlp.port(), 0);
    }
}
