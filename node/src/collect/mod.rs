//! Reads this host once a second.
//!
//! One module per thing measured, each with a parser over bytes that needs no host. Five rules hold for all:
//!
//! - the first reading of a counter only sets its baseline; gauges are there at once;
//! - what this host does not have is absent, which is not a failure; what it has and cannot be read is a failure,
//!   and stops no other collector; of a file, what cannot be understood is left out and named, and the rest stays;
//! - a read that does not return stops no other collector (`crew`), and its own is not started again before it does;
//! - what cannot change each second, or is dear to read, has a period of its own in the table (`cadence`);
//! - files of `/proc` are kept open and read in one go; nothing is read that is not sent.

mod budget;
mod cadence;
mod cgroup;
mod conntrack;
mod cpu;
mod crew;
mod dbus;
mod disk;
mod energy;
mod error;
mod facts;
mod files;
mod filesystem;
mod fine;
mod gpu;
mod health;
mod kept;
mod load;
mod memory;
mod mounts;
mod network;
mod paging;
mod portable;
mod ports;
mod pressure;
mod processes;
mod raid;
mod refused;
mod roster;
mod scheduler;
mod self_cost;
mod sensors;
mod settings;
mod sink;
mod sock_diag;
mod sockets;
mod sockstat;
mod softnet;
mod switches;
mod table;
mod tcp;
#[cfg(test)]
mod testing;
mod text;
mod timekeeping;
mod units;
mod uptime;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use starling_proto::{
    catalogue, limits,
    series::{Sample, Series},
    v1,
};

pub(crate) use error::CollectError;
pub use facts::{host_facts, machine};
pub(crate) use processes::EachProcess;
pub use settings::{CollectSettings, Source};
pub use switches::Switches;

use budget::Budget;
use cadence::Cadence;
use crew::{Crew, Job, Returned};
use health::{Health, Seen};
use sink::Sink;
use table::TABLE;

/// How long one collector may hold up the others: a hundred times what all of them usually take. A busy machine may
/// exceed it, which only costs a thread for the moment.
const PATIENCE: Duration = Duration::from_millis(80);

/// How long the first look at a host may take, before anything is started.
const READABLE_WITHIN: Duration = Duration::from_secs(1);

/// Where the collectors read, and which do.
#[derive(Debug, Clone, PartialEq)]
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
    /// What the host is read through. Default: `/proc`.
    pub source: Source,
    /// Looks a second of the fine grain, 0 to 100; without any there are no such histograms. Default 10.
    pub fine_hz: usize,
    /// Time of one processor that reading may take in a second; `None` for no bound. Default 50 ms.
    pub cpu_budget: Option<Duration>,
    /// Which of the other collectors run. Default: all.
    pub collectors: Switches,
}

impl Default for CollectConfig {
    fn default() -> Self {
        Self {
            procfs: "/proc".into(),
            sysfs: "/sys".into(),
            rootfs: "/".into(),
            tcp: true,
            source: Source::default(),
            fine_hz: CollectSettings::default().fine_hz,
            cpu_budget: CollectSettings::default().cpu_budget(),
            collectors: Switches::default(),
        }
    }
}

impl CollectConfig {
    /// A file of the host's network namespace, `PROCFS/net/NAME`. Where procfs is another's, `net` is a link to the namespace of who
    /// reads it, and the host's is that of its first process.
    fn net(&self, name: &str) -> PathBuf {
        let of_first = self.procfs.join("1/net");
        let is_own = self.procfs == Path::new("/proc");
        let folder = if !is_own && of_first.is_dir() { of_first } else { self.procfs.join("net") };
        folder.join(name)
    }
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
    /// Reads and gives samples. `elapsed` is the monotonic time since the previous call, zero at the first. On an
    /// error the samples given in this call are thrown away.
    fn collect(&mut self, elapsed: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError>;

    /// Time of processors that a thread of its own used since this was asked before.
    fn beside(&mut self) -> Duration {
        Duration::ZERO
    }
}

/// Whether the daemon can read its host at all. A read that hangs is left to the collectors, which name it and go on.
///
/// # Errors
/// Why not, as the path and what the system says: `/proc/stat` is there on every Linux, and what a container may see of
/// its host begins with it.
pub(crate) fn readable(procfs: &Path) -> Result<(), CollectError> {
    let mut stat = kept::KeptFile::new(procfs.join("stat"), kept::Shape::Single);
    let (answer, answered) = std::sync::mpsc::channel();
    // Without a thread, or while the read hangs, nothing is known.
    let _ = std::thread::Builder::new().spawn(move || {
        let _ = answer.send(stat.read_what_must_be().map(drop));
    });
    answered.recv_timeout(READABLE_WITHIN).unwrap_or(Ok(()))
}

/// One collector on its way.
struct Round {
    /// Its place in [`TABLE`].
    place: usize,
    collector: Box<dyn Collector>,
    /// Since its previous call; `None` at the first.
    elapsed: Option<Duration>,
    /// Kept for its memory.
    samples: Vec<Sample>,
}

/// What one call brought, beside the samples.
struct Outcome {
    result: Result<Collected, CollectError>,
    faults: u64,
    left_out: Option<String>,
    took: Duration,
    /// Time of processors.
    cost: Duration,
}

impl Job for Round {
    type Output = Outcome;
    type Key = usize;

