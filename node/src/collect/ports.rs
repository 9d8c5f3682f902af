//! Established connections by the local port on which the host listens, counted in the walk over all sockets.
//!
//! The kernel lists the sockets that listen before all others (`inet_diag_dump_icsk` in `net/ipv4/inet_diag.c`), so that one
//! walk knows whether a connection came in by such a port. What is counted under no port is no loss: it is what remains of all
//! established connections.

use std::{cmp::Reverse, time::Duration};

use starling_proto::{
    catalogue,
    series::{OTHER, Series},
};

use super::sink::Sink;

/// Ports on which a host listens that are counted apart in one pass: hosts have some tens. The connections of further ones
/// are among the rest.
const LISTENING_MAX: usize = 1024;
/// Ports with series of their own, those with most connections. The others are in the rest.
const SHOWN_MAX: usize = 16;
/// How long a port is shown that has no connection any more: one series more or less is a new layout for whoever decodes
/// and stores the seconds of the node.
const SHOWN_FOR: Duration = Duration::from_secs(60);
/// Values of the attribute `health`.
const HEALTH: [&str; 2] = ["healthy", "warning"];

/// Connections of one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OfPort {
    port: u16,
    /// Healthy, in warning.
    connections: [u64; 2],
}

/// What one pass counts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Ports {
    /// By port; at most [`LISTENING_MAX`].
    listening: Vec<OfPort>,
}

impl Ports {
    /// The host listens on a port.
    pub(super) fn listens(&mut self, port: u16) {
        if let Err(place) = self.place(port)
            && self.listening.len() < LISTENING_MAX
        {
            self.listening.insert(place, OfPort { port, connections: [0; 2] });
        }
    }

    /// A connection is established on a port, which may be one that the host does not listen on.
    pub(super) fn established(&mut self, port: u16, warning: bool) {
        if let Ok(place) = self.place(port) {
            self.listening[place].connections[usize::from(warning)] += 1;
        }
    }

    fn place(&self, port: u16) -> Result<usize, usize> {
        self.listening.binary_search_by_key(&port, |of| of.port)
    }

    /// For tests: whether the connections of the ports of `other` are the same here.
    #[cfg(test)]
    pub(super) fn has(&self, other: &Self) -> bool {
        other.listening.iter().all(|of| self.listening.contains(of))
    }

    fn connections(&self, port: u16) -> [u64; 2] {
        self.place(port).map_or([0; 2], |place| self.listening[place].connections)
    }
}

/// The ports that have series.
pub(super) struct Shown {
    /// By port; at most [`SHOWN_MAX`].
    rows: Vec<Row>,
    rest: [Series; 2],
}

struct Row {
    port: u16,
    /// Since it had a connection.
    unused: Duration,
    series: [Series; 2],
}

fn series(port: &str) -> [Series; 2] {
    HEALTH
        .map(|health| Series::of(&catalogue::TCP_PORT_CONNECTIONS, &[("health", health), ("network.local.port", port)]))
}

