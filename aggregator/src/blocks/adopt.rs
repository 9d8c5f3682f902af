//! Seconds of a node from its former owner, and for its next one.

use super::{
    BLOCK_SECONDS, Backing, Block, OpenBlock,
    history::{History, Stored},
};

/// A block as it is now, to be made ready for others outside of any lock.
#[derive(Debug)]
pub enum Recent {
    /// Still written to.
    Open(Box<OpenBlock>),
    /// Sealed.
    Sealed(Block),
}

impl Recent {
    /// With what it holds now; `backing` gives what of it is not in memory.
    #[must_use]
    pub fn into_block(self, backing: Option<&dyn Backing>) -> Block {
        match self {
            Self::Open(open) => open.seal(backing).0,
            Self::Sealed(block) => block,
        }
    }
}

impl History {
    /// The blocks in memory with seconds from `tick` on, oldest first.
    #[must_use]
    pub fn since(&self, tick: u32) -> Vec<Recent> {
        let recent = |(_, stored): (&u32, &Stored)| match stored {
            Stored::Open(block) => Recent::Open(block.clone()),
            Stored::Sealed(block) => Recent::Sealed(block.clone()),
        };
        self.blocks.range(tick.saturating_sub(BLOCK_SECONDS - 1)..).map(recent).collect()
    }

    /// Whether `tick` is in memory.
    #[must_use]
    pub fn holds(&self, tick: u32) -> bool {
        match self.blocks.get(&super::start_of(tick)) {
            Some(Stored::Open(block)) => block.holds(tick),
            Some(Stored::Sealed(block)) => block.holds(tick),
            None => false,
        }
    }
}
