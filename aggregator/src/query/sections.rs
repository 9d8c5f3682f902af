//! The sections of a view (traffic, connections, processors, ...) from the series behind it: of one node, or added
//! over the nodes of the cluster or of a group. Pure.
//!
//! A section is absent when no series of it was reported: missing is never zero.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use starling_proto::{
    catalogue::{self, Metric, PROTOCOLS, Scope},
    frame::Content,
    histogram::Histogram,
    series::{Series, Value},
    v1,
};

use super::latency::{latency, merged};
use starling_ledger::rollup::{Cell, Sum};

/// One gauge over the nodes that reported it, in its unit.
#[derive(Debug, Clone)]
struct Gauge {
    sum: f64,
    nodes: f64,
    min: f64,
    max: f64,
    p99: Option<f64>,
}

impl Gauge {
    fn mean(&self) -> f64 {
        self.sum / self.nodes
    }
}

/// Name of a metric and value of its attribute; empty without one.
type Key<'a> = (&'a str, &'a str);

/// The series of one second that a view shows, by metric and attribute value.
#[derive(Debug, Default)]
pub(crate) struct Readings<'a> {
    counters: BTreeMap<Key<'a>, f64>,
    gauges: BTreeMap<Key<'a>, Gauge>,
    histograms: BTreeMap<Key<'a>, &'a Arc<Histogram>>,
}

impl<'a> Readings<'a> {
    /// Of one node.
    pub(crate) fn of_content(content: &'a Content) -> Self {
        let mut readings = Self::default();
        for sample in content.samples.iter().filter(|sample| is_shown(&sample.series)) {
            let scale = 10f64.powi(i32::from(sample.series.scale()));
            let key = key(&sample.series);
            match &sample.value {
                Value::Counter(increment) => drop(readings.counters.insert(key, *increment as f64 / scale)),
                Value::Gauge(value) => {
                    let value = *value as f64 / scale;
                    let gauge = Gauge { sum: value, nodes: 1.0, min: value, max: value, p99: Some(value) };
                    readings.gauges.insert(key, gauge);
                }
                Value::Histogram(histogram) => drop(readings.histograms.insert(key, histogram)),
            }
        }
        readings
    }

    /// Added over nodes.
    pub(crate) fn of_cells(cells: impl Iterator<Item = (&'a Series, &'a Cell)>) -> Self {
        let mut readings = Self::default();
        for (series, cell) in cells {
            let scale = 10f64.powi(i32::from(series.scale()));
            let key = key(series);
            match &cell.sum {
                Sum::Counter(sum) => drop(readings.counters.insert(key, *sum as f64 / scale)),
                Sum::Gauge(gauge) => {
                    let gauge = Gauge {
                        sum: gauge.sum as f64 / scale,
                        nodes: f64::from(cell.frames.max(1)),
                        min: gauge.min as f64 / scale,
                        max: gauge.max as f64 / scale,
                        p99: gauge.distribution.as_ref().and_then(|d| d.quantile(0.99)).map(|v| v as f64 / scale),
                    };
                    readings.gauges.insert(key, gauge);
                }
                Sum::Histogram(histogram) => drop(readings.histograms.insert(key, histogram)),
            }
        }
        readings
    }

    fn counter(&self, metric: &'static Metric, attribute: &str) -> Option<f64> {
        self.counters.get(&(metric.name, attribute)).copied()
    }

