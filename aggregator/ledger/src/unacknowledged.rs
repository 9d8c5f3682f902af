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

    /// The ticks with dots that wait, ascending.
    pub(super) fn ticks(&self) -> Vec<u32> {
        self.by_tick.keys().copied().collect()
    }

    /// The streams that wait at a tick.
    pub(super) fn at(&self, tick: u32) -> RoaringBitmap {
        self.by_tick.get(&tick).cloned().unwrap_or_default()
    }

    /// The streams at a tick that are pinned elsewhere.
    pub(super) fn elsewhere(&self, tick: u32) -> Option<&BTreeMap<u32, Elsewhere>> {
        self.elsewhere.get(&tick)
    }

    /// These streams of a tick wait no longer.
    pub(super) fn remove(&mut self, tick: u32, acknowledged: &RoaringBitmap) {
        if let Some(streams) = self.by_tick.get_mut(&tick) {
            *streams -= acknowledged;
            if streams.is_empty() {
                self.by_tick.remove(&tick);
            }
        }
        if let Some(streams) = self.elsewhere.get_mut(&tick) {
            streams.retain(|stream, _| !acknowledged.contains(*stream));
            if streams.is_empty() {
                self.elsewhere.remove(&tick);
            }
        }
    }

    /// Forgets the ticks before `floor`. Returns how many dots went.
    pub(super) fn prune(&mut self, floor: u32) -> u64 {
        let kept = self.by_tick.split_off(&floor);
        self.elsewhere = self.elsewhere.split_off(&floor);
        std::mem::replace(&mut self.by_tick, kept).values().map(RoaringBitmap::len).sum()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_tick.is_empty()
    }
}
