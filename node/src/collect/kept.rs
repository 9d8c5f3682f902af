//! Files of `/proc` kept open and read in one go into a buffer that is kept too.
//!
//! Opening costs as much as reading for the small files of `/proc`, and a buffer that fits saves the second system
//! call; measured, this is two to twenty times cheaper than opening and parsing with the usual crates.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::PathBuf,
    time::Duration,
};

use super::{CollectError, refused::Refused};

/// First size of a buffer: `/proc/stat` of 16 cores and `/proc/net/netstat` fit.
const BUFFER_BYTES: usize = 8 * 1024;
/// Largest file taken: `/proc/stat` of 1,024 cores with all its interrupts stays below 1 MiB.
pub(super) const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest line of a file of short records; those of `/proc/net/dev` and `/proc/diskstats` stay below 250 bytes.
const RECORD_BYTES_MAX: usize = 512;
/// The kernel's first buffer for records is a page, which no machine has smaller (`seq_read_iter` in `fs/seq_file.c`).
const PAGE_BYTES_MIN: usize = 4096;

/// How the kernel makes the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One record (`single_open` in the kernel): a read that does not fill the buffer is the whole file.
    Single,
    /// A record per line (`seq_file` with an iterator): one read returns at most the kernel's own buffer, a page at
    /// first, however large ours is; only a read of nothing is the end.
    Records,
    /// As [`Shape::Records`], none of which is longer than [`RECORD_BYTES_MAX`]: a first read that leaves room for one is the
    /// whole file, which saves the second for small hosts.
    ShortRecords,
}

/// One file kept open.
#[derive(Debug)]
pub(super) struct KeptFile {
    path: PathBuf,
    shape: Shape,
    file: Option<File>,
    buffer: Vec<u8>,
    refused: Refused,
}

impl KeptFile {
    pub(super) fn new(path: PathBuf, shape: Shape) -> Self {
        Self::read_once_in(Duration::from_secs(1), path, shape)
    }

    /// One that is read less often than each second.
    pub(super) fn read_once_in(every: Duration, path: PathBuf, shape: Shape) -> Self {
        Self { path, shape, file: None, buffer: Vec::new(), refused: Refused::once_in(every) }
    }

    /// The content as of now. `None` when this host has no such file; it is looked for again at the next call.
    ///
    /// # Errors
    /// [`CollectError::Read`] when it exists and cannot be read, [`CollectError::TooLarge`] beyond
    /// [`FILE_BYTES_MAX`]. The file is opened again at the next call; one that may not be read, in ten minutes.
    pub(super) fn read(&mut self) -> Result<Option<&[u8]>, CollectError> {
        if let Some(source) = self.refused.stands() {
            return Err(CollectError::Read { path: self.path.clone(), source });
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => match File::open(&self.path) {
                Ok(file) => file,
                Err(error) if is_absent(&error) => return Ok(None),
                Err(source) => return Err(self.failed(source)),
            },
        };
        let length = match self.fill(&file) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                self.buffer = Vec::new();
                return Err(CollectError::TooLarge { path: self.path.clone(), bytes_max: FILE_BYTES_MAX });
            }
            Err(source) => return Err(self.failed(source)),
        };
        self.file = Some(file);
        Ok(Some(&self.buffer[..length]))
    }

    /// As [`KeptFile::read`], for a file that every Linux has: one that is not there is hidden from the daemon.
    ///
    /// # Errors
    /// As [`KeptFile::read`], and [`CollectError::Missing`].
    pub(super) fn read_what_must_be(&mut self) -> Result<&[u8], CollectError> {
        let path = self.path.clone();
        self.read()?.ok_or(CollectError::Missing { path })
    }

    fn failed(&mut self, source: io::Error) -> CollectError {
        self.refused.note(&source);
        CollectError::Read { path: self.path.clone(), source }
    }

    fn fill(&mut self, file: &File) -> io::Result<usize> {
        if self.buffer.is_empty() {
            self.buffer.resize(BUFFER_BYTES, 0);
        }
        let mut length = 0;
        loop {
            let read = match file.read_at(&mut self.buffer[length..], length as u64) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            length += read;
            if length < self.buffer.len() {
                // The kernel stops before a record that does not fit into its page: with so much room left there was none.
                let is_short = length == read && read > 0 && read + RECORD_BYTES_MAX < PAGE_BYTES_MIN;
                if self.shape == Shape::Single || read == 0 || (is_short && self.shape == Shape::ShortRecords) {
                    return Ok(length);
                }
                continue;
            }
            if length >= FILE_BYTES_MAX {
                return Err(ErrorKind::FileTooLarge.into());
            }
            self.buffer.resize(length * 2, 0);
            if self.shape == Shape::Single {
                // The rest would come from a record made later than the first part: read it whole.
                length = 0;
            }
        }
    }
}

