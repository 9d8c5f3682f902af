//! One aggregator from start to stop.

use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use starling_proto::{
    DESCRIPTORS,
    address::host_port,
    ids::WriterId,
    limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, NODE_WINDOW_BYTES},
};
use starling_service::{
    Program,
    admin::{self, Readiness},
    credentials::{CredentialMetrics, Security},
    enrolment::{Renewal, RenewalMetrics, security, seeds},
    gate::{EVERYBODY, Gate, Rule},
    identity::Role,
    listen::{self, Connections, ListenMetrics},
    metrics::Registry as MetricsRegistry,
    parts::Parts,
    settings::Settings as _,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Server, server::Router};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::layer::util::{Identity, Stack};
use tracing::{info, warn};

use crate::{
    Config,
    alerts::{self, Alerts, Evaluator, Messages},
    catch_up::{self, CatchUp},
    copies::{self, Copies, TakingOver},
    engine::Engine,
    enrolment::{self, Enrolment, EnrolmentService},
    fleet::{self, ClusterFleet},
    floor,
    history::{self, Chores, Copying, Disk, History, LogHandle},
    ingest::{self, IngestService, Intake, Registry},
    ledger_task::LedgerTask,
    membership::{self, KeySource, Load, Membership, State},
    metrics::Metrics,
    out::{self, Follow, RemoteWrite, Scrapes},
    peer::{self, Exchange, GossipKeys, Links, PeerService},
    quarantine::Quarantines,
    query::{AlertService, ClusterService, Holders, OverTime, QueryService, Streams, Views},
    requests::MeterLayer,
    roster,
    select::{Held, Memory, Source, Stored},
};
use starling_ledger::{Ledger, LedgerConfig, LedgerLimits};
use starling_notify::Notifiers;

/// Streams one client may have open on one connection: a dashboard watches the cluster, the table and some nodes.
const STREAMS_PER_CONNECTION: u32 = 128;
/// Streams reset by a client before its connection is closed, pending and by protocol error (rapid reset,
/// CVE-2023-44487); the defaults of h2, set here so that no builder unsets them.
const PENDING_RESETS_MAX: usize = 20;
const LOCAL_RESETS_MAX: usize = 1_024;
/// How long the last entries may take to reach a peer at the stop.
const HANDOVER_POLL: Duration = Duration::from_millis(50);

/// Who may call what, when there are certificates. An aggregator asks others what it lacks, in the name of who asked it.
const RULES: &[Rule] = &[
    ("/starling.v1.Ingest/", &[Role::Node]),
    ("/starling.v1.Peer/", &[Role::Aggregator]),
    ("/starling.v1.Query/", READERS),
    ("/starling.v1.Cluster/ChangeGossipKeys", &[Role::Operator]),
    ("/starling.v1.Cluster/QuarantineAggregator", &[Role::Operator]),
    ("/starling.v1.Cluster/", READERS),
    ("/starling.v1.Alerts/", READERS),
    ("/starling.v1.Enrolment/", EVERYBODY),
    // An aggregator passes on what it cannot answer.
    ("/starling.v1.Identities/", &[Role::Aggregator, Role::Operator]),
    ("/grpc.reflection.", READERS),
];
const READERS: &[Role] = &[Role::Aggregator, Role::Dashboard, Role::Operator];

/// Names of the parts, as they stand in errors.
const ADMIN: &str = "admin port";
const CREDENTIALS: &str = "watch over the certificate";
const RENEWAL: &str = "renewal of the certificate";
const REMOVED: &str = "list of removed identities";
const TRUSTED: &str = "list of trusted authorities";
const GRPC: &str = "gRPC server";
const LEDGER: &str = "ledger";
const DIALLER: &str = "peer dialler";
const ROWS: &str = "node rows";
const REBALANCING: &str = "rebalancing";
const ROSTER: &str = "roster";
const HISTORY: &str = "history";
const REMOTE_WRITE: &str = "remote write";
const SCRAPES: &str = "series to be scraped";
const LEDGER_LOGS: &str = "logs of the ledger";
const FLOOR: &str = "floor of the ledger";
const COPIES: &str = "copies of history";
const TAKING_OVER: &str = "last minutes of nodes";
const ALERTS: &str = "alerts";
const ALERT_QUERIES: &str = "queries of alerts";
const ALERT_RECORDS: &str = "records of alerts";
const NOTIFIERS: &str = "notifiers";
const MESSAGES: &str = "messages of alerts";
const GOSSIP_KEYS: &str = "keys of gossip";

