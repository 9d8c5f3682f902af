//! The wait between two attempts: growing, jittered, capped. Pure: who asks brings the randomness.

use std::time::Duration;

/// Waits that double from the first to the longest.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins at `first` and never exceeds one and a half of `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The next wait, between half and one and a half of the step, so that many clients do not come back at once.
    /// `random` is in 0..1.
    pub fn wait(&mut self, random: f64) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.longest);
        step.mul_f64(0.5 + random.clamp(0.0, 1.0))
    }

    /// Something worked: the next wait is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_longest_and_begin_again() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(200), ms(1_000));
        assert_eq!([0.5; 5].map(|middle| backoff.wait(middle)), [200, 400, 800, 1_000, 1_000].map(ms));
        backoff.reset();
        assert_eq!((backoff.wait(0.0), backoff.wait(1.0)), (ms(100), ms(600)));
    }
}
