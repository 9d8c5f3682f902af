//! How one simulated node differs from the host it replays.

use std::{collections::HashMap, sync::Arc};

use starling_proto::{
    catalogue::{self, Metric},
    frame::Content,
    histogram::{Histogram, HistogramSum, bucket_middle},
    series::{Sample, Series, Value},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Shortest and longest period of a node's slow wave, in seconds.
const PERIOD_SECONDS: (f64, f64) = (120.0, 600.0);
/// Largest share by which the slow wave raises or lowers the load.
const WAVE: f64 = 0.45;
/// Largest share by which one second differs from the wave.
const JITTER: f64 = 0.15;
/// Least and most a node's processors are loaded beside the host, before waves.
const CPU_LEVEL: (f64, f64) = (0.5, 3.0);
/// Least and most requests a node serves for one of the host, before waves.
const TRAFFIC_LEVEL: (f64, f64) = (2.0, 40.0);
/// Least and most of a node's latency beside the host.
const LATENCY_LEVEL: (f64, f64) = (0.6, 2.2);
/// Least and most of a node's used memory beside the host.
const MEMORY_LEVEL: (f64, f64) = (0.8, 3.0);
/// Share of physical memory that a simulated node never exceeds.
const MEMORY_MOST: f64 = 0.92;

/// A fixed character drawn from a seed: the same seed and content give the same result.
#[derive(Debug, Clone)]
pub struct Variation {
    seed: u64,
    period: f64,
    phase: f64,
    cpu: f64,
    traffic: f64,
    latency: f64,
    memory: f64,
}

impl Variation {
    /// Draws a character.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let draw = |what: u64, (low, high): (f64, f64)| low + (high - low) * unit(seed, what);
        Self {
            seed,
            period: draw(1, PERIOD_SECONDS),
            phase: draw(2, (0.0, std::f64::consts::TAU)),
            cpu: draw(3, CPU_LEVEL),
            // Squared: most nodes are quiet and a few are busy, as in a fleet.
            traffic: draw(4, (TRAFFIC_LEVEL.0.sqrt(), TRAFFIC_LEVEL.1.sqrt())).powi(2),
            latency: draw(5, LATENCY_LEVEL),
            memory: draw(6, MEMORY_LEVEL),
        }
    }

    /// Load at a second beside the node's own level; about 1 on average, above 0.
    fn load(&self, tick: u32) -> f64 {
        let wave = (f64::from(tick) / self.period * std::f64::consts::TAU + self.phase).sin();
        let jitter = 2.0 * unit(self.seed, u64::from(tick) << 8) - 1.0;
        1.0 + WAVE * wave + JITTER * jitter
    }

    /// The host's second as this node would have lived it.
    ///
    /// What must add up still does: memory by state is the whole memory, processor time by mode is the whole time,
    /// requests are the values of the latency histogram, errors are at most the requests, utilization is at most 1.
    /// What Starling's own servers served on the host, which nearly always is all there is, this node serves to users.
    #[must_use]
    pub fn apply(&self, content: &Content) -> Content {
        let content = &served_to_users(content);
        let load = self.load(content.tick);
        let memory = MemoryShift::of(content, self.memory * load.powf(0.2));
        let (cpu, busy) = (self.cpu * load, BusyTime::of(content, self.cpu * load));
        let traffic = self.traffic * load;
        let served = self.served(content, traffic, load);
        let samples = content
            .samples
            .iter()
            .map(|sample| {
                let value = self.vary(sample, &memory, &busy, cpu, traffic, &served);
                Sample { series: sample.series.clone(), value }
            })
            .collect();
        Content { tick: content.tick, samples, dropped: 0 }
    }

    fn vary(
        &self,
        sample: &Sample,
        memory: &MemoryShift,
        busy: &BusyTime,
        cpu: f64,
        traffic: f64,
        served: &HashMap<String, Arc<Histogram>>,
    ) -> Value {
        let series = &sample.series;
        let is = |metrics: &[&Metric]| metrics.iter().any(|metric| series.is(metric));
        let protocol = series.attribute("protocol").unwrap_or_default();
        match &sample.value {
            Value::Gauge(value) if is(&[&catalogue::CPU_UTILIZATION, &catalogue::CORE_UTILIZATION]) => {
                let most = catalogue::CPU_UTILIZATION.fixed(1.0);
                Value::Gauge(scale(*value, cpu).clamp(0, most))
            }
            Value::Gauge(value) if is(&[&catalogue::LOAD_1M, &catalogue::LOAD_5M, &catalogue::LOAD_15M]) => {
                Value::Gauge(scale(*value, cpu))
            }
            Value::Gauge(value) if is(&[&catalogue::ACTIVE]) => Value::Gauge(scale(*value, traffic)),
            Value::Gauge(value) => Value::Gauge(memory.gauge(series, *value)),
            Value::Counter(value) if is(&[&catalogue::CPU_TIME]) => {
                Value::Counter(busy.time(series.attribute("cpu.mode").unwrap_or_default(), *value))
            }
            Value::Counter(value) if is(&[&catalogue::REQUESTS]) => {
                Value::Counter(served.get(protocol).map_or(*value, |histogram| histogram.count()))
            }
            Value::Counter(value) if is(&[&catalogue::ERRORS]) => {
                let most = served.get(protocol).map_or(*value, |histogram| histogram.count());
                Value::Counter(grow(*value, traffic).min(most))
            }
            // What the daemon itself costs and loses is not multiplied.
            Value::Counter(value) if series.name().starts_with("starling.") => Value::Counter(*value),
            Value::Counter(value) => Value::Counter(grow(*value, cpu)),
            Value::Histogram(_) if series.is(&catalogue::DURATION) && served.contains_key(protocol) => {
                Value::Histogram(Arc::clone(&served[protocol]))
            }
            Value::Histogram(histogram) => Value::Histogram(Arc::clone(histogram)),
        }
    }

    /// The latency histograms by protocol: more values, each a little slower or faster.
    fn served(&self, content: &Content, traffic: f64, load: f64) -> HashMap<String, Arc<Histogram>> {
        let mut served = HashMap::new();
        for sample in content.samples.iter().filter(|sample| sample.series.is(&catalogue::DURATION)) {
            let (Some(protocol), Value::Histogram(histogram)) = (sample.series.attribute("protocol"), &sample.value)
            else {
                continue;
            };
            let mut varied = HistogramSum::new();
            for (index, count) in histogram.buckets() {
                // Spread over a fifth to both sides, or a small sample repeated would be a comb.
                let copies = grow(count, traffic);
                let parts = copies.min(8);
                for part in 0..parts {
                    let skew = 1.0 + 0.4 * (unit(self.seed ^ u64::from(content.tick), index as u64 * 8 + part) - 0.5);
                    let value = bucket_middle(index) as f64 * self.latency * load.max(0.2).sqrt() * skew;
                    varied.record(value as u64, copies / parts + u64::from(part < copies % parts));
                }
            }
            served.insert(protocol.to_owned(), Arc::new(varied.to_histogram()));
        }
        served
    }
}

