//! What an aggregator counts of itself: names, help and units in one table, served at `/metrics`. A failure is logged
//! and counted by one function.
//!
//! Each aggregator of a process has numbers and limits of log lines of its own.

mod alerts;
mod remote_write;

use std::{net::SocketAddr, time::Duration};

use starling_proto::{ids::NodeId, v1::RefusalReason};
use starling_service::metrics::{By, Counter, Durations, Gauge};
use tracing::{error, info, warn};

use starling_ledger::LedgerStats;

/// Between two log lines of one kind that a faulty node or peer can bring about. Counters count every one.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Between two log lines about a state that lasts.
const STATE_EVERY: Duration = Duration::from_secs(60);

/// Members named in one log line: a name and a reason are up to some hundred bytes.
const SKIPPED_SHOWN: usize = 8;

/// More processes than this in the gossip threaten the one datagram that must hold them all.
const IDENTITIES_ALARM: usize = 500;

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

starling_service::metrics! {
    /// The aggregator's own metrics.
    pub struct Metrics {
        /// The gossip task ended and was started again.
        gossip_failures: Counter = "starling_aggregator_gossip_failures";
        /// Processes that gossip knows of, dead ones included.
        gossip_identities: Gauge = "starling_aggregator_gossip_identities";
        /// Messages of gossip from members of another cluster, or by which we are told that we belong to another one.
        gossip_wrong_cluster: Counter = "starling_aggregator_gossip_wrong_cluster";
        /// Datagrams of gossip that were dropped, by reason: "not_sealed", "unknown_key", "forged", "replayed",
        /// "reflected", "unproven", "no_key", "not_understood", and "incomplete" of messages of which a piece did not come.
        gossip_dropped: By<Counter> = "starling_aggregator_gossip_dropped", label "reason";
        /// Messages of gossip that were longer than gossip_datagram_bytes and went in several datagrams.
        gossip_in_pieces: Counter = "starling_aggregator_gossip_messages_in_pieces";
        /// Datagrams of gossip that the system did not send.
        gossip_send_failures: Counter = "starling_aggregator_gossip_send_failures";
        /// Exchanges of the ring of keys of gossip with another aggregator, by outcome: "taken" and "failed".
        gossip_ring_exchanges: By<Counter> = "starling_aggregator_gossip_ring_exchanges", label "outcome";
        /// Certificates that were signed here or passed on, of who joined and who renewed.
        enrolments: Counter = "starling_aggregator_enrolments";
        /// Joins, renewals and leaves that were refused, by reason: "token-unknown", "token-expired", "token-used-up",
        /// "token-revoked", "role", "name-taken", "removed", "unknown", "machine", "nobody-signs", "request", "full", "alive";
        /// "many" of a host that was refused too often; "failed" of those that could not be written down or passed on.
        enrolments_refused: By<Counter> = "starling_aggregator_enrolments_refused", label "reason";
        /// Other aggregators that gossip calls alive.
        gossip_live_peers: Gauge = "starling_aggregator_gossip_live_peers";
        /// Members of which something was not taken, unreadable or not signed by them, counted at every look.
        members_skipped: Counter = "starling_aggregator_members_skipped";
        /// Frames that came more than a minute after their second: of a node that was cut off, or that rewrites its past.
        frames_late: Counter = "starling_aggregator_frames_late";
        /// Frames decoded and offered to the ledger.
        frames: Counter = "starling_aggregator_frames";
        /// Bytes of those frames.
        frame_bytes: Counter = "starling_aggregator_frame", unit Bytes;
        /// From the end of a second to its frame.
        frame_delay: Durations = "starling_aggregator_frame_delay", unit Seconds;
        /// Frames refused for good, by reason.
        frames_refused: By<Counter> = "starling_aggregator_frames_refused", label "reason";
        /// Requests to a node to start its encoding again.
        keyframe_requests: Counter = "starling_aggregator_keyframe_requests";
        /// Nodes that asked to be taken, by answer.
        hellos: By<Counter> = "starling_aggregator_hellos", label "answer";
        /// Streams ended because two daemons have one node id.
        node_contests: Counter = "starling_aggregator_node_contests";
        /// Requests of nodes for a name that another machine holds.
        name_clashes: Counter = "starling_aggregator_name_clashes";
        /// Nodes new to the cluster that were sent away because too many came at once.
        newcomers_refused: Counter = "starling_aggregator_newcomers_refused";
        /// Times the file of known nodes could not be read or written.
        roster_failures: Counter = "starling_aggregator_roster_failures";
        /// Nodes forgotten before their 15 minutes, to make room.
        nodes_forgotten_early: Counter = "starling_aggregator_nodes_forgotten_early";
        /// Streams ended because their node did not read.
        node_stalls: Counter = "starling_aggregator_node_stalls";
        /// Streams of nodes that are open.
        node_sessions: Gauge = "starling_aggregator_node_sessions";
        /// Bytes of the blocks kept for drill-down.
        block_bytes: Gauge = "starling_aggregator_block", unit Bytes;
        /// Bytes of blocks kept for drill-down that had to go before their time.
        blocks_lost_bytes: Counter = "starling_aggregator_blocks_lost", unit Bytes;
        /// Seconds not kept for drill-down, because their block has no room for their series; the cluster counts
        /// them.
        seconds_not_kept: Counter = "starling_aggregator_seconds_not_kept";
        /// Nodes put into a group _other, because groups_max groups are known.
        groups_other: Counter = "starling_aggregator_groups_other";
        /// Nodes sent to a better owner.
        rebalanced_nodes: Counter = "starling_aggregator_rebalanced_nodes";
        /// Streams to other aggregators that are open.
        peer_links: Gauge = "starling_aggregator_peer_links";
        /// Attempts to open a stream to another aggregator.
        peer_dials: Counter = "starling_aggregator_peer_dials";
        /// Attempts to open a stream to another aggregator, and streams of others, that failed.
        peer_failures: Counter = "starling_aggregator_peer_failures";
        /// Messages of other aggregators that were not taken.
        peer_messages_refused: Counter = "starling_aggregator_peer_messages_refused";
        /// Nodes of peers whose labels were cut to the limits.
        node_rows_cut: Counter = "starling_aggregator_node_rows_cut";
        /// Rows of node tables left out because the table was full.
        node_rows_left_out: Counter = "starling_aggregator_node_rows_left_out";
        /// Steps of the clock of this host, by direction.
        clock_jumps: By<Counter> = "starling_aggregator_clock_jumps", label "direction";
        /// Questions over time, by kind.
        history_questions: By<Counter> = "starling_aggregator_history_questions", label "kind";
        /// Questions over time that were refused, by reason.
        history_questions_refused: By<Counter> = "starling_aggregator_history_questions_refused", label "reason";
        /// Answers to questions over time that lack what another aggregator holds.
        history_answers_partial: Counter = "starling_aggregator_history_answers_partial";
        /// Windows of sealed blocks in the steps of a question, by whether they were kept in memory from an earlier one (`found`)
        /// or read from the disk (`made`).
        history_kept_steps_lookups: By<Counter> = "starling_aggregator_history_kept_steps_lookups", label "outcome";
        /// What is kept in memory of sealed blocks in the steps of questions, in bytes.
        history_kept_steps_bytes: Gauge = "starling_aggregator_history_kept_steps", unit Bytes;
        /// Sixty steps of something merged that a question read, by whether they were kept in memory from an earlier one (`found`),
        /// read (`made`), or read again because a second of them had changed (`changed`).
        history_kept_chunks_lookups: By<Counter> = "starling_aggregator_history_kept_chunks_lookups", label "outcome";
        /// What is kept of them, in bytes, by where they were read: of the newest 15 minutes in `memory`, and of the `disk`.
        history_kept_chunks_bytes: By<Gauge> = "starling_aggregator_history_kept_chunks_size", label "of";
        /// Readings of the open seconds of a node for a question, by whether an earlier one had read all of it (`found`), some
        /// (`continued`) or nothing (`made`).
        history_picks_lookups: By<Counter> = "starling_aggregator_history_picks_lookups", label "outcome";
        /// What is kept in memory of such readings, in bytes.
        history_picks_bytes: Gauge = "starling_aggregator_history_picks", unit Bytes;
        /// Open seconds of nodes that questions read, by whether they were in `memory` or only in the `log`.
        open_rows_read: By<Counter> = "starling_aggregator_history_open_seconds_read", label "from";
        /// Newest seconds of each node that are in memory beside the log; fewer when all of them take too many bytes.
        newest_rows: Gauge = "starling_aggregator_history_newest_seconds_kept";
        /// Their bytes, of all nodes.
        newest_rows_bytes: Gauge = "starling_aggregator_history_newest_seconds", unit Bytes;
        /// From a question over time to its answer.
        history_answer: Durations = "starling_aggregator_history_answer", unit Seconds;
        /// Requests to the engine that keeps older history, by outcome.
        history_engine_requests: By<Counter> = "starling_aggregator_history_engine_requests", label "outcome";
        /// From a request to the engine to the end of its answer.
        history_engine_answer: Durations = "starling_aggregator_history_engine_answer", unit Seconds;
        /// Bytes of the engine's answers.
        history_engine_bytes: Counter = "starling_aggregator_history_engine_answered", unit Bytes;
        /// Requests that were not sent, because the engine had failed and is left alone for a while.
        history_engine_skipped: Counter = "starling_aggregator_history_engine_skipped";
        /// 1 while the engine is left alone.
        history_engine_paused: Gauge = "starling_aggregator_history_engine_paused";
        /// From the end of a second to its being settled.
        settle_delay: Durations = "starling_aggregator_settle_delay", unit Seconds;
        /// 1 while some log cannot be applied here.
        ledger_trouble: Gauge = "starling_aggregator_ledger_trouble";
        /// Duration of one step of the ledger, and of one request that takes 5 ms or more.
        ledger_step: Durations = "starling_aggregator_ledger_step", unit Seconds;
        /// Bytes of the ledger's logs written to the disk.
        ledger_stored_bytes: Counter = "starling_aggregator_ledger_stored", unit Bytes;
        /// Duration of one write of the ledger's logs with its sync.
        ledger_store_write: Durations = "starling_aggregator_ledger_store_write", unit Seconds;
        /// Writes of the ledger's logs that the disk did not take; what they held is written later.
        ledger_store_failures: Counter = "starling_aggregator_ledger_store_failures";
        /// Runs of the ledger's logs on the disk that a start could not read.
        ledger_restore_left_out: Counter = "starling_aggregator_ledger_restore_left_out";
        /// 1 while frames are acknowledged though no disk of this aggregator holds them, because it takes nothing.
        ledger_memory_counts: Gauge = "starling_aggregator_ledger_memory_counts";
        /// Acknowledgements dropped because their node does not read them.
        acks_dropped: Counter = "starling_aggregator_acks_dropped";
        /// Frames offered to the ledger.
        ledger_frames_offered: Counter = "starling_aggregator_ledger_frames_offered";
        /// Frames that waited for their second to close.
        ledger_frames_pending: Counter = "starling_aggregator_ledger_frames_pending";
        /// Frames that were counted already.
        ledger_frames_known: Counter = "starling_aggregator_ledger_frames_known";
        /// Frames that waited for what they depend on.
        ledger_frames_waited: Counter = "starling_aggregator_ledger_frames_waited";
        /// Frames of streams that are not open.
        ledger_frames_not_open: Counter = "starling_aggregator_ledger_frames_not_open";
        /// Merge entries written.
        ledger_merges: Counter = "starling_aggregator_ledger_merges";
        /// Merge entries cut because they had no room for all frames.
        ledger_merges_cut: Counter = "starling_aggregator_ledger_merges_cut";
        /// Frames in those entries.
        ledger_merged_frames: Counter = "starling_aggregator_ledger_merged_frames";
        /// Raw entries written.
        ledger_raws: Counter = "starling_aggregator_ledger_raws";
        /// Raw entries taken back, because their frame was merged.
        ledger_raws_taken_back: Counter = "starling_aggregator_ledger_raws_taken_back";
        /// Entries of other aggregators applied.
        ledger_entries_applied: Counter = "starling_aggregator_ledger_entries_applied";
        /// Runs of a log that began beyond its end.
        ledger_gaps: Counter = "starling_aggregator_ledger_gaps";
        /// Runs of a log that were refused because their author was over a quota; they are asked for again.
        ledger_runs_refused: Counter = "starling_aggregator_ledger_runs_refused";
        /// Runs of a log that were refused because their author is in quarantine.
        ledger_runs_of_quarantined: Counter = "starling_aggregator_ledger_runs_of_quarantined";
        /// Logs that were taken back out because their author is in quarantine.
        ledger_logs_taken_out: Counter = "starling_aggregator_ledger_logs_taken_out";
        /// Aggregators that claim frames which another one claims, too: one of each two is wrong, or a node is.
        ledger_disputed: Gauge = "starling_aggregator_ledger_disputed_aggregators";
        /// Aggregators whose word does not count here.
        quarantined: Gauge = "starling_aggregator_quarantined_aggregators";
        /// How long the streams of peers waited because these had used up their share of the ledger's time.
        peer_turn_waits: Durations = "starling_aggregator_peer_turn_waits", unit Seconds;
        /// Frames that two writers merged, since the start: 0 unless an aggregator or a node lies.
        ledger_overlaps: Counter = "starling_aggregator_ledger_overlaps";
        /// Logs of one author that differ; must stay 0.
        ledger_forks: Counter = "starling_aggregator_ledger_forks";
        /// Entries of other aggregators that could not be read or did not fit their log; must stay 0.
        ledger_entries_refused: Counter = "starling_aggregator_ledger_entries_refused";
        /// Merges that cover a frame of an earlier one of the same author; must stay 0.
        ledger_merges_ignored: Counter = "starling_aggregator_ledger_merges_ignored";
        /// Logs dropped and fetched again because their author holds other entries; must stay 0.
        ledger_rebuilds: Counter = "starling_aggregator_ledger_rebuilds";
        /// Cells missing in the sums because a table of names was full.
        ledger_cells_without_room: Counter = "starling_aggregator_ledger_cells_without_room";
        /// Seconds whose sums did not balance; must stay 0.
        ledger_imbalances: Counter = "starling_aggregator_ledger_imbalances";
        /// Raw entries of one frame that differ; 0 unless a quota is used up.
        ledger_raw_conflicts: Counter = "starling_aggregator_ledger_raw_conflicts";
        /// Values and groups left out because the quota of this aggregator was used up.
        ledger_samples_left_out: Counter = "starling_aggregator_ledger_samples_left_out";
        /// Values and groups put into a series or group _other by that quota.
        ledger_samples_to_other: Counter = "starling_aggregator_ledger_samples_to_other";
        /// Frames acknowledged to their nodes.
        ledger_acknowledged: Counter = "starling_aggregator_ledger_acknowledged";
        /// Frames that expired without an acknowledgement.
        ledger_expired_unacknowledged: Counter = "starling_aggregator_ledger_expired_unacknowledged";
        /// Values of frames left out because the table of series was full.
        values_left_out: Counter = "starling_aggregator_values_left_out";
        /// Values beyond the quota of their node, counted in a series _other.
        values_other: Counter = "starling_aggregator_values_other";
        /// Series known in this process.
        series: Gauge = "starling_aggregator_series";
        /// Bytes written to the log of the seconds that are not sealed yet.
        history_logged_bytes: Counter = "starling_aggregator_history_logged", unit Bytes;
        /// Times the log could not be written.
        history_log_failures: Counter = "starling_aggregator_history_log_failures";
        /// 1 while the disk takes neither the log nor segments; what memory forgets meanwhile is lost.
        history_paused: Gauge = "starling_aggregator_history_paused";
        /// Seconds of nodes that a start read from the log.
        history_replayed_rows: Counter = "starling_aggregator_history_replayed_node_seconds";
        /// Seconds of nodes and records in the log that a start could not use.
        history_replay_lost_rows: Counter = "starling_aggregator_history_replay_lost_node_seconds";
        /// Seconds of nodes that memory forgot before they were on the disk.
        history_lost_seconds: Counter = "starling_aggregator_history_lost_node_seconds";
        /// Jobs of sealing, rolling up, joining, retention and deleting that failed; they are tried again.
        history_failures: Counter = "starling_aggregator_history_failures";
        /// Blocks written to the disk, by tier.
        history_blocks: By<Counter> = "starling_aggregator_history_blocks_written", label "tier";
        /// Bytes of the segments, by tier.
        history_tier_bytes: By<Gauge> = "starling_aggregator_history_tier_size", label "tier";
        /// Unix time of the oldest second held, by tier; 0 without one.
        history_tier_oldest: By<Gauge> = "starling_aggregator_history_tier_oldest_unix", label "tier";
        /// Bytes of the log on the disk.
        history_log_bytes: Gauge = "starling_aggregator_history_log_size", unit Bytes;
        /// Blocks that were found corrupt and set aside.
        history_corrupt_blocks: Gauge = "starling_aggregator_history_corrupt_blocks";
        /// Pieces of background work that are due, by kind.
        history_backlog: By<Gauge> = "starling_aggregator_history_backlog", label "work";
        /// One piece of background work, its pauses included.
        history_work: Durations = "starling_aggregator_history_work", unit Seconds;
        /// Segments deleted because they were older than is kept or more than the bytes allow.
        history_deleted: Counter = "starling_aggregator_history_segments_deleted";
        /// Blocks of nodes' history that other aggregators have and this one lacks, in the span of time that is looked through.
        history_copies_lacking: Gauge = "starling_aggregator_history_copies_lacking";
        /// Blocks of nodes' history fetched from other aggregators, by tier.
        history_copies_blocks: By<Counter> = "starling_aggregator_history_copies_blocks", label "tier";
        /// Their bytes.
        history_copies_bytes: Counter = "starling_aggregator_history_copies_fetched", unit Bytes;
        /// Bytes of blocks sent to other aggregators that keep copies.
        history_copies_served_bytes: Counter = "starling_aggregator_history_copies_served", unit Bytes;
        /// Blocks of other aggregators that are not what they were said to be, by reason; they are not taken.
        history_copies_refused: By<Counter> = "starling_aggregator_history_copies_refused", label "reason";
        /// Times copies could not be looked for or written, by reason; it is tried again.
        history_copies_failures: By<Counter> = "starling_aggregator_history_copies_failures", label "reason";
        /// 1 while copies of all times are restored.
        history_copies_restoring: Gauge = "starling_aggregator_history_copies_restoring";
        /// Spans of time that the look through all of history has behind it.
        history_copies_spans_done: Gauge = "starling_aggregator_history_copies_spans_done";
        /// Spans of time that it looks through.
        history_copies_spans: Gauge = "starling_aggregator_history_copies_spans";
        /// Seconds of nodes that were taken over from the memory of their former owners.
        history_copies_recent: Counter = "starling_aggregator_history_copies_recent_node_seconds";
        /// Unix time at which all copies were last found to be whole; 0 when they never were.
        history_copies_whole: Gauge = "starling_aggregator_history_copies_whole_unix";
        /// From a scrape of the series of the cluster to its answer.
        scrape_answer: Durations = "starling_aggregator_scrape_answer", unit Seconds;
        /// Scrapes of the series of the cluster that were refused, by reason.
        scrapes_refused: By<Counter> = "starling_aggregator_scrapes_refused", label "reason";
        /// Times a series had no room or no name of its own among those to be scraped, by scope.
        scrape_series_left_out: By<Gauge> = "starling_aggregator_scrape_series_left_out", label "scope";
        /// Samples put into the queue of remote write, those that waited at the start included.
        remote_write_queued: Counter = "starling_aggregator_remote_write_samples_queued";
        /// Samples that the receiver of remote write took.
        remote_write_sent: Counter = "starling_aggregator_remote_write_samples_sent";
        /// Samples that are not sent, or that the receiver refused for good, by reason.
        remote_write_dropped: By<Counter> = "starling_aggregator_remote_write_samples_dropped", label "reason";
        /// Samples that wait for the receiver. What was queued is sent, dropped or waits.
        remote_write_waiting: Gauge = "starling_aggregator_remote_write_samples_waiting";
        /// Bytes of the queue on the disk.
        remote_write_queue_bytes: Gauge = "starling_aggregator_remote_write_queue_size", unit Bytes;
        /// Unix time of the first second that waits; 0 when none does.
        remote_write_oldest: Gauge = "starling_aggregator_remote_write_oldest_unix";
        /// Seconds of nodes, groups and the cluster that memory forgot before they were queued.
        remote_write_lost_seconds: Counter = "starling_aggregator_remote_write_lost_subject_seconds";
        /// Requests to the receiver that are sent again, and writes of the queue that are tried again, by reason.
        remote_write_failures: By<Counter> = "starling_aggregator_remote_write_failures", label "reason";
        /// Duration of a request to the receiver.
        remote_write_request: Durations = "starling_aggregator_remote_write_request", unit Seconds;
        /// 1 while the receiver has taken nothing for 10 seconds though something waits.
        remote_write_away: Gauge = "starling_aggregator_remote_write_away";
        /// Records of the queue that could not be read.
        remote_write_damage: Counter = "starling_aggregator_remote_write_damage";
        /// Series that are sent and have not ended.
        remote_write_series: Gauge = "starling_aggregator_remote_write_series";
        /// Times a series had no room or no name of its own among those that are sent.
        remote_write_series_left_out: Gauge = "starling_aggregator_remote_write_series_left_out";
        /// Judging one second by all rules.
        alerts_evaluation: Durations = "starling_alerts_evaluation", unit Seconds;
        /// Seconds that were not judged because the evaluation was behind.
        alerts_missed: Counter = "starling_alerts_missed_evaluations";
        /// How long the evaluation of a rule in PromQL took, failed ones too.
        alert_queries: Durations = "starling_alerts_query", unit Seconds;
        /// Evaluations of rules in PromQL that failed.
        alert_queries_failed: Counter = "starling_alerts_queries_failed";
        /// Evaluations of rules in PromQL that were left out because others were still being answered.
        alert_queries_late: Counter = "starling_alerts_queries_late";
        /// Episodes that are open in the cluster.
        alerts_open: Gauge = "starling_alerts_open";
        /// Transitions of episodes that this aggregator judged, by state.
        alert_transitions: By<Counter> = "starling_alerts_transitions", label "state";
        /// Times a set of attributes found no place in a rule, which judges at most 256 of a subject.
        alerts_left_out: Gauge = "starling_alerts_left_out";
        /// 1 while files of rules are refused.
        alert_rules_refused: Gauge = "starling_alerts_rules_refused";
        /// Records that were not taken, written or exchanged, by reason.
        alerts_failures: By<Counter> = "starling_alerts_failures", label "reason";

        log node_stream_line most 50 every LINE_EVERY;
        log frame_refused_line every LINE_EVERY;
        log frame_late_line every LINE_EVERY;
        log keyframe_requested_line every LINE_EVERY;
        log series_without_place_line every LINE_EVERY;
        log node_contested_line every LINE_EVERY;
        log newcomer_line every LINE_EVERY;
        log roster_line every LINE_EVERY;
        log name_clash_line every LINE_EVERY;
        log blocks_lost_line every LINE_EVERY;
        log group_other_line every LINE_EVERY;
        log peer_failed_line every LINE_EVERY;
        log peer_message_refused_line every LINE_EVERY;
        log rows_left_out_line every LINE_EVERY;
        log rows_cut_line every LINE_EVERY;
        log history_line every LINE_EVERY;
        log history_lost_line every LINE_EVERY;
        log history_copies_line every LINE_EVERY;
        log history_copy_refused_line every LINE_EVERY;
        log history_engine_line every LINE_EVERY;
        log log_rebuilt_line every LINE_EVERY;
        log log_taken_out_line most 20 every LINE_EVERY;
        log dispute_line most 4 every STATE_EVERY;
        log peer_turn_line every LINE_EVERY;
        log alerts_line every LINE_EVERY;
        log alert_query_line most 10 every STATE_EVERY;
        log alert_transition_line most 50 every LINE_EVERY;
        log ledger_store_line every LINE_EVERY;
        log remote_write_line every LINE_EVERY;
        log remote_write_full_line every LINE_EVERY;
        log remote_write_refused_line every LINE_EVERY;
        log remote_write_again_line every STATE_EVERY;
        log gossip_identities_line every STATE_EVERY;
        log wrong_cluster_line every STATE_EVERY;
        log gossip_dropped_line every STATE_EVERY;
        log ring_exchange_line every STATE_EVERY;
        log gossip_in_pieces_line every STATE_EVERY;
        log gossip_not_sent_line every STATE_EVERY;
        log members_skipped_line every STATE_EVERY;
        log facts_not_signed_line every STATE_EVERY;
    }
}

