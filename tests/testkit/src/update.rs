//! A table as the message that an aggregator begins a stream with.

use starling_proto::{
    nodes::{Measure, Row, Writer},
    v1,
};

/// The whole of `table`. A row without a last second has that of the table, a silent one of 38 seconds before.
#[must_use]
pub fn update(table: &v1::NodeTable) -> v1::NodesUpdate {
    let mut nodes: Vec<&v1::NodeRow> = table.nodes.iter().collect();
    nodes.sort_by_key(|row| &row.node_id);
    let mut writer = Writer::new(table.tick, false);
    let mut entries = Vec::new();
    for (number, from) in (0..).zip(nodes) {
        let tick = match (from.last_tick, from.state()) {
            (0, v1::NodeState::Silent) => table.tick.saturating_sub(38),
            (0, _) => table.tick,
            (last, _) => last,
        };
        let mut row = Row::at(tick, from.delay_ms);
        for (measure, value) in [
            (Measure::Cpu, from.cpu_utilization_ratio),
            (Measure::Memory, from.memory_used_ratio),
            (Measure::Requests, from.requests_per_second),
            (Measure::Errors, from.errors_per_second),
            (Measure::P99, from.p99_micros),
            (Measure::Load1, from.load1),
            (Measure::Connections, from.connections),
        ] {
            row.set(measure, value);
        }
        writer.push(number, &row);
        entries.push(v1::NodeEntry {
            number,
            node_id: from.node_id.clone(),
            labels: from.labels.clone(),
            aggregator_id: from.aggregator_id.clone(),
            simulated: from.simulated,
            cores: from.cores,
            stopped: from.state() == v1::NodeState::Stopped,
            collector_faults: from.collector_faults.clone(),
            silent_reason: from.silent_reason.clone(),
            host_name: from.host_name.clone(),
            origin: None,
        });
    }
    v1::NodesUpdate {
        tick: table.tick,
        generation: 1,
        revision: u64::from(table.tick),
        reset: true,
        entries,
        columns: writer.finish(),
        completeness: table.completeness.clone(),
        name_clashes: table.nodes.iter().filter_map(|row| row.name_clash.clone()).collect(),
        ..v1::NodesUpdate::default()
    }
}
