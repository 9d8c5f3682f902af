//! The groups that are followed, which of them have a name of their own, and their files.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    super::{CollectConfig, CollectError, kept::is_absent, text},
    tree::{self, Found, GROUPS_NAMED_MAX},
};

/// Time between two walks through the folders.
const WALK_EVERY: Duration = Duration::from_secs(10);
/// `io.stat` has a line of 100 bytes for each device; the other files are smaller.
const BUFFER_BYTES: usize = 16 * 1024;

/// Groups with what a collector keeps of each.
pub(super) struct Groups<T> {
    root: PathBuf,
    since: Option<Duration>,
    pub(super) all: Vec<Group<T>>,
    /// There are more than are read.
    pub(super) more: bool,
    buffer: Vec<u8>,
}

/// One group.
pub(super) struct Group<T> {
    pub(super) found: Found,
    /// It has series of its own.
    pub(super) named: bool,
    /// What it used since the last walk: the larger, the sooner it has a name.
    pub(super) weight: u64,
    pub(super) kept: T,
}

impl<T> Groups<T> {
    pub(super) fn new(config: &CollectConfig) -> Self {
        let root = config.sysfs.join("fs/cgroup");
        Self { root, since: None, all: Vec::new(), more: false, buffer: vec![0; BUFFER_BYTES] }
    }

    /// Walks through the folders when it is time. False on a host without cgroup v2.
    pub(super) fn walk(&mut self, elapsed: Duration, mut make: impl FnMut(&Found) -> T) -> Result<bool, CollectError> {
        let since = self.since.map(|since| since.saturating_add(elapsed));
        if since.is_some_and(|since| since < WALK_EVERY) {
            self.since = since;
            return Ok(!self.all.is_empty());
        }
        self.since = Some(Duration::ZERO);
        // Of the unified hierarchy only; where the old ones are mounted there is no such file.
        if !self.root.join("cgroup.controllers").exists() {
            self.all.clear();
            return Ok(false);
        }
        let (found, more) =
            tree::list(&self.root).map_err(|source| CollectError::Read { path: self.root.clone(), source })?;
        self.more = more;
        let mut before = std::mem::take(&mut self.all);
        for found in found {
            let known = before.iter().position(|group| group.found == found).map(|place| before.swap_remove(place));
            self.all.push(known.unwrap_or_else(|| Group { named: false, weight: 0, kept: make(&found), found }));
        }
        self.name();
        Ok(!self.all.is_empty())
    }

    /// Gives names to those that used most. One that has one keeps it against others that use up to twice as much.
    fn name(&mut self) {
        let worth = |group: &Group<T>| group.weight.saturating_mul(if group.named { 2 } else { 1 });
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.sort_by_key(|&place| std::cmp::Reverse((worth(&self.all[place]), self.all[place].named)));
        for (rank, place) in order.into_iter().enumerate() {
            let group = &mut self.all[place];
            group.named = rank < GROUPS_NAMED_MAX;
            group.weight = 0;
        }
    }

    /// A file of the group at `place`. `None` when the group, or the controller behind the file, is not there.
    pub(super) fn read(&mut self, place: usize, name: &str) -> Result<Option<&[u8]>, CollectError> {
        let path = self.all[place].found.path.join(name);
        read(&path, &mut self.buffer)
    }
}

fn read<'a>(path: &Path, buffer: &'a mut [u8]) -> Result<Option<&'a [u8]>, CollectError> {
    match File::open(path).and_then(|file| file.read_at(buffer, 0)) {
        Ok(length) => Ok(Some(&buffer[..length])),
        Err(error) if is_absent(&error) || is_gone(&error) => Ok(None),
        Err(source) => Err(CollectError::Read { path: path.to_owned(), source }),
    }
}

/// A group that was removed while its file is open.
fn is_gone(error: &io::Error) -> bool {
    // ENODEV.
    error.raw_os_error() == Some(19)
}

/// The number behind `key` in a file of lines of a key and a number.
pub(super) fn field(text: &[u8], key: &[u8]) -> Option<u64> {
    text::lines(text).find_map(|line| {
        let mut words = text::words(line);
        (words.next()? == key).then(|| words.next().and_then(text::number)).flatten()
    })
}

/// The only number of a file; `None` for `max`, which is none, and for anything else.
pub(super) fn single(text: &[u8]) -> Option<u64> {
    text::number(text::lines(text).next()?.trim_ascii())
}
