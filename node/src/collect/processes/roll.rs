//! Which processes there are: the folders of procfs with a number for a name.
//!
//! Listing them costs as much as reading twenty of them. The kernel says how many threads there are and which number it gave
//! last, for a hundredth of that; with both as before nothing began and nothing ended.

use std::{ffi::CStr, fs::File, io::Seek as _, path::PathBuf};

use rustix::fs::RawDir;

use super::super::{
    CollectError,
    kept::{KeptFile, Shape, is_absent},
    text,
};

/// Processes that are followed. Further ones, in the order of their numbers, are not, and count as a fault.
pub(super) const PROCESSES_MAX: usize = 32_768;
/// They are listed this often, whatever the kernel says.
const LIST_SECONDS: u64 = 5;
/// Room for about 300 names of folders.
const LISTING_BYTES: usize = 8 * 1024;

/// See the module.
pub(super) struct Roll {
    procfs: PathBuf,
    folder: Option<File>,
    /// Says whether a list is out of date; `None` where it speaks of other processes than `procfs`.
    loadavg: Option<KeptFile>,
    listed: Option<(u64, Began)>,
    listing: Vec<u8>,
    /// Their numbers.
    pub(super) pids: Vec<u32>,
    /// Processes beyond [`PROCESSES_MAX`].
    pub(super) beyond: usize,
}

/// Threads that there are, and the newest number.
type Began = [u64; 2];

/// What calling the roll brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    /// There is no procfs.
    Nothing,
    /// The list stands.
    AsBefore,
    /// There is a new list.
    Again,
}

impl Roll {
    pub(super) fn new(procfs: PathBuf) -> Self {
        // The newest number is one of the daemon's own namespace.
        let is_own = std::fs::read_link(procfs.join("self"))
            .is_ok_and(|number| number.to_str() == Some(std::process::id().to_string().as_str()));
        Self {
            loadavg: is_own.then(|| KeptFile::new(procfs.join("loadavg"), Shape::Single)),
            procfs,
            folder: None,
            listed: None,
            listing: Vec::new(),
            pids: Vec::new(),
            beyond: 0,
        }
    }

    /// Brings the list up to date.
    ///
    /// # Errors
    /// When processes cannot be listed.
    pub(super) fn call(&mut self, second: u64) -> Result<Called, CollectError> {
        let began = self.loadavg.as_mut().and_then(|file| file.read().ok().flatten().and_then(began));
        let stands = |(when, before): (u64, Began)| Some(before) == began && second < when + LIST_SECONDS;
        if self.listed.is_some_and(stands) {
            return Ok(Called::AsBefore);
        }
        self.listed = None;
        if !self.list()? {
            return Ok(Called::Nothing);
        }
        self.listed = began.map(|began| (second, began));
        self.beyond = self.pids.len().saturating_sub(PROCESSES_MAX);
        self.pids.truncate(PROCESSES_MAX);
        Ok(Called::Again)
    }

    fn list(&mut self) -> Result<bool, CollectError> {
        let failed = |source| CollectError::Read { path: self.procfs.clone(), source };
        let folder = match &mut self.folder {
            Some(folder) => folder,
            None => match File::open(&self.procfs) {
                Ok(folder) => self.folder.insert(folder),
                Err(error) if is_absent(&error) => return Ok(false),
                Err(source) => return Err(failed(source)),
            },
        };
        folder.rewind().map_err(failed)?;
        self.pids.clear();
        self.listing.clear();
        self.listing.reserve(LISTING_BYTES);
        let mut entries = RawDir::new(&*folder, self.listing.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|error| failed(error.into()))?;
            self.pids.extend(pid(entry.file_name()));
        }
        Ok(true)
    }
}

/// "0.00 0.01 0.05 3/931 12662": 931 threads, and the newest number.
fn began(loadavg: &[u8]) -> Option<Began> {
    let mut words = text::words(text::lines(loadavg).next()?).skip(3);
    let threads = words.next()?.split(|&byte| byte == b'/').nth(1)?;
    Some([text::number(threads)?, text::number(words.next()?)?])
}

fn pid(name: &CStr) -> Option<u32> {
    text::number(name.to_bytes()).and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn they_are_listed_again_when_something_began_or_ended() {
        let root = tempfile::tempdir().unwrap();
        let began = |threads: u32, newest: u32| {
            fs::write(root.path().join("loadavg"), format!("0.00 0.01 0.05 1/{threads} {newest}\n")).unwrap();
        };
        let put = |pid: u32| fs::create_dir(root.path().join(pid.to_string())).unwrap();
        std::os::unix::fs::symlink(std::process::id().to_string(), root.path().join("self")).unwrap();
        began(100, 10);
        put(10);
        let mut roll = Roll::new(root.path().to_owned());
        let mut second = 0;
        let mut call = |roll: &mut Roll| {
            second += 1;
            (roll.call(second).unwrap(), roll.pids.len())
        };
        assert_eq!(call(&mut roll), (Called::Again, 1));
        put(11);
        assert_eq!(call(&mut roll), (Called::AsBefore, 1), "the kernel says that nothing began");
        began(100, 11);
        assert_eq!(call(&mut roll), (Called::Again, 2), "one began and one ended");
        fs::remove_dir(root.path().join("11")).unwrap();
        began(99, 11);
        assert_eq!(call(&mut roll), (Called::Again, 1));
        put(12);
        let late = (1..100).find(|_| call(&mut roll) == (Called::Again, 2));
        assert_eq!(late, Some(LIST_SECONDS), "whatever the kernel says");
        fs::write(root.path().join("loadavg"), "rubbish").unwrap();
        assert_eq!((call(&mut roll).0, call(&mut roll).0), (Called::Again, Called::Again));
        assert_eq!(super::began(b"0.00 0.01 0.05 3/931 12662\n"), Some([931, 12662]));
    }

    #[test]
    fn processes_of_another_namespace_are_listed_each_time() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("loadavg"), "0 0 0 1/5 9").unwrap();
        std::os::unix::fs::symlink("1", root.path().join("self")).unwrap();
        fs::create_dir(root.path().join("1")).unwrap();
        let mut roll = Roll::new(root.path().to_owned());
        assert_eq!((roll.call(1).unwrap(), roll.call(2).unwrap()), (Called::Again, Called::Again));
        assert_eq!(Roll::new(root.path().join("none")).call(1).unwrap(), Called::Nothing);
    }
}
