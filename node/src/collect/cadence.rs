//! What a collector with a period gives in the seconds in which it does not read.
//!
//! What cannot change each second, and what is dear, is read less often (`period` in the table). Between two readings
//! its levels are given again, as they were read; they are at most a period old. An increment covers all the time since
//! the reading before, so it is given in equal parts over as many seconds from its reading on: a rate has no teeth, the
//! total is exact, and it is late by less than a period. A reading that fails or does not return ends the levels at
//! once; what was counted before it is given all the same.

use std::time::Duration;

use starling_proto::{
    limits::TICK,
    series::{Sample, Series, Value},
};

/// Tables of the kernel fill over seconds, not within one, and their files are not cheap.
pub(super) const TABLES_EVERY: Duration = Duration::from_secs(5);
/// How much before its time a reading may be: cuts are not exactly a second apart.
const EARLY: Duration = Duration::from_millis(500);
/// Most seconds over which an increment is given: the longest period, several times.
const SECONDS_MAX: u64 = 300;

/// See the module.
pub(super) struct Cadence {
    period: Duration,
    /// Since the last reading was begun; `None` before the first.
    since: Option<Duration>,
    /// What the reading that is under way covers.
    covers: u64,
    levels: Vec<Sample>,
    parts: Vec<(Series, u64)>,
    /// Seconds over which the rest of the parts is given.
    left: u64,
}

impl Cadence {
    pub(super) fn new(period: Duration) -> Self {
        Self { period, since: None, covers: 1, levels: Vec::new(), parts: Vec::new(), left: 0 }
    }

    fn each_second(&self) -> bool {
        self.period <= TICK
    }

    /// Time has passed.
    pub(super) fn pass(&mut self, elapsed: Duration) {
        if let Some(since) = &mut self.since {
            *since = since.saturating_add(elapsed);
        }
    }

    /// Whether it reads now.
    pub(super) fn is_due(&self) -> bool {
        self.each_second() || self.since.is_none_or(|since| since.saturating_add(EARLY) >= self.period)
    }

    /// A reading begins.
    pub(super) fn begin(&mut self) {
        let since = self.since.replace(Duration::ZERO);
        self.covers = whole_seconds(since.unwrap_or_default()).min(SECONDS_MAX);
    }

    /// Takes what a reading brought out of `samples`, which are empty afterwards.
    pub(super) fn take(&mut self, samples: &mut Vec<Sample>) {
        self.levels.clear();
        if self.each_second() {
            return self.levels.append(samples);
        }
        for Sample { series, value } in samples.drain(..) {
            match value {
                Value::Counter(increment) => match self.parts.iter_mut().find(|(known, _)| *known == series) {
                    Some((_, part)) => *part = part.saturating_add(increment),
                    None => self.parts.push((series, increment)),
                },
                value => self.levels.push(Sample { series, value }),
            }
        }
        self.left = self.covers;
    }

    /// There is no reading where one was due.
    pub(super) fn forget(&mut self) {
        self.levels.clear();
    }

    /// Gives what belongs to the `elapsed` time, at least a second's; everything that is left when it is the `last`.
    pub(super) fn give(&mut self, elapsed: Duration, last: bool, samples: &mut Vec<Sample>) {
        if self.each_second() {
            return samples.append(&mut self.levels);
        }
        samples.extend(self.levels.iter().cloned());
        if self.left == 0 {
            return;
        }
        let now = if last { self.left } else { whole_seconds(elapsed).min(self.left) };
        for (series, rest) in &mut self.parts {
            // What does not divide goes with the last second.
            let part = if now == self.left { *rest } else { *rest / self.left * now };
            *rest -= part;
            samples.push(Sample { series: series.clone(), value: Value::Counter(part) });
        }
        self.left -= now;
        if self.left == 0 {
            self.parts.clear();
        }
    }
}

