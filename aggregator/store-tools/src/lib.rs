//! What a person does with a store of history: `starling store check | stats | export | import | snapshot | restore`.
//!
//! Reading is safe while an aggregator runs on the store: segments never change, the log only grows, and what is replaced
//! meanwhile is looked up again. What writes takes the store for itself and says whom to stop when it is in use.

mod check;
mod command;
mod copies;
mod damages;
mod export;
mod import;
mod place;
mod progress;
mod reader;
mod stats;
mod times;

pub use command::StoreArgs;
