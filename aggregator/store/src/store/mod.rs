//! The store: one folder, one log, sealed segments by tier.

mod check;
mod find;
mod retention;

use std::{
    ops::Range,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;

pub use self::{
    check::{CheckProgress, CheckReport, Fault, SegmentFault},
    find::{BlockRef, Found, ReadError, Subjects, Unreadable, overlapping},
    retention::{Retained, TierLimit},
};
use crate::{
    checksum::salt,
    disk::{Beside, Disk, FileError, RealDisk},
    folder::{Findings, Folder, OpenError, is_store},
    log::{Log, LogError, LogLimits, LogStats, Paused, Position, Removed, Replay},
    quarantine::Quarantine,
    recent::Recent,
    replaced::drop_replaced,
    segment::{BlockKey, Head, Index, REPLACED_MAX, SegmentId, WriteError, seal},
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
/// "There" means byte for byte, once, in order. A record whose `append` did not return may be there as well, and one
/// whose `append` failed if the process ended before the next: whoever appends must be able to meet such a record again.
///
/// What a disk then changes by itself (bit rot, a sector that cannot be read) is found by checksums when it is read:
/// no other bytes than those written are ever given out, and the rest stays readable.
pub struct Store {
    disk: Arc<dyn Disk>,
    folder: Folder,
    log: Log,
    segments: RwLock<Vec<Arc<Segment>>>,
    next_segment: AtomicU32,
    cache: Recent<SegmentId, Arc<Index>>,
    quarantine: Quarantine,
    counters: Counters,
    /// Why the last segment could not be written.
    paused: Mutex<Option<Paused>>,
    /// Held while segments are replaced.
    replacing: Mutex<()>,
    /// Only read, while another process may have it.
    beside: bool,
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

    /// Opens the store in `dir` to be read while another process may have it: nothing in the folder changes, corrupt blocks
    /// are named and not noted, and what would write fails. It shows the segments and the log as they are now. What the
    /// other process deletes or replaces later cannot be read any more ([`io::ErrorKind::NotFound`]); open it again then.
    ///
    /// # Errors
    /// [`OpenError`], when there is no store or the disk refuses.
    ///
    /// [`io::ErrorKind::NotFound`]: std::io::ErrorKind::NotFound
    pub fn open_beside(dir: &Path, options: &Options) -> Result<(Store, Recovered), OpenError> {
        if !is_store(dir) {
            return Err(OpenError::NoStore(dir.to_owned()));
        }
        let (store, recovered) = Store::open_on(Arc::new(Beside), dir, options)?;
        Ok((Store { beside: true, ..store }, recovered))
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
            cache: Recent::new(options.index_cache_bytes),
            quarantine,
            counters: Counters::default(),
            paused: Mutex::default(),
            replacing: Mutex::default(),
            beside: false,
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
        self.folder.is_in_place().map_err(|error| self.log.refused(error))?;
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
        self.folder.is_in_place().map_err(|error| self.log.refused(error))?;
        self.log.sync()
    }

    /// The records at or after `from`, the end of a record or where a file begins, as far as they are written now, those of
    /// this process too. After a failed write or sync a record may come a second time, at another place.
    pub fn replay_log(&self, from: Position) -> Replay {
        let mut files = self.log.files();
        files.retain(|(key, _)| key.number >= from.file);
        Replay::up_to(self.disk.clone(), &self.folder.log, &files).after(from)
    }

    /// Bytes of the log from `at` on, as they are on the disk now: of records that are synced and that no checkpoint dropped.
    /// They are not checked; whoever reads a piece of a record knows its checksum.
    ///
    /// # Errors
    /// When the file is gone, ends before, or cannot be read.
    pub fn read_log(&self, at: Position, length: usize) -> Result<Vec<u8>, FileError> {
        self.log.read(at, length)
    }

    /// What the log holds and what happened to it.
    pub fn log_stats(&self) -> LogStats {
        self.log.stats()
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
        // One replacement at a time: two of the same segments would both find them there.
        let _alone = (!old.is_empty()).then(|| self.replacing.lock().unwrap_or_else(PoisonError::into_inner));
        for &id in old {
            let inside = |segment: &Arc<Segment>| {
                segment.tier == tier && segment.name.start >= window.start && segment.name.end <= window.end
            };
            if !self.read_segments().iter().any(|segment| segment.name.id == id && inside(segment)) {
                return Err(WriteError::NotReplaceable(id));
            }
        }
        let id = SegmentId::new(self.next_segment.fetch_add(1, Relaxed), salt());
        let head =
            Head { tier: self.tier_name(tier).into(), start: window.start, end: window.end, replaced: old.to_vec() };
        let sealed = match self.folder.is_in_place() {
            Ok(()) => seal(&*self.disk, folder, id, &head, blocks),
            Err(error) => Err(error.into()),
        };
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
        let index = Arc::new(sealed.index);
        self.cache.keep(id, index.clone(), index.memory());
        let mut gone = Vec::new();
        {
            let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
            segments.retain(|segment| {
                let replaced = old.contains(&segment.name.id);
                gone.extend(replaced.then(|| segment.clone()));
                !replaced
            });
            insert(&mut segments, segment);
        }
        for segment in gone {
            self.forget(&segment);
            let _ = segment.remove(&*self.disk);
        }
        Ok(id)
    }

    /// Drops what is kept in memory about a segment.
    pub(crate) fn forget(&self, segment: &Segment) {
        self.cache.forget(&segment.name.id);
        self.quarantine.forget(&*self.disk, &segment.path, segment.name.id);
    }

    /// The segments of a tier, by start and then by age.
    pub fn segments(&self, tier: u8) -> Vec<SegmentInfo> {
        self.read_segments().iter().filter(|segment| segment.tier == tier).map(|segment| segment.info()).collect()
    }

    /// Since when and why the disk takes no records, or else no segments; `None` when the last of each were taken.
    pub fn paused(&self) -> Option<Paused> {
        self.log.paused().or_else(|| self.paused.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// What the store holds. `now`, Unix time: what ends after it is of the future.
    pub fn stats(&self, now: u32) -> StoreStats {
        let tier = |tier: u8| {
            let name = self.tier_name(tier).to_owned();
            let mut stats = TierStats { name, bytes: self.quarantine.disk_bytes(tier), ..TierStats::default() };
            for segment in self.read_segments().iter().filter(|segment| segment.tier == tier) {
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
            tiers: (0..self.folder.tiers.len()).map(|at| tier(at as u8)).collect(),
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

    fn tier_name(&self, tier: u8) -> &str {
        let folder = self.folder.tiers.get(usize::from(tier));
        folder.and_then(|folder| folder.file_name()?.to_str()).unwrap_or_default()
    }

    fn read_segments(&self) -> RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By tier, start and age.
fn order(segment: &Segment) -> (u8, u32, SegmentId) {
    (segment.tier, segment.name.start, segment.name.id)
}

fn insert(segments: &mut Vec<Arc<Segment>>, segment: Arc<Segment>) {
    let at = segments.partition_point(|other| order(other) < order(&segment));
    segments.insert(at, segment);
}
