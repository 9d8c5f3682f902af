//! How much of the ledger's time one peer may take: its streams wait, those of nodes and of other peers do not.

use std::time::{Duration, Instant};

use crate::{bucket::Bucket, ledger_task::Turn};

/// What a peer may take at once: the logs of a whole window, which a process that starts gets, take some seconds.
const BURST: Duration = Duration::from_secs(10);
/// Of each second in the long run. Ten busy peers together take a tenth of it.
const SHARE: f64 = 0.25;
/// Before the next message of a peer whose author is over a quota is read. What it sends meanwhile waits on the wire.
const OVER_QUOTA: Duration = Duration::from_millis(100);

/// The account of one stream, in seconds of the ledger's time. Time as an argument.
#[derive(Debug)]
pub(super) struct Turns(Bucket);

impl Turns {
    /// A stream that begins at `now`.
    pub(super) const fn new(now: Instant) -> Self {
        Self(Bucket::new(now, BURST.as_secs() as f64, SHARE))
    }

    /// The ledger took a run of it. Returns how long the stream waits before it gives the next.
    pub(super) fn took(&mut self, now: Instant, turn: Turn) -> Duration {
        let wait = self.0.take(now, turn.took.as_secs_f64());
        if turn.over_quota { wait.max(OVER_QUOTA) } else { wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_does_not_wait_and_a_flood_gets_its_share() {
        let (start, took) = (Instant::now(), Duration::from_millis(100));
        let mut turns = Turns::new(start);
        let turn = Turn { took, over_quota: false };
        assert!((0..100).all(|_| turns.took(start, turn).is_zero()), "ten seconds at once");
        assert_eq!(turns.took(start, turn).as_millis(), 400);
        // Whoever waits as it is told takes a quarter.
        let (mut now, mut taken) = (start, Duration::ZERO);
        while now < start + Duration::from_secs(100) {
            now += took + turns.took(now, turn);
            taken += took;
        }
        assert!((20.0..26.0).contains(&taken.as_secs_f64()), "{taken:?} of 100 s");
        let mut fresh = Turns::new(start);
        assert_eq!(fresh.took(start, Turn { took: Duration::ZERO, over_quota: true }), OVER_QUOTA);
    }
}
