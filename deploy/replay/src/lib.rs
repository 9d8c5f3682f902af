//! Simulated nodes: replays of one host's real samples with varied load.
//!
//! A demonstration of a cluster needs more nodes than the machine it runs on. Each simulated node takes every second
//! this host's real [`Content`](starling_proto::frame::Content), varies its load by a [`Variation`] of its own, and
//! sends it over an uplink of its own, as a daemon would. Its `Hello` says that it is simulated, and every endpoint shows
//! that. Nothing here is used by a real daemon.

mod fleet;
mod variation;

pub use fleet::{FleetConfig, ReplayFleet};
pub use variation::Variation;
