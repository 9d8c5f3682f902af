//! Percentiles of merged histograms, for the wire.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    sync::Arc,
};

use starling_proto::{
    histogram::{Histogram, HistogramSum},
    v1,
};
use tracing::warn;

/// Seconds merged into "the last minute".
pub(crate) const MINUTE: u32 = 60;
const NANOS_PER_MICRO: f64 = 1_000.0;

/// The percentiles of `histogram` (nanoseconds); `None` without values.
pub(crate) fn latency(histogram: &Histogram) -> Option<v1::Latency> {
    if histogram.is_empty() {
        return None;
    }
    let micros: Vec<f64> = histogram
        .quantiles(&[0.5, 0.95, 0.99, 0.999])
        .into_iter()
        .map(|nanos| nanos as f64 / NANOS_PER_MICRO)
        .collect();
    Some(v1::Latency {
        p50_micros: micros[0],
        p95_micros: micros[1],
        p99_micros: micros[2],
        p999_micros: micros[3],
        mean_micros: histogram.mean().unwrap_or_default() / NANOS_PER_MICRO,
        max_micros: histogram.max() as f64 / NANOS_PER_MICRO,
        count: histogram.count() as f64,
        error_bound_ppm: histogram.quantile_error_ppm(),
        histogram: histogram.encode(),
    })
}

/// All of `histograms` in one. What cannot be added (counts beyond 64 bits) is left out and logged: the caps at the
/// receiver make it impossible.
pub(crate) fn merged<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Histogram {
    let mut sum = HistogramSum::new();
    for histogram in histograms {
        if sum.add(histogram).is_err() {
            warn!("histograms overflow when merged, one is left out");
        }
    }
    sum.to_histogram()
}

/// The histograms of the last minute, fed in ascending order of seconds. For one reader that goes through time.
#[derive(Debug, Default)]
pub(crate) struct RollingMinute(VecDeque<(u32, Arc<Histogram>)>);

impl RollingMinute {
    /// Adds a second and returns the merge of the 60 seconds that end with it.
    pub(crate) fn push(&mut self, tick: u32, histogram: Arc<Histogram>) -> Histogram {
        self.0.retain(|(other, _)| *other < tick && other + MINUTE > tick);
        self.0.push_back((tick, histogram));
        merged(self.0.iter().map(|(_, histogram)| &**histogram))
    }
}

/// Seconds kept behind the window of a reader, which may be asked for again: late frames correct seconds that old.
const BEHIND: u32 = MINUTE / 2;
/// Histograms a [`MinuteCache`] keeps: those of two readers far apart in time.
const CACHED_MAX: usize = 2 * (MINUTE + BEHIND) as usize;

/// The merged histograms of recent seconds by second, with the revision they are of. Cheap to clone: the histograms
/// are shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct MinuteCache(BTreeMap<u32, (u32, Arc<Histogram>)>);

impl MinuteCache {
    /// The merge of the 60 seconds that end with `tick`. `second` gives one second with its revision when the cache
    /// does not hold that revision; `revision` names the newest one, `None` for a second that is not kept.
    pub(crate) fn last_minute(
        &mut self,
        tick: u32,
        revision: impl Fn(u32) -> Option<u32>,
        mut second: impl FnMut(u32) -> Option<Arc<Histogram>>,
    ) -> Histogram {
        let from = tick.saturating_sub(MINUTE - 1);
        for wanted in from..=tick {
            match revision(wanted) {
                None => drop(self.0.remove(&wanted)),
                Some(newest) if self.0.get(&wanted).is_some_and(|(held, _)| *held == newest) => {}
                Some(newest) => {
                    if let Some(histogram) = second(wanted) {
                        self.0.insert(wanted, (newest, histogram));
                    }
                }
            }
        }
        merged(self.0.range(from..=tick).map(|(_, (_, histogram))| &**histogram))
    }

    /// Takes in what another one holds and is newer, after it was asked for `tick`. Forgets what that reader has left
    /// behind, and the oldest seconds beyond [`CACHED_MAX`].
    pub(crate) fn take_in(&mut self, other: Self, tick: u32) {
        for (tick, (revision, histogram)) in other.0 {
            match self.0.entry(tick) {
                Entry::Occupied(held) if held.get().0 >= revision => {}
                Entry::Occupied(mut held) => drop(held.insert((revision, histogram))),
                Entry::Vacant(free) => drop(free.insert((revision, histogram))),
            }
        }
        // A reader that goes through time clears its own trail; what one left behind that jumped is the oldest soon.
        let behind = tick.saturating_sub(MINUTE - 1 + BEHIND);
        let trail: Vec<u32> = self.0.range(behind.saturating_sub(MINUTE)..behind).map(|(other, _)| *other).collect();
        trail.iter().for_each(|other| drop(self.0.remove(other)));
        while self.0.len() > CACHED_MAX {
            self.0.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Arc<Histogram> {
        let mut sum = HistogramSum::new();
        values.iter().for_each(|value| sum.record(*value, 1));
        Arc::new(sum.to_histogram())
    }

    #[test]
    fn percentiles_are_microseconds_and_absent_without_values() {
        assert_eq!(latency(&Histogram::empty()), None);
        let found = latency(&of(&[1_000_000, 1_000_000, 1_000_000, 9_000_000])).unwrap();
        assert!((found.p50_micros - 1_000.0).abs() < 4.0, "{found:?}");
        assert!((found.p999_micros - 9_000.0).abs() < 36.0, "{found:?}");
        assert!((found.mean_micros - 3_000.0).abs() < 1e-9 && (found.count - 4.0).abs() < 1e-9);
        assert_eq!(Histogram::decode(&found.histogram).unwrap().count(), 4);
    }

    #[test]
    fn a_minute_is_sixty_seconds() {
        let mut rolling = RollingMinute::default();
        let mut cache = MinuteCache::default();
        for tick in 1..=100u32 {
            let expected = u64::from(tick.min(60));
            assert_eq!(rolling.push(tick, of(&[tick.into()])).count(), expected);
            let asked = cache.last_minute(tick, |t| (t > 0).then_some(1), |t| Some(of(&[t.into()])));
            assert_eq!(asked.count(), expected);
        }
        // A late frame raises the revision of one second.
        let corrected = cache.last_minute(100, |t| Some(if t == 90 { 2 } else { 1 }), |t| Some(of(&[t.into(), 5])));
        assert_eq!(corrected.count(), 61);
        assert_eq!(rolling.push(300, of(&[1])).count(), 1);
    }

    #[test]
    fn readers_far_apart_share_a_bounded_cache() {
        let mut shared = MinuteCache::default();
        let mut asked = 0;
        // One follows the newest seconds while another one reads the past, each in a copy.
        for step in 0..200u32 {
            for tick in [10_000 + step, 1_000 + step] {
                let mut own = shared.clone();
                let minute = own.last_minute(
                    tick,
                    |_| Some(1),
                    |_| {
                        asked += 1;
                        Some(of(&[1]))
                    },
                );
                assert_eq!(minute.count(), 60);
                shared.take_in(own, tick);
                assert!(shared.0.len() <= CACHED_MAX);
            }
        }
        assert_eq!(asked, 2 * (60 + 199), "each second is read once by each reader");
        let mut corrected = MinuteCache::default();
        corrected.last_minute(10_199, |_| Some(2), |_| Some(of(&[1, 1])));
        shared.take_in(corrected, 10_199);
        assert_eq!(shared.last_minute(10_199, |_| Some(2), |_| None).count(), 120, "the newer revision is kept");
    }
}
