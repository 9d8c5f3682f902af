//! What is scraped: where, how often, and the labels its series get.

use std::{fmt, time::Duration};

use starling_proto::address;
use starling_service::settings::kind::{self, Checked, List};

use super::login::Login;

/// Targets that may be listed, and those that are scraped at once: more than run on one host. Each takes one
/// connection and a task.
pub(super) const TARGETS_MAX: usize = 100;
/// Labels of one target beside `job` and `instance`.
const LABELS_MAX: usize = 8;
/// How often a target may be asked: from each second to each hour.
pub(super) const INTERVAL: std::ops::RangeInclusive<u64> = 1..=3_600;
/// What a path is when none is given.
const PATH: &str = "/metrics";

/// One target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScrapeTarget {
    /// `http://host:port`, or https.
    pub(super) base: String,
    /// With the query.
    pub(super) path: String,
    /// Sorted; with `job` and `instance`.
    pub(super) labels: Vec<(String, String)>,
    /// `None`: that of the settings.
    pub(super) interval: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    /// Who asks, and whom to believe.
    pub(super) login: Login,
    /// As it was written.
    text: String,
}

/// Where the words about a target stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the settings, which belong to whoever runs the daemon.
    Settings,
    /// In a file of targets, which may be written by anybody's automation: it cannot have a file of this host sent
    /// somewhere.
    File,
}

impl fmt::Display for ScrapeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ScrapeTarget {
    /// `ADDRESS KEY=VALUE...`: "127.0.0.1:9100", "http://shop:8080/actuator/prometheus job=shop interval=5 timeout=2 env=test".
    ///
    /// # Errors
    /// What is wrong with it, and what is wanted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let address = words.next().unwrap_or_default();
        let pairs = words.map(|word| {
            word.split_once('=').ok_or_else(|| wrong(text, &format!("has {word:?}, which is no KEY=VALUE")))
        });
        let pairs: Vec<(String, String)> =
            pairs.map(|pair| pair.map(|(key, value)| (key.to_owned(), value.to_owned()))).collect::<Result<_, _>>()?;
        Self::of(text, address, pairs, Place::Settings)
    }

    /// A target at `address` with labels and settings.
    ///
    /// # Errors
    /// As [`ScrapeTarget::parse`].
    pub(super) fn of(text: &str, address: &str, pairs: Vec<(String, String)>, place: Place) -> Result<Self, String> {
        let (mut is_https, rest) = match (address.strip_prefix("https://"), address.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => (false, address),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            // Without the text: it holds a password.
            return Err("a target has a name and a password in its address, where logs would show it; write \
                        \"https://HOST:PORT user=NAME password_file=/path\""
                .to_owned());
        }
        address::host_port(authority).map_err(|error| wrong(text, &error.to_string()))?;
        let (mut path, mut interval, mut timeout) = (path.to_owned(), None, None);
        let mut login = Login::default();
        let mut labels = vec![("instance".to_owned(), authority.to_owned()), ("job".to_owned(), authority.to_owned())];
        for (key, value) in pairs {
            match key.as_str() {
                "interval" | "__scrape_interval__" => interval = Some(seconds(text, &value)?),
                "timeout" | "__scrape_timeout__" => timeout = Some(seconds(text, &value)?),
                "__metrics_path__" => path = value,
                "__scheme__" => is_https = value == "https",
                key if place == Place::Settings && login.set(key, &value).map_err(|what| wrong(text, &what))? => {}
                key if key.starts_with("__") => {}
                "" => return Err(wrong(text, "has a label without a name")),
                _ => match labels.iter_mut().find(|(own, _)| *own == key) {
                    Some((_, own)) => *own = value,
                    None => labels.push((key, value)),
                },
            }
        }
        login.check(is_https).map_err(|what| wrong(text, &what))?;
        if labels.len() > LABELS_MAX + 2 {
            return Err(wrong(text, &format!("has more than {LABELS_MAX} labels")));
        }
        if path.is_empty() || path.starts_with('?') {
            path.insert_str(0, PATH);
        }
        if !path.starts_with('/') || path.chars().any(|c| !c.is_ascii_graphic() || c == '#') {
            return Err(wrong(text, "has a path that is none"));
        }
        labels.sort_unstable();
        let base = format!("{}://{authority}", if is_https { "https" } else { "http" });
        Ok(Self { base, path, labels, interval, timeout, login, text: text.to_owned() })
    }

    pub(super) fn url(&self) -> String {
        format!("{}{}", self.base, self.path)
    }
}

