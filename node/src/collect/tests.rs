use std::{collections::HashSet, fs};

use starling_proto::{series::Value, v1::CollectorTrouble};

use super::*;

/// Longer than any test machine stands still.
const LONG: Duration = Duration::from_secs(60);

fn value(samples: &[Sample], name: &str) -> Option<Value> {
    samples.iter().find(|sample| sample.series.name() == name).map(|sample| sample.value.clone())
}

/// The collectors with this value of a series that each has.
fn with(samples: &[Sample], metric: &catalogue::Metric, value: &Value) -> Vec<String> {
    samples
        .iter()
        .filter(|sample| sample.series.is(metric) && sample.value == *value)
        .filter_map(|sample| sample.series.attribute("collector").map(str::to_owned))
        .collect()
}

/// A host with a file for each collector, without TCP sockets.
fn host() -> (tempfile::TempDir, CollectConfig) {
    let root = tempfile::tempdir().unwrap();
    let proc = root.path().join("proc");
    for (name, text) in [
        ("stat", "cpu0 0 0 0 100\n"),
        ("loadavg", "0.10 0.20 0.30 1/20 300\n"),
        ("meminfo", "MemTotal: 1000 kB\nMemFree: 100 kB\n"),
        ("uptime", "100.00 0.00\n"),
        ("diskstats", ""),
        ("net/dev", "a\nb\n"),
        ("net/snmp", "Tcp: ActiveOpens PassiveOpens AttemptFails EstabResets OutSegs RetransSegs\nTcp: 1 2 3 4 5 6\n"),
        ("self/statm", "765 390 300 5 0 100 0\n"),
        ("self/mountinfo", "1 0 8:1 / / rw - ext4 a rw\n"),
    ] {
        let path = proc.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let sysfs = root.path().join("sys");
    let config = CollectConfig {
        procfs: proc,
        sysfs,
        rootfs: root.path().into(),
        tcp: false,
        source: Source::Proc,
        fine_hz: 0,
        cpu_budget: None,
        collectors: Switches::default(),
    };
    (root, config)
}

#[test]
fn this_host_gives_sound_samples() {
    let mut collectors = Collectors::new(&CollectConfig::default());
    let first = collectors.collect(Duration::ZERO, LONG).samples;
    assert!(value(&first, "system.cpu.utilization").is_none(), "the first call sets baselines");
    let Collection { samples, late } = collectors.collect(Duration::from_secs(1), LONG);
    assert!(late.is_empty(), "{late:?}");
    let mut seen = HashSet::new();
    for sample in &samples {
        assert!(seen.insert(sample.series.clone()), "{} twice", sample.series);
        match sample.value {
            Value::Counter(increment) => assert!(increment <= limits::COUNTER_INCREMENT_MAX),
            Value::Gauge(gauge) => assert!((0..=limits::GAUGE_MAGNITUDE_MAX).contains(&gauge)),
            Value::Histogram(ref histogram) => assert!(!histogram.is_empty()),
        }
    }
    assert!(collectors.faults().is_empty(), "{:?}", collectors.faults());
    assert_eq!(with(&samples, &catalogue::COLLECT_FAILURES, &Value::Counter(0)).len(), TABLE.len());
    assert_eq!(with(&samples, &catalogue::COLLECT_UP, &Value::Gauge(1)).len(), TABLE.len());
    for name in ["system.memory.limit", "system.load_average.1m", "starling.node.memory.usage", "system.uptime"] {
        assert!(value(&samples, name).is_some(), "{name}");
    }
}

#[test]
fn what_every_host_has_is_missed_and_what_some_have_is_not() {
    let root = tempfile::tempdir().unwrap();
    let config = CollectConfig {
        procfs: root.path().join("proc"),
        sysfs: root.path().join("sys"),
        rootfs: root.path().into(),
        tcp: false,
        source: Source::Proc,
        fine_hz: 0,
        cpu_budget: None,
        collectors: Switches::default(),
    };
    let mut collectors = Collectors::new(&config);
    collectors.collect(Duration::ZERO, LONG);
    let samples = collectors.collect(Duration::from_secs(1), LONG).samples;
    assert!(samples.iter().all(|sample| sample.series.name().starts_with("starling.node.")), "{samples:?}");
    let missed = ["cpu", "load", "memory", "uptime"];
    assert_eq!(with(&samples, &catalogue::COLLECT_FAILURES, &Value::Counter(1)), missed);
    assert_eq!(with(&samples, &catalogue::COLLECT_UP, &Value::Gauge(0)), missed);
    let faults = collectors.faults();
    assert_eq!(faults.iter().map(|fault| fault.collector.as_str()).collect::<Vec<_>>(), missed);
    let fault = &faults[0];
    assert_eq!(fault.trouble(), CollectorTrouble::Failed);
    assert!(fault.reason.ends_with("proc/stat does not exist") && fault.since_unix_s > 1_700_000_000, "{fault:?}");
}

#[test]
fn what_reading_costs_too_much_for_is_left_out_by_name_and_comes_back() {
    let (_root, mut config) = host();
    (config.fine_hz, config.cpu_budget) = (10, Some(Duration::from_nanos(1)));
    let mut collectors = Collectors::new(&config);
    let second = |collectors: &mut Collectors| collectors.collect(Duration::from_secs(1), LONG).samples;
    let spared = |collectors: &Collectors| {
        let faults = collectors.faults();
        faults
            .iter()
            .filter(|fault| fault.reason.contains("cpu_budget_ms"))
            .map(|fault| fault.collector.clone())
            .collect()
    };
    for _ in 0..10 {
        assert_eq!(spared(&collectors), Vec::<String>::new());
        second(&mut collectors);
    }
    second(&mut collectors);
    assert_eq!(spared(&collectors), ["fine"]);
    assert!(
        collectors.faults()[0].reason.starts_with("left out: reading this host took "),
        "{:?}",
        collectors.faults()
    );
    for _ in 0..20 {
        second(&mut collectors);
    }
    let all: Vec<String> = spared(&collectors);
    assert_eq!(all.len(), 10, "{all:?}");
    let samples = second(&mut collectors);
    assert_eq!(with(&samples, &catalogue::COLLECT_UP, &Value::Gauge(0)).len(), all.len());
    assert!(value(&samples, "system.load_average.1m").is_some(), "what the host as a whole is about stays");
    assert!(!samples.iter().any(|sample| sample.series.name().ends_with(".fine")));
    // With room for all, one step at a time.
    collectors.budget = Budget::new(None);
    second(&mut collectors);
    assert_eq!(spared(&collectors), Vec::<String>::new());
    assert_eq!(with(&second(&mut collectors), &catalogue::COLLECT_UP, &Value::Gauge(0)), Vec::<String>::new());
}

#[test]
fn one_failure_stops_no_other_and_ends() {
    let (_root, config) = host();
    fs::remove_file(config.procfs.join("stat")).unwrap();
    fs::create_dir(config.procfs.join("stat")).unwrap(); // reading it fails
    fs::write(config.procfs.join("meminfo"), "rubbish\n").unwrap();
    let mut collectors = Collectors::new(&config);
    let samples = collectors.collect(Duration::ZERO, LONG).samples;
    assert_eq!(value(&samples, "system.load_average.1m"), Some(Value::Gauge(10)));
    assert_eq!(with(&samples, &catalogue::COLLECT_FAILURES, &Value::Counter(1)), ["cpu", "memory"]);
    fs::write(config.procfs.join("meminfo"), "MemTotal: 10 kB\nSwapFree: wild kB\n").unwrap();
    let samples = collectors.collect(Duration::from_secs(1), LONG).samples;
    assert_eq!(with(&samples, &catalogue::COLLECT_UP, &Value::Gauge(0)), ["cpu"]);
    let faults = collectors.faults();
    assert_eq!((faults.len(), faults[1].trouble()), (2, CollectorTrouble::Partial), "{faults:?}");
    assert_eq!(faults[1].reason, "meminfo: SwapFree is not a number of bytes");
    fs::remove_dir(config.procfs.join("stat")).unwrap();
    fs::write(config.procfs.join("stat"), "cpu0 0 0 0 1\n").unwrap();
    fs::write(config.procfs.join("meminfo"), "MemTotal: 10 kB\n").unwrap();
    collectors.collect(Duration::from_secs(1), LONG);
    assert!(collectors.faults().is_empty(), "{:?}", collectors.faults());
}

#[test]
fn a_file_that_hangs_blinds_its_collector_only_and_comes_back() {
    let (_root, config) = host();
    let pipe = config.procfs.join("loadavg");
    fs::remove_file(&pipe).unwrap();
    // Opening a pipe that nobody writes to does not return.
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let mut collectors = Collectors::new(&config);
    let limit = Duration::from_millis(400);
    let Collection { samples, late } = collectors.collect(Duration::ZERO, limit);
    assert_eq!(late, ["load"]);
    for name in ["system.memory.limit", "system.uptime", "starling.node.memory.usage", "system.filesystem.limit"] {
        assert!(value(&samples, name).is_some(), "{name}");
    }
    assert!(value(&samples, "system.load_average.1m").is_none());
    assert_eq!(with(&samples, &catalogue::COLLECT_UP, &Value::Gauge(0)), ["load"]);

    // It is not waited for, and not started, a second time; in the end it is called by its name.
    let began = Instant::now();
    while collectors.faults().is_empty() {
        let round = Instant::now();
        let second = collectors.collect(Duration::from_secs(1), LONG);
        let down = with(&second.samples, &catalogue::COLLECT_UP, &Value::Gauge(0));
        assert_eq!((second.late, down), (vec!["load"], vec!["load".to_owned()]));
        assert!(round.elapsed() < LONG && began.elapsed() < LONG);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert_eq!(
        value(&collectors.collect(Duration::from_secs(1), LONG).samples, "system.uptime"),
        Some(Value::Gauge(100))
    );
    let fault = &collectors.faults()[0];
    assert_eq!((fault.collector.as_str(), fault.trouble()), ("load", CollectorTrouble::Hanging));
    assert!(fault.reason.ends_with("proc/loadavg does not return"), "{}", fault.reason);
    assert_eq!(collectors.crew.out().len(), 1, "one thread hangs, however long it takes");

    let aside = pipe.with_extension("aside");
    fs::rename(&pipe, &aside).unwrap();
    fs::write(&pipe, "0.70 0.20 0.30 1/20 300\n").unwrap();
    fs::write(&aside, "").unwrap();
    let samples = loop {
        let samples = collectors.collect(Duration::from_secs(1), LONG).samples;
        if collectors.faults().is_empty() {
            break samples;
        }
        assert!(began.elapsed() < LONG, "{:?}", collectors.faults());
        std::thread::park_timeout(Duration::from_millis(5));
    };
    assert_eq!(value(&samples, "system.load_average.1m"), Some(Value::Gauge(70)));
}

#[test]
fn what_is_switched_off_is_absent_and_no_fault() {
    let (_root, mut config) = host();
    fs::remove_file(config.procfs.join("stat")).unwrap();
    config.collectors.cpu = false;
    config.collectors.filesystem = false;
    let mut collectors = Collectors::new(&config);
    let samples = collectors.collect(Duration::ZERO, LONG).samples;
    assert!(collectors.faults().is_empty());
    assert_eq!(with(&samples, &catalogue::COLLECT_UP, &Value::Gauge(1)).len(), TABLE.len() - 4);
    assert!(value(&samples, "system.filesystem.limit").is_none());
}

#[test]
fn the_rows_of_the_table_are_told_apart() {
    let names: HashSet<_> = TABLE.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), TABLE.len());
    assert!(TABLE.len() <= limits::COLLECTOR_FAULTS_MAX);
    let longest = TABLE.iter().map(|row| row.name.len()).max();
    assert!(longest <= Some(limits::COLLECTOR_NAME_LEN_MAX));
}

#[test]
fn a_host_that_cannot_be_read_is_noticed() {
    let (root, config) = host();
    assert!(readable(&config.procfs).is_ok());
    let error = readable(&root.path().join("nowhere")).unwrap_err();
    assert!(error.to_string().ends_with("nowhere/stat does not exist"), "{error}");
}
