//! The Starling aggregator.
//!
//! Nodes stream their frames to it ([`Config::grpc_listen`], service `Ingest`); it merges them into a ledger in which
//! every frame counts once, keeps that ledger equal to its peers' (`Peer`), finds them by gossip, and answers for the
//! whole cluster (`Query`, `Cluster`), together with gRPC reflection and health. The admin port serves `/metrics`,
//! `/live` and `/ready`.
//!
//! [`Service`] is one aggregator; the binary `starling-aggregator` runs one in a process of its own.

mod alerts;
pub mod blocks;
mod bucket;
mod catch_up;
mod clock;
mod config;
mod copies;
mod engine;
mod enrolment;
mod fleet;
mod floor;
mod history;
mod ingest;
mod ledger_task;
mod membership;
mod metrics;
mod out;
mod peer;
mod quarantine;
mod query;
mod reading;
mod requests;
mod roster;
mod select;
mod service;

pub use config::{
    AlertSettings, Config, Duplicates, EngineSettings, EnrolmentSettings, HistorySettings, OutageSettings,
    RemoteWriteSettings, SeriesScope, WriteVersion,
};
pub use metrics::Metrics;
pub use service::Service;
pub use starling_notify::Metrics as NotifierMetrics;
