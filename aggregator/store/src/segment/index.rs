//! Which blocks a segment has, in memory.

use std::io;

use super::{
    BLOCKS_MAX, BODY_MAX,
    layout::{ROW, Row, TRAILER, footer_crc, read_trailer},
    name::SegmentId,
    scan::rescan,
};
use crate::{
    checksum::Fields,
    disk::{ReadFile, read_exactly},
};

/// A block, without its subject, which [`Index::subject`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    subject_at: u32,
    subject_length: u16,
    pub(crate) start: u32,
    pub(crate) seconds: u32,
    pub(crate) revision: u64,
    /// Of the body, in the file.
    pub(crate) offset: u64,
    pub(crate) length: u32,
    /// Of the body.
    pub(crate) crc: u32,
}

/// The blocks of a segment, sorted by subject, start and revision.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    subjects: Box<str>,
    entries: Box<[Entry]>,
}

impl Index {
    pub(super) fn from_rows(mut rows: Vec<Row>) -> Index {
        rows.sort_by(|a, b| (&a.head.key, a.head.revision).cmp(&(&b.head.key, b.head.revision)));
        let mut builder = Builder::default();
        for Row { head, offset } in &rows {
            let entry = Entry {
                subject_at: 0,
                subject_length: head.key.subject.len() as u16,
                start: head.key.start,
                seconds: head.key.seconds,
                revision: head.revision,
                offset: *offset,
                length: head.length,
                crc: head.crc,
            };
            builder.push(&head.key.subject, entry);
        }
        builder.finish()
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn subject(&self, entry: &Entry) -> &str {
        let from = entry.subject_at as usize;
        self.subjects.get(from..from + usize::from(entry.subject_length)).unwrap_or("")
    }

    /// The entries whose subject is `first` or later in order.
    pub(crate) fn entries_from(&self, first: &str) -> &[Entry] {
        &self.entries[self.entries.partition_point(|entry| self.subject(entry) < first)..]
    }

    /// What it takes in memory, bytes.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Index>() + self.subjects.len() + size_of_val(&*self.entries)
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * (ROW + 16));
        for entry in &self.entries {
            out.extend_from_slice(&entry.subject_length.to_le_bytes());
            out.extend_from_slice(self.subject(entry).as_bytes());
            out.extend_from_slice(&entry.start.to_le_bytes());
            out.extend_from_slice(&entry.seconds.to_le_bytes());
            out.extend_from_slice(&entry.revision.to_le_bytes());
            out.extend_from_slice(&entry.offset.to_le_bytes());
            out.extend_from_slice(&entry.length.to_le_bytes());
            out.extend_from_slice(&entry.crc.to_le_bytes());
        }
        out
    }

    /// Reads a footer whose checksum is right; `None` if it is none all the same. `end`: where bodies must end.
    fn read(footer: &[u8], blocks: u32, end: u64) -> Option<Index> {
        let blocks = blocks as usize;
        if blocks > BLOCKS_MAX || blocks.checked_mul(ROW)? > footer.len() {
            return None;
        }
        let mut builder = Builder { entries: Vec::with_capacity(blocks), ..Builder::default() };
        let mut fields = Fields(footer);
        for _ in 0..blocks {
            let subject_length = fields.u16()?;
            let subject = std::str::from_utf8(fields.bytes(subject_length.into())?).ok()?;
            let (start, seconds, revision) = (fields.u32()?, fields.u32()?, fields.u64()?);
            let (offset, length, crc) = (fields.u64()?, fields.u32()?, fields.u32()?);
            if length as usize > BODY_MAX || offset.checked_add(length.into())? > end {
                return None;
            }
            builder
                .push(subject, Entry { subject_at: 0, subject_length, start, seconds, revision, offset, length, crc });
        }
        fields.0.is_empty().then(|| builder.finish())
    }
}

#[derive(Default)]
struct Builder {
    subjects: String,
    entries: Vec<Entry>,
}

impl Builder {
    /// Subjects come in order, so equal ones stand once.
    fn push(&mut self, subject: &str, mut entry: Entry) {
        let last = self.entries.last().map(|last| (last.subject_at, last.subject_length));
        entry.subject_at = match last {
            Some((at, length)) if self.subjects[at as usize..at as usize + usize::from(length)] == *subject => at,
            _ => {
                self.subjects.push_str(subject);
                (self.subjects.len() - subject.len()) as u32
            }
        };
        self.entries.push(entry);
    }

    fn finish(self) -> Index {
        Index { subjects: self.subjects.into(), entries: self.entries.into() }
    }
}

/// An index and how it was come by.
pub(crate) struct Loaded {
    pub(crate) index: Index,
    /// The footer is damaged or missing: the blocks were found by reading the file from its start.
    pub(crate) rescanned: bool,
}

/// Reads the footer, and where there is none that is right, the file.
pub(crate) fn load(file: &dyn ReadFile, id: SegmentId) -> io::Result<Loaded> {
    let length = file.length()?;
    if let Some(index) = footer(file, id, length) {
        return Ok(Loaded { index, rescanned: false });
    }
    Ok(Loaded { index: Index::from_rows(rescan(file, id, length)), rescanned: true })
}

/// `None` as well when the disk cannot read the footer: it may still be able to read the blocks.
fn footer(file: &dyn ReadFile, id: SegmentId, length: u64) -> Option<Index> {
    let at = length.checked_sub(TRAILER as u64)?;
    let trailer = read_trailer(&read_exactly(file, at, TRAILER).ok()?, id)?;
    if trailer.offset.checked_add(trailer.length.into())? != at {
        return None;
    }
    let footer = read_exactly(file, trailer.offset, trailer.length as usize).ok()?;
    let right = footer_crc(id, &footer) == trailer.crc;
    right.then(|| Index::read(&footer, trailer.blocks, trailer.offset)).flatten()
}
