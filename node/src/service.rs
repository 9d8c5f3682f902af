//! The daemon as one service: listeners, tasks, and the order in which they end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use starling_proto::{frame::Content, ids::NodeId, v1};
use starling_service::{
    Program,
    admin::{self, Readiness},
    clock,
    credentials::{CredentialMetrics, Security},
    enrolment::{self, Renewal, RenewalMetrics},
    identity::Role,
    listen::{self, Connections, ListenMetrics},
    metrics::Registry,
    parts::Parts,
    program::Once,
    settings::Settings as _,
};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    Config, UplinkConfig, UplinkStats, host_facts,
    looking::Looking,
    machine,
    metrics::Metrics,
    receive::{self, OtlpPorts, SharedReceiver, StatsdPorts},
    sampler::{Sampler, SamplerConfig},
    uplink::{Former, Found, Spool},
};

/// Names of the parts, as they stand in errors.
const ADMIN: &str = "admin port";
const CREDENTIALS: &str = "watch over the certificate";
const RENEWAL: &str = "renewal of the certificate";
const RECEIVER: &str = "OTLP receiver";
const STATSD: &str = "StatsD receiver";
const SCRAPER: &str = "scraper";
const SAMPLER: &str = "sampler";
const LOOKING: &str = "looking";
/// How long senders of application metrics have to finish a request that is being taken.
const RECEIVER_GRACE: Duration = Duration::from_secs(1);
/// How long the sampler has for its last cut; it waits 300 ms at most for the collectors.
const SAMPLER_GRACE: Duration = Duration::from_secs(2);
/// How long the facts of the host may take to read. Usually a millisecond.
const FACTS_WITHIN: Duration = Duration::from_secs(1);
/// Folder of frames for clusters without certificates; no trust domain has such a letter.
const PLAIN: &str = "PLAIN";
/// How long reading what starts before left may take: 25 MB, where aggregators were away for a quarter of an hour.
const SPOOL_WITHIN: Duration = Duration::from_secs(10);
/// How long the admin port has to finish an answer.
const ADMIN_GRACE: Duration = Duration::from_millis(500);

/// The daemon, listening and not yet running.
pub struct Service {
    config: Config,
    node: NodeId,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    security: Security,
    listening: (ListenMetrics, CredentialMetrics, RenewalMetrics),
    admin: (TcpListener, SocketAddr),
    otlp: Option<OtlpPorts>,
    statsd: Option<StatsdPorts>,
    latest: watch::Sender<Option<Arc<Content>>>,
    stats: watch::Sender<UplinkStats>,
    ready: watch::Sender<Readiness>,
}

impl Service {
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
}

impl Program for Service {
    const NAME: &'static str = "starling-node";
    const ABOUT: &'static str =
        "Reads this host every second, takes application metrics by OTLP and StatsD, and hands both to an aggregator.";
    const SETTINGS: &'static str = "node";
    const ROLE: Option<Role> = Some(Role::Node);
    // Receivers give way within 5 ms, what takes longer has a thread of its own, and a second one is woken for nothing.
    const THREADS: Option<usize> = Some(1);
    const ONCE: Option<Once<Config>> = Some(crate::once::once);
    type Config = Config;

    async fn bind(config: Config, mut registry: Registry) -> anyhow::Result<Self> {
        config.check()?;
        let security = enrolment::security(&config.tls, Role::Node, false).await?;
        let config = Config { aggregators: enrolment::aggregators(&config.aggregators, &config.tls), ..config };
        let node = security.identity().map_or_else(|| config.name(), |identity| identity.name);
        let certificates = (CredentialMetrics::new(&mut registry), RenewalMetrics::new(&mut registry));
        let listening = (ListenMetrics::new(&mut registry), certificates.0, certificates.1);
        let admin = listen::tcp(config.admin_listen, "admin_listen")?;
        let otlp = if config.otlp { Some(otlp_ports(&config).await?) } else { None };
        let statsd = config.statsd().map(|settings| StatsdPorts::open(&settings)).transpose()?;
        let metrics = Arc::new(Metrics::new(&mut registry));
        Ok(Self {
            config,
            node,
            registry: Arc::new(registry),
            metrics,
            security,
            listening,
            admin,
            otlp,
            statsd,
            latest: watch::Sender::new(None),
            stats: watch::Sender::new(UplinkStats::default()),
            ready: watch::Sender::new(Readiness::NotReady("no aggregator has taken the stream".to_owned())),
        })
    }

