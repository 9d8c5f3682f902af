//! The programs of this host and their settings, read by the programs' own code.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use starling_service::{
    credentials::TlsSettings,
    enrolment::{aggregators, seeds},
    identity::Role,
    settings::{self, Settings, Sources},
};

/// Where packages put settings.
pub(crate) const FOLDER: &str = "/etc/starling";
/// Where they read variables from: that of Debian's, that of rpm's.
const ENVIRONMENTS: [&str; 2] = ["/etc/default", "/etc/sysconfig"];

/// A program that may run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The daemon of the host.
    Node,
    /// An aggregator.
    Aggregator,
    /// A dashboard server.
    Dashboard,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Node, Self::Aggregator, Self::Dashboard];

    /// As its settings are called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Aggregator => "aggregator",
            Self::Dashboard => "dashboard",
        }
    }

    /// As the program is called, its unit, package and user.
    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Node => "starling-node",
            Self::Aggregator => "starling-aggregator",
            Self::Dashboard => "starling-dashboard",
        }
    }

    /// What its certificate must be of.
    pub(crate) const fn role(self) -> Role {
        match self {
            Self::Node => Role::Node,
            Self::Aggregator => Role::Aggregator,
            Self::Dashboard => Role::Dashboard,
        }
    }
}

/// How a listener is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// An address that a program wants for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    /// The setting.
    pub(crate) key: &'static str,
    /// Its value.
    pub(crate) address: SocketAddr,
    /// Of which transport.
    pub(crate) transport: Transport,
    /// Where others reach it, when the settings say so.
    pub(crate) advertise: Option<String>,
    /// For members on other hosts to reach.
    pub(crate) for_members: bool,
}

/// What the settings of a program want of this host and of the network.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Mutual TLS.
    pub(crate) tls: TlsSettings,
    /// Plain text beyond this host.
    pub(crate) insecure: bool,
    /// Its addresses.
    pub(crate) listeners: Vec<Listener>,
    /// Where it says how it is.
    pub(crate) admin: SocketAddr,
    /// gRPC addresses that it dials; of an aggregator its own.
    pub(crate) aggregators: Vec<String>,
    /// Gossip addresses that it begins with.
    pub(crate) seeds: Vec<String>,
    /// Keys of gossip.
    pub(crate) keyring: Option<PathBuf>,
    /// Its state, and how many bytes of history it may keep there.
    pub(crate) state: Option<(PathBuf, u64)>,
}

/// A program that has settings here.
#[derive(Debug)]
pub(crate) struct Installed {
    /// Which.
    pub(crate) kind: Kind,
    /// Its settings file.
    pub(crate) file: PathBuf,
    /// What they want; every mistake when they are not valid.
    pub(crate) settings: Result<Wanted, Vec<String>>,
}

impl Installed {
    /// What its settings want, when they are valid.
    pub(crate) fn valid(&self) -> Option<(Kind, &Wanted)> {
        Some((self.kind, self.settings.as_ref().ok()?))
    }
}

/// A settings file that was named: "PROGRAM=FILE", or a FILE called "PROGRAM.toml".
///
/// # Errors
/// That the program is not clear.
pub(crate) fn parse_named(text: &str) -> Result<(Kind, PathBuf), String> {
    let of_name = |name: &str| Kind::ALL.into_iter().find(|kind| kind.name() == name);
    if let Some((name, file)) = text.split_once('=')
        && let Some(kind) = of_name(name)
    {
        return Ok((kind, file.into()));
    }
    let stem = Path::new(text).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let kind = of_name(stem).ok_or_else(|| {
        format!("{text:?} does not say of which program it is, wanted: node=FILE, aggregator=FILE or dashboard=FILE")
    })?;
    Ok((kind, text.into()))
}

/// Reads the settings files that were named, with the variables of this process; without any those of the packages, with
/// the variables that their units read.
pub(crate) fn read(named: &[(Kind, PathBuf)]) -> Vec<Installed> {
    if !named.is_empty() {
        let one =
            |(kind, file): &(Kind, PathBuf)| load(*kind, &Sources::of_process(Some(file.clone()), Vec::new()), file);
        return named.iter().map(one).collect();
    }
    let one = |kind: Kind| {
        let file = Path::new(FOLDER).join(kind.name()).with_extension("toml");
        let sources = Sources { file: Some(file.clone()), environment: variables(kind), overrides: Vec::new() };
        file.exists().then(|| load(kind, &sources, &file))
    };
    Kind::ALL.into_iter().filter_map(one).collect()
}

fn variables(kind: Kind) -> Vec<(String, String)> {
    let file = |folder| fs::read_to_string(Path::new(folder).join(kind.program())).unwrap_or_default();
    ENVIRONMENTS.into_iter().flat_map(|folder| parse_variables(&file(folder))).collect()
}

