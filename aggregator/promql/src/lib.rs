//! PromQL over samples that were selected before.
//!
//! - [`Query::parse`]: the text, checked; what is not supported is refused by name and place;
//! - [`Query::selects`]: which samples it needs, of which time;
//! - [`Query::evaluate`]: its answer from these, as Prometheus 3 gives it;
//! - [`names`]: Starling's series in Prometheus's spelling, and back.
//!
//! Beside Prometheus 3 these differ, on purpose: a quantile of one of Starling's own histograms is the middle of its bucket
//! and at most the largest value, as everywhere in Starling; a subquery without a resolution takes
//! [`Options::subquery_step_ms`].
//!
//! Pure: no store, no clock, no runtime.

mod duration;
mod error;
mod eval;
mod histogram;
mod labels;
pub mod limits;
pub mod names;
mod plan;
mod query;
mod range;
mod samples;
mod text;
mod value;

pub use duration::parse_duration;
pub use error::{EvalError, Failure, ParseError, Position};
pub use histogram::{Bucket, FloatHistogram};
pub use labels::{BOUND, LabelMatcher, Labels, NAME};
pub use query::Query;
pub use range::{Hint, OfStep, Options, Range, Select};
pub use samples::{FloatPoint, HistogramSamples, Samples, SeriesSamples, is_stale, stale_marker};
pub use value::{Answer, SampleValue, SeriesValues, Value, write_number};
