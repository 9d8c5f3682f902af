//! From running totals to increments.
//!
//! A sequence of cumulative points is known by its origin, metric, attributes and start. Its first point counts in
//! full when the sequence started after the daemon did, because then nothing of it was counted before; otherwise it is
//! only a baseline, and what happened before it stays uncounted. A total that falls is a reset: the new total counts.
//!
//! The table is bounded. When it is full, new sequences are refused; sequences that were silent for a while are
//! forgotten. One that comes back later than that must not count in full a second time, so from then on only
//! sequences that started after the last point of the forgotten one do.

use std::{collections::HashMap, time::Duration};

use super::{
    Moment,
    attributes::StreamKey,
    point::{Buckets, Point},
    refusal::Refusal,
};

/// A sequence that is silent for this long is forgotten: fifteen intervals of the SDKs' default of a minute.
const IDLE_MAX: Duration = Duration::from_secs(900);

/// What one sequence had reached.
#[derive(Debug)]
enum Total {
    Number(i64),
    Histogram(Point),
}

#[derive(Debug)]
struct Sequence {
    total: Total,
    time_unix_ns: u64,
    seen: Moment,
}

/// The last value of every cumulative sequence.
#[derive(Debug)]
pub(super) struct Cumulative {
    sequences: HashMap<StreamKey, Sequence>,
    most: usize,
    /// Only sequences that started after this count in full at once.
    new_after_unix_ns: u64,
}

impl Cumulative {
    pub(super) fn new(most: usize, started: Moment) -> Self {
        Self { sequences: HashMap::new(), most, new_after_unix_ns: started.unix_ns }
    }

    pub(super) fn len(&self) -> usize {
        self.sequences.len()
    }

    /// The increment of a total in fixed point that never falls; `None` for a baseline.
    pub(super) fn number(
        &mut self,
        key: StreamKey,
        (start_unix_ns, time_unix_ns): (u64, u64),
        total: i64,
        now: Moment,
    ) -> Result<Option<u64>, Refusal> {
        let before = self.replace(key, Total::Number(total), time_unix_ns, now)?;
        let since = match before {
            Some(Total::Number(before)) if before <= total => before,
            // It fell: it began again from 0.
            Some(Total::Number(_)) => 0,
            None if self.is_new(start_unix_ns) => 0,
            Some(Total::Histogram(_)) | None => return Ok(None),
        };
        // Cannot overflow: `since` lies between 0 and `total`, or is 0.
        Ok(u64::try_from(total - since).ok())
    }

    /// The increment of a histogram; `None` for a baseline.
    pub(super) fn histogram(&mut self, key: StreamKey, point: Point, now: Moment) -> Result<Option<Point>, Refusal> {
        let (start, time) = (point.start_unix_ns, point.time_unix_ns);
        let before = self.replace(key, Total::Histogram(point.clone()), time, now)?;
        match before {
            Some(Total::Histogram(before)) => Ok(match difference(&before, &point) {
                Difference::Of(increment) => Some(increment),
                Difference::Reset => Some(point),
                Difference::OtherShape => None,
            }),
            None if self.is_new(start) => Ok(Some(point)),
            Some(Total::Number(_)) | None => Ok(None),
        }
    }

    /// Forgets what was silent for long.
    pub(super) fn sweep(&mut self, now: Moment) {
        let new_after = &mut self.new_after_unix_ns;
        self.sequences.retain(|_, sequence| {
            let keep = now.monotonic.saturating_sub(sequence.seen.monotonic) < IDLE_MAX;
            if !keep {
                *new_after = (*new_after).max(sequence.seen.unix_ns);
            }
            keep
        });
    }

    fn is_new(&self, start_unix_ns: u64) -> bool {
        start_unix_ns > self.new_after_unix_ns
    }

    /// Notes the newest total and returns the one before.
    fn replace(
        &mut self,
        key: StreamKey,
        total: Total,
        time_unix_ns: u64,
        now: Moment,
    ) -> Result<Option<Total>, Refusal> {
        if !self.sequences.contains_key(&key) && self.sequences.len() >= self.most {
            self.sweep(now);
            if self.sequences.len() >= self.most {
                return Err(Refusal::StreamsFull(self.most));
            }
        }
        if let Some(known) = self.sequences.get_mut(&key)
            && time_unix_ns < known.time_unix_ns
        {
            known.seen = now;
            return Err(Refusal::Old);
        }
        let before = self.sequences.insert(key, Sequence { total, time_unix_ns, seen: now });
        Ok(before.map(|sequence| sequence.total))
    }
}

