//! The store on a disk that fails.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod crash;
mod damage;
mod full;
mod model;
mod opening;
mod properties;
