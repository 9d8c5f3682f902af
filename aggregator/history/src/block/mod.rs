//! Blocks: some steps of one subject in columns, self-contained. What the store keeps and aggregators hand to each other;
//! `docs/history.md` has the bytes.
//!
//! - [`BlockBuilder`]: a block of seconds from what was measured;
//! - [`Block`]: read, merged and joined; only the groups of columns that are wanted are opened;
//! - [`Versions`]: several of the same seconds, read as one.

mod bytes;
mod encode;
mod node;
mod packing;
mod read;
mod seal;
#[cfg(test)]
mod tests;
mod versions;

use starling_proto::varint::VarintError;

pub use self::{
    bytes::Block,
    node::{NodeSecond, NodeSeconds},
    seal::{BlockBuilder, RowError, SecondValue},
    versions::Versions,
};
use crate::{column::ColumnError, table::STEPS_MAX};

/// Series in one block: four times what a node may report at one time, for those that come and go.
pub const SERIES_MAX: usize = 4 * starling_proto::limits::SERIES_PER_NODE_MAX;
/// Series times steps in one block, to bound the memory of taking one apart: a node of 4,096 series for half an hour.
pub const CELLS_MAX: usize = 1 << 23;
/// Bytes of one frame before compression, and of one block: 300 histograms with all their buckets fit.
pub const FRAME_BYTES_MAX: usize = 32 << 20;

/// Why bytes are not a block, or blocks do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Written by a newer version.
    #[error("a block of version {0}, known is 1")]
    Version(u8),
    /// A number that names no tier.
    #[error("a block of tier {0}, known are 0 to 3")]
    Tier(u8),
    /// A subject that is none.
    #[error("a block of a subject that is none: {0}")]
    Subject(String),
    /// Does not begin on the grid of its tier, has no steps or too many, or ends after the end of time.
    #[error(
        "a block of {steps} steps that begins at {start}: wanted are 1 to {STEPS_MAX} steps on the grid of the tier"
    )]
    Window {
        /// First second.
        start: u64,
        /// Steps.
        steps: u64,
    },
    /// More series than one block may have, or more cells.
    #[error(
        "a block of {series} series and {steps} steps, at most {SERIES_MAX} series and {CELLS_MAX} cells are taken"
    )]
    Size {
        /// Its series.
        series: u64,
        /// Its steps.
        steps: usize,
    },
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("{0} bytes in one part of a block, at most {FRAME_BYTES_MAX} are taken")]
    Bytes(u64),
    /// A series that is none, or does not stand in order.
    #[error("a block with a series that is refused: {0}")]
    Series(String),
    /// What is packed is damaged.
    #[error("a part of a block that cannot be unpacked")]
    Packed,
    /// A column is none.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// A number is cut or too long.
    #[error("a block is damaged: {0}")]
    Number(#[from] VarintError),
    /// Bytes after the end.
    #[error("{0} bytes after the end of a block or of a part")]
    Trailing(usize),
    /// A histogram is none.
    #[error("a block with a damaged histogram: {0}")]
    Histogram(#[from] starling_proto::histogram::DecodeError),
    /// Blocks of several subjects or tiers, or none.
    #[error("blocks that do not go together: {0}")]
    Apart(&'static str),
}
