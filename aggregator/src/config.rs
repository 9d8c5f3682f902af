//! Settings of the aggregator: read, checked all at once, and plain afterwards.

use std::{net::SocketAddr, path::Path, path::PathBuf, time::Duration};

use serde::Deserialize;
use starling_proto::{
    address::loopback_host_port,
    ids::NodeId,
    limits::{LABEL_KEY_LEN_MAX, NODE_ID_LEN_MAX},
};
use starling_service::settings::{self, Mistakes, SettingsError};

/// Most copies a frame can be asked to be on before it is acknowledged.
const COPIES_MAX: u8 = 5;
/// Most labels to group by: each multiplies the merged series by the number of its values.
const GROUP_BY_MAX: usize = 4;
/// Most nodes one aggregator can be asked to take. All rows of the node table go to every peer once a second and to
/// everybody who asks for the table, in one answer of at most 8 MiB: room for about 20,000 rows of usual size.
pub(crate) const NODES_MAX: u32 = 20_000;
/// Most seeds: every one is asked from time to time.
const SEEDS_MAX: usize = 64;

/// Why an address is refused.
const LOOPBACK_ONLY: &str = "can be reached by other hosts: only loopback addresses (127.0.0.0/8, [::1]) are taken in \
                             this version, because connections are not encrypted yet";

/// Settings of one aggregator. [`Config::default`] listens on loopback and has no seeds; [`Config::load`] reads the
/// sources an operator writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Name of this aggregator, unique in the cluster: 1 to 64 characters of `[a-z0-9._-]`. Default: the host name.
    /// Which nodes it owns follows from it, so a rename moves nodes.
    pub aggregator_id: NodeId,
    /// Name of the cluster. Aggregators of another name are not heard. Default: `starling`.
    pub cluster: String,
    /// Where the gRPC face listens (TCP). Port 0 takes a free one. Default: `127.0.0.1:7400`.
    pub grpc_listen: SocketAddr,
    /// `host:port` at which nodes and aggregators reach the gRPC face. Default: the address it listens on.
    pub grpc_advertise: Option<String>,
    /// Where gossip listens (UDP). Port 0 takes a free one. Default: `127.0.0.1:7401`.
    pub gossip_listen: SocketAddr,
    /// Address at which other aggregators reach our gossip. Default: the address it listens on.
    pub gossip_advertise: Option<SocketAddr>,
    /// Gossip addresses (`host:port`) of aggregators; names are resolved again every minute. The same list may stand
    /// at every aggregator. Default: none, this aggregator starts a cluster of its own.
    pub seeds: Vec<String>,
    /// Where `/metrics`, `/live` and `/ready` are served (TCP). Port 0 takes a free one. Default: `127.0.0.1:7402`.
    pub admin_listen: SocketAddr,
    /// Folder for what must survive a restart: today one number. Default: `/var/lib/starling/aggregator`.
    pub state_dir: PathBuf,
    /// Labels of nodes whose values get views of their own, such as `zone:a`. Must be the same at every aggregator.
    /// Each one costs about as much merging as the cluster view itself. Default: `zone`, `role`.
    pub group_by: Vec<String>,
    /// Values of all `group_by` labels together that get a view; further ones have none and are counted. Default: 64.
    pub groups_max: u32,
    /// Share of the nodes this aggregator takes, relative to the others: 1 to 1000. Default: 100.
    pub weight: u16,
    /// Where this aggregator stands; shown only. Default: empty.
    pub zone: String,
    /// On how many aggregators a frame is held before the node may forget it: 1 to 5. While fewer are ready, on all of
    /// these, but never on one alone as long as a peer is alive. An aggregator without peers acknowledges on its own,
    /// 20 s after the last one vanished without a goodbye. Every answer tells the true number. Default: 2.
    pub copies: u8,
    /// Nodes this aggregator takes, 1 to 20,000; more are sent to others or refused. About 0.5 MB each with 1,000
    /// series, at most about 1 MB. Default: 10,000.
    pub nodes_max: u32,
    /// Longest time a stop may take: nodes are sent away, the last seconds handed to the other aggregators.
    /// Default: 10 s.
    pub drain: Duration,
    /// `http://host:port` of a node daemon's OTLP door, to which this aggregator reports the requests it serves.
    /// `None`: it does not report them. Default: `http://127.0.0.1:4317`.
    pub report_requests_to: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Raw::default().into_config(&mut Mistakes::default()).expect("the defaults are valid, a test says so")
    }
}

