//! The numbers of a second and their names in JSON, each in one line: what `Sections` in `cluster.proto` has, the answers have, by the
//! name and in the unit that gRPC's JSON has.
//!
//! Tests read the descriptors of the messages and fail for a number that stands in none of these tables, and for another
//! name.

use serde_json::{Map, Value};
use starling_proto::{nodes::Measure, v1};

use super::Facts;
use crate::{hub::Host, rest::number::Number};

/// A number: its name in JSON and where it is.
pub(super) type Named<S> = (&'static str, fn(&S) -> Option<f64>);

/// Numbers by name: `null` where none was reported, and all of them without `from`.
pub(super) fn numbers<S>(from: Option<&S>, of: &[Named<S>]) -> Map<String, Value> {
    let value = |is: Option<f64>| is.map_or(Value::Null, |is| Number(is).into());
    of.iter().map(|(name, read)| ((*name).to_owned(), value(from.and_then(read)))).collect()
}

/// Every number of a second, each by section and name, such as "memory.usedBytes".
pub(crate) fn numbered(facts: &Facts<'_>) -> Vec<(String, Value)> {
    let second = facts.second();
    let (traffic, minute) = (second.traffic(), second.traffic().and_then(|is| is.latency_last_minute.as_ref()));
    let sections = [
        ("traffic", numbers(traffic, TRAFFIC)),
        ("latencyLastMinute", numbers(minute, LATENCY)),
        ("connections", numbers(second.connections(), CONNECTIONS)),
        ("cpu", numbers(second.cpu(), CPU)),
        ("memory", numbers(second.memory(), MEMORY)),
    ];
    let named = |(section, of): (&'static str, Map<String, Value>)| {
        of.into_iter().map(move |(name, value)| (format!("{section}.{name}"), value))
    };
    sections.into_iter().flat_map(named).collect()
}

/// Percentiles of a merged histogram and how many requests are in it. `errorBoundPpm` bounds the relative error of a
/// percentile: 3906 is 0.39 %.
pub(super) const LATENCY: &[Named<v1::Latency>] = &[
    ("p50Micros", |is| Some(is.p50_micros)),
    ("p95Micros", |is| Some(is.p95_micros)),
    ("p99Micros", |is| Some(is.p99_micros)),
    ("p999Micros", |is| Some(is.p999_micros)),
    ("meanMicros", |is| Some(is.mean_micros)),
    ("maxMicros", |is| Some(is.max_micros)),
    ("count", |is| Some(is.count)),
    ("errorBoundPpm", |is| Some(is.error_bound_ppm.into())),
];

/// Requests of all protocols. `reportedEverySeconds`: between two reports of the application that reports most seldom,
/// `null` when all report each second.
pub(super) const TRAFFIC: &[Named<v1::Traffic>] = &[
    ("requestsPerSecond", |is| is.requests_per_second),
    ("errorsPerSecond", |is| is.errors_per_second),
    ("errorRatio", |is| is.error_ratio),
    ("active", |is| is.active),
    ("reportedEverySeconds", |is| is.reported_every_seconds),
];

/// One protocol; the failed share is `null` without requests, open requests when the applications do not report them.
pub(super) const PROTOCOL: &[Named<v1::ProtocolTraffic>] = &[
    ("requestsPerSecond", |is| is.requests_per_second),
    ("errorsPerSecond", |is| is.errors_per_second),
    ("errorRatio", |is| (is.requests_per_second() > 0.0).then(|| is.errors_per_second() / is.requests_per_second())),
    ("active", |is| is.active),
    ("reportedEverySeconds", |is| is.reported_every_seconds),
];

/// One route or several together; the failed share is `null` without requests. `nodes`: the most that reported it at once.
pub(super) const ROUTE: &[Named<v1::RouteTraffic>] = &[
    ("requestsPerSecond", |is| is.requests_per_second),
    ("errorsPerSecond", |is| is.errors_per_second),
    ("errorRatio", |is| is.error_ratio),
    ("nodes", |is| is.nodes.map(f64::from)),
];

/// TCP connections: how many there are, and what happens to them. The share of segments sent again is `null` when none
/// was sent.
pub(super) const CONNECTIONS: &[Named<v1::Connections>] = &[
    ("active", |is| is.active),
    ("idle", |is| is.idle),
    ("total", |is| is.total),
    ("openedPerSecond", |is| is.opened_per_second),
    ("resetsPerSecond", |is| is.resets_per_second),
    ("segmentsSentPerSecond", |is| is.segments_sent_per_second),
    ("retransmitsPerSecond", |is| is.retransmits_per_second),
    ("retransmitRatio", |is| is.retransmit_ratio),
];

/// Processors: over all nodes and of single nodes, the least busy, the busiest, the 99th percentile; and how many
/// logical ones there are.
pub(super) const CPU: &[Named<v1::Cpu>] = &[
    ("utilizationRatio", |is| is.utilization_ratio),
    ("utilizationRatioMin", |is| is.utilization_ratio_min),
    ("utilizationRatioMax", |is| is.utilization_ratio_max),
    ("utilizationRatioP99", |is| is.utilization_ratio_p99),
    ("cores", |is| is.cores),
    ("load1", |is| is.load1),
    ("load5", |is| is.load5),
    ("load15", |is| is.load15),
];

/// Memory. `totalBytes` is `applicationBytes + bufferCacheBytes + systemBytes + freeBytes`, `usedBytes` is
/// `totalBytes - availableBytes`.
pub(super) const MEMORY: &[Named<v1::Memory>] = &[
    ("totalBytes", |is| is.total_bytes),
    ("usedBytes", |is| is.used_bytes),
    ("availableBytes", |is| is.available_bytes),
    ("bufferCacheBytes", |is| is.buffer_cache_bytes),
    ("swapUsedBytes", |is| is.swap_used_bytes),
    ("swapTotalBytes", |is| is.swap_total_bytes),
    ("hugePagesUsedBytes", |is| is.huge_pages_used_bytes),
    ("hugePagesTotalBytes", |is| is.huge_pages_total_bytes),
    ("applicationBytes", |is| is.application_bytes),
    ("systemBytes", |is| is.system_bytes),
    ("freeBytes", |is| is.free_bytes),
    ("usedRatio", |is| is.used_ratio),
];

/// Disks.
pub(super) const DISK: &[Named<v1::Disk>] = &[
    ("readBytesPerSecond", |is| is.read_bytes_per_second),
    ("writtenBytesPerSecond", |is| is.written_bytes_per_second),
    ("readsPerSecond", |is| is.reads_per_second),
    ("writesPerSecond", |is| is.writes_per_second),
    ("filesystemTotalBytes", |is| is.filesystem_total_bytes),
    ("filesystemUsedBytes", |is| is.filesystem_used_bytes),
];

/// Network interfaces.
pub(super) const NETWORK: &[Named<v1::Network>] = &[
    ("receivedBytesPerSecond", |is| is.received_bytes_per_second),
    ("sentBytesPerSecond", |is| is.sent_bytes_per_second),
    ("receivedPacketsPerSecond", |is| is.received_packets_per_second),
    ("sentPacketsPerSecond", |is| is.sent_packets_per_second),
    ("errorsPerSecond", |is| is.errors_per_second),
    ("droppedPerSecond", |is| is.dropped_per_second),
];

/// A histogram of a series, in the unit of the series.
pub(super) const SUMMARY: &[Named<v1::HistogramSummary>] =
    &[("count", |is| is.count), ("sum", |is| is.sum), ("p50", |is| is.p50), ("p99", |is| is.p99), ("max", |is| is.max)];

/// A row of the table of nodes.
pub(super) const NODE: &[Named<Host>] = &[
    ("cpuUtilizationRatio", |is| is.value(Measure::Cpu)),
    ("memoryUsedRatio", |is| is.value(Measure::Memory)),
    ("requestsPerSecond", |is| is.value(Measure::Requests)),
    ("errorsPerSecond", |is| is.value(Measure::Errors)),
    ("p99Micros", |is| is.value(Measure::P99)),
    ("load1", |is| is.value(Measure::Load1)),
    ("connections", |is| is.value(Measure::Connections)),
];

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::{FileDescriptorSet, field_descriptor_proto::Type};

    use super::*;

    /// Fails for a number of the message `name` that the table does not read, or reads by another name than gRPC's JSON
    /// has. Those of `elsewhere` have another form.
    fn whole<S: Message + Default>(name: &str, table: &[Named<S>], elsewhere: &[&str]) {
        let files = FileDescriptorSet::decode(starling_proto::DESCRIPTORS).unwrap();
        let messages = files.file.iter().filter(|is| is.package() == "starling.v1").flat_map(|is| &is.message_type);
        let message = messages.into_iter().find(|is| is.name() == name).unwrap();
        let fields = message.field.iter().filter(|field| field.r#type() == Type::Double);
        let mut seen = 0;
        for field in fields.filter(|field| !elsewhere.contains(&field.name())) {
            let mut bytes = vec![];
            prost::encoding::double::encode(field.number().unsigned_abs(), &7.0, &mut bytes);
            let read = numbers(Some(&S::decode(&*bytes).unwrap()), table);
            let names: Vec<_> = read.iter().filter(|(_, value)| **value == 7).map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, [field.json_name()], "{name}.{}", field.name());
            seen += 1;
        }
        assert!(seen > 1, "{name}");
    }

    #[test]
    fn every_number_of_a_section_is_in_its_answer_by_its_name() {
        whole("Latency", LATENCY, &[]);
        whole("Traffic", TRAFFIC, &[]);
        whole("ProtocolTraffic", PROTOCOL, &[]);
        whole("Connections", CONNECTIONS, &["healthy", "warning", "error"]);
        whole("Cpu", CPU, &[]);
        whole("Memory", MEMORY, &[]);
        whole("Disk", DISK, &[]);
        whole("Network", NETWORK, &[]);
        whole("HistogramSummary", SUMMARY, &[]);
    }

    #[test]
    fn every_measure_of_a_row_is_in_its_answer() {
        let row = v1::NodeRow {
            node_id: "n1".into(),
            cpu_utilization_ratio: Some(0.25),
            memory_used_ratio: Some(0.5),
            requests_per_second: Some(3.0),
            errors_per_second: Some(4.0),
            p99_micros: Some(5.0),
            load1: Some(6.5),
            connections: Some(7.0),
            ..Default::default()
        };
        let wanted = serde_json::json!({
            "cpuUtilizationRatio": 0.25, "memoryUsedRatio": 0.5, "requestsPerSecond": 3, "errorsPerSecond": 4,
            "p99Micros": 5, "load1": 6.5, "connections": 7,
        });
        assert_eq!(Value::from(numbers(Host::of(&row).as_ref(), NODE)), wanted);
        assert_eq!(NODE.len(), Measure::ALL.len());
    }
}
