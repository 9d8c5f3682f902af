//! Every byte of a small store is flipped in turn, and every file cut at every length: it is noticed, nothing else is
//! lost, and no wrong byte is given out.

use std::{collections::BTreeMap, ops::ControlFlow, path::Path};

use bytes::Bytes;

use super::model::open;
use crate::{
    BlockKey, ReadError, Replayed, Store, Subjects,
    disk::simulated::{Crash, SimulatedDisk},
};

type Blocks = BTreeMap<(u8, String, u32), Bytes>;

/// What a store gives: records, blocks, and whether anything was told to be wrong.
struct Given {
    records: Vec<(u8, Vec<u8>)>,
    blocks: Blocks,
    corrupt: Vec<(u8, String, u32)>,
    noticed: bool,
}

fn small() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let (store, _) = open(&disk).unwrap();
    for record in 0..6_u8 {
        store.append(&[(record, &vec![record; 9 * usize::from(record)]), (100, b"with \xF9\xC1\xFE inside")]).unwrap();
    }
    store.sync().unwrap();
    let block = |subject: &str, start, body: &'static [u8]| {
        (BlockKey { subject: subject.into(), start, seconds: 300 }, 1, Bytes::from_static(body))
    };
    let old = store.write_segment(0, 0..300, [block("node/a", 0, b"first a")]).unwrap();
    store
        .replace(
            &[old],
            0,
            0..600,
            [
                block("cluster", 0, b"all of them"),
                block("node/a", 0, b""),
                block("node/a", 300, b"with \xFB\xC0\xF7\xFD inside"),
                block("node/b", 0, &[0; 70]),
            ],
        )
        .unwrap();
    store.write_segment(1, 0..600, [block("node/a", 0, b"coarse"), block("group/zone:a", 300, b"one")]).unwrap();
    drop(store);
    disk
}

fn give(disk: &SimulatedDisk) -> Given {
    let (store, recovered) = open(disk).unwrap();
    let mut given =
        Given { records: vec![], blocks: Blocks::new(), corrupt: vec![], noticed: recovered.findings.is_noteworthy() };
    for item in recovered.log {
        match item {
            Replayed::Record(record) => given.records.push((record.kind, record.payload)),
            Replayed::Damage(_) => given.noticed = true,
        }
    }
    collect(&store, &mut given);
    let report = store.check(None, |_| ControlFlow::Continue(()));
    assert!(report.finished);
    given.noticed |= !report.is_clean();
    assert_eq!(report.bad.len(), given.corrupt.len());
    // What was set aside is named by the next process too, without reading it again.
    drop(store);
    let (store, _) = open(disk).unwrap();
    assert_eq!(store.bad_blocks().len(), given.corrupt.len());
    let before = given.blocks.clone();
    let corrupt = std::mem::take(&mut given.corrupt);
    collect(&store, &mut given);
    assert!(given.blocks == before && given.corrupt == corrupt);
    given
}

fn collect(store: &Store, given: &mut Given) {
    for tier in 0..2 {
        let found = store.find(tier, Subjects::All, 0..u32::MAX);
        assert!(found.unreadable.is_empty());
        for block in found.blocks {
            let name = (tier, block.subject().to_owned(), block.window().start);
            match store.read(&block) {
                Ok(body) => drop(given.blocks.insert(name, body)),
                Err(ReadError::Corrupt(bad)) => given.corrupt.push((bad.tier, bad.key.subject.into(), bad.key.start)),
                Err(other) => panic!("{other}"),
            }
        }
        let known = found.bad.into_iter().map(|bad| (bad.tier, bad.key.subject.into(), bad.key.start));
        given.corrupt.extend(known);
    }
}

/// All of `given` is of `whole`; how much of it is missing.
fn missing(given: &Given, whole: &Given) -> (usize, usize) {
    for (name, body) in &given.blocks {
        assert_eq!(whole.blocks.get(name), Some(body), "a wrong byte was given out");
    }
    let mut records = whole.records.iter();
    for record in &given.records {
        assert!(records.any(|known| known == record), "a wrong or repeated record was given out");
    }
    (whole.records.len() - given.records.len(), whole.blocks.len() - given.blocks.len())
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

#[test]
fn every_flipped_byte_is_noticed_and_costs_at_most_what_it_is_in() {
    let disk = small();
    let whole = give(&disk.after(Crash::Process));
    assert!(!whole.noticed && (whole.records.len(), whole.blocks.len()) == (12, 6));
    let mut flips = 0;
    for path in disk.paths() {
        let bytes = disk.contents(&path);
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xFF] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                let given = give(&disk.with(&path, bytes));
                let what = format!("byte {at} of {} ^ {flip:#x}", path.display());
                assert!(given.noticed, "{what}: not noticed");
                let (records, blocks) = missing(&given, &whole);
                assert!(records <= usize::from(is_log(&path)), "{what}: {records} records lost");
                assert!(blocks <= usize::from(!is_log(&path)), "{what}: {blocks} blocks lost");
                assert_eq!(given.corrupt.len(), blocks, "{what}: what is lost is named");
                flips += 1;
            }
        }
    }
    assert!(flips > 3000, "{flips}");
}

#[test]
fn a_file_cut_at_any_length_costs_what_was_behind() {
    let disk = small();
    let whole = give(&disk.after(Crash::Process));
    for path in disk.paths() {
        let bytes = disk.contents(&path);
        let mut before = (usize::MAX, usize::MAX);
        for length in 0..bytes.len() {
            let given = give(&disk.with(&path, bytes[..length].to_vec()));
            let lost = missing(&given, &whole);
            // The end of a log file that is cut between two records, as after a crash, cannot be told from a whole one.
            assert!(given.noticed || is_log(&path), "{} at {length}", path.display());
            assert!(lost.0 <= before.0 && lost.1 <= before.1, "a longer file gives less");
            before = lost;
        }
    }
}

#[test]
fn a_file_that_the_disk_does_not_give_costs_only_itself() {
    let disk = small();
    let whole = give(&disk.after(Crash::Process));
    for path in disk.paths() {
        let disk = disk.after(Crash::Process);
        disk.make_unreadable(&path);
        let (store, recovered) = open(&disk).unwrap();
        let records = recovered.log.filter(|item| matches!(item, Replayed::Record(_))).count();
        let found = (0..2).map(|tier| store.find(tier, Subjects::All, 0..u32::MAX));
        let read: usize =
            found.map(|found| found.blocks.iter().filter(|block| store.read(block).is_ok()).count()).sum();
        let (of_log, of_segments) = (is_log(&path), path.extension().is_some_and(|extension| extension == "seg"));
        assert_eq!((records < whole.records.len(), read < whole.blocks.len()), (of_log, of_segments), "{path:?}");
        let report = store.check(None, |_| ControlFlow::Continue(()));
        assert!(report.finished && (report.is_clean() != (of_log || of_segments)), "{path:?}: {report:?}");
    }
}
