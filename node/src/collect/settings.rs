//! How the collectors read.

use std::time::Duration;

use starling_service::settings::kind::{self, Word};

/// Most looks a second of the fine grain: the kernel counts processor time in hundredths of a second.
const FINE_HZ_MAX: usize = 100;

starling_service::settings! {
    /// How the host is read, beside what is read.
    pub struct CollectSettings {
        /// What the host is read through: proc, by files of procfs and sysfs that stay open, or portable, by a library that knows
        /// other systems as well, says less (no modes of processor time, no counters of TCP, nothing that only Linux has) and
        /// costs more. Portable ignores procfs, sysfs and rootfs.
        pub source: Source = Source::Proc, kind::word();
        /// Looks a second at processors, run queue, pressure, disks and network, kept as histograms of the second: what a
        /// mean of a second hides. Each costs about 0.1 ms of one processor. 0 does without.
        pub fine_hz: usize = 10, kind::number(0..=FINE_HZ_MAX);
        /// Milliseconds of one processor that reading this host may take in a second, over ten seconds; usual are two to five. Beyond
        /// it detail is left out, and named where a collector that fails is: first the fine grain, then processes, then cgroups,
        /// sockets, sensors and graphics. It comes back when there is room. 0 sets no bound.
        pub cpu_budget_ms: usize = 50, kind::number_of("ms", 0..=1_000);
    }
}

impl CollectSettings {
    /// The bound as a time; `None` for none.
    #[must_use]
    pub fn cpu_budget(&self) -> Option<Duration> {
        (self.cpu_budget_ms > 0).then(|| Duration::from_millis(self.cpu_budget_ms as u64))
    }
}

/// What the host is read through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Source {
    /// `/proc` and `/sys`, by files kept open.
    #[default]
    Proc,
    /// sysinfo, which knows other systems than Linux as well.
    Portable,
}

impl Word for Source {
    const ALL: &'static [(&'static str, Self)] = &[("proc", Self::Proc), ("portable", Self::Portable)];
}
