//! What lies between two looks, and what a second of them makes.

use std::{sync::Arc, time::Duration};

use starling_proto::{catalogue, histogram::Histogram, series::Series};

use super::super::{family, pressure, sink::Sink};
use super::sources::{Look, RESOURCES};

/// Most looks that wait for the second to be cut: a minute of them at the highest rate. Further ones are not taken, and
/// the second says so by its number of values.
const LOOKS_MAX: usize = 6_000;
/// What is measured: share of the processors, run queue, pressure, disk read and written, network received and sent.
const MEASURES: usize = 2 + RESOURCES + 4;
const CPU: usize = 0;
const RUN_QUEUE: usize = 1;
const PRESSURE: usize = 2;
const DISK: usize = PRESSURE + RESOURCES;
const NETWORK: usize = DISK + 2;
/// A whole in the fixed point of shares, scale 4.
const WHOLE: u64 = 10_000;
/// Below a mean of one hundredth of the processors the busiest look is one tick of the kernel's clock: no burst.
const CPU_BURST_MIN: u64 = WHOLE / 100;
/// Below 100 kB/s it is a single packet or page.
const BYTES_BURST_MIN: u64 = 100_000;

/// The series of a second.
pub(super) struct Names {
    measures: [Series; MEASURES],
    burst: [Series; 3],
}

impl Names {
    pub(super) fn new() -> Self {
        let [cpu_waits, memory_waits, io_waits] =
            family(&catalogue::FINE_PRESSURE, "system.pressure.resource", pressure::RESOURCES);
        let [read, write] = family(&catalogue::FINE_DISK, "disk.io.direction", ["read", "write"]);
        let [receive, transmit] = family(&catalogue::FINE_NETWORK, "network.io.direction", ["receive", "transmit"]);
        Self {
            measures: [
                Series::of(&catalogue::FINE_CPU, &[]),
                Series::of(&catalogue::FINE_RUN_QUEUE, &[]),
                cpu_waits,
                memory_waits,
                io_waits,
                read,
                write,
                receive,
                transmit,
            ],
            burst: family(&catalogue::BURST_FACTOR, "resource", ["cpu", "disk", "network"]),
        }
    }
}

/// What was seen since the last cut, each value in the fixed point of its series.
#[derive(Debug, Default)]
pub(super) struct Second {
    values: [Vec<u64>; MEASURES],
}

impl Second {
    /// Takes what lies between two looks. What one of them lacks is left out.
    pub(super) fn add(&mut self, before: &Look, now: &Look) {
        let elapsed = now.at.saturating_duration_since(before.at);
        if elapsed.is_zero() {
            return;
        }
        if let Some((before, now)) = before.busy.zip(now.busy)
            && let Some(busy) = before.share(now, elapsed.as_secs_f64())
        {
            self.push(CPU, share(busy));
        }
        if let Some(running) = now.running {
            self.push(RUN_QUEUE, running);
        }
        for (resource, both) in before.waited_us.iter().zip(&now.waited_us).enumerate() {
            if let (Some(before), Some(now)) = both
                && let Some(waited) = now.checked_sub(*before)
            {
                self.push(PRESSURE + resource, share(waited as f64 / 1e6 / elapsed.as_secs_f64()));
            }
        }
        for (place, before, now) in [(DISK, before.disk, now.disk), (NETWORK, before.network, now.network)] {
            let (Some(before), Some(now)) = (before, now) else { continue };
            // When the interfaces that count are others than before, the totals are too.
            if before[0] > now[0] || before[1] > now[1] {
                continue;
            }
            for direction in 0..2 {
                self.push(place + direction, per_second(now[direction] - before[direction], elapsed));
            }
        }
    }

    fn push(&mut self, measure: usize, value: u64) {
        if self.values[measure].len() < LOOKS_MAX {
            self.values[measure].push(value);
        }
    }

    /// Gives the histograms and how much busier the busiest look was than the mean.
    pub(super) fn give(&self, names: &Names, sink: &mut Sink<'_>) {
        for (series, values) in names.measures.iter().zip(&self.values) {
            if let Some(histogram) = histogram(values) {
                sink.histogram(series, Arc::new(histogram));
            }
        }
        let both = |place: usize| {
            let [one, other] = [&self.values[place], &self.values[place + 1]];
            one.iter().zip(other).map(|(one, other)| one.saturating_add(*other)).collect::<Vec<_>>()
        };
        let measured = [
            (self.values[CPU].clone(), CPU_BURST_MIN),
            (both(DISK), BYTES_BURST_MIN),
            (both(NETWORK), BYTES_BURST_MIN),
        ];
        for (series, (values, least)) in names.burst.iter().zip(measured) {
            if let Some(factor) = burst_hundredths(&values, least) {
                sink.gauge(series, factor);
            }
        }
    }
}