/// True for errors that say "this kernel or host does not have it".
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn a_missing_file_is_not_a_failure_and_may_come_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("late");
        let mut kept = KeptFile::new(path.clone(), Shape::Single);
        assert!(kept.read().unwrap().is_none());
        fs::write(&path, "one").unwrap();
        assert_eq!(kept.read().unwrap().unwrap(), b"one");
        fs::write(&path, "").unwrap();
        assert_eq!(kept.read().unwrap().unwrap(), b"", "the descriptor was kept and sees the new content");
    }

    #[test]
    fn content_beyond_the_buffer_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        let lengths = [100_000, PAGE_BYTES_MIN, PAGE_BYTES_MIN - RECORD_BYTES_MAX, 10];
        let records = lengths.map(|length| (Shape::ShortRecords, length));
        let others = [(Shape::Single, 100_000), (Shape::Records, 100_000), (Shape::Single, BUFFER_BYTES)];
        for (shape, length) in records.into_iter().chain(others) {
            let content: Vec<u8> = (0..length).map(|i| b'a' + (i % 26) as u8).collect();
            fs::write(&path, &content).unwrap();
            let mut kept = KeptFile::new(path.clone(), shape);
            assert_eq!(kept.read().unwrap().unwrap(), content);
            assert_eq!(kept.read().unwrap().unwrap(), content);
        }
    }

    #[test]
    fn too_large_and_unreadable_are_failures() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge");
        fs::write(&path, vec![b'x'; FILE_BYTES_MAX + 1]).unwrap();
        let mut kept = KeptFile::new(path.clone(), Shape::Single);
        assert!(matches!(kept.read(), Err(CollectError::TooLarge { .. })));
        fs::write(&path, "small again").unwrap();
        assert_eq!(kept.read().unwrap().unwrap(), b"small again");
        let mut kept = KeptFile::new(dir.path().into(), Shape::Single);
        assert!(matches!(kept.read(), Err(CollectError::Read { .. })), "a directory");
    }

    #[test]
    fn what_may_not_be_read_is_not_asked_for_each_second() {
        // It is for writing only, and that holds for root too.
        let refused = Path::new("/proc/sys/vm/compact_memory");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::os::unix::fs::symlink(refused, &path).unwrap();
        let mut kept = KeptFile::new(path.clone(), Shape::Single);
        let Err(CollectError::Read { source, .. }) = kept.read() else {
            return eprintln!("NOT RUN: this kernel lets {} be read", refused.display());
        };
        if source.kind() != ErrorKind::PermissionDenied {
            return eprintln!("NOT RUN: {}: {source}", refused.display());
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, "it may be read now").unwrap();
        let refusals = (0..1_000).take_while(|_| kept.read().is_err()).count();
        assert_eq!(refusals, 600, "for ten minutes of reads it was not even opened");
    }

    #[test]
    fn the_kernel_gives_all_records() {
        // A page holds about 30 mounts or disks: read to the end whatever this host has.
        let shapes = [
            ("/proc/self/mountinfo", Shape::Records),
            ("/proc/filesystems", Shape::Records),
            ("/proc/filesystems", Shape::ShortRecords),
            // Many pages.
            ("/proc/crypto", Shape::ShortRecords),
        ];
        for (name, shape) in shapes {
            if !Path::new(name).exists() {
                continue;
            }
            let mut kept = KeptFile::new(name.into(), shape);
            let kept = kept.read().unwrap().unwrap().to_vec();
            assert_eq!(kept, fs::read(name).unwrap(), "{name}");
        }
    }
}
