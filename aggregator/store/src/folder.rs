//! The folder of a store: taking it, and finding what is in it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    checksum::plain,
    disk::{Disk, FileError, Lock, read_exactly, remove_if_there},
    log::{FileKey, LOST, UNFINISHED},
    quarantine,
    segment::{SegmentId, SegmentName},
};

/// What this build writes and reads. Another number needs a way from this one.
const VERSION: u32 = 1;

/// Most tiers: four are usual, and their number fits a byte.
const TIERS_MAX: usize = 16;

pub(crate) const LOCK: &str = "LOCK";
pub(crate) const FORMAT: &str = "FORMAT";
pub(crate) const LOG: &str = "log";
pub(crate) const SEGMENTS: &str = "segments";
/// What a snapshot consists of; in a snapshot alone.
pub(crate) const SNAPSHOT: &str = "SNAPSHOT";
/// Where a restore comes from, while it is not finished.
pub(crate) const RESTORING: &str = "RESTORING";

/// Names that may stand in a folder that has no `FORMAT`; anything else means that it is not ours.
const EXPECTED: [&str; 6] = [LOCK, LOG, SEGMENTS, "FORMAT.tmp", SNAPSHOT, "lost+found"];

/// Why a store was not opened. Nothing in its folder has changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by another process; a store has one user at a time", .0.display())]
    InUse(PathBuf),
    /// The folder holds other things and no store.
    #[error("{} holds `{found}` and no store; give an empty folder or that of a store", path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// There is nothing to read.
    #[error("{} holds no store", .0.display())]
    NoStore(PathBuf),
    /// A restore into it was not finished.
    #[error(
        "{} is half restored; run the restore from {} again, which finishes it (`starling store restore`)",
        path.display(), from
    )]
    HalfRestored {
        /// The folder.
        path: PathBuf,
        /// The snapshot.
        from: String,
    },
    /// A later version wrote it.
    #[error("{} has format {version}, this program reads format {VERSION}; run the version that wrote it or a later one", path.display())]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// The version that it has.
        version: u32,
    },
    /// A tier's name cannot be that of a folder.
    #[error("`{0}` is no name of a tier: 1 to 16 of a-z, 0-9, each once, at most {TIERS_MAX} tiers")]
    TierName(String),
    /// The disk refuses something that opening needs.
    #[error(transparent)]
    Disk(#[from] FileError),
}

/// What opening found beside the data, for the log of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Unfinished files of a process that ended while it wrote them, removed.
    pub unfinished: usize,
    /// Segments that a later one replaces, removed: the process ended between the two.
    pub replaced: usize,
    /// `FORMAT` was missing or damaged; it was written again, or will be when there is space.
    pub format_damaged: bool,
    /// Heads of segments that replace others and are damaged: both may be there, each block then comes twice.
    pub damaged_heads: Vec<PathBuf>,
    /// Names in the folder that no store writes, left alone.
    pub unknown: Vec<PathBuf>,
}

impl Findings {
    /// Whether there is anything that a person should be told; what a crash leaves is not.
    pub fn is_noteworthy(&self) -> bool {
        self.format_damaged || !self.damaged_heads.is_empty() || !self.unknown.is_empty()
    }
}

/// A folder that this process has for itself.
pub(crate) struct Folder {
    pub(crate) root: PathBuf,
    pub(crate) log: PathBuf,
    /// By tier.
    pub(crate) tiers: Vec<PathBuf>,
    pub(crate) findings: Findings,
    /// Held, never used.
    lock: Box<dyn Lock>,
}

