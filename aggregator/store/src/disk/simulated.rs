//! A disk in memory that fails as real ones do: runs full, fails a sync once or for ever, dies at any step, and after a
//! power loss shows only what was synced, or more, or pieces.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use super::{Disk, Lock, ReadFile, WriteFile};

/// What is on the disk after the machine stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Crash {
    /// kill -9: everything that was written.
    Process,
    /// A power loss that kept only what was synced.
    Power,
    /// A power loss that kept any part of what was not: a beginning of the changes of folders, pieces of files. The
    /// number decides which.
    Torn(u64),
}

/// A step that goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// It and everything after it fails: the machine stops in the middle of it.
    Dies,
    /// It fails, and the next ones do not.
    Once,
    /// It and all like it fail from now on.
    Always,
}

/// Steps are counted: create, write, sync, rename, remove, sync of a folder.
#[derive(Clone)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<Contents>,
    folders: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    /// Names as they are after a power loss.
    durable: BTreeMap<PathBuf, usize>,
    /// Changes since the folder was synced, in order; those of one entry happen together.
    changes: Vec<Vec<(PathBuf, Option<usize>)>>,
    capacity: Option<usize>,
    steps: usize,
    troubles: BTreeMap<usize, Trouble>,
    always: BTreeSet<&'static str>,
    dead: bool,
    locked: bool,
    /// Something that a sync gave up is zeros now.
    holes: bool,
}

#[derive(Default, Clone)]
struct Contents {
    bytes: Vec<u8>,
    /// As far as it is safe, or believed to be: a sync that failed leaves pages marked clean.
    clean: usize,
    /// What a failed sync gave up.
    given_up: Vec<Range<usize>>,
    /// Makes every read of it fail.
    unreadable: bool,
}

