//! The store through its public face, on a real folder.

use std::{fs, path::Path, thread};

use bytes::Bytes;
use starling_store::{
    BlockKey, Found, LogError, LogFault, OpenError, Options, Position, RECORD_MAX, Recovered, Replayed, Store,
    Subjects, WriteError,
};

fn options() -> Options {
    Options::new(["1s", "10s"])
}

fn open(dir: &Path) -> (Store, Recovered) {
    Store::open(dir, &options()).expect("opens")
}

fn key(subject: &str, start: u32, seconds: u32) -> BlockKey {
    BlockKey { subject: subject.into(), start, seconds }
}

fn block(subject: &str, start: u32, revision: u64, body: &'static [u8]) -> (BlockKey, u64, Bytes) {
    (key(subject, start, 300), revision, Bytes::from_static(body))
}

/// The records of the log; any damage fails the test.
fn records(recovered: Recovered) -> Vec<(u8, Vec<u8>)> {
    let whole = |item| match item {
        Replayed::Record(record) => (record.kind, record.payload),
        Replayed::Damage(damage) => panic!("{damage}"),
    };
    recovered.log.map(whole).collect()
}

fn bodies(store: &Store, found: &Found) -> Vec<Bytes> {
    found.blocks.iter().map(|block| store.read(block).expect("reads")).collect()
}

fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).expect("a folder");
    let mut names: Vec<String> =
        names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_was_appended_is_replayed_in_order_over_several_starts() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..3_u8 {
        let (store, recovered) = open(dir.path());
        assert_eq!(records(recovered), expected);
        let before = store.append(&[]).unwrap();
        let payload = vec![round; 1000 * usize::from(round)];
        let first = store.append(&[(round, &payload), (7, b"")]).unwrap();
        assert!(before < first);
        let second = store.append(&[(8, b"x")]).unwrap();
        assert_eq!(store.sync().unwrap(), second);
        expected.extend([(round, payload), (7, vec![]), (8, b"x".to_vec())]);
    }
}

#[test]
fn the_log_is_read_while_it_is_written_from_any_record_on() {
    let dir = tempfile::tempdir().unwrap();
    // Without tiers a store is only a log.
    let options = Options { log_file_bytes: 200, ..Options::new([]) };
    let read = |store: &Store, from| -> Vec<(Position, Vec<u8>)> {
        let whole = |item| match item {
            Replayed::Record(record) => (record.end, record.payload),
            Replayed::Damage(damage) => panic!("{damage}"),
        };
        store.replay_log(from).map(whole).collect()
    };
    let (store, _) = Store::open(dir.path(), &options).unwrap();
    let begin = store.append(&[]).unwrap();
    assert_eq!(read(&store, begin), []);
    let mut ends = Vec::new();
    for n in 0..20_u8 {
        ends.push(store.append(&[(1, &[n; 50])]).unwrap());
    }
    assert!(ends[19].file > ends[0].file + 4, "several files");
    drop(store);
    // Those of an earlier process, and of this one.
    let (store, _) = Store::open(dir.path(), &options).unwrap();
    ends.push(store.append(&[(1, &[20; 50])]).unwrap());
    for (n, from) in [begin].into_iter().chain(ends.clone()).enumerate() {
        let expected: Vec<_> = (n..21).map(|n| (ends[n], vec![n as u8; 50])).collect();
        assert_eq!(read(&store, from), expected, "behind record {n}");
    }
    store.checkpoint(ends[10]).unwrap();
    assert_eq!(read(&store, ends[18]).len(), 2);
}

#[test]
fn a_store_has_one_user_and_only_a_folder_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    assert!(matches!(Store::open(dir.path(), &options()), Err(OpenError::InUse(_))));
    drop(store);
    open(dir.path());

    let foreign = tempfile::tempdir().unwrap();
    fs::write(foreign.path().join("letter.txt"), "dear").unwrap();
    let error = Store::open(foreign.path(), &options()).err().unwrap();
    assert!(error.to_string().contains("letter.txt"), "{error}");
    assert_eq!(files(foreign.path()), ["letter.txt"], "nothing was put there");

    let odd = Store::open(foreign.path(), &Options::new(["../1s"])).err().unwrap();
    assert!(matches!(odd, OpenError::TierName(_)), "{odd}");
}

#[test]
fn a_later_format_is_refused_and_a_damaged_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.append(&[(1, b"kept")]).unwrap();
    drop(store);
    let format = dir.path().join("FORMAT");
    let line = "starling-store format 9";
    fs::write(&format, format!("{line} crc {:08x}\n", crc32fast::hash(line.as_bytes()))).unwrap();
    let error = Store::open(dir.path(), &options()).err().unwrap();
    assert!(matches!(error, OpenError::NewerFormat { version: 9, .. }), "{error}");
    fs::write(&format, "starling-store format 9 crc 00000000\n").unwrap();
    let (_, recovered) = open(dir.path());
    assert!(recovered.findings.format_damaged);
    assert_eq!(records(recovered), [(1, b"kept".to_vec())]);
    assert!(!open(dir.path()).1.findings.format_damaged, "it was written again");
}

