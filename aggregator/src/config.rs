//! Settings of an aggregator: one table. The example file in `deploy/config/aggregator.toml` is written from it.

mod alerts;
mod enrolment;
mod outage;
mod remote_write;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use starling_proto::{ids::NodeId, limits::NODE_ID_LEN_MAX};

use starling_service::{
    credentials::{Exposure, TlsSettings},
    http_client::{Access, Credentials},
    requests::RequestReports,
    settings::{
        Mistakes,
        kind::{self, Word},
    },
    state_folder,
};

pub use self::{
    alerts::AlertSettings,
    enrolment::EnrolmentSettings,
    outage::OutageSettings,
    remote_write::{RemoteWriteSettings, SeriesScope, WriteVersion},
};

/// Most copies a frame can be asked to be on before it is acknowledged.
const COPIES_MAX: u8 = 5;
/// Most labels to group by: each multiplies the merged series by the number of its values.
const GROUP_BY_MAX: usize = 4;
/// Most nodes one aggregator can be asked to take. All rows of the node table go to every peer once a second and to
/// everybody who asks for the table, in one answer of at most 8 MiB: room for about 20,000 rows of usual size.
pub(crate) const NODES_MAX: u32 = 20_000;
/// Most seeds: every one is asked from time to time.
const SEEDS_MAX: usize = 64;

/// What becomes of a node whose name another machine holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// It is not taken; its daemon keeps its frames and asks again.
    #[default]
    Refuse,
    /// It is taken under a name of its own.
    Rename,
}

impl Word for Duplicates {
    const ALL: &'static [(&'static str, Self)] = &[("refuse", Self::Refuse), ("rename", Self::Rename)];
}

