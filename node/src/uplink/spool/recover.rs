//! What the segments of one stream say, all together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use starling_proto::{frame::Content, interner::Interner, limits::RING};

use super::{
    super::pin::Pin,
    files::Aside,
    record::{self, Head, Record},
};

/// Frames that are taken into memory of one stream, the newest: what a ring holds. Others stay aside.
const KEPT_MAX: usize = RING as usize;

/// A stream of a process before.
#[derive(Debug)]
pub(crate) struct Former {
    pub(in crate::uplink) head: Head,
    /// What nobody has acknowledged, by second: the newest of it.
    pub(in crate::uplink) kept: BTreeMap<u32, (Pin, Arc<Content>)>,
    /// The rest, which stays on the disk.
    pub(in crate::uplink) aside: Aside,
    /// The newest second that stands there, acknowledged or not.
    pub(crate) last_tick: u32,
    /// It has said that it ends.
    pub(in crate::uplink) ended: bool,
    /// Records that cannot be read.
    pub(in crate::uplink) damaged: u32,
}

/// Reads the segments of one stream, one after the other.
#[derive(Debug, Default)]
pub(super) struct Reader {
    head: Option<Head>,
    kept: BTreeMap<u32, (Pin, Arc<Content>)>,
    offered: BTreeMap<u32, Pin>,
    /// Where every frame stands that was read, wanted or not.
    places: BTreeMap<u32, u64>,
    gone: BTreeSet<u32>,
    last_tick: u32,
    ended: bool,
    damaged: u32,
    /// The frames share their names.
    names: Interner,
}

impl Reader {
    /// Reads the next segment.
    pub(super) fn segment(&mut self, number: u64, bytes: &[u8]) {
        let names = std::mem::take(&mut self.names);
        let (damaged, _) = record::each(bytes, &names, |record| self.take(number, record));
        self.damaged += damaged;
        self.names = names;
    }

    fn take(&mut self, segment: u64, record: Record) {
        match record {
            Record::Head(found) => drop(self.head.get_or_insert(found)),
            Record::Frame(content) => {
                self.last_tick = self.last_tick.max(content.tick);
                self.places.insert(content.tick, segment);
                self.gone.remove(&content.tick);
                self.kept.insert(content.tick, (Pin::Unknown, Arc::new(content)));
                if self.kept.len() > KEPT_MAX {
                    self.kept.pop_first();
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
                    self.gone.insert(tick);
                }
            }
            Record::Ended => self.ended = true,
        }
    }

    /// What they say; `None` when none says whose they are.
    pub(super) fn end(self) -> Option<Former> {
        let Self { head, mut kept, offered, mut places, gone, last_tick, ended, damaged, names: _ } = self;
        // Without its record it may have been offered all the same: that was lost with the power, or not written yet.
        let pin = |tick: u32| offered.get(&tick).copied().unwrap_or(Pin::Unknown);
        for (&tick, (kept, _)) in &mut kept {
            *kept = pin(tick);
        }
        places.retain(|tick, _| !kept.contains_key(tick));
        let unwanted = places.extract_if(.., |tick, _| gone.contains(tick)).collect();
        let frames = places.into_iter().map(|(tick, place)| (tick, (pin(tick), place))).collect();
        let aside = Aside { frames, unwanted };
        Some(Former { head: head?, kept, aside, last_tick, ended, damaged })
    }
}

impl Former {
    /// Frames that nobody has acknowledged.
    pub(crate) fn len(&self) -> usize {
        self.kept.len() + self.aside.frames.len()
    }

    /// Frames that stay on the disk, by second, and whose they are.
    pub(in crate::uplink) fn aside(&self) -> BTreeMap<u32, Pin> {
        self.aside.frames.iter().map(|(&tick, &(pin, _))| (tick, pin)).collect()
    }

    /// Whether the process that reads this may go on with the stream: it knows every second that was ever cut in it, and
    /// nobody was told of its end.
    pub(super) fn goes_on(&self, boot: [u8; 16], now: u32) -> bool {
        let is_same = boot != [0; 16] && self.head.boot == boot;
        is_same && !self.ended && self.damaged == 0 && self.last_tick <= now
    }
}