/// An aggregator that has its ports, gossips, and does not answer yet.
pub struct Service {
    config: Config,
    rooms: Rooms,
    registry: Arc<MetricsRegistry>,
    ledger: LedgerTask,
    history: Option<(Arc<History>, history::Starting, history::LedgerLogs, Copies)>,
    remote_write: Option<RemoteWrite>,
    evaluator: Option<(Alerts, Evaluator)>,
    messages: Option<(Notifiers, Messages)>,
    enrolment: Option<Arc<Enrolment>>,
    grpc: (TcpListener, SocketAddr),
    admin: (TcpListener, SocketAddr),
    listening: (ListenMetrics, CredentialMetrics, RenewalMetrics),
    ready: watch::Sender<Readiness>,
}

impl Program for Service {
    const NAME: &'static str = "starling-aggregator";
    const ABOUT: &'static str =
        "Takes the frames of nodes, keeps the ledger with its peers and answers for the whole cluster.";
    const SETTINGS: &'static str = "aggregator";
    const ROLE: Option<Role> = Some(Role::Aggregator);
    type Config = Config;

    async fn bind(mut config: Config, mut registry: MetricsRegistry) -> anyhow::Result<Self> {
        config.check()?;
        let strangers = config.operator_tokens.is_some() || config.enrolment.enabled;
        let security = security(&config.tls, Role::Aggregator, strangers).await?;
        config.seeds = seeds(&config.seeds, &config.tls);
        if let Some(identity) = security.identity() {
            config.aggregator_id = identity.name;
        }
        let grpc = listen::tcp(config.grpc_listen, "grpc_listen")?;
        let admin = listen::tcp(config.admin_listen, "admin_listen")?;
        let tasks = TaskTracker::new();
        let writer = WriterId::random();
        let certificates = (CredentialMetrics::new(&mut registry), RenewalMetrics::new(&mut registry));
        let listening = (ListenMetrics::new(&mut registry), certificates.0, certificates.1);
        let metrics = Arc::new(Metrics::new(&mut registry));
        // First: another process may have the folder.
        let opened = match config.history.enabled {
            true => Some(history::open(config.state_dir.clone()).await?),
            false => None,
        };
        let remote_write = RemoteWrite::open(&config.state_dir, &config.remote_write).await?;
        let membership =
            Box::pin(Membership::start(settings(&config, writer, grpc.1, security), &tasks, metrics.clone())).await?;
        let (log, requests, of_entries) = LogHandle::new();
        let disk = opened.as_ref().map(|(disk, _)| (disk.clone(), log.clone()));
        let opened_alerts = match config.alerts.enabled {
            true => Some(alerts::open(&config, metrics.clone()).await?),
            false => None,
        };
        let shared = opened_alerts.as_ref().map(|(alerts, _)| alerts.clone());
        let of_notifiers = starling_notify::Metrics::new(&mut registry);
        let told = match (&config.alerts.notify, &shared) {
            (Some(path), Some(_)) => {
                let path = path.clone();
                let file = tokio::task::spawn_blocking(move || alerts::read_notifiers(&path)).await??;
                Some(Notifiers::new(&file, &config.cluster, config.aggregator_id.as_str(), of_notifiers))
            }
            _ => None,
        };
        let notifiers = told.as_ref().map(|(notifiers, _)| notifiers.clone());
        let quarantines = {
            let (folder, id) = (config.state_dir.clone(), config.aggregator_id.clone());
            let (membership, metrics) = (membership.clone(), metrics.clone());
            tokio::task::spawn_blocking(move || Quarantines::open(&folder, id, membership, metrics)).await??
        };
        let (rooms, mut ledger) =
            build(&config, writer, (membership, quarantines), tasks, (metrics, disk), (shared, notifiers));
        // Before anything is read from the disk or comes from others.
        ledger.refuse(rooms.quarantines.of_ledger());
        let messages = told.zip(rooms.exchange.alerts.clone()).zip(config.alerts.notify.clone());
        let messages = messages.map(|((told, alerts), path)| {
            let Exchange { membership, ledger, fleet, metrics, .. } = &*rooms.exchange;
            let asked = (membership.clone(), fleet.clone(), ledger.clone());
            (told.0.clone(), Messages::new((alerts, path), told, asked, metrics.clone()))
        });
        let evaluator = opened_alerts.map(|(alerts, files)| {
            let Exchange { membership, ledger, fleet, registry, catch_up, metrics, .. } = &*rooms.exchange;
            let parts = alerts::Parts {
                ledger: ledger.clone(),
                registry: registry.clone(),
                fleet: fleet.clone(),
                membership: membership.clone(),
                catch_up: catch_up.clone(),
                metrics: metrics.clone(),
                copies: config.copies.into(),
                keeps_history: config.history.enabled,
            };
            (alerts.clone(), Evaluator::new(alerts, files, parts))
        });
        let history = match opened {
            Some((disk, recovered)) => {
                let Intake { registry, ledger, metrics, .. } = &*rooms.intake;
                let (membership, status) = (rooms.intake.membership.clone(), rooms.copies.clone());
                let (registry, ledger, metrics) = (registry.clone(), ledger.clone(), metrics.clone());
                let ((chores, queue), copying) = (Chores::new(), Copying::new());
                let with = (chores, copying.clone());
                let copies = Copies::new(membership, disk.clone(), with, metrics.clone(), &config.history, status);
                let (settings, expects) = (config.history.clone(), rooms.exchange.fleet.clone());
                let with = history::With { settings, expects, requests, chores: queue, copying };
                Some((Box::pin(History::start(disk, recovered, registry, ledger, metrics, with)).await?, copies))
            }
            None => None,
        };
        let floor_before = Box::pin(floor_before(&config)).await;
        let history = history.map(|((history, mut starting), copies)| {
            let saved = ledger.restore(std::mem::take(&mut starting.ledger), starting.settled, floor_before);
            let logs = history.ledger_logs(saved, (log, of_entries));
            (history, starting, logs, copies)
        });
        // In plain text too: whoever wants to join is told that there is nothing to join by.
        let enrolment = match config.enrolment.enabled {
            true => {
                let Exchange { membership, registry, fleet, ledger, metrics, .. } = &*rooms.exchange;
                let known = (registry.clone(), fleet.clone(), ledger.clone());
                let opened = Box::pin(Enrolment::open(&config, membership.clone(), known, metrics.clone())).await?;
                Some(Arc::new(opened))
            }
            false => None,
        };
        let ready = watch::Sender::new(Readiness::NotReady("starting".to_owned()));
        Ok(Self {
            config,
            rooms,
            registry: Arc::new(registry),
            ledger,
            history,
            remote_write,
            evaluator,
            messages,
            enrolment,
            grpc,
            admin,
            listening,
            ready,
        })
    }

