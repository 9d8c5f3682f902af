//! What is added up: sums of samples over nodes, exact and in any order.
//!
//! - [`Group`]: the whole cluster, or the nodes with one label value;
//! - [`Cell`]: one series of one group, added over nodes;
//! - [`Sums`]: cells by (group, series): a commutative group under [`Sums::add`] and [`Sums::subtract`];
//! - [`Accumulator`]: the dense form while many frames are added to one tick;
//! - `codec`: the bytes of `Merge.sums` and `Raw.sums`.
//!
//! Only series of [`starling_proto::catalogue::Scope::Cluster`] take part; the rest of a frame is drill-down and is
//! skipped here. Minimum, maximum and the error bound of a histogram are idempotent: adding twice changes nothing,
//! and taking back leaves them where they are.

mod accumulator;
mod cell;
mod codec;
mod names;
mod sums;
#[cfg(test)]
mod tests;

pub use accumulator::Accumulator;
pub(crate) use cell::within_caps;
pub use cell::{Cell, GaugeSum, RollupError, Sum};
pub use codec::{CELLS_MAX, CodecError, Definitions, Numbering, decode, encode};
pub use names::Names;
pub use sums::Sums;
