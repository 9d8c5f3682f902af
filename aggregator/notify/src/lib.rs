//! Who is told of an alert, how, and until it was taken.
//!
//! Reading order:
//!
//! - [`Config`]: notifiers and routes, read from a TOML file with every mistake named;
//! - [`Desk`]: what is to be said to whom, when, and what was taken. Pure: no clock, no runtime, no network;
//! - [`Message`]: episodes that are said in one go, and how a receiver of each kind wants them written;
//! - [`Notifiers`]: the desk with a clock and the network, for who judges alerts.
//!
//! What is promised: of each episode a receiver takes its beginning before its end, never the end alone, never the beginning
//! after the end. Without faults each comes once. With faults each comes at least once, with the same key.

mod config;
mod connect;
mod desk;
mod destination;
mod encode;
mod heartbeat;
mod hours;
mod labels;
mod message;
mod metrics;
mod run;
#[cfg(test)]
mod samples;
mod send;
mod settings;
#[cfg(test)]
mod simulation;
mod text;

pub use config::{Config, Notifier, Plan, Route};
pub use desk::{Action, DeadLetter, Desk, Outcome, newer};
pub use heartbeat::{Heartbeat, Pulse};
pub use labels::labels;
pub use message::{Item, Message, What};
pub use metrics::Metrics;
pub use run::Notifiers;
pub use settings::{Kind, NotifierSettings, RouteSettings};