fn histogram(values: &[u64]) -> Option<Histogram> {
    let mut all: Option<Histogram> = None;
    for value in values {
        let one = Histogram::of(*value, 1);
        all = Some(match all {
            // So few values overflow nothing.
            Some(all) => all.plus(&one).unwrap_or(all),
            None => one,
        });
    }
    all
}

/// Highest value / mean, in hundredths; 1 with a mean below `least`, which says nothing. `None` without values.
fn burst_hundredths(values: &[u64], least: u64) -> Option<u64> {
    let count = values.len() as u128;
    let sum: u128 = values.iter().map(|value| u128::from(*value)).sum();
    let highest = u128::from(*values.iter().max()?);
    if sum < u128::from(least) * count || sum == 0 {
        return Some(100);
    }
    u64::try_from(highest * 100 * count / sum).ok()
}

/// In the fixed point of shares.
fn share(share: f64) -> u64 {
    // `as` saturates and takes what is not a number for 0.
    ((share * WHOLE as f64).round() as u64).min(WHOLE)
}

fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    (bytes as f64 / elapsed.as_secs_f64()) as u64
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use starling_proto::series::Value;

    use super::{super::busy::Busy, *};

    fn look(at: Instant, ms: u64, busy: u64, idle: u64, disk: u64) -> Look {
        Look {
            at: at + Duration::from_millis(ms),
            busy: Some(Busy::Ticks([busy, 0, 0, idle, 0, 0, 0, 0])),
            running: Some(2),
            waited_us: [Some(busy * 10_000), None, Some(0)],
            disk: Some([disk, 0]),
            network: None,
        }
    }

    fn given(second: &Second) -> Vec<(String, Value)> {
        let mut samples = Vec::new();
        second.give(&Names::new(), &mut Sink::new(&mut samples));
        samples.into_iter().map(|sample| (sample.series.to_string(), sample.value)).collect()
    }

    #[test]
    fn a_burst_shows_in_the_histogram_and_not_in_the_mean() {
        let at = Instant::now();
        let mut second = Second::default();
        let (mut busy, mut idle, mut disk) = (0, 0, 0);
        let mut before = look(at, 0, busy, idle, disk);
        for tenth in 1..=10 {
            // One tenth of a second is busy on both processors, the others are idle.
            if tenth == 4 {
                (busy, disk) = (busy + 20, disk + 1_000_000);
            } else {
                idle += 20;
            }
            let now = look(at, tenth * 100, busy, idle, disk);
            second.add(&before, &now);
            before = now;
        }
        let given = given(&second);
        let names: Vec<_> = given.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "system.cpu.utilization.fine",
                "system.cpu.run_queue.fine",
                "system.pressure.fine{system.pressure.resource=cpu}",
                "system.pressure.fine{system.pressure.resource=io}",
                "system.disk.io.fine{disk.io.direction=read}",
                "system.disk.io.fine{disk.io.direction=write}",
                "system.burst_factor{resource=cpu}",
                "system.burst_factor{resource=disk}",
            ]
        );
        let histogram = |place: usize| match &given[place].1 {
            Value::Histogram(histogram) => Arc::clone(histogram),
            other => panic!("{other:?}"),
        };
        assert_eq!((histogram(0).count(), histogram(0).sum(), histogram(0).max()), (10, 10_000, 10_000));
        assert_eq!(histogram(2).max(), 10_000, "a pressure beyond the whole is cut");
        assert_eq!((histogram(4).max(), histogram(4).sum()), (10_000_000, 10_000_000));
        assert_eq!((given[6].1.clone(), given[7].1.clone()), (Value::Gauge(1000), Value::Gauge(1000)));
    }

    #[test]
    fn what_steps_back_or_stands_still_gives_nothing() {
        let at = Instant::now();
        let mut second = Second::default();
        let first = look(at, 0, 100, 100, 100);
        second.add(&first, &look(at, 0, 120, 100, 100));
        assert!(second.values.iter().all(Vec::is_empty), "no time has passed");
        second.add(&first, &look(at, 100, 90, 100, 50));
        assert_eq!(second.values.map(|values| values.len()), [0, 1, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_minute_without_a_cut_is_bounded() {
        let at = Instant::now();
        let mut second = Second::default();
        (0..LOOKS_MAX + 10).for_each(|_| second.push(RUN_QUEUE, 1));
        assert_eq!(second.values[RUN_QUEUE].len(), LOOKS_MAX);
        second.add(&look(at, 0, 0, 0, 0), &look(at, 100, 1, 1, 0));
        assert_eq!(second.values[CPU], [5_000]);
    }

    proptest! {
        #[test]
        fn the_busiest_is_never_below_the_mean(values in proptest::collection::vec(0u64..=u64::MAX / 2, 0..50)) {
            if let Some(factor) = burst_hundredths(&values, 1) {
                prop_assert!((100..=100 * values.len() as u64).contains(&factor));
            }
            prop_assert_eq!(histogram(&values).map_or(0, |histogram| histogram.count()), values.len() as u64);
        }
    }
}