impl Folder {
    pub(crate) fn take(disk: &Arc<dyn Disk>, root: &Path, tiers: &[String]) -> Result<Folder, OpenError> {
        for (at, name) in tiers.iter().enumerate() {
            let right = (1..=16).contains(&name.len()) && at < TIERS_MAX && !tiers[..at].contains(name);
            if !right || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
                return Err(OpenError::TierName(name.clone()));
            }
        }
        let create = |path: &Path| disk.create_folder(path).map_err(FileError::at("cannot create", path));
        create(root)?;
        let names = list(&**disk, root)?;
        if names.iter().any(|name| name == RESTORING) {
            let from = half_restored_from(root);
            return Err(OpenError::HalfRestored { path: root.to_owned(), from });
        }
        let had_format = names.iter().any(|name| name == FORMAT);
        let foreign = names.iter().find(|name| !EXPECTED.contains(&name.as_str()));
        if let (false, Some(found)) = (had_format, foreign) {
            return Err(OpenError::NotAStore { path: root.to_owned(), found: found.clone() });
        }
        let lock_path = root.join(LOCK);
        let lock = disk.lock(&lock_path).map_err(FileError::at("cannot lock", &lock_path))?;
        let lock = lock.ok_or_else(|| OpenError::InUse(root.to_owned()))?;
        let mut findings = Findings::default();
        match read_format(&**disk, &root.join(FORMAT)) {
            Some(VERSION) => {}
            Some(version) => return Err(OpenError::NewerFormat { path: root.to_owned(), version }),
            None => {
                findings.format_damaged = had_format || names.iter().any(|name| name == LOG || name == SEGMENTS);
                let written = write_format(&**disk, root);
                // A full disk must not keep a store from being read.
                if !findings.format_damaged {
                    written?;
                }
            }
        }
        let log = root.join(LOG);
        create(&log)?;
        let segments = root.join(SEGMENTS);
        let tiers: Vec<PathBuf> = tiers.iter().map(|name| segments.join(name)).collect();
        for tier in &tiers {
            create(tier)?;
        }
        for folder in [&segments, root] {
            // The new folders themselves; where this fails, so will the first sync of what is in them.
            let _ = disk.sync_folder(folder);
        }
        let strange = |name: &&String| !EXPECTED.contains(&name.as_str()) && name.as_str() != FORMAT;
        findings.unknown.extend(names.iter().filter(strange).map(|name| root.join(name)));
        Ok(Folder { root: root.to_owned(), log, tiers, findings, lock })
    }

    /// The files of the log.
    pub(crate) fn log_files(&mut self, disk: &dyn Disk) -> Result<Vec<(FileKey, PathBuf)>, OpenError> {
        let mut files = Vec::new();
        for name in list(disk, &self.log)? {
            let path = self.log.join(&name);
            match FileKey::parse(&name) {
                Some(key) => files.push((key, path)),
                None if name.ends_with(UNFINISHED) => {
                    remove_if_there(disk, &path).map_err(FileError::at("cannot remove", &path))?;
                    self.findings.unfinished += 1;
                }
                None => self.findings.unknown.push(path),
            }
        }
        Ok(files)
    }

    /// Whether the folder that this process took is still the one of that name.
    ///
    /// # Errors
    /// When it was deleted, moved away, replaced or mounted over: what is written would be somewhere else, or nowhere.
    pub(crate) fn is_in_place(&self) -> Result<(), FileError> {
        let path = self.root.join(LOCK);
        self.lock.is_at(&path).map_err(FileError::at(LOST, &path))
    }

    /// The segments of a tier, by their names alone, and which of them have a note of bad blocks. Removes what a process
    /// left unfinished.
    pub(crate) fn segments(&mut self, disk: &dyn Disk, tier: usize) -> Result<Shelf, OpenError> {
        let folder = &self.tiers[tier];
        let mut shelf = Shelf::default();
        for name in list(disk, folder)? {
            let path = folder.join(&name);
            if let Some(segment) = SegmentName::parse(&name) {
                shelf.segments.push((segment, path));
            } else if let Some(id) = quarantine::parse_name(&name) {
                shelf.noted.push((id, path));
            } else if name.ends_with(".tmp") {
                remove_if_there(disk, &path).map_err(FileError::at("cannot remove", &path))?;
                self.findings.unfinished += 1;
            } else {
                self.findings.unknown.push(path);
            }
        }
        Ok(shelf)
    }
}

/// Whether a folder looks like that of a store.
pub(crate) fn is_store(root: &Path) -> bool {
    [FORMAT, LOG, SEGMENTS, RESTORING].iter().any(|name| root.join(name).exists())
}

/// The snapshot that an unfinished restore read from.
pub(crate) fn half_restored_from(root: &Path) -> String {
    let text = std::fs::read_to_string(root.join(RESTORING)).unwrap_or_default();
    let text: String = text.trim().chars().filter(|one| !one.is_control()).take(1_024).collect();
    if text.is_empty() { "its snapshot".to_owned() } else { text }
}

/// What a tier's folder holds.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) segments: Vec<(SegmentName, PathBuf)>,
    /// Notes of bad blocks.
    pub(crate) noted: Vec<(SegmentId, PathBuf)>,
}

fn list(disk: &dyn Disk, folder: &Path) -> Result<Vec<String>, FileError> {
    disk.list(folder).map_err(FileError::at("cannot list", folder))
}

/// The version in `FORMAT`; `None` when it is not there, cannot be read or is damaged. Each file says its own version
/// too, so this one is for a clear error and nothing depends on it alone.
fn read_format(disk: &dyn Disk, path: &Path) -> Option<u32> {
    let file = disk.open(path).ok()?;
    let bytes = read_exactly(&*file, 0, file.length().ok()?.min(256) as usize).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (line, crc) = text.strip_suffix('\n')?.rsplit_once(" crc ")?;
    let right = u32::from_str_radix(crc, 16).ok()? == plain(line.as_bytes());
    right.then(|| line.strip_prefix("starling-store format ")?.parse().ok())?
}

fn format_text(version: u32) -> String {
    let line = format!("starling-store format {version}");
    format!("{line} crc {:08x}\n", plain(line.as_bytes()))
}

fn write_format(disk: &dyn Disk, root: &Path) -> Result<(), FileError> {
    let temporary = root.join("FORMAT.tmp");
    let path = root.join(FORMAT);
    let written = remove_if_there(disk, &temporary).and_then(|()| {
        let file = disk.create(&temporary)?;
        file.write(format_text(VERSION).as_bytes())?;
        file.sync()?;
        disk.rename(&temporary, &path)?;
        disk.sync_folder(root)
    });
    written.map_err(FileError::at("cannot write", &path))
}
