//! Each process by itself: what is read only while somebody looks at the node.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use starling_proto::{limits::DETAIL_PROCESSES_MAX, v1};

use super::{
    super::{CollectConfig, CollectError, self_cost, text},
    crowd::parse_io,
    roll::{Called, Roll},
    stat,
};

/// Processes that are looked at, about 10 us each: those of a usual host. Further ones, in the order of their numbers, are counted.
const LOOKED_AT_MAX: usize = 4_096;
/// Of those that are named so many are the busiest, and the others the largest.
const BUSY: usize = DETAIL_PROCESSES_MAX / 5 * 3;
/// `stat`, `io` and `cgroup` of a process are shorter; of a longer path the end is missing.
const BUFFER_BYTES: u64 = 4_096;
/// Characters of the name of a control group.
const GROUP_MAX: usize = 64;

/// What was seen of a process the last time.
#[derive(Debug, Clone, Copy)]
struct Before {
    /// Tells it from another one with its number.
    started: u64,
    ticks: u64,
    io: Option<[u64; 2]>,
}

/// One process of this look.
struct Seen {
    pid: u32,
    stat: Stat,
    /// Ticks since the look before.
    moved: Option<u64>,
    /// Bytes read and written until then; `None` when it was not named.
    io: Option<[u64; 2]>,
}

/// As [`stat::Stat`], on its own.
struct Stat {
    name: String,
    state: u8,
    threads: u64,
    started: u64,
    pages: u64,
}

/// See the module.
pub(crate) struct EachProcess {
    procfs: PathBuf,
    roll: Roll,
    before: HashMap<u32, Before>,
    looked: Option<Instant>,
    looks: u64,
    buffer: Vec<u8>,
    ticks_per_second: u64,
    page_bytes: u64,
}

impl EachProcess {
    /// Nothing seen yet: the first look has no rates.
    pub(crate) fn new(config: &CollectConfig) -> Self {
        Self {
            procfs: config.procfs.clone(),
            roll: Roll::new(config.procfs.clone()),
            before: HashMap::new(),
            looked: None,
            looks: 0,
            buffer: Vec::new(),
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
            page_bytes: rustix::param::page_size() as u64,
        }
    }

    /// One look, as of second `tick`. Blocks for some milliseconds.
    ///
    /// # Errors
    /// When processes cannot be listed.
    pub(crate) fn look(&mut self, tick: u32) -> Result<v1::NodeDetail, CollectError> {
        let began = self_cost::of_thread();
        let now = Instant::now();
        let elapsed = self.looked.replace(now).map(|before| now.duration_since(before));
        self.looks += 1;
        let count = match self.roll.call(self.looks)? {
            Called::Nothing => 0,
            Called::AsBefore | Called::Again => self.roll.pids.len() + self.roll.beyond,
        };
        let pids: Vec<u32> = self.roll.pids.iter().copied().take(LOOKED_AT_MAX).collect();
        let seen: Vec<Seen> = pids.iter().filter_map(|pid| self.see(*pid)).collect();
        let there: HashSet<u32> = seen.iter().map(|one| one.pid).collect();
        self.before.retain(|pid, _| there.contains(pid));
        let processes = named(seen).into_iter().map(|one| self.detail(one, elapsed)).collect();
        Ok(v1::NodeDetail {
            tick,
            processes,
            process_count: u32::try_from(count).unwrap_or(u32::MAX),
            cost_cpu_seconds: self_cost::of_thread().saturating_sub(began).as_secs_f64(),
            every_seconds: 1,
            processes_left_out: u32::try_from(count - pids.len().min(count)).unwrap_or(u32::MAX),
        })
    }

