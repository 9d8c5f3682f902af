//! The bytes of `Merge.sums` and `Raw.sums`.
//!
//! ```text
//! form       1 byte   1
//! groups     varint
//! per group, by ascending number:
//!   number   varint   the first whole, then the distance to the one before less one
//!   cells    varint   0: the same as in the first group, and nothing follows (so with one frame, or one zone)
//!   series   per cell, by ascending number: varint (gap << 1 | has a distribution)
//!   frames   varint   of every cell when they are all equal, else 0 and one varint per cell
//!   values   per cell, by kind of the series:
//!     counter    2 varints (128 bits, low half first)
//!     gauge      zigzag varint minimum; varint maximum - minimum; when that is not 0:
//!                2 varints sum - minimum * frames; the distribution as a histogram, if it has one
//!     histogram  varint length, sparse bytes of the histogram
//! ```
//! Numbers of series and groups are those of the log the entry stands in. The same sums with the same numbers give
//! the same bytes. A reader allocates at most in proportion to the bytes it was given, and every value is bounded by
//! its frames, so that no later sum can overflow.

use std::sync::Arc;

use starling_proto::group::Group;
use starling_proto::{
    catalogue::Kind,
    histogram::{self, Histogram},
    limits::{COUNTER_INCREMENT_MAX, GAUGE_MAGNITUDE_MAX},
    series::Series,
    varint::{self, Reader, VarintError},
};

use super::{
    cell::{Cell, GaugeSum, HISTOGRAM_COUNT_MAX, HISTOGRAM_SUM_MAX, Sum, distribution_of_one},
    sums::{Row, Sums},
};

const FORM: u8 = 1;
/// Cells of one entry: 256 groups of 256 series.
pub const CELLS_MAX: usize = 65_536;
/// Longest sparse form of a histogram: 4,608 buckets of two escaped Rice codes, and its head.
const HISTOGRAM_BYTES_MAX: usize = 128 * 1024;

/// From series and groups to numbers, for writing.
pub trait Numbering {
    /// Number of a series.
    fn series_number(&self, series: &Series) -> Option<u32>;
    /// Number of a group, 0 for the whole cluster.
    fn group_number(&self, group: &Group) -> Option<u32>;
}

/// From numbers to series and groups, for reading.
pub trait Definitions {
    /// The series with a number.
    fn series(&self, number: u32) -> Option<&Series>;
    /// The group with a number.
    fn group(&self, number: u32) -> Option<&Group>;
}