    fn key(&self) -> usize {
        self.place
    }

    fn run(&mut self) -> Outcome {
        let (start, before) = (Instant::now(), self_cost::of_thread());
        self.samples.clear();
        let mut sink = Sink::new(&mut self.samples);
        let result = self.collector.collect(self.elapsed.unwrap_or_default(), &mut sink);
        let (mut faults, left_out) = sink.end();
        if result.is_err() {
            self.samples.clear();
            faults += 1;
        }
        self.elapsed = Some(Duration::ZERO);
        let cost = self_cost::of_thread().saturating_sub(before) + self.collector.beside();
        Outcome { result, faults, left_out, took: start.elapsed(), cost }
    }
}

/// What is known of one collector while it is here or out.
struct Slot {
    round: Option<Round>,
    cadence: Cadence,
    /// It reads for the second in the making.
    due: bool,
    /// It is left out for what reading costs.
    spared: bool,
    health: Health,
    duration: Series,
    failures: Series,
    up: Series,
    /// What it brought for the second in the making.
    brought: Option<Outcome>,
}

// A frame holds all tables with names of their own, full at once, which no host has; what a frame has no room for is left
// out by its worth (`report`).
const _: () = assert!(
    cpu::CORES_MAX
        + 7 * disk::DISKS_DETAILED_MAX
        + 4 * filesystem::FILESYSTEMS_DETAILED_MAX
        + 8 * network::INTERFACES_DETAILED_MAX
        + 8 * cgroup::GROUPS_NAMED_MAX
        + 2 * raid::ARRAYS_MAX
        + sensors::SENSORS_MAX
        + 3 * gpu::GPUS_MAX
        + units::UNITS_NAMED_MAX
        <= limits::SERIES_PER_NODE_MAX
);

/// All collectors of the host.
pub struct Collectors {
    config: CollectConfig,
    /// One for each row of [`TABLE`]; `None` for those that are switched off.
    slots: Vec<Option<Slot>>,
    /// A thread for each that may hang, and one more.
    crew: Crew<Round>,
    budget: Budget,
    samples_last: usize,
}

/// One second of the host.
#[derive(Debug)]
pub struct Collection {
    /// The samples of all collectors that returned, with the time, the failures and the state of each.
    pub samples: Vec<Sample>,
    /// Collectors that did not return in time, by name.
    pub late: Vec<&'static str>,
}

impl Collectors {
    /// Sets the collectors up; reads nothing yet.
    #[must_use]
    pub fn new(config: &CollectConfig) -> Self {
        let slots = TABLE.iter().enumerate().map(|(place, row)| {
            let attribute = [("collector", row.name)];
            row.runs(config).then(|| Slot {
                round: Some(round(place, config)),
                cadence: Cadence::new(row.period),
                due: true,
                spared: false,
                health: Health::new(row.name, row.reads(config)),
                duration: Series::of(&catalogue::COLLECT_DURATION, &attribute),
                failures: Series::of(&catalogue::COLLECT_FAILURES, &attribute),
                up: Series::of(&catalogue::COLLECT_UP, &attribute),
                brought: None,
            })
        });
        Self {
            slots: slots.collect(),
            config: config.clone(),
            budget: Budget::new(config.cpu_budget),
            crew: Crew::new(TABLE.len() + 1, PATIENCE),
            samples_last: 0,
        }
    }

    /// Reads everything once.
    ///
    /// `elapsed` is the monotonic time since the previous call; the first call ignores it and only sets the
    /// baselines of counters. Takes about half a millisecond, and 2 ms more on a host with thousands of TCP
    /// sockets (`node/examples/collect_once.rs` measures it), and never more than `limit`: a collector that has not
    /// returned by then is late, and what it brings is part of the second in which it returns.
    pub fn collect(&mut self, elapsed: Duration, limit: Duration) -> Collection {
        self.second(elapsed, limit, false)
    }

    /// [`Collectors::collect`] for the last time: everything is read, and what was to be given over the seconds that
    /// follow is given now.
    pub fn collect_last(&mut self, elapsed: Duration, limit: Duration) -> Collection {
        self.second(elapsed, limit, true)
    }

    fn second(&mut self, elapsed: Duration, limit: Duration, last: bool) -> Collection {
        for slot in self.slots.iter_mut().flatten() {
            if let Some(since) = slot.round.as_mut().and_then(|round| round.elapsed.as_mut()) {
                *since = since.saturating_add(elapsed);
            }
            slot.cadence.pass(elapsed);
            slot.due = last || slot.cadence.is_due();
        }
        self.spare();
        // Late ones first: they are this second's reading of theirs, and need no other.
        self.take_returned();
        let rounds: Vec<Round> = self
            .slots
            .iter_mut()
            .flatten()
            .filter(|slot| slot.brought.is_none() && slot.due)
            .filter_map(|slot| {
                let round = slot.round.take()?;
                slot.cadence.begin();
                Some(round)
            })
            .collect();
        for not_begun in self.crew.round(rounds, limit) {
            let place = not_begun.place;
            if let Some(slot) = self.slots[place].as_mut() {
                slot.round = Some(not_begun);
            }
        }
        self.take_returned();
        self.assemble(elapsed, last)
    }

