//! What to run and where, worked out before anything starts.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
};

use anyhow::Context as _;

/// Most aggregators in one process: more only share the same processors, and the ninth would listen where the page is.
const AGGREGATORS_MAX: u16 = 8;
/// Most nodes in one process.
const NODES_MAX: u16 = 1_000;
/// From one aggregator's ports to the next one's.
const PORT_STEP: u16 = 10;

/// Flags of `starling up`.
#[derive(Debug, Clone, clap::Args)]
pub struct UpArgs {
    /// Aggregators to run, 1 to 8; number i listens 10 ports above number i-1.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub aggregators: u16,
    /// Nodes in all, 1 to 1000: this host, and simulated replays of it with varied load.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub nodes: u16,
    /// Where the page is served.
    #[arg(long, default_value = "127.0.0.1:7480", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// First gRPC port of the aggregators; gossip and admin are the two after it.
    #[arg(long, default_value_t = 7400, value_name = "PORT")]
    pub grpc_port: u16,
    /// Where application metrics are taken (OTLP over gRPC).
    #[arg(long, default_value = "127.0.0.1:4317", value_name = "ADDRESS")]
    pub otlp_listen: SocketAddr,
    /// Admin port of the node: /metrics, /live, /ready.
    #[arg(long, default_value_t = 7490, value_name = "PORT")]
    pub node_admin_port: u16,
    /// Take free ports instead of those above and print them; for tests.
    #[arg(long)]
    pub free_ports: bool,
    /// Folder for what must survive a restart.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// Why a plan makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Too few or too many aggregators.
    #[error("--aggregators {0}: 1 to {AGGREGATORS_MAX} are run in one process")]
    Aggregators(u16),
    /// Too few or too many nodes.
    #[error("--nodes {0}: 1 to {NODES_MAX} are run in one process")]
    Nodes(u16),
    /// Two faces would listen at one address.
    #[error("{0} would be used twice: choose another --grpc-port, --listen, --otlp-listen or --node-admin-port")]
    Twice(SocketAddr),
    /// The last port would be beyond 65,535.
    #[error("--grpc-port {0}: too high for that many aggregators, {PORT_STEP} ports are used for each")]
    Port(u16),
}

/// Addresses and folders of everything that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
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
pub struct AggregatorPlan {
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
    /// [`PlanError`], naming the flag; or when no port is free with `--free-ports`.
    pub fn of(args: &UpArgs) -> anyhow::Result<Self> {
        check(args)?;
        let port = |number: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, if args.free_ports { 0 } else { number }));
        let aggregators = (0..args.aggregators)
            .map(|i| {
                let first = args.grpc_port + i * PORT_STEP;
                let name = (args.aggregators > 1).then(|| format!("agg-{}", i + 1));
                AggregatorPlan { name, grpc: port(first), gossip: port(first + 1), admin: port(first + 2) }
            })
            .collect();
        let state = args.state.clone().map_or_else(default_state, Ok)?;
        let plan = Self {
            aggregators,
            simulated: usize::from(args.nodes) - 1,
            dashboard: if args.free_ports { port(0) } else { args.listen },
            // Every other program must know the door before it is open, so its port is chosen here. Another process
            // may take it in between; then the start fails and says so.
            otlp: if args.free_ports { free_address()? } else { args.otlp_listen },
            node_admin: port(args.node_admin_port),
            state,
        };
        plan.check_addresses()?;
        Ok(plan)
    }

    /// Gossip is left out: it listens on UDP.
    fn check_addresses(&self) -> Result<(), PlanError> {
        let mut all: Vec<SocketAddr> = self.aggregators.iter().flat_map(|a| [a.grpc, a.admin]).collect();
        all.extend([self.dashboard, self.otlp, self.node_admin]);
        all.retain(|address| address.port() != 0);
        all.sort_unstable();
        match all.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(PlanError::Twice(pair[0])),
            None => Ok(()),
        }
    }
}

fn check(args: &UpArgs) -> Result<(), PlanError> {
    if !(1..=AGGREGATORS_MAX).contains(&args.aggregators) {
        return Err(PlanError::Aggregators(args.aggregators));
    }
    if !(1..=NODES_MAX).contains(&args.nodes) {
        return Err(PlanError::Nodes(args.nodes));
    }
    if args.grpc_port.checked_add(args.aggregators * PORT_STEP).is_none() {
        return Err(PlanError::Port(args.grpc_port));
    }
    Ok(())
}

/// `$XDG_STATE_HOME/starling`, else `~/.local/state/starling` (XDG Base Directory Specification).
fn default_state() -> anyhow::Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("XDG_STATE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("starling"))
        .context("no folder for state: set HOME or pass --state DIR")
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    listener.local_addr().context("no free port")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        up: UpArgs,
    }

    fn plan(flags: &[&str]) -> anyhow::Result<Plan> {
        Plan::of(&Line::parse_from(["up", "--state", "/nowhere"].iter().chain(flags)).up)
    }

    #[test]
    fn ports_follow_the_table() {
        let plan = plan(&["--aggregators", "3", "--nodes", "20"]).unwrap();
        let grpc: Vec<u16> = plan.aggregators.iter().map(|a| a.grpc.port()).collect();
        assert_eq!(grpc, [7400, 7410, 7420]);
        assert_eq!((plan.aggregators[1].gossip.port(), plan.aggregators[1].admin.port()), (7411, 7412));
        assert_eq!((plan.simulated, plan.dashboard.port(), plan.otlp.port()), (19, 7480, 4317));
        assert!(self::plan(&["--aggregators", "8"]).is_ok());
        assert_eq!(plan.aggregators[2].name.as_deref(), Some("agg-3"));
    }

    #[test]
    fn mistakes_name_the_flag() {
        for (flags, flag) in [
            (["--aggregators", "0"], "--aggregators 0"),
            (["--aggregators", "9"], "--aggregators 9"),
            (["--nodes", "1001"], "--nodes 1001"),
            (["--grpc-port", "65530"], "--grpc-port 65530"),
            (["--grpc-port", "7480"], "127.0.0.1:7480 would be used twice"),
        ] {
            assert!(plan(&flags).unwrap_err().to_string().contains(flag));
        }
    }

    #[test]
    fn free_ports_are_left_to_the_system_but_for_the_door() {
        let plan = plan(&["--free-ports"]).unwrap();
        assert_eq!((plan.dashboard.port(), plan.aggregators[0].grpc.port()), (0, 0));
        assert_ne!(plan.otlp.port(), 0);
    }
}