enum Difference {
    Of(Point),
    /// A count fell.
    Reset,
    /// The bounds changed: nothing can be told about the time between.
    OtherShape,
}

fn difference(before: &Point, now: &Point) -> Difference {
    if now.count < before.count {
        return Difference::Reset;
    }
    let buckets = match (&before.buckets, &now.buckets) {
        (Buckets::Explicit { bounds: old_bounds, counts: old }, Buckets::Explicit { bounds, counts })
            if old_bounds == bounds =>
        {
            let Some(counts) = subtract(counts, old.iter().copied().enumerate()) else { return Difference::Reset };
            Buckets::Explicit { bounds: bounds.clone(), counts }
        }
        (
            Buckets::Exponential { scale: old_scale, zero: old_zero, offset: old_offset, counts: old, .. },
            Buckets::Exponential { scale, zero, zero_threshold, offset, counts },
        ) => {
            // Senders only ever lower the scale while a sequence lasts; each step merges neighbours.
            let Ok(steps) = u32::try_from(old_scale - scale) else { return Difference::Reset };
            let first = i64::from(*offset);
            let old = old.iter().enumerate().filter(|&(_, &n)| n > 0).map(|(i, &n)| {
                let index = (i64::from(*old_offset) + i as i64) >> steps.min(62);
                (usize::try_from(index - first).unwrap_or(usize::MAX), n)
            });
            let (Some(counts), Some(zero)) = (subtract(counts, old), zero.checked_sub(*old_zero)) else {
                return Difference::Reset;
            };
            Buckets::Exponential { scale: *scale, zero, zero_threshold: *zero_threshold, offset: *offset, counts }
        }
        _ => return Difference::OtherShape,
    };
    let sum = match (now.sum, before.sum) {
        // Rounding in the sender may let it fall by a little.
        (Some(now), Some(before)) => Some((now - before).max(0.0)),
        _ => None,
    };
    let (start_unix_ns, count) = (before.time_unix_ns, now.count - before.count);
    // Extremes are those of the whole sequence: the maximum is one of these values only if it has just risen.
    let peak = now.max.filter(|max| before.max.is_none_or(|before| *max > before));
    Difference::Of(Point { start_unix_ns, count, sum, peak, buckets, ..now.clone() })
}

