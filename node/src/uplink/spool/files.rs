//! The segments of one stream on the disk. Blocking.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use starling_proto::{frame::Content, ids::WriterId};

use super::{
    super::pin::Pin,
    record::{self, Head},
};

/// A segment takes no further frame from this length on: some forty frames of 700 series. Small ones go soon.
const SEGMENT_BYTES: usize = 1024 * 1024;
/// How the name of a segment ends.
const SUFFIX: &str = "seg";

/// A frame that nobody has acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) content: Arc<Content>,
    pub(super) pin: Pin,
}

/// What happened to the frames of a stream.
#[derive(Debug, Clone)]
pub(in crate::uplink) enum Change {
    /// One was cut.
    Cut(Arc<Content>),
    /// One was offered for the first time.
    Offered { tick: u32, writer: WriterId },
    /// One need not be kept.
    Gone { tick: u32 },
    /// The aggregator was told that the stream ends.
    Ended,
}

/// The open segments of one stream. After an error it is of no use: [`Files::begin`] makes another one.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    head: Head,
    current: File,
    number: u64,
    length: usize,
    /// Frames that are still wanted, with the segment that holds each.
    places: BTreeMap<u32, u64>,
    /// Bytes of those before the current one.
    before: BTreeMap<u64, usize>,
    /// Written since the last sync, the current one not counted.
    not_synced: Vec<File>,
    buffer: Vec<u8>,
}

impl Files {
    /// Writes all that is kept of a stream whose newest second is `last_tick` into segments of their own, then removes those
    /// that were there.
    ///
    /// # Errors
    /// Of the file system; what was there before may still be there.
    pub(super) fn begin(folder: &Path, head: &Head, kept: &BTreeMap<u32, Kept>, last_tick: u32) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let there = segments(folder)?;
        let number = there.last().map_or(0, |last| last + 1);
        let current = create(folder, number)?;
        let mut files = Self {
            folder: folder.to_owned(),
            head: head.clone(),
            current,
            number,
            length: 0,
            places: BTreeMap::new(),
            before: BTreeMap::new(),
            not_synced: Vec::new(),
            buffer: Vec::new(),
        };
        record::put_head(&mut files.buffer, head);
        // Whether it is kept or not: that it was cut must be known.
        record::put_gone(&mut files.buffer, &[last_tick]);
        for (&tick, kept) in kept {
            files.put(&Change::Cut(Arc::clone(&kept.content)))?;
            if let Pin::To(writer) = kept.pin {
                files.put(&Change::Offered { tick, writer })?;
            }
        }
        files.flush()?;
        if !there.is_empty() {
            files.sync()?;
        }
        for number in there {
            fs::remove_file(path(folder, number))?;
        }
        Ok(files)
    }

    /// Writes down what happened.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn write(&mut self, changes: &[Change]) -> io::Result<()> {
        changes.iter().try_for_each(|change| self.put(change))?;
        self.flush()?;
        self.forget()
    }

    fn put(&mut self, change: &Change) -> io::Result<()> {
        match change {
            Change::Cut(content) => {
                if self.length + self.buffer.len() >= SEGMENT_BYTES {
                    self.next()?;
                }
                record::put_frame(&mut self.buffer, content);
                self.places.insert(content.tick, self.number);
            }
            Change::Offered { tick, writer } => record::put_offered(&mut self.buffer, *writer, &[*tick]),
            Change::Gone { tick } => {
                record::put_gone(&mut self.buffer, &[*tick]);
                self.places.remove(tick);
            }
            Change::Ended => record::put_ended(&mut self.buffer),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.current.write_all(&self.buffer)?;
        self.length += self.buffer.len();
        self.buffer.clear();
        Ok(())
    }

    /// Goes on in another segment.
    fn next(&mut self) -> io::Result<()> {
        self.flush()?;
        let next = create(&self.folder, self.number + 1)?;
        self.before.insert(self.number, self.length);
        (self.number, self.length) = (self.number + 1, 0);
        let full = std::mem::replace(&mut self.current, next);
        self.not_synced.push(full);
        record::put_head(&mut self.buffer, &self.head);
        Ok(())
    }

    /// Removes segments that hold nothing that is wanted, from the oldest on: what a later one says of the frames of an
    /// earlier one stays as long as those. The newest stays: it says which second was the last.
    fn forget(&mut self) -> io::Result<()> {
        let oldest = self.places.values().min().copied().unwrap_or(self.number);
        while let Some(entry) = self.before.first_entry().filter(|entry| *entry.key() < oldest) {
            fs::remove_file(path(&self.folder, *entry.key()))?;
            entry.remove();
        }
        // Their contents need not be on the disk any more.
        let gone = self.not_synced.len().saturating_sub(self.before.len());
        self.not_synced.drain(..gone);
        Ok(())
    }

    /// Returns when all that was written is on the disk.
    ///
    /// # Errors
    /// Of the file system. What was written may be lost then, though a second call succeeds.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        for file in self.not_synced.drain(..) {
            file.sync_data()?;
        }
        self.current.sync_data()?;
        File::open(&self.folder)?.sync_all()
    }

    /// Bytes on the disk.
    pub(super) fn bytes(&self) -> usize {
        self.length + self.before.values().sum::<usize>()
    }
}

/// Gives the contents of the segments in a folder, in their order, when they have `bytes_max` bytes at most.
///
/// # Errors
/// Of the file system.
pub(super) fn each(folder: &Path, bytes_max: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut left = bytes_max;
    for number in segments(folder)? {
        let path = path(folder, number);
        let length = fs::metadata(&path)?.len();
        left = left.checked_sub(length).ok_or_else(|| io::Error::other(format!("more than {bytes_max} bytes")))?;
        take(&fs::read(path)?);
    }
    Ok(())
}

/// Numbers of the segments in a folder, the oldest first.
fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_one = path.extension().is_some_and(|suffix| suffix == SUFFIX);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_one);
        numbers.extend(stem.and_then(|stem| u64::from_str_radix(stem, 16).ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.{SUFFIX}"))
}

fn create(folder: &Path, number: u64) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path(folder, number))
}
