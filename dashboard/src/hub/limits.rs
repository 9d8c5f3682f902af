//! Limits beyond which the one sentence about the state names a node or a cause.

/// Busy share of a node's processors above which it is named.
pub(crate) const CPU_MAX: f64 = 0.95;
/// Used share of a node's memory above which it is named.
pub(crate) const MEMORY_MAX: f64 = 0.95;
/// Seconds in a row a node must be above, so that a build of one second does not flash.
pub(crate) const HOLD_SECONDS: u32 = 5;
/// Failed share of the requests of the last minute above which the state is degraded.
pub(crate) const ERROR_RATIO_MAX: f64 = 0.01;
/// Failed share above which it is an error and no longer a warning.
pub(crate) const ERROR_RATIO_SEVERE: f64 = 0.05;
/// Share of silent nodes from which it is an error and no longer a warning.
pub(crate) const SILENT_SEVERE: f64 = 0.5;
