//! Which frames their nodes may forget.

use roaring::RoaringBitmap;

use super::{
    Ledger,
    faults::Fault,
    tick::{Place, TickState},
    types::{Ack, StreamNo},
};

impl Ledger {
    /// Switches acknowledgement on one copy on or off. On while this aggregator has no peer; every answer says so.
    pub fn set_alone(&mut self, alone: bool) {
        self.alone = alone;
    }

    /// True while one copy is enough.
    #[must_use]
    pub const fn is_alone(&self) -> bool {
        self.alone
    }

    /// Dots of connected streams that enough aggregators hold by now, each reported once, sorted.
    pub fn acks(&mut self) -> Vec<Ack> {
        let enough = if self.alone || self.faults.has(Fault::AckBeforeCopies) { 1 } else { self.config.copies };
        let mut acks = Vec::new();
        let mut waiting = std::mem::take(&mut self.unacknowledged);
        waiting.retain(|&tick, streams| {
            if let Some(state) = self.ticks.get(&tick) {
                self.acks_of(tick, state, streams, enough, &mut acks);
            }
            !streams.is_empty()
        });
        self.unacknowledged = waiting;
        self.stats.acknowledged += acks.len() as u64;
        acks.sort_unstable();
        acks
    }

    fn acks_of(&self, tick: u32, state: &TickState, waiting: &mut RoaringBitmap, enough: u32, acks: &mut Vec<Ack>) {
        for merged in &state.merges {
            let copies = self.copies_at(merged.place);
            if copies >= enough {
                let held = &*waiting & &merged.coverage;
                acks.extend(held.iter().map(|stream| Ack { stream: StreamNo(stream), tick, copies }));
                *waiting -= held;
            }
        }
        if waiting.is_empty() || state.raws.is_empty() {
            return;
        }
        let mut held = RoaringBitmap::new();
        for stream in &*waiting {
            let Some(raw) = state.raws.get(&stream) else { continue };
            let places = std::iter::once(&raw.place).chain(&raw.others);
            let copies = places.map(|&place| self.copies_at(place)).max().unwrap_or(0);
            if copies >= enough {
                acks.push(Ack { stream: StreamNo(stream), tick, copies });
                held.insert(stream);
            }
        }
        *waiting -= held;
    }

    fn copies_at(&self, place: Place) -> u32 {
        self.logs.get(place.log).map_or(0, |log| self.copies(log.writer, place.sequence))
    }
}
