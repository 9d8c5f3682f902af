//! From running totals to increments.
//!
//! A sequence of cumulative points is known by its origin, metric, attributes and start. Its first point counts in
//! full when nothing of it can have been counted before:
//! - the sequence started after the daemon did, or
//! - its family, which is all but the attributes, was already seen in an earlier export, without it: then its
//!   attributes are new, although the SDK gives them the start of the process.
//!
//! Otherwise it is only a baseline, and what happened before it stays uncounted. So is one whose start is the time of the
//! point itself: that is how a forwarder says that it does not know when the sequence began (OpenTelemetry metrics data
//! model, "Cumulative streams: handling unknown start time"). A total that falls is a reset: the new total counts.
//!
//! An increment covers the time since the point before; the first one of a sequence that is new, since its start, but not
//! since before the export before.
//!
//! The table is bounded. When it is full, new sequences are refused; sequences that were silent for a while are
//! forgotten. One that comes back later than that must not count in full a second time, so from then on only
//! sequences that started after the last point of the forgotten one do, and none by its family. Neither does any of a
//! family of which a sequence was refused, because it may be that one.

use std::{collections::HashMap, time::Duration};

use super::{
    fixed::Fixed,
    observation::{Identity, Moment, StreamKey},
    point::{Buckets, Point},
    refusal::Refusal,
};

/// A sequence that is silent for this long is forgotten: fifteen intervals of the SDKs' default of a minute.
const IDLE_MAX: Duration = Duration::from_secs(900);

/// Points of a family that come this long after its first are of a later export; by the sender's clock and by ours.
/// Half the shortest interval that is usual, of a second: an export that is split arrives as one.
const NEXT_EXPORT_MIN: Duration = Duration::from_millis(500);

/// What one sequence had reached.
#[derive(Debug)]
enum Total {
    Number(Fixed),
    Histogram(Point),
}

/// What was added to a number, and since when, by the sender's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Increment {
    pub(super) number: Fixed,
    pub(super) since_unix_ns: u64,
}

#[derive(Debug)]
struct Sequence {
    total: Total,
    time_unix_ns: u64,
    seen: Moment,
    family: StreamKey,
}

/// All sequences of one origin, metric and start.
#[derive(Debug)]
struct Family {
    /// When its first point came, by the sender's clock and by ours.
    first_unix_ns: u64,
    first: Duration,
    /// The times its newest export and the one before carry.
    newest_unix_ns: u64,
    before_unix_ns: u64,
    /// When its newest came, by ours.
    seen: Duration,
    /// One of its sequences was refused or forgotten: a new one may be that one.
    doubtful: bool,
}

impl Family {
    /// True when a sequence that comes now for the first time was not there in the first export.
    fn adds(&self, time_unix_ns: u64, now: Moment) -> bool {
        let reported = Duration::from_nanos(time_unix_ns.saturating_sub(self.first_unix_ns));
        !self.doubtful && reported.min(now.monotonic.saturating_sub(self.first)) >= NEXT_EXPORT_MIN
    }

    /// Notes a point of the export at `time_unix_ns`.
    fn note(&mut self, time_unix_ns: u64, now: Moment) {
        self.seen = now.monotonic;
        if time_unix_ns > self.newest_unix_ns {
            self.before_unix_ns = self.newest_unix_ns;
            self.newest_unix_ns = time_unix_ns;
        }
    }
}

/// The last value of every cumulative sequence.
#[derive(Debug)]
pub(super) struct Cumulative {
    sequences: HashMap<StreamKey, Sequence>,
    families: HashMap<StreamKey, Family>,
    most: usize,
    /// When a family last found no room.
    crowded: Option<Duration>,
    /// Only sequences that started after this count in full at once.
    new_after_unix_ns: u64,
}

