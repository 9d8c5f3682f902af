//! Local filesystems: which ones by `mountinfo`, their sizes by `statvfs`.
//!
//! Both are asked once in ten seconds: the list of mounts is the most expensive file of all, and a filesystem fills
//! slowly beside the tick. Between, the last sizes are repeated.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    kept::{KeptFile, Shape},
    mounts,
    sink::Sink,
    text,
};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// Filesystems with series of their own. Further ones are in the totals only.
pub(super) const FILESYSTEMS_DETAILED_MAX: usize = 128;
/// Filesystems asked for their size. Further ones, by mount point, are left out and count as a fault at each look.
const FILESYSTEMS_MAX: usize = 1024;

/// The collector.
pub(super) struct Filesystem {
    /// The mounts that process 1 sees, or those of the daemon when it may not look at them: its own may be narrowed
    /// by the service manager.
    mountinfo: [KeptFile; 2],
    rootfs: PathBuf,
    since: Duration,
    seen: Vec<Seen>,
    limit: Series,
    usage: Series,
}

/// One filesystem as last seen.
struct Seen {
    point: Box<[u8]>,
    size: Size,
    series: Option<[Series; 2]>,
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    total: u64,
    used: u64,
}

impl Filesystem {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            mountinfo: ["1/mountinfo", "self/mountinfo"]
                .map(|name| KeptFile::new(config.procfs.join(name), Shape::Records)),
            rootfs: config.rootfs.clone(),
            since: INTERVAL,
            seen: Vec::new(),
            limit: Series::of(&catalogue::FILESYSTEM_LIMIT, &[]),
            usage: Series::of(&catalogue::FILESYSTEM_USAGE, &[]),
        }
    }

    fn look(&mut self, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        let [first, own] = &mut self.mountinfo;
        let mountinfo = match first.read() {
            // Empty when the daemon may open the file and not read it.
            Ok(Some(text)) if !text.is_empty() => Some(text),
            _ => own.read()?,
        };
        let (mut mounts, unknown) = mounts::local(mountinfo.unwrap_or_default());
        for _ in 0..unknown + u64::from(mounts.len() > FILESYSTEMS_MAX) {
            sink.fault();
        }
        mounts.truncate(FILESYSTEMS_MAX);
        let mut before = std::mem::take(&mut self.seen);
        for mount in mounts {
            // `None`: an empty pseudo mount, or one that went since the list was made, or one we may not enter.
            let Some(size) = size(&self.rootfs, &mount.point) else { continue };
            let known = before.iter_mut().find(|seen| seen.point == mount.point).and_then(|seen| seen.series.take());
            let series = known.or_else(|| self.detail(&mount.point));
            self.seen.push(Seen { point: mount.point, size, series });
        }
        Ok(())
    }

    /// Series of their own for `point`, while there is room. Two points whose names are the same once cut to the limit of an
    /// attribute would be one series: the second has none.
    fn detail(&self, point: &[u8]) -> Option<[Series; 2]> {
        let name = text::printable(point);
        let series = [&catalogue::MOUNT_LIMIT, &catalogue::MOUNT_USAGE]
            .map(|metric| Series::of(metric, &[("system.filesystem.mountpoint", &name)]));
        let mut detailed = self.seen.iter().filter_map(|seen| seen.series.as_ref());
        let room = detailed.clone().count() < FILESYSTEMS_DETAILED_MAX;
        (room && detailed.all(|other| other != &series)).then_some(series)
    }
}

impl Collector for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn collect(&mut self, elapsed: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        self.since = self.since.saturating_add(elapsed);
        if self.since >= INTERVAL {
            self.since = Duration::ZERO;
            self.look(sink)?;
        }
        if self.seen.is_empty() {
            return Ok(Collected::Absent);
        }
        let mut total = Size { total: 0, used: 0 };
        for Seen { size, series, .. } in &self.seen {
            total.total = total.total.saturating_add(size.total);
            total.used = total.used.saturating_add(size.used);
            if let Some([limit, usage]) = series {
                sink.gauge(limit, size.total);
                sink.gauge(usage, size.used);
            }
        }
        sink.gauge(&self.limit, total.total);
        sink.gauge(&self.usage, total.used);
        Ok(Collected::Present)
    }
}

/// Size of the filesystem mounted at `point` below `rootfs`. What is reserved for root counts as free, as in `df`'s
/// "used" column.
fn size(rootfs: &Path, point: &[u8]) -> Option<Size> {
    let relative = point.strip_prefix(b"/").unwrap_or(point);
    let stat = rustix::fs::statvfs(rootfs.join(OsStr::from_bytes(relative))).ok()?;
    let total = stat.f_blocks.checked_mul(stat.f_frsize)?;
    let free = stat.f_bfree.checked_mul(stat.f_frsize)?;
    (total > 0).then(|| Size { total, used: total.saturating_sub(free) })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use starling_proto::series::{Sample, Value};

    use super::*;

    fn collect(filesystem: &mut Filesystem, elapsed: u64) -> Vec<Sample> {
        let mut samples = Vec::new();
        filesystem.collect(Duration::from_secs(elapsed), &mut Sink::new(&mut samples)).unwrap();
        samples
    }

    #[test]
    fn sizes_are_asked_every_ten_seconds() {
        let root = tempfile::tempdir().unwrap();
        let proc = root.path().join("proc");
        fs::create_dir_all(proc.join("self")).unwrap();
        fs::create_dir_all(root.path().join("mnt/a")).unwrap();
        let mountinfo = proc.join("self/mountinfo");
        fs::write(&mountinfo, "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /mnt/a rw - xfs b rw\n").unwrap();
        let config = CollectConfig { procfs: proc, rootfs: root.path().into(), ..CollectConfig::default() };
        let mut filesystem = Filesystem::new(&config);
        let samples = collect(&mut filesystem, 0);
        assert_eq!(samples.len(), 6);
        let of = |metric, samples: &[Sample]| {
            samples
                .iter()
                .filter(|sample| sample.series.is(metric))
                .map(|sample| match sample.value {
                    Value::Gauge(value) => value,
                    _ => unreachable!(),
                })
                .sum::<i64>()
        };
        assert_eq!(of(&catalogue::FILESYSTEM_LIMIT, &samples), of(&catalogue::MOUNT_LIMIT, &samples));
        fs::write(&mountinfo, "1 0 8:1 / / rw - ext4 a rw\n3 1 8:3 / /gone rw - xfs b rw\n").unwrap();
        assert_eq!(collect(&mut filesystem, 9).len(), 6);
        assert_eq!(collect(&mut filesystem, 1).len(), 4, "one unmounted, one that cannot be found");
    }

    #[test]
    fn names_that_would_be_one_series_have_one() {
        let config = CollectConfig::default();
        let mut filesystem = Filesystem::new(&config);
        let long = format!("/{}", "x".repeat(200)).into_bytes();
        let series = filesystem.detail(&long);
        assert!(series.is_some());
        filesystem.seen.push(Seen { point: long.clone().into(), size: Size { total: 1, used: 0 }, series });
        assert!(filesystem.detail(&[&long[..], b"/other"].concat()).is_none());
    }
}
