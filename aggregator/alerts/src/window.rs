//! The last seconds that an expression looks back on.

use std::collections::VecDeque;

use starling_proto::histogram::Histogram;

/// Parts of a window: it ends with the second that is judged and is shorter than asked for by less than one part. What is
/// kept of a window does not depend on how long it is.
const SLOTS: u32 = 12;
/// A pace seldom stays: what a trend says lies at least this part of its slope to both sides.
const PACE: f64 = 0.2;
/// A third of a window changes at least as fast as all of it divided by this, where there is a trend.
const STEADY: f64 = 3.0;
/// Seconds that stand for "never": a year. A value, not none: what will not be reached is well.
pub(crate) const NEVER: f64 = 365.0 * 86_400.0;

/// What was seen in one part.
#[derive(Debug, Clone, Default, PartialEq)]
struct Slot {
    /// Number of the part: its first second divided by the length of a part.
    number: u32,
    seconds: u32,
    sum: f64,
    low: f64,
    high: f64,
    histogram: Option<Box<Histogram>>,
}

/// One value of one or more seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    /// How many.
    pub(crate) seconds: u32,
    pub(crate) mean: f64,
    /// The smallest and the largest of them.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Span {
    /// Of one second.
    #[cfg(test)]
    pub(crate) const fn second(value: f64) -> Self {
        Self { seconds: 1, mean: value, low: value, high: value }
    }
}

/// The straight line through a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Trend {
    /// Change per second.
    pub(crate) slope: f64,
    /// Its value now.
    pub(crate) now: f64,
    /// The least and the most change per second of the same direction: of the slowest and the fastest third of the window, at least a
    /// fifth slower and faster.
    pub(crate) pace: (f64, f64),
}

/// When a trend reaches a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Until {
    /// Seconds: 0 when it did within the window, [`NEVER`] when it does not.
    pub(crate) seconds: f64,
    /// The earliest and the latest, by [`Trend::pace`]; `None` when it does not or did.
    pub(crate) between: Option<(f64, f64)>,
}

/// One value over the last seconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    /// Seconds of a part, at least 1.
    part: u32,
    /// At most `parts`, ascending.
    slots: VecDeque<Slot>,
    parts: u32,
    /// The part that the newest second is in, with data or without.
    current: u32,
    /// The histograms of the parts before it in one: merged once a part, not once a second.
    past: Option<Box<Histogram>>,
}

impl Window {
    /// Over `seconds`, at least 1; nothing seen yet.
    pub(crate) fn new(seconds: u32) -> Self {
        let part = seconds.div_ceil(SLOTS).max(1);
        Self { part, slots: VecDeque::new(), parts: seconds.div_ceil(part), current: 0, past: None }
    }

    /// Takes what second `tick` has. A second before the newest part is taken into its part while that is kept.
    #[cfg(test)]
    pub(crate) fn push(&mut self, tick: u32, value: Option<f64>, histogram: Option<&Histogram>) {
        self.push_span(tick, value.map(Span::second), histogram);
    }

    /// Takes what the seconds up to `tick` have, of which each has what `value` says.
    pub(crate) fn push_span(&mut self, tick: u32, value: Option<Span>, histogram: Option<&Histogram>) {
        let number = tick / self.part;
        while self.slots.front().is_some_and(|slot| slot.number + self.parts <= number) {
            self.slots.pop_front();
        }
        if self.current < number {
            self.current = number;
            self.past = merged(self.slots.iter().filter_map(|slot| slot.histogram.as_deref())).map(Box::new);
        }
        if value.is_none() && histogram.is_none() {
            return;
        }
        let at = self.slots.partition_point(|slot| slot.number < number);
        if self.slots.get(at).is_none_or(|slot| slot.number != number) {
            if self.slots.back().is_some_and(|newest| number + self.parts <= newest.number) {
                return;
            }
            self.slots.insert(at, Slot { number, low: f64::INFINITY, high: f64::NEG_INFINITY, ..Slot::default() });
        }
        let slot = &mut self.slots[at];
        slot.seconds += value.map_or(1, |value| value.seconds);
        if let Some(Span { seconds, mean, low, high }) = value {
            slot.sum += mean * f64::from(seconds);
            slot.low = slot.low.min(low);
            slot.high = slot.high.max(high);
        }
        if let Some(histogram) = histogram {
            slot.histogram = merged(slot.histogram.as_deref().into_iter().chain([histogram])).map(Box::new);
            if number < self.current {
                self.past = merged(self.past.as_deref().into_iter().chain([histogram])).map(Box::new);
            }
        }
    }

