//! Why a collector failed.

use std::{io, path::PathBuf};

use super::{dbus, sock_diag};

/// Why a collector failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    /// A file or directory is there and cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that every host has is not there.
    #[error("{path} does not exist", path = path.display())]
    Missing {
        /// Which one.
        path: PathBuf,
    },
    /// A file is larger than is read.
    #[error("{path} is larger than {bytes_max} bytes", path = path.display())]
    TooLarge {
        /// Which one.
        path: PathBuf,
        /// The most.
        bytes_max: usize,
    },
    /// A file does not hold what the kernel documents for it.
    #[error("{file}: {what} is missing or not a number")]
    Malformed {
        /// Name below the root of procfs.
        file: &'static str,
        /// The field.
        what: &'static str,
    },
    /// The system gives no thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A thread that looks again and again has not for so long.
    #[error("nothing was seen for {seconds} s: a read does not return")]
    Silent {
        /// Since the last look.
        seconds: u64,
    },
    /// It is left out because reading costs too much.
    #[error(
        "left out: reading this host took {took_ms} ms of a processor a second, and collect.cpu_budget_ms is {allowed_ms}"
    )]
    OverBudget {
        /// Over ten seconds.
        took_ms: u64,
        /// The setting.
        allowed_ms: u64,
    },
    /// The portable library does not read this host.
    #[error("the portable source cannot read this host")]
    Portable(#[source] Box<sysinfo::Error>),
    /// The kernel does not list TCP sockets.
    #[error("cannot list tcp sockets")]
    SockDiag(#[from] sock_diag::SockDiagError),
    /// The system bus does not answer as it should.
    #[error(transparent)]
    Dbus(#[from] dbus::DbusError),
    /// chrony cannot be asked.
    #[error("cannot ask chrony by UDP on loopback")]
    Chrony(#[source] io::Error),
}
