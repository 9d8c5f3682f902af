//! Counters of TCP, from `/proc/net/snmp` and `/proc/net/netstat`, and the connections in error.
//!
//! A connection is in error for 60 s after it was reset, refused or timed out. The kernel counts all three in two
//! places (`tcp_set_state` and `tcp_done` in `net/ipv4/tcp.c`): `EstabResets` for a connection that was established,
//! whether the other end reset it, this end closed it with data unread, or it timed out; `AttemptFails` for one that
//! never was, refused or unanswered. Their sum counts each connection once; `TCPAbortOnTimeout` and its like in
//! `/proc/net/netstat` would count some of them again.
//!
//! A connection between two sockets of this host counts twice, once for each end.

use std::time::Duration;

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    kept::{KeptFile, Shape},
    sink::{Baseline, Sink},
    text,
};

/// Seconds a failed connection is shown for.
const ERROR_SECONDS: usize = 60;

/// The collector.
pub(super) struct Tcp {
    snmp: KeptFile,
    netstat: KeptFile,
    opened: Baseline,
    resets: Baseline,
    segments: Baseline,
    retransmits: Baseline,
    failed: Baseline,
    overflows: Baseline,
    errors: Window,
    series: Names,
}

struct Names {
    opened: Series,
    resets: Series,
    segments: Series,
    retransmits: Series,
    overflows: Series,
    error: Series,
}

impl Tcp {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            snmp: KeptFile::new(config.net("snmp"), Shape::Single),
            netstat: KeptFile::new(config.net("netstat"), Shape::Single),
            opened: Baseline::default(),
            resets: Baseline::default(),
            segments: Baseline::default(),
            retransmits: Baseline::default(),
            failed: Baseline::default(),
            overflows: Baseline::default(),
            errors: Window::new(),
            series: Names {
                opened: Series::of(&catalogue::TCP_OPENED, &[]),
                resets: Series::of(&catalogue::TCP_RESETS, &[]),
                segments: Series::of(&catalogue::TCP_SEGMENTS_SENT, &[]),
                retransmits: Series::of(&catalogue::TCP_RETRANSMITS, &[]),
                overflows: Series::of(&catalogue::TCP_LISTEN_OVERFLOWS, &[]),
                error: Series::of(&catalogue::TCP_HEALTH, &[("health", "error")]),
            },
        }
    }
}

impl Collector for Tcp {
    fn collect(&mut self, elapsed: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let Some(snmp) = self.snmp.read()? else { return Ok(Collected::Absent) };
        let now = parse(snmp).ok_or(CollectError::Malformed { file: "net/snmp", what: "a pair of lines of Tcp" })?;
        for (value, name) in now.named() {
            if value.is_none() {
                sink.left_out(|| format!("net/snmp: Tcp {name} is missing or not a number"));
            }
        }
        let series = &self.series;
        if let Some(netstat) = self.netstat.read()? {
            match overflows(netstat).map(text::number) {
                Some(Some(overflows)) => sink.counter(&series.overflows, &mut self.overflows, overflows),
                Some(None) => sink.left_out(|| "net/netstat: TcpExt ListenOverflows is not a number".to_owned()),
                None => {}
            }
        }
        let both = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
        let opened = both(now.active_opens, now.passive_opens);
        for (series, baseline, value) in [
            (&series.opened, &mut self.opened, opened),
            (&series.resets, &mut self.resets, now.established_resets),
            (&series.segments, &mut self.segments, now.segments_sent),
            (&series.retransmits, &mut self.retransmits, now.retransmits),
        ] {
            if let Some(value) = value {
                sink.counter(series, baseline, value);
            }
        }
        let failed = both(now.established_resets, now.attempts_failed);
        if let Some(failed) = failed.and_then(|failed| sink.step(&mut self.failed, failed)) {
            self.errors.add(elapsed, failed);
            sink.gauge(&series.error, self.errors.sum());
        }
        Ok(Collected::Present)
    }
}

/// Sum over the last [`ERROR_SECONDS`], to within a second.
struct Window {
    /// Ring of sums per second; `at` is the second that runs.
    seconds: [u64; ERROR_SECONDS],
    at: usize,
    /// How much of the second that runs has passed.
    into: Duration,
}

impl Window {
    fn new() -> Self {
        Self { seconds: [0; ERROR_SECONDS], at: 0, into: Duration::ZERO }
    }

    fn add(&mut self, elapsed: Duration, count: u64) {
        self.into = self.into.saturating_add(elapsed);
        let whole = self.into.as_secs();
        self.into = Duration::from_nanos(self.into.subsec_nanos().into());
        for _ in 0..whole.min(ERROR_SECONDS as u64) {
            self.at = (self.at + 1) % ERROR_SECONDS;
            self.seconds[self.at] = 0;
        }
        self.seconds[self.at] = self.seconds[self.at].saturating_add(count);
    }

