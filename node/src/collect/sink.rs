//! Where collectors put their samples, and the one rule for counters.

use std::sync::Arc;

use starling_proto::{
    catalogue,
    histogram::Histogram,
    limits,
    series::{Sample, Series, Value},
};

/// Last seen value of one counter of the kernel.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Baseline(Option<u64>);

/// What a counter did since its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Seen for the first time: there is nothing to compare with.
    First,
    /// It grew by this much.
    Increment(u64),
    /// It went back, or forward by more than [`limits::COUNTER_INCREMENT_MAX`]: a reset, a wrap or rubbish.
    Broken,
}

impl Baseline {
    /// Takes `now` as the new baseline and says what happened.
    ///
    /// A counter that went back has been reset or has wrapped, and which one cannot be known (a driver reset leaves
    /// a 64-bit counter at 0, `io_ticks` of a disk wraps at 32 bits after 49 busy days). Nothing is guessed: that
    /// tick counts nothing and the next one goes on from the new value.
    pub(super) fn advance(&mut self, now: u64) -> Step {
        match self.0.replace(now) {
            None => Step::First,
            Some(before) => match now.checked_sub(before) {
                Some(increment) if increment <= limits::COUNTER_INCREMENT_MAX => Step::Increment(increment),
                _ => Step::Broken,
            },
        }
    }
}

/// Takes the samples of one collector in one tick.
#[derive(Debug)]
pub(super) struct Sink<'a> {
    samples: &'a mut Vec<Sample>,
    faults: u64,
    left_out: Option<String>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(samples: &'a mut Vec<Sample>) -> Self {
        Self { samples, faults: 0, left_out: None }
    }

    /// A value as it is now, in the fixed point of its series. Values beyond
    /// [`limits::GAUGE_MAGNITUDE_MAX`] are cut to it and count as a fault.
    pub(super) fn gauge(&mut self, series: &Series, value: u64) {
        let value = i64::try_from(value).ok().filter(|value| *value <= limits::GAUGE_MAGNITUDE_MAX);
        self.faults += u64::from(value.is_none());
        self.push(series, Value::Gauge(value.unwrap_or(limits::GAUGE_MAGNITUDE_MAX)));
    }

    /// As [`Sink::gauge`], of a value that may be below 0.
    pub(super) fn signed(&mut self, series: &Series, value: i64) {
        let cut = value.clamp(-limits::GAUGE_MAGNITUDE_MAX, limits::GAUGE_MAGNITUDE_MAX);
        self.faults += u64::from(cut != value);
        self.push(series, Value::Gauge(cut));
    }

    /// Says how many things a collector follows without series of their own.
    pub(super) fn without_detail(&mut self, collector: &str, things: usize) {
        if things > 0 {
            self.gauge(&Series::of(&catalogue::COLLECT_WITHOUT_DETAIL, &[("collector", collector)]), things as u64);
        }
    }

    /// An increment of this tick, cut to [`limits::COUNTER_INCREMENT_MAX`] with a fault.
    pub(super) fn increment(&mut self, series: &Series, increment: u64) {
        self.faults += u64::from(increment > limits::COUNTER_INCREMENT_MAX);
        self.push(series, Value::Counter(increment.min(limits::COUNTER_INCREMENT_MAX)));
    }

    /// Advances a counter of the kernel and gives its increment: `None` the first time, 0 and a fault when it broke.
    pub(super) fn step(&mut self, baseline: &mut Baseline, now: u64) -> Option<u64> {
        match baseline.advance(now) {
            Step::First => None,
            Step::Increment(increment) => Some(increment),
            Step::Broken => {
                self.faults += 1;
                Some(0)
            }
        }
    }

    /// [`Sink::step`] and [`Sink::increment`] in one.
    pub(super) fn counter(&mut self, series: &Series, baseline: &mut Baseline, now: u64) {
        if let Some(increment) = self.step(baseline, now) {
            self.increment(series, increment);
        }
    }

    /// The values of this tick, in the fixed point of their series.
    pub(super) fn histogram(&mut self, series: &Series, histogram: Arc<Histogram>) {
        self.push(series, Value::Histogram(histogram));
    }

    /// One thing of many could not be taken this time, and the others could.
    pub(super) fn fault(&mut self) {
        self.faults += 1;
    }

    /// Something this host has is not among the samples; `what` names it and says why, for people. The first one of a
    /// tick is kept.
    pub(super) fn left_out(&mut self, what: impl FnOnce() -> String) {
        self.faults += 1;
        self.left_out.get_or_insert_with(what);
    }

    /// How many faults there were, and what was left out.
    pub(super) fn end(self) -> (u64, Option<String>) {
        (self.faults, self.left_out)
    }

    fn push(&mut self, series: &Series, value: Value) {
        debug_assert_eq!(series.kind(), value.kind(), "kind of {series}");
        self.samples.push(Sample { series: series.clone(), value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_goes_back_counts_nothing_and_goes_on() {
        let mut baseline = Baseline::default();
        assert_eq!(baseline.advance(100), Step::First);
        assert_eq!(baseline.advance(130), Step::Increment(30));
        assert_eq!(baseline.advance(5), Step::Broken);
        assert_eq!(baseline.advance(7), Step::Increment(2));
        assert_eq!(baseline.advance(u64::MAX), Step::Broken, "nothing moves 2^64 in a tick");
        assert_eq!(baseline.advance(u64::MAX), Step::Increment(0));
    }

    #[test]
    fn huge_values_are_cut_and_counted() {
        let mut samples = Vec::new();
        let mut sink = Sink::new(&mut samples);
        sink.gauge(&Series::of(&catalogue::MEMORY_LIMIT, &[]), u64::MAX);
        sink.increment(&Series::of(&catalogue::TCP_OPENED, &[]), u64::MAX);
        assert_eq!(sink.end(), (2, None));
        assert_eq!(samples[0].value, Value::Gauge(limits::GAUGE_MAGNITUDE_MAX));
        assert_eq!(samples[1].value, Value::Counter(limits::COUNTER_INCREMENT_MAX));
    }

    #[test]
    fn what_is_left_out_is_counted_and_the_first_is_named() {
        let mut samples = Vec::new();
        let mut sink = Sink::new(&mut samples);
        sink.left_out(|| "one".to_owned());
        sink.left_out(|| "two".to_owned());
        assert_eq!(sink.end(), (2, Some("one".to_owned())));
    }
}
