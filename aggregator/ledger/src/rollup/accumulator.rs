//! The dense form: many frames into one tick.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
};

use starling_proto::{catalogue::SectionSet, histogram::HistogramSum, ids::NodeId};

use super::{
    cell::{Added, Cell, GaugeSum, Sum, distributed, sparse},
    census::{self, BUSIEST_MAX, Cores, NumberedCensus, NumberedCore, SectionCounts, counts_of, insert_ranked},
    codec::{NumberedCell, NumberedSums},
};

/// Sets of groups that are added up apart. A cluster with three zones and two roles has six; frames of further sets
/// are added to each of their groups.
const SETS_MAX: usize = 32;

/// Adds frames up by dense slots of groups and series: an indexed load per value, and histograms as plain arrays.
///
/// Nodes with the same groups are added once, not once a group; the sums of a group are those of its sets. Costs about
/// 37 kB per histogram and set, so one tick has one only while it is gathered.
#[derive(Debug, Default)]
pub struct Accumulator {
    /// By slots of their groups: at most [`SETS_MAX`], and one for each group of further frames.
    sets: HashMap<Box<[u32]>, Set>,
}

/// What the frames of one set of groups add up to, by slot of the series.
#[derive(Debug, Default)]
struct Set {
    slots: Vec<Option<Slot>>,
    frames: u32,
    counts: SectionCounts,
    /// The busiest cores, with the names that order them.
    cores: Vec<(NumberedCore, NodeId)>,
}

/// Whose frame it is, and what it reports beside its values.
#[derive(Debug, Clone, Copy)]
pub struct Reported<'a> {
    /// The node.
    pub node: &'a NodeId,
    /// Number of its stream, to find it again.
    pub stream: u32,
    /// The sections it reports.
    pub sections: SectionSet,
    /// Its busiest cores.
    pub cores: &'a Cores,
}

#[derive(Debug, Clone)]
struct Slot {
    frames: u32,
    sum: DenseSum,
}

#[derive(Debug, Clone)]
enum DenseSum {
    Counter(u128),
    Gauge { sum: i128, min: i64, max: i64, distribution: Option<HistogramSum> },
    Histogram(HistogramSum),
}

impl Accumulator {
    /// Sums of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the values of a frame, by slot of the series, for each of its groups. A frame has each series and each
    /// group once, and its values are within the caps of [`starling_proto::limits`]; then no sum can leave its range.
    pub fn add(&mut self, groups: &[u32], values: &[(u32, Added)], of: Reported<'_>) {
        if let Some(set) = self.sets.get_mut(groups) {
            set.add(values, of);
        } else if self.sets.len() < SETS_MAX {
            self.sets.entry(groups.into()).or_default().add(values, of);
        } else {
            groups.chunks(1).for_each(|group| self.sets.entry(group.into()).or_default().add(values, of));
        }
    }

    /// The sums so far, sparse, under the slots as numbers.
    #[must_use]
    pub fn cells(&self) -> NumberedSums {
        let mut of_group = BTreeMap::<u32, Vec<&Set>>::new();
        // In whichever order: sums, extremes and error bounds do not depend on it.
        for (groups, set) in &self.sets {
            groups.iter().for_each(|group| of_group.entry(*group).or_default().push(set));
        }
        let (mut cells, mut census) = (Vec::new(), Vec::new());
        for (group, sets) in of_group {
            census.push(Set::census(group, &sets));
            let most = sets.iter().map(|set| set.slots.len()).max().unwrap_or(0);
            for series in 0..most {
                let mut slots = sets.iter().filter_map(|set| set.slots.get(series)?.as_ref());
                let Some(first) = slots.next() else { continue };
                let mut whole = Cow::Borrowed(first);
                slots.for_each(|further| whole.to_mut().merge(further));
                cells.push(NumberedCell { group, series: series as u32, cell: whole.to_cell() });
            }
        }
        NumberedSums::of(cells).with_census(census)
    }
}

impl Set {
    /// The census of a group whose frames are in `sets`.
    fn census(group: u32, sets: &[&Self]) -> NumberedCensus {
        let (mut frames, mut counts, mut cores) = (0, SectionCounts::default(), Vec::new());
        for set in sets {
            frames += set.frames;
            counts.iter_mut().zip(set.counts).for_each(|(count, further)| *count += further);
            set.cores.iter().for_each(|core| insert_ranked(&mut cores, core.clone(), order));
        }
        NumberedCensus { group, frames, counts, cores: cores.into_iter().map(|(core, _)| core).collect() }
    }

