//! The file system of this machine.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
    sync::Arc,
};

use super::{Disk, Lock, ReadFile, WriteFile};

pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn WriteFile>> {
        Ok(Arc::new(Appended(OpenOptions::new().append(true).create_new(true).open(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(Opened(File::open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(Locked(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

struct Appended(File);

impl WriteFile for Appended {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn is_at(&self, path: &Path) -> io::Result<()> {
        is_at(&self.0, path)
    }
}

/// Two `stat`s: some microseconds.
fn is_at(file: &File, path: &Path) -> io::Result<()> {
    let (here, there) = match (file.metadata(), fs::metadata(path)) {
        (Ok(here), Ok(there)) => (here, there),
        (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(io::Error::new(error.kind(), "it was deleted or moved away while this process has it open"));
        }
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    match (here.dev(), here.ino()) == (there.dev(), there.ino()) {
        true => Ok(()),
        false => Err(io::Error::other("another file stands there than the one that this process has open")),
    }
}

struct Opened(File);

impl ReadFile for Opened {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// The system releases the lock when the file is closed, also when the process is killed.
struct Locked(File);

impl Lock for Locked {
    fn is_at(&self, path: &Path) -> io::Result<()> {
        is_at(&self.0, path)
    }
}
