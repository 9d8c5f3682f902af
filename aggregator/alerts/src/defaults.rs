//! The rules that are in force from the start.

use super::{Mistake, Rules};

/// Their text, as it stands in the documentation.
pub const TEXT: &str = include_str!("defaults.toml");

/// The default rules, and those of `files` beside them. A rule of a file takes the place of the default one of its name;
/// those named in `off` are left out.
///
/// # Errors
/// All mistakes of all files, and names in `off` that are no default rule.
pub fn with(files: &[(&str, &str)], off: &[String]) -> Result<Rules, Vec<Mistake>> {
    Rules::with_defaults(TEXT, files, off)
}

#[cfg(test)]
mod tests;
