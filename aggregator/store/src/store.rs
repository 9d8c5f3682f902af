//! The store: one folder, one log, sealed segments by tier.

use std::{
    collections::HashSet,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;

use crate::{
    checksum::{plain, salt},
    disk::{Disk, FileError, RealDisk, remove_if_there},
    folder::{Findings, Folder, OpenError},
    index_cache::IndexCache,
    log::{Log, LogError, LogLimits, Paused, Position, Removed, Replay},
    quarantine::{BadBlock, Quarantine},
    segment::{
        BlockKey, Entry, Head, Index, REPLACED_MAX, SegmentId, SegmentName, WriteError, head_length, load, read_head,
        seal,
    },
    shelf::{Segment, SegmentInfo},
    stats::{StoreStats, TierStats},
};

/// How a store is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names of the tiers, finest first; the number of a tier is its place here. A name is that of a folder, 1 to 16 of
    /// a-z and 0-9, and is what finds its data again: a renamed tier is a new one.
    pub tiers: Vec<String>,
    /// A log file that has reached this many bytes is followed by a new one. Smaller files are given back earlier.
    pub log_file_bytes: u64,
    /// At most so many bytes of the log are appended and not synced; they are kept in memory too. An append that would
    /// go beyond syncs first.
    pub unsynced_bytes: usize,
    /// Bound of the indexes in memory, bytes.
    pub index_cache_bytes: usize,
}

impl Options {
    /// The usual bounds: log files of 64 MiB, 32 MiB unsynced, 64 MiB of indexes.
    pub fn new<'a>(tiers: impl IntoIterator<Item = &'a str>) -> Options {
        Options {
            tiers: tiers.into_iter().map(str::to_owned).collect(),
            log_file_bytes: 64 << 20,
            unsynced_bytes: 32 << 20,
            index_cache_bytes: 64 << 20,
        }
    }
}

/// What earlier processes left.
pub struct Recovered {
    /// The records of the log, in order.
    pub log: Replay,
    /// What was cleaned up or found strange.
    pub findings: Findings,
}

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
    index: Arc<Index>,
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
        self.index.subject(&self.entry)
    }

    /// The seconds that it stands for.
    pub fn window(&self) -> Range<u32> {
        self.entry.start..self.entry.start.saturating_add(self.entry.seconds)
    }

    /// Its revision.
    pub fn revision(&self) -> u64 {
        self.entry.revision
    }

    /// Bytes of its body.
    pub fn bytes(&self) -> usize {
        self.entry.length as usize
    }

    /// Its key.
    pub fn key(&self) -> BlockKey {
        let Entry { start, seconds, .. } = self.entry;
        BlockKey { subject: self.subject().into(), start, seconds }
    }
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

/// The files of the history. All methods block on the disk and may be called from several threads at once.
///
/// # What survives
///
/// | after | kill -9 | power loss |
/// |---|---|---|
/// | [`append`](Store::append) returned | the records are there | those before the last [`sync`](Store::sync) are there |
/// | [`sync`](Store::sync) returned | the records are there | every record before the position that it returned is there |
/// | [`write_segment`](Store::write_segment) returned | the segment is there, whole | the segment is there, whole |
/// | `write_segment` did not return | nothing of it is seen; its file is removed by the next open | the same, or the whole segment |
/// | [`replace`](Store::replace) did not return | the old segments, all, or the new one, whole | the same |
///
/// "There" means byte for byte, once, in order. A record whose `append` did not return may be there as well: whoever
/// appends must be able to read one again that it was not told of. Only when the head of the very log file that follows
/// a failed write or sync is damaged later may records come twice.
pub struct Store {
    disk: Arc<dyn Disk>,
    folder: Folder,
    log: Log,
    segments: RwLock<Vec<Arc<Segment>>>,
    next_segment: AtomicU32,
    cache: IndexCache,
    quarantine: Quarantine,
    counters: Counters,
    /// Why the last segment could not be written.
    paused: Mutex<Option<Paused>>,
}

#[derive(Default)]
struct Counters {
    corrupt_blocks: AtomicU64,
    damaged_footers: AtomicU64,
    failed_reads: AtomicU64,
    segments_written: AtomicU64,
    failed_segments: AtomicU64,
}

