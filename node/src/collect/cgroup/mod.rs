//! Services and containers, from cgroup v2: what each uses of processors, memory and disks.
//!
//! The largest users of processor time have series of their own, the others one together, so that all add up. All of it is
//! read every five seconds: the kernel adds up a group and all below it when it is asked. The older hierarchies (v1) are not read:
//! on a host that mounts only them there is nothing of this.

mod groups;
mod tree;

use std::{collections::HashMap, fs, path::PathBuf, time::Duration};

use starling_proto::{
    catalogue::{self, Metric},
    series::{OTHER, Series},
};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    sink::{Baseline, Sink},
    text,
};
use groups::{Group, Groups, field, single};
use tree::GROUPS_MAX;
pub(super) use tree::GROUPS_NAMED_MAX;

/// Devices of which is remembered whether they stand on others.
const DEVICES_MAX: usize = 4_096;
/// Key of the attribute.
const NAME: &str = "system.cgroup.name";

fn series(metric: &'static Metric, name: &str) -> Series {
    Series::of(metric, &[(NAME, name)])
}

fn say_more<T>(groups: &Groups<T>, sink: &mut Sink<'_>) {
    if groups.more {
        sink.left_out(|| format!("there are more than {GROUPS_MAX} services and containers, the others are not read"));
    }
}

/// The collector of processor time.
pub(super) struct CgroupCpu {
    groups: Groups<Used>,
    others: [Series; 2],
    services: Series,
}

/// Of one group: time used, time it was held back.
struct Used {
    baselines: [Baseline; 2],
    series: [Series; 2],
}

const TIMES: [(&[u8], &Metric); 2] = [
    (b"usage_usec", &catalogue::CGROUP_CPU_TIME),
    // Of a group without a limit it is not there.
    (b"throttled_usec", &catalogue::CGROUP_THROTTLED_TIME),
];

impl CgroupCpu {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            groups: Groups::new(config),
            others: TIMES.map(|(_, metric)| series(metric, OTHER)),
            services: Series::of(&catalogue::SERVICES, &[]),
        }
    }
}

impl Collector for CgroupCpu {
    fn collect(&mut self, elapsed: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let make = |found: &tree::Found| Used {
            baselines: Default::default(),
            series: TIMES.map(|(_, metric)| series(metric, &found.name)),
        };
        if !self.groups.walk(elapsed, make)? {
            return Ok(Collected::Absent);
        }
        say_more(&self.groups, sink);
        let mut others = [None; TIMES.len()];
        for place in 0..self.groups.all.len() {
            let Some(stat) = self.groups.read(place, "cpu.stat")? else { continue };
            let now = TIMES.map(|(key, _)| field(stat, key));
            let Group { named, weight, kept, found } = &mut self.groups.all[place];
            if now[0].is_none() {
                sink.left_out(|| format!("{}/cpu.stat has no usage_usec", found.name));
            }
            for (time, now) in now.into_iter().enumerate() {
                let Some(us) = now.and_then(|now| sink.step(&mut kept.baselines[time], now)) else { continue };
                if time == 0 {
                    *weight = weight.saturating_add(us);
                }
                if *named {
                    sink.increment(&kept.series[time], us);
                } else {
                    let sum: &mut u64 = others[time].get_or_insert_default();
                    *sum = sum.saturating_add(us);
                }
            }
        }
        for (series, us) in self.others.iter().zip(others) {
            if let Some(us) = us {
                sink.increment(series, us);
            }
        }
        let services = self.groups.all.iter().filter(|group| group.found.service).count();
        sink.gauge(&self.services, services as u64);
        Ok(Collected::Present)
    }
}

/// The collector of memory, disks and processes.
pub(super) struct Cgroup {
    groups: Groups<Kept>,
    others: Others,
    /// Folder of sysfs with what stands on what, and what it said of each device.
    devices: PathBuf,
    stacked: HashMap<Box<[u8]>, bool>,
}

struct Kept {
    io: [Baseline; 2],
    oom_kills: Baseline,
    usage: u64,
    series: Others,
    limit: Series,
}

/// Series of a group, or of all without a name together.
struct Others {
    memory: Series,
    processes: Series,
    io: [Series; 2],
    oom_kills: Series,
}

impl Others {
    fn new(name: &str) -> Self {
        Self {
            memory: series(&catalogue::CGROUP_MEMORY, name),
            processes: series(&catalogue::CGROUP_PROCESSES, name),
            io: ["read", "write"]
                .map(|direction| Series::of(&catalogue::CGROUP_IO, &[("disk.io.direction", direction), (NAME, name)])),
            oom_kills: series(&catalogue::CGROUP_OOM_KILLS, name),
        }
    }
}

/// Sums of those without a name.
#[derive(Default)]
struct Sums {
    memory: Option<u64>,
    processes: Option<u64>,
    io: [Option<u64>; 2],
    oom_kills: Option<u64>,
}

impl Cgroup {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            groups: Groups::new(config),
            others: Others::new(OTHER),
            devices: config.sysfs.join("dev/block"),
            stacked: HashMap::new(),
        }
    }
}

