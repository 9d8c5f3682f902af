//! An engine that fails is left alone for a while: questions are not to wait for it. Pure.

use std::time::{Duration, Instant};

use starling_service::backoff::Backoff;

/// Failures in a row before it is left alone.
const FAILURES_MAX: u32 = 3;
/// How long at first, and at most.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(60);
/// In the middle of what [`Backoff`] jitters: one engine, nobody else to keep apart from.
const MIDDLE: f64 = 0.5;

/// See the module.
#[derive(Debug)]
pub(super) struct Breaker {
    /// In a row.
    failures: u32,
    backoff: Backoff,
    /// It is not asked before this.
    until: Option<Instant>,
}

impl Breaker {
    /// Nothing failed yet.
    pub(super) const fn new() -> Self {
        Self { failures: 0, backoff: Backoff::new(FIRST, LONGEST), until: None }
    }

    /// Whether it may be asked now, or after how long. After a pause one question tries; the others wait for its outcome
    /// for as long as the first pause.
    pub(super) fn may_ask(&mut self, now: Instant) -> Result<(), Duration> {
        match self.until {
            Some(until) if now < until => Err(until - now),
            Some(_) => {
                self.until = Some(now + FIRST);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// It answered.
    pub(super) fn answered(&mut self) {
        *self = Self::new();
    }

    /// It failed; `wait` is what it asks for.
    pub(super) fn failed(&mut self, now: Instant, wait: Option<Duration>) {
        self.failures += 1;
        if self.failures >= FAILURES_MAX {
            self.until = Some(now + self.backoff.wait(MIDDLE));
        }
        if let Some(wait) = wait {
            self.until = self.until.max(Some(now + wait.min(LONGEST)));
        }
    }

    /// Whether it is left alone.
    pub(super) const fn is_open(&self) -> bool {
        self.until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_left_alone_longer_and_longer_until_it_answers() {
        let mut breaker = Breaker::new();
        let mut now = Instant::now();
        for _ in 0..2 {
            assert!(breaker.may_ask(now).is_ok());
            breaker.failed(now, None);
        }
        breaker.may_ask(now).unwrap();
        breaker.failed(now, None);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let pause = breaker.may_ask(now).unwrap_err();
            pauses.push(pause.as_secs());
            now += pause;
            assert_eq!(breaker.may_ask(now), Ok(()), "one tries");
            assert_eq!(breaker.may_ask(now), Err(FIRST), "the others wait");
            breaker.failed(now, None);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        breaker.answered();
        assert!(breaker.may_ask(now).is_ok() && !breaker.is_open());
        breaker.failed(now, Some(Duration::from_secs(7)));
        assert_eq!(breaker.may_ask(now), Err(Duration::from_secs(7)), "it asked for that");
    }
}
