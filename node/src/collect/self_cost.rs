//! What the daemon itself costs: processor time by the process's own clock (nanoseconds, where `/proc/self/stat` has
//! hundredths of a second), resident memory from `/proc/self/statm`.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    kept::{KeptFile, Shape},
    sink::{Baseline, Sink},
    text,
};

/// The collector.
pub(super) struct SelfCost {
    statm: KeptFile,
    page_bytes: u64,
    cpu_us: Baseline,
    cpu_time: Series,
    memory: Series,
}

impl SelfCost {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            statm: KeptFile::new(config.procfs.join("self/statm"), Shape::Single),
            page_bytes: rustix::param::page_size() as u64,
            cpu_us: Baseline::default(),
            cpu_time: Series::of(&catalogue::DAEMON_CPU_TIME, &[]),
            memory: Series::of(&catalogue::DAEMON_MEMORY, &[]),
        }
    }
}

impl Collector for SelfCost {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        sink.counter(&self.cpu_time, &mut self.cpu_us, cpu_us());
        if let Some(statm) = self.statm.read()? {
            let pages = resident_pages(statm)
                .ok_or(CollectError::Malformed { file: "self/statm", what: "the resident pages" })?;
            sink.gauge(&self.memory, pages.saturating_mul(self.page_bytes));
        }
        Ok(Collected::Present)
    }
}

/// Processor time of the thread that asks.
pub(super) fn of_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Processor time of this process since it started, microseconds.
fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1_000
}

fn resident_pages(statm: &[u8]) -> Option<u64> {
    text::number(text::words(text::lines(statm).next()?).nth(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_and_odd() {
        assert_eq!(resident_pages(b"765 390 300 5 0 100 0\n"), Some(390));
        for bad in ["", "765\n", "765 x\n"] {
            assert_eq!(resident_pages(bad.as_bytes()), None, "{bad:?}");
        }
        assert!(cpu_us() > 0);
    }
}
