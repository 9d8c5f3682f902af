//! Which numbers of a process were seen (RFC 4303, section 3.4.3): each is taken once, and none that is too old.

/// Numbers behind the newest that are told apart. Gossip sends some forty a second: this is half a minute of disorder.
const WINDOW: u64 = 1_024;
const WORDS: usize = (WINDOW / 64) as usize;

/// The numbers of one process.
#[derive(Debug, Clone)]
pub(super) struct Window {
    newest: u64,
    /// Of `newest` and those before it, by number modulo the window.
    seen: [u64; WORDS],
}

impl Window {
    /// None was seen.
    #[cfg(test)]
    const fn new() -> Self {
        Self { newest: 0, seen: [0; WORDS] }
    }

    /// All before `number` were: what was sent before is not taken later.
    pub(super) const fn from(number: u64) -> Self {
        Self { newest: number.saturating_sub(1), seen: [u64::MAX; WORDS] }
    }

    /// Whether `number` is new; from now on it is not. Numbers begin with 1.
    pub(super) fn take(&mut self, number: u64) -> bool {
        if number == 0 || self.newest.saturating_sub(number) >= WINDOW {
            return false;
        }
        if number > self.newest {
            if number - self.newest >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                (self.newest + 1..number).for_each(|passed| self.clear(passed));
            }
            self.newest = number;
            self.clear(number);
        }
        let (word, bit) = place(number);
        let is_new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        is_new
    }

    fn clear(&mut self, number: u64) {
        let (word, bit) = place(number);
        self.seen[word] &= !bit;
    }
}

fn place(number: u64) -> (usize, u64) {
    let at = number % WINDOW;
    // Below the number of words.
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_number_is_taken_once_and_an_old_one_never(steps in prop::collection::vec((0u64..3000, 0u64..40), 1..400)) {
            let (mut window, mut taken, mut newest) = (Window::new(), BTreeSet::new(), 0u64);
            for (base, plus) in steps {
                let number = base + plus;
                let expected = number > 0 && number + WINDOW > newest && !taken.contains(&number);
                prop_assert_eq!(window.take(number), expected, "{} after {}", number, newest);
                if expected {
                    taken.insert(number);
                    newest = newest.max(number);
                }
            }
        }
    }

    #[test]
    fn what_came_before_the_first_is_not_taken() {
        let mut window = Window::from(500);
        assert!((1..500).all(|number| !window.take(number)));
        assert!(window.take(500) && !window.take(500) && window.take(502) && window.take(501));
    }

    #[test]
    fn the_largest_numbers_do_no_harm() {
        let mut window = Window::new();
        assert!(window.take(u64::MAX) && !window.take(u64::MAX) && window.take(u64::MAX - 1) && !window.take(1));
    }
}