    fn see(&mut self, pid: u32) -> Option<Seen> {
        let read = self.file(pid, "stat")?;
        let found = stat::parse(read)?;
        let (ticks, stat) = (
            found.ticks,
            Stat {
                name: text::printable(found.name),
                state: found.state,
                threads: found.threads,
                started: found.started,
                pages: found.resident_pages,
            },
        );
        let before = self.before.get(&pid).filter(|before| before.started == stat.started);
        let moved = before.map(|before| ticks.saturating_sub(before.ticks));
        let io = before.and_then(|before| before.io);
        self.before.insert(pid, Before { started: stat.started, ticks, io: None });
        Some(Seen { pid, stat, moved, io })
    }

    /// A file of a process; `None` when it has gone, or may not be read.
    fn file(&mut self, pid: u32, name: &str) -> Option<&[u8]> {
        self.buffer.clear();
        let file = File::open(self.procfs.join(pid.to_string()).join(name)).ok()?;
        file.take(BUFFER_BYTES).read_to_end(&mut self.buffer).ok()?;
        Some(&self.buffer)
    }

    fn detail(
        &mut self,
        Seen { pid, stat, moved, io: io_before }: Seen,
        elapsed: Option<Duration>,
    ) -> v1::ProcessDetail {
        let seconds = elapsed.map(|elapsed| elapsed.as_secs_f64()).filter(|seconds| *seconds > 0.0);
        let io = self.file(pid, "io").and_then(parse_io);
        if let Some(before) = self.before.get_mut(&pid) {
            before.io = io;
        }
        let rate = |direction: usize| {
            let moved = io?[direction].saturating_sub(io_before?[direction]);
            Some(moved as f64 / seconds?)
        };
        let (read, written) = (rate(0), rate(1));
        let group = self.file(pid, "cgroup").map(group_of).unwrap_or_default();
        let user_id = fs::metadata(self.procfs.join(pid.to_string())).map_or(0, |folder| folder.uid());
        let booted = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let started = stat.started as f64 / self.ticks_per_second as f64;
        v1::ProcessDetail {
            pid,
            name: stat.name,
            state: char::from(stat.state).to_string(),
            user_id,
            threads: u32::try_from(stat.threads).unwrap_or(u32::MAX),
            cpu_cores: moved.zip(seconds).map(|(moved, seconds)| moved as f64 / self.ticks_per_second as f64 / seconds),
            memory_bytes: stat.pages.saturating_mul(self.page_bytes) as f64,
            read_bytes_per_second: read,
            write_bytes_per_second: written,
            group,
            age_seconds: (booted.tv_sec as f64 - started).max(0.0),
        }
    }
}

/// The busiest, and after them the largest of the others.
fn named(mut seen: Vec<Seen>) -> Vec<Seen> {
    seen.sort_by_key(|one| Reverse((one.moved, one.stat.pages)));
    let busy = seen.iter().take(BUSY).filter(|one| one.moved > Some(0)).count();
    seen[busy..].sort_by_key(|one| Reverse((one.stat.pages, one.moved)));
    seen.truncate(DETAIL_PROCESSES_MAX);
    seen
}

