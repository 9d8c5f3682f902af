//! The bytes of heads, of blocks and of a footer's rows.

use super::name::SegmentId;
use crate::checksum::{Fields, placed};

/// Longest subject, bytes: a group is at most a label of 63 bytes with a value of 255, a node's name is shorter.
pub const SUBJECT_MAX: usize = 512;

/// Longest body of a block. One subject over one window, compressed, is some KiB to some MiB.
pub const BODY_MAX: usize = 64 << 20;

/// Most blocks of one segment: 10,000 subjects over a day in hours are 240,000. The index of one segment is bounded by it.
pub const BLOCKS_MAX: usize = 1 << 20;

/// Most segments that one may replace: a month of hours is 744.
pub(crate) const REPLACED_MAX: usize = 4096;

const MAGIC: &[u8; 8] = b"STRLSEG1";
const END_MAGIC: &[u8; 8] = b"STRLEND1";

/// Where a rescan looks for the next block. No byte of it occurs in UTF-8 text.
pub(super) const MARKER: [u8; 4] = [0xFB, 0xC0, 0xF7, 0xFD];

/// Bytes before a block's subject, and of the checksum behind it.
pub(super) const BLOCK_HEAD: usize = 30;
pub(super) const BLOCK_HEAD_CRC: usize = 4;

/// Longest head of a block.
pub(super) const BLOCK_HEAD_MAX: usize = BLOCK_HEAD + SUBJECT_MAX + BLOCK_HEAD_CRC;

pub(super) const TRAILER: usize = 32;

/// Bytes of a footer's row beside its subject.
pub(super) const ROW: usize = 34;

/// What a block is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockKey {
    /// Whose data it is; text that the store only compares.
    pub subject: Box<str>,
    /// First second, Unix time.
    pub start: u32,
    /// How many seconds it stands for, at least 1.
    pub seconds: u32,
}

impl BlockKey {
    /// The second after its last.
    pub fn end(&self) -> u32 {
        self.start.saturating_add(self.seconds)
    }
}

/// What the head of a segment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) tier: Box<str>,
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) replaced: Vec<SegmentId>,
}

/// Bytes of a head; what stands before the first block.
pub(crate) fn head_length(tier: &str, replaced: usize) -> usize {
    8 + 8 + 4 + 4 + 2 + tier.len() + 4 + 8 * replaced + 4
}

pub(super) fn write_head(id: SegmentId, head: &Head) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&id.0.to_le_bytes());
    out.extend_from_slice(&head.start.to_le_bytes());
    out.extend_from_slice(&head.end.to_le_bytes());
    out.extend_from_slice(&(head.tier.len() as u16).to_le_bytes());
    out.extend_from_slice(head.tier.as_bytes());
    out.extend_from_slice(&(head.replaced.len() as u32).to_le_bytes());
    for replaced in &head.replaced {
        out.extend_from_slice(&replaced.0.to_le_bytes());
    }
    let crc = placed(id.0, 0, &[&out]);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// The head that `bytes`, the start of the file, hold; `None` when it is damaged or cut.
pub(crate) fn read_head(bytes: &[u8], id: SegmentId) -> Option<Head> {
    let mut fields = Fields(bytes);
    if fields.bytes(8)? != MAGIC || fields.u64()? != id.0 {
        return None;
    }
    let (start, end) = (fields.u32()?, fields.u32()?);
    let length = fields.u16()?.into();
    let tier = std::str::from_utf8(fields.bytes(length)?).ok()?.into();
    let count = fields.u32()? as usize;
    let listed = fields.bytes(count.checked_mul(8)?)?;
    let checked = &bytes[..bytes.len() - fields.0.len()];
    let right = count <= REPLACED_MAX && fields.u32()? == placed(id.0, 0, &[checked]);
    let replaced = listed.chunks_exact(8).filter_map(|id| Some(SegmentId(Fields(id).u64()?))).collect();
    right.then_some(Head { tier, start, end, replaced })
}

/// The head of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockHead {
    pub(crate) key: BlockKey,
    pub(crate) revision: u64,
    pub(crate) length: u32,
    /// CRC-32 of the body.
    pub(crate) crc: u32,
}

impl BlockHead {
    pub(super) fn encoded_length(&self) -> u64 {
        block_head_length(&self.key.subject)
    }
}

/// Bytes of the head of a block of this subject.
pub(crate) fn block_head_length(subject: &str) -> u64 {
    (BLOCK_HEAD + subject.len() + BLOCK_HEAD_CRC) as u64
}

pub(super) fn write_block_head(out: &mut Vec<u8>, id: SegmentId, offset: u64, head: &BlockHead) {
    let begin = out.len();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&head.length.to_le_bytes());
    out.extend_from_slice(&head.crc.to_le_bytes());
    out.extend_from_slice(&head.revision.to_le_bytes());
    out.extend_from_slice(&head.key.start.to_le_bytes());
    out.extend_from_slice(&head.key.seconds.to_le_bytes());
    out.extend_from_slice(&(head.key.subject.len() as u16).to_le_bytes());
    out.extend_from_slice(head.key.subject.as_bytes());
    let crc = placed(id.0, offset, &[&out[begin..]]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// The head of a block that stands at `offset`; `None` when there is none.
pub(crate) fn read_block_head(bytes: &[u8], id: SegmentId, offset: u64) -> Option<BlockHead> {
    let mut fields = Fields(bytes);
    if fields.bytes(4)? != MARKER {
        return None;
    }
    let (length, crc, revision) = (fields.u32()?, fields.u32()?, fields.u64()?);
    let (start, seconds, subject) = (fields.u32()?, fields.u32()?, fields.u16()?);
    let subject = fields.bytes(subject.into())?;
    let checked = &bytes[..bytes.len() - fields.0.len()];
    if fields.u32()? != placed(id.0, offset, &[checked]) || length as usize > BODY_MAX {
        return None;
    }
    let subject = std::str::from_utf8(subject).ok()?.into();
    Some(BlockHead { key: BlockKey { subject, start, seconds }, revision, length, crc })
}

/// A block and where its body is: a row of an index to be.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) head: BlockHead,
    pub(super) offset: u64,
}

/// Where the footer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) blocks: u32,
    pub(super) crc: u32,
}

pub(super) fn write_trailer(id: SegmentId, trailer: Trailer) -> [u8; TRAILER] {
    let mut out = [0; TRAILER];
    out[..8].copy_from_slice(&trailer.offset.to_le_bytes());
    out[8..12].copy_from_slice(&trailer.length.to_le_bytes());
    out[12..16].copy_from_slice(&trailer.blocks.to_le_bytes());
    out[16..20].copy_from_slice(&trailer.crc.to_le_bytes());
    out[20..28].copy_from_slice(END_MAGIC);
    let crc = placed(id.0, u64::MAX, &[&out[..28]]);
    out[28..].copy_from_slice(&crc.to_le_bytes());
    out
}

pub(super) fn read_trailer(bytes: &[u8], id: SegmentId) -> Option<Trailer> {
    let mut fields = Fields(bytes);
    let checked = Fields(bytes).bytes(28)?;
    let trailer = Trailer { offset: fields.u64()?, length: fields.u32()?, blocks: fields.u32()?, crc: fields.u32()? };
    let right = fields.bytes(8)? == END_MAGIC && fields.u32()? == placed(id.0, u64::MAX, &[checked]);
    right.then_some(trailer)
}

/// The checksum of a footer.
pub(super) fn footer_crc(id: SegmentId, footer: &[u8]) -> u32 {
    placed(id.0, 1, &[footer])
}
