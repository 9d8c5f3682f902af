//! The damped view: which members the rest of the program may count on. Pure: time and sightings in, view out.
//!
//! Gossip reports a member dead after two stalled seconds and alive again a moment later; acting on each report would
//! move nodes back and forth. So a member enters the view after it was seen for a while and leaves it after it was
//! absent for a while, a member that keeps coming and going waits ever longer, and no member is removed while the fault
//! is more likely our own: after our own process was paused, or when most of the view vanishes at once.

use std::{collections::BTreeMap, time::Duration};

use starling_proto::ids::NodeId;

/// The times of the view.
#[derive(Debug, Clone)]
pub(crate) struct Timing {
    /// Seen without a break for this long before it is added.
    pub(crate) add_after: Duration,
    /// The same during [`Timing::settling`], when nothing can flap yet and everybody waits for us.
    pub(crate) add_after_settling: Duration,
    /// A newer process of the name was absent for this long, while an older one is seen: it has the name again.
    pub(crate) older_after: Duration,
    /// From the start of the process.
    pub(crate) settling: Duration,
    /// Absent without a break for this long before it is removed.
    pub(crate) remove_after: Duration,
    /// No member is removed for this long after a pause of our own or a loss of most of the view.
    pub(crate) guard: Duration,
    /// Window in which a loss of more than half of the view counts as one event.
    pub(crate) mass_window: Duration,
    /// Longest time before a flapping member is added.
    pub(crate) penalty_max: Duration,
    /// The penalty halves each time this passes without a flap.
    pub(crate) penalty_halves_every: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            add_after: Duration::from_secs(2),
            add_after_settling: Duration::from_millis(500),
            older_after: Duration::from_secs(10),
            settling: Duration::from_secs(5),
            remove_after: Duration::from_secs(3),
            guard: Duration::from_secs(3),
            mass_window: Duration::from_secs(2),
            penalty_max: Duration::from_secs(300),
            penalty_halves_every: Duration::from_secs(600),
        }
    }
}

/// One member as gossip sees it now: alive, with all its facts readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// Its name.
    pub(crate) id: NodeId,
    /// Grows with each of its starts.
    pub(crate) generation: u64,
    /// It says that it is leaving.
    pub(crate) leaving: bool,
}

/// What is known of one member other than ourselves.
#[derive(Debug, Clone)]
struct Track {
    generation: u64,
    /// In the view.
    present: bool,
    /// Since when it has been seen without a break. `None` while it is absent.
    seen_since: Option<Duration>,
    /// Since when it has been absent without a break. `None` while it is seen.
    absent_since: Option<Duration>,
    /// It left on purpose; a new generation is needed to come back.
    left: bool,
    /// Removals that were not on purpose, halved with time.
    flaps: u32,
    flapped_at: Duration,
}

/// The view and the timers behind it. Times are since the start of the process, from a monotonic clock.
#[derive(Debug)]
pub(crate) struct Damped {
    timing: Timing,
    tracks: BTreeMap<NodeId, Track>,
    guarded_until: Duration,
    suspected_until: Duration,
}

impl Damped {
    /// An empty view at time zero. The own member is never part of it.
    pub(crate) fn new(timing: Timing) -> Self {
        Self { timing, tracks: BTreeMap::new(), guarded_until: Duration::ZERO, suspected_until: Duration::ZERO }
    }

