//! The rows of the open blocks of a node, to a log and back.

use super::{
    LogRows, OpenBlock, Restored,
    history::{History, Stored},
};

impl History {
    /// The rows that no log has yet, block by block; they count as logged from now on.
    pub fn unlogged(&mut self) -> Vec<LogRows> {
        let open = |stored: &mut Stored| match stored {
            Stored::Open(block) => block.unlogged(),
            Stored::Sealed(_) => None,
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
