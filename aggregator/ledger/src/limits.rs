//! Every table of the ledger has a bound. What happens when one is full stands beside it.

use std::time::Duration;

/// Logs held, live and dead writers together. Entries of a further writer are refused
/// ([`super::EntriesError::Limit`]) until an empty log is dropped.
pub const WRITERS_MAX: usize = 256;
/// Peers whose digests are kept. A further peer's digest is refused.
pub const PEERS_MAX: usize = 64;
/// Logs one digest may name; more is refused whole.
pub const DIGEST_LOGS_MAX: usize = 4 * WRITERS_MAX;
/// Streams known at one time, over all writers, open or seen within about half an hour. A further own stream is
/// refused ([`super::OpenError::Full`]); a further stream of a peer's log freezes that log here.
pub const STREAMS_MAX: usize = 262_144;
/// Stream numbers of one log in use at one time; as [`STREAMS_MAX`].
pub const STREAMS_PER_LOG_MAX: usize = 65_536;
/// Series merged, over all writers. Samples of a further own series are left out and counted
/// ([`super::LedgerStats::samples_beyond_tables`]); a further series of a peer freezes its log here.
pub const SERIES_MAX: usize = 8_192;
/// Groups, over all writers; as [`SERIES_MAX`].
pub const GROUPS_MAX: usize = 256;
/// Groups one frame may belong to besides the cluster; further ones are left out and counted.
pub const GROUPS_PER_FRAME_MAX: usize = 8;
/// Ticks gathered at one time. The oldest is flushed early when a further one begins: no loss, one more entry.
pub const OPEN_TICKS_MAX: usize = 32;
/// Frames that wait for another writer's entry. The oldest is shipped raw early when a further one comes.
pub const WAITING_MAX: usize = 16_384;
/// Bytes of one entry. An own `Merge` beyond it first leaves out the groups, then the histograms, and counts them
/// ([`super::LedgerStats::merges_cut`]); a peer's freezes its log.
pub const ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entries in one message.
pub const ENTRIES_PER_MESSAGE_MAX: usize = 65_536;
/// Bytes kept of all logs together. Beyond it the oldest entries of foreign logs are not pruned but new entries of
/// peers are refused until [`super::Ledger::prune`] makes room.
pub const LOG_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Ticks further ahead of the clock than this are kept in their log and never shown.
pub const AHEAD_SECONDS_MAX: u32 = 60;
/// Kept beyond `late_seconds` before anything is dropped: two aggregators' clocks may differ by this much.
pub const PRUNE_SLACK_SECONDS: u32 = 60;
/// Closed ticks of a peer that wait for its entries; the newest replaces the last when full.
pub const CLOSED_WAITING_MAX: usize = 16;
/// A stream number not used for this long in its log's own time is given up by its author and forgotten by others.
pub const STREAM_NUMBER_SECONDS: u32 = 1_200;
/// A tick untouched for this long is packed.
pub const PACK_AFTER: Duration = Duration::from_secs(5);
/// A session whose newest tick is this far behind leaves the minimum of the closed tick.
pub const IDLE_SECONDS: u32 = 5;
