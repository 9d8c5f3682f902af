//! Findings out of facts, pure: what is a fault, what a warning, and what to do.

mod certificate;
mod cluster;
mod host;
mod program;

pub(crate) use self::{
    certificate::certificate,
    cluster::{cluster, is_there},
    host::host,
    program::{address, name, port, said, settings},
};

/// A duration in words: seconds, then minutes, hours, days.
fn words(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
