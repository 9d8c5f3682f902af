//! What the segments of one stream say, all together.

use std::{collections::BTreeMap, sync::Arc};

use starling_proto::{frame::Content, interner::Interner, limits::RING};

use super::{
    super::pin::Pin,
    record::{self, Head, Record},
};

/// Frames that are taken of one stream, the newest: what a ring holds.
const KEPT_MAX: usize = RING as usize;

/// A stream of a process before.
#[derive(Debug)]
pub(crate) struct Former {
    pub(in crate::uplink) head: Head,
    /// What nobody has acknowledged, by second.
    pub(in crate::uplink) kept: BTreeMap<u32, (Pin, Arc<Content>)>,
    /// The newest second that stands there, acknowledged or not.
    pub(crate) last_tick: u32,
    /// It has said that it ends.
    pub(in crate::uplink) ended: bool,
    /// Records that cannot be read, and frames for which there is no room.
    pub(in crate::uplink) damaged: u32,
}

/// Reads the segments of one stream, one after the other.
#[derive(Debug, Default)]
pub(super) struct Reader {
    head: Option<Head>,
    kept: BTreeMap<u32, (Pin, Arc<Content>)>,
    offered: BTreeMap<u32, Pin>,
    last_tick: u32,
    ended: bool,
    damaged: u32,
    /// The frames share their names.
    names: Interner,
}

impl Reader {
    /// Reads the next segment.
    pub(super) fn segment(&mut self, bytes: &[u8]) {
        let read = record::read(bytes, &self.names);
        self.damaged += read.damaged;
        read.records.into_iter().for_each(|record| self.take(record));
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Head(found) => drop(self.head.get_or_insert(found)),
            Record::Frame(content) => {
                self.last_tick = self.last_tick.max(content.tick);
                self.kept.insert(content.tick, (Pin::Unknown, Arc::new(content)));
                if self.kept.len() > KEPT_MAX {
                    self.kept.pop_first();
                    self.damaged += 1;
                }
            }
            Record::Offered { writer, ticks } => {
                for tick in ticks {
                    self.offered.entry(tick).or_insert(Pin::To(writer));
                }
            }
            Record::Gone { ticks } => {
                for tick in ticks {
                    self.last_tick = self.last_tick.max(tick);
                    self.kept.remove(&tick);
                }
            }
            Record::Ended => self.ended = true,
        }
    }

    /// What they say; `None` when none says whose they are.
    pub(super) fn end(self) -> Option<Former> {
        let Self { head, mut kept, offered, last_tick, ended, damaged, names: _ } = self;
        // Without its record it may have been offered all the same: that was lost with the power, or not written yet.
        for (tick, (pin, _)) in &mut kept {
            *pin = offered.get(tick).copied().unwrap_or(Pin::Unknown);
        }
        Some(Former { head: head?, kept, last_tick, ended, damaged })
    }
}

impl Former {
    /// Frames that nobody has acknowledged.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether the process that reads this may go on with the stream: it knows every second that was ever cut in it, and
    /// nobody was told of its end.
    pub(super) fn goes_on(&self, boot: [u8; 16], now: u32) -> bool {
        let is_same = boot != [0; 16] && self.head.boot == boot;
        is_same && !self.ended && self.damaged == 0 && self.last_tick <= now
    }
}
