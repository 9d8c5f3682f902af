//! Cells made of what an engine says about the steps of a series. Pure.
//!
//! The engine has samples every so many seconds, the interval, and each stands for one. Of gauges mean, deviation and extremes are
//! those of the samples. Of counters and histograms the growth of a step is what its last sample is above the last one before it: no
//! growth between two steps is lost and none counts twice. A counter that starts again begins at 0.

use std::{collections::BTreeMap, sync::Arc};

use starling_history::{Cell, Tier};
use starling_proto::histogram::{Histogram, HistogramSum};

use super::{answer::Buckets, expression::Statistic};

/// Over a hole of more seconds than this growth is not spread: it is that of the samples after it.
const HOLE_MAX: u32 = 300;
/// What is said of a value that may be anywhere.
const UNBOUNDED_PPM: u32 = 1_000_000;

/// The statistics of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    count: f64,
    last: f64,
    min: f64,
    max: f64,
    mean: f64,
    variance: f64,
    resets: f64,
    increase: f64,
}

impl Seen {
    const NOTHING: Self = Self {
        count: 0.0,
        last: f64::NAN,
        min: f64::NAN,
        max: f64::NAN,
        mean: f64::NAN,
        variance: f64::NAN,
        resets: 0.0,
        increase: f64::NAN,
    };

    fn set(&mut self, statistic: Statistic, value: f64) {
        let of = match statistic {
            Statistic::Count => &mut self.count,
            Statistic::Last => &mut self.last,
            Statistic::Min => &mut self.min,
            Statistic::Max => &mut self.max,
            Statistic::Mean => &mut self.mean,
            Statistic::Variance => &mut self.variance,
            Statistic::Resets => &mut self.resets,
            Statistic::Increase => &mut self.increase,
        };
        *of = value;
    }

    /// Samples in the step.
    fn samples(&self) -> u32 {
        // `as` saturates, and makes 0 of what is no number.
        self.count as u32
    }
}

/// A step that holds something: its cell, and how many seconds of it are known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    /// What is known.
    pub(super) cell: Cell,
    /// Seconds that the samples stand for.
    pub(super) seconds: u32,
}

/// By the first second of the step.
pub(super) type KnownSteps = BTreeMap<u32, Known>;

/// How the samples of an engine stand for seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampling {
    /// Length of the steps.
    pub(super) tier: Tier,
    /// Seconds between two samples.
    pub(super) interval: u32,
    /// Decimal digits of the series, when they are known: growth is rounded to them.
    pub(super) scale: Option<u8>,
}

impl Sampling {
    /// Seconds that so many samples of a step stand for.
    fn seconds(self, samples: u32) -> u32 {
        samples.saturating_mul(self.interval).min(self.tier.seconds())
    }

    /// Without what floats add.
    fn rounded(self, growth: f64) -> f64 {
        match self.scale {
            Some(scale) => {
                let unit = 10f64.powi(scale.into());
                (growth * unit).round() / unit
            }
            None => growth,
        }
    }
}

/// Puts the points of one statistic, by moments, to the steps that end then.
pub(super) fn note(steps: &mut BTreeMap<u32, Seen>, statistic: Statistic, points: &[(u32, f64)], tier: Tier) {
    for (moment, value) in points {
        if moment.is_multiple_of(tier.seconds()) && *moment >= tier.seconds() {
            steps.entry(moment - tier.seconds()).or_insert(Seen::NOTHING).set(statistic, *value);
        }
    }
}

/// The cells of a gauge.
pub(super) fn gauge(steps: &BTreeMap<u32, Seen>, sampling: Sampling) -> KnownSteps {
    let known = steps.iter().filter(|(_, seen)| seen.samples() > 0 && seen.mean.is_finite());
    let cell = |(start, seen): (&u32, &Seen)| {
        let seconds = sampling.seconds(seen.samples()).max(1);
        let cell = Cell {
            seconds,
            sum: seen.mean * f64::from(seconds),
            spread: seen.variance.max(0.0) * f64::from(seconds),
            min: seen.min,
            max: seen.max,
            last: seen.last,
            ..Cell::second(seen.mean)
        };
        (*start, Known { cell, seconds })
    };
    known.map(cell).collect()
}

/// The cells of a counter. The first step is there for what was reached before the others.
pub(super) fn counter(steps: &BTreeMap<u32, Seen>, sampling: Sampling, first: u32) -> KnownSteps {
    let mut growth = Growth { known: BTreeMap::new(), sampling, first };
    let mut before: Option<(u32, f64)> = None;
    for (&start, seen) in steps {
        if seen.samples() == 0 || !seen.last.is_finite() {
            // Reached before the step, and still there.
            before = before.or_else(|| seen.last.is_finite().then_some((start, seen.last)));
            continue;
        }
        match before {
            // What began again after a hole did so within the step: its zero is a sample too.
            Some((at, value)) if growth.reaches(at, start) && (seen.min >= value || growth.follows(at, start)) => {
                growth.add(start, at, seen.samples(), sampling.rounded(grown(value, seen)), None);
            }
            _ => {
                let within = if seen.resets > 0.0 { seen.increase } else { seen.last - seen.min };
                growth.add_first(start, seen.samples(), sampling.rounded(within.max(0.0)), None);
            }
        }
        before = Some((start, seen.last));
    }
    growth.known
}