    /// `grpc`, `gossip` (UDP) and `admin`.
    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![("grpc", self.grpc.1), ("gossip", self.rooms.intake.membership.gossip_addr()), ("admin", self.admin.1)]
    }

    /// Whether it takes nodes.
    fn readiness(&self) -> watch::Receiver<Readiness> {
        self.ready.subscribe()
    }

    /// On `shutdown` it hands its nodes and its last seconds to the others within [`Config::drain`]. Also ends, with an
    /// error, when the clock of this host went back: whoever watches over this process starts a new one, which is a new
    /// writer by the new time.
    async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self {
            config,
            rooms,
            registry,
            ledger,
            history,
            remote_write,
            evaluator,
            messages,
            enrolment,
            grpc,
            admin,
            listening,
            ready,
        } = self;
        info!(
            aggregator = %config.aggregator_id, cluster = config.cluster, writer = %rooms.intake.ledger.writer(),
            grpc = %grpc.1, gossip = %rooms.intake.membership.gossip_addr(), admin = %admin.1, "aggregator started"
        );
        let (health, health_service) = tonic_health::server::health_reporter();
        let holders = Arc::new(holders(&rooms));
        let over_time = Arc::new(over_time(&config, &rooms, holders.clone())?);
        let security = rooms.intake.membership.security().clone();
        let (listening, credentials, renewals) = listening;
        let tokens = config.operator_tokens.clone();
        let gate = Gate::new(RULES, tokens, listening.clone()).map_err(|error| anyhow!("operator_tokens: {error}"))?;
        let router = router(&config, &rooms, (holders, over_time.clone()), gate)?.add_service(health_service);
        let router = match enrolment.clone().map(EnrolmentService) {
            None => router,
            Some(service) => router.add_service(service.clone().enrolment()).add_service(service.identities()),
        };
        let mut parts = Parts::default();
        let is_ready = ready.subscribe();
        let scrapes = rooms.scrapes.clone();
        let beside = admin::Beside { routes: out::routes(scrapes.clone()), index: out::INDEX };
        let connections = Connections::of(admin.0).counted(listening.clone());
        parts
            .start(ADMIN, |stop| async move { Ok(admin::serve(connections, registry, is_ready, beside, stop).await?) });
        parts.start(CREDENTIALS, {
            let security = security.clone();
            |stop| done(security.run(credentials, stop))
        });
        let hosts = config.grpc_advertise.iter().filter_map(|address| host_port(address).ok());
        let renewal = Renewal::of(&config.tls, Role::Aggregator, hosts.map(|(host, _)| host.to_owned()).collect());
        parts.start(RENEWAL, |stop| done(Renewal::run(renewal, renewals, stop)));
        if let Some(enrolment) = enrolment.filter(|enrolment| enrolment.has_certificates()) {
            let removed = Arc::clone(&enrolment);
            parts.start(REMOVED, |stop| done(enrolment::follow_removed(removed, stop)));
            parts.start(TRUSTED, |stop| done(enrolment::follow_trusted(enrolment, stop)));
        }
        parts.start(SCRAPES, |stop| done(scrapes.run(stop)));
        let keys = rooms.keys.clone();
        parts.start(GOSSIP_KEYS, |stop| done(keys.run(stop)));
        let connections = Connections::of(grpc.0).secured(security).counted(listening);
        parts.start(GRPC, |stop| async move {
            Ok(router.serve_with_incoming_shutdown(connections, stop.cancelled_owned()).await?)
        });
        parts.start(LEDGER, |stop| done(ledger.run(stop)));
        let recalled = history.as_ref().map(|(history, ..)| history.recalled());
        if let Some((history, starting, logs, copies)) = history {
            parts.start(COPIES, |stop| done(copies.run(stop)));
            parts.start(LEDGER_LOGS, |stop| done(logs.run(stop)));
            let (folder, ledger) = (config.state_dir.clone(), rooms.intake.ledger.clone());
            let metrics = rooms.intake.metrics.clone();
            parts.start(FLOOR, |stop| done(floor::run(folder, ledger, metrics, stop)));
            parts.start(HISTORY, |stop| history.run(starting, stop));
        }
        if let Some(remote_write) = remote_write {
            let Intake { membership, registry, metrics, ledger, .. } = &*rooms.intake;
            let Exchange { held, fleet, .. } = &*rooms.exchange;
            let follow = Follow::new(held.clone(), ledger.clone(), registry.clone(), fleet.clone(), metrics.clone());
            let (holders, metrics) = ((registry.clone(), membership.clone()), metrics.clone());
            parts.start(REMOTE_WRITE, |stop| remote_write.run(follow, holders, metrics, stop));
        }
        if let Some((alerts, evaluator)) = evaluator {
            let Exchange { membership, metrics, .. } = &*rooms.exchange;
            let (membership, metrics) = (membership.clone(), metrics.clone());
            parts.start(ALERTS, |stop| evaluator.run(stop));
            let Exchange { ledger, catch_up, .. } = &*rooms.exchange;
            let of = (ledger.clone(), membership.clone(), catch_up.clone());
            let queries = alerts::Queries::new(alerts.clone(), over_time, of, metrics.clone());
            parts.start(ALERT_QUERIES, |stop| queries.run(stop));
            parts.start(ALERT_RECORDS, |stop| done(peer::share_alerts(alerts, membership, metrics, stop)));
        }
        if let Some((notifiers, messages)) = messages {
            parts.start(NOTIFIERS, |stop| done(notifiers.run(stop)));
            parts.start(MESSAGES, |stop| messages.run(stop));
        }
        // These end with the streams, by a token of their own.
        parts.start(DIALLER, |_| done(peer::dial_peers(rooms.exchange.clone())));
        parts.start(ROWS, |_| {
            let Exchange { fleet, ledger, membership, stop, .. } = &*rooms.exchange;
            done(fleet::run(fleet.clone(), ledger.published(), membership.clone(), stop.clone()))
        });
        parts.start(REBALANCING, |_| {
            let Intake { membership, registry, metrics, draining, .. } = &*rooms.intake;
            done(ingest::rebalance(membership.clone(), registry.clone(), metrics.clone(), draining.clone()))
        });
        parts.start(ROSTER, |stop| {
            let Intake { membership, ledger, metrics, .. } = &*rooms.intake;
            done(roster::run(config.state_dir.clone(), ledger.clone(), membership.clone(), metrics.clone(), stop))
        });
        parts.start(TAKING_OVER, |stop| {
            let Exchange { membership, registry, metrics, .. } = &*rooms.exchange;
            done(TakingOver::new(membership.clone(), registry.clone(), metrics.clone()).run(stop))
        });
        // It ends once this process has caught up.
        let Exchange { catch_up, ledger, membership, stop, tasks, .. } = &*rooms.exchange;
        tasks.spawn(catch_up::run(catch_up.clone(), membership.clone(), ledger.clone(), recalled, stop.clone()));
        Running { rooms, config, ready, health, parts }.until(shutdown).await
    }
}