    /// `admin`, and `otlp`, `otlp_http` and `statsd` where application metrics are taken so.
    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let otlp = self.otlp.iter().flat_map(OtlpPorts::addresses);
        let statsd = self.statsd.iter().flat_map(StatsdPorts::addresses);
        [("admin", self.admin.1)].into_iter().chain(otlp).chain(statsd).collect()
    }

    /// Whether an aggregator has the stream.
    fn readiness(&self) -> watch::Receiver<Readiness> {
        self.ready.subscribe()
    }

    /// On `shutdown` the last part of a second is cut, frames are handed over and the stream is ended within the grace
    /// period.
    async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let listens = self.addresses();
        let Self {
            config,
            node,
            registry,
            metrics,
            security,
            listening,
            admin: (admin, _),
            otlp,
            statsd,
            latest,
            stats,
            ready,
        } = self;
        let (streams, stop_streams) = (TaskTracker::new(), CancellationToken::new());
        let mut parts = Parts::default();

        let readiness = ready.subscribe();
        let (listening, credentials, renewals) = listening;
        let admin = Connections::of(admin).counted(listening.clone());
        parts.start(CREDENTIALS, {
            let security = security.clone();
            |stop| async move {
                security.run(credentials, stop).await;
                Ok(())
            }
        });
        let renewal = Renewal::of(&config.tls, Role::Node, Vec::new());
        parts.start(RENEWAL, |stop| async move {
            Renewal::run(renewal, renewals, stop).await;
            Ok(())
        });
        parts.start(ADMIN, |stop| async move {
            Ok(admin::serve(admin, registry, readiness, admin::Beside::default(), stop).await?)
        });
        let takes = otlp.is_some() || statsd.is_some() || config.scrape().is_some();
        let receiver =
            takes.then(|| SharedReceiver::new(config.receiver(), config.mappings.clone(), config.promote.clone()));
        if let Some((ports, shared)) = otlp.zip(receiver.clone()) {
            let metrics = Arc::clone(&metrics);
            parts.start(RECEIVER, |stop| async move {
                Ok(receive::serve(ports, shared, (metrics, listening), stop).await?)
            });
        }
        if let Some((ports, shared)) = statsd.zip(receiver.clone()) {
            let (rules, metrics) = (config.statsd_rules(), Arc::clone(&metrics));
            parts.start(
                STATSD,
                |stop| async move { Ok(receive::serve_statsd(ports, shared, rules, metrics, stop).await?) },
            );
        }
        if let Some((settings, shared)) = config.scrape().zip(receiver.clone()) {
            let metrics = Arc::clone(&metrics);
            parts.start(SCRAPER, |stop| async move {
                receive::serve_scrapes(settings, shared, metrics, stop).await;
                Ok(())
            });
        }
        info!(%node, aggregators = ?config.aggregators, otlp = config.otlp, statsd = config.statsd, "node started");
        let mut uplink = uplink_config(&config, node, security).await;
        uplink.host = with_receivers(uplink.host, &listens);
        let (looking, line) = Looking::new(config.collect(), Arc::clone(&metrics));
        uplink.detail = Some(line);
        parts.start(LOOKING, |stop| async move {
            looking.run(stop).await;
            Ok(())
        });
        let spool = open_spool(&config, &uplink).await;
        let sampler = SamplerConfig {
            collect: config.collect(),
            uplink,
            spool,
            receiver,
            latest,
            stats,
            ready: ready.clone(),
            metrics,
        };
        let sampler = Sampler::start(sampler, streams.clone(), stop_streams.clone()).await;
        parts.start(SAMPLER, |stop| async move {
            sampler.run(stop).await;
            Ok(())
        });

        let failure = tokio::select! {
            () = shutdown.cancelled() => None,
            failure = parts.failed() => Some(failure),
        };
        let why = failure.as_ref().map_or_else(|| "stopping".to_owned(), |failure| format!("{failure:#}"));
        info!(why, "draining");
        // The sampler publishes readiness until it ends, hence again after it.
        ready.send_replace(Readiness::NotReady(why.clone()));
        // First the receiver, so that what it has taken is part of the last second. A sender that keeps its connection
        // open is cut off; no request is being taken for long.
        parts.stop(RECEIVER, RECEIVER_GRACE).await;
        parts.stop(STATSD, RECEIVER_GRACE).await;
        parts.stop(SCRAPER, RECEIVER_GRACE).await;
        parts.stop(SAMPLER, SAMPLER_GRACE).await;
        ready.send_replace(Readiness::NotReady(why));
        stop_streams.cancel();
        streams.close();
        if timeout(config.shutdown_grace + Duration::from_secs(1), streams.wait()).await.is_err() {
            warn!("the uplink did not end in time");
        }
        parts.stop(ADMIN, ADMIN_GRACE).await;
        failure.map_or(Ok(()), Err)
    }
}

