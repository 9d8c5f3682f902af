//! A latency histogram in few, log-spaced rows for drawing.

use std::collections::BTreeMap;

use starling_proto::{
    histogram::{Histogram, bucket_middle},
    live,
};

/// Rows per power of ten. Each is 1.26 times as wide as the one before: far wider than the buckets of the histogram
/// (0.78 %), so that hardly any bucket lies across a bound.
pub(crate) const ROWS_PER_DECADE: f64 = 10.0;

/// Counts over log-spaced bounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Distribution {
    /// Microseconds; one more than counts. Empty without values.
    pub(crate) bounds: Vec<f64>,
    /// Values in `bounds[i]..bounds[i + 1]`. Their sum is the count of the histogram.
    pub(crate) counts: Vec<u64>,
}

/// Spreads the encoded histogram (nanoseconds) over rows; each bucket goes whole to the row of its middle.
///
/// Returns nothing for bytes that are no histogram: the aggregator is of another version then, and everything else of
/// the second is still good.
pub(crate) fn distribution(encoded: &[u8]) -> Distribution {
    Histogram::decode(encoded).map(|histogram| rows(&histogram)).unwrap_or_default()
}

fn rows(histogram: &Histogram) -> Distribution {
    let mut rows = BTreeMap::<i32, u64>::new();
    for (bucket, count) in histogram.buckets() {
        *rows.entry(row(bucket_middle(bucket))).or_default() += count;
    }
    let (Some((&first, _)), Some((&last, _))) = (rows.first_key_value(), rows.last_key_value()) else {
        return Distribution::default();
    };
    Distribution {
        bounds: (first..=last + 1).map(bound).collect(),
        counts: (first..=last).map(|row| rows.get(&row).copied().unwrap_or(0)).collect(),
    }
}

/// The row of a value in nanoseconds. Row 0 starts at 1 µs.
#[allow(clippy::cast_possible_truncation)] // |log10| of a u64 is below 20
fn row(nanos: u64) -> i32 {
    let micros = nanos.max(1) as f64 / 1_000.0;
    // Rounding of log10 may put a value that is exactly a bound one row too low.
    (micros.log10() * ROWS_PER_DECADE + 1e-9).floor() as i32
}

/// Lower bound of a row, microseconds.
fn bound(row: i32) -> f64 {
    10_f64.powf(f64::from(row) / ROWS_PER_DECADE)
}

impl From<Distribution> for live::Distribution {
    #[allow(clippy::cast_possible_truncation)] // bounds are drawn
    fn from(from: Distribution) -> Self {
        Self {
            bounds: from.bounds.into_iter().map(|bound| bound as f32).collect(),
            counts: from.counts.into_iter().map(|count| count as f64).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_proto::histogram::HistogramSum;

    fn of(values: &[(u64, u64)]) -> Distribution {
        let mut sum = HistogramSum::new();
        for &(value, count) in values {
            sum.record(value, count);
        }
        distribution(&sum.to_histogram().encode())
    }

    #[test]
    fn counts_are_kept_and_ends_are_cut() {
        let rows = of(&[(1_000_000, 5), (1_010_000, 2), (50_000_000, 1)]);
        assert_eq!(rows.counts.iter().sum::<u64>(), 8);
        assert_eq!(rows.bounds.len(), rows.counts.len() + 1);
        assert_ne!(rows.counts.first(), Some(&0));
        assert_ne!(rows.counts.last(), Some(&0));
        // 1 ms is the start of row 30, 50 ms lies in row 46 (39.8..50.1 ms).
        assert_eq!(rows.counts.len(), 17);
        assert!((rows.bounds[0] - 1_000.0).abs() < 1e-6);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(of(&[]), Distribution::default());
        assert_eq!(distribution(b"no histogram at all"), Distribution::default());
    }

    #[test]
    fn the_whole_range_is_few_rows() {
        let rows = of(&[(1, 1), (3_600_000_000_000, 1)]);
        assert!(rows.counts.len() <= 130, "{}", rows.counts.len());
    }
}
