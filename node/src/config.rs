//! Settings of the daemon: one table. The example file in `deploy/config/node.toml` is written from it.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, time::Duration};

use starling_proto::{ids::NodeId, limits};
use starling_service::{
    credentials::{Exposure, TlsSettings},
    machine,
    parts::chain,
    settings::{Mistakes, kind},
    state_folder,
};

use crate::{
    CollectConfig, Mapping, NegativeGauges, Promotion, ReceiverLimits, ScrapeTarget, UplinkConfig,
    collect::{CollectSettings, Source, Switches, readable},
    receive::{ScrapeSettings, StatsdRules, StatsdSettings, mapping_list, promotion_list, target_list},
};

/// Most aggregators that may be listed: more than any cluster has.
const AGGREGATORS_MAX: usize = 64;

starling_service::settings! {
    /// Settings of the daemon of a host.
    pub struct Config {
        /// Name of this host. Default: the host's own name, other characters replaced by '-'; a host that changes its
        /// name is a new node then. The name of a container is not taken: another one follows. With `tls` it is the name in
        /// the certificate, whatever stands here.
        pub node_id: Option<NodeId> = None, kind::optional(kind::name()), example "\"web-1\"";
        /// Where to find any aggregator. The one that answers says where this node belongs and who else there is, so
        /// two or three are enough for a cluster of any size. Default: those that `join` learnt of, else 127.0.0.1:7400.
        pub aggregators: Vec<String> = Vec::new(), kind::list(0..=AGGREGATORS_MAX, kind::host_port()),
            example "[\"127.0.0.1:7400\"]";
        /// Labels of this host, such as zone, rack and role. The cluster is also shown by the values of some of them.
        pub labels: HashMap<String, String> = HashMap::new(), kind::labels(),
            example "{ zone = \"a\", role = \"web\" }";
        /// The mount of procfs. Another one when the daemon runs in a container and the host's is mounted elsewhere.
        pub procfs: PathBuf = "/proc".into(), kind::absolute_path();
        /// The mount of sysfs, likewise.
        pub sysfs: PathBuf = "/sys".into(), kind::absolute_path();
        /// Prefix of the mount points when the sizes of filesystems are asked, likewise.
        pub rootfs: PathBuf = "/".into(), kind::absolute_path();
        /// Ask the kernel for every TCP socket, for connection states, idle and health. Costs about a microsecond a
        /// socket and second. The answer is for the daemon's own network namespace.
        pub tcp: bool = true, kind::flag();
        /// Where /metrics, /live and /ready are served (HTTP).
        pub admin_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7490)), kind::listen();
        /// Take application metrics by OTLP, over gRPC and HTTP. Without it there are no request metrics.
        pub otlp: bool = true, kind::flag();
        /// Where OTLP over gRPC is taken.
        pub otlp_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 4317)), kind::listen();
        /// Where OTLP over HTTP (protocol buffers or JSON) is taken, and remote write of Prometheus (/api/v1/write). Left at its default it is done without when the port is taken
        /// and otlp_listen was set: it is another daemon's or collector's then.
        pub otlp_http_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 4318)), kind::listen();
        /// Take StatsD and DogStatsD.
        pub statsd: bool = true, kind::flag();
        /// Where StatsD is taken by UDP. Left at its default it is done without, with a line in the log, when another StatsD has
        /// the port.
        pub statsd_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8125)), kind::listen();
        /// Where StatsD is taken by datagrams on a unix socket as well. Every user of this host may write to it.
        pub statsd_socket: Option<PathBuf> = None, kind::optional(kind::absolute_path()),
            example "\"/run/starling-node/statsd.sock\"";
        /// Where StatsD is taken by connections on a unix socket as well: DogStatsD's unixstream://. Likewise.
        pub statsd_stream_socket: Option<PathBuf> = None, kind::optional(kind::absolute_path()),
            example "\"/run/starling-node/statsd-stream.sock\"";
        /// Bytes of datagrams that may wait in the kernel, on each socket. What comes beyond is dropped by the kernel, and
        /// counted for UDP. The kernel gives at most net.core.rmem_max.
        pub statsd_receive_buffer: usize = 4 << 20, kind::number_of("bytes", 64 << 10..=256 << 20);
        /// How long a gauge of StatsD holds when it is not sent again: senders send it when it changes.
        pub statsd_gauges_hold: Duration = Duration::from_secs(300), kind::seconds(5..=86_400),
            key "statsd_gauges_hold_secs";
        /// What -5 is for a gauge of StatsD: "change" takes 5 away (StatsD), "value" sets it to -5 (DogStatsD), "auto" takes it for
        /// a value in a line that has tags or another field that only DogStatsD has.
        pub statsd_negative_gauges: NegativeGauges = NegativeGauges::Auto, kind::word();
        /// What is scraped in the formats of Prometheus (binary, OpenMetrics 1.0, text 0.0.4). Words after the address are the job
        /// (which is the service), the interval and timeout in seconds, and labels; for https:// ca_file, unless the host trusts
        /// its CA, and server_name, unless its certificate names the host of the address; for one that asks who it is
        /// token_file, or user and password_file. Files have absolute paths, and their first line is sent.
        pub scrape_targets: Vec<ScrapeTarget> = Vec::new(), target_list(),
            example "[\"127.0.0.1:8080 job=shop interval=5\", \"https://cart:9000/actuator/prometheus job=cart ca_file=/etc/starling/cart-ca.pem token_file=/etc/starling/cart-token\"]";
        /// Files that list further targets, of the shape that Prometheus reads (file_sd), in JSON or YAML; a '*' in the name of the file is any
        /// text. They are read every 5 s.
        pub scrape_files: Vec<PathBuf> = Vec::new(), kind::list(0..=16, kind::absolute_path()),
            example "[\"/etc/starling/targets/*.json\"]";
        /// How often a target is scraped that states no interval.
        pub scrape_interval: Duration = Duration::from_secs(1), kind::seconds(1..=3_600), key "scrape_interval_secs";
        /// How long a scrape may take.
        pub scrape_timeout: Duration = Duration::from_secs(10), kind::seconds(1..=3_600), key "scrape_timeout_secs";
        /// Names that stand for requests, durations and open requests, beside those of OpenTelemetry's conventions; a '*' is any
        /// text. Counters of requests count as long as no durations of the same service and protocol come in. See docs/send.md.
        pub mappings: Vec<Mapping> = Mapping::defaults(), mapping_list();
        /// Application metrics that are added up over the nodes of the cluster, where others are of their node: a name, which may end
        /// with '*', and after "by" the attributes that tell its series apart; the others are added up on the host. Everything that
        /// differs from host to host costs every aggregator a series: keep few. See docs/send.md.
        pub promote: Vec<Promotion> = Vec::new(), promotion_list(),
            example "[\"shop.orders by service.name currency\", \"queue.*\"]";
        /// Application series that may be present at once, of all receivers, beside the request metrics. Further ones are refused,
        /// counted, and named in the answer to the sender. One costs about 0.3 kB here and a few bytes a second on the
        /// wire.
        pub otlp_series_max: usize = 500, kind::number(1..=2_000);
        /// Routes of services whose requests are counted by themselves, of all services of this host; one service may have half of
        /// them. Of the others requests and latency are counted in a route `_other` of their service, and of a 65th service in
        /// one called `_other`. A route costs about 1 kB here and two to eight series of the cluster.
        pub routes_max: usize = 128, kind::number(1..=500);
        /// Streams of cumulative points whose last value is kept, and as many of StatsD. Further ones are refused and counted.
        /// One costs 0.1 to 0.3 kB, one of a histogram up to 3 kB.
        pub otlp_streams_max: usize = 4096, kind::number(1..=65_536);
        /// After how long a gauge that is no longer reported is absent, when its interval is not known yet. Known
        /// intervals count three times.
        pub otlp_stale_after: Duration = Duration::from_secs(60), kind::seconds(2..=3_600), key "otlp_stale_secs";
        /// Seconds of frames kept while no aggregator acknowledges. When full, the oldest is lost and counted.
        /// Aggregators take nothing older than 900 s.
        pub ring_frames: usize = UplinkConfig::RING_FRAMES,
            kind::number_of("frames", limits::OFFER_WINDOW..=limits::RING as usize);
        /// About how many bytes those frames may take. The default holds 900 s of 700 series.
        pub ring_max_bytes: usize = UplinkConfig::RING_BYTES, kind::number_of("bytes", 1 << 20..=1 << 30);
        /// Keep frames that nobody has acknowledged on the disk as well, so that the next start hands them over, whatever ended
        /// this one. Without it they are in memory only.
        pub spool: bool = true, kind::flag();
        /// Folder of these frames, one below it for each node; at most 64 MiB, mostly none: six hours of an outage. Default: `spool` in the folder for
        /// state: $STATE_DIRECTORY (set by systemd), for root /var/lib/starling/node, else $XDG_STATE_HOME/starling/node.
        pub spool_dir: Option<PathBuf> = None, kind::optional(kind::absolute_path()), example "\"/var/lib/starling/node/spool\"";
        /// How long a stop may take: the last frames are handed over and acknowledged, which takes up to 5 s, then the
        /// stream is ended. What is not acknowledged by then is left on the disk for the next start, without a spool lost.
        pub shutdown_grace: Duration = UplinkConfig::GRACE, kind::seconds(5..=60), key "shutdown_grace_secs";
        /// Speak plain text beyond this host, and believe whoever is there: for networks where nobody else is.
        pub insecure: bool = false, kind::flag();
    }
    tables {
        /// Mutual TLS with aggregators.
        pub tls: TlsSettings = TlsSettings::joined("node");
        /// How the host is read.
        pub collect: CollectSettings = CollectSettings::default();
        /// Which collectors run.
        pub collectors: Switches = Switches::default();
    }
    together together;
}

