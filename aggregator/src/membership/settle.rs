//! When a starting aggregator may take nodes. Pure.

use std::time::Duration;

/// The view must be unchanged for this long: eight intervals of gossip.
const UNCHANGED: Duration = Duration::from_secs(2);
/// No member answers for this long: the seeds are gone, or this process is the first.
const NO_ANSWER: Duration = Duration::from_secs(3);
/// A view that keeps changing delays readiness no longer than this.
const LONGEST: Duration = Duration::from_secs(10);

/// The gate between joining and ready. Times are since the start of the process.
#[derive(Debug)]
pub(super) struct Settle {
    alone_by_config: bool,
    /// When gossip began: times count from here.
    began: Duration,
    changed_at: Duration,
}

impl Settle {
    /// `alone_by_config`: no seed lies outside this process, and nobody was there last time, so there is no member to wait for.
    pub(super) const fn new(alone_by_config: bool) -> Self {
        Self { alone_by_config, began: Duration::ZERO, changed_at: Duration::ZERO }
    }

    /// Gossip could not begin before now.
    pub(super) const fn begin(&mut self, now: Duration) {
        self.began = now;
    }

    /// Takes one poll: whether the damped view changed, how many others it holds and how many gossip sees at all.
    /// Returns whether the aggregator may be ready.
    pub(super) fn observe(&mut self, now: Duration, changed: bool, in_view: usize, seen: usize) -> bool {
        if changed {
            self.changed_at = now;
        }
        self.alone_by_config
            || now - self.began >= LONGEST
            || (in_view > 0 && in_view == seen && now - self.changed_at >= UNCHANGED)
            || (seen == 0 && now - self.began >= NO_ANSWER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn a_lone_aggregator_is_ready_at_once() {
        assert!(Settle::new(true).observe(S(0), false, 0, 0));
    }

    #[test]
    fn with_seeds_it_waits_for_a_view_that_stands_still() {
        let mut gate = Settle::new(false);
        assert!(!gate.observe(S(1), true, 1, 1));
        assert!(!gate.observe(S(2), true, 2, 3));
        assert!(!gate.observe(S(4), false, 2, 3), "one is seen that is not in the view yet");
        assert!(!gate.observe(S(5), true, 3, 3));
        assert!(gate.observe(S(7), false, 3, 3));
    }

    #[test]
    fn with_dead_seeds_it_goes_on_alone() {
        let mut gate = Settle::new(false);
        assert!(!gate.observe(S(2), false, 0, 0));
        assert!(gate.observe(S(3), false, 0, 0));
        assert!(Settle::new(false).observe(S(10), true, 1, 5));
    }
}
