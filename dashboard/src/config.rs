//! Settings: a TOML shape with defaults, checked all at once into [`Config`].

use std::{net::SocketAddr, path::Path};

use serde::Deserialize;
use starling_proto::address::{is_host, loopback_host_port};
use starling_service::{
    listen::require_loopback,
    settings::{self, Mistakes, SettingsError},
};

/// Most aggregators a server is told of: more than any cluster has.
const AGGREGATORS_MAX: usize = 64;
/// Most names a server answers to.
const ALLOWED_HOSTS_MAX: usize = 64;
/// Every client costs a socket and at most one frame in flight; a process has 1,024 descriptors by default.
const CLIENTS_LIMIT: u32 = 10_000;
/// Every watched view costs a stream and rings of about half a megabyte.
const WATCHES_LIMIT: u32 = 1_000;

/// Everything the server can be told, after checking. Made by [`Config::load`] or [`Config::default`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the page, the REST faces and the WebSockets are served.
    pub listen: SocketAddr,
    /// Where `/metrics`, `/live` and `/ready` are served; on [`Config::listen`] when absent.
    pub admin_listen: Option<SocketAddr>,
    /// "host:port" of aggregators to start with; others are learnt from them.
    pub aggregators: Vec<String>,
    /// Requests per second the operator aims at; `None` when not set.
    pub target_rps: Option<f64>,
    /// Names in the `Host` header the server answers to, beside the loopback ones.
    pub allowed_hosts: Vec<String>,
    /// "http://host:port" of a node daemon's OTLP door, to count this server's own requests; `None` for no counting.
    pub otlp_endpoint: Option<String>,
    /// Bounds on what clients may cost.
    pub limits: Limits,
}

/// Bounds on what clients may cost.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// WebSocket clients at once.
    pub clients: u32,
    /// Nodes and groups watched at once, beside the whole cluster.
    pub watches: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { clients: 500, watches: 64 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7480)),
            admin_listen: None,
            aggregators: vec!["127.0.0.1:7400".to_owned()],
            target_rps: None,
            allowed_hosts: Vec::new(),
            otlp_endpoint: None,
            limits: Limits::default(),
        }
    }
}

/// The TOML file as written. An absent key has the default of [`Config`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    listen: Option<String>,
    admin_listen: Option<String>,
    aggregators: Option<Vec<String>>,
    target_rps: Option<f64>,
    allowed_hosts: Option<Vec<String>>,
    otlp_endpoint: Option<String>,
    limits: Limits,
}

impl Config {
    /// Reads a file (none: defaults), then `STARLING_DASHBOARD__*` variables, then `key=value` overrides.
    ///
    /// # Errors
    /// What is wrong, each key named with what was wanted.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Self, SettingsError> {
        settings::load::<Settings>("dashboard", file, overrides)?.validate()
    }
}

impl Settings {
    fn validate(self) -> Result<Config, SettingsError> {
        let defaults = Config::default();
        let mut mistakes = Mistakes::default();

        let listen = self.listen.map_or(Ok(defaults.listen), |text| address(&text));
        let listen = mistakes.take("listen", listen).unwrap_or(defaults.listen);
        mistakes.take("listen", require_loopback(listen, "listen"));
        let admin_listen = self.admin_listen.map(|text| address(&text)).transpose();
        let admin_listen = mistakes.take("admin_listen", admin_listen).flatten();
        if let Some(address) = admin_listen {
            mistakes.take("admin_listen", require_loopback(address, "admin_listen"));
        }
        if admin_listen.is_some_and(|admin| admin == listen && admin.port() != 0) {
            mistakes.add("admin_listen", "is the same as listen; leave it out to serve both on one port");
        }
        let aggregators = self.aggregators.unwrap_or(defaults.aggregators);
        if aggregators.is_empty() || aggregators.len() > AGGREGATORS_MAX {
            mistakes
                .add("aggregators", format_args!("wants 1 to {AGGREGATORS_MAX} entries, such as [\"127.0.0.1:7400\"]"));
        }
        for text in &aggregators {
            mistakes.take("aggregators", loopback_host_port(text));
        }
        if self.target_rps.is_some_and(|target| !target.is_finite() || target < 0.0) {
            mistakes.add("target_rps", "wants a number of requests per second, 0 or above (0 means no target)");
        }
        let allowed_hosts = self.allowed_hosts.unwrap_or_default();
        if allowed_hosts.len() > ALLOWED_HOSTS_MAX {
            mistakes.add("allowed_hosts", format_args!("at most {ALLOWED_HOSTS_MAX} names"));
        }
        for name in &allowed_hosts {
            if !is_host(name) {
                let wanted = "write \"dash.example.org\", without scheme, port or path";
                mistakes.add("allowed_hosts", format_args!("{name:?} is not a host name; {wanted}"));
            }
        }
        if let Some(endpoint) = &self.otlp_endpoint {
            match endpoint.strip_prefix("http://") {
                Some(rest) => drop(mistakes.take("otlp_endpoint", loopback_host_port(rest))),
                None => mistakes.add(
                    "otlp_endpoint",
                    format_args!("{endpoint:?} does not start with http://; write \"http://127.0.0.1:4317\""),
                ),
            }
        }
        for (key, value, limit) in [
            ("limits.clients", self.limits.clients, CLIENTS_LIMIT),
            ("limits.watches", self.limits.watches, WATCHES_LIMIT),
        ] {
            if value == 0 || value > limit {
                mistakes.add(key, format_args!("{value} is not within 1 to {limit}"));
            }
        }
        mistakes.finish(Some(Config {
            listen,
            admin_listen,
            aggregators,
            target_rps: self.target_rps.filter(|&target| target > 0.0),
            allowed_hosts,
            otlp_endpoint: self.otlp_endpoint,
            limits: self.limits,
        }))
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an address and a port, such as \"127.0.0.1:7480\""))
}

