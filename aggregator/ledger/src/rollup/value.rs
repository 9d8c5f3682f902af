//! The bytes of one cell: of what [`super::codec`] sends, and of what the hash of a view is made of.

use std::sync::Arc;

use starling_proto::{
    histogram::{self, Histogram},
    limits::{COUNTER_INCREMENT_MAX, GAUGE_MAGNITUDE_MAX},
    varint::{self, Reader, VarintError},
};

use super::cell::{Cell, GaugeSum, HISTOGRAM_COUNT_MAX, HISTOGRAM_SUM_MAX, Sum, distribution_of_one};

/// Longest sparse form of a histogram: 4,608 buckets of two escaped Rice codes, and its head.
const HISTOGRAM_BYTES_MAX: usize = 128 * 1024;

/// Why bytes are not the value of a cell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// It is beyond what its frames can add up to.
    #[error("exceeds what its frames can add up to")]
    Beyond,
    /// Its histogram is damaged.
    #[error("holds a damaged histogram: {0}")]
    Histogram(#[from] histogram::DecodeError),
    /// A number is cut or too long.
    #[error("is damaged: {0}")]
    Number(#[from] VarintError),
}

/// How the kind of a cell is written; see [`super::codec`].
pub(super) const fn kind_code(cell: &Cell) -> u64 {
    match &cell.sum {
        Sum::Counter(_) => 0,
        Sum::Gauge(GaugeSum { distribution: None, .. }) => 1,
        Sum::Gauge(GaugeSum { distribution: Some(_), .. }) => 2,
        Sum::Histogram(_) => 3,
    }
}

/// Appends what a cell holds besides its frames. Also what the hash of a view is made of.
pub(super) fn put(out: &mut Vec<u8>, cell: &Cell) {
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

/// Reads the cell of one series.
///
/// # Errors
/// [`ValueError`].
pub(super) fn read(reader: &mut Reader<'_>, kind: u64, frames: u32) -> Result<Cell, ValueError> {
    let sum = match kind {
        0 => {
            let sum = reader.u128()?;
            if sum > u128::from(COUNTER_INCREMENT_MAX) * u128::from(frames) {
                return Err(ValueError::Beyond);
            }
            Sum::Counter(sum)
        }
        1 | 2 => {
            let distributed = kind == 2;
            let min = reader.i64()?;
            let spread = reader.u64()?;
            let max = min.checked_add_unsigned(spread).ok_or(ValueError::Beyond)?;
            if min < -GAUGE_MAGNITUDE_MAX || max > GAUGE_MAGNITUDE_MAX {
                return Err(ValueError::Beyond);
            }
            let least = i128::from(min) * i128::from(frames);
            let (sum, distribution) = if spread == 0 {
                (least, distributed.then(|| distribution_of_one(min, frames)))
            } else {
                let rest = reader.u128()?;
                if rest > u128::from(spread) * u128::from(frames) {
                    return Err(ValueError::Beyond);
                }
                let distribution = if distributed { Some(decode_histogram(reader, frames)?) } else { None };
                // At most 2^63 * 2^32.
                (least + rest.cast_signed(), distribution)
            };
            Sum::Gauge(GaugeSum { sum, min, max, distribution })
        }
        _ => Sum::Histogram(decode_histogram(reader, frames)?),
    };
    Ok(Cell { frames, sum })
}

/// Passes over the cell of one series.
///
/// # Errors
/// [`ValueError`] for numbers that are cut; what is beyond limits is not noticed.
pub(super) fn skip(reader: &mut Reader<'_>, kind: u64) -> Result<(), ValueError> {
    match kind {
        0 => drop(reader.u128()?),
        1 | 2 => {
            reader.i64()?;
            if reader.u64()? > 0 {
                reader.u128()?;
                if kind == 2 {
                    reader.bytes(HISTOGRAM_BYTES_MAX)?;
                }
            }
        }
        _ => drop(reader.bytes(HISTOGRAM_BYTES_MAX)?),
    }
    Ok(())
}

fn decode_histogram(reader: &mut Reader<'_>, frames: u32) -> Result<Arc<Histogram>, ValueError> {
    let histogram = Histogram::decode(reader.bytes(HISTOGRAM_BYTES_MAX)?)?;
    let within = u128::from(histogram.count()) <= u128::from(HISTOGRAM_COUNT_MAX) * u128::from(frames)
        && HISTOGRAM_SUM_MAX.checked_mul(u128::from(frames)).is_none_or(|limit| histogram.sum() <= limit);
    if within { Ok(Arc::new(histogram)) } else { Err(ValueError::Beyond) }
}