/// What a counter grew by, that stood at `before`.
fn grown(before: f64, seen: &Seen) -> f64 {
    if seen.min >= before {
        return seen.last - before;
    }
    // It started again. What it had reached until then is the largest value, when that is above the last one.
    if seen.max > seen.last && seen.max >= before {
        return seen.max - before + seen.last;
    }
    // Else it did so before the first sample of the step, or grew past what it had reached: then the engine's estimate of the
    // growth within the step is larger.
    let within = if seen.resets > 0.0 && seen.increase.is_finite() { seen.increase } else { 0.0 };
    seen.last.max(within)
}

/// The histograms of one label set.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// What had been reached at the end of a step.
    pub(super) at_end: BTreeMap<u32, Buckets>,
    /// What the engine says that came in a step, of some of [`lacking`].
    pub(super) within: BTreeMap<u32, Buckets>,
}

/// The steps of which the growth does not follow from what had been reached: the first one, those of a restart, those after a
/// hole. The engine is asked for it.
pub(super) fn lacking(counts: &BTreeMap<u32, Seen>, at_end: &BTreeMap<u32, Buckets>, tier: Tier) -> Vec<u32> {
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
pub(super) fn histogram(
    counts: &BTreeMap<u32, Seen>,
    reached: &Reached,
    sampling: Sampling,
    (first, scale): (u32, u8),
) -> KnownSteps {
    let mut growth = Growth { known: BTreeMap::new(), sampling, first };
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
                growth.add(start, *at, samples, histogram.count() as f64, Some(Arc::new(histogram)));
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
    growth.known
}

impl Buckets {
    fn times(&self, factor: f64) -> Self {
        let buckets = self.buckets.iter().map(|(lower, upper, count)| (*lower, *upper, count * factor));
        Self { count: self.count * factor, sum: self.sum * factor, buckets: buckets.collect() }
    }
}

/// Whether what had been reached in the step `at` tells what came since, up to the step `start`.
fn reaches(at: u32, start: u32, tier: Tier) -> bool {
    start - at <= HOLE_MAX.max(tier.seconds())
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

/// Growth becoming cells.
struct Growth {
    known: KnownSteps,
    sampling: Sampling,
    /// What is before it was asked for only to know what had been reached.
    first: u32,
}

impl Growth {
    fn reaches(&self, at: u32, start: u32) -> bool {
        reaches(at, start, self.sampling.tier)
    }

    /// Whether no step lies between the two.
    fn follows(&self, at: u32, start: u32) -> bool {
        start - at <= self.sampling.tier.seconds()
    }

    /// What came after the step `at` up to the step `start`, which holds samples. Over a hole it is spread evenly.
    fn add(&mut self, start: u32, at: u32, samples: u32, growth: f64, histogram: Option<Arc<Histogram>>) {
        let (length, seconds) = (self.sampling.tier.seconds(), self.sampling.seconds(samples));
        let steps = (start - at) / length;
        if histogram.is_some() || steps <= 1 {
            self.step(start, length, seconds, growth, histogram);
            return;
        }
        let share = growth / f64::from(steps);
        for step in 1..=steps {
            let known = if step == steps { seconds } else { 0 };
            self.step(at + step * length, length, known, share, None);
        }
    }

    /// What came after the first sample of a step.
    fn add_first(&mut self, start: u32, samples: u32, growth: f64, histogram: Option<Arc<Histogram>>) {
        let seconds = self.sampling.seconds(samples.saturating_sub(1));
        if seconds > 0 {
            self.step(start, seconds, seconds, growth, histogram);
        }
    }

    fn step(&mut self, start: u32, of: u32, seconds: u32, growth: f64, histogram: Option<Arc<Histogram>>) {
        if start < self.first {
            return;
        }
        let rate = growth / f64::from(of.max(1));
        let spread = if of <= 1 { 0.0 } else { f64::NAN };
        let cell = Cell { seconds: of.max(1), sum: growth, spread, histogram, ..Cell::second(rate) };
        self.known.insert(start, Known { cell, seconds });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u32 = 1_800_000_000;

    fn sampling(tier: Tier, interval: u32) -> Sampling {
        Sampling { tier, interval, scale: Some(0) }
    }

    /// What an engine would say of `samples`, by second, in steps of `tier` from one before START on.
    fn seen(samples: &[(u32, f64)], tier: Tier, steps: u32) -> BTreeMap<u32, Seen> {
        let length = tier.seconds();
        let mut all = BTreeMap::new();
        for step in 0..=steps {
            let start = START - length + step * length;
            let inside: Vec<f64> =
                samples.iter().filter(|(at, _)| (start..start + length).contains(at)).map(|(_, v)| *v).collect();
            let last = samples.iter().rfind(|(at, _)| *at < start + length && at + 300 >= start + length);
            let mut point = |statistic, value: f64| note(&mut all, statistic, &[(start + length, value)], tier);
            if let Some((_, last)) = last {
                point(Statistic::Last, *last);
            }
            if inside.is_empty() {
                continue;
            }
            let n = inside.len() as f64;
            let mean = inside.iter().sum::<f64>() / n;
            point(Statistic::Count, n);
            point(Statistic::Min, inside.iter().copied().fold(f64::INFINITY, f64::min));
            point(Statistic::Max, inside.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            point(Statistic::Mean, mean);
            point(Statistic::Variance, inside.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n);
            point(Statistic::Resets, inside.windows(2).filter(|pair| pair[1] < pair[0]).count() as f64);
            let rise = |pair: &[f64]| if pair[1] < pair[0] { pair[1] } else { pair[1] - pair[0] };
            point(Statistic::Increase, inside.windows(2).map(rise).sum());
        }
        all
    }

    fn sums(known: &KnownSteps) -> Vec<f64> {
        known.values().map(|known| known.cell.sum).collect()
    }

    /// Scenarios 1 and 59: a counter starts again at the seam of two steps, or within one.
    #[test]
    fn a_counter_that_starts_again_loses_nothing() {
        let of = |values: &[f64]| -> Vec<(u32, f64)> { (START - 1..).zip(values.iter().copied()).collect() };
        // One before, then ten and ten seconds.
        let mut seam = vec![5.0];
        seam.extend((1..=10).map(|n| f64::from(n) * 10.0));
        seam.extend((0..10).map(|n| 96.0 + 11.0 * f64::from(n)));
        let known = counter(&seen(&of(&seam), Tier::TenSeconds, 2), sampling(Tier::TenSeconds, 1), START);
        assert_eq!(sums(&known), [95.0, 195.0], "96 is what came after the restart");
        let mut within = vec![100.0];
        within.extend((1..=5).map(|n| 100.0 + f64::from(n)));
        within.extend((1..=5).map(f64::from));
        let known = counter(&seen(&of(&within), Tier::TenSeconds, 1), sampling(Tier::TenSeconds, 1), START);
        assert_eq!(sums(&known), [10.0]);
        // It grew past what it had reached, within the step.
        let past = [10.0, 12.0, 14.0, 3.0, 9.0, 15.0, 21.0, 27.0, 33.0, 39.0, 45.0];
        let known = counter(&seen(&of(&past), Tier::TenSeconds, 1), sampling(Tier::TenSeconds, 1), START);
        assert!(sums(&known)[0] >= 45.0 && sums(&known)[0] <= 49.0, "{known:?}");
    }

    /// Scenarios 17 and 19.
    #[test]
    fn growth_adds_up_also_over_a_hole() {
        let slow: Vec<(u32, f64)> = (START - 7..START + 301).map(|at| (at, f64::from((at + 7 - START) / 7))).collect();
        let known = counter(&seen(&slow, Tier::TenSeconds, 30), sampling(Tier::TenSeconds, 1), START);
        assert_eq!((sums(&known).iter().sum::<f64>(), known.len()), (43.0, 30));
        assert!(sums(&known).iter().all(|growth| growth.fract() == 0.0));
        let holed: Vec<(u32, f64)> = (START - 1..START + 60)
            .filter(|at| !(START + 15..START + 45).contains(at))
            .map(|at| (at, f64::from(at + 1 - START) * 300.0))
            .collect();
        let known = counter(&seen(&holed, Tier::TenSeconds, 6), sampling(Tier::TenSeconds, 1), START);
        assert_eq!(sums(&known).iter().sum::<f64>(), 60.0 * 300.0);
        let rates: Vec<_> = known.values().map(|known| (known.cell.rate().round(), known.seconds)).collect();
        // Known is what had been reached at the end of each step: of the second one by its last sample; what came after that is
        // spread over the steps up to the next sample.
        assert_eq!(rates, [(300.0, 10), (150.0, 5), (350.0, 0), (350.0, 0), (350.0, 5), (300.0, 10)]);
    }

    /// Scenario 50.
    #[test]
    fn a_gauge_is_weighed_by_what_is_known_of_it() {
        let samples: Vec<(u32, f64)> = (0..4).map(|n| (START + 15 * n, f64::from(n))).collect();
        let known = gauge(&seen(&samples, Tier::Minute, 1), sampling(Tier::Minute, 15));
        let Known { cell, seconds } = &known[&START];
        assert_eq!((*seconds, cell.seconds, cell.mean(), cell.min, cell.max, cell.last), (60, 60, 1.5, 0.0, 3.0, 3.0));
        assert!((cell.deviation() - 1.25f64.sqrt()).abs() < 1e-12);
        let known = gauge(&seen(&samples[..1], Tier::Minute, 1), sampling(Tier::Minute, 15));
        assert_eq!((known[&START].seconds, known[&START].cell.sum), (15, 0.0), "a true 0");
        let before = seen(&[(START - 5, 1.0)], Tier::Minute, 1);
        assert!(!gauge(&before, sampling(Tier::Minute, 15)).contains_key(&START));
    }

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
