//! Values that hold until the next one: gauges and sums that also fall.
//!
//! A value is kept until its stream has missed three of its own intervals, or the configured time when the interval is
//! not known; then it is absent. Nothing old is sent as if it were new for longer than that.

use std::{collections::HashMap, time::Duration};

use starling_proto::{
    limits::GAUGE_MAGNITUDE_MAX,
    series::{Sample, Series, Value},
};

use super::{observation::StreamKey, refusal::Refusal};

/// Missed intervals after which a value is stale.
const INTERVALS: u32 = 3;
/// A stream that reports more often than its neighbours is not stale within a breath.
const STALE_AFTER_MIN: Duration = Duration::from_secs(5);
/// Nothing is kept longer than this, whatever its interval.
const STALE_AFTER_MAX: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Level {
    series: Series,
    value: i64,
    seen: Duration,
    stale_after: Duration,
}

/// The last value of every stream of them. Streams of one series add up.
#[derive(Debug)]
pub(super) struct Levels {
    streams: HashMap<StreamKey, Level>,
    most: usize,
    stale_after: Duration,
}

impl Levels {
    pub(super) fn new(most: usize, stale_after: Duration) -> Self {
        Self { streams: HashMap::new(), most, stale_after }
    }

    /// Sets the value of a stream.
    pub(super) fn set(&mut self, key: StreamKey, series: &Series, value: i64, now: Duration) -> Result<(), Refusal> {
        self.update(key, series, now, |_| Some(value))
    }

    /// Changes the value of a stream; one not known begins at 0.
    pub(super) fn add(&mut self, key: StreamKey, series: &Series, change: i64, now: Duration) -> Result<(), Refusal> {
        self.update(key, series, now, |value| value.checked_add(change))
    }

    /// Forgets a stream that says it has no value now.
    pub(super) fn clear(&mut self, key: StreamKey) {
        self.streams.remove(&key);
    }

    fn update(
        &mut self,
        key: StreamKey,
        series: &Series,
        now: Duration,
        change: impl Fn(i64) -> Option<i64>,
    ) -> Result<(), Refusal> {
        let in_range = |value: i64| value.unsigned_abs() <= GAUGE_MAGNITUDE_MAX.unsigned_abs();
        let next = |value| change(value).filter(|&value| in_range(value)).ok_or(Refusal::OutOfRange("the value"));
        if let Some(level) = self.streams.get_mut(&key) {
            level.value = next(level.value)?;
            let interval = now.saturating_sub(level.seen);
            // Points that come in one request have no interval.
            if interval >= Duration::from_millis(500) {
                level.stale_after = (interval * INTERVALS).clamp(STALE_AFTER_MIN, STALE_AFTER_MAX);
            }
            level.seen = now;
            return Ok(());
        }
        if self.streams.len() >= self.most {
            self.sweep(now);
            if self.streams.len() >= self.most {
                return Err(Refusal::StreamsFull(self.most));
            }
        }
        let level = Level { series: series.clone(), value: next(0)?, seen: now, stale_after: self.stale_after };
        self.streams.insert(key, level);
        Ok(())
    }

    fn sweep(&mut self, now: Duration) {
        self.streams.retain(|_, level| now.saturating_sub(level.seen) <= level.stale_after);
    }

    /// The values that hold now.
    pub(super) fn cut(&mut self, now: Duration, samples: &mut Vec<Sample>) {
        self.sweep(now);
        let mut sums: HashMap<&Series, i64> = HashMap::with_capacity(self.streams.len());
        for level in self.streams.values() {
            let sum = sums.entry(&level.series).or_default();
            *sum = sum.saturating_add(level.value).clamp(-GAUGE_MAGNITUDE_MAX, GAUGE_MAGNITUDE_MAX);
        }
        samples.extend(
            sums.into_iter().map(|(series, value)| Sample { series: series.clone(), value: Value::Gauge(value) }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::traffic::{Protocol, active};
    use super::*;

    fn cut(levels: &mut Levels, seconds: u64) -> Vec<i64> {
        let mut samples = Vec::new();
        levels.cut(Duration::from_secs(seconds), &mut samples);
        samples.iter().map(|s| if let Value::Gauge(v) = s.value { v } else { panic!("a gauge") }).collect()
    }

    #[test]
    fn streams_of_one_series_add_up_until_they_are_stale() {
        let mut levels = Levels::new(10, Duration::from_secs(60));
        let series = active(Protocol::Grpc);
        let at = Duration::from_secs;
        levels.set(1, &series, 5, at(0)).unwrap();
        levels.add(2, &series, 2, at(0)).unwrap();
        levels.add(2, &series, 2, at(10)).unwrap();
        assert_eq!(cut(&mut levels, 20), [9]);
        assert_eq!(cut(&mut levels, 41), [5], "the second one missed three intervals of 10 s");
        assert_eq!(cut(&mut levels, 61), [] as [i64; 0]);
        assert!(levels.streams.is_empty());
    }

    #[test]
    fn the_table_and_the_values_are_bounded() {
        let mut levels = Levels::new(1, Duration::from_secs(60));
        let series = active(Protocol::Http1);
        levels.set(1, &series, 1, Duration::ZERO).unwrap();
        assert_eq!(levels.set(2, &series, 1, Duration::ZERO), Err(Refusal::StreamsFull(1)));
        levels.set(2, &series, 1, Duration::from_secs(100)).unwrap();
        assert!(matches!(levels.set(2, &series, i64::MAX, Duration::ZERO), Err(Refusal::OutOfRange(_))));
        levels.clear(2);
        assert_eq!(cut(&mut levels, 100), [] as [i64; 0]);
    }
}
