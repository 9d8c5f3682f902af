//! Memory, swap and huge pages, from `/proc/meminfo`; the cache of ZFS from its own counters.
//!
//! The split is made so that its four parts add up to the limit exactly, whatever the kernel says:
//! `free` is `MemFree`; `application` is `AnonPages` and `Shmem`; `buffer_cache` is `Buffers`, `Cached` and
//! `SReclaimable` without `Shmem`, which the kernel counts in `Cached`; `system` is the rest: unreclaimable slab, page
//! tables, stacks of the kernel, huge pages, pages of drivers. The counters behind it are read one after another and
//! may disagree by some pages; each part is cut to what the ones before it leave.
//!
//! The ARC of ZFS is cache that the kernel does not count as such (openzfs issue 10255): what it holds above its minimum
//! gives way to programs, so it is part of `available` and `buffer_cache`.

use std::{
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector, family,
    kept::{KeptFile, Shape},
    sink::Sink,
    text,
};

/// The collector.
pub(super) struct Memory {
    meminfo: KeptFile,
    arcstats: KeptFile,
    /// Huge pages by size.
    hugepages: PathBuf,
    limit: Series,
    available: Series,
    shared: Series,
    usage: [Series; 4],
    swap_limit: Series,
    swap_usage: Series,
    huge_limit: Series,
    huge_usage: Series,
}

impl Memory {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            meminfo: KeptFile::new(config.procfs.join("meminfo"), Shape::Single),
            arcstats: KeptFile::new(config.procfs.join("spl/kstat/zfs/arcstats"), Shape::Records),
            hugepages: config.sysfs.join("kernel/mm/hugepages"),
            limit: Series::of(&catalogue::MEMORY_LIMIT, &[]),
            available: Series::of(&catalogue::MEMORY_AVAILABLE, &[]),
            shared: Series::of(&catalogue::MEMORY_SHARED, &[]),
            usage: family(
                &catalogue::MEMORY_USAGE,
                "system.memory.state",
                ["application", "buffer_cache", "system", "free"],
            ),
            swap_limit: Series::of(&catalogue::SWAP_LIMIT, &[]),
            swap_usage: Series::of(&catalogue::SWAP_USAGE, &[]),
            huge_limit: Series::of(&catalogue::HUGE_PAGES_LIMIT, &[]),
            huge_usage: Series::of(&catalogue::HUGE_PAGES_USAGE, &[]),
        }
    }
}

impl Collector for Memory {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let mut info = parse(self.meminfo.read_what_must_be()?)?;
        if let Some(arcstats) = self.arcstats.read()? {
            match shrinkable(arcstats) {
                Some(bytes) => info.arc = bytes,
                None => sink.left_out(|| "arcstats: size or c_min is missing or not a number".to_owned()),
            }
        }
        for name in &info.odd {
            sink.left_out(|| format!("meminfo: {name} is not a number of bytes"));
        }
        let mut gauge = |series: &Series, bytes: Option<u64>| {
            if let Some(bytes) = bytes {
                sink.gauge(series, bytes);
            }
        };
        gauge(&self.limit, Some(info.total));
        gauge(&self.available, info.available());
        gauge(&self.shared, info.shared.map(|shared| shared.min(info.total)));
        for (series, bytes) in self.usage.iter().zip(info.split()) {
            gauge(series, bytes);
        }
        gauge(&self.swap_limit, info.swap_total);
        gauge(&self.swap_usage, info.swap_used());
        gauge(&self.huge_limit, info.huge_limit());
        let of_other_sizes = info.huge_all.zip(info.huge_default()).is_some_and(|(all, default)| all > default);
        let huge_used = if of_other_sizes { huge_used(&self.hugepages) } else { info.huge_used() };
        gauge(&self.huge_usage, huge_used);
        Ok(Collected::Present)
    }
}

/// Fields of `/proc/meminfo`. Bytes; huge pages are numbers of pages of `huge_size` bytes, the default size. A field that
/// is not there is 0, one that cannot be read is `None`: containers see numbers made by lxcfs, and some of them are
/// negative, printed without a sign.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MemInfo {
    pub(super) total: u64,
    free: Option<u64>,
    /// `None` before Linux 3.14 too.
    available: Option<u64>,
    buffers: Option<u64>,
    cached: Option<u64>,
    anonymous: Option<u64>,
    shared: Option<u64>,
    reclaimable: Option<u64>,
    swap_total: Option<u64>,
    swap_free: Option<u64>,
    huge_total: Option<u64>,
    huge_free: Option<u64>,
    huge_size: Option<u64>,
    /// Huge pages of all sizes; `None` before Linux 4.18 too.
    huge_all: Option<u64>,
    /// What the cache of ZFS can give back.
    arc: u64,
    /// The fields that cannot be read.
    odd: Vec<&'static str>,
}