/// The lines of an environment file as a unit reads it (systemd.exec(5)), without its continued lines.
fn parse_variables(text: &str) -> Vec<(String, String)> {
    let unquoted = |value: &str| {
        let inner = |quote| value.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
        inner('"').map(|inner| inner.replace("\\\"", "\"")).or(inner('\'').map(str::to_owned))
    };
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', ';']))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| {
            (name.trim().to_owned(), unquoted(value.trim()).unwrap_or_else(|| value.trim().to_owned()))
        })
        .collect()
}

fn load(kind: Kind, sources: &Sources, file: &Path) -> Installed {
    let settings = match kind {
        Kind::Node => of(kind, sources, of_node),
        Kind::Aggregator => of(kind, sources, of_aggregator),
        Kind::Dashboard => of(kind, sources, of_dashboard),
    };
    Installed { kind, file: file.to_owned(), settings }
}

fn of<S: Settings>(kind: Kind, sources: &Sources, wanted: impl Fn(S) -> Wanted) -> Result<Wanted, Vec<String>> {
    let loaded = settings::load::<S>(kind.name(), sources).map_err(|mistakes| mistakes.lines().to_vec())?;
    Ok(wanted(loaded.settings))
}

fn tcp(key: &'static str, address: SocketAddr) -> Listener {
    Listener { key, address, transport: Transport::Tcp, advertise: None, for_members: false }
}

fn of_node(config: starling_node::Config) -> Wanted {
    let mut listeners = vec![tcp("admin_listen", config.admin_listen)];
    if config.otlp {
        listeners.push(tcp("otlp_listen", config.otlp_listen));
        listeners.push(tcp("otlp_http_listen", config.otlp_http_listen));
    }
    if config.statsd {
        listeners.push(Listener { transport: Transport::Udp, ..tcp("statsd_listen", config.statsd_listen) });
    }
    Wanted {
        aggregators: aggregators(&config.aggregators, &config.tls),
        tls: config.tls,
        insecure: config.insecure,
        listeners,
        admin: config.admin_listen,
        seeds: Vec::new(),
        keyring: None,
        state: None,
    }
}

fn of_aggregator(config: starling_aggregator::Config) -> Wanted {
    let history = &config.history;
    let bytes = [history.max_bytes_1s, history.max_bytes_10s, history.max_bytes_1m, history.max_bytes_1h];
    let bytes = if history.enabled { bytes.iter().sum() } else { 0 };
    let advertise = config.grpc_advertise.clone();
    let own = advertise.clone().unwrap_or_else(|| config.grpc_listen.to_string());
    let grpc = Listener { advertise, for_members: true, ..tcp("grpc_listen", config.grpc_listen) };
    let gossip = Listener {
        key: "gossip_listen",
        address: config.gossip_listen,
        transport: Transport::Udp,
        advertise: config.gossip_advertise.map(|address| address.to_string()),
        for_members: true,
    };
    Wanted {
        seeds: seeds(&config.seeds, &config.tls),
        tls: config.tls,
        insecure: config.insecure,
        listeners: vec![grpc, gossip, tcp("admin_listen", config.admin_listen)],
        admin: config.admin_listen,
        aggregators: vec![own],
        keyring: config.gossip_keyring,
        state: Some((config.state_dir, bytes)),
    }
}

fn of_dashboard(config: starling_dashboard::Config) -> Wanted {
    let mut listeners = vec![tcp("listen", config.listen)];
    listeners.extend(config.admin_listen.map(|address| tcp("admin_listen", address)));
    Wanted {
        aggregators: aggregators(&config.aggregators, &config.tls),
        tls: config.tls,
        insecure: config.insecure,
        listeners,
        admin: config.admin_listen.unwrap_or(config.listen),
        seeds: Vec::new(),
        keyring: None,
        state: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_says_of_which_program_it_is() {
        assert_eq!(parse_named("node=/tmp/x").unwrap(), (Kind::Node, "/tmp/x".into()));
        assert_eq!(parse_named("/a=b/dashboard.toml").unwrap(), (Kind::Dashboard, "/a=b/dashboard.toml".into()));
        assert!(parse_named("/tmp/x.toml").unwrap_err().contains("aggregator=FILE"));
    }

    #[test]
    fn an_environment_file_is_read_as_its_unit_reads_it() {
        let text = "# a comment\n; another\n\nA=1\n B = two words \nC='[\"a:1\"]'\nD=\"say \\\"x\\\"\"\nnothing\n";
        let pairs = parse_variables(text);
        let wanted = [("A", "1"), ("B", "two words"), ("C", "[\"a:1\"]"), ("D", "say \"x\"")];
        assert_eq!(pairs, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
