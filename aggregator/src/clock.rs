//! Wall time, where it enters the program.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch. A clock before 1970 reads 0.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The last second that has ended, Unix seconds.
pub(crate) fn tick_of(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms / 1000).unwrap_or(u32::MAX)
}

/// Milliseconds from the end of second `tick` to `unix_ms`; 0 when that is still to come.
pub(crate) fn age_ms(tick: u32, unix_ms: u64) -> u32 {
    u32::try_from(unix_ms.saturating_sub(u64::from(tick) * 1000)).unwrap_or(u32::MAX)
}
