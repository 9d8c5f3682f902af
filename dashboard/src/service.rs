//! Building, running and stopping the server.

use std::{future::Future, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use starling_proto::group::Group;
use starling_service::{
    Program,
    admin::{self, Readiness},
    credentials::{CredentialMetrics, Security},
    enrolment::{self, Renewal, RenewalMetrics},
    identity::Role,
    listen::{self, Connections, ListenMetrics, serve_http},
    metrics::Registry,
    parts::Parts,
    settings::Settings as _,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    access::{self, Access, Accounts, Lifetimes},
    config::Config,
    feed, http,
    hub::{Link, Source, Standing},
    live, mcp,
    metrics::Metrics,
    rest,
    shared::Shared,
};

/// How long requests and sockets may take to end after the server was asked to stop. A page is gone in milliseconds.
const GRACE: Duration = Duration::from_secs(5);
/// Readiness is looked at this often when nothing comes.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What the kernel may hold for a client that does not read (it doubles the number). Without a bound it grows to
/// megabytes, which is many minutes of ticks: the client would draw the distant past before it hears that it is behind.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Names of the parts, as they stand in errors.
const HTTP: &str = "HTTP server";
const ADMIN: &str = "admin port";
const CREDENTIALS: &str = "watch over the certificate";
const RENEWAL: &str = "renewal of the certificate";
const FEED: &str = "feed";
const ACCOUNTS: &str = "users and tokens";
const READINESS: &str = "readiness";

/// A dashboard server that has its ports and does not answer yet.
///
/// ```no_run
/// # async fn example() -> anyhow::Result<()> {
/// use starling_dashboard::{Config, Service};
/// use starling_service::Program as _;
/// let config = Config { listen: "127.0.0.1:0".parse()?, ..Config::default() };
/// let service = Service::bind(config, starling_service::metrics::Registry::default()).await?;
/// println!("{:?}", service.addresses());
/// service.run(tokio_util::sync::CancellationToken::new()).await
/// # }
/// ```
pub struct Service {
    config: Config,
    registry: Arc<Registry>,
    shared: Arc<Shared>,
    security: Security,
    listening: (ListenMetrics, CredentialMetrics, RenewalMetrics),
    accounts: Option<Accounts>,
    http: (TcpListener, SocketAddr),
    admin: Option<(TcpListener, SocketAddr)>,
    ready: watch::Sender<Readiness>,
}

impl Program for Service {
    const NAME: &'static str = "starling-dashboard";
    const ABOUT: &'static str =
        "Serves the Starling dashboard: the page, the JSON API and live WebSockets over any aggregator.";
    const SETTINGS: &'static str = "dashboard";
    const ROLE: Option<Role> = Some(Role::Dashboard);
    type Config = Config;

    async fn bind(config: Config, mut registry: Registry) -> anyhow::Result<Self> {
        config.check()?;
        let accounts = accounts(config.users.clone()).await?;
        let security = enrolment::security(&config.tls, Role::Dashboard, false).await?;
        let config = Config { aggregators: enrolment::aggregators(&config.aggregators, &config.tls), ..config };
        let certificates = (CredentialMetrics::new(&mut registry), RenewalMetrics::new(&mut registry));
        let listening = (ListenMetrics::new(&mut registry), certificates.0, certificates.1);
        let http = listen::tcp(config.listen, "listen")?;
        let admin = match config.admin_listen {
            None => None,
            Some(wanted) => Some(listen::tcp(wanted, "admin_listen")?),
        };
        let shared = Shared::new(config.limits.watches as usize, Metrics::new(&mut registry));
        let registry = Arc::new(registry);
        Ok(Self {
            config,
            registry,
            shared,
            security,
            listening,
            accounts,
            http,
            admin,
            ready: watch::Sender::new(Readiness::NotReady("starting".to_owned())),
        })
    }

    /// `http` for the page, the JSON API and the WebSockets; `admin` for `/metrics`, `/live` and `/ready`.
    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let admin = self.admin.as_ref().map_or(self.http.1, |(_, address)| *address);
        vec![("http", self.http.1), ("admin", admin)]
    }

    /// Whether an aggregator is connected and the cluster's seconds come in.
    fn readiness(&self) -> watch::Receiver<Readiness> {
        self.ready.subscribe()
    }

    /// On `shutdown`: not ready; no new connections, sockets get their close frames; the aggregator is left; the last
    /// own measurements are sent. Takes at most about ten seconds.
    async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { config, registry, shared, security, listening, accounts, http: (listener, address), admin, ready } =
            self;
        let meter = config.requests.meter(Self::NAME, &address.to_string());
        // Asks every socket and stream to end.
        let stop = CancellationToken::new();
        let mut parts = Parts::default();
        parts.start(FEED, {
            let (shared, from) = (Arc::clone(&shared), (security.clone(), config.aggregators.clone()));
            |stop| done(feed::run(shared, from, stop))
        });
        let (listening, credentials, renewals) = listening;
        let renewal = Renewal::of(&config.tls, Role::Dashboard, Vec::new());
        parts.start(RENEWAL, |stop| done(Renewal::run(renewal, renewals, stop)));
        parts.start(READINESS, {
            let (shared, ready, security) = (Arc::clone(&shared), ready.clone(), security.clone());
            |stop| done(watch_readiness(shared, security, ready, stop))
        });
        parts.start(CREDENTIALS, |stop| done(security.run(credentials, stop)));
        let beside = if admin.is_none() { Some(admin::router(registry.clone(), ready.subscribe())) } else { None };
        if let Some((listener, _)) = admin {
            let is_ready = ready.subscribe();
            let admin = Connections::of(listener).counted(listening.clone());
            parts.start(ADMIN, |stop| async move {
                Ok(admin::serve(admin, registry, is_ready, admin::Beside::default(), stop).await?)
            });
        }
        let metrics = shared.metrics().clone();
        let guard = http::Guard::new(http::Hosts::new(&config.allowed_hosts), metrics.clone());
        let sockets =
            live::Sockets::new(config.limits.clients, shared.published(), stop.clone(), meter.clone(), metrics);
        let lifetimes = Lifetimes { idle: config.sessions.idle_secs, whole: config.sessions.whole_secs };
        let access = Access::new(accounts, lifetimes, shared.metrics().clone());
        if let Some(file) = config.users.clone() {
            let access = Arc::clone(&access);
            parts.start(ACCOUNTS, |stop| done(access::follow(access, file, stop)));
            if address.ip().is_loopback() && !config.allowed_hosts.is_empty() && config.trusted_proxies.is_empty() {
                warn!(
                    "all requests through the proxy before this server count as one address, also wrong passwords: name the proxy in \
                     trusted_proxies, such as [\"127.0.0.1\"]"
                );
            }
        } else if !config.allowed_hosts.is_empty() && !config.without_login {
            warn!(
                "allowed_hosts names this server to others and there is no log-in: whoever reaches it sees everything and may silence \
                 alerts; set users, or without_login = true if that is meant"
            );
        }
        let base = config.base_path.as_deref().unwrap_or_default();
        let gate = http::Gate {
            cookies: Arc::new(http::Cookies::new(address.port(), base, lifetimes.whole)),
            proxies: config.trusted_proxies.as_slice().into(),
            base: base.into(),
            rates: http::Rates::new(config.limits.requests),
            access: Arc::clone(&access),
        };
        let endpoints = rest::router(&shared, sockets.clone(), access, (base, config.target_rps));
        let router = http::router(
            endpoints.clone().merge(mcp::router(endpoints)),
            live::router(shared, sockets.clone(), config.target_rps),
            beside,
            (guard, gate),
            meter.clone(),
        );
        let connections = Connections::of(listener).prepared(prepare).counted(listening);
        parts.start(HTTP, |stop| async move { Ok(serve_http(connections, router, stop.cancelled_owned()).await?) });
        info!(%address, aggregators = ?config.aggregators, "dashboard started");

        let failure = tokio::select! {
            () = shutdown.cancelled() => None,
            failure = parts.failed() => Some(failure),
        };
        let why = failure.as_ref().map_or_else(|| "stopping".to_owned(), |failure| format!("{failure:#}"));
        info!(why, "draining");
        parts.stop(READINESS, GRACE).await;
        ready.send_replace(Readiness::NotReady(why));
        stop.cancel();
        // Answers that are on their way and close frames; a page is gone in milliseconds.
        parts.stop(HTTP, GRACE).await;
        if timeout(GRACE, sockets.ended()).await.is_err() {
            warn!(left = sockets.open(), "sockets are still open after the grace period");
        }
        for part in [FEED, ADMIN, ACCOUNTS] {
            parts.stop(part, GRACE).await;
        }
        meter.shutdown().await;
        info!("dashboard stopped");
        failure.map_or(Ok(()), Err)
    }
}

