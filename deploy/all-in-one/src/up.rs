//! Starting everything in order, and stopping it in the other.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use starling_node::UplinkStats;
use starling_proto::ids::NodeId;
use starling_replay::{FleetConfig, ReplayFleet};
use starling_service::{Program, admin::Readiness, metrics::Registry, parts::Parts, requests::RequestReports};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{Config, plan::Plan};

/// Names of the parts, as they stand in errors.
const NODE: &str = "node";
const DASHBOARD: &str = "dashboard";
const AGGREGATOR: &str = "aggregator";
const READINESS: &str = "readiness";
/// The parts bound their own stops; what takes longer by this is ended by force.
const BEYOND: Duration = Duration::from_secs(10);

/// Everything in one process: aggregators, this host's node, simulated nodes and the dashboard.
pub struct Up {
    plan: Plan,
    config: Config,
    aggregators: Vec<starling_aggregator::Service>,
    grpc: Vec<SocketAddr>,
    node: starling_node::Service,
    dashboard: starling_dashboard::Service,
    ready: watch::Sender<Readiness>,
}

impl Program for Up {
    const NAME: &'static str = "starling";
    const ABOUT: &'static str = "Run everything in one process: aggregator, this host's node and the dashboard";
    const SETTINGS: &'static str = "up";
    // A person at a terminal: what goes wrong, and that a stop was heard.
    const LOG: &'static str = "warn,starling_service::shutdown=info";
    type Config = Config;

    /// Each service counts in a registry of its own, which says in every line whose it is.
    async fn bind(config: Config, _: Registry) -> anyhow::Result<Self> {
        let plan = Plan::of(&config)?;
        let requests = RequestReports::to(format!("http://{}", plan.otlp));
        let mut aggregators: Vec<starling_aggregator::Service> = Vec::new();
        for (i, wanted) in plan.aggregators.iter().enumerate() {
            let mut own = config.aggregator.clone();
            if let Some(name) = &wanted.name {
                own.aggregator_id = NodeId::sanitised(name);
            }
            (own.grpc_listen, own.gossip_listen, own.admin_listen) = (wanted.grpc, wanted.gossip, wanted.admin);
            own.seeds =
                aggregators.iter().filter_map(|other| address(other, "gossip")).map(|at| at.to_string()).collect();
            own.state_dir = plan.state.join(format!("aggregator-{}", i + 1));
            own.requests = requests.clone();
            let registry = Registry::of_service(AGGREGATOR, own.aggregator_id.as_str());
            let bound = starling_aggregator::Service::bind(own, registry).await;
            aggregators.push(
                bound.with_context(|| format!("aggregator {} did not start, see --grpc-port and --state", i + 1))?,
            );
        }
        let grpc: Vec<SocketAddr> = aggregators.iter().filter_map(|aggregator| address(aggregator, "grpc")).collect();
        let known: Vec<String> = grpc.iter().map(SocketAddr::to_string).collect();

        let node = starling_node::Config {
            aggregators: known.clone(),
            otlp: true,
            otlp_listen: plan.otlp,
            otlp_http_listen: plan.otlp_http,
            statsd_listen: plan.statsd,
            admin_listen: plan.node_admin,
            spool_dir: config.node.spool_dir.clone().or_else(|| Some(plan.state.join("node/spool"))),
            ..config.node.clone()
        };
        let registry = Registry::of_service(NODE, config.node.name().as_str());
        let node = starling_node::Service::bind(node, registry);
        let node = node.await.context("the node did not start, see --otlp-listen and --node-admin-port")?;
        let dashboard = starling_dashboard::Config {
            listen: plan.dashboard,
            admin_listen: None,
            aggregators: known,
            requests,
            ..config.dashboard.clone()
        };
        let dashboard = starling_dashboard::Service::bind(dashboard, Registry::of_service(DASHBOARD, DASHBOARD)).await;
        let dashboard = dashboard.context("the dashboard did not start, see --listen")?;
        let ready = watch::Sender::new(Readiness::NotReady("starting".to_owned()));
        Ok(Self { plan, config, aggregators, grpc, node, dashboard, ready })
    }

