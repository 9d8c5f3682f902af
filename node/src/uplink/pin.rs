//! Whose a frame is.

use starling_proto::ids::WriterId;

/// The first writer that a frame was offered to. Set once, never changed: only that writer may merge the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Pin {
    /// It was never offered.
    #[default]
    Free,
    /// It was first offered to this one.
    To(WriterId),
    /// It may have been offered, by a process before, and nobody knows to whom: whoever gets it passes it on whole.
    Unknown,
}

impl Pin {
    /// Pins it to `writer` unless it is pinned; true when that changed it.
    pub(super) fn set(&mut self, writer: WriterId) -> bool {
        let free = *self == Self::Free;
        if free {
            *self = Self::To(writer);
        }
        free
    }

    /// Whether it may have been offered to somebody.
    pub(super) fn was_offered(self) -> bool {
        self != Self::Free
    }

    /// As it stands in a frame.
    pub(super) const fn on_the_wire(self) -> Option<WriterId> {
        match self {
            Self::To(writer) => Some(writer),
            Self::Free | Self::Unknown => None,
        }
    }
}