/// Requests of Starling's own servers as requests of users, where the host has none of that protocol; else without them. What
/// these refuse, while they start for one, is no error of users: a demonstration that begins would begin with an alert.
fn served_to_users(content: &Content) -> Content {
    const OWN: [(&Metric, &Metric); 4] = [
        (&catalogue::OWN_REQUESTS, &catalogue::REQUESTS),
        (&catalogue::OWN_ERRORS, &catalogue::ERRORS),
        (&catalogue::OWN_DURATION, &catalogue::DURATION),
        (&catalogue::OWN_ACTIVE, &catalogue::ACTIVE),
    ];
    let has_users = |protocol: &str| {
        let of = |sample: &Sample| OWN.iter().any(|(_, users)| sample.series.is(users));
        content.samples.iter().any(|sample| of(sample) && sample.series.attribute("protocol") == Some(protocol))
    };
    let convert = |sample: &Sample| {
        let Some((_, users)) = OWN.iter().find(|(own, _)| sample.series.is(own)) else { return Some(sample.clone()) };
        let protocol = sample.series.attribute("protocol").unwrap_or_default();
        let series = || Series::of(users, &[("protocol", protocol)]);
        let value = || if sample.series.is(&catalogue::OWN_ERRORS) { Value::Counter(0) } else { sample.value.clone() };
        (!has_users(protocol)).then(|| Sample { series: series(), value: value() })
    };
    Content { samples: content.samples.iter().filter_map(convert).collect(), ..content.clone() }
}

