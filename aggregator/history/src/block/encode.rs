//! A table to bytes.

use bytes::Bytes;
use starling_proto::{
    bits,
    catalogue::{Kind, Scope},
    frame::put_series,
    histogram::Histogram,
    varint,
};

use super::{
    Block, BlockError, CELLS_MAX, FRAME_BYTES_MAX, SERIES_MAX,
    bytes::{DERIVED, FLOATS, HISTOGRAMS, NODE, VERSION},
    packing::{Packed, Packer},
};
use crate::{
    Tier, column,
    table::{Component, Held, Table, Track, components},
};

/// Columns of one group: reading one series opens one group, and neighbours are packed better together.
const GROUP_COLUMNS: usize = 64;
/// A group of histograms ends with the series that reaches this.
const HISTOGRAM_GROUP_BYTES: usize = 16 * 1024;

impl Block {
    /// Writes a table.
    pub(crate) fn of_table(table: &Table) -> Result<Self, BlockError> {
        let (series, steps) = (table.tracks.len(), usize::from(table.steps));
        if series > SERIES_MAX || series * steps > CELLS_MAX {
            return Err(BlockError::Size { series: series as u64, steps });
        }
        let mut packer = Packer::new();
        let mut out = vec![VERSION, table.tier.code()];
        varint::put_bytes(&mut out, table.subject.to_string().as_bytes());
        varint::put(&mut out, table.start.into());
        varint::put(&mut out, table.steps.into());
        let mut map = vec![0u64; steps.div_ceil(64)];
        table.held.iter().for_each(|held| bits::set(&mut map, held.step.into()));
        column::put_map(&mut out, &map, steps);
        packer.pack(coverage(table)).put(&mut out);
        varint::put(&mut out, series as u64);
        packer.pack(names(table)).put(&mut out);
        let (groups, histograms) = (groups(table, &mut packer)?, histogram_groups(table, &mut packer)?);
        for all in [&groups, &histograms] {
            varint::put(&mut out, all.len() as u64);
            for (series, packed) in all {
                varint::put(&mut out, *series as u64);
                packed.put_lengths(&mut out);
            }
        }
        groups.iter().chain(&histograms).for_each(|(_, packed)| out.extend_from_slice(&packed.bytes));
        Self::decode(Bytes::from(out))
    }
}

fn coverage(table: &Table) -> Vec<u8> {
    let mut raw = Vec::new();
    let mut put = |of: &dyn Fn(&Held) -> u64| {
        let values: Vec<i64> = table.held.iter().map(|held| of(held).cast_signed()).collect();
        column::put(&mut raw, &values);
    };
    put(&|held| held.revision);
    if table.tier != Tier::Second {
        put(&|held| held.coverage.seconds.into());
    }
    put(&|held| held.coverage.nodes_reporting.into());
    put(&|held| held.coverage.nodes_expected.into());
    put(&|held| held.coverage.dropped);
    raw
}

fn names(table: &Table) -> Vec<u8> {
    let mut raw = Vec::new();
    for track in &table.tracks {
        let mut flags = 0;
        for (flag, set) in [
            (NODE, track.series.scope() == Scope::Node),
            (DERIVED, track.derived),
            (HISTOGRAMS, track.histograms.is_some()),
            (FLOATS, track.is_float()),
        ] {
            flags |= if set { flag } else { 0 };
        }
        raw.push(flags);
        put_series(&mut raw, &track.series);
    }
    raw
}

/// What the coverage says of the held steps `ranks`, to be compared with a component.
pub(super) fn covered(held: &[Held], ranks: &[u16], tier: Tier, part: Component) -> Vec<i64> {
    let of = |rank: &u16| {
        let coverage = held.get(usize::from(*rank)).map(|held| held.coverage).unwrap_or_default();
        match part {
            Component::Nodes if tier == Tier::Second => i64::from(coverage.nodes_reporting),
            Component::Nodes => i64::from(coverage.nodes_reporting).saturating_mul(coverage.seconds.into()),
            _ => i64::from(coverage.seconds),
        }
    };
    if part.is_value() { Vec::new() } else { ranks.iter().map(of).collect() }
}

/// Numbers of series, with how many series they are of.
fn groups(table: &Table, packer: &mut Packer) -> Result<Vec<(usize, Packed)>, BlockError> {
    let mut groups = Vec::new();
    let (mut raw, mut series, mut columns) = (Vec::new(), 0, 0);
    let mut before: &[u16] = &[];
    let mut scratch = Vec::new();
    for (n, track) in table.tracks.iter().enumerate() {
        scratch.clear();
        put_ranks(&mut scratch, &track.ranks, before, table.held.len());
        put_columns(&mut scratch, track, table);
        varint::put_bytes(&mut raw, &scratch);
        before = &track.ranks;
        series += 1;
        columns += track.columns.len().max(1);
        if columns >= GROUP_COLUMNS || n + 1 == table.tracks.len() {
            groups.push((std::mem::take(&mut series), pack(packer, std::mem::take(&mut raw))?));
            (columns, before) = (0, &[]);
        }
    }
    Ok(groups)
}

fn put_columns(out: &mut Vec<u8>, track: &Track, table: &Table) {
    let parts = components(table.tier, track.series.kind(), table.merged());
    for (at, (part, numbers)) in parts.iter().zip(&track.columns).enumerate() {
        numbers.put(out, &track.columns[..at], &covered(&table.held, &track.ranks, table.tier, *part));
    }
}

/// Which of the held steps a series has: 0 for all, 1 and a bit of each, or 2 for those of the series before.
fn put_ranks(out: &mut Vec<u8>, ranks: &[u16], before: &[u16], held: usize) {
    if ranks.len() == held {
        return out.push(0);
    }
    if ranks == before {
        return out.push(2);
    }
    out.push(1);
    let mut map = vec![0u64; held.div_ceil(64)];
    ranks.iter().for_each(|rank| bits::set(&mut map, (*rank).into()));
    column::put_map(out, &map, held);
}

fn histogram_groups(table: &Table, packer: &mut Packer) -> Result<Vec<(usize, Packed)>, BlockError> {
    let mut groups = Vec::new();
    let (mut raw, mut series) = (Vec::new(), 0);
    let mut with = table.tracks.iter().filter_map(|track| Some((track, track.histograms.as_ref()?))).peekable();
    while let Some((track, histograms)) = with.next() {
        let encoded: Vec<Option<Bytes>> = (0..track.ranks.len())
            .map(|at| histograms.get(at)?.as_ref().filter(|one| keeps(track, one)).map(|one| one.encode()))
            .collect();
        let slices: Vec<Option<&[u8]>> = encoded.iter().map(Option::as_deref).collect();
        let mut of_series = Vec::new();
        column::put_histograms(&mut of_series, &slices);
        varint::put_bytes(&mut raw, &of_series);
        series += 1;
        if raw.len() >= HISTOGRAM_GROUP_BYTES || with.peek().is_none() {
            groups.push((std::mem::take(&mut series), pack(packer, std::mem::take(&mut raw))?));
        }
    }
    Ok(groups)
}

/// An empty histogram needs no bytes: a histogram series that took in nothing has one in any case.
fn keeps(track: &Track, histogram: &Histogram) -> bool {
    track.series.kind() != Kind::Histogram || !histogram.is_empty()
}

fn pack(packer: &mut Packer, raw: Vec<u8>) -> Result<Packed, BlockError> {
    if raw.len() > FRAME_BYTES_MAX { Err(BlockError::Bytes(raw.len() as u64)) } else { Ok(packer.pack(raw)) }
}
