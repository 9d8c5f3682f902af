//! What every Starling program does alike, written once: its settings and how it is started (`settings`,
//! [`program`]), what is said about its flags ([`command_text`]), its parts and their supervision ([`parts`]), what it
//! counts (`metrics`), the log, the admin port, how it listens and dials ([`listen`], [`channel`], [`http_client`]), who it
//! is and who may call it ([`credentials`], [`identity`], [`gate`]), the wall clock, waits between attempts, signals, what
//! the service manager hears, the gRPC stubs, and how its own requests reach the daemon's OTLP receiver.

pub mod admin;
pub mod backoff;
pub mod channel;
pub mod clock;
pub mod command_text;
pub mod credentials;
pub mod enrolment;
pub mod gate;
pub mod generated;
pub mod http_client;
pub mod identity;
pub mod listen;
pub mod log;
pub mod machine;
pub mod metrics;
pub mod parts;
pub mod program;
mod reload;
pub mod requests;
pub mod secret;
mod service_manager;
pub mod settings;
pub mod shutdown;
pub mod state_folder;
pub mod trust;
pub mod version;

/// Clients and servers of `starling.v1`, as generated; the messages are those of [`starling_proto::v1`].
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    unused_qualifications,
    clippy::large_futures,
    clippy::semicolon_if_nothing_returned
)]
#[rustfmt::skip]
#[path = "gen/starling.v1.rs"]
pub mod grpc;

pub use program::{Program, Running};
