//! The files of the history: an append-only log with group commit, and sealed segments that hold blocks by tier, subject
//! and time. It knows nothing of what a record or a block means, has no runtime and starts no threads.
//!
//! [`Store`] is the whole of it; the table there says what survives what. Files of our own and no engine, because
//! retention is to be an unlink, opening independent of the size, and every flipped byte found without costing the rest.

mod checksum;
mod disk;
mod folder;
mod log;
mod quarantine;
mod recent;
mod replaced;
mod segment;
mod shelf;
mod snapshot;
mod stats;
mod store;
#[cfg(test)]
mod tests;

pub use self::{
    checksum::plain as checksum,
    disk::FileError,
    folder::{Findings, OpenError},
    log::{
        LogDamage, LogError, LogFault, LogRecord, LogStats, Paused, Position, RECORD_MAX, Removed, Replay, Replayed,
    },
    quarantine::BadBlock,
    recent::{Recent, RecentStats},
    segment::{BLOCKS_MAX, BODY_MAX, BlockKey, SUBJECT_MAX, SegmentId, WriteError},
    shelf::SegmentInfo,
    snapshot::{Copied, CopyError, CopyProgress, restore, snapshot},
    stats::{StoreStats, TierStats},
    store::{
        BlockRef, CheckProgress, CheckReport, Fault, Found, Options, ReadError, Recovered, Retained, SegmentFault,
        Store, Subjects, TierLimit, Unreadable, overlapping,
    },
};
