//! Series for others: to be scraped at `/metrics/cluster`, and sent by remote write.
//!
//! What is written and how is pure (`starling-out`); here is where it comes from and where it goes.

mod follow;
mod remote;
mod scrape;

pub(crate) use self::{
    follow::Follow,
    remote::RemoteWrite,
    scrape::{INDEX, Scrapes, routes},
};