/// Why bytes are not sums.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The first byte names no form.
    #[error("sums start with form {0}, known is {FORM}")]
    Form(u8),
    /// A number of a series or group that the log never defined.
    #[error("sums use {what} {number}, which is not defined")]
    Undefined {
        /// "series" or "group".
        what: &'static str,
        /// Its number.
        number: u64,
    },
    /// More groups or cells than the bytes can hold or than [`CELLS_MAX`], or none.
    #[error("sums announce {0} cells or groups")]
    Count(u64),
    /// A value beyond what its frames can add up to.
    #[error("a value of {0} exceeds what its frames can add up to")]
    Value(Series),
    /// A histogram is damaged.
    #[error("a histogram in sums: {0}")]
    Histogram(#[from] histogram::DecodeError),
    /// A number is cut or too long.
    #[error("sums are damaged")]
    Number(#[from] VarintError),
    /// Bytes after the end.
    #[error("sums are followed by {0} more bytes")]
    Trailing(usize),
}

/// The bytes of `sums`; `None` when a series or group has no number.
#[must_use]
pub fn encode(sums: &Sums, numbering: &impl Numbering) -> Option<Vec<u8>> {
    let mut rows = Vec::with_capacity(sums.len());
    for row in sums.rows() {
        rows.push((numbering.group_number(&row.group)?, numbering.series_number(&row.series)?, &row.cell));
    }
    rows.sort_unstable_by_key(|&(group, series, _)| (group, series));
    let mut out = Vec::with_capacity(16 + rows.len() * 8);
    out.push(FORM);
    varint::put(&mut out, rows.chunk_by(|a, b| a.0 == b.0).count() as u64);
    let mut next_group = 0;
    let mut first_group = None;
    for cells in rows.chunk_by(|a, b| a.0 == b.0) {
        let group = u64::from(cells[0].0);
        varint::put(&mut out, group - next_group);
        next_group = group + 1;
        if first_group.is_some_and(|first| same_cells(first, cells)) {
            varint::put(&mut out, 0);
            continue;
        }
        first_group.get_or_insert(cells);
        varint::put(&mut out, cells.len() as u64);
        let mut next_series = 0;
        for &(_, series, cell) in cells {
            let distributed = matches!(&cell.sum, Sum::Gauge(GaugeSum { distribution: Some(_), .. }));
            varint::put(&mut out, (u64::from(series) - next_series) << 1 | u64::from(distributed));
            next_series = u64::from(series) + 1;
        }
        let frames = cells[0].2.frames;
        if cells.iter().all(|&(_, _, cell)| cell.frames == frames) {
            varint::put(&mut out, u64::from(frames));
        } else {
            varint::put(&mut out, 0);
            cells.iter().for_each(|&(_, _, cell)| varint::put(&mut out, u64::from(cell.frames)));
        }
        cells.iter().for_each(|&(_, _, cell)| put_value(&mut out, cell));
    }
    Some(out)
}

fn same_cells(a: &[(u32, u32, &Cell)], b: &[(u32, u32, &Cell)]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.1 == b.1 && a.2 == b.2)
}

/// Appends what a cell holds besides its frames. Also what the hash of a view is made of.
pub(super) fn put_value(out: &mut Vec<u8>, cell: &Cell) {
    match &cell.sum {
        Sum::Counter(sum) => varint::put_u128(out, *sum),
        Sum::Gauge(gauge) => {
            varint::put_signed(out, gauge.min);
            let spread = gauge.max.abs_diff(gauge.min);
            varint::put(out, spread);
            // Equal extremes: the sum and the distribution follow.
            if spread > 0 {
                let rest = gauge.sum - i128::from(gauge.min) * i128::from(cell.frames);
                varint::put_u128(out, rest.unsigned_abs());
                if let Some(distribution) = &gauge.distribution {
                    varint::put_bytes(out, &distribution.encode());
                }
            }
        }
        Sum::Histogram(histogram) => varint::put_bytes(out, &histogram.encode()),
    }
}

/// Reads exactly one set of sums.
///
/// # Errors
/// [`CodecError`], naming what is wrong.
pub fn decode(bytes: &[u8], definitions: &impl Definitions) -> Result<Sums, CodecError> {
    let mut reader = Reader::new(bytes);
    let form = reader.byte()?;
    if form != FORM {
        return Err(CodecError::Form(form));
    }
    let groups = reader.u64()?;
    if groups > reader.rest().len() as u64 {
        return Err(CodecError::Count(groups));
    }
    let mut rows = Vec::new();
    let mut next_group = 0u64;
    for _ in 0..groups {
        let number = next_group.checked_add(reader.u64()?).ok_or(VarintError::TooLong)?;
        next_group = number.checked_add(1).ok_or(VarintError::TooLong)?;
        let group = u32::try_from(number)
            .ok()
            .and_then(|number| definitions.group(number))
            .ok_or(CodecError::Undefined { what: "group", number })?;
        decode_group(&mut reader, definitions, group, &mut rows)?;
    }
    if !reader.is_empty() {
        return Err(CodecError::Trailing(reader.rest().len()));
    }
    Ok(Sums::from_rows(rows))
}

