//! How busy the processors are, as cheaply as the host allows.
//!
//! `cpu.stat` of the root of cgroup v2 is the time that all processors were busy, in microseconds, for a sixth of what
//! `/proc/stat` costs, which counts interrupts and idle time on the way: user, system, interrupts and what the hypervisor
//! took, without waiting for disks (`root_cgroup_cputime` in `kernel/cgroup/rstat.c`, since Linux 5.8). `/proc/uptime` is as
//! cheap and takes waiting for work. Where there is no such root, and in a container that sees its own group there,
//! `/proc/stat` it is.

use std::path::Path;

use super::super::{
    CollectConfig, CollectError, cpu,
    kept::{KeptFile, Shape},
    text,
};

/// Looks between two counts of the processors that are online.
const COUNT_EVERY: u64 = 10;

/// Time that processors were busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// By mode, of `/proc/stat`.
    Ticks(cpu::Times),
    /// Microseconds of all together, and how many are online.
    Microseconds { used: u64, cores: u32 },
}

impl Busy {
    /// Share of all processors between two readings, `seconds` apart. `None` when they cannot be compared.
    pub(super) fn share(self, now: Self, seconds: f64) -> Option<f64> {
        match (self, now) {
            (Self::Ticks(before), Self::Ticks(now)) => cpu::busy_between(&before, &now),
            // One that comes or goes between is in both or in none.
            (Self::Microseconds { used: before, cores: same }, Self::Microseconds { used, cores }) if same == cores => {
                Some(used.checked_sub(before)? as f64 / 1e6 / (seconds * f64::from(cores)))
            }
            _ => None,
        }
    }
}

/// The files.
pub(super) struct Processors {
    stat: KeptFile,
    loadavg: KeptFile,
    /// Of the root of cgroup v2.
    usage: Option<KeptFile>,
    cores: u32,
    looks: u64,
}

impl Processors {
    pub(super) fn new(config: &CollectConfig) -> Self {
        let cgroup = config.sysfs.join("fs/cgroup");
        let root = [cgroup.clone(), cgroup.join("unified")].into_iter().find(|folder| is_root(folder));
        let file = |name| KeptFile::new(config.procfs.join(name), Shape::Single);
        Self {
            stat: file("stat"),
            loadavg: file("loadavg"),
            usage: root.map(|folder| KeptFile::new(folder.join("cpu.stat"), Shape::Single)),
            cores: 0,
            looks: 0,
        }
    }

    /// How busy they were until now, and how many threads run or could, without the one that looks.
    ///
    /// # Errors
    /// When `/proc/stat` is there and cannot be read.
    pub(super) fn look(&mut self) -> Result<(Option<Busy>, Option<u64>), CollectError> {
        let used = self.usage.as_mut().and_then(|file| file.read().ok().flatten().and_then(used));
        let running = match used {
            Some(_) => self.loadavg.read().ok().flatten().and_then(running_of_load),
            None => None,
        };
        let counts = self.looks.is_multiple_of(COUNT_EVERY);
        self.looks += 1;
        if let (Some(used), Some(running), false) = (used, running, counts) {
            return Ok((self.microseconds(used), Some(running)));
        }
        let Some(stat) = self.stat.read()? else { return Ok((None, None)) };
        if used.is_some() {
            self.cores = cpu::count(stat);
        }
        let (ticks, of_stat) = (cpu::whole(stat).map(Busy::Ticks), running_of_stat(stat));
        Ok((used.and_then(|used| self.microseconds(used)).or(ticks), running.or(of_stat)))
    }

    fn microseconds(&self, used: u64) -> Option<Busy> {
        (self.cores > 0).then_some(Busy::Microseconds { used, cores: self.cores })
    }
}

/// Whether a folder is the root of all groups: a group below it, which a container may see in its place, has a type.
fn is_root(folder: &Path) -> bool {
    folder.join("cgroup.controllers").exists()
        && folder.join("cpu.stat").exists()
        && !folder.join("cgroup.type").exists()
}

