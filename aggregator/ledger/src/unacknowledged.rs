//! Frames that were offered here and that their nodes still keep.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use starling_proto::ids::WriterId;

/// The first writer a frame was offered to, of a frame for which that is another one than this process; `None` when its
/// node does not know.
pub(super) type Elsewhere = Option<WriterId>;

/// Dots of connected streams. Bounded by what nodes keep: a dot is in here once, until it is acknowledged, its stream is
/// closed or its tick is gone.
#[derive(Debug, Default)]
pub(super) struct Unacknowledged {
    /// Streams by tick.
    by_tick: BTreeMap<u32, RoaringBitmap>,
    /// Those of them that are pinned elsewhere: few, after a failover.
    elsewhere: BTreeMap<u32, BTreeMap<u32, Elsewhere>>,
}

impl Unacknowledged {
    /// A dot waits. `elsewhere`: `None` when it is pinned here. Returns whether it is new.
    pub(super) fn insert(&mut self, tick: u32, stream: u32, elsewhere: Option<Elsewhere>) -> bool {
        if let Some(pin) = elsewhere {
            // What was known once stays known.
            let known = self.elsewhere.entry(tick).or_default().entry(stream).or_default();
            *known = pin.or(*known);
        } else if let Some(streams) = self.elsewhere.get_mut(&tick) {
            streams.remove(&stream);
        }
        self.by_tick.entry(tick).or_default().insert(stream)
    }

    /// A stream has no connection any more.
    pub(super) fn close(&mut self, stream: u32) {
        self.by_tick.retain(|_, streams| {
            streams.remove(stream);
            !streams.is_empty()
        });
        self.elsewhere.retain(|_, streams| {
            streams.remove(&stream);
            !streams.is_empty()
        });
    }

    /// Goes through the ticks with dots that wait, ascending: `look` gets the streams of each, takes from them which wait no
    /// longer, and is told which are pinned elsewhere.
    pub(super) fn retain(&mut self, mut look: impl FnMut(u32, &mut RoaringBitmap, &BTreeMap<u32, Elsewhere>)) {
        let none = BTreeMap::new();
        let Self { by_tick, elsewhere } = self;
        by_tick.retain(|&tick, streams| {
            look(tick, streams, elsewhere.get(&tick).unwrap_or(&none));
            !streams.is_empty()
        });
        elsewhere.retain(|tick, pins| {
            pins.retain(|&stream, _| by_tick.get(tick).is_some_and(|streams| streams.contains(stream)));
            !pins.is_empty()
        });
    }

    /// Forgets the ticks before `floor`. Returns how many dots went.
    pub(super) fn prune(&mut self, floor: u32) -> u64 {
        let kept = self.by_tick.split_off(&floor);
        self.elsewhere = self.elsewhere.split_off(&floor);
        std::mem::replace(&mut self.by_tick, kept).values().map(RoaringBitmap::len).sum()
    }

    /// Ticks with dots that wait.
    #[cfg(test)]
    pub(super) fn ticks_len(&self) -> usize {
        self.by_tick.len()
    }
}
