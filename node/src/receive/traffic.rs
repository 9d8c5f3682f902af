//! The traffic model: requests, errors, durations and open requests by protocol, from the names that servers use.
//!
//! | metric | unit without one | what it is |
//! |---|---|---|
//! | `http.server.request.duration` | s | semantic conventions since 1.21 |
//! | `http.server.duration` | ms | before |
//! | `rpc.server.call.duration` | s | semantic conventions since 1.38 |
//! | `rpc.server.duration` | ms | before |
//! | `http.server.active_requests`, `rpc.server.active_requests` | | open requests |
//!
//! The same names with `_` for `.` and with the unit at the end (`http_server_request_duration_seconds`) are what the
//! Prometheus exporters make of them, and count alike. A stated unit of s, ms, us or ns wins.
//!
//! One value of a duration histogram is one request. Whether it failed says its [`Status`](super::status::Status).

use std::time::Duration;

use starling_proto::{
    catalogue::{self, PROTOCOLS},
    histogram::{Histogram, HistogramSum},
    series::{Sample, Series, Value},
};

use super::{
    observation::{self, Attribute},
    refusal::Refusal,
};

/// Place of a protocol in [`PROTOCOLS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Protocol {
    Http1,
    Http2,
    Http3,
    WebSocket,
    Grpc,
}

impl Protocol {
    const ALL: [Self; PROTOCOLS.len()] = [Self::Http1, Self::Http2, Self::Http3, Self::WebSocket, Self::Grpc];

    const fn name(self) -> &'static str {
        PROTOCOLS[self as usize]
    }

    /// The protocol of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }
}

/// How the protocol of an observation is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP, its version by the attributes.
    Http,
    /// RPC: gRPC, unless the attributes name another.
    Rpc,
    /// This one.
    Only(Protocol),
}

/// What a metric means for the traffic model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Role {
    /// Durations, with the nanoseconds of one unit when the metric states none.
    Duration { speaks: Speaks, unit_ns: f64 },
    /// Open requests.
    Active { speaks: Speaks },
    /// Requests, where their durations are not known.
    Requests { speaks: Speaks },
}

/// Names of one meaning, as sent by the SDKs and as the Prometheus exporters rename them.
const NAMES: [(&str, &[&str], Role); 6] = [
    (
        "http.server.request.duration",
        &["http_server_request_duration", "http_server_request_duration_seconds"],
        Role::Duration { speaks: Speaks::Http, unit_ns: 1e9 },
    ),
    (
        "http.server.duration",
        &["http_server_duration", "http_server_duration_milliseconds"],
        Role::Duration { speaks: Speaks::Http, unit_ns: 1e6 },
    ),
    (
        "rpc.server.call.duration",
        &["rpc_server_call_duration", "rpc_server_call_duration_seconds"],
        Role::Duration { speaks: Speaks::Rpc, unit_ns: 1e9 },
    ),
    (
        "rpc.server.duration",
        &["rpc_server_duration", "rpc_server_duration_milliseconds"],
        Role::Duration { speaks: Speaks::Rpc, unit_ns: 1e6 },
    ),
    ("http.server.active_requests", &["http_server_active_requests"], Role::Active { speaks: Speaks::Http }),
    ("rpc.server.active_requests", &["rpc_server_active_requests"], Role::Active { speaks: Speaks::Rpc }),
];

/// Older names and the newer ones of the same requests, by their place in [`NAMES`].
const NEWER: [(usize, usize); 2] = [(1, 0), (3, 2)];

fn place(name: &str) -> Option<usize> {
    NAMES.iter().position(|(main, others, _)| *main == name || others.contains(&name))
}

/// What `name` means, if anything.
pub(super) fn role(name: &str) -> Option<Role> {
    place(name).map(|place| NAMES[place].2)
}

/// True when the requests of `name` are among `names` under their newer name: SDKs in the mode of migration
/// (`OTEL_SEMCONV_STABILITY_OPT_IN=http/dup`) report each request under both.
pub(super) fn is_superseded<'a, I: Iterator<Item = &'a str>>(name: &str, names: impl FnOnce() -> I) -> bool {
    let newer = place(name).and_then(|place| NEWER.iter().find(|(older, _)| *older == place));
    newer.is_some_and(|&(_, newer)| names().any(|name| place(name) == Some(newer)))
}

