//! The generation of this process: a number that grows with each start, even when the clock goes back.
//!
//! Gossip must never see one generation twice: peers would give the previous life's facts back to the new one.

use std::{fs, io, path::Path};

use anyhow::Context;

use starling_service::state_folder;

/// Name of the file in the state folder.
const FILE: &str = "generation";

/// What to do about a folder that cannot be used, for the error.
const NEXT_STEP: &str =
    " (give this user the folder, or choose another with --set state_dir=DIR; starling up: --state DIR)";

/// Draws the next generation, at least `unix_ms`, and stores it with fsync before it returns.
///
/// # Errors
/// When the number cannot be stored or the stored one cannot be read: the aggregator must not start then.
pub(crate) fn next(state_dir: &Path, unix_ms: u64) -> anyhow::Result<u64> {
    fs::create_dir_all(state_dir)
        .with_context(|| format!("cannot create the state folder {}{NEXT_STEP}", state_dir.display()))?;
    let path = state_dir.join(FILE);
    let last = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<u64>().with_context(|| {
            format!("{} does not hold a number; remove it if the clock of this host is right", path.display())
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}{NEXT_STEP}", path.display())),
    };
    let generation = unix_ms.max(last.saturating_add(1));
    let stored = state_folder::replace(&path, format!("{generation}\n").as_bytes(), state_folder::OPEN);
    stored.with_context(|| format!("cannot store {}{NEXT_STEP}", path.display()))?;
    Ok(generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_when_the_clock_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert_eq!(next(&state, 1_000).unwrap(), 1_000);
        assert_eq!(next(&state, 1_000).unwrap(), 1_001);
        assert_eq!(next(&state, 5).unwrap(), 1_002);
        assert_eq!(next(&state, 9_000).unwrap(), 9_000);
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_named_with_the_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = format!("{:#}", next(&file.join("state"), 1).unwrap_err());
        assert!(error.contains("file/state") && error.contains("--set state_dir=DIR"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn an_unreadable_number_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "x").unwrap();
        let error = format!("{:#}", next(dir.path(), 1).unwrap_err());
        assert!(error.contains("does not hold a number"), "{error}");
    }
}
