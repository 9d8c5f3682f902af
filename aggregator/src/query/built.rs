//! Values that are made once for all who ask, and never under a lock that others wait for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// A value of one version, once it is made.
type Slot<V> = Arc<OnceLock<Arc<V>>>;

/// The values made last, by key. Whoever asks for one that is being made waits for it, and only they.
pub(super) struct Built<K, V> {
    max: usize,
    /// With the version each is of. A plain mutex: it is held to find a slot, never while a value is made.
    slots: Mutex<BTreeMap<K, (u64, Slot<V>)>>,
}

impl<K: Ord, V> Built<K, V> {
    /// Nothing yet; at most `max` values at once, the smallest keys go first.
    pub(super) fn new(max: usize) -> Self {
        Self { max, slots: Mutex::default() }
    }

    /// The value of `key` in its `version`; made with `build` unless it was already. Blocks while another caller makes
    /// this very value.
    pub(super) fn get(&self, key: K, version: u64, build: impl FnOnce() -> V) -> Arc<V> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            match slots.get(&key) {
                Some((held, slot)) if *held == version => Arc::clone(slot),
                _ => {
                    let slot = Slot::default();
                    slots.insert(key, (version, Arc::clone(&slot)));
                    while slots.len() > self.max {
                        slots.pop_first();
                    }
                    slot
                }
            }
        };
        Arc::clone(slot.get_or_init(|| Arc::new(build())))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn a_value_is_made_once_per_version() {
        let built = Built::new(2);
        let first = built.get("a", 1, || 1);
        assert!(Arc::ptr_eq(&first, &built.get("a", 1, || unreachable!())));
        assert_eq!(*built.get("a", 2, || 2), 2, "another version");
        for key in ["b", "c"] {
            built.get(key, 1, || 0);
        }
        assert_eq!(*built.get("a", 2, || 3), 3, "the smallest key went");
    }

    #[test]
    fn only_those_who_want_what_is_being_made_wait() {
        let built = &Built::new(8);
        let ((entered, was_entered), (go, may_go)) = (mpsc::channel(), mpsc::channel::<()>());
        thread::scope(|scope| {
            let slow = scope.spawn(move || {
                built.get(1, 1, || {
                    entered.send(()).unwrap();
                    may_go.recv().unwrap();
                    "slow"
                })
            });
            was_entered.recv().unwrap();
            // The first is still being made, and goes on only after the other one is there.
            assert_eq!(*built.get(2, 1, || "quick"), "quick");
            let same = scope.spawn(move || built.get(1, 1, || "made twice"));
            go.send(()).unwrap();
            assert_eq!((*slow.join().unwrap(), *same.join().unwrap()), ("slow", "slow"));
        });
    }
}
