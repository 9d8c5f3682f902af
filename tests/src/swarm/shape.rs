//! What a node of the swarm sends, and its frames, encoded once for many nodes.

use std::sync::Arc;

use bytes::Bytes;
use rand::{Rng, RngExt as _, SeedableRng as _, rngs::StdRng};
use starling_proto::{
    catalogue::{self, Kind, PROTOCOLS, Scope},
    frame::{Content, Encoder},
    histogram::HistogramSum,
    series::{Sample, Series, Value},
    v1,
};

/// The sizes of a node.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Series in a frame, at least 30.
    pub series: usize,
    /// Values in each of the five histograms, per second.
    pub recordings: usize,
    /// Share of the counters and gauges that change in a second.
    pub change: f64,
    /// Share of the application's series that are of cluster scope.
    pub cluster: f64,
    /// Seconds after which the contents repeat.
    pub period: usize,
}

impl Shape {
    /// The load of the issue: half counters, five histograms, the rest gauges; 70 % change in a second, half of the
    /// application's series are merged over the cluster.
    #[must_use]
    pub const fn of(series: usize) -> Self {
        Self { series, recordings: 1_000, change: 0.7, cluster: 0.5, period: 30 }
    }

    /// `count` templates that differ in their values. The same `seed` gives the same bytes.
    #[must_use]
    pub fn templates(&self, count: usize, seed: u64) -> Vec<Arc<Template>> {
        self.periods(count, seed).iter().map(|seconds| Arc::new(Template::of(seconds))).collect()
    }

    /// What the templates of the same arguments hold: of each the seconds of its period.
    #[must_use]
    pub fn periods(&self, count: usize, seed: u64) -> Vec<Vec<Content>> {
        let series = self.list();
        let mut random = StdRng::seed_from_u64(seed);
        (0..count).map(|_| self.contents(&series, &mut random)).collect()
    }

    fn list(&self) -> Vec<Series> {
        let mut all: Vec<Series> = [
            &catalogue::CPU_UTILIZATION,
            &catalogue::LOAD_1M,
            &catalogue::MEMORY_LIMIT,
            &catalogue::MEMORY_AVAILABLE,
            &catalogue::CPU_COUNT,
        ]
        .map(|metric| Series::of(metric, &[]))
        .into();
        let modes = ["user", "system", "nice", "iowait", "irq", "softirq", "steal", "idle"];
        all.extend(modes.map(|mode| Series::of(&catalogue::CPU_TIME, &[("cpu.mode", mode)])));
        for metric in [&catalogue::REQUESTS, &catalogue::ERRORS, &catalogue::DURATION] {
            all.extend(PROTOCOLS.map(|protocol| Series::of(metric, &[("protocol", protocol)])));
        }
        let counters = self.series / 2 - all.iter().filter(|series| series.kind() == Kind::Counter).count();
        for i in 0..self.series - all.len() {
            let (kind, name) = if i < counters { (Kind::Counter, "events") } else { (Kind::Gauge, "level") };
            let (name, device) = (format!("app.{name}.metric_{}", i % 8), format!("dev{}", i / 8));
            // 997 is prime to 100: neighbours differ in scope.
            let scope = if ((i * 997 % 100) as f64) < self.cluster * 100.0 { Scope::Cluster } else { Scope::Node };
            let attributes = [("device", device.as_str()), ("job", "worker")];
            all.push(Series::application(&name, &attributes, kind, "1", 2, scope).expect("a short name"));
        }
        all
    }

    fn contents(&self, series: &[Series], random: &mut StdRng) -> Vec<Content> {
        let mut levels: Vec<i64> = series.iter().map(|_| random.random_range(0..1_000_000)).collect();
        (0..self.period)
            .map(|second| {
                let samples = series.iter().zip(&mut levels).map(|(series, level)| {
                    let moves = random.random_bool(self.change);
                    let value = match series.kind() {
                        // 2 in 1,000 requests fail: an ordinary node, of which no default rule fires.
                        Kind::Counter if series.is(&catalogue::ERRORS) => Value::Counter(random.random_range(0..3)),
                        Kind::Counter => Value::Counter(if moves { random.random_range(1..1_000) } else { 0 }),
                        Kind::Gauge => {
                            // Below the size of a share in fixed point, whatever the gauge is.
                            let step = if moves { random.random_range(-100..=100) } else { 0 };
                            *level = (*level + step).rem_euclid(10_000);
                            Value::Gauge(*level)
                        }
                        Kind::Histogram => Value::Histogram(Arc::new(self.latencies(random).to_histogram())),
                    };
                    Sample { series: series.clone(), value }
                });
                Content { tick: second as u32, samples: samples.collect(), dropped: 0 }
            })
            .collect()
    }

    /// Log-normal around 8 ms: the sum of twelve uniform numbers is near enough to a normal one.
    fn latencies(&self, random: &mut impl Rng) -> HistogramSum {
        let mut sum = HistogramSum::new();
        for _ in 0..self.recordings {
            let normal = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
            sum.record((8e6 * (0.5 * normal).exp()) as u64, 1);
        }
        sum
    }
}

/// The two parts of a frame.
#[derive(Debug, Clone)]
struct Parts {
    keyframe: bool,
    rollup: Bytes,
    node: Bytes,
}

/// A period of seconds in the three forms in which a connection can need one of them.
#[derive(Debug)]
pub struct Template {
    /// As the first frame of a connection: with every name.
    first: Vec<Parts>,
    /// After the second before it.
    next: Vec<Parts>,
    /// After any other second: every value, no names.
    whole: Vec<Parts>,
}

impl Template {
    /// Encodes `contents`, the seconds of a period, all with the same series.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn of(contents: &[Content]) -> Self {
        let parts = |frame: v1::Frame| Parts { keyframe: frame.keyframe, rollup: frame.rollup, node: frame.node };
        let n = contents.len();
        assert!(n > 0, "a template has at least one second");
        let (mut first, mut next, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for second in 0..n {
            first.push(parts(Encoder::new().encode(&contents[second], None, false)));
            let mut encoder = Encoder::new();
            encoder.encode(&contents[(second + n - 1) % n], None, false);
            next.push(parts(encoder.encode(&contents[second], None, false)));
            whole.push(parts(encoder.encode(&contents[second], None, true)));
        }
        Self { first, next, whole }
    }

    /// The frame of `tick` as number `sequence` on a connection whose last frame was of `last_tick`. The content of a
    /// second is the same however it is encoded.
    pub(super) fn frame(&self, tick: u32, sequence: u32, last_tick: u32, pin: &Bytes) -> v1::Frame {
        let form = match sequence {
            1 => &self.first,
            _ if last_tick + 1 == tick => &self.next,
            _ => &self.whole,
        };
        let Parts { keyframe, rollup, node } = form[tick as usize % form.len()].clone();
        v1::Frame { tick, sequence, pin: pin.clone(), keyframe, rollup, node, dropped: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_what_the_issue_says() {
        let list = Shape::of(500).list();
        let count = |kind| list.iter().filter(|series| series.kind() == kind).count();
        assert_eq!((count(Kind::Counter), count(Kind::Gauge), count(Kind::Histogram)), (250, 245, 5));
    }
}
