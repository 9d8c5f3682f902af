//! Finding the blocks of a segment whose footer is lost.

use super::{
    layout::{BLOCK_HEAD_MAX, MARKER, Row, read_block_head},
    name::SegmentId,
};
use crate::disk::{ReadFile, read_around_errors};

/// Read at once while looking for blocks; longer than the longest head.
const WINDOW: usize = 256 << 10;

/// Every block of the file whose head is whole. Bodies are skipped, not checked: reading one does that. Memory: one
/// window and the rows.
pub(super) fn rescan(file: &dyn ReadFile, id: SegmentId, length: u64) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut window = Window { file, length, at: 0, bytes: Vec::new() };
    let mut at = 0;
    loop {
        let bytes = window.from(at);
        if bytes.len() < MARKER.len() {
            return rows;
        }
        let Some(found) = bytes.windows(MARKER.len()).position(|four| four == MARKER) else {
            at += (bytes.len() - (MARKER.len() - 1)) as u64;
            continue;
        };
        let offset = at + found as u64;
        let Some(head) = read_block_head(window.from(offset), id, offset) else {
            at = offset + 1;
            continue;
        };
        let body = offset + head.encoded_length();
        at = body + u64::from(head.length);
        // A block that the end of the file cuts off is lost, and so is all behind it.
        if at <= length {
            rows.push(Row { head, offset: body });
        }
    }
}

struct Window<'a> {
    file: &'a dyn ReadFile,
    length: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// What there is from `at` on: a whole block head, or the rest of the file.
    fn from(&mut self, at: u64) -> &[u8] {
        let wanted = (BLOCK_HEAD_MAX as u64).min(self.length.saturating_sub(at));
        if at < self.at || at + wanted > self.at + self.bytes.len() as u64 {
            self.bytes.resize(WINDOW.min(self.length.saturating_sub(at) as usize), 0);
            self.at = at;
            let count = read_around_errors(self.file, &mut self.bytes, at);
            self.bytes.truncate(count);
        }
        self.bytes.get((at - self.at) as usize..).unwrap_or_default()
    }
}
