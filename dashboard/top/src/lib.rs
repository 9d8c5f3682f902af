//! Starling in a terminal.
//!
//! What is shown is what the page is sent: seconds and states of `live.proto`, out of the hub of the dashboard server, which
//! runs in this process and follows any aggregator over gRPC. So verdict, limits and words are the page's.
//!
//! - `text`: what others named, made harmless for a terminal;
//! - `source`: where messages come from;
//! - [`look`]: one look, for scripts.

mod source;
mod status;
mod text;

pub use source::Source;
pub use status::{State, Status, look};