#[test]
fn log_files_are_of_bounded_size_and_a_checkpoint_deletes_the_whole_ones_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let small = || Options { log_file_bytes: 1000, ..options() };
    let (store, _) = Store::open(dir.path(), &small()).unwrap();
    let ends: Vec<Position> = (0..10).map(|at| store.append(&[(at, &[at; 400])]).unwrap()).collect();
    assert_eq!(ends.last().unwrap().file - ends[0].file, 3, "three records a file");
    store.sync().unwrap();
    assert_eq!(store.checkpoint(ends[4]).unwrap().files, 1);
    assert_eq!(store.checkpoint(ends[4]).unwrap().files, 0);
    drop(store);
    let (store, recovered) = Store::open(dir.path(), &small()).unwrap();
    let kinds: Vec<u8> = records(recovered).iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [3, 4, 5, 6, 7, 8, 9]);
    // Whoever has sealed what was replayed gives back all of it.
    let end = store.append(&[]).unwrap();
    assert_eq!(store.checkpoint(end).unwrap().files, 3);
    assert!(files(&dir.path().join("log")).is_empty());
    drop(store);
    assert_eq!(records(open(dir.path()).1), []);
}

#[test]
fn a_record_that_is_too_long_is_refused_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let long = vec![0; RECORD_MAX + 1];
    assert!(matches!(store.append(&[(1, b"a"), (2, &long)]), Err(LogError::TooLong { .. })));
    store.append(&[(3, b"b")]).unwrap();
    drop(store);
    assert_eq!(records(open(dir.path()).1), [(3, b"b".to_vec())]);
}

#[test]
fn a_torn_tail_is_cut_and_a_bad_record_in_the_middle_is_skipped_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let ends: Vec<Position> =
        (0..5_u8).map(|at| store.append(&[(at, format!("record {at}").as_bytes())]).unwrap()).collect();
    drop(store);
    let folder = dir.path().join("log");
    let path = folder.join(&files(&folder)[0]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[ends[2].offset as usize - 1] ^= 0x20;
    bytes.truncate(bytes.len() - 3);
    fs::write(&path, bytes).unwrap();
    let mut kinds = Vec::new();
    let mut damage = Vec::new();
    for item in open(dir.path()).1.log {
        match item {
            Replayed::Record(record) => kinds.push(record.kind),
            Replayed::Damage(found) => damage.push(found),
        }
    }
    assert_eq!(kinds, [0, 1, 3]);
    let [middle, tail] = &damage[..] else { panic!("{damage:?}") };
    assert!(matches!(middle.what, LogFault::Corrupt), "{middle}");
    assert_eq!((middle.offset, middle.bytes), (ends[1].offset, ends[2].offset - ends[1].offset));
    assert!(matches!(tail.what, LogFault::Tail), "{tail}");
    assert_eq!(tail.offset, ends[3].offset);
    assert!(middle.to_string().contains(path.to_str().unwrap()));
}

#[test]
fn callers_that_sync_at_once_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let rounds = 50;
    thread::scope(|scope| {
        for writer in 0..8_u8 {
            let store = &store;
            scope.spawn(move || {
                for _ in 0..rounds {
                    let end = store.append(&[(writer, b"second")]).unwrap();
                    assert!(store.sync().unwrap() >= end);
                }
            });
        }
    });
    let stats = store.stats(0).log;
    assert_eq!((stats.records, stats.unsynced_bytes, stats.safe), (8 * rounds, 0, stats.written));
    assert!(stats.syncs <= 8 * rounds, "{} syncs", stats.syncs);
    drop(store);
    assert_eq!(records(open(dir.path()).1).len(), 8 * rounds as usize);
}

#[test]
fn an_append_beyond_what_may_be_unsynced_syncs_first() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path(), &Options { unsynced_bytes: 1000, ..options() }).unwrap();
    for at in 0..20 {
        store.append(&[(at, &[at; 300])]).unwrap();
        assert!(store.stats(0).log.unsynced_bytes <= 1000);
    }
    assert!(store.stats(0).log.syncs >= 6);
    store.append(&[(99, &[0; 5000])]).unwrap();
}

