//! How a record and the head of a log file look in bytes.
//!
//! ```text
//! file    "STRLLOG1" number:8 salt:4 crc:4
//! record  marker:3 kind:1 length:4 crc-of-payload:4 crc-of-the-12-before:4 payload
//! ```
//! Numbers are little-endian. The second checksum of a record is seeded with the file (number and salt, which its name
//! carries, so that a damaged head costs nothing) and the offset: a record is valid only in its place.

use std::fmt;

use crate::checksum::{Fields, placed, plain};

/// Where resynchronising looks for the next record. No byte of it occurs in UTF-8 text.
pub(super) const MARKER: [u8; 3] = [0xF9, 0xC1, 0xFE];

/// Bytes of a record before its payload.
pub(crate) const RECORD_HEAD: usize = 16;

const MAGIC: &[u8; 8] = b"STRLLOG1";

/// Bytes of a log file before its first record.
pub(crate) const FILE_HEAD: usize = 24;

/// A place in the log. Later records have greater positions, over restarts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Number of the log file.
    pub file: u64,
    /// Bytes from its start.
    pub offset: u64,
}

impl Position {
    /// Where the payload of each record begins, of those whose append returned this position; by their lengths.
    #[must_use]
    pub fn payloads(self, lengths: &[usize]) -> Vec<Position> {
        let mut end = self.offset;
        let mut starts: Vec<Position> = lengths
            .iter()
            .rev()
            .map(|length| {
                let start = end.saturating_sub(*length as u64);
                end = start.saturating_sub(RECORD_HEAD as u64);
                Position { file: self.file, offset: start }
            })
            .collect();
        starts.reverse();
        starts
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

/// Which file a record is in, and which records of earlier files it declares void. All of it is in the name, which a
/// file system changes as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileKey {
    pub(crate) number: u64,
    pub(crate) salt: u32,
    /// Records at or after this, in files before this one, do not count: a write or a sync of theirs failed, and what
    /// had to be kept of them was written again in this file before it got its name.
    pub(crate) void: Option<Position>,
}

impl FileKey {
    fn seed(self) -> u64 {
        self.number ^ (u64::from(self.salt) << 32)
    }

    /// `NUMBER-SALT.log` or `NUMBER-SALT-FILE-OFFSET.log`, in hexadecimal.
    pub(crate) fn name(self) -> String {
        let FileKey { number, salt, void } = self;
        match void {
            None => format!("{number:016x}-{salt:08x}.log"),
            Some(Position { file, offset }) => format!("{number:016x}-{salt:08x}-{file:016x}-{offset:x}.log"),
        }
    }

    pub(crate) fn parse(name: &str) -> Option<FileKey> {
        let mut parts = name.strip_suffix(".log")?.split('-');
        let mut number = || Some(u64::from_str_radix(parts.next()?, 16));
        let key = FileKey {
            number: number()?.ok()?,
            salt: number()?.ok()?.try_into().ok()?,
            void: match number() {
                None => None,
                Some(file) => Some(Position { file: file.ok()?, offset: number()?.ok()? }),
            },
        };
        // Beyond any number a store reaches, and so that the next one exists.
        (key.name() == name && key.number < u64::MAX / 2).then_some(key)
    }
}

/// What stands before the first record.
pub(crate) fn file_head(key: FileKey) -> [u8; FILE_HEAD] {
    let mut bytes = [0; FILE_HEAD];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&key.number.to_le_bytes());
    bytes[16..20].copy_from_slice(&key.salt.to_le_bytes());
    let crc = placed(key.seed(), 0, &[&bytes[..20]]);
    bytes[20..].copy_from_slice(&crc.to_le_bytes());
    bytes
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

    const KEY: FileKey = FileKey { number: 7, salt: 0xDEAD, void: None };

    #[test]
    fn names_of_files_sort_by_number_and_read_back() {
        let void = FileKey { void: Some(Position { file: 3, offset: 99 }), ..KEY };
        for key in [KEY, void] {
            assert_eq!(FileKey::parse(&key.name()), Some(key));
        }
        assert!(KEY.name() < FileKey { number: 16, ..KEY }.name());
        for wrong in [
            "7-dead.log",
            "0000000000000007-0000dead.tmp",
            "0000000000000007-0000DEAD.log",
            "0000000000000007-0000dead-0000000000000003.log",
            "ffffffffffffffff-0000dead.log",
            "",
        ] {
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
}