impl Collector for Cgroup {
    fn collect(&mut self, elapsed: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let make = |found: &tree::Found| Kept {
            io: Default::default(),
            oom_kills: Baseline::default(),
            usage: 0,
            series: Others::new(&found.name),
            limit: series(&catalogue::CGROUP_MEMORY_LIMIT, &found.name),
        };
        if !self.groups.walk(elapsed, make)? {
            return Ok(Collected::Absent);
        }
        say_more(&self.groups, sink);
        let mut sums = Sums::default();
        for place in 0..self.groups.all.len() {
            let memory = self.groups.read(place, "memory.current")?.and_then(single);
            let limit = self.groups.read(place, "memory.max")?.and_then(single);
            let processes = self.groups.read(place, "pids.current")?.and_then(single);
            let kills = self.groups.read(place, "memory.events")?.and_then(|text| field(text, b"oom_kill"));
            let (devices, stacked) = (&self.devices, &mut self.stacked);
            let io = self.groups.read(place, "io.stat")?.map(|text| bytes(text, |name| stands(devices, stacked, name)));
            let Group { named, weight, kept, .. } = &mut self.groups.all[place];
            let named = *named;
            let gauge = |value: Option<u64>, own: &Series, sum: &mut Option<u64>, sink: &mut Sink<'_>| match value {
                Some(value) if named => sink.gauge(own, value),
                Some(value) => *sum = Some(sum.unwrap_or_default().saturating_add(value)),
                None => {}
            };
            gauge(memory, &kept.series.memory, &mut sums.memory, sink);
            gauge(processes, &kept.series.processes, &mut sums.processes, sink);
            if let Some(limit) = limit.filter(|_| named) {
                sink.gauge(&kept.limit, limit);
            }
            // Who holds much memory or moves much data has a name, too.
            kept.usage = memory.unwrap_or_default();
            *weight = weight.saturating_add(kept.usage >> 10);
            let count = |value: Option<u64>,
                         baseline: &mut Baseline,
                         own: &Series,
                         sum: &mut Option<u64>,
                         sink: &mut Sink<'_>| {
                let Some(increment) = value.and_then(|now| sink.step(baseline, now)) else { return 0 };
                if named {
                    sink.increment(own, increment);
                } else {
                    *sum = Some(sum.unwrap_or_default().saturating_add(increment));
                }
                increment
            };
            count(kills, &mut kept.oom_kills, &kept.series.oom_kills, &mut sums.oom_kills, sink);
            for direction in 0..2 {
                let now = io.map(|io| io[direction]);
                let own = &kept.series.io[direction];
                let moved = count(now, &mut kept.io[direction], own, &mut sums.io[direction], sink);
                *weight = weight.saturating_add(moved >> 10);
            }
        }
        for (series, sum) in [(&self.others.memory, sums.memory), (&self.others.processes, sums.processes)] {
            if let Some(sum) = sum {
                sink.gauge(series, sum);
            }
        }
        let [read, write] = &self.others.io;
        for (series, sum) in [(read, sums.io[0]), (write, sums.io[1]), (&self.others.oom_kills, sums.oom_kills)] {
            if let Some(sum) = sum {
                sink.increment(series, sum);
            }
        }
        Ok(Collected::Present)
    }
}

/// Read and written bytes of `io.stat`, over the devices that do not stand on others. What is odd counts nothing.
fn bytes(text: &[u8], mut stacked: impl FnMut(&[u8]) -> bool) -> [u64; 2] {
    let mut sums = [0u64; 2];
    for line in text::lines(text) {
        let mut words = text::words(line);
        let Some(device) = words.next() else { continue };
        let mut moved = [0; 2];
        for word in words {
            for (moved, key) in moved.iter_mut().zip([&b"rbytes="[..], b"wbytes="]) {
                if let Some(bytes) = word.strip_prefix(key).and_then(text::number) {
                    *moved = bytes;
                }
            }
        }
        if moved != [0; 2] && !stacked(device) {
            sums = [sums[0].saturating_add(moved[0]), sums[1].saturating_add(moved[1])];
        }
    }
    sums
}

/// Whether a device, by its numbers, stands on another whose bytes are counted as well.
fn stands(devices: &std::path::Path, known: &mut HashMap<Box<[u8]>, bool>, device: &[u8]) -> bool {
    if let Some(stands) = known.get(device) {
        return *stands;
    }
    let name = text::printable(device);
    // Two numbers and a colon, nothing that leads elsewhere.
    let is_device = name
        .split_once(':')
        .is_some_and(|(major, minor)| [major, minor].iter().all(|part| text::number(part.as_bytes()).is_some()));
    let stands =
        is_device && fs::read_dir(devices.join(&name).join("slaves")).is_ok_and(|mut slaves| slaves.next().is_some());
    if known.len() < DEVICES_MAX {
        known.insert(device.into(), stands);
    }
    stands
}

#[cfg(test)]
mod tests;