fn decode_group(
    reader: &mut Reader<'_>,
    definitions: &impl Definitions,
    group: &Group,
    rows: &mut Vec<Row>,
) -> Result<(), CodecError> {
    let cells = reader.u64()?;
    if cells == 0 {
        let same = rows.chunk_by(|a, b| a.group == b.group).next().unwrap_or_default();
        if same.is_empty() || same.len() + rows.len() > CELLS_MAX {
            return Err(CodecError::Count(cells));
        }
        let same: Vec<Row> = same.iter().map(|row| Row { group: group.clone(), ..row.clone() }).collect();
        rows.extend(same);
        return Ok(());
    }
    // A cell takes at least 2 bytes: its number and its value.
    let room = (reader.rest().len() / 2).min(CELLS_MAX - rows.len().min(CELLS_MAX));
    if cells > room as u64 {
        return Err(CodecError::Count(cells));
    }
    let mut series = Vec::with_capacity(cells as usize);
    let mut next = 0u64;
    for _ in 0..cells {
        let coded = reader.u64()?;
        let number = next.checked_add(coded >> 1).ok_or(VarintError::TooLong)?;
        next = number.checked_add(1).ok_or(VarintError::TooLong)?;
        let found = u32::try_from(number)
            .ok()
            .and_then(|number| definitions.series(number))
            .ok_or(CodecError::Undefined { what: "series", number })?;
        series.push((found, coded & 1 == 1));
    }
    let all = reader.u64()?;
    let mut frames = Vec::with_capacity(cells as usize);
    for _ in 0..cells {
        let one = if all == 0 { reader.u64()? } else { all };
        let one = u32::try_from(one).ok().filter(|&one| one > 0).ok_or(CodecError::Count(one))?;
        frames.push(one);
    }
    rows.reserve(cells as usize);
    for ((series, distributed), frames) in series.into_iter().zip(frames) {
        let cell = decode_cell(reader, series, distributed, frames)?;
        rows.push(Row { group: group.clone(), series: series.clone(), cell });
    }
    Ok(())
}

fn decode_cell(reader: &mut Reader<'_>, series: &Series, distributed: bool, frames: u32) -> Result<Cell, CodecError> {
    let beyond = || CodecError::Value(series.clone());
    let sum = match series.kind() {
        Kind::Counter => {
            let sum = reader.u128()?;
            if sum > u128::from(COUNTER_INCREMENT_MAX) * u128::from(frames) {
                return Err(beyond());
            }
            Sum::Counter(sum)
        }
        Kind::Gauge => {
            let min = reader.i64()?;
            let spread = reader.u64()?;
            let max = min.checked_add_unsigned(spread).ok_or_else(beyond)?;
            if min < -GAUGE_MAGNITUDE_MAX || max > GAUGE_MAGNITUDE_MAX {
                return Err(beyond());
            }
            let least = i128::from(min) * i128::from(frames);
            let (sum, distribution) = if spread == 0 {
                (least, distributed.then(|| distribution_of_one(min, frames)))
            } else {
                let rest = reader.u128()?;
                if rest > u128::from(spread) * u128::from(frames) {
                    return Err(beyond());
                }
                let distribution = if distributed { Some(decode_histogram(reader, series, frames)?) } else { None };
                // At most 2^63 * 2^32.
                (least + rest.cast_signed(), distribution)
            };
            Sum::Gauge(GaugeSum { sum, min, max, distribution })
        }
        Kind::Histogram => Sum::Histogram(decode_histogram(reader, series, frames)?),
    };
    if distributed && series.kind() != Kind::Gauge {
        return Err(beyond());
    }
    Ok(Cell { frames, sum })
}

fn decode_histogram(reader: &mut Reader<'_>, series: &Series, frames: u32) -> Result<Arc<Histogram>, CodecError> {
    let histogram = Histogram::decode(reader.bytes(HISTOGRAM_BYTES_MAX)?)?;
    let within = u128::from(histogram.count()) <= u128::from(HISTOGRAM_COUNT_MAX) * u128::from(frames)
        && HISTOGRAM_SUM_MAX.checked_mul(u128::from(frames)).is_none_or(|limit| histogram.sum() <= limit);
    if within { Ok(Arc::new(histogram)) } else { Err(CodecError::Value(series.clone())) }
}
