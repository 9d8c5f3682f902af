//! Background work takes a share of one core and no more.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The longest sleep at once: a stop is noticed within it.
const LONGEST: Duration = Duration::from_millis(200);

/// Works and sleeps in turns.
#[derive(Debug)]
pub(super) struct Pace {
    /// What may be worked, as a part of the time.
    share: f64,
    /// When the work since the last sleep began.
    since: Instant,
    /// Sleep that is owed.
    owed: Duration,
}

impl Pace {
    /// Takes `percent` of a core, at least 1 and at most 100.
    pub(super) fn new(percent: u8) -> Self {
        Self { share: share(percent), since: Instant::now(), owed: Duration::ZERO }
    }

    /// Work begins after a time in which there was none.
    pub(super) fn begin(&mut self, percent: u8) {
        *self = Self::new(percent);
    }

    /// To be called between two pieces of work of some milliseconds: sleeps as long as the share wants.
    pub(super) fn pause(&mut self, stop: &AtomicBool) {
        self.owed += owed(self.since.elapsed(), self.share);
        // Sleeping is not exact: not for less than it takes.
        while self.owed >= Duration::from_millis(5) && !stop.load(Ordering::Relaxed) {
            let asleep = Instant::now();
            sleep(self.owed.min(LONGEST));
            self.owed = self.owed.saturating_sub(asleep.elapsed());
        }
        self.since = Instant::now();
    }
}

/// Sleeps on a thread of its own.
#[allow(clippy::disallowed_methods, reason = "no runtime thread")]
pub(super) fn sleep(time: Duration) {
    thread::sleep(time);
}

fn share(percent: u8) -> f64 {
    f64::from(percent.clamp(1, 100)) / 100.0
}

/// The sleep that `worked` asks for.
fn owed(worked: Duration, share: f64) -> Duration {
    worked.mul_f64(1.0 / share - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_a_core_sleeps_three_quarters() {
        let worked = Duration::from_millis(10);
        assert_eq!(owed(worked, share(25)), Duration::from_millis(30));
        assert_eq!((owed(worked, share(100)), owed(worked, share(50))), (Duration::ZERO, worked));
        let (mut pace, stop) = (Pace::new(1), AtomicBool::new(true));
        pace.owed = Duration::from_secs(3_600);
        pace.pause(&stop);
        assert!(pace.owed > Duration::from_secs(3_000), "a stop does not wait for a sleep");
    }
}
