//! Playing out what covers more than a second.
//!
//! A sender with the SDKs' default interval reports the requests of a whole minute at once. Counted in the second in
//! which they arrive they would make a rate that never was, and zeros beside it. So they are played out: the report of
//! an interval is counted over as many seconds as it covers, evenly, in whole numbers that add up to it, beginning with
//! the second after next, or a little later.
//!
//! Each sender has a timeline: its own clock, moved to where its first interval is played. Reports whose intervals
//! follow each other are played one after the other, without a gap and without a second counted twice, however they
//! jitter on the way. A report that comes too late for its place, or would wait for longer than its own interval (the
//! sender reports more often now), begins a new timeline.
//!
//! Time is counted in cuts: the position is the number of seconds cut so far, so that a cut that is late by some
//! milliseconds does not count more.

use std::collections::HashMap;

use starling_proto::{histogram::Histogram, series::Series};

use super::{observation::StreamKey, services::Row, status::Status, traffic::Protocol};

/// One second in nanoseconds.
const SECOND: i64 = 1_000_000_000;
/// What covers no more than this is counted at once: an interval of a second with the jitter of a busy sender.
const AT_ONCE_MAX: i64 = SECOND + SECOND / 2;
/// So is the first report of a sender that covers no more than this: who asks twice within two seconds reports each second,
/// or did once. The reports that follow it are played.
const FIRST_AT_ONCE_MAX: i64 = 2 * SECOND + SECOND / 2;
/// An increment that covers more is taken for one of this length: five of the SDKs' default intervals. What a
/// forwarder held back over an outage of hours must not appear for hours.
const INTERVAL_MAX: i64 = 300 * SECOND;
/// A thirtieth of its interval after the last cut a report begins to be played, in whole seconds from the second number to
/// the third: so much later than the first one on its way, less a second, may the next ones be before their place is past.
const LEAD: (i64, i64, i64) = (30, 2, 3);
/// A report that comes too late for its place by no more than this share of its interval is played in what is left of
/// it: 2 % faster, where beginning later would leave a gap.
const SQUEEZED: i64 = 50;
/// Beyond its own interval a report waits for no longer than this, unless it follows the one before without a gap: the last
/// report of a sender that stops is short and comes early.
const WAIT_MAX: i64 = 2 * SECOND;
/// Intervals that follow each other may differ by as much.
const GAP: i64 = SECOND / 1_000;
/// Intervals at which senders usually report. The first report of one covers a little less, because what it counts began
/// after the sender did: it is played for the whole interval, up to a quarter longer than it covers, so that no gap is
/// left until the next one.
const USUAL: [i64; 6] = [5 * SECOND, 10 * SECOND, 15 * SECOND, 20 * SECOND, 30 * SECOND, 60 * SECOND];
/// What may wait to be played, in bytes: 8 MiB, about 800 histograms over a decade of values. A third of what the daemon
/// may use. When it is full, increments are counted at once, as if they covered a second, and that is counted.
pub(super) const WAITING_BYTES_MAX: usize = 8 << 20;
/// Senders whose first report was counted at once and is remembered; of more, it is played like all others.
const SENDERS_MAX: usize = 1024;
/// Bytes of a part without its buckets: key, part and their place in the table.
const PART_BYTES: usize = 256;
/// Bytes of one bucket in use.
const BUCKET_BYTES: usize = size_of::<u16>() + size_of::<u64>();
/// The golden ratio, which spreads whatever steps by it most evenly.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// The time an increment covers, by the sender's clock. Both 0 when it does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) since_unix_ns: u64,
    pub(super) until_unix_ns: u64,
}

impl Span {
    /// Start, end and length; `None` when it is no interval.
    fn parts(self) -> Option<(i64, i64, i64)> {
        let (since, until) = (i64::try_from(self.since_unix_ns).ok()?, i64::try_from(self.until_unix_ns).ok()?);
        if since == 0 || until <= since {
            return None;
        }
        let length = (until - since).min(INTERVAL_MAX);
        Some((until - length, until, length))
    }

    /// Whole seconds of an interval that is played out; `None` of one that is counted at once.
    pub(super) fn reported_every(self) -> Option<u32> {
        self.parts()?;
        let length = i64::try_from(self.until_unix_ns - self.since_unix_ns).ok()?;
        (length > AT_ONCE_MAX).then(|| u32::try_from((length + SECOND / 2) / SECOND).unwrap_or(u32::MAX))
    }
}

