//! Why frames are lost, and how many were.

use std::fmt;

/// Why a frame was cut and will never be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LossReason {
    /// The ring of unacknowledged frames was full: the oldest went.
    RingFull,
    /// The queue between the sampler and the uplink was full: the newest went.
    QueueFull,
    /// The aggregator no longer takes a second this old.
    TooLate,
    /// The aggregator's clock says that the second is still to come.
    TooEarly,
    /// The frame breaks a limit, by our check or by the aggregator's.
    Invalid,
    /// The encoded frame is longer than a message may be.
    TooLarge,
    /// Its second is not after the one before.
    OutOfOrder,
    /// The program ended before an aggregator had acknowledged the frame.
    Shutdown,
    /// It was on the disk alone, and the disk does not give it back.
    Unreadable,
}

impl LossReason {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 9] = [
        Self::RingFull,
        Self::QueueFull,
        Self::TooLate,
        Self::TooEarly,
        Self::Invalid,
        Self::TooLarge,
        Self::OutOfOrder,
        Self::Shutdown,
        Self::Unreadable,
    ];

    /// The word used as an attribute and as a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::QueueFull => "queue_full",
            Self::TooLate => "too_late",
            Self::TooEarly => "too_early",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::OutOfOrder => "out_of_order",
            Self::Shutdown => "shutdown",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Frames lost, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses([u64; LossReason::ALL.len()]);

impl Losses {
    /// Frames lost for one reason.
    #[must_use]
    pub const fn get(&self, reason: LossReason) -> u64 {
        self.0[reason as usize]
    }

    /// Frames lost for any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The reasons that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (LossReason, u64)> + '_ {
        LossReason::ALL.into_iter().map(|reason| (reason, self.get(reason))).filter(|&(_, n)| n > 0)
    }

    /// What was lost since `before` was read.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut difference = *self;
        difference.0.iter_mut().zip(before.0).for_each(|(now, then)| *now = now.saturating_sub(then));
        difference
    }

    pub(crate) fn add(&mut self, reason: LossReason, frames: u64) {
        self.0[reason as usize] += frames;
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

impl fmt::Debug for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(reason, n)| (reason.as_str(), n))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_counted_by_reason() {
        let mut losses = Losses::default();
        losses.add(LossReason::RingFull, 2);
        let before = losses;
        losses.add(LossReason::Shutdown, 1);
        assert_eq!((losses.total(), losses.get(LossReason::RingFull)), (3, 2));
        assert_eq!(losses.since(&before).iter().collect::<Vec<_>>(), [(LossReason::Shutdown, 1)]);
        assert_eq!(format!("{losses:?}"), r#"{"ring_full": 2, "shutdown": 1}"#);
        for (i, reason) in LossReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i, "{} is an index", reason.as_str());
        }
    }
}
