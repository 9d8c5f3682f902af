//! Reads this host once a second.
//!
//! One module per thing measured, each with a parser over bytes that needs no host. Three rules hold for all:
//!
//! - the first reading of a counter only sets its baseline; gauges are there at once;
//! - what this host does not have is absent, which is not a failure; what it has and cannot be read is a failure,
//!   and stops no other collector;
//! - files of `/proc` are kept open and read in one go; nothing is read that is not sent.

mod cpu;
mod disk;
mod facts;
mod filesystem;
mod kept;
mod load;
mod memory;
mod mounts;
mod network;
mod roster;
mod self_cost;
mod sink;
mod sock_diag;
mod sockets;
mod tcp;
mod text;
mod uptime;

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use starling_proto::{
    catalogue, limits,
    series::{Sample, Series},
};
use starling_service::{log::LogLimiter, parts::chain};
use tracing::{info, warn};

pub use facts::host_facts;

use sink::Sink;

/// A collector that fails is named in the log at most this often.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Where the collectors read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectConfig {
    /// The mount of procfs. Default `/proc`; another one when the daemon runs in a container and the host's is
    /// mounted elsewhere, or for a test.
    pub procfs: PathBuf,
    /// The mount of sysfs. Default `/sys`.
    pub sysfs: PathBuf,
    /// Prefix of the mount points when the sizes of filesystems are asked. Default `/`.
    pub rootfs: PathBuf,
    /// Ask the kernel for every TCP socket (netlink `sock_diag`). Default true. Without it there are no connection
    /// states, idle and health; the counters from `/proc/net/snmp` stay. The answer is for the daemon's own
    /// network namespace, whatever `procfs` is, so it belongs off when `procfs` is another host's or a test's.
    pub tcp: bool,
}

impl Default for CollectConfig {
    fn default() -> Self {
        Self { procfs: "/proc".into(), sysfs: "/sys".into(), rootfs: "/".into(), tcp: true }
    }
}

/// Why a collector failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    /// A file or directory is there and cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than [`kept::FILE_BYTES_MAX`].
    #[error("{path} is larger than {max} bytes", path = path.display(), max = kept::FILE_BYTES_MAX)]
    TooLarge {
        /// Which one.
        path: PathBuf,
    },
    /// A file does not hold what the kernel documents for it.
    #[error("{file}: {what} is missing or not a number")]
    Malformed {
        /// Name below the root of procfs.
        file: &'static str,
        /// The field.
        what: &'static str,
    },
    /// The kernel does not list TCP sockets.
    #[error("cannot list tcp sockets")]
    SockDiag(#[from] sock_diag::SockDiagError),
}

/// What a collector that did not fail has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collected {
    /// It gave its samples.
    Present,
    /// This host has nothing of the kind.
    Absent,
}

/// Something that measures one part of the host.
trait Collector: Send {
    /// Its name, the value of the attribute `collector`.
    fn name(&self) -> &'static str;

    /// Reads and gives samples. `elapsed` is the monotonic time since the previous call, zero at the first. On an
    /// error the samples given in this call are thrown away.
    fn collect(&mut self, elapsed: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError>;
}

/// One collector with what is said about it.
struct Slot {
    collector: Box<dyn Collector>,
    duration: Series,
    failures: Series,
    /// Of failures.
    lines: LogLimiter,
    /// The log says that it fails.
    failing: bool,
}

// The tables with names of their own leave room for everything else in a frame.
const _: () = assert!(
    cpu::CORES_MAX
        + 5 * disk::DISKS_DETAILED_MAX
        + 2 * filesystem::FILESYSTEMS_DETAILED_MAX
        + 8 * network::INTERFACES_DETAILED_MAX
        <= limits::SERIES_PER_NODE_MAX * 3 / 4
);

/// All collectors of the host.
pub struct Collectors {
    slots: Vec<Slot>,
    first: bool,
    samples_last: usize,
}

impl Collectors {
    /// Sets the collectors up; reads nothing yet.
    #[must_use]
    pub fn new(config: &CollectConfig) -> Self {
        let mut collectors: Vec<Box<dyn Collector>> = vec![
            Box::new(cpu::Cpu::new(config)),
            Box::new(load::Load::new(config)),
            Box::new(memory::Memory::new(config)),
            Box::new(disk::Disk::new(config)),
            Box::new(filesystem::Filesystem::new(config)),
            Box::new(network::Network::new(config)),
            Box::new(tcp::Tcp::new(config)),
            Box::new(uptime::Uptime::new(config)),
            Box::new(self_cost::SelfCost::new(config)),
        ];
        if config.tcp {
            collectors.push(Box::new(sockets::Sockets::new()));
        }
        let slots = collectors
            .into_iter()
            .map(|collector| Slot {
                duration: Series::of(&catalogue::COLLECT_DURATION, &[("collector", collector.name())]),
                failures: Series::of(&catalogue::COLLECT_FAILURES, &[("collector", collector.name())]),
                collector,
                lines: LogLimiter::new(LINE_EVERY),
                failing: false,
            })
            .collect();
        Self { slots, first: true, samples_last: 0 }
    }