/// Where the process before had the floor of its ledger; `None` when that is not known.
async fn floor_before(config: &Config) -> Option<u32> {
    let folder = config.state_dir.clone();
    let read = tokio::task::spawn_blocking(move || floor::read(&folder)).await;
    read.map_err(std::io::Error::other).flatten().unwrap_or_else(|error| {
        warn!(%error, "where the floor of the ledger was is not known: of what all were away for the last 17 minutes are taken");
        None
    })
}

async fn done(part: impl Future<Output = ()>) -> anyhow::Result<()> {
    part.await;
    Ok(())
}

fn settings(config: &Config, writer: WriterId, grpc: SocketAddr, security: Security) -> membership::Settings {
    let secured = security.credentials().is_some();
    membership::Settings {
        id: config.aggregator_id.clone(),
        writer,
        cluster: config.cluster.clone(),
        listen: config.gossip_listen,
        advertise: config.gossip_advertise,
        seeds: config.seeds.clone(),
        remembered: Vec::new(),
        min_members: config.min_members,
        datagram_bytes: config.gossip_datagram_bytes as usize,
        grpc,
        grpc_advertise: config.grpc_advertise.clone(),
        weight: config.weight,
        zone: config.zone.clone(),
        state_dir: config.state_dir.clone(),
        security,
        keys: key_source(config, grpc, secured),
    }
}

