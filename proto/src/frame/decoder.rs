//! Frames to columns, from a peer that is not trusted.

use bytes::Bytes;

use super::{DecodedFrame, FrameError, Second, part::Part};
use crate::{catalogue::Scope, interner::Resolve, limits, v1};

/// The receiving end of one connection.
///
/// Each entry of its dictionary holds the number of its series in this process, found once when the series is defined;
/// a second in which the same series are present as in the one before shares its [`crate::interner::Layout`].
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    last_sequence: u32,
    damaged: bool,
    rollup: Part,
    node: Part,
}

impl Decoder {
    /// The decoder of a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one frame. New series get their number from `names`; the values of a series without one are left out and
    /// counted, the frame stays good.
    ///
    /// Allocates in proportion to the bytes of the frame, and for at most [`limits::DICTIONARY_MAX`] series a part.
    /// After an error every frame is refused with [`FrameError::NeedKeyframe`] until one with sequence 1 arrives.
    ///
    /// # Errors
    /// [`FrameError`], naming what is wrong.
    pub fn decode(&mut self, frame: &v1::Frame, names: &impl Resolve) -> Result<DecodedFrame, FrameError> {
        if frame.sequence == 1 && frame.keyframe {
            *self = Self::default();
        } else if self.damaged || frame.sequence != self.last_sequence + 1 || self.last_sequence == 0 {
            return Err(FrameError::NeedKeyframe { sequence: frame.sequence, last: self.last_sequence });
        }
        self.damaged = true;
        let read = |part: &mut Part, name: &str, bytes: &Bytes, scope| {
            part.decode(bytes, scope, frame.keyframe, names).map_err(|error| within(name, error))
        };
        let (cluster, cluster_sparse) = read(&mut self.rollup, "rollup", &frame.rollup, Scope::Cluster)?;
        let (node, node_sparse) = read(&mut self.node, "node", &frame.node, Scope::Node)?;
        let present = self.rollup.present() + self.node.present();
        if present > limits::SERIES_PER_NODE_MAX {
            return Err(FrameError::invalid(format!(
                "{present} series, at most {} are taken",
                limits::SERIES_PER_NODE_MAX
            )));
        }
        self.last_sequence = frame.sequence;
        self.damaged = false;
        Ok(DecodedFrame {
            second: Second { tick: frame.tick, dropped: frame.dropped, cluster, node },
            sparse: [cluster_sparse, node_sparse],
            left_out: self.rollup.left_out() + self.node.left_out(),
            others: self.rollup.others() + self.node.others(),
        })
    }

    /// Series in the dictionary, both parts together.
    #[must_use]
    pub fn dictionary_len(&self) -> usize {
        self.rollup.dictionary_len() + self.node.dictionary_len()
    }
}

fn within(part: &str, error: FrameError) -> FrameError {
    match error {
        FrameError::Invalid(detail) => FrameError::Invalid(format!("{part} part: {detail}")),
        other => other,
    }
}
