//! The processes of the host: who is there, who is read now, and what they did since they were read before.
//!
//! Each second at most [`READS_MAX`] are read: those that used a processor within the last [`HOT_SECONDS`] and those that
//! are new, and the others only as long as the processors did more than these account for; then whoever has waited longest first.
//! When all is accounted for the others come in turn, each once in [`REST_SECONDS`]. So a quiet host costs little, and one with
//! thousands of processes no more than one with some hundred; what a process did while it was not read is part of the second in which
//! it is.

use std::{collections::HashMap, fs::File, io, os::unix::fs::FileExt, path::PathBuf, sync::Arc};

use super::{
    super::{CollectError, text},
    roll::{Called, Roll},
    stat::{self, Stat},
};

/// Processes read in a second: about 2 ms.
pub(super) const READS_MAX: usize = 256;
/// Files of processes that stay open, which halves the cost of a read; the usual limit of a daemon is 1,024.
const FILES_MAX: usize = 256;
/// Who used a processor within so many seconds is read before who did not.
const HOT_SECONDS: u64 = 5;
/// The others are read once in so many seconds at least, as far as [`READS_MAX`] goes.
const REST_SECONDS: usize = 5;
/// Of [`READS_MAX`], what is left to the others however many work.
const RESERVED_MAX: usize = READS_MAX / 8;
/// Who may not be read is tried again after so many seconds.
const REFUSED_SECONDS: u64 = 600;
/// `/proc/PID/stat` is below 400 bytes, `io` below 200.
const BUFFER_BYTES: usize = 1024;

/// See the module.
pub(super) struct Crowd {
    procfs: PathBuf,
    roll: Roll,
    known: HashMap<u32, Process>,
    buffer: Vec<u8>,
    files: usize,
    second: u64,
    /// Files of input and output may not be read, until this second.
    no_io_before: u64,
}

/// One process.
#[derive(Debug)]
struct Process {
    /// Listed in this second.
    listed: u64,
    /// It began after the first look: all that it did counts.
    fresh: bool,
    /// When it was read last, or listed first.
    looked: u64,
    moved: u64,
    refused_until: u64,
    file: Option<File>,
    io_file: Option<File>,
    /// Name as the kernel has it, to notice that it runs another program now.
    raw: Box<[u8]>,
    read: Option<Read>,
    io: Option<[u64; 2]>,
}

/// Processes, each with the seconds for which it has waited.
type Due = Vec<(u64, u32)>;

#[derive(Debug)]
struct Read {
    command: Arc<str>,
    state: u8,
    ticks: u64,
    started: u64,
    resident_pages: u64,
}

/// What one process did since it was read before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Did {
    pub(super) pid: u32,
    pub(super) command: Arc<str>,
    pub(super) ticks: u64,
}

/// What one look brought.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Those that used a processor.
    pub(super) moved: Vec<Did>,
    /// Those that were read.
    pub(super) read: Vec<u32>,
    /// Processes beyond [`PROCESSES_MAX`](super::roll::PROCESSES_MAX).
    pub(super) beyond: usize,
    /// The first one that could not be read, and why.
    pub(super) odd: Option<String>,
}

impl Crowd {
    pub(super) fn new(procfs: PathBuf) -> Self {
        Self {
            roll: Roll::new(procfs.clone()),
            procfs,
            known: HashMap::new(),
            buffer: vec![0; BUFFER_BYTES],
            files: 0,
            second: 0,
            no_io_before: 0,
        }
    }

    /// One look. `accounted` says whether the ticks of those that were read are about all that the processors did since the look
    /// before. `None` without procfs.
    ///
    /// # Errors
    /// When processes cannot be listed.
    pub(super) fn look(&mut self, accounted: impl Fn(u64) -> bool) -> Result<Option<Seen>, CollectError> {
        if !self.list_again()? {
            return Ok(None);
        }
        self.second += 1;
        let mut seen = Seen { beyond: self.roll.beyond, ..Seen::default() };
        let [mut hot, mut rest] = self.due();
        longest_first(&mut hot, READS_MAX - rest.len().min(RESERVED_MAX));
        self.read_all(&hot, &mut seen);
        let found = seen.moved.iter().fold(0, |sum: u64, did| sum.saturating_add(did.ticks));
        let turn = if accounted(found) { rest.len().div_ceil(REST_SECONDS) } else { rest.len() };
        longest_first(&mut rest, turn.min(READS_MAX - hot.len()));
        self.read_all(&rest, &mut seen);
        Ok(Some(seen))
    }

