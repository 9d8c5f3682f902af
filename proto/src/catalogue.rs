//! The metrics Starling knows by name: kind, unit, scale, attributes and how they merge, in one table.
//!
//! Names and units follow the OpenTelemetry semantic conventions where they have one
//! (`open-telemetry/semantic-conventions:docs/system/system-metrics.md`). The daemon, the aggregator and every face
//! read this table; nothing else defines a metric of the host or of the traffic model.

use crate::v1::MetricKind;

/// What a series holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Integer increments per tick. Adds over nodes.
    Counter,
    /// Integer in fixed point. Over nodes: sum, count, minimum, maximum, distribution.
    Gauge,
    /// Histogram of the tick. Merges over nodes.
    Histogram,
}

impl Kind {
    /// The lower-case word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    /// The number on the wire, 1 to 3.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Counter => 1,
            Self::Gauge => 2,
            Self::Histogram => 3,
        }
    }

    /// The kind for a number on the wire.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Counter),
            2 => Some(Self::Gauge),
            3 => Some(Self::Histogram),
            _ => None,
        }
    }
}

impl From<Kind> for MetricKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter,
            Kind::Gauge => Self::Gauge,
            Kind::Histogram => Self::Histogram,
        }
    }
}

impl TryFrom<MetricKind> for Kind {
    type Error = &'static str;

    fn try_from(kind: MetricKind) -> Result<Self, Self::Error> {
        match kind {
            MetricKind::Unspecified => Err("the kind of a metric is not set"),
            MetricKind::Counter => Ok(Self::Counter),
            MetricKind::Gauge => Ok(Self::Gauge),
            MetricKind::Histogram => Ok(Self::Histogram),
        }
    }
}

/// Where a series is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Over the nodes of the cluster and of each group; travels in the rollup part of a frame.
    Cluster,
    /// Nowhere: drill-down of one node; travels in the node part of a frame.
    Node,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Name by the semantic conventions, or our own where they have none.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Unit by UCUM.
    pub unit: &'static str,
    /// Decimal digits of fixed point: value = integer / 10^scale.
    pub scale: u8,
    /// Where it is merged.
    pub scope: Scope,
    /// Gauges of cluster scope: keep a histogram of the nodes' values beside sum, count, minimum and maximum.
    pub distribution: bool,
    /// Keys of the attributes every series of it has, sorted.
    pub attributes: &'static [&'static str],
    /// What it is, for people.
    pub help: &'static str,
}

impl Metric {
    /// `value` in fixed point, rounded to the nearest integer. Not a number becomes 0, infinities saturate.
    #[must_use]
    pub fn fixed(&self, value: f64) -> i64 {
        // `as` saturates and maps NaN to 0 (Rust reference, numeric cast).
        (value * 10f64.powi(i32::from(self.scale))).round() as i64
    }

    /// The inverse of [`Metric::fixed`].
    #[must_use]
    pub fn float(&self, fixed: i64) -> f64 {
        fixed as f64 / 10f64.powi(i32::from(self.scale))
    }
}

/// The metric called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().copied().find(|metric| metric.name == name)
}

macro_rules! catalogue {
    ($( $ident:ident = $name:literal $kind:ident $unit:literal $scale:literal $scope:ident $dist:literal [$($attribute:literal),*] $help:literal; )*) => {
        $(
            #[doc = $help]
            pub static $ident: Metric = Metric {
                name: $name, kind: Kind::$kind, unit: $unit, scale: $scale, scope: Scope::$scope,
                distribution: $dist, attributes: &[$($attribute),*], help: $help,
            };
        )*
        /// Every metric, in the order of the table.
        pub static METRICS: &[&Metric] = &[$(&$ident),*];
    };
}

