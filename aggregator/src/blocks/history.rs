//! The blocks of one node.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use starling_proto::{frame::Second, ids::NodeId, series::Series};

use super::{
    BLOCK_SECONDS, Backing, Begun, Block, LogPlace, Lost, OpenBlock, Picked, WantedOfLayouts,
    open::sparse,
    rows::{Rows, Tail},
    start_of,
};

/// A block without a new second for so many calls of [`History::prune`] is sealed once its time is over.
const QUIET_BEFORE_SEAL: u32 = 10;
/// Blocks of one node: the last 15 minutes touch four, a frame may be seconds ahead of our clock, and two are on
/// their way out; while an outage is made up for four more, and those of the live window wait longer. Beyond it the oldest goes.
const BLOCKS_MAX: usize = 16;
/// Newest rows of a node that are in memory though a log has them, at most: the last minute, with those before it from which
/// its gauges are read, and some seconds of delay. 57 KiB of 500 series.
pub const NEWEST_ROWS_MAX: usize = 80;

/// See the module.
#[derive(Debug, Default)]
pub struct History {
    /// By start.
    pub(super) blocks: BTreeMap<u32, Stored>,
    pub(super) bytes: usize,
    /// What went before it was kept elsewhere, since somebody asked.
    lost: Lost,
}

#[derive(Debug)]
pub(super) enum Stored {
    Open(Box<OpenBlock>),
    Sealed(Block),
}

impl Stored {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Open(block) => block.bytes(),
            Self::Sealed(block) => block.bytes(),
        }
    }
}

impl History {
    /// Bytes it takes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Start of the oldest block.
    #[must_use]
    pub fn oldest(&self) -> Option<u32> {
        self.blocks.keys().next().copied()
    }

    /// Keeps a second in its block; `sparse` as [`OpenBlock::push`]. False when it is not kept because its block has no
    /// room for its series.
    pub fn push(&mut self, second: &Second, sparse: &[Box<[Bytes]>; 2]) -> bool {
        let start = start_of(second.tick);
        let before = self.blocks.get(&start).map_or(0, Stored::bytes);
        if !self.blocks.contains_key(&start) {
            let block = match self.blocks.range(..start).next_back() {
                Some((_, Stored::Open(previous))) => previous.next(start, second),
                _ => OpenBlock::new(start),
            };
            self.blocks.insert(start, Stored::Open(Box::new(block)));
        }
        let Some(stored) = self.blocks.get_mut(&start) else { return false };
        if let Stored::Sealed(block) = stored {
            if block.holds(second.tick) {
                return true;
            }
            *stored = Stored::Open(Box::new(reopened(start, block)));
        }
        let kept = match stored {
            Stored::Open(block) => block.push(second, sparse),
            Stored::Sealed(_) => false,
        };
        self.bytes = self.bytes - before + stored.bytes();
        self.bound();
        kept
    }

    /// Keeps to the number of blocks.
    pub(super) fn bound(&mut self) {
        while self.blocks.len() > BLOCKS_MAX {
            self.drop_oldest();
        }
    }

    /// Keeps of the rows that a log has at most `most` in memory, too, the newest.
    pub fn keep_newest(&mut self, most: usize) {
        let mut left = most;
        for stored in self.blocks.values_mut().rev() {
            if let Stored::Open(block) = stored {
                let before = block.bytes();
                block.keep_newest(left);
                left -= block.newest_rows().0;
                self.bytes = self.bytes - before + block.bytes();
            }
        }
    }

    /// Bytes of the rows that are in memory though a log has them.
    #[must_use]
    pub fn newest_bytes(&self) -> usize {
        let open = |stored: &Stored| match stored {
            Stored::Open(block) => block.newest_rows().1,
            Stored::Sealed(_) => 0,
        };
        self.blocks.values().map(open).sum()
    }

    /// Drops blocks of which nothing is in the last `window` seconds; of those that are to be kept `on_disk` none that was
    /// written to within so many calls, since what a log brought back after a long stop is older from the start. Returns
    /// whether a block is due to be sealed.
    pub fn prune(&mut self, now_tick: u32, window: u32, on_disk: bool) -> bool {
        let is_over = |(start, stored): (&u32, &Stored)| {
            let waits = on_disk && matches!(stored, Stored::Open(block) if block.quiet < window);
            start + BLOCK_SECONDS + window <= now_tick && !waits
        };
        while self.blocks.first_key_value().is_some_and(is_over) {
            self.drop_oldest();
        }
        let mut due = false;
        for (start, stored) in &mut self.blocks {
            if let Stored::Open(block) = stored {
                block.quiet += 1;
                if block.quiet as usize > NEWEST_ROWS_MAX {
                    let before = block.bytes();
                    block.keep_newest(0);
                    self.bytes = self.bytes - before + block.bytes();
                }
                due |= is_due(*start, block, now_tick);
            }
        }
        due
    }

