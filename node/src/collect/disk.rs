//! Disks, from `/proc/diskstats`.
//!
//! A byte moved counts once: only whole disks are taken, not their partitions, and nothing that stands on other disks
//! (device mapper, software RAID, bcache) or in memory or files (loop, ram, zram). `/sys/block` says which; without
//! it the names do. Of an NVMe disk with several paths, Linux counts at the disk or, before 6.4 or so, at its paths
//! only: the disk counts when it ever counted anything.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector, family,
    kept::{KeptFile, Shape},
    roster::Roster,
    sink::{Baseline, Sink, Step},
    text,
};

/// Disks with series of their own. Further ones are in the totals only.
pub(super) const DISKS_DETAILED_MAX: usize = 128;
/// The kernel counts sectors of 512 bytes whatever the disk has (`Documentation/block/stat.rst`).
const SECTOR_BYTES: u64 = 512;
/// Names of devices that hold no data of their own. `md` and `dm-` are recognised by name too: they appear a moment before
/// the disks they stand on are linked to them.
const STACKED: [&[u8]; 6] = [b"loop", b"ram", b"zram", b"dm-", b"md", b"bcache"];

/// The collector.
pub(super) struct Disk {
    diskstats: KeptFile,
    block: PathBuf,
    devices: Roster<Device>,
    io: [Series; 2],
    operations: [Series; 2],
}

struct Device {
    counted: bool,
    io: [Baseline; 2],
    operations: [Baseline; 2],
    operation_time: [Baseline; 2],
    io_time: Baseline,
    detail: Option<Detail>,
}

struct Detail {
    io: [Series; 2],
    operations: [Series; 2],
    operation_time: [Series; 2],
    io_time: Series,
}

impl Disk {
    pub(super) fn new(config: &CollectConfig) -> Self {
        let directions = ["read", "write"];
        Self {
            diskstats: KeptFile::new(config.procfs.join("diskstats"), Shape::ShortRecords),
            block: config.sysfs.join("block"),
            devices: Roster::new(),
            io: family(&catalogue::DISK_IO, "disk.io.direction", directions),
            operations: family(&catalogue::DISK_OPERATIONS, "disk.io.direction", directions),
        }
    }
}

impl Collector for Disk {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let Some(diskstats) = self.diskstats.read()? else { return Ok(Collected::Absent) };
        let mut detailed = self.devices.values().filter(|device| device.detail.is_some()).count();
        let mut totals = None;
        let heads = used_heads(diskstats);
        for line in text::lines(diskstats).filter(|line| !line.is_empty()) {
            let Some((name, now)) = parse(line) else {
                sink.left_out(|| format!("diskstats: {:?} is not a line of a disk", text::excerpt(line)));
                continue;
            };
            let device = self.devices.meet(name, || {
                let counted = is_counted(&self.block, name);
                let detail = (counted && detailed < DISKS_DETAILED_MAX).then(|| Detail::new(name));
                detailed += usize::from(detail.is_some());
                Device::new(counted, detail)
            });
            let Some(device) = device else {
                sink.left_out(|| format!("diskstats: {:?} is there twice, or no room", text::printable(name)));
                continue;
            };
            if device.counted && head_of(name).is_some_and(|head| heads.contains(&head[..])) {
                device.pass_over(&now);
            } else if device.counted {
                device.count(&now, &mut totals, sink);
            }
        }
        self.devices.sweep();
        let bare = self.devices.values().filter(|device| device.counted && device.detail.is_none()).count();
        sink.without_detail("disk", bare);
        if let Some(Totals { io, operations }) = totals {
            for direction in 0..2 {
                sink.increment(&self.io[direction], io[direction]);
                sink.increment(&self.operations[direction], operations[direction]);
            }
        }
        Ok(Collected::Present)
    }
}

/// Increments over all disks, read and write.
#[derive(Default)]
struct Totals {
    io: [u64; 2],
    operations: [u64; 2],
}

