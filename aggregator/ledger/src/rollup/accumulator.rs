//! The dense form: many frames into one tick.

use starling_proto::group::Group;
use starling_proto::{
    catalogue::Scope,
    histogram::HistogramSum,
    series::{Sample, Value},
};

use super::{
    cell::{Cell, GaugeSum, Sum, distributed, keeps_distribution, sparse},
    names::Names,
    sums::{Row, Sums},
};

/// Adds frames up by dense numbers of [`Names`]: one look-up per sample, whatever the number of groups, and
/// histograms as plain arrays. Costs about 37 kB per histogram and group, so one tick has one only while it is
/// gathered.
#[derive(Debug, Default)]
pub struct Accumulator {
    /// By number of the group, then by number of the series.
    groups: Vec<Vec<Option<Slot>>>,
    frames: u32,
}

#[derive(Debug)]
struct Slot {
    frames: u32,
    /// The frame that was added last: of two samples of one series in a frame the first counts.
    last: u32,
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

    /// Frames added.
    #[must_use]
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// Adds the samples of one frame, for the whole cluster and for each of `groups`. The values must be within the
    /// caps of [`starling_proto::limits`]; then no sum can leave its range.
    ///
    /// Returns how many samples and groups were left out because `names` is full.
    pub fn add(&mut self, names: &mut Names, groups: &[Group], samples: &[Sample]) -> usize {
        self.frames += 1;
        let mut left_out = 0;
        let mut numbers = vec![Names::CLUSTER];
        for group in groups.iter().filter(|group| !group.is_cluster()) {
            match names.intern_group(group) {
                Some(number) if !numbers.contains(&number) => numbers.push(number),
                Some(_) => {}
                None => left_out += 1,
            }
        }
        let highest = numbers.iter().max().map_or(0, |&number| number as usize);
        if self.groups.len() <= highest {
            self.groups.resize_with(highest + 1, Vec::new);
        }
        for sample in samples.iter().filter(|sample| sample.series.scope() == Scope::Cluster) {
            let Some(series) = names.intern_series(&sample.series) else {
                left_out += 1;
                continue;
            };
            let series = series as usize;
            for &group in &numbers {
                let slots = &mut self.groups[group as usize];
                if slots.len() <= series {
                    slots.resize_with(series + 1, || None);
                }
                match &mut slots[series] {
                    Some(slot) if slot.last == self.frames => {}
                    Some(slot) => slot.add(sample, self.frames),
                    empty => *empty = Some(Slot::of(sample, self.frames)),
                }
            }
        }
        left_out
    }

    /// The sums so far, sparse.
    #[must_use]
    pub fn to_sums(&self, names: &Names) -> Sums {
        let mut rows = Vec::new();
        for (group, slots) in self.groups.iter().enumerate() {
            let Some(group) = names.group(group as u32) else { continue };
            for (series, slot) in slots.iter().enumerate() {
                let (Some(slot), Some(series)) = (slot, names.series(series as u32)) else { continue };
                rows.push(Row { group: group.clone(), series: series.clone(), cell: slot.to_cell() });
            }
        }
        Sums::from_rows(rows)
    }
}

impl Slot {
    fn of(sample: &Sample, frame: u32) -> Self {
        let sum = match &sample.value {
            Value::Counter(increment) => DenseSum::Counter(u128::from(*increment)),
            Value::Gauge(value) => {
                let distribution = keeps_distribution(&sample.series).then(|| {
                    let mut sum = HistogramSum::new();
                    sum.record(distributed(*value), 1);
                    sum
                });
                DenseSum::Gauge { sum: i128::from(*value), min: *value, max: *value, distribution }
            }
            Value::Histogram(histogram) => {
                let mut sum = HistogramSum::new();
                // Into an empty one: cannot overflow.
                let added = sum.add(histogram);
                debug_assert_eq!(added, Ok(()));
                DenseSum::Histogram(sum)
            }
        };
        Self { frames: 1, last: frame, sum }
    }

    fn add(&mut self, sample: &Sample, frame: u32) {
        match (&mut self.sum, &sample.value) {
            // Neither sum can leave 128 bits below 2^64 frames.
            (DenseSum::Counter(sum), Value::Counter(increment)) => *sum += u128::from(*increment),
            (DenseSum::Gauge { sum, min, max, distribution }, Value::Gauge(value)) => {
                *sum += i128::from(*value);
                *min = (*min).min(*value);
                *max = (*max).max(*value);
                if let Some(distribution) = distribution {
                    distribution.record(distributed(*value), 1);
                }
            }
            (DenseSum::Histogram(sum), Value::Histogram(histogram)) => {
                if sum.add(histogram).is_err() {
                    debug_assert!(false, "a histogram beyond the caps came through the door");
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
        self.last = frame;
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
