//! Sets: how many different members came in a second.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use starling_proto::series::{Sample, Series, Value};

use super::{fixed::Fixed, refusal::Refusal};

/// Different members of all sets in one second: half a MiB of hashes. Further ones are refused, until the second is cut.
pub(super) const MEMBERS_MAX: usize = 65_536;
/// A set of which nothing was heard for this long is absent, as other application series are.
const PRESENT_MAX: Duration = Duration::from_secs(180);

/// The sets of the second that is not cut yet.
#[derive(Debug, Default)]
pub(super) struct Sets {
    sets: HashMap<Series, (HashSet<u64>, Duration)>,
    members: usize,
}

impl Sets {
    /// Puts members, known by a hash of 64 bits, into a set. The chance that two of 65,536 meet is 10^-10.
    ///
    /// # Errors
    /// [`Refusal::SetFull`] when one of them had no room; those before it count.
    pub(super) fn put(&mut self, series: &Series, members: &[u64], now: Duration) -> Result<(), Refusal> {
        let (set, seen) = self.sets.entry(series.clone()).or_default();
        *seen = now;
        for member in members {
            if self.members >= MEMBERS_MAX && !set.contains(member) {
                return Err(Refusal::SetFull(MEMBERS_MAX));
            }
            self.members += usize::from(set.insert(*member));
        }
        Ok(())
    }

    /// Takes out how many there were since the last cut. `shown` gives the series of a set as it is sent.
    pub(super) fn cut(&mut self, now: Duration, shown: impl Fn(&Series) -> Series, samples: &mut Vec<Sample>) {
        self.members = 0;
        self.sets.retain(|series, (set, seen)| {
            if now.saturating_sub(*seen) > PRESENT_MAX {
                return false;
            }
            // At most the bound, which every number of digits holds.
            let (series, members) = (shown(series), Fixed { value: set.len() as i64, scale: 0 });
            let value = members.rescaled(series.scale()).map_or(0, |members| members.value);
            samples.push(Sample { series, value: Value::Gauge(value) });
            // A set that was large once gives its room back.
            *set = HashSet::new();
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_proto::catalogue::{Kind, Scope};

    fn set(name: &str) -> Series {
        Series::application(name, &[], Kind::Gauge, "", 0, Scope::Node).unwrap()
    }

    fn cut(sets: &mut Sets, seconds: u64) -> Vec<i64> {
        let mut samples = Vec::new();
        sets.cut(Duration::from_secs(seconds), Series::clone, &mut samples);
        samples.iter().map(|s| if let Value::Gauge(v) = s.value { v } else { panic!("a gauge") }).collect()
    }

    #[test]
    fn the_different_ones_of_a_second_are_counted_until_the_set_is_silent() {
        let mut sets = Sets::default();
        sets.put(&set("users"), &[1, 2, 1], Duration::ZERO).unwrap();
        sets.put(&set("users"), &[2, 3], Duration::ZERO).unwrap();
        assert_eq!(cut(&mut sets, 1), [3]);
        assert_eq!(cut(&mut sets, 2), [0]);
        assert_eq!(cut(&mut sets, 200), [] as [i64; 0]);
    }

    #[test]
    fn members_are_bounded_and_those_that_are_in_stay() {
        let mut sets = Sets::default();
        let many: Vec<u64> = (0..MEMBERS_MAX as u64).collect();
        sets.put(&set("a"), &many, Duration::ZERO).unwrap();
        assert_eq!(sets.put(&set("b"), &[1], Duration::ZERO), Err(Refusal::SetFull(MEMBERS_MAX)));
        sets.put(&set("a"), &[7], Duration::ZERO).unwrap();
        assert_eq!(cut(&mut sets, 1).iter().sum::<i64>(), MEMBERS_MAX as i64);
        sets.put(&set("b"), &[1], Duration::ZERO).unwrap();
    }
}
