//! Reading pieces of the log while it grows.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::record::{FileKey, Position};
use crate::disk::{Disk, FileError, ReadFile, read_exactly};

/// Files of the log that are kept open: some minutes of a log that grows by 5 MiB a second. Beyond it the oldest is closed.
const OPEN_MAX: usize = 64;

/// The log files that are read, each opened once.
pub(super) struct Readers {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// By number. Plain mutex.
    open: Mutex<BTreeMap<u64, Arc<Opened>>>,
}

struct Opened {
    path: PathBuf,
    file: Box<dyn ReadFile>,
}

impl Readers {
    pub(super) fn new(disk: Arc<dyn Disk>, folder: PathBuf) -> Readers {
        Readers { disk, folder, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Opened>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `length` bytes at `at`; `key` finds the file that is not open yet.
    pub(super) fn read(
        &self,
        at: Position,
        length: usize,
        key: impl FnOnce() -> Option<FileKey>,
    ) -> Result<Vec<u8>, FileError> {
        let known = self.open().get(&at.file).cloned();
        let file = match known {
            Some(file) => file,
            None => self.opened(at.file, key())?,
        };
        read_exactly(&*file.file, at.offset, length).map_err(FileError::at("cannot read", &file.path))
    }

    fn opened(&self, number: u64, key: Option<FileKey>) -> Result<Arc<Opened>, FileError> {
        let path = self.folder.join(key.map_or_else(|| format!("{number:016x}"), FileKey::name));
        let failed = FileError::at("cannot open", &path);
        let Some(_) = key else { return Err(failed(io::ErrorKind::NotFound.into())) };
        let file = self.disk.open(&path).map_err(failed)?;
        let file = Arc::new(Opened { path, file });
        let mut open = self.open();
        open.insert(number, file.clone());
        while open.len() > OPEN_MAX {
            open.pop_first();
        }
        Ok(file)
    }

    /// Closes the files before this one.
    pub(super) fn forget_before(&self, number: u64) {
        let mut open = self.open();
        *open = open.split_off(&number);
    }
}
