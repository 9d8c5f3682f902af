//! Copies of a whole store: of a running one to a folder of its own, and back into an empty folder.
//!
//! Segments never change and a log file only grows, so that most of a copy on the same file system are further names of the
//! same files (hard links): instant, and free until the store deletes them. The file that the log grows in is copied as long
//! as it is; a record that was being appended may end it unfinished, which the next open cuts. The log is taken before the
//! segments: what leaves it meanwhile is in a segment by then. Segments are listed again until nothing new is there and
//! nothing went.
//!
//! A copy is made beside its place and renamed at the end; `SNAPSHOT` in it lists its files, with a checksum. While a restore
//! is not finished, `RESTORING` keeps every process from opening the folder.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use crate::{
    checksum::plain,
    disk::{Disk as _, FileError, Lock, RealDisk},
    folder::{FORMAT, LOCK, LOG, OpenError, RESTORING, SEGMENTS, SNAPSHOT, is_store},
    log::{FileKey, UNFINISHED},
    quarantine,
    segment::SegmentName,
};

/// Copied at once between two calls of the progress callback.
const PIECE: usize = 4 << 20;
/// Lists of segments before a copy is given up: one changes when a window is sealed, once in some seconds at most.
const ROUNDS_MAX: usize = 100;

/// How far a copy is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyProgress {
    /// Files copied or linked.
    pub files: usize,
    /// Of so many, as far as is known.
    pub files_total: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// What a copy consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files that share their bytes with the original.
    pub linked: usize,
}

/// Why there is no copy. Nothing of it is left, but for a restore that was interrupted.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Neither a store nor something to begin with.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The target holds something.
    #[error("{} is not empty (it holds `{found}`): nothing is ever written over; give another folder, or move it away", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// A folder that is no snapshot, or a part of one.
    #[error("{} is no whole snapshot: {reason}", path.display())]
    NotWhole {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Segments came and went faster than they were copied.
    #[error("the segments of {} changed {ROUNDS_MAX} times while they were copied; try again", .0.display())]
    Restless(PathBuf),
    /// The callback ended it.
    #[error("it was stopped")]
    Stopped,
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] FileError),
}

/// Copies the store in `from`, which a process may have and write to, to the folder `to`, which must not exist or be empty:
/// everything that was appended, synced or written before the call is in it. `progress` is called at least every 4 MiB or
/// file; a break ends it.
///
/// # Errors
/// [`CopyError`]; nothing is left of it then.
pub fn snapshot(
    from: &Path,
    to: &Path,
    mut progress: impl FnMut(&CopyProgress) -> ControlFlow<()>,
) -> Result<Copied, CopyError> {
    if !is_store(from) {
        return Err(OpenError::NoStore(from.to_owned()).into());
    }
    if from.join(RESTORING).exists() {
        let half = crate::folder::half_restored_from(from);
        return Err(OpenError::HalfRestored { path: from.to_owned(), from: half }.into());
    }
    must_be_empty(to, &[])?;
    let partial = beside(to);
    remove_tree(&partial)?;
    let copied = (|| {
        let mut copy = Copy::begin(from, &partial, &mut progress)?;
        copy.log()?;
        copy.segments()?;
        // Written again by whoever opens a store without one.
        if from.join(FORMAT).exists() {
            copy.file(FORMAT, false)?;
        }
        copy.finish_snapshot()
    })();
    let renamed = copied.and_then(|copied| {
        let _ = fs::remove_dir(to);
        fs::rename(&partial, to).map_err(FileError::at("cannot rename", &partial))?;
        sync_folder(to.parent().unwrap_or(to))?;
        Ok(copied)
    });
    if renamed.is_err() {
        // The error that is told is the first one.
        let _ = remove_tree(&partial);
    }
    renamed
}

