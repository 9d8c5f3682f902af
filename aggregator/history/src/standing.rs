//! What is held of the steps of a window, so that who holds another version can say whether it is better.

use crate::{Block, Step, Subject, Tier};

/// Of the steps of a window: how many seconds of each are held, and in which version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    tier: Tier,
    start: u32,
    merged: bool,
    /// One a step.
    steps: Vec<Step>,
}

impl Standing {
    /// Of `steps` steps from `start` of which nothing is held.
    #[must_use]
    pub fn nothing(subject: &Subject, tier: Tier, start: u32, steps: u16) -> Self {
        Self { tier, start, merged: subject.is_merged(), steps: vec![Step::default(); usize::from(steps)] }
    }

    /// As another process says it: runs of equal steps, each with its length. Steps that no run speaks of are not held;
    /// runs beyond the window do not count.
    #[must_use]
    pub fn of_runs(
        subject: &Subject,
        tier: Tier,
        start: u32,
        steps: u16,
        runs: impl IntoIterator<Item = (u32, Step)>,
    ) -> Self {
        let mut standing = Self::nothing(subject, tier, start, steps);
        let mut left = &mut standing.steps[..];
        for (length, step) in runs {
            let length = left.len().min(length as usize);
            let (mine, rest) = left.split_at_mut(length);
            mine.fill(Step { seconds: step.seconds.min(tier.seconds()), ..step });
            left = rest;
        }
        standing
    }

    /// Adds the steps of a block that lie in the window.
    pub fn add(&mut self, block: &Block) {
        let steps: Vec<(usize, Step)> = self.of_block(block).collect();
        for (at, step) in steps {
            let known = &mut self.steps[at];
            if step.rank(self.merged) > known.rank(self.merged) {
                *known = step;
            }
        }
    }

    /// Whether joining `block` would change something: it has a step that is not held, or a better version of one.
    #[must_use]
    pub fn is_bettered_by(&self, block: &Block) -> bool {
        self.of_block(block).any(|(at, step)| step.rank(self.merged) > self.steps[at].rank(self.merged))
    }

    /// Whether no version up to `revision` can better it: all of it is held, in versions that are no older.
    #[must_use]
    pub fn is_final_up_to(&self, revision: u64) -> bool {
        self.steps.iter().all(|step| step.seconds == self.tier.seconds() && step.revision >= revision)
    }

