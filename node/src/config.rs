//! Settings of the daemon.
//!
//! The file, the environment and the flags give [`Settings`], which is checked as a whole into [`Config`]. The
//! example file in `deploy/config/node.toml` is written from the table below.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use starling_proto::{address::loopback_host_port, ids::NodeId, limits};
use starling_service::{CommonArgs, listen, settings};

use crate::{CollectConfig, ReceiverLimits, UplinkConfig};

/// Most aggregators that may be listed.
const AGGREGATORS_MAX: usize = 64;

/// One table for the keys of the settings file: comment, name, type, default, and what the example shows instead of a
/// default that has no text of its own. The struct and the example file both come from it.
macro_rules! settings {
    ($($(#[doc = $doc:literal])* $key:ident: $type:ty = $default:expr $(, example $example:literal)?;)*) => {
        /// The keys of the settings file as they were written, not yet checked.
        #[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Settings {
            $($(#[doc = $doc])* pub $key: $type,)*
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        /// Per key: its name, its comment, and the value shown.
        #[cfg(test)]
        fn documented() -> Vec<(&'static str, &'static [&'static str], String)> {
            let defaults = Settings::default();
            vec![$((
                stringify!($key),
                &[$($doc),*] as &[&str],
                [$($example.to_owned(),)? toml::Value::try_from(&defaults.$key).map_or(String::new(), |v| v.to_string())]
                    .into_iter().next().unwrap_or_default(),
            ),)*]
        }
    };
}

settings! {
    /// Name of this host, 1 to 64 characters of a-z, 0-9, '.', '_' and '-'. Default: the host's own name, other
    /// characters replaced by '-'. A host that changes its name is a new node.
    node_id: Option<String> = None, example "\"web-1\"";
    /// Where to find any aggregator, as "host:port"; at least one. The one that answers tells where this node
    /// belongs and who else there is, so two or three are enough for a cluster of any size.
    aggregators: Vec<String> = vec!["127.0.0.1:7400".to_owned()];
    /// Labels of this host, such as zone, rack and role; at most 16, keys of 1 to 32 characters without ':' and values
    /// of 1 to 64 characters. The cluster is also shown by the values of some of them.
    labels: BTreeMap<String, String> = BTreeMap::new(), example "{ zone = \"a\", role = \"web\" }";
    /// The mount of procfs. Another one when the daemon runs in a container and the host's is mounted elsewhere.
    procfs: PathBuf = "/proc".into();
    /// The mount of sysfs, likewise.
    sysfs: PathBuf = "/sys".into();
    /// Prefix of the mount points when the sizes of filesystems are asked, likewise.
    rootfs: PathBuf = "/".into();
    /// Ask the kernel for every TCP socket, for connection states, idle and health. Costs about a microsecond a
    /// socket and second. The answer is for the daemon's own network namespace.
    tcp: bool = true;
    /// Where /metrics, /live and /ready are served. Loopback only in this version.
    admin_listen: String = "127.0.0.1:7490".to_owned();
    /// Take application metrics by OTLP over gRPC. Without it there are no request metrics.
    otlp: bool = true;
    /// Where OTLP over gRPC is taken. Loopback only in this version.
    otlp_listen: String = "127.0.0.1:4317".to_owned();
    /// Application series that may be present at once, beside the request metrics. Further ones are refused, counted,
    /// and named in the answer to the sender. One costs about 0.3 kB here and a few bytes a second on the wire.
    otlp_series_max: usize = 500;
    /// Streams of cumulative points whose last value is kept. Further ones are refused and counted. One costs 0.1 kB,
    /// one of a histogram up to 3 kB.
    otlp_streams_max: usize = 4096;
    /// Seconds after which a gauge that is no longer reported is absent, when its interval is not known yet. Known
    /// intervals count three times.
    otlp_stale_secs: u64 = 60;
    /// Seconds of frames kept while no aggregator acknowledges, 30 to 900. When full, the oldest is lost and counted.
    /// Aggregators take nothing older than 900 s.
    ring_frames: usize = UplinkConfig::RING_FRAMES;
    /// About how many bytes those frames may take, 1 MiB to 1 GiB. The default holds 900 s of 700 series.
    ring_max_bytes: usize = UplinkConfig::RING_BYTES;
    /// Seconds a stop may take, 1 to 60: the last frames are handed over, then the daemon says goodbye.
    shutdown_grace_secs: u64 = 5;
}

/// Settings that were checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of this host.
    pub node_id: NodeId,
    /// Where to find any aggregator, as `host:port`.
    pub aggregators: Vec<String>,
    /// Labels of this host.
    pub labels: HashMap<String, String>,
    /// Where the collectors read.
    pub collect: CollectConfig,
    /// Where the admin port is.
    pub admin_listen: SocketAddr,
    /// Where OTLP over gRPC is taken; `None` for nowhere.
    pub otlp_listen: Option<SocketAddr>,
    /// Limits of the OTLP door.
    pub door: ReceiverLimits,
    /// Frames kept without an acknowledgement.
    pub ring_frames: usize,
    /// About how many bytes those frames may take.
    pub ring_bytes: usize,
    /// How long a stop may take.
    pub shutdown_grace: Duration,
}

impl Config {
    /// Reads and checks the settings of all sources.
    ///
    /// # Errors
    /// When a source cannot be read, a key is unknown, or values make no sense: all mistakes at once.
    pub fn load(args: &CommonArgs) -> Result<Self, settings::SettingsError> {
        settings::load::<Settings>("node", args.config.as_deref(), &args.overrides)?.validate()
    }
}

impl Settings {
    /// Checks every value.
    ///
    /// # Errors
    /// [`settings::SettingsError::Invalid`] with one line per mistake, naming the key and what was wanted.
    pub fn validate(self) -> Result<Config, settings::SettingsError> {
        let mut mistakes = Mistakes::default();
        let node_id = match &self.node_id {
            None => NodeId::sanitised(&gethostname::gethostname().to_string_lossy()),
            Some(name) => NodeId::parse(name).unwrap_or_else(|error| {
                mistakes.add("node_id", format!("{name:?}"), error);
                NodeId::sanitised(name)
            }),
        };
        if self.aggregators.is_empty() || self.aggregators.len() > AGGREGATORS_MAX {
            let count = self.aggregators.len();
            mistakes.add("aggregators", format!("{count} of them"), format!("1 to {AGGREGATORS_MAX} are wanted"));
        }
        for address in &self.aggregators {
            if let Err(wrong) = loopback_host_port(address) {
                mistakes.add("aggregators", format!("{address:?}"), wrong);
            }
        }
        self.check_labels(&mut mistakes);
        mistakes.range("otlp_series_max", self.otlp_series_max, 1, 2_000);
        mistakes.range("otlp_streams_max", self.otlp_streams_max, 1, 65_536);
        mistakes.range("otlp_stale_secs", self.otlp_stale_secs, 2, 3_600);
        mistakes.range("ring_frames", self.ring_frames, limits::OFFER_WINDOW, limits::HISTORY_SECONDS as usize);
        mistakes.range("ring_max_bytes", self.ring_max_bytes, 1 << 20, 1 << 30);
        mistakes.range("shutdown_grace_secs", self.shutdown_grace_secs, 1, 60);
        let admin_listen = mistakes.listen("admin_listen", &self.admin_listen);
        let otlp_listen = mistakes.listen("otlp_listen", &self.otlp_listen);
        for (key, path) in [("procfs", &self.procfs), ("sysfs", &self.sysfs), ("rootfs", &self.rootfs)] {
            if !path.is_absolute() {
                mistakes.add(key, format!("{path:?}"), "an absolute path is wanted");
            }
        }
        let (Some(admin_listen), Some(otlp_listen), true) = (admin_listen, otlp_listen, mistakes.0.is_empty()) else {
            return Err(settings::SettingsError::Invalid(mistakes.0));
        };
        Ok(Config {
            node_id,
            aggregators: self.aggregators,
            labels: self.labels.into_iter().collect(),
            collect: CollectConfig { procfs: self.procfs, sysfs: self.sysfs, rootfs: self.rootfs, tcp: self.tcp },
            admin_listen,
            otlp_listen: self.otlp.then_some(otlp_listen),
            door: ReceiverLimits {
                series: self.otlp_series_max,
                streams: self.otlp_streams_max,
                stale_after: Duration::from_secs(self.otlp_stale_secs),
            },
            ring_frames: self.ring_frames,
            ring_bytes: self.ring_max_bytes,
            shutdown_grace: Duration::from_secs(self.shutdown_grace_secs),
        })
    }

    fn check_labels(&self, mistakes: &mut Mistakes) {
        if self.labels.len() > limits::LABELS_MAX {
            let count = self.labels.len();
            mistakes.add("labels", format!("{count} of them"), format!("at most {} are taken", limits::LABELS_MAX));
        }
        let fits =
            |text: &str, max: usize| (1..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        for (key, value) in &self.labels {
            // An aggregator refuses the node for the same: it writes a group as "key:value".
            if !fits(key, limits::LABEL_KEY_LEN_MAX) || key.contains(':') || !fits(value, limits::LABEL_VALUE_LEN_MAX) {
                let wanted = format!(
                    "a key of 1 to {} characters without ':' and a value of 1 to {} characters, both without control \
                     characters, are wanted",
                    limits::LABEL_KEY_LEN_MAX,
                    limits::LABEL_VALUE_LEN_MAX
                );
                mistakes.add("labels", format!("{key:?} = {value:?}"), wanted);
            }
        }
    }
}

/// All mistakes of one set of settings.
#[derive(Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    fn add(&mut self, key: &str, found: impl std::fmt::Display, wanted: impl std::fmt::Display) {
        self.0.push(format!("{key}: {found}: {wanted}"));
    }

    fn range<T: Copy + PartialOrd + std::fmt::Display>(&mut self, key: &str, value: T, least: T, most: T) {
        if value < least || value > most {
            self.add(key, value, format!("{least} to {most} is wanted"));
        }
    }

    fn listen(&mut self, key: &str, text: &str) -> Option<SocketAddr> {
        let Ok(address) = text.parse::<SocketAddr>() else {
            self.add(key, format!("{text:?}"), "an address such as \"127.0.0.1:7490\" is wanted");
            return None;
        };
        if let Err(error) = listen::require_loopback(address, key) {
            self.0.push(error.to_string());
        }
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/config/node.toml");

    fn example() -> String {
        let mut text = String::from(
            "# Settings of starling-node. Every key stands here with its default or an example; take away the '#' to set it.\n\
             # An environment variable such as STARLING_NODE__OTLP_LISTEN wins over this file, a flag such as\n\
             # --set otlp_listen=127.0.0.1:4317 over both. `starling-node --check-config --config FILE` checks a file.\n",
        );
        for (key, comment, value) in documented() {
            text.push('\n');
            comment.iter().for_each(|line| text.push_str(&format!("#{line}\n")));
            text.push_str(&format!("#{key} = {value}\n"));
        }
        text
    }

    /// Writes the file with `STARLING_BLESS=1`.
    #[test]
    fn the_example_file_is_written_from_the_defaults() {
        if std::env::var_os("STARLING_BLESS").is_some() {
            std::fs::write(EXAMPLE, example()).unwrap();
        }
        let file = std::fs::read_to_string(EXAMPLE).unwrap_or_default();
        assert!(file == example(), "{EXAMPLE} is out of date: run this test with STARLING_BLESS=1 and commit the file");
    }

    #[test]
    fn every_line_of_the_example_can_be_uncommented() {
        let set: String = example()
            .lines()
            .filter(|line| line.starts_with('#') && !line.starts_with("# "))
            .map(|line| format!("{}\n", &line[1..]))
            .collect();
        let settings: Settings = toml::from_str(&set).unwrap();
        assert_eq!(settings.node_id.as_deref(), Some("web-1"));
        let defaults =
            Settings { node_id: settings.node_id.clone(), labels: settings.labels.clone(), ..Settings::default() };
        assert_eq!(settings, defaults);
        settings.validate().unwrap();
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let config = toml::from_str::<Settings>("").unwrap().validate().unwrap();
        assert_eq!(config.aggregators, ["127.0.0.1:7400"]);
        assert_eq!(config.otlp_listen, Some("127.0.0.1:4317".parse().unwrap()));
        assert_eq!(config.collect, CollectConfig::default());
        assert!(!config.node_id.as_str().is_empty());
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let text = r#"
            node_id = "Web 1"
            aggregators = ["agg-1", "127.0.0.1:7400"]
            labels = { "" = "x" }
            procfs = "proc"
            admin_listen = "0.0.0.0:7490"
            otlp_listen = "nowhere"
            ring_frames = 1
            shutdown_grace_secs = 0
        "#;
        let error = toml::from_str::<Settings>(text).unwrap().validate().unwrap_err().to_string();
        for key in [
            "node_id",
            "aggregators: \"agg-1\"",
            "labels",
            "procfs",
            "admin_listen",
            "otlp_listen",
            "ring_frames: 1: 30 to 900",
        ] {
            assert!(error.contains(key), "{key} is not in\n{error}");
        }
        assert_eq!(error.lines().count(), 8, "{error}");
    }

    #[test]
    fn labels_that_an_aggregator_would_refuse_are_refused_here() {
        let labels = |labels: &str| toml::from_str::<Settings>(&format!("labels = {labels}")).unwrap().validate();
        let error = labels(r#"{ "rack:row" = "7" }"#).unwrap_err().to_string();
        assert!(error.contains(r#"labels: "rack:row" = "7""#) && error.contains("without ':'"), "{error}");
        assert!(labels(r#"{ zone = "eu:1" }"#).is_ok(), "a value may hold one");
    }

    #[test]
    fn unknown_keys_are_named() {
        let error = toml::from_str::<Settings>("agregators = []").unwrap_err().to_string();
        assert!(error.contains("agregators") && error.contains("aggregators"), "{error}");
    }

    #[test]
    fn the_door_can_be_closed() {
        let config = toml::from_str::<Settings>("otlp = false").unwrap().validate().unwrap();
        assert_eq!(config.otlp_listen, None);
    }
}
