//! Sampled counts as whole numbers, exact in the long run.
//!
//! A count of 1 at a rate of 0.3 stands for 3 1/3: the third is kept until it makes a whole one with others.

use super::line::Rate;

/// One unit in [`Carry::spare`].
const UNIT: u64 = 1_000_000_000;

/// What is not yet a whole unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Carry {
    /// Of the newest rate, in parts of it: less than `part`.
    rest: u64,
    part: u64,
    /// Of the rates before, in billionths: less than [`UNIT`].
    spare: u64,
}

impl Carry {
    pub(super) const NOTHING: Self = Self { rest: 0, part: 1, spare: 0 };

    /// The whole units that `count` sampled ones stand for, with what was left before. A stream that changes its rate loses
    /// less than a billionth of a unit each time.
    pub(super) fn take(&mut self, count: u64, rate: Rate) -> u128 {
        if rate == Rate::ALL {
            return count.into();
        }
        let mut whole = 0;
        if rate.part != self.part {
            // Both are below 2^30.
            self.spare += self.rest * UNIT / self.part;
            whole += u128::from(self.spare / UNIT);
            (self.spare, self.rest, self.part) = (self.spare % UNIT, 0, rate.part);
        }
        let parts = u128::from(count) * u128::from(rate.whole) + u128::from(self.rest);
        // Less than the divisor, which is 64 bits.
        self.rest = (parts % u128::from(rate.part)) as u64;
        whole + parts / u128::from(rate.part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_made(counts in prop::collection::vec(0u64..1000, 1..100), part in 1u64..=1000) {
            let (rate, mut carry) = (Rate { part, whole: 1000 }, Carry::NOTHING);
            let whole: u128 = counts.iter().map(|&n| carry.take(n, rate)).sum();
            let exact = u128::from(counts.iter().sum::<u64>()) * 1000;
            let rest = exact - whole * u128::from(part);
            prop_assert!(rest < u128::from(part));
        }

        #[test]
        fn a_change_of_rate_costs_less_than_one(rates in prop::collection::vec(1u64..=100, 1..50)) {
            let mut carry = Carry::NOTHING;
            let (mut whole, mut exact) = (0u128, 0f64);
            for part in rates {
                whole += carry.take(1, Rate { part, whole: 100 });
                exact += 100.0 / part as f64;
            }
            let left = exact - whole as f64;
            prop_assert!((-1e-6..2.0).contains(&left), "{} {}", exact, whole);
        }
    }
}
