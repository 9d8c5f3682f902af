//! What waits to be sent, oldest first. The bodies are elsewhere.

use std::collections::VecDeque;

/// A request that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting<P> {
    /// Where it ends in the queue.
    pub end: P,
    /// Samples in it.
    pub samples: u64,
    /// Its first and last second.
    pub seconds: (u32, u32),
}

/// What went before it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// Requests.
    pub requests: u64,
    /// Samples in them.
    pub samples: u64,
    /// First and last second.
    pub seconds: (u32, u32),
}

/// See the module.
#[derive(Debug)]
pub struct Backlog<P> {
    waiting: VecDeque<Waiting<P>>,
    samples: u64,
}

impl<P> Default for Backlog<P> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), samples: 0 }
    }
}

impl<P: Copy + Ord> Backlog<P> {
    /// Adds the newest.
    pub fn push(&mut self, request: Waiting<P>) {
        debug_assert!(self.waiting.back().is_none_or(|last| last.end < request.end));
        self.samples += request.samples;
        self.waiting.push_back(request);
    }

    /// The next to be sent.
    #[must_use]
    pub fn first(&self) -> Option<&Waiting<P>> {
        self.waiting.front()
    }

    /// Samples that wait.
    #[must_use]
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    /// Requests that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All that ends at or before `up_to` waits no more.
    pub fn done(&mut self, up_to: P) -> Option<Gone> {
        let mut gone: Option<Gone> = None;
        while let Some(first) = self.waiting.front().copied().filter(|first| first.end <= up_to) {
            self.waiting.pop_front();
            self.samples -= first.samples;
            let gone = gone.get_or_insert(Gone { requests: 0, samples: 0, seconds: first.seconds });
            gone.requests += 1;
            gone.samples += first.samples;
            gone.seconds = (gone.seconds.0.min(first.seconds.0), gone.seconds.1.max(first.seconds.1));
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_nothing_is_lost_from_the_count() {
        let mut backlog = Backlog::default();
        for at in 1..=5u32 {
            backlog.push(Waiting { end: at * 10, samples: 100, seconds: (at, at + 4) });
        }
        assert_eq!(backlog.done(5), None);
        assert_eq!(backlog.done(10), Some(Gone { requests: 1, samples: 100, seconds: (1, 5) }));
        assert_eq!(backlog.done(10), None, "what was sent is sent once");
        assert_eq!(backlog.done(35), Some(Gone { requests: 2, samples: 200, seconds: (2, 7) }));
        assert_eq!((backlog.len(), backlog.samples(), backlog.first().unwrap().end), (2, 200, 40));
    }
}
