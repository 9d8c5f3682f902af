//! The ledger: every frame counted once, at every aggregator, at every moment.
//!
//! A frame is named by its **dot** (stream, tick) and never changes. A **writer** is one aggregator process with a
//! hash-chained log that it alone appends to. The **pin** of a dot is the first writer it was offered to; only the
//! pin may *merge* it (`Merge`), everyone else who does not know the dot ships it whole (`Raw`). Applying a `Merge`
//! adds its sums and takes back any of its dots that were counted raw; applying a `Raw` counts it only while no
//! `Merge` covers it. The view of a tick is therefore a function of the logs held, whatever the order they came in.
//!
//! Pure: no clock, no randomness, no input or output. Time comes in as milliseconds since the Unix epoch with every
//! [`Event`]; what is to be done comes out as [`Action`]s. One caller owns the [`Ledger`], without a lock:
//!
//! | when | event | answered by |
//! |---|---|---|
//! | a node's stream is accepted | [`Event::Open`] | [`Action::Opened`] at once |
//! | a frame is decoded | [`Event::Offer`] | [`Action::Refused`] at once, or [`Action::Acks`] once enough aggregators hold it |
//! | the node's stream ends or breaks | [`Event::Close`] | |
//! | a connection to a peer is up | [`Event::PeerOpened`], and [`Event::Room`] as it takes bytes | [`Action::Send`] |
//! | a digest or entries arrive | [`Event::Digest`], [`Event::Entries`] (read by [`DecodedRun::decode`] before) | [`Action::Taken`] at once |
//! | a peer's connection ends | [`Event::PeerClosed`]; its process is known to be gone: [`Event::PeerLost`] | |
//! | the store has kept what [`Action::Persist`] asked for | [`Event::Synced`] | [`Action::Acks`] |
//! | the membership changes | [`Event::Live`], [`Event::Copies`] | |
//! | every few milliseconds while events come, at [`Ledger::next_deadline`], and twice a second | [`Event::Tick`] | [`Action::Changed`], [`Action::Settled`], [`Action::Pruned`], [`Action::Acks`], [`Action::Send`] |
//! | a person takes an aggregator's word out, or lets it count again | [`Event::Quarantine`] | [`Action::TakenOut`] |
//! | after a start, before anything is restored | [`Event::Floor`] | |
//! | after a start, once the peers have been heard | [`Event::CaughtUp`] | |
//! | after a start, once the peers' logs have come | [`Event::Recall`] | |
//! | before the first answer after a start, once the logs have come | [`Event::BringOut`] | [`Action::Changed`] |
//! | before a stop | [`Event::Flush`], then [`Event::Tick`] | |
//!
//! The proof of the algorithm is in `docs/ledger.md`.

mod acks;
mod append;
mod apply;
mod authors;
mod config;
mod decode;
mod digest;
mod disputes;
mod events;
mod exchange;
mod faults;
mod floor;
mod gather;
mod hash;
pub mod limits;
mod log;
mod logs;
mod message;
mod names;
mod numbering;
mod own;
mod peers;
mod prune;
mod quarantine;
mod recount;
pub mod rollup;
mod said;
mod saving;
mod sessions;
#[cfg(test)]
mod simulation;
mod state;
mod stats;
mod streams;
#[cfg(test)]
mod tests;
mod tick;
mod ticks;
mod types;
mod unacknowledged;
mod view;

pub use config::{LedgerConfig, LedgerLimits};
pub use decode::DecodedRun;
pub use disputes::Dispute;
pub use floor::CatchUp;
pub use message::{Action, Event, Offered, Outgoing, TickView};
pub use recount::Recount;
pub use saving::{Restored, Saved, Unsaved};
pub use state::Ledger;
pub use stats::LedgerStats;
pub use tick::TickSums;
pub use types::{
    Ack, Applied, Check, Coverage, DigestError, EntriesError, Frames, KnownStream, LogStatus, NodeStatus, Offer,
    OpenError, PeerStatus, Quarantine, Refused, StreamNo,
};
