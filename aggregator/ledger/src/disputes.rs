//! Authors whose logs contradict each other: both claim a frame that only one of them may merge.
//!
//! Which of the two is wrong does not follow from their logs: it may be the one author, the other, or the node, if it
//! offered one frame to both as the first. So nothing is taken out because of it. It is counted and named, and a person
//! decides ([`super::Event::Quarantine`]).

use std::collections::{BTreeMap, BTreeSet};

use starling_proto::ids::{NodeId, WriterId};

use super::limits::{DISPUTED_NODES_MAX, DISPUTES_MAX};

/// What two authors both claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Claims {
    frames: u64,
    /// At most [`DISPUTED_NODES_MAX`].
    nodes: BTreeSet<NodeId>,
    first_tick: u32,
    last_tick: u32,
}

/// Two authors that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute {
    /// The two, the lower first.
    pub writers: [WriterId; 2],
    /// The aggregators that answer for them; the writer itself where none is known.
    pub authors: [String; 2],
    /// Frames that both claim.
    pub frames: u64,
    /// Whose frames they are: at most [`super::limits::DISPUTED_NODES_MAX`].
    pub nodes: Vec<NodeId>,
    /// First of their ticks, Unix seconds.
    pub first_tick: u32,
    /// Last of them.
    pub last_tick: u32,
}

/// At most [`DISPUTES_MAX`] pairs; a further one is counted by its frames only ([`super::LedgerStats::overlaps`]).
#[derive(Debug, Default)]
pub(super) struct Disputes(BTreeMap<[WriterId; 2], Claims>);

impl Disputes {
    /// Two authors claim these frames of a tick: so many, of these nodes.
    pub(super) fn note<'a>(
        &mut self,
        mut writers: [WriterId; 2],
        tick: u32,
        frames: u64,
        nodes: impl Iterator<Item = &'a NodeId>,
    ) {
        writers.sort_unstable();
        if self.0.len() >= DISPUTES_MAX && !self.0.contains_key(&writers) {
            return;
        }
        let fresh = Claims { first_tick: tick, last_tick: tick, ..Claims::default() };
        let claims = self.0.entry(writers).or_insert(fresh);
        claims.frames += frames;
        claims.first_tick = claims.first_tick.min(tick);
        claims.last_tick = claims.last_tick.max(tick);
        for node in nodes {
            if claims.nodes.len() >= DISPUTED_NODES_MAX {
                break;
            }
            if !claims.nodes.contains(node) {
                claims.nodes.insert(node.clone());
            }
        }
    }

    /// Forgets disputes over ticks before `floor`, and those of authors whose logs are no longer held.
    pub(super) fn prune(&mut self, floor: u32, held: impl Fn(WriterId) -> bool) {
        self.0.retain(|writers, claims| claims.last_tick >= floor && writers.iter().all(|&writer| held(writer)));
    }

    /// All of them, sorted by writer. `author` names who answers for one.
    pub(super) fn all(&self, author: impl Fn(WriterId) -> String) -> Vec<Dispute> {
        let dispute = |(&writers, claims): (&[WriterId; 2], &Claims)| Dispute {
            writers,
            authors: writers.map(&author),
            frames: claims.frames,
            nodes: claims.nodes.iter().cloned().collect(),
            first_tick: claims.first_tick,
            last_tick: claims.last_tick,
        };
        self.0.iter().map(dispute).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disputes_are_bounded_and_forgotten_with_their_seconds() {
        let mut disputes = Disputes::default();
        let writer =
            |n: u16| WriterId::new([(n / 256) as u8, (n % 256) as u8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        let nodes: Vec<NodeId> = (0..2 * DISPUTED_NODES_MAX).map(|n| NodeId::sanitised(&format!("n-{n}"))).collect();
        disputes.note([writer(2), writer(1)], 10, 5, nodes.iter());
        disputes.note([writer(1), writer(2)], 8, 1, nodes.iter().take(1));
        let all = disputes.all(|writer| writer.to_string());
        assert_eq!((all.len(), all[0].writers, all[0].frames), (1, [writer(1), writer(2)], 6));
        assert_eq!((all[0].first_tick, all[0].last_tick, all[0].nodes.len()), (8, 10, DISPUTED_NODES_MAX));
        for n in 0..2 * DISPUTES_MAX as u16 {
            disputes.note([writer(1), writer(n + 2)], 12, 1, nodes.iter().take(1));
        }
        assert_eq!(disputes.all(|writer| writer.to_string()).len(), DISPUTES_MAX);
        disputes.prune(12, |held| held != writer(3));
        assert_eq!(
            disputes.all(|writer| writer.to_string()).len(),
            DISPUTES_MAX - 1,
            "one log is gone, the first pair went on"
        );
        disputes.prune(13, |_| true);
        assert!(disputes.all(|writer| writer.to_string()).is_empty());
    }
}
