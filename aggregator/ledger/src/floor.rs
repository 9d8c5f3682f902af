//! Which seconds are still taken: the floor, which only moves forward. Pure, and knows nothing of the ledger that asks it.
//!
//! While a cluster runs the floor follows the clock, `late_seconds` behind it. What the *whole* cluster was away for nobody has
//! forgotten, so a process that starts begins with the floor of the one before it, and lets it catch up with the clock, faster
//! than time runs: the seconds of an outage are taken as it passes over them, a bounded number at a time.
//!
//! | phase | the floor | old seconds, beyond `late_seconds` |
//! |---|---|---|
//! | waiting: the peers have not been heard | that of the process before, at most `outage_max` ago | none yet |
//! | moving | stays for `hold`, then goes `rate` seconds a second | those up to `window` above the floor |
//! | steady | `late_seconds` behind the clock | none |
//!
//! Everybody uses the greatest floor of all he hears of: what one has forgotten nobody takes, or one second would be told in two
//! ways. So who was away alone takes nothing old, and neither does a cluster with somebody who does not know the rule.
//!
//! Below the floor not all keep equally much: a process that makes up for an outage has to write down more. So what one has
//! forgotten all forget: entries of those seconds are pruned there, and who takes a log up behind them would show the seconds
//! without their frames.

use std::time::Duration;

/// Told by a process that has kept nothing from before and has not heard its peers: it has forgotten nothing either.
const NOTHING_KEPT: u32 = 1;
/// For so long after it has caught up it forgets as slowly as before: what follows writes down the last of the old seconds.
const SETTLES_MS: u64 = 120_000;

/// How a floor catches up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatchUp {
    /// Older seconds are not taken whatever was kept. Default 6 h: as much as a node keeps on its disk.
    pub outage_max: u32,
    /// So long it stays after the start: nodes hand over their newest 15 minutes first, which takes them 70 to 150 s. Default 3 min.
    pub hold: Duration,
    /// Seconds a second by which it moves then. Default 5: a node hands over some 13, since an acknowledgement takes 1.5 s
    /// and 20 old frames may be without one.
    pub rate: u32,
    /// Old seconds above the floor that are taken: they bound what is held in memory, and let nodes of different speed go on
    /// without waiting for each other. Default 300.
    pub window: u32,
    /// Old seconds below the floor that are kept: a window of the history is 300 s, and is written once the floor has passed it.
    /// Default 660.
    pub kept: u32,
}

impl CatchUp {
    /// The default of each.
    pub const DEFAULT: Self =
        Self { outage_max: 6 * 3_600, hold: Duration::from_secs(180), rate: 5, window: 300, kept: 660 };

    /// Most seconds of which a process holds something: the live ones since the start of the longest catching up, the last
    /// `late_seconds` before it, and the old ones about the floor.
    #[must_use]
    pub const fn seconds_held(&self, late_seconds: u32) -> u32 {
        let hold = self.hold.as_secs() as u32;
        // The clock goes on meanwhile.
        let moving = (self.outage_max - late_seconds + hold) / (self.rate - 1);
        hold + moving + SETTLES_MS as u32 / 1000 + late_seconds + self.window + self.kept
    }
}

