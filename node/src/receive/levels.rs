//! Values that hold until the next one: gauges and sums that also fall.
//!
//! A value is kept until its stream has missed three of its own intervals, or the configured time when the interval is
//! not known; then it is absent. Nothing old is sent as if it were new for longer than that.

use std::{collections::HashMap, time::Duration};

use starling_proto::{
    limits::GAUGE_MAGNITUDE_MAX,
    series::{Sample, Series, Value},
};

use super::{fixed::Fixed, observation::StreamKey, refusal::Refusal};

/// Missed intervals after which a value is stale.
const INTERVALS: u32 = 3;
/// A stream that reports more often than its neighbours is not stale within a breath.
const STALE_AFTER_MIN: Duration = Duration::from_secs(5);
/// Nothing is kept longer than this, whatever its interval.
const STALE_AFTER_MAX: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Level {
    /// Its series without digits: they, and the unit, may change from one value to the next.
    series: Series,
    value: Fixed,
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
    pub(super) fn set(&mut self, key: StreamKey, series: &Series, value: Fixed, now: Duration) -> Result<(), Refusal> {
        self.update(key, series, now, |_| Some(value))
    }

    /// Changes the value of a stream; one not known begins at 0.
    pub(super) fn add(&mut self, key: StreamKey, series: &Series, change: Fixed, now: Duration) -> Result<(), Refusal> {
        self.update(key, series, now, |value| value.plus(change))
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
        change: impl Fn(Fixed) -> Option<Fixed>,
    ) -> Result<(), Refusal> {
        let in_range = |value: Fixed| value.value.unsigned_abs() <= GAUGE_MAGNITUDE_MAX.unsigned_abs();
        let next = |value| change(value).filter(|&value| in_range(value)).ok_or(Refusal::OutOfRange("the value"));
        if let Some(level) = self.streams.get_mut(&key) {
            level.value = next(level.value)?;
            if level.series != *series {
                level.series = series.clone();
            }
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
        let level =
            Level { series: series.clone(), value: next(Fixed::ZERO)?, seen: now, stale_after: self.stale_after };
        self.streams.insert(key, level);
        Ok(())
    }

    fn sweep(&mut self, now: Duration) {
        self.streams.retain(|_, level| now.saturating_sub(level.seen) <= level.stale_after);
    }

    /// The values that hold now. `shown` gives the series of a level with the digits in which it is sent.
    pub(super) fn cut(&mut self, now: Duration, shown: impl Fn(&Series) -> Series, samples: &mut Vec<Sample>) {
        self.sweep(now);
        let mut sums: HashMap<&Series, (Series, i64)> = HashMap::with_capacity(self.streams.len());
        for level in self.streams.values() {
            let (series, sum) = sums.entry(&level.series).or_insert_with(|| (shown(&level.series), 0));
            // Digits were chosen so that the last value fits; one of another stream that does not ends at the limit.
            let limit = GAUGE_MAGNITUDE_MAX * level.value.value.signum();
            let value = level.value.rescaled(series.scale()).map_or(limit, |value| value.value);
            *sum = sum.saturating_add(value).clamp(-GAUGE_MAGNITUDE_MAX, GAUGE_MAGNITUDE_MAX);
        }
        samples.extend(sums.into_values().map(|(series, value)| Sample { series, value: Value::Gauge(value) }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::traffic::{Protocol, active};
    use super::*;
    use starling_proto::catalogue::{Kind, Scope};

    fn cut(levels: &mut Levels, seconds: u64) -> Vec<i64> {
        let mut samples = Vec::new();
        levels.cut(Duration::from_secs(seconds), Series::clone, &mut samples);
        samples.iter().map(|s| if let Value::Gauge(v) = s.value { v } else { panic!("a gauge") }).collect()
    }

    fn whole(value: i64) -> Fixed {
        Fixed { value, scale: 0 }
    }

    #[test]
    fn streams_of_one_series_add_up_until_they_are_stale() {
        let mut levels = Levels::new(10, Duration::from_secs(60));
        let series = active(false, Protocol::Grpc);
        let at = Duration::from_secs;
        levels.set(1, &series, whole(5), at(0)).unwrap();
        levels.add(2, &series, whole(2), at(0)).unwrap();
        levels.add(2, &series, whole(2), at(10)).unwrap();
        assert_eq!(cut(&mut levels, 20), [9]);
        assert_eq!(cut(&mut levels, 41), [5], "the second one missed three intervals of 10 s");
        assert_eq!(cut(&mut levels, 61), [] as [i64; 0]);
        assert!(levels.streams.is_empty());
    }

    #[test]
    fn digits_and_unit_of_a_stream_may_change() {
        let of = |unit| Series::application("depth", &[], Kind::Gauge, unit, 0, Scope::Node).unwrap();
        let mut levels = Levels::new(10, Duration::from_secs(60));
        levels.set(1, &of("1"), whole(5), Duration::ZERO).unwrap();
        levels.set(2, &of("1"), Fixed { value: 5_500, scale: 3 }, Duration::ZERO).unwrap();
        let mut samples = Vec::new();
        levels.cut(Duration::ZERO, |series| series.with_scale(6), &mut samples);
        assert_eq!(samples, [Sample { series: of("1").with_scale(6), value: Value::Gauge(10_500_000) }]);
        levels.set(1, &of("By"), whole(7), Duration::ZERO).unwrap();
        levels.clear(2);
        assert_eq!(cut(&mut levels, 1), [7], "the old unit is gone");
        levels.add(1, &of("By"), Fixed { value: 5, scale: 1 }, Duration::ZERO).unwrap();
        samples.clear();
        levels.cut(Duration::ZERO, |series| series.with_scale(1), &mut samples);
        assert_eq!(samples, [Sample { series: of("By").with_scale(1), value: Value::Gauge(75) }]);
    }

    #[test]
    fn the_table_and_the_values_are_bounded() {
        let mut levels = Levels::new(1, Duration::from_secs(60));
        let series = active(false, Protocol::Http1);
        levels.set(1, &series, whole(1), Duration::ZERO).unwrap();
        assert_eq!(levels.set(2, &series, whole(1), Duration::ZERO), Err(Refusal::StreamsFull(1)));
        levels.set(2, &series, whole(1), Duration::from_secs(100)).unwrap();
        assert!(matches!(levels.set(2, &series, whole(i64::MAX), Duration::ZERO), Err(Refusal::OutOfRange(_))));
        levels.clear(2);
        assert_eq!(cut(&mut levels, 100), [] as [i64; 0]);
    }
}