starling_service::settings! {
    /// Settings of one aggregator. The defaults listen on loopback and have no seeds.
    pub struct Config {
        /// Name of this aggregator, unique in the cluster. Which nodes it owns follows from it, so a rename moves
        /// nodes. With `tls` it is the name in the certificate, whatever stands here. Default: the host name.
        pub aggregator_id: NodeId = NodeId::sanitised(&gethostname::gethostname().to_string_lossy()), kind::name(),
            example "\"aggregator-1\"";
        /// Name of the cluster. Aggregators of another name are not heard.
        pub cluster: String = "starling".to_owned(), kind::text(1..=NODE_ID_LEN_MAX);
        /// Where nodes, dashboards and other aggregators connect (gRPC over TCP).
        /// Open to other hosts only with `tls`.
        pub grpc_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7400)), kind::listen();
        /// Where others reach it. Default: the address it listens on; with 0.0.0.0 or [::] the one from which the way to the
        /// seeds begins, looked at again every 2 s.
        pub grpc_advertise: Option<String> = None, kind::optional(kind::host_port()), example "\"127.0.0.1:7400\"";
        /// Where aggregators gossip (UDP).
        pub gossip_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7401)), kind::listen();
        /// File of the keys that seal gossip, the same at every aggregator, for those who want to change it there: the first key
        /// seals, all of them open, and it is read again every 5 seconds. Default: with `tls` the aggregators hand each other
        /// the keys, see `join` and `starling gossip keys`. Gossip that other hosts can reach is sealed.
        pub gossip_keyring: Option<PathBuf> = None, kind::optional(kind::absolute_path()),
            example "\"/etc/starling/tls/gossip.keyring\"";
        /// Where others reach our gossip. Default: as with `grpc_advertise`. Of all addresses it listens on this one alone, if it is
        /// one of this host.
        pub gossip_advertise: Option<SocketAddr> = None, kind::optional(kind::listen()), example "\"127.0.0.1:7401\"";
        /// Longest sealed datagram of gossip, in bytes: what is longer goes in several. The default passes every path that carries
        /// IPv6.
        pub gossip_datagram_bytes: u32 = 1_200, kind::number_of("bytes", 512..=9_000);
        /// Gossip addresses of aggregators; names are resolved again every 15 to 30 s. The same list may stand at every
        /// aggregator. Without seeds this aggregator starts a cluster of its own.
        pub seeds: Vec<String> = Vec::new(), kind::list(0..=SEEDS_MAX, kind::host_port());
        /// Aggregators, this one included, below which it is not ready: it takes no nodes, judges no rules and acknowledges
        /// nothing. More than half of all keeps one that is cut off from acting alone.
        pub min_members: u32 = 1, kind::number(1..=SEEDS_MAX as u32);
        /// gRPC addresses of aggregators, of which this one gets the keys of gossip when it starts; names are resolved at every
        /// attempt. Default: the hosts of `seeds` with the port of `grpc_listen`.
        pub join: Vec<String> = Vec::new(), kind::list(0..=SEEDS_MAX, kind::host_port());
        /// Where /metrics, /live and /ready are served (HTTP).
        pub admin_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7402)), kind::listen();
        /// Folder for all that must survive a restart: a number that grows with each start, the nodes that are known, and
        /// the history (see `history`). One process at a time may use it. Default: $STATE_DIRECTORY, which systemd sets;
        /// for root /var/lib/starling/aggregator; for others $XDG_STATE_HOME/starling/aggregator, else
        /// ~/.local/state/starling/aggregator.
        pub state_dir: PathBuf = state_folder::of("aggregator"), kind::folder(), example "\"/var/lib/starling/aggregator\"";
        /// Labels of nodes whose values get views of their own, such as zone:a. The same at every aggregator. Each
        /// label costs about as much merging as the cluster view itself.
        pub group_by: Vec<String> = vec!["zone".to_owned(), "role".to_owned()],
            kind::list(0..=GROUP_BY_MAX, kind::label_key());
        /// Values of all these labels together that get a view; nodes with further ones are in the view label:_other.
        pub groups_max: u32 = 64, kind::number(1..=1024);
        /// Share of the nodes this aggregator takes, relative to the others.
        pub weight: u16 = 100, kind::number(1..=1000);
        /// What fails together with this aggregator: a building, a row of racks. The first and the second aggregator of a node
        /// stand in different zones when there are any.
        pub zone: String = String::new(), kind::text(0..=NODE_ID_LEN_MAX);
        /// On how many aggregators a frame is held before its node may forget it. While fewer are ready, on all of
        /// these, but never on one alone as long as a peer is alive. An aggregator without peers acknowledges on its
        /// own and says so, 20 s after the last one vanished without an end of stream. Every answer says the true
        /// number.
        pub copies: u8 = 2, kind::number(1..=COPIES_MAX);
        /// Nodes this aggregator takes; more are sent to others or refused. About 0.1 MB each with 500 series;
        /// the last 15 minutes of all of them, second by second, share 512 MiB beside that.
        pub nodes_max: u32 = 10_000, kind::number(1..=NODES_MAX);
        /// What becomes of a node whose name a node on another machine holds: "refuse" until the stream of the first is
        /// gone, or "rename" it to a name of its own. Machines are told apart by machine-id and boot.
        pub duplicate_nodes: Duplicates = Duplicates::Refuse, kind::word();
        /// Longest time a stop may take: nodes are sent away, the last seconds handed to the other aggregators.
        pub drain: Duration = Duration::from_secs(10), kind::seconds(1..=300), key "drain_secs";
        /// File of tokens for people and tools without a certificate, lines of a name and a token of 22 characters or
        /// more. They are sent as `authorization: Bearer TOKEN`, over TLS only, and may do what an operator may.
        pub operator_tokens: Option<PathBuf> = None, kind::optional(kind::absolute_path()),
            example "\"/etc/starling/tls/operator-tokens\"";
        /// Speak plain text beyond this host, and believe whoever is there: for networks where nobody else is.
        pub insecure: bool = false, kind::flag();
    }
    tables {
        /// Mutual TLS with nodes, dashboards, tools and other aggregators.
        pub tls: TlsSettings = TlsSettings::joined("aggregator");
        /// How programs get their certificates by join tokens.
        pub enrolment: EnrolmentSettings = EnrolmentSettings::default();
        /// The requests this aggregator serves, counted like those of any application.
        pub requests: RequestReports = RequestReports::default();
        /// The history this aggregator keeps on its disk, in the folder `history` of `state_dir`.
        pub history: HistorySettings = HistorySettings::default();
        /// How an outage of all aggregators is made up for: without a key, since all of them do it alike.
        pub outage: OutageSettings = OutageSettings::default();
        /// Alert rules and what becomes of what they say.
        pub alerts: AlertSettings = AlertSettings::default();
        /// Series sent to a receiver of Prometheus's remote write.
        pub remote_write: RemoteWriteSettings = RemoteWriteSettings::default();
    }
    together together;
}

