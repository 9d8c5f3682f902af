//! Wall time, where it enters the program.

use std::time::Duration;

pub(crate) use starling_service::clock::unix_ms as now_ms;

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

/// A step of the wall clock that no passing of time explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jump {
    /// It shows this much less than it should, or than it has shown before.
    Back(Duration),
    /// It shows this much more than it should: it was set, or this host slept.
    Forward(Duration),
}

/// Finds steps of the wall clock. Pure: each look compares it with the monotonic clock since the look before, so that
/// a clock that is slewed for days adds up to nothing, and with the latest time ever shown, so that small steps back
/// do add up.
#[derive(Debug)]
pub(crate) struct Jumps {
    wall_ms: u64,
    highest_ms: u64,
    since_start: Duration,
}

impl Jumps {
    /// Begins at wall time `wall_ms`.
    pub(crate) const fn new(wall_ms: u64) -> Self {
        Self { wall_ms, highest_ms: wall_ms, since_start: Duration::ZERO }
    }

    /// Takes wall time `wall_ms`, `since_start` (monotonic) after the beginning. A step of more than [`JUMP_MAX`] is
    /// reported once.
    pub(crate) fn look(&mut self, wall_ms: u64, since_start: Duration) -> Option<Jump> {
        let passed = since_start.saturating_sub(self.since_start);
        let expected = self.wall_ms.saturating_add(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
        let back = Duration::from_millis(expected.max(self.highest_ms).saturating_sub(wall_ms));
        let forward = Duration::from_millis(wall_ms.saturating_sub(expected));
        (self.wall_ms, self.since_start) = (wall_ms, since_start);
        self.highest_ms = if back > JUMP_MAX { wall_ms } else { self.highest_ms.max(wall_ms) };
        if back > JUMP_MAX { Some(Jump::Back(back)) } else { (forward > JUMP_MAX).then_some(Jump::Forward(forward)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn steps_of_the_clock_are_found() {
        let mut jumps = Jumps::new(100_000);
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
        let mut jumps = Jumps::new(0);
        assert_eq!(jumps.look(60_000, S(60)), None);
        // The clock was set back by ten seconds while the process was paused for a minute.
        assert_eq!(jumps.look(110_000, S(120)), Some(Jump::Back(S(10))));
        let mut jumps = Jumps::new(0);
        assert!((1..100_000).all(|n| jumps.look(n * 999, Duration::from_secs(n)).is_none()));
    }

    #[test]
    fn small_steps_back_add_up() {
        let mut jumps = Jumps::new(100_000);
        assert_eq!(jumps.look(97_000, S(0)), None);
        assert_eq!(jumps.look(94_000, S(0)), Some(Jump::Back(S(6))));
    }
}
