//! Files of the state folder, each replaced as a whole.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// Writes beside the file, renames and syncs the folder: a crash leaves the old contents or the new ones, and those
/// for good once this returns.
///
/// # Errors
/// Of the file system; the old contents are still there unless only the last sync failed.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_file_is_replaced_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nodes");
        for contents in [&b"long before"[..], b"now"] {
            replace(&path, contents).unwrap();
            assert_eq!(fs::read(&path).unwrap(), contents);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace(&dir.path().join("none/nodes"), b"").is_err());
    }
}