#[test]
fn blocks_are_found_by_subject_and_time_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let first = [
        block("node/b", 300, 1, b"b old"),
        block("node/a", 300, 1, b"a"),
        block("cluster", 300, 1, b"all"),
        block("node/b", 300, 2, b"b new"),
    ];
    store.write_segment(0, 300..600, first).unwrap();
    store.write_segment(0, 600..900, [block("node/a", 600, 1, b"a later"), block("node/b", 600, 1, b"")]).unwrap();
    store.write_segment(1, 300..900, [block("node/a", 300, 1, b"coarse")]).unwrap();
    let check = |store: &Store| {
        let get = |tier, subjects, range| bodies(store, &store.find(tier, subjects, range));
        assert_eq!(get(0, Subjects::One("node/b"), 0..600), ["b old", "b new"]);
        assert_eq!(get(0, Subjects::Prefix("node/"), 599..601), ["a", "a later", "b old", "b new", ""]);
        assert_eq!(get(0, Subjects::Among(&["node/a", "cluster", "none", "node/a"]), 0..700), ["all", "a", "a later"]);
        assert_eq!(get(0, Subjects::All, 900..2000), [""; 0]);
        assert_eq!(get(0, Subjects::All, 0..300), [""; 0]);
        assert_eq!(get(1, Subjects::All, 0..5000), ["coarse"]);
        let found = store.find(0, Subjects::One("node/b"), 0..600);
        let block = &found.blocks[1];
        assert_eq!((block.key(), block.revision(), block.tier()), (key("node/b", 300, 300), 2, 0));
        assert_eq!(
            store.segments(0).iter().map(|segment| segment.window.clone()).collect::<Vec<_>>(),
            [300..600, 600..900]
        );
    };
    check(&store);
    drop(store);
    check(&open(dir.path()).0);
}

#[test]
fn a_segment_that_cannot_be_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let long = "x".repeat(1000);
    let none: [(BlockKey, u64, Bytes); 0] = [];
    let one = || [block("a", 300, 1, b"x")];
    assert!(matches!(store.write_segment(9, 300..600, one()), Err(WriteError::NoSuchTier(9))));
    assert!(matches!(store.write_segment(0, 600..600, one()), Err(WriteError::EmptyWindow(_))));
    assert!(matches!(store.write_segment(0, 300..600, none), Err(WriteError::NoBlocks)));
    assert!(matches!(store.write_segment(0, 300..500, one()), Err(WriteError::OutsideWindow { .. })));
    assert!(matches!(store.write_segment(0, 300..600, [block("", 300, 1, b"x")]), Err(WriteError::TooLong { .. })));
    assert!(matches!(store.write_segment(0, 300..600, [block(&long, 300, 1, b"x")]), Err(WriteError::TooLong { .. })));
    assert!(files(&dir.path().join("segments/1s")).is_empty());
    assert!(store.segments(0).is_empty());
}

#[test]
fn a_replacement_is_seen_at_once_and_what_was_held_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let a = store.write_segment(0, 0..300, [block("a", 0, 1, b"first")]).unwrap();
    let b = store.write_segment(0, 300..600, [block("a", 300, 1, b"second")]).unwrap();
    let other = store.write_segment(0, 600..900, [block("a", 600, 1, b"third")]).unwrap();
    let held = store.find(0, Subjects::All, 0..300);
    let whole = [(key("a", 0, 600), 1, Bytes::from_static(b"both"))];
    for wrong in [vec![a, other], vec![other]] {
        assert!(matches!(store.replace(&wrong, 0, 0..600, whole.clone()), Err(WriteError::NotReplaceable(_))));
    }
    assert!(matches!(store.replace(&[a], 1, 0..600, whole.clone()), Err(WriteError::NotReplaceable(_))));
    let new = store.replace(&[a, b], 0, 0..600, whole).unwrap();
    assert!(new > other);
    assert_eq!(bodies(&store, &store.find(0, Subjects::All, 0..900)), ["both", "third"]);
    assert_eq!(bodies(&store, &held), ["first"]);
    assert_eq!(files(&dir.path().join("segments/1s")).len(), 2);
    drop((store, held));
    let (store, recovered) = open(dir.path());
    assert_eq!(recovered.findings.replaced, 0);
    assert_eq!(bodies(&store, &store.find(0, Subjects::All, 0..900)), ["both", "third"]);
}

#[test]
fn a_replacement_that_a_crash_cut_short_is_finished_by_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let folder = dir.path().join("segments/1s");
    let a = store.write_segment(0, 0..300, [block("a", 0, 1, b"old")]).unwrap();
    let old = files(&folder)[0].clone();
    let kept = fs::read(folder.join(&old)).unwrap();
    store.replace(&[a], 0, 0..300, [block("a", 0, 1, b"new")]).unwrap();
    drop(store);
    // As if the process had ended before the old file was removed, and another in the middle of a segment.
    fs::write(folder.join(&old), kept).unwrap();
    fs::write(folder.join("0000000900000001.tmp"), "half").unwrap();
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    let (store, recovered) = open(dir.path());
    assert_eq!((recovered.findings.replaced, recovered.findings.unfinished), (1, 1));
    assert_eq!(recovered.findings.unknown, [folder.join("notes.txt")]);
    assert_eq!(bodies(&store, &store.find(0, Subjects::All, 0..300)), ["new"]);
    assert_eq!(files(&folder).len(), 2, "{:?}", files(&folder));
}
