//! What is to be written next. Pure: it follows from the time, from what waits in memory and from which segments there are,
//! so that whatever a crash interrupts is found again.
//!
//! - Windows of 300 seconds go to the finest tier once they are over; a late change writes a further segment.
//! - Hours go to the coarser tiers once nothing can change them any more; a later change writes them again.
//! - Coarse tiers are joined: minutes by day, hours by 30 days.
//!
//! Of two segments the one of the greater number was written later: a coarse segment older than the seconds it is made of
//! is out of date.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use starling_history::Tier;
use starling_proto::limits::{LATE_WINDOW, LIVE_WINDOW};

use crate::blocks::BLOCK_SECONDS;

/// A window is sealed so many seconds after its end: nodes are quiet for 10, and the cluster has settled.
const SEAL_AFTER: u32 = 20;
/// Blocks that are still open keep a window waiting for so long; blocks of many nodes are sealed in memory over 128.
const SEAL_AT_LATEST: u32 = 150;
/// From one segment of a window to the next: late changes come in numbers.
const AGAIN_AFTER: u32 = 60;
/// When it is over so long it is not waited any more: soon memory forgets it.
const PRESSING_AFTER: u32 = LIVE_WINDOW - 120;
/// An hour is final when no frame of it is taken any more and its last window was sealed.
const FINAL_AFTER: u32 = LATE_WINDOW + 60;
/// An hour of which some window still waits is rolled up all the same.
const FINAL_AT_LATEST: u32 = 3 * FINAL_AFTER;
/// While copies come, hours that are over so long wait: those of one hour come one after the other, from several holders.
const WAITS_FOR_COPIES_AFTER: u32 = 3 * HOUR;
/// Seconds of an hour.
pub(super) const HOUR: u32 = 3_600;

/// What waits of one window in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Blocks that can be written.
    pub(super) sealed: u32,
    /// Blocks that are still written to.
    pub(super) open: u32,
    /// The seconds of the cluster are not on the disk as they are now.
    pub(super) cluster: bool,
    /// When the window was last written by this process; 0 when it was not.
    pub(super) written: u32,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece<Id> {
    /// Its seconds.
    pub(super) window: Range<u32>,
    /// Greater ones were written later.
    pub(super) id: Id,
}

/// All that decides.
#[derive(Debug)]
pub(super) struct Facts<'a, Id> {
    /// Unix seconds.
    pub(super) now: u32,
    /// By start of the window.
    pub(super) waiting: &'a BTreeMap<u32, Waiting>,
    /// Seconds before this one may have gone from the finest tier.
    pub(super) gone_before: u32,
    /// Copies of all times are being fetched.
    pub(super) copies_come: bool,
    /// Seconds of an outage are taken from this one on: what is over for long may change.
    pub(super) behind: Option<u32>,
    /// The segments of each tier, finest first.
    pub(super) tiers: &'a [Vec<Piece<Id>>; 4],
}

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job<Id> {
    /// Writes what waits of the window that begins here.
    Seal(u32),
    /// Makes these tiers of the hour that begins here, each from the one before.
    RollUp {
        /// Its start.
        hour: u32,
        /// Tiers that lack it or are out of date, finest first.
        tiers: Vec<Tier>,
    },
    /// Joins segments of one tier.
    Join {
        /// Which.
        tier: Tier,
        /// The seconds of the new one.
        window: Range<u32>,
        /// The old ones.
        pieces: Vec<Id>,
    },
}

/// What is due, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Backlog {
    /// Windows.
    pub(super) windows: usize,
    /// Hours.
    pub(super) hours: usize,
    /// Joins.
    pub(super) joins: usize,
    /// By how many seconds the oldest of the windows is over.
    pub(super) oldest_seconds: u32,
}

