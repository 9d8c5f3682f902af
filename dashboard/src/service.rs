//! Building, running and stopping the server.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use starling_service::{
    admin::{self, Readiness},
    listen,
    requests::RequestMeter,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    app::App,
    config::Config,
    feed, http,
    hub::{Group, Link, Source},
    metrics,
    shared::Shared,
};

/// How long requests and sockets may take to end after the server was asked to stop. A page is gone in milliseconds.
const GRACE: Duration = Duration::from_secs(5);
/// What the kernel may hold for a client that does not read (it doubles the number). Without a bound it grows to
/// megabytes, which is many minutes of ticks: the client would draw the distant past before it hears that it is behind.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// How often the samples of our own histograms are folded: once per usual scrape interval is enough.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// A dashboard server that has its ports and does not answer yet.
///
/// ```no_run
/// # async fn example() -> anyhow::Result<()> {
/// use starling_dashboard::{Config, Service};
/// let config = Config { listen: "127.0.0.1:0".parse()?, ..Config::default() };
/// let service = Service::bind(config).await?;
/// println!("http://{}", service.address());
/// service.run(tokio_util::sync::CancellationToken::new()).await
/// # }
/// ```
#[derive(Debug)]
pub struct Service {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    admin: Option<(TcpListener, SocketAddr)>,
}

impl Service {
    /// Opens the ports; port 0 takes a free one.
    ///
    /// # Errors
    /// When a port is taken or an address is not allowed; the message names the setting.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let listener = listen::tcp(config.listen, "listen").await?;
        let address = listener.local_addr().context("listen")?;
        let admin = match config.admin_listen {
            None => None,
            Some(wanted) => {
                let listener = listen::tcp(wanted, "admin_listen").await?;
                let address = listener.local_addr().context("admin_listen")?;
                Some((listener, address))
            }
        };
        Ok(Self { config, listener, address, admin })
    }

    /// Where the page is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where `/metrics`, `/live` and `/ready` are served.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.as_ref().map_or(self.address, |(_, address)| *address)
    }

    /// Serves until `shutdown`, then drains: not ready; no new connections, sockets get their close frames; the
    /// aggregator is left; the last own measurements are sent. Takes at most about ten seconds.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { config, listener, address, admin } = self;
        // Cancelled with `shutdown`, and when a listener fails.
        let stop = shutdown.child_token();
        metrics::describe();
        let meter = match &config.otlp_endpoint {
            Some(endpoint) => RequestMeter::start(endpoint, "starling-dashboard", &address.to_string()),
            None => RequestMeter::disabled(),
        };
        let shared = Shared::new(config.limits.watches as usize);
        let (ready, is_ready) = watch::channel(Readiness::NotReady("starting".to_owned()));
        let (tasks, sockets) = (TaskTracker::new(), TaskTracker::new());
        tasks.spawn(feed::run(Arc::clone(&shared), config.aggregators.clone(), stop.clone()));
        tasks.spawn(watch_readiness(Arc::clone(&shared), ready, stop.clone()));

        let beside = if admin.is_none() { Some(admin::router(is_ready.clone())) } else { None };
        let app = App::new(&config, shared, meter.clone(), sockets.clone(), stop.clone());
        let server = axum::serve(listener.tap_io(prepare), http::router(app, beside))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let admin_server = async {
            match admin {
                Some((listener, _)) => admin::serve(listener, is_ready, stop.clone()).await,
                None => {
                    upkeep(&stop).await;
                    Ok(())
                }
            }
        };
        info!(%address, aggregators = ?config.aggregators, "dashboard serves");
        let servers = async { tokio::try_join!(server.into_future(), admin_server) };
        let outcome = tokio::select! {
            outcome = servers => outcome.map(drop).context("a listener failed"),
            () = grace(&stop) => {
                warn!("connections are still open after the grace period");
                Ok(())
            }
        };
        stop.cancel();
        for tracker in [sockets, tasks] {
            tracker.close();
            if timeout(GRACE, tracker.wait()).await.is_err() {
                warn!(left = tracker.len(), "tasks are still running after the grace period");
            }
        }
        meter.shutdown().await;
        info!("dashboard stopped");
        outcome
    }
}

/// Ends [`GRACE`] after the server was asked to stop.
async fn grace(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(GRACE).await;
}

/// Settings of a new connection. One that cannot be set is no reason to refuse the client.
fn prepare(stream: &mut TcpStream) {
    // A tick is smaller than a segment and must not wait for the next.
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&*stream, SEND_BUFFER_BYTES);
}

/// Folds samples while nobody else does.
async fn upkeep(stop: &CancellationToken) {
    let mut timer = interval(UPKEEP_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = timer.tick() => admin::metrics_handle().run_upkeep(),
        }
    }
}

/// Ready means: an aggregator is connected and the cluster's seconds come in.
async fn watch_readiness(shared: Arc<Shared>, ready: watch::Sender<Readiness>, stop: CancellationToken) {
    let mut published = shared.published();
    loop {
        let now = shared.with(|hub| match hub.link() {
            Link::Down { reason } => Readiness::NotReady(format!("no aggregator is reached ({reason})")),
            Link::Up { .. } if hub.reading(&Source::Cluster(Group::all())).is_some() => Readiness::Ready,
            Link::Up { name } => Readiness::NotReady(format!("no data from aggregator {name} yet")),
        });
        ready.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = published.changed() => if changed.is_err() { break },
        }
    }
    ready.send_replace(Readiness::NotReady("stopping".to_owned()));
}