    fn read_all(&mut self, pids: &[(u64, u32)], seen: &mut Seen) {
        for &(_, pid) in pids {
            match self.read(pid) {
                Ok(Some(did)) => {
                    seen.read.push(pid);
                    seen.moved.extend((did.ticks > 0).then_some(did));
                }
                Ok(None) => {}
                Err(why) => {
                    seen.odd.get_or_insert(why);
                }
            }
        }
    }

    /// Knows who is there. False when there is no procfs.
    fn list_again(&mut self) -> Result<bool, CollectError> {
        let second = self.second + 1;
        match self.roll.call(second)? {
            Called::Nothing => return Ok(false),
            Called::AsBefore => return Ok(true),
            Called::Again => {}
        }
        for pid in &self.roll.pids {
            self.known.entry(*pid).or_insert_with(|| Process::new(second)).listed = second;
        }
        self.known.retain(|_, process| process.listed == second);
        self.files = self.known.values().map(Process::files).sum();
        Ok(true)
    }

    /// Who is read before the others in this second, and the others, each with how long it has waited.
    fn due(&self) -> [Due; 2] {
        let second = self.second;
        let may = |pid: &u32| {
            let process = self.known.get(pid).filter(|process| process.refused_until <= second)?;
            Some((process.is_hot(second), (second - process.looked, *pid)))
        };
        let (hot, rest): (Vec<_>, Vec<_>) = self.roll.pids.iter().filter_map(may).partition(|(is_hot, _)| *is_hot);
        let plain = |both: Vec<(bool, (u64, u32))>| both.into_iter().map(|(_, one)| one).collect();
        [plain(hot), plain(rest)]
    }

    /// Reads one process. `None` when it is gone or may not be read.
    fn read(&mut self, pid: u32) -> Result<Option<Did>, String> {
        let Some(process) = self.known.get_mut(&pid) else { return Ok(None) };
        let mut opened = None;
        let read = match &process.file {
            Some(file) => file.read_at(&mut self.buffer, 0),
            None => File::open(self.procfs.join(pid.to_string()).join("stat"))
                .and_then(|file| opened.insert(file).read_at(&mut self.buffer, 0)),
        };
        let line = match read {
            Ok(length) => &self.buffer[..length],
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                process.refused_until = self.second + REFUSED_SECONDS;
                return Ok(None);
            }
            // It ended between the list and the read; another one may have its number already.
            Err(_) => {
                self.known.remove(&pid);
                return Ok(None);
            }
        };
        process.looked = self.second;
        let Some(stat) = stat::parse(line) else {
            return Err(format!("{pid}/stat: {:?} is not a line of a process", text::excerpt(line)));
        };
        if let Some(file) = opened.filter(|_| self.files < FILES_MAX) {
            self.files += 1;
            process.file = Some(file);
        }
        Ok(Some(process.advance(pid, &stat, self.second)))
    }

    /// Bytes that a process read from and wrote to disks since this was asked before. `None` the first time, and when
    /// it is gone or nothing may be asked.
    pub(super) fn io(&mut self, pid: u32) -> Option<(Arc<str>, [u64; 2])> {
        let process = self.known.get_mut(&pid).filter(|_| self.no_io_before <= self.second)?;
        let command = Arc::clone(&process.read.as_ref()?.command);
        let mut opened = None;
        let read = match &process.io_file {
            Some(file) => file.read_at(&mut self.buffer, 0),
            None => File::open(self.procfs.join(pid.to_string()).join("io"))
                .and_then(|file| opened.insert(file).read_at(&mut self.buffer, 0)),
        };
        let length = match read {
            Ok(length) => length,
            Err(error) => {
                process.io_file = None;
                // Without the right to look at the processes of others it fails for nearly all of them.
                if error.kind() == io::ErrorKind::PermissionDenied {
                    self.no_io_before = self.second + REFUSED_SECONDS;
                }
                return None;
            }
        };
        if let Some(file) = opened.filter(|_| self.files < FILES_MAX) {
            self.files += 1;
            process.io_file = Some(file);
        }
        let now = parse_io(&self.buffer[..length])?;
        let before = process.io.replace(now).or(process.fresh.then_some([0; 2]))?;
        let moved = [0, 1].map(|direction| now[direction].saturating_sub(before[direction]));
        (moved != [0; 2]).then_some((command, moved))
    }

    /// What is known of all processes that were read: command, state and resident pages.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Arc<str>, u8, u64)> {
        self.known.values().filter_map(|process| {
            let read = process.read.as_ref()?;
            Some((&read.command, read.state, read.resident_pages))
        })
    }
}