fn used(stat: &[u8]) -> Option<u64> {
    text::lines(stat).find_map(|line| text::number(line.strip_prefix(b"usage_usec ")?))
}

/// "0.00 0.01 0.05 3/931 12662": three of 931 run.
fn running_of_load(loadavg: &[u8]) -> Option<u64> {
    let entities = text::words(text::lines(loadavg).next()?).nth(3)?;
    let slash = entities.iter().position(|&byte| byte == b'/')?;
    Some(text::number(&entities[..slash])?.saturating_sub(1))
}

/// From the end: the line of interrupts before it is long.
fn running_of_stat(stat: &[u8]) -> Option<u64> {
    /// It is the third line from the end, before that of the soft interrupts and an empty one.
    const LINES_MAX: usize = 8;
    let lines = stat.rsplit(|&byte| byte == b'\n').take(LINES_MAX);
    let line = lines.filter_map(|line| line.strip_prefix(b"procs_running ")).next()?;
    Some(text::number(line.trim_ascii())?.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_run_queue_is_found() {
        assert_eq!(running_of_stat(b"procs_running 1\nprocs_blocked 0\nsoftirq 5\n"), Some(0));
        for bad in ["", "procs_running\n", "procs_running x\n", "procs_running -1\n"] {
            assert_eq!(running_of_stat(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(running_of_load(b"0.00 0.01 0.05 3/931 12662\n"), Some(2));
        for bad in ["", "0.00 0.01 0.05\n", "0.00 0.01 0.05 931 1\n", "0.00 0.01 0.05 x/9 1\n"] {
            assert_eq!(running_of_load(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn the_root_of_groups_is_taken_and_a_group_in_its_place_is_not() {
        let root = tempfile::tempdir().unwrap();
        let cgroup = root.path().join("fs/cgroup");
        fs::create_dir_all(&cgroup).unwrap();
        let put = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        put("stat", "cpu  7 0 0 100\ncpu0 4 0 0 50\ncpu1 3 0 0 50\nprocs_running 5\n");
        put("loadavg", "0.00 0.00 0.00 3/9 1\n");
        put("fs/cgroup/cgroup.controllers", "cpu\n");
        put("fs/cgroup/cpu.stat", "usage_usec 1000\nuser_usec 1\n");
        let config =
            CollectConfig { procfs: root.path().into(), sysfs: root.path().into(), ..CollectConfig::default() };
        let mut processors = Processors::new(&config);
        let busy = |used| Some(Busy::Microseconds { used, cores: 2 });
        assert_eq!(processors.look().unwrap(), (busy(1000), Some(2)));
        put("stat", "cpu  7 0 0 100\ncpu0 4 0 0 50\nprocs_running 5\n");
        put("fs/cgroup/cpu.stat", "usage_usec 101000\n");
        assert_eq!(processors.look().unwrap(), (busy(101_000), Some(2)), "they are counted now and then only");
        let share = busy(1000).and_then(|before| before.share(busy(101_000)?, 0.1));
        assert!(share.is_some_and(|share| (share - 0.5).abs() < 1e-9), "{share:?}");
        put("fs/cgroup/cpu.stat", "rubbish\n");
        let ticks = Some(Busy::Ticks([7, 0, 0, 100, 0, 0, 0, 0]));
        assert_eq!(processors.look().unwrap(), (ticks, Some(4)));
        assert_eq!(busy(1).and_then(|before| before.share(ticks?, 0.1)), None, "two clocks");
        let one = Busy::Microseconds { used: 5, cores: 1 };
        assert_eq!(
            (
                busy(1).and_then(|before| before.share(one, 0.1)),
                one.share(Busy::Microseconds { used: 1, cores: 1 }, 0.1)
            ),
            (None, None)
        );
        put("fs/cgroup/cpu.stat", "usage_usec 5\n");
        put("fs/cgroup/cgroup.type", "domain\n");
        assert_eq!(Processors::new(&config).look().unwrap(), (ticks, Some(4)), "a container");
    }
}