/// Puts the snapshot `from` into the folder `to`, which must not exist or hold nothing. One that was interrupted is finished
/// by the same call again; until then no process opens the folder.
///
/// # Errors
/// [`CopyError`].
pub fn restore(
    from: &Path,
    to: &Path,
    mut progress: impl FnMut(&CopyProgress) -> ControlFlow<()>,
) -> Result<Copied, CopyError> {
    let files = listed(from)?;
    must_be_empty(to, &[LOCK, RESTORING, LOG, SEGMENTS, FORMAT])?;
    let begun = to.join(RESTORING).exists();
    if !begun {
        must_be_empty(to, &[LOCK])?;
    }
    fs::create_dir_all(to).map_err(FileError::at("cannot create", to))?;
    let _lock = lock(to)?;
    write_whole(&to.join(RESTORING), format!("{}\n", from.display()).as_bytes())?;
    // Of an interrupted one.
    for folder in [LOG, SEGMENTS] {
        remove_tree(&to.join(folder))?;
    }
    let mut copy = Copy::begin(from, to, &mut progress)?;
    copy.state.files_total = files.len();
    for (name, _) in files.iter().filter(|(name, _)| name != FORMAT) {
        copy.file(name, !name.ends_with(".bad"))?;
    }
    if files.iter().any(|(name, _)| name == FORMAT) {
        let _ = fs::remove_file(to.join(FORMAT));
        copy.file(FORMAT, false)?;
    }
    copy.sync()?;
    let copied = copy.copied;
    let marker = to.join(RESTORING);
    fs::remove_file(&marker).map_err(FileError::at("cannot remove", &marker))?;
    sync_folder(to)?;
    Ok(copied)
}

struct Copy<'a> {
    from: &'a Path,
    to: &'a Path,
    progress: &'a mut dyn FnMut(&CopyProgress) -> ControlFlow<()>,
    state: CopyProgress,
    copied: Copied,
    /// Names and bytes of the files that are there.
    files: Vec<(String, u64)>,
    folders: BTreeSet<PathBuf>,
}

impl<'a> Copy<'a> {
    fn begin(
        from: &'a Path,
        to: &'a Path,
        progress: &'a mut dyn FnMut(&CopyProgress) -> ControlFlow<()>,
    ) -> Result<Self, CopyError> {
        let state = CopyProgress::default();
        let mut copy =
            Self { from, to, progress, state, copied: Copied::default(), files: Vec::new(), folders: BTreeSet::new() };
        for folder in ["", LOG, SEGMENTS] {
            copy.folder(folder)?;
        }
        Ok(copy)
    }

    fn folder(&mut self, name: &str) -> Result<(), CopyError> {
        let path = if name.is_empty() { self.to.to_owned() } else { self.to.join(name) };
        fs::create_dir_all(&path).map_err(FileError::at("cannot create", &path))?;
        self.folders.insert(path);
        Ok(())
    }

    /// All but the newest file never change again.
    fn log(&mut self) -> Result<(), CopyError> {
        let names = list(&self.from.join(LOG))?;
        let mut keys: Vec<FileKey> = names.iter().filter_map(|name| FileKey::parse(name)).collect();
        keys.sort_by_key(|key| key.number);
        let newest = keys.last().map(|key| key.number);
        for key in keys {
            self.file(&format!("{LOG}/{}", key.name()), Some(key.number) != newest)?;
        }
        Ok(())
    }

    fn segments(&mut self) -> Result<(), CopyError> {
        let tiers = list(&self.from.join(SEGMENTS))?;
        let mut known = BTreeSet::new();
        for _ in 0..ROUNDS_MAX {
            let mut changed = false;
            for tier in &tiers {
                let folder = format!("{SEGMENTS}/{tier}");
                self.folder(&folder)?;
                let names = list(&self.from.join(&folder))?;
                let of_store =
                    |name: &&String| SegmentName::parse(name).is_some() || quarantine::parse_name(name).is_some();
                let new: Vec<String> = names
                    .iter()
                    .filter(of_store)
                    .map(|name| format!("{folder}/{name}"))
                    .filter(|name| !known.contains(name))
                    .collect();
                self.state.files_total = self.state.files + new.len();
                for name in new {
                    changed = true;
                    // A note of bad blocks is written again under its name.
                    self.file(&name, !name.ends_with(".bad"))?;
                    known.insert(name);
                }
            }
            if !changed {
                return Ok(());
            }
        }
        Err(CopyError::Restless(self.from.to_owned()))
    }

    /// Copies one file, or gives it a further name; one that is gone is left out.
    fn file(&mut self, name: &str, linked: bool) -> Result<(), CopyError> {
        let (from, to) = (self.from.join(name), self.to.join(name));
        if let Some(folder) = name.rsplit_once('/').map(|(folder, _)| folder) {
            self.folder(folder)?;
        }
        let before = self.copied.bytes;
        let there = if linked && fs::hard_link(&from, &to).is_ok() {
            self.copied.linked += 1;
            self.copied.bytes += fs::metadata(&to).map_err(FileError::at("cannot read", &to))?.len();
            true
        } else {
            self.copy(&from, &to)?
        };
        if there {
            self.files.push((name.to_owned(), self.copied.bytes - before));
            self.copied.files += 1;
            self.state.files += 1;
        }
        self.show()
    }

