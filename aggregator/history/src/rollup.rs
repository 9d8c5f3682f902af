//! Finer steps to coarser ones.
//!
//! A step is always made of those of the next finer tier, whichever tier one starts from: an hour is the same bit for
//! bit whether it comes from seconds or from minutes, also where numbers have fractions.

use std::{collections::HashMap, sync::Arc};

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
    let mut table = match by_window(blocks, (start, to.block_seconds()))? {
        Some(table) => table,
        None => Block::tables(blocks, start, to.block_seconds())?,
    };
    while table.tier < to {
        table = coarser(table);
    }
    Block::of_table(&table)
}

/// Blocks of seconds in steps of ten, one window after the other: taken apart, an hour of seconds is many times what it comes to.
/// `None` for blocks that this does not fit: those that do not lie on the grid, are of another tier or of several subjects, or of
/// which a series has fractions in some windows only.
fn by_window(blocks: &[Block], (start, seconds): (u32, u32)) -> Result<Option<Table>, BlockError> {
    let Some(first) = blocks.first() else { return Ok(None) };
    let tier = Tier::TenSeconds;
    let fits = |block: &Block| block.tier() == Tier::Second && block.subject() == first.subject();
    let mut all: Vec<&Block> = blocks.iter().filter(|block| fits(block)).collect();
    if all.len() < blocks.len() {
        return Ok(None);
    }
    let window = |block: &Block| (block.start(), block.start().saturating_add(block.seconds()));
    // What is equal here stays in its order: of two versions of the same rank the first counts.
    all.sort_by_key(|block| block.start());
    let mut runs: Vec<((u32, u32), Vec<Block>)> = Vec::new();
    for block in all {
        let (from, to) = window(block);
        match runs.last_mut() {
            Some(((_, end), run)) if from < *end => {
                *end = to.max(*end);
                run.push(block.clone());
            }
            _ => runs.push(((from, to), vec![block.clone()])),
        }
    }
    if runs.iter().any(|((from, to), _)| !from.is_multiple_of(tier.seconds()) || !to.is_multiple_of(tier.seconds())) {
        return Ok(None);
    }
    let mut tables = Vec::with_capacity(runs.len());
    let mut floats = HashMap::new();
    for ((from, to), run) in &runs {
        let (from, to) = (*from.max(&start), *to.min(&(start.saturating_add(seconds))));
        if from >= to {
            continue;
        }
        let table = coarser(Block::tables(run, from, to - from)?);
        let is_other = |track: &Track| {
            *floats.entry((track.series.clone(), track.derived)).or_insert(track.is_float()) != track.is_float()
        };
        if table.tracks.iter().any(is_other) {
            return Ok(None);
        }
        tables.push(table);
    }
    let steps = (seconds / tier.seconds()) as u16;
    Ok(Some(Table::combined(first.subject().clone(), tier, start, steps, tables)))
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
