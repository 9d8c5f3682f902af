//! Which of the episodes that were judged are written down: transitions at once, values now and then; and the
//! acknowledgements that go on with them.

use starling_proto::v1;

use crate::{Book, Episode, Outcome, Record};

/// Seconds between two records of an episode of which only the value changes.
const VALUE_EVERY: u32 = 5;

/// What is to be written down of a second.
#[derive(Debug, Default)]
pub struct Written {
    /// The records.
    pub records: Vec<Record>,
    /// Those that began, changed their severity or ended, and that somebody is to hear of.
    pub transitions: Vec<Episode>,
}

/// What of `changed` is to be written into `book` at second `tick`, by the aggregator `origin` at `now_ms`.
#[must_use]
pub fn records(changed: Vec<Episode>, book: &Book, (tick, now_ms): (u32, u64), origin: &str) -> Written {
    let mut written = Written::default();
    let acknowledge = |episode: &Episode, by: &v1::AlertAcknowledgement| {
        let control = book.acknowledge(episode, by.clone(), origin, now_ms).ok()?;
        Some(Record::Control(control))
    };
    for episode in changed {
        let known = book.episode(episode.id);
        if known.is_some_and(|known| episode.newer(known).is_le()) {
            continue;
        }
        let is_transition = known.is_none_or(|known| known.progress() < episode.progress());
        if !is_transition && !(u64::from(tick) + episode.id.0).is_multiple_of(u64::from(VALUE_EVERY)) {
            continue;
        }
        // Nobody heard of it, and nobody shall.
        if episode.ended.is_some() && !episode.has_fired() && known.is_none() {
            continue;
        }
        if is_transition && episode.has_fired() {
            written.transitions.push(episode.clone());
            if episode.is_open() && book.acknowledgement(&episode, tick).is_none() {
                let by = book.inherited(&episode, tick);
                written.records.extend(by.and_then(|by| acknowledge(&episode, by)));
            }
        }
        if matches!(episode.ended, Some((_, Outcome::Merged))) {
            let other = book.open().into_iter().find(|other| other.cause() == episode.cause());
            let other = other.filter(|other| other.id != episode.id && book.acknowledgement(other, tick).is_none());
            let by = book.acknowledgement(&episode, tick);
            written.records.extend(other.zip(by).and_then(|(other, by)| acknowledge(other, by)));
        }
        written.records.push(Record::Episode(episode));
    }
    written
}
