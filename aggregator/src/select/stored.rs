//! What the disk holds, by tier.
//!
//! A range is read from the coarsest tier of which the steps asked for can be made. Windows of which it has no block, the
//! newest hour and what it no longer keeps, are read from finer tiers, and what these no longer keep from coarser ones:
//! each window from one tier.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use starling_history::{BlockError, Coverage, Selection, SeriesCells, Subject, Tier, Versions};
use starling_proto::ids::NodeId;
use starling_store::{BlockRef, Subjects, overlapping};

use super::{
    Part, Source, Span, Stop,
    chunks::{self, Chunk, ChunkKey, Chunks, length},
    piece::{BlockId, Folding, KEPT_BYTES_MAX, Mixed, Piece, PieceKey, Pieces, Steps},
};
use crate::{
    history::{Disk, versions_of},
    metrics::Metrics,
};

/// Newest seconds of which the nodes are looked up in the finest tier, before them in that of hours: more than the time
/// until an hour is rolled up.
const NOT_ROLLED_UP: u32 = 3 * 3_600;

/// See the module.
pub(crate) struct Stored {
    disk: Arc<Disk>,
    metrics: Arc<Metrics>,
    /// What sealed blocks came to in the steps of questions.
    pieces: Pieces,
    /// What of the others was read of something merged.
    chunks: Chunks,
}

/// Seconds `from..to`.
type Window = (u32, u32);

impl Stored {
    /// Of the store of this process.
    pub(crate) fn new(disk: Arc<Disk>, metrics: Arc<Metrics>) -> Self {
        let chunks = Chunks::new(chunks::KEPT_BYTES_MAX, "disk", metrics.clone());
        Self { disk, metrics, pieces: Pieces::new(KEPT_BYTES_MAX), chunks }
    }

