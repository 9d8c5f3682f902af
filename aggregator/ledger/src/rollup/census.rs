//! Who is behind the parts of a view, and the busiest cores: beside the sums of each group.
//!
//! The counts are added and taken back like sums. The busiest cores are those of the frames, each once: a set of which
//! the first few in a fixed order are kept, so that the order of adding does not matter. Adding a frame twice changes
//! nothing there, and taking it back leaves them where they are, as extremes.

use std::cmp::{Ordering, Reverse};

use starling_proto::{
    catalogue::{Section, SectionSet},
    ids::NodeId,
    varint,
};
use xxhash_rust::xxh3::Xxh3Default;

use super::cell::RollupError;

/// Cores kept of a frame and of the frames of a group.
pub const BUSIEST_MAX: usize = 8;
/// The share of a core that is always busy: [`Busy::share`] is in ten-thousandths.
pub const SHARE_MAX: u16 = 10_000;

/// Frames by section, in the order of [`Section::ALL`].
pub type SectionCounts = [u32; Section::ALL.len()];

/// How busy one core was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Busy {
    /// Busy share in ten-thousandths, at most [`SHARE_MAX`].
    pub share: u16,
    /// Number of the core.
    pub core: u32,
}

/// The busiest cores of a frame, busiest first, of equal ones the lower number: at most [`BUSIEST_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Cores(Vec<Busy>);

impl Cores {
    /// The busiest of `all`. A share above [`SHARE_MAX`] counts as that.
    #[must_use]
    pub fn busiest(all: impl Iterator<Item = Busy>) -> Self {
        let mut cores: Vec<Busy> = all.map(|busy| Busy { share: busy.share.min(SHARE_MAX), ..busy }).collect();
        cores.sort_unstable_by_key(|busy| (Reverse(busy.share), busy.core));
        cores.truncate(BUSIEST_MAX);
        Self(cores)
    }

    /// They, busiest first.
    pub fn iter(&self) -> impl Iterator<Item = Busy> + '_ {
        self.0.iter().copied()
    }
}

/// A busy core under the number of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberedCore {
    /// How busy it was.
    pub busy: Busy,
    /// Whose it is.
    pub stream: u32,
}

/// The census of one group under the numbers of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedCensus {
    /// Number of the group, 0 for the whole cluster.
    pub group: u32,
    /// Frames of it; at least 1.
    pub frames: u32,
    /// Of those, by section.
    pub counts: SectionCounts,
    /// The busiest cores: at most [`BUSIEST_MAX`].
    pub cores: Vec<NumberedCore>,
}

/// A busy core of some node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusyCore {
    /// How busy it was.
    pub busy: Busy,
    /// Whose it is.
    pub node: NodeId,
}

impl BusyCore {
    fn order(&self, other: &Self) -> Ordering {
        order((self.busy, &self.node), (other.busy, &other.node))
    }
}

/// The place in a list: busiest first, of equal ones by name and number.
pub(super) fn order((a, of_a): (Busy, &NodeId), (b, of_b): (Busy, &NodeId)) -> Ordering {
    b.share.cmp(&a.share).then_with(|| of_a.cmp(of_b)).then_with(|| a.core.cmp(&b.core))
}

/// The first of some items in a fixed order, each once: at most [`BUSIEST_MAX`].
pub(super) fn insert_ranked<T>(list: &mut Vec<T>, item: T, order: impl Fn(&T, &T) -> Ordering) {
    if list.len() == BUSIEST_MAX && list.last().is_some_and(|last| order(last, &item).is_le()) {
        return;
    }
    if let Err(place) = list.binary_search_by(|held| order(held, &item)) {
        list.insert(place, item);
        list.truncate(BUSIEST_MAX);
    }
}

/// The frames of one group, by what they reported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// All of them.
    frames: u32,
    /// Frames by section, in the order of [`Section::ALL`].
    counts: SectionCounts,
    /// The busiest cores, in the order of [`BusyCore::order`].
    busiest: Vec<BusyCore>,
}

impl Census {
    /// Of one frame.
    pub(super) fn of_frame(node: &NodeId, sections: SectionSet, cores: &Cores) -> Self {
        Self::of(1, counts_of(sections), cores.iter().map(|busy| BusyCore { busy, node: node.clone() }))
    }

    /// Of counts and of cores in any order.
    pub(super) fn of(frames: u32, counts: SectionCounts, cores: impl Iterator<Item = BusyCore>) -> Self {
        let mut busiest = Vec::new();
        cores.for_each(|core| insert_ranked(&mut busiest, core, BusyCore::order));
        Self { frames, counts, busiest }
    }

    /// Frames of the group.
    #[must_use]
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// Frames that reported a section.
    #[must_use]
    pub const fn count(&self, section: Section) -> u32 {
        self.counts[section as usize]
    }

    /// The busiest cores, busiest first, of equal ones by name and number.
    #[must_use]
    pub fn busiest(&self) -> &[BusyCore] {
        &self.busiest
    }

    /// What both together are.
    ///
    /// # Errors
    /// [`RollupError::Overflow`].
    pub(super) fn plus(&self, other: &Self) -> Result<Self, RollupError> {
        let mut sum = self.clone();
        sum.frames = sum.frames.checked_add(other.frames).ok_or(RollupError::Overflow)?;
        for (count, further) in sum.counts.iter_mut().zip(other.counts) {
            *count = count.checked_add(further).ok_or(RollupError::Overflow)?;
        }
        other.busiest.iter().for_each(|core| insert_ranked(&mut sum.busiest, core.clone(), BusyCore::order));
        Ok(sum)
    }

    /// What is left without `other`, whose cores stay; `None` without any frame.
    ///
    /// # Errors
    /// [`RollupError::Missing`].
    pub(super) fn minus(&self, other: &Self) -> Result<Option<Self>, RollupError> {
        let mut rest = self.clone();
        rest.frames = rest.frames.checked_sub(other.frames).ok_or(RollupError::Missing)?;
        for (count, less) in rest.counts.iter_mut().zip(other.counts) {
            *count = count.checked_sub(less).ok_or(RollupError::Missing)?;
        }
        Ok((rest.frames > 0).then_some(rest))
    }

    /// True when no core of `other` would be among these that is not.
    pub(super) fn spans(&self, other: &Self) -> bool {
        other.busiest.iter().all(|core| {
            let place = self.busiest.binary_search_by(|held| held.order(core));
            place.is_ok() || place == Err(BUSIEST_MAX)
        })
    }

    /// Whether what can be taken back is the same.
    pub(super) fn same_counts(&self, other: &Self) -> bool {
        (self.frames, self.counts) == (other.frames, other.counts)
    }

    #[cfg(test)]
    pub(super) fn forget_cores(&mut self) {
        self.busiest.clear();
    }

    /// Feeds everything to a hash, in order.
    pub(super) fn hash_into(&self, hasher: &mut Xxh3Default) {
        let mut bytes = Vec::new();
        varint::put(&mut bytes, u64::from(self.frames));
        self.counts.iter().for_each(|count| varint::put(&mut bytes, u64::from(*count)));
        varint::put(&mut bytes, self.busiest.len() as u64);
        for core in &self.busiest {
            varint::put(&mut bytes, u64::from(core.busy.share));
            varint::put(&mut bytes, u64::from(core.busy.core));
            varint::put_bytes(&mut bytes, core.node.as_str().as_bytes());
        }
        hasher.update(&bytes);
    }
}

/// One for each section of a frame.
pub(super) fn counts_of(sections: SectionSet) -> SectionCounts {
    Section::ALL.map(|section| u32::from(sections.has(section)))
}