impl Store {
    /// Opens the store in `dir`, which is created if need be, and takes it for this process until the value is dropped.
    ///
    /// Reads names of folders and the heads of log files, no segment: so it is quick at any size. Works on a full disk.
    /// Damage of files is no error: it is told by what reads them.
    ///
    /// # Errors
    /// [`OpenError`], when another process has it, when it is no store, or when the disk refuses.
    pub fn open(dir: &Path, options: &Options) -> Result<(Store, Recovered), OpenError> {
        Store::open_on(Arc::new(RealDisk), dir, options)
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, dir: &Path, options: &Options) -> Result<(Store, Recovered), OpenError> {
        let mut folder = Folder::take(&disk, dir, &options.tiers)?;
        let (replay, sizes) = Replay::plan(disk.clone(), folder.log_files(&*disk)?);
        let limits = LogLimits { file_bytes: options.log_file_bytes, unsynced_bytes: options.unsynced_bytes };
        let log = Log::new(disk.clone(), folder.log.clone(), limits, sizes);
        let quarantine = Quarantine::default();
        let mut segments = Vec::new();
        for tier in 0..folder.tiers.len() {
            let mut shelf = folder.segments(&*disk, tier)?;
            drop_replaced(&*disk, &mut folder.findings, &mut shelf.segments)?;
            for (id, path) in shelf.noted {
                match shelf.segments.iter().find(|(name, _)| name.id == id) {
                    Some((_, segment)) => quarantine.load(&*disk, segment, tier as u8, id),
                    None => {
                        let _ = disk.remove(&path);
                    }
                }
            }
            let found = shelf.segments.into_iter();
            segments.extend(found.map(|(name, path)| Segment::new(tier as u8, name, path)));
        }
        segments.sort_by_key(|segment| order(segment));
        let last = segments.iter().map(|segment| segment.name.id.number()).max().unwrap_or(0);
        let recovered = Recovered { log: replay, findings: folder.findings.clone() };
        let store = Store {
            disk,
            folder,
            log,
            segments: RwLock::new(segments),
            next_segment: AtomicU32::new(last + 1),
            cache: IndexCache::new(options.index_cache_bytes),
            quarantine,
            counters: Counters::default(),
            paused: Mutex::default(),
        };
        Ok((store, recovered))
    }

    /// Appends records, each a kind and a payload that mean nothing to the store, in one write; where the log ends now.
    /// They survive the end of the process from then on, and a power loss after the next [`Store::sync`]. No records: the
    /// end of the log.
    ///
    /// # Errors
    /// [`LogError`]: nothing of the call counts as appended. After a failed write or sync the log goes on in a new file
    /// with the next call that the disk takes; what was acknowledged before is written again there if it must be.
    pub fn append(&self, records: &[(u8, &[u8])]) -> Result<Position, LogError> {
        self.log.append(records)
    }

    /// Makes everything appended before the call survive a power loss, and says up to where it does. Callers that come
    /// while another syncs share the next sync. A sync that fails is not asked for again, since the system forgets what
    /// it failed to write: what is not safe is written again, to a new file, within this call.
    ///
    /// # Errors
    /// [`LogError::Disk`] when that fails too: nothing new is safe, what was appended stays in memory, and the next
    /// append or sync tries again.
    pub fn sync(&self) -> Result<Position, LogError> {
        self.log.sync()
    }

    /// Deletes the log files that lie wholly before `up_to`: their records are sealed elsewhere or no longer wanted.
    ///
    /// # Errors
    /// When a file cannot be removed; those before it are.
    pub fn checkpoint(&self, up_to: Position) -> Result<Removed, FileError> {
        self.log.checkpoint(up_to)
    }

    /// Writes one segment of `tier` with blocks that lie inside `window`: beside, synced, renamed, folder synced. When
    /// this returns it survives a power loss; until then nothing of it is seen, by readers or after a crash. Blocks are
    /// taken one by one, so they need not be in memory all at once. Their order does not matter; several of one subject
    /// and start may differ in revision.
    ///
    /// # Errors
    /// [`WriteError`]; nothing of the segment is left, also after a full disk.
    pub fn write_segment(
        &self,
        tier: u8,
        window: Range<u32>,
        blocks: impl IntoIterator<Item = (BlockKey, u64, Bytes)>,
    ) -> Result<SegmentId, WriteError> {
        self.replace(&[], tier, window, blocks)
    }