/// Who served requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Served {
    /// One of Starling's own servers.
    Own,
    /// A service of the users, by the row of its route.
    ByService(Row),
}

/// Where an increment is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// Requests with their durations.
    Traffic { served: Served, protocol: Protocol, status: Status },
    /// Requests whose durations are not known, of users' applications.
    Requests { row: Row, protocol: Protocol, status: Status },
    /// A counter of an application, in fixed point of so many digits.
    Counter { series: Series, scale: u8 },
    /// A histogram of an application.
    Histogram { series: Series },
}

/// What is counted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Amount {
    Count(u64),
    Histogram(Histogram),
}

impl Amount {
    fn total(&self) -> u64 {
        match self {
            Self::Count(n) => *n,
            Self::Histogram(histogram) => histogram.count(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Count(_) => 0,
            Self::Histogram(histogram) => histogram.buckets().len() * BUCKET_BYTES,
        }
    }

    /// Takes `n` out.
    fn part(&mut self, n: u64, phase: f64) -> Self {
        match self {
            Self::Count(rest) => {
                *rest = rest.saturating_sub(n);
                Self::Count(n)
            }
            Self::Histogram(whole) => {
                let (part, rest) = whole.part(n, phase);
                *whole = rest;
                Self::Histogram(part)
            }
        }
    }

    /// Adds another one of its kind; gives it back when they do not add up.
    fn add(&mut self, other: Self) -> Result<(), Self> {
        match (self, other) {
            (Self::Count(mine), Self::Count(n)) => match mine.checked_add(n) {
                Some(sum) => {
                    *mine = sum;
                    Ok(())
                }
                None => Err(Self::Count(n)),
            },
            (Self::Histogram(mine), Self::Histogram(histogram)) => match mine.plus(&histogram) {
                Ok(sum) => {
                    *mine = sum;
                    Ok(())
                }
                Err(_) => Err(Self::Histogram(histogram)),
            },
            (_, other) => Err(other),
        }
    }
}

/// The place of an interval, in nanoseconds of cut time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    sender: StreamKey,
    from: i64,
    to: i64,
}

/// One increment that is being played.
#[derive(Debug)]
struct Part {
    total: u64,
    played: u64,
    rest: Amount,
    /// Where within a second its whole numbers fall, 0 to 1: so that parts do not all round up together.
    phase: f64,
    turns: u32,
}

impl Part {
    /// What is due when `elapsed` of `length` are over.
    fn due(&mut self, elapsed: i64, length: i64) -> Amount {
        let due = if elapsed >= length {
            self.total
        } else {
            let (elapsed, length) = (elapsed.max(0) as u128, length.max(1) as u128);
            let rounding = (self.phase * length as f64) as u128;
            // At most the total, because the rounding is less than the length.
            (((u128::from(self.total) * elapsed + rounding) / length) as u64).min(self.total)
        };
        let n = due.saturating_sub(self.played);
        self.played += n;
        self.turns = self.turns.wrapping_add(1);
        self.rest.part(n, (self.phase + GOLDEN * f64::from(self.turns)).fract())
    }
}

/// A sender's clock against the cuts.
#[derive(Debug)]
struct Timeline {
    /// Cut time less the sender's time.
    shift: i64,
    /// Its newest interval, and where that begins to be played.
    since: i64,
    until: i64,
    from: i64,
    /// The end of the interval that was counted at once, with which the timeline began; 0 when there was none.
    at_once: i64,
    /// The cut time after which it holds no longer: all of it is played, and the next report too late.
    ends: i64,
}

/// What is still to be played.
#[derive(Debug)]
pub(super) struct Playout {
    /// Seconds cut so far.
    position: i64,
    senders: HashMap<StreamKey, Timeline>,
    parts: HashMap<(Place, Target), Part>,
    bytes: usize,
    phase: f64,
    /// Increments that found no room.
    unplayed: u64,
}

impl Playout {
    pub(super) fn new() -> Self {
        Self { position: 0, senders: HashMap::new(), parts: HashMap::new(), bytes: 0, phase: 0.5, unplayed: 0 }
    }

    /// About how many bytes wait to be played.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Increments that found no room since the last call.
    pub(super) fn take_unplayed(&mut self) -> u64 {
        std::mem::take(&mut self.unplayed)
    }