impl Default for MemInfo {
    fn default() -> Self {
        let zero = Some(0);
        Self {
            total: 0,
            free: zero,
            available: None,
            buffers: zero,
            cached: zero,
            anonymous: zero,
            shared: zero,
            reclaimable: zero,
            swap_total: zero,
            swap_free: zero,
            huge_total: zero,
            huge_free: zero,
            huge_size: zero,
            huge_all: None,
            arc: 0,
            odd: Vec::new(),
        }
    }
}

impl MemInfo {
    fn cache(&self) -> Option<u64> {
        let all = self.buffers?.saturating_add(self.cached?).saturating_add(self.reclaimable?);
        Some(all.saturating_sub(self.shared?).saturating_add(self.arc))
    }

    /// `MemAvailable`, or what an old kernel lets guess; at most the total.
    fn available(&self) -> Option<u64> {
        let available = self
            .available
            .map(|available| available.saturating_add(self.arc))
            .or_else(|| Some(self.free?.saturating_add(self.cache()?)))?;
        Some(available.min(self.total))
    }

    fn swap_used(&self) -> Option<u64> {
        Some(self.swap_total?.saturating_sub(self.swap_free?))
    }

    /// Pages of the default size.
    fn huge_default(&self) -> Option<u64> {
        Some(self.huge_total?.saturating_mul(self.huge_size?))
    }

    fn huge_limit(&self) -> Option<u64> {
        self.huge_all.or_else(|| self.huge_default())
    }

    fn huge_used(&self) -> Option<u64> {
        Some(self.huge_total?.saturating_sub(self.huge_free?).saturating_mul(self.huge_size?))
    }

    /// application, buffer_cache, system, free. Those that follow from fields that can be read; the rest, `system`, when
    /// all can be.
    fn split(&self) -> [Option<u64>; 4] {
        let mut left = self.total;
        let mut take = |bytes: u64| {
            let taken = bytes.min(left);
            left -= taken;
            taken
        };
        let free = self.free.map(&mut take);
        let application = self.anonymous.zip(self.shared).map(|(a, b)| take(a.saturating_add(b)));
        let buffer_cache = self.cache().map(&mut take);
        let all = free.is_some() && application.is_some() && buffer_cache.is_some();
        [application, buffer_cache, all.then_some(left), free]
    }
}

/// What the cache of ZFS holds above its minimum, bytes: lines of a name, a type and a number, after two of heading.
fn shrinkable(arcstats: &[u8]) -> Option<u64> {
    let field = |name: &[u8]| {
        text::lines(arcstats).find_map(|line| {
            let mut words = text::words(line);
            (words.next()? == name).then(|| words.nth(1).and_then(text::number)).flatten()
        })
    };
    Some(field(b"size")?.saturating_sub(field(b"c_min")?))
}

/// Bytes in use of huge pages of all sizes, by `hugepages-SIZEkB/nr_hugepages` and `free_hugepages`
/// (`Documentation/admin-guide/mm/hugetlbpage.rst`); `None` where that cannot be read.
fn huge_used(folder: &Path) -> Option<u64> {
    let mut used = 0u64;
    for entry in fs::read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        let name = path.file_name()?.as_bytes();
        let Some(kib) = name.strip_prefix(b"hugepages-").and_then(|rest| rest.strip_suffix(b"kB")) else { continue };
        let pages = |file| text::number(fs::read(path.join(file)).ok()?.trim_ascii());
        let pages = pages("nr_hugepages")?.saturating_sub(pages("free_hugepages")?);
        used = used.saturating_add(pages.saturating_mul(text::number(kib)?.saturating_mul(1024)));
    }
    Some(used)
}

