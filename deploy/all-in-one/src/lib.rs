//! Everything in one process: aggregators, this host's node, simulated nodes and the dashboard.
//!
//! For a look at one host, for a demonstration of a cluster on loopback, and for tests of the page. A fleet runs the
//! programs apart.

mod config;
mod plan;
mod up;

pub use config::{Config, UpArgs};
pub use up::Up;
