//! Everything the store does to a disk, behind one small trait, so that tests can run out of space, fail a sync or lose
//! what was not synced.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

mod beside;
mod real;
#[cfg(test)]
pub(crate) mod simulated;

pub(crate) use self::{beside::Beside, real::RealDisk};

/// A file system, as far as the store needs one. Paths are whole.
pub(crate) trait Disk: Send + Sync {
    /// Creates a file that must not exist yet, for appending.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn WriteFile>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;
    /// Renames over whatever stands at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names in a folder; those that are no UTF-8 are left out, no file of the store has such a name.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Creates a folder and those above it; no error when it exists.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a folder safe from power loss.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Takes the exclusive lock on a file until the returned value is dropped; `None` when another process has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;
}

/// A file that grows at its end.
pub(crate) trait WriteFile: Send + Sync {
    /// Appends all of `bytes`, in one call of the system where it takes them whole. After an error an unknown part of
    /// them is in the file.
    fn write(&self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written safe from power loss. After an error nobody knows what is, and asking again proves
    /// nothing: the system reports a failed write-back once and then takes the pages for clean.
    fn sync(&self) -> io::Result<()>;
    /// Whether `path` still names this file: else what is written to it is gone when it is closed.
    ///
    /// # Errors
    /// That it does not, in words.
    fn is_at(&self, path: &Path) -> io::Result<()>;
}

/// A file that is read anywhere.
pub(crate) trait ReadFile: Send + Sync {
    fn length(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`; how much there was.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// Held while a store is open.
pub(crate) trait Lock: Send + Sync {
    /// As [`WriteFile::is_at`].
    fn is_at(&self, path: &Path) -> io::Result<()>;
}

/// Reads exactly `length` bytes.
pub(crate) fn read_exactly(file: &dyn ReadFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    if file.read_at(&mut bytes, offset)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// What a page of the disk is here: the piece that is given up when it cannot be read.
const PIECE: usize = 4096;

/// Fills `buffer` from `offset` as far as the file goes. Pieces that the disk cannot read are filled with zeros, which
/// no checksum takes for valid, so that what stands behind them is still found.
pub(crate) fn read_around_errors(file: &dyn ReadFile, buffer: &mut [u8], offset: u64) -> usize {
    if let Ok(count) = file.read_at(buffer, offset) {
        return count;
    }
    let end = file.length().unwrap_or(0).saturating_sub(offset).min(buffer.len() as u64) as usize;
    let mut done = 0;
    while done < end {
        let piece = PIECE.min(end - done);
        let part = &mut buffer[done..done + piece];
        if file.read_at(part, offset + done as u64).is_err() {
            part.fill(0);
        }
        done += piece;
    }
    done
}

/// Removes a file; one that is gone already is no error.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// An error with the file it happened to.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}: {error}", path.display())]
pub struct FileError {
    /// What was tried, such as "cannot write".
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub error: io::Error,
}

impl FileError {
    pub(crate) fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + use<'a> {
        move |error| FileError { action, path: path.to_owned(), error }
    }
}