impl Default for CatchUp {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What becomes of a frame, by its second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    Taken,
    /// Its turn comes.
    NotYet,
    TooLate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// For the peers. `known` once somebody said what was kept, this process or another.
    Waiting {
        known: bool,
    },
    Moving {
        from: u32,
        since_ms: u64,
    },
    /// Since when, if it was not from the start on.
    Steady {
        since_ms: Option<u64>,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Floor {
    settings: CatchUp,
    late_seconds: u32,
    /// Seconds before this one are not taken. Never falls.
    at: u32,
    /// Somebody has forgotten the seconds before this one. Never falls.
    forgotten: u32,
    phase: Phase,
}

impl Floor {
    /// That of a cluster that runs.
    pub(super) const fn new(late_seconds: u32, settings: CatchUp) -> Self {
        Self { settings, late_seconds, at: 0, forgotten: 0, phase: Phase::Steady { since_ms: None } }
    }

    fn steady(&self, now_ms: u64) -> u32 {
        ((now_ms / 1000) as u32).saturating_sub(self.late_seconds)
    }

    /// Begins with that of the process before; `None` when it is not known, or there was none.
    pub(super) fn begin(&mut self, now_ms: u64, before: Option<u32>) {
        let oldest = ((now_ms / 1000) as u32).saturating_sub(self.settings.outage_max);
        self.at = before.unwrap_or(NOTHING_KEPT).max(oldest.min(self.steady(now_ms)));
        self.phase = Phase::Waiting { known: before.is_some() };
        self.advance(now_ms);
    }

    /// The peers have been heard: from now on it moves.
    pub(super) fn open(&mut self, now_ms: u64) {
        match self.phase {
            Phase::Waiting { known: true } => self.phase = Phase::Moving { from: self.at, since_ms: now_ms },
            // Nobody kept anything from before.
            Phase::Waiting { known: false } => self.phase = Phase::Steady { since_ms: None },
            Phase::Moving { .. } | Phase::Steady { .. } => {}
        }
        self.advance(now_ms);
    }

    /// A peer says what [`Floor::told`] gave it. Nobody moves it beyond where it is by the clock here.
    pub(super) fn hear(&mut self, now_ms: u64, peers: u32) {
        if peers == NOTHING_KEPT {
            return;
        }
        let steady = self.steady(now_ms);
        let peers = if peers == 0 { steady } else { peers.min(steady) };
        self.at = self.at.max(peers);
        if let Phase::Waiting { known } = &mut self.phase {
            *known = true;
        }
        self.advance(now_ms);
    }

    /// A peer has forgotten the seconds before this one, or what it pruned of a log was before it. Nobody makes others forget
    /// what is taken by the clock here.
    pub(super) fn hear_forgotten(&mut self, now_ms: u64, forgotten: u32) {
        self.forgotten = self.forgotten.max(forgotten.min(self.steady(now_ms)));
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, now_ms: u64) {
        let steady = self.steady(now_ms);
        match self.phase {
            Phase::Waiting { known: false } => return,
            Phase::Waiting { known: true } => {}
            Phase::Moving { from, since_ms } => {
                let moving_ms = now_ms.saturating_sub(since_ms + self.settings.hold.as_millis() as u64);
                let gone = moving_ms.saturating_mul(u64::from(self.settings.rate)) / 1000;
                let gone = u32::try_from(gone).unwrap_or(u32::MAX);
                self.at = self.at.max(from.saturating_add(gone).min(steady));
            }
            Phase::Steady { .. } => self.at = self.at.max(steady),
        }
        if self.at >= steady && !matches!(self.phase, Phase::Steady { .. }) {
            self.phase = Phase::Steady { since_ms: Some(now_ms) };
        }
    }

    /// Takes nothing old any more, though more would come.
    pub(super) fn give_up(&mut self, now_ms: u64) {
        self.at = self.at.max(self.steady(now_ms));
        self.advance(now_ms);
    }

    /// What becomes of a frame of `tick`.
    pub(super) fn gate(&self, now_ms: u64, tick: u32) -> Gate {
        if tick >= self.steady(now_ms) && (tick >= self.at || !self.is_known()) {
            return Gate::Taken;
        }
        match self.phase {
            _ if tick < self.at => Gate::TooLate,
            Phase::Waiting { .. } => Gate::NotYet,
            Phase::Moving { .. } if tick <= self.old_until() => Gate::Taken,
            Phase::Moving { .. } => Gate::NotYet,
            Phase::Steady { .. } => Gate::TooLate,
        }
    }

    const fn is_known(&self) -> bool {
        !matches!(self.phase, Phase::Waiting { known: false })
    }

    /// Seconds before this one are not taken.
    pub(super) const fn at(&self) -> u32 {
        self.at
    }

    /// Somebody has forgotten the seconds before this one.
    pub(super) const fn forgotten(&self) -> u32 {
        self.forgotten
    }

    /// What peers are told.
    pub(super) const fn told(&self) -> u32 {
        if self.is_known() { self.at } else { NOTHING_KEPT }
    }

    /// Of the old seconds those up to this one are taken now; 0 when none are.
    pub(super) const fn old_until(&self) -> u32 {
        match self.phase {
            Phase::Moving { .. } => self.at.saturating_add(self.settings.window),
            Phase::Waiting { .. } | Phase::Steady { .. } => 0,
        }
    }

    /// Whether the peers have been heard.
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Waiting { .. }) && self.at > 0
    }

    /// Whether old seconds are taken, or will be.
    pub(super) const fn is_behind(&self) -> bool {
        !matches!(self.phase, Phase::Steady { .. })
    }

