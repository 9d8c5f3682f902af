//! Words of what goes in and out of the ledger.

use std::collections::{BTreeMap, BTreeSet};

use starling_proto::ids::{IdError, NodeId, StreamId, WriterId};

/// A stream as this process numbers it. Valid from [`super::Action::Opened`] to [`super::Event::Close`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamNo(pub(crate) u32);

/// Why a stream cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// More streams are known than [`super::limits::STREAMS_MAX`].
    #[error("more than {max} streams are known in the last half hour", max = super::limits::STREAMS_MAX)]
    Full,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Taken; it will be in this writer's next `Merge` of its tick.
    Pending,
    /// Taken; another writer may have merged it. Shipped as `Raw` unless the dot becomes known within 2 s.
    WaitingRaw,
    /// Held already; it will be acknowledged like the others.
    Known,
    /// Not taken.
    Refused(Refused),
}

/// Why a frame is refused: for good, except [`Refused::NotOpen`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Before the floor: older than [`super::LedgerConfig::late_seconds`], unless an outage is made up for.
    #[error("the tick is older than this aggregator keeps")]
    TooLate,
    /// Of an outage that is made up for, and its turn has not come.
    #[error("the tick is of an outage that is made up for, later")]
    NotYet,
    /// More than [`super::LedgerConfig::early_seconds`] ahead.
    #[error("the tick is ahead of this aggregator's clock")]
    TooEarly,
    /// The samples break a limit of [`starling_proto::limits`].
    #[error("a sample of the frame breaks a limit")]
    Invalid,
    /// The stream is not open. The frame itself may be good: its node must connect again and offer it again.
    #[error("the stream of the frame is not open")]
    NotOpen,
}

/// A dot of an own session that the node may forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ack {
    /// As [`Action::Opened`](super::Action::Opened) numbered it.
    pub stream: StreamNo,
    /// Unix seconds.
    pub tick: u32,
    /// Aggregators that hold it, this one included.
    pub copies: u32,
}

/// Result of taking in a run of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Entries that were new.
    pub entries: usize,
    /// Entries that were held already.
    pub known: usize,
}

/// Why a run of a log was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntriesError {
    /// The writer is not 16 bytes.
    #[error("the writer of the entries: {0}")]
    Writer(#[from] IdError),
    /// Entries between what is held and the first of the run are missing. Not a fault: the next digest asks for them.
    #[error("entries {from}..{to} of the log are missing", to = first)]
    Gap {
        /// First missing entry.
        from: u64,
        /// First entry that came.
        first: u64,
    },
    /// The hash of the run does not follow from what is held: two different entries at one place of a log. Its author
    /// decides: a run of his own replaces what is held, one of another holder is not taken.
    #[error("writer {writer} has two different entries at or before {sequence}")]
    Fork {
        /// Author of the log.
        writer: WriterId,
        /// Where it shows.
        sequence: u64,
    },
    /// An entry that cannot be read or does not fit its log. It is not taken and will be asked for again, of its author
    /// and of every other holder, until it fits; [`LogStatus::trouble`] says so meanwhile.
    #[error("entry {sequence} of writer {writer}: {detail}")]
    Refused {
        /// Author of the log.
        writer: WriterId,
        /// Sequence number of the entry.
        sequence: u64,
        /// What is wrong.
        detail: String,
    },
    /// Its author used up what one author may. Asked for again.
    #[error("{author} is over its quota of {what}: {limit}")]
    Quota {
        /// Name of the aggregator that answers for the log, or the writer when none is known.
        author: String,
        /// Of what.
        what: &'static str,
        /// Most that one author may.
        limit: usize,
    },
    /// Its author's word counts no more ([`super::Event::Quarantine`]).
    #[error("the log of writer {writer} is refused: {aggregator} is in quarantine")]
    Quarantined {
        /// Author of the log.
        writer: WriterId,
        /// The aggregator that answers for it.
        aggregator: String,
    },
    /// A message or a table is over its limit.
    #[error("{what} exceeds {limit}")]
    Limit {
        /// Which.
        what: &'static str,
        /// Most that is taken.
        limit: usize,
    },
}

