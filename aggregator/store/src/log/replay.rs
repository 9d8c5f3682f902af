//! Reading the log back at a start: every record that is whole, and every damage by name.

use std::{
    collections::VecDeque,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    RECORD_MAX,
    record::{FILE_HEAD, FileKey, Head, MARKER, Position, RECORD_HEAD, file_head, read_head},
};
use crate::disk::{Disk, FileError, ReadFile, read_around_errors};

/// Read at once; a longer record makes the window longer, up to [`RECORD_MAX`].
const WINDOW: usize = 256 << 10;

/// What replaying comes upon, in the order of the log.
#[derive(Debug)]
pub enum Replayed {
    /// A record, byte for byte as it was appended.
    Record(LogRecord),
    /// Something that is no record.
    Damage(LogDamage),
}

/// A record of a former process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it ends; what [`crate::Store::checkpoint`] takes.
    pub end: Position,
    /// The kind that was given with it.
    pub kind: u8,
    /// What was given with it.
    pub payload: Vec<u8>,
}

/// Bytes of a log file that are no record.
#[derive(Debug)]
pub struct LogDamage {
    /// The file.
    pub path: PathBuf,
    /// First byte that is no record.
    pub offset: u64,
    /// How many bytes were skipped.
    pub bytes: u64,
    /// What is wrong with them.
    pub what: LogFault,
}

/// What is wrong with a piece of the log.
#[derive(Debug)]
pub enum LogFault {
    /// The file ends in an unfinished record: the process or the machine ended while it was written. Expected after a
    /// crash; nothing that was acknowledged is in it, unless the disk lost what it had confirmed.
    Tail,
    /// Bytes changed on the disk: they are no record, and no end of a file that was cut in one. At least one record is
    /// lost.
    Corrupt,
    /// The head of the file is damaged. Its records are not.
    Head,
    /// The file cannot be opened.
    Unreadable(FileError),
}

impl fmt::Display for LogDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogDamage { path, offset, bytes, what } = self;
        let path = path.display();
        match what {
            LogFault::Tail => {
                write!(f, "{path}: an unfinished record of {bytes} bytes at its end, offset {offset}, cut")
            }
            LogFault::Corrupt => write!(f, "{path}: {bytes} bytes at offset {offset} are corrupt and were skipped"),
            LogFault::Head => write!(f, "{path}: the head is damaged, the records behind it are read"),
            LogFault::Unreadable(error) => write!(f, "{error}"),
        }
    }
}

/// The records that earlier processes appended and no checkpoint has dropped.
///
/// Reads in windows of 256 KiB, so the length of the log costs no memory. Files that a checkpoint removes meanwhile end
/// the replay of those files early, without a fault.
pub struct Replay {
    disk: Arc<dyn Disk>,
    files: VecDeque<Planned>,
    current: Option<Reader>,
    /// Found while planning, handed out first.
    faults: VecDeque<LogDamage>,
    total: u64,
    done: u64,
}

/// A file to read, up to `end`: what is behind was declared void by a later file.
struct Planned {
    key: FileKey,
    path: PathBuf,
    /// First byte that is read; 0 for all of them.
    start: u64,
    end: u64,
}

impl Replay {
    /// Opens each file for its head: a log has at most some hundred. Also gives the bytes of each file.
    pub(crate) fn plan(disk: Arc<dyn Disk>, mut found: Vec<(FileKey, PathBuf)>) -> (Replay, Vec<(FileKey, u64)>) {
        found.sort_by_key(|(key, _)| key.number);
        let mut faults = VecDeque::new();
        let mut files: Vec<Planned> = Vec::with_capacity(found.len());
        let mut sizes = Vec::with_capacity(found.len());
        for (key, path) in found {
            let opened = disk.open(&path).and_then(|file| Ok((file.length()?, file)));
            let (length, file) = match opened {
                Ok(opened) => opened,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    sizes.push((key, 0));
                    let what = LogFault::Unreadable(FileError::at("cannot open", &path)(error));
                    faults.push_back(LogDamage { path, offset: 0, bytes: 0, what });
                    continue;
                }
            };
            if let Some(void) = key.void {
                for earlier in files.iter_mut().rev().take_while(|earlier| earlier.key.number >= void.file) {
                    earlier.end = if earlier.key.number > void.file { 0 } else { earlier.end.min(void.offset) };
                }
            }
            let mut head = [0; FILE_HEAD];
            let count = read_around_errors(&*file, &mut head, 0);
            // A head that was not finished is the tail of a crash, and reading on says so.
            if count == FILE_HEAD && head != file_head(key) {
                let what = LogFault::Head;
                faults.push_back(LogDamage { path: path.clone(), offset: 0, bytes: FILE_HEAD as u64, what });
            }
            sizes.push((key, length));
            files.push(Planned { key, path, start: 0, end: length });
        }
        let total = files.iter().map(|file| file.end).sum();
        (Replay { disk, files: files.into(), current: None, faults, total, done: 0 }, sizes)
    }

    /// The records of a log that is in use, up to where its files held records.
    pub(crate) fn up_to(disk: Arc<dyn Disk>, folder: &Path, files: &[(FileKey, u64)]) -> Replay {
        let found = files.iter().map(|(key, _)| (*key, folder.join(key.name()))).collect();
        let (mut replay, _) = Replay::plan(disk, found);
        for planned in &mut replay.files {
            let known = files.iter().find(|(key, _)| *key == planned.key).map_or(0, |(_, bytes)| *bytes);
            planned.end = planned.end.min(known);
        }
        replay.total = replay.files.iter().map(|file| file.end).sum();
        replay
    }

    /// Only what is at or after `from`, where a record begins.
    pub(crate) fn after(mut self, from: Position) -> Replay {
        self.files.retain(|planned| planned.key.number >= from.file);
        if let Some(first) = self.files.front_mut().filter(|first| first.key.number == from.file) {
            first.start = from.offset;
        }
        self.total = self.files.iter().map(|file| file.end.saturating_sub(file.start)).sum();
        self
    }

    /// How many bytes there are to read in all, and how many are read.
    pub fn progress(&self) -> (u64, u64) {
        (self.total, self.done)
    }
}