catalogue! {
    CPU_UTILIZATION = "system.cpu.utilization" Gauge "1" 4 Cluster true [] "Busy share of all cores of a node, 0 to 1; waiting for input or output is not busy.";
    CPU_TIME = "system.cpu.time" Counter "s" 3 Cluster false ["cpu.mode"] "Time of all cores by mode: user, nice, system, idle, iowait, irq, softirq, steal.";
    CPU_COUNT = "system.cpu.logical.count" Gauge "{cpu}" 0 Cluster false [] "Logical processors online.";
    CORE_UTILIZATION = "system.cpu.core.utilization" Gauge "1" 4 Node false ["cpu.logical_number"] "Busy share of one core, 0 to 1.";
    LOAD_1M = "system.load_average.1m" Gauge "1" 2 Cluster true [] "Load average of one minute.";
    LOAD_5M = "system.load_average.5m" Gauge "1" 2 Cluster false [] "Load average of five minutes.";
    LOAD_15M = "system.load_average.15m" Gauge "1" 2 Cluster false [] "Load average of fifteen minutes.";
    MEMORY_LIMIT = "system.memory.limit" Gauge "By" 0 Cluster false [] "Physical memory.";
    MEMORY_USAGE = "system.memory.usage" Gauge "By" 0 Cluster false ["system.memory.state"] "Memory by state: application, buffer_cache, system, free; they add up to the limit.";
    MEMORY_AVAILABLE = "system.memory.available" Gauge "By" 0 Cluster false [] "What the kernel estimates can be given to programs without swapping.";
    MEMORY_USED = "system.memory.used" Gauge "By" 0 Cluster false [] "Physical memory less what is available.";
    MEMORY_UTILIZATION = "system.memory.utilization" Gauge "1" 4 Cluster true [] "Used share of physical memory, 0 to 1.";
    SWAP_LIMIT = "system.paging.limit" Gauge "By" 0 Cluster false [] "Swap space.";
    SWAP_USAGE = "system.paging.usage" Gauge "By" 0 Cluster false [] "Swap space in use.";
    HUGE_PAGES_LIMIT = "system.memory.huge_pages.limit" Gauge "By" 0 Cluster false [] "Memory set aside as huge pages.";
    HUGE_PAGES_USAGE = "system.memory.huge_pages.usage" Gauge "By" 0 Cluster false [] "Huge pages in use.";
    DISK_IO = "system.disk.io" Counter "By" 0 Cluster false ["disk.io.direction"] "Bytes moved by whole disks: read, write.";
    DISK_OPERATIONS = "system.disk.operations" Counter "{operation}" 0 Cluster false ["disk.io.direction"] "Operations completed by whole disks: read, write.";
    DISK_DEVICE_IO = "system.disk.device.io" Counter "By" 0 Node false ["disk.io.direction", "system.device"] "Bytes moved by one disk.";
    DISK_DEVICE_OPERATIONS = "system.disk.device.operations" Counter "{operation}" 0 Node false ["disk.io.direction", "system.device"] "Operations completed by one disk.";
    DISK_DEVICE_IO_TIME = "system.disk.device.io_time" Counter "s" 3 Node false ["system.device"] "Time in which one disk was busy.";
    FILESYSTEM_LIMIT = "system.filesystem.limit" Gauge "By" 0 Cluster false [] "Size of all local filesystems.";
    FILESYSTEM_USAGE = "system.filesystem.usage" Gauge "By" 0 Cluster false [] "Bytes in use on all local filesystems.";
    MOUNT_LIMIT = "system.filesystem.mount.limit" Gauge "By" 0 Node false ["system.filesystem.mountpoint"] "Size of one filesystem.";
    MOUNT_USAGE = "system.filesystem.mount.usage" Gauge "By" 0 Node false ["system.filesystem.mountpoint"] "Bytes in use on one filesystem.";
    NETWORK_IO = "system.network.io" Counter "By" 0 Cluster false ["network.io.direction"] "Bytes over the physical interfaces, or where there are none over all but loopback: receive, transmit.";
    NETWORK_PACKETS = "system.network.packets" Counter "{packet}" 0 Cluster false ["network.io.direction"] "Packets over the same interfaces.";
    NETWORK_ERRORS = "system.network.errors" Counter "{error}" 0 Cluster false ["network.io.direction"] "Errors of the same interfaces.";
    NETWORK_DROPPED = "system.network.dropped" Counter "{packet}" 0 Cluster false ["network.io.direction"] "Packets dropped by the same interfaces.";
    INTERFACE_IO = "system.network.interface.io" Counter "By" 0 Node false ["network.interface.name", "network.io.direction"] "Bytes over one interface.";
    INTERFACE_PACKETS = "system.network.interface.packets" Counter "{packet}" 0 Node false ["network.interface.name", "network.io.direction"] "Packets over one interface.";
    INTERFACE_ERRORS = "system.network.interface.errors" Counter "{error}" 0 Node false ["network.interface.name", "network.io.direction"] "Errors of one interface.";
    INTERFACE_DROPPED = "system.network.interface.dropped" Counter "{packet}" 0 Node false ["network.interface.name", "network.io.direction"] "Packets dropped by one interface.";
    TCP_CONNECTIONS = "system.tcp.connections" Gauge "{connection}" 0 Cluster false ["network.connection.state"] "TCP sockets by state.";
    TCP_IDLE = "system.tcp.idle" Gauge "{connection}" 0 Cluster false [] "Established connections silent in both directions for more than 300 s.";
    TCP_HEALTH = "system.tcp.health" Gauge "{connection}" 0 Cluster false ["health"] "Connections that are healthy, in warning (retransmit over 2 %, or silent for 300 s) or in error (reset, refused or timed out in the last 60 s).";
    TCP_OPENED = "system.tcp.opened" Counter "{connection}" 0 Cluster false [] "Connections opened, both directions.";
    TCP_RESETS = "system.tcp.resets" Counter "{connection}" 0 Cluster false [] "Connections reset.";
    TCP_SEGMENTS_SENT = "system.tcp.segments_sent" Counter "{segment}" 0 Cluster false [] "Segments sent, without retransmissions.";
    TCP_RETRANSMITS = "system.tcp.retransmits" Counter "{segment}" 0 Cluster false [] "Segments sent again.";
    REQUESTS = "traffic.requests" Counter "{request}" 0 Cluster false ["protocol"] "Requests served, by protocol: http1, http2, http3, websocket, grpc.";
    ERRORS = "traffic.errors" Counter "{request}" 0 Cluster false ["protocol"] "Requests that failed.";
    DURATION = "traffic.duration" Histogram "s" 9 Cluster false ["protocol"] "Time to serve a request.";
    ACTIVE = "traffic.active" Gauge "{request}" 0 Cluster false ["protocol"] "Requests or connections open now.";
    UPTIME = "system.uptime" Gauge "s" 0 Node false [] "Time since boot.";
    PROCESS_COUNT = "system.process.count" Gauge "{process}" 0 Node false [] "Scheduling entities: processes and threads.";
    DAEMON_CPU_TIME = "starling.node.cpu.time" Counter "s" 6 Cluster false [] "Processor time of the daemon itself.";
    DAEMON_MEMORY = "starling.node.memory.usage" Gauge "By" 0 Cluster false [] "Resident memory of the daemon itself.";
    COLLECT_DURATION = "starling.node.collect.duration" Counter "s" 9 Node false ["collector"] "Time one collector took.";
    COLLECT_FAILURES = "starling.node.collect.failures" Counter "{failure}" 0 Node false ["collector"] "Times one collector failed.";
    FRAMES_DROPPED = "starling.node.frames.dropped" Counter "{frame}" 0 Cluster false ["reason"] "Frames the daemon lost, by reason.";
}

