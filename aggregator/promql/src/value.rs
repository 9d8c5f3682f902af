//! What a query answers.

use std::{fmt, sync::Arc};

use crate::{FloatHistogram, Labels};

/// One value of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleValue {
    /// A number.
    Float(f64),
    /// A histogram.
    Histogram(Arc<FloatHistogram>),
}

impl fmt::Display for SampleValue {
    /// A number as [`write_number`] does; a histogram by its count, sum and buckets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(value) => f.write_str(&write_number(*value)),
            Self::Histogram(histogram) => {
                write!(f, "{{count:{}, sum:{}", write_number(histogram.count()), write_number(histogram.sum()))?;
                for bucket in histogram.buckets() {
                    let open = if bucket.lower == bucket.upper { '[' } else { '(' };
                    write!(f, ", {open}{},{}]:{}", bucket.lower, bucket.upper, write_number(bucket.count))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A series and its values, ascending in time (milliseconds of Unix time).
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesValues {
    /// Its labels.
    pub labels: Labels,
    /// Its values.
    pub points: Vec<(i64, SampleValue)>,
}

/// The answer itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// One number at one time.
    Scalar(i64, f64),
    /// A text at one time.
    Text(i64, String),
    /// Of each series one value at one time.
    Vector(Vec<SeriesValues>),
    /// Of each series its values over a range, sorted by labels.
    Matrix(Vec<SeriesValues>),
}

/// An answer and what is to be said with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The answer.
    pub value: Value,
    /// What makes it doubtful. Each text once.
    pub warnings: Vec<String>,
    /// What is worth knowing. Each text once.
    pub infos: Vec<String>,
}

/// A number as Prometheus writes it in its answers: all digits that tell it from its neighbours, never an exponent.
#[must_use]
pub fn write_number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_prometheus_does() {
        let written = |value| write_number(value);
        assert_eq!(written(2.0), "2");
        assert_eq!(written(1e21), "1000000000000000000000");
        assert_eq!(written(1e-7), "0.0000001");
        assert_eq!(written(f64::NEG_INFINITY), "-Inf");
        assert_eq!(written(-f64::NAN), "NaN");
        assert_eq!(written(-0.0), "-0");
    }
}