impl Metrics {
    /// The gossip task ended; it is started again. `in_a_row` failures so far.
    pub(crate) fn gossip_failed(&self, cause: &str, in_a_row: u32) {
        self.gossip_failures.inc();
        error!(cause, in_a_row, "gossip stopped, it is started again");
    }

    /// The member at `peer` is of another cluster than `ours`: of `theirs`, which is empty when it only says so.
    pub(crate) fn wrong_cluster(&self, peer: SocketAddr, ours: &str, theirs: &str) {
        self.gossip_wrong_cluster.inc();
        if let Some(left_out) = self.wrong_cluster_line.allow() {
            let theirs: String = theirs.chars().take(64).collect();
            warn!(
                %peer,
                ours,
                theirs,
                left_out,
                "gossip with a member of another cluster: give both one `cluster`, or take its address out of `seeds`"
            );
        }
    }

    /// A datagram that was not understood, and not answered.
    pub(crate) fn gossip_dropped(&self, reason: &'static str, peer: SocketAddr) {
        self.gossip_dropped.of(reason).inc();
        if let Some(left_out) = self.gossip_dropped_line.allow() {
            let what = match reason {
                "not_sealed" | "unknown_key" | "forged" => "it is not sealed by a key of the ring for this cluster",
                "replayed" | "reflected" | "unproven" => {
                    "it was sent before, or its sender does not prove that it lives"
                }
                "no_key" => "there is no key yet",
                _ => "it cannot be read",
            };
            warn!(%peer, reason, left_out, "gossip dropped: {what}");
        }
    }

