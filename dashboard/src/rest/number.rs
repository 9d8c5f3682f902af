//! Numbers in JSON.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// The largest whole number that every JSON reader has exactly: 2^53 - 1.
const SAFE_MAX: f64 = 9_007_199_254_740_991.0;

/// A number as people write it: a whole one without a point. What is not finite is `null`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Number(pub(crate) f64);

impl Serialize for Number {
    #[allow(clippy::cast_possible_truncation)] // whole and below 2^53
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            is if is.fract() == 0.0 && is.abs() <= SAFE_MAX => to.serialize_i64(is as i64),
            is if is.is_finite() => to.serialize_f64(is),
            _ => to.serialize_none(),
        }
    }
}

impl From<Number> for Value {
    #[allow(clippy::cast_possible_truncation)] // whole and below 2^53
    fn from(from: Number) -> Self {
        match from.0 {
            is if is.fract() == 0.0 && is.abs() <= SAFE_MAX => (is as i64).into(),
            is => is.into(),
        }
    }
}

/// A value in another unit, to twelve figures: 29.5 ms are 29500 µs, and not 29500.000000000004.
pub(crate) fn scaled(value: f64, factor: f64) -> f64 {
    let scaled = value * factor;
    if factor == 1.0 || scaled == 0.0 || !scaled.is_finite() {
        return scaled;
    }
    let last_figure = 10_f64.powf(11.0 - scaled.abs().log10().floor());
    let rounded = (scaled * last_figure).round() / last_figure;
    if rounded.is_finite() { rounded } else { scaled }
}

/// A 64-bit whole number: as text, as gRPC's JSON has it, because not every reader has all of them as a number.
pub(crate) fn wide(from: u64) -> Value {
    from.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_unit_brings_no_figures_of_its_own() {
        assert_eq!(scaled(0.029_5, 1e6), 29_500.0);
        assert_eq!(scaled(0.059, 1e6), 59_000.0);
        assert_eq!(scaled(1.234_567_891_234_5e-9, 1e6), 0.001_234_567_891_23);
        assert_eq!(scaled(0.1 + 0.2, 1.0), 0.1 + 0.2, "what stays in its unit stays as it is");
        assert_eq!(scaled(-0.003, 1e3), -3.0);
        assert!(scaled(f64::NAN, 1e6).is_nan() && scaled(f64::INFINITY, 1e6).is_infinite() && scaled(0.0, 1e6) == 0.0);
        assert!(scaled(5e-324, 1e3) > 0.0, "the smallest number there is does not vanish");
    }

    #[test]
    fn whole_numbers_have_no_point_and_wide_ones_are_safe() {
        let text = |is: f64| serde_json::to_string(&Number(is)).unwrap();
        for (is, wanted) in [
            (8_075.0, "8075"),
            (-3.0, "-3"),
            (0.0, "0"),
            (0.25, "0.25"),
            (SAFE_MAX, "9007199254740991"),
            (1e20, "1e+20"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
        ] {
            assert_eq!(text(is), wanted, "{is}");
            assert_eq!(Value::from(Number(is)).to_string(), wanted, "{is}");
        }
        assert_eq!(wide(u64::MAX), "18446744073709551615");
    }
}
