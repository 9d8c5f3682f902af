//! Scenario 8: the disk runs full and is freed again.

use std::{collections::BTreeSet, ops::ControlFlow};

use super::model::{Model, open};
use crate::disk::simulated::{Crash, SimulatedDisk};

#[test]
fn a_full_disk_pauses_what_writes_and_it_goes_on_by_itself_when_there_is_space() {
    let disk = SimulatedDisk::new();
    let (store, _) = open(&disk).unwrap();
    let mut model = Model::default();
    assert!(model.append(&store, 10) && model.sync(&store));
    assert!(model.segment(&store, 0, 0..300, &[]));
    let before: BTreeSet<_> = disk.paths().into_iter().collect();
    // Free space that runs out in the middle of whatever comes, from nothing to a little.
    for free in 0..600 {
        disk.limit(Some(disk.used() + free % 37));
        let mut failed = 0;
        for _ in 0..4 {
            failed += usize::from(!model.append(&store, 3));
            model.sync(&store);
        }
        assert!(failed > 0, "at {free} bytes it did not run full");
        assert!(!model.segment(&store, 0, 300..600, &[]));
        let stats = store.stats(0);
        assert!(stats.log.paused.is_some() && stats.paused.is_some());
        let half: Vec<_> =
            disk.paths().into_iter().filter(|path| path.extension().is_some_and(|e| e == "tmp")).collect();
        assert!(half.is_empty(), "{half:?} was left on a full disk");
        if free % 60 == 0 {
            // It opens on a full disk, and everything is there.
            for crash in [Crash::Process, Crash::Power, Crash::Torn(free as u64)] {
                let full = disk.after(crash);
                full.limit(Some(full.used()));
                model.verify(&full, crash);
            }
        }
        disk.limit(None);
        assert!(model.append(&store, 1) && model.sync(&store), "it goes on with the next call");
        assert!(store.stats(0).log.paused.is_none());
        model.checkpoint(&store);
    }
    assert!(model.segment(&store, 0, 300..600, &[]));
    assert!(model.segment(&store, 0, 600..900, &[]));
    assert!(model.segment(&store, 0, 0..900, &[0, 300, 600]));
    assert!(store.stats(0).paused.is_none());
    assert!(before.iter().any(|path| disk.paths().contains(path)));
    drop(store);
    // Two restarts: nothing is lost behind the half-written ones, which is what happened to others.
    for _ in 0..2 {
        let store = model.verify(&disk, Crash::Process);
        let report = store.check(None, |_| ControlFlow::Continue(()));
        assert!(report.finished && report.is_clean(), "{report:?}");
    }
}