    /// Seconds below the floor that are still kept; at least `slack`.
    pub(super) fn kept(&self, now_ms: u64, slack: u32) -> u32 {
        let settles = match self.phase {
            Phase::Waiting { .. } | Phase::Moving { .. } => true,
            Phase::Steady { since_ms } => since_ms.is_some_and(|since| now_ms < since + SETTLES_MS),
        };
        if settles { slack.max(self.settings.kept) } else { slack }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: u32 = 1_020;
    const NOW: u32 = 1_000_000;
    const NOW_MS: u64 = NOW as u64 * 1000;

    fn floor() -> Floor {
        Floor::new(LATE, CatchUp::default())
    }

    #[test]
    fn of_a_cluster_that_runs_it_follows_the_clock() {
        let mut floor = floor();
        floor.advance(NOW_MS);
        assert_eq!((floor.at(), floor.told(), floor.old_until()), (NOW - LATE, NOW - LATE, 0));
        assert_eq!(floor.gate(NOW_MS, NOW - LATE), Gate::Taken);
        assert_eq!(floor.gate(NOW_MS, NOW - LATE - 1), Gate::TooLate);
        floor.hear(NOW_MS, NOW + 5_000);
        assert_eq!(floor.at(), NOW - LATE, "nobody moves it beyond the clock here");
        floor.advance(NOW_MS - 60_000);
        assert_eq!(floor.gate(NOW_MS - 60_000, NOW - LATE - 1), Gate::TooLate, "it never falls");
    }

    #[test]
    fn after_an_outage_it_catches_up() {
        let (mut floor, before) = (floor(), NOW - 3 * 3_600);
        floor.begin(NOW_MS, Some(before));
        assert_eq!((floor.at(), floor.old_until(), floor.is_behind()), (before, 0, true));
        assert_eq!(floor.gate(NOW_MS, before), Gate::NotYet, "the peers have not been heard");
        assert_eq!(floor.gate(NOW_MS, NOW), Gate::Taken);
        floor.open(NOW_MS);
        assert_eq!(floor.gate(NOW_MS, before - 1), Gate::TooLate);
        assert_eq!(floor.gate(NOW_MS, before + 300), Gate::Taken);
        assert_eq!(floor.gate(NOW_MS, before + 301), Gate::NotYet);
        assert_eq!(floor.gate(NOW_MS, NOW - LATE), Gate::Taken);
        floor.advance(NOW_MS + 180_000);
        assert_eq!(floor.at(), before, "nodes hand over the newest first");
        floor.advance(NOW_MS + 181_000);
        assert_eq!((floor.at(), floor.kept(NOW_MS + 181_000, 60)), (before + 5, 660));
        // 9,960 s behind after the hold, and the clock goes on.
        let (mut second, mut last) = (0, 0);
        while floor.is_behind() {
            second += 1;
            floor.advance(NOW_MS + 180_000 + second * 1000);
            assert!(floor.at() >= last);
            last = floor.at();
        }
        assert_eq!(second, 2_490);
        let now = NOW_MS + 180_000 + second * 1000;
        assert_eq!((floor.at(), floor.kept(now, 60), floor.kept(now + SETTLES_MS, 60)), (NOW - LATE + 2_670, 660, 60));
        assert_eq!(floor.gate(now, floor.at() - 1), Gate::TooLate);
    }

    #[test]
    fn what_one_has_forgotten_nobody_takes() {
        let mut floor = floor();
        floor.begin(NOW_MS, Some(NOW - 9_000));
        floor.hear(NOW_MS, NOW - 7_000);
        floor.hear(NOW_MS, NOTHING_KEPT);
        floor.open(NOW_MS);
        assert_eq!(floor.at(), NOW - 7_000);
        floor.hear(NOW_MS, 0);
        assert_eq!((floor.at(), floor.is_behind()), (NOW - LATE, false), "one that does not know the rule");
        // It was away alone.
        floor.begin(NOW_MS, Some(NOW - 9_000));
        floor.hear(NOW_MS, NOW - LATE - 1);
        assert!(floor.is_behind());
        floor.hear(NOW_MS, NOW - LATE);
        assert!(!floor.is_behind());
        floor.open(NOW_MS);
        assert_eq!(floor.gate(NOW_MS, NOW - 5_000), Gate::TooLate);
    }

    #[test]
    fn what_one_has_forgotten_all_forget() {
        let mut floor = floor();
        floor.begin(NOW_MS, Some(NOW - 9_000));
        floor.hear_forgotten(NOW_MS, NOW - 8_000);
        floor.hear_forgotten(NOW_MS, NOW - 9_000);
        assert_eq!(floor.forgotten(), NOW - 8_000, "it never falls");
        floor.hear_forgotten(NOW_MS, u32::MAX);
        assert_eq!(floor.forgotten(), NOW - LATE, "what is taken by the clock here is kept");
    }

    #[test]
    fn who_has_kept_nothing_follows_the_others() {
        let mut fresh = floor();
        fresh.begin(NOW_MS, None);
        assert_eq!((fresh.told(), fresh.gate(NOW_MS, NOW - 9_000)), (NOTHING_KEPT, Gate::NotYet));
        fresh.hear(NOW_MS, NOW - 7_000);
        fresh.open(NOW_MS);
        assert_eq!((fresh.at(), fresh.gate(NOW_MS, NOW - 7_000)), (NOW - 7_000, Gate::Taken));
        let mut alone = floor();
        alone.begin(NOW_MS, None);
        alone.open(NOW_MS);
        assert_eq!((alone.at(), alone.is_behind()), (NOW - LATE, false));
    }

    #[test]
    fn an_outage_is_bounded() {
        let mut floor = floor();
        floor.begin(NOW_MS, Some(NOW - 50_000));
        floor.open(NOW_MS);
        assert_eq!(floor.at(), NOW - 6 * 3_600);
        floor.give_up(NOW_MS);
        assert!(!floor.is_behind());
    }
}
