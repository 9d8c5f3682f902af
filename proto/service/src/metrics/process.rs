//! Figures about this process, read when they are asked for. Names of the Prometheus client libraries, so that every
//! ready-made dashboard and alert finds them.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// Reads `/proc/self` and asks the kernel at every scrape.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let counter = ConstCounter::new(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9);
        let help = "Processor time used, user and system.";
        counter.encode(encoder.encode_descriptor(
            "process_cpu",
            help,
            Some(&Unit::Seconds),
            counter.metric_type(),
        )?)?;
        let figures = [
            ("process_resident_memory", "Resident memory.", Some(Unit::Bytes), resident_bytes()),
            ("process_open_fds", "Open file descriptors.", None, open_descriptors()),
            ("process_max_fds", "Most file descriptors that may be open.", None, descriptors_max()),
            ("process_start_time", "Start of the process, since the Unix epoch.", Some(Unit::Seconds), started()),
        ];
        for (name, help, unit, value) in figures {
            // Without a value there is no line: missing is not zero.
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}

/// proc_pid_statm(5): resident pages are the second field.
fn resident_bytes() -> Option<f64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages as f64 * page_size() as f64)
}

fn open_descriptors() -> Option<f64> {
    // One of them is the listing itself.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn descriptors_max() -> Option<f64> {
    getrlimit(Resource::Nofile).current.map(|limit| limit as f64)
}

/// proc_pid_stat(5): field 22 counts clock ticks since boot; proc_stat(5): `btime` is the boot.
fn started() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Fields are counted behind the name, which may hold anything; the next one is the third.
    let ticks: u64 = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot as f64 + ticks as f64 / clock_ticks_per_second() as f64)
}
