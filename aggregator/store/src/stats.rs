//! What a store holds and what happened to it.

use std::ops::Range;

use crate::{
    log::{LogStats, Paused},
    recent::RecentStats,
};

/// What a store holds and what happened to it since it was opened.
#[derive(Debug, Clone, Default)]
pub struct StoreStats {
    /// By tier.
    pub tiers: Vec<TierStats>,
    /// The log.
    pub log: LogStats,
    /// The indexes in memory.
    pub indexes: RecentStats,
    /// Blocks that are set aside as corrupt.
    pub bad_blocks: usize,
    /// Blocks that were found corrupt since the store was opened.
    pub corrupt_blocks: u64,
    /// Segments whose footer was found damaged and whose blocks were found without it, each time that was done.
    pub damaged_footers: u64,
    /// Reads that the disk refused.
    pub failed_reads: u64,
    /// Segments that were written.
    pub segments_written: u64,
    /// Segments that could not be written.
    pub failed_segments: u64,
    /// Set while the disk does not take segments.
    pub paused: Option<Paused>,
}

/// One tier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TierStats {
    /// Its name.
    pub name: String,
    /// Segments, those of the future too.
    pub segments: usize,
    /// Bytes of their files and of the notes of corrupt blocks.
    pub bytes: u64,
    /// From the first second of the oldest to the last of the newest segment that does not lie in the future.
    pub window: Option<Range<u32>>,
    /// Segments that end after the present that the caller gave: a clock was wrong when they were written.
    pub future: usize,
    /// The end of the last of those.
    pub future_end: Option<u32>,
}
