//! Snapshots of a store that is written to, and restores that are interrupted.

use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

use bytes::Bytes;
use starling_store::{
    BlockKey, CopyError, LogDamage, LogFault, OpenError, Options, Recovered, Replayed, Store, Subjects, restore,
    snapshot,
};

fn options() -> Options {
    Options { log_file_bytes: 4_096, ..Options::new(["1s", "10s"]) }
}

fn open(dir: &Path) -> (Store, Recovered) {
    Store::open(dir, &options()).expect("opens")
}

fn records(recovered: Recovered) -> Vec<u32> {
    let number = |item| match item {
        Replayed::Record(record) => Some(u32::from_le_bytes(record.payload[..4].try_into().expect("four bytes"))),
        // A record of which one page was there and the next was not when it was copied: its append had not returned.
        Replayed::Damage(LogDamage { what: LogFault::Tail, .. }) => None,
        Replayed::Damage(damage) => panic!("{damage}"),
    };
    recovered.log.filter_map(number).collect()
}

fn block(start: u32) -> (BlockKey, u64, Bytes) {
    (BlockKey { subject: "node/a".into(), start, seconds: 300 }, 1, Bytes::from(start.to_string()))
}

fn starts(store: &Store) -> Vec<u32> {
    let found = store.find(0, Subjects::All, 0..u32::MAX);
    assert!(found.bad.is_empty() && found.unreadable.is_empty());
    found
        .blocks
        .iter()
        .map(|block| {
            let body = store.read(block).expect("reads");
            assert_eq!(body, block.window().start.to_string());
            block.window().start
        })
        .collect()
}

fn go_on(_: &starling_store::CopyProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Scenario 46: every number appended before the call is in the log or in a segment of the copy, whatever was sealed, joined
/// and dropped while it was made.
#[test]
fn a_snapshot_of_a_store_at_work_lacks_nothing_of_before() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let (store, _) = open(&root);
    let (stop, appended) = (AtomicBool::new(false), AtomicU32::new(0));
    /// A test that fails ends its writer too.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            let (mut hour, mut number) = (Vec::new(), 0u32);
            // So many windows at most: each round reads all of them.
            while !stop.load(Ordering::Relaxed) && number < 300 * 240 {
                // Three hundred records, then the segment that replaces them, then they go.
                let mut end = store.append(&[]).unwrap();
                for _ in 0..300 {
                    let payload = number.to_le_bytes();
                    end = store.append(&[(1, &[&payload[..], &[7; 60]].concat())]).unwrap();
                    number += 1;
                    appended.store(number, Ordering::SeqCst);
                }
                let window = number - 300..number;
                hour.push(store.write_segment(0, window.clone(), [block(window.start)]).unwrap());
                store.checkpoint(end).unwrap();
                if hour.len() == 6 {
                    let from = number - 1_800;
                    let blocks = (from..number).step_by(300).map(block);
                    store.replace(&hour, 0, from..number, blocks).unwrap();
                    hour.clear();
                }
            }
        });
        for round in 0..12 {
            let before = appended.load(Ordering::SeqCst);
            let to = dir.path().join(format!("copy-{round}"));
            let copied = snapshot(&root, &to, go_on).unwrap();
            assert!(copied.files > 0);
            let target = dir.path().join(format!("back-{round}"));
            restore(&to, &target, go_on).unwrap();
            let (copy, recovered) = open(&target);
            let sealed = starts(&copy);
            assert!(sealed.windows(2).all(|pair| pair[1] == pair[0] + 300), "{sealed:?}");
            let end = sealed.last().map_or(0, |last| last + 300);
            // Log files that went while it was made may lack, but what they held is sealed then.
            let logged: Vec<u32> = records(recovered).into_iter().filter(|number| *number >= end).collect();
            let whole: Vec<u32> = (end..).take(logged.len()).collect();
            assert_eq!(logged, whole, "the log has a hole");
            let there = end + logged.len() as u32;
            assert!(there >= before, "{there} of the {before} that were appended before");
            let check = copy.check(None, |_| ControlFlow::Continue(()));
            // The file that grew was copied as long as it was, which may be in the middle of a record.
            let cut = |damage: &LogDamage| matches!(damage.what, LogFault::Tail);
            let sound = check.bad.is_empty() && check.faults.is_empty() && check.log.iter().all(cut);
            assert!(sound && check.log.len() <= 1, "{check:?}");
            let (_, recovered) = Store::open_beside(&root, &options()).unwrap();
            drop(recovered);
        }
    });
}

