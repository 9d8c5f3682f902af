//! Many nodes from one process: hand-made connections that replay frames encoded before.
//!
//! A real daemon encodes each frame for its connection; ten thousand of them in one process would cost more than the
//! aggregator they are to load. Here a frame is encoded once per template and second of a period, by the real
//! encoder, and sent by many nodes: about 20 us of processor a frame, counted apart from what is measured.
//!
//! - [`Shape`], [`Template`]: what a node sends;
//! - `session`: the rules of one node (pins, acknowledgements, reconnects), pure;
//! - `wire`: a socket, in plain text or under TLS;
//! - `http2`: one gRPC stream on one HTTP/2 connection, pure;
//! - [`Swarm`]: the sockets and the clock;
//! - [`Watch`]: one reader of the cluster's views, which measures how late they come.

mod counts;
mod drive;
mod http2;
mod session;
mod shape;
mod watch;
mod wire;

pub use counts::Counts;
pub use drive::{Labels, Proofs, Swarm, SwarmConfig};
pub use shape::{Shape, Template};
pub use watch::{Seen, Watch};
