//! Deltas that come twice: a sender that got no answer sends the same again (OTLP specification, "Duplicate data").
//!
//! A point equal to the newest one of its stream in start and time is that point. Only who states both can be recognised. The
//! table is bounded: what is silent for a while is forgotten, and while it is full streams beyond it are not looked at.

use std::{collections::HashMap, time::Duration};

use super::observation::{Identity, StreamKey};

/// A stream that is silent for this long is forgotten: senders try for five minutes.
const IDLE_MAX: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Newest {
    start_unix_ns: u64,
    time_unix_ns: u64,
    seen: Duration,
}

/// The newest point of every stream of deltas.
#[derive(Debug)]
pub(super) struct Deltas {
    newest: HashMap<StreamKey, Newest>,
    most: usize,
    swept: Duration,
}

impl Deltas {
    /// For `most` streams.
    pub(super) fn new(most: usize) -> Self {
        Self { newest: HashMap::new(), most, swept: Duration::ZERO }
    }

    /// Whether this point was counted already; notes it.
    pub(super) fn is_again(&mut self, id: Identity, now: Duration) -> bool {
        let Identity { key, start_unix_ns, time_unix_ns, .. } = id;
        if start_unix_ns == 0 || time_unix_ns <= start_unix_ns {
            return false;
        }
        if let Some(newest) = self.newest.get_mut(&key) {
            let is_again = (newest.start_unix_ns, newest.time_unix_ns) == (start_unix_ns, time_unix_ns);
            *newest = Newest { start_unix_ns, time_unix_ns, seen: now };
            return is_again;
        }
        if self.newest.len() >= self.most && now.saturating_sub(self.swept) >= IDLE_MAX / 10 {
            self.swept = now;
            self.newest.retain(|_, newest| now.saturating_sub(newest.seen) < IDLE_MAX);
        }
        if self.newest.len() < self.most {
            self.newest.insert(key, Newest { start_unix_ns, time_unix_ns, seen: now });
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: u128, start_unix_ns: u64, time_unix_ns: u64) -> Identity {
        Identity { key, family: 1, sender: 1, start_unix_ns, time_unix_ns }
    }

    #[test]
    fn the_same_point_is_known_again_and_others_are_not() {
        let mut deltas = Deltas::new(2);
        let mut again = |key, start, time, at| deltas.is_again(id(key, start, time), Duration::from_secs(at));
        assert!(!again(1, 100, 200, 1) && again(1, 100, 200, 2) && again(1, 100, 200, 3));
        assert!(!again(1, 200, 300, 4) && !again(1, 200, 301, 4), "the next one, and another of the same start");
        assert!(!again(2, 200, 300, 4) && again(2, 200, 300, 5));
        assert!(!again(3, 200, 300, 5) && !again(3, 200, 300, 5), "there is no room: what is not known counts");
        assert!(!again(3, 300, 400, 700) && again(3, 300, 400, 700), "what was silent has given its place");
        assert!(!again(1, 0, 400, 700) && !again(1, 0, 400, 700), "who says no start cannot be known again");
        assert!(!again(1, 400, 400, 700) && !again(1, 400, 400, 700));
    }
}
