//! Cells made of what an engine says about the steps of a series. Pure.
//!
//! The engine has samples every so many seconds, the interval, and each stands for one. Of gauges mean, deviation and extremes are
//! those of the samples. Of counters and histograms the growth of a step is what its last sample is above the last one before it: no
//! growth between two steps is lost and none counts twice. A counter that starts again begins at 0.
//!
//! - here: what is seen of a step, and gauges;
//! - [`growth`]: growth becoming cells, also over holes; [`counter`] and [`histogram`]: what a series grew by.

mod counter;
mod growth;
mod histogram;

use std::collections::BTreeMap;

use starling_history::{Cell, Tier};

use super::expression::Statistic;

pub(super) use self::{
    counter::counter,
    histogram::{Reached, histogram, lacking},
};

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

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const START: u32 = 1_800_000_000;

    pub(super) fn sampling(tier: Tier, interval: u32) -> Sampling {
        Sampling { tier, interval, scale: Some(0) }
    }

    /// What an engine would say of `samples`, by second, in steps of `tier` from one before START on.
    pub(super) fn seen(samples: &[(u32, f64)], tier: Tier, steps: u32) -> BTreeMap<u32, Seen> {
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

    pub(super) fn sums(known: &KnownSteps) -> Vec<f64> {
        known.values().map(|known| known.cell.sum).collect()
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
}
