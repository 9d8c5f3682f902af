//! Prometheus: targets that are asked ([`scraper`]) for texts ([`line`], [`exposition`]) or in the binary format ([`binary`]),
//! and remote write ([`mod@write`]).

mod answer;
mod assemble;
mod binary;
mod discovery;
mod exposition;
mod labels;
mod line;
mod login;
mod native;
mod scraper;
mod target;
#[cfg(test)]
mod tests;
mod write;
#[cfg(test)]
mod write_tests;
mod yaml;

pub(crate) use scraper::{ScrapeSettings, serve};
pub use target::ScrapeTarget;
pub(crate) use target::target_list;
pub(crate) use write::{Version, Writes, Written};