/// The example file: every key with its default, unit and cost, commented out.
#[cfg(test)]
fn example() -> String {
    let Config { listen, aggregators, limits, .. } = Config::default();
    format!(
        r#"# Settings of starling-dashboard, with their defaults. Every line may be left out.
# A variable STARLING_DASHBOARD__LISTEN or a flag --set listen=... wins over this file.

# Where the page, the REST faces and the WebSockets are served. Only loopback addresses are taken in this version.
#listen = "{listen}"

# Where /metrics, /live and /ready are served. Without it they are served on `listen`.
#admin_listen = "127.0.0.1:7482"

# Aggregators to start with, "host:port" of their gRPC faces. One is enough: it tells of the others, and the server goes
# to the next when one fails.
#aggregators = {aggregators:?}

# Requests per second you aim at: the page shows the current number against it. 0 means no target.
#target_rps = 0

# Names people use in the browser's address line, beside localhost, 127.0.0.1 and [::1]. A request with another Host
# header is refused: without that, a web page from elsewhere could read this server through the visitor's browser.
#allowed_hosts = []

# The OTLP door of a node daemon. With it this server counts its own requests like any application, and they show on
# the page. Costs one small message a second.
#otlp_endpoint = "http://127.0.0.1:4317"

[limits]
# WebSocket clients at once; each costs a socket and at most one message in flight.
#clients = {}

# Nodes and groups looked at at once, by all clients together, beside the whole cluster; each costs a stream from the
# aggregator and about half a megabyte. Those that nobody looks at for 30 seconds are closed.
#watches = {}
"#,
        limits.clients, limits.watches
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dashboard.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), &[]).map_err(|error| error.to_string())
    }

    /// Fails when the example does not say what the defaults are; writes it anew when `UPDATE_EXAMPLES` is set.
    #[test]
    fn the_example_file_is_made_of_the_defaults() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/dashboard.toml");
        let wanted = example();
        if std::env::var_os("UPDATE_EXAMPLES").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(found, wanted, "run the test with UPDATE_EXAMPLES=1 to write the file anew");
    }

    #[test]
    fn every_line_of_the_example_is_valid() {
        let setting = |line: &str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase());
        let text: String = example()
            .lines()
            .map(|line| if setting(line) { format!("{}\n", &line[1..]) } else { format!("{line}\n") })
            .collect();
        let config = load(&text).unwrap();
        assert_eq!(config.listen, Config::default().listen);
        assert_eq!(config.admin_listen, Some("127.0.0.1:7482".parse().unwrap()));
        assert_eq!(config.target_rps, None);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let error = load(
            r#"
            listen = "localhost"
            aggregators = ["127.0.0.1", "a:0"]
            target_rps = -1.0
            allowed_hosts = ["http://x"]
            otlp_endpoint = "127.0.0.1:4317"
            [limits]
            clients = 0
            "#,
        )
        .unwrap_err();
        for part in [
            "listen: \"localhost\" is not an address and a port",
            "aggregators: \"127.0.0.1\" is not \"host:port\"",
            "aggregators: \"a:0\" is not",
            "target_rps: wants",
            "allowed_hosts: \"http://x\"",
            "otlp_endpoint: \"127.0.0.1:4317\" does not start with http://",
            "limits.clients: 0 is not within 1 to 10000",
        ] {
            assert!(error.contains(part), "{part:?} is not in:\n{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = load("listne = \"127.0.0.1:1\"").unwrap_err();
        assert!(error.contains("listne"), "{error}");
        let error = load("[limits]\nclient = 1").unwrap_err();
        assert!(error.contains("client"), "{error}");
    }
}