    /// A message of gossip went in several datagrams.
    pub(crate) fn gossip_in_pieces(&self, bytes: usize, datagrams: usize) {
        self.gossip_in_pieces.inc();
        if self.gossip_in_pieces_line.allow().is_some() {
            tracing::debug!(bytes, datagrams, "a message of gossip is longer than gossip_datagram_bytes");
        }
    }

    /// The system did not send a datagram of gossip.
    pub(crate) fn gossip_not_sent(&self, to: SocketAddr, bytes: usize, error: &std::io::Error) {
        self.gossip_send_failures.inc();
        if let Some(left_out) = self.gossip_not_sent_line.allow() {
            warn!(%to, bytes, %error, left_out, "gossip not sent");
        }
    }

    /// Keys of gossip were exchanged with the aggregator at `address`, or not.
    pub(crate) fn ring_exchanged(&self, address: &str, failure: Option<&String>) {
        self.gossip_ring_exchanges.of(if failure.is_some() { "failed" } else { "taken" }).inc();
        if let (Some(error), Some(left_out)) = (failure, failure.and_then(|_| self.ring_exchange_line.allow())) {
            warn!(peer = address, error, left_out, "keys of gossip not exchanged, it is tried again");
        }
    }

    /// Processes that gossip knows of, dead ones included, and those alive.
    pub(crate) fn gossip_identities(&self, known: usize, live: usize) {
        self.gossip_identities.set(known as f64);
        self.gossip_live_peers.set(live as f64);
        if known > IDENTITIES_ALARM && self.gossip_identities_line.allow().is_some() {
            warn!(identities = known, "gossip knows too many processes, some member restarts over and over");
        }
    }

