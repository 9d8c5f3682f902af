//! One aggregator from start to stop.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use starling_proto::{
    DESCRIPTORS,
    ids::WriterId,
    limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, NODE_WINDOW_BYTES},
};
use starling_service::{
    admin::{self, Readiness},
    listen,
    requests::RequestMeter,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Server;
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{error, info, warn};

use crate::{
    Config, accept,
    app::App,
    core::Core,
    fleet::{self, Fleet},
    ingest::{self, IngestService, Registry},
    membership::{self, Load, Membership, State},
    peer::{self, Links, PeerService},
    query::{Channels, ClusterService, QueryService, Views},
    requests::MeterLayer,
};
use starling_ledger::{Ledger, LedgerConfig};

/// Streams one client may have open on one connection: a dashboard watches the cluster, the table and some nodes.
const STREAMS_PER_CONNECTION: u32 = 128;
/// Streams reset by a client before its connection is closed, pending and by protocol error (rapid reset,
/// CVE-2023-44487); the defaults of h2, set here so that no builder unsets them.
const PENDING_RESETS_MAX: usize = 20;
const LOCAL_RESETS_MAX: usize = 1_024;
/// How long the last entries may take to reach a peer at the stop.
const HANDOVER_POLL: Duration = Duration::from_millis(50);

/// Where an aggregator can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The gRPC face.
    pub grpc: SocketAddr,
    /// Gossip, UDP.
    pub gossip: SocketAddr,
    /// `/metrics`, `/live`, `/ready`.
    pub admin: SocketAddr,
}

/// A running aggregator. Dropping it stops nothing: cancel the token it was started with, then await
/// [`Service::stopped`].
#[derive(Debug)]
pub struct Service {
    addresses: Addresses,
    ready: watch::Receiver<Readiness>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Service {
    /// Starts an aggregator: when this returns, its ports answer. It stops after `shutdown` is cancelled: it hands its
    /// nodes and its last seconds to the others within [`Config::drain`].
    ///
    /// # Errors
    /// Settings that are not valid, an address that cannot be bound, or a state folder that cannot be written.
    pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        config.check()?;
        let grpc = listen::tcp(config.grpc_listen, "grpc_listen").await?;
        let admin = listen::tcp(config.admin_listen, "admin_listen").await?;
        let tasks = TaskTracker::new();
        let writer = WriterId::random();
        let membership = Membership::start(settings(&config, writer, grpc.local_addr()?), &tasks).await?;
        let addresses =
            Addresses { grpc: grpc.local_addr()?, gossip: membership.gossip_addr(), admin: admin.local_addr()? };
        let app = Arc::new(build(&config, writer, membership, tasks));
        let (ready_sender, ready) = watch::channel(Readiness::NotReady("starting".to_owned()));
        let running = Running { app, config, ready: ready_sender, ended: CancellationToken::new() };
        info!(
            aggregator = %running.app.id, cluster = running.app.cluster, %writer, grpc = %addresses.grpc,
            gossip = %addresses.gossip, admin = %addresses.admin, "aggregator started"
        );
        let parts = running.spawn(grpc, admin, ready.clone())?;
        let task = tokio::spawn(running.until(shutdown, parts));
        Ok(Self { addresses, ready, task })
    }

    /// Where it can be reached, with the ports it was given.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Whether it takes nodes, now and from now on.
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.ready.clone()
    }

    /// Waits until it takes nodes. Returns at once when it has stopped.
    pub async fn ready(&self) {
        let mut ready = self.ready.clone();
        // An error means that it stopped.
        let _ = ready.wait_for(|ready| *ready == Readiness::Ready).await;
    }

    /// Waits until it has stopped, as [`Service::ended`], for those who can do nothing about the reason.
    pub async fn stopped(self) {
        // Whatever ended it was logged where it happened.
        let _ = self.ended().await;
    }

    /// Waits until it has stopped.
    ///
    /// # Errors
    /// It stopped by itself: the clock of this host went back, and only a new process can go on.
    pub async fn ended(self) -> anyhow::Result<()> {
        match self.task.await {
            Ok(ended) => ended,
            Err(error) => {
                error!(%error, "aggregator ended by a bug");
                Err(error).context("aggregator ended by a bug")
            }
        }
    }
}