impl<Id: Copy + Ord> Facts<'_, Id> {
    /// The most urgent work, and all that is due.
    pub(super) fn next(&self) -> (Option<Job<Id>>, Backlog) {
        let windows: Vec<u32> = self.windows().collect();
        let hours = self.hours();
        let joins = self.joins();
        let oldest_seconds = windows.first().map_or(0, |start| self.now - (start + BLOCK_SECONDS));
        let backlog = Backlog { windows: windows.len(), hours: hours.len(), joins: joins.len(), oldest_seconds };
        let seal = windows.first().map(|start| Job::Seal(*start));
        let job = seal.or_else(|| hours.into_iter().next()).or_else(|| joins.into_iter().next());
        (job, backlog)
    }

    /// Windows to be written, oldest first.
    fn windows(&self) -> impl Iterator<Item = u32> + '_ {
        self.waiting.iter().filter(|(start, waiting)| self.is_window_due(**start, waiting)).map(|(start, _)| *start)
    }

    fn is_window_due(&self, start: u32, waiting: &Waiting) -> bool {
        let over = self.now.saturating_sub(start.saturating_add(BLOCK_SECONDS));
        let ready = waiting.open == 0 || over >= SEAL_AT_LATEST;
        let again = waiting.written == 0 || self.now.saturating_sub(waiting.written) >= AGAIN_AFTER;
        let something = waiting.sealed > 0 || waiting.cluster;
        if over >= PRESSING_AFTER && self.behind.is_some_and(|floor| start.saturating_add(BLOCK_SECONDS) > floor) {
            // Nothing of it is forgotten before the floor has passed it: then it is written once.
            return false;
        }
        over >= SEAL_AFTER && something && (over >= PRESSING_AFTER || (ready && again))
    }

    /// Hours to be rolled up, oldest first.
    fn hours(&self) -> Vec<Job<Id>> {
        let due = |(hour, tiers): (u32, Vec<Tier>)| self.is_final(hour).then_some(Job::RollUp { hour, tiers });
        self.not_rolled_up().into_iter().filter_map(due).collect()
    }

    /// The oldest hour that coarser tiers lack, or of which they are out of date: its seconds are needed.
    pub(super) fn oldest_not_rolled_up(&self) -> Option<u32> {
        self.not_rolled_up().first().map(|(hour, _)| *hour)
    }

    /// Hours with the tiers that lack them or are out of date, oldest first.
    fn not_rolled_up(&self) -> Vec<(u32, Vec<Tier>)> {
        let [seconds, tens, ..] = self.tiers;
        let newest_seconds = newest_by_hour(seconds);
        let newest_tens = newest_by_hour(tens);
        let all: BTreeSet<u32> = newest_seconds.keys().chain(newest_tens.keys()).copied().collect();
        let lacking = |hour: u32| {
            let (of_seconds, of_tens) = (newest_seconds.get(&hour), newest_tens.get(&hour));
            // An hour whose first seconds went is made of all it had, once.
            let whole = of_tens.is_none() || hour >= self.gone_before;
            let tens_due = whole && of_seconds > of_tens;
            let mut tiers = Vec::new();
            if tens_due {
                tiers.push(Tier::TenSeconds);
            }
            for tier in [Tier::Minute, Tier::Hour] {
                if tens_due || self.newest_over(tier, hour) < of_tens.copied() {
                    tiers.push(tier);
                }
            }
            (!tiers.is_empty()).then_some((hour, tiers))
        };
        all.into_iter().filter_map(lacking).collect()
    }

    fn is_final(&self, hour: u32) -> bool {
        let over = self.now.saturating_sub(hour.saturating_add(HOUR));
        if self.copies_come && over >= WAITS_FOR_COPIES_AFTER {
            return false;
        }
        if self.behind.is_some_and(|floor| hour.saturating_add(HOUR) > floor) {
            return false;
        }
        let waits = self.waiting.range(hour..hour.saturating_add(HOUR)).next().is_some();
        over >= FINAL_AFTER && (!waits || over >= FINAL_AT_LATEST)
    }

    /// The newest segment of `tier` that covers an hour.
    fn newest_over(&self, tier: Tier, hour: u32) -> Option<Id> {
        let covers = |piece: &&Piece<Id>| piece.window.start <= hour && piece.window.end >= hour + HOUR;
        self.tiers[usize::from(tier.code())].iter().filter(covers).map(|piece| piece.id).max()
    }

    /// Segments to be joined, oldest first.
    fn joins(&self) -> Vec<Job<Id>> {
        let mut joins = Vec::new();
        for (tier, seconds) in [(Tier::Minute, 24 * HOUR), (Tier::Hour, 30 * 24 * HOUR)] {
            let mut spans = BTreeMap::<u32, Vec<Id>>::new();
            for piece in &self.tiers[usize::from(tier.code())] {
                let start = piece.window.start - piece.window.start % seconds;
                if piece.window.end <= start + seconds {
                    spans.entry(start).or_default().push(piece.id);
                }
            }
            // With time for late changes.
            let over = |start: u32| self.now.saturating_sub(start.saturating_add(seconds)) >= 2 * HOUR;
            for (start, pieces) in spans.into_iter().filter(|(start, pieces)| pieces.len() > 1 && over(*start)) {
                joins.push(Job::Join { tier, window: start..start + seconds, pieces });
            }
        }
        joins
    }
}