/// At least one.
fn whole_seconds(time: Duration) -> u64 {
    time.saturating_add(EARLY).as_secs().max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_proto::catalogue;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn counter(increment: u64) -> Sample {
        Sample { series: Series::of(&catalogue::TCP_OPENED, &[]), value: Value::Counter(increment) }
    }

    fn gauge(value: i64) -> Sample {
        Sample { series: Series::of(&catalogue::UPTIME, &[]), value: Value::Gauge(value) }
    }

    /// One second: whether it read, and what it gave.
    fn second(cadence: &mut Cadence, elapsed: Duration, mut read: Vec<Sample>) -> (bool, Vec<Value>) {
        cadence.pass(elapsed);
        let due = cadence.is_due();
        if due {
            cadence.begin();
            cadence.take(&mut read);
        }
        let mut given = Vec::new();
        cadence.give(elapsed, false, &mut given);
        (due, given.into_iter().map(|sample| sample.value).collect())
    }

    #[test]
    fn levels_are_given_again_and_increments_in_parts() {
        let mut cadence = Cadence::new(Duration::from_secs(3));
        assert_eq!(second(&mut cadence, SECOND, vec![gauge(7)]), (true, vec![Value::Gauge(7)]), "the first reading");
        for _ in 0..2 {
            assert_eq!(second(&mut cadence, SECOND, vec![gauge(8)]), (false, vec![Value::Gauge(7)]));
        }
        let values = |gauge, part| vec![Value::Gauge(gauge), Value::Counter(part)];
        assert_eq!(second(&mut cadence, SECOND, vec![gauge(9), counter(10)]), (true, values(9, 3)));
        assert_eq!(second(&mut cadence, SECOND, vec![]), (false, values(9, 3)));
        assert_eq!(second(&mut cadence, SECOND, vec![]), (false, values(9, 4)));
        cadence.begin();
        cadence.forget();
        assert_eq!(second(&mut cadence, SECOND, vec![]), (false, vec![]), "a reading that failed");
    }

    #[test]
    fn what_is_read_each_second_goes_through() {
        let mut cadence = Cadence::new(SECOND);
        for increment in [3, 0, 5] {
            assert_eq!(second(&mut cadence, SECOND, vec![counter(increment)]), (true, vec![Value::Counter(increment)]));
        }
        cadence.forget();
        let mut given = Vec::new();
        cadence.give(SECOND, false, &mut given);
        assert_eq!(given, []);
    }

    #[test]
    fn a_stop_gives_the_rest() {
        let mut cadence = Cadence::new(Duration::from_secs(10));
        second(&mut cadence, SECOND, vec![]);
        assert_eq!(
            second(&mut cadence, Duration::from_secs(10), vec![counter(95)]).1,
            [Value::Counter(95)],
            "ten at once"
        );
        cadence.pass(Duration::from_secs(10));
        cadence.begin();
        cadence.take(&mut vec![counter(95)]);
        let mut given = Vec::new();
        cadence.give(SECOND, false, &mut given);
        cadence.give(SECOND, true, &mut given);
        assert_eq!(given, [counter(9), counter(86)]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_counts_twice(
            period in 1u64..12,
            seconds in proptest::collection::vec((300u64..3_000, 0u64..1_000), 1..60),
        ) {
            let mut cadence = Cadence::new(Duration::from_secs(period));
            let (mut read, mut given) = (0, Vec::new());
            for (ms, increment) in seconds {
                cadence.pass(Duration::from_millis(ms));
                if cadence.is_due() {
                    cadence.begin();
                    cadence.take(&mut vec![counter(increment)]);
                    read += increment;
                }
                cadence.give(Duration::from_millis(ms), false, &mut given);
            }
            cadence.give(SECOND, true, &mut given);
            let total: u64 = given.iter().map(|sample| match sample.value {
                Value::Counter(part) => part,
                _ => 0,
            }).sum();
            prop_assert_eq!(total, read);
        }
    }
}