    /// What members publish of themselves cannot be read, or is not signed by them: name and reason of each, as of one look at the members.
    pub(crate) fn members_skipped(&self, skipped: &[(&str, String)]) {
        if skipped.is_empty() {
            return;
        }
        self.members_skipped.add(skipped.len() as u64);
        if let Some(left_out) = self.members_skipped_line.allow() {
            let more = skipped.len().saturating_sub(SKIPPED_SHOWN);
            let shown: Vec<_> =
                skipped.iter().take(SKIPPED_SHOWN).map(|(name, reason)| format!("{name}: {reason}")).collect();
            warn!(members = shown.join("; "), more, left_out, "facts of members not taken");
        }
    }

    /// What this aggregator would say of itself cannot be signed: the others go on with what it said before.
    pub(crate) fn facts_not_signed(&self, why: &str) {
        if let Some(left_out) = self.facts_not_signed_line.allow() {
            error!(why, left_out, "others are not told what this aggregator says of itself");
        }
    }

    /// A frame was decoded and offered to the ledger.
    pub(crate) fn frame_taken(&self, bytes: usize, delay_ms: u32) {
        self.frames.inc();
        self.frame_bytes.add(bytes as u64);
        self.frame_delay.record(Duration::from_millis(delay_ms.into()));
    }

