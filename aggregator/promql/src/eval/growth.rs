//! Counters and histogram series as PromQL sees them: a running sum and a running merge since 00:00 UTC, and what they grew
//! by over a window.

use starling_proto::histogram::{Histogram, HistogramSum};

use super::{
    floats::{newest_two, seconds, stretched},
    table::Stretch,
};
use crate::{FloatHistogram, FloatPoint, HistogramSamples, is_stale, plan::OverTime};

const DAY_MS: i64 = 86_400_000;

/// Running sums without their new beginning at 00:00 UTC, and without ends.
pub(super) fn continuous(sums: &[FloatPoint]) -> Vec<FloatPoint> {
    let (mut before, mut newest) = (0.0, sums.first().copied().unwrap_or_default());
    let mut points = Vec::with_capacity(sums.len());
    for &(time, sum) in sums.iter().filter(|&&(_, sum)| !is_stale(sum)) {
        if time.div_euclid(DAY_MS) != newest.0.div_euclid(DAY_MS) {
            before = newest.1;
        }
        newest = (time, before + sum);
        points.push(newest);
    }
    points
}

/// The value of a function that only looks at growth, over [`continuous`] sums: nothing is guessed about restarts, nor about
/// when the counter was zero.
pub(super) fn of_sums(function: OverTime, points: &[FloatPoint], stretch: Stretch) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    let increase = || Some((last.1 - first.1) * stretched(first.0, last.0, points.len(), stretch, None)?);
    match function {
        OverTime::Increase => increase(),
        OverTime::Rate => increase().map(|growth| growth / seconds(stretch.to - stretch.from)),
        OverTime::Irate => newest_two(points, true),
        OverTime::Resets => Some(0.0),
        OverTime::Count => Some(points.len() as f64),
        OverTime::Present => Some(1.0),
        _ => None,
    }
}

/// The running merge of a series, moved forward in time.
pub(super) struct Running<'a> {
    samples: &'a HistogramSamples,
    next: usize,
    sum: HistogramSum,
    /// Time of the newest sample; `None` before the first and after an end.
    time: Option<i64>,
    day: Option<i64>,
}

impl<'a> Running<'a> {
    pub(super) fn new(samples: &'a HistogramSamples) -> Self {
        let mut sum = HistogramSum::new();
        if let Some(base) = &samples.base {
            add(&mut sum, base);
        }
        let day = samples.increments.first().map(|(time, _)| time.div_euclid(DAY_MS));
        Self { samples, next: 0, sum, time: None, day }
    }

    /// Takes in every sample up to `moment`.
    pub(super) fn advance(&mut self, moment: i64) {
        while let Some((time, increment)) = self.samples.increments.get(self.next).filter(|(time, _)| *time <= moment) {
            let day = Some(time.div_euclid(DAY_MS));
            if day != self.day {
                self.sum.clear();
                self.day = day;
            }
            if let Some(increment) = increment {
                add(&mut self.sum, increment);
            }
            self.time = increment.is_some().then_some(*time);
            self.next += 1;
        }
    }

    /// Time of the newest sample.
    pub(super) const fn time(&self) -> Option<i64> {
        self.time
    }

    /// What was recorded since 00:00 UTC.
    pub(super) fn value(&self) -> FloatHistogram {
        FloatHistogram::of(&self.sum.to_histogram(), self.samples.scale)
    }
}

/// Counts beyond what 64 bits hold are lost at the top: nothing that was recorded in a day comes near.
fn add(sum: &mut HistogramSum, increment: &Histogram) {
    let _ = sum.add(increment);
}

/// The merge of the increments `from..to` of a list, moved forward: what enters is added, what leaves is taken back, so
/// that overlapping windows cost what they differ by. Counts are integers, so nothing drifts.
pub(super) struct Sliding<'a> {
    increments: &'a [(i64, &'a Histogram)],
    scale: u8,
    sum: HistogramSum,
    held: (usize, usize),
}

impl<'a> Sliding<'a> {
    pub(super) fn new(increments: &'a [(i64, &'a Histogram)], scale: u8) -> Self {
        Self { increments, scale, sum: HistogramSum::new(), held: (0, 0) }
    }

    /// The merge of `from..to`; neither may be lower than before.
    pub(super) fn merge(&mut self, from: usize, to: usize) -> FloatHistogram {
        if from >= self.held.1 {
            self.sum.clear();
            self.held = (from, from);
        }
        for (_, increment) in &self.increments[self.held.1..to] {
            add(&mut self.sum, increment);
        }
        for (_, increment) in &self.increments[self.held.0..from] {
            // It was added before.
            let _ = self.sum.subtract(increment);
        }
        self.held = (from, to);
        let max = self.increments[from..to].iter().map(|(_, increment)| increment.max()).max().unwrap_or(0);
        FloatHistogram::of(&self.sum.to_histogram(), self.scale).at_most(max)
    }
}
