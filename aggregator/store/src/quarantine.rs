//! Blocks that turned out corrupt are set aside: named, counted, never read again.
//!
//! A file `ID.bad` beside the segment remembers them, one line each with a checksum of its own: a line that is damaged
//! is passed over, and its block found corrupt again when it is next read.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    checksum::placed,
    disk::{Disk, read_exactly, remove_if_there},
    segment::{BlockKey, SegmentId},
};

/// Most blocks remembered of one segment; of one that has more, the rest is found corrupt whenever it is read.
const REMEMBERED_MAX: usize = 10_000;

/// A block whose bytes are not those that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadBlock {
    /// The file it is in.
    pub path: PathBuf,
    /// The tier of the segment.
    pub tier: u8,
    /// What it was about. Control characters of a subject are replaced in what is read back after a restart.
    pub key: BlockKey,
    /// Its revision.
    pub revision: u64,
    /// Where its body begins in the file.
    pub offset: u64,
    /// Bytes of the body.
    pub bytes: u32,
}

/// The blocks that are set aside, by segment.
#[derive(Default)]
pub(crate) struct Quarantine {
    bad: Mutex<BTreeMap<SegmentId, Vec<BadBlock>>>,
}

impl Quarantine {
    /// The blocks of a segment that are set aside.
    pub(crate) fn of(&self, id: SegmentId) -> Vec<BadBlock> {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned().unwrap_or_default()
    }

    /// Sets a block aside; false if it was already. The file is written as well as the disk allows: it only spares the
    /// next process finding out again.
    pub(crate) fn add(&self, disk: &dyn Disk, id: SegmentId, block: &BadBlock) -> bool {
        let mut bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        let of_segment = bad.entry(id).or_default();
        if of_segment.iter().any(|known| known.offset == block.offset) {
            return false;
        }
        if of_segment.len() < REMEMBERED_MAX {
            let path = sidecar(&block.path, id);
            of_segment.push(block.clone());
            let _ = write(disk, &path, id, of_segment);
        }
        true
    }

    /// Reads what an earlier process noted.
    pub(crate) fn load(&self, disk: &dyn Disk, segment: &Path, tier: u8, id: SegmentId) {
        let read = disk.open(&sidecar(segment, id)).and_then(|file| {
            // A line is at most some 600 bytes.
            let length = file.length()?.min((REMEMBERED_MAX * 1024) as u64);
            read_exactly(&*file, 0, length as usize)
        });
        let Ok(bytes) = read else { return };
        let text = String::from_utf8_lossy(&bytes);
        let blocks: Vec<BadBlock> = text.lines().filter_map(|line| parse(line, segment, tier, id)).collect();
        if !blocks.is_empty() {
            self.bad.lock().unwrap_or_else(PoisonError::into_inner).insert(id, blocks);
        }
    }

    /// A segment is gone, and with it what was bad in it.
    pub(crate) fn forget(&self, disk: &dyn Disk, segment: &Path, id: SegmentId) {
        if self.bad.lock().unwrap_or_else(PoisonError::into_inner).remove(&id).is_some() {
            // What stays is removed by the next start.
            let _ = remove_if_there(disk, &sidecar(segment, id));
        }
    }

    /// All of them.
    pub(crate) fn list(&self) -> Vec<BadBlock> {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).values().flatten().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum()
    }

    /// Bytes of the files that note the blocks of a tier.
    pub(crate) fn disk_bytes(&self, tier: u8) -> u64 {
        let bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tier = bad.iter().filter(|(_, blocks)| blocks.first().is_some_and(|block| block.tier == tier));
        of_tier.map(|(id, blocks)| text(*id, blocks).len() as u64).sum()
    }
}

/// The file that notes the bad blocks of a segment.
fn sidecar(segment: &Path, id: SegmentId) -> PathBuf {
    segment.with_file_name(format!("{id}.bad"))
}

/// The segment whose bad blocks a file of this name notes.
pub(crate) fn parse_name(name: &str) -> Option<SegmentId> {
    let id = SegmentId(u64::from_str_radix(name.strip_suffix(".bad")?, 16).ok()?);
    (format!("{id}.bad") == name).then_some(id)
}

fn text(id: SegmentId, blocks: &[BadBlock]) -> String {
    let mut text = String::new();
    for BadBlock { key: BlockKey { subject, start, seconds }, revision, offset, bytes, .. } in blocks {
        let subject = subject.replace(char::is_control, "\u{FFFD}");
        let line = format!("{offset} {bytes} {start} {seconds} {revision} {subject}");
        let _ = writeln!(text, "{:08x} {line}", placed(id.0, 2, &[line.as_bytes()]));
    }
    text
}

fn write(disk: &dyn Disk, path: &Path, id: SegmentId, blocks: &[BadBlock]) -> std::io::Result<()> {
    let temporary = path.with_extension("bad.tmp");
    remove_if_there(disk, &temporary)?;
    disk.create(&temporary)?.write(text(id, blocks).as_bytes())?;
    disk.rename(&temporary, path)
}

fn parse(line: &str, segment: &Path, tier: u8, id: SegmentId) -> Option<BadBlock> {
    let (crc, line) = line.split_once(' ')?;
    if u32::from_str_radix(crc, 16).ok()? != placed(id.0, 2, &[line.as_bytes()]) {
        return None;
    }
    let mut parts = line.splitn(6, ' ');
    let (offset, bytes) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let (start, seconds) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let revision = parts.next()?.parse().ok()?;
    let key = BlockKey { subject: parts.next()?.into(), start, seconds };
    Some(BadBlock { path: segment.to_owned(), tier, key, revision, offset, bytes })
}