    /// A node said something of a second that was shown long ago.
    pub(crate) fn frame_late(&self, node: &str, tick: u32, delay_ms: u32) {
        self.frames_late.inc();
        if let Some(left_out) = self.frame_late_line.allow() {
            let late_secs = delay_ms / 1000;
            info!(node, tick, late_secs, left_out, "a node fills in or changes seconds that are over long since");
        }
    }

    /// A frame was refused.
    pub(crate) fn frame_refused(&self, node: &str, tick: u32, reason: RefusalReason, detail: &str) {
        let label = match reason {
            RefusalReason::TooLate => "too_late",
            RefusalReason::TooEarly => "too_early",
            RefusalReason::NotYet => "not_yet",
            RefusalReason::Invalid | RefusalReason::Unspecified => "invalid",
        };
        self.frames_refused.of(label).inc();
        if let Some(left_out) = self.frame_refused_line.allow() {
            warn!(node, tick, reason = label, detail, left_out, "frame refused");
        }
    }

    /// A node must start its encoding again.
    pub(crate) fn keyframe_requested(&self, node: &str, reason: &str) {
        self.keyframe_requests.inc();
        if let Some(left_out) = self.keyframe_requested_line.allow() {
            info!(node, reason, left_out, "asking for a keyframe");
        }
    }

