use std::sync::Arc;

use starling_ledger::rollup::Sums;
use starling_proto::{
    catalogue::METRICS,
    frame::Content,
    group::Group,
    histogram::HistogramSum,
    interner::Interner,
    series::{Sample, Value},
};

use super::*;

fn counter(metric: &'static Metric, with: &[(&str, &str)], value: u64) -> Sample {
    Sample { series: Series::of(metric, with), value: Value::Counter(value) }
}

fn gauge(metric: &'static Metric, with: &[(&str, &str)], value: f64) -> Sample {
    Sample { series: Series::of(metric, with), value: Value::Gauge(metric.fixed(value)) }
}

fn latency(protocol: &str, nanos: u64, times: u64) -> Sample {
    histogram(&catalogue::DURATION, &[("protocol", protocol)], nanos, times)
}

fn histogram(metric: &'static Metric, with: &[(&str, &str)], value: u64, times: u64) -> Sample {
    let mut sum = HistogramSum::new();
    sum.record(value, times);
    Sample { series: Series::of(metric, with), value: Value::Histogram(Arc::new(sum.to_histogram())) }
}

fn io(interface: &str, direction: &str, bytes: u64) -> Sample {
    let with = [("network.interface.name", interface), ("network.io.direction", direction)];
    counter(&catalogue::INTERFACE_IO, &with, bytes)
}

/// What a decoder makes of the frame.
fn columns(content: &Content) -> Second {
    Second::of_content(&Interner::default(), content).0
}

fn content(samples: Vec<Sample>) -> Content {
    Content { tick: 1, samples, dropped: 0 }
}

#[test]
fn every_attribute_counts() {
    let content = content(vec![
        io("eth0", "receive", 1),
        io("eth0", "transmit", 10),
        io("eth1", "receive", 100),
        io("eth1", "transmit", 1000),
    ]);
    let second = columns(&content);
    let reading = Reading::of_node(&second);
    let of = |with: &Attributes<'_>| reading.value(&catalogue::INTERFACE_IO, with);
    let (eth1, sent) = (("network.interface.name", "eth1"), ("network.io.direction", "transmit"));
    assert_eq!(of(&[eth1, sent]), Some(1000.0));
    assert_eq!(of(&[sent, eth1]), Some(1000.0), "in any order");
    assert_eq!(of(&[sent]), Some(1010.0), "what is left open is added up");
    assert_eq!(of(&[eth1]), Some(1100.0));
    assert_eq!(of(&[]), Some(1111.0));
    assert_eq!(of(&[("network.interface.name", "eth2")]), None, "missing is never zero");
    assert_eq!(of(&[("device", "eth1")]), None);
}

