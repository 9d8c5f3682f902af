//! The host by way of `sysinfo`, which reads it on every system it knows: what the daemon reads where `/proc` is closed to
//! it, and what may be chosen with `collect.source = "portable"`.
//!
//! It says less than `/proc` and costs several times as much. Absent with it are the modes of processor time, the counters
//! of TCP and of interfaces beyond bytes, packets and errors, and everything that only Linux has. The total of the network
//! is over all interfaces but loopback, for what is physical cannot be asked; a bridge counts again there.

mod devices;
mod processes;
mod system;

pub(super) use devices::{Disk, Filesystem, Network, Sensors};
pub(super) use processes::Processes;
pub(super) use system::{Cpu, Load, Memory, Uptime};

use super::CollectError;

/// What sysinfo says when it cannot look.
fn failed(error: sysinfo::Error) -> CollectError {
    CollectError::Portable(Box::new(error))
}

#[cfg(test)]
mod tests;