    fn sum(&self) -> u64 {
        self.seconds.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// Counters of the `Tcp:` lines, by the names of RFC 4022. `None` for one that is not there or not a number.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counters {
    active_opens: Option<u64>,
    passive_opens: Option<u64>,
    attempts_failed: Option<u64>,
    established_resets: Option<u64>,
    /// Without retransmissions: the kernel leaves them out (`__tcp_transmit_skb`).
    segments_sent: Option<u64>,
    retransmits: Option<u64>,
}

impl Counters {
    /// All of them, with their names in the file.
    fn named(&self) -> [(Option<u64>, &'static str); 6] {
        [
            (self.active_opens, "ActiveOpens"),
            (self.passive_opens, "PassiveOpens"),
            (self.attempts_failed, "AttemptFails"),
            (self.established_resets, "EstabResets"),
            (self.segments_sent, "OutSegs"),
            (self.retransmits, "RetransSegs"),
        ]
    }
}

/// `None` when there is no pair of `Tcp:` lines with a counter that is used.
fn parse(snmp: &[u8]) -> Option<Counters> {
    let mut counters = Counters::default();
    for (name, value) in pair(snmp, b"Tcp:")? {
        let counter = match name {
            b"ActiveOpens" => &mut counters.active_opens,
            b"PassiveOpens" => &mut counters.passive_opens,
            b"AttemptFails" => &mut counters.attempts_failed,
            b"EstabResets" => &mut counters.established_resets,
            b"OutSegs" => &mut counters.segments_sent,
            b"RetransSegs" => &mut counters.retransmits,
            _ => continue,
        };
        *counter = text::number(value);
    }
    counters.named().iter().any(|(value, _)| value.is_some()).then_some(counters)
}

/// `ListenOverflows` of the `TcpExt:` lines, where the kernel or the sandbox has it.
fn overflows(netstat: &[u8]) -> Option<&[u8]> {
    pair(netstat, b"TcpExt:")?.find(|(name, _)| *name == b"ListenOverflows").map(|(_, value)| value)
}

/// The names of the first line that begins with `prefix`, each with its value in the second.
fn pair<'a>(text: &'a [u8], prefix: &'a [u8]) -> Option<impl Iterator<Item = (&'a [u8], &'a [u8])>> {
    let mut lines = text::lines(text).filter_map(|line| line.strip_prefix(prefix));
    let (names, values) = (lines.next()?, lines.next()?);
    Some(text::words(names).zip(text::words(values)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_and_odd() {
        let snmp = b"Ip: Forwarding\nIp: 2\n\
            Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n\
            Tcp: 1 200 120000 -1 183 2 4 131 6 16867 10369 7 0 209 0\nUdp: InDatagrams\nUdp: 321\n";
        let expected = Counters {
            active_opens: Some(183),
            passive_opens: Some(2),
            attempts_failed: Some(4),
            established_resets: Some(131),
            segments_sent: Some(10_369),
            retransmits: Some(7),
        };
        assert_eq!(parse(snmp), Some(expected));
        let one = parse(b"Tcp: ActiveOpens OutSegs\nTcp: 1 -5\n").unwrap();
        assert_eq!(one, Counters { active_opens: Some(1), ..Counters::default() }, "an odd one costs no other");
        for bad in ["", "Tcp: ActiveOpens\n", "Tcp: ActiveOpens\nTcp: x\n", "Tcp:\nTcp:\n"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn connections_turned_away() {
        let netstat =
            b"TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 17 20\nIpExt: InNoRoutes\nIpExt: 0\n";
        assert_eq!(overflows(netstat), Some(&b"17"[..]));
        assert_eq!(overflows(b"TcpExt: SyncookiesSent\nTcpExt: 0\n"), None);
        assert_eq!(overflows(b"TcpExt: ListenOverflows\n"), None);
    }

    #[test]
    fn the_window_slides() {
        let mut window = Window::new();
        let tick = |window: &mut Window, count| {
            window.add(Duration::from_secs(1), count);
            window.sum()
        };
        assert_eq!(tick(&mut window, 3), 3);
        for _ in 0..59 {
            assert_eq!(tick(&mut window, 0), 3);
        }
        assert_eq!(tick(&mut window, 1), 1, "a minute later");
        window.add(Duration::from_secs(1 << 40), 5);
        assert_eq!(window.sum(), 5, "after a long pause");
        for _ in 0..4 {
            window.add(Duration::from_millis(250), 1);
        }
        assert_eq!(window.sum(), 9);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "(Tcp:( [A-Za-z0-9]{1,5}){0,4}\n){0,3}") {
            parse(&bytes);
            parse(text.as_bytes());
        }
    }
}
