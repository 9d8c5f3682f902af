//! What is added up: sums of samples over nodes, exact and in any order.
//!
//! - [`Cell`]: one series of one group, added over nodes;
//! - [`Sums`]: cells by (group, series): a commutative group under [`Sums::add`] and [`Sums::subtract`];
//! - [`Accumulator`]: the dense form while many frames are added to one tick;
//! - [`NumberedSums`]: sums under the numbers of one log, and their bytes in `Merge.sums` and `Raw.sums`;
//! - [`Packed`]: sums at rest.
//!
//! Only series of [`starling_proto::catalogue::Scope::Cluster`] take part; the rest of a frame is drill-down and is
//! skipped here. Minimum, maximum and the error bound of a histogram are idempotent: adding twice changes nothing,
//! and taking back leaves them where they are.

mod accumulator;
mod cell;
mod codec;
mod packed;
mod sums;
#[cfg(test)]
mod tests;
mod value;

pub use accumulator::Accumulator;
pub use cell::{Added, Cell, GaugeSum, RollupError, Sum};
pub use codec::{CELLS_MAX, CodecError, Definitions, NumberedCell, NumberedSums, decode};
pub use packed::{Keys, Packed};
pub use sums::Sums;
pub use value::ValueError;
