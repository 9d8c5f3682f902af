//! Both sources read this host within the same second, and must agree.

use std::{collections::HashMap, time::Instant};

use starling_proto::series::Value;

use super::super::{CollectConfig, Collectors, Source};
use crate::collect::Duration;

/// Longer than any test machine stands still.
const LONG: Duration = Duration::from_secs(60);

/// One value of each series by its name, over the second before.
fn both() -> [HashMap<String, Value>; 2] {
    let of = |source| {
        let config = CollectConfig { source, fine_hz: 0, tcp: false, ..CollectConfig::default() };
        Collectors::new(&config)
    };
    let mut sources = [of(Source::Proc), of(Source::Portable)];
    sources.iter_mut().for_each(|collectors| drop(collectors.collect(Duration::ZERO, LONG)));
    let begun = Instant::now();
    // Processors that are busy, so that there is something to agree on.
    while begun.elapsed() < Duration::from_secs(1) {
        std::hint::spin_loop();
    }
    sources.map(|mut collectors| {
        let samples = collectors.collect(Duration::from_secs(1), LONG).samples;
        samples.into_iter().map(|sample| (sample.series.to_string(), sample.value)).collect()
    })
}

fn number(values: &HashMap<String, Value>, name: &str) -> Option<f64> {
    match values.get(name)? {
        Value::Gauge(value) => Some(*value as f64),
        Value::Counter(increment) => Some(*increment as f64),
        Value::Histogram(_) => None,
    }
}

#[test]
fn the_portable_source_agrees_with_proc() {
    // What is read a moment later has changed a little; what does not change must be the same.
    let exact = ["system.cpu.logical.count", "system.memory.limit", "system.paging.limit", "system.load_average.15m"];
    // Of the larger of the two. sysinfo counts what filesystems reserve for root as used, `/proc` as df does: 10 % of the whole.
    let near = [("system.memory.available", 0.10), ("system.uptime", 0.01), ("system.filesystem.limit", 0.25)];
    // Fixed point of shares: 15 of 100, for the two seconds are not the same one.
    let shares = [("system.cpu.utilization", 1_500.0)];
    let agree = |[proc, portable]: &[HashMap<String, Value>; 2]| {
        let pair = |name: &str| Some((number(proc, name)?, number(portable, name)?));
        let mut differ = Vec::new();
        for name in exact {
            differ.extend(pair(name).is_none_or(|(a, b)| a != b).then(|| format!("{name} {:?}", pair(name))));
        }
        for (name, share) in near {
            let off = |(a, b): (f64, f64)| (a - b).abs() > a.max(b) * share;
            differ.extend(pair(name).is_some_and(off).then(|| format!("{name} {:?}", pair(name))));
        }
        for (name, most) in shares {
            let off = |(a, b): (f64, f64)| (a - b).abs() > most;
            differ.extend(pair(name).is_none_or(off).then(|| format!("{name} {:?}", pair(name))));
        }
        differ
    };
    // A machine that is busy with other tests may change between the two reads: one of some tries has to agree.
    let mut differ = Vec::new();
    for _ in 0..5 {
        differ = agree(&both());
        if differ.is_empty() {
            break;
        }
    }
    assert!(differ.is_empty(), "{differ:?}");
}

#[test]
fn what_is_not_portable_is_absent_and_no_fault() {
    let config = CollectConfig { source: Source::Portable, tcp: true, ..CollectConfig::default() };
    let mut collectors = Collectors::new(&config);
    collectors.collect(Duration::ZERO, LONG);
    let samples = collectors.collect(Duration::from_secs(1), LONG).samples;
    assert!(collectors.faults().is_empty(), "{:?}", collectors.faults());
    let has = |name: &str| samples.iter().any(|sample| sample.series.name() == name);
    for name in
        ["system.cpu.utilization", "system.memory.limit", "system.process.command.cpu.time", "starling.node.cpu.time"]
    {
        assert!(has(name), "{name}");
    }
    for name in ["system.pressure.time", "system.tcp.opened", "system.cpu.utilization.fine", "system.tcp.connections"] {
        assert!(!has(name), "{name}");
    }
}