fn together(config: &Config, mistakes: &mut Mistakes) {
    if config.node_id.is_none()
        && config.tls.files().is_none()
        && let Err(error) = machine::name_of_host()
    {
        let next = "set node_id (STARLING_NODE__NODE_ID) to the name of the host, or `starling-node join --name`";
        mistakes.add("node_id", format!("is not set, and {error}: {next}"));
    }
    if config.collectors.any()
        && config.collect.source == Source::Proc
        && let Err(error) = readable(&config.procfs)
    {
        mistakes.add(
            "procfs",
            format!(
                "{}: without it nothing of this host can be read; in a container mount the host's /proc and name it \
                 here, set collect.source to portable, or switch the collectors off",
                chain(&error)
            ),
        );
    }
    let exposure = Exposure::of(&config.tls, config.insecure);
    exposure.dialled("aggregators", &config.aggregators, mistakes);
    exposure.plain_listener("admin_listen", config.admin_listen, mistakes);
    if config.otlp {
        exposure.plain_listener("otlp_listen", config.otlp_listen, mistakes);
        exposure.plain_listener("otlp_http_listen", config.otlp_http_listen, mistakes);
        mistakes.distinct(&[
            ("admin_listen", config.admin_listen),
            ("otlp_listen", config.otlp_listen),
            ("otlp_http_listen", config.otlp_http_listen),
        ]);
    }
    if config.statsd {
        exposure.plain_listener("statsd_listen", config.statsd_listen, mistakes);
        if config.statsd_socket.is_some() && config.statsd_socket == config.statsd_stream_socket {
            mistakes.add("statsd_stream_socket", "is statsd_socket too: give each a path of its own".to_owned());
        }
    }
}

