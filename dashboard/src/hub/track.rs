//! The seconds of one upstream series: what is charted for 15 minutes, and the last few whole.

use std::{collections::VecDeque, sync::Arc};

use starling_proto::limits::PAGE_WINDOW;

use super::{
    UnixMillis, columns,
    grid::{Grid, Inserted},
    log::{BEHIND_MAX, BEHIND_MAX_MS},
    minute::{LastMinute, Minute},
    sections::Second,
};

/// Whole seconds kept for followers of the JSON endpoints: those that come at once after a change of the aggregator, which
/// costs a few seconds. A second is some 20 kB with its histograms.
const WHOLE_MAX: usize = 16;
/// At the start, a second older than this is history being caught up with: live ones are about one second old.
const START_AGE_MS: u64 = 2_500;
/// Later, a second older than this that arrives right behind another one is. Younger ones, after a change of the
/// aggregator, are sent one by one.
const BACKLOG_AGE_MS: u64 = 10_000;
/// How close behind another one: live seconds come 1,000 ms apart, history as fast as the wire carries it.
const BACKLOG_GAP_MS: u64 = 300;
/// A second further ahead of our clock than this is taken for nonsense: it would empty the rings.
const AHEAD_MAX_S: u64 = PAGE_WINDOW as u64;

/// What taking in a second did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that clients need.
    Nothing,
    /// One more second, or a correction. `new_columns` were not there before.
    Published { revision: u32, newest: bool, new_columns: Vec<String> },
    /// History is being caught up with: clients get a snapshot when it is complete.
    Backlog,
    /// History is complete.
    CaughtUp,
}

/// The seconds of the cluster, of a group or of a node.
#[derive(Debug)]
pub(crate) struct Track {
    node: bool,
    names: Vec<String>,
    grid: Grid,
    minute: Minute,
    /// With the time of arrival; newest last.
    whole: VecDeque<(UnixMillis, Arc<Second>)>,
    catching_up: bool,
    /// Whether history was complete once.
    started: bool,
    last_applied: UnixMillis,
}

impl Track {
    /// Nothing yet.
    pub(crate) fn new(node: bool) -> Self {
        Self {
            node,
            names: columns::names(node, 0),
            grid: Grid::new(PAGE_WINDOW),
            minute: Minute::default(),
            whole: VecDeque::with_capacity(WHOLE_MAX),
            catching_up: true,
            started: false,
            last_applied: 0,
        }
    }

    /// Takes in a second.
    pub(crate) fn apply(&mut self, second: &Arc<Second>, now: UnixMillis) -> Change {
        let tick = second.tick();
        if u64::from(tick) > now / 1000 + AHEAD_MAX_S {
            return Change::Nothing;
        }
        let point = columns::point(second, self.node);
        let is_last = self.grid.newest().is_none_or(|newest| tick >= newest);
        let inserted = self.grid.insert(tick, &point, second.reporting());
        let revision = match inserted {
            Inserted::Nothing => return Change::Nothing,
            Inserted::New => 0,
            Inserted::Corrected(revision) => revision,
        };
        self.minute.apply(second);
        let new_columns = self.grow(second.cores().len());
        if is_last {
            self.keep(second, now);
        }
        let age = now.saturating_sub(u64::from(tick) * 1000);
        let gap = now.saturating_sub(self.last_applied);
        self.last_applied = now;
        let old = if self.started { BACKLOG_AGE_MS } else { START_AGE_MS };
        if age > old && (self.catching_up || (gap < BACKLOG_GAP_MS && revision == 0)) {
            self.catching_up = true;
            return Change::Backlog;
        }
        self.started = true;
        if std::mem::take(&mut self.catching_up) {
            return Change::CaughtUp;
        }
        Change::Published { revision, newest: is_last, new_columns }
    }

    /// Ends catching up when nothing more came for a while: the cluster may have stopped, or the clocks differ.
    /// Returns true when it did.
    pub(crate) fn settle(&mut self, now: UnixMillis) -> bool {
        let over =
            self.catching_up && self.newest().is_some() && now.saturating_sub(self.last_applied) > BACKLOG_GAP_MS;
        if over {
            self.catching_up = false;
            self.started = true;
        }
        over
    }

    fn grow(&mut self, cores: usize) -> Vec<String> {
        if !self.node || columns::names(true, cores).len() <= self.names.len() {
            return Vec::new();
        }
        let names = columns::names(true, cores);
        let new = names[self.names.len()..].to_vec();
        self.names = names;
        new
    }

    fn keep(&mut self, second: &Arc<Second>, now: UnixMillis) {
        if self.whole.back().is_some_and(|(_, last)| last.tick() == second.tick()) {
            self.whole.pop_back();
        }
        if self.whole.len() == WHOLE_MAX {
            self.whole.pop_front();
        }
        self.whole.push_back((now, Arc::clone(second)));
    }

    /// Newest second, whole.
    pub(crate) fn newest(&self) -> Option<&Arc<Second>> {
        self.whole.back().map(|(_, second)| second)
    }