impl Config {
    /// Reads the settings: `file` < environment `STARLING_AGGREGATOR__*` < `overrides` (`key=value`).
    ///
    /// # Errors
    /// Every mistake at once, each with its key and what was wanted.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Self, SettingsError> {
        settings::load::<Raw>("aggregator", file, overrides)?.validate()
    }

    /// Checks settings that were not read by [`Config::load`].
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn check(&self) -> Result<(), SettingsError> {
        let mut mistakes = Mistakes::default();
        self.note_mistakes(&mut mistakes);
        mistakes.finish(Some(()))
    }

    fn note_mistakes(&self, mistakes: &mut Mistakes) {
        for (key, address) in [
            ("grpc_listen", Some(self.grpc_listen)),
            ("gossip_listen", Some(self.gossip_listen)),
            ("gossip_advertise", self.gossip_advertise),
            ("admin_listen", Some(self.admin_listen)),
        ] {
            if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
                mistakes.add(key, format!("{address} {LOOPBACK_ONLY}"));
            }
        }
        if let Some(address) = &self.grpc_advertise {
            mistakes.take("grpc_advertise", loopback_host_port(address));
        }
        if self.cluster.is_empty() || self.cluster.chars().count() > NODE_ID_LEN_MAX {
            mistakes.add("cluster", format!("a name of 1 to {NODE_ID_LEN_MAX} characters is wanted"));
        }
        if self.seeds.len() > SEEDS_MAX {
            mistakes.add("seeds", format!("{} seeds, at most {SEEDS_MAX} are taken", self.seeds.len()));
        }
        for seed in &self.seeds {
            mistakes.take("seeds", loopback_host_port(seed));
        }
        if self.group_by.len() > GROUP_BY_MAX {
            mistakes.add("group_by", format!("{} labels, at most {GROUP_BY_MAX} are taken", self.group_by.len()));
        }
        for label in &self.group_by {
            if !is_label_key(label) {
                mistakes.add(
                    "group_by",
                    format!("{label:?} is not a label: 1 to {LABEL_KEY_LEN_MAX} characters without ':'"),
                );
            }
        }
        in_range(mistakes, "weight", self.weight.into(), 1, 1000);
        in_range(mistakes, "copies", self.copies.into(), 1, COPIES_MAX.into());
        in_range(mistakes, "groups_max", self.groups_max.into(), 1, 1024);
        in_range(mistakes, "nodes_max", self.nodes_max.into(), 1, NODES_MAX.into());
        in_range(mistakes, "drain_secs", self.drain.as_secs(), 1, 300);
        if self.zone.chars().count() > NODE_ID_LEN_MAX {
            mistakes.add("zone", format!("at most {NODE_ID_LEN_MAX} characters are taken"));
        }
        if let Some(url) = &self.report_requests_to {
            match url.strip_prefix("http://") {
                Some(address) => drop(mistakes.take("requests.endpoint", loopback_host_port(address))),
                None => mistakes.add("requests.endpoint", format!("{url:?} is not http://host:port")),
            }
        }
    }
}

fn in_range(mistakes: &mut Mistakes, key: &str, value: u64, low: u64, high: u64) {
    if !(low..=high).contains(&value) {
        mistakes.add(key, format!("is {value}, {low} to {high} is wanted"));
    }
}

fn is_label_key(label: &str) -> bool {
    (1..=LABEL_KEY_LEN_MAX).contains(&label.chars().count()) && !label.contains(|c: char| c == ':' || c.is_control())
}

/// The settings as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    aggregator_id: Option<String>,
    cluster: String,
    grpc_listen: String,
    grpc_advertise: Option<String>,
    gossip_listen: String,
    gossip_advertise: Option<String>,
    seeds: Vec<String>,
    admin_listen: String,
    state_dir: PathBuf,
    group_by: Vec<String>,
    groups_max: u32,
    weight: u16,
    zone: String,
    copies: u8,
    nodes_max: u32,
    drain_secs: u32,
    requests: RawRequests,
}

/// Where our own requests are reported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRequests {
    report: bool,
    endpoint: String,
}