/// Where the keys of gossip come from: an operator's file before everything else, then the others, as soon as it is certain who
/// they are.
fn key_source(config: &Config, grpc: SocketAddr, secured: bool) -> KeySource {
    if let Some(file) = &config.gossip_keyring {
        return KeySource::File(file.clone());
    }
    if !secured {
        return KeySource::Open;
    }
    let is_own = |address: &String| Some(address) == config.grpc_advertise.as_ref() || *address == grpc.to_string();
    KeySource::Others { may_be_open: config.insecure, alone: config.joined().iter().all(is_own) }
}

fn build(
    config: &Config,
    writer: WriterId,
    (membership, quarantines): (Membership, Quarantines),
    tasks: TaskTracker,
    (metrics, disk): (Arc<Metrics>, Option<(Arc<Disk>, LogHandle)>),
    (alerts, notifiers): (Option<Alerts>, Option<Notifiers>),
) -> (Rooms, LedgerTask) {
    let copies = u32::from(config.copies);
    let registry =
        Arc::new(Registry::new(config.group_by.clone(), config.groups_max, config.nodes_max, metrics.clone()));
    let limits = LedgerLimits { own_groups: config.groups_max as usize, ..LedgerLimits::default() };
    let ledger_config = LedgerConfig {
        aggregator_id: config.aggregator_id.to_string(),
        copies,
        catch_up: config.outage.catch_up.clone(),
        limits,
        ..LedgerConfig::default()
    };
    let ledger = Ledger::new(writer, ledger_config, Arc::clone(registry.names()));
    let (ledger, task) = LedgerTask::new(ledger, copies, membership.clone(), metrics.clone());
    let meter = config.requests.meter("starling-aggregator", config.aggregator_id.as_str());
    let fleet = Arc::new(ClusterFleet::new(writer, config.aggregator_id.clone(), registry.clone(), metrics.clone()));
    let elsewhere = fleet.clone();
    let catch_up = Arc::new(CatchUp::new(config.aggregator_id.clone()));
    let mut sources: Vec<Box<dyn Source>> =
        vec![Box::new(Memory::new(ledger.clone(), registry.clone(), fleet.clone(), metrics.clone()))];
    let (disk, log) = disk.unzip();
    sources.extend(disk.iter().map(|disk| -> Box<dyn Source> { Box::new(Stored::new(disk.clone(), metrics.clone())) }));
    let held = Held::new(sources, log.map(|log| (log, ledger.clone())));
    let follow = Follow::new(held.clone(), ledger.clone(), registry.clone(), fleet.clone(), metrics.clone());
    let scrapes = Arc::new(Scrapes::new(follow, metrics.clone()));
    let exchange = Exchange {
        alerts,
        notifiers,
        catch_up,
        membership: membership.clone(),
        ledger: ledger.clone(),
        fleet,
        held,
        disk,
        registry: registry.clone(),
        links: Links::new(metrics.clone()),
        metrics: metrics.clone(),
        tasks,
        stop: CancellationToken::new(),
    };
    let copies = copies::Status::new(metrics.clone());
    let draining = CancellationToken::new();
    let duplicates = config.duplicate_nodes;
    let keys = Arc::new(GossipKeys::new(membership.clone(), config.joined(), metrics.clone()));
    let intake = Intake { membership, ledger, registry, metrics, meter, draining, elsewhere, duplicates };
    let quarantines = Arc::new(quarantines);
    (Rooms { intake: Arc::new(intake), exchange: Arc::new(exchange), copies, scrapes, keys, quarantines }, task)
}

