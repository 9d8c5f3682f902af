//! What a store was told, what it acknowledged, and what it must therefore have after a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{ControlFlow, Range},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    BlockKey, LogFault, Options, Position, Recovered, Replayed, SegmentId, Store, Subjects, TierLimit,
    disk::simulated::{Crash, SimulatedDisk},
};

/// A block by tier, subject, start and revision.
pub(super) type Name = (u8, String, u32, u64);

pub(super) fn options() -> Options {
    // Small, so that a short script sees several files.
    Options { log_file_bytes: 250, ..Options::new(["1s", "10s"]) }
}

pub(super) fn open(disk: &SimulatedDisk) -> Result<(Store, Recovered), crate::OpenError> {
    Store::open_on(Arc::new(disk.clone()), Path::new("/store"), &options())
}

#[derive(Default, Clone)]
pub(super) struct Model {
    next: u32,
    /// Records that were acknowledged as appended.
    appended: BTreeMap<u32, Position>,
    /// What the last sync said.
    safe: Position,
    /// Log files before this one may be gone.
    dropped: u64,
    blocks: BTreeMap<Name, Bytes>,
    /// Blocks that may be there or not, and how they are if they are.
    maybe: BTreeMap<Name, Bytes>,
    /// Of two sets of blocks either is there whole.
    either: Vec<(BTreeSet<Name>, BTreeSet<Name>)>,
    /// Segments by the start of their window.
    segments: BTreeMap<(u8, u32), SegmentId>,
}

fn payload(id: u32) -> Vec<u8> {
    let filler = (0..id % 41).map(|at| (id + at) as u8);
    id.to_le_bytes().into_iter().chain(filler).collect()
}

fn body(name: &Name) -> Bytes {
    format!("{name:?}").repeat(1 + name.2 as usize % 7).into()
}

