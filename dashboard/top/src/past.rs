//! What was shown beside the charts, second by second, in bounded memory.

use std::{collections::VecDeque, rc::Rc};

/// Seconds kept, as far as memory allows.
const SECONDS_MAX: usize = 900;
/// Of one view. At 1,000 nodes 900 seconds of them take 45 MB and all are kept; at 10,000 it is two minutes. What is beyond goes, oldest first, and what is
/// still there is said.
const BYTES_MAX: usize = 64 << 20;

/// States of the last seconds.
#[derive(Debug)]
pub(crate) struct Past<T> {
    kept: VecDeque<Kept<T>>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept<T> {
    tick: u32,
    bytes: usize,
    state: Rc<T>,
}

impl<T> Default for Past<T> {
    fn default() -> Self {
        Self { kept: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Past<T> {
    /// Keeps the state of a second, which takes about so many bytes. One that is kept already is replaced.
    pub(crate) fn push(&mut self, tick: u32, state: T, bytes: usize) {
        // An aggregator that was followed before may have been ahead.
        while let Some(last) = self.kept.pop_back_if(|last| last.tick >= tick) {
            self.bytes -= last.bytes;
        }
        self.kept.push_back(Kept { tick, bytes, state: Rc::new(state) });
        self.bytes += bytes;
        while self.kept.len() > SECONDS_MAX || (self.bytes > BYTES_MAX && self.kept.len() > 1) {
            self.bytes -= self.kept.pop_front().map_or(0, |first| first.bytes);
        }
    }

    /// The newest.
    pub(crate) fn newest(&self) -> Option<&Rc<T>> {
        self.kept.back().map(|kept| &kept.state)
    }

    /// The state as of `tick`: that of the last second that is kept and not more than `slack` seconds older.
    pub(crate) fn at(&self, tick: u32, slack: u32) -> Option<&Rc<T>> {
        let after = self.kept.partition_point(|kept| kept.tick <= tick);
        let kept = self.kept.get(after.checked_sub(1)?)?;
        (tick - kept.tick <= slack).then_some(&kept.state)
    }

    /// The first second that is kept; 0 when none is.
    pub(crate) fn first(&self) -> u32 {
        self.kept.front().map_or(0, |kept| kept.tick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_found_for_as_long_as_it_is_kept() {
        let mut past = Past::default();
        for tick in 1..=1_000 {
            past.push(tick, tick, 10);
        }
        assert_eq!((past.first(), past.newest().map(|is| **is)), (101, Some(1_000)));
        assert_eq!((past.at(100, 5), past.at(500, 0).map(|is| **is)), (None, Some(500)));
        past.push(1_005, 1_005, 10);
        assert_eq!((past.at(1_003, 2), past.at(1_003, 3).map(|is| **is)), (None, Some(1_000)));
        past.push(1_002, 7, 10);
        assert_eq!(past.newest().map(|is| **is), Some(7), "what was ahead is forgotten");
    }

    #[test]
    fn memory_is_bounded() {
        let mut past = Past::default();
        for tick in 1..=100 {
            past.push(tick, tick, BYTES_MAX / 4);
        }
        assert_eq!((past.first(), past.bytes), (97, BYTES_MAX));
        past.push(101, 101, BYTES_MAX * 2);
        assert_eq!((past.first(), past.newest().map(|is| **is)), (101, Some(101)), "the newest is always kept");
    }
}
