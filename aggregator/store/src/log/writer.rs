//! Appending, syncing in groups, and going on in a new file after a failed write or sync.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    readers::Readers,
    record::{FILE_HEAD, FileKey, Position, RECORD_HEAD, file_head, write_record},
};
use crate::{
    checksum::salt,
    disk::{Disk, FileError, WriteFile, remove_if_there},
};

/// Longest payload of one record, bytes: an entry of a ledger is at most 4 MiB on the wire, a second of a node less.
pub const RECORD_MAX: usize = 16 << 20;

/// What is said of a file that is not where it was.
pub(crate) const LOST: &str = "nothing more is stored, put it back or start this process again, for";

/// What the name of a file ends in while records are written again to it.
pub(crate) const UNFINISHED: &str = ".tmp";

/// Bounds of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogLimits {
    /// A file that has reached this many bytes is followed by a new one.
    pub(crate) file_bytes: u64,
    /// Appended and not yet synced, bytes; they are also kept in memory, to be written again after a failed sync.
    pub(crate) unsynced_bytes: usize,
}

/// Why nothing was appended or made safe.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A record is longer than [`RECORD_MAX`]. Nothing of the call was appended; the log goes on.
    #[error("a record of {length} bytes is longer than the {RECORD_MAX} that the log takes")]
    TooLong {
        /// Bytes of its payload.
        length: usize,
    },
    /// The disk does not take it. Nothing of the call counts as appended; the next call tries again in a new file.
    #[error(transparent)]
    Disk(#[from] FileError),
}

/// The log, or the segments, cannot be written at the moment.
#[derive(Debug, Clone)]
pub struct Paused {
    /// Of the first failure in a row.
    pub since: Instant,
    /// The last failure.
    pub cause: String,
}

impl Paused {
    /// Notes a failure; the first of a row gives the time.
    pub(crate) fn note(paused: &mut Option<Paused>, error: &FileError) {
        let cause = error.to_string();
        match paused {
            Some(paused) => paused.cause = cause,
            None => *paused = Some(Paused { since: Instant::now(), cause }),
        }
    }
}

/// What the log holds and what happened to it.
#[derive(Debug, Clone, Default)]
pub struct LogStats {
    /// Files on disk.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Number of the oldest of them.
    pub oldest: Option<u64>,
    /// Everything before this is written: it survives the end of the process.
    pub written: Position,
    /// Everything before this is synced: it survives a power loss.
    pub safe: Position,
    /// Written and not yet synced, bytes.
    pub unsynced_bytes: usize,
    /// Set while the disk does not take records.
    pub paused: Option<Paused>,
    /// Records appended since the start.
    pub records: u64,
    /// Syncs done; one may serve several callers.
    pub syncs: u64,
    /// Writes that failed, since the start.
    pub failed_writes: u64,
    /// Syncs that failed, since the start.
    pub failed_syncs: u64,
}

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    limits: LogLimits,
    state: Mutex<State>,
    readers: Readers,
    /// Signalled at the end of each sync.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// All files on disk, with their bytes.
    files: BTreeMap<u64, (FileKey, u64)>,
    active: Option<Active>,
    /// Files that no longer grow and are not synced yet.
    waiting: Vec<(FileKey, Arc<dyn WriteFile>)>,
    /// A file was created since the folder was last synced.
    folder_dirty: bool,
    /// What was appended since `safe`, in order.
    unsynced: VecDeque<Chunk>,
    unsynced_bytes: usize,
    written: Position,
    safe: Position,
    /// A caller is in `fdatasync`, without the lock.
    syncing: bool,
    next: u64,
    /// What the next file declares void, after a failed write or sync.
    void: Option<Position>,
    /// A sync failed, and what it should have made safe is not written again yet.
    doubtful: bool,
    paused: Option<Paused>,
    records: u64,
    syncs: u64,
    failed_writes: u64,
    failed_syncs: u64,
}

struct Active {
    key: FileKey,
    file: Arc<dyn WriteFile>,
    length: u64,
}

/// Records of one call, as they were written.
struct Chunk {
    end: Position,
    encoded: Vec<u8>,
}

