//! The parts of a view, as far as it is counted how many nodes are behind each.

use super::{
    ACTIVE, CPU_UTILIZATION, DISK_IO, DURATION, ERRORS, FILESYSTEM_LIMIT, MEMORY_LIMIT, Metric, NETWORK_IO, REQUESTS,
    TCP_CONNECTIONS,
};

/// A part of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// How busy the processors are.
    Cpu,
    /// Memory.
    Memory,
    /// What disks read and write.
    Disk,
    /// The size of filesystems.
    Filesystem,
    /// What network interfaces carry.
    Network,
    /// TCP sockets.
    Connections,
    /// Requests of applications, were there any or not.
    Traffic,
    /// The latency of at least one request.
    Latency,
}

/// A set of [`Section`]s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SectionSet(u8);

impl Section {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Cpu,
        Self::Memory,
        Self::Disk,
        Self::Filesystem,
        Self::Network,
        Self::Connections,
        Self::Traffic,
        Self::Latency,
    ];
}

impl SectionSet {
    /// Nothing.
    pub const NONE: Self = Self(0);

    const fn of(sections: &[Section]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < sections.len() {
            bits |= 1 << sections[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// What a node has reported that sent a value of `metric`.
    ///
    /// Of each section the value without which it cannot be read: counters alone, as a daemon sends them when it stops,
    /// are no report of processors, memory or sockets.
    #[must_use]
    pub fn of_metric(metric: &Metric) -> Self {
        let is = |other: &Metric| metric.name == other.name;
        if is(&CPU_UTILIZATION) {
            Self::of(&[Section::Cpu])
        } else if is(&MEMORY_LIMIT) {
            Self::of(&[Section::Memory])
        } else if is(&DISK_IO) {
            Self::of(&[Section::Disk])
        } else if is(&FILESYSTEM_LIMIT) {
            Self::of(&[Section::Filesystem])
        } else if is(&NETWORK_IO) {
            Self::of(&[Section::Network])
        } else if is(&TCP_CONNECTIONS) {
            Self::of(&[Section::Connections])
        } else if is(&DURATION) {
            Self::of(&[Section::Traffic, Section::Latency])
        } else if is(&REQUESTS) || is(&ERRORS) || is(&ACTIVE) {
            Self::of(&[Section::Traffic])
        } else {
            Self::NONE
        }
    }

    /// What is in either of them.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What a histogram without values reports: no latency.
    #[must_use]
    pub const fn without_values(self) -> Self {
        Self(self.0 & !Self::of(&[Section::Latency]).0)
    }

    /// Whether `section` is in it.
    #[must_use]
    pub const fn has(self, section: Section) -> bool {
        self.0 & 1 << section as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_have_a_place_each() {
        for (at, section) in Section::ALL.into_iter().enumerate() {
            let set = SectionSet::of(&[section]);
            assert_eq!(section as usize, at);
            assert_eq!(Section::ALL.into_iter().filter(|other| set.has(*other)).collect::<Vec<_>>(), [section]);
        }
    }

    #[test]
    fn an_empty_histogram_is_traffic_without_latency() {
        let set = SectionSet::of_metric(&DURATION);
        assert!(set.has(Section::Traffic) && set.has(Section::Latency));
        assert!(set.without_values().has(Section::Traffic) && !set.without_values().has(Section::Latency));
        assert_eq!(
            SectionSet::of_metric(&super::super::CPU_TIME),
            SectionSet::NONE,
            "a counter of a section is not it"
        );
        let both = SectionSet::of_metric(&MEMORY_LIMIT).and(SectionSet::of_metric(&CPU_UTILIZATION));
        assert!(both.has(Section::Memory) && both.has(Section::Cpu) && !both.has(Section::Disk));
    }
}
