//! `/api/v1/nodes`, `/api/v1/nodes/{id}` and `/api/v1/cluster`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use starling_proto::{group::Group, v1};

use super::{
    Completeness, Endpoint, Facts,
    numbers::{self, numbers},
    section, to_json,
};
use crate::{
    hub::{Host, Hub, Link, Second, Source, Table, UnixMillis, age_ms},
    rest::{
        number::{Number, wide},
        time::rfc3339,
    },
};

/// One node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedNode {
    node_id: String,
    /// "reporting", "silent", "stopped".
    state: &'static str,
    /// Its latest second: Unix seconds, and the same as a time.
    last_tick: u32,
    last_seen: String,
    silent_seconds: u32,
    /// `null` when no aggregator holds its stream.
    aggregator_id: Option<String>,
    /// Where its stream comes from; `null` when it has none.
    address: Option<String>,
    /// Another machine that calls itself by this name; `null` when none did within the last minute.
    name_clash: Option<Value>,
    /// What its daemon cannot read.
    collector_faults: Vec<Value>,
    /// Why none of its newest seconds are counted; `null` when that is not known.
    silent_reason: Option<String>,
    /// The host's own name where it is another than the node's; `null` otherwise, and when unknown.
    host_name: Option<String>,
    labels: BTreeMap<String, String>,
    simulated: bool,
    #[serde(flatten)]
    numbers: Map<String, Value>,
    cores: u32,
    /// From the end of its second to the arrival of its frame; `null` when unknown.
    delay_ms: Option<u32>,
}

impl ListedNode {
    fn of(host: &Host, table_tick: u32) -> Self {
        Self {
            node_id: host.id().to_owned(),
            state: state(host.state()),
            last_tick: host.last_tick(),
            last_seen: rfc3339(host.last_tick()),
            silent_seconds: table_tick.saturating_sub(host.last_tick()),
            aggregator_id: Some(host.aggregator().to_owned()).filter(|name| !name.is_empty()),
            address: Some(host.entry().origin.address.clone()).filter(|address| !address.is_empty()),
            name_clash: host.clash().map(clash),
            collector_faults: host.entry().collector_faults.iter().map(fault).collect(),
            silent_reason: Some(host.entry().silent_reason.clone()).filter(|reason| !reason.is_empty()),
            host_name: Some(host.entry().host_name.clone()).filter(|name| !name.is_empty()),
            labels: host.labels().clone(),
            simulated: host.entry().simulated,
            numbers: numbers(Some(host), numbers::NODE),
            cores: host.entry().cores,
            delay_ms: Some(host.delay_ms()).filter(|&delay| delay > 0),
        }
    }
}

fn clash(from: &v1::NameClash) -> Value {
    json!({
        "address": from.address,
        "aggregatorId": from.aggregator_id,
        "lastAsked": rfc3339(from.last_asked_unix_s),
        "times": from.times,
        "renamedTo": Some(&from.renamed_to).filter(|name| !name.is_empty()),
    })
}

fn fault(from: &v1::CollectorFault) -> Value {
    let trouble = match from.trouble() {
        v1::CollectorTrouble::Unspecified => "unknown",
        v1::CollectorTrouble::Failed => "failed",
        v1::CollectorTrouble::Hanging => "hanging",
        v1::CollectorTrouble::Partial => "partial",
    };
    json!({
        "collector": from.collector,
        "trouble": trouble,
        "reason": from.reason,
        "since": rfc3339(from.since_unix_s),
    })
}

/// The state of a node in a word.
pub(crate) fn state(from: v1::NodeState) -> &'static str {
    match from {
        v1::NodeState::Unspecified => "unknown",
        v1::NodeState::Reporting => "reporting",
        v1::NodeState::Silent => "silent",
        v1::NodeState::Stopped => "stopped",
    }
}

/// The fleet: all nodes, those of a group, or one.
pub(crate) fn nodes(table: &Table, group: &Group, node: Option<&str>, now: UnixMillis) -> Value {
    let hosts = table.hosts.iter().filter(|host| group.holds(host.labels()) && node.is_none_or(|is| is == host.id()));
    json!({
        "timestamp": rfc3339(table.tick),
        "nodes": hosts.map(|host| to_json(ListedNode::of(host, table.tick))).collect::<Vec<_>>(),
        "completeness": to_json(Completeness::of(table.completeness.as_ref(), table.tick, now)),
    })
}

