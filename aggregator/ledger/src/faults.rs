//! Mistakes the tests can plant: each one breaks a rule of the algorithm, and the simulator must notice.

/// A rule left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "constructed by tests only"))]
pub(crate) enum Fault {
    /// Merges frames that are pinned to another writer.
    IgnorePin,
    /// Does not look whether it holds a dot already.
    NoOwnCoverageCheck,
    /// Counts a raw frame although a merge covers it.
    RawIgnoresCoverage,
    /// Does not take back raw frames that a merge covers.
    MergeKeepsRaw,
    /// Counts a dot once per raw entry.
    EveryRawCounts,
    /// Acknowledges what only this process holds.
    AckBeforeCopies,
    /// Acknowledges on what was sent instead of on what the peer says it holds.
    AckOnSent,
    /// Acknowledges what no store holds yet.
    AckBeforeSync,
    /// Acknowledges what readers do not see yet.
    AckBeforeShown,
    /// Hears neither the floor of others nor what they have forgotten: takes that.
    FloorIsOwn,
    /// Does not hear what others have forgotten: shows seconds of which it lacks what they pruned.
    ForgottenIsOwn,
    /// Takes a peer's entries for as durable as they are received.
    ReceivedIsDurable,
    /// Knows the busy cores only of the nodes that are connected here.
    CoresOfOwnOnly,
    /// Does not bring out again seconds at which other nodes are expected now.
    ExpectedIsNotNews,
    /// Takes what any log says of a frame for held: who claims frames that were never offered to him makes others drop them.
    ClaimsCount,
    /// Leaves in the view what quarantined authors said before.
    QuarantineTakesNothingOut,
    /// Leaves expected whom quarantined authors spoke of.
    QuarantineKeepsExpectations,
    /// Takes the log of a quarantined author again when somebody passes it on.
    QuarantinedComesBack,
    /// Refuses an entry with a name for which there is no room here.
    RoomDecides,
}

/// The fault planted in one ledger. Outside of tests there is none, and asking costs nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    #[cfg(test)]
    planted: Option<Fault>,
}

impl Faults {
    #[cfg(test)]
    pub(crate) const fn of(fault: Option<Fault>) -> Self {
        Self { planted: fault }
    }

    /// True when any fault is planted: books that do not balance are then expected.
    #[inline]
    pub(crate) fn is_planted(self) -> bool {
        #[cfg(test)]
        return self.planted.is_some();
        #[cfg(not(test))]
        false
    }

    /// True when `fault` is planted.
    #[inline]
    pub(crate) fn has(self, fault: Fault) -> bool {
        #[cfg(test)]
        return self.planted == Some(fault);
        #[cfg(not(test))]
        {
            let _ = fault;
            false
        }
    }
}
