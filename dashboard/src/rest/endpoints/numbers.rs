//! The numbers of a second and their names in JSON, each in one line: what `sections.proto` has, the answers have.
//!
//! A test reads the descriptors of the messages and fails for a number that stands in none of these tables.

use serde_json::{Map, Value};
use starling_proto::{nodes::Measure, v1};

use super::percent;
use crate::hub::Host;

/// A number: its name in JSON and where it is.
pub(super) type Number<S> = (&'static str, fn(&S) -> Option<f64>);

/// Numbers by name: `null` where none was reported, and all of them without `from`.
pub(super) fn numbers<S>(from: Option<&S>, of: &[Number<S>]) -> Map<String, Value> {
    of.iter().map(|(name, read)| ((*name).to_owned(), from.and_then(read).into())).collect()
}

/// Percentiles of a merged histogram and how many requests are in it, microseconds. `errorBound` is of the relative
/// error of a percentile: 0.0039 is 0.39 %.
pub(super) const LATENCY: &[Number<v1::Latency>] = &[
    ("p50", |is| Some(is.p50_micros)),
    ("p95", |is| Some(is.p95_micros)),
    ("p99", |is| Some(is.p99_micros)),
    ("p999", |is| Some(is.p999_micros)),
    ("mean", |is| Some(is.mean_micros)),
    ("max", |is| Some(is.max_micros)),
    ("count", |is| Some(is.count)),
    ("errorBound", |is| Some(f64::from(is.error_bound_ppm) / 1e6)),
];

/// One protocol: requests and failed requests per second; mean and 99th percentile in microseconds and the failed share,
/// 0 to 1, `null` without requests; open requests, `null` when the applications do not report them.
pub(super) const PROTOCOL: &[Number<v1::ProtocolTraffic>] = &[
    ("rps", |is| is.requests_per_second),
    ("errorRate", |is| is.errors_per_second),
    ("errorRatio", |is| (is.requests_per_second() > 0.0).then(|| is.errors_per_second() / is.requests_per_second())),
    ("avgLatency", |is| Some(is.latency.as_ref()?.mean_micros)),
    ("p99Latency", |is| Some(is.latency.as_ref()?.p99_micros)),
    ("activeConnections", |is| is.active),
];

/// TCP connections: how many there are. They stand in the short answer too.
pub(super) const CONNECTION_COUNTS: &[Number<v1::Connections>] =
    &[("active", |is| is.active), ("idle", |is| is.idle), ("total", |is| is.total)];

/// The rest of them: per second, and the share of segments sent again, 0 to 1 and `null` when none was sent.
pub(super) const CONNECTION_RATES: &[Number<v1::Connections>] = &[
    ("connectionRate", |is| is.opened_per_second),
    ("resetsPerSecond", |is| is.resets_per_second),
    ("segmentsSentPerSecond", |is| is.segments_sent_per_second),
    ("retransmitsPerSecond", |is| is.retransmits_per_second),
    ("retransmitRatio", |is| is.retransmit_ratio),
];

/// Processors in percent, over all nodes and of single nodes: the least busy, the busiest, the 99th percentile; and how
/// many logical ones there are.
pub(super) const CPU: &[Number<v1::Cpu>] = &[
    ("totalUtilization", |is| is.utilization_ratio.map(percent)),
    ("minNodeUtilization", |is| is.utilization_ratio_min.map(percent)),
    ("maxNodeUtilization", |is| is.utilization_ratio_max.map(percent)),
    ("p99NodeUtilization", |is| is.utilization_ratio_p99.map(percent)),
    ("logicalCores", |is| is.cores),
];

/// Memory in bytes. `totalMemory` is `applicationMemory + bufferCache + systemMemory + freeMemory`, `usedMemory` is
/// `totalMemory - availableMemory`, and `utilization` used / total in percent.
pub(super) const MEMORY: &[Number<v1::Memory>] = &[
    ("totalMemory", |is| is.total_bytes),
    ("usedMemory", |is| is.used_bytes),
    ("availableMemory", |is| is.available_bytes),
    ("bufferCache", |is| is.buffer_cache_bytes),
    ("swapUsage", |is| is.swap_used_bytes),
    ("swapTotal", |is| is.swap_total_bytes),
    ("hugePagesUsage", |is| is.huge_pages_used_bytes),
    ("hugePagesTotal", |is| is.huge_pages_total_bytes),
    ("applicationMemory", |is| is.application_bytes),
    ("systemMemory", |is| is.system_bytes),
    ("freeMemory", |is| is.free_bytes),
    ("utilization", |is| is.used_ratio.map(percent)),
];

/// Disks, per second and in bytes.
pub(super) const DISK: &[Number<v1::Disk>] = &[
    ("readBytesPerSecond", |is| is.read_bytes_per_second),
    ("writtenBytesPerSecond", |is| is.written_bytes_per_second),
    ("readsPerSecond", |is| is.reads_per_second),
    ("writesPerSecond", |is| is.writes_per_second),
    ("filesystemTotal", |is| is.filesystem_total_bytes),
    ("filesystemUsed", |is| is.filesystem_used_bytes),
];

/// Network interfaces, per second.
pub(super) const NETWORK: &[Number<v1::Network>] = &[
    ("receivedBytesPerSecond", |is| is.received_bytes_per_second),
    ("sentBytesPerSecond", |is| is.sent_bytes_per_second),
    ("receivedPacketsPerSecond", |is| is.received_packets_per_second),
    ("sentPacketsPerSecond", |is| is.sent_packets_per_second),
    ("errorsPerSecond", |is| is.errors_per_second),
    ("droppedPerSecond", |is| is.dropped_per_second),
];

/// A row of the table of nodes: shares in percent, latency in microseconds, `errorRate` in failed requests per second.
pub(super) const NODE: &[Number<Host>] = &[
    ("cpuUtilization", |is| is.value(Measure::Cpu).map(percent)),
    ("memoryUtilization", |is| is.value(Measure::Memory).map(percent)),
    ("rps", |is| is.value(Measure::Requests)),
    ("errorRate", |is| is.value(Measure::Errors)),
    ("p99Latency", |is| is.value(Measure::P99)),
    ("load1", |is| is.value(Measure::Load1)),
    ("connections", |is| is.value(Measure::Connections)),
];

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::{FileDescriptorSet, field_descriptor_proto::Type};

    use super::*;

    /// Fails for a number of the message `name` that none of the tables reads. Those of `elsewhere` have another form.
    fn whole<S: Message + Default>(name: &str, tables: &[&[Number<S>]], elsewhere: &[&str]) {
        let files = FileDescriptorSet::decode(starling_proto::DESCRIPTORS).unwrap();
        let messages = files.file.iter().filter(|is| is.package() == "starling.v1").flat_map(|is| &is.message_type);
        let message = messages.into_iter().find(|is| is.name() == name).unwrap();
        let fields = message.field.iter().filter(|field| field.r#type() == Type::Double);
        let mut seen = 0;
        for field in fields.filter(|field| !elsewhere.contains(&field.name())) {
            let mut bytes = vec![];
            prost::encoding::double::encode(field.number().unsigned_abs(), &7.0, &mut bytes);
            let is = S::decode(&*bytes).unwrap();
            let read = tables.iter().flat_map(|table| numbers(Some(&is), table));
            let values: Vec<_> = read.filter_map(|(_, value)| value.as_f64()).collect();
            assert!(values.contains(&7.0) || values.contains(&700.0), "{name}.{} is in no answer", field.name());
            seen += 1;
        }
        assert!(seen > 1, "{name}");
    }

    #[test]
    fn every_number_of_a_section_is_in_its_answer() {
        whole("Latency", &[LATENCY], &[]);
        whole("ProtocolTraffic", &[PROTOCOL], &[]);
        whole("Connections", &[CONNECTION_COUNTS, CONNECTION_RATES], &["healthy", "warning", "error"]);
        whole("Cpu", &[CPU], &["load1", "load5", "load15"]);
        whole("Memory", &[MEMORY], &[]);
        whole("Disk", &[DISK], &[]);
        whole("Network", &[NETWORK], &[]);
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
            load1: Some(6.0),
            connections: Some(7.0),
            ..Default::default()
        };
        let wanted = serde_json::json!({
            "cpuUtilization": 25.0, "memoryUtilization": 50.0, "rps": 3.0, "errorRate": 4.0, "p99Latency": 5.0,
            "load1": 6.0, "connections": 7.0,
        });
        assert_eq!(Value::from(numbers(Host::of(&row).as_ref(), NODE)), wanted);
        assert_eq!(NODE.len(), Measure::ALL.len());
    }
}