impl Process {
    /// As of the list: those of the first list were there before.
    fn new(second: u64) -> Self {
        Self {
            listed: second,
            fresh: second > 1,
            looked: second.saturating_sub(1),
            moved: second,
            refused_until: 0,
            file: None,
            io_file: None,
            raw: Box::default(),
            read: None,
            io: None,
        }
    }

    /// Whether it is read before the others.
    fn is_hot(&self, second: u64) -> bool {
        self.read.is_none() || self.moved + HOT_SECONDS >= second
    }

    /// Files that it keeps open.
    fn files(&self) -> usize {
        usize::from(self.file.is_some()) + usize::from(self.io_file.is_some())
    }

    /// Takes what was read of it, and says what it did since before.
    fn advance(&mut self, pid: u32, stat: &Stat<'_>, second: u64) -> Did {
        let before = match &self.read {
            Some(read) if read.started == stat.started => Some(read.ticks),
            // Another one has its number: it began since.
            Some(_) => {
                (self.fresh, self.io) = (true, None);
                Some(0)
            }
            None => self.fresh.then_some(0),
        };
        let ticks = before.map_or(0, |before| stat.ticks.saturating_sub(before));
        if ticks > 0 {
            self.moved = second;
        }
        let known = self.read.as_ref().filter(|_| *self.raw == *stat.name).map(|read| Arc::clone(&read.command));
        let command = known.unwrap_or_else(|| {
            self.raw = stat.name.into();
            stat.command().into()
        });
        let Stat { state, ticks: now, started, resident_pages, .. } = *stat;
        self.read = Some(Read { command: Arc::clone(&command), state, ticks: now, started, resident_pages });
        Did { pid, command, ticks }
    }
}

/// Leaves the `most` that have waited longest.
fn longest_first(due: &mut Due, most: usize) {
    if most > 0 && due.len() > most {
        due.select_nth_unstable_by_key(most - 1, |(waited, _)| std::cmp::Reverse(*waited));
    }
    due.truncate(most);
}

