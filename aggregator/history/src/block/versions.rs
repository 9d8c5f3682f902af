//! Several blocks that speak of the same seconds, read as one.

use super::{Block, BlockError};
use crate::{Coverage, Selection, SeriesCells, Tier, table::Table};

/// Blocks of one subject and tier, read as the block that [`Block::join`] makes of them, without making it: only what is wanted
/// of them is taken apart. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Versions {
    blocks: Vec<Block>,
    /// The steps of all of them; no series.
    head: Table,
}

impl Versions {
    /// Of one block or several.
    ///
    /// # Errors
    /// [`BlockError::Apart`] for none, or several subjects or tiers; [`BlockError::Window`] for a window that is too long.
    pub fn of(blocks: Vec<Block>) -> Result<Self, BlockError> {
        let head = Block::heads(&blocks)?;
        Ok(Self { blocks, head })
    }

    /// How long its steps are.
    #[must_use]
    pub const fn tier(&self) -> Tier {
        self.head.tier
    }

    /// First second of its window.
    #[must_use]
    pub const fn start(&self) -> u32 {
        self.head.start
    }

    /// Seconds of its window.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        u32::from(self.head.steps) * self.head.tier.seconds()
    }

    /// The steps that are there by their first second, with what is known of them.
    pub fn coverage(&self) -> impl ExactSizeIterator<Item = (u32, Coverage)> + '_ {
        self.head.held.iter().enumerate().map(|(rank, held)| (self.head.tick(rank), held.coverage))
    }

    /// As [`Block::read`].
    ///
    /// # Errors
    /// [`BlockError`] for damaged columns.
    pub fn read(&self, selection: &Selection) -> Result<Vec<SeriesCells>, BlockError> {
        match &self.blocks[..] {
            [only] => only.read(selection),
            several => Block::read_versions(several, selection),
        }
    }

    /// As [`Block::read_merged`]; of several blocks histograms stay as they are.
    ///
    /// # Errors
    /// [`BlockError`] for damaged columns, or when the counts of a step do not fit 64 bits.
    pub fn read_merged(&self, selection: &Selection, step: u32) -> Result<Vec<SeriesCells>, BlockError> {
        match &self.blocks[..] {
            [only] => only.read_merged(selection, step),
            several => Block::read_versions(several, selection),
        }
    }
}