/// Shortest time a tier can be asked to keep. Seconds stay until they are rolled up, however short it is.
const KEEP_LEAST: u64 = 60;
/// Longest time that any tier can be asked to keep: ten years.
const KEEP_MOST: u64 = 3_650 * DAY;
const DAY: u64 = 86_400;
const MIB: u64 = 1024 * 1024;
/// Least bytes of a tier.
const TIER_LEAST: u64 = 16 * MIB;
/// Least bytes a second for copies.
const COPY_RATE_LEAST: u64 = 64 * 1024;
/// Most bytes a second for copies.
const COPY_RATE_MOST: u64 = 1024 * MIB;
/// Most bytes of a tier: 1 PiB.
const TIER_MOST: u64 = 1 << 50;

starling_service::settings! {
    /// What an aggregator keeps on its disk, by tier: how long, and in how many bytes. Beyond either the oldest goes.
    pub struct HistorySettings {
        /// Keep history on the disk. Without it the last 15 minutes are all there is, and a restart loses them.
        pub enabled: bool = true, kind::flag();
        /// Seconds of which every second is kept, and until they are rolled up: 78 minutes at most. About 0.3 byte a value: 1,000 nodes of 500 series fill 12 GB a day.
        pub keep_1s: Duration = Duration::from_secs(DAY), kind::seconds(KEEP_LEAST..=KEEP_MOST), key "keep_1s_secs";
        /// Seconds of which cells of 10 seconds are kept.
        pub keep_10s: Duration = Duration::from_secs(7 * DAY), kind::seconds(KEEP_LEAST..=KEEP_MOST), key "keep_10s_secs";
        /// Seconds of which cells of a minute are kept.
        pub keep_1m: Duration = Duration::from_secs(30 * DAY), kind::seconds(KEEP_LEAST..=KEEP_MOST), key "keep_1m_secs";
        /// Seconds of which cells of an hour are kept.
        pub keep_1h: Duration = Duration::from_secs(730 * DAY), kind::seconds(KEEP_LEAST..=KEEP_MOST), key "keep_1h_secs";
        /// Bytes of the seconds. The defaults of all tiers together are 10 GiB.
        pub max_bytes_1s: u64 = 5 * 1024 * MIB, kind::number_of("bytes", TIER_LEAST..=TIER_MOST);
        /// Bytes of the cells of 10 seconds.
        pub max_bytes_10s: u64 = 2 * 1024 * MIB, kind::number_of("bytes", TIER_LEAST..=TIER_MOST);
        /// Bytes of the cells of a minute.
        pub max_bytes_1m: u64 = 2 * 1024 * MIB, kind::number_of("bytes", TIER_LEAST..=TIER_MOST);
        /// Bytes of the cells of an hour.
        pub max_bytes_1h: u64 = 1024 * MIB, kind::number_of("bytes", TIER_LEAST..=TIER_MOST);
        /// Processor time that sealing, rolling up, compacting and keeping copies may take, in hundredths of one core. When
        /// sealing is behind by more than a window of 300 seconds it may take a whole core.
        pub work_percent: u8 = 50, kind::number(1..=100);
        /// Bytes a second that copies of the history of nodes may take from other aggregators.
        pub copy_bytes_per_sec: u64 = 8 * MIB, kind::number_of("bytes", COPY_RATE_LEAST..=COPY_RATE_MOST);
        /// An aggregator must be gone for so long before the others restore the copies it had: longer than a restart. What is
        /// new is copied to whoever is there at once.
        pub restore_after: Duration = Duration::from_secs(600), kind::seconds(1..=DAY), key "restore_after_secs";
    }
    tables {
        /// An engine that keeps what is older than what is kept here.
        pub engine: EngineSettings = EngineSettings::default();
    }
}