    /// The whole second to send after `tick`: the next one, or the newest to a follower that is too far behind. 0 is a
    /// follower that has none, and gets the newest.
    pub(crate) fn after(&self, tick: u32, now: UnixMillis) -> Option<&Arc<Second>> {
        let pending = self.whole.iter().filter(|(_, second)| second.tick() > tick);
        let (arrived, next) = pending.clone().next()?;
        let late = pending.count() > BEHIND_MAX && now.saturating_sub(*arrived) > BEHIND_MAX_MS;
        if tick == 0 || late { self.newest() } else { Some(next) }
    }

    /// What the last minute adds up to.
    pub(crate) fn minute(&self) -> LastMinute {
        self.minute.sum()
    }

    /// Whether history is still coming in.
    pub(crate) fn is_catching_up(&self) -> bool {
        self.catching_up
    }

    /// What is charted.
    pub(crate) fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Values of the column `name` over `from..=newest`, oldest first, with their seconds. `NaN` where there is none.
    pub(crate) fn column(&self, name: &str, from: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        // A column that is not there is beyond every row: `NaN` for each second.
        let index = self.names.iter().position(|is| is == name).unwrap_or(usize::MAX);
        self.grid.column(index, from)
    }

    /// Names of the columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_proto::v1;

    fn second(tick: u32, cores: usize) -> Arc<Second> {
        Arc::new(Second::Node(Box::new(v1::NodeView {
            tick,
            core_utilization_ratios: vec![0.5; cores],
            ..Default::default()
        })))
    }

    const NOW: u32 = 1_700_000_000;

    fn millis(tick: u32) -> UnixMillis {
        u64::from(tick) * 1000 + 400
    }

    #[test]
    fn history_is_caught_up_with_in_silence() {
        let mut track = Track::new(true);
        for tick in NOW - 100..NOW - 2 {
            assert_eq!(track.apply(&second(tick, 2), millis(NOW)), Change::Backlog, "{tick}");
        }
        assert_eq!(track.apply(&second(NOW, 2), millis(NOW)), Change::CaughtUp);
        let change = track.apply(&second(NOW + 1, 2), millis(NOW + 1));
        assert_eq!(change, Change::Published { revision: 0, newest: true, new_columns: vec![] });
    }

    #[test]
    fn a_cluster_whose_clock_is_behind_still_ticks() {
        let mut track = Track::new(true);
        assert_eq!(track.apply(&second(NOW - 60, 1), millis(NOW)), Change::Backlog);
        assert!(!track.settle(millis(NOW) + 100));
        assert!(track.settle(millis(NOW) + 400));
        assert!(matches!(track.apply(&second(NOW - 59, 1), millis(NOW + 1)), Change::Published { .. }));
        assert!(matches!(track.apply(&second(NOW - 58, 1), millis(NOW + 2)), Change::Published { .. }));
    }

    #[test]
    fn cores_become_columns_once() {
        let mut track = Track::new(true);
        track.apply(&second(NOW, 0), millis(NOW));
        let Change::Published { new_columns, .. } = track.apply(&second(NOW + 1, 2), millis(NOW + 1)) else { panic!() };
        assert_eq!(new_columns, ["core.0", "core.1"]);
        let Change::Published { new_columns, .. } = track.apply(&second(NOW + 2, 1), millis(NOW + 2)) else { panic!() };
        assert!(new_columns.is_empty(), "a core that went leaves its column");
    }

    #[test]
    fn nonsense_is_left_out_and_whole_seconds_are_bounded() {
        let mut track = Track::new(true);
        assert_eq!(track.apply(&second(u32::MAX, 1), millis(NOW)), Change::Nothing);
        for tick in NOW..NOW + 50 {
            track.apply(&second(tick, 1), millis(tick));
        }
        assert_eq!(track.whole.len(), WHOLE_MAX);
        let after = |tick, now| track.after(tick, now).map(|is| is.tick());
        let newest = NOW + 49;
        assert_eq!(after(0, millis(newest)), Some(newest));
        assert_eq!(after(newest - 1, millis(newest)), Some(newest));
        assert_eq!(after(newest - 2, millis(newest)), Some(newest - 1));
        assert_eq!(after(newest - 8, millis(newest)), Some(newest), "a slow follower jumps");
        assert_eq!(after(newest, millis(newest)), None);
        let mut burst = Track::new(true);
        (NOW..NOW + 8).for_each(|tick| drop(burst.apply(&second(tick, 1), millis(NOW + 8))));
        assert_eq!(
            burst.after(NOW, millis(NOW + 8)).map(|is| is.tick()),
            Some(NOW + 1),
            "what came at once is all sent"
        );
    }

    #[test]
    fn a_repeated_second_is_nothing() {
        let mut track = Track::new(true);
        track.apply(&second(NOW, 1), millis(NOW));
        assert_eq!(track.apply(&second(NOW, 1), millis(NOW)), Change::Nothing);
        assert!(matches!(
            track.apply(&second(NOW, 2), millis(NOW)),
            Change::Published { revision: 1, newest: true, .. }
        ));
    }
}