    fn add(&mut self, values: &[(u32, Added)], of: Reported<'_>) {
        self.frames += 1;
        self.counts.iter_mut().zip(counts_of(of.sections)).for_each(|(count, one)| *count += one);
        for busy in of.cores.iter() {
            let last = self.cores.get(BUSIEST_MAX - 1);
            if last.is_some_and(|(last, node)| census::order((last.busy, node), (busy, of.node)).is_le()) {
                // Those that follow are no busier.
                break;
            }
            insert_ranked(&mut self.cores, (NumberedCore { busy, stream: of.stream }, of.node.clone()), order);
        }
        for (series, added) in values {
            let series = *series as usize;
            if self.slots.len() <= series {
                self.slots.resize_with(series + 1, || None);
            }
            match &mut self.slots[series] {
                Some(slot) => slot.add(added),
                empty => *empty = Some(Slot::of(added)),
            }
        }
    }
}

fn order((a, of_a): &(NumberedCore, NodeId), (b, of_b): &(NumberedCore, NodeId)) -> Ordering {
    census::order((a.busy, of_a), (b.busy, of_b))
}

impl Slot {
    fn of(added: &Added) -> Self {
        let sum = match added {
            Added::Counter(increment) => DenseSum::Counter(u128::from(*increment)),
            Added::Gauge(value, keeps_distribution) => {
                let distribution = keeps_distribution.then(|| {
                    let mut sum = HistogramSum::new();
                    sum.record(distributed(*value), 1);
                    sum
                });
                DenseSum::Gauge { sum: i128::from(*value), min: *value, max: *value, distribution }
            }
            Added::Histogram(histogram) => {
                let mut sum = HistogramSum::new();
                // Into an empty one: cannot overflow.
                let added = sum.add(histogram);
                debug_assert_eq!(added, Ok(()));
                DenseSum::Histogram(sum)
            }
        };
        Self { frames: 1, sum }
    }

    fn add(&mut self, added: &Added) {
        match (&mut self.sum, added) {
            // Neither sum can leave 128 bits below 2^64 frames.
            (DenseSum::Counter(sum), Added::Counter(increment)) => *sum += u128::from(*increment),
            (DenseSum::Gauge { sum, min, max, distribution }, Added::Gauge(value, _)) => {
                *sum += i128::from(*value);
                *min = (*min).min(*value);
                *max = (*max).max(*value);
                if let Some(distribution) = distribution {
                    distribution.record(distributed(*value), 1);
                }
            }
            (DenseSum::Histogram(sum), Added::Histogram(histogram)) => {
                if sum.add(histogram).is_err() {
                    debug_assert!(false, "a histogram beyond the caps was let in");
                    return;
                }
            }
            // The kind is part of a series.
            _ => {
                debug_assert!(false, "a value of another kind than its series");
                return;
            }
        }
        self.frames += 1;
    }

    /// Adds the sum of other frames of the same series.
    fn merge(&mut self, other: &Self) {
        match (&mut self.sum, &other.sum) {
            // As above.
            (DenseSum::Counter(sum), DenseSum::Counter(further)) => *sum += further,
            (
                DenseSum::Gauge { sum, min, max, distribution },
                DenseSum::Gauge { sum: further, min: lowest, max: highest, distribution: other },
            ) => {
                *sum += further;
                *min = (*min).min(*lowest);
                *max = (*max).max(*highest);
                // Whether there is one is part of a series too.
                if let (Some(distribution), Some(other)) = (distribution, other)
                    && distribution.merge(other).is_err()
                {
                    debug_assert!(false, "a count of frames left its range");
                }
            }
            (DenseSum::Histogram(sum), DenseSum::Histogram(other)) => {
                if sum.merge(other).is_err() {
                    debug_assert!(false, "a histogram beyond the caps was let in");
                    return;
                }
            }
            _ => {
                debug_assert!(false, "a value of another kind than its series");
                return;
            }
        }
        self.frames += other.frames;
    }

    fn to_cell(&self) -> Cell {
        let sum = match &self.sum {
            DenseSum::Counter(sum) => Sum::Counter(*sum),
            DenseSum::Gauge { sum, min, max, distribution } => Sum::Gauge(GaugeSum {
                sum: *sum,
                min: *min,
                max: *max,
                distribution: distribution.as_ref().map(sparse),
            }),
            DenseSum::Histogram(sum) => Sum::Histogram(sparse(sum)),
        };
        Cell { frames: self.frames, sum }
    }
}