/// Of `/proc/PID/cgroup` (cgroups(7)) the last part of the path in the unified hierarchy, else in the first.
fn group_of(text: &[u8]) -> String {
    let lines =
        || text::lines(text).filter_map(|line| line.splitn(3, |&byte| byte == b':').nth(2).map(|path| (line, path)));
    let unified = lines().find(|(line, _)| line.starts_with(b"0::"));
    let Some((_, path)) = unified.or_else(|| lines().next()) else { return String::new() };
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    text::printable(last).chars().take(GROUP_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &std::path::Path, pid: u32, started: u64, ticks: u64, pages: u64, io: [u64; 2]) {
        let folder = root.join(pid.to_string());
        fs::create_dir_all(&folder).unwrap();
        let stat =
            format!("{pid} (p{pid}) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 7 0 {started} 1000 {pages} 1844674 0\n");
        fs::write(folder.join("stat"), stat).unwrap();
        fs::write(folder.join("cgroup"), format!("0::/system.slice/p{pid}.service\n")).unwrap();
        let [read, write] = io;
        let io = format!(
            "rchar: 1\nwchar: 1\nsyscr: 1\nsyscw: 1\nread_bytes: {read}\nwrite_bytes: {write}\ncancelled_write_bytes: 0\n"
        );
        fs::write(folder.join("io"), io).unwrap();
    }

    fn of(root: &std::path::Path) -> EachProcess {
        EachProcess::new(&CollectConfig { procfs: root.to_owned(), ..CollectConfig::default() })
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks_and_never_of_another_process_with_the_number() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), 1, 100, 1_000, 10, [0, 0]);
        put(root.path(), 2, 100, 1_000, 20, [0, 0]);
        let mut each = of(root.path());
        let first = each.look(7).unwrap();
        assert_eq!((first.process_count, first.tick), (2, 7));
        assert!(first.processes.iter().all(|one| one.cpu_cores.is_none() && one.write_bytes_per_second.is_none()));
        each.looked = each.looked.and_then(|looked| looked.checked_sub(Duration::from_millis(500)));
        put(root.path(), 1, 100, 1_050, 10, [0, 4_096]);
        put(root.path(), 2, 900, 5_000, 20, [9, 9]);
        let second = each.look(8).unwrap();
        let [busy, other] = &second.processes[..] else { panic!("{second:?}") };
        assert_eq!((busy.pid, &*busy.name, &*busy.group, busy.threads), (1, "p1", "p1.service", 7));
        assert!(busy.cpu_cores.unwrap() > 0.0 && busy.write_bytes_per_second.unwrap() > 0.0, "{busy:?}");
        assert_eq!(busy.read_bytes_per_second, Some(0.0));
        assert_eq!((other.pid, other.cpu_cores), (2, None), "its number was another's");
        assert!(second.cost_cpu_seconds > 0.0);
        fs::remove_dir_all(root.path().join("1")).unwrap();
        fs::write(root.path().join("2/stat"), "rubbish").unwrap();
        assert_eq!(each.look(9).unwrap().processes, []);
    }

    #[test]
    fn the_busiest_come_first_and_after_them_the_largest() {
        let root = tempfile::tempdir().unwrap();
        (1..=200).for_each(|pid| put(root.path(), pid, 5, 100, u64::from(pid), [0, 0]));
        let mut each = of(root.path());
        each.look(1).unwrap();
        // Sixty work, the ones of the smallest numbers most.
        (1..=60).for_each(|pid| put(root.path(), pid, 5, 200 - u64::from(pid), u64::from(pid), [0, 0]));
        let pids: Vec<u32> = each.look(2).unwrap().processes.iter().map(|one| one.pid).collect();
        let expected: Vec<u32> = (1..=BUSY as u32).chain((181..=200).rev()).collect();
        assert_eq!(pids, expected);
    }

    #[test]
    fn groups_of_both_kinds_and_odd_ones() {
        assert_eq!(group_of(b"0::/user.slice/a.scope\n"), "a.scope");
        assert_eq!(group_of(b"12:cpu:/docker/abc\n0::/x/y\n"), "y");
        assert_eq!(group_of(b"12:cpu:/docker/abc\n"), "abc");
        assert_eq!((group_of(b""), group_of(b"0::/"), group_of(b"::")), (String::new(), String::new(), String::new()));
        assert_eq!(group_of(format!("0::/{}\n", "\u{1}x".repeat(300)).as_bytes()).chars().count(), GROUP_MAX);
    }

    #[test]
    fn this_host_is_read() {
        let mut each = of("/proc".as_ref());
        each.look(1).unwrap();
        let detail = each.look(2).unwrap();
        assert!(!detail.processes.is_empty() && detail.processes.len() <= DETAIL_PROCESSES_MAX);
        assert!(detail.processes.iter().all(|one| one.age_seconds >= 0.0 && !one.name.is_empty()));
    }
}
