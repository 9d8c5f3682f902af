//! Sealed segments: one immutable file a tier and window.
//!
//! ```text
//! head     "STRLSEG1" id:8 start:4 end:4 tier:2 name replaced:4 (id:8)* crc:4
//! block    marker:4 length:4 crc:4 revision:8 start:4 seconds:4 subject:2 name crc-of-head:4 body
//! footer   per block, sorted by subject, start, revision: subject:2 name start:4 seconds:4 revision:8 offset:8 length:4 crc:4
//! trailer  footer-offset:8 footer-length:4 blocks:4 crc-of-footer:4 "STRLEND1" crc:4
//! ```
//! Numbers are little-endian. All checksums but those of bodies are seeded with the id of the segment, those of block
//! heads with their offset too, so that bytes of another file or place are never taken for these. A block is found by
//! the footer alone; its own head is for finding it without one.

mod index;
mod layout;
mod name;
mod scan;
mod writer;

pub(crate) use self::{
    index::{Entry, Index, load},
    layout::{Head, REPLACED_MAX, block_head_length, head_length, read_block_head, read_head},
    name::SegmentName,
    writer::seal,
};
pub use self::{
    layout::{BLOCKS_MAX, BODY_MAX, BlockKey, SUBJECT_MAX},
    name::SegmentId,
    writer::WriteError,
};
