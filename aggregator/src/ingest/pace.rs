//! How soon an acknowledgement may follow another one.

use std::time::Duration;

use tokio::time::Instant;

/// Acknowledgements of one tick come within moments of each other: the first ones are gathered this long.
pub(super) const GATHER: Duration = Duration::from_millis(200);
/// At most one acknowledgement in this time. Each costs a message and a system call at both ends, and a longer time
/// costs as many more frames that are offered again when an aggregator dies.
const EVERY: Duration = Duration::from_secs(3);
/// More seconds in one acknowledgement than this: the node hands over what it kept while it could not reach us, and sends the
/// next of it when these are acknowledged. Until no such one was sent for [`EVERY`] they follow after [`GATHER`].
const CAUGHT_UP: usize = 4;

/// The acknowledgements of one stream.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When seconds of a backlog were acknowledged last.
    backlog_at: Option<Instant>,
}

impl Pace {
    /// When the next one may be sent after one of so many `seconds`.
    pub(super) fn next(&mut self, now: Instant, seconds: usize) -> Instant {
        if seconds > CAUGHT_UP {
            self.backlog_at = Some(now);
        }
        let hands_over = self.backlog_at.is_some_and(|at| now.duration_since(at) < EVERY);
        now + if hands_over { GATHER } else { EVERY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_second_between_those_of_a_backlog_does_not_hold_them_up() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let at = |ms| began + Duration::from_millis(ms);
        assert_eq!(pace.next(at(0), 3), at(3_000));
        assert_eq!(pace.next(at(3_000), 20), at(3_200));
        assert_eq!(pace.next(at(4_000), 1), at(4_200));
        assert_eq!(pace.next(at(5_500), 20), at(5_700));
        assert_eq!(pace.next(at(8_499), 1), at(8_699));
        assert_eq!(pace.next(at(8_500), 1), at(11_500), "it has caught up");
    }
}