/// Runs an aggregator until `shutdown`; `on_start` is told where it can be reached once its ports answer.
///
/// # Errors
/// See [`Service::start`] and [`Service::ended`].
pub async fn run(config: Config, shutdown: CancellationToken, on_start: impl FnOnce(Addresses)) -> anyhow::Result<()> {
    let service = Service::start(config, shutdown).await?;
    on_start(service.addresses());
    service.ended().await
}

fn settings(config: &Config, writer: WriterId, grpc: SocketAddr) -> membership::Settings {
    membership::Settings {
        id: config.aggregator_id.clone(),
        writer,
        cluster: config.cluster.clone(),
        listen: config.gossip_listen,
        advertise: config.gossip_advertise,
        seeds: config.seeds.clone(),
        grpc: config.grpc_advertise.clone().unwrap_or_else(|| grpc.to_string()),
        weight: config.weight,
        zone: config.zone.clone(),
        state_dir: config.state_dir.clone(),
    }
}

fn build(config: &Config, writer: WriterId, membership: Membership, tasks: TaskTracker) -> App {
    let copies = u32::from(config.copies);
    let ledger = Ledger::new(
        writer,
        LedgerConfig { aggregator_id: config.aggregator_id.to_string(), copies, ..LedgerConfig::default() },
    );
    let meter = match &config.report_requests_to {
        Some(endpoint) => RequestMeter::start(endpoint, "starling-aggregator", config.aggregator_id.as_str()),
        None => RequestMeter::disabled(),
    };
    App {
        id: config.aggregator_id.clone(),
        cluster: config.cluster.clone(),
        core: Arc::new(Core::new(ledger, copies, membership.clone())),
        membership,
        registry: Registry::new(config.group_by.clone(), config.groups_max, config.nodes_max),
        fleet: Fleet::new(writer),
        links: Links::default(),
        channels: Channels::default(),
        views: Views::default(),
        meter,
        tasks,
        draining: CancellationToken::new(),
        stop: CancellationToken::new(),
    }
}

/// What runs beside the shared tasks and ends last.
struct Parts {
    server: JoinHandle<()>,
    admin: JoinHandle<()>,
    driver: JoinHandle<()>,
    health: HealthReporter,
}

struct Running {
    app: Arc<App>,
    config: Config,
    ready: watch::Sender<Readiness>,
    /// The servers and the driver of the ledger end, after everything else.
    ended: CancellationToken,
}

impl Running {
    fn spawn(&self, grpc: TcpListener, admin: TcpListener, ready: watch::Receiver<Readiness>) -> anyhow::Result<Parts> {
        let app = &self.app;
        let (health, health_service) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .context("descriptors for reflection")?;
        let reflection_alpha = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1alpha()
            .context("descriptors for reflection")?;
        let router = Server::builder()
            .initial_stream_window_size(NODE_WINDOW_BYTES)
            .initial_connection_window_size(NODE_WINDOW_BYTES)
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
            .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
            .layer(MeterLayer(app.meter.clone()))
            .add_service(IngestService::server(app.clone()))
            .add_service(PeerService::server(app.clone()))
            .add_service(QueryService::server(app.clone()))
            .add_service(ClusterService::server(app.clone()))
            .add_service(health_service)
            .add_service(reflection)
            .add_service(reflection_alpha);
        let ended = self.ended.clone();
        let server = tokio::spawn(async move {
            let served = router.serve_with_incoming_shutdown(accept::connections(grpc), ended.cancelled_owned()).await;
            if let Err(error) = served {
                error!(error = %format!("{:#}", anyhow::Error::from(error)), "the grpc server ended");
            }
        });
        let ended = self.ended.clone();
        let admin = tokio::spawn(async move {
            if let Err(error) = admin::serve(admin, ready, ended).await {
                error!(%error, "the admin server ended");
            }
        });
        let driver = tokio::spawn(app.core.clone().drive(self.ended.clone()));
        app.tasks.spawn(peer::dial_peers(app.clone()));
        app.tasks.spawn(fleet::publish_rows(app.clone()));
        app.tasks.spawn(ingest::rebalance(app.clone()));
        Ok(Parts { server, admin, driver, health })
    }

