//! Gathers the facts: files and the network are read here and nowhere else. Nothing is changed.

mod certificates;
mod host;
mod network;
mod processes;

pub(crate) use self::{
    certificates::certificate,
    host::{addresses, disk, synchronised, unit},
    network::{dial, resolve, said},
    processes::{Running, port},
};
