//! What the tests of several collectors do alike.

use std::time::Duration;

use starling_proto::series::{Sample, Value};

use super::{Collected, Collector, sink::Sink};

/// Collects once, `seconds` after the last time: what it says, its gauges and increments by series, and its faults.
pub(super) fn collected(collector: &mut dyn Collector, seconds: u64) -> (Collected, Vec<(String, i64)>, u64) {
    let mut samples: Vec<Sample> = Vec::new();
    let mut sink = Sink::new(&mut samples);
    let collected = collector.collect(Duration::from_secs(seconds), &mut sink).unwrap();
    let faults = sink.end().0;
    let values = samples.into_iter().map(|sample| {
        let value = match sample.value {
            Value::Gauge(value) => value,
            Value::Counter(increment) => increment.try_into().unwrap(),
            Value::Histogram(_) => panic!("{} is a histogram", sample.series),
        };
        (sample.series.to_string(), value)
    });
    (collected, values.collect(), faults)
}

/// The same with names of one's own, to compare with.
pub(super) fn named<const N: usize>(values: [(&str, i64); N]) -> Vec<(String, i64)> {
    values.map(|(name, value)| (name.to_owned(), value)).to_vec()
}
