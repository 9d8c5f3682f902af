//! The dashboard server of Starling.
//!
//! It follows any aggregator over gRPC, holds the last 15 minutes in memory, and serves the page, the JSON endpoints of
//! `/api/v1`, their WebSocket twins under `/ws`, and the page's binary WebSocket `/ws/v1/live`. It keeps nothing on
//! disk; any number of servers may run side by side.
//!
//! One way through the code, along the path of the data: `feed` (gRPC in) → `hub` (pure: rings, publications, verdict)
//! → `live` and `rest` (WebSocket and JSON out) → `http` (what is let in, headers, the page). `access` knows who may ask. The cost of a second does
//! not grow with the number of clients: it is encoded once, and a client is a cursor.
//!
//! Start it with [`Service`]. A [`Viewer`] is given what a page is given, in the same process and without a server.

pub mod access;
mod config;
mod demand;
mod error;
mod feed;
mod http;
mod hub;
mod live;
mod mcp;
mod metrics;
mod rest;
mod service;
mod shared;
mod terminal_text;

pub use config::{Config, Limits, Sessions};
pub use hub::{MinuteChart, OF_A_MINUTE};
pub use live::Viewer;
pub use metrics::Metrics;
pub use service::Service;
pub use terminal_text::harmless;
