//! Properties over random records, blocks and damage.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::model::open;
use crate::{
    BlockKey, Options, ReadError, Replayed, Store, Subjects,
    disk::simulated::{Crash, SimulatedDisk},
};

fn records(disk: &SimulatedDisk) -> (Vec<(u8, Vec<u8>)>, usize) {
    let (_store, recovered) = open(disk).unwrap();
    let mut records = Vec::new();
    let mut damages = 0;
    for item in recovered.log {
        match item {
            Replayed::Record(record) => records.push((record.kind, record.payload)),
            Replayed::Damage(_) => damages += 1,
        }
    }
    (records, damages)
}

fn is_part_of(part: &[(u8, Vec<u8>)], whole: &[(u8, Vec<u8>)]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|record| whole.any(|known| known == record))
}

/// Payloads that look like the log itself, too.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..300),
        vec(prop_oneof![Just(0xF9_u8), Just(0xC1), Just(0xFE), Just(0)], 0..100),
        (0..3000_usize).prop_map(|length| vec![7; length]),
    ]
}

fn subject() -> impl Strategy<Value = String> {
    prop_oneof![Just("cluster".to_owned()), "(group|node)/[a-c]{1,2}", ".{1,8}"]
}

#[test]
fn pieces_of_the_log_are_read_while_it_grows_until_a_checkpoint_drops_them() {
    let disk = SimulatedDisk::new();
    let (store, _) = open(&disk).unwrap();
    let mut places = Vec::new();
    for batch in 0..40_u8 {
        let payloads: Vec<Vec<u8>> = (0..batch % 4).map(|i| vec![batch + i; usize::from(batch * 3 + i)]).collect();
        let records: Vec<(u8, &[u8])> = payloads.iter().map(|payload| (1, &**payload)).collect();
        let end = store.append(&records).unwrap();
        let lengths: Vec<usize> = payloads.iter().map(Vec::len).collect();
        places.extend(end.payloads(&lengths).into_iter().zip(payloads));
    }
    assert!(places.last().unwrap().0.file > 5, "several files");
    for (at, payload) in &places {
        assert_eq!(&store.read_log(*at, payload.len()).unwrap(), payload, "{at}");
    }
    let (kept, _) = places[places.len() / 2];
    store.checkpoint(kept).unwrap();
    for (at, payload) in &places {
        assert_eq!(store.read_log(*at, payload.len()).is_ok(), at.file >= kept.file, "{at}");
    }
    let (last, payload) = places.last().unwrap();
    let beyond = store.read_log(*last, payload.len() + 1).unwrap_err().to_string();
    assert!(beyond.starts_with("cannot read /store/log/") && beyond.contains(".log"), "{beyond}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_records_come_back_and_after_any_damage_only_true_ones(
        batches in vec(vec((any::<u8>(), payload()), 0..5), 0..12),
        damage in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..200_usize, any::<u8>()), 1..4),
    ) {
        let disk = SimulatedDisk::new();
        let (store, _) = open(&disk).unwrap();
        for batch in &batches {
            let records: Vec<(u8, &[u8])> = batch.iter().map(|(kind, payload)| (*kind, &**payload)).collect();
            store.append(&records).unwrap();
        }
        drop(store);
        let whole: Vec<(u8, Vec<u8>)> = batches.concat();
        prop_assert_eq!(records(&disk), (whole.clone(), 0));
        let mut broken = disk.after(Crash::Process);
        let logs: Vec<_> = disk.paths().into_iter().filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
        for (file, at, length, fill) in damage.into_iter().filter(|_| !logs.is_empty()) {
            let path = file.get(&logs);
            let mut bytes = broken.contents(path);
            if bytes.is_empty() {
                continue;
            }
            let at = at.index(bytes.len());
            match fill {
                0..50 => bytes.truncate(at),
                50..100 => drop(bytes.splice(at..at, vec![fill; length])),
                _ => {
                    let end = bytes.len().min(at + length);
                    bytes[at..end].fill(fill);
                }
            }
            broken = broken.with(path, bytes);
        }
        prop_assert!(is_part_of(&records(&broken).0, &whole));
    }

    #[test]
    fn any_blocks_are_found_as_a_plain_search_finds_them_with_and_without_a_footer(
        blocks in vec((subject(), 0..40_u32, 1..10_u32, 0..3_u64, vec(any::<u8>(), 0..80)), 1..40),
        asked in subject(),
        from in 0..60_u32,
        length in 0..60_u32,
        cut in 1..200_usize,
    ) {
        let disk = SimulatedDisk::new();
        let (store, _) = open(&disk).unwrap();
        let given = blocks.iter().map(|(subject, start, seconds, revision, body)| {
            let key = BlockKey { subject: subject.as_str().into(), start: *start, seconds: *seconds };
            (key, *revision, Bytes::copy_from_slice(body))
        });
        store.write_segment(0, 0..50, given).unwrap();
        let range = from..from + length;
        let first: String = asked.chars().take(1).collect();
        for subjects in [Subjects::All, Subjects::One(&asked), Subjects::Prefix(&first)] {
            let wanted = |subject: &str| match subjects {
                Subjects::One(one) => subject == one,
                Subjects::Prefix(prefix) => subject.starts_with(prefix),
                _ => true,
            };
            let mut expected: Vec<(&str, u32, u32, u64, &[u8])> = blocks
                .iter()
                .filter(|(subject, start, seconds, ..)| {
                    wanted(subject) && *start < range.end && start + seconds > range.start && !range.is_empty()
                })
                .map(|(subject, start, seconds, revision, body)| (&**subject, *start, *seconds, *revision, &**body))
                .collect();
            expected.sort_unstable();
            let found = store.find(0, subjects, range.clone());
            let bodies: Vec<Bytes> = found.blocks.iter().map(|block| store.read(block).unwrap()).collect();
            let mut there: Vec<(&str, u32, u32, u64, &[u8])> = found
                .blocks
                .iter()
                .zip(&bodies)
                .map(|(block, body)| {
                    let window = block.window();
                    (block.subject(), window.start, window.end - window.start, block.revision(), &**body)
                })
                .collect();
            there.sort_unstable();
            prop_assert_eq!(there, expected);
        }
        drop(store);
        // The end of the file is lost: what is found is true.
        let path = disk.paths().into_iter().find(|path| path.extension().is_some_and(|e| e == "seg")).unwrap();
        let bytes = disk.contents(&path);
        let cut = disk.with(&path, bytes[..bytes.len() - cut.min(bytes.len())].to_vec());
        let (store, _) = open(&cut).unwrap();
        for block in store.find(0, Subjects::All, 0..50).blocks {
            let (key, revision) = (block.key(), block.revision());
            let body = store.read(&block).unwrap();
            let is_true = blocks.iter().any(|(subject, start, seconds, of, known)| {
                (&**subject, *start, *seconds, *of) == (&*key.subject, key.start, key.seconds, revision)
                    && *known == body
            });
            prop_assert!(is_true, "{:?}", key);
        }
    }

    #[test]
    fn any_bytes_in_a_segment_give_no_wrong_block(
        bodies in vec(vec(any::<u8>(), 0..60), 1..8),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..30),
    ) {
        let disk = SimulatedDisk::new();
        let options = Options::new(["1s", "10s"]);
        let open = |disk: &SimulatedDisk| Store::open_on(Arc::new(disk.clone()), Path::new("/store"), &options).unwrap().0;
        let store = open(&disk);
        let truth: BTreeMap<u32, Bytes> = bodies.into_iter().map(Bytes::from).enumerate().map(|(at, body)| (at as u32, body)).collect();
        let blocks = truth.iter().map(|(&start, body)| (BlockKey { subject: "s".into(), start, seconds: 1 }, 1, body.clone()));
        store.write_segment(0, 0..10, blocks).unwrap();
        drop(store);
        let path = disk.paths().into_iter().find(|path| path.extension().is_some_and(|e| e == "seg")).unwrap();
        let mut bytes = disk.contents(&path);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let store = open(&disk.with(&path, bytes));
        for block in store.find(0, Subjects::All, 0..10).blocks {
            match store.read(&block) {
                Ok(body) => prop_assert_eq!(truth.get(&block.window().start), Some(&body)),
                Err(ReadError::Corrupt(_)) => {}
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}