impl Device {
    fn new(counted: bool, detail: Option<Detail>) -> Self {
        Self {
            counted,
            io: Default::default(),
            operations: Default::default(),
            operation_time: Default::default(),
            io_time: Baseline::default(),
            detail,
        }
    }

    /// Takes note of counters that count elsewhere.
    fn pass_over(&mut self, now: &Stats) {
        for direction in 0..2 {
            self.io[direction].advance(now.sectors[direction].saturating_mul(SECTOR_BYTES));
            self.operations[direction].advance(now.operations[direction]);
            self.operation_time[direction].advance(now.operation_time_ms[direction]);
        }
        self.io_time.advance(now.io_time_ms);
    }

    fn count(&mut self, now: &Stats, totals: &mut Option<Totals>, sink: &mut Sink<'_>) {
        for (direction, bytes) in now.bytes().into_iter().enumerate() {
            let bytes = sink.step(&mut self.io[direction], bytes);
            let operations = sink.step(&mut self.operations[direction], now.operations[direction]);
            let took = self.operation_time[direction].advance(now.operation_time_ms[direction]);
            let (Some(bytes), Some(operations)) = (bytes, operations) else { continue };
            let totals = totals.get_or_insert_default();
            totals.io[direction] = totals.io[direction].saturating_add(bytes);
            totals.operations[direction] = totals.operations[direction].saturating_add(operations);
            if let Some(detail) = &self.detail {
                sink.increment(&detail.io[direction], bytes);
                sink.increment(&detail.operations[direction], operations);
                // 32 bits before Linux 5.1: it wraps after 49 days of operations, many at once, which is no fault.
                if let Step::Increment(ms) = took {
                    sink.increment(&detail.operation_time[direction], ms);
                }
            }
        }
        let io_time = sink.step(&mut self.io_time, now.io_time_ms);
        if let (Some(detail), Some(ms)) = (&self.detail, io_time) {
            sink.increment(&detail.io_time, ms);
        }
    }
}

impl Detail {
    fn new(name: &[u8]) -> Self {
        let device = &*text::printable(name);
        let both = |metric| {
            ["read", "write"]
                .map(|direction| Series::of(metric, &[("disk.io.direction", direction), ("system.device", device)]))
        };
        Self {
            io: both(&catalogue::DISK_DEVICE_IO),
            operations: both(&catalogue::DISK_DEVICE_OPERATIONS),
            operation_time: both(&catalogue::DISK_DEVICE_OPERATION_TIME),
            io_time: Series::of(&catalogue::DISK_DEVICE_IO_TIME, &[("system.device", device)]),
        }
    }
}

/// Counters of one line; pairs are read, write.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stats {
    operations: [u64; 2],
    sectors: [u64; 2],
    operation_time_ms: [u64; 2],
    /// The catalogue's scale is 3: milliseconds fit as they are.
    io_time_ms: u64,
}

impl Stats {
    /// Read and written since boot.
    pub(super) fn bytes(&self) -> [u64; 2] {
        self.sectors.map(|sectors| sectors.saturating_mul(SECTOR_BYTES))
    }
}

/// Name and counters of one line (`Documentation/admin-guide/iostats.rst`). `None` for a line of another shape;
/// partitions before Linux 2.6.25 had four columns.
pub(super) fn parse(line: &[u8]) -> Option<(&[u8], Stats)> {
    let mut words = text::words(line).skip(2); // major, minor
    Some((words.next()?, counters(words)?))
}

/// The counters of `stat` of one disk in sysfs (`Documentation/block/stat.rst`), which are those of its line.
pub(super) fn parse_own(stat: &[u8]) -> Option<Stats> {
    counters(text::words(text::lines(stat).next()?))
}

fn counters<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<Stats> {
    // Only what is used must be a number: some drivers print odd numbers of requests in flight.
    let mut columns: [Option<&[u8]>; 10] = [None; 10];
    for column in &mut columns {
        *column = Some(words.next()?);
    }
    let [reads, _, sectors_read, read_ms, writes, _, sectors_written, write_ms, _, io_time_ms] =
        columns.map(|column| column.and_then(text::number));
    Some(Stats {
        operations: [reads?, writes?],
        sectors: [sectors_read?, sectors_written?],
        operation_time_ms: [read_ms?, write_ms?],
        io_time_ms: io_time_ms?,
    })
}

