//! Seconds of open blocks on their way to a log, and back after a restart.
//!
//! A log takes the rows of a block as they stand there: the differences of gauges are those to the row before, so rows
//! go back in the order in which they came, each at its number. What follows a row that is missing cannot be read and
//! waits until the block begins again with its row 0.

use std::sync::Arc;

use starling_proto::interner::Layout;

use super::{History, OpenBlock, history::Stored};

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

impl History {
    /// The rows that no log has yet, block by block; they count as logged from now on.
    pub fn unlogged(&mut self) -> Vec<LogRows> {
        let open = |stored: &mut Stored| match stored {
            Stored::Open(block) => block.unlogged(),
            Stored::Sealed { .. } => None,
        };
        self.blocks.values_mut().filter_map(open).collect()
    }

    /// The log did not take the rows of the block at `start` from number `first` on.
    pub fn log_again(&mut self, start: u32, first: u32) {
        if let Some(Stored::Open(block)) = self.blocks.get_mut(&start) {
            block.logged = block.logged.min(first);
        }
    }

    /// Puts rows that a log held back into their block.
    pub fn restore(&mut self, rows: LogRows) -> Restored {
        let LogRows { start, first, rows } = rows;
        if first == 0 {
            // It stands in the log again from its first row, because it was opened again.
            if let Some(before) = self.blocks.remove(&start) {
                self.bytes -= before.bytes();
            }
        }
        let count = rows.len() as u32;
        let stored = self.blocks.entry(start).or_insert_with(|| {
            let block = OpenBlock::new(start);
            self.bytes += block.bytes();
            Stored::Open(Box::new(block))
        });
        let Stored::Open(block) = stored else { return Restored { rows: 0, lost: count } };
        let before = block.bytes();
        let mut restored = Restored::default();
        for (row, number) in rows.into_iter().zip(first as usize..) {
            // A log that took rows only in part has some of them twice.
            if number < block.len() || (number == block.len() && block.restore(row)) {
                restored.rows += 1;
            } else {
                restored.lost += 1;
            }
        }
        block.logged = block.len() as u32;
        self.bytes = self.bytes - before + block.bytes();
        self.bound();
        restored
    }
}