/// The newest segment of each hour; segments lie within one.
fn newest_by_hour<Id: Copy + Ord>(pieces: &[Piece<Id>]) -> BTreeMap<u32, Id> {
    let mut newest = BTreeMap::<u32, Id>::new();
    for piece in pieces {
        let of_hour = newest.entry(piece.window.start - piece.window.start % HOUR).or_insert(piece.id);
        *of_hour = piece.id.max(*of_hour);
    }
    newest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A store and a memory of which only the bookkeeping is there.
    #[derive(Debug, Default)]
    struct World {
        now: u32,
        waiting: BTreeMap<u32, Waiting>,
        tiers: [Vec<Piece<u32>>; 4],
        last: u32,
        gone_before: u32,
        copies_come: bool,
        behind: Option<u32>,
        /// The number of the last change of each window that was written.
        changed: BTreeMap<u32, u32>,
    }

    impl World {
        fn next(&self) -> (Option<Job<u32>>, Backlog) {
            let Self { now, gone_before, copies_come, behind, .. } = *self;
            Facts { now, waiting: &self.waiting, gone_before, copies_come, behind, tiers: &self.tiers }.next()
        }

        fn not_rolled_up(&self) -> Option<u32> {
            let Self { now, gone_before, copies_come, behind, .. } = *self;
            Facts { now, waiting: &self.waiting, gone_before, copies_come, behind, tiers: &self.tiers }
                .oldest_not_rolled_up()
        }

        fn write(&mut self, tier: Tier, window: Range<u32>) {
            self.last += 1;
            self.tiers[usize::from(tier.code())].push(Piece { window, id: self.last });
        }

        /// Does one job; a crash may come after any tier of it.
        fn run(&mut self, job: Job<u32>, crash_after: Option<usize>) {
            match job {
                Job::Seal(start) => {
                    self.write(Tier::Second, start..start + BLOCK_SECONDS);
                    self.changed.insert(start, self.last);
                    let waiting = self.waiting.entry(start).or_default();
                    *waiting = Waiting { open: waiting.open, written: self.now, ..Waiting::default() };
                    if waiting.open == 0 {
                        self.waiting.remove(&start);
                    }
                }
                Job::RollUp { hour, tiers } => {
                    for tier in tiers.into_iter().take(crash_after.unwrap_or(usize::MAX)) {
                        self.write(tier, hour..hour + HOUR);
                    }
                }
                Job::Join { tier, window, pieces } => {
                    assert!(pieces.len() > 1);
                    self.tiers[usize::from(tier.code())].retain(|piece| !pieces.contains(&piece.id));
                    self.write(tier, window);
                }
            }
        }
    }

    fn windows() -> impl Strategy<Value = Vec<(u32, u32, bool)>> {
        // Window, seconds after which it changes, and whether it is of the cluster.
        prop::collection::vec((0u32..40, 0u32..5_000, any::<bool>()), 1..40)
    }

    proptest! {
        #[test]
        fn whatever_comes_when_all_of_it_is_written_in_every_tier_in_the_end(
            changes in windows(),
            crashes in prop::collection::vec((0u32..200_000, 0usize..4), 0..6),
        ) {
            let mut world = World { now: 1_000_000 - 1_000_000 % (24 * HOUR), ..World::default() };
            let began = world.now;
            let mut jobs = 0;
            for step in 0..4_000 {
                world.now += 60;
                let elapsed = world.now - began;
                for (window, after, cluster) in &changes {
                    let start = began + window * BLOCK_SECONDS;
                    let at = window * BLOCK_SECONDS + after;
                    if (elapsed - 60..elapsed).contains(&at) {
                        let waiting = world.waiting.entry(start).or_default();
                        if *cluster { waiting.cluster = true } else { waiting.sealed += 1 }
                    }
                }
                let crash = crashes.iter().find(|(at, _)| (elapsed - 60..elapsed).contains(at)).map(|(_, after)| *after);
                // Between two steps all due work is done, unless it never ends.
                for _ in 0..200 {
                    let (Some(job), backlog) = world.next() else { break };
                    prop_assert!(backlog.windows + backlog.hours + backlog.joins > 0);
                    jobs += 1;
                    world.run(job, crash);
                    if crash.is_some() { break }
                }
                if crash.is_none() {
                    prop_assert_eq!(world.next(), (None, Backlog::default()), "work without an end at step {}", step);
                }
            }
            prop_assert!(world.waiting.is_empty());
            let seconds: BTreeSet<u32> = changes.iter().map(|(window, ..)| began + window * BLOCK_SECONDS).collect();
            let written: BTreeSet<u32> = world.changed.keys().copied().collect();
            prop_assert_eq!(&written, &seconds);
            for (start, change) in &world.changed {
                for tier in [Tier::TenSeconds, Tier::Minute, Tier::Hour] {
                    let covers: Vec<_> = world.tiers[usize::from(tier.code())]
                        .iter()
                        .filter(|piece| piece.window.contains(start))
                        .collect();
                    prop_assert!(covers.iter().any(|piece| piece.id > *change), "{} of {} is out of date", tier, start);
                    if tier == Tier::Minute {
                        prop_assert_eq!(covers.len(), 1, "a day is one segment");
                    }
                }
            }
            prop_assert!(jobs <= 400, "{jobs} jobs for {} changes", changes.len());
        }
    }

    #[test]
    fn a_window_waits_for_its_open_blocks_but_not_for_ever() {
        let mut world = World { now: 319, ..World::default() };
        let waiting = |sealed, open| Waiting { sealed, open, ..Waiting::default() };
        world.waiting.insert(0, waiting(1, 0));
        assert_eq!(world.next().0, None, "19 s after its end");
        world.now = 320;
        assert_eq!(world.next().0, Some(Job::Seal(0)));
        world.waiting.insert(0, waiting(1, 1));
        assert_eq!(world.next().0, None);
        world.now = 450;
        assert_eq!(
            world.next(),
            (Some(Job::Seal(0)), Backlog { windows: 1, oldest_seconds: 150, ..Backlog::default() })
        );
        world.waiting.insert(0, Waiting { written: 440, ..waiting(1, 0) });
        assert_eq!(world.next().0, None, "it was written 10 s before");
        world.now = 300 + PRESSING_AFTER;
        world.waiting.insert(0, Waiting { written: world.now - 1, ..waiting(1, 1) });
        assert_eq!(world.next().0, Some(Job::Seal(0)), "memory forgets it soon");
        world.waiting.insert(0, waiting(0, 1));
        assert_eq!(world.next().0, None, "there is nothing to write");
    }

    #[test]
    fn what_comes_of_an_outage_is_written_once_the_floor_has_passed_it() {
        let mut world = World { now: 10 * HOUR, behind: Some(299), ..World::default() };
        world.waiting.insert(0, Waiting { cluster: true, ..Waiting::default() });
        world.waiting.insert(10 * HOUR - 600, Waiting { cluster: true, ..Waiting::default() });
        assert_eq!(world.next().0, Some(Job::Seal(10 * HOUR - 600)), "what is live is not held up");
        world.run(world.next().0.unwrap(), None);
        assert_eq!(world.next().0, None);
        world.behind = Some(300);
        assert_eq!(world.next().0, Some(Job::Seal(0)));
        world.run(world.next().0.unwrap(), None);
        assert_eq!(world.next().0, None, "more of the hour comes");
        world.behind = Some(HOUR);
        assert!(matches!(world.next().0, Some(Job::RollUp { hour: 0, .. })));
    }

    #[test]
    fn an_old_hour_waits_while_copies_of_it_come() {
        let mut world = World { now: 10 * HOUR, copies_come: true, ..World::default() };
        world.write(Tier::Second, 0..300);
        world.write(Tier::Second, 8 * HOUR..8 * HOUR + 300);
        assert!(matches!(world.next().0, Some(Job::RollUp { hour, .. }) if hour == 8 * HOUR), "{:?}", world.next());
        world.run(world.next().0.unwrap(), None);
        assert_eq!(world.next().0, None);
        world.copies_come = false;
        assert!(matches!(world.next().0, Some(Job::RollUp { hour: 0, .. })));
    }

    #[test]
    fn an_hour_that_lost_its_first_seconds_is_not_made_again() {
        let mut world = World { now: 10 * HOUR, ..World::default() };
        world.write(Tier::Second, 3_900..4_200);
        assert_eq!(world.not_rolled_up(), Some(HOUR), "its seconds are needed");
        assert_eq!(
            world.next().0,
            Some(Job::RollUp { hour: HOUR, tiers: vec![Tier::TenSeconds, Tier::Minute, Tier::Hour] })
        );
        world.run(world.next().0.unwrap(), None);
        assert_eq!(world.next().0, None);
        assert_eq!(world.not_rolled_up(), None);
        // Its window from 3,600 on was deleted meanwhile, and a copy of another one came.
        world.gone_before = 3_900;
        world.write(Tier::Second, 3_900..4_200);
        assert_eq!(world.next().0, None);
        world.gone_before = HOUR;
        assert!(matches!(world.next().0, Some(Job::RollUp { hour: HOUR, .. })));
    }
}
