//! The folder of an open store is deleted, moved away, replaced, or loses a file, by somebody else.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{fs, path::Path};

use bytes::Bytes;
use starling_store::{BlockKey, Options, Store, WriteError};

fn open(folder: &Path) -> Store {
    Store::open(folder, &Options::new(["1s"])).unwrap().0
}

fn segment(store: &Store) -> Result<(), WriteError> {
    let key = BlockKey { subject: "node/a".into(), start: 0, seconds: 300 };
    store.write_segment(0, 0..300, [(key, 1, Bytes::from_static(b"block"))]).map(drop)
}

/// Everything that writes fails with the next step, and says so.
fn takes_nothing(store: &Store) {
    let failed = [
        store.append(&[(1, b"late")]).unwrap_err().to_string(),
        store.sync().unwrap_err().to_string(),
        segment(store).unwrap_err().to_string(),
        store.paused().unwrap().cause,
    ];
    for text in failed {
        assert!(text.contains("put it back or start this process again"), "{text}");
    }
}

#[test]
fn nothing_is_written_to_a_folder_that_is_gone_and_it_goes_on_when_that_is_back() {
    let root = tempfile::tempdir().unwrap();
    let (folder, away) = (root.path().join("history"), root.path().join("away"));
    let store = open(&folder);
    store.append(&[(1, b"first")]).unwrap();
    store.sync().unwrap();
    fs::rename(&folder, &away).unwrap();
    takes_nothing(&store);
    // Another store stands there now.
    drop(open(&folder));
    takes_nothing(&store);
    assert_eq!(fs::read_dir(folder.join("log")).unwrap().count(), 0, "the other store is left alone");
    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();
    store.append(&[(1, b"second")]).unwrap();
    store.sync().unwrap();
    segment(&store).unwrap();
    assert!(store.paused().is_none());
    drop(store);
    let (_, recovered) = Store::open(&folder, &Options::new(["1s"])).unwrap();
    assert_eq!(recovered.log.filter(|one| matches!(one, starling_store::Replayed::Record(_))).count(), 2);
}

#[test]
fn a_deleted_folder_or_log_file_is_noticed_although_writing_to_it_would_succeed() {
    for what in ["", "log"] {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("history");
        let store = open(&folder);
        store.append(&[(1, b"first")]).unwrap();
        // The system goes on taking what is written to a file without a name.
        match what {
            "" => fs::remove_dir_all(&folder).unwrap(),
            _ => fs::read_dir(folder.join("log"))
                .unwrap()
                .for_each(|file| fs::remove_file(file.unwrap().path()).unwrap()),
        }
        let text = store.append(&[(1, b"second")]).unwrap_err().to_string();
        assert!(text.contains("deleted or moved away"), "{text}");
        assert!(store.sync().is_err() && store.paused().is_some());
    }
}
