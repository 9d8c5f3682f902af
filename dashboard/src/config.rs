//! Settings of the dashboard server: one table. The example file in `deploy/config/dashboard.toml` is written from it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use starling_service::{
    credentials::{Exposure, TlsSettings},
    requests::RequestReports,
    settings::{Mistakes, kind},
};

use crate::access::Net;

/// Most aggregators that may be listed: more than any cluster has.
const AGGREGATORS_MAX: usize = 64;
/// Most names a server answers to.
const ALLOWED_HOSTS_MAX: usize = 64;
/// Most proxies that are believed: more than stand before any one page.
const PROXIES_MAX: usize = 64;
/// Longest prefix: it stands in every address.
const BASE_PATH_LEN_MAX: usize = 256;
/// Longest life of a session: a quarter of a year. One that is stolen is of use that long.
const SESSION_SECS_MAX: u64 = 90 * 86_400;
/// Every client costs a socket and at most one frame in flight; a process has 1,024 descriptors by default.
const CLIENTS_LIMIT: u32 = 10_000;
/// More requests than a server answers.
const REQUESTS_LIMIT: u32 = 100_000;
/// Every watched view costs a stream and rings of about half a megabyte.
const WATCHES_LIMIT: u32 = 1_000;

starling_service::settings! {
    /// Settings of a dashboard server.
    pub struct Config {
        /// Where the page, the REST API and the WebSockets are served.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7480)), kind::listen();
        /// Where /metrics, /live and /ready are served. Without it they are served on `listen`.
        pub admin_listen: Option<SocketAddr> = None, kind::optional(kind::listen()), example "\"127.0.0.1:7482\"";
        /// Aggregators to start with, by their gRPC addresses. One is enough: it names the others, and the server goes
        /// to the next when one fails. Default: those that `join` learnt of, else 127.0.0.1:7400.
        pub aggregators: Vec<String> = Vec::new(), kind::list(0..=AGGREGATORS_MAX, kind::host_port()),
            example "[\"127.0.0.1:7400\"]";
        /// Requests per second you aim at: the page shows the current number against it. Without it there is no target.
        pub target_rps: Option<f64> = None, kind::optional(kind::positive("requests per second")), example "5000.0";
        /// Names people use in the browser's address line, beside localhost, 127.0.0.1 and [::1]. A request with another
        /// Host header is refused: without that, a web page from elsewhere could read this server through the visitor's
        /// browser.
        pub allowed_hosts: Vec<String> = Vec::new(), kind::list(0..=ALLOWED_HOSTS_MAX, kind::host());
        /// What all paths stand below, behind a proxy that serves other things too: "/starling" for https://example.org/starling/. The proxy
        /// may pass it on or take it away.
        pub base_path: Option<String> = None, kind::optional(kind::parsed(base_wanted, base_path, String::clone)), example "\"/starling\"";
        /// File of who may use the page: users with passwords, and API tokens (`starling users`, `starling tokens`; docs/access.md). It
        /// is read again when it changes. Without it there is no log-in: whoever reaches the page sees everything and may silence
        /// alerts, which is allowed on this host alone.
        pub users: Option<PathBuf> = None, kind::optional(kind::absolute_path()), example "\"/etc/starling/users.toml\"";
        /// Let whoever reaches the page see everything and silence alerts, also from other hosts.
        pub without_login: bool = false, kind::flag();
        /// Proxies before this server, as addresses or networks: where one of them says a request comes from (X-Forwarded-For) counts
        /// for the limits of log-ins and for the audit log. Nobody else is believed.
        pub trusted_proxies: Vec<Net> = Vec::new(), kind::list(0..=PROXIES_MAX, kind::parsed(net, Net::parse, Net::to_string)),
            example "[\"127.0.0.1\"]";
        /// Speak plain text beyond this host, to browsers and, without `tls`, to aggregators: everybody on the way can read and change it,
        /// passwords among it.
        pub insecure: bool = false, kind::flag();
    }
    tables {
        /// Mutual TLS with aggregators.
        pub tls: TlsSettings = TlsSettings::joined("dashboard");
        /// This server's own requests, counted like those of any application. Off by default: it needs a node daemon.
        pub requests: RequestReports = RequestReports::off();
        /// How long one stays signed in.
        pub sessions: Sessions = Sessions::default();
        /// Bounds on what clients may cost.
        pub limits: Limits = Limits::default();
    }
    together together;
}

