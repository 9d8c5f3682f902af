//! What is added up: sums of samples over nodes, exact and in any order.
//!
//! - [`Cell`]: one series of one group, added over nodes;
//! - [`Census`]: who is behind a group, and its busiest cores;
//! - [`Sums`]: cells by (group, series), and the census of each group: a commutative group under [`Sums::add`] and [`Sums::subtract`];
//! - [`Accumulator`]: the dense form while many frames are added to one tick;
//! - [`NumberedSums`]: sums under the numbers of one log, and their bytes in `Merge.sums` and `Raw.sums`;
//! - [`Packed`]: sums at rest.
//!
//! Only series of [`starling_proto::catalogue::Scope::Cluster`] take part; the rest of a frame is drill-down and is
//! skipped here. Minimum, maximum and the error bound of a histogram are idempotent: adding twice changes nothing,
//! and taking back leaves them where they are; so it is with the busiest cores.

mod accumulator;
mod cell;
mod census;
mod census_codec;
mod codec;
mod packed;
mod sums;
#[cfg(test)]
mod tests;
mod value;

pub use accumulator::{Accumulator, Reported};
pub use cell::{Added, Cell, GaugeSum, RollupError, Sum};
pub use census::{BUSIEST_MAX, Busy, BusyCore, Census, Cores, NumberedCensus, NumberedCore, SHARE_MAX, SectionCounts};
pub use census_codec::{decode_census, encode_census};
pub use codec::{CELLS_MAX, CodecError, Definitions, NumberedCell, NumberedSums, decode};
pub use packed::{Keys, Packed};
pub use sums::Sums;
pub use value::ValueError;