/// Why a digest was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// A writer is not 16 bytes.
    #[error("a writer in the digest: {0}")]
    Writer(#[from] IdError),
    /// More logs than [`super::limits::DIGEST_LOGS_MAX`].
    #[error("the digest names {0} logs")]
    Logs(usize),
    /// More peers than [`super::limits::PEERS_MAX`].
    #[error("too many peers")]
    Peers,
    /// Its sender's word counts no more ([`super::Event::Quarantine`]).
    #[error("{0} is in quarantine")]
    Quarantined(String),
    /// The digest carries this process's own writer.
    #[error("the digest carries this process's own writer")]
    Own,
}

/// Frames of one tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Frames {
    /// Counted in the view: merged + raw.
    pub counted: u32,
    /// Covered by a `Merge`.
    pub merged: u32,
    /// Only in a `Raw`.
    pub raw: u32,
    /// In a `Raw` and also covered by a `Merge`: counted once, by the merge.
    pub raw_covered: u32,
}

/// A stream as it is remembered over a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownStream {
    /// Its node.
    pub node: NodeId,
    /// The daemon start.
    pub stream: StreamId,
    /// First tick held, Unix seconds.
    pub first_tick: u32,
    /// Last tick held.
    pub last_tick: u32,
    /// Its last tick, once it ended on purpose.
    pub ended: Option<u32>,
}

/// How much of the truth a view holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Nodes with a frame in the view.
    pub reporting: u32,
    /// Nodes that reported, and nodes known by two different ticks at least, begun at or before this one, that were not
    /// silent for 900 s and did not end their stream more than [`super::limits::RESTART_SECONDS`] before it.
    pub expected: u32,
}

/// Result of adding up the entries of a tick again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// The view equals the sum over the entries.
    Balanced,
    /// It does, but for so many cells that found no room here, on neither side.
    Partial(u32),
    /// It does not; says what differs.
    Unbalanced(String),
    /// No such tick is kept.
    Unknown,
}

/// What is known of a peer process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// The process.
    pub writer: WriterId,
    /// Name of the aggregator.
    pub aggregator_id: String,
    /// Its closed tick, as far as the entries it covers are held here. 0 when not known.
    pub closed_tick: u32,
    /// Nodes connected to it.
    pub connected_nodes: u32,
    /// When its last digest came, milliseconds since the Unix epoch.
    pub digest_at_ms: u64,
    /// Entries it lacks of what is held here, by its last digest.
    pub behind: u64,
}

/// What is held of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// Its author.
    pub writer: WriterId,
    /// Name of the aggregator that answers for it; empty when none is known.
    pub author: String,
    /// Its author spoke here itself; else the log was brought by the aggregator of that name.
    pub first_hand: bool,
    /// Entries 1..=length are known.
    pub length: u64,
    /// Entries before this one are pruned.
    pub first_kept: u64,
    /// Running hash after the last entry.
    pub hash: [u8; 16],
    /// Streams this writer defined and that are still remembered.
    pub streams: u32,
    /// Bytes of the entries kept.
    pub bytes: usize,
    /// Entries 1..=durable survive a crash of this process.
    pub durable: u64,
    /// Why its next entry cannot be applied, while that lasts: then this process does not know all that the cluster
    /// knows, and is not ready.
    pub trouble: Option<String>,
}

/// A node by the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Name.
    pub node: NodeId,
    /// First tick held, Unix seconds.
    pub first_tick: u32,
    /// Last tick held.
    pub last_tick: u32,
    /// Its latest stream ended on purpose.
    pub ended: bool,
}

/// Whose logs are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quarantine {
    /// Names of aggregators: their processes now and later.
    pub aggregators: BTreeSet<String>,
    /// Processes, and the aggregator that answers for each: those that are gone, and those whose logs a quarantined one
    /// brought and nobody else vouches for. At most [`super::limits::QUARANTINED_WRITERS_MAX`]; of more the highest
    /// are left out, so whoever collects them refuses more.
    pub writers: BTreeMap<WriterId, String>,
}

impl Quarantine {
    /// Whether a process of this name is one of them.
    pub(super) fn has_name(&self, name: &str) -> bool {
        !name.is_empty() && self.aggregators.contains(name)
    }

    /// For which aggregator's sake the log of `writer` is refused.
    pub(super) fn of_writer(&self, writer: WriterId) -> Option<&str> {
        self.writers.get(&writer).map(String::as_str)
    }
}
