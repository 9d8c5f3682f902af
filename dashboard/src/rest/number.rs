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

/// A 64-bit whole number: as text, as gRPC's JSON has it, because not every reader has all of them as a number.
pub(crate) fn wide(from: u64) -> Value {
    from.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
