//! What one stream of StatsD gathered since the last flush.

use std::time::Duration;

use starling_proto::limits::COUNTER_INCREMENT_MAX;

use super::{
    carry::Carry,
    line::{Kind, Rate},
};
use crate::receive::{
    INCREMENT_MAX, Refusal,
    fixed::Fixed,
    observation::{Number, StreamKey},
};

/// Decimal digits of counts with fractions that are shown; what is smaller is kept until it adds up.
const SHOWN_DIGITS: u32 = 3;
/// Decimal digits that are added up: those a text has.
const COUNTED_DIGITS: u32 = 6;

/// A stream: name, tags and type.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: StreamKey,
    pub(super) name: String,
    pub(super) service: Option<String>,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) kind: Kind,
    pub(super) unit: &'static str,
    /// Decimal digits of a value in the layout of histograms.
    pub(super) digits: u8,
    /// Samples since the last flush.
    pub(super) samples: u64,
    /// It stands in the list of those to be flushed.
    pub(super) is_due: bool,
    /// When its last line came.
    pub(super) seen: Duration,
    pub(super) carry: Carry,
    pub(super) count: Count,
    pub(super) gauge: Gauge,
}

/// A count that is not flushed yet.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// In millionths.
    millionths: u128,
    has_fractions: bool,
}

/// The value a gauge has.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    pub(super) value: Option<Fixed>,
    /// The receiver took it.
    pub(super) is_shown: bool,
    /// The newest time a sender stated, in seconds.
    pub(super) time_unix_s: u64,
}

impl Count {
    /// Adds a value that was sampled.
    ///
    /// # Errors
    /// [`Refusal`], for this value.
    pub(super) fn add(&mut self, value: Number, rate: Rate, carry: &mut Carry) -> Result<(), Refusal> {
        let value = match value {
            Number::Integer(value) => Fixed { value, scale: 0 },
            Number::Decimal { .. } | Number::Double(_) => Fixed::counter(value, "")?,
        };
        if value.value < 0 {
            return Err(Refusal::Negative("a count; what rises and falls is a gauge"));
        }
        let whole = 10u64.pow(u32::from(value.scale));
        if value.value.unsigned_abs() / whole > COUNTER_INCREMENT_MAX {
            return Err(Refusal::OutOfRange("the count"));
        }
        self.has_fractions |= value.scale > 0;
        // Below 2^61: at most the largest increment, in millionths.
        let millionths = value.value.unsigned_abs() * (10u64.pow(COUNTED_DIGITS) / whole);
        self.millionths = self.millionths.saturating_add(carry.take(millionths, rate));
        Ok(())
    }

    /// What can be counted now; the rest stays.
    pub(super) fn take(&mut self) -> Number {
        let shown = if self.has_fractions { SHOWN_DIGITS } else { 0 };
        let unit = u128::from(10u64.pow(COUNTED_DIGITS - shown));
        let whole = (self.millionths / unit).min(u128::from(INCREMENT_MAX));
        self.millionths -= whole * unit;
        // At most the largest increment.
        let value = whole as i64;
        if shown == 0 { Number::Integer(value) } else { Number::Decimal { value, scale: SHOWN_DIGITS as u8 } }
    }

    /// True when there is more than was taken.
    pub(super) fn has_more(&self) -> bool {
        self.millionths >= u128::from(10u64.pow(COUNTED_DIGITS))
    }
}

impl Gauge {
    /// Sets or changes the value.
    ///
    /// # Errors
    /// [`Refusal`]; the value stays then.
    pub(super) fn update(
        &mut self,
        value: Number,
        is_change: bool,
        unit: &str,
        time_unix_s: Option<u64>,
    ) -> Result<(), Refusal> {
        if time_unix_s.is_some_and(|time| time < self.time_unix_s) {
            return Err(Refusal::Old);
        }
        let value = Fixed::gauge(value, unit)?;
        self.value = Some(match self.value.filter(|_| is_change) {
            Some(before) => before.plus(value).ok_or(Refusal::OutOfRange("the value"))?,
            None => value,
        });
        self.time_unix_s = time_unix_s.unwrap_or(self.time_unix_s);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::decimal;
    use proptest::prelude::*;

    fn add(count: &mut Count, carry: &mut Carry, value: &str, rate: Rate) -> Result<(), Refusal> {
        count.add(decimal::number(value.as_bytes()).unwrap(), rate, carry)
    }

    #[test]
    fn counts_are_whole_until_a_fraction_comes() {
        let (mut count, mut carry) = (Count::default(), Carry::NOTHING);
        add(&mut count, &mut carry, "3", Rate::ALL).unwrap();
        add(&mut count, &mut carry, "1", Rate { part: 3, whole: 10 }).unwrap();
        assert_eq!((count.take(), count.take()), (Number::Integer(6), Number::Integer(0)));
        add(&mut count, &mut carry, "2", Rate { part: 3, whole: 10 }).unwrap();
        assert_eq!(count.take(), Number::Integer(7), "10 in all");
        add(&mut count, &mut carry, "0.0004", Rate::ALL).unwrap();
        assert_eq!(count.take(), Number::Decimal { value: 0, scale: 3 });
        add(&mut count, &mut carry, "0.0007", Rate::ALL).unwrap();
        assert_eq!(count.take(), Number::Decimal { value: 1, scale: 3 }, "what is small adds up");
    }

    #[test]
    fn a_wild_count_is_refused_and_costs_nothing() {
        let (mut count, mut carry) = (Count::default(), Carry::NOTHING);
        for wild in ["-1", "1e300", "nan", "99999999999999999", "1e18"] {
            assert!(add(&mut count, &mut carry, wild, Rate::ALL).is_err(), "{wild}");
        }
        let most = COUNTER_INCREMENT_MAX.to_string();
        (0..1000).for_each(|_| add(&mut count, &mut carry, &most, Rate { part: 1, whole: 1_000_000_000 }).unwrap());
        assert_eq!(count.take(), Number::Integer(INCREMENT_MAX as i64));
        assert!(count.has_more());
    }

    #[test]
    fn gauges_are_set_and_changed_and_never_go_back_in_time() {
        let mut gauge = Gauge::default();
        let mut update = |value: &str, is_change, time| {
            gauge.update(decimal::number(value.as_bytes()).unwrap(), is_change, "", time).map(|()| gauge.value)
        };
        let whole = |value| Ok(Some(Fixed { value, scale: 0 }));
        assert_eq!(update("-5", true, None), whole(-5), "one that is not known begins at 0");
        assert_eq!((update("7", false, Some(100)), update("+2", true, None)), (whole(7), whole(9)));
        assert_eq!(
            (update("1", false, Some(99)), update("nan", false, None)),
            (Err(Refusal::Old), Err(Refusal::NotFinite("the value")))
        );
        assert_eq!(update("0.5", true, None), Ok(Some(Fixed { value: 95, scale: 1 })));
    }

    proptest! {
        #[test]
        fn fractions_are_exact_in_all(values in prop::collection::vec(0u64..10_000_000, 1..50)) {
            let (mut count, mut carry, mut taken) = (Count::default(), Carry::NOTHING, 0u64);
            for value in &values {
                add(&mut count, &mut carry, &format!("{}.{:06}", value / 1_000_000, value % 1_000_000), Rate::ALL).unwrap();
                taken += match count.take() {
                    Number::Integer(value) => value as u64 * 1000,
                    Number::Decimal { value, .. } => value as u64,
                    Number::Double(_) => unreachable!(),
                };
            }
            prop_assert_eq!(taken, values.iter().sum::<u64>() / 1000);
        }
    }
}
