//! What goes in and out of the ledger.

use std::sync::Arc;

use bytes::Bytes;
use starling_proto::{
    frame::Columns,
    group::Group,
    ids::{NodeId, StreamId, WriterId},
    v1,
};

use super::{
    decode::DecodedRun,
    tick::TickSums,
    types::{
        Ack, Applied, Coverage, DigestError, EntriesError, Frames, KnownStream, OpenError, Quarantine, Refused,
        StreamNo,
    },
};
use crate::rollup::{Cores, Sums};

/// What the ledger hears. The crate's documentation says when.
#[derive(Debug)]
pub enum Event {
    /// A connection of a node's stream is accepted. `key` names the connection. Answered by [`Action::Opened`]; a
    /// connection of the stream that is open is replaced.
    Open {
        /// Of the connection; never used twice.
        key: u64,
        /// The node whose daemon opened it.
        node: NodeId,
        /// The daemon start.
        stream: StreamId,
    },
    /// A frame. Only what is refused is answered, by [`Action::Refused`].
    Offer(Offered),
    /// A connection is gone, and with it the receiver of its acknowledgements. Frames taken stay taken.
    Close {
        /// The connection, as [`Event::Open`] named it.
        key: u64,
        /// As [`Action::Opened`] numbered it.
        stream: StreamNo,
        /// The last tick of the stream when it ended on purpose: its node is not expected after it.
        last_tick: Option<u32>,
    },
    /// A connection to a peer is up: everything its digests do not show is sent again.
    PeerOpened(WriterId),
    /// A peer's connection ended. What it holds still counts as a copy.
    PeerClosed(WriterId),
    /// A peer's process is known to be gone, and with it the copies it held.
    PeerLost(WriterId),
    /// The connection to a peer takes so many bytes of entries more.
    Room {
        /// The process at its other end.
        peer: WriterId,
        /// Bytes of payloads.
        bytes: usize,
    },
    /// What a peer says it holds.
    Digest(v1::Digest),
    /// A run of some log, read.
    Entries {
        /// Who sent it.
        from: WriterId,
        /// What it sent; in the order of the log.
        run: DecodedRun,
    },
    /// The store holds entries 1..=`up_to` of a log, even after a crash.
    Synced {
        /// Author of the log.
        writer: WriterId,
        /// Last entry.
        up_to: u64,
    },
    /// Who is alive: settling waits for these.
    Live(Vec<WriterId>),
    /// On how many aggregators a frame must be held, this one included: what the membership allows of
    /// [`super::LedgerConfig::copies`].
    Copies(u32),
    /// Whose word counts no more, all of them: replaces those before. To be given before anything is restored.
    Quarantine(Quarantine),
    /// Time has passed. Does what is due, and brings out what changed.
    Tick,
    /// Brings out all that changed, at once: after a start, before the first answer. Later a step brings out a few.
    BringOut,
    /// Appends everything gathered, whether due or not: before a stop.
    Flush,
    /// A node is gone for good: its streams ended with their last tick.
    Gone(NodeId),
    /// Where the floor of the process before was; `None` when that is not known, or there was none. To be given before
    /// anything is restored: without it old seconds are forgotten at once.
    Floor(Option<u32>),
    /// The peers have said where their floors are, or nobody else is there: what the whole cluster was away for is taken.
    CaughtUp,
    /// Streams known from before the start. Those of nodes of which no log speaks go into the own log; to be given once
    /// what the peers hold has come.
    Recall(Vec<KnownStream>),
}

/// A frame that is offered.
#[derive(Debug, Clone)]
pub struct Offered {
    /// The stream, as [`Action::Opened`] numbered it.
    pub stream: StreamNo,
    /// The second.
    pub tick: u32,
    /// The first writer it was ever offered to, as the node recorded it.
    pub pin: Option<WriterId>,
    /// The groups of the node besides the whole cluster.
    pub groups: Arc<[Group]>,
    /// The values; those of cluster scope count.
    pub columns: Columns,
    /// The busiest cores of the node in this second.
    pub cores: Cores,
}

