//! Counters of the aggregator, by name. A failure is logged and counted by one function.

mod table;

use std::{sync::OnceLock, time::Duration};

use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use starling_proto::v1::RefusalReason;
use starling_service::log::LogLimiter;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use starling_ledger::LedgerStats;

pub use table::rows;

/// Between two log lines of one kind that a faulty node or peer can bring about. Counters count every one.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Between two foldings of histogram samples: once per usual scrape interval is enough.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The recorder of these counters, one for all aggregators of a process.
///
/// # Panics
/// When another recorder was installed before: a bug in the program.
pub(crate) fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let handle = PrometheusBuilder::new().install_recorder().expect("no other metrics recorder is installed");
        table::describe();
        handle
    };
    HANDLE.get_or_init(install).clone()
}

/// Folds histogram samples until `stop`.
pub(crate) async fn upkeep(stop: CancellationToken) {
    let mut timer = tokio::time::interval(UPKEEP_EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = timer.tick() => recorder().run_upkeep(),
        }
    }
}

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
    static LINES: LogLimiter = LogLimiter::new(LINE_EVERY);
    let label = match reason {
        RefusalReason::TooLate => "too_late",
        RefusalReason::TooEarly => "too_early",
        RefusalReason::Invalid | RefusalReason::Unspecified => "invalid",
    };
    counter!("starling_aggregator_frames_refused_total", "reason" => label).increment(1);
    if let Some(left_out) = LINES.allow() {
        warn!(node, tick, reason = label, detail, left_out, "frame refused");
    }
}

/// A node must start its encoding anew.
pub(crate) fn keyframe_requested(node: &str, reason: &str) {
    static LINES: LogLimiter = LogLimiter::new(LINE_EVERY);
    counter!("starling_aggregator_keyframe_requests_total").increment(1);
    if let Some(left_out) = LINES.allow() {
        info!(node, reason, left_out, "asking for a keyframe");
    }
}

/// Series of a frame that have no place of their own: `left_out` for which the table of series had no room, and
/// `others` beyond the quota of their node, which count in a series `_other`.
pub(crate) fn series_without_place(node: &str, left_out: u32, others: u32) {
    static LINES: LogLimiter = LogLimiter::new(LINE_EVERY);
    if left_out + others == 0 {
        return;
    }
    counter!("starling_aggregator_values_left_out_total").increment(u64::from(left_out));
    counter!("starling_aggregator_values_other_total").increment(u64::from(others));
    if let Some(lines_left_out) = LINES.allow() {
        warn!(
            node,
            left_out, others, lines_left_out, "a node brings more new names than it may: they count in series _other"
        );
    }
}

