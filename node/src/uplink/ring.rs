//! Frames that were cut and not yet acknowledged.

use std::{collections::VecDeque, sync::Arc};

use starling_proto::{
    frame::Content,
    series::{Sample, Value},
};

use super::pin::Pin;

/// One frame that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    /// What was measured.
    pub(super) content: Arc<Content>,
    /// Whose it is.
    pub(super) pin: Pin,
    /// The link it was last offered on; 0 for none.
    pub(super) offered_on: u64,
    bytes: usize,
}

/// A bounded ring of frames in the order of their seconds. When full, the oldest goes.
#[derive(Debug)]
pub(super) struct Ring {
    frames: VecDeque<Kept>,
    bytes: usize,
    frames_max: usize,
    bytes_max: usize,
}

impl Ring {
    /// A ring for `frames_max` frames in about `bytes_max` bytes; one frame always has room.
    pub(super) fn new(frames_max: usize, bytes_max: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, frames_max: frames_max.max(1), bytes_max }
    }

    /// Keeps a frame newer than all others and returns those that had to go for it.
    pub(super) fn push(&mut self, content: Arc<Content>, pin: Pin) -> Vec<Kept> {
        debug_assert!(self.newest().is_none_or(|tick| tick < content.tick), "seconds rise strictly");
        let bytes = bytes_of(&content);
        self.bytes += bytes;
        self.frames.push_back(Kept { content, pin, offered_on: 0, bytes });
        let mut gone = Vec::new();
        while self.frames.len() > self.frames_max || (self.bytes > self.bytes_max && self.frames.len() > 1) {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.bytes;
            gone.push(oldest);
        }
        gone
    }

    /// Keeps a frame that was here before, in its place. Nothing has to go for it: whoever reads frames back does so while there is
    /// room.
    pub(super) fn put_back(&mut self, content: Arc<Content>, pin: Pin) {
        let Err(at) = self.frames.binary_search_by_key(&content.tick, |kept| kept.content.tick) else { return };
        let bytes = bytes_of(&content);
        self.bytes += bytes;
        self.frames.insert(at, Kept { content, pin, offered_on: 0, bytes });
    }

    /// The frame of one second.
    pub(super) fn get(&self, tick: u32) -> Option<&Kept> {
        self.position(tick).map(|at| &self.frames[at])
    }

    /// Forgets the frame of one second and returns it.
    pub(super) fn remove(&mut self, tick: u32) -> Option<Kept> {
        let kept = self.frames.remove(self.position(tick)?)?;
        self.bytes -= kept.bytes;
        Some(kept)
    }

    /// The newest frame not yet offered on `link`.
    ///
    /// Cheap: frames are offered newest first and few at a time, so the search ends within one window.
    pub(super) fn newest_not_offered(&mut self, link: u64) -> Option<&mut Kept> {
        self.frames.iter_mut().rev().find(|kept| kept.offered_on != link)
    }

    /// Makes every frame due to be offered again.
    pub(super) fn forget_offers(&mut self) {
        self.frames.iter_mut().for_each(|kept| kept.offered_on = 0);
    }

    /// The newest second kept.
    pub(super) fn newest(&self) -> Option<u32> {
        self.frames.back().map(|kept| kept.content.tick)
    }

    /// The frames, the oldest first.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.frames.iter()
    }

    /// Frames kept.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// True when nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// About how many bytes the frames take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn position(&self, tick: u32) -> Option<usize> {
        self.frames.binary_search_by_key(&tick, |kept| kept.content.tick).ok()
    }
}

/// About how many bytes a frame takes: its samples, and 10 bytes (index and count) a bucket in use.
/// The names are shared with the sampler and cost nothing here.
fn bytes_of(content: &Content) -> usize {
    let histograms: usize = content
        .samples
        .iter()
        .map(|sample| match &sample.value {
            Value::Histogram(histogram) => 96 + 10 * histogram.buckets().len(),
            Value::Counter(_) | Value::Gauge(_) => 0,
        })
        .sum();
    size_of::<Kept>() + size_of::<Content>() + content.samples.len() * size_of::<Sample>() + histograms
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_proto::{catalogue, series::Series};

    fn content(tick: u32, samples: usize) -> Arc<Content> {
        let sample = Sample { series: Series::of(&catalogue::UPTIME, &[]), value: Value::Gauge(1) };
        Arc::new(Content { tick, samples: vec![sample; samples], dropped: 0 })
    }

    #[test]
    fn the_oldest_goes_when_full() {
        let mut ring = Ring::new(3, usize::MAX);
        for tick in 1..=3 {
            assert!(ring.push(content(tick, 1), Pin::Free).is_empty());
        }
        let gone: Vec<u32> = ring.push(content(9, 1), Pin::Free).iter().map(|kept| kept.content.tick).collect();
        assert_eq!(gone, [1]);
        assert_eq!((ring.len(), ring.newest()), (3, Some(9)));
        assert!(ring.remove(1).is_none() && ring.remove(3).is_some() && ring.get(9).is_some());
    }

    #[test]
    fn bytes_are_bounded_and_given_back() {
        let one = bytes_of(&content(1, 100));
        let mut ring = Ring::new(1000, 3 * one);
        let gone: usize = (1..=10).map(|tick| ring.push(content(tick, 100), Pin::Free).len()).sum();
        assert_eq!((gone, ring.len()), (7, 3));
        assert!(ring.bytes() <= 3 * one);
        assert_eq!(ring.push(content(11, 100_000), Pin::Free).len(), 3, "one frame always has room");
        assert!(ring.remove(11).is_some() && ring.is_empty());
        assert_eq!(ring.bytes(), 0);
    }

    #[test]
    fn the_newest_is_offered_first() {
        let mut ring = Ring::new(10, usize::MAX);
        (1..=3).for_each(|tick| assert!(ring.push(content(tick, 1), Pin::Free).is_empty()));
        let mut order = Vec::new();
        while let Some(kept) = ring.newest_not_offered(7) {
            kept.offered_on = 7;
            order.push(kept.content.tick);
        }
        assert_eq!(order, [3, 2, 1]);
        ring.forget_offers();
        assert!(ring.newest_not_offered(7).is_some());
    }
}
