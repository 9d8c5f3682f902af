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
        Ok(_) => Err(format!("{} is out of date: run this test with STARLING_BLESS=1 and commit it", path.display())),
        Err(error) => Err(format!("cannot read {}: {error}; STARLING_BLESS=1 writes it", path.display())),
    }
}
