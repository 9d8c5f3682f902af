//! Name, type, unit, label and help of every metric of the aggregator, in one table.

use starling_service::metrics::{Row, Unit};

type Entry = (&'static str, &'static str, Option<Unit>, &'static str, &'static str);

#[rustfmt::skip]
const TABLE: &[Entry] = &[
    ("starling_aggregator_gossip_failures", "counter", None, "", "The gossip task ended and was started again."),
    ("starling_aggregator_gossip_identities", "gauge", None, "", "Processes that gossip knows of, dead ones included."),
    ("starling_aggregator_gossip_live_peers", "gauge", None, "", "Other aggregators that gossip calls alive."),
    ("starling_aggregator_frames", "counter", None, "", "Frames decoded and offered to the ledger."),
    ("starling_aggregator_frame", "counter", Some(Unit::Bytes), "", "Bytes of those frames."),
    ("starling_aggregator_frame_delay", "histogram", Some(Unit::Seconds), "", "From the end of a second to its frame."),
    ("starling_aggregator_frames_refused", "counter", None, "reason", "Frames refused for good, by reason."),
    ("starling_aggregator_keyframe_requests", "counter", None, "", "Requests to a node to start its encoding again."),
    ("starling_aggregator_hellos", "counter", None, "answer", "Nodes that asked to be taken, by answer."),
    ("starling_aggregator_node_contests", "counter", None, "", "Streams ended because two daemons have one node id."),
    ("starling_aggregator_nodes_forgotten_early", "counter", None, "", "Nodes forgotten before their 15 minutes, to make room."),
    ("starling_aggregator_node_stalls", "counter", None, "", "Streams ended because their node did not read."),
    ("starling_aggregator_node_sessions", "gauge", None, "", "Streams of nodes that are open."),
    ("starling_aggregator_block", "gauge", Some(Unit::Bytes), "", "Bytes of the blocks kept for drill-down."),
    ("starling_aggregator_blocks_lost", "counter", Some(Unit::Bytes), "", "Bytes of blocks kept for drill-down that had to go before their time."),
    ("starling_aggregator_seconds_not_kept", "counter", None, "", "Seconds not kept for drill-down, because their block has no room for their series; the cluster counts them."),
    ("starling_aggregator_groups_other", "counter", None, "", "Nodes put into a group _other, because groups_max groups are known."),
    ("starling_aggregator_rebalanced_nodes", "counter", None, "", "Nodes sent to a better owner."),
    ("starling_aggregator_peer_links", "gauge", None, "", "Streams to other aggregators that are open."),
    ("starling_aggregator_peer_failures", "counter", None, "", "Attempts to reach another aggregator that failed."),
    ("starling_aggregator_peer_messages_refused", "counter", None, "", "Messages of other aggregators that were not taken."),
    ("starling_aggregator_node_rows_cut", "counter", None, "", "Nodes of peers whose labels were cut to the limits."),
    ("starling_aggregator_node_rows_left_out", "counter", None, "", "Rows of node tables left out because the table was full."),
    ("starling_aggregator_clock_jumps", "counter", None, "direction", "Steps of the clock of this host, by direction."),
    ("starling_aggregator_settle_delay", "histogram", Some(Unit::Seconds), "", "From the end of a second to its being settled."),
    ("starling_aggregator_ledger_trouble", "gauge", None, "", "1 while some log cannot be applied here."),
    ("starling_aggregator_ledger_step", "histogram", Some(Unit::Seconds), "", "Duration of one step of the ledger."),
    ("starling_aggregator_acks_dropped", "counter", None, "", "Acknowledgements dropped because their node does not read them."),
    ("starling_aggregator_ledger_frames_offered", "counter", None, "", "Frames offered to the ledger."),
    ("starling_aggregator_ledger_frames_pending", "counter", None, "", "Frames that waited for their second to close."),
    ("starling_aggregator_ledger_frames_known", "counter", None, "", "Frames that were counted already."),
    ("starling_aggregator_ledger_frames_waited", "counter", None, "", "Frames that waited for what they depend on."),
    ("starling_aggregator_ledger_frames_not_open", "counter", None, "", "Frames of streams that are not open."),
    ("starling_aggregator_ledger_merges", "counter", None, "", "Merge entries written."),
    ("starling_aggregator_ledger_merges_cut", "counter", None, "", "Merge entries cut because they had no room for all frames."),
    ("starling_aggregator_ledger_merged_frames", "counter", None, "", "Frames in those entries."),
    ("starling_aggregator_ledger_raws", "counter", None, "", "Raw entries written."),
    ("starling_aggregator_ledger_raws_taken_back", "counter", None, "", "Raw entries taken back, because their frame was merged."),
    ("starling_aggregator_ledger_entries_applied", "counter", None, "", "Entries of other aggregators applied."),
    ("starling_aggregator_ledger_gaps", "counter", None, "", "Runs of a log that began beyond its end."),
    ("starling_aggregator_ledger_runs_refused", "counter", None, "", "Runs of a log that were refused."),
    ("starling_aggregator_ledger_overlaps", "counter", None, "", "Frames that two writers merged; must stay 0."),
    ("starling_aggregator_ledger_forks", "counter", None, "", "Logs of one author that differ; must stay 0."),
    ("starling_aggregator_ledger_entries_refused", "counter", None, "", "Entries of other aggregators that could not be read or did not fit their log; must stay 0."),
    ("starling_aggregator_ledger_merges_ignored", "counter", None, "", "Merges that cover a frame of an earlier one of the same author; must stay 0."),
    ("starling_aggregator_ledger_rebuilds", "counter", None, "", "Logs dropped and fetched again because their author holds other entries; must stay 0."),
    ("starling_aggregator_ledger_cells_without_room", "counter", None, "", "Cells missing in the sums because a table of names was full."),
    ("starling_aggregator_ledger_imbalances", "counter", None, "", "Seconds whose sums did not balance; must stay 0."),
    ("starling_aggregator_ledger_raw_conflicts", "counter", None, "", "Raw entries of one frame that differ; 0 unless a quota is used up."),
    ("starling_aggregator_ledger_samples_left_out", "counter", None, "", "Values and groups left out because the quota of this aggregator was used up."),
    ("starling_aggregator_ledger_samples_to_other", "counter", None, "", "Values and groups put into a series or group _other by that quota."),
    ("starling_aggregator_ledger_acknowledged", "counter", None, "", "Frames acknowledged to their nodes."),
    ("starling_aggregator_ledger_expired_unacknowledged", "counter", None, "", "Frames that expired without an acknowledgement."),
    ("starling_aggregator_values_left_out", "counter", None, "", "Values of frames left out because the table of series was full."),
    ("starling_aggregator_values_other", "counter", None, "", "Values beyond the quota of their node, counted in a series _other."),
    ("starling_aggregator_series", "gauge", None, "", "Series known in this process."),
];

/// The table.
pub fn rows() -> Vec<Row> {
    let row = |(name, kind, unit, label, help): &Entry| Row { name, kind, unit: unit.clone(), label, help };
    TABLE.iter().map(row).collect()
}

/// Gives the recorder the help of every metric.
pub(super) fn describe() {
    for row in rows() {
        let (name, help) = (row.full_name(), row.help);
        match row.kind {
            "counter" => metrics::describe_counter!(name, help),
            "gauge" => metrics::describe_gauge!(name, help),
            _ => metrics::describe_histogram!(name, help),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_that_is_counted_is_in_the_table_and_the_other_way_round() {
        let source = include_str!("../metrics.rs");
        let counted: BTreeSet<String> = source
            .split('"')
            .filter(|text| text.starts_with("starling_aggregator_") && !text.contains(char::is_whitespace))
            .map(ToOwned::to_owned)
            .collect();
        let table: BTreeSet<String> = rows().iter().map(Row::full_name).collect();
        assert_eq!(counted, table);
        assert_eq!(table.len(), rows().len(), "a name stands twice");
    }
}