    /// False when there is nothing at `from`.
    fn copy(&mut self, from: &Path, to: &Path) -> Result<bool, CopyError> {
        let mut source = match File::open(from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(FileError::at("cannot open", from))?,
        };
        // It may grow meanwhile.
        let mut left = source.metadata().map_err(FileError::at("cannot read", from))?.len();
        let cannot_write = || FileError::at("cannot write", to);
        let mut target = OpenOptions::new().write(true).create_new(true).open(to).map_err(cannot_write())?;
        let mut piece = vec![0; PIECE];
        while left > 0 {
            let wanted = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
            let count = source.read(&mut piece[..wanted]).map_err(FileError::at("cannot read", from))?;
            if count == 0 {
                break;
            }
            target.write_all(&piece[..count]).map_err(cannot_write())?;
            left -= count as u64;
            self.copied.bytes += count as u64;
            self.show()?;
        }
        target.sync_data().map_err(cannot_write())?;
        Ok(true)
    }

    fn show(&mut self) -> Result<(), CopyError> {
        self.state.bytes = self.copied.bytes;
        match (self.progress)(&self.state) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(CopyError::Stopped),
        }
    }

    fn sync(&self) -> Result<(), CopyError> {
        self.folders.iter().rev().try_for_each(|folder| sync_folder(folder))
    }

    fn finish_snapshot(self) -> Result<Copied, CopyError> {
        let mut text = String::new();
        for (name, bytes) in &self.files {
            let _ = writeln!(text, "{bytes} {name}");
        }
        let crc = plain(text.as_bytes());
        let _ = writeln!(text, "crc {crc:08x}");
        write_whole(&self.to.join(SNAPSHOT), text.as_bytes())?;
        self.sync()?;
        Ok(self.copied)
    }
}

/// The files of a snapshot, all of which are there and as long as they were.
fn listed(from: &Path) -> Result<Vec<(String, u64)>, CopyError> {
    let not_whole = |reason: String| CopyError::NotWhole { path: from.to_owned(), reason };
    let text = fs::read_to_string(from.join(SNAPSHOT))
        .map_err(|error| not_whole(format!("it has no readable file `{SNAPSHOT}` ({error})")))?;
    let (lines, crc) = text.trim_end().rsplit_once("crc ").ok_or_else(|| not_whole("its list is cut".to_owned()))?;
    if u32::from_str_radix(crc, 16).ok() != Some(plain(lines.as_bytes())) {
        return Err(not_whole("its list is damaged".to_owned()));
    }
    let mut files = Vec::new();
    for line in lines.lines() {
        let parsed = line.split_once(' ').and_then(|(bytes, name)| Some((name, bytes.parse::<u64>().ok()?)));
        let Some((name, bytes)) =
            parsed.filter(|(name, _)| !name.split('/').any(|part| part == ".." || part.is_empty()))
        else {
            return Err(not_whole(format!("its list has the line {line:?}")));
        };
        let found = fs::metadata(from.join(name)).map_err(|error| not_whole(format!("{name}: {error}")))?.len();
        if found != bytes {
            return Err(not_whole(format!("{name} has {found} bytes instead of {bytes}")));
        }
        files.push((name.to_owned(), bytes));
    }
    Ok(files)
}

fn must_be_empty(path: &Path, but: &[&str]) -> Result<(), CopyError> {
    let names = list(path)?;
    let found = names.into_iter().find(|name| name != "lost+found" && !but.contains(&name.as_str()));
    found.map_or(Ok(()), |found| Err(CopyError::NotEmpty { path: path.to_owned(), found }))
}

/// Names in a folder; none when it is not there.
fn list(folder: &Path) -> Result<Vec<String>, CopyError> {
    match RealDisk.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => Ok(listed.map_err(FileError::at("cannot list", folder))?),
    }
}

fn lock(root: &Path) -> Result<Box<dyn Lock>, CopyError> {
    let path = root.join(LOCK);
    let lock = RealDisk.lock(&path).map_err(FileError::at("cannot lock", &path))?;
    Ok(lock.ok_or_else(|| OpenError::InUse(root.to_owned()))?)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(UNFINISHED);
    path.with_file_name(name)
}

fn remove_tree(path: &Path) -> Result<(), CopyError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::at("cannot remove", path)(error).into())
        }
        _ => Ok(()),
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CopyError> {
    let temporary = beside(path);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&temporary, path)?;
        RealDisk.sync_folder(path.parent().unwrap_or(path))
    });
    Ok(written.map_err(FileError::at("cannot write", path))?)
}

fn sync_folder(path: &Path) -> Result<(), CopyError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    Ok(RealDisk.sync_folder(path).map_err(FileError::at("cannot sync", path))?)
}
