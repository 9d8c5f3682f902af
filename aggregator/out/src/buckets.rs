//! Classic buckets: a fixed ladder of bounds, the same in every scrape.
//!
//! The ladder is 1, 2, 5, 10 and so on: of durations from 10 microseconds to 1,000 seconds, of all else from the smallest to
//! the largest value that Starling's layout tells apart. A value counts below the bound that Starling's own bucket of it
//! begins at or below, so one that is exactly a bound is always below it; of values above a bound those up to 0.8 % count
//! below it too, as they share a bucket with it.

use starling_proto::histogram::{HIGHEST, Histogram, bucket_bounds};

/// The unit of durations.
const SECONDS: &str = "s";

/// Bounds in the unit of the series, and in its fixed point; ascending.
pub(crate) fn bounds(unit: &str, scale: u8) -> Vec<(f64, u64)> {
    let scale = i32::from(scale);
    let (lowest, highest) = if unit == SECONDS { (-5, 3) } else { (-scale, 12 - scale) };
    let mut bounds = Vec::new();
    for exponent in lowest.max(-scale)..=highest {
        for digit in [1u64, 2, 5] {
            let Some(fixed) =
                10u64.checked_pow((exponent + scale).unsigned_abs()).and_then(|ten| ten.checked_mul(digit))
            else {
                continue;
            };
            if fixed > HIGHEST || (exponent == highest && digit > 1) {
                continue;
            }
            // The nearest number to the decimal text, so that it is spelled as that text.
            if let Ok(bound) = format!("{digit}e{exponent}").parse() {
                bounds.push((bound, fixed));
            }
        }
    }
    bounds
}

/// How many values of `histogram` are at or below each of `bounds`: rising, at most the count.
pub(crate) fn cumulative(histogram: &Histogram, bounds: &[(f64, u64)]) -> Vec<u64> {
    let mut buckets = histogram.buckets().peekable();
    let mut reached = 0;
    bounds
        .iter()
        .map(|(_, bound)| {
            while let Some((_, count)) = buckets.next_if(|(index, _)| bucket_bounds(*index).0 <= *bound) {
                reached += count;
            }
            reached
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::spelled;

    #[test]
    fn bounds_rise_and_are_spelled_short() {
        for (unit, scale, count, first, last) in [
            ("s", 9, 25, "1e-05", "1000.0"),
            ("s", 3, 19, "0.001", "1000.0"),
            ("By", 0, 37, "1.0", "1e+12"),
            ("1", 6, 37, "1e-06", "1e+06"),
        ] {
            let bounds = bounds(unit, scale);
            assert!(bounds.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
            assert_eq!(bounds.len(), count, "{unit} {scale}");
            assert_eq!((spelled(bounds[0].0).as_str(), spelled(bounds[count - 1].0).as_str()), (first, last));
        }
    }

    /// Scenario 14.
    #[test]
    fn each_value_is_in_the_row_whose_bounds_hold_it() {
        let bounds = bounds("s", 9);
        for seconds in [50e-6, 2e-3, 0.2, 3.0, 12.0, 90.0, 1e-9, 999.0] {
            let value = (seconds * 1e9) as u64;
            let below = cumulative(&Histogram::of(value, 1), &bounds);
            assert!(below.is_sorted());
            let row = below.iter().position(|count| *count == 1).unwrap();
            assert!(seconds <= bounds[row].0 && (row == 0 || seconds > bounds[row - 1].0), "{seconds} in {row}");
        }
        assert_eq!(cumulative(&Histogram::of(2_000_000_000_000, 3), &bounds).last(), Some(&0), "above all bounds");
    }
}