/// Who holds which seconds.
fn holders(rooms: &Rooms) -> Holders {
    let Rooms { intake, exchange, .. } = rooms;
    let (membership, ledger) = (intake.membership.clone(), intake.ledger.clone());
    Holders::new(membership, ledger, intake.registry.clone(), exchange.fleet.clone())
}

/// Who answers questions over time, of people and of rules.
fn over_time(config: &Config, rooms: &Rooms, holders: Arc<Holders>) -> anyhow::Result<OverTime> {
    let Exchange { held, metrics, .. } = &*rooms.exchange;
    let engine = Engine::new(&config.history.engine, metrics.clone())?;
    Ok(OverTime::new(config.aggregator_id.clone(), (held.clone(), engine), holders, metrics.clone()))
}

/// The services of the gRPC port, but for health.
fn router(
    config: &Config,
    rooms: &Rooms,
    (holders, over_time): (Arc<Holders>, Arc<OverTime>),
    gate: Gate,
) -> anyhow::Result<Router<Stack<Gate, Stack<MeterLayer, Identity>>>> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let Rooms { intake, exchange, copies, keys, quarantines, .. } = rooms;
    let (id, cluster) = (config.aggregator_id.clone(), config.cluster.clone());
    let (membership, ledger) = (intake.membership.clone(), intake.ledger.clone());
    let (registry, fleet) = (intake.registry.clone(), exchange.fleet.clone());
    let ingest = IngestService { id: id.clone(), intake: intake.clone(), tasks: exchange.tasks.clone() };
    let query = QueryService {
        id: id.clone(),
        over_time,
        ledger: ledger.clone(),
        views: Arc::new(Views::new(cluster.clone(), ledger.clone(), fleet.clone())),
        holders: holders.clone(),
        registry,
        fleet,
        streams: Streams { meter: intake.meter.clone(), stop: exchange.stop.clone() },
        catch_up: exchange.catch_up.clone(),
    };
    let catch_up = exchange.catch_up.clone();
    let copies = exchange.disk.as_ref().map(|_| copies.clone());
    let alerts = AlertService {
        id: id.clone(),
        alerts: exchange.alerts.clone(),
        notifiers: exchange.notifiers.clone(),
        ledger: ledger.clone(),
        fleet: exchange.fleet.clone(),
        holders: holders.clone(),
        streams: Streams { meter: intake.meter.clone(), stop: exchange.stop.clone() },
        catch_up: exchange.catch_up.clone(),
    };
    let (disk, shared, keys) = (exchange.disk.clone(), exchange.clone(), keys.clone());
    let quarantines = quarantines.clone();
    let cluster = ClusterService {
        id,
        cluster,
        membership,
        ledger,
        catch_up,
        copies,
        disk,
        holders,
        exchange: shared,
        keys,
        quarantines,
    };
    Ok(Server::builder()
        .initial_stream_window_size(NODE_WINDOW_BYTES)
        .initial_connection_window_size(NODE_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        .layer(MeterLayer(intake.meter.clone()))
        .layer(gate)
        .add_service(ingest.server())
        .add_service(PeerService::server(exchange.clone()))
        .add_service(query.server())
        .add_service(cluster.server())
        .add_service(alerts.server())
        .add_service(reflection().build_v1().context("descriptors for reflection")?)
        .add_service(reflection().build_v1alpha().context("descriptors for reflection")?))
}

