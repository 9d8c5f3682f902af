//! The bytes of `Merge.sums` and `Raw.sums`.
//!
//! ```text
//! form       1 byte   2
//! groups     varint
//! per group, by ascending number:
//!   number   varint   the first whole, then the distance to the one before less one
//!   cells    varint   0: the same as in the first group, and nothing follows (so with one frame, or one zone)
//!   series   per cell, by ascending number: varint (gap << 2 | kind): 0 counter, 1 gauge, 2 gauge with its
//!            distribution, 3 histogram
//!   frames   varint   of every cell when they are all equal, else 0 and one varint per cell
//!   values   per cell, by its kind:
//!     counter    2 varints (128 bits, low half first)
//!     gauge      zigzag varint minimum; varint maximum - minimum; when that is not 0:
//!                2 varints sum - minimum * frames; the distribution as a histogram, if it has one
//!     histogram  varint length, sparse bytes of the histogram
//! ```
//! Numbers of series and groups are those of the log the entry stands in. The kind travels with the cell, so that the
//! bytes can be read without knowing what the numbers mean: whether they are well formed depends on them alone. The
//! same sums with the same numbers give the same bytes. A reader allocates at most in proportion to the bytes it was
//! given, and every value is bounded by its frames, so that no later sum can overflow.

use std::collections::BTreeMap;

use starling_proto::{
    group::Group,
    ids::NodeId,
    series::Series,
    varint::{self, Reader, VarintError},
};

use super::{
    cell::Cell,
    census::{BusyCore, Census, NumberedCensus, NumberedCore},
    sums::{Row, Sums},
    value::{self, ValueError},
};

const FORM: u8 = 2;
/// Cells of one entry: 256 groups of 256 series.
pub const CELLS_MAX: usize = 65_536;
/// From numbers to series and groups.
pub trait Definitions {
    /// The series with a number; `None` when there is no room for it here.
    fn series(&self, number: u32) -> Option<&Series>;
    /// The group with a number, 0 for the whole cluster; `None` when there is no room for it here.
    fn group(&self, number: u32) -> Option<&Group>;
    /// The node of the stream with a number; `None` when it is not known here.
    fn node(&self, _stream: u32) -> Option<&NodeId> {
        None
    }
}

/// A cell under the numbers of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedCell {
    /// Number of the group, 0 for the whole cluster.
    pub group: u32,
    /// Number of the series.
    pub series: u32,
    /// What is summed.
    pub cell: Cell,
}

/// Sums as they travel: under the numbers of one log, which mean nothing elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumberedSums {
    /// Strictly ascending by (group, series).
    cells: Vec<NumberedCell>,
    /// Strictly ascending by group.
    census: Vec<NumberedCensus>,
}

impl NumberedSums {
    /// Takes cells in any order; no key may stand twice.
    #[must_use]
    pub fn of(mut cells: Vec<NumberedCell>) -> Self {
        cells.sort_unstable_by_key(|cell| (cell.group, cell.series));
        debug_assert!(cells.is_sorted_by_key(|cell| (cell.group, cell.series)));
        Self { cells, census: Vec::new() }
    }

    /// With what is behind them, in any order; no group may stand twice.
    #[must_use]
    pub fn with_census(mut self, mut census: Vec<NumberedCensus>) -> Self {
        census.sort_unstable_by_key(|row| row.group);
        self.census = census;
        self
    }

    /// What is behind the sums, ascending by group.
    #[must_use]
    pub fn census(&self) -> &[NumberedCensus] {
        &self.census
    }

    /// The cells, ascending by group and series.
    #[must_use]
    pub fn cells(&self) -> &[NumberedCell] {
        &self.cells
    }

    /// Keeps the cells for which `keep` is true.
    pub fn retain(&mut self, keep: impl FnMut(&NumberedCell) -> bool) {
        self.cells.retain(keep);
    }

    /// Leaves out all groups but the whole cluster.
    pub fn retain_cluster(&mut self) {
        self.cells.retain(|cell| cell.group == 0);
        self.census.retain(|row| row.group == 0);
    }