/// What the ledger asks for.
#[derive(Debug)]
pub enum Action {
    /// Answer to [`Event::Open`].
    Opened {
        /// The connection.
        key: u64,
        /// The number of its stream.
        result: Result<StreamNo, OpenError>,
    },
    /// A frame was not taken.
    Refused {
        /// As [`Action::Opened`] numbered it.
        stream: StreamNo,
        /// Unix seconds.
        tick: u32,
        /// Why.
        refused: Refused,
    },
    /// The store is to keep this entry, and to answer with [`Event::Synced`]. Until then it counts as no copy.
    Persist {
        /// Author of the log.
        writer: WriterId,
        /// Its place; without gaps, but for logs joined in the middle.
        sequence: u64,
        /// The entry.
        payload: Bytes,
    },
    /// The store is to forget a log: it begins again. What was not answered for it yet is not to be answered.
    Dropped {
        /// Author of the log.
        writer: WriterId,
    },
    /// A log was taken back out: its author is in quarantine. The store is to forget it.
    TakenOut {
        /// Its author.
        writer: WriterId,
        /// The aggregator that answers for it.
        aggregator: String,
        /// Entries that were held or pruned.
        entries: u64,
        /// First and last tick of the entries that were held, Unix seconds.
        span: Option<(u32, u32)>,
    },
    /// To send to a peer.
    Send {
        /// The process at the other end of an open connection.
        peer: WriterId,
        /// Entries within the room that the connection had, or a digest, which takes no room.
        message: Outgoing,
    },
    /// A run was taken, or why not.
    Taken {
        /// Who sent it.
        from: WriterId,
        /// What came of it.
        result: Result<Applied, EntriesError>,
    },
    /// A digest was not taken.
    DigestRefused {
        /// The writer it speaks for.
        writer: Bytes,
        /// Why.
        error: DigestError,
    },
    /// Frames that their nodes may forget.
    Acks(Vec<Ack>),
    /// The view of a tick as it is now: it changed.
    Changed(Arc<TickView>),
    /// The view of a tick as before, in less memory.
    Packed(Arc<TickView>),
    /// A second is settled: every live peer has closed it, or its time is up. In ascending order. It may change later.
    /// The view is of revision 0 when nothing of the second is held.
    Settled(Arc<TickView>),
    /// A tick is no longer kept: its last sums.
    Pruned {
        /// Unix seconds.
        tick: u32,
        /// As they were last.
        sums: TickSums,
        /// The frames behind them.
        frames: Frames,
    },
}

/// A message to a peer.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    /// What this process holds.
    Digest(v1::Digest),
    /// Runs of entries.
    Entries(Vec<v1::Entries>),
}

/// Bits of a rank for the frames of a second: 256 times as many as there may be streams.
const FRAMES_BITS: u32 = 26;
/// Corrections that a rank tells apart.
const CORRECTIONS_MAX: u32 = (1 << (u32::BITS - FRAMES_BITS)) - 1;

/// One tick by the logs held. Changes no more.
#[derive(Debug, Clone)]
pub struct TickView {
    /// Unix seconds.
    pub tick: u32,
    /// Rises when the view changes; 1 at first, 0 while nothing is held. Not equal at different aggregators.
    pub revision: u32,
    /// Sums of the cluster and of each group.
    pub sums: TickSums,
    /// Frames behind it.
    pub frames: Frames,
    /// Nodes behind it.
    pub coverage: Coverage,
    /// Nodes that are expected and not behind it, by name: the first [`super::limits::MISSING_MAX`].
    pub missing: Arc<[NodeId]>,
    /// Cells that are missing in the sums because a table of names was full here.
    pub skipped_cells: u32,
    /// How often logs of authors in quarantine were taken out of it here.
    pub corrections: u32,
}

impl TickView {
    /// Of two versions of one second, that of the higher rank counts: the one that was corrected more often, then the one
    /// with more frames behind it.
    #[must_use]
    pub fn rank(&self) -> u32 {
        self.corrections.min(CORRECTIONS_MAX) << FRAMES_BITS | self.frames.counted.min((1 << FRAMES_BITS) - 1)
    }

    /// The sums, unpacked if need be.
    #[must_use]
    pub fn sums(&self) -> Arc<Sums> {
        self.sums.read()
    }
}
