//! Who comes first, and what is left.

use std::{collections::HashMap, sync::Arc};

/// The `most` largest of `amounts` that are not 0, largest first, by name where they are equal.
pub(super) fn largest(amounts: &HashMap<Arc<str>, u64>, most: usize) -> Vec<Arc<str>> {
    let mut all: Vec<_> = amounts.iter().filter(|(_, amount)| **amount > 0).collect();
    all.sort_unstable_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    all.into_iter().take(most).map(|(name, _)| Arc::clone(name)).collect()
}

/// What the processors did that nobody is named for. The time of a process and the time of a processor are counted by
/// different clocks of the kernel, so in one second the named ones may have more than all did; that is taken from the
/// seconds that follow, and the sum over time is right.
#[derive(Debug, Default)]
pub(super) struct Remainder {
    /// Ticks of the named ones that were more than all.
    owed: u64,
}

impl Remainder {
    /// The rest of `all` ticks when `named` are named. No more than `most` is owed: beyond it the two clocks differ for
    /// good.
    pub(super) fn of(&mut self, all: u64, named: u64, most: u64) -> u64 {
        let wanted = named.saturating_add(self.owed);
        self.owed = wanted.saturating_sub(all).min(most);
        all.saturating_sub(wanted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_by_amount_and_name() {
        let amounts = [("b", 5), ("a", 5), ("c", 9), ("d", 0), ("e", 1)];
        let amounts = amounts.iter().map(|(name, amount)| (Arc::from(*name), *amount)).collect();
        assert_eq!(largest(&amounts, 2), ["c".into(), "a".into()]);
        assert_eq!(largest(&amounts, 20).len(), 4);
    }

    #[test]
    fn what_is_owed_is_taken_later() {
        let mut remainder = Remainder::default();
        assert_eq!(remainder.of(100, 60, 50), 40);
        assert_eq!(remainder.of(100, 110, 50), 0);
        assert_eq!(remainder.of(100, 60, 50), 30);
        assert_eq!(remainder.of(0, 500, 50), 0);
        assert_eq!(remainder.of(100, 0, 50), 50, "no more than that is owed");
    }

    proptest! {
        #[test]
        fn named_and_rest_are_all(seconds in proptest::collection::vec((0u64..1_000, 0u64..1_000), 1..50)) {
            let mut remainder = Remainder::default();
            let (mut all, mut said) = (0, 0);
            for (total, named) in seconds {
                all += total;
                said += named + remainder.of(total, named, u64::MAX);
                prop_assert_eq!(said, all + remainder.owed);
            }
        }
    }
}
