//! Seconds of open blocks on their way to a log, and back after a restart.
//!
//! A log takes the rows of a block as they stand there: the differences of gauges are those to a row before, so rows
//! go back in the order in which they came, each at its number. What follows a row that is missing cannot be read and
//! waits until the block begins again with its row 0.

use std::{fmt, sync::Arc};

use starling_proto::{frame::Second, ids::NodeId, interner::Layout};

/// Where the bytes of a row are in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPlace {
    /// Number of the file.
    pub file: u64,
    /// Bytes from its start.
    pub offset: u64,
}

/// A disk that gives back what it took of nodes, so that memory need not hold it. Blocks.
pub trait Backing: fmt::Debug + Send + Sync {
    /// The `length` bytes of a row at `place` of the log, as they are there now; `None` when they cannot be read.
    fn row(&self, place: LogPlace, length: usize) -> Option<Vec<u8>>;

    /// The seconds `from..=to` of a node that are kept in blocks, ascending.
    fn kept(&self, node: &NodeId, from: u32, to: u32) -> Vec<Second>;
}

/// The bytes of a row: in memory, or where a log has them.
#[derive(Debug, Clone)]
pub(super) enum RowBytes {
    Here(Arc<[u8]>),
    Logged { place: LogPlace, length: u32, checksum: u32 },
}

impl RowBytes {
    /// Of bytes that a log has at `place`, safe from the end of the process.
    pub(super) fn logged(bytes: &[u8], place: LogPlace) -> Self {
        // A row comes from one frame, which is far below 4 GiB.
        Self::Logged { place, length: bytes.len() as u32, checksum: crc32fast::hash(bytes) }
    }

    /// What they take in memory beside the value itself; with what the allocator and the counts of the [`Arc`] add.
    pub(super) fn cost(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len() + 32,
            Self::Logged { .. } => 0,
        }
    }

    /// The bytes; `None` when the backing does not give back what it took.
    pub(super) fn read(&self, backing: Option<&dyn Backing>) -> Option<Arc<[u8]>> {
        match self {
            Self::Here(bytes) => Some(bytes.clone()),
            Self::Logged { place, length, checksum } => {
                let bytes = backing?.row(*place, *length as usize)?;
                (crc32fast::hash(&bytes) == *checksum).then(|| bytes.into())
            }
        }
    }
}

/// One second of an open block.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRow {
    /// Seconds after the start of the block.
    pub offset: u16,
    /// Samples the daemon lost in it.
    pub dropped: u32,
    /// Which series it has: those that are merged over nodes, and those for drill-down.
    pub layouts: [Arc<Layout>; 2],
    /// Its values, by position in the layouts.
    pub bytes: Arc<[u8]>,
    /// Where a log has these bytes, if that is known.
    pub place: Option<LogPlace>,
}

/// Rows of one block that follow each other.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRows {
    /// Start of the block.
    pub start: u32,
    /// Number of the first row among those of the block; with 0 the block begins again.
    pub first: u32,
    /// They, in the order in which they came.
    pub rows: Vec<LogRow>,
}

/// What became of rows that were read in a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Rows that are in their block now.
    pub rows: u32,
    /// Rows that are not, because one before them is missing or they cannot be read.
    pub lost: u32,
}