/// The rooms that have streams, each with the handles it needs.
struct Rooms {
    intake: Arc<Intake>,
    exchange: Arc<Exchange>,
    copies: copies::Status,
    scrapes: Arc<Scrapes>,
    keys: Arc<GossipKeys>,
    quarantines: Arc<Quarantines>,
}

struct Running {
    rooms: Rooms,
    config: Config,
    ready: watch::Sender<Readiness>,
    health: HealthReporter,
    parts: Parts,
}

impl Running {
    /// Shows whether we are ready and how busy, until `shutdown` or until a part ends; then stops.
    async fn until(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut clock_back = self.rooms.intake.ledger.clock_back();
        let mut membership = self.rooms.intake.membership.subscribe();
        let mut published = self.rooms.intake.ledger.published();
        let mut trouble = self.rooms.intake.ledger.trouble();
        let mut catch_up = self.rooms.exchange.catch_up.behind();
        let failure = loop {
            let cannot_apply = trouble.borrow_and_update().clone();
            let view = membership.borrow_and_update().clone();
            if let Some(conflict) = &view.conflict {
                break Some(anyhow!(conflict.clone()));
            }
            let behind = catch_up.borrow_and_update().clone();
            let readiness = match view.me.state {
                _ if view.degraded => Readiness::NotReady("gossip keeps failing".to_owned()),
                State::Leaving => Readiness::NotReady("leaving".to_owned()),
                _ if cannot_apply.is_some() => {
                    Readiness::NotReady(format!("a log cannot be applied: {}", cannot_apply.unwrap_or_default()))
                }
                State::Ready => match (&view.silent_seeds, behind) {
                    (Some(seeds), _) => Readiness::NotReady(format!(
                        "none of the seeds {seeds} answers: it takes nodes alone; see that they run and have the same \
                         `cluster` ({}), or take them out of `seeds`",
                        self.config.cluster
                    )),
                    (None, Some(behind)) => Readiness::NotReady(format!("catching up: {behind}")),
                    (None, None) => self.of_disk(),
                },
                State::Joining if view.too_few.is_some() && view.wanting.is_none() => {
                    Readiness::NotReady(view.too_few.clone().unwrap_or_default())
                }
                State::Joining if view.wanting.is_some() => {
                    Readiness::NotReady(view.wanting.clone().unwrap_or_default())
                }
                State::Joining => Readiness::NotReady("joining: the membership has not settled yet".to_owned()),
            };
            self.show(readiness.of(self.rooms.intake.membership.security())).await;
            let settled = published.borrow_and_update().settled;
            let nodes = u32::try_from(self.rooms.intake.ledger.sessions()).unwrap_or(u32::MAX);
            self.rooms.intake.membership.publish(Load {
                nodes,
                closed: settled,
                on_disk: self.rooms.intake.ledger.on_disk(),
                refused: self.rooms.exchange.alerts.as_ref().is_some_and(Alerts::is_refused),
                blind: self.rooms.exchange.alerts.as_ref().map_or(0, Alerts::blind),
            });
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break None,
                Ok(back) = clock_back.wait_for(Option::is_some) => break Some(clock_went_back(*back)),
                failure = self.parts.failed() => break Some(failure),
                changed = membership.changed() => if changed.is_err() { break Some(anyhow!("the gossip ended by itself")) },
                Ok(()) = trouble.changed() => {}
                Ok(()) = catch_up.changed() => {}
                changed = published.changed() => if changed.is_err() { break Some(anyhow!("the ledger ended by itself")) },
            }
        };
        let why = failure.as_ref().map_or_else(|| "stopping".to_owned(), |failure| format!("{failure:#}"));
        self.stop(why).await;
        failure.map_or(Ok(()), Err)
    }

    /// A disk that takes nothing stops neither the live view nor the taking of frames.
    fn of_disk(&self) -> Readiness {
        let paused = self.rooms.exchange.disk.as_ref().and_then(|disk| disk.store().paused());
        paused.map_or(Readiness::Ready, |paused| {
            Readiness::Impaired(format!(
                "the history is not written, and what comes is in memory only ({}); the live view goes on, and so does \
                 writing as soon as the disk takes it",
                paused.cause
            ))
        })
    }

    async fn show(&self, readiness: Readiness) {
        let changed = self.ready.send_if_modified(|shown| {
            let differs = *shown != readiness;
            shown.clone_from(&readiness);
            differs
        });
        if changed {
            let status = match readiness {
                Readiness::Ready | Readiness::Impaired(_) => ServingStatus::Serving,
                Readiness::NotReady(_) => ServingStatus::NotServing,
            };
            self.health.set_service_status("", status).await;
            for service in [
                "starling.v1.Ingest",
                "starling.v1.Query",
                "starling.v1.Cluster",
                "starling.v1.Peer",
                "starling.v1.Alerts",
            ] {
                self.health.set_service_status(service, status).await;
            }
        }
    }

    /// The order of the stop: not ready; leave the cluster; send the nodes away; hand the last seconds over; end the
    /// streams; end the servers. [`Config::drain`] bounds it all.
    async fn stop(mut self, why: String) {
        let deadline = Instant::now() + self.config.drain;
        info!(why, "draining");
        self.show(Readiness::NotReady(why)).await;
        let (intake, exchange) = (self.rooms.intake.clone(), self.rooms.exchange.clone());
        intake.draining.cancel();
        let left = tokio::time::timeout_at(deadline.into(), intake.membership.leave());
        let (left, handed_over) = tokio::join!(left, self.hand_over(deadline));
        if left.is_err() || !handed_over {
            warn!(left = left.is_ok(), handed_over, "stopped before everything was handed over");
        }
        exchange.stop.cancel();
        exchange.tasks.close();
        if tokio::time::timeout_at(deadline.into(), exchange.tasks.wait()).await.is_err() {
            warn!(tasks = exchange.tasks.len(), "streams did not end in time");
        }
        for part in [
            ROSTER,
            FLOOR,
            DIALLER,
            ROWS,
            REBALANCING,
            GRPC,
            ADMIN,
            ALERTS,
            MESSAGES,
            NOTIFIERS,
            ALERT_RECORDS,
            SCRAPES,
            REMOTE_WRITE,
            LEDGER_LOGS,
            LEDGER,
            HISTORY,
        ] {
            self.parts.stop(part, deadline.saturating_duration_since(Instant::now())).await;
        }
        intake.meter.clone().shutdown().await;
        info!("aggregator stopped");
    }

    /// Makes entries of everything pending and waits until some peer holds all of it. True when nothing is lost by
    /// going now.
    async fn hand_over(&self, deadline: Instant) -> bool {
        let Rooms { intake, exchange, .. } = &self.rooms;
        let ledger = &intake.ledger;
        while intake.registry.connected_len() > 0 && Instant::now() < deadline {
            tokio::time::sleep(HANDOVER_POLL).await;
        }
        ledger.flush().await;
        loop {
            let peers = ledger.ask(Ledger::peers).await.unwrap_or_default();
            let reachable: Vec<_> = peers.into_iter().filter(|peer| exchange.links.has(peer.writer)).collect();
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

fn clock_went_back(by: Option<Duration>) -> anyhow::Error {
    anyhow!(
        "the clock of this host went back by {:.1} s: this process has closed seconds that are still to come and must \
         be started again",
        by.unwrap_or_default().as_secs_f64()
    )
}