    /// The sums by name, and how many cells were left out: those without room here, those of another kind than their
    /// series has by its definition, and one for the census of each group without room.
    #[must_use]
    pub fn resolve(&self, definitions: &impl Definitions) -> (Sums, u32) {
        let mut rows = Vec::with_capacity(self.cells.len());
        for cells in self.cells.chunk_by(|a, b| a.group == b.group) {
            let Some(group) = definitions.group(cells[0].group) else { continue };
            for NumberedCell { series, cell, .. } in cells {
                if let Some(series) = definitions.series(*series).filter(|series| series.kind() == cell.kind()) {
                    rows.push(Row { group: group.clone(), series: series.clone(), cell: cell.clone() });
                }
            }
        }
        let mut census = BTreeMap::new();
        for row in &self.census {
            let Some(group) = definitions.group(row.group) else { continue };
            let core =
                |core: &NumberedCore| Some(BusyCore { busy: core.busy, node: definitions.node(core.stream)?.clone() });
            let cores = row.cores.iter().filter_map(core);
            census.entry(group.clone()).or_insert_with(|| Census::of(row.frames, row.counts, cores));
        }
        let sums = Sums::from_rows(rows);
        let left_out = self.cells.len() - sums.len() + (self.census.len() - census.len());
        (sums.with_census(census), left_out as u32)
    }

    /// Their bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.cells.len() * 8);
        out.push(FORM);
        varint::put(&mut out, self.cells.chunk_by(|a, b| a.group == b.group).count() as u64);
        let mut next_group = 0;
        let mut first_group = None;
        for cells in self.cells.chunk_by(|a, b| a.group == b.group) {
            let group = u64::from(cells[0].group);
            varint::put(&mut out, group - next_group);
            next_group = group + 1;
            if first_group.is_some_and(|first| same_cells(first, cells)) {
                varint::put(&mut out, 0);
                continue;
            }
            first_group.get_or_insert(cells);
            put_cells(&mut out, cells);
        }
        out
    }
}

fn put_cells(out: &mut Vec<u8>, cells: &[NumberedCell]) {
    varint::put(out, cells.len() as u64);
    let mut next_series = 0;
    for NumberedCell { series, cell, .. } in cells {
        let series = u64::from(*series);
        varint::put(out, (series - next_series) << 2 | value::kind_code(cell));
        next_series = series + 1;
    }
    let frames = cells[0].cell.frames;
    if cells.iter().all(|cell| cell.cell.frames == frames) {
        varint::put(out, u64::from(frames));
    } else {
        varint::put(out, 0);
        cells.iter().for_each(|cell| varint::put(out, u64::from(cell.cell.frames)));
    }
    cells.iter().for_each(|cell| value::put(out, &cell.cell));
}

fn same_cells(a: &[NumberedCell], b: &[NumberedCell]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.series == b.series && a.cell == b.cell)
}

/// Why bytes are not sums.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The first byte names no form.
    #[error("sums start with form {0}, known is {FORM}")]
    Form(u8),
    /// More groups or cells than the bytes can hold or than [`CELLS_MAX`], or none.
    #[error("sums announce {0} cells or groups")]
    Count(u64),
    /// A value is damaged or too large.
    #[error("the value of series {series} {error}")]
    Value {
        /// Its number.
        series: u32,
        /// What is wrong with it.
        error: ValueError,
    },
    /// A core is busier than always.
    #[error("a core is busy for {0} ten-thousandths of the time")]
    Share(u64),
    /// A number is cut or too long.
    #[error("sums are damaged")]
    Number(#[from] VarintError),
    /// Bytes after the end.
    #[error("sums are followed by {0} more bytes")]
    Trailing(usize),
}

/// Reads exactly one set of sums.
///
/// # Errors
/// [`CodecError`], naming what is wrong.
pub fn decode(bytes: &[u8]) -> Result<NumberedSums, CodecError> {
    let mut reader = Reader::new(bytes);
    let form = reader.byte()?;
    if form != FORM {
        return Err(CodecError::Form(form));
    }
    let groups = reader.u64()?;
    if groups > reader.rest().len() as u64 {
        return Err(CodecError::Count(groups));
    }
    let mut cells = Vec::new();
    let mut next_group = 0;
    for _ in 0..groups {
        let group = next_number(&mut next_group, reader.u64()?)?;
        decode_group(&mut reader, group, &mut cells)?;
    }
    if !reader.is_empty() {
        return Err(CodecError::Trailing(reader.rest().len()));
    }
    Ok(NumberedSums { cells, census: Vec::new() })
}