    /// The place of what `sender` reports of `span`; `None` when it is to be counted at once.
    pub(super) fn place(&mut self, sender: StreamKey, span: Span) -> Option<Place> {
        let (since, until, length) = span.parts()?;
        let now = self.position * SECOND;
        let whole = USUAL.into_iter().find(|&usual| length <= usual && usual - length <= length / 4).unwrap_or(length);
        let lead = (whole / LEAD.0 / SECOND).clamp(LEAD.1, LEAD.2) * SECOND;
        let fresh = Place { sender, from: now + lead, to: now + lead + whole };
        let Some(line) = self.senders.get(&sender) else {
            if length > AT_ONCE_MAX && length <= FIRST_AT_ONCE_MAX && self.senders.len() < SENDERS_MAX {
                // As if it were played, so that the next one follows it.
                let Place { from, to, .. } = fresh;
                let line = Timeline { shift: to - until, since, until, from, at_once: until, ends: to + length };
                self.senders.insert(sender, line);
                return None;
            }
            return (length > AT_ONCE_MAX).then_some(fresh);
        };
        if until == line.at_once {
            return None;
        }
        let (from, to) = (since.saturating_add(line.shift), until.saturating_add(line.shift));
        if until == line.until && to > now {
            // The rest of a report that is being played already.
            let from = if since == line.since { line.from } else { from };
            return Some(Place { sender, from: from.max(now), to });
        }
        let patience = if since.abs_diff(line.until) <= GAP.unsigned_abs() { INTERVAL_MAX } else { length };
        if (now - length / SQUEEZED..=now + patience + WAIT_MAX).contains(&from) {
            return Some(Place { sender, from: from.max(now), to });
        }
        (length > AT_ONCE_MAX).then_some(fresh)
    }

    /// Plays `amount` out at `place`. Gives it back when there is no room, to be counted at once.
    pub(super) fn put(&mut self, place: Place, span: Span, target: Target, amount: Amount) -> Option<(Target, Amount)> {
        let total = amount.total();
        if total == 0 {
            return None;
        }
        let (key, bytes) = ((place, target), PART_BYTES + amount.bytes());
        let known = self.parts.get_mut(&key);
        // What has begun cannot grow and stay even.
        if known.as_ref().is_some_and(|part| part.played > 0) || self.bytes + bytes > WAITING_BYTES_MAX {
            self.unplayed += 1;
            return Some((key.1, amount));
        }
        if let Some(part) = known {
            let before = part.rest.bytes();
            if let Err(amount) = part.rest.add(amount) {
                return Some((key.1, amount));
            }
            part.total = part.rest.total();
            self.bytes = self.bytes - before + part.rest.bytes();
            return None;
        }
        // A place is only given for what is an interval.
        let Some((since, until, _)) = span.parts() else { return Some((key.1, amount)) };
        self.bytes += bytes;
        self.phase = (self.phase + GOLDEN).fract();
        let ends = place.to + (place.to - place.from) / SQUEEZED;
        let from = place.from;
        let fresh = Timeline { shift: 0, since, until, from, at_once: 0, ends };
        let line = self.senders.entry(place.sender).or_insert(fresh);
        line.shift = place.to.saturating_sub(until);
        if until >= line.until {
            (line.since, line.until, line.from) = (since, until, from);
        }
        line.ends = ends.max(line.ends);
        self.parts.insert(key, Part { total, played: 0, rest: amount, phase: self.phase, turns: 0 });
        None
    }

    /// What is due in the `seconds` that are cut now.
    pub(super) fn cut(&mut self, seconds: u32, mut count: impl FnMut(Target, Amount)) {
        self.position = self.position.saturating_add(seconds.into());
        let now = self.position.saturating_mul(SECOND);
        let Self { senders, parts, bytes, .. } = self;
        senders.retain(|_, line| line.ends >= now);
        parts.retain(|(place, target), part| {
            let before = part.rest.bytes();
            let due = part.due(now - place.from, place.to - place.from);
            if due.total() > 0 {
                count(target.clone(), due);
            }
            let keep = place.to > now;
            *bytes -= before - if keep { part.rest.bytes() } else { 0 };
            if !keep {
                *bytes -= PART_BYTES;
            }
            keep
        });
    }

