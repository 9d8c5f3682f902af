//! Frames for which the ring has no room: on the disk alone, and read back when an aggregator takes them.
//!
//! What aggregators take by its age: the last [`LATE_WINDOW`] at any time; older seconds only after an outage of the whole cluster, in
//! their turn, from a *floor* up to a second that both move forward. The newest go first, then the old ones from the oldest on,
//! as their turn comes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use starling_proto::limits::{EARLY_SECONDS, LATE_WINDOW};

use super::UplinkSession;
use crate::uplink::{
    loss::LossReason,
    pin::Pin,
    ring::Kept,
    spool::{ASIDE_MAX, Answer, Change},
};

/// Frames that are read back at a time: three windows of old frames, 1 MB of a host with 250 series.
const FETCH_MAX: usize = 60;
/// They are read back while the ring holds fewer than this, so that a link always has something to send.
const FETCH_BELOW: usize = 30;

/// What an aggregator takes by its age, as it said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gate {
    /// No aggregator takes a second before this one any more.
    floor: u32,
    /// Of the seconds older than [`LATE_WINDOW`] those up to this one are taken now; 0 for none.
    old_until: u32,
    /// It has said since that the turn of this one has not come, as its clock may differ; 0 for none.
    not_yet: u32,
}

impl Gate {
    /// As an aggregator says; 0 for the floor of one that does not know about outages, by a clock that says `now`.
    pub(super) const fn of(floor: u32, old_until: u32, now: u32) -> Self {
        Self { floor: if floor == 0 { now.saturating_sub(LATE_WINDOW) } else { floor }, old_until, not_yet: 0 }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Aside {
    pub(super) frames: BTreeMap<u32, Pin>,
    /// Those that are being read back.
    pub(super) fetched: BTreeSet<u32>,
}

impl Aside {
    pub(super) const fn of(frames: BTreeMap<u32, Pin>) -> Self {
        Self { frames, fetched: BTreeSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// What to read back: of the seconds from `recent` on the newest, else of the old ones the oldest that are taken.
    fn wanted(&self, recent: u32, gate: Gate) -> Vec<u32> {
        let recent = recent.max(gate.not_yet.saturating_add(1));
        let newest = self.frames.range(recent..).rev().take(FETCH_MAX).map(|(&tick, _)| tick).collect::<Vec<_>>();
        if !newest.is_empty() || gate.old_until < gate.floor {
            return newest;
        }
        self.frames.range(gate.floor..=gate.old_until).take(FETCH_MAX).map(|(&tick, _)| tick).collect()
    }
}

impl UplinkSession {
    /// A frame left the ring for want of room.
    pub(super) fn put_aside(&mut self, kept: &Kept) {
        let tick = kept.content.tick;
        if !self.settings.spooled {
            self.removed(kept);
            return self.lose(tick, LossReason::RingFull, "no aggregator acknowledged it in time");
        }
        self.left_ring(kept);
        self.spool(Change::Aside { tick });
        self.aside.frames.insert(tick, kept.pin);
        if self.aside.len() > ASIDE_MAX
            && let Some((oldest, _)) = self.aside.frames.pop_first()
        {
            self.spool(Change::Gone { ticks: vec![oldest] });
            self.lose(oldest, LossReason::RingFull, "no aggregator acknowledged it in six hours");
        }
    }

    /// The aggregator says what it takes by its age.
    pub(super) fn takes(&mut self, gate: Gate) {
        self.gate = Some(gate);
        let taken = self.aside.frames.split_off(&gate.floor);
        let late = std::mem::replace(&mut self.aside.frames, taken);
        self.lose_aside(late.into_keys().collect(), LossReason::TooLate, "it is older than any aggregator still takes");
    }

    /// The turn of a second has not come: it waits on the disk.
    pub(super) fn not_yet(&mut self, tick: u32) {
        if let Some(gate) = &mut self.gate {
            gate.old_until = gate.old_until.min(tick.saturating_sub(1));
            gate.not_yet = gate.not_yet.max(tick);
        }
        if let Some(kept) = self.ring.remove(tick) {
            self.put_aside(&kept);
        }
    }

    /// An acknowledgement of a frame that left the ring after it was offered. True when it is one.
    pub(super) fn acknowledged_aside(&mut self, tick: u32) -> bool {
        let is_one = self.aside.frames.get(&tick).is_some_and(|pin| pin.was_offered());
        if is_one {
            self.aside.frames.remove(&tick);
            self.spool(Change::Gone { ticks: vec![tick] });
        }
        is_one
    }

    /// Asks for what the aggregator takes now and the ring has room for.
    pub(super) fn fetch(&mut self) {
        if self.aside.frames.is_empty() || !self.aside.fetched.is_empty() || self.ring.len() >= FETCH_BELOW {
            return;
        }
        let (Some(_), Some(gate)) = (self.taker(), self.gate) else { return };
        if self.stopping.is_some_and(|until| until < Duration::MAX) {
            return;
        }
        let ticks = self.aside.wanted(self.recent(), gate);
        if !ticks.is_empty() {
            self.aside.fetched = ticks.iter().copied().collect();
            self.spool(Change::Fetch { ticks });
        }
    }

    /// From this second on any aggregator takes what is cut by our clock.
    const fn recent(&self) -> u32 {
        self.last_tick.saturating_sub(LATE_WINDOW - EARLY_SECONDS)
    }

    /// Whether frames aside are on their way, or can be: a stream that ends waits for those.
    pub(super) fn is_fetching(&self) -> bool {
        let some = |gate| !self.aside.wanted(self.recent(), gate).is_empty();
        !self.aside.fetched.is_empty() || self.gate.is_some_and(some)
    }

    /// Takes what the disk says of frames that are on it alone.
    pub(in crate::uplink) fn disk_answered(&mut self, answer: Answer, now: Duration) {
        match answer {
            Answer::Read(frames) => {
                let mut asked = std::mem::take(&mut self.aside.fetched);
                for content in frames {
                    let tick = content.tick;
                    // It may have been acknowledged meanwhile.
                    if asked.remove(&tick)
                        && let Some(pin) = self.aside.frames.remove(&tick)
                    {
                        self.ring.put_back(content, pin);
                    }
                }
                self.not_given_back(asked.into_iter().collect());
            }
            Answer::Lost(ticks) => self.not_given_back(ticks),
            Answer::AllLost => {
                self.not_given_back(self.aside.frames.keys().copied().collect());
                self.aside.fetched.clear();
            }
        }
        self.advance(now);
    }

    fn not_given_back(&mut self, mut ticks: Vec<u32>) {
        ticks.retain(|tick| {
            self.aside.fetched.remove(tick);
            self.aside.frames.remove(tick).is_some()
        });
        self.lose_aside(ticks, LossReason::Unreadable, "it was on the disk alone, which does not give it back");
    }

    fn lose_aside(&mut self, ticks: Vec<u32>, reason: LossReason, why: &str) {
        ticks.iter().for_each(|&tick| self.lose(tick, reason, why));
        if !ticks.is_empty() {
            self.spool(Change::Gone { ticks });
        }
    }

    /// Takes a frame out of what the link has in flight.
    pub(super) fn left_ring(&mut self, kept: &Kept) {
        if self.link() == Some(kept.offered_on) {
            self.in_flight -= 1;
        }
    }

    /// Frames on the disk alone.
    pub(in crate::uplink) fn aside_len(&self) -> usize {
        self.aside.len()
    }
}