/// The disk of which `name` is one of several paths: "nvme0n1" of "nvme0c1n1" (`nvme_mpath_alloc_disk` in
/// `drivers/nvme/host/multipath.c`).
pub(super) fn head_of(name: &[u8]) -> Option<Vec<u8>> {
    let rest = name.strip_prefix(b"nvme")?;
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (subsystem, rest) = rest.split_at(digits(rest));
    let rest = rest.strip_prefix(b"c")?;
    let (controller, namespace) = rest.split_at(digits(rest));
    let is_one = !subsystem.is_empty() && !controller.is_empty() && namespace.starts_with(b"n");
    is_one.then(|| [b"nvme", subsystem, namespace].concat())
}

/// Disks with several paths that counted something since they are there.
pub(super) fn used_heads(diskstats: &[u8]) -> HashSet<Vec<u8>> {
    let mut heads: HashSet<Vec<u8>> =
        text::lines(diskstats).filter_map(|line| head_of(text::words(line).nth(2)?)).collect();
    if !heads.is_empty() {
        let used = |line| parse(line).filter(|(_, stats)| stats.operations != [0, 0]).map(|(name, _)| name);
        let used: HashSet<&[u8]> = text::lines(diskstats).filter_map(used).collect();
        heads.retain(|head| used.contains(&head[..]));
    }
    heads
}

/// What sysfs says about a disk.
pub(super) fn folder(block: &Path, name: &[u8]) -> PathBuf {
    // A "/" in a name (cciss/c0d0) is a "!" in sysfs.
    let entry: Vec<u8> = name.iter().map(|&byte| if byte == b'/' { b'!' } else { byte }).collect();
    block.join(OsStr::from_bytes(&entry))
}

/// True for a whole disk that stands on no other device.
pub(super) fn is_counted(block: &Path, name: &[u8]) -> bool {
    if STACKED.iter().any(|prefix| name.starts_with(prefix)) {
        return false;
    }
    if !block.is_dir() {
        return !looks_like_partition(name);
    }
    let device = folder(block, name);
    let stands_on_others = fs::read_dir(device.join("slaves")).is_ok_and(|mut slaves| slaves.next().is_some());
    device.is_dir() && !stands_on_others
}