    /// Everything that is left, at once: the daemon stops.
    pub(super) fn flush(&mut self, mut count: impl FnMut(Target, Amount)) {
        self.senders.clear();
        self.bytes = 0;
        self.parts.drain().for_each(|((_, target), part)| count(target, part.rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use starling_proto::histogram::HistogramSum;

    /// When the sender's clock stands at 0 of the tests.
    const EPOCH: f64 = 1_000_000.0;

    fn ns(seconds: f64) -> u64 {
        ((EPOCH + seconds) * 1e9) as u64
    }

    fn span(since: f64, until: f64) -> Span {
        Span { since_unix_ns: ns(since), until_unix_ns: ns(until) }
    }

    fn requests() -> Target {
        Target::Traffic { served: Served::Own, protocol: Protocol::Http1, status: Status::Ok }
    }

    /// A playout with what it counted by second; what is counted at once is counted in the next second.
    struct Bench {
        playout: Playout,
        at_once: u64,
        seconds: Vec<u64>,
    }

    impl Bench {
        fn new() -> Self {
            Self { playout: Playout::new(), at_once: 0, seconds: Vec::new() }
        }

        fn report(&mut self, sender: StreamKey, since: f64, until: f64, n: u64) {
            let span = span(since, until);
            match self.playout.place(sender, span) {
                Some(place) => {
                    if self.playout.put(place, span, requests(), Amount::Count(n)).is_some() {
                        self.at_once += n;
                    }
                }
                None => self.at_once += n,
            }
        }

        fn cut(&mut self) {
            let mut counted = std::mem::take(&mut self.at_once);
            self.playout.cut(1, |_, amount| counted += amount.total());
            self.seconds.push(counted);
        }

        fn cuts(&mut self, seconds: usize) {
            (0..seconds).for_each(|_| self.cut());
        }

        fn total(&self) -> u64 {
            self.seconds.iter().sum()
        }
    }

    #[test]
    fn a_minute_is_counted_over_the_minute_that_follows() {
        let mut bench = Bench::new();
        bench.cuts(60);
        bench.report(1, 0.0, 60.0, 9_444);
        bench.cuts(63);
        assert_eq!(bench.seconds[60..62], [0, 0], "two seconds for those that come later on their way");
        assert!(bench.seconds[62..122].iter().all(|&n| n == 157 || n == 158), "{:?}", bench.seconds);
        assert_eq!((bench.total(), bench.playout.bytes()), (9_444, 0));
        bench.cuts(2);
        assert!(bench.playout.senders.is_empty());
    }

    #[test]
    fn what_covers_a_second_or_says_nothing_is_counted_at_once() {
        let mut bench = Bench::new();
        bench.report(1, 0.0, 1.3, 5);
        bench.report(2, 7.0, 7.0, 6);
        bench.report(3, 8.0, 7.0, 7);
        let silent = Span { since_unix_ns: 0, until_unix_ns: ns(60.0) };
        assert_eq!(bench.playout.place(4, silent), None);
        assert_eq!((silent.reported_every(), span(0.0, 1.3).reported_every()), (None, None));
        assert_eq!((span(0.0, 59.7).reported_every(), span(0.0, 3_600.0).reported_every()), (Some(60), Some(3_600)));
        bench.cut();
        assert_eq!(bench.seconds, [18]);
    }

    #[test]
    fn a_first_report_of_two_seconds_is_counted_at_once_and_those_after_it_are_played() {
        let mut bench = Bench::new();
        bench.report(1, 0.0, 2.03, 20);
        bench.report(1, 0.0, 2.03, 10);
        bench.cuts(2);
        assert_eq!(bench.seconds, [30, 0]);
        for i in 1..20 {
            let since = f64::from(i) * 2.03;
            bench.report(1, since, since + 2.03, 40);
            bench.cuts(2);
        }
        assert!(bench.seconds[5..40].iter().all(|n| (19..=21).contains(n)), "{:?}", bench.seconds);
        bench.cuts(9);
        assert_eq!((bench.total(), bench.playout.senders.len()), (30 + 19 * 40, 0));
    }

    #[test]
    fn few_are_spread_as_evenly_as_many() {
        let mut bench = Bench::new();
        bench.report(1, 0.0, 60.0, 90);
        bench.report(2, 0.0, 60.0, 90);
        bench.report(3, 0.0, 60.0, 3);
        bench.cuts(62);
        assert!(bench.seconds[2..].iter().all(|&n| (2..=4).contains(&n)), "{:?}", bench.seconds);
        for tens in bench.seconds[2..].chunks(10) {
            assert!((29..=32).contains(&tens.iter().sum::<u64>()), "{:?}", bench.seconds);
        }
        assert_eq!(bench.total(), 183);
    }

    /// Exports every `interval` of a sender that serves 165 requests a second, each with its own delay on the way;
    /// returns the seconds from the first that is played to the last export.
    fn steady(interval: f64, delays: &[f64]) -> Vec<u64> {
        let mut bench = Bench::new();
        let mut exports = delays.iter().enumerate().map(|(i, delay)| {
            let (since, until) = (interval * i as f64 + 0.37, interval * (i + 1) as f64 + 0.37);
            (until + delay, since, until)
        });
        let mut next = exports.next();
        let (mut first, mut last) = (0, 0);
        while let Some((arrival, since, until)) = next {
            while (bench.seconds.len() as f64) + 1.0 <= arrival {
                bench.cut();
            }
            let before = (165.0 * since) as u64;
            bench.report(1, since, until, (165.0 * until) as u64 - before);
            last = bench.seconds.len();
            first = if first == 0 { last + 3 } else { first };
            next = exports.next();
        }
        bench.cuts(100);
        let sent = (165.0 * (interval * delays.len() as f64 + 0.37)) as u64 - (165.0 * 0.37) as u64;
        assert_eq!(bench.total(), sent);
        bench.seconds[first..=last].to_vec()
    }

    #[test]
    fn intervals_follow_each_other_without_gap_or_double_however_they_jitter() {
        for interval in [60.0, 60.013, 10.0, 5.004, 2.6] {
            let delays: Vec<f64> = (0..40).map(|i| 0.02 + f64::from(i * 37 % 40) / 45.0).collect();
            let seconds = steady(interval, &delays);
            assert!(seconds.len() as f64 > interval * 37.0);
            assert!(seconds.iter().all(|n| (164..=166).contains(n)), "{interval}: {seconds:?}");
        }
    }

    #[test]
    fn workers_that_look_alike_do_not_disturb_each_other() {
        let mut bench = Bench::new();
        for second in 0..600u32 {
            let now = f64::from(second);
            // Two processes of one resource, each with 1,000 requests a minute.
            if second >= 60 && second % 60 == 0 {
                bench.report(1, now - 60.1, now - 0.1, 1_000);
            }
            if second >= 90 && second % 60 == 30 {
                bench.report(1, now - 60.2, now - 0.2, 1_000);
            }
            bench.cut();
        }
        assert!(bench.seconds[96..590].iter().all(|n| (32..=35).contains(n)), "{:?}", bench.seconds);
    }

    #[test]
    fn a_sender_that_becomes_faster_is_not_kept_waiting() {
        let mut bench = Bench::new();
        bench.report(1, 0.0, 60.0, 600);
        bench.cut();
        // Restarted, with the same resource and an interval of five seconds.
        bench.report(1, 61.0, 66.0, 500);
        bench.cuts(7);
        assert!(bench.seconds[2..].iter().sum::<u64>() > 500, "{:?}", bench.seconds);
        // And again, with one of a second.
        bench.report(1, 68.0, 69.0, 100);
        bench.cuts(4);
        assert!(bench.seconds[8..].iter().sum::<u64>() >= 100, "{:?}", bench.seconds);
    }

    #[test]
    fn the_last_report_of_a_sender_that_stops_follows_the_one_before() {
        let mut bench = Bench::new();
        bench.report(1, 0.0, 60.0, 600);
        bench.cuts(5);
        bench.report(1, 60.0, 65.0, 50);
        bench.cuts(64);
        assert!(bench.seconds[2..67].iter().all(|&n| n == 10), "{:?}", bench.seconds);
        assert_eq!(bench.total(), 650);
    }

    #[test]
    fn a_first_report_that_is_short_of_its_interval_leaves_no_gap() {
        let mut bench = Bench::new();
        bench.report(1, 5.2, 60.0, 274);
        bench.report(1, 5.2, 60.0, 274);
        bench.cuts(60);
        bench.report(1, 60.0, 120.0, 600);
        bench.cuts(64);
        assert!(bench.seconds[2..62].iter().all(|n| (9..=10).contains(n)), "{:?}", bench.seconds);
        assert!(bench.seconds[62..122].iter().all(|&n| n == 10), "{:?}", bench.seconds);
    }

    #[test]
    fn a_report_that_was_held_back_is_played_after_the_one_before() {
        let mut bench = Bench::new();
        bench.report(1, 0.0, 60.0, 600);
        bench.cuts(60);
        // Two at once: the first of them a minute late.
        bench.cuts(60);
        bench.report(1, 60.0, 120.0, 600);
        bench.report(1, 120.0, 180.0, 600);
        bench.cuts(125);
        assert!(bench.seconds[122..242].iter().all(|&n| n == 10), "{:?}", bench.seconds);
        assert_eq!(bench.total(), 1_800);
        bench.report(1, 0.0, 86_400.0, 3_000);
        bench.cuts(304);
        assert_eq!(bench.seconds.last(), Some(&0), "a day is not played for a day");
        assert_eq!(bench.total(), 4_800);
    }

    #[test]
    fn the_rest_of_a_report_joins_what_is_played() {
        let mut bench = Bench::new();
        bench.report(1, 0.0, 10.0, 100);
        bench.report(1, 0.0, 10.0, 100);
        bench.cuts(4);
        bench.report(1, 0.0, 10.0, 80);
        bench.cuts(8);
        assert_eq!(bench.seconds, [0, 0, 20, 20, 30, 30, 30, 30, 30, 30, 30, 30]);
        assert_eq!(bench.total(), 280);
    }

    fn histogram(values: u64) -> Histogram {
        let mut sum = HistogramSum::new();
        (0..values).for_each(|i| sum.record(1_000 * (i + 1), 1));
        sum.to_histogram()
    }

    #[test]
    fn histograms_are_played_whole_value_by_whole_value() {
        let mut playout = Playout::new();
        let whole = histogram(10_000);
        let span = span(0.0, 60.0);
        let place = playout.place(1, span).unwrap();
        assert_eq!(playout.put(place, span, requests(), Amount::Histogram(whole.clone())), None);
        let mut together = Histogram::empty();
        for second in 0..62 {
            playout.cut(1, |_, amount| {
                let Amount::Histogram(part) = amount else { panic!("a histogram") };
                assert!((166..=167).contains(&part.count()), "{} in second {second}", part.count());
                let (of_part, of_whole) = (part.quantile(0.9).unwrap(), whole.quantile(0.9).unwrap());
                assert!((of_part as f64 / of_whole as f64 - 1.0).abs() < 0.05, "{of_part} for {of_whole}");
                together = together.plus(&part).unwrap();
            });
        }
        assert_eq!((together, playout.bytes()), (whole, 0));
    }

    #[test]
    fn beyond_the_bound_it_is_counted_at_once() {
        let mut playout = Playout::new();
        let (span, amount) = (span(0.0, 60.0), Amount::Histogram(histogram(10_000)));
        let mut back = 0;
        for sender in 0..2_000 {
            let place = playout.place(sender, span).unwrap();
            back += u64::from(playout.put(place, span, requests(), amount.clone()).is_some());
            assert!(playout.bytes() <= WAITING_BYTES_MAX);
        }
        assert!(back > 0 && playout.bytes() > WAITING_BYTES_MAX * 9 / 10);
        assert_eq!((playout.take_unplayed(), playout.take_unplayed()), (back, 0));
        let mut flushed = 0;
        playout.flush(|_, amount| flushed += amount.total());
        assert_eq!((flushed, playout.bytes()), ((2_000 - back) * 10_000, 0));
    }

    proptest! {
        /// Whatever comes when, all of it is counted once.
        #[test]
        fn nothing_is_lost_or_doubled(
            reports in prop::collection::vec((0u8..3, 0.0f64..400.0, 0.0f64..400.0, 0u64..5_000, 0usize..20), 1..60),
            flush: bool,
        ) {
            let (mut bench, mut sent) = (Bench::new(), 0);
            for (sender, until, length, n, cuts) in reports {
                bench.report(sender.into(), until - length, until, n);
                sent += n;
                bench.cuts(cuts);
            }
            if flush {
                let mut rest = 0;
                bench.playout.flush(|_, amount| rest += amount.total());
                bench.at_once += rest;
            }
            bench.cuts(800);
            prop_assert_eq!(bench.total(), sent);
            prop_assert!(bench.playout.senders.is_empty() && bench.playout.parts.is_empty() && bench.playout.bytes() == 0);
        }
    }
}
