//! Numbers for people.

use std::{collections::BTreeMap, time::Duration};

use starling_tests::swarm::Seen;

/// Milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The `q`-quantile of durations, in milliseconds; 0 when there are none.
pub(crate) fn quantile_ms(durations: impl Iterator<Item = Duration>, q: f64) -> f64 {
    let mut all: Vec<Duration> = durations.collect();
    all.sort_unstable();
    let at = ((all.len().max(1) - 1) as f64 * q).round() as usize;
    all.get(at).copied().map_or(0.0, ms)
}

/// What a watcher saw of the seconds from `from` on.
pub(crate) fn since(seen: BTreeMap<u32, Seen>, from: u32) -> Vec<(u32, Seen)> {
    seen.into_iter().filter(|&(tick, _)| tick >= from).collect()
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Unix seconds.
pub(crate) fn now() -> u32 {
    starling_tests::Oracle::now()
}
