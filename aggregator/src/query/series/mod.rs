//! Any series by name and attributes, over the seconds that are kept. Pure.
//!
//! - [`asked`]: the request, checked;
//! - [`list`]: which series there are, of one second;
//! - [`fold`]: how seconds become the points of an answer, by [`track`] for each series;
//! - [`about`]: what a series is, for the wire.

mod about;
mod asked;
mod fold;
mod list;
mod track;

pub(super) use about::{About, pairs};
pub(super) use asked::{Asked, STATISTICS_MAX, USUAL_SECONDS};
pub(super) use fold::Fold;
pub(super) use list::list;

#[cfg(test)]
mod tests;