#[test]
fn what_is_derived_is_computed_on_reading() {
    let state = |state, n| gauge(&catalogue::TCP_CONNECTIONS, &[("network.connection.state", state)], n);
    let mode = |mode, ms| counter(&catalogue::CPU_TIME, &[("cpu.mode", mode)], ms);
    let of = |protocol| [("protocol", protocol)];
    let content = content(vec![
        gauge(&catalogue::MEMORY_LIMIT, &[], 1000.0),
        gauge(&catalogue::MEMORY_AVAILABLE, &[], 250.0),
        state("established", 7.0),
        state("time_wait", 2.0),
        state("listen", 5.0),
        gauge(&catalogue::TCP_IDLE, &[], 9.0),
        mode("user", 500),
        mode("idle", 1000),
        mode("iowait", 500),
        counter(&catalogue::REQUESTS, &of("http1"), 60),
        counter(&catalogue::REQUESTS, &of("grpc"), 40),
        counter(&catalogue::ERRORS, &of("http1"), 3),
        counter(&catalogue::ERRORS, &of("grpc"), 2),
        counter(&catalogue::TCP_RETRANSMITS, &[], 1),
        counter(&catalogue::TCP_SEGMENTS_SENT, &[], 0),
        gauge(&catalogue::MOUNT_LIMIT, &[("system.filesystem.mountpoint", "/")], 8.0),
        gauge(&catalogue::MOUNT_USAGE, &[("system.filesystem.mountpoint", "/")], 2.0),
    ]);
    let second = columns(&content);
    let reading = Reading::of_node(&second);
    let value = |metric, with: &Attributes<'_>| reading.value(metric, with);
    assert_eq!(value(&catalogue::MEMORY_USED, &[]), Some(750.0));
    assert_eq!(value(&catalogue::MEMORY_UTILIZATION, &[]), Some(0.75), "derived of derived");
    assert_eq!(value(&catalogue::TCP_OPEN, &[]), Some(9.0));
    assert_eq!(value(&catalogue::TCP_ACTIVE, &[]), Some(0.0), "never below zero");
    assert_eq!(value(&catalogue::CPU_BUSY, &[]), Some(0.25));
    assert_eq!(value(&catalogue::CPU_MODE_UTILIZATION, &[("cpu.mode", "iowait")]), Some(0.25));
    assert_eq!(value(&catalogue::ERROR_RATIO, &[]), Some(0.05));
    assert_eq!(value(&catalogue::ERROR_RATIO, &of("http1")), Some(0.05));
    assert_eq!(value(&catalogue::ERROR_RATIO, &of("http3")), None);
    assert_eq!(value(&catalogue::TCP_RETRANSMIT_RATIO, &[]), None, "nothing was sent");
    assert_eq!(value(&catalogue::SWAP_UTILIZATION, &[]), None);
    let root = [("system.filesystem.mountpoint", "/")];
    assert_eq!(value(&catalogue::MOUNT_UTILIZATION, &root), Some(0.25));
    assert_eq!(reading.derived_series(&catalogue::MOUNT_UTILIZATION), [root.to_vec()]);
    assert_eq!(reading.derived_series(&catalogue::MEMORY_UTILIZATION), [Vec::new()]);
    assert_eq!(reading.derived_series(&catalogue::CPU_MODE_UTILIZATION).len(), 3);
    assert!(reading.derived_series(&catalogue::SWAP_UTILIZATION).is_empty());
}

#[test]
fn statistics_over_nodes_say_what_is_known_and_no_more() {
    let node = |busy, limit, nanos| {
        content(vec![
            gauge(&catalogue::CPU_UTILIZATION, &[], busy),
            gauge(&catalogue::LOAD_5M, &[], busy),
            gauge(&catalogue::MEMORY_LIMIT, &[], limit),
            gauge(&catalogue::MEMORY_AVAILABLE, &[], 500.0),
            latency("grpc", nanos, 10),
            latency("http1", 1_000_000, 10),
        ])
    };
    let mut sums = Sums::default();
    for content in [node(0.2, 1000.0, 2_000_000), node(0.6, 3000.0, 4_000_000)] {
        sums.add_samples(&[], &content.samples).unwrap();
    }
    let reading = Reading::of_cells(sums.cells(&Group::cluster()));
    let of = |metric: &Metric, statistic| reading.statistic(metric.name, &[], statistic);
    let cpu = |statistic| of(&catalogue::CPU_UTILIZATION, statistic);
    assert_eq!(cpu(Statistic::Value), Some(0.4), "a share is the mean of the nodes");
    assert_eq!((cpu(Statistic::Sum), cpu(Statistic::Nodes)), (Some(0.8), Some(2.0)));
    assert_eq!((cpu(Statistic::Min), cpu(Statistic::Max)), (Some(0.2), Some(0.6)));
    assert!(cpu(Statistic::P99).is_some_and(|p99| (p99 - 0.6).abs() < 0.003), "{:?}", cpu(Statistic::P99));
    assert_eq!(of(&catalogue::LOAD_5M, Statistic::P99), None, "keeps no distribution");
    assert_eq!(of(&catalogue::MEMORY_LIMIT, Statistic::Value), Some(4000.0), "bytes add up");
    assert_eq!(of(&catalogue::MEMORY_USED, Statistic::Mean), Some(1500.0));
    assert_eq!(of(&catalogue::MEMORY_UTILIZATION, Statistic::Value), Some(0.75), "each byte weighs the same");
    assert_eq!(of(&catalogue::MEMORY_UTILIZATION, Statistic::Max), None);
    let duration = |with: &Attributes<'_>, statistic| reading.statistic("traffic.duration", with, statistic);
    assert_eq!(duration(&[], Statistic::Count), Some(40.0));
    assert_eq!(duration(&[("protocol", "grpc")], Statistic::Count), Some(20.0));
    assert!(duration(&[], Statistic::Mean).is_some_and(|mean| (mean - 0.002).abs() < 1e-12));
    assert_eq!(duration(&[], Statistic::Max), Some(0.004));
    assert_eq!(duration(&[], Statistic::Value), None);
    let both = reading.statistics("traffic.duration", &[], &[Statistic::Count, Statistic::P50, Statistic::P99]);
    assert_eq!(both[0], Some(40.0));
    assert!(both[1].is_some_and(|p50| (p50 - 0.001).abs() < 1e-5) && both[2].is_some_and(|p99| p99 > 0.0039));
}

