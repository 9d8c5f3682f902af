//! The last 15 minutes of a node, in blocks of 300 seconds. Pure.
//!
//! A block holds all it needs to be read: which series there are, which of the 300 seconds are held, and of each series
//! its values over them ([`starling_history::column`]). It can be read at any second, and sent to somebody who knows nothing of the
//! connection its frames came over ([`Block::encode`]; the bytes are described in `docs/blocks.md`).
//!
//! - [`OpenBlock`]: takes seconds as they come, in any order, at the cost of what changed;
//! - [`Block`]: sealed, one column a series;
//! - [`History`]: the blocks of one node. A second that comes late opens its block again.

mod adopt;
mod history;
mod logged;
mod newest;
mod open;
mod picked;
mod restore;
mod rows;
mod scan;
mod sealed;
#[cfg(test)]
mod tests;

use starling_history::column::ColumnError;
use starling_proto::{limits, varint::VarintError};

pub(crate) use self::open::sparse;
pub use self::{
    adopt::Recent,
    history::{History, NEWEST_ROWS_MAX, Picking, Slice},
    logged::{Backing, LogPlace, LogRow, LogRows, Restored},
    open::OpenBlock,
    picked::{Picked, PickedValue},
    scan::{Begun, WantedOfLayouts},
    sealed::Block,
};

/// Seconds of a block, on the grid of Unix time.
pub const BLOCK_SECONDS: u32 = 300;
/// Series in one block: what one connection can define. A second with further ones is not kept.
const SERIES_MAX: usize = limits::DICTIONARY_MAX;
/// Bytes of one block as it is sent: it fits one message between aggregators.
const BLOCK_BYTES_MAX: usize = limits::PEER_MESSAGE_BYTES_MAX - 64 * 1024;

/// Why bytes are not a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Written by a newer version.
    #[error("a block of version {0}, known is 1")]
    Version(u8),
    /// Longer than a message between aggregators can be.
    #[error("a block of {0} bytes, at most {BLOCK_BYTES_MAX} are taken")]
    Bytes(usize),
    /// Does not begin on the grid.
    #[error("a block that begins at {0}, wanted is a multiple of {BLOCK_SECONDS}")]
    Start(u64),
    /// More series than one block may have, or than the bytes can hold.
    #[error("a block of {0} series, at most {SERIES_MAX} are taken")]
    Series(u64),
    /// A series that is none, stands twice, or has a value beyond the limits of a frame.
    #[error("a block with a series that is refused: {0}")]
    Refused(String),
    /// A column is none.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// A number is cut or too long.
    #[error("a block is damaged: {0}")]
    Number(#[from] VarintError),
    /// Bytes after the end.
    #[error("{0} bytes after the end of a block or a column")]
    Trailing(usize),
}

/// Seconds that went from memory before they were kept elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub seconds: u64,
    /// Start of the first block.
    pub first: u32,
    /// Start of the last block.
    pub last: u32,
}

impl Lost {
    fn add(&mut self, start: u32, seconds: usize) {
        self.merge(Self { seconds: seconds as u64, first: start, last: start });
    }

    /// Adds what went elsewhere.
    pub fn merge(&mut self, other: Self) {
        if other.seconds == 0 {
            return;
        }
        self.first = if self.seconds == 0 { other.first } else { self.first.min(other.first) };
        self.last = self.last.max(other.last);
        self.seconds += other.seconds;
    }
}

/// The start of the block that holds `tick`.
const fn start_of(tick: u32) -> u32 {
    tick - tick % BLOCK_SECONDS
}