    /// The blocks that are due to be sealed, to be sealed outside of any lock.
    #[must_use]
    pub fn due(&self, now_tick: u32) -> Vec<OpenBlock> {
        let due = |(start, stored): (&u32, &Stored)| match stored {
            Stored::Open(block) if is_due(*start, block, now_tick) => Some(OpenBlock::clone(block)),
            _ => None,
        };
        self.blocks.iter().filter_map(due).collect()
    }

    /// Puts a sealed block in the place of the open one it was made of, unless that was written to meanwhile.
    pub fn seal(&mut self, open: &OpenBlock, sealed: Block) {
        if let Some(Stored::Open(block)) = self.blocks.get(&open.start())
            && block.len() == open.len()
        {
            self.bytes = self.bytes - block.bytes() + sealed.bytes();
            self.blocks.insert(open.start(), Stored::Sealed(sealed));
        }
    }

    /// Forgets the open block at `start`, whose first `seconds` are kept elsewhere now, unless it was written to meanwhile.
    pub fn forget(&mut self, start: u32, seconds: usize) {
        if let Some(Stored::Open(block)) = self.blocks.get(&start)
            && block.len() == seconds
        {
            self.bytes -= block.bytes();
            self.blocks.remove(&start);
        }
    }

    /// A log has `bytes`, those of row `number` of the open block at `start`, at `place`.
    pub fn now_logged(&mut self, start: u32, number: usize, bytes: &Arc<[u8]>, place: LogPlace) {
        if let Some(Stored::Open(block)) = self.blocks.get_mut(&start) {
            let before = block.bytes();
            block.now_logged(number, bytes, place);
            self.bytes = self.bytes - before + block.bytes();
        }
    }

    /// Starts of the blocks that are not kept elsewhere, ascending; true with those that are sealed or due to be.
    pub fn waiting(&self, now_tick: u32) -> impl Iterator<Item = (u32, bool)> + '_ {
        self.blocks.iter().map(move |(start, stored)| match stored {
            Stored::Open(block) => (*start, is_due(*start, block, now_tick)),
            Stored::Sealed(_) => (*start, true),
        })
    }

    /// The seconds that went since the last call before they were kept elsewhere.
    pub fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The last second held.
    #[must_use]
    pub fn newest(&self) -> Option<u32> {
        self.blocks.values().rev().find_map(|stored| match stored {
            Stored::Open(block) => block.newest(),
            Stored::Sealed(block) => block.newest(),
        })
    }

    /// Forgets the oldest block. Returns its bytes; 0 when there is none.
    pub fn drop_oldest(&mut self) -> usize {
        let Some((start, stored)) = self.blocks.pop_first() else { return 0 };
        let seconds = match &stored {
            Stored::Open(block) => block.len(),
            Stored::Sealed(block) => block.len(),
        };
        self.lost.add(start, seconds);
        self.bytes -= stored.bytes();
        stored.bytes()
    }

    /// Blocks that are not sealed.
    #[cfg(test)]
    pub(super) fn blocks_open(&self) -> usize {
        self.blocks.values().filter(|stored| matches!(stored, Stored::Open(_))).count()
    }

    /// Whether all its open blocks share one list of series.
    #[cfg(test)]
    pub(super) fn shares_series(&self) -> bool {
        let open = |stored: &Stored| match stored {
            Stored::Open(block) => Some(block.rows()),
            Stored::Sealed(_) => None,
        };
        let rows: Vec<Rows> = self.blocks.values().filter_map(open).collect();
        rows.windows(2).all(|pair| pair[0].shares_series(&pair[1]))
    }

    /// [`History::bytes`], counted block by block.
    #[cfg(test)]
    pub(super) fn counted(&self) -> usize {
        self.blocks.values().map(Stored::bytes).sum()
    }

    /// What is held of `from..=to`, to be picked from outside of any lock, but for what was `begun` with.
    #[must_use]
    pub fn picking(&self, from: u32, to: u32, begun: &[Arc<Begun>]) -> Picking {
        let parts = self.blocks.range(start_of(from)..=to).map(|(start, stored)| match stored {
            Stored::Open(block) => {
                let begun = begun.iter().find(|begun| begun.start == *start);
                PickingPart::Open(block.tail((from, to), |block, first| begun?.reaches(block, first)))
            }
            Stored::Sealed(block) => PickingPart::Sealed(block.clone()),
        });
        Picking { from, to, parts: parts.collect() }
    }

    /// What is held of `from..=to`, to be read outside of any lock.
    #[must_use]
    pub fn slice(&self, from: u32, to: u32) -> Slice {
        let parts = self.blocks.range(start_of(from)..=to).map(|(_, stored)| match stored {
            Stored::Open(block) => Part::Open(block.rows()),
            Stored::Sealed(block) => Part::Sealed(block.clone()),
        });
        Slice { from, to, parts: parts.collect(), backing: None }
    }
}