/// Labels that scrapers, collectors and replicas add.
const ADDED_LABELS: [&str; 6] = ["instance", "job", "prometheus", "prometheus_replica", "replica", "receive"];
/// Longest name of a tenant: that of Mimir.
const TENANT_LEN_MAX: usize = 150;

starling_service::settings! {
    /// An engine with Prometheus's query API (Prometheus, Mimir, Thanos, VictoriaMetrics) that keeps longer than this aggregator. What is
    /// older than what is kept here is asked from it.
    pub struct EngineSettings {
        /// Where it is: what stands before /api/v1/query_range. Without it no engine is asked.
        pub url: Option<String> = None, kind::optional(kind::http_url()), example "\"http://127.0.0.1:9090\"";
        /// Whose data it is, for engines with several tenants: sent as X-Scope-OrgID.
        pub tenant: String = String::new(), kind::text(0..=TENANT_LEN_MAX);
        /// Further headers of every request.
        pub headers: HashMap<String, String> = HashMap::new(), kind::headers(), example "{ X-Source = \"starling\" }";
        /// File whose first line is sent as a bearer token, or as the password of `user`. It is read for every request.
        pub secret_file: Option<PathBuf> = None, kind::optional(kind::absolute_path()),
            example "\"/etc/starling/engine-secret\"";
        /// The name that is sent by basic authentication, with the password in `secret_file`.
        pub user: Option<String> = None, kind::optional(kind::text(1..=TENANT_LEN_MAX)), example "\"starling\"";
        /// How long a request may take. A question never waits longer than its own time, 2 s when it does not say.
        pub timeout: Duration = Duration::from_secs(10), kind::seconds(1..=60), key "timeout_secs";
        /// Seconds between the samples that it holds: 1 of what remote write sends, else the interval of the scrapes. Steps
        /// that are shorter are not asked of it.
        pub interval: Duration = Duration::from_secs(1), kind::seconds(1..=3600), key "interval_secs";
        /// Labels that the series of this cluster have there, when it also holds others.
        pub matchers: HashMap<String, String> = HashMap::new(), kind::labels(), example "{ source = \"starling\" }";
        /// Labels that were added on the way and are no attributes of a series.
        pub ignore_labels: Vec<String> = ADDED_LABELS.map(str::to_owned).to_vec(), kind::list(0..=64, kind::label_key());
    }
}

fn engine_together(engine: &EngineSettings, mistakes: &mut Mistakes) {
    if engine.user.is_some() && engine.secret_file.is_none() {
        mistakes.add("history.engine.user", "it wants a password: set history.engine.secret_file too");
    }
}

impl EngineSettings {
    /// How it is reached; `None` without one.
    pub(crate) fn access(&self) -> Option<Access> {
        let tenant = Some(("X-Scope-OrgID".to_owned(), self.tenant.clone())).filter(|(_, tenant)| !tenant.is_empty());
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        Some(Access {
            url: self.url.clone()?,
            headers: headers.chain(tenant).collect(),
            credentials: Credentials::of(self.secret_file.as_deref(), self.user.as_deref()),
        })
    }
}

