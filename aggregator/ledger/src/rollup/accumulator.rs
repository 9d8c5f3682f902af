//! The dense form: many frames into one tick.

use starling_proto::histogram::HistogramSum;

use super::{
    cell::{Added, Cell, GaugeSum, Sum, distributed, sparse},
    codec::{NumberedCell, NumberedSums},
};

/// Adds frames up by dense slots of groups and series: two indexed loads per value, and histograms as plain arrays.
/// Costs about 37 kB per histogram and group, so one tick has one only while it is gathered.
#[derive(Debug, Default)]
pub struct Accumulator {
    /// By slot of the group, then by slot of the series.
    groups: Vec<Vec<Option<Slot>>>,
}

#[derive(Debug)]
struct Slot {
    frames: u32,
    sum: DenseSum,
}

#[derive(Debug)]
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

    /// Adds one value of a frame for a group. A frame has each series once, and its values are within the caps of
    /// [`starling_proto::limits`]; then no sum can leave its range.
    pub fn add(&mut self, group: u32, series: u32, added: &Added) {
        let (group, series) = (group as usize, series as usize);
        if self.groups.len() <= group {
            self.groups.resize_with(group + 1, Vec::new);
        }
        let slots = &mut self.groups[group];
        if slots.len() <= series {
            slots.resize_with(series + 1, || None);
        }
        match &mut slots[series] {
            Some(slot) => slot.add(added),
            empty => *empty = Some(Slot::of(added)),
        }
    }

    /// The sums so far, sparse, under the slots as numbers.
    #[must_use]
    pub fn cells(&self) -> NumberedSums {
        let mut cells = Vec::new();
        for (group, slots) in self.groups.iter().enumerate() {
            for (series, slot) in slots.iter().enumerate() {
                let Some(slot) = slot else { continue };
                cells.push(NumberedCell { group: group as u32, series: series as u32, cell: slot.to_cell() });
            }
        }
        NumberedSums::of(cells)
    }
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