    /// Writes one segment in the place of `old` ones of the same tier, whose windows lie inside its own. Over a crash
    /// either all the old ones are there or the new one; a reader sees the ones or the other, and whoever holds blocks of
    /// the old ones goes on reading them.
    ///
    /// # Errors
    /// [`WriteError`]; the old ones are there as before. Files of old ones that cannot be removed afterwards are no
    /// error: they are no longer seen, and the next open removes them.
    pub fn replace(
        &self,
        old: &[SegmentId],
        tier: u8,
        window: Range<u32>,
        blocks: impl IntoIterator<Item = (BlockKey, u64, Bytes)>,
    ) -> Result<SegmentId, WriteError> {
        let folder = self.folder.tiers.get(usize::from(tier)).ok_or(WriteError::NoSuchTier(tier))?;
        if window.is_empty() {
            return Err(WriteError::EmptyWindow(window));
        }
        if old.len() > REPLACED_MAX {
            return Err(WriteError::TooManyReplaced);
        }
        for &id in old {
            let inside = |segment: &Arc<Segment>| {
                segment.tier == tier && segment.name.start >= window.start && segment.name.end <= window.end
            };
            if !self.read_segments().iter().any(|segment| segment.name.id == id && inside(segment)) {
                return Err(WriteError::NotReplaceable(id));
            }
        }
        let id = SegmentId::new(self.next_segment.fetch_add(1, Relaxed), salt());
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let head = Head { tier: name.into(), start: window.start, end: window.end, replaced: old.to_vec() };
        let sealed = seal(&*self.disk, folder, id, &head, blocks);
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let sealed = match sealed {
            Ok(sealed) => {
                *paused = None;
                self.counters.segments_written.fetch_add(1, Relaxed);
                sealed
            }
            Err(error) => {
                if let WriteError::Disk(error) = &error {
                    self.counters.failed_segments.fetch_add(1, Relaxed);
                    Paused::note(&mut paused, error);
                }
                return Err(error);
            }
        };
        drop(paused);
        let segment = Segment::new(tier, sealed.name, folder.join(sealed.name.to_string()));
        self.cache.keep(id, &Arc::new(sealed.index));
        let mut gone = Vec::new();
        {
            let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
            segments.retain(|segment| {
                let replaced = old.contains(&segment.name.id);
                gone.extend(replaced.then(|| segment.clone()));
                !replaced
            });
            let at = segments.partition_point(|other| order(other) < order(&segment));
            segments.insert(at, segment);
        }
        for segment in gone {
            self.forget(&segment);
            let _ = segment.remove(&*self.disk);
        }
        Ok(id)
    }

    /// Drops what is kept in memory about a segment.
    pub(crate) fn forget(&self, segment: &Segment) {
        self.cache.forget(segment.name.id);
        self.quarantine.forget(&*self.disk, &segment.path, segment.name.id);
    }

    /// The segments of a tier, by start and then by age.
    pub fn segments(&self, tier: u8) -> Vec<SegmentInfo> {
        self.read_segments().iter().filter(|segment| segment.tier == tier).map(|segment| segment.info()).collect()
    }

