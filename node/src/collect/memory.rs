//! Memory, swap and huge pages, from `/proc/meminfo`.
//!
//! The split is made so that its four parts add up to the limit exactly, whatever the kernel says:
//! `free` is `MemFree`; `application` is `AnonPages` and `Shmem`; `buffer_cache` is `Buffers`, `Cached` and
//! `SReclaimable` without `Shmem`, which the kernel counts in `Cached`; `system` is the rest: unreclaimable slab, page
//! tables, stacks of the kernel, huge pages, pages of drivers. The counters behind it are read one after another and
//! may disagree by some pages; each part is cut to what the ones before it leave.

use std::time::Duration;

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
    limit: Series,
    available: Series,
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
            limit: Series::of(&catalogue::MEMORY_LIMIT, &[]),
            available: Series::of(&catalogue::MEMORY_AVAILABLE, &[]),
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
    fn name(&self) -> &'static str {
        "memory"
    }

    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let Some(text) = self.meminfo.read()? else { return Ok(Collected::Absent) };
        let info = parse(text)?;
        sink.gauge(&self.limit, info.total);
        sink.gauge(&self.available, info.available());
        sink.gauge(&Series::of(&catalogue::MEMORY_SHARED, &[]), info.shared.min(info.total));
        for (series, bytes) in self.usage.iter().zip(info.split()) {
            sink.gauge(series, bytes);
        }
        sink.gauge(&self.swap_limit, info.swap_total);
        sink.gauge(&self.swap_usage, info.swap_total.saturating_sub(info.swap_free));
        sink.gauge(&self.huge_limit, info.huge_total.saturating_mul(info.huge_size));
        sink.gauge(&self.huge_usage, info.huge_total.saturating_sub(info.huge_free).saturating_mul(info.huge_size));
        Ok(Collected::Present)
    }
}

/// Fields of `/proc/meminfo`. Bytes; huge pages are numbers of pages of `huge_size` bytes, the default size.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MemInfo {
    pub(super) total: u64,
    free: u64,
    /// `None` before Linux 3.14.
    available: Option<u64>,
    buffers: u64,
    cached: u64,
    anonymous: u64,
    shared: u64,
    reclaimable: u64,
    swap_total: u64,
    swap_free: u64,
    huge_total: u64,
    huge_free: u64,
    huge_size: u64,
}

impl MemInfo {
    fn cache(&self) -> u64 {
        self.buffers.saturating_add(self.cached).saturating_add(self.reclaimable).saturating_sub(self.shared)
    }

    /// `MemAvailable`, or what an old kernel lets guess; at most the total.
    fn available(&self) -> u64 {
        self.available.unwrap_or_else(|| self.free.saturating_add(self.cache())).min(self.total)
    }

    /// application, buffer_cache, system, free.
    fn split(&self) -> [u64; 4] {
        let mut left = self.total;
        let mut take = |bytes: u64| {
            let taken = bytes.min(left);
            left -= taken;
            taken
        };
        let free = take(self.free);
        let application = take(self.anonymous.saturating_add(self.shared));
        let buffer_cache = take(self.cache());
        [application, buffer_cache, left, free]
    }
}

/// # Errors
/// When there is no `MemTotal`, or a line that is used is not a number. Other lines may be missing: kernels without
/// swap or huge pages do not have them.
pub(super) fn parse(text: &[u8]) -> Result<MemInfo, CollectError> {
    let mut info = MemInfo::default();
    let mut total = false;
    for line in text::lines(text) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let mut available = 0;
        let (field, what) = match &line[..colon] {
            b"MemTotal" => (&mut info.total, "MemTotal"),
            b"MemFree" => (&mut info.free, "MemFree"),
            b"MemAvailable" => (&mut available, "MemAvailable"),
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
            _ => continue,
        };
        let mut words = text::words(&line[colon + 1..]);
        let malformed = CollectError::Malformed { file: "meminfo", what };
        let Some(value) = words.next().and_then(text::number) else { return Err(malformed) };
        // "kB" is 1,024 bytes; a line without unit is a number of pages.
        let value = if words.next() == Some(b"kB") { value.checked_mul(1024) } else { Some(value) };
        let Some(value) = value else { return Err(malformed) };
        *field = value;
        match what {
            "MemTotal" => total = true,
            "MemAvailable" => info.available = Some(value),
            _ => {}
        }
    }
    if total { Ok(info) } else { Err(CollectError::Malformed { file: "meminfo", what: "MemTotal" }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        assert_eq!(info.split(), [kib(230), kib(460), kib(210), kib(100)]);
        assert_eq!(info.available(), kib(500));
        assert_eq!((info.huge_total, info.huge_free, info.huge_size), (4, 1, kib(2048)));
    }

    #[test]
    fn old_and_odd() {
        let old = parse(b"MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 10 kB\nCached: 200 kB\nShmem: 5 kB\n").unwrap();
        assert_eq!(old.available(), 305 * 1024);
        let odd = parse(b"MemTotal: 10 kB\nMemFree: 30 kB\nMemAvailable: 40 kB\nShmem: 7 kB\n").unwrap();
        assert_eq!(odd.split(), [0, 0, 0, 10 * 1024]);
        assert_eq!(odd.available(), odd.total);
        for bad in ["", "MemFree: 1 kB\n", "MemTotal:\n", "MemTotal: x kB\n", "MemTotal: 18446744073709551615 kB\n"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let huge = parse(b"MemTotal: 18014398509481983 kB\nAnonPages: 18014398509481983 kB\nShmem: 9 kB\n").unwrap();
        assert_eq!(huge.split().iter().sum::<u64>(), huge.total);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn the_parts_add_up(n in proptest::array::uniform8(any::<u64>())) {
            let info = MemInfo {
                total: n[0], free: n[1], available: Some(n[2]), buffers: n[3], cached: n[4], anonymous: n[5],
                shared: n[6], reclaimable: n[7], ..MemInfo::default()
            };
            prop_assert_eq!(info.split().iter().map(|part| u128::from(*part)).sum::<u128>(), u128::from(info.total));
            prop_assert!(info.available() <= info.total);
        }
    }
}
