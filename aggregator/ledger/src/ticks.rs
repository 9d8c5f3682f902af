//! The ticks that are held, and which of them changed: a table that knows nothing of logs.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{limits::PACK_AFTER, streams::Touched, tick::TickState};
use crate::rollup::{Keys, RollupError, Sums};

/// Ticks by their second. Bounded by the window: the ledger takes nothing before its floor and nothing far ahead.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    states: BTreeMap<u32, TickState>,
    /// Ticks whose view changed since they were last brought out.
    changed: BTreeSet<u32>,
    /// Ticks packed since they were last brought out.
    packed: BTreeSet<u32>,
    /// When each change of a tick may be packed, oldest first: at most one per change.
    to_pack: VecDeque<(u64, u32)>,
    /// Names of the tick packed last.
    keys: Option<Arc<Keys>>,
}

impl Ticks {
    pub(super) fn get(&self, tick: u32) -> Option<&TickState> {
        self.states.get(&tick)
    }

    pub(super) fn get_mut(&mut self, tick: u32) -> Option<&mut TickState> {
        self.states.get_mut(&tick)
    }

    /// A tick that is held from now on.
    pub(super) fn hold(&mut self, tick: u32) -> &mut TickState {
        self.states.entry(tick).or_default()
    }

    /// Ticks of which something is held, ascending.
    pub(super) fn seconds(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        // Of one that was taken out whole only the change is left, for readers.
        self.states.iter().filter(|(_, state)| !state.is_empty()).map(|(&tick, _)| tick)
    }

    /// All of them, ascending. Whoever changes sums says so by [`Ticks::change`].
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut TickState)> {
        self.states.iter_mut().map(|(&tick, state)| (tick, state))
    }

    /// Changes the sums of a tick that is held.
    ///
    /// # Errors
    /// Those of `change`; the tick counts as changed all the same.
    pub(super) fn change(
        &mut self,
        now_ms: u64,
        tick: u32,
        change: impl FnOnce(&mut Sums) -> Result<(), RollupError>,
    ) -> Result<(), RollupError> {
        let Some(state) = self.states.get_mut(&tick) else { return Ok(()) };
        self.changed.insert(tick);
        if state.changed_ms != now_ms {
            self.to_pack.push_back((now_ms, tick));
        }
        state.change(now_ms, change)
    }

    /// These ticks count as changed: other nodes are expected there.
    pub(super) fn touch(&mut self, touched: &Touched) {
        for range in touched.ranges() {
            for (&tick, state) in self.states.range_mut(range) {
                state.revision += 1;
                self.changed.insert(tick);
            }
        }
    }

    /// Whether a tick changed; it then no longer counts as changed.
    pub(super) fn take_change(&mut self, tick: u32) -> bool {
        self.changed.remove(&tick)
    }

    /// At most `most` of the ticks that changed: the oldest, so that none waits for ever, and else the newest. They are
    /// brought out, so that it no longer matters whether they were packed.
    pub(super) fn take_changed(&mut self, most: usize) -> Vec<u32> {
        let oldest = self.changed.pop_first();
        let newest = std::iter::from_fn(|| self.changed.pop_last()).take(most.saturating_sub(1));
        let changed: Vec<u32> = oldest.into_iter().chain(newest).collect();
        self.packed.retain(|tick| !changed.contains(tick));
        changed
    }

    /// Whether a tick changed and was not brought out yet: readers do not see all that is known of it.
    pub(super) fn is_changed(&self, tick: u32) -> bool {
        self.changed.contains(&tick)
    }

    /// Whether ticks changed that were not brought out yet.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The ticks that changed, for a test that looks without taking them.
    #[cfg(test)]
    pub(super) fn changed(&self) -> impl Iterator<Item = u32> + '_ {
        self.changed.iter().copied()
    }

    /// Packs ticks that have not changed for [`PACK_AFTER`].
    pub(super) fn pack(&mut self, now_ms: u64) {
        let before = now_ms.saturating_sub(PACK_AFTER.as_millis() as u64);
        while let Some((at, tick)) = self.to_pack.pop_front_if(|(at, _)| *at < before) {
            // A later change has a later place in the queue.
            let Some(state) = self.states.get_mut(&tick).filter(|state| state.changed_ms == at) else { continue };
            if let Some(keys) = state.pack(self.keys.as_ref()) {
                self.keys = Some(keys);
                self.packed.insert(tick);
            }
        }
    }

    /// The ticks that were packed and did not change.
    pub(super) fn take_packed(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.packed)
    }

    /// Forgets the ticks before `floor`, and gives them.
    pub(super) fn prune(&mut self, floor: u32) -> BTreeMap<u32, TickState> {
        let kept = self.states.split_off(&floor);
        self.changed = self.changed.split_off(&floor);
        self.packed = self.packed.split_off(&floor);
        std::mem::replace(&mut self.states, kept)
    }
}
