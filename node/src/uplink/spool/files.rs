//! The segments of one stream on the disk. Blocking.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use starling_proto::{frame::Content, ids::WriterId, interner::Interner};

use super::{
    super::pin::Pin,
    record::{self, Frames, Head, Record},
};

/// A segment takes no further frame from this length on. Small ones go soon.
const SEGMENT_BYTES: usize = 1024 * 1024;
/// Nor from so many frames on: to read one of them back, those before it are read too.
const SEGMENT_FRAMES: u32 = 300;
/// How the name of a segment ends.
const SUFFIX: &str = "seg";

/// Stands in a folder whose last records are missing.
const CUT_SHORT: &str = "cut-short";

/// A frame that nobody has acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) content: Arc<Content>,
    pub(super) pin: Pin,
}

/// Frames for which there is no room in memory: they are on the disk alone, until they are read back.
#[derive(Debug, Clone, Default)]
pub(in crate::uplink) struct Aside {
    /// By second, with whose it is and the segment that holds it.
    pub(super) frames: BTreeMap<u32, (Pin, u64)>,
    /// Others that stand in segments and are not wanted.
    pub(super) unwanted: BTreeMap<u32, u64>,
}

impl Aside {
    fn segments(&self) -> BTreeSet<u64> {
        self.frames.values().map(|&(_, place)| place).collect()
    }
}

/// What happened to the frames of a stream.
#[derive(Debug, Clone)]
pub(in crate::uplink) enum Change {
    /// One was cut.
    Cut(Arc<Content>),
    /// One was offered for the first time.
    Offered { tick: u32, writer: WriterId },
    /// There is no room for one in memory: it is kept on the disk alone.
    Aside { tick: u32 },
    /// Frames that were put aside are to be read back.
    Fetch { ticks: Vec<u32> },
    /// Some need not be kept.
    Gone { ticks: Vec<u32> },
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
    frames: Frames,
    frames_len: u32,
    /// Frames that are still wanted, with the segment that holds each.
    places: BTreeMap<u32, u64>,
    /// Others that stand in the segments.
    unwanted: BTreeMap<u32, u64>,
    /// Bytes of those before the current one.
    before: BTreeMap<u64, usize>,
    /// Written since the last sync, the current one not counted.
    not_synced: Vec<File>,
    buffer: Vec<u8>,
}

impl Files {
    /// Writes all that is kept in memory of a stream whose newest second is `last_tick` into segments of their own, then
    /// removes those that were there, but for the ones that hold what is `aside`.
    ///
    /// # Errors
    /// Of the file system; what was there before may still be there.
    pub(super) fn begin(
        folder: &Path,
        head: &Head,
        (kept, aside): (&BTreeMap<u32, Kept>, &Aside),
        last_tick: u32,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let there = segments(folder)?;
        let staying = aside.segments();
        let (stays, goes): (Vec<u64>, Vec<u64>) = there.iter().partition(|number| staying.contains(number));
        let number = there.last().map_or(0, |last| last + 1);
        let before = stays.iter().map(|&stays| Ok((stays, fs::metadata(path(folder, stays))?.len() as usize)));
        let mut files = Self {
            folder: folder.to_owned(),
            head: head.clone(),
            current: create(folder, number)?,
            number,
            length: 0,
            frames: Frames::default(),
            frames_len: 0,
            places: aside.frames.iter().map(|(&tick, &(_, place))| (tick, place)).collect(),
            unwanted: aside.unwanted.clone(),
            before: before.collect::<io::Result<_>>()?,
            not_synced: Vec::new(),
            buffer: Vec::new(),
        };
        record::put_head(&mut files.buffer, head);
        // Whether it is kept or not: that it was cut must be known.
        record::put_gone(&mut files.buffer, &[last_tick]);
        files.unwanted.retain(|tick, place| staying.contains(place) && !kept.contains_key(tick));
        let unwanted: Vec<u32> = files.unwanted.keys().copied().collect();
        record::put_gone(&mut files.buffer, &unwanted);
        let pins = kept.iter().map(|(&tick, kept)| (tick, kept.pin));
        for (tick, pin) in aside.frames.iter().map(|(&tick, &(pin, _))| (tick, pin)).chain(pins) {
            if let Some(kept) = kept.get(&tick) {
                files.put(&Change::Cut(Arc::clone(&kept.content)))?;
            }
            if let Pin::To(writer) = pin {
                files.put(&Change::Offered { tick, writer })?;
            }
        }
        files.flush()?;
        if !there.is_empty() {
            files.sync()?;
        }
        for number in goes {
            fs::remove_file(path(folder, number))?;
        }
        match fs::remove_file(folder.join(CUT_SHORT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(files),
        }
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
                if self.length + self.buffer.len() >= SEGMENT_BYTES || self.frames_len >= SEGMENT_FRAMES {
                    self.next()?;
                }
                self.frames.put(&mut self.buffer, content);
                self.frames_len += 1;
                self.places.insert(content.tick, self.number);
            }
            Change::Offered { tick, writer } => record::put_offered(&mut self.buffer, *writer, &[*tick]),
            Change::Gone { ticks } => {
                record::put_gone(&mut self.buffer, ticks);
                let places = ticks.iter().filter_map(|tick| Some((*tick, self.places.remove(tick)?)));
                self.unwanted.extend(places);
            }
            Change::Ended => record::put_ended(&mut self.buffer),
            Change::Aside { .. } | Change::Fetch { .. } => {}
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
        (self.frames, self.frames_len) = (Frames::default(), 0);
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
            let (number, _) = entry.remove_entry();
            self.unwanted.retain(|_, &mut place| place != number);
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

    /// Reads frames back; those that cannot be read are not among them.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn fetch(&self, ticks: &[u32]) -> io::Result<Vec<Arc<Content>>> {
        let mut wanted: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
        for tick in ticks {
            if let Some(&place) = self.places.get(tick) {
                wanted.entry(place).or_default().insert(*tick);
            }
        }
        let (mut fetched, names) = (Vec::new(), Interner::default());
        for (place, mut ticks) in wanted {
            record::each(&fs::read(path(&self.folder, place))?, &names, |record| {
                if let Record::Frame(content) = record
                    && ticks.remove(&content.tick)
                {
                    fetched.push(Arc::new(content));
                }
            });
        }
        Ok(fetched)
    }

