//! How fine seconds are kept.

use std::fmt;

/// The length of the steps in which something is kept, finest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Every second.
    Second,
    /// Ten seconds.
    TenSeconds,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl Tier {
    /// All of them, finest first.
    pub const ALL: [Self; 4] = [Self::Second, Self::TenSeconds, Self::Minute, Self::Hour];

    /// Seconds of a step.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::TenSeconds => 10,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    /// Seconds of a block as it is first written, on the grid of Unix time.
    #[must_use]
    pub const fn block_seconds(self) -> u32 {
        match self {
            Self::Second => 300,
            Self::TenSeconds | Self::Minute | Self::Hour => 3_600,
        }
    }

    /// "1s", "10s", "1m" or "1h".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "1s",
            Self::TenSeconds => "10s",
            Self::Minute => "1m",
            Self::Hour => "1h",
        }
    }

    /// The tier called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }

    /// Its number in bytes and keys, 0 for the finest.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Second => 0,
            Self::TenSeconds => 1,
            Self::Minute => 2,
            Self::Hour => 3,
        }
    }

    /// The tier of a number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.code() == code)
    }

    /// The next coarser one, which is made of steps of this one.
    #[must_use]
    pub const fn coarser(self) -> Option<Self> {
        match self {
            Self::Second => Some(Self::TenSeconds),
            Self::TenSeconds => Some(Self::Minute),
            Self::Minute => Some(Self::Hour),
            Self::Hour => None,
        }
    }

    /// The start of the step that holds `tick`.
    #[must_use]
    pub const fn step_of(self, tick: u32) -> u32 {
        tick - tick % self.seconds()
    }

    /// Whether the histograms of single nodes are kept with one significant digit instead of two.
    #[must_use]
    pub const fn coarse_node_histograms(self) -> bool {
        matches!(self, Self::Minute | Self::Hour)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tier_is_made_of_whole_steps_of_the_finer_one() {
        for tier in Tier::ALL {
            assert_eq!((Tier::parse(tier.name()), Tier::from_code(tier.code())), (Some(tier), Some(tier)));
            assert_eq!(tier.block_seconds() % tier.seconds(), 0);
            if let Some(coarser) = tier.coarser() {
                assert!(coarser > tier && coarser.seconds() % tier.seconds() == 0);
            }
        }
        assert_eq!((Tier::parse("2s"), Tier::from_code(4)), (None, None));
        assert_eq!(Tier::Minute.step_of(119), 60);
    }
}
