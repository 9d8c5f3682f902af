//! What a histogram took in, in Starling's buckets.

use std::{collections::BTreeMap, sync::Arc};

use starling_history::Tier;
use starling_proto::histogram::{Histogram, HistogramSum};

use super::{
    KnownSteps, Sampling, Seen,
    growth::{Growth, reaches},
};
use crate::engine::answer::Buckets;

/// What is said of a value that may be anywhere.
const UNBOUNDED_PPM: u32 = 1_000_000;

/// The histograms of one label set.
#[derive(Debug, Default)]
pub(in super::super) struct Reached {
    /// What had been reached at the end of a step.
    pub(in super::super) at_end: BTreeMap<u32, Buckets>,
    /// What the engine says that came in a step, of some of [`lacking`].
    pub(in super::super) within: BTreeMap<u32, Buckets>,
}

/// The steps of which the growth does not follow from what had been reached: the first one, those of a restart, those after a
/// hole. The engine is asked for it.
pub(in super::super) fn lacking(counts: &BTreeMap<u32, Seen>, at_end: &BTreeMap<u32, Buckets>, tier: Tier) -> Vec<u32> {
    let mut lacking = Vec::new();
    let mut before: Option<(u32, &Buckets)> = None;
    for (&start, now) in at_end {
        if counts.get(&start).is_none_or(|seen| seen.samples() == 0) {
            before = before.or(Some((start, now)));
            continue;
        }
        let follows =
            before.is_some_and(|(at, held)| reaches(at, start, tier) && matches!(added(held, now), Some((_, false))));
        if !follows {
            lacking.push(start);
        }
        before = Some((start, now));
    }
    lacking
}

/// The cells of a histogram of a series with `scale` digits, of the number of samples in each step and of what was reached.
pub(in super::super) fn histogram(
    counts: &BTreeMap<u32, Seen>,
    reached: &Reached,
    sampling: Sampling,
    (first, scale): (u32, u8),
) -> KnownSteps {
    let mut growth = Growth::new(sampling, first);
    let mut before: Option<(u32, &Buckets)> = None;
    for (&start, now) in &reached.at_end {
        let samples = counts.get(&start).map_or(0, Seen::samples);
        if samples == 0 {
            before = before.or(Some((start, now)));
            continue;
        }
        let follows = before.filter(|(at, _)| growth.reaches(*at, start));
        let added = follows.and_then(|(at, held)| Some((at, added(held, now)?)));
        if let Some((at, (added, false))) = &added {
            if let Some(histogram) = ours(added, scale) {
                growth.add((start, *at), (samples, false), histogram.count() as f64, Some(Arc::new(histogram)));
            }
        } else if let Some(within) = reached.within.get(&start) {
            // An estimate is stretched over the time to the sample before, by half an interval where there is none.
            let sampled = f64::from(samples.max(2) - 1);
            let known = if added.is_some() { 1.0 } else { sampled / (sampled + 0.5) };
            if let Some(histogram) = ours(&within.times(known), scale) {
                growth.add_first(start, samples, histogram.count() as f64, Some(Arc::new(histogram)));
            }
        }
        before = Some((start, now));
    }
    growth.finish()
}

impl Buckets {
    fn times(&self, factor: f64) -> Self {
        let buckets = self.buckets.iter().map(|(lower, upper, count)| (*lower, *upper, count * factor));
        Self { count: self.count * factor, sum: self.sum * factor, buckets: buckets.collect() }
    }
}

/// What `now` holds more than `before`, and whether it started again. `None` when the buckets have other bounds.
fn added(before: &Buckets, now: &Buckets) -> Option<(Buckets, bool)> {
    let key = |bucket: &(f64, f64, f64)| (bucket.0.to_bits(), bucket.1.to_bits());
    let held: BTreeMap<_, f64> = before.buckets.iter().map(|bucket| (key(bucket), bucket.2)).collect();
    let mut found = 0;
    let mut fell = now.count < before.count;
    let mut buckets = Vec::with_capacity(now.buckets.len());
    for bucket in &now.buckets {
        let of_before = held.get(&key(bucket)).copied();
        found += usize::from(of_before.is_some());
        let of_before = of_before.unwrap_or(0.0);
        fell |= bucket.2 < of_before;
        buckets.push((bucket.0, bucket.1, bucket.2 - of_before));
    }
    let added = Buckets { count: now.count - before.count, sum: now.sum - before.sum, buckets };
    (fell || found == held.len()).then_some((added, fell))
}

