//! Starting everything in order, and stopping it in the other.

use std::{fmt, net::SocketAddr};

use anyhow::Context as _;
use starling_replay::{Fleet, FleetConfig};
use starling_service::{self as service, settings};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::Plan;

/// Everything, running.
pub struct Running {
    plan: Plan,
    node_id: String,
    grpc: Vec<SocketAddr>,
    dashboard_address: SocketAddr,
    aggregators: JoinSet<anyhow::Result<()>>,
    node: JoinHandle<anyhow::Result<()>>,
    fleet: Fleet,
    dashboard: JoinHandle<anyhow::Result<()>>,
    stop_nodes: CancellationToken,
    stop_dashboard: CancellationToken,
    stop_aggregators: CancellationToken,
}

impl Running {
    /// Starts aggregators, node, simulated nodes and dashboard. When this returns, every port answers.
    ///
    /// # Errors
    /// What could not be started, naming the flag or setting.
    pub async fn start(plan: Plan) -> anyhow::Result<Self> {
        let (stop_nodes, stop_dashboard, stop_aggregators) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let door = format!("http://{}", plan.otlp);

        let mut aggregators: Vec<starling_aggregator::Service> = Vec::new();
        for (i, wanted) in plan.aggregators.iter().enumerate() {
            let mut config = starling_aggregator::Config::load(None, &[]).context("settings of the aggregator")?;
            if let Some(name) = &wanted.name {
                config.aggregator_id = starling_proto::ids::NodeId::sanitised(name);
            }
            (config.grpc_listen, config.gossip_listen, config.admin_listen) =
                (wanted.grpc, wanted.gossip, wanted.admin);
            config.seeds = aggregators.iter().map(|other| other.addresses().gossip.to_string()).collect();
            config.state_dir = plan.state.join(format!("aggregator-{}", i + 1));
            config.report_requests_to = Some(door.clone());
            let started = starling_aggregator::Service::start(config, stop_aggregators.clone()).await;
            aggregators.push(started.with_context(|| format!("aggregator {} did not start", i + 1))?);
        }
        let grpc: Vec<SocketAddr> = aggregators.iter().map(|a| a.addresses().grpc).collect();
        let known: Vec<String> = grpc.iter().map(SocketAddr::to_string).collect();

        let mut config: starling_node::Settings = settings::load("node", None, &[]).context("settings of the node")?;
        config.aggregators.clone_from(&known);
        config.otlp_listen = plan.otlp.to_string();
        config.admin_listen = plan.node_admin.to_string();
        let config = config.validate().context("settings of the node")?;
        let (node_id, host) = (config.node_id.to_string(), starling_node::host_facts(&config.collect));
        let node = starling_node::Service::start(config).await.context("the node did not start")?;
        let fleet = FleetConfig { nodes: plan.simulated, aggregators: known.clone(), host };
        let fleet = Fleet::start(&fleet, &node.latest(), &stop_nodes);
        let node = tokio::spawn(node.run(stop_nodes.clone()));

        let mut config = starling_dashboard::Config::load(None, &[]).context("settings of the dashboard")?;
        config.listen = plan.dashboard;
        config.admin_listen = None;
        config.aggregators = known;
        config.otlp_endpoint = Some(door);
        let dashboard = starling_dashboard::Service::bind(config).await.context("the dashboard did not start")?;
        let dashboard_address = dashboard.address();
        let dashboard = tokio::spawn(dashboard.run(stop_dashboard.clone()));

        let aggregators = aggregators.into_iter().map(starling_aggregator::Service::ended).collect();
        Ok(Self {
            plan,
            node_id,
            grpc,
            dashboard_address,
            aggregators,
            node,
            fleet,
            dashboard,
            stop_nodes,
            stop_dashboard,
            stop_aggregators,
        })
    }

    /// Says on standard output where everything is.
    pub fn introduce(&self) {
        let Self { plan, node_id, grpc, dashboard_address, .. } = self;
        let beside = match plan.simulated {
            0 => String::new(),
            n => format!(" and {n} simulated replays of it"),
        };
        println!("Starling watches this host ({node_id}){beside}.\n");
        println!("  page   http://{dashboard_address}");
        println!("  JSON   http://{dashboard_address}/api/v1/system/metrics");
        let (first, more) = grpc.split_first().expect("a plan has an aggregator");
        println!("  gRPC   grpcurl -plaintext {first} starling.v1.Query/GetCluster");
        for address in more {
            println!("         {address}");
        }
        println!("  OTLP   http://{} takes the metrics of applications", plan.otlp);
        println!("  state  {}\n\nStop it with Ctrl-C.\n", plan.state.display());
        service::announce("starling", &[("http", *dashboard_address), ("grpc", *first), ("otlp", plan.otlp)]);
    }

    /// Runs until `asked` is cancelled or a part fails, then stops all parts: first the nodes, so that their last
    /// second is counted, then the dashboard, then the aggregators.
    ///
    /// # Errors
    /// When a part failed.
    pub async fn until(mut self, asked: CancellationToken) -> anyhow::Result<()> {
        let failed = tokio::select! {
            () = asked.cancelled() => None,
            ended = &mut self.node => Some((Part::Node, ended)),
            ended = &mut self.dashboard => Some((Part::Dashboard, ended)),
            Some(ended) = self.aggregators.join_next() => Some((Part::Aggregator, ended)),
        };
        let by_itself = failed.as_ref().map(|(part, _)| *part);
        self.stop_nodes.cancel();
        self.fleet.ended().await;
        if by_itself != Some(Part::Node) {
            note(Part::Node, (&mut self.node).await);
        }
        self.stop_dashboard.cancel();
        if by_itself != Some(Part::Dashboard) {
            note(Part::Dashboard, (&mut self.dashboard).await);
        }
        self.stop_aggregators.cancel();
        while let Some(ended) = self.aggregators.join_next().await {
            note(Part::Aggregator, ended);
        }
        info!("everything has stopped");
        match failed {
            None => Ok(()),
            Some((part, ended)) => {
                flatten(ended).and_then(|()| anyhow::bail!("it ended by itself")).with_context(|| part.to_string())
            }
        }
    }
}

/// One of the things that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Node,
    Dashboard,
    Aggregator,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "the node",
            Self::Dashboard => "the dashboard",
            Self::Aggregator => "an aggregator",
        })
    }
}

/// Tells of a part that did not end well after it was asked to stop.
fn note(part: Part, ended: Result<anyhow::Result<()>, JoinError>) {
    if let Err(error) = flatten(ended) {
        warn!(%part, error = %format!("{error:#}"), "ended badly");
    }
}

fn flatten(ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Result<()> {
    ended.context("a bug ended it")?
}
