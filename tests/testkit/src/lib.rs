//! What the tests of several crates need, written once. Only tests depend on it; nothing of it is the product.
//!
//! - [`eventually`] and [`until`]: waiting on a condition, never on time;
//! - [`Engine`]: a real Prometheus or VictoriaMetrics;
//! - [`FakeAggregator`]: takes the frames of a node and does only what the test says;
//! - [`Scripted`]: answers a dashboard out of a [`Script`] that a test writes second by second;
//! - [`update`]: a table of nodes as the message that an aggregator begins a stream with.
#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod alerts;
mod engine;
mod fake_aggregator;
mod over_time;
mod promql;
mod scripted;
mod update;
mod wait;

pub use engine::{Engine, EngineSamples, growth, installed};
pub use fake_aggregator::{FakeAggregator, Manners, Seen};
pub use scripted::{Script, Scripted};
pub use update::update;
pub use wait::{LIMIT, eventually, until};
