//! What was read of one subject, and how two readings of it become one.

use std::{cmp::Reverse, collections::BTreeMap};

use starling_history::{Coverage, SeriesCells, Tier};

/// Cells of some series of one subject, with how much there is. Each second is in at most one step.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Part {
    /// By series, derived or not, and tier.
    pub(crate) series: Vec<SeriesCells>,
    /// The steps there are, also those without any of the series: by first second and tier.
    pub(crate) coverage: BTreeMap<(u32, Tier), Coverage>,
}

/// Seconds `from..to`.
type Window = (u32, u32);

impl Part {
    /// Seconds there are.
    #[cfg(test)]
    fn seconds(&self) -> u64 {
        self.coverage.values().map(|coverage| u64::from(coverage.seconds)).sum()
    }

    /// The first second of `from..=to` of which nothing is there, by the steps of the finest tier that holds it.
    pub(crate) fn first_missing(&self, from: u32, to: u32) -> Option<u32> {
        let mut next = from;
        for ((start, tier), coverage) in &self.coverage {
            let end = start.saturating_add(tier.seconds());
            if end <= next {
                continue;
            }
            if *start > next || coverage.seconds < tier.seconds() {
                return (next <= to).then_some(next);
            }
            next = end;
        }
        (next <= to).then_some(next)
    }

    /// The first second that is known.
    pub(crate) fn first(&self) -> Option<u32> {
        self.coverage.iter().find(|(_, coverage)| coverage.seconds > 0).map(|((start, _), _)| *start)
    }

    /// The last second of the last step, and the longest step; of those that hold something.
    pub(crate) fn last(&self) -> Option<(u32, Tier)> {
        let held = || self.coverage.iter().filter(|(_, coverage)| coverage.seconds > 0).map(|(step, _)| *step);
        let longest = held().map(|(_, tier)| tier).max()?;
        held().map(|(start, tier)| start + (tier.seconds() - 1)).max().map(|last| (last, longest))
    }

    /// Leaves out the steps that do not end before `second`.
    pub(crate) fn end_before(&mut self, second: u32) {
        let ends = |start: u32, tier: Tier| start.saturating_add(tier.seconds()) <= second;
        self.coverage.retain(|(start, tier), _| ends(*start, *tier));
        for series in &mut self.series {
            let tier = series.tier;
            series.cells.retain(|(start, _)| ends(*start, tier));
        }
        self.series.retain(|series| !series.cells.is_empty());
    }

    /// Leaves out the steps that hold a second of `from..to`.
    pub(crate) fn leave_out(&mut self, from: u32, to: u32) {
        let apart = |start: u32, tier: Tier| start >= to || start.saturating_add(tier.seconds()) <= from;
        self.coverage.retain(|(start, tier), _| apart(*start, *tier));
        for series in &mut self.series {
            let tier = series.tier;
            series.cells.retain(|(start, _)| apart(*start, tier));
        }
        self.series.retain(|series| !series.cells.is_empty());
    }