#[test]
fn gauges_of_different_nodes_are_not_compared() {
    let mut sums = Sums::default();
    let limit = content(vec![gauge(&catalogue::MEMORY_LIMIT, &[], 100.0)]);
    let both =
        content(vec![gauge(&catalogue::MEMORY_LIMIT, &[], 100.0), gauge(&catalogue::MEMORY_AVAILABLE, &[], 50.0)]);
    sums.add_samples(&[], &both.samples).unwrap();
    sums.add_samples(&[], &limit.samples).unwrap();
    let reading = Reading::of_cells(sums.cells(&Group::cluster()));
    assert_eq!(reading.value(&catalogue::MEMORY_USED, &[]), None, "150 of 200 would be invented");
}

#[test]
fn every_chart_of_the_catalogue_is_read() {
    let samples: Vec<Sample> = METRICS
        .iter()
        .copied()
        .filter(|metric| metric.is_sent())
        .flat_map(|metric| {
            let mut charts: Vec<Vec<(&str, &str)>> =
                metric.charts.iter().map(|chart| chart.attributes.to_vec()).collect();
            if charts.iter().all(Vec::is_empty) {
                charts = vec![metric.attributes.iter().map(|key| (*key, "established")).collect()];
            }
            charts.retain(|with| with.len() == metric.attributes.len());
            charts.sort_unstable();
            charts.dedup();
            charts.into_iter().map(|with| match metric.kind {
                Kind::Counter => counter(metric, &with, 5),
                Kind::Gauge => gauge(metric, &with, 1.0),
                Kind::Histogram => histogram(metric, &with, 2_000_000, 3),
            })
        })
        .collect();
    let content = content(samples);
    let charted = Reading::of_node(&columns(&content)).charted(true);
    for (metric, chart) in catalogue::charts() {
        assert!(charted.contains_key(chart.name), "{} of {}", chart.name, metric.name);
    }
    assert!((charted["latency.p50"] - 2_000.0).abs() < 10.0, "microseconds: {}", charted["latency.p50"]);
    let of_cluster = Reading::of_node(&columns(&content)).charted(false);
    assert!(!of_cluster.contains_key("memory.free") && of_cluster.contains_key("memory.used_ratio"));
}

