//! Which nodes there are, and since when each is silent.

use std::collections::HashMap;

use starling_proto::ids::NodeId;

/// A node that reported within so many seconds is not silent: a second is late at most so long.
const SILENT_AFTER: u32 = 3;
/// Seconds after the start, and after an aggregator was lost, from which on silence counts: nodes look for another aggregator
/// meanwhile.
const GRACE: u32 = 5;
/// Seconds a silent node is judged; then it is forgotten.
pub(super) const SILENT_KEPT: u32 = 7 * 86_400;

/// A node as it was seen last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// The last second that it reported.
    pub(super) last: u32,
    /// It left as planned.
    pub(super) ended: bool,
    /// The second of it that was judged last.
    pub(super) taken: u32,
    /// It is silent for good: no grace takes that back.
    silent: bool,
    /// Its silence counts from this second on.
    floor: u32,
}

impl Known {
    const fn new(last: u32, ended: bool) -> Self {
        Self { last, ended, taken: 0, silent: false, floor: 0 }
    }

    /// How long it has been silent at second `tick`, when it reported second `last`. `None` while that is open: it may be on its
    /// way to another aggregator.
    pub(super) fn silence(&mut self, tick: u32, last: u32, grace: u32) -> Option<u32> {
        let all = tick.saturating_sub(last);
        let counts = tick.saturating_sub(last.max(grace).max(self.floor)) > SILENT_AFTER;
        self.silent = all > SILENT_AFTER && (self.silent || counts);
        (all <= SILENT_AFTER || self.silent).then_some(all)
    }

    pub(super) const fn is_silent(&self) -> bool {
        self.silent && !self.ended
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Presence {
    pub(super) nodes: HashMap<NodeId, Known>,
    /// Silence counts from this second on.
    pub(super) grace: u32,
    lost: usize,
}

impl Presence {
    /// No node counts as silent for the time before now.
    pub(super) const fn spare(&mut self, settled: u32) {
        self.grace = settled + GRACE;
    }

    /// Takes note of who is there, by the last second of each and whether it left, and of how many aggregators are lost.
    pub(super) fn see<'a>(&mut self, nodes: impl Iterator<Item = (&'a NodeId, u32, bool)>, lost: usize, settled: u32) {
        for (node, last, ended) in nodes {
            match self.nodes.get_mut(node) {
                Some(known) if last >= known.last => (known.last, known.ended) = (last, ended),
                Some(_) => {}
                None => drop(self.nodes.insert(node.clone(), Known::new(last, ended))),
            }
        }
        if lost > self.lost {
            self.spare(settled);
        }
        self.lost = lost;
    }

    /// A node that is known by an open episode of second `since` only, noticed at second `tick`. When it reported last is known of an
    /// episode of its silence alone; of others it is taken for as long ago as one could be that is silent since.
    pub(super) fn know(&mut self, node: &NodeId, (since, of_silence): (u32, bool), tick: u32) {
        let last = if of_silence { since } else { since.saturating_sub(SILENT_AFTER + 1) };
        match self.nodes.get_mut(node) {
            None => drop(self.nodes.insert(node.clone(), Known { floor: tick + GRACE, ..Known::new(last, false) })),
            Some(known) if known.floor > 0 && !known.ended => known.last = known.last.max(last),
            Some(_) => {}
        }
    }

    /// Forgets those of which all that was open has ended; `slack` are the seconds in which it did.
    pub(super) fn expire(&mut self, settled: u32, slack: u32) {
        self.nodes.retain(|_, known| known.last.saturating_add(SILENT_KEPT + slack) > settled);
    }
}