/// How much memory a node uses more than the host.
struct MemoryShift {
    by: i64,
}

impl MemoryShift {
    fn of(content: &Content, level: f64) -> Self {
        let limit = gauge(content, &catalogue::MEMORY_LIMIT);
        let used = limit - gauge(content, &catalogue::MEMORY_AVAILABLE);
        let free = state(content, "free");
        let target = scale(used, level).min(scale(limit, MEMORY_MOST));
        // No more than what is free can be taken, and application memory cannot fall below nothing.
        Self { by: (target - used).clamp(-state(content, "application"), free) }
    }

    fn gauge(&self, series: &Series, value: i64) -> i64 {
        match (series.name(), series.attribute("system.memory.state")) {
            ("system.memory.usage", Some("application")) => value + self.by,
            ("system.memory.usage", Some("free")) | ("system.memory.available", _) => (value - self.by).max(0),
            _ => value,
        }
    }
}

fn gauge(content: &Content, metric: &Metric) -> i64 {
    find(content, |series| series.is(metric))
}

fn state(content: &Content, name: &str) -> i64 {
    find(content, |s| s.is(&catalogue::MEMORY_USAGE) && s.attribute("system.memory.state") == Some(name))
}

fn find(content: &Content, wanted: impl Fn(&Series) -> bool) -> i64 {
    content
        .samples
        .iter()
        .find_map(|sample| match sample.value {
            Value::Gauge(value) if wanted(&sample.series) => Some(value),
            _ => None,
        })
        .unwrap_or(0)
}

/// Moves processor time from idle to busy modes or back.
struct BusyTime {
    factor: f64,
    /// Idle time after the move.
    idle: u64,
}

impl BusyTime {
    fn of(content: &Content, level: f64) -> Self {
        let (mut busy, mut idle) = (0, 0);
        for sample in content.samples.iter().filter(|sample| sample.series.is(&catalogue::CPU_TIME)) {
            if let Value::Counter(time) = sample.value {
                match sample.series.attribute("cpu.mode") {
                    Some("idle") => idle += time,
                    Some("iowait") => {}
                    _ => busy += time,
                }
            }
        }
        let most = if busy == 0 { 1.0 } else { (busy + idle) as f64 / busy as f64 };
        let factor = level.min(most);
        let scaled: u64 = content
            .samples
            .iter()
            .filter(|sample| sample.series.is(&catalogue::CPU_TIME))
            .filter(|sample| !matches!(sample.series.attribute("cpu.mode"), Some("idle" | "iowait")))
            .map(|sample| if let Value::Counter(time) = sample.value { grow(time, factor) } else { 0 })
            .sum();
        Self { factor, idle: (busy + idle).saturating_sub(scaled) }
    }

    fn time(&self, mode: &str, time: u64) -> u64 {
        match mode {
            "idle" => self.idle,
            "iowait" => time,
            _ => grow(time, self.factor),
        }
    }
}

fn scale(value: i64, factor: f64) -> i64 {
    (value as f64 * factor).round() as i64
}

fn grow(value: u64, factor: f64) -> u64 {
    (value as f64 * factor).round() as u64
}

