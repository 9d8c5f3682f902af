//! What questions picked of the open blocks of nodes: the next question of the same kind reads only the rows that came since.

use std::sync::Arc;

use starling_proto::{ids::NodeId, series::Series};
use starling_store::Recent;

use crate::{
    blocks::{Begun, Picked, WantedOfLayouts},
    ingest::IngestNode,
};

/// Bytes of what is kept: one series of 1,000 nodes over a whole open block, or the last minute of three.
const KEPT_BYTES_MAX: usize = 12 << 20;
/// Bytes of it of one node: of questions about hundreds of series nothing is kept.
const ONE_BYTES_MAX: usize = 64 << 10;
/// Bytes of which series of which layouts a question wants: some hundred questions.
const WANTED_BYTES_MAX: usize = 1 << 20;
/// What one of these is taken for: a position and a kind of each of some hundred series.
const WANTED_BYTES: usize = 4 << 10;

/// Of each open block of a node.
type BegunBlocks = Arc<[Arc<Begun>]>;

/// See the module. Shared.
pub(super) struct Picks {
    begun: Recent<(Arc<str>, NodeId), BegunBlocks>,
    wanted: Recent<Arc<str>, Arc<WantedOfLayouts>>,
}

impl Picks {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { begun: Recent::new(KEPT_BYTES_MAX), wanted: Recent::new(WANTED_BYTES_MAX) }
    }

    /// The seconds `from..=to` of a node for a question, which alone decides which series it needs.
    pub(super) fn pick(
        &self,
        (node, question): (&IngestNode, &Arc<str>),
        (from, to): (u32, u32),
        needs: impl Fn(&Series) -> bool,
    ) -> Picked {
        let wanted = self.wanted.get(question).unwrap_or_else(|| {
            let new = Arc::<WantedOfLayouts>::default();
            self.wanted.keep(question.clone(), new.clone(), WANTED_BYTES + question.len());
            new
        });
        let key = (question.clone(), node.id.clone());
        let begun = self.begun.get(&key);
        let before = begun.as_deref().unwrap_or_default();
        let (picked, after) = node.pick((from, to), before, (needs, &wanted));
        let is_same = after.len() == before.len() && after.iter().zip(before).all(|(a, b)| Arc::ptr_eq(a, b));
        if !is_same {
            self.begun.forget(&key);
            let bytes: usize = after.iter().map(|begun| begun.bytes() + 2 * size_of::<usize>()).sum();
            // Histograms are read of a few seconds only.
            if bytes <= ONE_BYTES_MAX && !after.iter().any(|begun| begun.has_histograms()) {
                self.begun.keep(key, after.into(), bytes + question.len());
            }
        }
        picked
    }
}