impl Log {
    /// Goes on after `files`, which are never written again: a new file begins with the first append.
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: PathBuf, limits: LogLimits, files: Vec<(FileKey, u64)>) -> Log {
        let next = files.iter().map(|(key, _)| key.number + 1).max().unwrap_or(1);
        let start = Position { file: next, offset: 0 };
        let files = files.into_iter().map(|(key, bytes)| (key.number, (key, bytes))).collect();
        let state = State { files, next, written: start, safe: start, ..State::default() };
        let readers = Readers::new(disk.clone(), folder.clone());
        Log { disk, folder, limits, state: Mutex::new(state), readers, ended: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock leaves the state half changed where it could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn append(&self, records: &[(u8, &[u8])]) -> Result<Position, LogError> {
        if let Some((_, long)) = records.iter().find(|(_, payload)| payload.len() > RECORD_MAX) {
            return Err(LogError::TooLong { length: long.len() });
        }
        let bytes: usize = records.iter().map(|(_, payload)| payload.len() + RECORD_HEAD).sum();
        let mut state = self.lock();
        while !state.unsynced.is_empty() && state.unsynced_bytes + bytes > self.limits.unsynced_bytes {
            drop(state);
            self.sync()?;
            state = self.lock();
        }
        if records.is_empty() {
            return Ok(state.written);
        }
        self.is_in_place(&mut state)?;
        self.settle_doubts(&mut state)?;
        let encoded = self.write(&mut state, records)?;
        let end = state.written;
        state.unsynced_bytes += encoded.len();
        state.unsynced.push_back(Chunk { end, encoded });
        state.records += records.len() as u64;
        state.paused = None;
        Ok(end)
    }

    /// Notes that nothing can be written, whatever the log itself could do.
    pub(crate) fn refused(&self, error: FileError) -> LogError {
        self.lock().failed_write(error).into()
    }

    /// What is written to a file that nothing names is gone with this process: then nothing is.
    fn is_in_place(&self, state: &mut State) -> Result<(), FileError> {
        let Some(active) = &state.active else { return Ok(()) };
        let path = self.folder.join(active.key.name());
        match active.file.is_at(&path) {
            Ok(()) => Ok(()),
            Err(error) => Err(state.failed_write(FileError::at(LOST, &path)(error))),
        }
    }

    /// One `write` of all records into the active file, or into a new one; what was written.
    fn write(&self, state: &mut State, records: &[(u8, &[u8])]) -> Result<Vec<u8>, FileError> {
        let mut active = match state.active.take() {
            Some(active) if active.length < self.limits.file_bytes => active,
            full => {
                state.waiting.extend(full.map(|full| (full.key, full.file)));
                self.begin_file(state)?
            }
        };
        let encoded = encode(active.key, active.length, records);
        let written = active.file.write(&encoded);
        if let Err(error) = written {
            // An unknown part of the records is in the file: it is not written to again, and the next one says that
            // nothing behind its good end counts. What is before that is still synced.
            let path = self.folder.join(active.key.name());
            state.void = Some(Position { file: active.key.number, offset: active.length });
            state.waiting.push((active.key, active.file));
            return Err(state.failed_write(FileError::at("cannot write", &path)(error)));
        }
        active.length += encoded.len() as u64;
        state.written = Position { file: active.key.number, offset: active.length };
        state.files.insert(active.key.number, (active.key, active.length));
        state.active = Some(active);
        Ok(encoded)
    }

    fn begin_file(&self, state: &mut State) -> Result<Active, FileError> {
        let key = FileKey { number: state.next, salt: salt(), void: state.void };
        state.next += 1;
        let path = self.folder.join(key.name());
        let begun = self.disk.create(&path).and_then(|file| {
            file.write(&file_head(key)).map(|()| file).inspect_err(|_| {
                // Where even this fails, a file without records stays behind; the next start finds it and counts it.
                let _ = self.disk.remove(&path);
            })
        });
        let file = begun.map_err(|error| state.failed_write(FileError::at("cannot begin", &path)(error)))?;
        let length = FILE_HEAD as u64;
        state.files.insert(key.number, (key, length));
        state.folder_dirty = true;
        state.void = None;
        Ok(Active { key, file, length })
    }

    pub(crate) fn sync(&self) -> Result<Position, LogError> {
        let mut state = self.lock();
        let target = state.written;
        while state.safe < target {
            if state.syncing {
                state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            self.is_in_place(&mut state)?;
            if state.doubtful {
                self.settle_doubts(&mut state)?;
                continue;
            }
            // One caller syncs for all that wait: everything written up to now, without the lock, so that others append.
            let up_to = state.written;
            let waiting = mem::take(&mut state.waiting);
            let folder_dirty = mem::take(&mut state.folder_dirty);
            let active = state.active.as_ref().map(|active| (active.key, active.file.clone()));
            state.syncing = true;
            drop(state);
            let outcome = waiting
                .iter()
                .chain(&active)
                .try_for_each(|(key, file)| {
                    let path = self.folder.join(key.name());
                    file.sync().map_err(FileError::at("cannot sync", &path))
                })
                .and_then(|()| {
                    if folder_dirty {
                        let synced = self.disk.sync_folder(&self.folder);
                        synced.map_err(FileError::at("cannot sync", &self.folder))?;
                    }
                    Ok(())
                });
            state = self.lock();
            state.syncing = false;
            self.ended.notify_all();
            match outcome {
                Ok(()) => {
                    state.syncs += 1;
                    state.now_safe(up_to);
                }
                Err(error) => {
                    state.failed_sync(&error);
                    state.doubt();
                    self.settle_doubts(&mut state)?;
                }
            }
        }
        Ok(state.safe)
    }

    /// After a failed sync: writes what is not known to be safe again, into a new file that gets its name when all of it
    /// is there and synced, and with it declares what it replaces void: over a crash each record counts once.
    fn settle_doubts(&self, state: &mut State) -> Result<(), FileError> {
        if !state.doubtful {
            return Ok(());
        }
        let key = FileKey { number: state.next, salt: salt(), void: Some(state.safe) };
        state.next += 1;
        let path = self.folder.join(key.name());
        let temporary = self.folder.join(format!("{}{UNFINISHED}", key.name()));
        let again = self.write_again(key, &path, &temporary, &state.unsynced);
        let active = again.inspect_err(|error| {
            // Where this fails too: the next start removes the one, the next attempt declares the other void.
            let _ = self.disk.remove(&temporary);
            let _ = self.disk.remove(&path);
            state.failed_sync(error);
        })?;
        state.doubtful = false;
        state.syncs += 1;
        state.written = Position { file: key.number, offset: active.length };
        state.files.insert(key.number, (key, active.length));
        state.active = Some(active);
        state.unsynced_bytes = 0;
        state.unsynced.clear();
        state.safe = state.written;
        state.folder_dirty = false;
        state.void = None;
        state.paused = None;
        Ok(())
    }

    fn write_again(
        &self,
        key: FileKey,
        path: &Path,
        temporary: &Path,
        chunks: &VecDeque<Chunk>,
    ) -> Result<Active, FileError> {
        let file = self.disk.create(temporary).map_err(FileError::at("cannot begin", temporary))?;
        let failed = || FileError::at("cannot write", temporary);
        file.write(&file_head(key)).map_err(failed())?;
        let mut length = FILE_HEAD as u64;
        for chunk in chunks {
            let encoded = encode(key, length, &records(&chunk.encoded));
            file.write(&encoded).map_err(failed())?;
            length += encoded.len() as u64;
        }
        file.sync().map_err(FileError::at("cannot sync", temporary))?;
        self.disk.rename(temporary, path).map_err(FileError::at("cannot rename to", path))?;
        self.disk.sync_folder(&self.folder).map_err(FileError::at("cannot sync", &self.folder))?;
        Ok(Active { key, file, length })
    }

    pub(crate) fn checkpoint(&self, up_to: Position) -> Result<Removed, FileError> {
        let mut state = self.lock();
        let kept_from = up_to.file.min(state.written.file);
        let mut removed = Removed::default();
        // Oldest first: a file may say which records of its forerunners do not count.
        while let Some((&number, &(key, bytes))) = state.files.first_key_value() {
            if number >= kept_from {
                break;
            }
            let path = self.folder.join(key.name());
            remove_if_there(&*self.disk, &path).map_err(FileError::at("cannot remove", &path))?;
            state.files.remove(&number);
            removed.files += 1;
            removed.bytes += bytes;
        }
        drop(state);
        self.readers.forget_before(kept_from);
        Ok(removed)
    }

    pub(crate) fn read(&self, at: Position, length: usize) -> Result<Vec<u8>, FileError> {
        self.readers.read(at, length, || self.lock().files.get(&at.file).map(|(key, _)| *key))
    }

    /// The files on disk, and up to where they hold records.
    pub(crate) fn files(&self) -> Vec<(FileKey, u64)> {
        self.lock().files.values().copied().collect()
    }

    pub(crate) fn paused(&self) -> Option<Paused> {
        self.lock().paused.clone()
    }

    pub(crate) fn stats(&self) -> LogStats {
        let state = self.lock();
        LogStats {
            files: state.files.len(),
            bytes: state.files.values().map(|(_, bytes)| bytes).sum(),
            oldest: state.files.keys().next().copied(),
            written: state.written,
            safe: state.safe,
            unsynced_bytes: state.unsynced_bytes,
            paused: state.paused.clone(),
            records: state.records,
            syncs: state.syncs,
            failed_writes: state.failed_writes,
            failed_syncs: state.failed_syncs,
        }
    }
}

impl State {
    /// What was written since the last good sync may be lost at a power loss, in whatever file it is. None of these is
    /// synced again.
    fn doubt(&mut self) {
        self.doubtful = true;
        self.active = None;
        self.waiting.clear();
    }

    fn now_safe(&mut self, up_to: Position) {
        self.safe = self.safe.max(up_to);
        while self.unsynced.front().is_some_and(|chunk| chunk.end <= self.safe) {
            if let Some(chunk) = self.unsynced.pop_front() {
                self.unsynced_bytes -= chunk.encoded.len();
            }
        }
    }

    fn failed_write(&mut self, error: FileError) -> FileError {
        self.failed_writes += 1;
        Paused::note(&mut self.paused, &error);
        error
    }

    fn failed_sync(&mut self, error: &FileError) {
        self.failed_syncs += 1;
        Paused::note(&mut self.paused, error);
    }
}

/// The bytes of records that will stand at `offset`.
fn encode(key: FileKey, offset: u64, records: &[(u8, &[u8])]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(records.iter().map(|(_, payload)| payload.len() + RECORD_HEAD).sum());
    for (kind, payload) in records {
        let at = offset + encoded.len() as u64;
        write_record(&mut encoded, key, at, *kind, payload);
    }
    encoded
}

/// The records of bytes that [`write_record`] made.
fn records(mut encoded: &[u8]) -> Vec<(u8, &[u8])> {
    let mut records = Vec::new();
    while let Some((head, rest)) = encoded.split_at_checked(RECORD_HEAD) {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        records.push((head[3], payload));
        encoded = rest;
    }
    records
}