/// Names of the protocols of the traffic model, in the order they are shown.
pub const PROTOCOLS: [&str; 5] = ["http1", "http2", "http3", "websocket", "grpc"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    #[test]
    fn the_table_is_sound() {
        for (i, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..i].iter().all(|other| other.name != metric.name), "{} twice", metric.name);
            assert!(metric.name.len() <= limits::NAME_LEN_MAX && metric.scale <= limits::SCALE_MAX);
            assert!(metric.attributes.is_sorted(), "{}: attributes are sorted", metric.name);
            assert!(!metric.distribution || (metric.kind == Kind::Gauge && metric.scope == Scope::Cluster));
            assert!(metric.help.ends_with('.'));
            assert_eq!(find(metric.name), Some(*metric));
        }
        assert_eq!(find("nothing"), None);
    }

    #[test]
    fn fixed_point_keeps_the_scale() {
        assert_eq!(CPU_UTILIZATION.fixed(0.12345), 1235);
        assert!((CPU_UTILIZATION.float(1235) - 0.1235).abs() < 1e-12);
        assert_eq!(LOAD_1M.fixed(f64::NAN), 0);
        assert_eq!(LOAD_1M.fixed(f64::INFINITY), i64::MAX);
    }

    #[test]
    fn kinds_have_stable_numbers() {
        for kind in [Kind::Counter, Kind::Gauge, Kind::Histogram] {
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
            assert_eq!(Kind::try_from(MetricKind::from(kind)), Ok(kind));
            assert_eq!(MetricKind::from(kind) as i32, i32::from(kind.code()));
        }
        assert_eq!(Kind::from_code(0), None);
    }
}