impl Default for RawRequests {
    fn default() -> Self {
        Self { report: true, endpoint: "http://127.0.0.1:4317".into() }
    }
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            aggregator_id: None,
            cluster: "starling".into(),
            grpc_listen: "127.0.0.1:7400".into(),
            grpc_advertise: None,
            gossip_listen: "127.0.0.1:7401".into(),
            gossip_advertise: None,
            seeds: Vec::new(),
            admin_listen: "127.0.0.1:7402".into(),
            state_dir: "/var/lib/starling/aggregator".into(),
            group_by: vec!["zone".into(), "role".into()],
            groups_max: 64,
            weight: 100,
            zone: String::new(),
            copies: 2,
            nodes_max: 10_000,
            drain_secs: 10,
            requests: RawRequests::default(),
        }
    }
}

impl Raw {
    fn validate(self) -> Result<Config, SettingsError> {
        let mut mistakes = Mistakes::default();
        let config = self.into_config(&mut mistakes);
        if let Some(config) = &config {
            config.note_mistakes(&mut mistakes);
        }
        mistakes.finish(config)
    }

    /// `None` when a value does not parse; mistakes that leave a config are noted by the caller.
    fn into_config(self, mistakes: &mut Mistakes) -> Option<Config> {
        let aggregator_id = match &self.aggregator_id {
            Some(name) => mistakes.take("aggregator_id", NodeId::parse(name)),
            None => Some(NodeId::sanitised(&gethostname::gethostname().to_string_lossy())),
        };
        let grpc_listen = address(mistakes, "grpc_listen", &self.grpc_listen);
        let gossip_listen = address(mistakes, "gossip_listen", &self.gossip_listen);
        let admin_listen = address(mistakes, "admin_listen", &self.admin_listen);
        let gossip_advertise = self.gossip_advertise.as_deref().map(|text| address(mistakes, "gossip_advertise", text));
        Some(Config {
            aggregator_id: aggregator_id?,
            cluster: self.cluster,
            grpc_listen: grpc_listen?,
            grpc_advertise: self.grpc_advertise,
            gossip_listen: gossip_listen?,
            gossip_advertise: match gossip_advertise {
                Some(parsed) => Some(parsed?),
                None => None,
            },
            seeds: self.seeds,
            admin_listen: admin_listen?,
            state_dir: self.state_dir,
            group_by: self.group_by,
            groups_max: self.groups_max,
            weight: self.weight,
            zone: self.zone,
            copies: self.copies,
            nodes_max: self.nodes_max,
            drain: Duration::from_secs(self.drain_secs.into()),
            report_requests_to: self.requests.report.then_some(self.requests.endpoint),
        })
    }
}

