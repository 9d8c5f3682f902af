//! The Starling daemon of a host.
//!
//! Once a second, on the second, [`Service`] cuts what the collectors read of the host and what applications sent by
//! OTLP and StatsD into one frame and hands it to an [`Uplink`], which keeps it until an aggregator has acknowledged it. Sampling
//! never waits for the network: when no aggregator takes frames, they wait in a bounded ring, and on the disk for
//! the next start.
//!
//! ```text
//! collect ──┐
//!           ├─ sampler ── report ── uplink: session (rules) ── link (gRPC) ── aggregator
//! receive ──┘  (schedule)
//! ```
//!
//! [`Uplink`] stands alone, as do [`Schedule`] and [`Streams`], so that simulated nodes and tests send what they want by the
//! same rules.

mod collect;
mod config;
mod looking;
mod metrics;
mod once;
mod receive;
mod report;
mod sampler;
mod schedule;
mod service;
mod streams;
mod uplink;

pub use collect::{CollectConfig, CollectSettings, Collection, Collectors, Source, Switches, host_facts, machine};
pub use config::Config;
pub use metrics::Metrics;
pub use receive::{Mapping, NegativeGauges, Promotion, ReceiverLimits, ScrapeTarget};
pub use schedule::{Cut, Reading, Schedule, Turn};
pub use service::Service;
pub use streams::Streams;
pub use uplink::{
    BrokenOff, Connected, DetailLine, LossReason, Losses, NotTaken, Uplink, UplinkConfig, UplinkHandle, UplinkStats,
};
