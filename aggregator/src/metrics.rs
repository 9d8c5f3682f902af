//! Counters of the aggregator, by name. A failure is logged and counted by one function.

use metrics::{counter, gauge, histogram};
use starling_proto::v1::RefusalReason;
use tracing::{error, info, warn};

use crate::ledger::LedgerStats;

/// The gossip task ended; it is started again. `in_a_row` failures so far.
pub(crate) fn gossip_failed(cause: &str, in_a_row: u32) {
    counter!("starling_aggregator_gossip_failures_total").increment(1);
    error!(cause, in_a_row, "gossip stopped, it is started again");
}

/// Processes that gossip knows of, dead ones included, and those alive.
pub(crate) fn gossip_identities(known: usize, live: usize) {
    gauge!("starling_aggregator_gossip_identities").set(known as f64);
    gauge!("starling_aggregator_gossip_live_peers").set(live as f64);
}

/// A frame was decoded and offered to the ledger.
pub(crate) fn frame_taken(bytes: usize, delay_ms: u32) {
    counter!("starling_aggregator_frames_total").increment(1);
    counter!("starling_aggregator_frame_bytes_total").increment(bytes as u64);
    histogram!("starling_aggregator_frame_delay_seconds").record(f64::from(delay_ms) / 1000.0);
}

/// A frame was refused for good.
pub(crate) fn frame_refused(node: &str, tick: u32, reason: RefusalReason, detail: &str) {
    let label = match reason {
        RefusalReason::TooLate => "too_late",
        RefusalReason::TooEarly => "too_early",
        RefusalReason::Invalid | RefusalReason::Unspecified => "invalid",
    };
    counter!("starling_aggregator_frames_refused_total", "reason" => label).increment(1);
    warn!(node, tick, reason = label, detail, "frame refused");
}

/// A node must start its encoding anew.
pub(crate) fn keyframe_requested(node: &str, reason: &str) {
    counter!("starling_aggregator_keyframe_requests_total").increment(1);
    info!(node, reason, "asking for a keyframe");
}

/// How a node's hello was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// The stream is taken.
    Accepted,
    /// Another aggregator owns the node.
    Redirected,
    /// The hello broke a rule or a limit.
    Refused,
}

/// A node asked to be taken.
pub(crate) fn hello(answer: Answer) {
    let label = match answer {
        Answer::Accepted => "accepted",
        Answer::Redirected => "redirected",
        Answer::Refused => "refused",
    };
    counter!("starling_aggregator_hellos_total", "answer" => label).increment(1);
}

/// Streams of nodes that are open.
pub(crate) fn sessions(open: usize) {
    gauge!("starling_aggregator_node_sessions").set(open as f64);
}

/// Bytes of encoded frames kept for drill-down.
pub(crate) fn frame_log_bytes(bytes: usize) {
    gauge!("starling_aggregator_frame_log_bytes").set(bytes as f64);
}

/// Bytes of history of one node that had to go before their time.
pub(crate) fn frame_log_lost(bytes: usize) {
    if bytes > 0 {
        counter!("starling_aggregator_frame_log_lost_bytes_total").increment(bytes as u64);
    }
}

/// A group was left out because `groups_max` are known.
pub(crate) fn group_left_out() {
    counter!("starling_aggregator_groups_left_out_total").increment(1);
}

/// Nodes were told to move to a better owner.
pub(crate) fn rebalanced(nodes: usize) {
    if nodes > 0 {
        counter!("starling_aggregator_rebalanced_nodes_total").increment(nodes as u64);
        info!(nodes, "nodes sent to their owner");
    }
}

/// A connection to a peer came up or went down.
pub(crate) fn peer_links(up: usize) {
    gauge!("starling_aggregator_peer_links").set(up as f64);
}

/// An attempt to reach a peer failed.
pub(crate) fn peer_failed(peer: &str, cause: &str) {
    counter!("starling_aggregator_peer_failures_total").increment(1);
    info!(peer, cause, "peer not reached, trying again");
}

/// A message of a peer was not taken.
pub(crate) fn peer_message_refused(peer: &str, cause: &str) {
    counter!("starling_aggregator_peer_messages_refused_total").increment(1);
    warn!(peer, cause, "message of a peer refused");
}

/// Rows of a peer's node table were left out because the table was full.
pub(crate) fn rows_left_out(rows: usize) {
    if rows > 0 {
        counter!("starling_aggregator_node_rows_left_out_total").increment(rows as u64);
        warn!(rows, "rows of a node table left out, the table is full");
    }
}

/// A second was settled this long after its end.
pub(crate) fn settled(age_ms: u32) {
    histogram!("starling_aggregator_settle_delay_seconds").record(f64::from(age_ms) / 1000.0);
}

/// One step of the ledger took this long.
pub(crate) fn ledger_step(seconds: f64) {
    histogram!("starling_aggregator_ledger_step_seconds").record(seconds);
}

/// Acknowledgements of one stream that were dropped because its node does not read them.
pub(crate) fn acks_dropped(count: usize) {
    if count > 0 {
        counter!("starling_aggregator_acks_dropped_total").increment(count as u64);
    }
}

/// What the ledger counted since it started.
pub(crate) fn ledger(stats: &LedgerStats) {
    for (name, value) in [
        ("starling_aggregator_ledger_frames_offered_total", stats.offered),
        ("starling_aggregator_ledger_frames_pending_total", stats.pending),
        ("starling_aggregator_ledger_frames_known_total", stats.known),
        ("starling_aggregator_ledger_frames_waited_total", stats.waited),
        ("starling_aggregator_ledger_merges_total", stats.merges),
        ("starling_aggregator_ledger_merges_cut_total", stats.merges_cut),
        ("starling_aggregator_ledger_merged_frames_total", stats.merged_frames),
        ("starling_aggregator_ledger_raws_total", stats.raws),
        ("starling_aggregator_ledger_raws_taken_back_total", stats.raws_taken_back),
        ("starling_aggregator_ledger_entries_applied_total", stats.entries_applied),
        ("starling_aggregator_ledger_gaps_total", stats.gaps),
        ("starling_aggregator_ledger_runs_refused_total", stats.runs_refused),
        ("starling_aggregator_ledger_overlaps_total", stats.overlaps),
        ("starling_aggregator_ledger_forks_total", stats.forks),
        ("starling_aggregator_ledger_invalid_logs_total", stats.invalid_logs),
        ("starling_aggregator_ledger_imbalances_total", stats.imbalances),
        ("starling_aggregator_ledger_raw_conflicts_total", stats.raw_conflicts),
        ("starling_aggregator_ledger_samples_left_out_total", stats.samples_beyond_tables),
        ("starling_aggregator_ledger_acknowledged_total", stats.acknowledged),
        ("starling_aggregator_ledger_expired_unacknowledged_total", stats.expired_unacknowledged),
    ] {
        counter!(name).absolute(value);
    }
}