/// Opens the ports of OTLP.
///
/// # Errors
/// [`listen::ListenError`], naming the setting. The HTTP port is given up without an error when it was left at its
/// default and taken, and the gRPC port was set: a second daemon on one host, or one beside an OpenTelemetry Collector.
async fn otlp_ports(config: &Config) -> Result<OtlpPorts, listen::ListenError> {
    let grpc = listen::tcp(config.otlp_listen, "otlp_listen")?;
    let defaults = Config::default();
    let is_spare = config.otlp_http_listen == defaults.otlp_http_listen && config.otlp_listen != defaults.otlp_listen;
    let http = match listen::tcp(config.otlp_http_listen, "otlp_http_listen") {
        Ok(http) => Some(http),
        Err(reason) if is_spare => {
            warn!(%reason, "OTLP over HTTP is not taken");
            None
        }
        Err(error) => return Err(error),
    };
    Ok(OtlpPorts { grpc, http })
}

/// The frames that starts before left on the disk. A disk that does not answer, or that cannot be written, costs only that.
///
/// Each cluster has a folder of its own: what was cut for one is never sent to another. In plain text they have no names.
async fn open_spool(config: &Config, uplink: &UplinkConfig) -> Option<(Spool, Found)> {
    let cluster = uplink.security.identity().map(|own| own.trust_domain);
    let folder = config.spool_folder()?.join(cluster.as_deref().unwrap_or(PLAIN));
    let (node, boot) = (uplink.node_id.clone(), uplink.machine.boot.unwrap_or_default());
    let now = u32::try_from(clock::unix().as_secs()).unwrap_or(u32::MAX);
    let shown = folder.display().to_string();
    let opening = tokio::task::spawn_blocking(move || Spool::open(&folder, &node, boot, now));
    let why = match timeout(SPOOL_WITHIN, opening).await {
        Ok(Ok(Ok((spool, found)))) => {
            let current = found.current.as_ref().map_or(0, Former::len);
            let former: usize = found.former.iter().map(Former::len).sum();
            if current + former > 0 || found.unreadable > 0 {
                let unreadable = found.unreadable;
                info!(folder = %shown, current, former, unreadable, "frames of starts before are on the disk");
            }
            return Some((spool, found));
        }
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the disk does not answer within {SPOOL_WITHIN:?}"),
    };
    let next = "set spool_dir to a folder that this user may write, or spool = false";
    warn!(folder = %shown, why, next, "frames are kept in memory only, and lost when the daemon ends unacknowledged");
    None
}

/// The facts of the host with where its daemon takes the metrics of applications.
fn with_receivers(host: v1::HostFacts, listens: &[(&'static str, SocketAddr)]) -> v1::HostFacts {
    let of = |name: &str| listens.iter().find(|(is, _)| *is == name).map(|(_, at)| at.to_string()).unwrap_or_default();
    v1::HostFacts { otlp_listen: of("otlp"), otlp_http_listen: of("otlp_http"), statsd_listen: of("statsd"), ..host }
}

async fn uplink_config(config: &Config, node_id: NodeId, security: Security) -> UplinkConfig {
    let collect = config.collect();
    let facts = tokio::task::spawn_blocking(move || (host_facts(&collect), machine(&collect)));
    // The daemon is worth more than the facts of its host.
    let (host, machine) = match timeout(FACTS_WITHIN, facts).await {
        Ok(Ok(facts)) => facts,
        Ok(Err(bug)) => {
            error!(error = ?bug, "the facts of this host are unknown");
            Default::default()
        }
        Err(_) => {
            warn!(procfs = %config.procfs.display(), "the facts of this host are unknown, a read does not return");
            Default::default()
        }
    };
    UplinkConfig {
        node_id,
        host,
        machine,
        labels: config.labels.clone(),
        simulated: false,
        seeds: config.aggregators.clone(),
        security,
        ring_frames: config.ring_frames,
        ring_bytes: config.ring_max_bytes,
        grace: config.shutdown_grace,
        collectors: None,
        detail: None,
    }
}
