//! What to run and where, worked out before anything starts.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
};

use anyhow::Context as _;

use crate::Config;

/// Most aggregators in one process: more only share the same processors, and the ninth would listen where the page is.
pub(crate) const AGGREGATORS_MAX: u16 = 8;
/// Most nodes in one process.
pub(crate) const NODES_MAX: u16 = 1_000;
/// From one aggregator's ports to the next one's.
const PORT_STEP: u16 = 10;

/// Why settings give no plan.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
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

impl PlanError {
    /// The setting to change.
    pub(crate) const fn key(&self) -> &'static str {
        "grpc_port"
    }
}

/// Addresses and folders of everything that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The aggregators, by number.
    pub aggregators: Vec<AggregatorPlan>,
    /// Simulated nodes beside this host.
    pub simulated: usize,
    /// Where the page is served.
    pub dashboard: SocketAddr,
    /// Where application metrics are taken.
    pub otlp: SocketAddr,
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
    /// gRPC face.
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
        let port = |number: u16| port(config, number);
        let aggregators = (0..config.aggregators)
            .map(|i| {
                let first = config.grpc_port + i * PORT_STEP;
                let name = (config.aggregators > 1).then(|| format!("agg-{}", i + 1));
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
            node_admin: port(config.node_admin_port),
            state: config.state_dir.clone().map_or_else(default_state, Ok)?,
        })
    }
}

fn port(config: &Config, number: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, if config.free_ports { 0 } else { number }))
}

/// Checks that every API has an address of its own. Gossip is left out: it listens on UDP.
///
/// # Errors
/// [`PlanError`].
pub(crate) fn check(config: &Config) -> Result<(), PlanError> {
    if config.grpc_port.checked_add(config.aggregators.saturating_mul(PORT_STEP)).is_none() {
        return Err(PlanError::Port(config.grpc_port));
    }
    let grpc = (0..config.aggregators).map(|i| config.grpc_port + i * PORT_STEP);
    let mut all: Vec<SocketAddr> =
        grpc.flat_map(|first| [first, first + 2]).map(|number| port(config, number)).collect();
    all.push(port(config, config.node_admin_port));
    if !config.free_ports {
        all.extend([config.listen, config.otlp_listen]);
    }
    all.retain(|address| address.port() != 0);
    all.sort_unstable();
    match all.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(PlanError::Twice(pair[0])),
        None => Ok(()),
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
