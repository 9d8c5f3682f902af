//! Starling's series as others take them: to be scraped, and by remote write.
//!
//! - [`Total`]: what a series has reached, from its cells second by second: counters and histograms are running totals from
//!   the first second that was taken, with the time of it;
//! - [`exposition`]: totals as text 0.0.4, OpenMetrics 1.0 or delimited protobuf, by what the scraper asks for.
//! - [`mod@write`]: totals as remote write sends them, what waits, and what an answer means.
//!
//! Names and labels are those of [`starling_promql::names`]. Pure: no clock, no runtime.

mod buckets;
pub mod exposition;
mod native;
mod number;
mod total;
pub mod write;

pub use self::{
    native::{Native, SCHEMA},
    total::{ENDED_AFTER, FORGOTTEN_AFTER, Reached, Total, Totals},
};
