//! What is kept, what goes, and who may read meanwhile; on a real folder.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::{
    fs,
    num::NonZeroU64,
    ops::ControlFlow,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use starling_store::{BlockKey, Options, Store, Subjects, TierLimit};

const DAY: u32 = 86_400;
const NOW: u32 = 1_700_000_000 / 300 * 300;

fn open(dir: &Path) -> Store {
    let options = Options { log_file_bytes: 5_000, ..Options::new(["1s", "10s"]) };
    Store::open(dir, &options).unwrap().0
}

fn write(store: &Store, tier: u8, start: u32, bytes: usize) {
    let key = BlockKey { subject: "cluster".into(), start, seconds: 300 };
    store.write_segment(tier, start..start + 300, [(key, 1, vec![start as u8; bytes].into())]).unwrap();
}

fn on_disk(dir: &Path) -> u64 {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn starts(store: &Store, tier: u8) -> Vec<u32> {
    store.segments(tier).iter().map(|segment| segment.window.start).collect()
}

/// Scenario 11, a thousand times smaller.
#[test]
fn a_tier_stays_within_its_bytes_with_the_log_and_takes_nothing_it_need_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, 1, NOW, 30_000);
    let limits = |bytes| {
        [
            TierLimit { tier: 0, seconds: Some(DAY), bytes: Some(bytes), needed_from: None },
            TierLimit { tier: 1, seconds: Some(7 * DAY), bytes: Some(50_000), needed_from: None },
        ]
    };
    let segments = dir.path().join("segments/1s");
    let (limit, segment) = (100_000, 4_100);
    for at in 0..75_u32 {
        let start = NOW + at * 300;
        let end = store.append(&[(1, &[0; 2_000])]).unwrap();
        write(&store, 0, start, 4_000);
        let used = on_disk(&segments) + on_disk(&dir.path().join("log"));
        assert!(used <= limit + segment + 2_100, "{used} bytes at segment {at}");
        store.retain(start + 300, &limits(limit));
        let stats = store.stats(start + 300);
        assert_eq!((stats.tiers[0].bytes, stats.log.bytes), (on_disk(&segments), on_disk(&dir.path().join("log"))));
        assert!(stats.tiers[0].bytes + stats.log.bytes <= limit);
        if at % 10 == 9 {
            store.checkpoint(end).unwrap();
        }
    }
    let left = starts(&store, 0);
    assert!(
        left.is_sorted_by(|a, b| a + 300 == *b) && left.last() == Some(&(NOW + 74 * 300)),
        "oldest first: {left:?}"
    );
    assert_eq!(starts(&store, 1), [NOW], "the other tier is untouched");
    // The second run: a day that fits.
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for start in (NOW - DAY..NOW).step_by(300) {
        write(&store, 0, start, 100);
        store.retain(start + 300, &limits(limit));
    }
    assert_eq!(starts(&store, 0).len(), 288);
}

/// Scenario 10 with files: the retention rule itself is tested beside it.
#[test]
fn a_year_ahead_and_back_over_a_restart_keeps_the_true_day_and_tells_the_future() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let limits = [TierLimit { tier: 0, seconds: Some(DAY), bytes: None, needed_from: None }];
    for start in (NOW - 2 * DAY..NOW).step_by(300) {
        write(&store, 0, start, 10);
    }
    store.retain(NOW, &limits);
    for start in [NOW + 365 * DAY, NOW + 365 * DAY + 300] {
        write(&store, 0, start, 10);
        store.retain(start + 300, &limits);
    }
    drop(store);
    let store = open(dir.path());
    for start in [NOW + 600, NOW + 900] {
        write(&store, 0, start, 10);
        store.retain(start + 300, &limits);
    }
    let present = NOW + 1200;
    let true_day: Vec<u32> = starts(&store, 0).into_iter().filter(|start| *start < NOW).collect();
    assert_eq!(true_day, (present - DAY - 600..NOW).step_by(300).collect::<Vec<_>>(), "ten minutes had no data");
    let stats = store.stats(present);
    assert_eq!(stats.tiers[0].window, Some(present - DAY - 600..present));
    assert_eq!((stats.tiers[0].future, stats.tiers[0].future_end), (2, Some(NOW + 365 * DAY + 600)));
    assert!(store.check(None, |_| ControlFlow::Continue(())).is_clean());
}

