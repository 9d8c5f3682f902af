//! History: what is kept of the seconds of the cluster, of its groups and of its nodes, and what is computed over it.
//!
//! - [`Subject`]: whose seconds; [`Tier`]: how fine they are kept;
//! - [`Cell`]: one series over one step, as a reader sees it; [`Coverage`]: how much of the step there is;
//! - [`column`]: whole numbers in the shortest of nine forms;
//! - [`Selection`] of [`Matcher`]s: which series, and when.
//!
//! Pure: no file, no clock, no runtime. The shell in the aggregator feeds it and keeps its bytes.

mod cell;
pub mod column;
mod coverage;
mod matcher;
mod selection;
mod subject;
mod tier;

pub use cell::{Cell, SeriesCells};
pub use coverage::Coverage;
pub use matcher::{Matcher, MatcherError, PATTERN_LEN_MAX};
pub use selection::Selection;
pub use subject::{Subject, SubjectError};
pub use tier::Tier;