fn base_wanted() -> String {
    "a path such as \"/starling\", without a slash at its end".to_owned()
}

/// What paths of ours begin with: a prefix that is one of them would not tell which is meant.
const OWN_PATHS: [&str; 10] =
    ["api", "ws", "assets", "prometheus", "mcp", "login", "logout", "metrics", "live", "ready"];

fn base_path(text: &str) -> Result<String, String> {
    let parts = text.strip_prefix('/').map(|rest| rest.split('/').collect::<Vec<_>>()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '~');
    let fine = |part: &str| !part.is_empty() && !matches!(part, "." | "..") && part.chars().all(plain);
    match parts.first() {
        Some(first) if OWN_PATHS.contains(first) => {
            Err(format!("{text:?} begins as paths of this server do; take another"))
        }
        Some(_) if parts.iter().all(|part| fine(part)) && text.len() <= BASE_PATH_LEN_MAX => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no path such as \"/starling\": it begins with a slash, and ends without one")),
    }
}

fn net() -> String {
    "an address or a network, such as \"10.0.0.0/8\"".to_owned()
}

starling_service::settings! {
    /// How long one stays signed in.
    pub struct Sessions {
        /// Without a request and without an open page.
        pub idle_secs: Duration = Duration::from_secs(12 * 3_600), kind::seconds(1..=SESSION_SECS_MAX);
        /// In all, whatever is done.
        pub whole_secs: Duration = Duration::from_secs(7 * 86_400), kind::seconds(1..=SESSION_SECS_MAX);
    }
}

starling_service::settings! {
    /// Bounds on what clients may cost.
    pub struct Limits {
        /// WebSocket clients at once; each costs a socket and at most one message in flight.
        pub clients: u32 = 500, kind::number(1..=CLIENTS_LIMIT);
        /// Requests a second from one address (of IPv6 from a network of 64 bits), ten seconds' worth of them at once; more are answered
        /// 429. This host has no limit: behind a proxy set trusted_proxies.
        pub requests: u32 = 100, kind::number(1..=REQUESTS_LIMIT);
        /// Nodes and groups watched at once, by all clients together, beside the whole cluster; each costs a stream from
        /// the aggregator and about half a megabyte. Those that are not watched for 30 seconds are closed.
        pub watches: u32 = 64, kind::number(1..=WATCHES_LIMIT);
    }
}

/// The way out of a page that everybody could use, as it stands in errors.
const NO_LOGIN: &str = "without a log-in: set users (`starling users add NAME --role admin` makes the file), or \
                        without_login = true to let everybody see everything and silence alerts";

impl Config {
    /// Refuses a page that other hosts reach and that everybody could use.
    pub fn guarded(&self, key: &str, listen: SocketAddr, mistakes: &mut Mistakes) {
        if self.users.is_none() && !self.without_login && !listen.ip().to_canonical().is_loopback() {
            mistakes.add(key, format!("{listen} can be reached by other hosts {NO_LOGIN}"));
        }
    }
}

