//! Reading everything, to know that it can be read.

use std::{
    collections::BTreeMap,
    fmt, io,
    num::NonZeroU64,
    ops::ControlFlow,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{Store, find::bad_block};
use crate::{
    checksum::plain,
    disk::{FileError, ReadFile, read_around_errors},
    log::{LogDamage, Replay, Replayed},
    quarantine::BadBlock,
    segment::{BlockKey, Entry, REPLACED_MAX, block_head_length, head_length, load, read_block_head, read_head},
    shelf::Segment,
};

/// The longest wait between two calls of the progress callback, so that a check ends soon after it is told to.
const NAP: Duration = Duration::from_millis(50);

/// How far a check is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckProgress {
    /// Segments and log files read.
    pub files: usize,
    /// Of so many.
    pub files_total: usize,
    /// Bytes read.
    pub bytes: u64,
    /// Of so many.
    pub bytes_total: u64,
    /// Faults found so far.
    pub faults: usize,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Whether it came to the end; else the callback ended it.
    pub finished: bool,
    /// Segments read.
    pub segments: usize,
    /// Segments that the process which has the store deleted or replaced meanwhile.
    pub deleted: usize,
    /// Blocks that are right.
    pub blocks: u64,
    /// Records of the log that are right.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Blocks that are corrupt, those that were known to be included. They are set aside.
    pub bad: Vec<BadBlock>,
    /// What else is wrong with segments. All their blocks that are not in `bad` can be read.
    pub faults: Vec<SegmentFault>,
    /// What is wrong with the log.
    pub log: Vec<LogDamage>,
}

impl CheckReport {
    /// Whether everything that was read is as it was written.
    pub fn is_clean(&self) -> bool {
        self.bad.is_empty() && self.faults.is_empty() && self.log.is_empty()
    }
}

/// Something wrong with a segment beside the body of a block.
#[derive(Debug)]
pub struct SegmentFault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub what: Fault,
}

/// What can be wrong with a segment.
#[derive(Debug)]
pub enum Fault {
    /// The head of the file. Nothing is lost.
    Head,
    /// The footer, or the end of the file that says where it is. Blocks are found without it, at the price of reading the
    /// file when it is first asked for; one whose own head is damaged too, or that the end of the file cut off, is lost.
    Footer,
    /// The head of a block. Nothing is lost while the footer is right.
    BlockHead(BlockKey),
    /// So many bytes at this offset belong to no block: at least one is lost.
    Lost {
        /// First of them.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// The file is not as long as its name says.
    Length {
        /// What its name says.
        named: u64,
        /// What it is.
        found: u64,
    },
    /// The disk does not give it.
    Unreadable(FileError),
}

impl fmt::Display for SegmentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.what {
            Fault::Head => write!(f, "{path}: the head is damaged, nothing is lost"),
            Fault::Footer => write!(f, "{path}: the footer is damaged, blocks are found by reading the file"),
            Fault::BlockHead(key) => {
                write!(
                    f,
                    "{path}: the head of the block of {} from {} is damaged, its body is not",
                    key.subject, key.start
                )
            }
            Fault::Lost { offset, bytes } => write!(f, "{path}: {bytes} bytes at offset {offset} belong to no block"),
            Fault::Length { named, found } => write!(f, "{path}: {found} bytes long instead of {named}"),
            Fault::Unreadable(error) => write!(f, "{error}"),
        }
    }
}

impl Store {
    /// Reads every byte of every segment and of the log and compares it with what was written; corrupt blocks are set
    /// aside. At most `bytes_per_second` (`None`: as fast as the disk), so that others can work. `progress` is called at
    /// least every 64 MiB or 50 ms of waiting; a break ends the check. Segments that are written meanwhile are not
    /// looked at, those that are deleted are still read. Memory: the index and the longest block of one segment.
    pub fn check(
        &self,
        bytes_per_second: Option<NonZeroU64>,
        progress: impl FnMut(&CheckProgress) -> ControlFlow<()>,
    ) -> CheckReport {
        let segments: Vec<Arc<Segment>> = self.read_segments().clone();
        let log_files = self.log.files();
        let log_bytes: u64 = log_files.iter().map(|(_, bytes)| bytes).sum();
        let totals = CheckProgress {
            files_total: segments.len() + log_files.len(),
            bytes_total: log_bytes + segments.iter().map(|segment| segment.name.bytes).sum::<u64>(),
            ..CheckProgress::default()
        };
        let begun = Instant::now();
        let mut check = Check {
            store: self,
            rate: bytes_per_second,
            begun,
            state: totals,
            progress,
            report: CheckReport::default(),
        };
        let mut outcome = check.read_log();
        for segment in &segments {
            if outcome.is_break() {
                break;
            }
            outcome = check.segment(segment);
        }
        check.report.finished = outcome.is_continue();
        check.report.bytes = check.state.bytes;
        check.report
    }
}

struct Check<'a, P> {
    store: &'a Store,
    rate: Option<NonZeroU64>,
    begun: Instant,
    state: CheckProgress,
    progress: P,
    report: CheckReport,
}

