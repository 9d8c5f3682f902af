//! What is older than what is kept, from the engine that keeps longer.
//!
//! The seam is the first second that is known of a subject here or at another aggregator; the engine is asked for what is before
//! it. Of a subject that came long after what is kept begins, such as a new node, and of one of which nothing is known here, it
//! is asked for no more than [`FIRST_HOUR`] beyond that.

use std::{collections::BTreeMap, time::Instant};

use starling_history::Subject;
use starling_proto::v1;

use super::{asked::Whose, found::Found, question::Question};
use crate::{
    engine::{Answered, Asked, Engine, Owners},
    fleet::ClusterFleet,
    select::{Key, Mixed, Part},
};

/// Seconds: what is kept may begin with a part of an hour, of which a subject has nothing before its first second.
const FIRST_HOUR: u32 = 3_600;

/// A question to the engine.
pub(super) struct Older<'a> {
    engine: &'a Engine,
    asked: Asked,
}

impl<'a> Older<'a> {
    /// What is to be asked for `question`, when seconds up to `settled` are kept from `oldest` on, of which some were found and
    /// some are still open. `None` when nothing is older than what is kept.
    pub(super) fn of(
        engine: &'a Engine,
        question: &Question,
        (oldest, settled): (Option<u32>, u32),
        fleet: &ClusterFleet,
        found: &Found,
        open: &BTreeMap<Subject, Mixed>,
    ) -> Option<Self> {
        let (from, to) = (question.span.from, question.span.to.min(settled));
        let kept = oldest.unwrap_or(u32::MAX);
        // Of several the first one: what of the others is older is asked for in any case.
        let first = open.values().filter_map(Mixed::first).min().unwrap_or(u32::MAX);
        let end = first.min(kept.saturating_add(FIRST_HOUR)).min(to.saturating_add(1));
        if from >= end || from >= kept {
            return None;
        }
        let owners = match &question.whose {
            Whose::Subject(subject) => Owners::One(subject.clone()),
            Whose::EachNode(group) => {
                Owners::Nodes(group.label().map(|(key, value)| (key.to_owned(), value.to_owned())))
            }
        };
        let mut held: Vec<Key> = open.values().flat_map(Mixed::keys).chain(found.keys().cloned()).collect();
        held.sort_unstable();
        held.dedup();
        let asked = Asked {
            owners,
            called: question.wanted.called()?,
            selection: question.wanted.selection(from, end - 1, question.histograms),
            grain: question.span.grain(),
            from,
            end,
            held,
            nodes: fleet.labels(),
        };
        Some(Self { engine, asked })
    }
}

/// Asks the engine, when there is something to ask.
pub(super) async fn read(older: Option<Older<'_>>, until: Instant) -> Option<Answered> {
    let Older { engine, asked } = older?;
    Some(engine.read(&asked, until).await)
}

/// Notes what came from the engine.
pub(super) fn tell(told: &mut Option<v1::FromEngine>, part: &Part) {
    let (Some(first), Some((last, tier))) = (part.first(), part.last()) else { return };
    let told = told.get_or_insert_with(|| v1::FromEngine { from_tick: first, ..v1::FromEngine::default() });
    told.from_tick = told.from_tick.min(first);
    told.to_tick = told.to_tick.max(last);
    told.resolution_seconds = told.resolution_seconds.max(tier.seconds());
}
