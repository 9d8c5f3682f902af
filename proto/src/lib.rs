//! What both ends of a Starling wire agree on.
//!
//! - the messages and services, generated from `proto/` without `protoc`: [`v1`] and [`live`];
//! - the metric [`catalogue`] and [`series::Series`], the name of a thing measured;
//! - the [`histogram`] layout, its sparse form and the rules that take in foreign shapes;
//! - the [`frame`] codec of the stream from a node to its aggregator;
//! - the form of an [`address`] and the [`limits`] that every reader of foreign bytes checks before it allocates;
//! - what every Starling program offers its operator: [`service`].
//!
//! Everything but [`service`] is pure: no clock, no randomness (ids apart), no input or output.

pub mod address;
pub mod catalogue;
pub mod frame;
pub mod histogram;
pub mod ids;
pub mod limits;
pub mod series;
pub mod service;
pub mod varint;

/// Messages and services of `starling.v1`, as generated.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    unused_qualifications,
    clippy::large_futures,
    clippy::semicolon_if_nothing_returned
)]
pub mod v1 {
    tonic::include_proto!("starling.v1");
}

/// Messages of the page's WebSocket, `starling.live.v1`, as generated.
#[allow(missing_docs, unreachable_pub, clippy::all, unused_qualifications)]
pub mod live {
    tonic::include_proto!("starling.live.v1");
}

/// Descriptors of all messages and services with their comments, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