impl Cumulative {
    pub(super) fn new(most: usize, started: Moment) -> Self {
        Self {
            sequences: HashMap::new(),
            families: HashMap::new(),
            crowded: None,
            most,
            new_after_unix_ns: started.unix_ns,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sequences.len()
    }

    /// The increment of a total that never falls; `None` for a baseline.
    pub(super) fn number(&mut self, id: Identity, total: Fixed, now: Moment) -> Result<Option<Increment>, Refusal> {
        let (before, since_unix_ns) = match self.replace(id, Total::Number(total), now)? {
            Before::Total(Total::Number(before), since) => (before, since),
            Before::Nothing { since_unix_ns } => (Fixed::ZERO, since_unix_ns),
            Before::Total(Total::Histogram(_), _) | Before::Unknown => return Ok(None),
        };
        // One that fell began again from 0.
        let number = total.less(before).filter(|number| number.value >= 0).unwrap_or(total);
        Ok(Some(Increment { number, since_unix_ns }))
    }

    /// The increment of a histogram, with the time it covers; `None` for a baseline.
    pub(super) fn histogram(&mut self, id: Identity, point: Point, now: Moment) -> Result<Option<Point>, Refusal> {
        match self.replace(id, Total::Histogram(point.clone()), now)? {
            Before::Total(Total::Histogram(before), start_unix_ns) => Ok(match difference(&before, &point) {
                Difference::Of(increment) => Some(increment),
                Difference::Reset => Some(Point { start_unix_ns, ..point }),
                Difference::OtherShape => None,
            }),
            Before::Nothing { since_unix_ns } => Ok(Some(Point { start_unix_ns: since_unix_ns, ..point })),
            Before::Total(Total::Number(_), _) | Before::Unknown => Ok(None),
        }
    }

    /// Notes that a point was refused before it came here, so that its sequence is not taken for a new one when it
    /// comes again.
    pub(super) fn missed(&mut self, id: Identity, now: Moment) {
        if id.start_unix_ns == 0 || self.sequences.contains_key(&id.key) {
            return;
        }
        if let Some(family) = self.family(id, now) {
            family.doubtful = true;
        }
    }

    /// Forgets what was silent for long.
    pub(super) fn sweep(&mut self, now: Moment) {
        let Self { sequences, families, new_after_unix_ns: new_after, .. } = self;
        sequences.retain(|_, sequence| {
            let keep = now.monotonic.saturating_sub(sequence.seen.monotonic) < IDLE_MAX;
            if !keep {
                *new_after = (*new_after).max(sequence.seen.unix_ns);
                if let Some(family) = families.get_mut(&sequence.family) {
                    family.doubtful = true;
                }
            }
            keep
        });
        families.retain(|_, family| now.monotonic.saturating_sub(family.seen) < IDLE_MAX);
    }

    /// True when a sequence that comes for the first time is known to have begun after everything that was counted.
    fn is_new(&self, id: Identity) -> bool {
        id.start_unix_ns > self.new_after_unix_ns && id.start_unix_ns != id.time_unix_ns
    }

    /// The family of a point that has come now. `None` when there are too many: one per sequence, and as many of
    /// which every point was refused.
    fn family(&mut self, id: Identity, now: Moment) -> Option<&mut Family> {
        if !self.families.contains_key(&id.family) && self.families.len() >= 2 * self.most {
            self.sweep(now);
            if self.families.len() >= 2 * self.most {
                self.crowded = Some(now.monotonic);
                return None;
            }
        }
        let first = Family {
            first_unix_ns: id.time_unix_ns,
            first: now.monotonic,
            newest_unix_ns: id.time_unix_ns,
            before_unix_ns: 0,
            seen: now.monotonic,
            // What was refused while there was no room was not noted.
            doubtful: self.crowded.is_some_and(|at| now.monotonic.saturating_sub(at) < IDLE_MAX),
        };
        let family = self.families.entry(id.family).or_insert(first);
        family.note(id.time_unix_ns, now);
        Some(family)
    }

    /// Notes the newest total and returns the one before.
    fn replace(&mut self, id: Identity, total: Total, now: Moment) -> Result<Before, Refusal> {
        let is_known = self.sequences.contains_key(&id.key);
        if !is_known && self.sequences.len() >= self.most {
            self.sweep(now);
            if self.sequences.len() >= self.most {
                self.missed(id, now);
                return Err(Refusal::StreamsFull(self.most));
            }
        }
        if let Some(known) = self.sequences.get_mut(&id.key)
            && id.time_unix_ns < known.time_unix_ns
        {
            known.seen = now;
            return Err(Refusal::Old);
        }
        let is_new = self.is_new(id);
        let (mut adds, mut export_before) = (false, 0);
        if id.start_unix_ns > 0
            && let Some(family) = self.family(id, now)
        {
            adds = !is_known && family.adds(id.time_unix_ns, now);
            export_before = family.before_unix_ns;
        }
        let sequence = Sequence { total, time_unix_ns: id.time_unix_ns, seen: now, family: id.family };
        Ok(match self.sequences.insert(id.key, sequence) {
            Some(before) => Before::Total(before.total, before.time_unix_ns),
            None if is_new || adds => Before::Nothing { since_unix_ns: id.start_unix_ns.max(export_before) },
            None => Before::Unknown,
        })
    }
}

/// What was counted of a sequence before a point.
enum Before {
    /// All of it up to this total, which it had at this time.
    Total(Total, u64),
    /// Nothing, because it is new. It can have begun no earlier than this.
    Nothing { since_unix_ns: u64 },
    /// Not known: the sequence began before the first point that was received.
    Unknown,
}

enum Difference {
    Of(Point),
    /// A count fell.
    Reset,
    /// The bounds changed: nothing can be said about the time between.
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
            Buckets::Exponential {
                scale: old_scale,
                zero: old_zero,
                offset: old_offset,
                counts: old,
                zero_threshold: old_threshold,
            },
            Buckets::Exponential { scale, zero, zero_threshold, offset, counts },
        ) => {
            // Senders only ever lower the scale while a sequence lasts; each step merges neighbours.
            let Ok(steps) = u32::try_from(old_scale - scale) else { return Difference::Reset };
            let first = i64::from(*offset);
            // Those below a threshold that was raised have moved into the zero bucket.
            let width = f64::from(-*old_scale).exp2();
            let is_zero_now =
                |index: i64| zero_threshold > old_threshold && ((index + 1) as f64 * width).exp2() <= *zero_threshold;
            let mut moved = *old_zero;
            let mut stayed = Vec::with_capacity(old.len());
            for (index, &n) in (i64::from(*old_offset)..).zip(old).filter(|&(_, &n)| n > 0) {
                if is_zero_now(index) {
                    moved = moved.saturating_add(n);
                } else {
                    stayed.push((usize::try_from((index >> steps.min(62)) - first).unwrap_or(usize::MAX), n));
                }
            }
            let (Some(counts), Some(zero)) = (subtract(counts, stayed.into_iter()), zero.checked_sub(moved)) else {
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
    use super::super::otlp::testing::{at, decoded_explicit, decoded_exponential, explicit, exponential};
    use super::*;

    const DAEMON_START: u64 = 1000;

    impl Cumulative {
        /// The increment of a whole number, without the time it covers.
        fn whole(&mut self, id: Identity, total: i64, now: Moment) -> Result<Option<i64>, Refusal> {
            let increment = self.number(id, Fixed { value: total, scale: 0 }, now)?;
            Ok(increment.map(|increment| increment.number.value))
        }
    }

    fn table() -> Cumulative {
        Cumulative::new(4, at(DAEMON_START))
    }

    /// The point of `key` at `time`; each key is a family of its own.
    fn id(key: StreamKey, (start, time): (u64, u64)) -> Identity {
        let (start_unix_ns, time_unix_ns) = (start * 1_000_000_000, time * 1_000_000_000);
        Identity { key, family: key, sender: key, start_unix_ns, time_unix_ns }
    }

    /// The same, of one family.
    fn sibling(key: StreamKey, times: (u64, u64)) -> Identity {
        Identity { family: 77, ..id(key, times) }
    }

    #[test]
    fn attributes_that_are_new_in_a_later_export_count_in_full() {
        let mut table = table();
        assert_eq!(table.whole(sibling(1, (900, 1010)), 50, at(1010)), Ok(None));
        assert_eq!(table.whole(sibling(2, (900, 1010)), 70, at(1010)), Ok(None), "the same export");
        assert_eq!(table.whole(sibling(2, (900, 1010)), 70, at(1020)), Ok(Some(0)), "sent again, late");
        assert_eq!(table.whole(sibling(3, (900, 1020)), 3, at(1020)), Ok(Some(3)), "it was not there before");
        assert_eq!(table.whole(sibling(3, (900, 1030)), 5, at(1030)), Ok(Some(2)));
        assert_eq!(table.whole(id(4, (900, 1030)), 9, at(1030)), Ok(None), "another family");
    }

    #[test]
    fn a_point_of_the_first_export_that_arrives_late_is_a_baseline() {
        let mut table = table();
        assert_eq!(table.whole(sibling(1, (900, 1010)), 50, at(1010)), Ok(None));
        assert_eq!(table.whole(sibling(2, (900, 1010)), 70, at(1015)), Ok(None), "it carries the time of the first");
        assert_eq!(table.whole(sibling(3, (900, 1015)), 70, at(1010)), Ok(None), "it came with the first");
    }

    #[test]
    fn without_a_start_senders_cannot_be_distinguished() {
        let mut table = table();
        assert_eq!(table.whole(sibling(1, (0, 1010)), 50, at(1010)), Ok(None));
        assert_eq!(table.whole(sibling(2, (0, 1020)), 70, at(1020)), Ok(None));
    }

    #[test]
    fn what_was_refused_or_forgotten_is_not_new_when_it_comes_again() {
        let mut table = table();
        assert_eq!(table.whole(sibling(1, (900, 1010)), 50, at(1010)), Ok(None));
        table.missed(sibling(2, (900, 1010)), at(1010));
        assert_eq!(table.whole(sibling(2, (900, 1020)), 70, at(1020)), Ok(None), "refused before");

        let mut full = Cumulative::new(1, at(DAEMON_START));
        assert_eq!(full.whole(sibling(1, (900, 1010)), 50, at(1010)), Ok(None));
        assert_eq!(full.whole(sibling(2, (900, 1010)), 70, at(1010)), Err(Refusal::StreamsFull(1)));
        full.sequences.clear();
        assert_eq!(full.whole(sibling(2, (900, 1020)), 70, at(1020)), Ok(None), "there was no room before");

        let mut table = self::table();
        for time in [1010, 1010 + IDLE_MAX.as_secs()] {
            assert!(table.whole(sibling(1, (900, time)), 50, at(time)).is_ok());
        }
        assert_eq!(table.whole(sibling(2, (900, 1011)), 70, at(1011)), Ok(Some(70)));
        let later = 1011 + IDLE_MAX.as_secs();
        table.sweep(at(later));
        assert_eq!(table.whole(sibling(2, (900, later)), 90, at(later)), Ok(None), "forgotten");
    }

    #[test]
    fn families_are_bounded_and_forgotten() {
        let mut table = table();
        (0..100).for_each(|key| table.missed(id(key, (900, 1010)), at(1010)));
        assert_eq!(table.families.len(), 8);
        table.sweep(at(1010 + IDLE_MAX.as_secs()));
        assert!(table.families.is_empty());
        table.crowded = Some(Duration::from_secs(2000));
        assert_eq!(table.whole(sibling(1, (900, 2010)), 50, at(2010)), Ok(None));
        assert_eq!(table.whole(sibling(2, (900, 2020)), 70, at(2020)), Ok(None), "it may have been refused unnoted");
    }

    #[test]
    fn what_started_before_the_daemon_is_a_baseline() {
        let mut table = table();
        assert_eq!(table.whole(id(1, (900, 1001)), 50, at(1001)), Ok(None));
        assert_eq!(table.whole(id(1, (900, 1002)), 57, at(1002)), Ok(Some(7)));
        assert_eq!(table.whole(id(2, (1001, 1002)), 5, at(1002)), Ok(Some(5)), "it started after");
        assert_eq!(table.whole(id(3, (0, 7)), 5, at(1002)), Ok(None), "no start is stated");
    }

    #[test]
    fn a_fall_is_a_reset_and_an_old_point_is_refused() {
        let mut table = table();
        assert_eq!(table.whole(id(1, (0, 10)), 100, at(1001)), Ok(None));
        assert_eq!(table.whole(id(1, (0, 20)), 30, at(1002)), Ok(Some(30)));
        assert_eq!(table.whole(id(1, (0, 15)), 90, at(1003)), Err(Refusal::Old));
        assert_eq!(table.whole(id(1, (0, 20)), 30, at(1004)), Ok(Some(0)), "sent again");
        assert_eq!(table.whole(id(1, (0, 30)), 31, at(1005)), Ok(Some(1)));
    }

    #[test]
    fn a_full_table_refuses_and_silence_makes_room_without_counting_twice() {
        let mut table = table();
        for key in 0..4 {
            assert_eq!(table.whole(id(key, (1001, 1002)), 10, at(1002)), Ok(Some(10)));
        }
        assert_eq!(table.whole(id(9, (1001, 1002)), 10, at(1003)), Err(Refusal::StreamsFull(4)));
        let later = 1002 + IDLE_MAX.as_secs();
        assert_eq!(table.whole(id(9, (1001, later)), 10, at(later)), Ok(None), "room, but it may be an old one");
        assert_eq!(table.whole(id(0, (1001, later)), 25, at(later)), Ok(None), "it is an old one");
        assert_eq!(table.whole(id(5, (1003, later)), 3, at(later)), Ok(Some(3)), "this one is new");
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn a_start_that_is_the_time_itself_is_unknown() {
        let mut table = table();
        assert_eq!(table.whole(id(1, (1010, 1010)), 50_000, at(1010)), Ok(None));
        assert_eq!(table.whole(id(1, (1010, 1070)), 50_010, at(1070)), Ok(Some(10)));
        assert_eq!(table.whole(id(1, (1100, 1100)), 7, at(1100)), Ok(Some(7)), "it fell: a reset is seen all the same");
    }

    #[test]
    fn an_increment_says_since_when() {
        let mut table = table();
        let mut since = |id, total, now| {
            let increment = table.number(id, Fixed { value: total, scale: 0 }, at(now)).unwrap();
            increment.map(|increment| increment.since_unix_ns / 1_000_000_000)
        };
        assert_eq!(since(sibling(1, (1001, 1060)), 50, 1060), Some(1001));
        assert_eq!(since(sibling(1, (1001, 1120)), 60, 1120), Some(1060));
        assert_eq!(since(sibling(2, (1001, 1120)), 60, 1120), Some(1060), "it was not there in the export before");
        assert_eq!(since(sibling(1, (1001, 1180)), 3, 1180), Some(1120), "a reset");
    }

    #[test]
    fn numbers_of_other_digits_are_the_same_sequence() {
        let mut table = table();
        let of = |value, scale| Fixed { value, scale };
        let mut number = |total, time| {
            table.number(id(1, (900, time)), total, at(time)).map(|found| found.map(|increment| increment.number))
        };
        assert_eq!(number(of(100, 0), 1010), Ok(None));
        assert_eq!(number(of(100_500_000, 6), 1020), Ok(Some(of(500_000, 6))));
        assert_eq!(number(of(103, 0), 1030), Ok(Some(of(2_500_000, 6))));
    }

    #[test]
    fn a_zero_threshold_that_was_raised_is_no_reset() {
        let with = |zero: u64, threshold: f64, offset: i32, counts: &[u64], time: u64| {
            let mut point = exponential(0, offset, counts, zero, 7.0);
            (point.start_time_unix_nano, point.time_unix_nano) = (1001 * 1_000_000_000, time * 1_000_000_000);
            point.zero_threshold = threshold;
            decoded_exponential(&point).unwrap()
        };
        let mut table = table();
        histogram(&mut table, with(0, 0.0, -1, &[10], 1002), at(1002)).unwrap();
        let increment = histogram(&mut table, with(10, 1.0, 0, &[5], 1003), at(1003)).unwrap().unwrap();
        assert_eq!(increment.count, 5);
        let Buckets::Exponential { zero: 0, counts, .. } = increment.buckets else { panic!("{increment:?}") };
        assert_eq!(counts, [5]);
    }

    fn point(counts: &[u64], sum: f64, time: u64) -> Point {
        let mut point = explicit(&[0.1, 0.2], counts, sum, None);
        (point.start_time_unix_nano, point.time_unix_nano) = (1001 * 1_000_000_000, time * 1_000_000_000);
        decoded_explicit(&point).unwrap()
    }

    /// Takes a point of the sequence 1.
    fn histogram(table: &mut Cumulative, point: Point, now: Moment) -> Result<Option<Point>, Refusal> {
        let (start_unix_ns, time_unix_ns) = (point.start_unix_ns, point.time_unix_ns);
        table.histogram(Identity { key: 1, family: 1, sender: 1, start_unix_ns, time_unix_ns }, point, now)
    }

    #[test]
    fn histograms_are_subtracted_bucket_by_bucket() {
        let mut table = table();
        let first = point(&[1, 2, 0], 0.5, 1002);
        assert_eq!(histogram(&mut table, first.clone(), at(1002)), Ok(Some(first)));
        let increment = histogram(&mut table, point(&[1, 5, 1], 1.5, 1003), at(1003)).unwrap().unwrap();
        assert_eq!((increment.count, increment.sum), (4, Some(1.0)));
        assert_eq!(increment.peak, None, "none was stated");
        assert_eq!(increment.buckets, Buckets::Explicit { bounds: vec![0.1, 0.2], counts: vec![0, 3, 1] });
        let reset = point(&[2, 0, 0], 0.1, 1004);
        let since = Point { start_unix_ns: 1003 * 1_000_000_000, ..reset.clone() };
        assert_eq!(histogram(&mut table, reset, at(1004)), Ok(Some(since)));
        let mut other = explicit(&[0.3], &[9, 0], 1.0, None);
        other.time_unix_nano = 1005 * 1_000_000_000;
        assert_eq!(histogram(&mut table, decoded_explicit(&other).unwrap(), at(1005)), Ok(None), "other bounds");
    }

    #[test]
    fn a_maximum_that_rose_is_one_of_the_new_values() {
        let with_max = |counts: &[u64], max| Point { max: Some(max), peak: Some(max), ..point(counts, 1.0, 1002) };
        let mut table = table();
        histogram(&mut table, with_max(&[0, 1, 0], 0.15), at(1002)).unwrap();
        let rose = histogram(&mut table, with_max(&[0, 1, 1], 0.9), at(1003)).unwrap().unwrap();
        assert_eq!(rose.peak, Some(0.9));
        let stayed = histogram(&mut table, with_max(&[0, 2, 1], 0.9), at(1004)).unwrap().unwrap();
        assert_eq!((stayed.peak, stayed.max), (None, Some(0.9)));
    }

    fn exponential_point(scale: i32, offset: i32, counts: &[u64], time: u64) -> Point {
        let mut point = exponential(scale, offset, counts, 0, 1.0);
        (point.start_time_unix_nano, point.time_unix_nano) = (1001 * 1_000_000_000, time * 1_000_000_000);
        decoded_exponential(&point).unwrap()
    }

    #[test]
    fn a_lower_scale_merges_the_old_buckets_first() {
        let mut table = table();
        let first = exponential_point(2, -3, &[1, 2, 3, 4], 1002);
        assert_eq!(histogram(&mut table, first, at(1002)).unwrap().map(|p| p.count), Some(10));
        // Indices -3 -2 -1 0 at scale 2 become -2 -1 -1 0 at scale 1: counts 1, 5, 4.
        let increment =
            histogram(&mut table, exponential_point(1, -3, &[7, 1, 6, 4, 2], 1003), at(1003)).unwrap().unwrap();
        let Buckets::Exponential { counts, scale: 1, offset: -3, .. } = increment.buckets else {
            panic!("{increment:?}")
        };
        assert_eq!(counts, [7, 0, 1, 0, 2]);
        assert_eq!(increment.count, 10);
        let finer = exponential_point(3, 0, &[30], 1004);
        assert_eq!(
            histogram(&mut table, finer, at(1004)).unwrap().map(|p| p.count),
            Some(30),
            "a finer scale is a reset"
        );
    }

    #[test]
    fn a_bucket_that_fell_is_a_reset_even_if_the_count_rose() {
        let mut table = table();
        histogram(&mut table, point(&[9, 0, 0], 0.5, 1002), at(1002)).unwrap();
        let next = point(&[0, 10, 0], 1.5, 1003);
        let since = Point { start_unix_ns: 1002 * 1_000_000_000, ..next.clone() };
        assert_eq!(histogram(&mut table, next, at(1003)), Ok(Some(since)));
    }
}
