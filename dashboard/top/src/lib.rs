//! Starling in a terminal.
//!
//! What is shown is what the page is sent: seconds and states of `live.proto`, out of the hub of the dashboard server, which
//! runs in this process and follows any aggregator over gRPC, or from the WebSocket of a dashboard server. So verdict, limits and
//! words are the page's.
//!
//! One way through the code, along the path of the data: `source` (messages in) → `model` (pure: what is known and what is looked at)
//! → `draw` (of the model and of nothing else) → `terminal` (keys and the screen, the only part with a clock). [`look`] is one look, for scripts.
//!
//! Everything is bounded: charts by the 1,024 seconds of `rings`, what stands beside them by the memory of `past`, connections by their
//! queues.

mod draw;
mod fleet;
mod format;
mod fresh;
mod map;
mod model;
mod older;
mod past;
mod rings;
mod select;
mod source;
mod status;
mod terminal;

pub use source::Source;
pub use status::{State, Status, look};
pub use terminal::run;
