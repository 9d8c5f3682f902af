//! The ledger: every frame counted once, at every aggregator, at every moment.
//!
//! A frame is named by its **dot** (stream, tick) and never changes. A **writer** is one aggregator process with a
//! hash-chained log that it alone appends to. The **pin** of a dot is the first writer it was offered to; only the
//! pin may *merge* it (`Merge`), everyone else who does not know the dot ships it whole (`Raw`). Applying a `Merge`
//! adds its sums and takes back any of its dots that were counted raw; applying a `Raw` counts it only while no
//! `Merge` covers it. The view of a tick is therefore a function of the logs held, whatever the order they came in.
//!
//! Pure: no clock, no randomness, no input or output. Time comes in as milliseconds since the Unix epoch; messages
//! of `starling.v1` go in and out. The caller owns one [`Ledger`] behind one lock or task and drives it like this:
//!
//! | when | call |
//! |---|---|
//! | a node's stream is accepted | [`Ledger::open_stream`] |
//! | a frame is decoded | [`Ledger::offer`] |
//! | the node says goodbye | [`Ledger::end_stream`], then [`Ledger::close_stream`] |
//! | the node's stream breaks | [`Ledger::close_stream`] (not for a session replaced by a newer one of the same stream) |
//! | at [`Ledger::next_deadline`], and after a batch of offers | [`Ledger::poll`]: flushes ticks, coalesced stragglers, expired raw waits |
//! | a connection to a peer is up | [`Ledger::peer_opened`], then send [`Ledger::digest`] |
//! | a digest arrives | [`Ledger::peer_digest`], then [`Ledger::entries_for`], then [`Ledger::acks`] |
//! | entries arrive | [`Ledger::apply_entries`], then answer with [`Ledger::digest`], and [`Ledger::acks`] |
//! | anything was appended or applied | [`Ledger::entries_for`] each peer that is up, then [`Ledger::digest`] to it |
//! | a peer's connection ends | [`Ledger::peer_closed`]; its process is known to be gone: [`Ledger::peer_lost`] |
//! | once a second | [`Ledger::prune`] |

mod acks;
mod append;
mod apply;
mod config;
mod exchange;
mod faults;
mod gather;
pub mod limits;
mod log;
mod logs;
mod peers;
mod prune;
pub mod rollup;
#[cfg(test)]
mod simulation;
mod state;
mod stats;
mod streams;
#[cfg(test)]
mod tests;
mod tick;
mod types;
mod view;

pub use config::LedgerConfig;
pub use state::Ledger;
pub use stats::LedgerStats;
pub use types::{
    Ack, Applied, Check, Coverage, DigestError, EntriesError, Frames, LogStatus, NodeStatus, Offer, OpenError,
    PeerStatus, Refused, StreamNo, View,
};