/// Series known in this process.
pub(crate) fn series(known: usize) {
    gauge!("starling_aggregator_series").set(known as f64);
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

/// Two daemons call themselves `node`: they take the place of each other again and again.
pub(crate) fn node_contested(node: &str) {
    static LINES: LogLimiter = LogLimiter::new(LINE_EVERY);
    counter!("starling_aggregator_node_contests_total").increment(1);
    if let Some(left_out) = LINES.allow() {
        warn!(node, left_out, "two daemons call themselves by one node id, each ends the stream of the other");
    }
}

/// A node that went was forgotten before its quarter of an hour, to make room.
pub(crate) fn node_forgotten_early() {
    counter!("starling_aggregator_nodes_forgotten_early_total").increment(1);
}

/// A stream of a node was ended because the node did not read what was sent to it.
pub(crate) fn node_stalled() {
    counter!("starling_aggregator_node_stalls_total").increment(1);
}

/// Streams of nodes that are open.
pub(crate) fn sessions(open: usize) {
    gauge!("starling_aggregator_node_sessions").set(open as f64);
}

/// Bytes of the blocks of all nodes, kept for drill-down.
pub(crate) fn block_bytes(bytes: usize) {
    gauge!("starling_aggregator_block_bytes").set(bytes as f64);
}

/// Bytes of blocks that had to go before their time, to keep within the budget of the process.
pub(crate) fn blocks_lost(bytes: usize) {
    static LINES: LogLimiter = LogLimiter::new(LINE_EVERY);
    counter!("starling_aggregator_blocks_lost_bytes_total").increment(bytes as u64);
    if let Some(left_out) = LINES.allow() {
        warn!(bytes, left_out, "the blocks of all nodes are over their budget, the oldest go early");
    }
}

/// A second was not kept for drill-down because its block has no room for its series. It is counted in the cluster.
pub(crate) fn second_not_kept() {
    counter!("starling_aggregator_seconds_not_kept_total").increment(1);
}

/// A node is in the group "label:_other" because `groups_max` groups are known.
pub(crate) fn group_other() {
    static LINES: LogLimiter = LogLimiter::new(LINE_EVERY);
    counter!("starling_aggregator_groups_other_total").increment(1);
    if let Some(left_out) = LINES.allow() {
        warn!(left_out, "groups_max groups are known, further nodes are in the group _other of their label");
    }
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
    static LINES: LogLimiter = LogLimiter::new(LINE_EVERY);
    counter!("starling_aggregator_peer_failures_total").increment(1);
    if let Some(left_out) = LINES.allow() {
        info!(peer, cause, left_out, "peer not reached, trying again");
    }
}

/// A message of a peer was not taken.
pub(crate) fn peer_message_refused(peer: &str, cause: &str) {
    static LINES: LogLimiter = LogLimiter::new(LINE_EVERY);
    counter!("starling_aggregator_peer_messages_refused_total").increment(1);
    if let Some(left_out) = LINES.allow() {
        warn!(peer, cause, left_out, "message of a peer refused");
    }
}

/// Rows of a peer's node table were left out because the table was full.
pub(crate) fn rows_left_out(rows: usize) {
    static LINES: LogLimiter = LogLimiter::new(LINE_EVERY);
    if rows > 0 {
        counter!("starling_aggregator_node_rows_left_out_total").increment(rows as u64);
        if let Some(left_out) = LINES.allow() {
            warn!(rows, left_out, "rows of a node table left out, the table is full");
        }
    }
}

/// Labels of a peer's nodes were cut to the limits.
pub(crate) fn rows_cut(rows: usize) {
    static LINES: LogLimiter = LogLimiter::new(LINE_EVERY);
    if rows > 0 {
        counter!("starling_aggregator_node_rows_cut_total").increment(rows as u64);
        if let Some(left_out) = LINES.allow() {
            warn!(rows, left_out, "labels in a peer's node table were cut to the limits");
        }
    }
}

/// The clock of this host went back: this process ends.
pub(crate) fn clock_jumped_back(by: Duration) {
    counter!("starling_aggregator_clock_jumps_total", "direction" => "back").increment(1);
    error!(by_secs = by.as_secs_f64(), "the clock went back, this process ends to be started anew");
}

/// The clock of this host was set forward, or the host slept.
pub(crate) fn clock_jumped_forward(by: Duration) {
    counter!("starling_aggregator_clock_jumps_total", "direction" => "forward").increment(1);
    warn!(by_secs = by.as_secs_f64(), "the clock went forward, the seconds between are missing here");
}

/// A second was settled this long after its end.
pub(crate) fn settled(age_ms: u32) {
    histogram!("starling_aggregator_settle_delay_seconds").record(f64::from(age_ms) / 1000.0);
}

/// Some log cannot be applied here, or all can again.
pub(crate) fn ledger_trouble(trouble: Option<&str>) {
    gauge!("starling_aggregator_ledger_trouble").set(f64::from(u8::from(trouble.is_some())));
    match trouble {
        Some(cause) => error!(cause, "a log cannot be applied here: what it says is missing until it can"),
        None => info!("all logs can be applied again"),
    }
}

/// A log was dropped, to be fetched again from its author.
pub(crate) fn log_rebuilt(writer: &str) {
    static LINES: LogLimiter = LogLimiter::new(LINE_EVERY);
    if let Some(left_out) = LINES.allow() {
        error!(writer, left_out, "the author of a log holds other entries than this process: fetching it again");
    }
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
        ("starling_aggregator_ledger_frames_not_open_total", stats.not_open),
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
        ("starling_aggregator_ledger_entries_refused_total", stats.entries_refused),
        ("starling_aggregator_ledger_merges_ignored_total", stats.merges_ignored),
        ("starling_aggregator_ledger_rebuilds_total", stats.rebuilds),
        ("starling_aggregator_ledger_cells_without_room_total", stats.cells_without_room),
        ("starling_aggregator_ledger_imbalances_total", stats.imbalances),
        ("starling_aggregator_ledger_raw_conflicts_total", stats.raw_conflicts),
        ("starling_aggregator_ledger_samples_left_out_total", stats.samples_left_out),
        ("starling_aggregator_ledger_samples_to_other_total", stats.samples_to_other),
        ("starling_aggregator_ledger_acknowledged_total", stats.acknowledged),
        ("starling_aggregator_ledger_expired_unacknowledged_total", stats.expired_unacknowledged),
    ] {
        counter!(name).absolute(value);
    }
}