fn is_due(start: u32, block: &OpenBlock, now_tick: u32) -> bool {
    start + BLOCK_SECONDS <= now_tick && block.quiet > QUIET_BEFORE_SEAL
}

/// A sealed block as one that can be written to.
fn reopened(start: u32, block: &Block) -> OpenBlock {
    let mut open = OpenBlock::new(start);
    for second in block.seconds(start, start + BLOCK_SECONDS - 1) {
        open.push(&second, &sparse(&second));
    }
    open
}

/// Seconds taken out of a history, not yet read.
#[derive(Debug)]
pub struct Slice {
    from: u32,
    to: u32,
    parts: Vec<Part>,
    backing: Option<(NodeId, Arc<dyn Backing>)>,
}

#[derive(Debug)]
enum Part {
    Open(Rows),
    Sealed(Block),
}

impl Slice {
    /// What is not in memory of this node is on the backing.
    #[must_use]
    pub fn of(mut self, node: &NodeId, backing: Option<&Arc<dyn Backing>>) -> Self {
        self.backing = backing.map(|backing| (node.clone(), backing.clone()));
        self
    }

    fn backing(&self) -> Option<&dyn Backing> {
        self.backing.as_ref().map(|(_, backing)| &**backing)
    }

    /// Reads the wanted seconds, ascending: those in memory and those that are kept.
    #[must_use]
    pub fn seconds(&self) -> Vec<Second> {
        let mut seconds = Vec::new();
        for part in &self.parts {
            match part {
                Part::Open(rows) => seconds.extend(rows.seconds(self.backing(), self.from, self.to).0),
                Part::Sealed(block) => seconds.extend(block.seconds(self.from, self.to)),
            }
        }
        if let Some((node, backing)) = &self.backing
            && seconds.len() <= self.to.saturating_sub(self.from) as usize
        {
            // Of a second in both, memory is as good.
            seconds.extend(backing.kept(node, self.from, self.to));
        }
        seconds.sort_by_key(|second| second.tick);
        seconds.dedup_by_key(|second| second.tick);
        seconds
    }
}

/// Some series over seconds of a history, not yet read.
#[derive(Debug)]
pub struct Picking {
    from: u32,
    to: u32,
    parts: Vec<PickingPart>,
}

#[derive(Debug)]
enum PickingPart {
    Open(Tail),
    Sealed(Block),
}

impl Picking {
    /// Rows of open blocks that are to be read: those in memory, and those in a log.
    #[must_use]
    pub fn rows(&self) -> (usize, usize) {
        let open = self.parts.iter().filter_map(|part| match part {
            PickingPart::Open(tail) => Some(tail.count()),
            PickingPart::Sealed(_) => None,
        });
        open.fold((0, 0), |sum, (here, logged)| (sum.0 + here, sum.1 + logged))
    }

    /// Reads the series that are wanted, over the wanted seconds in memory and, in `backing`, of open blocks: a fraction of what
    /// [`Slice::seconds`] costs. `begun` is what was given to [`History::picking`]; what it has become comes back.
    #[must_use]
    pub fn pick(
        &self,
        begun: &[Arc<Begun>],
        backing: Option<&dyn Backing>,
        (wanted, of_layouts): (impl Fn(&Series) -> bool, &WantedOfLayouts),
    ) -> (Picked, Vec<Arc<Begun>>) {
        let (mut picked, mut all) = (Picked::default(), Vec::new());
        for part in &self.parts {
            match part {
                PickingPart::Open(tail) => {
                    let begun = begun.iter().find(|begun| begun.start == tail.start);
                    let of_block = tail.pick(begun, backing, (&wanted, of_layouts));
                    of_block.put((self.from, self.to), &mut picked);
                    all.push(of_block);
                }
                PickingPart::Sealed(block) => block.pick(self.from, self.to, &wanted, &mut picked),
            }
        }
        picked.sort();
        (picked, all)
    }
}
