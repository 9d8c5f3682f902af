//! How the collectors read.

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
        /// mean of a second hides. Each costs about 60 us of one processor. 0 does without.
        pub fine_hz: usize = 10, kind::number(0..=FINE_HZ_MAX);
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
