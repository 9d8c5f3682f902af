//! When to cut: on every second of the wall clock, in pure arithmetic over two clocks.

use std::time::Duration;

use starling_proto::limits::TICK;
use starling_service::clock::{Jumps, millis};

/// A step of the wall clock up to this long is borne. After a longer one the seconds are not those that follow the
/// seconds before it, and so they belong to a new stream.
const STEP_MAX: Duration = TICK;

/// Two clocks read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Since the Unix epoch.
    pub wall: Duration,
    /// Since any fixed moment; never goes back.
    pub monotonic: Duration,
}

/// What a reading means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The second is not over, or was cut before.
    Early,
    /// Cut now.
    Cut(Cut),
}

/// A second to cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The second that has just ended, in Unix seconds.
    pub tick: u32,
    /// How late this cut is.
    pub delay: Duration,
    /// Seconds since the cut before that were never cut. What happened in them is part of this one.
    pub missed: u32,
    /// The wall clock was set: a new stream begins.
    pub stepped: bool,
}

/// Remembers the cut before.
#[derive(Debug, Default)]
pub struct Schedule {
    last: Option<(u32, Jumps)>,
    /// The newest second of a process before; 0 for none.
    before: u32,
}

impl Schedule {
    /// Cuts no second up to `before`, which a process before has cut.
    #[must_use]
    pub fn after(before: u32) -> Self {
        Self { last: None, before }
    }

    /// How long until the next second begins.
    #[must_use]
    pub fn wait(now: Reading) -> Duration {
        TICK - Duration::from_nanos(u64::from(now.wall.subsec_nanos()))
    }

    /// Decides whether to cut now.
    pub fn turn(&mut self, now: Reading) -> Turn {
        // Seconds beyond 2106 do not fit; the clock of a host that says so is wrong anyway.
        let tick = u32::try_from(now.wall.as_secs()).unwrap_or(u32::MAX);
        let delay = Duration::from_nanos(u64::from(now.wall.subsec_nanos()));
        let wall_ms = millis(now.wall);
        let Some((last, jumps)) = &mut self.last else {
            if tick <= self.before {
                return Turn::Early;
            }
            self.last = Some((tick, Jumps::new(STEP_MAX, wall_ms, now.monotonic)));
            return Turn::Cut(Cut { tick, delay, missed: 0, stepped: false });
        };
        let stepped = jumps.look(wall_ms, now.monotonic).is_some();
        if !stepped && tick <= *last {
            return Turn::Early;
        }
        let missed = if stepped { 0 } else { tick - *last - 1 };
        *last = tick;
        Turn::Cut(Cut { tick, delay, missed, stepped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_ms: u64, monotonic_ms: u64) -> Reading {
        Reading { wall: Duration::from_millis(wall_ms), monotonic: Duration::from_millis(monotonic_ms) }
    }

    fn cut(schedule: &mut Schedule, now: Reading) -> Cut {
        match schedule.turn(now) {
            Turn::Cut(cut) => cut,
            Turn::Early => panic!("a cut is due at {now:?}"),
        }
    }

    #[test]
    fn a_second_that_a_process_before_has_cut_is_not_cut_again() {
        let mut schedule = Schedule::after(102);
        assert_eq!(schedule.turn(at(101_001, 5_000)), Turn::Early);
        assert_eq!(schedule.turn(at(102_001, 6_000)), Turn::Early);
        assert_eq!(cut(&mut schedule, at(103_001, 7_000)).tick, 103);
    }

    #[test]
    fn every_second_is_cut_once_on_the_grid() {
        let mut schedule = Schedule::default();
        assert_eq!(Schedule::wait(at(100_250, 0)), Duration::from_millis(750));
        assert_eq!(Schedule::wait(at(100_000, 0)), Duration::from_secs(1));
        assert_eq!(cut(&mut schedule, at(101_001, 5_000)).tick, 101);
        assert_eq!(schedule.turn(at(101_999, 5_998)), Turn::Early);
        let next = cut(&mut schedule, at(102_002, 6_001));
        assert_eq!((next.tick, next.missed, next.stepped), (102, 0, false));
        assert_eq!(next.delay, Duration::from_millis(2));
    }

    #[test]
    fn a_pause_of_the_process_is_a_gap_and_no_step() {
        let mut schedule = Schedule::default();
        cut(&mut schedule, at(101_000, 0));
        let next = cut(&mut schedule, at(111_300, 10_300));
        assert_eq!((next.tick, next.missed, next.stepped), (111, 9, false));
    }

    #[test]
    fn a_set_clock_begins_a_new_stream() {
        let mut schedule = Schedule::default();
        cut(&mut schedule, at(1_000_000, 0));
        let forward = cut(&mut schedule, at(1_300_000, 1_000));
        assert_eq!((forward.tick, forward.stepped, forward.missed), (1300, true, 0));
        let back = cut(&mut schedule, at(700_500, 2_000));
        assert_eq!((back.tick, back.stepped), (700, true));
        let after = cut(&mut schedule, at(701_000, 2_500));
        assert!(!after.stepped);
    }

    #[test]
    fn a_slewed_clock_never_cuts_a_second_twice() {
        let mut schedule = Schedule::default();
        cut(&mut schedule, at(101_000, 0));
        // 0.4 s back: the same second begins again.
        assert_eq!(schedule.turn(at(101_000, 400)), Turn::Early);
        assert_eq!(cut(&mut schedule, at(102_000, 1_400)).tick, 102);
    }
}
