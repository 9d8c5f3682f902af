//! Scenario 20: 10,000 sealed segments that stand for 100 GB. And the bounds of memory.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    BlockKey, Options, Store, Subjects,
    disk::{Disk, Lock, ReadFile, RealDisk, WriteFile},
};

/// The real disk without waiting for it, to make many files soon.
struct Hasty(RealDisk);

struct HastyFile(Arc<dyn WriteFile>);

impl WriteFile for HastyFile {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_at(&self, path: &Path) -> io::Result<()> {
        self.0.is_at(path)
    }
}

impl Disk for Hasty {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn WriteFile>> {
        Ok(Arc::new(HastyFile(self.0.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        self.0.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.0.list(folder)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.0.create_folder(path)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.0.lock(path)
    }
}

#[test]
fn ten_thousand_segments_open_within_two_seconds_and_their_indexes_stay_within_the_bound() {
    const SEGMENTS: u32 = 10_000;
    const LIMIT: usize = 200_000;
    let dir = tempfile::tempdir().unwrap();
    let options = Options { index_cache_bytes: LIMIT, ..Options::new(["1s"]) };
    let open = || Store::open_on(Arc::new(Hasty(RealDisk)), dir.path(), &options).unwrap();
    let (store, _) = open();
    for at in 0..SEGMENTS {
        let window = at * 300..at * 300 + 300;
        let blocks = ["cluster", "node/a", "node/b"].map(|subject| {
            let key = BlockKey { subject: subject.into(), start: window.start, seconds: 300 };
            (key, 1, Bytes::copy_from_slice(&at.to_le_bytes()))
        });
        store.write_segment(0, window.clone(), blocks).unwrap();
    }
    // The open part of 200,000 series is some 300 records of some hundred KiB.
    for second in 0..300_u32 {
        store.append(&[(1, &second.to_le_bytes().repeat(25_000))]).unwrap();
    }
    drop(store);
    for _ in 0..3 {
        let begun = Instant::now();
        let (store, recovered) = open();
        let opened = begun.elapsed();
        let newest = store.find(0, Subjects::One("node/b"), SEGMENTS * 300 - 1..SEGMENTS * 300);
        assert_eq!(store.read(&newest.blocks[0]).unwrap(), (SEGMENTS - 1).to_le_bytes()[..]);
        let answered = begun.elapsed();
        assert_eq!(recovered.log.count(), 300);
        let replayed = begun.elapsed();
        println!("{SEGMENTS} segments: opened in {opened:?}, first block read at {answered:?}, log at {replayed:?}");
        assert!(replayed < Duration::from_secs(2), "{opened:?} {answered:?} {replayed:?}");
        // All of it, for a while: what is kept stays within the bound, and the answer is right.
        let all = store.find(0, Subjects::One("node/a"), 0..SEGMENTS * 300);
        assert_eq!(all.blocks.len(), SEGMENTS as usize);
        let indexes = store.stats(u32::MAX).indexes;
        assert!(indexes.bytes <= LIMIT && indexes.limit == LIMIT && indexes.kept > 100, "{indexes:?}");
        assert!(indexes.misses >= u64::from(SEGMENTS));
    }
    // `stats` and the file system agree.
    let (store, _) = open();
    let on_disk: u64 = ["segments/1s", "log"]
        .iter()
        .flat_map(|folder| fs::read_dir(dir.path().join(folder)).unwrap())
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    let stats = store.stats(u32::MAX);
    assert_eq!(stats.tiers[0].bytes + stats.log.bytes, on_disk);
}
