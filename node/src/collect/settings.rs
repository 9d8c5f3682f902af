//! How the collectors read.

use starling_service::settings::kind;

/// Most looks a second of the fine grain: the kernel counts processor time in hundredths of a second.
const FINE_HZ_MAX: usize = 100;

starling_service::settings! {
    /// How the host is read, beside what is read.
    pub struct CollectSettings {
        /// Looks a second at processors, run queue, pressure, disks and network, kept as histograms of the second: what a
        /// mean of a second hides. Each costs about 60 us of one processor. 0 does without.
        pub fine_hz: usize = 10, kind::number(0..=FINE_HZ_MAX);
    }
}
