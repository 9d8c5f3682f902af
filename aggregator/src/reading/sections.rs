//! The sections of a view (traffic, connections, processors, ...) from the values of one second. Pure.
//!
//! A section is absent when no series of it was reported: missing is never zero.

use std::collections::HashMap;

use starling_proto::{
    catalogue::{self, Chart, Metric, PROTOCOL, PROTOCOLS, Statistic},
    histogram::Histogram,
    v1,
};

use super::{Reading, latency::latency};

const MODE: &str = "cpu.mode";
const STATE: &str = "network.connection.state";
const DISK: &str = "disk.io.direction";
const NETWORK: &str = "network.io.direction";

impl Reading<'_> {
    /// All sections; `minute` is the latency of the last 60 seconds.
    pub(crate) fn sections(&self, minute: Option<&Histogram>) -> v1::Sections {
        v1::Sections {
            traffic: self.traffic(minute),
            connections: self.connections(),
            cpu: self.cpu(),
            memory: self.memory(),
            disk: self.disk(),
            network: self.network(),
        }
    }

    /// The charted values of the catalogue by the name of their column; `of_node`: with those of a single node.
    pub(crate) fn charted(&self, of_node: bool) -> HashMap<String, f64> {
        let charts: Vec<_> = catalogue::charts().filter(|(_, chart)| of_node || !chart.of_node).collect();
        // Charts of one metric and the same attributes are neighbours: a histogram is merged once for all of them.
        let same =
            |a: &(&Metric, &Chart), b: &(&Metric, &Chart)| a.0.name == b.0.name && a.1.attributes == b.1.attributes;
        let mut charted = HashMap::with_capacity(charts.len());
        for group in charts.chunk_by(same) {
            let (metric, first) = group[0];
            let wanted: Vec<Statistic> = group.iter().map(|(_, chart)| chart.statistic).collect();
            let values = self.statistics(metric.name, first.attributes, &wanted);
            for ((_, chart), value) in group.iter().zip(values) {
                if let Some(value) = value {
                    charted.insert(chart.name.to_owned(), value * metric.shown_as.charted());
                }
            }
        }
        charted
    }

    /// The values of `metric` by the value of its only attribute.
    fn by_attribute(&self, metric: &Metric, key: &str) -> HashMap<String, f64> {
        let one = |value: &str| Some((value.to_owned(), self.value(metric, &[(key, value)])?));
        match metric.derivation {
            None => self.named(metric.name).iter().filter_map(|entry| one(entry.series.attribute(key)?)).collect(),
            Some(_) => self.derived_series(metric).iter().filter_map(|with| one(with.first()?.1)).collect(),
        }
    }

    /// Latency over all protocols; empty without values.
    pub(crate) fn duration(&self) -> Histogram {
        self.histogram(catalogue::DURATION.name, &[]).unwrap_or_default()
    }

    /// Busy share per core, by number of the core. Only of a node.
    pub(crate) fn cores(&self) -> Vec<f64> {
        let mut cores: Vec<(u32, f64)> = self
            .named(catalogue::CORE_UTILIZATION.name)
            .iter()
            .filter_map(|entry| {
                let number = entry.series.attributes().first()?.1.parse().ok()?;
                let super::Amount::Gauge { sum, .. } = entry.amount else { return None };
                Some((number, entry.series.to_f64(sum)))
            })
            .collect();
        cores.sort_unstable_by_key(|(number, _)| *number);
        cores.into_iter().map(|(_, busy)| busy).collect()
    }

    /// Busy share of all cores: by time, so that each core of several nodes weighs the same; of a node that sends no
    /// time by mode as it says.
    pub(crate) fn busy(&self) -> Option<f64> {
        self.value(&catalogue::CPU_BUSY, &[]).or_else(|| self.value(&catalogue::CPU_UTILIZATION, &[]))
    }

    /// Requests, errors and latency.
    fn traffic(&self, minute: Option<&Histogram>) -> Option<v1::Traffic> {
        let protocols: Vec<_> = PROTOCOLS.iter().filter_map(|protocol| self.protocol(protocol)).collect();
        if protocols.is_empty() {
            return None;
        }
        Some(v1::Traffic {
            requests_per_second: Some(self.value(&catalogue::REQUESTS, &[]).unwrap_or_default()),
            errors_per_second: Some(self.value(&catalogue::ERRORS, &[]).unwrap_or_default()),
            error_ratio: self.value(&catalogue::ERROR_RATIO, &[]),
            active: self.value(&catalogue::ACTIVE, &[]),
            latency: latency(&self.duration()),
            latency_last_minute: minute.and_then(latency),
            reported_every_seconds: protocols
                .iter()
                .filter_map(|protocol| protocol.reported_every_seconds)
                .reduce(f64::max),
            protocols,
        })
    }

    fn protocol(&self, protocol: &str) -> Option<v1::ProtocolTraffic> {
        let with = [(PROTOCOL, protocol)];
        let requests = self.value(&catalogue::REQUESTS, &with);
        let errors = self.value(&catalogue::ERRORS, &with);
        let active = self.value(&catalogue::ACTIVE, &with);
        let duration = self.histogram(catalogue::DURATION.name, &with);
        if requests.is_none() && errors.is_none() && active.is_none() && duration.is_none() {
            return None;
        }
        Some(v1::ProtocolTraffic {
            protocol: protocol.to_owned(),
            requests_per_second: Some(requests.unwrap_or_default()),
            errors_per_second: Some(errors.unwrap_or_default()),
            active,
            latency: duration.as_ref().and_then(latency),
            reported_every_seconds: self.statistic(catalogue::REPORT_INTERVAL.name, &with, Statistic::Max),
        })
    }

    /// TCP connections.
    fn connections(&self) -> Option<v1::Connections> {
        let by_state = self.by_attribute(&catalogue::TCP_CONNECTIONS, STATE);
        let of = |metric| self.value(metric, &[]);
        let health = |word| self.value(&catalogue::TCP_HEALTH, &[("health", word)]);
        // A host whose sockets cannot be listed still counts what is opened and reset.
        let opened = of(&catalogue::TCP_OPENED);
        if by_state.is_empty() && opened.is_none() {
            return None;
        }
        Some(v1::Connections {
            active: of(&catalogue::TCP_ACTIVE),
            idle: of(&catalogue::TCP_IDLE),
            total: of(&catalogue::TCP_OPEN),
            opened_per_second: opened,
            resets_per_second: of(&catalogue::TCP_RESETS),
            segments_sent_per_second: of(&catalogue::TCP_SEGMENTS_SENT),
            retransmits_per_second: of(&catalogue::TCP_RETRANSMITS),
            by_state,
            healthy: health("healthy"),
            warning: health("warning"),
            error: health("error"),
            retransmit_ratio: of(&catalogue::TCP_RETRANSMIT_RATIO),
        })
    }

    /// Processors.
    fn cpu(&self) -> Option<v1::Cpu> {
        let utilization_ratio = Some(self.busy()?);
        let of_nodes = |statistic| self.statistic(catalogue::CPU_UTILIZATION.name, &[], statistic);
        let load = |metric| self.value(metric, &[]);
        Some(v1::Cpu {
            utilization_ratio,
            cores: self.value(&catalogue::CPU_COUNT, &[]),
            ratio_by_mode: self.by_attribute(&catalogue::CPU_MODE_UTILIZATION, MODE),
            load1: load(&catalogue::LOAD_1M),
            load5: load(&catalogue::LOAD_5M),
            load15: load(&catalogue::LOAD_15M),
            busiest: Vec::new(),
            utilization_ratio_min: of_nodes(Statistic::Min),
            utilization_ratio_max: of_nodes(Statistic::Max),
            utilization_ratio_p99: of_nodes(Statistic::P99),
        })
    }

    /// Memory.
    fn memory(&self) -> Option<v1::Memory> {
        let of = |metric| self.value(metric, &[]);
        let state = |word| self.value(&catalogue::MEMORY_USAGE, &[("system.memory.state", word)]);
        Some(v1::Memory {
            total_bytes: Some(of(&catalogue::MEMORY_LIMIT)?),
            used_bytes: of(&catalogue::MEMORY_USED),
            available_bytes: of(&catalogue::MEMORY_AVAILABLE),
            buffer_cache_bytes: state("buffer_cache"),
            application_bytes: state("application"),
            system_bytes: state("system"),
            free_bytes: state("free"),
            swap_total_bytes: of(&catalogue::SWAP_LIMIT),
            swap_used_bytes: of(&catalogue::SWAP_USAGE),
            huge_pages_total_bytes: of(&catalogue::HUGE_PAGES_LIMIT),
            huge_pages_used_bytes: of(&catalogue::HUGE_PAGES_USAGE),
            used_ratio: of(&catalogue::MEMORY_UTILIZATION),
        })
    }

    /// Disks and filesystems.
    fn disk(&self) -> Option<v1::Disk> {
        let of = |metric, direction| self.value(metric, &[(DISK, direction)]);
        let (read, written) = (of(&catalogue::DISK_IO, "read"), of(&catalogue::DISK_IO, "write"));
        let filesystem = self.value(&catalogue::FILESYSTEM_LIMIT, &[]);
        if read.is_none() && written.is_none() && filesystem.is_none() {
            return None;
        }
        Some(v1::Disk {
            read_bytes_per_second: read,
            written_bytes_per_second: written,
            reads_per_second: of(&catalogue::DISK_OPERATIONS, "read"),
            writes_per_second: of(&catalogue::DISK_OPERATIONS, "write"),
            filesystem_total_bytes: filesystem,
            filesystem_used_bytes: self.value(&catalogue::FILESYSTEM_USAGE, &[]),
        })
    }

    /// Network interfaces.
    fn network(&self) -> Option<v1::Network> {
        let one = |metric, direction| self.value(metric, &[(NETWORK, direction)]);
        let both = |metric| self.value(metric, &[]);
        both(&catalogue::NETWORK_IO)?;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use starling_proto::{
        frame::{Content, Second},
        histogram::HistogramSum,
        interner::Interner,
        series::{Sample, Series, Value},
    };

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

    /// What a decoder makes of the frame.
    fn columns(content: &Content) -> Second {
        Second::of_content(&Interner::default(), content).0
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
                gauge(&catalogue::REPORT_INTERVAL, &http, 60.0 * busy),
                gauge(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", "10")], 0.1),
                gauge(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", "2")], 0.2),
            ],
            dropped: 0,
        }
    }

    #[test]
    fn one_node_reads_as_it_says() {
        let content = node(0.25, 4.0, 10.0, 2_000_000);
        let second = columns(&content);
        let reading = Reading::of_node_shown(&second);
        let cpu = reading.cpu().unwrap();
        assert!(cpu.utilization_ratio == Some(0.25) && (cpu.ratio_by_mode["idle"] - 0.75).abs() < 1e-9);
        assert_eq!(reading.cores(), [0.2, 0.1]);
        let connections = reading.connections().unwrap();
        assert_eq!((connections.total, connections.active), (Some(7.0), Some(5.0)));
        let memory = reading.memory().unwrap();
        assert_eq!((memory.free_bytes, memory.used_bytes, connections.resets_per_second), (Some(400.0), None, None));
        let traffic = reading.traffic(None).unwrap();
        assert_eq!(traffic.error_ratio, Some(0.1));
        assert_eq!(traffic.protocols.len(), 1);
        assert!(traffic.latency.is_some() && traffic.latency_last_minute.is_none());
        assert_eq!(
            (traffic.reported_every_seconds, traffic.protocols[0].reported_every_seconds),
            (Some(15.0), Some(15.0))
        );
        assert!(reading.disk().is_none() && reading.network().is_none());
    }

    #[test]
    fn a_cluster_weighs_cores_and_merges_percentiles() {
        let mut sums = Sums::default();
        for content in [node(1.0, 6.0, 99.0, 1_000_000), node(0.0, 2.0, 1.0, 50_000_000)] {
            sums.add_samples(&[], &content.samples).unwrap();
        }
        let reading = Reading::of_cells(sums.cells(&Group::cluster()));
        let cpu = reading.cpu().unwrap();
        assert_eq!(cpu.utilization_ratio, Some(0.75), "6 of 8 cores are busy: {cpu:?}");
        assert_eq!((cpu.load1, cpu.cores), (Some(5.0), Some(8.0)));
        assert_eq!((cpu.utilization_ratio_min, cpu.utilization_ratio_max), (Some(0.0), Some(1.0)));
        assert!(cpu.utilization_ratio_p99.is_some_and(|p99| p99 > 0.99));
        let traffic = reading.traffic(Some(&reading.duration())).unwrap();
        assert!((traffic.requests_per_second() - 100.0).abs() < 1e-9);
        let latency = traffic.latency.unwrap();
        assert!((latency.p50_micros - 1_000.0).abs() < 4.0 && latency.p999_micros > 49_000.0, "{latency:?}");
        assert_eq!(traffic.latency_last_minute.unwrap().count, 100.0);
        assert_eq!(traffic.reported_every_seconds, Some(60.0), "the most seldom of all nodes");
        // Series of one node only are no part of it.
        assert!(reading.cores().is_empty() && reading.value(&catalogue::UPTIME, &[]).is_none());
    }

    #[test]
    fn nothing_reported_is_nothing_shown() {
        let reading = Reading::default();
        assert!(reading.traffic(None).is_none() && reading.connections().is_none() && reading.cpu().is_none());
        assert!(reading.memory().is_none() && reading.disk().is_none() && reading.network().is_none());
    }
}
