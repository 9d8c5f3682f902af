//! Checksums that also say where bytes belong.

use crc32fast::Hasher;

/// CRC-32 (IEEE 802.3) over `parts`, seeded with the file they belong to and their place in it.
///
/// Finds every change of up to 32 bits in a row, so every flipped byte. The seed makes whole, valid bytes of another file
/// or another place invalid here: a file system may show old contents of the disk after a power loss, and a foreign block
/// may carry something that looks like a record.
pub(crate) fn placed(file: u64, offset: u64, parts: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&file.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// CRC-32 of `bytes` alone, for contents whose place is checked elsewhere.
pub fn plain(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// 32 bits that differ from file to file, so that bytes of one are not taken for bytes of another.
pub(crate) fn salt() -> u32 {
    use std::hash::{BuildHasher as _, Hasher as _};
    // The standard library seeds each of these from the system's randomness.
    let mixed = std::collections::hash_map::RandomState::new().build_hasher().finish();
    (mixed ^ (mixed >> 32)) as u32
}

/// Reads little-endian numbers off the front of bytes; `None` where they end.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.bytes(2)?.try_into().ok()?))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }
}