    /// Leaves out what reading costs too much for. What is left out begins again with new baselines.
    fn spare(&mut self) {
        let level = self.budget.level();
        for (place, slot) in self.slots.iter_mut().enumerate() {
            let (Some(slot), Some(first)) = (slot, TABLE[place].spared_from) else { continue };
            let before = std::mem::replace(&mut slot.spared, level >= first);
            if slot.spared {
                slot.due = false;
                if !before {
                    slot.cadence = Cadence::new(TABLE[place].period);
                    slot.round = slot.round.take().map(|_| round(place, &self.config));
                }
            }
        }
    }

    /// The collectors that do not read all they should, by name, as of the last call of [`Collectors::collect`].
    #[must_use]
    pub fn faults(&self) -> Arc<[v1::CollectorFault]> {
        self.slots.iter().flatten().filter_map(|slot| slot.health.reported()).collect()
    }

    /// Each collector that runs, and whether it gave its samples in the last call of [`Collectors::collect`].
    pub fn up(&self) -> impl Iterator<Item = (&'static str, bool)> + '_ {
        self.slots.iter().flatten().map(|slot| (slot.health.name(), slot.health.up()))
    }

    fn take_returned(&mut self) {
        for returned in self.crew.returned() {
            match returned {
                Returned::Done(round, outcome) => {
                    if let Some(slot) = self.slots[round.place].as_mut() {
                        slot.round = Some(round);
                        slot.brought = Some(outcome);
                    }
                }
                Returned::Panicked(place) => {
                    if let Some(slot) = self.slots[place].as_mut() {
                        slot.health.panicked();
                        slot.round = Some(round(place, &self.config));
                    }
                }
            }
        }
    }

    fn assemble(&mut self, elapsed: Duration, last: bool) -> Collection {
        let out = self.crew.out();
        // A quarter more than last time: a new disk or core does not make it grow in the middle.
        let mut samples = Vec::with_capacity(self.samples_last + self.samples_last / 4 + 32);
        let mut late = Vec::new();
        let mut cost = Duration::ZERO;
        let over = CollectError::OverBudget {
            took_ms: self.budget.over_ms(),
            allowed_ms: self
                .config
                .cpu_budget
                .map_or(0, |allowed| u64::try_from(allowed.as_millis()).unwrap_or(u64::MAX)),
        };
        for (place, slot) in (0..).zip(&mut self.slots) {
            let Some(slot) = slot else { continue };
            let brought = slot.brought.take();
            let rests = brought.is_none() && !slot.due && slot.round.is_some();
            cost += brought.as_ref().map_or(Duration::ZERO, |outcome| outcome.cost);
            let seen = match &brought {
                // What was under way when it was left out is not given either.
                _ if slot.spared => Some(Seen::Failed(&over)),
                Some(Outcome { result: Ok(_), left_out, .. }) => {
                    if let Some(round) = &mut slot.round {
                        slot.cadence.take(&mut round.samples);
                    }
                    Some(Seen::Works(left_out.as_deref()))
                }
                Some(Outcome { result: Err(error), .. }) => Some(Seen::Failed(error)),
                None if rests => None,
                None => {
                    late.push(slot.health.name());
                    Some(Seen::Late(out.iter().find(|(key, _)| *key == place).map(|(_, since)| since.elapsed())))
                }
            };
            if matches!(seen, Some(Seen::Failed(_) | Seen::Late(_))) {
                slot.cadence.forget();
            }
            slot.cadence.give(elapsed, last, &mut samples);
            let mut sink = Sink::new(&mut samples);
            if let Some(seen) = seen {
                slot.health.saw(seen);
            }
            if let Some(outcome) = &brought {
                sink.increment(&slot.duration, u64::try_from(outcome.took.as_nanos()).unwrap_or(u64::MAX));
            }
            let without = u64::from(!rests);
            sink.increment(&slot.failures, brought.map_or(without, |outcome| outcome.faults));
            sink.gauge(&slot.up, slot.health.up().into());
        }
        self.samples_last = samples.len();
        self.budget.spend(cost, elapsed);
        debug_assert!(samples.iter().all(|sample| sample.value.kind() == sample.series.kind()));
        Collection { samples, late }
    }
}

fn round(place: usize, config: &CollectConfig) -> Round {
    Round { place, collector: TABLE[place].collector(config), elapsed: None, samples: Vec::new() }
}

impl std::fmt::Debug for Collectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.up()).finish()
    }
}

/// `metric` for each of `values` of its attribute `key`.
fn family<const N: usize>(metric: &'static catalogue::Metric, key: &str, values: [&str; N]) -> [Series; N] {
    values.map(|value| Series::of(metric, &[(key, value)]))
}

#[cfg(test)]
mod tests;
