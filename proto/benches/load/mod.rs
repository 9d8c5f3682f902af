//! The load of the benches: one node's frames, and the processor time of a thread.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::sync::Arc;

use starling_proto::{
    catalogue::{Kind, Scope},
    frame::{Content, Encoder},
    histogram::{Histogram, HistogramSum},
    series::{Sample, Series, Value},
    v1,
};

/// Series of a frame.
pub(crate) const SERIES: usize = COUNTERS + GAUGES + HISTOGRAMS;
const COUNTERS: usize = 250;
const GAUGES: usize = 245;
const HISTOGRAMS: usize = 5;
const RECORDINGS: usize = 1_000;
const CHANGED_PERCENT: u64 = 70;
/// Frames of [`frames`]: two blocks.
pub(crate) const SECONDS: u32 = 600;

/// xorshift64*: the same frames in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// About normal with mean 0 and deviation 1: twelve uniform numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| (self.next() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
    }

    fn changes(&mut self) -> bool {
        self.next() >> 32 < (CHANGED_PERCENT << 32) / 100
    }
}

fn series(kind: Kind, number: usize) -> Series {
    let scope = if kind == Kind::Histogram || number.is_multiple_of(2) { Scope::Cluster } else { Scope::Node };
    let name = format!("bench.{}.{number}", kind.as_str());
    Series::application(&name, &[("device", "sda")], kind, "1", 0, scope).expect("a short plain name")
}

/// One histogram.
pub(crate) fn histogram(random: &mut Random) -> Arc<Histogram> {
    let mut sum = HistogramSum::new();
    // A median of 8 ms.
    (0..RECORDINGS).for_each(|_| sum.record((8e6 * (0.5 * random.normal()).exp()) as u64, 1));
    Arc::new(sum.to_histogram())
}

/// The frames of one node, of consecutive seconds that begin with a block.
pub(crate) fn frames() -> Vec<v1::Frame> {
    let mut random = Random(42);
    let mut samples: Vec<Sample> = Vec::new();
    for (kind, count, value) in [
        (Kind::Counter, COUNTERS, Value::Counter(0)),
        (Kind::Gauge, GAUGES, Value::Gauge(0)),
        (Kind::Histogram, HISTOGRAMS, Value::Histogram(Arc::default())),
    ] {
        samples.extend((0..count).map(|n| Sample { series: series(kind, n), value: value.clone() }));
    }
    let mut encoder = Encoder::new();
    (0..SECONDS)
        .map(|second| {
            for sample in &mut samples {
                match &mut sample.value {
                    Value::Counter(value) => *value = if random.changes() { random.next() >> 52 } else { 0 },
                    Value::Gauge(value) if random.changes() => *value += (random.next() >> 52).cast_signed() - 2048,
                    Value::Gauge(_) => {}
                    Value::Histogram(value) => *value = histogram(&mut random),
                }
            }
            encoder.encode(&Content { tick: 1200 + second, samples: samples.clone(), dropped: 0 }, None, false)
        })
        .collect()
}

/// Nanoseconds this thread has run: the first field of schedstat (Linux, Documentation/scheduler/sched-stats.rst).
fn thread_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("schedstat of a Linux kernel")
}

/// The least of seven runs, in microseconds an item. A run repeats the work for 100 ms: the kernel brings the time of a
/// thread up to date with its own tick only.
pub(crate) fn measure(what: &str, items: usize, mut work: impl FnMut()) {
    let run = |work: &mut dyn FnMut()| {
        let (began, mut rounds) = (thread_ns(), 0usize);
        loop {
            work();
            rounds += 1;
            let took = thread_ns() - began;
            if took >= 100_000_000 {
                return took as f64 / 1e3 / (rounds * items) as f64;
            }
        }
    };
    let best = (0..7).map(|_| run(&mut work)).fold(f64::INFINITY, f64::min);
    println!("{what:<50} {best:>9.2} us");
}
