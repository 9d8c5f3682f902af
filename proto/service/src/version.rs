//! What was built.

/// Version and commit, such as "0.1.0 (commit 0123456789ab)".
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("STARLING_COMMIT"), ")");
/// The commit that was built; "unknown" in a debug build and without git.
pub const COMMIT: &str = env!("STARLING_COMMIT");