/// The number `gap` places after the one before.
pub(super) fn next_number(next: &mut u64, gap: u64) -> Result<u32, VarintError> {
    let number = next.checked_add(gap).ok_or(VarintError::TooLong)?;
    *next = number.checked_add(1).ok_or(VarintError::TooLong)?;
    u32::try_from(number).map_err(|_| VarintError::TooLong)
}

fn decode_group(reader: &mut Reader<'_>, group: u32, all: &mut Vec<NumberedCell>) -> Result<(), CodecError> {
    let cells = reader.u64()?;
    if cells == 0 {
        let same = all.chunk_by(|a, b| a.group == b.group).next().unwrap_or_default();
        if same.is_empty() || same.len() + all.len() > CELLS_MAX {
            return Err(CodecError::Count(cells));
        }
        let same: Vec<_> = same.iter().map(|cell| NumberedCell { group, ..cell.clone() }).collect();
        all.extend(same);
        return Ok(());
    }
    let heads = read_heads(reader, cells, all.len())?;
    all.reserve(heads.len());
    for Head { series, kind, frames } in heads {
        let cell = value::read(reader, kind, frames).map_err(|error| CodecError::Value { series, error })?;
        all.push(NumberedCell { group, series, cell });
    }
    Ok(())
}

/// What is written of a cell before all values.
struct Head {
    series: u32,
    /// Of [`value::kind_code`].
    kind: u64,
    frames: u32,
}

/// Reads the heads of the `cells` of a group, after `read` cells of others.
fn read_heads(reader: &mut Reader<'_>, cells: u64, read: usize) -> Result<Vec<Head>, CodecError> {
    // A cell takes at least 2 bytes: its number and its value.
    let room = (reader.rest().len() / 2).min(CELLS_MAX - read.min(CELLS_MAX));
    if cells > room as u64 {
        return Err(CodecError::Count(cells));
    }
    let mut heads = Vec::with_capacity(cells as usize);
    let mut next = 0;
    for _ in 0..cells {
        let coded = reader.u64()?;
        heads.push(Head { series: next_number(&mut next, coded >> 2)?, kind: coded & 3, frames: 0 });
    }
    let every = reader.u64()?;
    for head in &mut heads {
        let one = if every == 0 { reader.u64()? } else { every };
        head.frames = u32::try_from(one).ok().filter(|&one| one > 0).ok_or(CodecError::Count(one))?;
    }
    Ok(heads)
}

/// Reads the cells of one group whose series are `wanted`, ascending: a fraction of what [`decode`] costs, because the
/// histograms of the others are passed over.
///
/// # Errors
/// [`CodecError`], naming what is wrong with what was looked at.
pub(super) fn decode_some(
    bytes: &[u8],
    group: u32,
    wanted: impl Fn(u32) -> bool,
) -> Result<Vec<(u32, Cell)>, CodecError> {
    let mut reader = Reader::new(bytes);
    let form = reader.byte()?;
    if form != FORM {
        return Err(CodecError::Form(form));
    }
    let groups = reader.u64()?;
    // A group without cells has those of the first one.
    let mut first: Option<Vec<(u32, Cell)>> = None;
    let mut next_group = 0;
    for _ in 0..groups {
        let number = next_number(&mut next_group, reader.u64()?)?;
        if number > group {
            break;
        }
        let cells = reader.u64()?;
        if cells == 0 {
            match first {
                Some(same) if number == group => return Ok(same),
                Some(_) => continue,
                None => return Err(CodecError::Count(cells)),
            }
        }
        let mut found = Vec::new();
        for Head { series, kind, frames } in read_heads(&mut reader, cells, 0)? {
            let error = |error| CodecError::Value { series, error };
            if (number == group || first.is_none()) && wanted(series) {
                found.push((series, value::read(&mut reader, kind, frames).map_err(error)?));
            } else {
                value::skip(&mut reader, kind).map_err(error)?;
            }
        }
        if number == group {
            return Ok(found);
        }
        first.get_or_insert(found);
    }
    Ok(Vec::new())
}
