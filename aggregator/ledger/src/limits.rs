//! Every table of the ledger has a bound. What happens when one is full stands beside it.

use std::{num::NonZeroUsize, time::Duration};

/// Logs held, live and dead writers together: one process that starts again each second for as long as entries are kept.
/// Entries of a further writer are refused ([`super::EntriesError::Limit`]) until an empty log is dropped.
pub const WRITERS_MAX: usize = 1_024;
/// Peers whose digests are kept. A further peer's digest is refused.
pub const PEERS_MAX: usize = 64;
/// Logs one digest may name; more is refused whole.
pub const DIGEST_LOGS_MAX: usize = 4 * WRITERS_MAX;
/// Streams known at one time, over all writers, open or seen within about half an hour: 13 times the nodes that one
/// aggregator takes. A further own stream is refused ([`super::OpenError::Full`]); a log with a further one waits,
/// with an alarm ([`super::LogStatus::trouble`]), until there is room.
pub const STREAMS_MAX: usize = 262_144;
/// Stream numbers of one log in use at one time. Its author refuses a further stream ([`super::OpenError::Full`]).
/// As many belong to all logs of one author: a run with a further one is not taken.
pub const STREAMS_PER_LOG_MAX: usize = 65_536;
/// Series of own frames in use at one time, the quota of one author: four times what a large fleet of one kind sends.
/// Beyond three quarters of it a further application series goes to one whose attribute values are `_other`, beyond
/// all of it a series is left out; both are counted ([`super::LedgerStats::samples_to_other`],
/// [`super::LedgerStats::samples_left_out`]).
pub const OWN_SERIES_MAX: usize = 2_048;
/// Groups of own frames in use at one time, the quota of one author; as `groups_max` of the settings. A further one
/// goes to the group `label:_other`.
pub const OWN_GROUPS_MAX: usize = 64;
/// Series of the logs of others in use at one time, each once: 32 authors with their whole quota and nothing in common.
/// The cells of a further one are left out here, counted ([`super::LedgerStats::cells_without_room`]) and marked in
/// the tick; nothing else depends on it.
pub const SERIES_MAX: usize = 65_536;
/// Groups of the logs of others in use at one time; as [`SERIES_MAX`]. 64 authors with their whole quota.
pub const GROUPS_MAX: usize = 4_096;
/// Numbers of series of one log that are remembered at one time: eight times a quota, for names that come and go. The
/// cells of a further one are left out, as those beyond [`SERIES_MAX`].
pub const LOG_SERIES_MAX: usize = 16_384;
/// As [`LOG_SERIES_MAX`], of groups: the largest `groups_max` and its `_other` groups.
pub const LOG_GROUPS_MAX: usize = 2_048;
/// Values of one frame that may go to `_other`; further ones are left out. Each costs a microsecond.
pub const OTHERS_PER_FRAME_MAX: usize = 256;
/// Groups one frame may belong to besides the cluster; further ones are left out and counted.
pub const GROUPS_PER_FRAME_MAX: usize = 8;
/// Streams one roster may name: twice the nodes of the largest cluster that was measured. Further ones, seen longest
/// ago, are not remembered.
pub const ROSTER_MAX: usize = 20_000;
/// A node whose stream ended on purpose stays expected this long: the time of a restart, whose gap is then shown.
pub const RESTART_SECONDS: u32 = 30;
/// Missing nodes that a view names.
pub const MISSING_MAX: usize = 32;
/// Ticks gathered at one time. The oldest is flushed early when a further one begins: no loss, one more entry.
pub const OPEN_TICKS_MAX: usize = 32;
/// Frames that wait for another writer's entry. The oldest is shipped raw early when a further one comes.
pub const WAITING_MAX: usize = 16_384;
/// Bytes of one entry. An own `Merge` beyond it first leaves out the groups, then the histograms, and counts them
/// ([`super::LedgerStats::merges_cut`]); a peer's cannot be read.
pub const ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entries in one message.
pub const ENTRIES_PER_MESSAGE_MAX: usize = 65_536;
/// Authors whose allowances are remembered: twice as many aggregators as there may be peers.
pub const AUTHORS_MAX: usize = 2 * PEERS_MAX;
/// Entries an author may send at once, over all its logs: all that a failover of 4,000 nodes ships raw.
pub const AUTHOR_ENTRIES_BURST: u64 = 131_072;
/// Entries a second of an author in the long run: what a step appends at most, 12 every 5 ms. Beyond it a run is not
/// taken and asked for again ([`super::EntriesError::Quota`]).
pub const AUTHOR_ENTRIES_PER_SECOND: u64 = 2_400;
/// Bytes a second of an author in the long run: 25 times what the busiest writes. At once it may send a whole log
/// ([`LOG_BYTES_MAX`]).
pub const AUTHOR_BYTES_PER_SECOND: u64 = 1024 * 1024;
/// Logs of one author: a process that starts again every four seconds for as long as entries are kept.
pub const AUTHOR_LOGS_MAX: usize = 256;
/// Pairs of authors that contradict each other and are remembered.
pub const DISPUTES_MAX: usize = 256;
/// Nodes that are remembered of one such pair.
pub const DISPUTED_NODES_MAX: usize = 256;
/// Processes whose logs are refused.
pub const QUARANTINED_WRITERS_MAX: usize = 4_096;
/// Bytes kept of the logs of one author: six times what the busiest writes in the window. Beyond it the author itself leaves
/// the groups out of its merges, and others refuse its entries until `super::Ledger::prune` makes room.
pub const LOG_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes kept of all logs together. Beyond it entries are refused of those authors that hold more than their share,
/// this divided by the authors: one author's volume never stops another's.
pub const LOGS_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Kept beyond `late_seconds` before anything is dropped: two aggregators' clocks may differ by this much.
pub const PRUNE_SLACK_SECONDS: u32 = 60;
/// Closed ticks of a peer that wait for its entries; the newest replaces the last when full.
pub const CLOSED_WAITING_MAX: usize = 16;
/// A number of a stream, series or group not used for this long in its log's own time is given up by its author and
/// forgotten by others: longer than a tick is kept anywhere.
pub const NUMBER_SECONDS: u32 = 1_200;
/// A tick untouched for this long is packed.
pub const PACK_AFTER: Duration = Duration::from_secs(5);
/// A session whose newest tick is this far behind leaves the minimum of the closed tick.
pub const IDLE_SECONDS: u32 = 5;
/// Entries of a peer that the ledger takes in one go: one of 500 series costs 0.4 ms.
pub const ENTRIES_PER_EVENT: NonZeroUsize = NonZeroUsize::new(16).unwrap();
/// Bytes of entries of a peer that the ledger takes in one go, beyond a single one: the 16 of [`ENTRIES_PER_EVENT`] have some
/// tens of kilobytes.
pub const BYTES_PER_EVENT: usize = 256 * 1024;
/// Raw frames that one step appends: 0.4 to 0.6 ms each with 500 series.
pub(super) const RAWS_PER_STEP: usize = 12;
/// Raw frames that a step appends beside a merge, so that neither waits for the other for ever.
pub(super) const RAWS_BESIDE_MERGE: usize = 3;
/// Views of changed seconds that one step brings out: at 10,000 nodes each asks of every stream whether it is expected.
pub(super) const VIEWS_PER_STEP: usize = 4;
/// Changed ticks are brought out at most this often, except when a second is settled: each time the sums are shared
/// with readers, and the next change copies them.
pub(super) const BRING_OUT_MS: u64 = 20;