/// Nanoseconds of one `unit` of time; `None` for other units.
pub(super) fn unit_ns(unit: &str) -> Option<f64> {
    match unit {
        "s" | "seconds" => Some(1e9),
        "ms" | "milliseconds" => Some(1e6),
        "us" | "µs" | "microseconds" => Some(1e3),
        "ns" | "nanoseconds" => Some(1.0),
        _ => None,
    }
}

/// The protocol an observation is for.
///
/// By `network.protocol.name` and `.version`, before them `http.flavor`, `net.protocol.name` and `.version`; a URL
/// scheme of ws or wss is a WebSocket. HTTP of an unstated version counts as HTTP/1, which is what servers leave out.
/// RPC is gRPC unless another system is named, which then counts by the version of HTTP it states, or HTTP/2.
pub(super) fn protocol(speaks: Speaks, attributes: &[Attribute<'_>]) -> Protocol {
    let rpc = match speaks {
        Speaks::Only(protocol) => return protocol,
        Speaks::Http => false,
        Speaks::Rpc => true,
    };
    let text =
        |keys: &[&str]| keys.iter().find_map(|key| observation::text(attributes, key)).map(|text| text.to_lowercase());
    let name = text(&["network.protocol.name", "net.protocol.name"]).unwrap_or_default();
    let version = text(&["network.protocol.version", "net.protocol.version", "http.flavor"]).unwrap_or_default();
    let system = text(&["rpc.system.name", "rpc.system"]);
    if name == "grpc" || (rpc && system.as_deref().is_none_or(|system| system == "grpc")) {
        return Protocol::Grpc;
    }
    let scheme = text(&["url.scheme", "http.scheme"]).unwrap_or_default();
    if matches!(name.as_str(), "websocket" | "ws") || matches!(scheme.as_str(), "ws" | "wss") {
        return Protocol::WebSocket;
    }
    // Some put both into one of them: "HTTP/2", or the name of ALPN (RFC 7301), "h2", "h3-29".
    let stated = if version.is_empty() { name.as_str() } else { version.as_str() };
    match stated.strip_prefix("http/").unwrap_or(stated) {
        "2" | "2.0" | "h2" | "h2c" | "http2" | "spdy" => Protocol::Http2,
        "3" | "3.0" | "h3" | "http3" | "quic" => Protocol::Http3,
        draft if draft.starts_with("h3-") => Protocol::Http3,
        _ if rpc && version.is_empty() => Protocol::Http2,
        _ => Protocol::Http1,
    }
}

/// A protocol of which nothing was heard for this long is absent: three of the SDKs' default intervals of a minute.
pub(super) const PRESENT_MAX: Duration = Duration::from_secs(180);

/// What one protocol did since the last cut.
#[derive(Debug, Default)]
struct Tally {
    requests: u64,
    errors: u64,
    /// Made at the first request: 37 kB.
    durations: Option<HistogramSum>,
    /// When a point came last: until it is long ago, a second without requests is a 0 and not a gap.
    seen: Option<Duration>,
    /// Seconds between two reports of the sender that reports most seldom, and until when that holds.
    every: Option<(u32, Duration)>,
}

/// Series of one protocol, in the order in which they are cut.
#[derive(Debug)]
struct Names {
    requests: Series,
    errors: Series,
    durations: Series,
    /// Of Starling's own servers, which report each second, there is none.
    every: Option<Series>,
}

/// Requests of the second that is not cut yet, by protocol: of the users' applications, or of Starling's own servers.
#[derive(Debug)]
pub(super) struct Traffic {
    tallies: [Tally; Protocol::ALL.len()],
    names: Vec<Names>,
}

impl Traffic {
    pub(super) fn new(own: bool) -> Self {
        let names = Protocol::ALL.map(|protocol| {
            let of = |users, owns| Series::of(if own { owns } else { users }, &[("protocol", protocol.name())]);
            Names {
                requests: of(&catalogue::REQUESTS, &catalogue::OWN_REQUESTS),
                errors: of(&catalogue::ERRORS, &catalogue::OWN_ERRORS),
                durations: of(&catalogue::DURATION, &catalogue::OWN_DURATION),
                every: (!own).then(|| of(&catalogue::REPORT_INTERVAL, &catalogue::REPORT_INTERVAL)),
            }
        });
        Self { tallies: Default::default(), names: names.into() }
    }

    /// Counts as many requests as there are durations.
    pub(super) fn add(
        &mut self,
        protocol: Protocol,
        failed: bool,
        durations: &Histogram,
        now: Duration,
    ) -> Result<(), Refusal> {
        let tally = &mut self.tallies[protocol as usize];
        let sum = tally.durations.get_or_insert_with(HistogramSum::new);
        sum.add(durations).map_err(|_| Refusal::OutOfRange("the count"))?;
        tally.count(durations.count(), failed, now);
        Ok(())
    }

    /// Counts requests whose durations are not known.
    pub(super) fn requests(&mut self, protocol: Protocol, failed: bool, requests: u64, now: Duration) {
        self.tallies[protocol as usize].count(requests, failed, now);
    }

    /// Notes that a protocol is served, with or without requests, by a sender that reports every so many seconds when
    /// that is more than one.
    pub(super) fn saw(&mut self, protocol: Protocol, every: Option<u32>, now: Duration) {
        let tally = &mut self.tallies[protocol as usize];
        tally.seen = Some(now);
        let Some(every) = every else { return };
        if tally.every.is_none_or(|(longest, until)| every >= longest || now > until) {
            // Until it is played out, and the next report of it did not come either.
            let holds = Duration::from_secs(u64::from(every) * 2 + 2).min(PRESENT_MAX * 4);
            tally.every = Some((every, now + holds));
        }
    }

    /// Takes out what was counted since the last cut.
    pub(super) fn cut(&mut self, now: Duration, samples: &mut Vec<Sample>) {
        for (tally, names) in self.tallies.iter_mut().zip(&self.names) {
            if tally.seen.is_none_or(|seen| now.saturating_sub(seen) > PRESENT_MAX) {
                // No application reports it any more: gives its histogram back.
                *tally = Tally::default();
                continue;
            }
            let mut put = |series: &Series, value| samples.push(Sample { series: series.clone(), value });
            put(&names.requests, Value::Counter(std::mem::take(&mut tally.requests)));
            put(&names.errors, Value::Counter(std::mem::take(&mut tally.errors)));
            if let Some(durations) = tally.durations.as_mut().filter(|durations| !durations.is_empty()) {
                put(&names.durations, Value::Histogram(durations.to_histogram().into()));
                durations.clear();
            }
            tally.every = tally.every.filter(|(_, until)| now <= *until);
            if let (Some(series), Some((every, _))) = (&names.every, tally.every) {
                put(series, Value::Gauge(every.into()));
            }
        }
    }
}

impl Tally {
    fn count(&mut self, requests: u64, failed: bool, now: Duration) {
        self.requests = self.requests.saturating_add(requests);
        if failed {
            self.errors = self.errors.saturating_add(requests);
        }
        self.seen = Some(now);
    }
}

/// The series of open requests by protocol; `own`: of Starling's own servers.
pub(super) fn active(own: bool, protocol: Protocol) -> Series {
    Series::of(if own { &catalogue::OWN_ACTIVE } else { &catalogue::ACTIVE }, &[("protocol", protocol.name())])
}

#[cfg(test)]
mod tests {
    use super::super::observation::AttributeValue;
    use super::*;
    use starling_proto::catalogue::Kind;

    fn attribute<'a>(key: &'a str, value: &'a str) -> Attribute<'a> {
        Attribute { key, value: AttributeValue::Text(value.into()) }
    }

    #[test]
    fn protocols_are_read_from_old_and_new_attributes() {
        type Pairs = &'static [(&'static str, &'static str)];
        let cases: &[(Pairs, bool, Protocol)] = &[
            (&[], false, Protocol::Http1),
            (&[("network.protocol.name", "http"), ("network.protocol.version", "1.1")], false, Protocol::Http1),
            (&[("network.protocol.version", "2")], false, Protocol::Http2),
            (&[("http.flavor", "2.0")], false, Protocol::Http2),
            (&[("http.flavor", "QUIC")], false, Protocol::Http3),
            (&[("network.protocol.version", "HTTP/2")], false, Protocol::Http2),
            (&[("network.protocol.version", "HTTP/2.0")], false, Protocol::Http2),
            (&[("network.protocol.version", "h2")], false, Protocol::Http2),
            (&[("http.flavor", "HTTP/3")], false, Protocol::Http3),
            (&[("network.protocol.name", "h3-29")], false, Protocol::Http3),
            (&[("network.protocol.name", "HTTP"), ("network.protocol.version", "HTTP/1.1")], false, Protocol::Http1),
            (&[("network.protocol.name", "quic")], false, Protocol::Http3),
            (&[("net.protocol.version", "3")], false, Protocol::Http3),
            (&[("network.protocol.name", "websocket"), ("network.protocol.version", "13")], false, Protocol::WebSocket),
            (&[("url.scheme", "wss")], false, Protocol::WebSocket),
            (&[], true, Protocol::Grpc),
            (&[("rpc.system", "grpc"), ("network.protocol.version", "2")], true, Protocol::Grpc),
            (&[("rpc.system.name", "connectrpc")], true, Protocol::Http2),
            (&[("rpc.system", "dotnet_wcf"), ("network.protocol.version", "1.1")], true, Protocol::Http1),
        ];
        for (pairs, rpc, wanted) in cases {
            let point: Vec<Attribute<'_>> = pairs.iter().map(|(k, v)| attribute(k, v)).collect();
            let speaks = if *rpc { Speaks::Rpc } else { Speaks::Http };
            assert_eq!(protocol(speaks, &point), *wanted, "{pairs:?}");
        }
        assert_eq!(protocol(Speaks::Only(Protocol::Http3), &[attribute("rpc.system", "grpc")]), Protocol::Http3);
        assert_eq!(Protocol::ALL.map(Protocol::name), PROTOCOLS);
    }

    #[test]
    fn own_requests_are_kept_apart_and_seldom_reports_are_marked() {
        let (mut users, mut own) = (Traffic::new(false), Traffic::new(true));
        let now = Duration::from_secs(100);
        users.add(Protocol::Http1, false, &Histogram::of(1_000, 3), now).unwrap();
        users.saw(Protocol::Http1, Some(60), now);
        users.saw(Protocol::Http1, Some(10), now);
        own.add(Protocol::Http1, true, &Histogram::of(1_000, 2), now).unwrap();
        own.saw(Protocol::Http1, Some(60), now);
        let cut = |traffic: &mut Traffic, seconds| {
            let mut samples = Vec::new();
            traffic.cut(now + Duration::from_secs(seconds), &mut samples);
            let name = |sample: &Sample| (sample.series.name().to_owned(), sample.value.clone());
            samples.iter().map(name).filter(|(_, value)| value.kind() != Kind::Histogram).collect::<Vec<_>>()
        };
        let named = |name: &str, value| (name.to_owned(), value);
        assert_eq!(
            cut(&mut users, 1),
            [
                named("traffic.requests", Value::Counter(3)),
                named("traffic.errors", Value::Counter(0)),
                named("traffic.report_interval", Value::Gauge(60)),
            ]
        );
        assert_eq!(
            cut(&mut own, 1),
            [named("starling.requests", Value::Counter(2)), named("starling.errors", Value::Counter(2)),]
        );
        users.saw(Protocol::Http1, None, now + Duration::from_secs(150));
        assert_eq!(cut(&mut users, 150).len(), 2, "it reports every second now");
    }

    #[test]
    fn names_are_known_in_all_their_spellings() {
        let seconds = Some(Role::Duration { speaks: Speaks::Http, unit_ns: 1e9 });
        assert_eq!(role("http.server.request.duration"), seconds);
        assert_eq!(role("http_server_request_duration_seconds"), seconds);
        assert_eq!(role("rpc.server.duration"), Some(Role::Duration { speaks: Speaks::Rpc, unit_ns: 1e6 }));
        assert_eq!(role("rpc.server.active_requests"), Some(Role::Active { speaks: Speaks::Rpc }));
        assert_eq!(role("http.client.request.duration"), None);
        let both = || ["http.server.duration", "http.server.request.duration", "rpc.server.duration"].into_iter();
        assert!(is_superseded("http.server.duration", both) && is_superseded("http_server_duration", both));
        assert!(!is_superseded("http.server.request.duration", both) && !is_superseded("rpc.server.duration", both));
        assert_eq!((unit_ns("ms"), unit_ns("By")), (Some(1e6), None));
    }
}
