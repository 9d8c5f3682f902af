//! Finer steps to coarser ones.
//!
//! A step is always made of those of the next finer tier, whichever tier one starts from: an hour is the same bit for
//! bit whether it comes from seconds or from minutes, also where numbers have fractions.

use std::sync::Arc;

use starling_proto::histogram::Histogram;

use crate::{
    Block, BlockError, Tier, derive,
    exact::Exact,
    table::{Held, Table, Track, components},
};

/// The block of tier `to` whose window begins at `start`, from blocks of a finer tier of one subject. Steps outside of
/// the window do not count; of several versions of a step the newest does. The window is [`Tier::block_seconds`] long.
///
/// # Errors
/// [`BlockError::Apart`] for blocks that do not go together or are not finer, others for damaged ones.
pub fn roll_up(blocks: &[Block], to: Tier, start: u32) -> Result<Block, BlockError> {
    if blocks.iter().any(|block| block.tier() >= to) {
        return Err(BlockError::Apart("a tier that is not finer"));
    }
    if !start.is_multiple_of(to.seconds()) {
        return Err(BlockError::Window { start: start.into(), steps: (to.block_seconds() / to.seconds()).into() });
    }
    let mut table = Block::tables(blocks, start, to.block_seconds())?;
    while table.tier < to {
        table = coarser(table);
    }
    Block::of_table(&table)
}

/// The next coarser tier of a table.
fn coarser(mut table: Table) -> Table {
    let Some(tier) = table.tier.coarser() else { return table };
    if table.tier == Tier::Second {
        table.tracks.extend(derive::tracks(&table, &derive::wanted(|_| true)));
        table.tracks.sort_unstable_by(|a, b| (&a.series, a.derived).cmp(&(&b.series, b.derived)));
    }
    let merged = table.merged();
    let ratio = (tier.seconds() / table.tier.seconds()) as u16;
    let mut held: Vec<Held> = Vec::new();
    // Where each held step goes.
    let mut goes: Vec<u16> = Vec::with_capacity(table.held.len());
    for one in &table.held {
        let step = one.step / ratio;
        match held.last_mut().filter(|last| last.step == step) {
            Some(last) => {
                last.revision = last.revision.max(one.revision);
                last.coverage.append(&one.coverage);
            }
            None => held.push(Held { step, ..*one }),
        }
        goes.push((held.len() - 1) as u16);
    }
    let coarse = !merged && tier.coarse_node_histograms() && !table.tier.coarse_node_histograms();
    let tracks = table.tracks.iter().map(|track| fold(track, table.tier, tier, merged, &goes, coarse)).collect();
    let steps = table.steps.div_ceil(ratio);
    Table { subject: table.subject, tier, start: table.start, steps, held, tracks }
}

fn fold(track: &Track, from: Tier, to: Tier, merged: bool, goes: &[u16], coarse: bool) -> Track {
    let parts = components(to, track.series.kind(), merged);
    let mut out = Track::new(track.series.clone(), track.derived, parts, track.is_float());
    let mut open: Option<(u16, Exact, Option<Arc<Histogram>>)> = None;
    let mut close = |(rank, exact, histogram): (u16, Exact, Option<Arc<Histogram>>)| {
        out.push_exact(rank, &exact, parts);
        out.push_histogram(histogram.map(|one| if coarse { Arc::new(one.coarse()) } else { one }));
    };
    for (at, rank) in track.ranks.iter().enumerate() {
        let to = goes[usize::from(*rank)];
        let (exact, histogram) = (track.exact(at, from, merged), track.histogram(at));
        match &mut open {
            Some((open, sum, histograms)) if *open == to => {
                sum.append(&exact);
                *histograms = match (histograms.take(), histogram) {
                    // Counts beyond 64 bits: the caps at the receiver make it impossible for longer than any window.
                    (Some(a), Some(b)) => Some(a.plus(b).map_or(a, Arc::new)),
                    (a, b) => a.or_else(|| b.cloned()),
                };
            }
            _ => {
                open.take().into_iter().for_each(&mut close);
                open = Some((to, exact, histogram.cloned()));
            }
        }
    }
    open.into_iter().for_each(close);
    out.complete();
    out
}
