//! History: what is kept of the seconds of the cluster, of its groups and of its nodes, and what is computed over it.
//!
//! - [`Subject`]: whose seconds; [`Tier`]: how fine they are kept;
//! - [`Cell`]: one series over one step, as a reader sees it; [`Coverage`]: how much of the step there is;
//! - [`mod@column`]: whole numbers in the shortest of nine forms;
//! - [`Block`]: some steps of a subject in columns, from a [`BlockBuilder`] or by [`roll_up`];
//! - [`Standing`]: what is held of a window, to compare with what another process holds;
//! - [`Selection`] of [`Matcher`]s: which series, and when.
//!
//! Pure: no file, no clock, no runtime. The shell in the aggregator feeds it and keeps its bytes.

mod block;
mod cell;
pub mod column;
mod coverage;
mod derive;
mod exact;
mod matcher;
mod numbers;
mod range;
mod rollup;
mod selection;
mod standing;
mod subject;
mod table;
mod tier;

pub use block::{
    Block, BlockBuilder, BlockError, CELLS_MAX, FRAME_BYTES_MAX, NodeSecond, NodeSeconds, RowError, SERIES_MAX,
    SecondValue, Versions,
};
pub use cell::{Cell, SeriesCells};
pub use coverage::{Coverage, Step};
pub use matcher::{Matcher, MatcherError, PATTERN_LEN_MAX};
pub use rollup::roll_up;
pub use selection::Selection;
pub use standing::Standing;
pub use subject::{Subject, SubjectError};
pub use table::STEPS_MAX;
pub use tier::Tier;
