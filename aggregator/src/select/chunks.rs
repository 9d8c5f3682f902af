//! Sixty steps of a tier of something merged, as questions read them: what was read of them is kept with what it was read from,
//! for the seconds in memory until one of them changes. Pure.
//!
//! It is for the ends of a range, and for questions whose steps are longer than what is sealed at once; windows of sealed blocks
//! that are whole steps of a question are [`super::piece`].

use std::sync::Arc;

use starling_history::{Cell, Coverage, SeriesCells, Tier};
use starling_proto::histogram::HistogramSum;
use starling_store::Recent;

use super::{Folding, Part, Stop, piece::BlockId};
use crate::metrics::Metrics;

/// Steps of a chunk.
const STEPS: u32 = 60;
/// Bytes of what is kept: the last 15 minutes of some ten different questions about the cluster, with a histogram of up to 46 kB
/// for each of their steps.
pub(crate) const KEPT_BYTES_MAX: usize = 8 << 20;
/// Bytes of one chunk that is kept: 15 of the same question fit.
const ONE_BYTES_MAX: usize = KEPT_BYTES_MAX / 16;

/// What of a second in memory decides what is read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    /// How often it changed.
    pub(crate) revision: u32,
    /// How much of it there is.
    pub(crate) coverage: Coverage,
}

/// What is read where, in which steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ChunkKey {
    question: Arc<str>,
    subject: Box<str>,
    /// Sealed blocks that it is read from; none of what is in memory.
    blocks: Arc<[BlockId]>,
    tier: Tier,
    /// First second.
    start: u32,
    step: u32,
}

impl ChunkKey {
    /// Of the chunk of `tier` that begins at `start`.
    pub(crate) fn new(
        folding: &Folding<'_>,
        subject: &str,
        blocks: &Arc<[BlockId]>,
        (tier, start): (Tier, u32),
    ) -> Self {
        // One that lies within a step is the same for all steps that long.
        let (step, length) = (folding.span.step, length(tier));
        let step = if start / step == (start + (length - 1)) / step { length } else { step };
        let (question, subject) = (folding.identity.clone(), subject.into());
        Self { question, subject, blocks: blocks.clone(), tier, start, step }
    }
}

/// Seconds of a chunk of `tier`, on the grid of Unix time.
pub(crate) const fn length(tier: Tier) -> u32 {
    STEPS * tier.seconds()
}

/// What was read of a chunk.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Of each second in memory, as it was before it was read.
    versions: Box<[Version]>,
    /// No second of it is missing. Histograms of one step of the question stand merged in the last of its cells that has one.
    pub(crate) part: Part,
}

/// See the module.
pub(crate) struct Chunks {
    kept: Recent<ChunkKey, Arc<Chunk>>,
    /// Of what they are, as it is counted.
    of: &'static str,
    metrics: Arc<Metrics>,
}

impl Chunks {
    /// Keeps up to `limit` bytes, counted as those `of` memory or disk.
    pub(crate) fn new(limit: usize, of: &'static str, metrics: Arc<Metrics>) -> Self {
        Self { kept: Recent::new(limit), of, metrics }
    }

    /// What is kept for `key`.
    pub(crate) fn get(&self, key: &ChunkKey) -> Option<Arc<Chunk>> {
        let kept = self.kept.get(key);
        self.looked_up(if kept.is_some() { "found" } else { "made" });
        kept
    }

    fn looked_up(&self, outcome: &'static str) {
        self.metrics.history_kept_chunks_lookups.of(outcome).inc();
    }

    /// What `part` comes to, which was read for `key` and of which no second is missing; kept, unless the reading was broken off.
    pub(crate) fn keep(&self, key: ChunkKey, versions: Box<[Version]>, mut part: Part, stop: &Stop) -> Arc<Chunk> {
        part.series.iter_mut().for_each(|series| merge(&mut series.cells, key.step));
        let chunk = Arc::new(Chunk { versions, part });
        let bytes = chunk.bytes() + key.question.len() + key.subject.len() + size_of_val(&*key.blocks);
        if bytes <= ONE_BYTES_MAX && !stop.is_due() {
            self.kept.keep(key, chunk.clone(), bytes);
            self.metrics.history_kept_chunks_bytes.of(self.of).set(self.kept.stats().bytes as f64);
        }
        chunk
    }

