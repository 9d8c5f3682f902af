//! Software RAID, from `/sys/block/md*/md` (`Documentation/admin-guide/md.rst`).

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use starling_proto::{catalogue, series::Series};

use super::{CollectConfig, CollectError, Collected, Collector, kept::is_absent, sink::Sink, text};

/// Arrays with series of their own; a host has a few.
pub(super) const ARRAYS_MAX: usize = 16;

/// The collector.
pub(super) struct Raid {
    block: PathBuf,
    arrays: Series,
    degraded: Series,
}

impl Raid {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            block: config.sysfs.join("block"),
            arrays: Series::of(&catalogue::RAID_ARRAYS, &[]),
            degraded: Series::of(&catalogue::RAID_ARRAYS_DEGRADED, &[]),
        }
    }
}

impl Collector for Raid {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let mut names = match listed(&self.block) {
            Ok(names) => names,
            Err(error) if is_absent(&error) => return Ok(Collected::Absent),
            Err(source) => return Err(CollectError::Read { path: self.block.clone(), source }),
        };
        names.retain(|name| name.starts_with(b"md"));
        let (mut arrays, mut degraded) = (0, 0);
        for name in names {
            let folder = self.block.join(std::ffi::OsStr::from_bytes(&name)).join("md");
            let number = |file: &str| fs::read(folder.join(file)).ok().and_then(|text| text::number(text.trim_ascii()));
            // An array that is put together has a level with copies, or no number of missing disks at all.
            let Some(disks) = number("raid_disks").filter(|disks| *disks > 0) else { continue };
            arrays += 1;
            let missing = number("degraded");
            degraded += u64::from(missing.is_some_and(|missing| missing > 0));
            if arrays > ARRAYS_MAX as u64 {
                sink.left_out(|| format!("more than {ARRAYS_MAX} arrays, the others are in the totals only"));
                continue;
            }
            let device = &*text::printable(&name);
            let series = |metric| Series::of(metric, &[("system.device", device)]);
            sink.gauge(&series(&catalogue::RAID_DISKS), disks);
            if let Some(missing) = missing {
                sink.gauge(&series(&catalogue::RAID_DISKS_MISSING), missing.min(disks));
            }
        }
        if arrays == 0 {
            return Ok(Collected::Absent);
        }
        sink.gauge(&self.arrays, arrays);
        sink.gauge(&self.degraded, degraded);
        Ok(Collected::Present)
    }
}

/// Names in a folder, sorted.
pub(super) fn listed(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut names: Vec<Vec<u8>> =
        fs::read_dir(folder)?.flatten().map(|entry| entry.file_name().as_bytes().to_vec()).collect();
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{collected, named},
        *,
    };

    #[test]
    fn usual_and_odd() {
        let root = tempfile::tempdir().unwrap();
        let config = CollectConfig { sysfs: root.path().into(), ..CollectConfig::default() };
        let mut raid = Raid::new(&config);
        let mut collect = || collected(&mut raid, 10);
        assert_eq!(collect(), (Collected::Absent, vec![], 0), "no sysfs");
        let put = |array: &str, file: &str, text: &str| {
            let folder = root.path().join("block").join(array).join("md");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), text).unwrap();
        };
        fs::create_dir_all(root.path().join("block/sda")).unwrap();
        put("md127", "raid_disks", "0\n");
        assert_eq!(collect(), (Collected::Absent, vec![], 0), "one that is being put together");
        put("md0", "raid_disks", "2\n");
        put("md0", "degraded", "1\n");
        put("md1", "raid_disks", "4\n");
        put("md2", "raid_disks", "2\n");
        put("md2", "degraded", "many\n");
        let expected = [
            ("system.raid.disks{system.device=md0}", 2),
            ("system.raid.disks.missing{system.device=md0}", 1),
            ("system.raid.disks{system.device=md1}", 4),
            ("system.raid.disks{system.device=md2}", 2),
            ("system.raid.arrays", 3),
            ("system.raid.arrays.degraded", 1),
        ];
        assert_eq!(collect().1, named(expected));
    }
}
