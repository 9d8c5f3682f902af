//! Functions of the numbers of one series in a window.

use super::table::Stretch;
use crate::{FloatPoint, plan::OverTime};

/// The value of `function` over `points`, of which there is at least one; `None` when they are too few for it.
pub(super) fn over_time(function: OverTime, points: &[FloatPoint], stretch: Stretch, parameter: f64) -> Option<f64> {
    let values = || points.iter().map(|&(_, value)| value);
    let (first, last) = (points.first()?, points.last()?);
    match function {
        OverTime::Rate => extrapolated(points, stretch, true).map(|growth| growth / seconds(stretch.to - stretch.from)),
        OverTime::Increase => extrapolated(points, stretch, true),
        OverTime::Delta => extrapolated(points, stretch, false),
        OverTime::Irate | OverTime::Idelta => newest_two(points, function == OverTime::Irate),
        OverTime::Deriv => Some(line(points, first.0)?.0),
        OverTime::PredictLinear => line(points, stretch.to).map(|(slope, level)| slope * parameter + level),
        OverTime::Resets => Some(points.windows(2).filter(|pair| pair[1].1 < pair[0].1).count() as f64),
        OverTime::Changes => {
            let differ = |a: f64, b: f64| a != b && !(a.is_nan() && b.is_nan());
            Some(points.windows(2).filter(|pair| differ(pair[0].1, pair[1].1)).count() as f64)
        }
        OverTime::Avg => Some(mean(values())),
        OverTime::Min => Some(extreme(values(), |new, old| new < old)),
        OverTime::Max => Some(extreme(values(), |new, old| new > old)),
        OverTime::Sum => Some(sum(values())),
        OverTime::Count => Some(points.len() as f64),
        OverTime::First => Some(first.1),
        OverTime::Last => Some(last.1),
        OverTime::Stdvar => Some(variance(values())),
        OverTime::Stddev => Some(variance(values()).sqrt()),
        OverTime::Quantile => Some(quantile(parameter, values().collect())),
        OverTime::Mad => {
            let middle = quantile(0.5, values().collect());
            Some(quantile(0.5, values().map(|value| (value - middle).abs()).collect()))
        }
        OverTime::Present => Some(1.0),
        OverTime::Absent => None,
    }
}

pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// What was counted over the window, stretched to its edges: `increase` of a counter, `delta` of a gauge.
fn extrapolated(points: &[FloatPoint], stretch: Stretch, counter: bool) -> Option<f64> {
    let ([first, ..], [.., last]) = (points, points) else { return None };
    let mut growth = last.1 - first.1;
    if counter {
        // Before each restart the counter had grown to the value that was last seen.
        growth += points.windows(2).filter(|pair| pair[1].1 < pair[0].1).map(|pair| pair[0].1).sum::<f64>();
    }
    let zero = (counter && growth > 0.0 && first.1 >= 0.0).then(|| first.1 / growth);
    Some(growth * stretched(first.0, last.0, points.len(), stretch, zero)?)
}

/// By what growth between the first and the last of `samples` is multiplied to stand for the whole window.
///
/// An edge that is no farther than 1.1 mean distances from the next sample is reached; beyond, half a distance is added,
/// because the series may have begun or ended there. A counter is not stretched to below zero: `zero` is where it was
/// zero, before the first sample, in parts of the sampled time.
pub(super) fn stretched(first: i64, last: i64, samples: usize, stretch: Stretch, zero: Option<f64>) -> Option<f64> {
    if samples < 2 {
        return None;
    }
    let sampled = seconds(last - first);
    let distance = sampled / (samples - 1) as f64;
    let reach = |edge: f64| if edge >= distance * 1.1 { distance / 2.0 } else { edge };
    let mut before = reach(seconds(first - stretch.from));
    let after = reach(seconds(stretch.to - last));
    if let Some(zero) = zero {
        before = before.min(sampled * zero);
    }
    Some((sampled + before + after) / sampled)
}

pub(super) fn newest_two(points: &[FloatPoint], counter_per_second: bool) -> Option<f64> {
    let [.., (before, old), (time, new)] = points else { return None };
    if time == before {
        return None;
    }
    if !counter_per_second {
        return Some(new - old);
    }
    // After a restart all of the new value was counted since.
    let growth = if new < old { *new } else { new - old };
    Some(growth / seconds(time - before))
}

/// Slope per second and level at `origin` of the line of least squares.
fn line(points: &[FloatPoint], origin: i64) -> Option<(f64, f64)> {
    if points.len() < 2 {
        return None;
    }
    let level = points[0].1;
    if points.iter().all(|point| point.1 == level) {
        return Some(if level.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, level) });
    }
    let n = points.len() as f64;
    let over = |f: fn(f64, f64) -> f64| sum(points.iter().map(|&(time, value)| f(seconds(time - origin), value)));
    let (x, y, xy, xx) = (over(|x, _| x), over(|_, y| y), over(|x, y| x * y), over(|x, _| x * x));
    let slope = (xy - x * y / n) / (xx - x * x / n);
    Some((slope, y / n - slope * x / n))
}

/// The extreme of the numbers; what is none counts only when there is nothing else.
pub(super) fn extreme(values: impl Iterator<Item = f64>, beyond: fn(f64, f64) -> bool) -> f64 {
    values.reduce(|old, new| if beyond(new, old) || old.is_nan() { new } else { old }).unwrap_or(f64::NAN)
}

/// A sum that keeps what each addition loses (Neumaier): 1e100 + 1 - 1e100 is 1.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ExactSum {
    sum: f64,
    lost: f64,
}

impl ExactSum {
    pub(super) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        if sum.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.lost += (self.sum - sum) + value;
        } else {
            self.lost += (value - sum) + self.sum;
        }
        self.sum = sum;
    }

    pub(super) fn get(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }
}

pub(super) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut sum = ExactSum::default();
    values.for_each(|value| sum.add(value));
    sum.get()
}

pub(super) fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count() as f64;
    let whole = sum(values.clone());
    if whole.is_infinite() {
        // The sum may have left the range of numbers although their mean is inside.
        return sum(values.map(|value| value / count));
    }
    whole / count
}

/// The variance of all of the values (not an estimate from a sample of them).
pub(super) fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut mean, mut spread) = (0.0, ExactSum::default(), ExactSum::default());
    for value in values {
        count += 1.0;
        let off = value - mean.get();
        mean.add(off / count);
        spread.add(off * (value - mean.get()));
    }
    spread.get() / count
}

/// The value at quantile `q` of all values, between two of them in proportion.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    // What is no number comes first.
    values.sort_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor();
    let weight = rank - lower;
    let upper = (lower as usize + 1).min(values.len() - 1);
    values[lower as usize] * (1.0 - weight) + values[upper] * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_what_is_small() {
        assert_eq!(sum([1e100, 1.0, -1e100].into_iter()), 1.0);
        assert_eq!(mean([f64::MAX, f64::MAX].into_iter()), f64::MAX);
        assert_eq!(sum([f64::INFINITY, 1.0].into_iter()), f64::INFINITY);
        assert!(sum([f64::INFINITY, f64::NEG_INFINITY].into_iter()).is_nan());
        assert_eq!(variance([1.0, 3.0].into_iter()), 1.0);
        assert_eq!(quantile(0.5, vec![3.0, 1.0, 2.0, 4.0]), 2.5);
        assert_eq!(extreme([f64::NAN, 2.0, 1.0].into_iter(), |new, old| new < old), 1.0);
    }
}
