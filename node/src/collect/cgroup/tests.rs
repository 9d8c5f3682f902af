use std::path::Path;

use starling_proto::series::{Sample, Value};

use super::*;

struct Host {
    root: tempfile::TempDir,
    config: CollectConfig,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = CollectConfig { sysfs: root.path().into(), ..CollectConfig::default() };
        Self { config, root }
    }

    fn cgroup(&self) -> PathBuf {
        self.root.path().join("fs/cgroup")
    }

    fn put(&self, group: &str, file: &str, text: &str) {
        put(&self.cgroup().join(group), file, text);
    }
}

fn put(folder: &Path, file: &str, text: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(file), text).unwrap();
}

fn collect(collector: &mut dyn Collector, elapsed: u64) -> (Collected, Vec<(String, Value)>, u64) {
    let mut samples: Vec<Sample> = Vec::new();
    let mut sink = Sink::new(&mut samples);
    let collected = collector.collect(Duration::from_secs(elapsed), &mut sink).unwrap();
    let faults = sink.end().0;
    let short =
        |sample: &Sample| sample.series.to_string().replace("system.cgroup.", "").replace("system.cgroup.name=", "");
    (collected, samples.iter().map(|sample| (short(sample), sample.value.clone())).collect(), faults)
}

fn counter(name: &str, increment: u64) -> (String, Value) {
    (name.to_owned(), Value::Counter(increment))
}

fn gauge(name: &str, value: i64) -> (String, Value) {
    (name.to_owned(), Value::Gauge(value))
}

#[test]
fn processor_time_of_services_that_come_and_go() {
    let host = Host::new();
    let mut cpu = CgroupCpu::new(&host.config);
    assert_eq!(collect(&mut cpu, 1).0, Collected::Absent, "the old hierarchies");
    put(&host.cgroup(), "cgroup.controllers", "cpu io memory pids\n");
    host.put("system.slice/a.service", "cpu.stat", "usage_usec 1000\nuser_usec 1\nthrottled_usec 5\n");
    host.put("system.slice/b.service", "cpu.stat", "usage_usec x\n");
    fs::create_dir_all(host.cgroup().join("c.scope")).unwrap();
    let (collected, samples, faults) = collect(&mut cpu, 10);
    assert_eq!((collected, samples, faults), (Collected::Present, vec![gauge("system.services", 2)], 1));
    host.put("system.slice/a.service", "cpu.stat", "usage_usec 4000\nthrottled_usec 2\n");
    host.put("system.slice/b.service", "cpu.stat", "usage_usec 70\n");
    let (_, samples, faults) = collect(&mut cpu, 1);
    let of_a = [counter("cpu.time{name=a.service}", 3000), counter("cpu.throttled_time{name=a.service}", 0)];
    assert_eq!((&samples[..2], faults), (&of_a[..], 1), "one went back");
    fs::remove_dir_all(host.cgroup().join("system.slice/a.service")).unwrap();
    host.put("system.slice/b.service", "cpu.stat", "usage_usec 90\n");
    let (_, samples, _) = collect(&mut cpu, 1);
    assert_eq!(samples[0], counter("cpu.time{name=b.service}", 20));
    assert_eq!(collect(&mut cpu, 10).1.last(), Some(&gauge("system.services", 1)));
}

#[test]
fn those_without_a_name_are_one_together_and_the_busy_get_names() {
    let host = Host::new();
    put(&host.cgroup(), "cgroup.controllers", "cpu\n");
    let many = GROUPS_NAMED_MAX + 3;
    let put_all = |base: u64| {
        (0..many).for_each(|n| {
            let used = if n + 1 == many { base * 50 } else { base };
            host.put(&format!("s{n:03}.service"), "cpu.stat", &format!("usage_usec {used}\n"));
        });
    };
    let mut cpu = CgroupCpu::new(&host.config);
    put_all(0);
    collect(&mut cpu, 1);
    put_all(10);
    let (_, samples, _) = collect(&mut cpu, 1);
    assert_eq!(samples.len(), GROUPS_NAMED_MAX + 2, "the others and the number of services");
    assert!(samples.contains(&counter("cpu.time{name=_other}", 520)), "{samples:?}");
    put_all(20);
    let (_, samples, _) = collect(&mut cpu, 10);
    assert!(
        samples.contains(&counter(&format!("cpu.time{{name=s{:03}.service}}", many - 1), 500)),
        "the busiest has a name"
    );
    assert!(samples.contains(&counter("cpu.time{name=_other}", 30)), "{samples:?}");
}

#[test]
fn memory_disks_and_processes() {
    let host = Host::new();
    put(&host.cgroup(), "cgroup.controllers", "memory\n");
    let group = "system.slice/db.service";
    host.put(group, "memory.current", "4096\n");
    host.put(group, "memory.max", "max\n");
    host.put(group, "memory.events", "low 0\noom 1\noom_kill 1\n");
    host.put(group, "pids.current", "7\n");
    host.put(
        group,
        "io.stat",
        "8:0 rbytes=1000 wbytes=10 rios=1\n253:0 rbytes=1000 wbytes=10\n../x rbytes=5 wbytes=x\n",
    );
    fs::create_dir_all(host.root.path().join("dev/block/253:0/slaves/sda")).unwrap();
    let mut cgroup = Cgroup::new(&host.config);
    let (_, samples, faults) = collect(&mut cgroup, 5);
    let levels = [gauge("memory.usage{name=db.service}", 4096), gauge("processes{name=db.service}", 7)];
    assert_eq!((&samples[..2], faults), (&levels[..], 0));
    host.put(group, "memory.max", "8192\n");
    host.put(group, "memory.events", "oom_kill 3\n");
    host.put(group, "io.stat", "8:0 rbytes=1500 wbytes=5\n253:0 rbytes=1500 wbytes=99\n");
    let (_, samples, faults) = collect(&mut cgroup, 5);
    assert!(samples.contains(&gauge("memory.limit{name=db.service}", 8192)));
    assert!(samples.contains(&counter("memory.oom_kills{name=db.service}", 2)));
    assert!(samples.contains(&counter("io{disk.io.direction=read,name=db.service}", 495)), "{samples:?}");
    assert_eq!(faults, 1, "what was written went back");
    host.put(group, "memory.current", "-1\n");
    host.put(group, "pids.current", "");
    let (_, samples, _) = collect(&mut cgroup, 5);
    assert!(samples.iter().all(|(name, _)| !name.starts_with("memory.usage") && !name.starts_with("processes")));
}