    /// `http`, `grpc` of the first aggregator, and `otlp`.
    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let http = address(&self.dashboard, "http").map(|at| ("http", at));
        let grpc = self.grpc.first().map(|&at| ("grpc", at));
        http.into_iter().chain(grpc).chain([("otlp", self.plan.otlp)]).collect()
    }

    /// Ready when the dashboard is and a second of this host has been counted: its data is on the page.
    fn readiness(&self) -> watch::Receiver<Readiness> {
        self.ready.subscribe()
    }

    fn introduction(&self) -> Option<String> {
        let beside = match self.plan.simulated {
            0 => String::new(),
            n => format!(" and {n} simulated replays of it"),
        };
        let page = address(&self.dashboard, "http")?;
        let mut text = format!("Starling watches this host ({}){beside}.\n\n", self.config.node.name());
        let _ = writeln!(text, "  page   http://{page}");
        let _ = writeln!(text, "  JSON   http://{page}/api/v1/system/metrics");
        for (i, address) in self.grpc.iter().enumerate() {
            let _ = match i {
                0 => writeln!(text, "  gRPC   grpcurl -plaintext {address} starling.v1.Query/GetCluster"),
                _ => writeln!(text, "         {address}"),
            };
        }
        let http = address(&self.node, "otlp_http").map_or_else(String::new, |at| format!(", {at} by HTTP"));
        let _ = writeln!(text, "  OTLP   {} by gRPC{http}: takes the metrics of applications", self.plan.otlp);
        if let Some(at) = address(&self.node, "statsd") {
            let _ = writeln!(text, "  StatsD {at} by UDP, DogStatsD too");
        }
        let _ = writeln!(text, "  state  {} (history too)\n\nStop it with Ctrl-C.\n", self.plan.state.display());
        Some(text)
    }

    /// Stops first the nodes, so that their last second is counted, then the dashboard, then the aggregators, all at
    /// once, because they hand over to each other.
    async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { plan, config, aggregators, grpc, node, dashboard, ready } = self;
        let (stop_nodes, stop_aggregators) = (CancellationToken::new(), CancellationToken::new());
        let mut parts = Parts::default();
        let running = aggregators.len();
        for aggregator in aggregators {
            parts.start(AGGREGATOR, |_| aggregator.run(stop_aggregators.clone()));
        }
        let fleet = FleetConfig {
            nodes: plan.simulated,
            aggregators: grpc.iter().map(SocketAddr::to_string).collect(),
            host: starling_node::host_facts(&config.node.collect()),
        };
        let fleet = ReplayFleet::start(&fleet, &node.latest(), &stop_nodes);
        let (page, host) = (dashboard.readiness(), node.stats());
        parts.start(READINESS, |stop| async move {
            watch_readiness(page, host, &ready, stop).await;
            Ok(())
        });
        parts.start(NODE, |stop| node.run(stop));
        parts.start(DASHBOARD, |stop| dashboard.run(stop));

        let failure = tokio::select! {
            () = shutdown.cancelled() => None,
            failure = parts.failed() => Some(failure),
        };
        parts.stop(READINESS, BEYOND).await;
        stop_nodes.cancel();
        fleet.ended().await;
        parts.stop(NODE, config.node.shutdown_grace + BEYOND).await;
        parts.stop(DASHBOARD, BEYOND + BEYOND).await;
        stop_aggregators.cancel();
        for _ in 0..running {
            parts.stop(AGGREGATOR, config.aggregator.drain + BEYOND).await;
        }
        info!("everything has stopped");
        failure.map_or(Ok(()), Err)
    }
}

/// See [`Up::readiness`]. Until `stop`.
async fn watch_readiness(
    mut page: watch::Receiver<Readiness>,
    mut host: watch::Receiver<UplinkStats>,
    ready: &watch::Sender<Readiness>,
    stop: CancellationToken,
) {
    loop {
        let counted = host.borrow_and_update().acked > 0;
        let now = match page.borrow_and_update().clone() {
            of_page if of_page.is_ready() && !counted => {
                Readiness::NotReady("no second of this host has been counted".to_owned())
            }
            of_page => of_page,
        };
        ready.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Ok(()) = page.changed() => {}
            Ok(()) = host.changed() => {}
            // Both have ended: what they said last stays.
            else => break,
        }
    }
    stop.cancelled().await;
    ready.send_replace(Readiness::NotReady("stopping".to_owned()));
}

fn address(program: &impl Program, what: &str) -> Option<SocketAddr> {
    program.addresses().into_iter().find(|(name, _)| *name == what).map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use starling_service::{generated, metrics::reference};

    use super::*;

    #[tokio::test]
    async fn the_first_data_is_a_second_of_this_host_that_was_counted() {
        let (page, of_page) = watch::channel(Readiness::NotReady("no aggregator".to_owned()));
        let (host, of_host) = watch::channel(UplinkStats::default());
        let (ready, stop) = (watch::Sender::new(Readiness::Ready), CancellationToken::new());
        let mut seen = ready.subscribe();
        let task = tokio::spawn({
            let stop = stop.clone();
            async move { watch_readiness(of_page, of_host, &ready, stop).await }
        });
        let not = |why: &str| Readiness::NotReady(why.to_owned());
        seen.wait_for(|ready| *ready == not("no aggregator")).await.unwrap();
        page.send_replace(Readiness::Ready);
        seen.wait_for(|ready| *ready == not("no second of this host has been counted")).await.unwrap();
        host.send_modify(|stats| stats.acked = 1);
        seen.wait_for(|ready| *ready == Readiness::Ready).await.unwrap();
        stop.cancel();
        seen.wait_for(|ready| *ready == not("stopping")).await.unwrap();
        task.await.unwrap();
    }

    #[test]
    fn the_reference_of_metrics_is_written_from_the_tables() {
        let mut text = "# Metrics of Starling itself\n\nServed at `/metrics` of each admin port, in the Prometheus text \
                        format. Written from the tables in the code by a test; every program also shows\n\
                        `starling_build_info{version, commit}`, `process_cpu_seconds_total`, \
                        `process_resident_memory_bytes`, `process_open_fds`,\n`process_max_fds` and \
                        `process_start_time_seconds`. Where several services share a process (`starling up`), the lines \
                        of each\ncarry the labels `service` and `name`.\n"
            .to_owned();
        for (program, rows) in [
            ("starling-node", starling_node::Metrics::rows()),
            (
                "starling-aggregator",
                [starling_aggregator::Metrics::rows(), starling_aggregator::NotifierMetrics::rows()].concat(),
            ),
            ("starling-dashboard", starling_dashboard::Metrics::rows()),
        ] {
            text.push_str(&format!("\n## {program}\n\n{}", reference(&rows)));
        }
        text.push_str("\n## Listeners and certificate of every program\n\n");
        let rows = [
            starling_service::listen::ListenMetrics::rows(),
            starling_service::credentials::CredentialMetrics::rows(),
            starling_service::enrolment::RenewalMetrics::rows(),
        ];
        text.push_str(&reference(&rows.concat()));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        generated::is_current(&path, &text).unwrap();
    }
}
