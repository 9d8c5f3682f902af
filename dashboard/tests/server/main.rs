//! The server against test doubles of aggregators: what it answers, and what it does when things go wrong.
//!
//! Every wait is for a condition with a limit; the limits are far above what is needed.
#![allow(clippy::unwrap_used)]

mod access;
mod alerts;
mod catalogue;
mod endpoints;
mod failover;
mod harness;
mod history;
mod live;
mod mcp;
mod numbers;
mod prometheus;
mod schema;
mod slow;
