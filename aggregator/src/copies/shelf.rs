//! What is here of the history of nodes: what of it is lacking, and where copies go. Runs on the thread of the history.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use starling_history::{Block, Standing, Subject, Tier};
use starling_proto::ids::{NodeId, WriterId};
use starling_store::{BlockRef, FileError, WriteError};

use super::{
    ask::Came,
    plan::{self, PassedOver, Wish},
    verdict::{Verdict, judge},
};
use crate::{
    history::{
        Disk, Shift,
        listing::{self, Inventory, Listed},
        row,
    },
    metrics::Metrics,
};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shelf {
    disk: Arc<Disk>,
    metrics: Arc<Metrics>,
}

/// What is held of the windows of wishes; nothing of those that are not in it.
pub(super) type HeldOf = BTreeMap<(NodeId, Listed), Standing>;

/// What is lacking.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    pub(super) wishes: Vec<Wish>,
    pub(super) held: HeldOf,
}

/// What became of a wish of whose window so much is held.
pub(super) type Delivered = ((Wish, Standing), Came);

/// A wish with what is held of its window.
pub(super) fn with_held(tier: Tier, wish: Wish, held: &mut HeldOf) -> (Wish, Standing) {
    let standing = held.remove(&(wish.node.clone(), wish.block)).unwrap_or_else(|| nothing(tier, &wish));
    (wish, standing)
}

fn nothing(tier: Tier, wish: &Wish) -> Standing {
    let steps = u16::try_from(wish.block.seconds / tier.seconds()).unwrap_or(u16::MAX);
    Standing::nothing(&Subject::Node(wish.node.clone()), tier, wish.block.start, steps)
}

impl Shelf {
    pub(super) const fn new(disk: Arc<Disk>, metrics: Arc<Metrics>) -> Self {
        Self { disk, metrics }
    }

    /// Whether the disk takes nothing.
    pub(super) fn is_paused(&self) -> bool {
        self.disk.paused().is_some()
    }

    /// What is lacking of a tier and range of what the others have, see [`plan::wishes`].
    ///
    /// # Errors
    /// When the disk does not give the index of a segment: what is in there is not asked for again.
    pub(super) fn lacking(
        &self,
        (tier, (from, to)): (Tier, (u32, u32)),
        theirs: &[(WriterId, Inventory)],
        wanted: &BTreeSet<NodeId>,
        kept: Range<u32>,
        passed_over: &mut PassedOver,
        shift: &mut Shift<'_>,
    ) -> Result<Lacking, FileError> {
        // What they list may reach beyond the range, within its span.
        let range = listing::span_of(tier, from).start..listing::span_of(tier, to).end;
        let own = listing::blocks_of_nodes(&self.disk, tier, range, 0)?;
        let listed = |blocks: &Vec<BlockRef>| blocks.iter().map(listing::listed).collect::<Vec<_>>();
        let inventory: Inventory = own.iter().map(|(node, blocks)| (node.clone(), listed(blocks))).collect();
        let wishes = plan::wishes(tier, &inventory, theirs, |node| wanted.contains(node), kept, passed_over);
        let mut lacking = Lacking::default();
        for wish in wishes {
            let window = wish.block.window();
            let overlaps = |block: &&BlockRef| block.window().start < window.end && block.window().end > window.start;
            let overlapping: Vec<&BlockRef> = own.get(&wish.node).into_iter().flatten().filter(overlaps).collect();
            if !overlapping.is_empty() {
                if !shift.pause() {
                    return Ok(Lacking::default());
                }
                let held = self.held(tier, &wish, &overlapping);
                if held.is_final_up_to(wish.block.revision) {
                    passed_over.add_all(tier, &wish);
                    continue;
                }
                lacking.held.insert((wish.node.clone(), wish.block), held);
            }
            lacking.wishes.push(wish);
        }
        Ok(lacking)
    }

    /// What is held of the window of `wish`; what cannot be read is not held.
    fn held(&self, tier: Tier, wish: &Wish, overlapping: &[&BlockRef]) -> Standing {
        let mut held = nothing(tier, wish);
        for block in overlapping {
            match self.disk.store().read(block) {
                Ok(bytes) => Block::decode(bytes).iter().for_each(|block| held.add(block)),
                Err(error) => self.metrics.history_failed("read a block to compare it with a copy", &error),
            }
        }
        held
    }

    /// Writes what adds something. How many blocks, and their bytes.
    ///
    /// # Errors
    /// When the disk does not take it: nothing of it is there.
    pub(super) fn keep(
        &self,
        tier: Tier,
        (holder, name): (WriterId, &NodeId),
        came: Vec<Delivered>,
        passed_over: &mut PassedOver,
        shift: &mut Shift<'_>,
    ) -> Result<(u64, u64), WriteError> {
        let mut kept: Vec<Block> = Vec::new();
        for ((wish, mut held), came) in came {
            if !shift.pause() {
                return Ok((0, 0));
            }
            let bytes = match came {
                Came::Bytes(bytes) => bytes,
                Came::NoBetter => {
                    passed_over.add(tier, &wish, holder);
                    continue;
                }
                Came::Gone => continue,
            };
            // Of one node another version may have come just before.
            kept.iter().filter(|block| block.subject().node() == Some(&wish.node)).for_each(|block| held.add(block));
            match judge(tier, &wish, bytes, &held) {
                Verdict::Better(block) => kept.push(block),
                Verdict::NoBetter => passed_over.add_all(tier, &wish),
                Verdict::Refused(refusal) => {
                    self.metrics.history_copy_refused(refusal.as_str(), name.as_str(), &wish.node);
                    passed_over.add(tier, &wish, holder);
                }
            }
        }
        let (Some(start), Some(end)) =
            (kept.iter().map(Block::start).min(), kept.iter().map(|block| block.start() + block.seconds()).max())
        else {
            return Ok((0, 0));
        };
        let bytes = kept.iter().map(|block| block.encode().len() as u64).sum();
        let rows = kept.iter().map(row);
        self.disk.store().write_segment(tier.code(), start..end, rows)?;
        let blocks = kept.len() as u64;
        self.metrics.history_copies_kept(tier.name(), blocks, bytes);
        Ok((blocks, bytes))
    }
}
