//! Scenario 8 on a real file system of 2 MiB: full, freed, sealed, compacted, opened twice.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use starling_store::{BlockKey, Options, Replayed, Store, Subjects, WriteError};

struct Mounted(PathBuf);

impl Mounted {
    /// A file system of 2 MiB in memory, where this process may mount one.
    fn new(at: &Path) -> Option<Mounted> {
        fs::create_dir(at).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "starling-test"]).arg(at).output();
        mount.is_ok_and(|output| output.status.success()).then(|| Mounted(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_small_file_system_runs_full_and_is_freed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::new(&dir.path().join("small")) else {
        println!("SKIPPED: this process may not mount a file system; the simulated disk is tested all the same");
        return;
    };
    let options = Options { log_file_bytes: 100_000, ..Options::new(["1s"]) };
    let open = || Store::open(&mounted.0.join("store"), &options).unwrap();
    let (store, _) = open();
    let mut acknowledged = Vec::new();
    let mut id = 0_u32;
    let mut append = |store: &Store, acknowledged: &mut Vec<u32>| {
        id += 1;
        let appended = store.append(&[(1, &id.to_le_bytes().repeat(500))]).is_ok();
        if appended {
            acknowledged.push(id);
        }
        appended && store.sync().is_ok()
    };
    let blocks = |start: u32| {
        let key = BlockKey { subject: "cluster".into(), start, seconds: 300 };
        [(key, 1, Bytes::from(start.to_le_bytes().repeat(5_000)))]
    };
    for _ in 0..100 {
        assert!(append(&store, &mut acknowledged));
    }
    store.write_segment(0, 0..300, blocks(0)).unwrap();
    // A foreign file takes the rest.
    let foreign = mounted.0.join("foreign");
    let mut size = 2 << 20;
    while size > 0 {
        if fs::write(&foreign, vec![1; size]).is_ok() {
            break;
        }
        size -= 4096;
    }
    let refused = (0..50).filter(|_| !append(&store, &mut acknowledged)).count();
    assert!(refused > 40, "{refused} of 50 refused");
    assert!(matches!(store.write_segment(0, 300..600, blocks(300)), Err(WriteError::Disk(_))));
    let stats = store.stats(1000);
    assert!(stats.log.paused.is_some_and(|paused| paused.cause.contains("No space left")));
    assert!(stats.paused.is_some() && store.paused().is_some());
    // Everything that was there is read, also by a process that starts now.
    assert_eq!(store.find(0, Subjects::All, 0..600).blocks.len(), 1);
    drop(store);
    let (store, recovered) = open();
    let replayed = |log: starling_store::Replay| -> Vec<u32> {
        let id = |item| match item {
            Replayed::Record(record) => Some(u32::from_le_bytes(record.payload[..4].try_into().unwrap())),
            Replayed::Damage(_) => None,
        };
        log.filter_map(id).collect()
    };
    assert_eq!(replayed(recovered.log), acknowledged);
    assert!(!append(&store, &mut acknowledged));
    fs::remove_file(&foreign).unwrap();
    for _ in 0..100 {
        assert!(append(&store, &mut acknowledged), "it goes on with the next call");
    }
    let stats = store.stats(1000);
    assert!(stats.log.paused.is_none() && stats.log.failed_writes > 0 && store.paused().is_none());
    // Two seals and a compaction over the moment of the full disk, then two restarts.
    let a = store.write_segment(0, 300..600, blocks(300)).unwrap();
    let b = store.write_segment(0, 600..900, blocks(600)).unwrap();
    store.replace(&[a, b], 0, 300..900, [blocks(300), blocks(600)].concat()).unwrap();
    drop(store);
    for _ in 0..2 {
        let (store, recovered) = open();
        assert_eq!(replayed(recovered.log), acknowledged);
        let found = store.find(0, Subjects::All, 0..900);
        let starts: Vec<u32> = found.blocks.iter().map(|block| block.window().start).collect();
        assert_eq!(starts, [0, 300, 600]);
        for block in &found.blocks {
            let start = block.window().start;
            assert_eq!(store.read(block).unwrap(), start.to_le_bytes().repeat(5_000));
        }
        let report = store.check(None, |_| ControlFlow::Continue(()));
        assert!(report.finished && report.is_clean(), "{report:?}");
    }
}
