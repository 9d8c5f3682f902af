//! Settings of remote write.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use starling_history::Matcher;
use starling_service::settings::{
    Mistakes,
    kind::{self, Word},
};

const MIB: u64 = 1024 * 1024;
/// Most patterns of names.
const NAMES_MAX: usize = 64;
/// Longest pattern.
const NAME_LEN_MAX: usize = 200;

/// The version of remote write that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WriteVersion {
    /// Every receiver understands it.
    #[default]
    One,
    /// Fewer bytes, with the kind, the help and the start of every series.
    Two,
}

impl Word for WriteVersion {
    const ALL: &'static [(&'static str, Self)] = &[("1.0", Self::One), ("2.0", Self::Two)];
}

/// Whose series are sent or scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesScope {
    /// Those of the cluster.
    Cluster,
    /// Those of every group.
    Groups,
    /// Those of the nodes that stream to this aggregator.
    Nodes,
}

impl Word for SeriesScope {
    const ALL: &'static [(&'static str, Self)] =
        &[("cluster", Self::Cluster), ("groups", Self::Groups), ("nodes", Self::Nodes)];
}

starling_service::settings! {
    /// Series sent to a receiver of Prometheus's remote write, every second of them. The same at every aggregator: each series
    /// is sent by one.
    pub struct RemoteWriteSettings {
        /// Where they are sent to, with the path. Default: nothing is sent.
        pub url: Option<String> = None, kind::optional(kind::http_url()), example "\"http://127.0.0.1:9090/api/v1/write\"";
        /// The version of remote write: "1.0", which every receiver understands, or "2.0".
        pub protocol: WriteVersion = WriteVersion::One, kind::word();
        /// Whose series: "cluster", "groups", "nodes".
        pub scopes: Vec<SeriesScope> = vec![SeriesScope::Cluster, SeriesScope::Groups, SeriesScope::Nodes],
            kind::list(1..=3, kind::word());
        /// Regular expressions for the names, in Prometheus's spelling; a series is sent when one matches all of its name.
        /// Without any all are.
        pub names: Vec<String> = Vec::new(), kind::list(0..=NAMES_MAX, kind::text(1..=NAME_LEN_MAX));
        /// Labels that every series gets, unless it has them.
        pub external_labels: HashMap<String, String> = HashMap::new(), kind::labels();
        /// Headers that are sent with every request.
        pub headers: HashMap<String, String> = HashMap::new(), kind::headers();
        /// A file with a secret in its first line: the token that is sent as `Authorization: Bearer`, or with `user` the password
        /// of basic authentication. It is read for every request.
        pub secret_file: Option<PathBuf> = None, kind::optional(kind::absolute_path()),
            example "\"/etc/starling/write-secret\"";
        /// The name that is sent by basic authentication, with the password in `secret_file`.
        pub user: Option<String> = None, kind::optional(kind::text(1..=200)), example "\"starling\"";
        /// Bytes on the disk, in the folder `remote_write` of `state_dir`, of what waits for the receiver. Beyond them the oldest
        /// goes, and is counted.
        pub queue_bytes: u64 = 1024 * MIB, kind::number_of("bytes", 16 * MIB..=1 << 40);
        /// Seconds that are gathered before they are sent together.
        pub gather: Duration = Duration::from_secs(5), kind::seconds(1..=60), key "gather_secs";
        /// About so many samples go into one request.
        pub batch_samples: u32 = 5_000, kind::number(100..=100_000);
        /// How long the receiver may take for one request.
        pub timeout: Duration = Duration::from_secs(30), kind::seconds(1..=300), key "timeout_secs";
    }
}

/// What of `settings` does not go together, or is no label or pattern.
pub(super) fn together(settings: &RemoteWriteSettings, mistakes: &mut Mistakes) {
    // Behind "http://".
    if let Some(url) =
        settings.url.as_ref().filter(|url| !url.get(7..).unwrap_or_default().trim_end_matches('/').contains('/'))
    {
        mistakes.add(
            "remote_write.url",
            format!("{url:?} has no path: Prometheus and VictoriaMetrics take it at /api/v1/write"),
        );
    }
    if settings.user.is_some() && settings.secret_file.is_none() {
        mistakes.add("remote_write.user", "it wants a password: set remote_write.secret_file too");
    }
    for pattern in &settings.names {
        if let Err(error) = Matcher::regex(pattern) {
            mistakes.add("remote_write.names", format!("{pattern:?} is not a regular expression: {error}"));
        }
    }
    let fits = |key: &str| {
        let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        key.starts_with(letter) && key.chars().all(|c| letter(c) || c.is_ascii_digit()) && !key.starts_with("__")
    };
    for key in settings.external_labels.keys().filter(|key| !fits(key)) {
        mistakes.add(
            "remote_write.external_labels",
            format!("{key:?} is not the name of a label: letters, digits and '_', no digit first, no \"__\" first"),
        );
    }
}
