//! Labels that operators give to nodes: one rule for settings, for the wire and for the names of groups.

use crate::limits::{LABEL_KEY_LEN_MAX, LABEL_VALUE_LEN_MAX};

/// Why a label was refused. Texts hold at most the start of what was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A key that is empty, too long, or holds ':' or a control character.
    #[error(
        "{0:?} is not the key of a label: 1 to {LABEL_KEY_LEN_MAX} characters without ':' and control characters are \
         wanted"
    )]
    Key(String),
    /// A value that is empty, too long, or holds a control character.
    #[error(
        "{value:?} is not a value for the label {key:?}: 1 to {LABEL_VALUE_LEN_MAX} characters without control \
         characters are wanted"
    )]
    Value {
        /// The label's key.
        key: String,
        /// What was given.
        value: String,
    },
}

/// Checks the key of a label. It holds no ':', because a group is written "key:value".
///
/// # Errors
/// [`LabelError::Key`].
pub fn check_key(key: &str) -> Result<(), LabelError> {
    if fits(key, LABEL_KEY_LEN_MAX) && !key.contains(':') {
        Ok(())
    } else {
        Err(LabelError::Key(key.chars().take(LABEL_KEY_LEN_MAX).collect()))
    }
}

/// Checks a label; its value may hold ':'.
///
/// # Errors
/// [`LabelError`].
pub fn check(key: &str, value: &str) -> Result<(), LabelError> {
    check_key(key)?;
    if fits(value, LABEL_VALUE_LEN_MAX) {
        Ok(())
    } else {
        Err(LabelError::Value { key: key.to_owned(), value: value.chars().take(LABEL_VALUE_LEN_MAX).collect() })
    }
}

fn fits(text: &str, longest: usize) -> bool {
    // Counted in characters; `nth` stops at the limit, however long the text is.
    !text.is_empty() && text.chars().nth(longest).is_none() && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_their_own_limits() {
        let (long_key, long_value) = ("k".repeat(LABEL_KEY_LEN_MAX + 1), "v".repeat(LABEL_VALUE_LEN_MAX + 1));
        check("zone", "eu:1").unwrap();
        check(&long_key[1..], &long_value[1..]).unwrap();
        check(&"é".repeat(LABEL_KEY_LEN_MAX), &"é".repeat(LABEL_VALUE_LEN_MAX)).unwrap();
        for (key, value) in [("", "a"), ("rack:row", "a"), ("a\n", "a"), (&long_key, "a")] {
            assert!(matches!(check(key, value), Err(LabelError::Key(_))), "{key:?}");
        }
        for value in ["", "a\tb", &long_value] {
            let error = check("zone", value).unwrap_err().to_string();
            assert!(error.contains("zone") && error.contains("1 to 64"), "{error}");
        }
    }
}