    /// Series of a frame that have no place of their own: `left_out` for which the table of series had no room, and
    /// `others` beyond the quota of their node, which count in a series `_other`.
    pub(crate) fn series_without_place(&self, node: &str, left_out: u32, others: u32) {
        if (left_out, others) == (0, 0) {
            return;
        }
        self.values_left_out.add(u64::from(left_out));
        self.values_other.add(u64::from(others));
        if let Some(lines_left_out) = self.series_without_place_line.allow() {
            warn!(
                node,
                left_out,
                others,
                lines_left_out,
                "a node brings more new names than it may: they count in series _other"
            );
        }
    }

    /// A node asked to be taken.
    pub(crate) fn hello(&self, answer: Answer) {
        let label = match answer {
            Answer::Accepted => "accepted",
            Answer::Redirected => "redirected",
            Answer::Refused => "refused",
        };
        self.hellos.of(label).inc();
    }

    /// A node was sent away because too many are new to the cluster.
    pub(crate) fn newcomer_refused(&self, node: &str) {
        self.newcomers_refused.inc();
        if let Some(left_out) = self.newcomer_line.allow() {
            warn!(node, left_out, "too many nodes are new to the cluster at once, they are to come again");
        }
    }

    /// Where the floor of the ledger is could not be written down.
    pub(crate) fn floor_failed(&self, path: &std::path::Path, error: &std::io::Error) {
        self.roster_failures.inc();
        if let Some(left_out) = self.roster_line.allow() {
            warn!(path = %path.display(), %error, left_out, "an outage of all aggregators now would not be made up for");
        }
    }

    /// The file of known nodes could not be read or written.
    pub(crate) fn roster_failed(&self, path: &std::path::Path, error: &std::io::Error) {
        self.roster_failures.inc();
        if let Some(left_out) = self.roster_line.allow() {
            warn!(path = %path.display(), %error, left_out, "nodes that are silent now are forgotten by a restart");
        }
    }

    /// Seconds that all aggregators were away for begin or cease to be taken, from `floor` on.
    pub(crate) fn making_up(&self, begins: bool, floor: u32) {
        if begins {
            info!(floor, "what all aggregators were away for is taken, as far as nodes kept it");
        } else {
            info!(floor, "the outage is made up for: only what is up to 17 minutes old is taken from now on");
        }
    }

    /// Two daemons call themselves `node`: they take the place of each other again and again.
    pub(crate) fn node_contested(&self, node: &str) {
        self.node_contests.inc();
        if let Some(left_out) = self.node_contested_line.allow() {
            warn!(node, left_out, "two daemons call themselves by one node id, each ends the stream of the other");
        }
    }

    /// A machine at `second` asks for the name `node`, which the one at `first` holds at `aggregator`. It was refused, or
    /// renamed.
    pub(crate) fn name_clash(&self, node: &str, second: &str, first: &str, aggregator: &str, renamed: Option<&NodeId>) {
        self.name_clashes.inc();
        if let Some(left_out) = self.name_clash_line.allow() {
            let renamed_to = renamed.map_or("", NodeId::as_str);
            warn!(
                node,
                first,
                aggregator,
                second,
                renamed_to,
                left_out,
                "two machines report as one node, the second is refused or renamed: give one a node_id of its own"
            );
        }
    }

    /// Bytes of blocks that had to go before their time, to keep within the budget of the process.
    pub(crate) fn blocks_lost(&self, bytes: usize) {
        self.blocks_lost_bytes.add(bytes as u64);
        if let Some(left_out) = self.blocks_lost_line.allow() {
            warn!(bytes, left_out, "the blocks of all nodes are over their budget, the oldest go early");
        }
    }

    /// Open seconds of a node were read for a question: so many in memory, so many from the log.
    pub(crate) fn open_rows_read(&self, here: usize, logged: usize) {
        for (from, rows) in [("memory", here), ("log", logged)] {
            if rows > 0 {
                self.open_rows_read.of(from).add(rows as u64);
            }
        }
    }

    /// A node is in the group "label:_other" because `groups_max` groups are known.
    pub(crate) fn group_other(&self) {
        self.groups_other.inc();
        if let Some(left_out) = self.group_other_line.allow() {
            warn!(left_out, "groups_max groups are known, further nodes are in the group _other of their label");
        }
    }

    /// Nodes were asked to move to a better owner.
    pub(crate) fn rebalanced(&self, nodes: usize) {
        if nodes > 0 {
            self.rebalanced_nodes.add(nodes as u64);
            info!(nodes, "nodes sent to their owner");
        }
    }

    /// An attempt to reach a peer failed, or a stream that a peer opened.
    pub(crate) fn peer_failed(&self, peer: &str, cause: &str) {
        self.peer_failures.inc();
        if let Some(left_out) = self.peer_failed_line.allow() {
            info!(peer, cause, left_out, "peer not reached, trying again");
        }
    }

    /// A message of a peer was not taken.
    pub(crate) fn peer_message_refused(&self, peer: &str, cause: &str) {
        self.peer_messages_refused.inc();
        if let Some(left_out) = self.peer_message_refused_line.allow() {
            warn!(peer, cause, left_out, "message of a peer refused");
        }
    }

    /// Rows of a peer's node table were left out because the table was full.
    pub(crate) fn rows_left_out(&self, rows: usize) {
        if rows > 0 {
            self.node_rows_left_out.add(rows as u64);
            if let Some(left_out) = self.rows_left_out_line.allow() {
                warn!(rows, left_out, "rows of a node table left out, the table is full");
            }
        }
    }

    /// Labels of a peer's nodes were cut to the limits.
    pub(crate) fn rows_cut(&self, rows: usize) {
        if rows > 0 {
            self.node_rows_cut.add(rows as u64);
            if let Some(left_out) = self.rows_cut_line.allow() {
                warn!(rows, left_out, "labels in a peer's node table were cut to the limits");
            }
        }
    }

    /// The clock of this host went back: this process ends.
    pub(crate) fn clock_jumped_back(&self, by: Duration) {
        self.clock_jumps.of("back").inc();
        error!(by_secs = by.as_secs_f64(), "the clock went back, this process ends to be started again");
    }

    /// The clock of this host was set forward, or the host slept.
    pub(crate) fn clock_jumped_forward(&self, by: Duration) {
        self.clock_jumps.of("forward").inc();
        warn!(by_secs = by.as_secs_f64(), "the clock went forward, the seconds between are missing here");
    }

