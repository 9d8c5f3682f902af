//! Numbers in fixed point, whose digits may change from one observation of a stream to the next.

use starling_proto::limits::{GAUGE_MAGNITUDE_MAX, SCALE_MAX};

use super::{observation::Number, refusal::Refusal};

/// Digits that a double has: beyond them fixed point would only repeat its rounding.
const EXACT_MAX: f64 = (1u64 << 53) as f64;
/// Digits of a small gauge that are kept: 0.00004 is not 0.
const SIGNIFICANT: f64 = 1e2;

/// `value / 10^scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fixed {
    pub(super) value: i64,
    pub(super) scale: u8,
}

impl Fixed {
    pub(super) const ZERO: Self = Self { value: 0, scale: 0 };

    /// A counter. Integers keep all digits; doubles as many as are usual for their unit, and fewer when they are large.
    pub(super) fn counter(number: Number, unit: &str) -> Result<Self, Refusal> {
        Self::with_digits(number, usual_scale(unit))
    }

    /// A gauge: as a counter, but small doubles have more digits, so that a few are left.
    pub(super) fn gauge(number: Number, unit: &str) -> Result<Self, Refusal> {
        let mut scale = usual_scale(unit);
        let size = match number {
            Number::Double(value) => Some(value),
            Number::Decimal { value, scale } => Some(value as f64 / ten_to(scale)),
            Number::Integer(_) => None,
        };
        if let Some(value) = size {
            while unit != "By" && scale < SCALE_MAX && value != 0.0 && value.abs() * ten_to(scale) < SIGNIFICANT {
                scale += 1;
            }
        }
        Self::with_digits(number, scale)
    }

    /// A whole number: a double is rounded.
    pub(super) fn whole(number: Number) -> Result<Self, Refusal> {
        Self::with_digits(number, 0)
    }

    fn with_digits(number: Number, mut scale: u8) -> Result<Self, Refusal> {
        let value = match number {
            Number::Integer(value) => return Ok(Self { value, scale: 0 }),
            Number::Decimal { value, scale: written } => {
                // Fewer digits always fit.
                return Self { value, scale: written }
                    .rescaled(written.min(scale))
                    .ok_or(Refusal::OutOfRange("the value"));
            }
            Number::Double(value) if !value.is_finite() => return Err(Refusal::NotFinite("the value")),
            Number::Double(value) => value,
        };
        while scale > 0 && value.abs() * ten_to(scale) > EXACT_MAX {
            scale -= 1;
        }
        let fixed = (value * ten_to(scale)).round();
        if fixed.abs() > GAUGE_MAGNITUDE_MAX as f64 {
            return Err(Refusal::OutOfRange("the value"));
        }
        // In range, as was just checked.
        Ok(Self { value: fixed as i64, scale })
    }

    /// The same number with another number of digits; `None` when it does not fit. Fewer digits round.
    pub(super) fn rescaled(self, scale: u8) -> Option<Self> {
        let value = if scale >= self.scale {
            self.value.checked_mul(10i64.checked_pow(u32::from(scale - self.scale))?)?
        } else {
            let unit = 10i64.checked_pow(u32::from(self.scale - scale))?;
            let half = unit / 2 * self.value.signum();
            self.value.checked_add(half)? / unit
        };
        Some(Self { value, scale })
    }

    /// This less `other`, in the digits of the finer one; `None` when it does not fit.
    pub(super) fn less(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let value = self.rescaled(scale)?.value.checked_sub(other.rescaled(scale)?.value)?;
        Some(Self { value, scale })
    }

    /// This and `other`, in the digits of the finer one; `None` when it does not fit.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        self.less(Self { value: other.value.checked_neg()?, ..other })
    }
}

fn ten_to(scale: u8) -> f64 {
    10f64.powi(i32::from(scale))
}

/// Decimal digits kept of a sum or gauge that came as a double: none of bytes, six of seconds and ratios, which are
/// small, three of everything else.
fn usual_scale(unit: &str) -> u8 {
    match unit {
        "By" => 0,
        "s" | "1" | "" | "%" => 6,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(value: f64, unit: &str) -> (i64, u8) {
        let Fixed { value, scale } = Fixed::gauge(Number::Double(value), unit).unwrap();
        (value, scale)
    }

    #[test]
    fn digits_follow_the_unit_and_the_size() {
        assert_eq!(gauge(0.25, "1"), (250_000, 6));
        assert_eq!(gauge(12.5, "By"), (13, 0), "bytes are whole");
        assert_eq!(gauge(-21.5, "Cel"), (-21_500, 3));
        assert_eq!(gauge(0.00004, "kWh"), (400, 7));
        assert_eq!(gauge(1e-8, ""), (10, 9));
        assert_eq!(gauge(0.0, "kWh"), (0, 3));
        assert_eq!(gauge(5e12, "1"), (5_000_000_000_000_000, 3), "a double has no more digits");
        assert!(
            Fixed::gauge(Number::Double(1e300), "1").is_err() && Fixed::gauge(Number::Double(f64::NAN), "1").is_err()
        );
        assert_eq!(Fixed::counter(Number::Double(1e-8), "1"), Ok(Fixed { value: 0, scale: 6 }));
        assert_eq!(Fixed::whole(Number::Double(2.6)), Ok(Fixed { value: 3, scale: 0 }));
        let decimal = |value, scale, unit| Fixed::gauge(Number::Decimal { value, scale }, unit).unwrap();
        assert_eq!(decimal(125, 1, ""), Fixed { value: 125, scale: 1 }, "as written");
        assert_eq!(decimal(125, 1, "By"), Fixed { value: 13, scale: 0 });
        assert_eq!(decimal(4, 5, "kWh"), Fixed { value: 4, scale: 5 }, "small ones keep their digits");
        assert_eq!(Fixed::gauge(Number::Integer(i64::MAX), "1"), Ok(Fixed { value: i64::MAX, scale: 0 }));
    }

    #[test]
    fn digits_change_without_changing_the_number() {
        let five = Fixed { value: 5, scale: 0 };
        assert_eq!(five.rescaled(6), Some(Fixed { value: 5_000_000, scale: 6 }));
        assert_eq!(Fixed { value: -1_500, scale: 3 }.rescaled(0), Some(Fixed { value: -2, scale: 0 }));
        assert_eq!(Fixed { value: i64::MAX, scale: 0 }.rescaled(1), None);
        assert_eq!(Fixed { value: 5_500, scale: 3 }.less(five), Some(Fixed { value: 500, scale: 3 }));
        assert_eq!(five.plus(Fixed { value: -15, scale: 1 }), Some(Fixed { value: 35, scale: 1 }));
    }
}
