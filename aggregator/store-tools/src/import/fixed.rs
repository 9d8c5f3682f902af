//! Numbers in the fixed point of a series.

use starling_proto::series::Series;

/// Whole numbers up to this are the same as a number with a fraction.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A number in the fixed point of its series, when it is exactly that.
pub(super) fn fixed(series: &Series, value: f64) -> Option<i64> {
    let fixed = (value * 10f64.powi(series.scale().into())).round();
    // `as` is exact below 2^53.
    (fixed.abs() <= WHOLE_MAX && series.to_f64(fixed as i128).to_bits() == value.to_bits()).then_some(fixed as i64)
}