#[test]
fn every_number_is_charted_under_its_own_name() {
    let (direction, disk, state) = ("network.io.direction", "disk.io.direction", "system.memory.state");
    let content = content(vec![
        counter(&catalogue::NETWORK_IO, &[(direction, "receive")], 601),
        counter(&catalogue::NETWORK_IO, &[(direction, "transmit")], 602),
        counter(&catalogue::DISK_IO, &[(disk, "read")], 701),
        counter(&catalogue::DISK_IO, &[(disk, "write")], 702),
        counter(&catalogue::REQUESTS, &[("protocol", "http1")], 10),
        counter(&catalogue::REQUESTS, &[("protocol", "grpc")], 14),
        counter(&catalogue::ERRORS, &[("protocol", "grpc")], 7),
        gauge(&catalogue::TCP_HEALTH, &[("health", "healthy")], 120.0),
        gauge(&catalogue::TCP_HEALTH, &[("health", "warning")], 60.0),
        gauge(&catalogue::TCP_HEALTH, &[("health", "error")], 20.0),
        gauge(&catalogue::LOAD_1M, &[], 1.0),
        gauge(&catalogue::LOAD_5M, &[], 5.0),
        gauge(&catalogue::LOAD_15M, &[], 15.0),
        gauge(&catalogue::MEMORY_USAGE, &[(state, "application")], 504.0),
        gauge(&catalogue::MEMORY_USAGE, &[(state, "buffer_cache")], 503.0),
        gauge(&catalogue::MEMORY_USAGE, &[(state, "system")], 505.0),
        gauge(&catalogue::MEMORY_USAGE, &[(state, "free")], 506.0),
    ]);
    let charted = Reading::of_node(&columns(&content)).charted(true);
    let wanted = [
        ("network.received", 601.0),
        ("network.sent", 602.0),
        ("disk.read", 701.0),
        ("disk.written", 702.0),
        ("rps.http1", 10.0),
        ("rps.grpc", 14.0),
        ("rps.total", 24.0),
        ("errors.total", 7.0),
        ("connections.healthy", 120.0),
        ("connections.warning", 60.0),
        ("connections.error", 20.0),
        ("load.1m", 1.0),
        ("load.5m", 5.0),
        ("load.15m", 15.0),
        ("memory.application", 504.0),
        ("memory.buffer_cache", 503.0),
        ("memory.system", 505.0),
        ("memory.free", 506.0),
    ];
    assert_eq!(charted.len(), wanted.len(), "{charted:?}");
    for (column, value) in wanted {
        assert_eq!(charted.get(column), Some(&value), "{column}");
    }
}

#[test]
fn a_shortlist_reads_what_a_search_by_name_finds_and_forgets_who_is_gone() {
    let interner = Interner::default();
    let shortlists = Shortlists::default();
    let wanted = |name: &str| name == catalogue::INTERFACE_IO.name || name == catalogue::REQUESTS.name;
    let second = |tick: u32, interfaces: &[&str]| {
        let mut samples = vec![
            counter(&catalogue::REQUESTS, &[("protocol", "http")], u64::from(tick)),
            gauge(&catalogue::UPTIME, &[], 1.0),
        ];
        samples.extend(interfaces.iter().map(|name| io(name, "receive", u64::from(tick) + name.len() as u64)));
        Second::of_content(&interner, &Content { tick, samples, dropped: 0 }).0
    };
    let shown = |reading: Reading<'_>| reading.entries().iter().map(|one| format!("{one:?}")).collect::<Vec<_>>();
    for tick in 1..200 {
        // One whose interfaces change, and one of a kind that is gone after some time.
        let all = [vec!["eth1", "eth0"], if tick % 2 == 0 { vec!["lo", "wlan0"] } else { vec!["lo"] }];
        for interfaces in all.iter().take(if tick < 50 { 2 } else { 1 }) {
            let second = second(tick, interfaces);
            let listed = shown(shortlists.read(&second, wanted));
            assert_eq!(listed, shown(Reading::of_wanted(&second, wanted)), "in second {tick}");
            assert_eq!(listed.len(), 1 + interfaces.len());
        }
    }
    assert_eq!(shortlists.len(), 1, "what was last seen more than a minute ago takes no place");
}
