//! The append-only log: what is not sealed yet.

mod readers;
mod record;
mod replay;
mod writer;

pub(crate) use self::{
    record::FileKey,
    writer::{LOST, Log, LogLimits, UNFINISHED},
};
pub use self::{
    record::Position,
    replay::{LogDamage, LogFault, LogRecord, Replay, Replayed},
    writer::{LogError, LogStats, Paused, RECORD_MAX, Removed},
};
