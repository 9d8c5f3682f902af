//! The wall clock: read here and nowhere else. Seconds that data is for are seconds of this clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the Unix epoch; zero for a clock set before it.
#[must_use]
pub fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn unix_ms() -> u64 {
    millis(unix())
}

/// Nanoseconds since the Unix epoch; full in the year 2554.
#[must_use]
pub fn unix_ns() -> u64 {
    u64::try_from(unix().as_nanos()).unwrap_or(u64::MAX)
}

/// Whole milliseconds of a duration, at most what fits.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
