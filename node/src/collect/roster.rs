//! Things with names that come and go: disks, interfaces.

use std::collections::HashMap;

/// Most things of one sort that are followed. Beyond it they are ignored, and each counts as a fault at each tick.
pub(super) const ROSTER_MAX: usize = 4096;

/// What is known about each thing, by name. A thing that was not met in a tick is forgotten: under the same name a
/// new one may come, with counters of its own.
#[derive(Debug)]
pub(super) struct Roster<T> {
    entries: HashMap<Box<[u8]>, Entry<T>>,
    tick: u64,
}

#[derive(Debug)]
struct Entry<T> {
    met: u64,
    value: T,
}

impl<T> Roster<T> {
    pub(super) fn new() -> Self {
        Self { entries: HashMap::new(), tick: 0 }
    }

    /// What is known about `name`, made by `make` when it is new. `None` when [`ROSTER_MAX`] others are known, and
    /// when the name was met in this tick already.
    pub(super) fn meet(&mut self, name: &[u8], make: impl FnOnce() -> T) -> Option<&mut T> {
        let tick = self.tick + 1;
        if !self.entries.contains_key(name) {
            if self.entries.len() >= ROSTER_MAX {
                return None;
            }
            self.entries.insert(name.into(), Entry { met: 0, value: make() });
        }
        let entry = self.entries.get_mut(name)?;
        if entry.met == tick {
            return None;
        }
        entry.met = tick;
        Some(&mut entry.value)
    }

    /// Ends the tick: forgets what was not met in it.
    pub(super) fn sweep(&mut self) {
        self.tick += 1;
        let tick = self.tick;
        self.entries.retain(|_, entry| entry.met == tick);
    }

    /// What is known of `name`.
    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        self.entries.get_mut(name).map(|entry| &mut entry.value)
    }

    /// Everything known, with its name, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.entries.iter().map(|(name, entry)| (&**name, &entry.value))
    }

    /// The same, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&[u8], &mut T)> {
        self.entries.iter_mut().map(|(name, entry)| (&**name, &mut entry.value))
    }

    /// Everything known, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.values().map(|entry| &entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_forgotten() {
        let mut roster = Roster::new();
        *roster.meet(b"eth0", || 1).unwrap() += 1;
        roster.meet(b"eth1", || 7).unwrap();
        assert_eq!(roster.meet(b"eth1", || 7), None, "twice in a tick");
        roster.sweep();
        assert_eq!(roster.meet(b"eth0", || 1), Some(&mut 2));
        roster.sweep();
        assert_eq!(roster.meet(b"eth1", || 9), Some(&mut 9), "a new one under the old name");
    }

    #[test]
    fn it_is_bounded() {
        let mut roster = Roster::new();
        for i in 0..ROSTER_MAX {
            assert!(roster.meet(i.to_string().as_bytes(), || ()).is_some());
        }
        assert!(roster.meet(b"one more", || ()).is_none());
        assert_eq!(roster.values().count(), ROSTER_MAX);
    }
}
