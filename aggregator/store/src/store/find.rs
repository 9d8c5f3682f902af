//! Finding blocks and reading them.

use std::{
    ops::Range,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;

use super::Store;
use crate::{
    checksum::plain,
    disk::FileError,
    quarantine::BadBlock,
    segment::{BlockKey, Entry, Index, SegmentId, load},
    shelf::{Segment, SegmentInfo},
};

/// A block that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its bytes are not those that were written. It is set aside: [`Store::find`] no longer gives it, but names it.
    #[error("the block of {} from {} at offset {} of {} is corrupt", .0.key.subject, .0.key.start, .0.offset, .0.path.display())]
    Corrupt(BadBlock),
    /// The disk does not give it. It is not set aside.
    #[error(transparent)]
    Disk(#[from] FileError),
}

/// Whose blocks to find.
#[derive(Debug, Clone, Copy)]
pub enum Subjects<'a> {
    /// All.
    All,
    /// One subject.
    One(&'a str),
    /// Those that begin so.
    Prefix(&'a str),
    /// These, in any order.
    Among(&'a [&'a str]),
}

/// A block that [`Store::find`] found. Stays readable while it is held, also when its segment is deleted or replaced.
#[derive(Clone)]
pub struct BlockRef {
    segment: Arc<Segment>,
    subject: Arc<str>,
    entry: Entry,
}

impl BlockRef {
    /// Its tier.
    pub fn tier(&self) -> u8 {
        self.segment.tier
    }

    /// Its segment. Of two blocks of equal revision the one of the greater id is newer.
    pub fn segment(&self) -> SegmentId {
        self.segment.name.id
    }

    /// Whose data it is.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The seconds that it stands for.
    pub fn window(&self) -> Range<u32> {
        self.entry.start..self.entry.start.saturating_add(self.entry.seconds)
    }

    /// The file it is in.
    pub fn path(&self) -> &Path {
        &self.segment.path
    }

    /// Its revision.
    pub fn revision(&self) -> u64 {
        self.entry.revision
    }

    /// Bytes of its body.
    pub fn bytes(&self) -> usize {
        self.entry.length as usize
    }

    /// The checksum of its body: of two blocks with one key, revision and length it tells whether they are the same.
    pub fn checksum(&self) -> u32 {
        self.entry.crc
    }

    /// Its key.
    pub fn key(&self) -> BlockKey {
        let Entry { start, seconds, .. } = self.entry;
        BlockKey { subject: self.subject().into(), start, seconds }
    }
}

/// Blocks of one subject by start, in runs whose windows touch the same seconds.
#[must_use]
pub fn overlapping(blocks: &[BlockRef]) -> Vec<&[BlockRef]> {
    let mut runs = Vec::new();
    let (mut first, mut end) = (0, 0);
    for (at, block) in blocks.iter().enumerate() {
        let window = block.window();
        if at > first && window.start >= end {
            runs.push(&blocks[first..at]);
            first = at;
        }
        end = end.max(window.end);
    }
    if first < blocks.len() {
        runs.push(&blocks[first..]);
    }
    runs
}

/// A segment whose blocks are not known because the disk does not give them.
#[derive(Debug)]
pub struct Unreadable {
    /// The segment.
    pub segment: SegmentInfo,
    /// Why.
    pub error: FileError,
}

/// What [`Store::find`] found, and what it knows to be missing.
#[derive(Default)]
pub struct Found {
    /// By subject, start, revision and segment.
    pub blocks: Vec<BlockRef>,
    /// Blocks that would be among them and are set aside as corrupt.
    pub bad: Vec<BadBlock>,
    /// Segments that may hold some of them and cannot be read.
    pub unreadable: Vec<Unreadable>,
}

impl Store {
    /// The blocks of `tier` that hold a second of `range`. Reads the footers of the segments in question unless they are
    /// in memory; a segment whose footer is damaged is read whole once.
    pub fn find(&self, tier: u8, subjects: Subjects<'_>, range: Range<u32>) -> Found {
        let touched: Vec<Arc<Segment>> = {
            let segments = self.read_segments();
            let touches = |segment: &&Arc<Segment>| {
                segment.tier == tier
                    && !range.is_empty()
                    && segment.name.start < range.end
                    && segment.name.end > range.start
            };
            segments.iter().filter(touches).cloned().collect()
        };
        let mut found = Found::default();
        for segment in touched {
            match self.index(&segment) {
                Ok(index) => self.collect(&segment, &index, subjects, &range, &mut found),
                Err(error) => found.unreadable.push(Unreadable { segment: segment.info(), error }),
            }
        }
        found.blocks.sort_by(|a, b| {
            let key = |block: &BlockRef| (block.entry.start, block.entry.revision, block.segment.name.id);
            a.subject().cmp(b.subject()).then_with(|| key(a).cmp(&key(b)))
        });
        found
    }

    fn collect(
        &self,
        segment: &Arc<Segment>,
        index: &Index,
        subjects: Subjects<'_>,
        range: &Range<u32>,
        found: &mut Found,
    ) {
        let bad = self.quarantine.of(segment.name.id);
        let mut last: Option<Arc<str>> = None;
        let mut take = |first: &str, wanted: &dyn Fn(&str) -> bool| {
            for entry in index.entries_from(first) {
                if !wanted(index.subject(entry)) {
                    break;
                }
                let end = entry.start.saturating_add(entry.seconds);
                if entry.start >= range.end || end <= range.start {
                    continue;
                }
                match bad.iter().find(|bad| bad.offset == entry.offset) {
                    Some(bad) => found.bad.push(bad.clone()),
                    None => {
                        // Not the index itself: what was found must not keep all that was looked through.
                        let subject = match &last {
                            Some(last) if **last == *index.subject(entry) => last.clone(),
                            _ => last.insert(index.subject(entry).into()).clone(),
                        };
                        found.blocks.push(BlockRef { segment: segment.clone(), subject, entry: *entry });
                    }
                }
            }
        };
        match subjects {
            Subjects::All => take("", &|_| true),
            Subjects::One(one) => take(one, &|subject| subject == one),
            Subjects::Prefix(prefix) => take(prefix, &|subject| subject.starts_with(prefix)),
            Subjects::Among(some) => {
                let mut some = some.to_vec();
                some.sort_unstable();
                some.dedup();
                for one in some {
                    take(one, &|subject| subject == one);
                }
            }
        }
    }

    fn index(&self, segment: &Arc<Segment>) -> Result<Arc<Index>, FileError> {
        let id = segment.name.id;
        if let Some(index) = self.cache.get(&id) {
            return Ok(index);
        }
        let loaded = segment
            .open(&*self.disk)
            .and_then(|file| load(&*file, id).map_err(FileError::at("cannot read", &segment.path)))
            .inspect_err(|_| self.note_failed_read())?;
        if loaded.rescanned {
            self.counters.damaged_footers.fetch_add(1, Relaxed);
        }
        let index = Arc::new(loaded.index);
        self.cache.keep(id, index.clone(), index.memory());
        Ok(index)
    }

    /// The body of a block, byte for byte as it was written.
    ///
    /// # Errors
    /// [`ReadError`]; never other bytes than those that were written.
    pub fn read(&self, block: &BlockRef) -> Result<Bytes, ReadError> {
        let file = block.segment.open(&*self.disk).inspect_err(|_| self.note_failed_read())?;
        let mut body = vec![0; block.bytes()];
        let count = file
            .read_at(&mut body, block.entry.offset)
            .map_err(FileError::at("cannot read", &block.segment.path))
            .inspect_err(|_| self.note_failed_read())?;
        if count == body.len() && plain(&body) == block.entry.crc {
            return Ok(body.into());
        }
        let bad = bad_block(&block.segment, block.key(), &block.entry);
        self.set_aside(block.segment.name.id, &bad);
        Err(ReadError::Corrupt(bad))
    }

    /// The blocks that are set aside as corrupt.
    pub fn bad_blocks(&self) -> Vec<BadBlock> {
        self.quarantine.list()
    }

    pub(super) fn set_aside(&self, id: SegmentId, bad: &BadBlock) {
        if self.quarantine.add(&*self.disk, id, bad) {
            self.counters.corrupt_blocks.fetch_add(1, Relaxed);
        }
    }

    fn note_failed_read(&self) {
        self.counters.failed_reads.fetch_add(1, Relaxed);
    }
}

pub(super) fn bad_block(segment: &Segment, key: BlockKey, entry: &Entry) -> BadBlock {
    BadBlock {
        path: segment.path.clone(),
        tier: segment.tier,
        key,
        revision: entry.revision,
        offset: entry.offset,
        bytes: entry.length,
    }
}