fn tiers_together(settings: &HistorySettings, mistakes: &mut Mistakes) {
    let tiers = [
        ("history.keep_1s_secs", settings.keep_1s),
        ("history.keep_10s_secs", settings.keep_10s),
        ("history.keep_1m_secs", settings.keep_1m),
        ("history.keep_1h_secs", settings.keep_1h),
    ];
    for pair in tiers.windows(2) {
        let [(_, finer), (key, coarser)] = pair else { continue };
        if coarser < finer {
            let what = format!("{} is less than the {} of {}", coarser.as_secs(), finer.as_secs(), pair[0].0);
            mistakes.add(key, format!("{what}: a coarser tier keeps at least as long as a finer one"));
        }
    }
}

/// Gossip is left out: it listens on UDP.
fn together(config: &Config, mistakes: &mut Mistakes) {
    mistakes.distinct(&[("grpc_listen", config.grpc_listen), ("admin_listen", config.admin_listen)]);
    exposure(config, mistakes);
    enrolment::together(&config.enrolment, &config.tls, mistakes);
    tiers_together(&config.history, mistakes);
    remote_write::together(&config.remote_write, mistakes);
    engine_together(&config.history.engine, mistakes);
}

impl Config {
    /// Where other aggregators may be asked for the keys of gossip. A seed says nothing of a port of gRPC: nearly every cluster
    /// has one and the same, and the others write `join`.
    pub(crate) fn joined(&self) -> Vec<String> {
        if !self.join.is_empty() {
            return self.join.clone();
        }
        let port = self.grpc_listen.port();
        let with_port = |seed: &String| Some(format!("{}:{port}", seed.rsplit_once(':')?.0));
        self.seeds.iter().filter_map(with_port).collect()
    }
}

/// A gossip address that would be published and leads nowhere from other hosts.
fn zoned(config: &Config) -> Option<(&'static str, SocketAddr)> {
    let (key, address) = match config.gossip_advertise {
        Some(advertise) => ("gossip_advertise", advertise),
        None => ("gossip_listen", config.gossip_listen),
    };
    let is_link_local = match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    is_link_local.then_some((key, address))
}

