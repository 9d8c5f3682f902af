//! Whose series this aggregator sends, and from which second on: each series from one aggregator at a time. Pure.
//!
//! A node's are sent by whoever has its stream. Those of the cluster and of a group are sent by the aggregator that is the
//! first for that name by the rule that also says who owns a node. Whoever takes over does not know up to where the one
//! before sent: it begins [`HANDOVER`] seconds later, by when the other has heard of it and stopped. That gap, and the time in
//! which a dead aggregator is not noticed, are not sent by anybody.

use std::collections::{BTreeMap, BTreeSet};

use starling_history::Subject;

/// Seconds from taking over a merged subject to its first second.
pub(super) const HANDOVER: u32 = 3;

/// What is to be done about a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Its seconds from this one on are sent from here.
    From(u32),
    /// It was sent from here until now.
    Ends,
    /// Another aggregator sends it.
    Elsewhere,
}

/// What is known when a turn is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// The newest settled second.
    pub(super) settled: u32,
    /// The first second that memory can hold.
    pub(super) oldest: u32,
    /// No other aggregator was seen in the last 15 minutes.
    pub(super) alone: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The first second of each merged subject that is ours.
    ours: BTreeMap<Subject, u32>,
    /// The first second of each node that was new here.
    nodes: BTreeMap<Subject, u32>,
}

impl Turns {
    /// Of `subject`, of which the seconds up to `taken` are in the queue; `first` says whether this aggregator is the first
    /// for a merged one.
    pub(super) fn take(&mut self, subject: &Subject, first: bool, taken: Option<u32>, now: Now) -> Turn {
        if subject.is_merged() {
            return self.merged(subject, first, taken, now);
        }
        // What is held of a node came to this process or to the one before it.
        let begun = *self.nodes.entry(subject.clone()).or_insert(match taken {
            Some(taken) => taken + 1,
            None if now.alone => now.oldest,
            // What it held back, the aggregator before may have sent.
            None => now.settled,
        });
        Turn::From(taken.map_or(begun, |taken| taken + 1).max(begun).max(now.oldest))
    }

    fn merged(&mut self, subject: &Subject, first: bool, taken: Option<u32>, now: Now) -> Turn {
        if !first {
            return if self.ours.remove(subject).is_some() { Turn::Ends } else { Turn::Elsewhere };
        }
        let begun = *self.ours.entry(subject.clone()).or_insert(match taken {
            _ if !now.alone => now.settled + HANDOVER,
            Some(taken) => taken + 1,
            None => now.oldest,
        });
        Turn::From(taken.map_or(begun, |taken| taken + 1).max(begun).max(now.oldest))
    }

    /// Forgets nodes of which nothing is held here any more.
    pub(super) fn keep_nodes(&mut self, held: &BTreeSet<Subject>) {
        self.nodes.retain(|node, _| held.contains(node));
    }
}

#[cfg(test)]
mod tests {
    use starling_proto::ids::NodeId;

    use super::*;

    const NOW: Now = Now { settled: 10_000, oldest: 9_101, alone: true };
    const AMONG_OTHERS: Now = Now { alone: false, ..NOW };

    fn web() -> Subject {
        Subject::Node(NodeId::parse("web-1").unwrap())
    }

    #[test]
    fn a_lone_aggregator_goes_on_behind_the_process_before() {
        for subject in [Subject::Cluster, web()] {
            let mut turns = Turns::default();
            assert_eq!(turns.take(&subject, true, Some(9_990), NOW), Turn::From(9_991), "{subject}");
            assert_eq!(turns.take(&subject, true, Some(9_999), NOW), Turn::From(10_000));
            // Memory forgot what was not taken.
            assert_eq!(Turns::default().take(&subject, true, Some(5), NOW), Turn::From(9_101));
            assert_eq!(Turns::default().take(&subject, true, None, NOW), Turn::From(9_101));
        }
    }

    #[test]
    fn who_takes_over_a_merged_subject_begins_later_and_who_loses_it_ends_it_once() {
        let mut turns = Turns::default();
        assert_eq!(turns.take(&Subject::Cluster, false, None, AMONG_OTHERS), Turn::Elsewhere);
        assert_eq!(turns.take(&Subject::Cluster, true, None, AMONG_OTHERS), Turn::From(10_003));
        let later = Now { settled: 10_020, ..AMONG_OTHERS };
        assert_eq!(turns.take(&Subject::Cluster, true, Some(10_010), later), Turn::From(10_011));
        assert_eq!(turns.take(&Subject::Cluster, false, Some(10_010), later), Turn::Ends);
        assert_eq!(turns.take(&Subject::Cluster, false, Some(10_010), later), Turn::Elsewhere);
        assert_eq!(
            turns.take(&Subject::Cluster, true, Some(10_010), later),
            Turn::From(10_023),
            "and not what the other sent"
        );
    }

    #[test]
    fn a_node_that_comes_from_another_aggregator_begins_with_what_is_new() {
        let mut turns = Turns::default();
        assert_eq!(turns.take(&web(), false, None, AMONG_OTHERS), Turn::From(10_000));
        let later = Now { settled: 10_005, ..AMONG_OTHERS };
        assert_eq!(turns.take(&web(), false, None, later), Turn::From(10_000), "it has not sent anything yet");
        turns.keep_nodes(&BTreeSet::new());
        assert_eq!(turns.take(&web(), false, None, later), Turn::From(10_005));
    }
}
