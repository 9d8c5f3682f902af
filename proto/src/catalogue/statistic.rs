//! What can be read of a series at one second.

use std::fmt;

/// One number of a series, over the nodes that reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Statistic {
    /// Counter: increment per second. Gauge: by [`super::OverNodes`]. Histograms have none.
    Value,
    /// Sum over nodes; of a histogram the sum of its values.
    Sum,
    /// Sum / nodes; of a histogram the mean of its values.
    Mean,
    /// Smallest value of a node. Gauges.
    Min,
    /// Largest value of a node; of a histogram its largest value. Gauges and histograms.
    Max,
    /// Nodes that reported it.
    Nodes,
    /// Values in a histogram.
    Count,
    /// Quantile in parts per million: of a histogram's values, or of the nodes' values of a gauge that keeps their
    /// distribution.
    Quantile(u32),
}

/// A text that names no statistic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no statistic, there are value, sum, mean, min, max, nodes, count and quantiles such as p50 or p99.9")]
pub struct StatisticError(String);

/// Parts of a quantile.
const MILLION: u32 = 1_000_000;

impl Statistic {
    /// Median.
    pub const P50: Self = Self::Quantile(500_000);
    /// 95th percentile.
    pub const P95: Self = Self::Quantile(950_000);
    /// 99th percentile.
    pub const P99: Self = Self::Quantile(990_000);
    /// 99.9th percentile.
    pub const P999: Self = Self::Quantile(999_000);

    /// The statistic called `text`: a word, or "p" and a percentile of 0 to 100 with at most four decimals.
    ///
    /// # Errors
    /// [`StatisticError`] for any other text, listing what there is.
    pub fn parse(text: &str) -> Result<Self, StatisticError> {
        Ok(match text {
            "value" => Self::Value,
            "sum" => Self::Sum,
            "mean" => Self::Mean,
            "min" => Self::Min,
            "max" => Self::Max,
            "nodes" => Self::Nodes,
            "count" => Self::Count,
            _ => {
                let refused = || StatisticError(text.chars().take(32).collect());
                let percent = text.strip_prefix('p').ok_or_else(refused)?;
                let (whole, part) = percent.split_once('.').unwrap_or((percent, "0"));
                let digits =
                    |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
                if !digits(whole, 3) || !digits(part, 4) {
                    return Err(refused());
                }
                let whole: u32 = whole.parse().map_err(|_| refused())?;
                let part: u32 = format!("{part:0<4}").parse().map_err(|_| refused())?;
                let ppm = whole * 10_000 + part;
                if ppm > MILLION {
                    return Err(refused());
                }
                Self::Quantile(ppm)
            }
        })
    }

    /// The quantile, 0 to 1; `None` for the others.
    #[must_use]
    pub fn quantile(self) -> Option<f64> {
        match self {
            Self::Quantile(ppm) => Some(f64::from(ppm) / f64::from(MILLION)),
            _ => None,
        }
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "value",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Nodes => "nodes",
            Self::Count => "count",
            Self::Quantile(ppm) => return write!(f, "p{}", f64::from(*ppm) / 10_000.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for text in ["value", "sum", "mean", "min", "max", "nodes", "count", "p0", "p50", "p99.9", "p99.9999", "p100"] {
            assert_eq!(Statistic::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Statistic::parse("p99.9"), Ok(Statistic::P999));
        for text in ["", "p", "p101", "p100.1", "p-1", "p1e1", "p50.", "p.5", "p99.99999", "median", "P50"] {
            let error = Statistic::parse(text).unwrap_err().to_string();
            assert!(error.contains("p99.9"), "{text}: {error}");
        }
    }
}
