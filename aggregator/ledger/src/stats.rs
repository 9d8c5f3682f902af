//! Counters since the start of the process.

/// Counters since the start of the process; all only rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerStats {
    /// Frames offered.
    pub offered: u64,
    /// Frames taken for merging.
    pub pending: u64,
    /// Frames that waited for another writer's entry.
    pub waited: u64,
    /// Frames whose dot was held already when they were offered.
    pub known: u64,
    /// Frames refused as too late.
    pub refused_late: u64,
    /// Frames refused as too early.
    pub refused_early: u64,
    /// Frames refused as invalid.
    pub refused_invalid: u64,
    /// Frames of streams that were not open.
    pub not_open: u64,
    /// Samples and groups of taken frames left out because a table was full.
    pub samples_beyond_tables: u64,
    /// Own `Merge` entries.
    pub merges: u64,
    /// Own `Merge` entries that had to leave out cells to stay within the size of an entry.
    pub merges_cut: u64,
    /// Frames in own `Merge` entries.
    pub merged_frames: u64,
    /// Own `Raw` entries.
    pub raws: u64,
    /// Raw frames waited for in vain no longer: the dot became known.
    pub waits_resolved: u64,
    /// Raw frames shipped early because too many waited.
    pub waits_cut_short: u64,
    /// Ticks flushed early because too many were open.
    pub flushes_cut_short: u64,
    /// Entries taken from peers.
    pub entries_applied: u64,
    /// Entries of peers that were held already.
    pub entries_known: u64,
    /// Runs of entries that began beyond what is held.
    pub gaps: u64,
    /// Entries whose tick was no longer, or not yet, kept when they came: held and relayed, never shown.
    pub entries_out_of_window: u64,
    /// Raw frames taken back because a `Merge` covers them.
    pub raws_taken_back: u64,
    /// Raw frames not counted because a `Merge` covered them, or another `Raw` came before.
    pub raws_ignored: u64,
    /// Two `Raw` entries of one dot with different sums. Must be 0: a frame never changes.
    pub raw_conflicts: u64,
    /// Frames found in two `Merge` entries. Must be 0.
    pub overlaps: u64,
    /// Two different entries at one place of a log. Must be 0.
    pub forks: u64,
    /// Logs frozen after an invalid entry. Must be 0.
    pub invalid_logs: u64,
    /// Sums that could not be taken back. Must be 0.
    pub imbalances: u64,
    /// Runs refused because a table or the logs were full.
    pub runs_refused: u64,
    /// Logs joined in the middle because their start was pruned.
    pub jumps: u64,
    /// Entries pruned.
    pub entries_pruned: u64,
    /// Dots acknowledged.
    pub acknowledged: u64,
    /// Dots of own sessions whose tick left the window before enough aggregators held them.
    pub expired_unacknowledged: u64,
}