impl Shown {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new(), rest: series(OTHER) }
    }

    /// Time passes.
    pub(super) fn pass(&mut self, elapsed: Duration) {
        for row in &mut self.rows {
            row.unused = row.unused.saturating_add(elapsed);
        }
    }

    /// Chooses anew whom to show, once a pass is through. Of ports with as many connections one that is shown stays.
    pub(super) fn choose(&mut self, of: &Ports) {
        for row in &mut self.rows {
            if of.connections(row.port) != [0; 2] {
                row.unused = Duration::ZERO;
            }
        }
        self.rows.retain(|row| row.unused < SHOWN_FOR);
        let total = |port| of.connections(port).iter().sum::<u64>();
        let used = of.listening.iter().map(|is| is.port).filter(|port| total(*port) > 0);
        let mut wanted: Vec<_> = used.chain(self.rows.iter().map(|row| row.port)).collect();
        wanted.sort_unstable_by_key(|port| (Reverse(total(*port)), !self.shows(*port), *port));
        wanted.dedup();
        wanted.truncate(SHOWN_MAX);
        self.rows.retain(|row| wanted.contains(&row.port));
        for port in wanted {
            if let Err(place) = self.place(port) {
                let row = Row { port, unused: Duration::ZERO, series: series(&port.to_string()) };
                self.rows.insert(place, row);
            }
        }
    }

    fn place(&self, port: u16) -> Result<usize, usize> {
        self.rows.binary_search_by_key(&port, |row| row.port)
    }

    fn shows(&self, port: u16) -> bool {
        self.place(port).is_ok()
    }

    /// Reports them; with the rest they are `all` established connections, healthy and in warning.
    pub(super) fn report(&self, of: &Ports, all: [u64; 2], sink: &mut Sink<'_>) {
        let mut rest = all;
        for row in &self.rows {
            for ((series, count), rest) in row.series.iter().zip(of.connections(row.port)).zip(&mut rest) {
                sink.gauge(series, count);
                *rest = rest.saturating_sub(count);
            }
        }
        for (series, count) in self.rest.iter().zip(rest) {
            sink.gauge(series, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_proto::series::Value;

    use super::*;

    fn counted(of: &[(u16, u64, u64)]) -> Ports {
        let mut ports = Ports::default();
        for (port, healthy, warning) in of {
            ports.listens(*port);
            (0..*healthy).for_each(|_| ports.established(*port, false));
            (0..*warning).for_each(|_| ports.established(*port, true));
        }
        ports
    }

    /// What is reported: port, healthy, in warning.
    fn reported(shown: &Shown, of: &Ports, all: [u64; 2]) -> Vec<(String, u64, u64)> {
        let mut samples = Vec::new();
        shown.report(of, all, &mut Sink::new(&mut samples));
        let number = |value: &Value| match value {
            Value::Gauge(value) => value.unsigned_abs(),
            other => panic!("{other:?}"),
        };
        let port = |series: &Series| series.attribute("network.local.port").unwrap_or_default().to_owned();
        samples.chunks(2).map(|pair| (port(&pair[0].series), number(&pair[0].value), number(&pair[1].value))).collect()
    }

    #[test]
    fn what_no_port_has_is_the_rest() {
        let mut ports = counted(&[(443, 3, 1), (22, 1, 0), (80, 0, 0)]);
        ports.established(50_123, false);
        let mut shown = Shown::new();
        shown.choose(&ports);
        let of = |name: &str, healthy, warning| (name.to_owned(), healthy, warning);
        assert_eq!(reported(&shown, &ports, [6, 2]), [of("22", 1, 0), of("443", 3, 1), of(OTHER, 2, 1)]);
    }

    #[test]
    fn a_port_without_connections_stays_for_a_minute_and_gives_way() {
        let mut shown = Shown::new();
        shown.choose(&counted(&[(22, 1, 0)]));
        shown.pass(SHOWN_FOR - Duration::from_secs(1));
        shown.choose(&counted(&[]));
        assert_eq!(reported(&shown, &counted(&[]), [0, 0])[0], ("22".to_owned(), 0, 0));
        let many: Vec<_> = (100..100 + SHOWN_MAX as u16).map(|port| (port, 1, 0)).collect();
        shown.choose(&counted(&many));
        assert!(!shown.shows(22) && shown.shows(100), "{}", shown.rows.len());
        shown.pass(SHOWN_FOR);
        shown.choose(&counted(&[]));
        assert!(shown.rows.is_empty());
    }

    #[test]
    fn of_as_many_the_one_that_is_shown_stays() {
        let few: Vec<_> = (500..500 + SHOWN_MAX as u16).map(|port| (port, 1, 0)).collect();
        let mut shown = Shown::new();
        shown.choose(&counted(&few));
        let more: Vec<_> = few.iter().copied().chain([(7, 1, 0)]).collect();
        shown.choose(&counted(&more));
        assert!(!shown.shows(7));
        let more: Vec<_> = few.iter().copied().chain([(7, 2, 0)]).collect();
        shown.choose(&counted(&more));
        assert!(shown.shows(7));
    }

    proptest! {
        #[test]
        fn all_adds_up_and_is_bounded(
            rounds in proptest::collection::vec(proptest::collection::vec((0u16..60, 0u64..4, 0u64..4), 0..80), 1..6),
            outgoing in 0u64..5,
        ) {
            let mut shown = Shown::new();
            for round in rounds {
                let ports = counted(&round);
                let sum = |place: usize| ports.listening.iter().map(|of| of.connections[place]).sum::<u64>();
                let all = [sum(0) + outgoing, sum(1)];
                shown.pass(Duration::from_secs(5));
                shown.choose(&ports);
                let reported = reported(&shown, &ports, all);
                prop_assert!(reported.len() <= SHOWN_MAX + 1);
                let total = |of: fn(&(String, u64, u64)) -> u64| reported.iter().map(of).sum::<u64>();
                prop_assert_eq!([total(|row| row.1), total(|row| row.2)], all);
            }
        }

        #[test]
        fn a_host_that_listens_everywhere_is_bounded(ports in proptest::collection::vec(any::<u16>(), 0..3000)) {
            let mut counted = Ports::default();
            for port in ports {
                counted.listens(port);
                counted.established(port, port % 2 == 0);
            }
            prop_assert!(counted.listening.len() <= LISTENING_MAX && counted.listening.is_sorted_by_key(|of| of.port));
        }
    }
}
