//! The wall clock: read here and nowhere else, and the one rule for its steps. Seconds that data is for are seconds of
//! this clock.
//!
//! With the feature `testsuite` a process can be given a clock that is wrong (`set_wrong_for_test`), as no namespace of
//! Linux can.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the Unix epoch; zero for a clock set before it.
#[must_use]
pub fn unix() -> Duration {
    let right = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    #[cfg(feature = "testsuite")]
    let right = wrong::wrong(right);
    right
}

#[cfg(feature = "testsuite")]
pub use wrong::set_wrong_for_test;

#[cfg(feature = "testsuite")]
mod wrong {
    use std::{
        sync::atomic::{AtomicI64, Ordering},
        time::Duration,
    };

    /// Milliseconds that the clock of this process is ahead; negative: behind.
    static AHEAD_MS: AtomicI64 = AtomicI64::new(0);

    /// From now on the wall clock of this process shows `ahead_ms` more than it should, or less when that is negative.
    pub fn set_wrong_for_test(ahead_ms: i64) {
        AHEAD_MS.store(ahead_ms, Ordering::Relaxed);
    }

    pub(super) fn wrong(right: Duration) -> Duration {
        let ahead = AHEAD_MS.load(Ordering::Relaxed);
        let by = Duration::from_millis(ahead.unsigned_abs());
        if ahead < 0 { right.saturating_sub(by) } else { right.saturating_add(by) }
    }
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

/// A step of the wall clock that no passing of time explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    /// It shows this much less than it should, or than it has shown before.
    Back(Duration),
    /// It shows this much more than it should: it was set, or this host slept.
    Forward(Duration),
}

/// Finds steps of the wall clock. Pure: each look compares it with the monotonic clock since the look before, so that
/// a clock that is slewed for days adds up to nothing, and with the latest time ever shown, so that small steps back
/// do add up.
#[derive(Debug)]
pub struct Jumps {
    most: Duration,
    wall_ms: u64,
    highest_ms: u64,
    monotonic: Duration,
}

impl Jumps {
    /// Begins at wall time `wall_ms` and `monotonic` of any clock that never goes back. Steps up to `most` are borne.
    #[must_use]
    pub const fn new(most: Duration, wall_ms: u64, monotonic: Duration) -> Self {
        Self { most, wall_ms, highest_ms: wall_ms, monotonic }
    }

    /// Looks at both clocks again. A step of more than what is borne is reported once.
    pub fn look(&mut self, wall_ms: u64, monotonic: Duration) -> Option<Jump> {
        let passed = monotonic.saturating_sub(self.monotonic);
        let expected = self.wall_ms.saturating_add(millis(passed));
        let back = Duration::from_millis(expected.max(self.highest_ms).saturating_sub(wall_ms));
        let forward = Duration::from_millis(wall_ms.saturating_sub(expected));
        (self.wall_ms, self.monotonic) = (wall_ms, monotonic);
        self.highest_ms = if back > self.most { wall_ms } else { self.highest_ms.max(wall_ms) };
        if back > self.most { Some(Jump::Back(back)) } else { (forward > self.most).then_some(Jump::Forward(forward)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn jumps_from(wall_ms: u64) -> Jumps {
        Jumps::new(S(5), wall_ms, Duration::ZERO)
    }

    #[test]
    fn steps_of_the_clock_are_found() {
        let mut jumps = jumps_from(100_000);
        assert_eq!(jumps.look(101_000, S(1)), None);
        assert_eq!(jumps.look(106_000, S(2)), None, "four seconds forward are borne");
        assert_eq!(jumps.look(103_000, S(3)), None, "four seconds back are borne");
        assert_eq!(jumps.look(164_000, S(4)), Some(Jump::Forward(S(60))));
        assert_eq!(jumps.look(165_000, S(5)), None, "a step is reported once");
        assert_eq!(jumps.look(106_000, S(6)), Some(Jump::Back(S(60))));
        assert_eq!(jumps.look(107_000, S(7)), None);
    }

    #[test]
    fn a_long_pause_and_a_slewed_clock_are_no_steps() {
        let mut jumps = jumps_from(0);
        assert_eq!(jumps.look(60_000, S(60)), None);
        // The clock was set back by ten seconds while the process was paused for a minute.
        assert_eq!(jumps.look(110_000, S(120)), Some(Jump::Back(S(10))));
        let mut jumps = jumps_from(0);
        assert!((1..100_000).all(|n| jumps.look(n * 999, Duration::from_secs(n)).is_none()));
    }

    #[test]
    fn small_steps_back_add_up() {
        let mut jumps = jumps_from(100_000);
        assert_eq!(jumps.look(97_000, S(0)), None);
        assert_eq!(jumps.look(94_000, S(0)), Some(Jump::Back(S(6))));
    }
}