/// # Errors
/// When `MemTotal` is missing or not a number. Other lines may be missing: kernels without swap or huge pages do not have
/// them.
pub(super) fn parse(text: &[u8]) -> Result<MemInfo, CollectError> {
    let mut info = MemInfo::default();
    let mut total = None;
    for line in text::lines(text) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (field, name) = match &line[..colon] {
            b"MemTotal" => (&mut total, "MemTotal"),
            b"MemFree" => (&mut info.free, "MemFree"),
            b"MemAvailable" => (&mut info.available, "MemAvailable"),
            b"Buffers" => (&mut info.buffers, "Buffers"),
            b"Cached" => (&mut info.cached, "Cached"),
            b"AnonPages" => (&mut info.anonymous, "AnonPages"),
            b"Shmem" => (&mut info.shared, "Shmem"),
            b"SReclaimable" => (&mut info.reclaimable, "SReclaimable"),
            b"SwapTotal" => (&mut info.swap_total, "SwapTotal"),
            b"SwapFree" => (&mut info.swap_free, "SwapFree"),
            b"HugePages_Total" => (&mut info.huge_total, "HugePages_Total"),
            b"HugePages_Free" => (&mut info.huge_free, "HugePages_Free"),
            b"Hugepagesize" => (&mut info.huge_size, "Hugepagesize"),
            b"Hugetlb" => (&mut info.huge_all, "Hugetlb"),
            _ => continue,
        };
        *field = value(&line[colon + 1..]);
        if field.is_none() {
            info.odd.push(name);
        }
    }
    info.total = total.ok_or(CollectError::Malformed { file: "meminfo", what: "MemTotal" })?;
    Ok(info)
}