    /// Reads everything once, with the time and the failures of each collector among the samples.
    ///
    /// `elapsed` is the monotonic time since the previous call; the first call ignores it and only sets the
    /// baselines of counters. Takes about half a millisecond, and 2 ms more on a host with thousands of TCP
    /// sockets (`node/examples/collect_once.rs` measures it); it waits for no network.
    pub fn collect(&mut self, elapsed: Duration) -> Vec<Sample> {
        let elapsed = if self.first { Duration::ZERO } else { elapsed };
        // A quarter more than last time: a new disk or core does not make it grow in the middle.
        let mut samples = Vec::with_capacity(self.samples_last + self.samples_last / 4 + 32);
        for slot in &mut self.slots {
            let mark = samples.len();
            let start = Instant::now();
            let mut sink = Sink::new(&mut samples);
            let result = slot.collector.collect(elapsed, &mut sink);
            let mut failures = sink.faults();
            let took = start.elapsed();
            if result.is_err() {
                samples.truncate(mark);
                failures += 1;
            }
            slot.report(&result);
            let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            let mut sink = Sink::new(&mut samples);
            sink.increment(&slot.duration, took);
            sink.increment(&slot.failures, failures);
        }
        self.first = false;
        self.samples_last = samples.len();
        debug_assert!(samples.iter().all(|sample| sample.value.kind() == sample.series.kind()));
        samples
    }
}

impl Slot {
    /// Logs a failure now and then, and the first success after one that was logged.
    fn report(&mut self, result: &Result<Collected, CollectError>) {
        let collector = self.collector.name();
        match result {
            Err(error) => {
                if let Some(left_out) = self.lines.allow() {
                    self.failing = true;
                    warn!(collector, error = chain(error), left_out, "collector failed");
                }
            }
            Ok(_) => {
                if std::mem::take(&mut self.failing) {
                    info!(collector, "collector works again");
                }
            }
        }
    }
}

impl std::fmt::Debug for Collectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.slots.iter().map(|slot| slot.collector.name())).finish()
    }
}

/// `metric` for each of `values` of its attribute `key`.
fn family<const N: usize>(metric: &'static catalogue::Metric, key: &str, values: [&str; N]) -> [Series; N] {
    values.map(|value| Series::of(metric, &[(key, value)]))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs};

    use starling_proto::series::Value;

    use super::*;

    fn value(samples: &[Sample], name: &str) -> Option<Value> {
        samples.iter().find(|sample| sample.series.name() == name).map(|sample| sample.value.clone())
    }

    #[test]
    fn this_host_gives_sound_samples() {
        let mut collectors = Collectors::new(&CollectConfig::default());
        let first = collectors.collect(Duration::ZERO);
        assert!(value(&first, "system.cpu.utilization").is_none(), "the first call sets baselines");
        let second = collectors.collect(Duration::from_secs(1));
        let mut seen = HashSet::new();
        for sample in &second {
            assert!(seen.insert(sample.series.clone()), "{} twice", sample.series);
            match sample.value {
                Value::Counter(increment) => assert!(increment <= limits::COUNTER_INCREMENT_MAX),
                Value::Gauge(gauge) => assert!((0..=limits::GAUGE_MAGNITUDE_MAX).contains(&gauge)),
                Value::Histogram(_) => panic!("no collector gives histograms"),
            }
        }
        let failed: Vec<_> = second
            .iter()
            .filter(|sample| sample.series.is(&catalogue::COLLECT_FAILURES) && sample.value != Value::Counter(0))
            .collect();
        assert!(failed.is_empty(), "{failed:?}");
        for name in ["system.memory.limit", "system.load_average.1m", "starling.node.memory.usage", "system.uptime"] {
            assert!(value(&second, name).is_some(), "{name}");
        }
    }

    #[test]
    fn an_empty_host_is_absent_and_does_not_fail() {
        let root = tempfile::tempdir().unwrap();
        let config = CollectConfig {
            procfs: root.path().join("proc"),
            sysfs: root.path().join("sys"),
            rootfs: root.path().into(),
            tcp: false,
        };
        let mut collectors = Collectors::new(&config);
        collectors.collect(Duration::ZERO);
        let samples = collectors.collect(Duration::from_secs(1));
        assert!(samples.iter().all(|sample| sample.series.name().starts_with("starling.node.")), "{samples:?}");
        assert!(
            samples
                .iter()
                .filter(|sample| sample.series.is(&catalogue::COLLECT_FAILURES))
                .all(|sample| sample.value == Value::Counter(0))
        );
    }

    #[test]
    fn one_failure_stops_no_other() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/stat")).unwrap(); // a directory: reading it fails
        fs::write(root.path().join("proc/meminfo"), "rubbish\n").unwrap();
        fs::write(root.path().join("proc/loadavg"), "0.10 0.20 0.30 1/20 300\n").unwrap();
        let config = CollectConfig {
            procfs: root.path().join("proc"),
            sysfs: root.path().join("sys"),
            rootfs: root.path().into(),
            tcp: false,
        };
        let samples = Collectors::new(&config).collect(Duration::ZERO);
        assert_eq!(value(&samples, "system.load_average.1m"), Some(Value::Gauge(10)));
        let failed: Vec<_> = samples
            .iter()
            .filter(|sample| sample.series.is(&catalogue::COLLECT_FAILURES) && sample.value == Value::Counter(1))
            .filter_map(|sample| sample.series.attribute("collector"))
            .collect();
        assert_eq!(failed, ["cpu", "memory"]);
    }
}
