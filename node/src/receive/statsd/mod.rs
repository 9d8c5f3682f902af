//! StatsD and DogStatsD: lines ([`line`]) gathered by stream ([`table`]), from UDP and unix sockets ([`server`]).

mod carry;
mod drops;
mod line;
mod ports;
mod server;
mod stream;
mod table;
mod tags;
#[cfg(test)]
mod tests;

pub(crate) use ports::{StatsdPorts, StatsdSettings};
pub(crate) use server::serve;
pub use table::NegativeGauges;
pub(crate) use table::StatsdRules;