    /// A second was settled this long after its end.
    pub(crate) fn settled(&self, age_ms: u32) {
        self.settle_delay.record(Duration::from_millis(age_ms.into()));
    }

    /// Some log cannot be applied here, or all can again.
    pub(crate) fn ledger_trouble(&self, trouble: Option<&str>) {
        self.ledger_trouble.set(f64::from(u8::from(trouble.is_some())));
        match trouble {
            Some(cause) => error!(cause, "a log cannot be applied here: what it says is missing until it can"),
            None => info!("all logs can be applied again"),
        }
    }

    /// A log was dropped, to be fetched again from its author.
    pub(crate) fn log_rebuilt(&self, writer: &str) {
        if let Some(left_out) = self.log_rebuilt_line.allow() {
            error!(writer, left_out, "the author of a log holds other entries than this process: fetching it again");
        }
    }

    /// A log was taken back out: its author is in quarantine.
    pub(crate) fn log_taken_out(&self, aggregator: &str, writer: &str, entries: u64, span: Option<(u32, u32)>) {
        if let Some(left_out) = self.log_taken_out_line.allow() {
            let (first_tick, last_tick) = span.unwrap_or_default();
            warn!(
                aggregator,
                writer,
                entries,
                first_tick,
                last_tick,
                left_out,
                "the log of an aggregator in quarantine was taken out"
            );
        }
    }

    /// An operator took the word of an aggregator out, or lets it count again.
    pub(crate) fn quarantine_changed(&self, aggregator: &str, reason: &str, is_refused: bool) {
        if is_refused {
            warn!(aggregator, reason, "an operator put an aggregator in quarantine: what it says is taken back out");
        } else {
            info!(aggregator, "an operator lifted the quarantine of an aggregator: what it says counts again");
        }
    }

    /// Two aggregators claim the same frames.
    pub(crate) fn dispute(&self, [one, other]: [&str; 2], frames: u64, nodes: usize) {
        if let Some(left_out) = self.dispute_line.allow() {
            error!(
                one,
                other,
                frames,
                nodes,
                left_out,
                "two aggregators claim the same frames: one of them is wrong, or a node that offered them to both; \
                 docs/operations/runbooks.md, \"An aggregator that lies\""
            );
        }
    }

    /// The stream of a peer waits: it used up its share of the ledger's time.
    pub(crate) fn peer_turn_waited(&self, peer: &str, wait: Duration) {
        self.peer_turn_waits.record(wait);
        if let Some(left_out) = self.peer_turn_line.allow() {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            warn!(peer, wait_ms, left_out, "a peer sends more than its share: it waits, the others do not");
        }
    }

    /// The log of the open seconds was not written.
    pub(crate) fn history_not_logged(&self, error: &starling_store::LogError) {
        self.history_log_failures.inc();
        if let Some(left_out) = self.history_line.allow() {
            warn!(%error, left_out, "the open seconds are in memory only, writing them is tried again every second");
        }
    }

    /// The disk does not take the log or segments, since when and why; or it does again.
    pub(crate) fn history_paused(&self, paused: Option<&starling_store::Paused>) {
        let before = self.history_paused.get() > 0.0;
        match (before, paused) {
            (false, Some(paused)) => {
                self.history_paused.set(1.0);
                error!(cause = paused.cause, "the history is paused: the live view goes on, writing is tried again");
            }
            (true, None) => {
                self.history_paused.set(0.0);
                info!("the history is written again");
            }
            _ => {}
        }
    }

    /// A request to the engine that keeps older history failed.
    pub(crate) fn history_engine_failed(&self, outcome: &'static str, engine: &str, reason: &str) {
        self.history_engine_requests.of(outcome).inc();
        if let Some(left_out) = self.history_engine_line.allow() {
            warn!(engine, reason, left_out, "the engine of older history did not answer");
        }
    }

    /// Work on the history failed; it is tried again.
    pub(crate) fn history_failed(&self, work: &str, error: &dyn std::fmt::Display) {
        self.history_failures.inc();
        if let Some(left_out) = self.history_line.allow() {
            warn!(work, %error, left_out, "work on the history failed, it is tried again");
        }
    }

    /// Copies could not be looked for, fetched or written; it is tried again. `from` is an aggregator, or "here".
    pub(crate) fn history_copies_failed(&self, reason: &'static str, from: &str, error: &dyn std::fmt::Display) {
        self.history_copies_failures.of(reason).inc();
        if let Some(left_out) = self.history_copies_line.allow() {
            warn!(reason, from, %error, left_out, "copies of the history of nodes were not fetched, it is tried again");
        }
    }

    /// A block of another aggregator is not what it was said to be.
    pub(crate) fn history_copy_refused(&self, reason: &'static str, from: &str, node: &NodeId) {
        self.history_copies_refused.of(reason).inc();
        if let Some(left_out) = self.history_copy_refused_line.allow() {
            warn!(reason, from, %node, left_out, "a copy of history was refused: its bytes are not what was listed");
        }
    }

    /// Blocks of another aggregator are on the disk.
    pub(crate) fn history_copies_kept(&self, tier: &'static str, blocks: u64, bytes: u64) {
        self.history_copies_blocks.of(tier).add(blocks);
        self.history_copies_bytes.add(bytes);
    }

    /// How far copying is.
    pub(crate) fn history_copies(&self, lacking: u64, restoring: bool, (done, spans): (u64, u64), whole_tick: u32) {
        self.history_copies_lacking.set(lacking as f64);
        self.history_copies_restoring.set(f64::from(u8::from(restoring)));
        self.history_copies_spans_done.set(done as f64);
        self.history_copies_spans.set(spans as f64);
        self.history_copies_whole.set(whole_tick.into());
    }

    /// What the store holds.
    pub(crate) fn history_stats(&self, stats: &starling_store::StoreStats) {
        for (tier, stats) in starling_history::Tier::ALL.iter().zip(&stats.tiers) {
            self.history_tier_bytes.of(tier.name()).set(stats.bytes as f64);
            let oldest = stats.window.as_ref().map_or(0, |window| window.start);
            self.history_tier_oldest.of(tier.name()).set(oldest.into());
        }
        self.history_log_bytes.set(stats.log.bytes as f64);
        self.history_corrupt_blocks.set(stats.bad_blocks as f64);
    }