/// What other hosts can reach, and what of theirs is reached.
fn exposure(config: &Config, mistakes: &mut Mistakes) {
    let exposure = Exposure::of(&config.tls, config.insecure);
    exposure.listener("grpc_listen", config.grpc_listen, mistakes);
    exposure.plain_listener("admin_listen", config.admin_listen, mistakes);
    let sealed = config.gossip_keyring.is_some() || exposure.tls;
    if !sealed && !config.insecure && !config.gossip_listen.ip().is_loopback() {
        let what = "can be reached by other hosts without a key: set tls.certificate, tls.key and tls.ca (`starling ca` makes \
                    them), or insecure = true to believe whoever is there";
        mistakes.add("gossip_listen", format!("{} {what}", config.gossip_listen));
    }
    if !sealed {
        Exposure { tls: false, ..exposure }.dialled("seeds", &config.seeds, mistakes);
    }
    if config.requests.report {
        exposure.http("requests.endpoint", &config.requests.endpoint, mistakes);
    }
    if let Some(url) = &config.history.engine.url {
        exposure.http("history.engine.url", url, mistakes);
    }
    if let Some(url) = &config.remote_write.url {
        exposure.http("remote_write.url", url, mistakes);
    }
    if let Some((key, address)) = zoned(config) {
        let what = format!("{address} is link-local: it means nothing on another host, advertise an address that does");
        mistakes.add(key, what);
    }
    if config.operator_tokens.is_some() && !exposure.tls {
        mistakes.add("operator_tokens", "tokens are taken over TLS only: set tls.certificate, tls.key and tls.ca");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_service::{
        generated,
        settings::{self, Settings as _, Sources},
    };
    use std::path::Path;

    fn read(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
        settings::load("aggregator", &sources).map(|loaded| loaded.settings).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(read("").unwrap(), Config::default());
        Config::default().check().unwrap();
    }

    #[test]
    fn bad_settings_are_named() {
        for (text, wanted) in [
            ("aggregator_id = 'Agg 1'", "aggregator_id: \"Agg 1\": a name is made of a-z"),
            ("cluster = ''", "cluster: \"\" is not taken, wanted: a text of 1 to 64 characters"),
            ("grpc_listen = '10.0.0.1:7400'", "grpc_listen: 10.0.0.1:7400 can be reached by other hosts without TLS"),
            ("seeds = ['10.0.0.1:7401']", "seeds: \"10.0.0.1:7401\" is on another machine"),
            ("operator_tokens = '/x'", "operator_tokens: tokens are taken over TLS only"),
            ("tls.key = '/x'", "tls.certificate: is missing"),
            ("gossip_listen = '10.0.0.1:7401'", "gossip_listen: 10.0.0.1:7401 can be reached"),
            ("duplicate_nodes = 'both'", "duplicate_nodes: \"both\" is not \"refuse\" or \"rename\""),
            ("admin_listen = 'here'", "admin_listen: \"here\" is not an address"),
            ("admin_listen = '127.0.0.1:7400'", "admin_listen: 127.0.0.1:7400 is the address of grpc_listen too"),
            ("grpc_advertise = '127.0.0.1'", "grpc_advertise: \"127.0.0.1\" is not \"host:port\""),
            ("gossip_advertise = 'here'", "gossip_advertise"),
            ("gossip_advertise = '[fe80::1]:7401'", "gossip_advertise: [fe80::1]:7401 is link-local"),
            ("gossip_advertise = '169.254.1.2:7401'", "gossip_advertise: 169.254.1.2:7401 is link-local"),
            ("min_members = 0", "min_members: 0 is out of range"),
            ("gossip_datagram_bytes = 100", "gossip_datagram_bytes: 100 is out of range"),
            ("seeds = ['nowhere']", "seeds: \"nowhere\" is not \"host:port\""),
            ("group_by = ['a:b']", "group_by: \"a:b\" is not the key of a label"),
            ("group_by = ['a', 'b', 'c', 'd', 'e']", "group_by: 5 entries, wanted: a list of at most 4"),
            ("groups_max = 0", "groups_max: 0 is out of range"),
            ("weight = 0", "weight: 0 is out of range, wanted: a whole number from 1 to 1000"),
            ("copies = 9", "copies: 9 is out of range, wanted: a whole number from 1 to 5"),
            ("nodes_max = 20001", "nodes_max: 20001 is out of range, wanted: a whole number from 1 to 20000"),
            ("drain_secs = 0", "drain_secs: 0 is out of range"),
            ("history.keep_1s_secs = 59", "history.keep_1s_secs: 59 is out of range, wanted: a whole number from 60"),
            ("history.max_bytes_1h = 5", "history.max_bytes_1h: 5 is out of range"),
            (
                "history.keep_10s_secs = 7200",
                "history.keep_10s_secs: 7200 is less than the 86400 of history.keep_1s_secs",
            ),
            (
                "remote_write.url = 'https://x/api/v1/write'",
                "remote_write.url: \"https://x/api/v1/write\" does not start with http://",
            ),
            ("remote_write.url = 'http://127.0.0.1:9090/'", "remote_write.url: \"http://127.0.0.1:9090/\" has no path"),
            ("remote_write.protocol = '3'", "remote_write.protocol: \"3\" is not \"1.0\" or \"2.0\""),
            (
                "remote_write.scopes = ['all']",
                "remote_write.scopes: \"all\" is not \"cluster\" or \"groups\" or \"nodes\"",
            ),
            ("remote_write.scopes = []", "remote_write.scopes: 0 entries"),
            ("remote_write.names = ['a(']", "remote_write.names: \"a(\" is not a regular expression"),
            (
                "remote_write.external_labels = { 'a.b' = 'c' }",
                "remote_write.external_labels: \"a.b\" is not the name of a label",
            ),
            ("remote_write.user = 'ann'", "remote_write.user: it wants a password: set remote_write.secret_file too"),
            ("remote_write.queue_bytes = 1000", "remote_write.queue_bytes: 1000 is out of range"),
            (
                "history.engine.url = 'localhost:9090'",
                "history.engine.url: \"localhost:9090\" does not start with http://",
            ),
            ("history.engine.url = 'http://10.0.0.1:9090'", "is on another machine and plain text"),
            (
                "history.engine.url = 'http://localhost:9/a?b=c'",
                "history.engine.url: \"http://localhost:9/a?b=c\" has a path with",
            ),
            ("history.engine.timeout_secs = 0", "history.engine.timeout_secs: 0 is out of range"),
            ("history.engine.interval_secs = 4000", "history.engine.interval_secs: 4000 is out of range"),
            (
                "history.engine.user = 'ann'",
                "history.engine.user: it wants a password: set history.engine.secret_file too",
            ),
            ("history.engine.headers = { 'a b' = 'c' }", "history.engine.headers: \"a b\" is not the name of a header"),
            ("history.engine.headers = { authorization = 'c' }", "for credentials there are keys of their own"),
            ("history.engine.matchers = { a = 7 }", "history.engine.matchers: the label \"a\" has the value 7"),
            ("requests.endpoint = 'localhost'", "requests.endpoint: \"localhost\" does not start with http://"),
            ("grcp_listen = '127.0.0.1:1'", "grcp_listen: unknown key, did you mean grpc_listen?"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let error =
            read("weight = 0\ncopies = 'two'\nseeds = ['x']\ngrpc_listen = '192.0.2.1:7400'\nx = 1").unwrap_err();
        assert_eq!(error.lines().count(), 5, "{error}");
    }

    #[test]
    fn the_example_file_is_written_from_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/aggregator.toml");
        generated::is_current(&path, &settings::example::<Config>("aggregator")).unwrap();
    }

    #[test]
    fn the_example_file_with_every_line_active_is_valid() {
        let config = read(&settings::example_uncommented(&settings::example::<Config>("aggregator"))).unwrap();
        let expected = Config {
            aggregator_id: NodeId::parse("aggregator-1").unwrap(),
            grpc_advertise: Some("127.0.0.1:7400".into()),
            gossip_advertise: Some("127.0.0.1:7401".parse().unwrap()),
            gossip_keyring: Some("/etc/starling/tls/gossip.keyring".into()),
            operator_tokens: Some("/etc/starling/tls/operator-tokens".into()),
            tls: TlsSettings {
                certificate: Some("/etc/starling/tls/certificate.pem".into()),
                key: Some("/etc/starling/tls/key.pem".into()),
                ca: Some("/etc/starling/tls/ca.pem".into()),
                revoked: Some("/etc/starling/tls/revoked".into()),
                folder: Some("/var/lib/starling/PROGRAM/identity".into()),
            },
            enrolment: EnrolmentSettings {
                authority: Some("/etc/starling/tls/aggregator/authority".into()),
                ..EnrolmentSettings::default()
            },
            state_dir: "/var/lib/starling/aggregator".into(),
            alerts: AlertSettings {
                rules: vec!["/etc/starling/rules.toml".into()],
                defaults_off: vec!["disk-busy".into()],
                notify: Some("/etc/starling/notify.toml".into()),
                ..AlertSettings::default()
            },
            remote_write: RemoteWriteSettings {
                url: Some("http://127.0.0.1:9090/api/v1/write".into()),
                secret_file: Some("/etc/starling/write-secret".into()),
                user: Some("starling".into()),
                ..RemoteWriteSettings::default()
            },
            history: HistorySettings {
                engine: EngineSettings {
                    url: Some("http://127.0.0.1:9090".into()),
                    headers: [("X-Source".into(), "starling".into())].into(),
                    secret_file: Some("/etc/starling/engine-secret".into()),
                    user: Some("starling".into()),
                    matchers: [("source".into(), "starling".into())].into(),
                    ..EngineSettings::default()
                },
                ..HistorySettings::default()
            },
            ..Config::default()
        };
        assert_eq!(config, expected);
    }
}
