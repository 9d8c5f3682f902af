//! Writing a segment: beside, synced, renamed.

use std::{ops::Range, path::Path};

use bytes::Bytes;

use super::{
    index::Index,
    layout::{
        BLOCKS_MAX, BODY_MAX, BlockHead, BlockKey, Head, REPLACED_MAX, Row, SUBJECT_MAX, Trailer, footer_crc,
        write_block_head, write_head, write_trailer,
    },
    name::{SegmentId, SegmentName},
};
use crate::{
    checksum::plain,
    disk::{Disk, FileError, WriteFile, remove_if_there},
};

/// Gathered before it is handed to the file.
const BUFFER: usize = 1 << 20;

/// Why no segment was written. Nothing of it is left on disk, and nothing that was there has changed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The store was not opened with such a tier.
    #[error("there is no tier {0}")]
    NoSuchTier(u8),
    /// A window ends before it begins.
    #[error("a window from {} to {} holds no second", .0.start, .0.end)]
    EmptyWindow(Range<u32>),
    /// There was no block.
    #[error("a segment without blocks")]
    NoBlocks,
    /// More blocks than [`BLOCKS_MAX`].
    #[error("more than {BLOCKS_MAX} blocks in one segment")]
    TooManyBlocks,
    /// A block reaches out of the window.
    #[error("the block of {} from {} for {} s is not inside the window {} to {}", .key.subject, .key.start, .key.seconds, .window.start, .window.end)]
    OutsideWindow {
        /// The block.
        key: BlockKey,
        /// The window of the segment.
        window: Range<u32>,
    },
    /// A subject is empty or longer than [`SUBJECT_MAX`], or a body longer than [`BODY_MAX`].
    #[error("the block of {} from {}: a subject is 1 to {SUBJECT_MAX} bytes, a body at most {BODY_MAX}, this one {length}", .key.subject, .key.start)]
    TooLong {
        /// The block.
        key: BlockKey,
        /// Bytes of its body.
        length: usize,
    },
    /// What is to be replaced is not there, is of another tier, or reaches out of the window of the new segment.
    #[error("segment {0} cannot be replaced: it is not there, of another tier, or not inside the window")]
    NotReplaceable(SegmentId),
    /// More than a segment may replace.
    #[error("more than {REPLACED_MAX} segments to replace at once")]
    TooManyReplaced,
    /// The disk does not take it.
    #[error(transparent)]
    Disk(#[from] FileError),
}

/// A segment that is on disk and stays.
pub(crate) struct Sealed {
    pub(crate) name: SegmentName,
    pub(crate) index: Index,
}

/// Writes a segment into `folder`; `head` says what it covers and replaces.
pub(crate) fn seal(
    disk: &dyn Disk,
    folder: &Path,
    id: SegmentId,
    head: &Head,
    blocks: impl IntoIterator<Item = (BlockKey, u64, Bytes)>,
) -> Result<Sealed, WriteError> {
    let path = folder.join(format!("{id}.tmp"));
    let sealed = fill(disk, &path, id, head, blocks).and_then(|(bytes, index)| {
        let replaces = !head.replaced.is_empty();
        let name = SegmentName { start: head.start, end: head.end, id, bytes, replaces };
        let final_path = folder.join(name.to_string());
        disk.rename(&path, &final_path).map_err(FileError::at("cannot rename to", &final_path))?;
        if let Err(error) = disk.sync_folder(folder) {
            // The caller keeps what it has and writes it again: two copies of it would be right too, one is tidier.
            let _ = disk.remove(&final_path);
            return Err(FileError::at("cannot sync", folder)(error).into());
        }
        Ok(Sealed { name, index })
    });
    if sealed.is_err() {
        // Where even this fails, the next start removes it.
        let _ = remove_if_there(disk, &path);
    }
    sealed
}

fn fill(
    disk: &dyn Disk,
    path: &Path,
    id: SegmentId,
    head: &Head,
    blocks: impl IntoIterator<Item = (BlockKey, u64, Bytes)>,
) -> Result<(u64, Index), WriteError> {
    let window = head.start..head.end;
    let file = disk.create(path).map_err(FileError::at("cannot create", path))?;
    let mut out = Buffered { file: &*file, path, buffer: write_head(id, head), written: 0 };
    let mut rows = Vec::new();
    for (key, revision, body) in blocks {
        if rows.len() == BLOCKS_MAX {
            return Err(WriteError::TooManyBlocks);
        }
        if key.subject.is_empty() || key.subject.len() > SUBJECT_MAX || body.len() > BODY_MAX {
            return Err(WriteError::TooLong { key, length: body.len() });
        }
        let end = key.start.checked_add(key.seconds);
        if key.seconds == 0 || key.start < window.start || end.is_none_or(|end| end > window.end) {
            return Err(WriteError::OutsideWindow { key, window });
        }
        let head = BlockHead { key, revision, length: body.len() as u32, crc: plain(&body) };
        let offset = out.length();
        write_block_head(&mut out.buffer, id, offset, &head);
        rows.push(Row { head, offset: out.length() });
        out.push(&body)?;
    }
    if rows.is_empty() {
        return Err(WriteError::NoBlocks);
    }
    let index = Index::from_rows(rows);
    let footer = index.write();
    let trailer = Trailer {
        offset: out.length(),
        length: footer.len() as u32,
        blocks: index.entries().len() as u32,
        crc: footer_crc(id, &footer),
    };
    out.push(&footer)?;
    out.push(&write_trailer(id, trailer))?;
    let bytes = out.finish()?;
    Ok((bytes, index))
}

struct Buffered<'a> {
    file: &'a dyn WriteFile,
    path: &'a Path,
    buffer: Vec<u8>,
    written: u64,
}

impl Buffered<'_> {
    fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), FileError> {
        self.file.write(&self.buffer).map_err(FileError::at("cannot write", self.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<u64, FileError> {
        self.flush()?;
        self.file.sync().map_err(FileError::at("cannot sync", self.path))?;
        Ok(self.written)
    }
}
