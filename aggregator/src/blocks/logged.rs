//! Seconds of open blocks on their way to a log, and back after a restart.
//!
//! A log takes the rows of a block as they stand there: the differences of gauges are those to the row before, so rows
//! go back in the order in which they came, each at its number. What follows a row that is missing cannot be read and
//! waits until the block begins again with its row 0.

use std::sync::Arc;

use starling_proto::interner::Layout;

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
