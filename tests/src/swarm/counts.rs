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
    /// Nanoseconds from the end of a second until its frame was handed to the socket.
    pub sent_after: HistogramSum,
    /// Nanoseconds from the end of a second until its frame was acknowledged.
    pub acked_after: HistogramSum,
    /// The first few things that went wrong, in words.
    pub troubles: Vec<String>,
}

/// Troubles kept for the report: more of them say nothing new.
const TROUBLES_MAX: usize = 8;

impl Counts {
    /// Keeps `trouble` unless enough are kept.
    pub(super) fn trouble(&mut self, trouble: String) {
        if self.troubles.len() < TROUBLES_MAX {
            self.troubles.push(trouble);
        }
    }

    /// Starts the counts of a measured time; what is of now and what is kept stays.
    pub(super) fn restart(&mut self) {
        let Self { connected, by, unacked, troubles, .. } = std::mem::take(self);
        *self = Self { connected, by, unacked, troubles, ..Self::default() };
    }
}