/// "sda1", "nvme0n1p1", "mmcblk0p2", but not "nvme0n1", "mmcblk0", "sr0".
fn looks_like_partition(name: &[u8]) -> bool {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let stem = &name[..name.len() - digits];
    let letters_only = [&b"sd"[..], b"hd", b"vd", b"xvd"].iter().any(|prefix| stem.starts_with(prefix));
    digits > 0 && (letters_only || (stem.ends_with(b"p") && stem.iter().any(u8::is_ascii_digit)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VDA: &[u8] =
        b" 254       0 vda 39996 8031 4895170 39560 23563 40472 5297200 25270 0 11772 66246 11163 37 1 1 3 1";

    #[test]
    fn usual_and_odd_lines() {
        let (name, stats) = parse(VDA).unwrap();
        assert_eq!(name, b"vda");
        let expected = Stats {
            operations: [39_996, 23_563],
            sectors: [4_895_170, 5_297_200],
            operation_time_ms: [39_560, 25_270],
            io_time_ms: 11_772,
        };
        assert_eq!(stats, expected);
        let (_, odd) = parse(b"8 0 sda 1 2 3 4 5 6 7 8 -1 10").unwrap();
        assert_eq!(odd.io_time_ms, 10, "a negative number in flight costs nothing");
        for bad in ["", "8 0", "8 1 sda1 1 2 3 4", "8 0 sda 1 2 3 4 5 6 7 8 9 x", "8 0 sda -1 2 3 4 5 6 7 8 9 10"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_disk_with_several_paths_counts_once_on_old_and_new_kernels() {
        let names = ["nvme0c0n1", "nvme0c1n1", "nvme0n1", "nvme1c2n1", "nvme1n1", "nvme2n1"];
        let tick = |disk: &mut Disk, root: &Path, written: [u64; 6]| {
            let line = |(name, n): (&str, u64)| format!("259 0 {name} 0 0 0 0 {n} 0 {} 0 0 0 0\n", n * 8);
            let text: String = names.into_iter().zip(written).map(line).collect();
            fs::write(root.join("diskstats"), text).unwrap();
            let mut samples = Vec::new();
            let mut sink = Sink::new(&mut samples);
            disk.collect(Duration::from_secs(1), &mut sink).unwrap();
            let total = samples.iter().find(|sample| sample.series == disk.io[1]);
            total.map(|sample| match sample.value {
                starling_proto::series::Value::Counter(bytes) => bytes / 4096,
                _ => unreachable!(),
            })
        };
        let root = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| fs::create_dir_all(root.path().join("block").join(name)).unwrap());
        let config =
            CollectConfig { procfs: root.path().into(), sysfs: root.path().into(), ..CollectConfig::default() };
        let mut disk = Disk::new(&config);
        // The first counts at the disk, the second at its path only; the third has one path and no name for it.
        tick(&mut disk, root.path(), [0; 6]);
        assert_eq!(tick(&mut disk, root.path(), [10, 20, 30, 5, 0, 7]), Some(30 + 5 + 7));
        assert_eq!(tick(&mut disk, root.path(), [11, 22, 33, 9, 0, 8]), Some(3 + 4 + 1));
        assert_eq!(head_of(b"nvme10c3n12").as_deref(), Some(&b"nvme10n12"[..]));
        for other in ["nvme0n1", "nvme0c0", "nvmec0n1", "nvme0cn1", "sda", "nvme0n1p1"] {
            assert_eq!(head_of(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn whole_disks_by_sysfs_or_by_name() {
        let sys = tempfile::tempdir().unwrap();
        let block = sys.path().join("block");
        for dir in ["sda/slaves", "nbd0", "cciss!c0d0", "drbd0/slaves/sda", "dm-0/slaves"] {
            fs::create_dir_all(block.join(dir)).unwrap();
        }
        let counted = |name: &str| is_counted(&block, name.as_bytes());
        assert!(counted("sda") && counted("nbd0") && counted("cciss/c0d0"));
        assert!(!counted("sda1") && !counted("drbd0") && !counted("dm-0") && !counted("loop0"));
        let nowhere = sys.path().join("none");
        for whole in ["sda", "vdb", "nvme0n1", "mmcblk0", "sr0", "nbd3"] {
            assert!(is_counted(&nowhere, whole.as_bytes()), "{whole}");
        }
        for other in ["sda1", "xvda15", "nvme0n1p2", "mmcblk0p1", "md0", "zram0"] {
            assert!(!is_counted(&nowhere, other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn resets_and_new_disks() {
        let mut samples = Vec::new();
        let mut sink = Sink::new(&mut samples);
        let mut device = Device::new(true, None);
        let mut totals = None;
        let stats = |n: u64| Stats { operations: [n, n], sectors: [n, n], operation_time_ms: [n, n], io_time_ms: n };
        device.count(&stats(10), &mut totals, &mut sink);
        assert!(totals.is_none(), "a new disk sets its baselines");
        device.count(&stats(14), &mut totals, &mut sink);
        assert_eq!(totals.take().map(|totals| totals.io), Some([2048, 2048]));
        device.count(&stats(3), &mut totals, &mut sink);
        assert_eq!(totals.take().map(|totals| totals.io), Some([0, 0]));
        assert_eq!(sink.end().0, 5);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), name in proptest::collection::vec(any::<u8>(), 0..12)) {
            parse(&bytes);
            looks_like_partition(&name);
        }
    }
}
