//! Where a store is: the folder of an aggregator's state, or the store in it.

use std::path::{Path, PathBuf};

use starling_history::Tier;
use starling_store::{OpenError, Options, Recovered, Store};

/// The store in the folder of an aggregator's state.
const FOLDER: &str = "history";
/// What only a store has.
const FORMAT: &str = "FORMAT";

/// The store that `given` means: itself when it is one, else that in it. It need not be there.
pub(crate) fn store_in(given: &Path) -> PathBuf {
    let inside = given.join(FOLDER);
    if given.join(FORMAT).is_file() && !inside.exists() { given.to_owned() } else { inside }
}

/// As every aggregator opens its store.
pub(crate) fn options() -> Options {
    Options::new(Tier::ALL.map(Tier::name))
}

/// Opens a store to read it, whoever has it.
pub(crate) fn to_read(folder: &Path) -> anyhow::Result<(Store, Recovered)> {
    Store::open_beside(folder, &options()).map_err(|error| match &error {
        OpenError::NoStore(_) => anyhow::Error::new(error)
            .context("give --state DIR, the `state_dir` of an aggregator; of `starling up` it is aggregator-1 in the folder that it names"),
        _ => error.into(),
    })
}

/// Opens a store to write to it.
pub(crate) fn to_write(folder: &Path) -> anyhow::Result<Store> {
    let opened = Store::open(folder, &options()).map_err(|error| match &error {
        OpenError::InUse(_) => anyhow::Error::new(error)
            .context("an aggregator runs on it: stop that one first, and start it again afterwards"),
        _ => error.into(),
    });
    Ok(opened?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_folder_and_a_store_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(store_in(dir.path()), dir.path().join("history"));
        let store = to_write(&store_in(dir.path())).unwrap();
        assert_eq!(store_in(dir.path()), dir.path().join("history"));
        assert_eq!(store_in(&dir.path().join("history")), dir.path().join("history"));
        let error = format!("{:#}", to_write(&store_in(dir.path())).err().unwrap());
        assert!(error.contains("stop that one first") && error.contains("in use"), "{error}");
        drop(store);
        assert!(format!("{:#}", to_read(&dir.path().join("none")).err().unwrap()).contains("--state DIR"));
    }
}
