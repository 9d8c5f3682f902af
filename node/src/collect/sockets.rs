//! TCP sockets by state, idle ones, and the health of the established ones, in all and by local port, from [`SockDiag`].
//!
//! The kernel walks its whole table for it, a quarter of a million places on a small host, which takes as long as all that is
//! read beside it. So it is asked when the number of sockets has changed or some seconds have passed, and never so often that
//! it costs more than one part in 6,000 of a processor. A table of more than 2,048 sockets is read over several ticks.
//! Until the next pass is through, the numbers of the last are repeated, at most for a minute.

use std::time::{Duration, Instant};

use starling_proto::{catalogue, series::Series};

use super::{
    CollectError, Collected, Collector,
    cadence::TABLES_EVERY,
    kept::{KeptFile, Shape},
    ports::Shown,
    sink::Sink,
    sock_diag::{STATES, SockDiag, Tally},
    text,
};

/// See the module: 0.6 s of a processor in an hour.
const COST_PARTS: u32 = 6_000;
/// However dear a pass is, the next one begins after this time.
const PASS_WITHIN: Duration = Duration::from_secs(30);
/// Lines of `/proc/net/sockstat` and its twin that are compared.
const LINES: [&[u8]; 2] = [b"TCP: ", b"TCP6: "];
/// What follows in a line is memory, which changes with every byte.
const MEMORY: &[u8] = b" mem ";

/// The collector.
pub(super) struct Sockets {
    diag: SockDiag,
    /// Of the daemon's own network namespace, as the sockets are.
    counts: [KeptFile; 2],
    /// How many there were when the last pass began.
    counted: Vec<u8>,
    pace: Pace,
    last: Option<Tally>,
    states: Vec<(usize, Series)>,
    idle: Series,
    healthy: Series,
    warning: Series,
    ports: Shown,
}

impl Sockets {
    pub(super) fn new() -> Self {
        Self {
            diag: SockDiag::new(),
            counts: ["/proc/net/sockstat", "/proc/net/sockstat6"].map(|path| KeptFile::new(path.into(), Shape::Single)),
            counted: Vec::new(),
            pace: Pace::default(),
            last: None,
            states: STATES
                .iter()
                .enumerate()
                .filter_map(|(number, name)| {
                    let name = (*name)?;
                    Some((number, Series::of(&catalogue::TCP_CONNECTIONS, &[("network.connection.state", name)])))
                })
                .collect(),
            idle: Series::of(&catalogue::TCP_IDLE, &[]),
            healthy: Series::of(&catalogue::TCP_HEALTH, &[("health", "healthy")]),
            warning: Series::of(&catalogue::TCP_HEALTH, &[("health", "warning")]),
            ports: Shown::new(),
        }
    }
}

impl Sockets {
    /// What the kernel says about the number of sockets; nothing when it says nothing.
    fn count(&mut self) -> Vec<u8> {
        let mut counted = Vec::new();
        for file in &mut self.counts {
            counted.extend(counts(file.read().ok().flatten().unwrap_or_default()));
        }
        counted
    }

    fn read(&mut self) -> Result<(), CollectError> {
        let began = Instant::now();
        let read = self.diag.read();
        // After an error it is asked again in the next second.
        self.pace.took(began.elapsed(), matches!(read, Ok(Some(_))));
        match read {
            Ok(Some(tally)) => {
                self.ports.choose(&tally.ports);
                self.last = Some(tally);
            }
            Ok(None) => {}
            Err(error) => {
                self.last = None;
                if !error.is_absent() {
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
}

/// When the next pass is due.
#[derive(Debug, Default)]
struct Pace {
    /// Since the last pass began.
    since: Duration,
    /// What it has cost so far.
    cost: Duration,
    /// It is through.
    rests: bool,
}

impl Pace {
    fn pass(&mut self, elapsed: Duration) {
        self.since = self.since.saturating_add(elapsed);
    }

    /// Whether the last one was paid for.
    fn may(&self) -> bool {
        !self.rests || self.since >= self.cost.saturating_mul(COST_PARTS).min(PASS_WITHIN)
    }

    /// Whether there is one even when nothing seems to have changed: states change, and connections fall idle.
    fn must(&self) -> bool {
        !self.rests || self.since >= TABLES_EVERY
    }

    fn took(&mut self, time: Duration, is_through: bool) {
        if self.rests {
            (self.since, self.cost) = (Duration::ZERO, Duration::ZERO);
        }
        self.cost = self.cost.saturating_add(time);
        self.rests = is_through;
    }
}

fn counts(sockstat: &[u8]) -> Vec<u8> {
    let lines = text::lines(sockstat).filter(|line| LINES.iter().any(|head| line.starts_with(head)));
    let heads = lines.map(|line| {
        let memory = line.windows(MEMORY.len()).position(|part| part == MEMORY);
        &line[..memory.unwrap_or(line.len())]
    });
    heads.collect::<Vec<_>>().concat()
}

impl Collector for Sockets {
    fn collect(&mut self, elapsed: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        self.pace.pass(elapsed);
        self.ports.pass(elapsed);
        if self.pace.may() {
            let counted = self.count();
            if self.pace.must() || counted.is_empty() || counted != self.counted {
                self.counted = counted;
                self.read()?;
            }
        }
        let Some(tally) = &self.last else { return Ok(Collected::Absent) };
        for (number, series) in &self.states {
            sink.gauge(series, tally.states[*number]);
        }
        let [healthy, warning] = tally.established();
        sink.gauge(&self.idle, tally.idle);
        sink.gauge(&self.warning, warning);
        sink.gauge(&self.healthy, healthy);
        self.ports.report(&tally.ports, [healthy, warning], sink);
        Ok(Collected::Present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seconds_until(mut due: impl FnMut() -> bool) -> u32 {
        (1..100).find(|_| due()).unwrap_or(100)
    }

    #[test]
    fn a_pass_is_paid_for_before_the_next() {
        let mut pace = Pace::default();
        assert!(pace.may() && pace.must(), "the first");
        pace.took(Duration::from_millis(1), false);
        assert!(pace.may() && pace.must(), "it goes on in the next second");
        pace.took(Duration::from_micros(500), true);
        let next = |pace: &mut Pace, must: bool| {
            seconds_until(|| {
                pace.pass(SECOND);
                if must { pace.may() && pace.must() } else { pace.may() }
            })
        };
        assert_eq!(next(&mut pace, false), 9, "1.5 ms cost 9 s");
        pace.took(Duration::from_micros(100), true);
        assert_eq!(next(&mut pace, false), 1, "a cheap one each second when something changes");
        pace.took(Duration::from_micros(100), true);
        assert_eq!(next(&mut pace, true), 5, "and every five when nothing does");
        pace.took(Duration::from_secs(1), true);
        assert_eq!(next(&mut pace, true), 30, "however dear");
    }

    #[test]
    fn memory_and_other_sockets_are_no_change() {
        let text = |tcp: u32, mem: u32, udp: u32| {
            format!("sockets: used {udp}\nTCP: inuse {tcp} orphan 0 tw 3 alloc 9 mem {mem}\nUDP: inuse {udp} mem 1\n")
        };
        let one = counts(text(5, 1, 1).as_bytes());
        assert_eq!(one, b"TCP: inuse 5 orphan 0 tw 3 alloc 9");
        assert_eq!(one, counts(text(5, 7, 9).as_bytes()));
        assert_ne!(one, counts(text(6, 1, 1).as_bytes()));
        assert_eq!(counts(b"TCP6: inuse 4\n"), b"TCP6: inuse 4");
        assert_eq!(counts(b"rubbish"), b"");
    }
}