    /// The members in the view, by name, with their generation.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&NodeId, u64)> {
        self.tracks.iter().filter(|(_, track)| track.present).map(|(id, track)| (id, track.generation))
    }

    /// More than half of the view vanished at once: this side may be the one that is cut off.
    pub(crate) fn suspects_partition(&self, now: Duration) -> bool {
        now < self.suspected_until
    }

    /// Our own process was paused, so that everybody else only seems to be gone.
    pub(crate) fn local_pause(&mut self, now: Duration) {
        self.guarded_until = self.guarded_until.max(now + self.timing.guard);
    }

    /// Takes what gossip sees at `now`, at most one sighting per name. Returns whether the view changed.
    pub(crate) fn observe(&mut self, now: Duration, sightings: &[Sighting]) -> bool {
        let before: Vec<(NodeId, u64)> = self.members().map(|(id, generation)| (id.clone(), generation)).collect();
        for sighting in sightings {
            self.see(now, sighting);
        }
        for (id, track) in &mut self.tracks {
            if !sightings.iter().any(|sighting| sighting.id == *id) {
                track.seen_since = None;
                track.absent_since.get_or_insert(now);
            }
        }
        self.guard_against_mass_loss(now);
        self.remove(now);
        self.add(now);
        self.forget(now);
        before.into_iter().ne(self.members().map(|(id, generation)| (id.clone(), generation)))
    }

    fn see(&mut self, now: Duration, sighting: &Sighting) {
        let track = self.tracks.entry(sighting.id.clone()).or_insert_with(|| Track {
            generation: sighting.generation,
            present: false,
            seen_since: None,
            absent_since: None,
            left: false,
            flaps: 0,
            flapped_at: now,
        });
        if sighting.generation > track.generation {
            // The process behind the name is gone, whatever the failure detector still says of it.
            if track.present {
                track.present = false;
                track.flap(now, &self.timing);
            }
            (track.generation, track.left, track.seen_since) = (sighting.generation, false, None);
        }
        if sighting.generation < track.generation {
            track.seen_since = None;
            let absent_since = *track.absent_since.get_or_insert(now);
            if now - absent_since < self.timing.older_after {
                return;
            }
            track.present = false;
            (track.generation, track.left) = (sighting.generation, false);
        }
        if sighting.leaving {
            (track.present, track.left) = (false, true);
        }
        track.absent_since = None;
        track.seen_since.get_or_insert(now);
    }

    /// A loss of more than half of the view, ourselves included, is more likely a fault of our own network.
    fn guard_against_mass_loss(&mut self, now: Duration) {
        let present = self.tracks.values().filter(|track| track.present);
        let (mut size, mut vanished) = (1, 0);
        for track in present {
            size += 1;
            if track.absent_since.is_some_and(|since| now - since <= self.timing.mass_window) {
                vanished += 1;
            }
        }
        if vanished * 2 > size && now >= self.suspected_until {
            // The window must have passed before the same loss could count again.
            self.suspected_until = now + self.timing.guard.max(self.timing.mass_window);
            self.guarded_until = self.guarded_until.max(now + self.timing.guard);
        }
    }

    fn remove(&mut self, now: Duration) {
        if now < self.guarded_until {
            return;
        }
        for track in self.tracks.values_mut().filter(|track| track.present) {
            if track.absent_since.is_some_and(|since| now - since >= self.timing.remove_after) {
                track.present = false;
                track.flap(now, &self.timing);
            }
        }
    }

    fn add(&mut self, now: Duration) {
        let base = if now < self.timing.settling { self.timing.add_after_settling } else { self.timing.add_after };
        for track in self.tracks.values_mut().filter(|track| !track.present && !track.left) {
            let flaps = track.flaps_at(now, &self.timing);
            let hold = base.saturating_mul(1 << flaps.min(16)).min(self.timing.penalty_max.max(base));
            track.present = track.seen_since.is_some_and(|since| now - since >= hold);
        }
    }

    /// Drops what no longer says anything: absent for longer than any penalty lasts.
    fn forget(&mut self, now: Duration) {
        let keep = self.timing.penalty_halves_every * 2;
        self.tracks.retain(|_, track| track.present || track.absent_since.is_none_or(|since| now - since < keep));
    }
}

impl Track {
    fn flap(&mut self, now: Duration, timing: &Timing) {
        self.flaps = self.flaps_at(now, timing) + 1;
        self.flapped_at = now;
    }

