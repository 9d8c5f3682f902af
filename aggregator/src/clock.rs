//! Wall time, where it enters the program.

use std::time::Duration;

pub(crate) use starling_service::clock::{Jump, Jumps, unix_ms as now_ms};

/// The last second that has ended, Unix seconds.
pub(crate) fn tick_of(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms / 1000).unwrap_or(u32::MAX)
}

/// Milliseconds from the end of second `tick` to `unix_ms`; 0 when that is still to come.
pub(crate) fn age_ms(tick: u32, unix_ms: u64) -> u32 {
    u32::try_from(unix_ms.saturating_sub(u64::from(tick) * 1000)).unwrap_or(u32::MAX)
}

/// A step of the wall clock up to this long is borne: it delays a second or two, which the next ones make good.
pub(crate) const JUMP_MAX: Duration = Duration::from_secs(5);