impl Model {
    pub(super) fn append(&mut self, store: &Store, count: u32) -> bool {
        let ids: Vec<u32> = (self.next..self.next + count).collect();
        self.next += count;
        let payloads: Vec<Vec<u8>> = ids.iter().map(|&id| payload(id)).collect();
        let records: Vec<(u8, &[u8])> = ids.iter().map(|id| *id as u8).zip(payloads.iter().map(|p| &p[..])).collect();
        match store.append(&records) {
            Ok(end) => {
                self.appended.extend(ids.into_iter().map(|id| (id, end)));
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn sync(&mut self, store: &Store) -> bool {
        let before = self.appended.last_key_value().map(|(_, end)| *end).unwrap_or_default();
        let Ok(safe) = store.sync() else { return false };
        assert!(safe >= before && safe >= self.safe, "a sync covers what was appended before it");
        self.safe = safe;
        true
    }

    pub(super) fn checkpoint(&mut self, store: &Store) {
        // Everything that is safe is taken for sealed elsewhere.
        self.dropped = self.safe.file;
        let _ = store.checkpoint(self.safe);
    }

    pub(super) fn segment(&mut self, store: &Store, tier: u8, window: Range<u32>, old: &[u32]) -> bool {
        let ids: Option<Vec<SegmentId>> = old.iter().map(|&start| self.segments.get(&(tier, start)).copied()).collect();
        let Some(ids) = ids else { return false };
        let seconds = window.end - window.start;
        let names: Vec<Name> = ["cluster", "node/a", "node/b"]
            .map(|subject| (tier, subject.to_owned(), window.start, u64::from(seconds)))
            .to_vec();
        let old_names: BTreeSet<Name> = self
            .blocks
            .keys()
            .filter(|name| !old.is_empty() && name.0 == tier && window.contains(&name.2))
            .cloned()
            .collect();
        let new: BTreeMap<Name, Bytes> = names.iter().map(|name| (name.clone(), body(name))).collect();
        let blocks = new.iter().map(|((_, subject, start, revision), body)| {
            (BlockKey { subject: subject.as_str().into(), start: *start, seconds }, *revision, body.clone())
        });
        match store.replace(&ids, tier, window.clone(), blocks) {
            Ok(id) => {
                self.segments.retain(|(of, start), _| *of != tier || !old.contains(start));
                self.segments.insert((tier, window.start), id);
                self.blocks.retain(|name, _| !old_names.contains(name));
                self.blocks.extend(new);
                true
            }
            Err(_) => {
                if !old_names.is_empty() {
                    self.either.push((old_names.clone(), new.keys().cloned().collect()));
                    for name in old_names {
                        let body = self.blocks.remove(&name).unwrap();
                        self.maybe.insert(name, body);
                    }
                }
                self.maybe.extend(new);
                false
            }
        }
    }

    pub(super) fn retain(&mut self, store: &Store, tier: u8) {
        // All of the tier that is before the newest segment may go.
        let newest = self.segments.keys().filter(|(of, _)| *of == tier).map(|(_, start)| *start).max().unwrap_or(0);
        let old: Vec<Name> = self.blocks.keys().filter(|name| name.0 == tier && name.2 < newest).cloned().collect();
        for name in old {
            let body = self.blocks.remove(&name).unwrap();
            self.maybe.insert(name, body);
        }
        store.retain(u32::MAX, &[TierLimit { tier, seconds: None, bytes: Some(0), needed_from: None }]);
    }

    /// Opens what a crash left and compares.
    pub(super) fn verify(&self, disk: &SimulatedDisk, crash: Crash) -> Store {
        let (store, recovered) = open(disk).unwrap();
        let must = |end: &Position| match crash {
            Crash::Process => true,
            _ => *end <= self.safe,
        };
        let missing = self.appended.iter().filter(|(_, end)| must(end) && end.file >= self.dropped);
        let mut missing: BTreeSet<u32> = missing.map(|(id, _)| *id).collect();
        let mut last = None;
        for item in recovered.log {
            match item {
                Replayed::Record(record) => {
                    let id = u32::from_le_bytes(record.payload[..4].try_into().unwrap());
                    assert_eq!((record.kind, &record.payload), (id as u8, &payload(id)), "{crash:?}");
                    assert!(last < Some(id) && id < self.next, "record {id} after {last:?} ({crash:?})");
                    last = Some(id);
                    missing.remove(&id);
                }
                Replayed::Damage(damage) => {
                    let torn = matches!(crash, Crash::Torn(_)) || disk.has_holes();
                    let expected = torn || matches!(damage.what, LogFault::Tail);
                    assert!(expected, "{damage} ({crash:?})");
                }
            }
        }
        assert!(missing.is_empty(), "records {missing:?} of {:?} are missing ({crash:?})", self.appended);
        self.compare(&store, crash);
        store
    }

    fn compare(&self, store: &Store, crash: Crash) {
        let mut there = BTreeMap::new();
        for tier in 0..2 {
            let found = store.find(tier, Subjects::All, 0..u32::MAX);
            assert!(found.bad.is_empty() && found.unreadable.is_empty(), "{crash:?}");
            for block in found.blocks {
                let name = (tier, block.subject().to_owned(), block.window().start, block.revision());
                there.insert(name, store.read(&block).unwrap());
            }
        }
        for (name, body) in &self.blocks {
            assert_eq!(there.get(name), Some(body), "{name:?} ({crash:?})");
        }
        for (name, body) in &there {
            let known = self.blocks.get(name).or_else(|| self.maybe.get(name));
            assert_eq!(known, Some(body), "{name:?} ({crash:?})");
        }
        for (old, new) in &self.either {
            let has = |names: &BTreeSet<Name>| names.iter().filter(|name| there.contains_key(*name)).count();
            // A later segment or retention may have taken the place of either; then neither is asked for.
            let settled = |names: &BTreeSet<Name>| names.iter().all(|name| self.maybe.contains_key(name));
            if settled(old) && settled(new) {
                assert!(has(old) == old.len() || has(new) == new.len(), "half of a replacement ({crash:?})");
            }
        }
        let report = store.check(None, |_| ControlFlow::Continue(()));
        assert!(report.finished && report.faults.is_empty() && report.bad.is_empty(), "{report:?} ({crash:?})");
    }
}
