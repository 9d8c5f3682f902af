//! Frames that nobody has acknowledged, on the disk: whatever ends the daemon, the next start hands them over.
//!
//! One folder for each node, in it one for each stream with its segments (`record` has their bytes). The ring of the uplink
//! stays what is sent from; a thread writes down what happens to it (`writer`). What the ring has no room for is put aside: it is
//! on the disk alone, at most [`ASIDE_MAX`] frames of it, and is read back when an aggregator takes it. A start reads what is
//! there ([`open`]):
//!
//! - the newest stream goes on, when the machine has not been started anew and nothing is damaged: then every second that
//!   was cut in it is known;
//! - of others what is kept is handed over, and they end.
//!
//! A frame whose first offer is not known is passed on whole by whoever gets it ([`super::pin::Pin::Unknown`]): the ledger
//! recognises it by its name, so that it counts once whatever the disk has lost.

mod files;
mod record;
mod recover;
mod writer;

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use starling_proto::ids::{NodeId, StreamId};

pub(super) use files::{Aside, Change};
pub(super) use record::Head;
pub(crate) use recover::Former;
use recover::Reader;
pub(super) use writer::{Answer, Writer};

/// Frames of one stream that are kept on the disk alone: six hours, as much as aggregators make up for. Of more the oldest go.
pub(super) const ASIDE_MAX: usize = 6 * 3_600;
/// Bytes that one stream may take on the disk: some 3 kB a frame, twice what a host with 700 series needs. Of more the oldest
/// segment goes.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most that is read of one stream at a start. What is longer was not written by a daemon.
const STREAM_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Streams that are handed over at a start, the newest; a step of the clock begins one, and so does a start of the machine.
const STREAMS_MAX: usize = 3;
/// Locked by the daemon whose folder it is.
const LOCK: &str = "lock";

/// Where the frames of a daemon are kept, and what its starts before left there.
#[derive(Debug)]
pub(crate) struct Spool {
    /// Of the node.
    folder: PathBuf,
    /// Held as long as this daemon runs.
    _lock: File,
}

/// What a start finds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The stream that goes on.
    pub(crate) current: Option<Former>,
    /// Streams to be handed over, the oldest first.
    pub(crate) former: Vec<Former>,
    /// Records and streams that could not be read, or for which there is no room.
    pub(crate) unreadable: u32,
}

impl Spool {
    /// Takes the folder of `node` below `folder` and reads it. Blocking.
    ///
    /// # Errors
    /// That another daemon has it, or of the file system.
    pub(crate) fn open(folder: &Path, node: &NodeId, boot: [u8; 16], now: u32) -> io::Result<(Self, Found)> {
        let folder = folder.join(node.as_str());
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other(format!("{}: another daemon has it", folder.display())),
            TryLockError::Error(error) => error,
        })?;
        let spool = Self { folder, _lock: lock };
        let mut found = Found::default();
        let mut streams: Vec<Former> = Vec::new();
        for entry in fs::read_dir(&spool.folder)? {
            let path = entry?.path();
            let stream = path.file_name().and_then(|name| name.to_str()).and_then(StreamId::from_hex);
            let Some(stream) = stream else { continue };
            match read(&path).filter(|former| former.head.node == *node && former.head.stream == stream) {
                Some(former) => {
                    found.unreadable += former.damaged;
                    streams.push(former);
                }
                None => {
                    found.unreadable += 1;
                    fs::remove_dir_all(&path)?;
                }
            }
        }
        streams.sort_by_key(|former| former.last_tick);
        found.current = streams.pop_if(|newest| newest.goes_on(boot, now));
        for nothing in streams.extract_if(.., |former| former.len() == 0) {
            fs::remove_dir_all(spool.of(nothing.head.stream))?;
        }
        let too_many = streams.len().saturating_sub(STREAMS_MAX);
        for former in streams.drain(..too_many) {
            found.unreadable += 1;
            fs::remove_dir_all(spool.of(former.head.stream))?;
        }
        found.former = streams;
        Ok((spool, found))
    }

    /// The folder of a stream.
    pub(super) fn of(&self, stream: StreamId) -> PathBuf {
        self.folder.join(stream.to_string())
    }
}

/// What stands in the folder of a stream; `None` when nothing there can be read.
fn read(folder: &Path) -> Option<Former> {
    let mut reader = Reader::default();
    files::each(folder, STREAM_BYTES_MAX, |number, bytes| reader.segment(number, bytes)).ok()?;
    let mut former = reader.end()?;
    former.ended |= files::is_cut_short(folder);
    Some(former)
}

#[cfg(test)]
mod tests;
