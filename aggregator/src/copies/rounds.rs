//! When an aggregator looks for copies. Pure.
//!
//! - The newest hours: every few seconds, whoever is there. What was sealed is at the second holder soon.
//! - All of history: once after the start, when the members of the cluster changed and stood so for a while, and every few
//!   hours, since a disk may lose a block by itself.

use std::time::Duration;

use starling_proto::ids::NodeId;

/// From one look at the newest hours to the next.
const RECENT_EVERY: Duration = Duration::from_secs(5);
/// All of history is looked through at least so often.
const ALL_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// After the start the members stand so long before all of history is looked through: gossip has found all of them.
const AFTER_START: Duration = Duration::from_secs(5);
/// After a round that failed, the first and the longest wait.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// The members that may own nodes, by name, with their weights: whose copies are kept where follows from these alone.
pub(super) type Owners = Vec<(NodeId, u16)>;

/// What is to be looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// The newest hours.
    Recent,
    /// Everything.
    All,
}

/// See the module. Times are since the start.
#[derive(Debug)]
pub(super) struct Rounds {
    /// How long members stand before copies are restored for them.
    restore_after: Duration,
    owners: Owners,
    since: Duration,
    recent_at: Duration,
    /// The owners for whom all was looked through last, and when.
    done: Option<(Owners, Duration)>,
    again_at: Duration,
    failures: u32,
}

impl Rounds {
    /// Of a process that starts now.
    pub(super) const fn new(restore_after: Duration) -> Self {
        let zero = Duration::ZERO;
        Self {
            restore_after,
            owners: Vec::new(),
            since: zero,
            recent_at: zero,
            done: None,
            again_at: zero,
            failures: 0,
        }
    }

    /// Takes what the membership is. True when it changed.
    pub(super) fn observe(&mut self, now: Duration, owners: Owners) -> bool {
        let changed = owners != self.owners;
        if changed {
            (self.owners, self.since) = (owners, now);
            (self.recent_at, self.failures, self.again_at) = (now, 0, now);
        }
        changed
    }

    /// What is due.
    pub(super) fn next(&self, now: Duration) -> Option<Round> {
        if self.owners.len() < 2 {
            return None;
        }
        if now >= self.recent_at {
            return Some(Round::Recent);
        }
        let stood = now.saturating_sub(self.since);
        let due = match &self.done {
            None => stood >= AFTER_START.min(self.restore_after),
            Some((owners, at)) if *owners == self.owners => now.saturating_sub(*at) >= ALL_EVERY,
            Some(_) => stood >= self.restore_after,
        };
        (due && now >= self.again_at).then_some(Round::All)
    }

    /// A round is over; `whole` when it left nothing undone.
    pub(super) fn ended(&mut self, now: Duration, round: Round, owners: &Owners, whole: bool) {
        match round {
            Round::Recent => self.recent_at = now + RECENT_EVERY,
            Round::All if whole => {
                self.done = Some((owners.clone(), now));
                self.failures = 0;
            }
            Round::All => {
                self.failures = self.failures.saturating_add(1);
                self.again_at = now + AGAIN.0.saturating_mul(1 << self.failures.min(8)).min(AGAIN.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn owners(names: &[&str]) -> Owners {
        names.iter().map(|name| (NodeId::parse(name).unwrap(), 100)).collect()
    }

    /// All rounds that are due in these seconds, each done at once.
    fn run(rounds: &mut Rounds, seconds: std::ops::Range<u64>, owners: &Owners, whole: bool) -> (usize, Vec<u64>) {
        let (mut recent, mut all) = (0, Vec::new());
        for second in seconds {
            rounds.observe(S(second), owners.clone());
            while let Some(round) = rounds.next(S(second)) {
                match round {
                    Round::Recent => recent += 1,
                    Round::All => all.push(second),
                }
                rounds.ended(S(second), round, owners, whole);
            }
        }
        (recent, all)
    }

    #[test]
    fn alone_nothing_is_looked_for() {
        let mut rounds = Rounds::new(S(600));
        assert_eq!(run(&mut rounds, 0..10_000, &owners(&["a"]), true), (0, Vec::new()));
    }

    #[test]
    fn all_of_it_after_the_start_and_when_a_change_has_lasted() {
        let mut rounds = Rounds::new(S(600));
        let (three, two) = (owners(&["a", "b", "c"]), owners(&["a", "b"]));
        assert_eq!(run(&mut rounds, 0..100, &three, true), (20, vec![5]));
        // Restarted within a minute: the others fetch nothing for it.
        assert_eq!(run(&mut rounds, 100..160, &two, true).1, [0; 0]);
        assert_eq!(run(&mut rounds, 160..2_000, &three, true).1, [0; 0]);
        // Gone for good.
        assert_eq!(run(&mut rounds, 2_000..5_000, &two, true).1, vec![2_600]);
        assert_eq!(run(&mut rounds, 5_000..5_000 + 6 * 3_600, &two, true).1, vec![2_600 + 6 * 3_600]);
    }

    #[test]
    fn a_round_that_fails_is_done_again_ever_later() {
        let mut rounds = Rounds::new(S(1));
        let two = owners(&["a", "b"]);
        assert_eq!(run(&mut rounds, 0..1_000, &two, false).1, vec![1, 11, 31, 71, 151, 311, 611, 911]);
        assert_eq!(run(&mut rounds, 1_000..3_000, &two, true).1, vec![1_211]);
    }
}