    /// Shows whether we are ready and how busy, until `shutdown`; then stops. Also stops, with an error, when the
    /// clock went back: whoever watches over this process starts a new one, which is a new writer by the new time.
    async fn until(self, shutdown: CancellationToken, parts: Parts) -> anyhow::Result<()> {
        let mut clock_back = self.app.core.clock_back();
        let mut membership = self.app.membership.subscribe();
        let mut published = self.app.core.published();
        loop {
            let view = membership.borrow_and_update().clone();
            let readiness = match view.me.state {
                _ if view.degraded => Readiness::NotReady("gossip keeps failing".to_owned()),
                State::Ready => Readiness::Ready,
                State::Joining => Readiness::NotReady("joining: the membership has not settled yet".to_owned()),
                State::Leaving => Readiness::NotReady("leaving".to_owned()),
            };
            self.show(&parts.health, readiness).await;
            let settled = published.borrow_and_update().settled;
            let nodes = u32::try_from(self.app.core.ledger().sessions_len()).unwrap_or(u32::MAX);
            self.app.membership.publish(Load { nodes, closed: settled });
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Ok(_) = clock_back.wait_for(Option::is_some) => break,
                _ = membership.changed() => {}
                _ = published.changed() => {}
            }
        }
        let back = *clock_back.borrow();
        let result = match back {
            Some(by) => Err(anyhow::anyhow!(
                "the clock of this host went back by {:.1} s: this process has closed seconds that are still to come \
                 and must be started anew",
                by.as_secs_f64()
            )),
            None => Ok(()),
        };
        let why = result.as_ref().err().map_or_else(|| "stopping".to_owned(), ToString::to_string);
        self.stop(parts, why).await;
        result
    }

    async fn show(&self, health: &HealthReporter, readiness: Readiness) {
        let changed = self.ready.send_if_modified(|shown| {
            let differs = *shown != readiness;
            shown.clone_from(&readiness);
            differs
        });
        if changed {
            let status = match readiness {
                Readiness::Ready => ServingStatus::Serving,
                Readiness::NotReady(_) => ServingStatus::NotServing,
            };
            health.set_service_status("", status).await;
            for service in ["starling.v1.Ingest", "starling.v1.Query", "starling.v1.Cluster", "starling.v1.Peer"] {
                health.set_service_status(service, status).await;
            }
        }
    }

    /// The order of the stop: not ready; leave the cluster; send the nodes away; hand the last seconds over; end the
    /// streams; end the servers. [`Config::drain`] bounds it all.
    async fn stop(self, parts: Parts, why: String) {
        let deadline = Instant::now() + self.config.drain;
        info!(why, "stopping");
        self.show(&parts.health, Readiness::NotReady(why)).await;
        let app = &self.app;
        app.draining.cancel();
        let left = tokio::time::timeout_at(deadline.into(), app.membership.leave());
        let (left, handed_over) = tokio::join!(left, self.hand_over(deadline));
        if left.is_err() || !handed_over {
            warn!(left = left.is_ok(), handed_over, "stopped before everything was handed over");
        }
        app.stop.cancel();
        app.tasks.close();
        if tokio::time::timeout_at(deadline.into(), app.tasks.wait()).await.is_err() {
            warn!(tasks = app.tasks.len(), "streams did not end in time");
        }
        self.ended.cancel();
        for (name, mut task) in [("grpc server", parts.server), ("admin server", parts.admin), ("ledger", parts.driver)]
        {
            if tokio::time::timeout_at(deadline.into(), &mut task).await.is_err() {
                warn!(name, "ended by force");
                task.abort();
            }
        }
        app.meter.clone().shutdown().await;
        info!("aggregator stopped");
    }

    /// Makes entries of everything pending and waits until some peer holds all of it. True when nothing is lost by
    /// going now.
    async fn hand_over(&self, deadline: Instant) -> bool {
        let core = &self.app.core;
        while !self.app.registry.connected().is_empty() && Instant::now() < deadline {
            tokio::time::sleep(HANDOVER_POLL).await;
        }
        core.flush();
        loop {
            let peers = core.ledger().peers();
            let reachable: Vec<_> = peers.into_iter().filter(|peer| self.app.links.has(peer.writer)).collect();
            if reachable.is_empty() || reachable.iter().any(|peer| peer.behind == 0) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(HANDOVER_POLL).await;
        }
    }
}
