//! Which frames their nodes may forget.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::{
    Ledger,
    faults::Fault,
    logs::OWN,
    tick::{Place, TickState},
    types::{Ack, StreamNo},
    unacknowledged::Elsewhere,
};

impl Ledger {
    /// On how many aggregators a frame must be held from now on, this one included: what the membership allows of
    /// [`super::LedgerConfig::copies`]. 1 while this aggregator has no peer; every answer says so.
    pub fn set_copies(&mut self, copies: u32) {
        self.acks_due |= self.enough != copies.max(1);
        self.enough = copies.max(1);
    }

    /// Dots of connected streams that enough aggregators hold by now, each reported once, sorted. Only such as readers see:
    /// a second that changed since it was brought out waits for that.
    pub(crate) fn acks(&mut self) -> Vec<Ack> {
        // Without news there is nothing to look for.
        if !std::mem::take(&mut self.acks_due) {
            return Vec::new();
        }
        let enough = if self.faults.has(Fault::AckBeforeCopies) { 1 } else { self.enough };
        let mut acks = Vec::new();
        let mut waiting = std::mem::take(&mut self.unacknowledged);
        waiting.retain(|tick, streams, elsewhere| {
            if self.ticks.is_changed(tick) && !self.faults.has(Fault::AckBeforeShown) {
                self.acks_due = true;
            } else if let Some(state) = self.ticks.get(tick) {
                self.acks_of((tick, state), streams, elsewhere, enough, &mut acks);
            }
        });
        self.unacknowledged = waiting;
        self.stats.acknowledged += acks.len() as u64;
        acks.sort_unstable();
        acks
    }

    /// Acknowledges what is held by enough, and takes it from `waiting`. What holds a dot is an own entry, or one of the
    /// writer it is pinned to (of those in `elsewhere`): not what others claim of it.
    fn acks_of(
        &self,
        (tick, state): (u32, &TickState),
        waiting: &mut RoaringBitmap,
        elsewhere: &BTreeMap<u32, Elsewhere>,
        enough: u32,
        acks: &mut Vec<Ack>,
    ) {
        let every_claim = self.faults.has(Fault::ClaimsCount);
        let counts = |stream: u32, place: Place| {
            let of_pin = |pin: &Elsewhere| pin.is_some_and(|pin| self.logs.number(pin) == Some(place.log));
            place.log == OWN || every_claim || elsewhere.get(&stream).is_some_and(of_pin)
        };
        for merged in &state.merges {
            // Mostly nothing is pinned elsewhere: then the merges of others are passed over whole.
            if merged.place.log != OWN && elsewhere.is_empty() && !every_claim {
                continue;
            }
            let copies = self.copies_at(merged.place);
            if copies >= enough {
                let mut held = &*waiting & &merged.coverage;
                if merged.place.log != OWN {
                    held = held.iter().filter(|&stream| counts(stream, merged.place)).collect();
                }
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
            let places = raw.places().filter(|&place| counts(stream, place));
            let copies = places.map(|place| self.copies_at(place)).max().unwrap_or(0);
            if copies >= enough {
                acks.push(Ack { stream: StreamNo(stream), tick, copies });
                held.insert(stream);
            }
        }
        *waiting -= held;
    }

    fn copies_at(&self, place: Place) -> u32 {
        self.logs.get(place.log).map_or(0, |log| self.copies(log, place.sequence))
    }
}
