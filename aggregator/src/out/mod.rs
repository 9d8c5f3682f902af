//! Series for others: to be scraped at `/metrics/cluster`.
//!
//! What is written and how is pure (`starling-out`); here is where it comes from and where it goes.

mod follow;
mod scrape;

pub(crate) use self::{
    follow::Follow,
    scrape::{INDEX, Scrapes, routes},
};