/// Everything known of one node: its row, its facts, the sections of the other endpoints and all of its series.
pub(crate) fn node(view: &v1::NodeView, facts: &Facts<'_>) -> Value {
    let endpoint = |endpoint: Endpoint| section(&endpoint, facts);
    let sections = view.sections.as_ref();
    let traffic = facts.second().traffic();
    json!({
        "timestamp": rfc3339(view.tick),
        "node": view.row.as_ref().and_then(Host::of).map(|host| to_json(ListedNode::of(&host, view.tick.max(host.last_tick())))),
        "facts": view.facts.as_ref().map(|is| json!({
            "kernel": is.kernel,
            "os": is.os,
            "cpuModel": is.cpu_model,
            "cores": is.cores,
            "memoryBytes": Number(is.memory_bytes),
            "bootTime": rfc3339(is.boot_time_unix_s),
            "version": is.version,
            "hostName": is.host_name,
            "otlpListen": given(&is.otlp_listen),
            "otlpHttpListen": given(&is.otlp_http_listen),
            "statsdListen": given(&is.statsd_listen),
        })),
        "uptimeSeconds": view.uptime_seconds.map(Number),
        "traffic": traffic.map(|is| numbers(Some(is), numbers::TRAFFIC)),
        "latency": endpoint(Endpoint::Latency),
        "protocols": endpoint(Endpoint::Protocols)["protocols"],
        "connections": endpoint(Endpoint::Connections),
        "cpu": endpoint(Endpoint::Cpu),
        "memory": endpoint(Endpoint::Memory),
        "disk": sections.and_then(|is| is.disk.as_ref()).map(|is| numbers(Some(is), numbers::DISK)),
        "network": sections.and_then(|is| is.network.as_ref()).map(|is| numbers(Some(is), numbers::NETWORK)),
        "series": view.series.iter().map(series).collect::<Vec<_>>(),
        "completeness": to_json(facts.completeness()),
    })
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn series(from: &v1::SeriesValue) -> Value {
    let histogram = from.histogram.as_ref().map(|is| numbers(Some(is), numbers::SUMMARY));
    json!({
        "name": from.name,
        "attributes": from.attributes,
        "kind": from.kind,
        "unit": from.unit,
        "value": from.value.map(Number),
        "histogram": histogram,
    })
}

/// The aggregators, as the one we are connected to sees them.
pub(crate) fn cluster(hub: &Hub, now: UnixMillis) -> Value {
    let aggregators: Vec<_> = hub.aggregators().iter().map(|is| aggregator(is, now)).collect();
    let completeness = hub.reading(&Source::Cluster(Group::cluster())).map(|reading| match &*reading.second {
        Second::Cluster(view) => to_json(Completeness::of(view.completeness.as_ref(), view.tick, now)),
        Second::Node(_) => Value::Null,
    });
    json!({
        "cluster": hub.cluster(),
        "connectedTo": hub.link().name(),
        "reason": match hub.link() {
            Link::Up { .. } => Value::Null,
            Link::Down { reason } => reason.clone().into(),
        },
        "aggregators": aggregators,
        "completeness": completeness,
    })
}

fn aggregator_state(from: v1::AggregatorState) -> &'static str {
    match from {
        v1::AggregatorState::Unspecified => "unknown",
        v1::AggregatorState::Joining => "joining",
        v1::AggregatorState::Ready => "ready",
        v1::AggregatorState::Leaving => "leaving",
        v1::AggregatorState::Dead => "dead",
    }
}

fn aggregator(from: &v1::Aggregator, now: UnixMillis) -> Value {
    let in_state_ms = from.in_state_for.map(|is| is.seconds * 1_000 + i64::from(is.nanos) / 1_000_000);
    json!({
        "aggregatorId": from.aggregator_id,
        "state": aggregator_state(from.state()),
        "grpcAddress": from.grpc_address,
        "gossipAddress": from.gossip_address,
        "version": from.version,
        "generation": wide(from.generation),
        "connectedNodes": from.connected_nodes,
        "logLength": from.log_length.map(wide),
        "closedTick": Some(from.closed_tick).filter(|&tick| tick > 0),
        "behindMs": Some(from.closed_tick).filter(|&tick| tick > 0).map(|tick| age_ms(tick, now)),
        "inStateMs": in_state_ms,
        "self": from.self_,
        "historyCopies": from.history_copies.as_ref().map(history_copies),
        "historyStore": from.history_store.as_ref().map(history_store),
    })
}

fn history_store(from: &v1::HistoryStore) -> Value {
    let time = |tick: u32| Some(tick).filter(|&tick| tick > 0).map(rfc3339);
    let tier = |tier: &v1::HistoryTier| {
        json!({
            "name": tier.name,
            "bytes": tier.bytes.map(wide),
            "bytesMax": tier.bytes_max.map(wide),
            "oldest": time(tier.oldest_tick),
            "newest": time(tier.newest_tick),
            "segments": tier.segments.map(wide),
        })
    };
    json!({
        "tiers": from.tiers.iter().map(tier).collect::<Vec<_>>(),
        "logBytes": from.log_bytes.map(wide),
        "windowsToSeal": from.windows_to_seal.map(wide),
        "hoursToRollUp": from.hours_to_roll_up.map(wide),
        "segmentsToJoin": from.segments_to_join.map(wide),
        "pausedSince": time(from.paused_since_tick),
        "pausedReason": Some(&from.paused_reason).filter(|reason| !reason.is_empty()),
        "corruptBlocks": from.corrupt_blocks.map(wide),
        "lostNodeSeconds": from.lost_node_seconds.map(wide),
        "lostFrom": time(from.lost_from_tick),
        "lostTo": time(from.lost_to_tick),
    })
}

fn history_copies(from: &v1::HistoryCopies) -> Value {
    json!({
        "restoring": from.restoring,
        "spansDone": from.spans_done.map(wide),
        "spans": from.spans.map(wide),
        "lackingBlocks": from.lacking_blocks.map(wide),
        "fetchedBlocks": from.fetched_blocks.map(wide),
        "fetchedBytes": from.fetched_bytes.map(wide),
        "wholeTick": Some(from.whole_tick).filter(|&tick| tick > 0),
    })
}