impl SimulatedDisk {
    pub(crate) fn new() -> SimulatedDisk {
        SimulatedDisk(Arc::default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Bytes that fit; `None`: any number.
    pub(crate) fn limit(&self, capacity: Option<usize>) {
        self.state().capacity = capacity;
    }

    pub(crate) fn used(&self) -> usize {
        self.state().used()
    }

    pub(crate) fn trouble_at(&self, step: usize, trouble: Trouble) {
        self.state().troubles.insert(step, trouble);
    }

    /// Steps of this kind fail until it is called again.
    pub(crate) fn fail_always(&self, kinds: &[&'static str]) {
        self.state().always = kinds.iter().copied().collect();
    }

    pub(crate) fn steps(&self) -> usize {
        self.state().steps
    }

    pub(crate) fn make_unreadable(&self, path: &Path) {
        let mut state = self.state();
        let file = state.names[path];
        state.files[file].unreadable = true;
    }

    pub(crate) fn has_holes(&self) -> bool {
        self.state().holes
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    pub(crate) fn contents(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[path]].bytes.clone()
    }

    /// The disk with other contents of one file.
    pub(crate) fn with(&self, path: &Path, bytes: Vec<u8>) -> SimulatedDisk {
        let copy = self.after(Crash::Process);
        {
            let mut state = copy.state();
            let file = state.names[path];
            state.files[file] = Contents { clean: bytes.len(), bytes, ..Contents::default() };
        }
        copy
    }

    /// What a machine finds that starts with this disk now.
    pub(crate) fn after(&self, crash: Crash) -> SimulatedDisk {
        let state = self.state();
        let mut random = Random(match crash {
            Crash::Torn(seed) => seed,
            _ => 0,
        });
        let mut names = state.durable.clone();
        let kept = match crash {
            Crash::Process => state.changes.len(),
            Crash::Power => 0,
            Crash::Torn(_) => random.below(state.changes.len() + 1),
        };
        for (path, file) in state.changes[..kept].iter().flatten() {
            match file {
                Some(file) => names.insert(path.clone(), *file),
                None => names.remove(path),
            };
        }
        let files = state.files.iter().map(|file| file.after(crash, &mut random)).collect();
        let gave_up = state.files.iter().any(|file| !file.given_up.is_empty());
        let holes = gave_up && !matches!(crash, Crash::Process);
        let fresh =
            State { files, holes, folders: state.folders.clone(), durable: names.clone(), names, ..State::default() };
        SimulatedDisk(Arc::new(Mutex::new(fresh)))
    }
}

impl Contents {
    fn after(&self, crash: Crash, random: &mut Random) -> Contents {
        let mut bytes = self.bytes.clone();
        if !matches!(crash, Crash::Process) {
            for lost in &self.given_up {
                bytes[lost.clone()].fill(0);
            }
            match crash {
                Crash::Torn(_) => {
                    bytes.truncate(self.clean + random.below(bytes.len() - self.clean + 1));
                    // Pages are written in any order: one of them is not there.
                    if bytes.len() > self.clean && random.below(2) == 0 {
                        let from = self.clean + random.below(bytes.len() - self.clean);
                        let to = bytes.len().min(from + 64);
                        bytes[from..to].fill(0);
                    }
                }
                _ => bytes.truncate(self.clean),
            }
        }
        Contents { clean: bytes.len(), bytes, ..Contents::default() }
    }
}

/// A small generator, so that a failing case is named by its seed (SplitMix64, Steele et al. 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn dead() -> io::Error {
    io::Error::other("the machine has stopped")
}

fn input_output() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl State {
    fn used(&self) -> usize {
        let linked: BTreeSet<usize> = self.names.values().copied().collect();
        linked.iter().map(|&file| self.files[file].bytes.len()).sum()
    }

    /// Counts a step; the outer error when nothing of it is done, the inner one when it is done in part.
    fn step(&mut self, kind: &'static str) -> io::Result<io::Result<()>> {
        if self.dead {
            return Err(dead());
        }
        let trouble = self.troubles.get(&self.steps).copied();
        self.steps += 1;
        Ok(match trouble {
            Some(Trouble::Dies) => {
                self.dead = true;
                Err(dead())
            }
            Some(Trouble::Always) => {
                self.always.insert(kind);
                Err(input_output())
            }
            Some(Trouble::Once) => Err(input_output()),
            None if self.always.contains(kind) => Err(input_output()),
            None => Ok(()),
        })
    }

    fn change(&mut self, path: &Path, file: Option<usize>) {
        match file {
            Some(file) => self.names.insert(path.to_owned(), file),
            None => self.names.remove(path),
        };
        self.changes.push(vec![(path.to_owned(), file)]);
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn WriteFile>> {
        let mut state = self.state();
        state.step("create")??;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.files.len();
        state.files.push(Contents::default());
        state.change(path, Some(file));
        Ok(Arc::new(Open { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let state = self.state();
        if state.dead {
            return Err(dead());
        }
        let file = state.find(path)?;
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step("rename")??;
        let file = state.find(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), file);
        state.changes.push(vec![(from.to_owned(), None), (to.to_owned(), Some(file))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step("remove")??;
        state.find(path)?;
        state.change(path, None);
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        if state.dead {
            return Err(dead());
        }
        let paths = state.names.keys().chain(&state.folders);
        let inside = paths.filter(|path| path.parent() == Some(folder));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.state().folders.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step("sync of a folder")??;
        let changes = std::mem::take(&mut state.changes);
        for change in changes {
            if change[0].0.parent() != Some(path) {
                state.changes.push(change);
                continue;
            }
            for (changed, file) in change {
                match file {
                    Some(file) => state.durable.insert(changed, file),
                    None => state.durable.remove(&changed),
                };
            }
        }
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut state = self.state();
        if state.locked {
            return Ok(None);
        }
        state.locked = true;
        Ok(Some(Box::new(Held(self.clone()))))
    }
}

struct Held(SimulatedDisk);

impl Lock for Held {
    fn is_at(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

struct Open {
    disk: SimulatedDisk,
    file: usize,
}

impl WriteFile for Open {
    fn is_at(&self, path: &Path) -> io::Result<()> {
        match self.disk.state().names.get(path) {
            Some(file) if *file == self.file => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let mut outcome = state.step("write")?;
        // A write that fails is there in part.
        let mut fits = if outcome.is_err() { bytes.len() / 2 } else { bytes.len() };
        if let Some(capacity) = state.capacity {
            let free = capacity.saturating_sub(state.used());
            if free < fits {
                fits = free;
                outcome = Err(io::ErrorKind::StorageFull.into());
            }
        }
        state.files[self.file].bytes.extend_from_slice(&bytes[..fits]);
        outcome
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.step("sync")?;
        if state.dead {
            return outcome;
        }
        let file = &mut state.files[self.file];
        if outcome.is_err() {
            file.given_up.push(file.clean..file.bytes.len());
        }
        file.clean = file.bytes.len();
        outcome
    }
}

impl ReadFile for Open {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let file = &state.files[self.file];
        if file.unreadable {
            return Err(input_output());
        }
        let rest = file.bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}