#[test]
fn what_is_known_of_a_corrupt_block_goes_with_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, 0, NOW, 1000);
    write(&store, 0, NOW + 300, 1000);
    let folder = dir.path().join("segments/1s");
    let path = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[500] ^= 1;
    fs::write(&path, bytes).unwrap();
    let found = store.find(0, Subjects::All, NOW..NOW + 600);
    assert!(store.read(&found.blocks[0]).is_err() && store.read(&found.blocks[1]).is_ok());
    let again = store.find(0, Subjects::All, NOW..NOW + 600);
    assert_eq!((again.blocks.len(), again.bad.len()), (1, 1));
    assert_eq!((again.bad[0].path.as_path(), again.bad[0].key.start), (path.as_path(), NOW));
    let stats = store.stats(u32::MAX);
    assert_eq!((stats.bad_blocks, stats.corrupt_blocks), (1, 1));
    assert_eq!(stats.tiers[0].bytes, on_disk(&folder), "the note counts");
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.bad_blocks(), again.bad);
    store.retain(NOW + 600, &[TierLimit { tier: 0, seconds: Some(300), bytes: None, needed_from: None }]);
    assert!(store.bad_blocks().is_empty());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn a_check_keeps_its_pace_tells_how_far_it_is_and_ends_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for at in 0..20 {
        write(&store, 0, NOW + at * 300, 10_000);
    }
    store.append(&[(1, b"one"), (1, b"two")]).unwrap();
    let begun = Instant::now();
    let mut last = 0;
    let report = store.check(NonZeroU64::new(1_000_000), |progress| {
        assert!(progress.bytes >= last && progress.bytes <= progress.bytes_total);
        last = progress.bytes;
        ControlFlow::Continue(())
    });
    assert!(begun.elapsed() >= Duration::from_millis(190), "{:?}", begun.elapsed());
    assert!(report.finished && report.is_clean());
    assert_eq!((report.segments, report.blocks, report.records), (20, 20, 2));
    assert_eq!(report.bytes, on_disk(&dir.path().join("segments/1s")) + on_disk(&dir.path().join("log")));
    // At a byte a second it would take days; it ends within a nap.
    let begun = Instant::now();
    let mut calls = 0;
    let report = store.check(NonZeroU64::new(1), |_| {
        calls += 1;
        if calls > 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(!report.finished && begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn readers_never_meet_a_segment_that_is_half_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let body = |start: u32| Bytes::from(start.to_le_bytes().repeat(100));
    let block = |start: u32| (BlockKey { subject: "cluster".into(), start, seconds: 10 }, 1, body(start));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut reads = 0;
                while !over.load(Ordering::Relaxed) || reads == 0 {
                    let found = store.find(0, Subjects::All, 0..u32::MAX);
                    assert!(found.unreadable.is_empty() && found.bad.is_empty());
                    let starts: Vec<u32> = found.blocks.iter().map(|block| block.window().start).collect();
                    assert!(starts.is_sorted_by(|a, b| a + 10 == *b), "a hole or a block twice: {starts:?}");
                    for block in &found.blocks {
                        assert_eq!(store.read(block).unwrap(), body(block.window().start));
                    }
                    reads += 1;
                }
            });
        }
        for start in (0..2_000).step_by(10) {
            store.write_segment(0, start..start + 10, [block(start)]).unwrap();
            let segments = store.segments(0);
            if segments.len() > 6 {
                let old: Vec<_> = segments.iter().map(|segment| segment.id).collect();
                let window = segments[0].window.start..start + 10;
                store.replace(&old, 0, window.clone(), window.step_by(10).map(block)).unwrap();
            }
            store.retain(start + 10, &[TierLimit { tier: 0, seconds: Some(150), bytes: None, needed_from: None }]);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(store.segments(0).len() < 20);
}
