//! What a swarm did so far.

use std::collections::BTreeMap;

use starling_proto::histogram::HistogramSum;

/// Counts over all nodes since the start or since [`super::Swarm::reset`]; `connected` and `by` are of now.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Nodes whose stream is open.
    pub connected: usize,
    /// The same by name of the aggregator.
    pub by: BTreeMap<String, usize>,
    /// Frames sent, those sent again included.
    pub sent: u64,
    /// Their bytes as gRPC messages.
    pub bytes: u64,
    /// Frames acknowledged.
    pub acked: u64,
    /// The same by second, of the newest `SECONDS_MAX`: which of the first 64 nodes, a bit for each.
    pub acked_of: BTreeMap<u32, u64>,
    /// Frames kept and not acknowledged.
    pub unacked: u64,
    /// Frames given up because the ring of the node was full.
    pub lost: u64,
    /// Frames refused.
    pub refused: u64,
    /// Times an aggregator asked for a keyframe.
    pub keyframe_requests: u64,
    /// Streams that ended without our doing.
    pub broken: u64,
    /// Redirects followed.
    pub redirects: u64,
    /// Connections that were begun.
    pub attempts: u64,
    /// The most connections that one node began until its stream was open.
    pub attempts_max: u32,
    /// Nanoseconds from the end of a second until its frame was handed to the socket.
    pub sent_after: HistogramSum,
    /// Nanoseconds from the end of a second until its frame was acknowledged.
    pub acked_after: HistogramSum,
    /// The first few things that went wrong, in words.
    pub troubles: Vec<String>,
}

/// Seconds of which acknowledgements are counted one by one: the hour of the longest test of a lost acknowledgement.
const SECONDS_MAX: usize = 3_600;
/// Troubles kept for the report: more of them say nothing new.
const TROUBLES_MAX: usize = 8;

impl Counts {
    /// Keeps `trouble` unless enough are kept.
    pub(super) fn trouble(&mut self, trouble: String) {
        if self.troubles.len() < TROUBLES_MAX {
            self.troubles.push(trouble);
        }
    }

    /// The frame of second `tick` of the node `node` is acknowledged.
    pub(super) fn acked(&mut self, node: usize, tick: u32) {
        self.acked += 1;
        *self.acked_of.entry(tick).or_default() |= 1_u64.checked_shl(node as u32).unwrap_or(0);
        if self.acked_of.len() > SECONDS_MAX {
            self.acked_of.pop_first();
        }
    }

    /// Starts the counts of a measured time; what is of now and what is kept stays.
    pub(super) fn restart(&mut self) {
        let Self { connected, by, unacked, troubles, .. } = std::mem::take(self);
        *self = Self { connected, by, unacked, troubles, ..Self::default() };
    }
}