/// Bytes that went to and came from storage (`Documentation/filesystems/proc.rst`, section 3.3).
pub(super) fn parse_io(text: &[u8]) -> Option<[u64; 2]> {
    let field = |name: &[u8]| text::lines(text).find_map(|line| text::number(line.strip_prefix(name)?.trim_ascii()));
    Some([field(b"read_bytes:")?, field(b"write_bytes:")?])
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn put(proc: &Path, pid: u32, name: &str, ticks: u64, started: u64) {
        let folder = proc.join(pid.to_string());
        fs::create_dir_all(&folder).unwrap();
        let line = format!("{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 {started} 1000 10 0\n");
        fs::write(folder.join("stat"), line).unwrap();
    }

    fn moved(crowd: &mut Crowd) -> Vec<(u32, String, u64)> {
        let mut moved = crowd.look(|_| false).unwrap().unwrap().moved;
        moved.sort_by_key(|did| did.pid);
        moved.into_iter().map(|did| (did.pid, did.command.to_string(), did.ticks)).collect()
    }

    #[test]
    fn processes_come_go_run_others_and_leave_their_numbers() {
        let root = tempfile::tempdir().unwrap();
        let proc = root.path().join("proc");
        let mut crowd = Crowd::new(proc.clone());
        assert!(crowd.look(|_| false).unwrap().is_none(), "no procfs");
        put(&proc, 10, "java", 500, 7);
        fs::create_dir_all(proc.join("sys")).unwrap();
        assert_eq!(moved(&mut crowd), [], "what it did before is not of this second");
        put(&proc, 10, "java", 530, 7);
        put(&proc, 11, "sh", 2, 99);
        assert_eq!(moved(&mut crowd), [(10, "java".into(), 30), (11, "sh".into(), 2)], "one that began since");
        put(&proc, 10, "java", 520, 7);
        put(&proc, 11, "make", 5, 99);
        assert_eq!(moved(&mut crowd), [(11, "make".into(), 3)], "one went back, one runs another program");
        fs::remove_dir_all(proc.join("11")).unwrap();
        put(&proc, 10, "cc", 4, 200);
        assert_eq!(moved(&mut crowd), [(10, "cc".into(), 4)], "another one with the number of the first");
        fs::write(proc.join("10/stat"), "rubbish").unwrap();
        put(&proc, 12, "ok", 1, 300);
        let seen = crowd.look(|_| false).unwrap().unwrap();
        assert_eq!((seen.moved.len(), seen.read), (1, vec![12]));
        assert!(seen.odd.is_some_and(|why| why.starts_with("10/stat: \"rubbish\"")));
    }

    #[test]
    fn with_many_the_busy_are_read_each_second_and_the_others_in_turn() {
        let root = tempfile::tempdir().unwrap();
        let many = 4 * READS_MAX as u32;
        (1..=many).for_each(|pid| put(root.path(), pid, "idle", 0, 1));
        let mut crowd = Crowd::new(root.path().to_owned());
        for _ in 0..12 {
            assert_eq!(crowd.look(|_| false).unwrap().unwrap().read.len(), READS_MAX);
        }
        assert_eq!(crowd.all().count(), many as usize, "every one had its turn");
        put(root.path(), 77, "busy", 50, 1);
        let late = (0..10).position(|_| !moved(&mut crowd).is_empty());
        assert!(late.is_some_and(|seconds| seconds < 6), "{late:?}");
        for ticks in 51..60 {
            put(root.path(), 77, "busy", ticks, 1);
            assert_eq!(moved(&mut crowd), [(77, "busy".into(), 1)]);
        }
        put(root.path(), many + 1, "new", 9, 5);
        assert_eq!(moved(&mut crowd), [(many + 1, "new".into(), 9)], "who is new is read at once");
        assert!(crowd.known.values().filter(|process| process.file.is_some()).count() <= FILES_MAX);
    }

    #[test]
    fn those_that_rest_are_read_in_turn_or_when_somebody_worked_unseen() {
        let root = tempfile::tempdir().unwrap();
        (1..=50).for_each(|pid| put(root.path(), pid, "idle", 0, 1));
        put(root.path(), 60, "busy", 0, 1);
        let mut crowd = Crowd::new(root.path().to_owned());
        let mut ticks = 0;
        let mut second = |crowd: &mut Crowd, accounted: bool| {
            ticks += 1;
            put(root.path(), 60, "busy", ticks, 1);
            crowd.look(|found| found > 0 && accounted).unwrap().unwrap()
        };
        for _ in 0..=HOT_SECONDS + 1 {
            second(&mut crowd, true);
        }
        let mut read: Vec<u32> = Vec::new();
        for _ in 0..REST_SECONDS {
            let seen = second(&mut crowd, true);
            assert!(seen.read.contains(&60) && seen.read.len() == 11, "{:?}", seen.read);
            read.extend(seen.read);
        }
        read.sort_unstable();
        read.dedup();
        assert_eq!(read.len(), 51, "each had its turn");
        put(root.path(), 7, "idle", 40, 1);
        let seen = second(&mut crowd, false);
        assert_eq!(seen.read.len(), 51);
        assert!(seen.moved.iter().any(|did| (did.pid, did.ticks) == (7, 40)), "found in its second");
    }

    #[test]
    fn input_and_output_since_before() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), 5, "db", 0, 1);
        let io = |read: &str, written: u64| {
            let text =
                format!("rchar: 9\nwchar: 9\nread_bytes: {read}\nwrite_bytes: {written}\ncancelled_write_bytes: 0\n");
            fs::write(root.path().join("5/io"), text).unwrap();
        };
        let mut crowd = Crowd::new(root.path().to_owned());
        crowd.look(|_| false).unwrap();
        assert_eq!(crowd.io(5), None, "there is no such file");
        io("4096", 0);
        assert_eq!(crowd.io(5), None);
        io("8192", 512);
        assert_eq!(crowd.io(5), Some(("db".into(), [4096, 512])));
        io("x", 512);
        assert_eq!(crowd.io(5), None);
        io("0", 600);
        assert_eq!(crowd.io(5), Some(("db".into(), [0, 88])), "one went back");
        assert_eq!(crowd.io(6), None);
    }
}
