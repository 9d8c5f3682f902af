//! Which names stand for requests, durations and open requests, beside those of the semantic conventions.
//!
//! A rule is one text: `NAME ROLE PROTOCOL`, and a unit for durations whose name and sender state none. In the name `*`
//! stands for any text. The first rule that fits wins. Names of the semantic conventions ([`traffic`](super::traffic))
//! come before all rules.
//!
//! A counter of requests is one only as long as no durations of the same service and protocol come in: those count the
//! same requests ([`Timed`]).

use std::{collections::HashMap, fmt, time::Duration};

use starling_service::settings::kind::{self, Checked, List};

use super::traffic::{self, Protocol, Role, Speaks, unit_ns};

/// Rules at most: they are tried one by one, once for each stream.
const MAPPINGS_MAX: usize = 100;
/// Longest name in a rule, in bytes.
const PATTERN_MAX: usize = 128;
/// What the libraries in use call them: client libraries of Prometheus by convention, Micrometer, go-grpc-prometheus,
/// gunicorn and Envoy by StatsD.
const DEFAULTS: [&str; 10] = [
    "http_request_duration_seconds duration http",
    "http_server_requests_seconds duration http",
    "http_requests_total requests http",
    "http_requests_in_flight active http",
    "http_requests_in_progress active http",
    "grpc_server_handling_seconds duration grpc",
    "grpc_server_handled_total requests grpc",
    "gunicorn.request.duration duration http ms",
    "gunicorn.requests requests http",
    "http.*.downstream_rq_time duration http ms",
];
/// Services whose durations are remembered. Of more, counters count beside durations: twice, rather than not at all.
const TIMED_MAX: usize = 1024;
/// How long after its last duration a service is known to report durations: three times the usual interval of a minute.
const TIMED_FOR: Duration = Duration::from_secs(180);

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    pattern: String,
    role: Role,
    /// The rule as it was written.
    text: String,
}

impl Mapping {
    /// The rules that hold unless others are set.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let parsed: Result<Vec<Self>, String> = DEFAULTS.iter().map(|text| Self::parse(text)).collect();
        debug_assert!(parsed.is_ok(), "{parsed:?}");
        parsed.unwrap_or_default()
    }

    /// The rule that `text` is.
    ///
    /// # Errors
    /// What is wrong with it, and what is wanted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?} {what}; write \"http_request_duration_seconds duration http\"");
        let words: Vec<&str> = text.split_whitespace().collect();
        let (pattern, role, protocol, unit) = match words[..] {
            [pattern, role, protocol] => (pattern, role, protocol, None),
            [pattern, role, protocol, unit] => (pattern, role, protocol, Some(unit)),
            _ => return Err(wrong("is not a name, a role, a protocol and perhaps a unit")),
        };
        if pattern.len() > PATTERN_MAX {
            return Err(wrong("has a longer name than any metric"));
        }
        let speaks = match protocol {
            "http" => Speaks::Http,
            name => Protocol::named(name).map(Speaks::Only).ok_or_else(|| wrong("names no protocol"))?,
        };
        let stated = unit.map(|unit| unit_ns(unit).ok_or_else(|| wrong("has a unit that is not s, ms, us or ns")));
        let role = match (role, stated.transpose()?) {
            ("duration", stated) => {
                let unit_ns = stated.or_else(|| unit_of(pattern).and_then(unit_ns)).unwrap_or(1e9);
                Role::Duration { speaks, unit_ns }
            }
            (_, Some(_)) => return Err(wrong("has a unit, which is for durations")),
            ("requests", None) => Role::Requests { speaks },
            ("active", None) => Role::Active { speaks },
            _ => return Err(wrong("has a role that is not duration, requests or active")),
        };
        Ok(Self { pattern: pattern.to_owned(), role, text: words.join(" ") })
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Rules, in the settings.
pub(crate) const fn mapping_list() -> List<Checked<Mapping>> {
    const WANTED: &str = "\"NAME ROLE PROTOCOL\" with a role of duration, requests or active and a protocol of http (its version by \
                          the attributes), http1, http2, http3, websocket or grpc; durations may have a unit after it";
    kind::list(0..=MAPPINGS_MAX, kind::parsed(|| WANTED.to_owned(), Mapping::parse, Mapping::to_string))
}

/// What `name` means, by the semantic conventions or by a rule.
pub(super) fn role(mappings: &[Mapping], name: &str) -> Option<Role> {
    traffic::role(name).or_else(|| {
        mappings.iter().find(|mapping| fits(mapping.pattern.as_bytes(), name.as_bytes())).map(|mapping| mapping.role)
    })
}