/// Who may use the page, of the file that the settings name.
async fn accounts(file: Option<PathBuf>) -> anyhow::Result<Option<Accounts>> {
    let Some(file) = file else { return Ok(None) };
    let shown = file.display().to_string();
    let read = tokio::task::spawn_blocking(move || access::read(&file)).await?;
    let accounts = read.map_err(|error| anyhow::anyhow!("users: {error}"))?;
    let next = format!("starling users add NAME --role admin --file {shown}");
    anyhow::ensure!(!accounts.is_empty(), "users: nobody is in {shown}, so that nobody could sign in; run {next}");
    Ok(Some(accounts))
}

async fn done(part: impl Future<Output = ()>) -> anyhow::Result<()> {
    part.await;
    Ok(())
}

/// Of a new connection. One that cannot be set is no reason to refuse the client.
fn prepare(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER_BYTES);
}

/// Ready means: an aggregator is connected, the cluster's seconds come in, and what is open is known or that it has no
/// alerts.
async fn watch_readiness(
    shared: Arc<Shared>,
    security: Security,
    ready: watch::Sender<Readiness>,
    stop: CancellationToken,
) {
    let mut published = shared.published();
    loop {
        let now = shared.with(|hub| match hub.link() {
            Link::Down { reason } => Readiness::NotReady(format!("no aggregator is reached ({reason})")),
            Link::Up { name } if *hub.alerts_standing() == Standing::Waiting => {
                Readiness::NotReady(format!("no alerts from aggregator {name} yet"))
            }
            Link::Up { .. } if hub.reading(&Source::Cluster(Group::cluster())).is_some() => Readiness::Ready,
            Link::Up { name } => Readiness::NotReady(format!("no data from aggregator {name} yet")),
        });
        let now = now.of(&security);
        ready.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = published.changed() => if changed.is_err() { break },
            // A certificate ends without news.
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