/// `counts` less `old`; `None` when a bucket would fall below 0 or is gone.
fn subtract(counts: &[u64], old: impl Iterator<Item = (usize, u64)>) -> Option<Vec<u64>> {
    let mut counts = counts.to_vec();
    for (index, n) in old.filter(|&(_, n)| n > 0) {
        let count = counts.get_mut(index)?;
        *count = count.checked_sub(n)?;
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, explicit, exponential};
    use super::*;

    const DAEMON_START: u64 = 1000;

    fn table() -> Cumulative {
        Cumulative::new(4, at(DAEMON_START))
    }

    fn seconds(start: u64, time: u64) -> (u64, u64) {
        (start * 1_000_000_000, time * 1_000_000_000)
    }

    #[test]
    fn what_started_before_the_daemon_is_a_baseline() {
        let mut table = table();
        assert_eq!(table.number(1, seconds(900, 1001), 50, at(1001)), Ok(None));
        assert_eq!(table.number(1, seconds(900, 1002), 57, at(1002)), Ok(Some(7)));
        assert_eq!(table.number(2, seconds(1001, 1002), 5, at(1002)), Ok(Some(5)), "it started after");
        assert_eq!(table.number(3, (0, 7), 5, at(1002)), Ok(None), "no start is told");
    }

    #[test]
    fn a_fall_is_a_reset_and_an_old_point_is_refused() {
        let mut table = table();
        assert_eq!(table.number(1, (0, 10), 100, at(1001)), Ok(None));
        assert_eq!(table.number(1, (0, 20), 30, at(1002)), Ok(Some(30)));
        assert_eq!(table.number(1, (0, 15), 90, at(1003)), Err(Refusal::Old));
        assert_eq!(table.number(1, (0, 20), 30, at(1004)), Ok(Some(0)), "sent again");
        assert_eq!(table.number(1, (0, 30), 31, at(1005)), Ok(Some(1)));
    }

    #[test]
    fn a_full_table_refuses_and_silence_makes_room_without_counting_twice() {
        let mut table = table();
        for key in 0..4 {
            assert_eq!(table.number(key, seconds(1001, 1002), 10, at(1002)), Ok(Some(10)));
        }
        assert_eq!(table.number(9, seconds(1001, 1002), 10, at(1003)), Err(Refusal::StreamsFull(4)));
        let later = 1002 + IDLE_MAX.as_secs();
        assert_eq!(table.number(9, seconds(1001, later), 10, at(later)), Ok(None), "room, but it may be an old one");
        assert_eq!(table.number(0, seconds(1001, later), 25, at(later)), Ok(None), "it is an old one");
        assert_eq!(table.number(5, seconds(1003, later), 3, at(later)), Ok(Some(3)), "this one is new");
        assert_eq!(table.len(), 3);
    }

    fn point(counts: &[u64], sum: f64, time: u64) -> Point {
        let mut point = explicit(&[0.1, 0.2], counts, sum, None);
        (point.start_time_unix_nano, point.time_unix_nano) = seconds(1001, time);
        Point::explicit(&point).unwrap()
    }

    #[test]
    fn histograms_are_subtracted_bucket_by_bucket() {
        let mut table = table();
        let first = point(&[1, 2, 0], 0.5, 1002);
        assert_eq!(table.histogram(1, first.clone(), at(1002)), Ok(Some(first)));
        let increment = table.histogram(1, point(&[1, 5, 1], 1.5, 1003), at(1003)).unwrap().unwrap();
        assert_eq!((increment.count, increment.sum), (4, Some(1.0)));
        assert_eq!(increment.peak, None, "none was told");
        assert_eq!(increment.buckets, Buckets::Explicit { bounds: vec![0.1, 0.2], counts: vec![0, 3, 1] });
        let reset = point(&[2, 0, 0], 0.1, 1004);
        assert_eq!(table.histogram(1, reset.clone(), at(1004)), Ok(Some(reset)));
        let mut other = explicit(&[0.3], &[9, 0], 1.0, None);
        other.time_unix_nano = seconds(0, 1005).1;
        assert_eq!(table.histogram(1, Point::explicit(&other).unwrap(), at(1005)), Ok(None), "other bounds");
    }

    #[test]
    fn a_maximum_that_rose_is_one_of_the_new_values() {
        let with_max = |counts: &[u64], max| Point { max: Some(max), peak: Some(max), ..point(counts, 1.0, 1002) };
        let mut table = table();
        table.histogram(1, with_max(&[0, 1, 0], 0.15), at(1002)).unwrap();
        let rose = table.histogram(1, with_max(&[0, 1, 1], 0.9), at(1003)).unwrap().unwrap();
        assert_eq!(rose.peak, Some(0.9));
        let stayed = table.histogram(1, with_max(&[0, 2, 1], 0.9), at(1004)).unwrap().unwrap();
        assert_eq!((stayed.peak, stayed.max), (None, Some(0.9)));
    }

    fn exponential_point(scale: i32, offset: i32, counts: &[u64], time: u64) -> Point {
        let mut point = exponential(scale, offset, counts, 0, 1.0);
        (point.start_time_unix_nano, point.time_unix_nano) = seconds(1001, time);
        Point::exponential(&point).unwrap()
    }

    #[test]
    fn a_lower_scale_merges_the_old_buckets_first() {
        let mut table = table();
        let first = exponential_point(2, -3, &[1, 2, 3, 4], 1002);
        assert_eq!(table.histogram(1, first, at(1002)).unwrap().map(|p| p.count), Some(10));
        // Indices -3 -2 -1 0 at scale 2 become -2 -1 -1 0 at scale 1: counts 1, 5, 4.
        let increment =
            table.histogram(1, exponential_point(1, -3, &[7, 1, 6, 4, 2], 1003), at(1003)).unwrap().unwrap();
        let Buckets::Exponential { counts, scale: 1, offset: -3, .. } = increment.buckets else {
            panic!("{increment:?}")
        };
        assert_eq!(counts, [7, 0, 1, 0, 2]);
        assert_eq!(increment.count, 10);
        let finer = exponential_point(3, 0, &[30], 1004);
        assert_eq!(table.histogram(1, finer, at(1004)).unwrap().map(|p| p.count), Some(30), "a finer scale is a reset");
    }

    #[test]
    fn a_bucket_that_fell_is_a_reset_even_if_the_count_rose() {
        let mut table = table();
        table.histogram(1, point(&[9, 0, 0], 0.5, 1002), at(1002)).unwrap();
        let next = point(&[0, 10, 0], 1.5, 1003);
        assert_eq!(table.histogram(1, next.clone(), at(1003)), Ok(Some(next)));
    }
}
