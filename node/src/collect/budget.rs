//! What reading the host may cost, and how much detail that leaves. Pure: it is told what each second cost.
//!
//! Detail goes in steps, what matters least first, and comes back one step at a time. A step that had to be taken back at
//! once is tried less and less often, so that a host on the edge does not flap.

use std::{collections::VecDeque, time::Duration};

use starling_proto::limits::TICK;

/// Seconds that are judged together: a single dear second is none.
const JUDGED: usize = 10;
/// Detail comes back when what is read costs less than this part of the budget.
const COMFORTABLE: f64 = 0.5;
/// For so many seconds.
const CALM_SECONDS: u32 = 60;
/// What comes back and goes within so many seconds was too dear.
const TRIED_SECONDS: u32 = 120;
/// The longest wait for another try.
const CALM_SECONDS_MAX: u32 = 3_600;

/// How much detail is dropped: none, up to [`Level::MAX`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level(u8);

impl Level {
    /// What is worth least: the fine grain.
    pub(super) const FINE: Self = Self(1);
    /// And who did it.
    pub(super) const PROCESSES: Self = Self(2);
    /// And everything that is not the host as a whole.
    pub(super) const PARTS: Self = Self(3);
    pub(super) const MAX: Self = Self::PARTS;
}

/// See the module.
#[derive(Debug)]
pub(super) struct Budget {
    /// Seconds of a processor a second; `None` without a bound.
    allowed: Option<f64>,
    spent: VecDeque<f64>,
    level: Level,
    /// Seconds at this level with room for more.
    calm: u32,
    /// How many of them it takes.
    needed: u32,
    /// Since detail came back.
    since_back: u32,
    /// What a second cost when detail was last left out, milliseconds.
    over_ms: u64,
}

impl Budget {
    pub(super) fn new(allowed: Option<Duration>) -> Self {
        Self {
            allowed: allowed.map(|allowed| allowed.as_secs_f64()),
            spent: VecDeque::with_capacity(JUDGED),
            level: Level::default(),
            calm: 0,
            needed: CALM_SECONDS,
            since_back: TRIED_SECONDS,
            over_ms: 0,
        }
    }

    /// What is left out at present.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Milliseconds of a processor that a second cost when detail was last left out.
    pub(super) fn over_ms(&self) -> u64 {
        self.over_ms
    }

    fn mean(&self) -> f64 {
        self.spent.iter().sum::<f64>() / self.spent.len().max(1) as f64
    }

    /// Takes what `elapsed` cost in all.
    pub(super) fn spend(&mut self, cost: Duration, elapsed: Duration) {
        let Some(allowed) = self.allowed else { return };
        if self.spent.len() == JUDGED {
            self.spent.pop_front();
        }
        // Cuts come close after each other when one was late; a long gap is one reading.
        self.spent.push_back(cost.as_secs_f64() / elapsed.max(TICK).as_secs_f64());
        self.since_back = self.since_back.saturating_add(1);
        // What has stood the test of an hour is tried again as readily as ever.
        if self.level == Level::default() && self.since_back > CALM_SECONDS_MAX {
            self.needed = CALM_SECONDS;
        }
        let mean = self.mean();
        if mean > allowed {
            self.calm = 0;
            if self.spent.len() == JUDGED && self.level < Level::MAX {
                if self.since_back < TRIED_SECONDS {
                    self.needed = (self.needed * 2).min(CALM_SECONDS_MAX);
                }
                self.over_ms = ((mean * 1_000.0).round() as u64).max(1);
                self.go_to(Level(self.level.0 + 1));
            }
        } else if mean > allowed * COMFORTABLE || self.level == Level::default() {
            self.calm = 0;
        } else {
            self.calm += 1;
            if self.calm >= self.needed {
                self.since_back = 0;
                self.go_to(Level(self.level.0 - 1));
            }
        }
    }

    fn go_to(&mut self, level: Level) {
        self.level = level;
        self.calm = 0;
        // What was read before says nothing about what is read now.
        self.spent.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALLOWED: Duration = Duration::from_millis(20);

    /// Runs for `seconds`, each costing what `cost` says of the level in milliseconds; the levels.
    fn run(budget: &mut Budget, seconds: usize, cost: impl Fn(Level) -> u64) -> Vec<u8> {
        let second = |_| {
            budget.spend(Duration::from_millis(cost(budget.level())), TICK);
            budget.level().0
        };
        (0..seconds).map(second).collect()
    }

    fn changes(levels: &[u8]) -> usize {
        levels.windows(2).filter(|two| two[0] != two[1]).count()
    }

    #[test]
    fn detail_goes_step_by_step_and_comes_back() {
        let mut budget = Budget::new(Some(ALLOWED));
        assert_eq!(run(&mut budget, 9, |_| 30), [0; 9]);
        assert_eq!(run(&mut budget, 1, |_| 30), [1], "after ten seconds");
        assert_eq!(run(&mut budget, 40, |level| 60 - 15 * u64::from(level.0))[39], 3);
        assert_eq!(budget.over_ms(), 30, "without the fine grain and processes");
        // The seconds that are judged are cheap enough once most of them are.
        assert_eq!(run(&mut budget, 65, |_| 5), [[3; 64].as_slice(), &[2]].concat());
        assert_eq!(run(&mut budget, 120, |_| 5)[119], 0);
    }

    #[test]
    fn one_dear_second_and_a_budget_of_nothing() {
        let mut budget = Budget::new(Some(ALLOWED));
        for _ in 0..20 {
            run(&mut budget, 15, |_| 5);
            assert_eq!(run(&mut budget, 1, |_| 100), [0]);
        }
        let mut none = Budget::new(None);
        assert_eq!(run(&mut none, 100, |_| 1_000)[99], 0);
    }

    #[test]
    fn on_the_edge_it_is_tried_less_and_less_often() {
        let mut budget = Budget::new(Some(ALLOWED));
        // Whole it is too dear, and without the fine grain it seems to have room.
        let levels = run(&mut budget, 24 * 3_600, |level| if level.0 == 0 { 25 } else { 8 });
        let whole = levels.iter().filter(|level| **level == 0).count();
        assert!(changes(&levels) < 80 && whole < 600, "{} changes, {whole} s whole", changes(&levels));
        assert!(changes(&levels[3_600..7_200]) <= 6, "{}", changes(&levels[3_600..7_200]));
        // When it becomes cheap it comes back to stay.
        let levels = run(&mut budget, 2 * 3_600, |_| 5);
        assert!(changes(&levels) <= 1 && levels[levels.len() - 1] == 0);
    }

    proptest! {
        #[test]
        fn it_ends_within_the_budget_or_without_detail(mut costs in proptest::array::uniform4(0u64..200)) {
            // More detail is never cheaper.
            costs.sort_unstable_by(|a, b| b.cmp(a));
            let mut budget = Budget::new(Some(ALLOWED));
            run(&mut budget, 7_200, |level| costs[usize::from(level.0)]);
            let levels = run(&mut budget, 3_600, |level| costs[usize::from(level.0)]);
            let over = levels.iter().filter(|level| costs[usize::from(**level)] > 20 && **level < 3).count();
            prop_assert!(over <= 10 * JUDGED, "{} of {} seconds over", over, levels.len());
            prop_assert!(changes(&levels) <= 12, "{}", changes(&levels));
        }
    }
}