impl Config {
    /// The name of this node without a certificate.
    #[must_use]
    pub fn name(&self) -> NodeId {
        self.node_id.clone().unwrap_or_else(|| NodeId::sanitised(&machine::host_name()))
    }

    /// Where frames are kept on the disk; `None` when they are not.
    #[must_use]
    pub fn spool_folder(&self) -> Option<PathBuf> {
        let usual = || state_folder::of("node").join("spool");
        self.spool.then(|| self.spool_dir.clone().unwrap_or_else(usual))
    }

    /// Where the collectors read.
    #[must_use]
    pub fn collect(&self) -> CollectConfig {
        CollectConfig {
            procfs: self.procfs.clone(),
            sysfs: self.sysfs.clone(),
            rootfs: self.rootfs.clone(),
            tcp: self.tcp,
            source: self.collect.source,
            fine_hz: self.collect.fine_hz,
            cpu_budget: self.collect.cpu_budget(),
            collectors: self.collectors.clone(),
        }
    }

    /// Where StatsD is taken; `None` when it is not.
    #[must_use]
    pub(crate) fn statsd(&self) -> Option<StatsdSettings> {
        self.statsd.then(|| StatsdSettings {
            listen: self.statsd_listen,
            is_spare: self.statsd_listen == Self::default().statsd_listen,
            socket: self.statsd_socket.clone(),
            stream_socket: self.statsd_stream_socket.clone(),
            receive_buffer: self.statsd_receive_buffer,
        })
    }

    /// What is scraped; `None` when it is nothing.
    #[must_use]
    pub(crate) fn scrape(&self) -> Option<ScrapeSettings> {
        (!self.scrape_targets.is_empty() || !self.scrape_files.is_empty()).then(|| ScrapeSettings {
            targets: self.scrape_targets.clone(),
            files: self.scrape_files.clone(),
            interval: self.scrape_interval,
            timeout: self.scrape_timeout,
        })
    }

    /// How StatsD is read.
    #[must_use]
    pub(crate) fn statsd_rules(&self) -> StatsdRules {
        StatsdRules {
            mappings: self.mappings.clone(),
            negative_gauges: self.statsd_negative_gauges,
            gauges_hold: self.statsd_gauges_hold,
            streams: self.otlp_streams_max,
        }
    }

