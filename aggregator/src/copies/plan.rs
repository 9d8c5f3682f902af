//! Which blocks an aggregator lacks, and of whom it asks for them. Pure: it follows from what the others list, what is here,
//! whose copies are to be here, and what was found to add nothing before.
//!
//! A block is named by what an index knows of it, so what is here is never asked for again. Of what differs it is asked with
//! what is held of its window: it comes only when it knows more. What was no better, or cannot be used, is remembered.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::Range,
};

use starling_history::Tier;
use starling_proto::ids::{NodeId, WriterId};

use crate::history::listing::{Inventory, Listed, span_of};

/// On how many aggregators the history of a node is kept: at its owner and at the one ranked second.
pub(crate) const HOLDERS: usize = 2;
/// Blocks that are remembered because they add nothing: some 10 MB. When there are more all are forgotten, and asked for
/// once more.
const PASSED_OVER_MAX: usize = 65_536;

/// A block that is lacking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// Whose.
    pub(super) node: NodeId,
    /// Which.
    pub(super) block: Listed,
    /// Who has it.
    pub(super) holders: Vec<WriterId>,
}

/// Blocks of some holders that are not asked for again.
#[derive(Debug, Default)]
pub(super) struct PassedOver(HashSet<(WriterId, Tier, NodeId, Listed)>);

impl PassedOver {
    /// `wish` is fulfilled by what is here, or `holder` cannot fulfil it.
    pub(super) fn add(&mut self, tier: Tier, wish: &Wish, holder: WriterId) {
        if self.0.len() >= PASSED_OVER_MAX {
            self.0.clear();
        }
        self.0.insert((holder, tier, wish.node.clone(), wish.block));
    }

    /// `wish` is fulfilled by what is here, whoever else holds it.
    pub(super) fn add_all(&mut self, tier: Tier, wish: &Wish) {
        wish.holders.iter().for_each(|holder| self.add(tier, wish, *holder));
    }

    fn has(&self, tier: Tier, node: &NodeId, block: &Listed, holder: WriterId) -> bool {
        self.0.contains(&(holder, tier, node.clone(), *block))
    }
}

/// What is lacking here of blocks of `tier`, by node and start: of nodes that are `wanted`, of seconds in `kept`, in windows as
/// a tier has them. `theirs` is what each of the others lists.
pub(super) fn wishes(
    tier: Tier,
    own: &Inventory,
    theirs: &[(WriterId, Inventory)],
    wanted: impl Fn(&NodeId) -> bool,
    kept: Range<u32>,
    passed_over: &PassedOver,
) -> Vec<Wish> {
    let nodes: BTreeSet<&NodeId> = theirs.iter().flat_map(|(_, inventory)| inventory.keys()).collect();
    let mut wishes = Vec::new();
    for node in nodes.into_iter().filter(|node| wanted(node)) {
        let mine: HashSet<&Listed> = own.get(node).into_iter().flatten().collect();
        let mut lacking = BTreeMap::<Listed, Vec<WriterId>>::new();
        for (writer, inventory) in theirs {
            for block in inventory.get(node).into_iter().flatten() {
                let here = mine.contains(block) || passed_over.has(tier, node, block, *writer);
                if !here && is_of(tier, block) && block.start < kept.end && block.window().end > kept.start {
                    lacking.entry(*block).or_default().push(*writer);
                }
            }
        }
        wishes.extend(lacking.into_iter().map(|(block, holders)| Wish { node: node.clone(), block, holders }));
    }
    wishes
}

/// Whether a tier has such windows.
fn is_of(tier: Tier, block: &Listed) -> bool {
    let Listed { start, seconds, .. } = *block;
    let on_grid = start.is_multiple_of(tier.seconds()) && seconds.is_multiple_of(tier.seconds());
    let span = span_of(tier, start);
    seconds > 0 && on_grid && start.checked_add(seconds).is_some_and(|end| end <= span.end)
}

/// Blocks that are asked of one aggregator at once. All lie in one span of their tier.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Errand {
    /// Of whom.
    pub(super) holder: WriterId,
    /// Which.
    pub(super) wishes: Vec<Wish>,
}

/// The errands that fulfil `wishes`: at most `blocks` and, of more than one, `bytes` each. What several hold is asked of the one of
/// whom least is asked.
pub(super) fn errands(tier: Tier, wishes: Vec<Wish>, (blocks, bytes): (usize, u64)) -> Vec<Errand> {
    let mut asked = BTreeMap::<WriterId, u64>::new();
    let mut piles = BTreeMap::<(u32, WriterId), Vec<Wish>>::new();
    for wish in wishes {
        let Some(holder) = wish.holders.iter().min_by_key(|holder| asked.get(holder).copied().unwrap_or(0)) else {
            continue;
        };
        let holder = *holder;
        *asked.entry(holder).or_default() += u64::from(wish.block.bytes);
        let start = span_of(tier, wish.block.start).start;
        piles.entry((start, holder)).or_default().push(wish);
    }
    let mut errands = Vec::new();
    // The newest spans first: who asks for something asks for these.
    for ((_, holder), pile) in piles.into_iter().rev() {
        let mut errand = Errand { holder, wishes: Vec::new() };
        let mut size = 0;
        for wish in pile {
            let length = u64::from(wish.block.bytes);
            if !errand.wishes.is_empty() && (errand.wishes.len() >= blocks || size + length > bytes) {
                errands.push(std::mem::replace(&mut errand, Errand { holder, wishes: Vec::new() }));
                size = 0;
            }
            size += length;
            errand.wishes.push(wish);
        }
        errands.push(errand);
    }
    errands
}