    /// The blocks of `tier` that hold a second of `range`. Reads the footers of the segments in question unless they are
    /// in memory; a segment whose footer is damaged is read whole once.
    pub fn find(&self, tier: u8, subjects: Subjects<'_>, range: Range<u32>) -> Found {
        let touched: Vec<Arc<Segment>> = {
            let segments = self.read_segments();
            let touches = |segment: &&Arc<Segment>| {
                segment.tier == tier && segment.name.start < range.end && segment.name.end > range.start
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
        index: &Arc<Index>,
        subjects: Subjects<'_>,
        range: &Range<u32>,
        found: &mut Found,
    ) {
        let bad = self.quarantine.of(segment.name.id);
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
                        let (segment, index) = (segment.clone(), index.clone());
                        found.blocks.push(BlockRef { segment, index, entry: *entry });
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
        if let Some(index) = self.cache.get(id) {
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
        self.cache.keep(id, &index);
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
        let bad = BadBlock {
            path: block.segment.path.clone(),
            tier: block.segment.tier,
            key: block.key(),
            revision: block.entry.revision,
            offset: block.entry.offset,
            bytes: block.entry.length,
        };
        if self.quarantine.add(&*self.disk, block.segment.name.id, bad.clone()) {
            self.counters.corrupt_blocks.fetch_add(1, Relaxed);
        }
        Err(ReadError::Corrupt(bad))
    }

    /// The blocks that are set aside as corrupt.
    pub fn bad_blocks(&self) -> Vec<BadBlock> {
        self.quarantine.list()
    }

    /// What the store holds. `now`, Unix time: what ends after it is of the future.
    pub fn stats(&self, now: u32) -> StoreStats {
        let tier = |(tier, folder): (usize, &PathBuf)| {
            let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let mut stats = TierStats { name, bytes: self.quarantine.disk_bytes(tier as u8), ..TierStats::default() };
            for segment in self.read_segments().iter().filter(|segment| usize::from(segment.tier) == tier) {
                stats.segments += 1;
                stats.bytes += segment.name.bytes;
                let Range { start, end } = segment.window();
                if end > now {
                    stats.future += 1;
                    stats.future_end = stats.future_end.max(Some(end));
                } else {
                    let known = stats.window.get_or_insert(start..end);
                    *known = known.start.min(start)..known.end.max(end);
                }
            }
            stats
        };
        StoreStats {
            tiers: self.folder.tiers.iter().enumerate().map(tier).collect(),
            log: self.log.stats(),
            indexes: self.cache.stats(),
            bad_blocks: self.quarantine.count(),
            corrupt_blocks: self.counters.corrupt_blocks.load(Relaxed),
            damaged_footers: self.counters.damaged_footers.load(Relaxed),
            failed_reads: self.counters.failed_reads.load(Relaxed),
            segments_written: self.counters.segments_written.load(Relaxed),
            failed_segments: self.counters.failed_segments.load(Relaxed),
            paused: self.paused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// The folder of the store.
    pub fn path(&self) -> &Path {
        &self.folder.root
    }

    fn note_failed_read(&self) {
        self.counters.failed_reads.fetch_add(1, Relaxed);
    }

    fn read_segments(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn order(segment: &Segment) -> (u8, u32, SegmentId) {
    (segment.tier, segment.name.start, segment.name.id)
}

/// Finishes replacements that a crash interrupted. Reads the heads of segments that replace others, but only of those
/// that have an older one inside their window: else there is nothing left to remove.
fn drop_replaced(
    disk: &dyn Disk,
    findings: &mut Findings,
    segments: &mut Vec<(SegmentName, PathBuf)>,
) -> Result<(), FileError> {
    segments.sort_by_key(|(name, _)| (name.start, name.id));
    let mut replaced = HashSet::new();
    for (name, path) in segments.iter().filter(|(name, _)| name.replaces) {
        let from = segments.partition_point(|(other, _)| other.start < name.start);
        let mut inside = segments[from..].iter().take_while(|(other, _)| other.start < name.end);
        if !inside.any(|(other, _)| other.id < name.id && other.end <= name.end) {
            continue;
        }
        let read = disk.open(path).and_then(|file| {
            let mut bytes = vec![0; head_length("0123456789abcdef", REPLACED_MAX)];
            let count = file.read_at(&mut bytes, 0)?;
            bytes.truncate(count);
            Ok(read_head(&bytes, name.id))
        });
        match read {
            Ok(Some(head)) => replaced.extend(head.replaced),
            _ => findings.damaged_heads.push(path.clone()),
        }
    }
    for (_, path) in segments.extract_if(.., |(name, _)| replaced.contains(&name.id)) {
        remove_if_there(disk, &path).map_err(FileError::at("cannot remove", &path))?;
        findings.replaced += 1;
    }
    Ok(())
}
