//! Files that are written from the code and committed, such as the example settings.

use std::path::Path;

/// Compares a committed file with the text it is made of; for tests. With `STARLING_BLESS=1` in the environment the
/// file is written first.
///
/// # Errors
/// What differs and how to write the file again.
pub fn is_current(path: &Path, text: &str) -> Result<(), String> {
    if std::env::var_os("STARLING_BLESS").is_some() {
        std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    match std::fs::read_to_string(path) {
        Ok(committed) if committed == text => Ok(()),
        Ok(committed) => Err(format!(
            "{} is out of date: run this test with STARLING_BLESS=1 and commit it; {}",
            path.display(),
            first_difference(&committed, text)
        )),
        Err(error) => Err(format!("cannot read {}: {error}; STARLING_BLESS=1 writes it", path.display())),
    }
}

fn first_difference(committed: &str, text: &str) -> String {
    let mut pairs = (1..).zip(committed.lines().zip(text.lines()));
    pairs.find(|(_, (is, should))| is != should).map_or_else(
        || format!("it has {} lines instead of {}", committed.lines().count(), text.lines().count()),
        |(number, (is, should))| format!("line {number} is {is:?} and should be {should:?}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("example");
        assert!(is_current(&path, "a\n").unwrap_err().contains("STARLING_BLESS=1 writes it"));
        std::fs::write(&path, "a\nb\n").unwrap();
        is_current(&path, "a\nb\n").unwrap();
        assert!(is_current(&path, "a\nc\n").unwrap_err().ends_with(r#"line 2 is "b" and should be "c""#));
        assert!(is_current(&path, "a\n").unwrap_err().ends_with("it has 2 lines instead of 1"));
    }
}