    /// Adds what `tier` holds of a window to `mixed`; the windows of which it has no block.
    fn read_tier(
        &self,
        tier: Tier,
        (subject, name): (&Subject, &str),
        (selection, folding): (&Selection, Option<(&Folding<'_>, u32)>),
        window: Window,
        mixed: &mut Mixed,
        stop: &Stop,
    ) -> Vec<Window> {
        let found = self.disk.store().find(tier.code(), Subjects::One(name), window.0..window.1);
        for unreadable in &found.unreadable {
            self.metrics.history_failed("read the index of a segment", &unreadable.error);
        }
        let mut holes = Vec::new();
        let mut next = window.0;
        // Blocks that stand before this one are in the steps of the question.
        let mut taken = 0;
        let runs = overlapping(&found.blocks);
        for (at, together) in runs.iter().enumerate() {
            if stop.is_due() {
                // What is left out is not read from elsewhere either.
                return Vec::new();
            }
            if at < taken {
                continue;
            }
            let piece = folding.and_then(|(folding, before)| {
                self.piece(folding, selection, &runs[at..], (window.0.max(next), window.1.min(before)), stop)
            });
            if let Some((count, piece)) = piece {
                if piece.start > next {
                    holes.push((next, piece.start));
                }
                next = piece.end;
                taken = at + count;
                mixed.pieces.push(piece);
                continue;
            }
            let Some(block) = versions_of(&self.disk, together, &self.metrics) else { continue };
            if block.start() > next {
                holes.push((next, block.start()));
            }
            let end = block.start().saturating_add(block.seconds());
            let folding = folding.map(|(folding, _)| folding).filter(|_| subject.is_merged());
            let range = (window.0.max(next), window.1 - 1);
            let read = match folding {
                Some(folding) => self.in_chunks((folding, name), (&block, together), selection, range, (mixed, stop)),
                None => block
                    .read(&Selection { from: range.0, to: range.1, ..selection.clone() })
                    .map(|series| add(mixed, (block.tier(), block.coverage()), series, range)),
            };
            if let Err(error) = read {
                self.metrics.history_failed(&format!("read a block of {subject}"), &error);
            }
            next = next.max(end);
        }
        if next < window.1 {
            holes.push((next, window.1));
        }
        holes
    }

    /// Adds the seconds `from..=to` of a block, of which chunks are kept.
    fn in_chunks(
        &self,
        (folding, name): (&Folding<'_>, &str),
        (block, together): (&Versions, &[BlockRef]),
        selection: &Selection,
        (from, to): Window,
        (mixed, stop): (&mut Mixed, &Stop),
    ) -> Result<(), BlockError> {
        let tier = block.tier();
        let steps: Vec<(u32, Coverage)> = block.coverage().collect();
        let in_order = |from: u32, to: u32| {
            let at = |tick: u32| steps.partition_point(|(start, _)| *start < tick);
            &steps[at(from)..at(to.saturating_add(1))]
        };
        let (from, to) = (from.max(block.start()), to.min(block.start().saturating_add(block.seconds() - 1)));
        let ids: Arc<[BlockId]> = together.iter().map(BlockId::of).collect();
        // A cell of a chunk may hold the histograms of those before it: they are taken or left together.
        let is_whole = |from: u32, to: u32| {
            let steps = in_order(from, to);
            to - from == length(tier) - 1
                && steps.len() as u32 * tier.seconds() == length(tier)
                && steps.iter().all(|(start, held)| held.seconds == tier.seconds() && is_new(mixed, tier, *start))
        };
        let mut all: Vec<(Window, Option<ChunkKey>, Option<Arc<Chunk>>)> = Vec::new();
        let mut start = from;
        while start <= to {
            let end = (start - start % length(tier)).saturating_add(length(tier) - 1).min(to);
            let key = is_whole(start, end).then(|| ChunkKey::new(folding, name, &ids, (tier, start)));
            let kept = key.as_ref().and_then(|key| self.chunks.get(key));
            all.push(((start, end), key, kept));
            let Some(next) = end.checked_add(1) else { break };
            start = next;
        }
        for run in all.chunk_by_mut(|(.., a), (.., b)| a.is_none() && b.is_none()) {
            let Some((((from, _), ..), ((_, to), ..))) = run.first().zip(run.last()) else { continue };
            if let Some((.., Some(kept))) = run.first() {
                add(mixed, (tier, in_order(*from, *to).iter().copied()), kept.part.series.clone(), (*from, *to));
                continue;
            }
            // What is not kept is read at once.
            let read = block.read(&Selection { from: *from, to: *to, ..selection.clone() })?;
            for ((from, to), key, _) in run {
                let window = (*from, *to);
                let of_window = |series: &SeriesCells| {
                    let at = |tick: u32| series.cells.partition_point(|(start, _)| *start < tick);
                    // The first step may begin before what is asked for.
                    let first =
                        series.cells.partition_point(|(start, _)| start.saturating_add(tier.seconds()) <= window.0);
                    let cells = series.cells[first..at(window.1.saturating_add(1)).max(first)].to_vec();
                    let SeriesCells { subject, series, derived, tier, .. } = series;
                    SeriesCells {
                        subject: subject.clone(),
                        series: series.clone(),
                        derived: *derived,
                        tier: *tier,
                        cells,
                    }
                };
                let series: Vec<SeriesCells> = read.iter().map(of_window).collect();
                let series = match key.take() {
                    Some(key) => {
                        let part = Part { series, coverage: BTreeMap::new() };
                        self.chunks.keep(key, Box::default(), part, stop).part.series.clone()
                    }
                    None => series,
                };
                add(mixed, (tier, steps.iter().copied()), series, window);
            }
        }
        Ok(())
    }

    /// The first of `runs`, or as many of them as end where a step of the question does, in its steps; how many that are. `None`
    /// when they do not begin where a step does, or not all of them lie within `window`, or a second is missing in them.
    fn piece(
        &self,
        folding: &Folding<'_>,
        selection: &Selection,
        runs: &[&[BlockRef]],
        window: Window,
        stop: &Stop,
    ) -> Option<(usize, Piece)> {
        let step = folding.span.step;
        let span = |run: &[BlockRef]| {
            let windows = || run.iter().map(BlockRef::window);
            Some((windows().map(|one| one.start).min()?, windows().map(|one| one.end).max()?))
        };
        let (start, mut end) = span(runs.first()?)?;
        if start < window.0 || !start.is_multiple_of(step) {
            return None;
        }
        let mut count = 1;
        while !end.is_multiple_of(step) {
            let (next, after) = span(runs.get(count)?)?;
            if next != end {
                return None;
            }
            (end, count) = (after, count + 1);
        }
        if end > window.1 {
            return None;
        }
        let blocks: Vec<BlockRef> = runs[..count].iter().flat_map(|run| run.iter().cloned()).collect();
        let key = PieceKey::new(folding, &blocks);
        let kept = self.pieces.get(&key);
        self.metrics.history_kept_steps_lookups.of(if kept.is_some() { "found" } else { "made" }).inc();
        let steps = match kept {
            Some(kept) => kept,
            None => {
                let steps = self.fold(folding, selection, &runs[..count], (start, end), stop);
                // What was broken off says nothing.
                if stop.is_due() {
                    return None;
                }
                let steps = steps.map(Arc::new);
                let bytes = key.bytes() + steps.as_ref().map_or(0, |steps| steps.bytes());
                self.pieces.keep(key, steps.clone(), bytes);
                self.metrics.history_kept_steps_bytes.set(self.pieces.stats().bytes as f64);
                steps
            }
        };
        Some((count, Piece { start, end, steps: steps? }))
    }

    fn fold(
        &self,
        folding: &Folding<'_>,
        selection: &Selection,
        runs: &[&[BlockRef]],
        (start, end): Window,
        stop: &Stop,
    ) -> Option<Steps> {
        let span = Span { from: start, to: end - 1, step: folding.span.step };
        let selection = Selection { from: start, to: end - 1, ..selection.clone() };
        let mut mixed = Mixed::default();
        for together in runs {
            if stop.is_due() {
                return None;
            }
            let block = versions_of(&self.disk, together, &self.metrics)?;
            if block.coverage().map(|(_, coverage)| coverage.seconds).sum::<u32>() < block.seconds() {
                return None;
            }
            // A block that cannot be read is reported where it is read by itself.
            let series = block.read_merged(&selection, span.step).ok()?;
            add(&mut mixed, (block.tier(), block.coverage()), series, (start, end - 1));
        }
        let mut part = mixed.part;
        part.series.retain(|series| !series.cells.is_empty());
        (folding.fold)(&part, &span).map(Steps::of)
    }
}

impl Source for Stored {
    fn nodes(&self, from: u32, to: u32) -> Vec<NodeId> {
        let end = to.saturating_add(1);
        let recent = from.max(end.saturating_sub(NOT_ROLLED_UP));
        let mut names = BTreeSet::<Box<str>>::new();
        for (tier, window) in [(Tier::Second, recent..end), (Tier::Hour, from..end)] {
            let found = self.disk.store().find(tier.code(), Subjects::Prefix(Subject::NODES), window);
            names.extend(found.blocks.iter().map(|block| Box::from(block.subject())));
        }
        names.iter().filter_map(|name| Subject::parse(name).ok()?.node().cloned()).collect()
    }

    fn oldest(&self) -> Option<u32> {
        // The time only tells which segments lie in the future.
        let stats = self.disk.store().stats(u32::MAX);
        stats.tiers.iter().filter_map(|tier| tier.window.as_ref()).map(|window| window.start).min()
    }

    fn read(
        &self,
        subject: &Subject,
        (selection, step): (&Selection, u32),
        folding: Option<(&Folding<'_>, u32)>,
        stop: &Stop,
    ) -> Mixed {
        let mut mixed = Mixed::default();
        let name = subject.to_string();
        let mut windows = vec![(selection.from, selection.to.saturating_add(1))];
        for tier in preferred(step) {
            let mut holes = Vec::new();
            for window in windows {
                let read = self.read_tier(tier, (subject, &name), (selection, folding), window, &mut mixed, stop);
                holes.extend(read);
            }
            windows = holes;
            if windows.is_empty() {
                break;
            }
        }
        let Mixed { pieces, part } = &mut mixed;
        pieces.sort_by_key(|piece| piece.start);
        part.series.retain(|series| !series.cells.is_empty());
        part.series.iter_mut().for_each(|series| series.cells.sort_by_key(|(start, _)| *start));
        mixed
    }
}

/// The tiers for steps of `step` seconds: the coarsest of which they can be made, then finer ones, then coarser ones.
fn preferred(step: u32) -> impl Iterator<Item = Tier> {
    let fits = |tier: &&Tier| step.is_multiple_of(tier.seconds());
    let best = Tier::ALL.iter().rposition(|tier| fits(&tier)).unwrap_or(0);
    let finer = Tier::ALL.into_iter().take(best + 1).rev();
    finer.chain(Tier::ALL.into_iter().skip(best + 1))
}

/// Whether no second of the step of `tier` that begins at `start` is there from elsewhere.
fn is_new(Mixed { pieces, part }: &Mixed, tier: Tier, start: u32) -> bool {
    let end = start.saturating_add(tier.seconds());
    part.coverage.range((start, Tier::Second)..(end, Tier::Second)).next().is_none()
        && pieces.iter().all(|piece| piece.start >= end || piece.end <= start)
}

/// Adds the steps of a block that overlap `from..=to` and of which no second is there from another tier.
fn add(
    mixed: &mut Mixed,
    (tier, steps): (Tier, impl Iterator<Item = (u32, Coverage)>),
    series: Vec<SeriesCells>,
    (from, to): Window,
) {
    let end = |start: u32| start.saturating_add(tier.seconds());
    let wanted = |(start, _): &(u32, Coverage)| *start <= to && end(*start) > from && is_new(mixed, tier, *start);
    let steps: Vec<(u32, Coverage)> = steps.filter(wanted).collect();
    let part = &mut mixed.part;
    let is_step = |start: u32| steps.binary_search_by_key(&start, |(start, _)| *start).is_ok();
    for mut theirs in series {
        theirs.cells.retain(|(start, _)| is_step(*start));
        let same = |ours: &&mut SeriesCells| {
            (ours.tier, ours.derived) == (theirs.tier, theirs.derived) && ours.series == theirs.series
        };
        match part.series.iter_mut().find(same) {
            Some(ours) => ours.cells.extend(theirs.cells),
            None => part.series.push(theirs),
        }
    }
    part.coverage.extend(steps.into_iter().map(|(start, coverage)| ((start, tier), coverage)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarsest_tier_that_fits_comes_first() {
        let of = |step| preferred(step).map(Tier::name).collect::<Vec<_>>();
        assert_eq!(of(1), ["1s", "10s", "1m", "1h"]);
        assert_eq!(of(15), ["1s", "10s", "1m", "1h"]);
        assert_eq!(of(30), ["10s", "1s", "1m", "1h"]);
        assert_eq!(of(300), ["1m", "10s", "1s", "1h"]);
        assert_eq!(of(86_400), ["1h", "1m", "10s", "1s"]);
    }
}