fn wrong(text: &str, what: &str) -> String {
    let start: String = text.chars().take(100).collect();
    format!("{start:?} {what}; write \"127.0.0.1:9100 job=shop\"")
}

/// "5" or "5s".
fn seconds(text: &str, value: &str) -> Result<Duration, String> {
    let number = value.strip_suffix('s').unwrap_or(value).parse().ok().filter(|seconds| INTERVAL.contains(seconds));
    let (least, most) = (INTERVAL.start(), INTERVAL.end());
    number
        .map(Duration::from_secs)
        .ok_or_else(|| wrong(text, &format!("has {value:?} where {least} to {most} seconds are wanted")))
}

/// Targets, in the settings.
pub(crate) const fn target_list() -> List<Checked<ScrapeTarget>> {
    const WANTED: &str = "\"HOST:PORT\" or \"https://HOST:PORT/PATH\", with job=, interval=, timeout= (seconds), ca_file=, server_name=, \
                          token_file=, user=, password_file= and labels after it";
    kind::list(0..=TARGETS_MAX, kind::parsed(|| WANTED.to_owned(), ScrapeTarget::parse, ScrapeTarget::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(target: &ScrapeTarget) -> String {
        target.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_target_is_an_address_with_what_is_to_be_known() {
        let plain = ScrapeTarget::parse("127.0.0.1:9100").unwrap();
        assert_eq!(
            (plain.url().as_str(), labels(&plain).as_str()),
            ("http://127.0.0.1:9100/metrics", "instance=127.0.0.1:9100 job=127.0.0.1:9100")
        );
        let full = ScrapeTarget::parse(
            "http://shop:80/v1/metrics?format=prometheus job=shop  interval=5 timeout=2s env=t instance=a",
        )
        .unwrap();
        assert_eq!(
            (full.url().as_str(), labels(&full).as_str()),
            ("http://shop:80/v1/metrics?format=prometheus", "env=t instance=a job=shop")
        );
        assert_eq!((full.interval, full.timeout), (Some(Duration::from_secs(5)), Some(Duration::from_secs(2))));
        assert_eq!(ScrapeTarget::parse("a:1?x=y").unwrap().path, "/metrics?x=y");
        let secured =
            ScrapeTarget::parse("https://a:1 job=shop ca_file=/ca.pem server_name=shop token_file=/t").unwrap();
        assert_eq!(
            (secured.url().as_str(), labels(&secured).as_str()),
            ("https://a:1/metrics", "instance=a:1 job=shop")
        );
        let pairs = [("__scheme__", "https"), ("user", "7"), ("token_file", "/etc/shadow")];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let listed = ScrapeTarget::of("a:1", "a:1", pairs.into(), Place::File).unwrap();
        assert_eq!(listed.url(), "https://a:1/metrics");
        assert_eq!(listed.login, Login::default(), "a file of targets names no file of this host");
        assert_eq!(labels(&listed), "instance=a:1 job=a:1 token_file=/etc/shadow user=7");
    }

    #[test]
    fn what_is_no_target_says_what_is_wanted() {
        for (text, part) in [
            ("", "port"),
            ("127.0.0.1", "port"),
            ("http://ann:s3cret@a:1", "password in its address"),
            ("a:1 token_file=token", "absolute path"),
            ("https://a:1 token_file=/t user=ann password_file=/p", "a token and a password"),
            ("https://a:1 user=ann", "a user without password_file"),
            ("https://a:1 password_file=/p", "password_file without a user"),
            ("a:1 ca_file=/ca.pem", "is http"),
            ("a:1 job", "no KEY=VALUE"),
            ("a:1 interval=0", "1 to 3600 seconds"),
            ("a:1 timeout=5m", "1 to 3600 seconds"),
            ("a:1 =x", "label without a name"),
            ("a:1/\u{e9}", "path that is none"),
            ("a:1 a=1 b=1 c=1 d=1 e=1 f=1 g=1 h=1 i=1", "more than 8 labels"),
        ] {
            let error = ScrapeTarget::parse(text).unwrap_err();
            assert!(error.contains(part) && error.contains("write \""), "{text}: {error}");
        }
    }
}
