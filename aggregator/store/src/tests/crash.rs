//! The machine, or the process, stops at every single step, also after a step failed: what was acknowledged is there.

use super::model::{Model, open};
use crate::{
    Store,
    disk::simulated::{Crash, SimulatedDisk, Trouble},
};

/// Some of everything: log files that fill up, segments, a checkpoint, a replacement, retention.
fn script(store: &Store, model: &mut Model) {
    model.append(store, 3);
    model.sync(store);
    model.append(store, 2);
    model.segment(store, 0, 0..300, &[]);
    model.append(store, 1);
    model.append(store, 4);
    model.sync(store);
    model.segment(store, 0, 300..600, &[]);
    model.append(store, 3);
    model.append(store, 3);
    model.sync(store);
    model.checkpoint(store);
    model.segment(store, 0, 0..600, &[0, 300]);
    model.append(store, 2);
    model.sync(store);
    model.segment(store, 1, 0..600, &[]);
    model.segment(store, 1, 600..1200, &[]);
    model.retain(store, 1);
    model.append(store, 5);
    model.sync(store);
    model.append(store, 1);
}

/// Runs the script with troubles at these steps; the disk as it is then.
fn run(troubles: &[(usize, Trouble)]) -> (SimulatedDisk, Model) {
    let disk = SimulatedDisk::new();
    for (step, trouble) in troubles {
        disk.trouble_at(*step, *trouble);
    }
    let mut model = Model::default();
    // Opening may be what fails; a person starts it again.
    if let Ok((store, _)) = open(&disk).or_else(|_| open(&disk)) {
        script(&store, &mut model);
    }
    (disk, model)
}

fn crashes(seed: usize) -> [Crash; 5] {
    let torn = |at| Crash::Torn((seed * 3 + at) as u64);
    [Crash::Process, Crash::Power, torn(0), torn(1), torn(2)]
}

/// What is there after each kind of crash; the store works on, and over one more power loss.
fn verify(disk: &SimulatedDisk, model: &Model, seed: usize) {
    for crash in crashes(seed) {
        let disk = disk.after(crash);
        let store = model.verify(&disk, crash);
        let mut model = Model::default();
        assert!(model.append(&store, 2) && model.sync(&store), "{crash:?}");
        assert!(model.segment(&store, 0, 3000..3300, &[]), "{crash:?}");
    }
}

#[test]
fn without_trouble_the_script_reaches_everything() {
    let (disk, model) = run(&[]);
    assert!(disk.steps() > 60, "{} steps", disk.steps());
    for kind in [".log", ".seg", "-r.seg"] {
        assert!(disk.paths().iter().any(|path| path.to_str().unwrap().ends_with(kind)), "{kind}");
    }
    verify(&disk, &model, 0);
}

#[test]
fn it_may_stop_at_any_step() {
    for step in 0..run(&[]).0.steps() {
        let (disk, model) = run(&[(step, Trouble::Dies)]);
        verify(&disk, &model, step);
    }
}

#[test]
fn any_step_may_fail_once_and_nothing_else_is_lost() {
    for step in 0..run(&[]).0.steps() {
        let (disk, model) = run(&[(step, Trouble::Once)]);
        verify(&disk, &model, step);
    }
}

#[test]
fn a_step_may_fail_and_the_machine_stop_at_any_later_one() {
    let steps = run(&[]).0.steps();
    for fails in 0..steps {
        for stops in fails + 1..fails + 20 {
            let (disk, model) = run(&[(fails, Trouble::Once), (stops, Trouble::Dies)]);
            verify(&disk, &model, fails * steps + stops);
        }
    }
}

#[test]
fn two_steps_may_fail_and_the_machine_stop_soon_after() {
    let steps = run(&[]).0.steps();
    for fails in 0..steps {
        for gap in 1..5 {
            let (disk, model) =
                run(&[(fails, Trouble::Once), (fails + gap, Trouble::Once), (fails + gap + 7, Trouble::Dies)]);
            verify(&disk, &model, fails * steps + gap);
        }
    }
}

#[test]
fn a_kind_of_step_may_fail_from_some_moment_on() {
    for step in 0..run(&[]).0.steps() {
        let (disk, model) = run(&[(step, Trouble::Always)]);
        verify(&disk, &model, step);
    }
}

#[test]
fn what_a_failed_sync_gave_up_is_written_again_within_the_call() {
    let disk = SimulatedDisk::new();
    let (store, _) = open(&disk).unwrap();
    let mut model = Model::default();
    assert!(model.append(&store, 3) && model.sync(&store) && model.append(&store, 2));
    disk.trouble_at(disk.steps(), Trouble::Once);
    assert!(model.sync(&store), "repaired in the same call");
    let stats = store.stats(0).log;
    assert_eq!((stats.failed_syncs, stats.unsynced_bytes), (1, 0));
    assert!(stats.paused.is_none() && stats.safe == stats.written);
    for crash in crashes(1) {
        model.verify(&disk.after(crash), crash);
    }
    // For ever: it is told as paused and since when, nothing is lost, and it goes on by itself.
    disk.fail_always(&["sync"]);
    assert!(model.append(&store, 1) && !model.sync(&store) && !model.append(&store, 1) && !model.sync(&store));
    let paused = store.stats(0).log.paused.unwrap();
    assert!(paused.cause.contains("cannot sync"), "{paused:?}");
    assert!(!model.sync(&store));
    assert_eq!(store.stats(0).log.paused.unwrap().since, paused.since);
    for crash in crashes(2) {
        model.verify(&disk.after(crash), crash);
    }
    disk.fail_always(&[]);
    assert!(model.append(&store, 1) && model.sync(&store));
    assert!(store.stats(0).log.paused.is_none());
    for crash in crashes(3) {
        model.verify(&disk.after(crash), crash);
    }
}
