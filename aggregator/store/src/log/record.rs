//! How a record and the head of a log file look in bytes.
//!
//! ```text
//! file    "STRLLOG1" number:8 salt:4 void-file:8 void-offset:8 crc:4
//! record  marker:3 kind:1 length:4 crc-of-payload:4 crc-of-the-12-before:4 payload
//! ```
//! Numbers are little-endian. Both checksums of a record are seeded with the file (number and salt, which its name
//! carries too, so that a damaged head costs nothing) and the second with the offset: a record is valid only in its place.

use std::fmt;

use crate::checksum::{Fields, placed, plain};

/// Where resynchronising looks for the next record. No byte of it occurs in UTF-8 text.
pub(super) const MARKER: [u8; 3] = [0xF9, 0xC1, 0xFE];

/// Bytes of a record before its payload.
pub(crate) const RECORD_HEAD: usize = 16;

const MAGIC: &[u8; 8] = b"STRLLOG1";

/// Bytes of a log file before its first record.
pub(crate) const FILE_HEAD: usize = 40;

/// A place in the log. Later records have greater positions, over restarts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Number of the log file.
    pub file: u64,
    /// Bytes from its start.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

/// Which file a record is in, for its checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileKey {
    pub(crate) number: u64,
    pub(crate) salt: u32,
}

impl FileKey {
    fn seed(self) -> u64 {
        self.number ^ (u64::from(self.salt) << 32)
    }

    pub(crate) fn name(self) -> String {
        format!("{:016x}-{:08x}.log", self.number, self.salt)
    }

    pub(crate) fn parse(name: &str) -> Option<FileKey> {
        let (number, salt) = name.strip_suffix(".log")?.split_once('-')?;
        let key = FileKey { number: u64::from_str_radix(number, 16).ok()?, salt: u32::from_str_radix(salt, 16).ok()? };
        (key.name() == name).then_some(key)
    }
}

/// The head of a file. Records at or after `void`, in files before this one, do not count: what had to be kept of them
/// was written again in this one, because a write or a sync of theirs failed.
pub(crate) fn file_head(key: FileKey, void: Position) -> [u8; FILE_HEAD] {
    let mut bytes = [0; FILE_HEAD];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&key.number.to_le_bytes());
    bytes[16..20].copy_from_slice(&key.salt.to_le_bytes());
    bytes[20..28].copy_from_slice(&void.file.to_le_bytes());
    bytes[28..36].copy_from_slice(&void.offset.to_le_bytes());
    let crc = placed(key.seed(), 0, &[&bytes[..36]]);
    bytes[36..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Where the records that this file replaces begin; `None` when the head is damaged.
pub(crate) fn read_file_head(bytes: &[u8], key: FileKey) -> Option<Position> {
    let mut fields = Fields(bytes);
    let checked = Fields(bytes).bytes(36)?;
    let magic = fields.bytes(8)?;
    let (number, salt) = (fields.u64()?, fields.u32()?);
    let void = Position { file: fields.u64()?, offset: fields.u64()? };
    let right =
        magic == MAGIC && (FileKey { number, salt }) == key && fields.u32()? == placed(key.seed(), 0, &[checked]);
    right.then_some(void)
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    pub(crate) length: u32,
    crc: u32,
}

impl Head {
    /// Whether `payload` is what was written.
    pub(crate) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.length as usize && plain(payload) == self.crc
    }
}

/// Appends a record that will stand at `offset` of the file `key`. `payload` is shorter than 4 GiB, by its own limit.
pub(crate) fn write_record(out: &mut Vec<u8>, key: FileKey, offset: u64, kind: u8, payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&MARKER);
    out.push(kind);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&plain(payload).to_le_bytes());
    let crc = placed(key.seed(), offset, &[&out[start..]]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
}

/// The head of the record at `offset`; `None` when there is none.
pub(crate) fn read_head(bytes: &[u8], key: FileKey, offset: u64) -> Option<Head> {
    let mut fields = Fields(bytes);
    let checked = Fields(bytes).bytes(12)?;
    if fields.bytes(3)? != MARKER {
        return None;
    }
    let kind = fields.bytes(1)?[0];
    let head = Head { kind, length: fields.u32()?, crc: fields.u32()? };
    (fields.u32()? == placed(key.seed(), offset, &[checked])).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: FileKey = FileKey { number: 7, salt: 0xDEAD };

    #[test]
    fn names_of_files_sort_by_number_and_read_back() {
        assert_eq!(FileKey::parse(&KEY.name()), Some(KEY));
        assert!(KEY.name() < FileKey { number: 16, salt: 0 }.name());
        for wrong in ["7-dead.log", "0000000000000007-0000dead.tmp", "0000000000000007-0000DEAD.log", ""] {
            assert_eq!(FileKey::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_record_is_valid_only_in_its_place() {
        let mut bytes = Vec::new();
        write_record(&mut bytes, KEY, 40, 3, b"abc");
        let head = read_head(&bytes, KEY, 40).unwrap();
        assert!((head.kind, head.length) == (3, 3) && head.fits(b"abc") && !head.fits(b"abd"));
        assert_eq!(read_head(&bytes, KEY, 41), None);
        assert_eq!(read_head(&bytes, FileKey { number: 8, ..KEY }, 40), None);
        assert_eq!(read_head(&bytes, FileKey { salt: 1, ..KEY }, 40), None);
        for at in 0..RECORD_HEAD {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert_eq!(read_head(&flipped, KEY, 40), None, "byte {at}");
        }
    }

    #[test]
    fn the_head_of_a_file_reads_back_and_no_flipped_byte_passes() {
        let void = Position { file: 3, offset: 99 };
        let head = file_head(KEY, void);
        assert_eq!(read_file_head(&head, KEY), Some(void));
        for at in 0..FILE_HEAD {
            let mut flipped = head;
            flipped[at] ^= 1;
            assert_eq!(read_file_head(&flipped, KEY), None, "byte {at}");
        }
        assert_eq!(read_file_head(&head[..FILE_HEAD - 1], KEY), None);
    }
}
