//! Limits of a query: what one person may ask of an aggregator that has to keep up with a second a second.

/// Longest text of a query, in bytes: ten screens of it. Longer ones come from a machine that joins names by `|`.
pub const TEXT_LEN_MAX: usize = 16 * 1024;
/// Deepest nesting of brackets. A dashboard needs ten; each level costs stack.
pub const NESTING_MAX: usize = 64;
/// Operators in one query, unary ones too: a chain of them is as deep as it is long, for the parser too. With the deepest
/// nesting beside them a query fits into 1.5 MB of stack without optimisation.
pub const OPERATORS_MAX: usize = 100;
/// Longest text in quotes, in bytes; a regular expression is one of them.
pub const STRING_LEN_MAX: usize = 4 * 1024;
/// Largest compiled regular expression, in bytes. `.*a{50}.*` needs a thousandth of it.
pub const REGEX_BYTES_MAX: usize = 1024 * 1024;
/// Steps of one answer, per series: what Prometheus allows.
pub const POINTS_MAX: i64 = 11_000;
/// Longest range, offset or resolution, in milliseconds: a hundred years, so that no sum of times overflows.
pub const DURATION_MAX_MS: i64 = 100 * 365 * 86_400_000;
/// Farthest moment that may be asked for, in milliseconds of Unix time to either side: the year 9999.
pub const TIME_MAX_MS: i64 = 253_402_300_799_999;

/// What an evaluation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Samples looked at, each as often as a window holds it; a histogram counts as its buckets.
    pub samples: u64,
    /// Cells of all intermediate tables together: rows times steps. 16 bytes each.
    pub cells: u64,
    /// Series in any one table.
    pub series: usize,
}

impl Default for Limits {
    /// 500 million samples (about two seconds of one core), 16 million cells (256 MB), 100,000 series.
    fn default() -> Self {
        Self { samples: 500_000_000, cells: 16_000_000, series: 100_000 }
    }
}