    /// Whether nothing of it is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.seconds == 0)
    }

    /// Seconds that are held.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.steps.iter().map(|step| u64::from(step.seconds)).sum()
    }

    /// Runs of equal steps, each with its length, from the first step on; those that are not held at the end are left out.
    #[must_use]
    pub fn runs(&self) -> Vec<(u32, Step)> {
        let mut runs: Vec<(u32, Step)> = Vec::new();
        for step in &self.steps {
            match runs.last_mut() {
                Some((length, last)) if last == step => *length += 1,
                _ => runs.push((1, *step)),
            }
        }
        runs.pop_if(|(_, step)| *step == Step::default());
        runs
    }

    fn of_block<'a>(&'a self, block: &'a Block) -> impl Iterator<Item = (usize, Step)> + 'a {
        let fits = block.tier() == self.tier && block.subject().is_merged() == self.merged;
        let steps = block.steps().filter(move |_| fits);
        steps.filter_map(|(tick, step)| {
            let at = (tick.checked_sub(self.start)? / self.tier.seconds()) as usize;
            (at < self.steps.len() && step.seconds > 0).then_some((at, step))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_proto::{catalogue, ids::NodeId, series::Series};

    use super::*;
    use crate::{BlockBuilder, Coverage, SecondValue, roll_up};

    const T0: u32 = 36_000;

    fn node() -> Subject {
        Subject::Node(NodeId::parse("web-1").unwrap())
    }

    /// A block of a node with these seconds.
    fn block(seconds: impl IntoIterator<Item = u32>, revision: u64) -> Block {
        let mut builder = BlockBuilder::new(node(), T0);
        let series = Series::of(&catalogue::LOAD_1M, &[]);
        for second in seconds {
            let value = SecondValue::Gauge { sum: 1, nodes: 1, min: 1, max: 1, distribution: None };
            builder.push(T0 + second, revision, Coverage::second(1, 1, 0), [(&series, value)]).unwrap();
        }
        builder.seal().unwrap()
    }

    fn standing(blocks: &[Block]) -> Standing {
        let mut standing = Standing::nothing(&node(), Tier::Second, T0, 300);
        blocks.iter().for_each(|block| standing.add(block));
        standing
    }

    #[test]
    fn what_has_a_second_more_or_a_newer_one_is_better() {
        let (first, second) = (block(0..150, 5), block(100..300, 5));
        let of_first = standing(std::slice::from_ref(&first));
        assert!(of_first.is_bettered_by(&second) && !of_first.is_bettered_by(&first));
        assert!(!of_first.is_bettered_by(&block(20..30, 5)) && !of_first.is_bettered_by(&block(20..30, 4)));
        assert!(of_first.is_bettered_by(&block(20..21, 6)), "corrected later");
        assert_eq!((of_first.seconds(), of_first.is_empty()), (150, false));
        let both = standing(&[first.clone(), second.clone()]);
        assert!(both.is_final_up_to(5) && !both.is_final_up_to(6) && !of_first.is_final_up_to(1));
        assert_eq!(both.runs(), [(300, Step { seconds: 1, revision: 5 })]);
        assert_eq!(of_first.runs(), [(150, Step { seconds: 1, revision: 5 })]);
        assert!(Standing::nothing(&node(), Tier::Second, T0, 300).is_empty());
        // Of another tier or another time nothing is said.
        assert!(!Standing::nothing(&node(), Tier::Minute, T0, 5).is_bettered_by(&first));
        assert!(!Standing::nothing(&node(), Tier::Second, T0 + 300, 300).is_bettered_by(&first));
    }

    #[test]
    fn of_two_roll_ups_of_a_node_the_fuller_one_counts_whatever_its_age() {
        let (full, poor) = (block(0..300, 5), block(0..200, 9));
        let rolled = |block: &Block| roll_up(std::slice::from_ref(block), Tier::Hour, T0).unwrap();
        let (full, poor) = (rolled(&full), rolled(&poor));
        for joined in [full.merge(&poor), poor.merge(&full)] {
            let steps: Vec<_> = joined.unwrap().steps().collect();
            assert_eq!(steps, [(T0, Step { seconds: 300, revision: 5 })]);
        }
        let mut standing = Standing::nothing(&node(), Tier::Hour, T0, 1);
        standing.add(&full);
        assert!(!standing.is_bettered_by(&poor));
    }

    proptest! {
        #[test]
        fn it_is_bettered_exactly_when_joining_changes_it(
            held in prop::collection::vec((prop::collection::btree_set(0u32..300, 0..300), 1u64..4), 0..4),
            other in (prop::collection::btree_set(0u32..300, 1..300), 1u64..4),
        ) {
            let held: Vec<Block> =
                held.into_iter().filter(|(seconds, _)| !seconds.is_empty()).map(|(seconds, at)| block(seconds, at)).collect();
            let other = block(other.0, other.1);
            let before = standing(&held);
            let mut after = before.clone();
            after.add(&other);
            prop_assert_eq!(before != after, before.is_bettered_by(&other));
            prop_assert!(!after.is_bettered_by(&other), "nothing is fetched twice");
            prop_assert!(after.seconds() >= before.seconds());
            // What it says over the wire says the same.
            let runs = before.runs();
            prop_assert_eq!(&Standing::of_runs(&node(), Tier::Second, T0, 300, runs), &before);
            // And it is what reading the versions together gives.
            let mut all = held;
            all.push(other);
            let joined: Vec<_> = Block::join(&all).unwrap().steps().collect();
            let said: Vec<_> = standing(&all).steps.iter().zip(T0..).filter(|(step, _)| step.seconds > 0)
                .map(|(step, tick)| (tick, *step)).collect();
            prop_assert_eq!(joined, said);
        }
    }
}