    /// Adds what `other` knows of the same subject and of other seconds.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.coverage.append(&mut other.coverage);
        for theirs in other.series {
            self.append_series(theirs);
        }
    }

    fn append_series(&mut self, theirs: SeriesCells) {
        let same = |ours: &&mut SeriesCells| {
            (&ours.series, ours.derived, ours.tier) == (&theirs.series, theirs.derived, theirs.tier)
        };
        match self.series.iter_mut().find(same) {
            Some(ours) => {
                ours.cells.extend(theirs.cells);
                ours.cells.sort_by_key(|(start, _)| *start);
            }
            None => self.series.push(theirs),
        }
    }

    /// Adds what `other` knows of the same subject. Where both know something, whichever has more seconds of the coarsest
    /// step there is taken for all of it, of equal ones `self`: no second counts twice, and two readings of single
    /// seconds fill the holes of each other.
    pub(crate) fn merge(&mut self, mut other: Self) {
        if self.coverage.is_empty() && self.series.is_empty() {
            other.series.retain(|series| !series.cells.is_empty());
            *self = other;
            return;
        }
        let taken = self.taken_from(&other);
        let in_taken = |tick: u32| {
            let at = taken.partition_point(|(_, to)| *to <= tick);
            taken.get(at).is_some_and(|(from, _)| *from <= tick)
        };
        self.retain(|tick| !in_taken(tick));
        other.retain(in_taken);
        self.append(other);
        self.series.retain(|series| !series.cells.is_empty());
    }

    fn retain(&mut self, wanted: impl Fn(u32) -> bool) {
        self.coverage.retain(|(start, _), _| wanted(*start));
        for series in &mut self.series {
            series.cells.retain(|(start, _)| wanted(*start));
        }
    }

    /// The windows that `other` knows better, ascending.
    fn taken_from(&self, other: &Self) -> Vec<Window> {
        let steps = |part: &Self| -> Vec<(u32, Reverse<Tier>, u32)> {
            let step = |(&(start, tier), coverage): (&(u32, Tier), &Coverage)| (start, Reverse(tier), coverage.seconds);
            part.coverage.iter().map(step).collect()
        };
        let mut all: Vec<_> = steps(self).into_iter().map(|step| (step, false)).collect();
        all.extend(steps(other).into_iter().map(|step| (step, true)));
        // Steps of different tiers lie in each other or apart: of those that begin together the coarsest is first.
        all.sort_unstable();
        let mut taken: Vec<Window> = Vec::new();
        let mut at = 0;
        while let Some(((start, Reverse(tier), _), _)) = all.get(at) {
            let window = (*start, start.saturating_add(tier.seconds()));
            // Nothing is less than steps without a second of data: these hold what was spread over a gap.
            let (mut ours, mut theirs) = (None, None);
            while let Some(((start, _, seconds), is_theirs)) = all.get(at).filter(|((start, ..), _)| *start < window.1)
            {
                debug_assert!(*start >= window.0);
                *(if *is_theirs { &mut theirs } else { &mut ours }).get_or_insert(0) += seconds;
                at += 1;
            }
            if theirs > ours {
                taken.push(window);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use starling_history::{Cell, Subject};
    use starling_proto::{catalogue, series::Series};

    use super::*;

    /// Steps with the seconds they hold; the value is `value` a second.
    fn part(tier: Tier, steps: &[(u32, u32)], value: f64) -> Part {
        let cell = |seconds: u32| {
            let mut cell = Cell::second(value);
            (1..seconds).for_each(|_| cell.append(&Cell::second(value)).unwrap());
            cell
        };
        let coverage = |seconds| Coverage { seconds, nodes_reporting: 1, nodes_expected: 1, dropped: 0 };
        Part {
            series: vec![SeriesCells {
                subject: Subject::Cluster,
                series: Series::of(&catalogue::LOAD_1M, &[]),
                derived: false,
                tier,
                cells: steps.iter().map(|(start, seconds)| (*start, cell(*seconds))).collect(),
            }],
            coverage: steps.iter().map(|(start, seconds)| ((*start, tier), coverage(*seconds))).collect(),
        }
    }

    fn seconds(from: u32, to: u32) -> Vec<(u32, u32)> {
        (from..to).map(|tick| (tick, 1)).collect()
    }

    fn sums(part: &Part) -> Vec<(u32, f64)> {
        let mut sums: Vec<_> =
            part.series.iter().flat_map(|one| one.cells.iter().map(|(start, cell)| (*start, cell.sum))).collect();
        sums.sort_by_key(|(start, _)| *start);
        sums
    }

    /// Scenario 40.
    #[test]
    fn two_copies_fill_the_holes_of_each_other() {
        let without = |holes: &[u32]| {
            part(
                Tier::Second,
                &seconds(0, 600).into_iter().filter(|(tick, _)| !holes.contains(tick)).collect::<Vec<_>>(),
                10.0,
            )
        };
        let first: Vec<u32> = (100..130).chain([300]).collect();
        let second: Vec<u32> = (200..230).collect();
        for (a, b) in [(&first, &second), (&second, &first)] {
            let mut merged = without(a);
            assert_eq!(merged.first_missing(0, 599), Some(a[0]));
            merged.merge(without(b));
            assert_eq!((merged.seconds(), merged.first_missing(0, 599)), (600, None));
            assert_eq!(merged.series.len(), 1);
            assert!(sums(&merged).iter().zip(0..).all(|((start, sum), tick)| (*start, *sum) == (tick, 10.0)));
            let before = merged.clone();
            merged.merge(without(b));
            assert_eq!(merged, before, "nothing counts twice");
        }
    }

    /// Scenario 19: seconds without data hold what was spread over a gap, also when they come from another reading.
    #[test]
    fn what_was_spread_over_a_gap_survives_a_merge() {
        let held: Vec<(u32, u32)> = (1..=120).map(|tick| (tick, u32::from(!(60..65).contains(&tick)))).collect();
        let whole = part(Tier::Second, &held, 300.0);
        for (mut a, b) in [(Part::default(), whole.clone()), (whole, Part::default())] {
            a.merge(b);
            assert_eq!((a.seconds(), sums(&a).iter().map(|(_, sum)| sum).sum::<f64>()), (115, 36_000.0));
        }
    }

    #[test]
    fn of_two_tiers_the_one_that_knows_more_is_taken_whole() {
        let coarse = part(Tier::TenSeconds, &[(0, 10), (10, 7), (20, 10)], 1.0);
        let fine = part(Tier::Second, &seconds(5, 25), 2.0);
        for (mut a, b) in [(coarse.clone(), fine.clone()), (fine, coarse)] {
            a.merge(b);
            assert_eq!(a.seconds(), 30);
            let sums = sums(&a);
            assert_eq!((sums[0], sums[1], sums[10], sums[11]), ((0, 10.0), (10, 2.0), (19, 2.0), (20, 10.0)));
        }
    }
}
