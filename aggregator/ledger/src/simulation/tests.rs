//! Schedules without a fault in the ledger must all pass; with one planted, some schedule must fail.

use super::{Fault, Pace, Plant, Seen, world::World};

/// Schedules of one run: 20,000 optimised, 1,000 in a debug build. STARLING_SCHEDULES sets another number; `make test`
/// sets 20,000, which took 132 s on two busy cores at `opt-level = 1`. STARLING_FIRST_SCHEDULE sets the first seed, so that
/// a long run can be made in parts.
fn schedules() -> std::ops::Range<u64> {
    let number = |name, usual| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let first = number("STARLING_FIRST_SCHEDULE", 0);
    first..first + number("STARLING_SCHEDULES", if cfg!(debug_assertions) { 1_000 } else { 20_000 })
}

/// Runs seeds on all cores until one fails; returns what was seen, or the first failure.
fn run_all(seeds: std::ops::Range<u64>, pace: Pace, plant: Plant) -> Result<Seen, String> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let failed = std::sync::atomic::AtomicBool::new(false);
    let (failed, from, to) = (&failed, seeds.start, seeds.end);
    std::thread::scope(|scope| {
        let worker = |offset: u64| {
            move || {
                let mut seen = Seen::default();
                for seed in (from + offset..to).step_by(threads as usize) {
                    if failed.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    let world = World::new(seed, pace, plant);
                    let one = if pace == Pace::Outages { world.run_outages() } else { world.run() };
                    let one = one.inspect_err(|_| {
                        failed.store(true, std::sync::atomic::Ordering::Relaxed);
                    })?;
                    seen.add(&one);
                }
                Ok::<Seen, String>(seen)
            }
        };
        let workers: Vec<_> = (0..threads).map(|offset| scope.spawn(worker(offset))).collect();
        let mut total = Seen::default();
        for worker in workers {
            total.add(&worker.join().map_err(|_| "a schedule panicked".to_owned())??);
        }
        Ok(total)
    })
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.lost_with_daemon += other.lost_with_daemon;
        self.refused_late += other.refused_late;
        self.acknowledged += other.acknowledged;
        self.merges += other.merges;
        self.raws += other.raws;
        self.raws_taken_back += other.raws_taken_back;
        self.raws_ignored += other.raws_ignored;
        self.waits_resolved += other.waits_resolved;
        self.crashes += other.crashes;
        self.daemon_restarts += other.daemon_restarts;
        self.gaps += other.gaps;
        self.jumps += other.jumps;
        self.pruned += other.pruned;
        self.unknown_pins += other.unknown_pins;
        self.disk_crashes += other.disk_crashes;
        self.cells_without_room += other.cells_without_room;
        self.to_other += other.to_other;
        self.recalled += other.recalled;
        self.lies += other.lies;
        self.taken_out += other.taken_out;
        self.disputes += other.disputes;
        self.outages += other.outages;
        self.old += other.old;
        self.not_yet += other.not_yet;
    }
}

#[test]
fn every_schedule_counts_every_frame_once() {
    let started = std::time::Instant::now();
    let seen = run_all(schedules(), Pace::Seconds, Plant::Sound).unwrap();
    println!("schedules {:?} in {:?}: {seen:?}", schedules(), started.elapsed());
    // A path that no schedule takes is not tested.
    for (path, times) in [
        ("frames", seen.frames),
        ("acknowledgements", seen.acknowledged),
        ("raw frames", seen.raws),
        ("raw frames taken back", seen.raws_taken_back),
        ("raw frames ignored", seen.raws_ignored),
        ("waits resolved", seen.waits_resolved),
        ("crashes", seen.crashes),
        ("unknown pins", seen.unknown_pins),
        ("gaps", seen.gaps),
        ("crashes with a disk", seen.disk_crashes),
        ("cells without room", seen.cells_without_room),
        ("values of other", seen.to_other),
        ("rosters", seen.recalled),
        ("lies", seen.lies),
        ("logs taken out", seen.taken_out),
        ("frames that two claim", seen.disputes),
    ] {
        assert!(times > 0, "no schedule saw {path}");
    }
}

