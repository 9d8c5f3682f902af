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
    /// Frames of an outage that came before their turn.
    pub refused_not_yet: u64,
    /// Times that an outage was not made up for to its end, because the logs would not fit.
    pub catch_ups_cut: u64,
    /// Frames refused as too early.
    pub refused_early: u64,
    /// Frames refused as invalid.
    pub refused_invalid: u64,
    /// Frames of streams that were not open.
    pub not_open: u64,
    /// Values and groups of own frames left out because the quota of this author was used up.
    pub samples_left_out: u64,
    /// Values and groups of own frames that went to a series or group named `_other`.
    pub samples_to_other: u64,
    /// Cells of entries that are missing in the sums here because a table of names was full.
    pub cells_without_room: u64,
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
    /// Entries for ticks ahead of the clock when they came: held back until it gets there.
    pub entries_ahead: u64,
    /// Raw frames taken back because a `Merge` covers them.
    pub raws_taken_back: u64,
    /// Raw frames not counted because a `Merge` covered them, or another `Raw` came before.
    pub raws_ignored: u64,
    /// Two `Raw` entries of one dot with different sums. 0 unless a quota of names was used up: a frame never changes.
    pub raw_conflicts: u64,
    /// Frames found in two `Merge` entries: two authors claim them. Must be 0.
    pub overlaps: u64,
    /// Two different entries at one place of a log. Must be 0.
    pub forks: u64,
    /// Entries of others that could not be read or did not fit their log. Must be 0.
    pub entries_refused: u64,
    /// Merges of others that cover a frame of an earlier merge of the same author: held, not counted. Must be 0.
    pub merges_ignored: u64,
    /// Logs dropped and fetched again because another process had another entry at one place. Must be 0.
    pub rebuilds: u64,
    /// Sums that could not be taken back. Must be 0.
    pub imbalances: u64,
    /// Runs refused because their author was over a quota.
    pub runs_refused: u64,
    /// Runs refused because their author is in quarantine.
    pub runs_of_quarantined: u64,
    /// Logs taken back out because their author is in quarantine.
    pub logs_taken_out: u64,
    /// Logs joined in the middle because their start was pruned.
    pub jumps: u64,
    /// Entries forgotten because their ticks left the window.
    pub entries_pruned: u64,
    /// Dots acknowledged.
    pub acknowledged: u64,
    /// Dots of own sessions whose tick left the window before enough aggregators held them.
    pub expired_unacknowledged: u64,
}