    /// Seconds that have data.
    pub(crate) fn seconds(&self) -> u32 {
        self.slots.iter().map(|slot| slot.seconds).sum()
    }

    /// The sum of the seconds; `None` without any.
    pub(crate) fn sum(&self) -> Option<f64> {
        (!self.slots.is_empty()).then(|| self.slots.iter().map(|slot| slot.sum).sum())
    }

    /// The mean of the seconds that have data.
    pub(crate) fn mean(&self) -> Option<f64> {
        self.sum().map(|sum| sum / f64::from(self.seconds().max(1)))
    }

    /// The smallest second.
    pub(crate) fn low(&self) -> Option<f64> {
        self.slots.iter().map(|slot| slot.low).min_by(f64::total_cmp)
    }

    /// The largest second.
    pub(crate) fn high(&self) -> Option<f64> {
        self.slots.iter().map(|slot| slot.high).max_by(f64::total_cmp)
    }

    /// All values in one histogram.
    pub(crate) fn histogram(&self) -> Option<Histogram> {
        let newest = self.slots.back().filter(|slot| slot.number == self.current);
        let newest = newest.and_then(|slot| slot.histogram.as_deref());
        merged(self.past.as_deref().into_iter().chain(newest))
    }

    /// Change per second by the straight line that fits the parts best (least squares), with its value now; `None` with
    /// fewer than half of the parts. What does not change in the last third of the window as in the one before is no trend but a
    /// step, and changes by nothing: a backup, a log that is rotated.
    pub(crate) fn trend(&self) -> Option<Trend> {
        let point = |slot: &Slot| (slot.number, slot.sum / f64::from(slot.seconds.max(1)));
        let points: Vec<(u32, f64)> = self.slots.iter().map(point).collect();
        if points.len() < 3 || points.len() < self.parts.div_ceil(2) as usize {
            return None;
        }
        let (mut slope, now) = line(&points)?;
        let (third, last) = (self.parts / 3, points.last()?.0);
        let (mut slowest, mut fastest) = ((1.0 - PACE) * slope.abs(), (1.0 + PACE) * slope.abs());
        if third >= 2 {
            for back in [0, third] {
                let from = points.partition_point(|(number, _)| number + third + back <= last);
                let to = points.partition_point(|(number, _)| number + back <= last);
                let (of_third, _) = line(&points[from..to])?;
                if of_third * slope <= 0.0 || of_third.abs() < slope.abs() / STEADY {
                    slope = 0.0;
                }
                (slowest, fastest) = (slowest.min(of_third.abs()), fastest.max(of_third.abs()));
            }
        }
        let per_second = |of: f64| of.copysign(slope) / f64::from(self.part);
        Some(Trend { slope: slope / f64::from(self.part), now, pace: (per_second(slowest), per_second(fastest)) })
    }

    /// Until the trend reaches `limit`.
    pub(crate) fn until(&self, limit: f64) -> Option<Until> {
        let Trend { slope, now, pace: (slowest, fastest) } = self.trend()?;
        let left = limit - now;
        let began = limit - (now - slope * f64::from(self.part * self.parts));
        let (seconds, comes) = match left * slope {
            towards if towards > 0.0 => ((left / slope).min(NEVER), left / slope < NEVER),
            _ if left * began < 0.0 => (0.0, false),
            _ => (NEVER, false),
        };
        let between = comes.then(|| ((left / fastest).min(NEVER), (left / slowest).min(NEVER)));
        Some(Until { seconds, between })
    }
}

/// The straight line that fits `points` best: its slope, and its value at the last of them. `None` of fewer than two.
fn line(points: &[(u32, f64)]) -> Option<(f64, f64)> {
    let (n, last) = (points.len() as f64, points.last().filter(|_| points.len() > 1)?.0);
    let points = || points.iter().map(|(x, y)| (f64::from(*x), *y));
    let (x_mean, y_mean) = points().fold((0.0, 0.0), |(x, y), (px, py)| (x + px / n, y + py / n));
    let spread: f64 = points().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let together: f64 = points().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let slope = together / spread;
    Some((slope, y_mean + slope * (f64::from(last) - x_mean)))
}