    /// Each flap doubles the wait, so halving the wait takes one flap off.
    fn flaps_at(&self, now: Duration, timing: &Timing) -> u32 {
        let halvings = (now - self.flapped_at).as_millis() / timing.penalty_halves_every.as_millis().max(1);
        self.flaps.saturating_sub(u32::try_from(halvings).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEP: Duration = Duration::from_millis(100);

    fn id(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn seen(name: &str, generation: u64) -> Sighting {
        Sighting { id: id(name), generation, leaving: false }
    }

    /// A view that is past its settling time, and a clock.
    struct Run {
        view: Damped,
        now: Duration,
    }

    impl Run {
        fn new() -> Self {
            Self { view: Damped::new(Timing::default()), now: Duration::from_secs(60) }
        }

        /// Shows `sightings` in steps for `time`; returns when the view first changed, counted from the beginning.
        fn show(&mut self, time: Duration, sightings: &[Sighting]) -> Option<Duration> {
            let (start, mut changed) = (self.now, None);
            while self.now - start < time {
                self.now += STEP;
                if self.view.observe(self.now, sightings) {
                    changed.get_or_insert(self.now - start);
                }
            }
            changed
        }

        fn names(&self) -> Vec<&str> {
            self.view.members().map(|(id, _)| id.as_str()).collect()
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn added_after_two_seconds_and_removed_after_three() {
        let mut run = Run::new();
        assert_eq!(run.show(10 * SECOND, &[seen("b", 1), seen("c", 1), seen("d", 1)]), Some(2 * SECOND + STEP));
        assert_eq!(run.names(), ["b", "c", "d"]);
        // Absences are counted from the first poll that misses it.
        assert_eq!(run.show(10 * SECOND, &[seen("b", 1), seen("c", 1)]), Some(3 * SECOND + STEP));
        assert_eq!(run.names(), ["b", "c"]);
    }

    #[test]
    fn a_start_settles_faster() {
        let mut view = Damped::new(Timing::default());
        view.observe(STEP, &[seen("b", 1)]);
        assert!(view.observe(STEP + Duration::from_millis(500), &[seen("b", 1)]));
    }

    #[test]
    fn a_short_absence_changes_nothing() {
        let mut run = Run::new();
        run.show(5 * SECOND, &[seen("b", 1)]);
        assert_eq!(run.show(2 * SECOND, &[]), None);
        assert_eq!(run.show(5 * SECOND, &[seen("b", 1)]), None);
        assert_eq!(run.names(), ["b"]);
    }

    #[test]
    fn leaving_and_a_newer_generation_remove_at_once() {
        let mut run = Run::new();
        run.show(5 * SECOND, &[seen("b", 1), seen("c", 1)]);
        let leaving = Sighting { leaving: true, ..seen("b", 1) };
        assert_eq!(run.show(STEP, &[leaving, seen("c", 2)]), Some(STEP));
        assert!(run.names().is_empty());
        // The old generation cannot come back, the new one is added like any other.
        assert_eq!(run.show(3 * SECOND, &[seen("b", 1), seen("c", 1)]), None);
        assert!(run.show(10 * SECOND, &[seen("b", 2), seen("c", 2)]).is_some());
        assert_eq!(run.names(), ["b", "c"]);
    }

    #[test]
    fn an_older_process_has_its_name_again_when_the_newer_one_stays_away() {
        let mut run = Run::new();
        run.show(5 * SECOND, &[seen("b", 1)]);
        // A second process came for a moment under its name and left.
        run.show(3 * SECOND, &[seen("b", 2)]);
        run.show(STEP, &[Sighting { leaving: true, ..seen("b", 2) }]);
        assert_eq!(run.show(9 * SECOND, &[seen("b", 1)]), None);
        assert!(run.show(30 * SECOND, &[seen("b", 1)]).is_some());
        assert_eq!(run.names(), ["b"]);
    }

    #[test]
    fn a_flapping_member_waits_ever_longer_and_is_forgiven() {
        let mut run = Run::new();
        let steady = seen("z", 1);
        let mut waits = Vec::new();
        for _ in 0..9 {
            waits.push(run.show(301 * SECOND, &[seen("b", 1), steady.clone()]).unwrap().as_secs());
            run.show(4 * SECOND, std::slice::from_ref(&steady));
        }
        // 300 s pass between two flaps, so one is forgiven for two that happen.
        assert!(waits.is_sorted() && waits[0] == 2 && waits[8] >= 16, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= 301), "{waits:?}");
        run.show(Duration::from_secs(7200), std::slice::from_ref(&steady));
        assert_eq!(run.show(10 * SECOND, &[seen("b", 1), steady]).unwrap().as_secs(), 2);
    }

    #[test]
    fn our_own_pause_removes_no_member() {
        let mut run = Run::new();
        run.show(5 * SECOND, &[seen("b", 1), seen("c", 1)]);
        run.now += 10 * SECOND;
        run.view.local_pause(run.now);
        assert_eq!(run.show(2 * SECOND, &[]), None);
        assert_eq!(run.show(10 * SECOND, &[seen("b", 1), seen("c", 1)]), None);
    }

    #[test]
    fn a_loss_of_most_is_suspected_and_then_believed() {
        let mut run = Run::new();
        let all: Vec<_> = ["b", "c", "d", "e"].map(|name| seen(name, 1)).into();
        run.show(5 * SECOND, &all);
        assert_eq!(run.show(SECOND, &all[..1]), None);
        assert!(run.view.suspects_partition(run.now));
        assert_eq!(run.show(10 * SECOND, &all[..1]), Some(2 * SECOND + STEP));
        assert_eq!(run.names(), ["b"]);
        assert!(!run.view.suspects_partition(run.now));
    }

    proptest! {
        /// Whatever gossip says: no member enters earlier than the hold nor leaves earlier than allowed.
        #[test]
        fn no_change_comes_early(script in prop::collection::vec((0u8..8, 1u64..30), 1..60)) {
            let mut run = Run::new();
            let mut last_seen = BTreeMap::new();
            let mut last_absent: BTreeMap<&str, Duration> = ["b", "c", "d"].into_iter().map(|name| (name, run.now)).collect();
            for (mask, steps) in script {
                let now_seen: Vec<_> = ["b", "c", "d"].into_iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, name)| name).collect();
                let sightings: Vec<_> = now_seen.iter().map(|name| seen(name, 1)).collect();
                for _ in 0..steps {
                    let before: Vec<String> = run.names().into_iter().map(str::to_owned).collect();
                    run.show(STEP, &sightings);
                    for name in ["b", "c", "d"] {
                        if now_seen.contains(&name) {
                            last_seen.insert(name, run.now);
                        } else {
                            last_absent.insert(name, run.now);
                        }
                        let was = before.iter().any(|other| other == name);
                        let is = run.names().contains(&name);
                        if !was && is {
                            prop_assert!(run.now - last_absent[name] >= Duration::from_secs(2));
                        }
                        if was && !is {
                            prop_assert!(run.now - last_seen[name] >= Duration::from_secs(3));
                        }
                    }
                }
            }
        }

        /// Once gossip is steady, the view equals it within the longest hold.
        #[test]
        fn a_steady_state_is_reached(script in prop::collection::vec(0u8..8, 0..40), last in 0u8..8) {
            let mut run = Run::new();
            let shown = |mask: u8| -> Vec<Sighting> {
                ["b", "c", "d"].into_iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, name)| seen(name, 1)).collect()
            };
            for mask in script {
                run.show(4 * SECOND, &shown(mask));
            }
            run.show(302 * SECOND, &shown(last));
            let expected: Vec<_> = shown(last).into_iter().map(|sighting| sighting.id.as_str().to_owned()).collect();
            prop_assert_eq!(run.names(), expected);
        }
    }
}