/// Whether `name` is what `pattern` says, where `*` is any text. Linear but for the last `*`.
pub(super) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p + 1, n));
                p += 1;
            }
            (Some(byte), _) if *byte == name[n] => (p, n) = (p + 1, n + 1),
            (_, Some((after, from))) => {
                star = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The unit that a name ends with, as Prometheus has it; `None` when it ends with none.
pub(super) fn unit_of(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix("_total").unwrap_or(name);
    let end = name.rsplit(['_', '.']).next().filter(|end| end.len() < name.len())?;
    Some(match end {
        "seconds" => "s",
        "milliseconds" | "ms" => "ms",
        "microseconds" => "us",
        "nanoseconds" | "ns" => "ns",
        "bytes" => "By",
        "ratio" => "1",
        _ => return None,
    })
}

/// Services that report durations, by protocol: what they count of the same requests beside that is not counted again.
#[derive(Debug, Default)]
pub(super) struct Timed(HashMap<(Box<str>, Protocol), Duration>);

impl Timed {
    /// Notes a duration of a service.
    pub(super) fn note(&mut self, service: Option<&str>, protocol: Protocol, now: Duration) {
        let key = (service.unwrap_or_default().into(), protocol);
        if self.0.len() >= TIMED_MAX && !self.0.contains_key(&key) {
            self.0.retain(|_, seen| now.saturating_sub(*seen) <= TIMED_FOR);
            if self.0.len() >= TIMED_MAX {
                return;
            }
        }
        self.0.insert(key, now);
    }

    /// True when durations of this service came in lately.
    pub(super) fn covers(&self, service: Option<&str>, protocol: Protocol, now: Duration) -> bool {
        let key = (service.unwrap_or_default().into(), protocol);
        self.0.get(&key).is_some_and(|seen| now.saturating_sub(*seen) <= TIMED_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_rules_are_rules_and_the_first_that_fits_wins() {
        let mappings = Mapping::defaults();
        assert_eq!(mappings.len(), DEFAULTS.len());
        let of = |name| role(&mappings, name);
        assert_eq!(of("http_request_duration_seconds"), Some(Role::Duration { speaks: Speaks::Http, unit_ns: 1e9 }));
        let ms = Some(Role::Duration { speaks: Speaks::Http, unit_ns: 1e6 });
        assert_eq!((of("gunicorn.request.duration"), of("http.ingress.downstream_rq_time")), (ms, ms));
        assert_eq!(of("grpc_server_handled_total"), Some(Role::Requests { speaks: Speaks::Only(Protocol::Grpc) }));
        assert_eq!((of("prometheus_http_requests_total"), of("http.downstream_rq_time"), of("")), (None, None, None));
        assert_eq!(of("http.server.duration"), traffic::role("http.server.duration"));
        let rules = ["a*b*c active http2", "a*c requests http", "*x duration http3 us"]
            .map(|rule| Mapping::parse(rule).unwrap());
        let of = |name| role(&rules, name);
        assert_eq!(of("a-b-bc"), Some(Role::Active { speaks: Speaks::Only(Protocol::Http2) }));
        assert_eq!(of("ac"), Some(Role::Requests { speaks: Speaks::Http }));
        assert_eq!(of("x"), Some(Role::Duration { speaks: Speaks::Only(Protocol::Http3), unit_ns: 1e3 }));
        assert_eq!(of("abcd"), None);
    }

    #[test]
    fn what_is_no_rule_says_what_is_wanted() {
        for (text, part) in [
            ("http_requests_total", "is not a name, a role"),
            ("a b c d e", "is not a name, a role"),
            ("a duration smtp", "names no protocol"),
            ("a latency http", "has a role that is not"),
            ("a requests http ms", "has a unit"),
            ("a duration http weeks", "has a unit that is not"),
        ] {
            let error = Mapping::parse(text).unwrap_err();
            assert!(error.contains(part) && error.contains("write \""), "{error}");
        }
    }

    #[test]
    fn units_stand_at_the_end_of_names() {
        assert_eq!(
            (unit_of("a_seconds"), unit_of("a_bytes_total"), unit_of("a.ms")),
            (Some("s"), Some("By"), Some("ms"))
        );
        assert_eq!((unit_of("seconds"), unit_of("a_seconds_b"), unit_of("")), (None, None, None));
    }

    #[test]
    fn services_with_durations_are_known_for_a_while() {
        let mut timed = Timed::default();
        timed.note(Some("shop"), Protocol::Http1, Duration::ZERO);
        let later = Duration::from_secs(100);
        assert!(timed.covers(Some("shop"), Protocol::Http1, later));
        assert!(!timed.covers(Some("shop"), Protocol::Grpc, later) && !timed.covers(None, Protocol::Http1, later));
        assert!(!timed.covers(Some("shop"), Protocol::Http1, TIMED_FOR * 2));
        for i in 0..2 * TIMED_MAX {
            timed.note(Some(&i.to_string()), Protocol::Http1, Duration::ZERO);
        }
        assert_eq!(timed.0.len(), TIMED_MAX);
        timed.note(Some("last"), Protocol::Http1, TIMED_FOR * 2);
        assert_eq!(timed.0.len(), 1);
    }
}
