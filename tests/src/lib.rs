//! Tests of whole clusters, and what they are made of.
//!
//! - [`Program`]: a real process on free ports, with its log kept when a test fails;
//! - [`eventually`]: waiting on a condition, never on time;
//! - [`Issuer`]: the authority of a cluster, and [`aggregator`]s with its certificates;
//! - [`Secured`]: those of them that a test asks as an operator;
//! - [`Oracle`]: nodes whose every frame is known, so that a test can add up what the cluster must show;
//! - [`Cluster`]: aggregators that know each other;
//! - [`swarm`]: thousands of cheap nodes in one process;
//! - [`imported`]: history that was imported, and programs that answer from it;
//! - [`chaos`]: a cluster under faults, every second of it checked;
//! - [`Hosts`]: hosts of network namespaces with addresses of their own, and a [`Fleet`] on them;
//! - [`every_log_advances`] and [`same_view`]: whether a cluster as a whole is well;
//! - [`python()`], [`Serving`]: clients of others;
//! - [`Cost`] and [`Scrape`]: what a process costs and what it says of itself.

pub mod chaos;
mod cluster;
mod cost;
mod fleet;
mod health;
mod hosts;
pub mod imported;
mod issuer;
mod oracle;
mod program;
mod python;
mod scrape;
mod secured;
pub mod sink;
pub mod swarm;
mod terminal;

pub use cluster::Cluster;
pub use cost::Cost;
pub use fleet::{Fleet, this_second};
pub use health::{Member, every_log_advances, same_view};
pub use hosts::Hosts;
pub use issuer::{Issuer, aggregator};
pub use oracle::{Known, Oracle};
pub use program::{Launch, Lines, Program, binary};
pub use python::{Serving, python};
pub use scrape::{Scrape, http_get};
pub use secured::Secured;
pub use starling_testkit::{LIMIT, eventually};
pub use terminal::Terminal;