#[test]
fn schedules_of_hours_prune_and_still_count_once() {
    let std::ops::Range { start, end } = schedules();
    let seeds = start / 10 + 1_000_000..end / 10 + 1_000_000;
    let seen = run_all(seeds, Pace::Minutes, Plant::Sound).unwrap();
    println!("{seen:?}");
    for (path, times) in [("pruned", seen.pruned), ("jumps", seen.jumps), ("late frames", seen.refused_late)] {
        assert!(times > 0, "no schedule saw {path}");
    }
}

#[test]
fn an_outage_of_the_whole_cluster_is_made_up_for() {
    let started = std::time::Instant::now();
    // One is as long as twenty others.
    let std::ops::Range { start, end } = schedules();
    let seeds = start / 20..end / 20;
    let seen = run_all(seeds.clone(), Pace::Outages, Plant::Sound).unwrap();
    println!("schedules {seeds:?} in {:?}: {seen:?}", started.elapsed());
    for (path, times) in [
        ("outages", seen.outages),
        ("old frames", seen.old),
        ("frames before their turn", seen.not_yet),
        ("late frames", seen.refused_late),
        ("pruned", seen.pruned),
        ("disk crashes", seen.disk_crashes),
        ("raw frames", seen.raws),
        ("cells without room", seen.cells_without_room),
    ] {
        assert!(times > 0, "no schedule saw {path}");
    }
}

#[test]
fn a_wrong_floor_is_caught() {
    let plants = [
        (Plant::Ledger(Fault::FloorIsOwn), "I9"),
        (Plant::FloorForgotten, "I9"),
        (Plant::Ledger(Fault::ForgottenIsOwn), "I4"),
    ];
    for (plant, invariant) in plants {
        let tried = 500;
        let caught = (0..tried).find_map(|seed| World::new(seed, Pace::Outages, plant).run_outages().err());
        println!("{plant:?}: {caught:?}");
        assert!(caught.is_some_and(|what| what.contains(invariant)), "{plant:?} passed {tried} schedules");
    }
}

#[test]
fn every_planted_fault_is_caught() {
    let faults = [
        Plant::Ledger(Fault::IgnorePin),
        Plant::Ledger(Fault::NoOwnCoverageCheck),
        Plant::Ledger(Fault::RawIgnoresCoverage),
        Plant::Ledger(Fault::MergeKeepsRaw),
        Plant::Ledger(Fault::EveryRawCounts),
        Plant::Ledger(Fault::AckBeforeCopies),
        Plant::Ledger(Fault::AckOnSent),
        Plant::Ledger(Fault::AckBeforeSync),
        Plant::Ledger(Fault::AckBeforeShown),
        Plant::Ledger(Fault::ReceivedIsDurable),
        Plant::Ledger(Fault::RoomDecides),
        Plant::Ledger(Fault::CoresOfOwnOnly),
        Plant::Ledger(Fault::ExpectedIsNotNews),
        Plant::Ledger(Fault::ClaimsCount),
        Plant::Ledger(Fault::QuarantineTakesNothingOut),
        Plant::Ledger(Fault::QuarantineKeepsExpectations),
        Plant::Ledger(Fault::QuarantinedComesBack),
        Plant::GapsClosed,
        Plant::NoRelay,
        Plant::ReusedWriter,
        Plant::PinForgotten,
        Plant::PinIsHost,
    ];
    for plant in faults {
        let tried = 2_000;
        let caught = (0..tried).find_map(|seed| World::new(seed, Pace::Seconds, plant).run().err());
        println!("{plant:?}: {caught:?}");
        assert!(caught.is_some(), "{plant:?} passed {tried} schedules");
    }
}

/// Where two authors name a value of one frame differently, because the quota of one was used up: extremes that stayed
/// behind, and cells without room that were not noticed. The last: who lies kept numbers that all others had given up.
#[test]
fn schedules_that_failed_once_pass() {
    for (seed, pace) in [(9_459, Pace::Seconds), (1_000_792, Pace::Minutes), (1_000_830, Pace::Minutes)] {
        World::new(seed, pace, Plant::Sound).run().unwrap();
    }
}