impl<P: FnMut(&CheckProgress) -> ControlFlow<()>> Check<'_, P> {
    fn read_log(&mut self) -> ControlFlow<()> {
        let files = self.store.log.files();
        let mut replay = Replay::up_to(self.store.disk.clone(), &self.store.folder.log, &files);
        let mut before = 0;
        loop {
            match replay.next() {
                Some(Replayed::Record(_)) => self.report.records += 1,
                Some(Replayed::Damage(damage)) => {
                    self.report.log.push(damage);
                    self.state.faults += 1;
                }
                None => break,
            }
            let (_, done) = replay.progress();
            self.read(done - before)?;
            before = done;
        }
        self.state.files += files.len();
        ControlFlow::Continue(())
    }

    fn segment(&mut self, segment: &Arc<Segment>) -> ControlFlow<()> {
        let before = self.state.bytes;
        let read = segment.open(&*self.store.disk).and_then(|file| {
            let load = load(&*file, segment.name.id).and_then(|loaded| Ok((loaded, file.length()?)));
            load.map_err(FileError::at("cannot read", &segment.path)).map(|(loaded, length)| (loaded, length, file))
        });
        let (loaded, length, file) = match read {
            Ok(read) => read,
            Err(error) if self.store.beside && error.error.kind() == io::ErrorKind::NotFound => {
                self.report.deleted += 1;
                self.state.files += 1;
                return self.read(segment.name.bytes);
            }
            Err(error) => {
                self.fault(segment, Fault::Unreadable(error));
                return self.read(segment.name.bytes);
            }
        };
        if length != segment.name.bytes {
            self.fault(segment, Fault::Length { named: segment.name.bytes, found: length });
        }
        if loaded.rescanned {
            self.fault(segment, Fault::Footer);
        }
        // Where the next block should begin, as far as that is known.
        let mut expected = self.head(segment, &*file, length);
        let mut by_offset: BTreeMap<u64, Entry> = BTreeMap::new();
        by_offset.extend(loaded.index.entries().iter().map(|entry| (entry.offset, *entry)));
        for (offset, entry) in by_offset {
            let key =
                BlockKey { subject: loaded.index.subject(&entry).into(), start: entry.start, seconds: entry.seconds };
            let begin = offset.saturating_sub(block_head_length(&key.subject));
            let end = offset + u64::from(entry.length);
            if let Some(expected) = expected.filter(|&expected| expected < begin) {
                self.fault(segment, Fault::Lost { offset: expected, bytes: begin - expected });
            }
            self.block(segment, &*file, begin, key, &entry);
            expected = Some(end);
            self.read(end - begin)?;
        }
        self.report.segments += 1;
        self.state.files += 1;
        let rest = segment.name.bytes.saturating_sub(self.state.bytes - before);
        self.read(rest)
    }

    /// Where the first block should begin; not known when the head is damaged, for it says how many it replaces.
    fn head(&mut self, segment: &Segment, file: &dyn ReadFile, length: u64) -> Option<u64> {
        let tier = self.store.tier_name(segment.tier);
        let mut bytes = vec![0; head_length(tier, REPLACED_MAX).min(length as usize)];
        let count = read_around_errors(file, &mut bytes, 0);
        bytes.truncate(count);
        let head = read_head(&bytes, segment.name.id);
        let head = head.filter(|head| *head.tier == *tier && (head.start..head.end) == segment.window());
        if head.is_none() {
            self.fault(segment, Fault::Head);
        }
        head.map(|head| head_length(tier, head.replaced.len()) as u64)
    }

    fn block(&mut self, segment: &Segment, file: &dyn ReadFile, begin: u64, key: BlockKey, entry: &Entry) {
        let before = (entry.offset - begin) as usize;
        let mut bytes = vec![0; before + entry.length as usize];
        let count = read_around_errors(file, &mut bytes, begin);
        bytes.truncate(count);
        let (head, body) = bytes.split_at(before.min(count));
        let right = read_block_head(head, segment.name.id, begin).is_some_and(|head| {
            head.key == key && head.revision == entry.revision && (head.length, head.crc) == (entry.length, entry.crc)
        });
        if plain(body) != entry.crc || body.len() != entry.length as usize {
            let bad = bad_block(segment, key, entry);
            self.store.set_aside(segment.name.id, &bad);
            self.report.bad.push(bad);
            self.state.faults += 1;
        } else {
            self.report.blocks += 1;
            if !right {
                self.fault(segment, Fault::BlockHead(key));
            }
        }
    }

    fn fault(&mut self, segment: &Segment, what: Fault) {
        self.report.faults.push(SegmentFault { path: segment.path.clone(), what });
        self.state.faults += 1;
    }

    /// Notes bytes as read, reports and keeps the pace.
    fn read(&mut self, bytes: u64) -> ControlFlow<()> {
        self.state.bytes += bytes;
        loop {
            (self.progress)(&self.state)?;
            let Some(rate) = self.rate else { return ControlFlow::Continue(()) };
            let due = Duration::from_secs_f64(self.state.bytes as f64 / rate.get() as f64);
            let early = due.saturating_sub(self.begun.elapsed());
            if early.is_zero() {
                return ControlFlow::Continue(());
            }
            thread::park_timeout(early.min(NAP));
        }
    }
}