    fn gauge<'s>(&'s self, metric: &'static Metric, attribute: &'s str) -> Option<&'s Gauge> {
        self.gauges.get(&(metric.name, attribute))
    }

    fn sum(&self, metric: &'static Metric, attribute: &str) -> Option<f64> {
        self.gauge(metric, attribute).map(|gauge| gauge.sum)
    }

    /// The values of one metric by the value of its attribute.
    fn counters_of(&self, metric: &'static Metric) -> impl Iterator<Item = (&str, f64)> {
        let name = metric.name;
        self.counters
            .range((name, "")..)
            .take_while(move |((other, _), _)| *other == name)
            .map(|((_, attribute), value)| (*attribute, *value))
    }

    fn gauges_of(&self, metric: &'static Metric) -> impl Iterator<Item = (&str, f64)> {
        let name = metric.name;
        self.gauges
            .range((name, "")..)
            .take_while(move |((other, _), _)| *other == name)
            .map(|((_, attribute), gauge)| (*attribute, gauge.sum))
    }

    fn histogram<'s>(&'s self, metric: &'static Metric, attribute: &'s str) -> Option<&'s Arc<Histogram>> {
        self.histograms.get(&(metric.name, attribute)).copied()
    }

    /// Latency over all protocols; empty without values.
    pub(crate) fn duration(&self) -> Histogram {
        merged(PROTOCOLS.iter().filter_map(|protocol| self.histogram(&catalogue::DURATION, protocol)).map(|h| &**h))
    }

    /// Busy share per core, by number of the core. Only of a node.
    pub(crate) fn cores(&self) -> Vec<f64> {
        let mut cores: Vec<(u32, f64)> = self
            .gauges_of(&catalogue::CORE_UTILIZATION)
            .filter_map(|(number, busy)| Some((number.parse().ok()?, busy)))
            .collect();
        cores.sort_unstable_by_key(|(number, _)| *number);
        cores.into_iter().map(|(_, busy)| busy).collect()
    }

    /// Seconds since boot. Only of a node.
    pub(crate) fn uptime(&self) -> Option<f64> {
        self.sum(&catalogue::UPTIME, "")
    }

    /// Used share of memory, 0 to 1.
    pub(crate) fn memory_utilization(&self) -> Option<f64> {
        self.gauge(&catalogue::MEMORY_UTILIZATION, "").map(Gauge::mean)
    }

    /// Requests, errors and latency; `minute` is the merge of the last 60 seconds.
    pub(crate) fn traffic(&self, minute: Option<&Histogram>) -> Option<v1::Traffic> {
        let protocols: Vec<v1::ProtocolTraffic> =
            PROTOCOLS.iter().filter_map(|protocol| self.protocol(protocol)).collect();
        if protocols.is_empty() {
            return None;
        }
        let total = |part: fn(&v1::ProtocolTraffic) -> f64| protocols.iter().map(part).sum::<f64>();
        let requests = total(|p| p.requests_per_second);
        let errors = total(|p| p.errors_per_second);
        Some(v1::Traffic {
            requests_per_second: requests,
            errors_per_second: errors,
            error_ratio: (requests > 0.0).then(|| errors / requests),
            active: protocols.iter().filter_map(|p| p.active).reduce(|a, b| a + b),
            latency: latency(&self.duration()),
            latency_last_minute: minute.and_then(latency),
            protocols,
        })
    }

    fn protocol(&self, protocol: &str) -> Option<v1::ProtocolTraffic> {
        let requests = self.counter(&catalogue::REQUESTS, protocol);
        let errors = self.counter(&catalogue::ERRORS, protocol);
        let active = self.sum(&catalogue::ACTIVE, protocol);
        let duration = self.histogram(&catalogue::DURATION, protocol);
        if requests.is_none() && errors.is_none() && active.is_none() && duration.is_none() {
            return None;
        }
        Some(v1::ProtocolTraffic {
            protocol: protocol.to_owned(),
            requests_per_second: requests.unwrap_or_default(),
            errors_per_second: errors.unwrap_or_default(),
            active,
            latency: duration.and_then(|histogram| latency(histogram)),
        })
    }

    /// TCP connections.
    pub(crate) fn connections(&self) -> Option<v1::Connections> {
        let by_state: HashMap<String, f64> =
            self.gauges_of(&catalogue::TCP_CONNECTIONS).map(|(state, sockets)| (state.to_owned(), sockets)).collect();
        let counter = |metric| self.counter(metric, "");
        let health = |word| self.sum(&catalogue::TCP_HEALTH, word);
        let idle = self.sum(&catalogue::TCP_IDLE, "");
        // A host whose sockets cannot be listed still counts what is opened and reset.
        let opened = counter(&catalogue::TCP_OPENED);
        if by_state.is_empty() && opened.is_none() {
            return None;
        }
        let open = by_state.iter().filter(|(state, _)| !matches!(state.as_str(), "listen" | "close"));
        Some(v1::Connections {
            active: by_state.get("established").zip(idle).map(|(established, idle)| (established - idle).max(0.0)),
            idle,
            total: open.map(|(_, sockets)| *sockets).reduce(|a, b| a + b),
            opened_per_second: opened,
            resets_per_second: counter(&catalogue::TCP_RESETS),
            segments_sent_per_second: counter(&catalogue::TCP_SEGMENTS_SENT),
            retransmits_per_second: counter(&catalogue::TCP_RETRANSMITS),
            by_state,
            healthy: health("healthy"),
            warning: health("warning"),
            error: health("error"),
        })
    }

    /// Processors.
    pub(crate) fn cpu(&self) -> Option<v1::Cpu> {
        let utilization = self.gauge(&catalogue::CPU_UTILIZATION, "");
        let time: f64 = self.counters_of(&catalogue::CPU_TIME).map(|(_, seconds)| seconds).sum();
        let by_mode: HashMap<String, f64> = if time > 0.0 {
            self.counters_of(&catalogue::CPU_TIME).map(|(mode, seconds)| (mode.to_owned(), seconds / time)).collect()
        } else {
            HashMap::new()
        };
        if utilization.is_none() && by_mode.is_empty() {
            return None;
        }
        // Of several nodes: by time, so that each core weighs the same. Of one node: as the node says.
        let by_time = || {
            let idle = |mode| by_mode.get(mode).copied().unwrap_or_default();
            (!by_mode.is_empty()).then(|| (1.0 - idle("idle") - idle("iowait")).clamp(0.0, 1.0))
        };
        let busy = match utilization {
            Some(gauge) if gauge.nodes <= 1.0 => gauge.sum,
            Some(gauge) => by_time().unwrap_or_else(|| gauge.mean()),
            None => by_time()?,
        };
        let load = |metric| self.gauge(metric, "").map(Gauge::mean);
        Some(v1::Cpu {
            utilization: Some(busy),
            cores: self.sum(&catalogue::CPU_COUNT, ""),
            by_mode,
            load1: load(&catalogue::LOAD_1M),
            load5: load(&catalogue::LOAD_5M),
            load15: load(&catalogue::LOAD_15M),
            busiest: Vec::new(),
            utilization_min: utilization.map(|gauge| gauge.min),
            utilization_max: utilization.map(|gauge| gauge.max),
            utilization_p99: utilization.and_then(|gauge| gauge.p99),
        })
    }

    /// Memory.
    pub(crate) fn memory(&self) -> Option<v1::Memory> {
        let total = self.sum(&catalogue::MEMORY_LIMIT, "")?;
        let sum = |metric| self.sum(metric, "");
        let state = |word| self.sum(&catalogue::MEMORY_USAGE, word);
        Some(v1::Memory {
            total,
            used: sum(&catalogue::MEMORY_USED),
            available: sum(&catalogue::MEMORY_AVAILABLE),
            buffer_cache: state("buffer_cache"),
            application: state("application"),
            system: state("system"),
            free: state("free"),
            swap_total: sum(&catalogue::SWAP_LIMIT),
            swap_used: sum(&catalogue::SWAP_USAGE),
            huge_pages_total: sum(&catalogue::HUGE_PAGES_LIMIT),
            huge_pages_used: sum(&catalogue::HUGE_PAGES_USAGE),
        })
    }

    /// Disks and filesystems.
    pub(crate) fn disk(&self) -> Option<v1::Disk> {
        let (read, written) = (self.counter(&catalogue::DISK_IO, "read"), self.counter(&catalogue::DISK_IO, "write"));
        let filesystem = self.sum(&catalogue::FILESYSTEM_LIMIT, "");
        if read.is_none() && written.is_none() && filesystem.is_none() {
            return None;
        }
        let operations = |direction| self.counter(&catalogue::DISK_OPERATIONS, direction);
        Some(v1::Disk {
            read_bytes_per_second: read,
            written_bytes_per_second: written,
            reads_per_second: operations("read"),
            writes_per_second: operations("write"),
            filesystem_total: filesystem,
            filesystem_used: self.sum(&catalogue::FILESYSTEM_USAGE, ""),
        })
    }

    /// Network interfaces.
    pub(crate) fn network(&self) -> Option<v1::Network> {
        self.counters_of(&catalogue::NETWORK_IO).next()?;
        let one = |metric, direction| self.counter(metric, direction);
        let both = |metric| self.counters_of(metric).map(|(_, n)| n).reduce(|a, b| a + b);
        Some(v1::Network {
            received_bytes_per_second: one(&catalogue::NETWORK_IO, "receive"),
            sent_bytes_per_second: one(&catalogue::NETWORK_IO, "transmit"),
            received_packets_per_second: one(&catalogue::NETWORK_PACKETS, "receive"),
            sent_packets_per_second: one(&catalogue::NETWORK_PACKETS, "transmit"),
            errors_per_second: both(&catalogue::NETWORK_ERRORS),
            dropped_per_second: both(&catalogue::NETWORK_DROPPED),
        })
    }
}