/// A number in 0..1 that depends on the seed and on what it is for.
fn unit(seed: u64, what: u64) -> f64 {
    (xxh3_64_with_seed(&what.to_le_bytes(), seed) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(metric: &'static Metric, attributes: &[(&str, &str)], value: Value) -> Sample {
        Sample { series: Series::of(metric, attributes), value }
    }

    fn host(tick: u32) -> Content {
        let mut latency = HistogramSum::new();
        latency.record(2_000_000, 7);
        latency.record(9_000_000, 2);
        let memory = |state: &str, value| {
            sample(&catalogue::MEMORY_USAGE, &[("system.memory.state", state)], Value::Gauge(value))
        };
        let time = |mode: &str, value| sample(&catalogue::CPU_TIME, &[("cpu.mode", mode)], Value::Counter(value));
        Content {
            tick,
            dropped: 0,
            samples: vec![
                sample(&catalogue::CPU_UTILIZATION, &[], Value::Gauge(6_000)),
                sample(&catalogue::MEMORY_LIMIT, &[], Value::Gauge(1000)),
                sample(&catalogue::MEMORY_AVAILABLE, &[], Value::Gauge(600)),
                memory("application", 350),
                memory("system", 50),
                memory("buffer_cache", 200),
                memory("free", 400),
                time("user", 1000),
                time("system", 200),
                time("iowait", 50),
                time("idle", 750),
                sample(&catalogue::REQUESTS, &[("protocol", "http1")], Value::Counter(9)),
                sample(&catalogue::ERRORS, &[("protocol", "http1")], Value::Counter(9)),
                sample(
                    &catalogue::DURATION,
                    &[("protocol", "http1")],
                    Value::Histogram(Arc::new(latency.to_histogram())),
                ),
            ],
        }
    }

    #[test]
    fn what_must_add_up_still_does() {
        for seed in 0..200 {
            let variation = Variation::new(seed);
            for tick in [1000, 1063, 1250] {
                let content = variation.apply(&host(tick));
                content.check().unwrap();
                let usage: i64 =
                    ["application", "system", "buffer_cache", "free"].map(|s| state(&content, s)).iter().sum();
                assert_eq!(usage, 1000, "seed {seed}");
                assert!((0..=1000).contains(&gauge(&content, &catalogue::MEMORY_AVAILABLE)), "seed {seed}");
                assert!((0..=10_000).contains(&gauge(&content, &catalogue::CPU_UTILIZATION)));
                let counter = |name: &str| -> u64 {
                    let of = |s: &&Sample| s.series.name() == name;
                    content.samples.iter().filter(of).map(|s| if let Value::Counter(n) = s.value { n } else { 0 }).sum()
                };
                assert!(counter("system.cpu.time").abs_diff(2000) <= 2, "seed {seed}: {}", counter("system.cpu.time"));
                let Value::Histogram(latency) = &content.samples[13].value else { panic!("a histogram") };
                assert_eq!(counter("traffic.requests"), latency.count());
                assert!(counter("traffic.errors") <= counter("traffic.requests"));
            }
        }
    }

    #[test]
    fn own_requests_of_the_host_are_those_of_users_here() {
        let sample = |metric, protocol, n| Sample {
            series: Series::of(metric, &[("protocol", protocol)]),
            value: Value::Counter(n),
        };
        let mut content = host(1000);
        content.samples.push(sample(&catalogue::OWN_REQUESTS, "grpc", 8));
        content.samples.push(sample(&catalogue::OWN_REQUESTS, "http1", 70));
        let varied = Variation::new(1).apply(&content);
        varied.check().unwrap();
        assert!(varied.samples.iter().all(|sample| !sample.series.is(&catalogue::OWN_REQUESTS)));
        let of = |protocol| {
            let is =
                |s: &&Sample| s.series.is(&catalogue::REQUESTS) && s.series.attribute("protocol") == Some(protocol);
            content.samples.iter().chain(&varied.samples).filter(is).count()
        };
        assert_eq!((of("grpc"), of("http1")), (1, 2));
    }

    #[test]
    fn a_seed_is_a_character() {
        assert_eq!(Variation::new(1).apply(&host(5)), Variation::new(1).apply(&host(5)));
        assert_ne!(Variation::new(1).apply(&host(5)), Variation::new(2).apply(&host(5)));
        assert_ne!(Variation::new(1).apply(&host(5)).samples, Variation::new(1).apply(&host(90)).samples);
    }
}
