//! What a node is told of the seconds that are taken.

/// Which seconds the ledger takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gate {
    /// None before this one.
    pub(crate) floor: u32,
    /// Of those of an outage, which are older than frames are taken otherwise, those up to this one; 0 for none.
    pub(crate) old_until: u32,
}
