//! A token bucket. Pure.

use std::time::{Duration, Instant};

/// Lets a burst through, then so many a second.
#[derive(Debug)]
pub(crate) struct Bucket {
    tokens: f64,
    at: Instant,
    burst: f64,
    per_second: f64,
}

impl Bucket {
    /// A full one.
    pub(crate) const fn new(now: Instant, burst: f64, per_second: f64) -> Self {
        Self { tokens: burst, at: now, burst, per_second }
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.at = now;
    }

    /// Takes `tokens`, on credit if need be; returns how long to wait for them.
    pub(crate) fn take(&mut self, now: Instant, tokens: f64) -> Duration {
        self.fill(now);
        self.tokens -= tokens;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.tokens / self.per_second) }
    }

    /// Takes one token if there is one.
    pub(crate) fn try_take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_waits() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start, 120.0, 40.0);
        assert!((0..120).all(|_| bucket.take(start, 1.0).is_zero()));
        assert_eq!(bucket.take(start, 1.0), Duration::from_millis(25));
        assert!(bucket.take(start + Duration::from_secs(2), 1.0).is_zero());
    }

    #[test]
    fn what_finds_no_token_owes_none() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start, 2.0, 1.0);
        let taken = (0..100).filter(|_| bucket.try_take(start)).count();
        assert_eq!(taken, 2);
        assert!(bucket.try_take(start + Duration::from_secs(1)) && !bucket.try_take(start + Duration::from_secs(1)));
    }
}