impl Iterator for Replay {
    type Item = Replayed;

    fn next(&mut self) -> Option<Replayed> {
        if let Some(fault) = self.faults.pop_front() {
            return Some(Replayed::Damage(fault));
        }
        loop {
            if let Some(reader) = &mut self.current {
                let before = reader.at;
                let item = reader.next();
                self.done += reader.at - before;
                if item.is_some() {
                    return item;
                }
                self.current = None;
            }
            let planned = self.files.pop_front()?;
            match self.disk.open(&planned.path) {
                Ok(file) => {
                    let at = planned.start.max(FILE_HEAD as u64).min(planned.end);
                    self.done += at.saturating_sub(planned.start);
                    let short = (at < FILE_HEAD as u64 && at > 0).then(|| LogDamage {
                        path: planned.path.clone(),
                        offset: 0,
                        bytes: at,
                        what: LogFault::Tail,
                    });
                    self.current = Some(Reader { planned, file, at, window: Vec::new(), window_at: at });
                    if let Some(damage) = short {
                        return Some(Replayed::Damage(damage));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.done += planned.end.saturating_sub(planned.start);
                }
                Err(error) => {
                    let bytes = planned.end.saturating_sub(planned.start);
                    self.done += bytes;
                    let what = LogFault::Unreadable(FileError::at("cannot open", &planned.path)(error));
                    return Some(Replayed::Damage(LogDamage { path: planned.path, offset: 0, bytes, what }));
                }
            }
        }
    }
}

struct Reader {
    planned: Planned,
    file: Box<dyn ReadFile>,
    at: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl Reader {
    fn next(&mut self) -> Option<Replayed> {
        let start = self.at;
        if start >= self.planned.end {
            return None;
        }
        if let Some(record) = self.record_at(start) {
            return Some(Replayed::Record(record));
        }
        let mut at = self.behind_broken(start);
        let what = loop {
            let Some(candidate) = self.next_marker(at) else {
                self.at = self.planned.end;
                break if self.is_cut(start) { LogFault::Tail } else { LogFault::Corrupt };
            };
            if self.head_at(candidate).is_some_and(|head| self.payload(candidate, head).is_some()) {
                self.at = candidate;
                break LogFault::Corrupt;
            }
            at = self.behind_broken(candidate);
        };
        let bytes = self.at - start;
        Some(Replayed::Damage(LogDamage { path: self.planned.path.clone(), offset: start, bytes, what }))
    }

    /// Whether the file ends within the record at `at`: what a write that was interrupted leaves.
    fn is_cut(&mut self, at: u64) -> bool {
        let rest = self.planned.end - at;
        let head = RECORD_HEAD as u64;
        rest < head || self.head_at(at).is_some_and(|found| head + u64::from(found.length) > rest)
    }

    fn record_at(&mut self, at: u64) -> Option<LogRecord> {
        let head = self.head_at(at)?;
        let payload = self.payload(at, head)?.to_vec();
        self.at = at + (RECORD_HEAD + payload.len()) as u64;
        let end = Position { file: self.planned.key.number, offset: self.at };
        Some(LogRecord { end, kind: head.kind, payload })
    }

    /// Where to look on after a place that is no whole record: behind its payload if its head is right, which says how
    /// long it was; else at the next byte.
    fn behind_broken(&mut self, at: u64) -> u64 {
        self.head_at(at).map_or(at + 1, |head| at + RECORD_HEAD as u64 + u64::from(head.length))
    }

    fn head_at(&mut self, at: u64) -> Option<Head> {
        let key = self.planned.key;
        let head = read_head(self.bytes(at, RECORD_HEAD)?, key, at)?;
        (head.length as usize <= RECORD_MAX).then_some(head)
    }

    fn payload(&mut self, at: u64, head: Head) -> Option<&[u8]> {
        let payload = self.bytes(at + RECORD_HEAD as u64, head.length as usize)?;
        head.fits(payload).then_some(payload)
    }

    fn next_marker(&mut self, mut at: u64) -> Option<u64> {
        while at + RECORD_HEAD as u64 <= self.planned.end {
            let length = WINDOW.min((self.planned.end - at) as usize);
            let found = self.bytes(at, length)?.windows(MARKER.len()).position(|three| three == MARKER);
            if let Some(found) = found {
                return Some(at + found as u64);
            }
            at += (length - (MARKER.len() - 1)) as u64;
        }
        None
    }

    /// `count` bytes at `at`, if the file has them before its end.
    fn bytes(&mut self, at: u64, count: usize) -> Option<&[u8]> {
        let end = at.checked_add(count as u64).filter(|&end| end <= self.planned.end)?;
        if at < self.window_at || end > self.window_at + self.window.len() as u64 {
            let length = count.max(WINDOW).min((self.planned.end - at) as usize);
            self.window.resize(length, 0);
            self.window_at = at;
            let read = read_around_errors(&*self.file, &mut self.window, at);
            self.window.truncate(read);
            if read < count {
                return None;
            }
        }
        let from = (at - self.window_at) as usize;
        self.window.get(from..from + count)
    }
}