fn together(config: &Config, mistakes: &mut Mistakes) {
    config.guarded("listen", config.listen, mistakes);
    if config.users.is_some() && config.without_login {
        mistakes.add("without_login", "users is set too: take one of the two out");
    }
    let exposure = Exposure::of(&config.tls, config.insecure);
    exposure.dialled("aggregators", &config.aggregators, mistakes);
    exposure.plain_listener("listen", config.listen, mistakes);
    if config.requests.report {
        exposure.http("requests.endpoint", &config.requests.endpoint, mistakes);
    }
    if let Some(admin) = config.admin_listen {
        mistakes.distinct(&[("listen", config.listen), ("admin_listen", admin)]);
        exposure.plain_listener("admin_listen", admin, mistakes);
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
        std::fs::write(file.path(), text).unwrap();
        let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
        settings::load("dashboard", &sources).map(|loaded| loaded.settings).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_file_is_written_from_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/dashboard.toml");
        generated::is_current(&path, &settings::example::<Config>("dashboard")).unwrap();
    }

    #[test]
    fn every_line_of_the_example_is_valid() {
        Config::default().check().unwrap();
        let config = load(&settings::example_uncommented(&settings::example::<Config>("dashboard"))).unwrap();
        assert_eq!(config.admin_listen, Some("127.0.0.1:7482".parse().unwrap()));
        assert_eq!(config.target_rps, Some(5_000.0));
        assert_eq!((config.users.clone(), config.trusted_proxies.len()), (Some("/etc/starling/users.toml".into()), 1));
        assert_eq!(
            config,
            Config {
                admin_listen: config.admin_listen,
                target_rps: config.target_rps,
                aggregators: vec!["127.0.0.1:7400".to_owned()],
                tls: config.tls.clone(),
                users: config.users.clone(),
                base_path: Some("/starling".to_owned()),
                trusted_proxies: config.trusted_proxies.clone(),
                ..Config::default()
            }
        );
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let error = load(
            r#"
            listen = "localhost"
            aggregators = ["127.0.0.1", "a:0"]
            target_rps = -1.0
            allowed_hosts = ["http://x"]
            listne = 1
            requests.endpoint = "127.0.0.1:4317"
            [limits]
            clients = 0
            client = 1
            "#,
        )
        .unwrap_err();
        for part in [
            "listen: \"localhost\" is not an address and a port",
            "aggregators: \"127.0.0.1\" is not \"host:port\"",
            "aggregators: \"a:0\" is not",
            "target_rps: -1 is out of range",
            "allowed_hosts: \"http://x\"",
            "listne: unknown key, did you mean listen?",
            "requests.endpoint: \"127.0.0.1:4317\" does not start with http://",
            "limits.clients: 0 is out of range, wanted: a whole number from 1 to 10000",
            "limits.client: unknown key, did you mean limits.clients?",
        ] {
            assert!(error.contains(part), "{part:?} is not in:\n{error}");
        }
    }

    #[test]
    fn a_prefix_is_a_path_that_no_other_of_ours_is() {
        for good in ["/starling", "/ops/star-1.x"] {
            assert_eq!(base_path(good).as_deref(), Ok(good));
        }
        for bad in
            ["", "/", "starling", "/starling/", "//a", "/a//b", "/a b", "/a?b", "/..", "/api", "/login/x", "/\u{e4}"]
        {
            assert!(base_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_hosts_meet_a_log_in_unless_it_is_said_that_they_need_none() {
        let beyond = "listen = '0.0.0.0:7480'\ninsecure = true\n";
        let error = load(beyond).unwrap_err();
        for part in ["listen: 0.0.0.0:7480 can be reached by other hosts without a log-in", "users", "without_login"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert!(!error.contains("insecure"), "{error}");
        load(&format!("{beyond}without_login = true")).unwrap();
        let with_users = format!("{beyond}users = '/etc/starling/users.toml'\n");
        load(&with_users).unwrap();
        assert!(
            load(&format!("{with_users}without_login = true")).unwrap_err().contains("without_login: users is set")
        );
        // One does not stand for the other: passwords would be readable on the way.
        let error = load("listen = '0.0.0.0:7480'\nusers = '/etc/starling/users.toml'").unwrap_err();
        assert!(error.contains("insecure = true") && !error.contains("log-in"), "{error}");
        let error = load("trusted_proxies = ['nginx']\nusers = 'users.toml'").unwrap_err();
        assert!(error.contains("\"nginx\" is no address") && error.contains("not an absolute path"), "{error}");
    }

    #[test]
    fn one_port_for_both_is_said_by_leaving_one_out() {
        let error = load("admin_listen = '127.0.0.1:7480'").unwrap_err();
        assert!(error.contains("admin_listen: 127.0.0.1:7480 is the address of listen too"), "{error}");
    }
}
