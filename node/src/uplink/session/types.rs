//! What goes into a session and what comes out of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use starling_proto::{
    frame::Content,
    ids::{NodeId, WriterId},
    v1,
};

use crate::uplink::{
    loss::{LossReason, Losses},
    pin::Pin,
    spool::Change,
};

/// What the shell must do.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a request is large by its hello, which is never sent this way; each lives for a moment"
)]
pub(in crate::uplink) enum Action {
    /// Connect to `address`, open the stream and send `hello` on it.
    Dial { link: u64, address: String, hello: Box<v1::Hello> },
    /// Send on an open link.
    Send { link: u64, request: v1::IngestRequest },
    /// Send on an open link if there is room; nothing is lost without it.
    Tell { link: u64, request: v1::IngestRequest },
    /// Somebody looks at this node for so many seconds from now on.
    Look { seconds: u32 },
    /// Say that nothing more will be sent, and let the aggregator end the stream.
    Finish { link: u64 },
    /// Drop the link.
    Close { link: u64 },
    /// Write down, for the next start.
    Spool(Change),
    /// Log and count.
    Report(Event),
}

/// What is worth a log line and a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::uplink) enum Event {
    Dialled { address: String },
    Accepted { address: String, aggregator: NodeId, writer: WriterId, unacknowledged: usize },
    Redirected { address: String },
    LinkLost { address: String, reason: String, was_open: bool },
    RoundFailed { rounds: u32, retry_in: Duration },
    NotAcknowledged { address: String, patience: Duration },
    NameHeld { address: String, reason: String },
    Renamed { name: String },
    ClockDiffers { address: String, tick: u32, reason: String },
    FreshStart { reason: String },
    Lost { tick: u32, reason: LossReason, detail: String },
    Ended { unacknowledged: usize },
}

/// Who speaks, and how much is kept.
#[derive(Debug, Clone)]
pub(in crate::uplink) struct Settings {
    /// The hello without session, final hop and time.
    pub(in crate::uplink) hello: v1::Hello,
    pub(in crate::uplink) seeds: Vec<String>,
    pub(in crate::uplink) ring_frames: usize,
    pub(in crate::uplink) ring_bytes: usize,
    /// How long a stop may wait for acknowledgements.
    pub(in crate::uplink) grace: Duration,
    /// Decides every jitter.
    pub(in crate::uplink) seed: u64,
    /// How long the first dial waits, unless it is released before; frames are kept meanwhile.
    pub(in crate::uplink) hold: Duration,
    /// What goes on.
    pub(in crate::uplink) before: Before,
    /// Frames are written down.
    pub(in crate::uplink) spooled: bool,
}

/// What a process before knew of a stream that goes on.
#[derive(Debug, Clone, Default)]
pub(in crate::uplink) struct Before {
    /// Its frames, the oldest first.
    pub(in crate::uplink) kept: Vec<(Pin, Arc<Content>)>,
    /// Older ones, which are on the disk alone.
    pub(in crate::uplink) aside: BTreeMap<u32, Pin>,
    /// The newest second of it; 0 for none.
    pub(in crate::uplink) last_tick: u32,
    /// No link of it that was made before has a higher number.
    pub(in crate::uplink) links: u32,
}

/// Counts since the start. `recovered + cut == acked + unacked + lost + left` always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::uplink) struct Totals {
    pub(in crate::uplink) recovered: u64,
    pub(in crate::uplink) cut: u64,
    pub(in crate::uplink) acked: u64,
    pub(in crate::uplink) lost: Losses,
    /// For the next start.
    pub(in crate::uplink) left: u64,
    pub(in crate::uplink) redirects: u64,
    pub(in crate::uplink) no_ack_hops: u64,
    pub(in crate::uplink) clock_hops: u64,
}

/// The aggregator that took the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::uplink) struct Taker {
    pub(in crate::uplink) aggregator: NodeId,
    pub(in crate::uplink) writer: WriterId,
    pub(in crate::uplink) address: String,
    /// Copies of the newest acknowledged frame; 0 before the first acknowledgement.
    pub(in crate::uplink) copies: u32,
    /// True when that aggregator has no peer.
    pub(in crate::uplink) alone: bool,
}