/// Metrics of more than one attribute are not shown in a view; their last values overwrite each other here.
fn key(series: &Series) -> Key<'_> {
    (series.name(), series.attributes().first().map_or("", |(_, value)| value))
}

/// Most series of a node are for drill-down only: skipping them makes the table of 1,000 nodes cheap.
fn is_shown(series: &Series) -> bool {
    series.scope() == Scope::Cluster
        || series.name() == catalogue::CORE_UTILIZATION.name
        || series.name() == catalogue::UPTIME.name
}

#[cfg(test)]
mod tests {
    use starling_proto::{histogram::HistogramSum, series::Sample};

    use super::*;
    use starling_ledger::rollup::Sums;
    use starling_proto::group::Group;

    fn counter(metric: &'static Metric, attributes: &[(&str, &str)], value: f64) -> Sample {
        let increment = u64::try_from(metric.fixed(value)).unwrap();
        Sample { series: Series::of(metric, attributes), value: Value::Counter(increment) }
    }

    fn gauge(metric: &'static Metric, attributes: &[(&str, &str)], value: f64) -> Sample {
        Sample { series: Series::of(metric, attributes), value: Value::Gauge(metric.fixed(value)) }
    }

    fn node(busy: f64, cores: f64, requests: f64, nanos: u64) -> Content {
        let mut duration = HistogramSum::new();
        duration.record(nanos, requests as u64);
        let http = [("protocol", "http1")];
        Content {
            tick: 100,
            samples: vec![
                gauge(&catalogue::CPU_UTILIZATION, &[], busy),
                gauge(&catalogue::CPU_COUNT, &[], cores),
                counter(&catalogue::CPU_TIME, &[("cpu.mode", "user")], busy * cores),
                counter(&catalogue::CPU_TIME, &[("cpu.mode", "idle")], (1.0 - busy) * cores),
                gauge(&catalogue::LOAD_1M, &[], busy * 10.0),
                gauge(&catalogue::MEMORY_LIMIT, &[], 1000.0),
                gauge(&catalogue::MEMORY_USAGE, &[("system.memory.state", "free")], 400.0),
                gauge(&catalogue::TCP_CONNECTIONS, &[("network.connection.state", "established")], 7.0),
                gauge(&catalogue::TCP_CONNECTIONS, &[("network.connection.state", "listen")], 3.0),
                gauge(&catalogue::TCP_IDLE, &[], 2.0),
                counter(&catalogue::REQUESTS, &http, requests),
                counter(&catalogue::ERRORS, &http, 1.0),
                Sample {
                    series: Series::of(&catalogue::DURATION, &http),
                    value: Value::Histogram(Arc::new(duration.to_histogram())),
                },
                gauge(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", "10")], 0.1),
                gauge(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", "2")], 0.2),
            ],
            dropped: 0,
        }
    }

    #[test]
    fn one_node_reads_as_it_says() {
        let content = node(0.25, 4.0, 10.0, 2_000_000);
        let readings = Readings::of_content(&content);
        let cpu = readings.cpu().unwrap();
        assert!(cpu.utilization == Some(0.25) && (cpu.by_mode["idle"] - 0.75).abs() < 1e-9);
        assert_eq!(readings.cores(), [0.2, 0.1]);
        let connections = readings.connections().unwrap();
        assert_eq!((connections.total, connections.active), (Some(7.0), Some(5.0)));
        let memory = readings.memory().unwrap();
        assert_eq!((memory.free, memory.used, connections.resets_per_second), (Some(400.0), None, None));
        let traffic = readings.traffic(None).unwrap();
        assert_eq!(traffic.error_ratio, Some(0.1));
        assert_eq!(traffic.protocols.len(), 1);
        assert!(traffic.latency.is_some() && traffic.latency_last_minute.is_none());
        assert!(readings.disk().is_none() && readings.network().is_none());
    }

    #[test]
    fn a_cluster_weighs_cores_and_merges_percentiles() {
        let mut sums = Sums::default();
        for content in [node(1.0, 6.0, 99.0, 1_000_000), node(0.0, 2.0, 1.0, 50_000_000)] {
            sums.add_samples(&[], &content.samples).unwrap();
        }
        let readings = Readings::of_cells(sums.cells(&Group::cluster()));
        let cpu = readings.cpu().unwrap();
        assert_eq!(cpu.utilization, Some(0.75), "6 of 8 cores are busy: {cpu:?}");
        assert_eq!((cpu.load1, cpu.cores), (Some(5.0), Some(8.0)));
        assert_eq!((cpu.utilization_min, cpu.utilization_max), (Some(0.0), Some(1.0)));
        assert!(cpu.utilization_p99.is_some_and(|p99| p99 > 0.99));
        let traffic = readings.traffic(Some(&readings.duration())).unwrap();
        assert!((traffic.requests_per_second - 100.0).abs() < 1e-9);
        let latency = traffic.latency.unwrap();
        assert!((latency.p50_micros - 1_000.0).abs() < 4.0 && latency.p999_micros > 49_000.0, "{latency:?}");
        assert_eq!(traffic.latency_last_minute.unwrap().count, 100.0);
        // Series of one node only are no part of it.
        assert!(readings.cores().is_empty() && readings.uptime().is_none());
    }

    #[test]
    fn nothing_reported_is_nothing_shown() {
        let readings = Readings::default();
        assert!(readings.traffic(None).is_none() && readings.connections().is_none() && readings.cpu().is_none());
        assert!(readings.memory().is_none() && readings.disk().is_none() && readings.network().is_none());
    }
}
