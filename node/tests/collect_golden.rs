//! The collectors from outside: two snapshots of one host, a second apart, against everything they make of them; and
//! what they keep open.
//!
//! `tests/fixtures/proc-two-ticks/{first,second}` and `sys-two-ticks` are a host with, on purpose: a core that goes
//! offline, `iowait` that goes back, a disk whose counters were reset, a disk that appears, a line of rubbish,
//! partitions, stacked disks, a bridge with its `veth` pair, counters near 2^64, mounts that are not UTF-8, bound twice,
//! below a network filesystem or in a container. `STARLING_BLESS=1` writes the expected text again.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its way to fail")]

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use starling_node::{CollectConfig, Collectors, Switches, host_facts};
use starling_proto::{
    catalogue,
    series::{Sample, Value},
};

/// Longer than any test machine stands still.
const LONG: Duration = Duration::from_secs(60);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Copies a tree over another: files that are there keep their identity and get the new content, as `/proc` does.
fn lay_over(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            lay_over(&entry.path(), &target);
        } else {
            fs::write(&target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// One line per sample, sorted. Values that belong to the machine the test runs on are replaced by a word.
fn reported(samples: &[Sample]) -> String {
    let mut lines: Vec<String> = samples
        .iter()
        .map(|sample| {
            let series = &sample.series;
            let value = match sample.value {
                _ if series.name().starts_with("system.filesystem.") => "<size>".to_owned(),
                _ if series.is(&catalogue::COLLECT_DURATION) || series.is(&catalogue::DAEMON_CPU_TIME) => {
                    "<time>".to_owned()
                }
                Value::Counter(increment) => decimal(increment, series.scale()),
                Value::Gauge(value) => decimal(value.try_into().unwrap(), series.scale()),
                Value::Histogram(_) => panic!("no collector gives histograms"),
            };
            format!("{series} {} {value} {}\n", series.kind().as_str(), series.unit())
        })
        .collect();
    lines.sort();
    lines.concat()
}

fn decimal(fixed: u64, scale: u8) -> String {
    let unit = 10u64.pow(scale.into());
    if scale == 0 {
        return fixed.to_string();
    }
    format!("{}.{:0width$}", fixed / unit, fixed % unit, width = scale.into())
}

#[test]
fn two_ticks() {
    let root = tempfile::tempdir().unwrap();
    let config = CollectConfig {
        procfs: root.path().join("proc"),
        sysfs: root.path().join("sys"),
        rootfs: root.path().join("root"),
        tcp: false,
        // By a clock of its own: its looks have golden tests beside them.
        fine_hz: 0,
        cpu_budget: None,
        // Asked of a socket of this machine, which may have it.
        collectors: Switches { timekeeping: false, ..Switches::default() },
        ..CollectConfig::default()
    };
    lay_over(&fixtures().join("root-two-ticks"), &config.rootfs);
    lay_over(&fixtures().join("sys-two-ticks"), &config.sysfs);
    lay_over(&fixtures().join("proc-two-ticks/first"), &config.procfs);
    for mount in [&b"mnt/with blank"[..], b"mnt/\xff\xfe", b"srv/bind", b"mnt/network/below"] {
        fs::create_dir_all(config.rootfs.join(OsStr::from_bytes(mount))).unwrap();
    }

    let mut collectors = Collectors::new(&config);
    let mut text = String::new();
    writeln!(text, "# host facts\n{:#?}\n\n# first tick", host_facts(&config)).unwrap();
    text += &reported(&collectors.collect(Duration::ZERO, LONG).samples);
    lay_over(&fixtures().join("proc-two-ticks/second"), &config.procfs);
    text += "\n# second tick\n";
    text += &reported(&collectors.collect(Duration::from_secs(1), LONG).samples);

    starling_service::generated::is_current(&fixtures().join("two-ticks.txt"), &text).unwrap();
}

#[test]
fn descriptors_do_not_leak() {
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let mut collectors = Collectors::new(&CollectConfig::default());
    // Twice, so that the files and the socket are open.
    collectors.collect(Duration::ZERO, LONG);
    collectors.collect(Duration::from_secs(1), LONG);
    let before = descriptors();
    for _ in 0..100 {
        collectors.collect(Duration::from_secs(11), LONG);
    }
    // The other test of this process may have some open meanwhile; a leak would be a hundred.
    let after = descriptors();
    assert!(after < before + 50, "{before} descriptors became {after}");
}
