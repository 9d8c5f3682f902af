//! The daemon as one service: listeners, tasks, and the order in which they end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use starling_proto::frame::Content;
use starling_service::{
    admin::{self, Readiness},
    listen,
};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    Config, UplinkConfig, UplinkStats, host_facts, metrics,
    receive::{self, SharedReceiver},
    sampler::{Sampler, SamplerConfig},
};

/// How long senders of application metrics have to finish a request that is being taken.
const DOOR_GRACE: Duration = Duration::from_secs(1);
/// How long the admin port has to finish an answer.
const ADMIN_GRACE: Duration = Duration::from_millis(500);

/// The daemon, listening and not yet running.
pub struct Service {
    config: Config,
    admin: TcpListener,
    otlp: Option<TcpListener>,
    latest: watch::Sender<Option<Arc<Content>>>,
    stats: watch::Sender<UplinkStats>,
    ready: watch::Sender<Readiness>,
}

impl Service {
    /// Opens the listeners; port 0 takes a free one.
    ///
    /// # Errors
    /// When an address cannot be listened on, naming the setting and the next step.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let admin = listen::tcp(config.admin_listen, "admin_listen").await?;
        let otlp = match config.otlp_listen {
            Some(address) => Some(listen::tcp(address, "otlp_listen").await?),
            None => None,
        };
        admin::metrics_handle();
        metrics::describe();
        Ok(Self {
            config,
            admin,
            otlp,
            latest: watch::Sender::new(None),
            stats: watch::Sender::new(UplinkStats::default()),
            ready: watch::Sender::new(Readiness::NotReady("no aggregator has taken the stream".to_owned())),
        })
    }

    /// Where `/metrics`, `/live` and `/ready` are.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn admin_address(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Where OTLP over gRPC is taken; `None` when the door is closed.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn otlp_address(&self) -> std::io::Result<Option<SocketAddr>> {
        self.otlp.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// The newest second of this host, as it is cut; `None` before the first.
    #[must_use]
    pub fn latest(&self) -> watch::Receiver<Option<Arc<Content>>> {
        self.latest.subscribe()
    }

    /// What became of the frames, once a second.
    #[must_use]
    pub fn stats(&self) -> watch::Receiver<UplinkStats> {
        self.stats.subscribe()
    }

    /// Whether an aggregator has the stream.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<Readiness> {
        self.ready.subscribe()
    }

    /// Runs until `shutdown`, then drains: the last part of a second is cut, frames are handed over and goodbye is
    /// said within the grace period.
    ///
    /// # Errors
    /// When the admin port or the door fails while running.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { config, admin: admin_listener, otlp, latest, stats, ready } = self;
        let (stop_door, stop_sampler, stop_streams, stop_admin) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let tracker = TaskTracker::new();
        let readiness = ready.subscribe();

        let admin = tokio::spawn(admin::serve(admin_listener, readiness, stop_admin.clone()));
        let shared_door = otlp.as_ref().map(|_| SharedReceiver::new(config.door));
        let door = otlp
            .zip(shared_door.clone())
            .map(|(listener, shared)| tokio::spawn(receive::serve(listener, shared, stop_door.clone())));
        let uplink = uplink_config(&config).await;
        info!(node = %config.node_id, aggregators = ?config.aggregators, otlp = ?config.otlp_listen, "node started");
        let sampler =
            SamplerConfig { collect: config.collect, uplink, door: shared_door, latest, stats, ready: ready.clone() };
        let sampler = Sampler::start(sampler, tracker.clone(), stop_streams.clone()).await;
        let sampler = tokio::spawn(sampler.run(stop_sampler.clone()));

        // A part that ends by itself has failed, and takes the others down in order.
        let (mut admin, mut sampler) = (admin, sampler);
        let mut door = door;
        let failure = tokio::select! {
            () = shutdown.cancelled() => None,
            result = &mut admin => Some(anyhow::anyhow!("the admin port ended: {result:?}")),
            result = wait(&mut door) => Some(anyhow::anyhow!("the OTLP door ended: {result:?}")),
            result = &mut sampler => Some(anyhow::anyhow!("the sampler ended: {result:?}")),
        };
        if let Some(failure) = &failure {
            error!(%failure, "stopping");
        }

        ready.send_replace(Readiness::NotReady("stopping".to_owned()));
        // First the door, so that what it has taken is part of the last second.
        stop_door.cancel();
        if let Some(door) = door.filter(|door| !door.is_finished()) {
            let abort = door.abort_handle();
            if timeout(DOOR_GRACE, door).await.is_err() {
                // A sender that keeps its connection open; no request is being taken for long.
                abort.abort();
            }
        }
        stop_sampler.cancel();
        if !sampler.is_finished()
            && let Err(failed) = sampler.await
        {
            error!(error = %failed, "the sampler failed");
        }
        stop_streams.cancel();
        tracker.close();
        if timeout(config.shutdown_grace + Duration::from_secs(1), tracker.wait()).await.is_err() {
            warn!("the uplink did not end in time");
        }
        stop_admin.cancel();
        if !admin.is_finished() {
            let abort = admin.abort_handle();
            if timeout(ADMIN_GRACE, admin).await.is_err() {
                abort.abort();
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// Waits for the door; for ever when there is none.
async fn wait<T>(task: &mut Option<tokio::task::JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

async fn uplink_config(config: &Config) -> UplinkConfig {
    let collect = config.collect.clone();
    let facts = tokio::task::spawn_blocking(move || host_facts(&collect)).await.context("host facts");
    let host = facts.unwrap_or_else(|failed| {
        // A bug; the daemon is worth more than its facts.
        error!(error = ?failed, "the facts of this host are unknown");
        starling_proto::v1::HostFacts::default()
    });
    UplinkConfig {
        node_id: config.node_id.clone(),
        host,
        labels: config.labels.clone(),
        simulated: false,
        seeds: config.aggregators.clone(),
        ring_frames: config.ring_frames,
        ring_bytes: config.ring_bytes,
        grace: config.shutdown_grace,
    }
}