/// All in one; beyond 64 bits the first ones stand.
fn merged<'a>(mut all: impl Iterator<Item = &'a Histogram>) -> Option<Histogram> {
    let first = all.next()?;
    // Of two, the usual case, none is copied before they are added.
    let Some(second) = all.next() else { return Some(first.clone()) };
    let both = first.plus(second).unwrap_or_else(|_| first.clone());
    Some(all.fold(both, |sum, next| sum.plus(next).unwrap_or(sum)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_go_once_they_are_older_than_the_window() {
        let mut window = Window::new(60);
        for tick in 1_000..1_200 {
            window.push(tick, Some(f64::from(tick)), None);
        }
        assert_eq!((window.seconds(), window.high(), window.low()), (60, Some(1_199.0), Some(1_140.0)));
        window.push(1_300, None, None);
        assert_eq!((window.seconds(), window.mean()), (0, None), "a second without data moves the window too");
    }

    #[test]
    fn a_short_window_is_exact() {
        let mut window = Window::new(5);
        for (tick, value) in (0..20).zip([1.0, 2.0].into_iter().cycle()) {
            window.push(tick, Some(value), None);
        }
        assert_eq!((window.seconds(), window.sum()), (5, Some(8.0)), "{window:?}");
    }

    #[test]
    fn histograms_are_merged() {
        let mut window = Window::new(60);
        for tick in 0..60 {
            window.push(tick, None, Some(&Histogram::of(1_000, 2)));
        }
        assert_eq!(window.histogram().map(|all| all.count()), Some(120));
        window.push(600, None, None);
        assert_eq!(window.histogram(), None);
    }

    #[test]
    fn what_is_merged_is_all_of_the_window() {
        let mut window = Window::new(60);
        for tick in 0..300u32 {
            // Some seconds come late, some never.
            let tick = if tick % 7 == 3 { tick.saturating_sub(6) } else { tick };
            window.push(tick, None, (tick % 11 != 0).then(|| Histogram::of(u64::from(tick), 1)).as_ref());
            let all = window.slots.iter().filter_map(|slot| slot.histogram.as_deref());
            assert_eq!(window.histogram(), merged(all), "at {tick}");
        }
    }

    #[test]
    fn a_trend_is_that_of_a_straight_line() {
        let mut window = Window::new(3_600);
        (0..1_000).for_each(|tick| window.push(tick, Some(f64::from(tick) * 0.001), None));
        assert_eq!(window.trend(), None, "less than half of it");
        (1_000..3_600).for_each(|tick| window.push(tick, Some(f64::from(tick) * 0.001), None));
        let Trend { slope, now, .. } = window.trend().unwrap();
        assert!((slope - 0.001).abs() < 1e-9 && (now - 3.45).abs() < 0.01, "{slope} {now}");
        let until = window.until(7.05).unwrap();
        assert!((until.seconds - 3_600.0).abs() < 20.0, "{until:?}");
        let (earliest, latest) = until.between.unwrap();
        assert!(
            (earliest - 3_000.0).abs() < 20.0 && (latest - 4_500.0).abs() < 20.0,
            "a fifth faster or slower: {until:?}"
        );
        let at = |limit| window.until(limit).map(|until| (until.seconds, until.between));
        assert_eq!((at(3.0), at(-1.0)), (Some((0.0, None)), Some((NEVER, None))), "it was reached; it goes away");
    }

    #[test]
    fn what_slows_down_is_between_its_slowest_and_its_fastest_third() {
        // A43: twice as fast in the first half hour as in the second.
        let mut window = Window::new(3_600);
        let value = |tick: u32| f64::from(tick.min(1_800)) * 0.002 + f64::from(tick.saturating_sub(1_800)) * 0.001;
        (0..3_600).for_each(|tick| window.push(tick, Some(value(tick)), None));
        let trend = window.trend().unwrap();
        let until = window.until(trend.now + 3.6).unwrap();
        let (earliest, latest) = until.between.unwrap();
        assert!(earliest < until.seconds && until.seconds < latest && latest - 3_600.0 < 1.0, "{trend:?} {until:?}");
        assert!(latest > 1.25 * until.seconds + 1.0, "wider than for a steady one: {until:?}");
    }

    #[test]
    fn a_step_is_no_trend() {
        for at in 0..3_600 {
            let mut window = Window::new(3_600);
            (0..3_600).step_by(60).for_each(|tick| window.push(tick, Some(f64::from(u8::from(tick >= at))), None));
            let slope = window.trend().unwrap().slope;
            assert!(slope == 0.0, "a step at {at}: {slope}");
        }
    }
}
