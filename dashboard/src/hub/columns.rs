//! Which numbers of a second are charted, under which names and in which order.
//!
//! The order is the same on every server and after every restart, so that a page can resume at another replica: a fixed
//! list, and for a node its cores behind it, by number. `NaN` means no data; it is never zero.

use starling_proto::v1;

use super::sections::Sections;

/// Protocols in the order of their columns and of every list in an answer.
pub(crate) const PROTOCOLS: [&str; 5] = ["http1", "http2", "http3", "websocket", "grpc"];

/// Columns of the cluster, of a group and of a node. The first five are [`PROTOCOLS`].
pub(crate) const COMMON: [&str; 23] = [
    "rps.http1",
    "rps.http2",
    "rps.http3",
    "rps.websocket",
    "rps.grpc",
    "rps.total",
    "errors.total",
    "latency.p50",
    "latency.p95",
    "latency.p99",
    "latency.p999",
    "connections.total",
    "connections.active",
    "connections.healthy",
    "connections.warning",
    "connections.error",
    "cpu.total",
    "memory.used_ratio",
    "network.received",
    "network.sent",
    "disk.read",
    "disk.written",
    "load.1m",
];

/// Columns a node has beside [`COMMON`]; `core.0` and so on follow.
pub(crate) const NODE: [&str; 6] =
    ["load.5m", "load.15m", "memory.application", "memory.buffer_cache", "memory.system", "memory.free"];

/// Most cores that get a column: beyond the largest x86 machine sold (2 x 192 cores, two threads each).
pub(crate) const CORES_MAX: usize = 1024;

/// Place of a column of [`COMMON`].
pub(crate) const fn index(name: &str) -> usize {
    let mut i = 0;
    while i < COMMON.len() {
        if same(COMMON[i], name) {
            return i;
        }
        i += 1;
    }
    panic!("no such column")
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// Names of the columns for a view: `node` for a node with `cores` cores.
pub(crate) fn names(node: bool, cores: usize) -> Vec<String> {
    let mut names: Vec<String> = COMMON.iter().map(|&name| name.to_owned()).collect();
    if node {
        names.extend(NODE.iter().map(|&name| name.to_owned()));
        names.extend((0..cores.min(CORES_MAX)).map(|core| format!("core.{core}")));
    }
    names
}

/// The values of one second, in the order of [`names`].
pub(crate) fn point(second: Sections<'_>, node: bool) -> Vec<f32> {
    let mut point = Vec::with_capacity(COMMON.len() + NODE.len() + second.cores.len());
    let mut put = |value: Option<f64>| point.push(narrow(value));

    for protocol in PROTOCOLS {
        put(second.traffic.and_then(|t| of_protocol(t, protocol)).map(|p| p.requests_per_second));
    }
    put(second.traffic.map(|t| t.requests_per_second));
    put(second.traffic.map(|t| t.errors_per_second));
    let latency = second.traffic.and_then(|t| t.latency.as_ref());
    put(latency.map(|l| l.p50_micros));
    put(latency.map(|l| l.p95_micros));
    put(latency.map(|l| l.p99_micros));
    put(latency.map(|l| l.p999_micros));
    put(second.connections.and_then(|c| c.total));
    put(second.connections.and_then(|c| c.active));
    put(second.connections.and_then(|c| c.healthy));
    put(second.connections.and_then(|c| c.warning));
    put(second.connections.and_then(|c| c.error));
    put(second.cpu.and_then(|c| c.utilization));
    put(second.memory.and_then(used_ratio));
    put(second.network.and_then(|n| n.received_bytes_per_second));
    put(second.network.and_then(|n| n.sent_bytes_per_second));
    put(second.disk.and_then(|d| d.read_bytes_per_second));
    put(second.disk.and_then(|d| d.written_bytes_per_second));
    put(second.cpu.and_then(|c| c.load1));
    if node {
        put(second.cpu.and_then(|c| c.load5));
        put(second.cpu.and_then(|c| c.load15));
        put(second.memory.and_then(|m| m.application));
        put(second.memory.and_then(|m| m.buffer_cache));
        put(second.memory.and_then(|m| m.system));
        put(second.memory.and_then(|m| m.free));
        for &core in second.cores.iter().take(CORES_MAX) {
            put(Some(core));
        }
    }
    point
}

/// One protocol's share; `None` when it never reported.
pub(crate) fn of_protocol<'a>(traffic: &'a v1::Traffic, protocol: &str) -> Option<&'a v1::ProtocolTraffic> {
    traffic.protocols.iter().find(|is| is.protocol == protocol)
}

/// Used / total, 0 to 1; `None` for a host that says it has no memory.
pub(crate) fn used_ratio(memory: &v1::Memory) -> Option<f64> {
    ratio(memory.used?, memory.total)
}

/// Share of the sent segments that were sent again, 0 to 1; `None` when none was sent.
pub(crate) fn retransmit_ratio(connections: &v1::Connections) -> Option<f64> {
    ratio(connections.retransmits_per_second?, connections.segments_sent_per_second?)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// A chart is at most a few thousand pixels high: 24 bits are enough, and halve what travels.
#[allow(clippy::cast_possible_truncation)]
fn narrow(value: Option<f64>) -> f32 {
    value.map_or(f32::NAN, |value| value as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::sections::Second;

    #[test]
    fn names_and_values_have_one_order() {
        let view = v1::NodeView {
            cpu: Some(v1::Cpu { utilization: Some(0.5), load1: Some(1.5), ..Default::default() }),
            memory: Some(v1::Memory { total: 8.0, used: Some(2.0), free: Some(1.0), ..Default::default() }),
            traffic: Some(v1::Traffic {
                requests_per_second: 7.0,
                protocols: vec![v1::ProtocolTraffic {
                    protocol: "grpc".into(),
                    requests_per_second: 7.0,
                    ..Default::default()
                }],
                ..Default::default()
            }),
            cores: vec![0.25, 0.75],
            ..Default::default()
        };
        let names = names(true, 2);
        let second = Second::Node(Box::new(view));
        let point = point(second.sections(), true);
        assert_eq!(names.len(), point.len());
        let value = |name: &str| point[names.iter().position(|is| is == name).unwrap()];
        assert_eq!(value("cpu.total"), 0.5);
        assert_eq!(value("load.1m"), 1.5);
        assert_eq!(value("memory.used_ratio"), 0.25);
        assert_eq!(value("memory.free"), 1.0);
        assert_eq!(value("rps.grpc"), 7.0);
        assert_eq!(value("core.1"), 0.75);
        assert!(value("rps.http1").is_nan(), "a protocol nobody reported is not zero");
        assert!(value("latency.p99").is_nan());
        assert!(value("network.sent").is_nan());
    }

    #[test]
    fn the_common_columns_are_a_prefix() {
        let second = Second::Cluster(Box::default());
        assert_eq!(point(second.sections(), false).len(), COMMON.len());
        assert_eq!(names(false, 9).len(), COMMON.len());
        assert_eq!(COMMON[index("rps.total")], "rps.total");
    }
}
