//! Whether bytes that another aggregator sent are the block that was asked for, and add something. Pure.

use bytes::Bytes;
use starling_history::{Block, Standing, Subject, Tier};

use super::plan::Wish;

/// What is to be done with a block.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is kept.
    Better(Block),
    /// All of it is here.
    NoBetter,
    /// It is not what was asked for.
    Refused(Refusal),
}

/// Why a block is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its bytes are not those that were listed.
    Changed,
    /// It cannot be read.
    Damaged,
    /// It is of another node, tier or time than was said.
    Other,
}

impl Refusal {
    /// As a label.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Damaged => "damaged",
            Self::Other => "other",
        }
    }
}

/// Looks at `bytes` that came for `wish`, of whose window `held` is here. All of the block is read: what is kept can be read
/// later.
pub(super) fn judge(tier: Tier, wish: &Wish, bytes: Bytes, held: &Standing) -> Verdict {
    if starling_store::checksum(&bytes) != wish.block.checksum {
        return Verdict::Refused(Refusal::Changed);
    }
    let block = match Block::decode(bytes) {
        Ok(block) if block.check().is_ok() => block,
        _ => return Verdict::Refused(Refusal::Damaged),
    };
    let is_asked = matches!(block.subject(), Subject::Node(node) if *node == wish.node)
        && (block.tier(), block.start(), block.seconds()) == (tier, wish.block.start, wish.block.seconds)
        && block.revision() == wish.block.revision;
    match is_asked {
        false => Verdict::Refused(Refusal::Other),
        true if held.is_bettered_by(&block) => Verdict::Better(block),
        true => Verdict::NoBetter,
    }
}