    /// Ends after an error, and leaves what is `aside` of frames, whose places it notes, where it can be read.
    ///
    /// # Errors
    /// Of the file system: nothing that is there may be used then.
    pub(super) fn cut_short(self, aside: &mut Aside) -> io::Result<()> {
        aside.frames.retain(|tick, (_, place)| self.places.get(tick).map(|at| *place = *at).is_some());
        aside.unwanted = self.unwanted;
        // Those in memory may be acknowledged before they are written again.
        aside.unwanted.extend(self.places.into_iter().filter(|(tick, _)| !aside.frames.contains_key(tick)));
        cut_short(&self.folder, aside)
    }

    /// Removes the oldest segment but the current one with all that is in it, and returns which frames that were.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn drop_oldest(&mut self) -> io::Result<Vec<u32>> {
        let Some((oldest, _)) = self.before.pop_first() else { return Ok(Vec::new()) };
        fs::remove_file(path(&self.folder, oldest))?;
        let lost: Vec<u32> = self.places.iter().filter(|&(_, &place)| place == oldest).map(|(&tick, _)| tick).collect();
        self.places.retain(|_, &mut place| place != oldest);
        self.unwanted.retain(|_, &mut place| place != oldest);
        let gone = self.not_synced.len().saturating_sub(self.before.len());
        self.not_synced.drain(..gone);
        Ok(lost)
    }

    /// Bytes on the disk.
    pub(super) fn bytes(&self) -> usize {
        self.length + self.before.values().sum::<usize>()
    }
}

/// Removes the segments but those that hold what is `aside`, and says that what was written last is not there: the stream must
/// not go on in another process. [`Files::begin`] takes that back.
pub(super) fn cut_short(folder: &Path, aside: &Aside) -> io::Result<()> {
    let staying = aside.segments();
    // This makes room for the rest.
    for number in segments(folder)?.into_iter().filter(|number| !staying.contains(number)) {
        fs::remove_file(path(folder, number))?;
    }
    File::create(folder.join(CUT_SHORT))?;
    File::open(folder)?.sync_all()
}

/// Whether what was written last of a stream is not there.
pub(super) fn is_cut_short(folder: &Path) -> bool {
    folder.join(CUT_SHORT).exists()
}

/// Gives the contents of the segments in a folder, in their order, when they have `bytes_max` bytes at most.
///
/// # Errors
/// Of the file system.
pub(super) fn each(folder: &Path, bytes_max: u64, mut take: impl FnMut(u64, &[u8])) -> io::Result<()> {
    let mut left = bytes_max;
    for number in segments(folder)? {
        let path = path(folder, number);
        let length = fs::metadata(&path)?.len();
        left = left.checked_sub(length).ok_or_else(|| io::Error::other(format!("more than {bytes_max} bytes")))?;
        take(number, &fs::read(path)?);
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
