//! The segments that there are: who reads them, and how they go.

use std::{
    io,
    ops::Range,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use crate::{
    disk::{Disk, FileError, ReadFile, remove_if_there},
    segment::{SegmentId, SegmentName},
};

/// A segment on disk. Opened for each read: that costs some microseconds and holds no descriptor.
pub(crate) struct Segment {
    pub(crate) tier: u8,
    pub(crate) name: SegmentName,
    pub(crate) path: PathBuf,
    /// Set before the file is removed while somebody still holds the segment: it stays readable for these.
    last_handle: OnceLock<Box<dyn ReadFile>>,
}

/// What a reader reads from.
pub(crate) enum Opened<'a> {
    Now(Box<dyn ReadFile>),
    Held(&'a (dyn ReadFile + 'static)),
}

impl std::ops::Deref for Opened<'_> {
    type Target = dyn ReadFile;

    fn deref(&self) -> &(dyn ReadFile + 'static) {
        match self {
            Opened::Now(file) => &**file,
            Opened::Held(file) => *file,
        }
    }
}

impl Segment {
    pub(crate) fn new(tier: u8, name: SegmentName, path: PathBuf) -> Arc<Segment> {
        Arc::new(Segment { tier, name, path, last_handle: OnceLock::new() })
    }

    pub(crate) fn open(&self, disk: &dyn Disk) -> Result<Opened<'_>, FileError> {
        if let Some(held) = self.last_handle.get() {
            return Ok(Opened::Held(&**held));
        }
        match disk.open(&self.path) {
            Ok(file) => Ok(Opened::Now(file)),
            // Removed between the two lines: then the handle is there now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.last_handle.get() {
                Some(held) => Ok(Opened::Held(&**held)),
                None => Err(FileError::at("cannot open", &self.path)(error)),
            },
            Err(error) => Err(FileError::at("cannot open", &self.path)(error)),
        }
    }

    /// Removes the file of a segment that nobody finds any more; those who hold it go on reading it, and its bytes are
    /// free when the last lets go.
    pub(crate) fn remove(self: &Arc<Segment>, disk: &dyn Disk) -> Result<(), FileError> {
        if Arc::strong_count(self) > 1
            && let Ok(file) = disk.open(&self.path)
        {
            let _ = self.last_handle.set(file);
        }
        remove_if_there(disk, &self.path).map_err(FileError::at("cannot remove", &self.path))
    }

    pub(crate) fn window(&self) -> Range<u32> {
        self.name.start..self.name.end
    }

    pub(crate) fn info(&self) -> SegmentInfo {
        SegmentInfo { id: self.name.id, tier: self.tier, window: self.window(), bytes: self.name.bytes }
    }
}

/// A segment, seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its id; rises with the time of writing.
    pub id: SegmentId,
    /// Its tier.
    pub tier: u8,
    /// The seconds that its blocks lie in, Unix time.
    pub window: Range<u32>,
    /// Bytes of the file.
    pub bytes: u64,
}
