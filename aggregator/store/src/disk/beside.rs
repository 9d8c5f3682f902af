//! The file system for a reader beside the process that has the store: whatever would change something is left undone.

use std::{io, path::Path, sync::Arc};

use super::{Disk, Lock, ReadFile, RealDisk, WriteFile};

/// See the module.
pub(crate) struct Beside;

impl Disk for Beside {
    fn create(&self, _: &Path) -> io::Result<Arc<dyn WriteFile>> {
        Err(only_read())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        RealDisk.open(path)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(only_read())
    }

    /// What is unfinished or replaced is not looked at; removing it is the other's work.
    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    /// A folder that is not there holds nothing.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        match RealDisk.list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        Ok(Some(Box::new(Unlocked)))
    }
}

struct Unlocked;

impl Lock for Unlocked {
    fn is_at(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

fn only_read() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the store is only read")
}