    /// The cells of `subject` in the seconds `from..=to` in memory by `read`, which reads some of them. `version` says what a
    /// second is now; `None` when nothing of it is there.
    pub(crate) fn of_memory(
        &self,
        (folding, subject): (&Folding<'_>, &str),
        (from, to): (u32, u32),
        version: impl Fn(u32) -> Option<Version>,
        read: impl Fn(u32, u32) -> Part,
        stop: &Stop,
    ) -> Part {
        let (mut all, no_blocks) = (Part::default(), Arc::from([]));
        let mut start = from;
        while start <= to && !stop.is_due() {
            let last = start - start % STEPS + (STEPS - 1);
            let end = last.min(to);
            let versions = || (start..=end).map(|tick| version(tick).filter(|one| one.coverage.seconds > 0)).collect();
            match (end - start == STEPS - 1).then(versions).flatten() {
                Some(versions) => {
                    let key = ChunkKey::new(folding, subject, &no_blocks, (Tier::Second, start));
                    all.append(self.current(key, versions, || read(start, end), stop).part.clone());
                }
                None => all.append(read(start, end)),
            }
            let Some(next) = end.checked_add(1) else { break };
            start = next;
        }
        all
    }

    fn current(&self, key: ChunkKey, versions: Box<[Version]>, read: impl Fn() -> Part, stop: &Stop) -> Arc<Chunk> {
        match self.kept.get(&key) {
            Some(kept) if kept.versions == versions => {
                self.looked_up("found");
                return kept;
            }
            Some(_) => {
                self.looked_up("changed");
                self.kept.forget(&key);
            }
            None => self.looked_up("made"),
        }
        self.keep(key, versions, read(), stop)
    }
}

impl Chunk {
    fn bytes(&self) -> usize {
        let histogram = |cell: &Cell| cell.histogram.as_ref().map_or(0, |one| one.memory() + 2 * size_of::<usize>());
        let series = |series: &SeriesCells| {
            size_of::<SeriesCells>()
                + series.cells.iter().map(|(_, cell)| size_of::<(u32, Cell)>() + histogram(cell)).sum::<usize>()
        };
        // Twice: the nodes of a tree are not full.
        let coverage = 2 * self.part.coverage.len() * size_of::<((u32, Tier), Coverage)>();
        let series: usize = self.part.series.iter().map(series).sum();
        size_of::<Self>() + size_of_val(&*self.versions) + coverage + series
    }
}

/// The histograms of cells of one step of `step` seconds in the last of these that has one. Where counts do not fit 64 bits
/// they stay as they are: whoever adds them up says so.
fn merge(cells: &mut [(u32, Cell)], step: u32) {
    let mut sum = HistogramSum::new();
    for together in cells.chunk_by_mut(|(a, _), (b, _)| a / step == b / step) {
        let held = || together.iter().filter(|(_, cell)| cell.histogram.is_some()).count();
        if held() < 2 {
            continue;
        }
        sum.clear();
        let mut all = together.iter().filter_map(|(_, cell)| cell.histogram.as_ref());
        if all.try_for_each(|histogram| sum.add(histogram)).is_err() {
            continue;
        }
        let mut merged = Some(Arc::new(sum.to_histogram()));
        for (_, cell) in together.iter_mut().rev().filter(|(_, cell)| cell.histogram.is_some()) {
            cell.histogram = merged.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell as Shared, RefCell};

    use proptest::prelude::*;
    use starling_history::{Subject, Tier};
    use starling_proto::{catalogue, histogram::Histogram, series::Series};

    use super::{
        super::{Folded, Span},
        *,
    };

    /// Seconds of the cluster as a ledger has them: revision, or none.
    struct Seconds(RefCell<Vec<Option<u32>>>);

    impl Seconds {
        fn version(&self, tick: u32) -> Option<Version> {
            let revision = self.0.borrow()[tick as usize]?;
            Some(Version { revision, coverage: Coverage::second(3, 3, 0) })
        }

        fn part(&self, from: u32, to: u32) -> Part {
            let mut part = Part::default();
            let cells = |at: usize| {
                let cell = |tick: u32| {
                    let revision = self.0.borrow()[tick as usize]?;
                    let any = u64::from(tick * 31 + revision * 7 + at as u32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                    let cell = Cell { nodes: 3, ..Cell::second((any % 5) as f64) };
                    let histogram = (any % 5 > 0).then(|| Arc::new(Histogram::of(any % 9_000_000, any % 5)));
                    // Some seconds count nothing; of some of a gauge no distribution is kept.
                    let histogram = if at < 2 { Some(histogram.unwrap_or_default()) } else { histogram };
                    Some((tick, Cell { histogram, ..cell }))
                };
                (from..=to).filter_map(cell).collect()
            };
            for (at, with) in [("grpc", 0), ("http1", 1), ("http2", 2)].map(|(with, at)| (at, with)) {
                part.series.push(SeriesCells {
                    subject: Subject::Cluster,
                    series: Series::of(&catalogue::DURATION, &[("protocol", with)]),
                    derived: false,
                    tier: Tier::Second,
                    cells: cells(at),
                });
            }
            for tick in from..=to {
                if let Some(version) = self.version(tick) {
                    part.coverage.insert((tick, Tier::Second), version.coverage);
                }
            }
            part
        }
    }

    const TICKS: u32 = 500;

    fn stop() -> Stop {
        Stop::at(std::time::Instant::now() + std::time::Duration::from_secs(60))
    }

    proptest! {
        #[test]
        fn what_is_kept_folds_to_what_is_there_now(
            missing in prop::collection::vec(0..TICKS, 0..3),
            changed in prop::collection::vec(0..TICKS, 0..4),
            asked in prop::collection::vec(
                (0..TICKS, 0..TICKS, prop_oneof![1u32..200, prop::sample::select(vec![10u32, 15, 60, 1_200, u32::MAX])]),
                1..5
            ),
            total: bool,
        ) {
            let seconds = Seconds(RefCell::new(vec![Some(1); TICKS as usize]));
            missing.iter().for_each(|tick| seconds.0.borrow_mut()[*tick as usize] = None);
            let chunks = Chunks::new(KEPT_BYTES_MAX, "memory", Metrics::of_a_test());
            for change in [None].into_iter().chain(changed.into_iter().map(Some)) {
                if let Some(tick) = change {
                    let now = seconds.0.borrow()[tick as usize].map_or(1, |revision| revision + 1);
                    seconds.0.borrow_mut()[tick as usize] = Some(now);
                }
                for (a, b, step) in &asked {
                    let (from, to) = (*a.min(b), *a.max(b));
                    let span = Span { from, to, step: *step };
                    let fold = |part: &Part, span: &Span| {
                        (if total { Folded::of_total(part, &[], span) } else { Folded::of(part, span) }).ok()
                    };
                    let folding = Folding { span, identity: "p99".into(), fold: &fold };
                    for _ in 0..2 {
                        let read = chunks.of_memory(
                            (&folding, "cluster"), (from, to), |tick| seconds.version(tick),
                            |from, to| seconds.part(from, to), &stop(),
                        );
                        prop_assert_eq!(fold(&read, &span), fold(&seconds.part(from, to), &span), "{:?}", span);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_in_memory_is_read_once_until_it_changes() {
        let seconds = Seconds(RefCell::new(vec![Some(1); TICKS as usize]));
        let metrics = Metrics::of_a_test();
        let (chunks, reads) = (Chunks::new(KEPT_BYTES_MAX, "memory", metrics.clone()), Shared::new(0));
        let ask = |question: &str, subject: &str, step: u32, stop: &Stop| {
            let none = |_: &Part, _: &Span| None;
            let folding = Folding { span: Span { from: 50, to: 310, step }, identity: question.into(), fold: &none };
            let read = |from, to| {
                reads.set(reads.get() + to - from + 1);
                seconds.part(from, to)
            };
            chunks.of_memory((&folding, subject), (50, 310), |tick| seconds.version(tick), read, stop);
            reads.replace(0)
        };
        assert_eq!(ask("p99", "cluster", 15, &stop()), 261);
        assert_eq!(ask("p99", "cluster", 15, &stop()), 21, "both ends");
        assert_eq!(ask("p99", "cluster", 30, &stop()), 261, "other steps");
        assert_eq!(ask("p99", "group/zone:a", 15, &stop()), 261);
        assert_eq!(ask("p50", "cluster", 15, &stop()), 261);
        assert_eq!(ask("p99", "cluster", 1_200, &stop()), 261);
        assert_eq!(ask("p99", "cluster", 600, &stop()), 21, "within a step of both");
        seconds.0.borrow_mut()[200] = Some(2);
        assert_eq!(ask("p99", "cluster", 15, &stop()), 81);
        assert_eq!(ask("p99", "cluster", 15, &stop()), 21);
        seconds.0.borrow_mut()[130] = None;
        assert_eq!(
            (ask("p99", "cluster", 15, &stop()), ask("p99", "cluster", 15, &stop())),
            (81, 81),
            "a hole may be filled"
        );
        let due = Stop::at(std::time::Instant::now());
        assert_eq!(ask("other", "cluster", 15, &due), 0);
        assert_eq!(ask("other", "cluster", 15, &stop()), 261, "nothing of what was broken off is kept");
        let looked_up = |outcome| metrics.history_kept_chunks_lookups.of(outcome).get();
        assert_eq!((looked_up("found"), looked_up("changed"), looked_up("made")), (21, 1, 23));
        assert!(metrics.history_kept_chunks_bytes.of("memory").get() > 0.0);
    }
}