#[test]
fn a_half_restore_is_not_opened_and_is_finished_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let [root, copy, target] = ["store", "copy", "target"].map(|name| dir.path().join(name));
    let (store, _) = open(&root);
    store.append(&[(1, &7u32.to_le_bytes())]).unwrap();
    for start in (0..3_000).step_by(300) {
        store.write_segment(0, start..start + 300, [block(start)]).unwrap();
    }
    snapshot(&root, &copy, go_on).unwrap();
    let mut left = 4;
    let stopped = restore(&copy, &target, |_| {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(CopyError::Stopped)));
    let refused = Store::open(&target, &options()).err().expect("it is half restored");
    assert!(matches!(refused, OpenError::HalfRestored { .. }));
    assert!(refused.to_string().contains(&copy.display().to_string()), "{refused}");
    assert!(matches!(snapshot(&target, &dir.path().join("x"), go_on), Err(CopyError::Open(_))));
    restore(&copy, &target, go_on).unwrap();
    let (restored, recovered) = open(&target);
    assert_eq!((starts(&restored).len(), records(recovered)), (10, vec![7]));
    // Both go their own ways.
    restored.write_segment(0, 3_000..3_300, [block(3_000)]).unwrap();
    store.write_segment(0, 3_300..3_600, [block(3_300)]).unwrap();
    assert_eq!((starts(&restored).len(), starts(&store).len()), (11, 11));
    assert_eq!(fs::read_dir(copy.join("segments/1s")).unwrap().count(), 10);
}

#[test]
fn nothing_is_written_over_and_a_failed_snapshot_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [root, copy, full] = ["store", "copy", "full"].map(|name| dir.path().join(name));
    assert!(matches!(snapshot(&root, &copy, go_on), Err(CopyError::Open(OpenError::NoStore(_)))));
    let (store, _) = open(&root);
    store.write_segment(0, 0..300, [block(0)]).unwrap();
    fs::create_dir_all(full.join("mine")).unwrap();
    assert!(matches!(snapshot(&root, &full, go_on), Err(CopyError::NotEmpty { .. })));
    assert!(matches!(snapshot(&root, &copy, |_| ControlFlow::Break(())), Err(CopyError::Stopped)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "only the store and the full folder");
    snapshot(&root, &copy, go_on).unwrap();
    assert!(matches!(restore(&copy, &root, go_on), Err(CopyError::NotEmpty { .. })));
    assert!(matches!(restore(&full, &dir.path().join("new"), go_on), Err(CopyError::NotWhole { .. })));
    let segment = fs::read_dir(copy.join("segments/1s")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&segment).unwrap();
    let error = restore(&copy, &dir.path().join("new"), go_on).unwrap_err().to_string();
    assert!(error.contains(&*segment.file_name().unwrap().to_string_lossy()), "{error}");
    assert!(!dir.path().join("new").exists());
}

#[test]
fn a_reader_beside_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.append(&[(1, &1u32.to_le_bytes())]).unwrap();
    store.write_segment(0, 0..300, [block(0)]).unwrap();
    fs::write(dir.path().join("segments/1s/unfinished.seg.tmp"), b"x").unwrap();
    let (beside, recovered) = Store::open_beside(dir.path(), &options()).unwrap();
    assert_eq!((records(recovered), starts(&beside)), (vec![1], vec![0]));
    assert!(beside.append(&[(1, b"x")]).is_err() && beside.write_segment(0, 300..600, [block(300)]).is_err());
    let check = beside.check(None, |_| ControlFlow::Continue(()));
    assert!(check.is_clean() && (check.segments, check.deleted) == (1, 0));
    let old = store.segments(0)[0].id;
    store.replace(&[old], 0, 0..600, [block(0), block(300)]).unwrap();
    let check = beside.check(None, |_| ControlFlow::Continue(()));
    assert!(check.is_clean() && (check.segments, check.deleted) == (0, 1));
    assert!(dir.path().join("segments/1s/unfinished.seg.tmp").exists());
    assert!(matches!(Store::open_beside(&dir.path().join("log"), &options()), Err(OpenError::NoStore(_))));
}
