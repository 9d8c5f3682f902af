//! What both ends of a Starling wire agree on.
//!
//! - the messages, generated from `proto/` without `protoc` and committed: [`v1`] and [`live`];
//! - the metric [`catalogue`] and [`series::Series`], the name of a thing measured;
//! - the [`histogram`] layout, its sparse form and the rules that take in foreign shapes;
//! - the [`frame`] codec of the stream from a node to its aggregator;
//! - the [`interner`]: one number and one allocation per series in a process;
//! - the [`nodes`] of the table, sent by difference;
//! - the form of an [`address`] and the [`limits`] that every reader of foreign bytes checks before it allocates;
//!
//! Pure: no clock, no randomness (ids apart), no input or output, no runtime.

pub mod address;
pub mod bits;
pub mod catalogue;
pub mod frame;
pub mod group;
pub mod hex;
pub mod histogram;
pub mod ids;
pub mod interner;
pub mod label;
pub mod limits;
pub mod nodes;
pub mod series;
pub mod varint;

/// Messages of `starling.v1`, as generated; the stubs of its services are in `starling_service::grpc`.
#[allow(missing_docs, unreachable_pub, clippy::all, unused_qualifications)]
#[rustfmt::skip]
#[path = "gen/starling.v1.rs"]
pub mod v1;

// Nested as the packages are: the generated code of `starling.live.v1` names messages of `starling.v1` as `super::super::v1`.
#[path = "gen"]
mod live_package {
    /// Messages of the page's WebSocket, `starling.live.v1`, as generated.
    #[allow(missing_docs, unreachable_pub, clippy::all, unused_qualifications)]
    #[rustfmt::skip]
    #[path = "starling.live.v1.rs"]
    pub mod v1;
}
pub use live_package::v1 as live;

/// Descriptors of all messages and services with their comments, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

/// The `.proto` files of a build, relative to the folder `proto`.
pub const PROTO_FILES: &[&str] = &[
    "starling/v1/ingest.proto",
    "starling/v1/alerts.proto",
    "starling/v1/peer.proto",
    "starling/v1/query.proto",
    "starling/v1/cluster.proto",
    "starling/v1/enrolment.proto",
    "starling/live/v1/live.proto",
];
