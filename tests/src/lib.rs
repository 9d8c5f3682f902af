//! Tests of whole clusters, and what they are made of.
//!
//! - [`Program`]: a real process on free ports, with its log kept when a test fails;
//! - [`eventually`]: waiting on a condition, never on time;
//! - [`Oracle`]: nodes whose every frame is known, so that a test can add up what the cluster must show;
//! - [`Cluster`]: aggregators that know each other.

mod cluster;
mod oracle;
mod program;

pub use cluster::Cluster;
pub use oracle::{Known, Oracle};
pub use program::{Program, binary};
pub use starling_testkit::{LIMIT, eventually};
