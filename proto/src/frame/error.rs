//! Why a frame is refused.

use crate::varint::VarintError;

/// Why a frame was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame is missing before this one, or an earlier one was damaged: the sender must start over.
    #[error("frame {sequence} follows {last}: a fresh start is needed")]
    NeedKeyframe {
        /// Sequence of the frame.
        sequence: u32,
        /// Sequence of the last good one.
        last: u32,
    },
    /// It breaks a limit or is not a frame.
    #[error("{0}")]
    Invalid(String),
}

impl FrameError {
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::Invalid(detail.into())
    }
}

impl From<VarintError> for FrameError {
    fn from(error: VarintError) -> Self {
        Self::Invalid(error.to_string())
    }
}
