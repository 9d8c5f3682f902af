//! A seeded simulator of a cluster of ledgers and nodes, with an oracle that knows every frame ever cut.
//!
//! One schedule is a sequence of steps drawn from one seed: nodes cut frames, connect, send and fail over; messages
//! are delivered in any order, lost or doubled; aggregators crash and lose everything they held, pause, and are cut
//! off; daemons restart with their frames or without. In some schedules every aggregator has a disk, which is slow and
//! loses what it did not confirm; in some all tables of names are tiny and new names come all the time. After the last step the faults stop, the cluster heals and
//! everything must drain. The [`oracle`] checks the invariants all along.
//!
//! A failure names its seed; `World::new(seed, pace, plant).run()` repeats it.

mod node;
mod oracle;
mod outage;
mod rng;
mod rogue;
mod step;
mod tests;
mod world;

pub(super) use super::faults::Fault;

/// A mistake planted in a whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    /// None.
    Sound,
    /// In every ledger.
    Ledger(Fault),
    /// Entries with some missing before them are renumbered on the way, so that they fit.
    GapsClosed,
    /// Entries of others are not passed on.
    NoRelay,
    /// A restarted aggregator goes on as the writer it was.
    ReusedWriter,
    /// A node forgets the pin of a frame once its connection breaks.
    PinForgotten,
    /// A node takes the host for the writer: a restarted aggregator is the same pin.
    PinIsHost,
    /// A process that starts does not know where the floor of the one before was.
    FloorForgotten,
}

/// How fast the clock runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// A step takes up to 150 ms: everything stays within the window.
    Seconds,
    /// A step takes up to 10 s: ticks and logs are pruned, and frames come too late.
    Minutes,
    /// All are away for longer than frames are taken, everything scaled down.
    Outages,
}

/// How often rare paths were taken.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    frames: u64,
    lost_with_daemon: u64,
    refused_late: u64,
    acknowledged: u64,
    merges: u64,
    raws: u64,
    raws_taken_back: u64,
    raws_ignored: u64,
    waits_resolved: u64,
    crashes: u64,
    daemon_restarts: u64,
    gaps: u64,
    jumps: u64,
    pruned: u64,
    unknown_pins: u64,
    disk_crashes: u64,
    cells_without_room: u64,
    to_other: u64,
    recalled: u64,
    lies: u64,
    taken_out: u64,
    disputes: u64,
    outages: u64,
    /// Frames that were taken though they are older than a cluster that runs takes.
    old: u64,
    not_yet: u64,
}