/// A number, in bytes when it has the unit. `None` for one that no host has: what has wrapped around below zero lies
/// close to 2^64, in kB or in bytes.
fn value(words: &[u8]) -> Option<u64> {
    let mut words = text::words(words);
    let value = text::number(words.next()?)?;
    // "kB" is 1,024 bytes; a line without unit is a number of pages.
    let bytes = if words.next() == Some(b"kB") { value.checked_mul(1024)? } else { value };
    (bytes < 1 << 63).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn huge_pages_of_several_sizes_are_all_there() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("kernel/mm/hugepages");
        for (size, total, free) in [("2048", "10", "4"), ("1048576", "4", "1")] {
            let of_size = folder.join(format!("hugepages-{size}kB"));
            fs::create_dir_all(&of_size).unwrap();
            fs::write(of_size.join("nr_hugepages"), format!("{total}\n")).unwrap();
            fs::write(of_size.join("free_hugepages"), format!("{free}\n")).unwrap();
        }
        let info = |all: &str| {
            let text = format!("MemTotal: 9 kB\nHugePages_Total: 10\nHugePages_Free: 4\nHugepagesize: 2048 kB\n{all}");
            parse(text.as_bytes()).unwrap()
        };
        const MIB: u64 = 1024 * 1024;
        assert_eq!(info("Hugetlb: 4214784 kB\n").huge_limit(), Some(4096 * MIB + 20 * MIB));
        assert_eq!(huge_used(&folder), Some(3 * 1024 * MIB + 6 * 2 * MIB));
        // Before Linux 4.18 nothing is said of the others.
        assert_eq!((info("").huge_limit(), info("").huge_used()), (Some(20 * MIB), Some(12 * MIB)));
        assert_eq!(huge_used(&root.path().join("none")), None);
    }

    #[test]
    fn the_split_of_a_usual_host() {
        let info = parse(
            b"MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    500 kB\nBuffers:          50 kB\n\
              Cached:          400 kB\nSwapCached:        0 kB\nAnonPages:       200 kB\nShmem:            30 kB\n\
              SReclaimable:     40 kB\nSwapTotal:       800 kB\nSwapFree:        300 kB\n\
              HugePages_Total:       4\nHugePages_Free:        1\nHugepagesize:       2048 kB\n",
        )
        .unwrap();
        let kib = |n: u64| n * 1024;
        assert_eq!(info.split(), [230, 460, 210, 100].map(|n| Some(kib(n))));
        assert_eq!((info.available(), info.swap_used()), (Some(kib(500)), Some(kib(500))));
        assert_eq!((info.huge_total, info.huge_used()), (Some(4), Some(3 * kib(2048))));
        assert!(info.odd.is_empty());
    }

    #[test]
    fn old_and_odd() {
        let old = parse(b"MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 10 kB\nCached: 200 kB\nShmem: 5 kB\n").unwrap();
        assert_eq!(old.available(), Some(305 * 1024));
        let odd = parse(b"MemTotal: 10 kB\nMemFree: 30 kB\nMemAvailable: 40 kB\nShmem: 7 kB\n").unwrap();
        assert_eq!(odd.split(), [0, 0, 0, 10 * 1024].map(Some));
        assert_eq!(odd.available(), Some(odd.total));
        for bad in ["", "MemFree: 1 kB\n", "MemTotal:\n", "MemTotal: x kB\n", "MemTotal: 18446744073709551615 kB\n"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let huge = parse(b"MemTotal: 9007199254740991 kB\nAnonPages: 9007199254740991 kB\nShmem: 9 kB\n").unwrap();
        assert_eq!(huge.split().iter().flatten().sum::<u64>(), huge.total);
    }

    #[test]
    fn a_wild_line_costs_only_what_follows_from_it() {
        let usual = "MemTotal: 1000 kB\nMemFree: 400 kB\nMemAvailable: 600 kB\nCached: 200 kB\nSwapTotal: 70 kB\n";
        let of = |line: &str| parse(format!("{usual}{line}").as_bytes()).unwrap();
        let kib = |n: u64| Some(n * 1024);
        for wild in ["18446744073709345000 kB", "18446744073709345000", "9999999999999999999999 kB", "-5 kB", "", "x"] {
            let swap = of(&format!("SwapFree: {wild}\n"));
            assert_eq!((swap.swap_used(), &swap.odd[..]), (None, &["SwapFree"][..]), "{wild}");
            assert_eq!((swap.swap_total, swap.available()), (kib(70), kib(600)));
            assert_eq!(swap.split(), [kib(0), kib(200), kib(400), kib(400)]);

            let anonymous = of(&format!("AnonPages: {wild}\n"));
            assert_eq!(anonymous.split(), [None, kib(200), None, kib(400)], "{wild}");
            let available = of(&format!("MemAvailable: {wild}\n"));
            assert_eq!(available.available(), kib(600), "as an old kernel lets guess: {wild}");
            let free = of(&format!("MemFree: {wild}\n"));
            assert_eq!((free.available(), free.split()), (kib(600), [kib(0), kib(200), None, None]), "{wild}");
        }
    }

    #[test]
    fn what_can_be_read_is_reported() {
        let root = tempfile::tempdir().unwrap();
        let config = CollectConfig { procfs: root.path().into(), ..CollectConfig::default() };
        let text = "MemTotal: 1000 kB\nMemAvailable: 600 kB\nSwapFree: 18446744073709345000 kB\n";
        fs::write(root.path().join("meminfo"), text).unwrap();
        let mut samples = Vec::new();
        let mut sink = Sink::new(&mut samples);
        Memory::new(&config).collect(Duration::ZERO, &mut sink).unwrap();
        assert_eq!(sink.end(), (1, Some("meminfo: SwapFree is not a number of bytes".to_owned())));
        let has = |metric| samples.iter().any(|sample| sample.series.is(metric));
        assert!(has(&catalogue::MEMORY_LIMIT) && has(&catalogue::MEMORY_USAGE) && !has(&catalogue::SWAP_USAGE));
    }

    #[test]
    fn the_cache_of_zfs_gives_way() {
        const KB: u64 = 1024;
        let arcstats = b"13 1 0x01 147 39984 1 2\nname type data\nhits 4 5\nc_min 4 204800\nsize 4 5120000\n";
        assert_eq!(shrinkable(arcstats), Some(4800 * KB));
        assert_eq!(shrinkable(b"size 4 10\nc_min 4 20\n"), Some(0));
        for odd in ["", "size 4 10\n", "size 4 x\nc_min 4 1\n", "size\nc_min\n"] {
            assert_eq!(shrinkable(odd.as_bytes()), None, "{odd:?}");
        }
        let text = "MemTotal: 8000 kB\nMemFree: 1000 kB\nMemAvailable: 1400 kB\nCached: 500 kB\nAnonPages: 1500 kB\n";
        let info = MemInfo { arc: 4800 * KB, ..parse(text.as_bytes()).unwrap() };
        assert_eq!(info.available(), Some(6200 * KB));
        assert_eq!(info.split(), [1500, 5300, 200, 1000].map(|kb| Some(kb * KB)));
        let huge = MemInfo { arc: u64::MAX, ..info };
        assert_eq!(huge.available(), Some(8000 * KB), "never more than there is");
        assert_eq!(huge.split().into_iter().flatten().sum::<u64>(), 8000 * KB);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn the_parts_add_up(n in proptest::array::uniform8(any::<u64>())) {
            let info = MemInfo {
                total: n[0], free: Some(n[1]), available: Some(n[2]), buffers: Some(n[3]), cached: Some(n[4]),
                anonymous: Some(n[5]), shared: Some(n[6]), reclaimable: Some(n[7]), ..MemInfo::default()
            };
            let parts = info.split();
            prop_assert_eq!(parts.iter().flatten().map(|&part| u128::from(part)).sum::<u128>(), u128::from(info.total));
            prop_assert!(parts.iter().all(Option::is_some) && info.available() <= Some(info.total));
        }
    }
}