    /// Memory forgot seconds before they were on the disk.
    pub(crate) fn history_lost(&self, lost: crate::blocks::Lost) {
        if lost.seconds == 0 {
            return;
        }
        self.history_lost_seconds.add(lost.seconds);
        if let Some(left_out) = self.history_lost_line.allow() {
            let (first, last) = (lost.first, lost.last + crate::blocks::BLOCK_SECONDS - 1);
            error!(
                node_seconds = lost.seconds,
                first, last, left_out, "a gap: seconds of nodes went before the disk took them"
            );
        }
    }

    /// A part of the ledger's logs is in the log.
    pub(crate) fn ledger_appended(&self, bytes: usize) {
        self.ledger_stored_bytes.add(bytes as u64);
    }

    /// What was appended is safe.
    pub(crate) fn ledger_synced(&self, took: Duration) {
        self.ledger_store_write.record(took);
    }

    /// The disk did not take a part of the ledger's logs.
    pub(crate) fn ledger_store_failed(&self, error: &dyn std::fmt::Display) {
        self.ledger_store_failures.inc();
        if let Some(left_out) = self.ledger_store_line.allow() {
            error!(%error, left_out, "the ledger cannot be written to the disk; it goes on in memory and is written later");
        }
    }

    /// The disk takes nothing for so long that memory counts as a copy, or takes it again.
    pub(crate) fn ledger_memory_counts(&self, counts: bool) {
        self.ledger_memory_counts.set(f64::from(u8::from(counts)));
        if counts {
            warn!("frames are acknowledged without the disk of this aggregator until it takes writes again");
        } else {
            info!("the disk takes writes again: what it lacked of the ledger is written");
        }
    }

    /// The logs that the store kept were read; `left_out` runs of them could not be.
    pub(crate) fn ledger_restored(&self, logs: u64, entries: u64, left_out: u64, took: Duration) {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        info!(logs, entries, took_ms, "the logs of the ledger were read from the disk");
        if left_out > 0 {
            self.ledger_restore_left_out.add(left_out);
            error!(
                left_out,
                "runs of the ledger on the disk cannot be read: what they hold comes from peers or not at all"
            );
        }
    }

    /// What the ledger counted since it started.
    pub(crate) fn ledger(&self, stats: &LedgerStats) {
        for (counter, value) in [
            (&self.ledger_frames_offered, stats.offered),
            (&self.ledger_frames_pending, stats.pending),
            (&self.ledger_frames_known, stats.known),
            (&self.ledger_frames_waited, stats.waited),
            (&self.ledger_frames_not_open, stats.not_open),
            (&self.ledger_merges, stats.merges),
            (&self.ledger_merges_cut, stats.merges_cut),
            (&self.ledger_merged_frames, stats.merged_frames),
            (&self.ledger_raws, stats.raws),
            (&self.ledger_raws_taken_back, stats.raws_taken_back),
            (&self.ledger_entries_applied, stats.entries_applied),
            (&self.ledger_gaps, stats.gaps),
            (&self.ledger_runs_refused, stats.runs_refused),
            (&self.ledger_runs_of_quarantined, stats.runs_of_quarantined),
            (&self.ledger_logs_taken_out, stats.logs_taken_out),
            (&self.ledger_overlaps, stats.overlaps),
            (&self.ledger_forks, stats.forks),
            (&self.ledger_entries_refused, stats.entries_refused),
            (&self.ledger_merges_ignored, stats.merges_ignored),
            (&self.ledger_rebuilds, stats.rebuilds),
            (&self.ledger_cells_without_room, stats.cells_without_room),
            (&self.ledger_imbalances, stats.imbalances),
            (&self.ledger_raw_conflicts, stats.raw_conflicts),
            (&self.ledger_samples_left_out, stats.samples_left_out),
            (&self.ledger_samples_to_other, stats.samples_to_other),
            (&self.ledger_acknowledged, stats.acknowledged),
            (&self.ledger_expired_unacknowledged, stats.expired_unacknowledged),
        ] {
            // The ledger counts by itself; this task alone passes its counts on.
            counter.add(value.saturating_sub(counter.get()));
        }
    }

    /// Of a test, shown nowhere.
    #[cfg(test)]
    pub(crate) fn of_a_test() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self::new(&mut starling_service::metrics::Registry::default()))
    }
}

#[cfg(test)]
mod tests {
    use starling_service::metrics::Registry;

    use super::*;

    #[test]
    fn two_aggregators_of_one_process_count_apart() {
        let (mut first, mut second) =
            (Registry::of_service("aggregator", "agg-1"), Registry::of_service("aggregator", "agg-2"));
        let (one, two) = (Metrics::new(&mut first), Metrics::new(&mut second));
        one.frame_taken(100, 1_500);
        two.frame_taken(100, 1_500);
        two.frame_taken(100, 1_500);
        for (registry, name, frames) in [(&first, "agg-1", 1), (&second, "agg-2", 2)] {
            let text = registry.render();
            let line = format!("starling_aggregator_frames_total{{service=\"aggregator\",name=\"{name}\"}} {frames}\n");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_member_that_is_skipped_counts_beyond_those_that_a_line_names() {
        let metrics = Metrics::of_a_test();
        let skipped: Vec<_> = (0..2 * SKIPPED_SHOWN).map(|_| ("agg-1", "no address".to_owned())).collect();
        for look in [&skipped[..], &[], &skipped[..1]] {
            metrics.members_skipped(look);
        }
        assert_eq!(metrics.members_skipped.get(), 2 * SKIPPED_SHOWN as u64 + 1);
        assert_eq!(metrics.members_skipped_line.allow(), None, "one line a minute");
    }

    #[test]
    fn what_the_ledger_counted_is_shown_once() {
        let metrics = Metrics::of_a_test();
        for (merges, raws) in [(3, 0), (5, 1), (5, 1)] {
            metrics.ledger(&LedgerStats { merges, raws, ..LedgerStats::default() });
        }
        assert_eq!((metrics.ledger_merges.get(), metrics.ledger_raws.get()), (5, 1));
    }
}