/// In Starling's buckets. `None` when it holds what they cannot.
fn ours(buckets: &Buckets, scale: u8) -> Option<Histogram> {
    let unit = 10f64.powi(scale.into());
    let (mut sum, mut error_ppm) = (HistogramSum::new(), 0);
    for (lower, upper, count) in &buckets.buckets {
        let count = count.round() as u64;
        if count == 0 {
            continue;
        }
        if *upper <= 0.0 && *lower < 0.0 {
            return None;
        }
        let lower = lower.max(0.0);
        let bounded = upper.is_finite();
        sum.spread(lower * unit, if bounded { *upper } else { lower } * unit, count);
        error_ppm = error_ppm.max(bound_ppm(lower, *upper, unit));
    }
    // `as` saturates.
    let total = (buckets.sum.max(0.0) * unit).round() as u128;
    sum.add_foreign_totals(total, None, error_ppm);
    Some(sum.to_histogram())
}

/// How far a value in `(lower, upper]` may be off, beside the error of our own buckets.
fn bound_ppm(lower: f64, upper: f64, unit: f64) -> u32 {
    // Zeros: narrower than the smallest value there is.
    if upper * unit < 0.5 {
        return 0;
    }
    if lower <= 0.0 || !upper.is_finite() {
        return UNBOUNDED_PPM;
    }
    ((upper / lower - 1.0) * 1e6).ceil().clamp(0.0, f64::from(UNBOUNDED_PPM)) as u32
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::expression::Statistic,
            note,
            tests::{START, sampling, sums},
        },
        *,
    };

    fn buckets(counts: &[(f64, f64)]) -> Buckets {
        let count = counts.iter().map(|(_, count)| count).sum();
        let width = 2f64.powf(1.0 / 32.0);
        let bucket = |(upper, count): &(f64, f64)| (upper / width, *upper, *count);
        Buckets { count, sum: count * 0.2, buckets: counts.iter().map(bucket).collect() }
    }

    #[test]
    fn histograms_are_what_came_after_the_step_before() {
        let at_end: BTreeMap<u32, Buckets> = [
            (START - 60, buckets(&[(0.01, 100.0)])),
            (START, buckets(&[(0.01, 103.0), (1.0, 2.0)])),
            (START + 60, buckets(&[(1.0, 7.0)])),
        ]
        .into();
        let mut counts = BTreeMap::new();
        let moments: Vec<(u32, f64)> = (0..3).map(|n| (START + 60 * n, 60.0)).collect();
        note(&mut counts, Statistic::Count, &moments, Tier::Minute);
        assert_eq!(lacking(&counts, &at_end, Tier::Minute), [START - 60, START + 60]);
        let mut reached = Reached { at_end, within: BTreeMap::new() };
        let known = histogram(&counts, &reached, sampling(Tier::Minute, 1), (START, 9));
        assert_eq!(sums(&known), [5.0], "what a restart took is not made up");
        reached.within = [(START + 60, buckets(&[(0.01, 2.0), (1.0, 7.2)]))].into();
        let known = histogram(&counts, &reached, sampling(Tier::Minute, 1), (START, 9));
        assert_eq!(sums(&known), [5.0, 9.0], "with what the engine says of that step");
        let first = known[&START].cell.histogram.as_ref().unwrap();
        assert_eq!(first.count(), 5);
        let p50 = first.quantile(0.5).unwrap() as f64 / 1e9;
        let bound = f64::from(first.quantile_error_ppm()) / 1e6;
        assert!((p50 / 0.01 - 1.0).abs() <= bound && bound < 0.03, "{p50} {bound}");
        // Other bounds: not known, rather than wrong.
        let at_end = [(START - 60, buckets(&[(0.01, 1.0)])), (START, buckets(&[(0.02, 5.0)]))].into();
        let other = Reached { at_end, within: BTreeMap::new() };
        assert!(histogram(&counts, &other, sampling(Tier::Minute, 1), (START, 9)).is_empty());
    }

    /// Scenario 58.
    #[test]
    fn zeros_stay_zeros() {
        let zeros = Buckets { count: 8.0, sum: 0.0, buckets: vec![(-3e-39, 3e-39, 8.0)] };
        let histogram = ours(&zeros, 9).unwrap();
        assert_eq!((histogram.quantile(0.99), histogram.count(), histogram.error_ppm()), (Some(0), 8, 0));
        let negative = Buckets { count: 1.0, sum: -1.0, buckets: vec![(-2.0, -1.0, 1.0)] };
        assert_eq!(ours(&negative, 9), None);
    }
}
