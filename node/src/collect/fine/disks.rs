//! What all disks moved, read many times a second.
//!
//! The list of all disks takes as long as everything else that is read ten times a second, since it names each partition and
//! each loop device too. Where a few disks hold the data their own files are read, and the list once in ten seconds, which finds
//! those that came.

use std::path::PathBuf;

use super::super::{
    CollectConfig, CollectError, disk,
    kept::{KeptFile, Shape},
    roster::Roster,
    text,
};
use super::counted::{Both, LINKS_EVERY_LOOKS, count};

/// Disks that are read one by one; more cost as much as the list.
const FEW: usize = 4;

/// See the module.
pub(super) struct Disks {
    diskstats: KeptFile,
    block: PathBuf,
    devices: Roster<Counted>,
    /// The files of those that count, when these are few.
    few: Option<Vec<(Box<[u8]>, KeptFile)>>,
    total: [u64; 2],
    /// Since the last look at the list.
    looks: u32,
}

struct Counted {
    counted: bool,
    bytes: Both,
}

impl Disks {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            diskstats: KeptFile::new(config.procfs.join("diskstats"), Shape::ShortRecords),
            block: config.sysfs.join("block"),
            devices: Roster::new(),
            few: None,
            total: [0; 2],
            looks: 0,
        }
    }

    /// Bytes read and written since the first look; `None` without a disk.
    ///
    /// # Errors
    /// When the list is there and cannot be read.
    pub(super) fn look(&mut self) -> Result<Option<[u64; 2]>, CollectError> {
        let finds = self.looks == 0;
        self.looks = (self.looks + 1) % LINKS_EVERY_LOOKS;
        if !finds && self.look_at_few().is_some() {
            return Ok(Some(self.total));
        }
        self.look_at_all(finds)
    }

    /// `None` when one of them does not answer, or there is none.
    fn look_at_few(&mut self) -> Option<()> {
        for (name, file) in self.few.as_mut()? {
            let stats = file.read().ok().flatten().and_then(disk::parse_own);
            let Some((now, device)) = stats.zip(self.devices.get_mut(name)) else {
                self.few = None;
                return None;
            };
            count(&mut device.bytes, now.bytes(), &mut self.total);
        }
        Some(())
    }

    fn look_at_all(&mut self, finds: bool) -> Result<Option<[u64; 2]>, CollectError> {
        let Some(text) = self.diskstats.read()? else { return Ok(None) };
        let heads = disk::used_heads(text);
        let mut lines = 0;
        for line in text::lines(text) {
            let Some((name, now)) = disk::parse(line) else { continue };
            lines += 1;
            let make = || Counted { counted: disk::is_counted(&self.block, name), bytes: Both::default() };
            let Some(device) = self.devices.meet(name, make).filter(|device| device.counted) else { continue };
            let mut elsewhere = [0; 2];
            let is_path = disk::head_of(name).is_some_and(|head| heads.contains(&head));
            count(&mut device.bytes, now.bytes(), if is_path { &mut elsewhere } else { &mut self.total });
        }
        self.devices.sweep();
        let counted = || self.devices.iter().filter(|(_, device)| device.counted).map(|(name, _)| name);
        let many = counted().count();
        if finds {
            // Of a disk with several paths it is the list that says where it counts.
            let are_few = heads.is_empty() && (1..=FEW).contains(&many) && many < lines;
            let file = |name| KeptFile::new(disk::folder(&self.block, name).join("stat"), Shape::Single);
            self.few = are_few.then(|| counted().map(|name| (name.into(), file(name))).collect());
        }
        Ok((many > 0).then_some(self.total))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    struct Host(tempfile::TempDir);

    impl Host {
        fn write(&self, name: &str, text: &str) {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn own(&self, disk: &str, sectors: u64) {
            self.write(&format!("block/{disk}/stat"), &format!("  1 0 {sectors} 0 1 0 7 0 0 0 0\n"));
        }

        fn list(&self, disks: &[(&str, u64)]) {
            let line = |(disk, sectors): &(&str, u64)| format!("8 0 {disk} 1 0 {sectors} 0 1 0 7 0 0 0 0\n");
            let lines: String = disks.iter().map(line).collect();
            self.write("diskstats", &(lines + "7 0 loop0 1 0 9 0 1 0 9 0 0 0 0\n"));
        }

        fn disks(&self) -> Disks {
            let root: &Path = self.0.path();
            Disks::new(&CollectConfig { procfs: root.into(), sysfs: root.into(), ..CollectConfig::default() })
        }
    }

    #[test]
    fn few_are_read_by_themselves_and_the_list_finds_more() {
        let host = Host(tempfile::tempdir().unwrap());
        host.list(&[("sda", 100)]);
        host.own("sda", 100);
        let mut disks = host.disks();
        assert_eq!(disks.look().unwrap(), Some([0, 0]), "nothing to compare with");
        host.own("sda", 104);
        assert_eq!(disks.look().unwrap(), Some([2048, 0]), "by its own file, the list still says 100");
        host.own("sdb", 50);
        host.list(&[("sda", 104), ("sdb", 50)]);
        for _ in 0..LINKS_EVERY_LOOKS {
            assert_eq!(disks.look().unwrap(), Some([2048, 0]));
        }
        host.own("sdb", 51);
        assert_eq!(disks.look().unwrap(), Some([2560, 0]), "the second one was found");
        fs::remove_dir_all(host.0.path().join("block/sdb")).unwrap();
        fs::write(host.0.path().join("diskstats"), "").unwrap();
        host.list(&[("sda", 106)]);
        // The file that is open still answers.
        disks.few = None;
        assert_eq!(disks.look().unwrap(), Some([3584, 0]));
    }

    #[test]
    fn one_that_does_not_answer_sends_back_to_the_list() {
        let host = Host(tempfile::tempdir().unwrap());
        host.list(&[("sda", 100)]);
        host.own("sda", 100);
        let mut disks = host.disks();
        disks.look().unwrap();
        host.write("block/sda/stat", "rubbish\n");
        host.list(&[("sda", 102)]);
        assert_eq!(disks.look().unwrap(), Some([1024, 0]));
        fs::remove_dir_all(host.0.path().join("block/sda")).unwrap();
        assert_eq!(disks.look().unwrap(), Some([1024, 0]), "what is kept stays");
    }
}
