//! One value as a source gave it.

use toml::Value;

use super::Origin;

/// A value as it was given.
#[derive(Debug, Clone)]
pub struct Given {
    pub(super) value: Value,
    /// As written in a flag or variable, before it was read as TOML.
    pub(super) written: Option<String>,
    pub(super) origin: Option<Origin>,
}

impl Given {
    /// A value without an origin, such as an entry of a list.
    pub(super) fn plain(value: Value) -> Self {
        Self { value, written: None, origin: None }
    }

    /// The value as text: of a flag or variable exactly what was written, so that a name may look like a number.
    pub(super) fn text(&self) -> Option<&str> {
        self.value.as_str().or(self.written.as_deref())
    }
}