    /// Limits of the receivers of application metrics.
    #[must_use]
    pub fn receiver(&self) -> ReceiverLimits {
        ReceiverLimits {
            series: self.otlp_series_max,
            routes: self.routes_max,
            streams: self.otlp_streams_max,
            stale_after: self.otlp_stale_after,
        }
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

    fn load(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        // Without it these tests would depend on where they run.
        let name = if text.contains("node_id") { "" } else { "node_id = 'web-1'\n" };
        std::fs::write(file.path(), format!("{name}{text}")).unwrap();
        let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
        settings::load("node", &sources).map(|loaded| loaded.settings).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_file_is_written_from_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/node.toml");
        generated::is_current(&path, &settings::example::<Config>("node")).unwrap();
    }

    #[test]
    fn every_line_of_the_example_can_be_uncommented() {
        let config = load(&settings::example_uncommented(&settings::example::<Config>("node"))).unwrap();
        assert_eq!(config.name().as_str(), "web-1");
        let defaults = Config {
            node_id: config.node_id.clone(),
            aggregators: vec!["127.0.0.1:7400".to_owned()],
            spool_dir: config.spool_dir.clone(),
            promote: config.promote.clone(),
            labels: config.labels.clone(),
            tls: config.tls.clone(),
            statsd_socket: Some("/run/starling-node/statsd.sock".into()),
            scrape_targets: config.scrape_targets.clone(),
            scrape_files: vec!["/etc/starling/targets/*.json".into()],
            statsd_stream_socket: Some("/run/starling-node/statsd-stream.sock".into()),
            ..Config::default()
        };
        assert_eq!(config, defaults);
        assert_eq!(config.scrape_targets.len(), 2);
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let config = load("").unwrap();
        assert_eq!(config, Config { node_id: config.node_id.clone(), ..Config::default() });
        assert_eq!(config.collect(), CollectConfig::default());
        config.check().unwrap();
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let text = r#"
            node_id = "Web 1"
            aggregators = ["agg-1", "127.0.0.1:7400"]
            labels = { "" = "x" }
            procfs = "proc"
            admin_listen = "0.0.0.0:7490"
            otlp_listen = "nowhere"
            ring_frames = 1
            shutdown_grace_secs = 0
            agregators = []
        "#;
        let error = load(text).unwrap_err();
        for part in [
            "node_id: \"Web 1\"",
            "aggregators: \"agg-1\"",
            "labels",
            "procfs",
            "admin_listen",
            "otlp_listen",
            "ring_frames: 1 is out of range, wanted: a whole number from 30 to 900 frames",
            "shutdown_grace_secs: 0",
            "agregators: unknown key, did you mean aggregators?",
        ] {
            assert!(error.contains(part), "{part} is not in\n{error}");
        }
        assert_eq!(error.lines().count(), 9, "{error}");
    }

    #[test]
    fn what_cannot_be_promoted_is_a_mistake() {
        let error = load(r#"promote = ["*", "system.cpu.time", "orders by currency"]"#).unwrap_err();
        assert!(error.contains("promote: \"*\" promotes every metric") && error.contains("shop.orders by"), "{error}");
        assert_eq!(load(r#"promote = ["orders by currency"]"#).unwrap().promote.len(), 1);
    }

    #[test]
    fn labels_that_an_aggregator_would_refuse_are_refused_here() {
        let error = load(r#"labels = { "rack:row" = "7" }"#).unwrap_err();
        assert!(error.contains(r#"labels: "rack:row""#) && error.contains("without ':'"), "{error}");
        assert!(load(r#"labels = { zone = "eu:1" }"#).is_ok(), "a value may hold one");
    }

    #[test]
    fn one_port_is_not_given_twice_but_a_closed_receiver_has_none() {
        let twice = "admin_listen = '127.0.0.1:4317'";
        assert!(load(twice).unwrap_err().contains("otlp_listen: 127.0.0.1:4317 is the address of admin_listen too"));
        assert!(load(&format!("otlp = false\n{twice}")).is_ok());
    }

    #[test]
    fn a_host_that_cannot_be_read_is_a_mistake_with_the_next_step() {
        let error = load("procfs = '/nonexistent'").unwrap_err();
        assert!(error.starts_with("procfs: /nonexistent/stat does not exist: without it"), "{error}");
        assert!(error.contains("mount the host's /proc") && error.lines().count() == 1, "{error}");
        let off = [
            "cpu",
            "load",
            "memory",
            "disk",
            "filesystem",
            "network",
            "tcp",
            "pressure",
            "paging",
            "softnet",
            "files",
            "conntrack",
            "sockstat",
            "processes",
            "cgroup",
            "raid",
            "sensors",
            "energy",
            "gpu",
            "units",
            "timekeeping",
            "uptime",
        ];
        let off: String = off.iter().map(|name| format!("collectors.{name} = false\n")).collect();
        let config = load(&format!("procfs = '/nonexistent'\n{off}")).unwrap();
        assert!(!config.collectors.any(), "it may still take what applications send");
    }
}