fn address(mistakes: &mut Mistakes, key: &str, text: &str) -> Option<SocketAddr> {
    mistakes.take(
        key,
        text.parse::<SocketAddr>().map_err(|_| format!("{text:?} is not an address and port, such as 127.0.0.1:7400")),
    )
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        toml::from_str::<Raw>(text).map_err(|error| error.to_string())?.validate().map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(read("").unwrap(), Config::default());
        Config::default().check().unwrap();
    }

    #[test]
    fn bad_settings_are_named() {
        for (text, wanted) in [
            ("aggregator_id = 'Agg 1'", "aggregator_id: a name is made of a-z"),
            ("grpc_listen = '0.0.0.0:7400'", "only loopback addresses"),
            ("gossip_listen = '10.0.0.1:7401'", "gossip_listen"),
            ("admin_listen = 'here'", "admin_listen: \"here\" is not an address"),
            ("grpc_advertise = 'example.org:7400'", "grpc_advertise"),
            ("seeds = ['nowhere']", "seeds: \"nowhere\" is not \"host:port\""),
            ("group_by = ['a:b']", "group_by: \"a:b\" is not a label"),
            ("weight = 0", "weight: is 0, 1 to 1000 is wanted"),
            ("copies = 9", "copies: is 9, 1 to 5 is wanted"),
            ("nodes_max = 20001", "nodes_max: is 20001, 1 to 20000 is wanted"),
            ("drain_secs = 0", "drain_secs: is 0"),
            ("requests.endpoint = 'localhost'", "requests.endpoint"),
            ("grcp_listen = '127.0.0.1:1'", "unknown field `grcp_listen`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let error = read("weight = 0\ncopies = 0\nseeds = ['x']\ngrpc_listen = '192.0.2.1:7400'").unwrap_err();
        assert_eq!(error.lines().count(), 4, "{error}");
    }

    /// The example file: every setting with its doc, commented out, at its default.
    fn example() -> String {
        let Raw { cluster, grpc_listen, gossip_listen, seeds, admin_listen, state_dir, group_by, .. } = Raw::default();
        let Raw { groups_max, weight, zone, copies, nodes_max, drain_secs, requests, .. } = Raw::default();
        let mut text = String::from(
            "# Settings of starling-aggregator. Every line shows a default; remove the '#' to change it.\n\
             # The environment (STARLING_AGGREGATOR__GRPC_LISTEN=...) and --set KEY=VALUE win over this file.\n",
        );
        let mut entry = |help: &str, line: String| {
            text.push('\n');
            for row in help.lines() {
                let _ = writeln!(text, "# {row}");
            }
            let _ = writeln!(text, "#{line}");
        };
        entry(
            "Name of this aggregator, unique in the cluster: 1 to 64 characters of a-z, 0-9, '.', '_', '-'.\nWhich nodes it owns follows from it, so a rename moves nodes. Default: the host name.",
            "aggregator_id = \"aggregator-1\"".into(),
        );
        entry("Name of the cluster. Aggregators of another name are not heard.", format!("cluster = {cluster:?}"));
        entry(
            "Where nodes, dashboards and other aggregators connect (gRPC over TCP). Port 0 takes a free one.\nOnly loopback addresses are taken in this version, because connections are not encrypted yet.",
            format!("grpc_listen = {grpc_listen:?}"),
        );
        entry(
            "host:port at which others reach it. Default: the address above.",
            format!("grpc_advertise = {grpc_listen:?}"),
        );
        entry("Where aggregators gossip (UDP). Loopback only, as above.", format!("gossip_listen = {gossip_listen:?}"));
        entry(
            "Address at which others reach our gossip. Default: the address above.",
            format!("gossip_advertise = {gossip_listen:?}"),
        );
        entry(
            "Gossip addresses of aggregators, host:port. The same list may stand at every aggregator.\nWithout seeds this aggregator starts a cluster of its own.",
            format!("seeds = {seeds:?}"),
        );
        entry(
            "Where /metrics, /live and /ready are served (HTTP). Loopback only, as above.",
            format!("admin_listen = {admin_listen:?}"),
        );
        entry("Folder for what must survive a restart.", format!("state_dir = {:?}", state_dir.display().to_string()));
        entry(
            "Labels of nodes whose values get views of their own, such as zone:a. The same at every aggregator.\nEach label costs about as much merging as the cluster view itself.",
            format!("group_by = {group_by:?}"),
        );
        entry(
            "Values of these labels that get a view; further ones have none and are counted.",
            format!("groups_max = {groups_max}"),
        );
        entry(
            "Share of the nodes this aggregator takes, relative to the others: 1 to 1000.",
            format!("weight = {weight}"),
        );
        entry("Where this aggregator stands; shown only.", format!("zone = {zone:?}"));
        entry(
            "On how many aggregators a frame is held before its node may forget it: 1 to 5.\nWhile fewer are ready, on all of these, but never on one alone as long as a peer is alive.\nAn aggregator without peers acknowledges on its own and says so, 20 s after the last one vanished.",
            format!("copies = {copies}"),
        );
        entry(
            "Nodes this aggregator takes, 1 to 20000, at about 0.5 MB each (1,000 series).",
            format!("nodes_max = {nodes_max}"),
        );
        entry("Longest time a stop may take, seconds: 1 to 300.", format!("drain_secs = {drain_secs}"));
        entry(
            "Report the requests that this aggregator serves, as metrics of an application.",
            format!("requests.report = {}", requests.report),
        );
        entry(
            "The OTLP door (gRPC) of the node daemon they go to.",
            format!("requests.endpoint = {:?}", requests.endpoint),
        );
        text
    }

    fn example_path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/aggregator.toml")
    }

    #[test]
    fn the_example_file_is_up_to_date() {
        let (path, wanted) = (example_path(), example());
        if std::fs::read_to_string(&path).ok().as_ref() != Some(&wanted) {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, wanted).unwrap();
            panic!("{} was out of date and has been written anew: look at it and commit it", path.display());
        }
    }

    #[test]
    fn the_example_file_with_every_line_active_is_valid() {
        let active: String = example()
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        let config = read(&active).unwrap();
        let expected = Config {
            aggregator_id: NodeId::parse("aggregator-1").unwrap(),
            grpc_advertise: Some("127.0.0.1:7400".into()),
            gossip_advertise: Some("127.0.0.1:7401".parse().unwrap()),
            ..Config::default()
        };
        assert_eq!(config, expected);
    }
}
