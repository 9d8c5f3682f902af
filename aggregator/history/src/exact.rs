//! One series over one step as it is kept: exact, so that the order of rolling up does not matter.

use std::sync::Arc;

use starling_proto::{catalogue::Kind, histogram::Histogram, series::Series};

use crate::Cell;

/// Bits of a residual that are kept.
const SHORT_BITS: u32 = 14;

/// What a cell is made of. Its numbers are of the single seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exact {
    /// Seconds with data, at least 1.
    pub(crate) seconds: u32,
    /// Sum over the seconds of the nodes behind the value.
    pub(crate) nodes: u64,
    pub(crate) amount: Amount,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Amount {
    /// In the fixed point of the series.
    Fixed(Fixed),
    /// In its unit.
    Float(Float),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fixed {
    pub(crate) sum: i128,
    /// Sum of squares; `None` when it times the seconds is beyond 127 bits. So it is known of a whole only when it is of
    /// every part.
    pub(crate) squares: Option<i128>,
    pub(crate) min: i128,
    pub(crate) max: i128,
    pub(crate) last: i128,
    /// Of a single node; of gauges.
    pub(crate) node_min: i128,
    pub(crate) node_max: i128,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Float {
    pub(crate) sum: f64,
    pub(crate) squares: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) last: f64,
    /// Of a single node; of gauges.
    pub(crate) node_min: f64,
    pub(crate) node_max: f64,
}

impl Exact {
    /// One second of a whole number over `nodes`, with the extremes of single nodes.
    pub(crate) fn second(value: i128, nodes: u64, (node_min, node_max): (i128, i128)) -> Self {
        let squares = value.checked_mul(value);
        let fixed = Fixed { sum: value, squares, min: value, max: value, last: value, node_min, node_max };
        Self { seconds: 1, nodes, amount: Amount::Fixed(fixed) }
    }

    /// One second of a number with a fraction over `nodes`, with the extremes of single nodes.
    pub(crate) fn float(value: f64, nodes: u64, (node_min, node_max): (f64, f64)) -> Self {
        let float =
            Float { sum: value, squares: value * value, min: value, max: value, last: value, node_min, node_max };
        Self { seconds: 1, nodes, amount: Amount::Float(float) }
    }

    /// Adds what came later.
    pub(crate) fn append(&mut self, later: &Self) {
        let seconds = self.seconds.saturating_add(later.seconds);
        match (&mut self.amount, &later.amount) {
            (Amount::Fixed(a), Amount::Fixed(b)) => {
                a.sum = a.sum.saturating_add(b.sum);
                a.squares = a
                    .squares
                    .zip(b.squares)
                    .and_then(|(a, b)| a.checked_add(b))
                    .filter(|sum| sum.checked_mul(seconds.into()).is_some());
                a.min = a.min.min(b.min);
                a.max = a.max.max(b.max);
                a.last = b.last;
                a.node_min = a.node_min.min(b.node_min);
                a.node_max = a.node_max.max(b.node_max);
            }
            (Amount::Float(a), Amount::Float(b)) => {
                a.sum += b.sum;
                a.squares += b.squares;
                // `f64::min` and `max` prefer numbers to what is none.
                a.min = a.min.min(b.min);
                a.max = a.max.max(b.max);
                a.last = b.last;
                a.node_min = a.node_min.min(b.node_min);
                a.node_max = a.node_max.max(b.node_max);
            }
            // A track has one kind of number.
            _ => return,
        }
        self.seconds = seconds;
        self.nodes = self.nodes.saturating_add(later.nodes);
    }

    /// The same in the unit of `series`.
    pub(crate) fn to_float(self, series: &Series) -> Self {
        let Amount::Fixed(fixed) = self.amount else { return self };
        let of = |value| series.to_f64(value);
        let squares = fixed.squares.map_or(f64::NAN, |squares| series.to_f64(squares) * series.to_f64(1));
        let (sum, min, max, last) = (of(fixed.sum), of(fixed.min), of(fixed.max), of(fixed.last));
        let (node_min, node_max) = (of(fixed.node_min), of(fixed.node_max));
        Self { amount: Amount::Float(Float { sum, squares, min, max, last, node_min, node_max }), ..self }
    }

    /// Towards a reader.
    pub(crate) fn cell(&self, series: &Series, histogram: Option<Arc<Histogram>>) -> Cell {
        let gauge = series.kind() == Kind::Gauge;
        let seconds = f64::from(self.seconds.max(1));
        // Histograms count values: those are whole numbers whatever the scale of the series is.
        let of = |value: i128| if series.kind() == Kind::Histogram { value as f64 } else { series.to_f64(value) };
        match &self.amount {
            Amount::Fixed(fixed) => {
                // Exact before it is rounded once.
                let spread = fixed.residual(self.seconds).map_or(f64::NAN, |n| n as f64 * of(1) * of(1) / seconds);
                Cell {
                    seconds: self.seconds,
                    sum: of(fixed.sum),
                    spread,
                    min: of(fixed.min),
                    max: of(fixed.max),
                    last: of(fixed.last),
                    nodes: self.nodes,
                    node_min: gauge.then(|| of(fixed.node_min)),
                    node_max: gauge.then(|| of(fixed.node_max)),
                    histogram,
                }
            }
            Amount::Float(float) => {
                let spread = float.squares - float.sum * (float.sum / seconds);
                let constant = float.min == float.max && spread.is_finite();
                Cell {
                    seconds: self.seconds,
                    sum: float.sum,
                    spread: if constant || spread < 0.0 { 0.0 } else { spread },
                    min: float.min,
                    max: float.max,
                    last: float.last,
                    nodes: self.nodes,
                    node_min: gauge.then_some(float.node_min),
                    node_max: gauge.then_some(float.node_max),
                    histogram,
                }
            }
        }
    }
}

impl Fixed {
    /// Seconds times the sum of squares, less the square of the sum: 0 when all values are the same, never below. `None`
    /// when it is not known.
    pub(crate) fn residual(&self, seconds: u32) -> Option<i128> {
        let whole = self.squares?.checked_mul(seconds.into())?;
        whole.checked_sub(self.sum.checked_mul(self.sum)?)
    }

    /// The sum of squares of a residual; `None` for one that cannot be.
    pub(crate) fn squares_of(residual: i128, sum: i128, seconds: u32) -> Option<i128> {
        if residual < 0 || seconds == 0 {
            return None;
        }
        Some(residual.checked_add(sum.checked_mul(sum)?)? / i128::from(seconds))
    }

    /// A residual as it is kept: below 2^14 itself, above it the 14 highest bits, rounded, and how many follow. The
    /// deviation is off by 0.003 % at most. Every tier is made of the kept steps of the finer one, so that what is rounded
    /// does not depend on the way.
    pub(crate) fn short(residual: i128) -> i128 {
        let low = (i128::BITS - residual.leading_zeros()).saturating_sub(SHORT_BITS);
        if residual < 0 || low == 0 {
            return residual;
        }
        // Rounding up to the next power of two gives its code.
        let rounded = (residual >> low) + (residual >> (low - 1) & 1);
        (i128::from(low) << (SHORT_BITS - 1)) + rounded
    }

    /// The residual of a code; -1 for none.
    pub(crate) fn long(code: i128) -> i128 {
        if code < 1 << SHORT_BITS {
            return code;
        }
        let low = (code >> (SHORT_BITS - 1)) - 1;
        if low > i128::from(i128::BITS - 2 - SHORT_BITS) {
            return -1;
        }
        (code - (low << (SHORT_BITS - 1))) << low
    }

    /// The mean, rounded down.
    pub(crate) fn floor_mean(sum: i128, seconds: u32) -> i128 {
        sum.div_euclid(i128::from(seconds.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_proto::catalogue;

    use super::*;

    fn of(values: &[i64]) -> Exact {
        let second = |value: &i64| Exact::second(i128::from(*value), 1, (i128::from(*value), i128::from(*value)));
        let mut all = values.iter().map(second);
        let mut exact = all.next().unwrap();
        all.for_each(|one| exact.append(&one));
        exact
    }

    proptest! {
        #[test]
        fn any_grouping_gives_the_same(values in prop::collection::vec(prop_oneof![any::<i64>(), -100i64..100], 2..60), cut: prop::sample::Index) {
            let at = 1 + cut.index(values.len() - 1);
            let mut grouped = of(&values[..at]);
            grouped.append(&of(&values[at..]));
            prop_assert_eq!(grouped, of(&values));
            if let Amount::Fixed(fixed) = grouped.amount && let Some(residual) = fixed.residual(grouped.seconds) {
                prop_assert!(residual >= 0);
                prop_assert_eq!(Fixed::squares_of(residual, fixed.sum, grouped.seconds), fixed.squares);
            }
        }
    }

    proptest! {
        #[test]
        fn residuals_are_kept_to_fourteen_bits(residual in 0i128..i128::MAX >> 2, shift in 0u32..125) {
            let residual = residual >> shift;
            let long = Fixed::long(Fixed::short(residual));
            prop_assert!((long - residual).unsigned_abs() <= residual.unsigned_abs() >> 14, "{residual} became {long}");
            prop_assert_eq!(Fixed::short(long), Fixed::short(residual));
        }
    }

    #[test]
    fn a_peak_of_a_second_stays() {
        let mut values = vec![5; 300];
        values[137] = 640;
        let series = Series::of(&catalogue::TCP_OPENED, &[]);
        let cell = of(&values).cell(&series, None);
        assert!((cell.mean() - (5.0 + 635.0 / 300.0)).abs() < 1e-9);
        assert_eq!((cell.max, cell.min, cell.seconds), (640.0, 5.0, 300));
        assert!((cell.deviation() - 36.600_2).abs() < 1e-3, "{}", cell.deviation());
    }
}
