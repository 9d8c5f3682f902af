//! Local filesystems: which ones by `mountinfo`, their sizes by `statvfs`.
//!
//! Both are asked once in ten seconds: the list of mounts is the most expensive file of all, and a filesystem fills
//! slowly beside the tick. Between, the last sizes are repeated. A filesystem that does not answer, on a disk that is
//! dying, is named and holds up no other.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    crew::{Crew, Job, Returned},
    kept::{KeptFile, Shape},
    mounts,
    refused::Refused,
    sink::Sink,
    text,
};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// Filesystems with series of their own. Further ones are in the totals only.
pub(super) const FILESYSTEMS_DETAILED_MAX: usize = 128;
/// Filesystems asked for their size. Further ones, by mount point, are left out and count as a fault at each look.
const FILESYSTEMS_MAX: usize = 1024;
/// Filesystems that may hang at once, each with a thread. When more do, none is asked any more until one answers.
const HANGING_MAX: usize = 8;
/// How long one filesystem may hold up the others. The answer is usually in memory, a few microseconds away.
const PATIENCE: Duration = Duration::from_millis(10);
/// How long one look may take in all: less than what a collector has. Who has not answered by then may have at the next
/// look; the last size is shown until then, and not after it.
const LOOK_MAX: Duration = Duration::from_millis(50);

/// The collector.
pub(super) struct Filesystem {
    /// The mounts that process 1 sees, or those of the daemon when it may not look at them: its own may be narrowed
    /// by the service manager.
    mountinfo: [KeptFile; 2],
    rootfs: PathBuf,
    since: Duration,
    seen: Vec<Seen>,
    crew: Crew<Question>,
    /// Those that did not answer twice, as of the last look.
    silent: Vec<Box<[u8]>>,
    /// Those of process 1 that are not mounted where this daemon looks, as of the last look.
    unseen: Vec<Box<[u8]>>,
    /// Those that this daemon may not enter.
    refused: HashMap<Box<[u8]>, Refused>,
    ask: fn(&Path) -> Answer,
    limit: Series,
    usage: Series,
}

/// One filesystem as last seen.
struct Seen {
    point: Box<[u8]>,
    size: Size,
    series: Option<[Series; 4]>,
    /// It answered at the last look.
    answered: bool,
    /// Its space is that of another one.
    stands_on_another: bool,
}

/// The size of one filesystem, asked for.
struct Question {
    point: Box<[u8]>,
    path: PathBuf,
    ask: fn(&Path) -> Answer,
}

/// What a filesystem says.
#[derive(Debug)]
enum Answer {
    Size(Size),
    /// An empty pseudo mount, or one that went since the list was made.
    Nothing,
    /// A folder above it may not be entered.
    Refused(io::Error),
}

impl Job for Question {
    type Output = Answer;
    type Key = Box<[u8]>;

    fn key(&self) -> Box<[u8]> {
        self.point.clone()
    }

    fn run(&mut self) -> Answer {
        (self.ask)(&self.path)
    }
}

impl Seen {
    /// Whether its bytes count with another of `all`: the overlay of a container beside the disk it stands on. Devices do not tell, the
    /// sizes do; what is in use may change between the two questions.
    fn counts_with_another(&self, all: &[Self]) -> bool {
        let is_same = |other: &Self| {
            let (one, two) = (&self.size, &other.size);
            let inodes = |size: &Size| size.inodes.map(|inodes| inodes.total);
            one.total == two.total && inodes(one) == inodes(two) && one.used.abs_diff(two.used) <= one.total / 100
        };
        self.stands_on_another && all.iter().any(|other| !other.stands_on_another && is_same(other))
    }
}

/// Bytes, and inodes where their number is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    total: u64,
    used: u64,
    inodes: Option<Inodes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inodes {
    total: u64,
    used: u64,
}

impl Filesystem {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self::asking(config, size)
    }

    fn asking(config: &CollectConfig, ask: fn(&Path) -> Answer) -> Self {
        Self {
            mountinfo: ["1/mountinfo", "self/mountinfo"]
                .map(|name| KeptFile::read_once_in(INTERVAL, config.procfs.join(name), Shape::Records)),
            rootfs: config.rootfs.clone(),
            since: INTERVAL,
            seen: Vec::new(),
            crew: Crew::new(HANGING_MAX, PATIENCE),
            silent: Vec::new(),
            unseen: Vec::new(),
            refused: HashMap::new(),
            ask,
            limit: Series::of(&catalogue::FILESYSTEM_LIMIT, &[]),
            usage: Series::of(&catalogue::FILESYSTEM_USAGE, &[]),
        }
    }

    fn look(&mut self, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        let [first, own] = &mut self.mountinfo;
        let (mut mounts, unknown, here) = match first.read() {
            // Empty when the daemon may open the file and not read it.
            Ok(Some(text)) if !text.is_empty() => {
                let (mounts, unknown) = mounts::local(text);
                // A list of its own that cannot be read says nothing.
                let own = own.read().ok().flatten().filter(|text| !text.is_empty());
                (mounts, unknown, own.map(mounts::Here::of))
            }
            _ => {
                let (mounts, unknown) = mounts::local(own.read()?.unwrap_or_default());
                (mounts, unknown, None)
            }
        };
        self.unseen.clear();
        if let Some(here) = here {
            let (those_here, elsewhere) = mounts.into_iter().partition(|mount| mount.is_here(&self.rootfs, &here));
            mounts = those_here;
            let elsewhere: Vec<mounts::Mount> = elsewhere;
            self.unseen.extend(elsewhere.into_iter().map(|mount| mount.point));
        }
        for _ in 0..unknown {
            sink.left_out(|| "mountinfo: a line that is none of a mount".to_owned());
        }
        if mounts.len() > FILESYSTEMS_MAX {
            sink.left_out(|| format!("{} filesystems, {FILESYSTEMS_MAX} are asked", mounts.len()));
        }
        mounts.truncate(FILESYSTEMS_MAX);
        let mut refused = std::mem::take(&mut self.refused);
        mounts.retain(|mount| {
            let Some(mut known) = refused.remove(&mount.point) else { return true };
            let stands = known.stands().is_some();
            if stands {
                self.refused.insert(mount.point.clone(), known);
            }
            !stands
        });
        let mut answers = self.ask(&mounts);
        let mut before = std::mem::take(&mut self.seen);
        self.silent.clear();
        for mount in mounts {
            let known = before.iter_mut().find(|seen| seen.point == mount.point);
            let (size, answered) = match answers.remove(&mount.point) {
                Some(Answer::Nothing) => continue,
                Some(Answer::Refused(error)) => {
                    let mut refused = Refused::once_in(INTERVAL);
                    refused.note(&error);
                    self.refused.insert(mount.point, refused);
                    continue;
                }
                Some(Answer::Size(size)) => (size, true),
                // Once it may be the machine that is busy.
                None => match &known {
                    Some(seen) if seen.answered => (seen.size, false),
                    _ => {
                        self.silent.push(mount.point);
                        continue;
                    }
                },
            };
            let series = known.and_then(|seen| seen.series.take()).or_else(|| self.detail(&mount.point));
            let stands_on_another = mount.stands_on_another();
            self.seen.push(Seen { point: mount.point, size, series, answered, stands_on_another });
        }
        Ok(())
    }

    /// Asks all that are not asked already. The answers by mount point; who is not among them has not answered.
    fn ask(&self, mounts: &[mounts::Mount]) -> HashMap<Box<[u8]>, Answer> {
        let out = self.crew.out();
        let questions = mounts
            .iter()
            .filter(|mount| out.iter().all(|(point, _)| *point != mount.point))
            .map(|mount| Question { point: mount.point.clone(), path: mount.path(&self.rootfs), ask: self.ask });
        let questions: Vec<Question> = questions.collect();
        // Those that are handed back are asked at the next look.
        drop(self.crew.round(questions, LOOK_MAX));
        let answer = |returned| match returned {
            Returned::Done(question, size) => (Question::key(&question), size),
            Returned::Panicked(point) => (point, Answer::Nothing),
        };
        self.crew.returned().into_iter().map(answer).collect()
    }

    /// Series of their own for `point`, while there is room. Two points whose names are the same once cut to the limit of an
    /// attribute would be one series: the second has none.
    fn detail(&self, point: &[u8]) -> Option<[Series; 4]> {
        let name = text::printable(point);
        let metrics = [
            &catalogue::MOUNT_LIMIT,
            &catalogue::MOUNT_USAGE,
            &catalogue::MOUNT_INODES_LIMIT,
            &catalogue::MOUNT_INODES_USAGE,
        ];
        let series = metrics.map(|metric| Series::of(metric, &[("system.filesystem.mountpoint", &name)]));
        let mut detailed = self.seen.iter().filter_map(|seen| seen.series.as_ref());
        let room = detailed.clone().count() < FILESYSTEMS_DETAILED_MAX;
        (room && detailed.all(|other| other != &series)).then_some(series)
    }
}

impl Collector for Filesystem {
    fn collect(&mut self, elapsed: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        self.since = self.since.saturating_add(elapsed);
        if self.since >= INTERVAL {
            self.since = Duration::ZERO;
            self.look(sink)?;
        }
        for point in &self.silent {
            sink.left_out(|| format!("the filesystem at {} does not answer", text::printable(point)));
        }
        for point in &self.unseen {
            sink.left_out(|| {
                format!(
                    "the filesystem at {} is not seen from here; in a container mount the host's / with the propagation \
                     rslave and name it as rootfs",
                    text::printable(point)
                )
            });
        }
        // In the same order each time: the first one of a tick is told.
        let mut refused: Vec<_> = self.refused.keys().collect();
        refused.sort_unstable();
        for point in refused {
            sink.left_out(|| {
                format!(
                    "the filesystem at {} may not be entered by the user of this daemon: its size is absent; the folders above \
                     it must let others through (mode o+x, or an ACL)",
                    text::printable(point)
                )
            });
        }
        if self.seen.is_empty() {
            return Ok(Collected::Absent);
        }
        let (mut total, mut used) = (0u64, 0u64);
        for seen in &self.seen {
            let Seen { size, series, .. } = seen;
            if !seen.counts_with_another(&self.seen) {
                total = total.saturating_add(size.total);
                used = used.saturating_add(size.used);
            }
            if let Some([limit, usage, inodes_limit, inodes_usage]) = series {
                sink.gauge(limit, size.total);
                sink.gauge(usage, size.used);
                if let Some(inodes) = size.inodes {
                    sink.gauge(inodes_limit, inodes.total);
                    sink.gauge(inodes_usage, inodes.used);
                }
            }
        }
        sink.gauge(&self.limit, total);
        sink.gauge(&self.usage, used);
        Ok(Collected::Present)
    }
}

/// Size of the filesystem mounted at `path`, when that is a folder: the `/etc/hosts` of a container is a file of some disk. What is
/// reserved for root counts as free, as in `df`'s "used" column.
fn size(path: &Path) -> Answer {
    if std::fs::metadata(path).is_ok_and(|file| !file.is_dir()) {
        return Answer::Nothing;
    }
    let stat = match rustix::fs::statvfs(path) {
        Ok(stat) => stat,
        Err(error) => {
            let error = io::Error::from(error);
            let refused = error.kind() == io::ErrorKind::PermissionDenied;
            return if refused { Answer::Refused(error) } else { Answer::Nothing };
        }
    };
    let bytes = |blocks: u64| blocks.checked_mul(stat.f_frsize);
    let (Some(total), Some(free)) = (bytes(stat.f_blocks).filter(|total| *total > 0), bytes(stat.f_bfree)) else {
        return Answer::Nothing;
    };
    // Filesystems that make inodes as they go say 0.
    let inodes =
        (stat.f_files > 0).then(|| Inodes { total: stat.f_files, used: stat.f_files.saturating_sub(stat.f_ffree) });
    Answer::Size(Size { total, used: total.saturating_sub(free), inodes })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use starling_proto::series::{Sample, Value};

    use super::*;

    fn collect(filesystem: &mut Filesystem, elapsed: u64) -> Vec<Sample> {
        let mut samples = Vec::new();
        filesystem.collect(Duration::from_secs(elapsed), &mut Sink::new(&mut samples)).unwrap();
        samples
    }

    /// Without inodes: the filesystem of the test may be one that has no limit of them.
    fn sizes(filesystem: &mut Filesystem, elapsed: u64) -> Vec<Sample> {
        let mut samples = collect(filesystem, elapsed);
        samples.retain(|sample| !sample.series.name().contains("inodes"));
        samples
    }

    #[test]
    fn a_container_on_a_disk_counts_it_once_and_files_are_no_filesystems() {
        let root = tempfile::tempdir().unwrap();
        let proc = root.path().join("proc");
        fs::create_dir_all(proc.join("self")).unwrap();
        for folder in ["etc", "data"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("etc/hosts"), "x").unwrap();
        fs::write(
            proc.join("self/mountinfo"),
            "600 500 0:60 / / rw - overlay overlay rw,upperdir=/u\n\
             601 600 8:1 /c/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n602 600 8:2 /v /data rw - ext4 /dev/sda1 rw\n",
        )
        .unwrap();
        let config = CollectConfig { procfs: proc, rootfs: root.path().into(), ..CollectConfig::default() };
        let samples = sizes(&mut Filesystem::new(&config), 0);
        let of = |metric| {
            let of = samples.iter().filter(move |sample| sample.series.is(metric));
            of.map(|sample| match sample.value {
                Value::Gauge(value) => value,
                _ => unreachable!(),
            })
            .collect::<Vec<_>>()
        };
        let each = of(&catalogue::MOUNT_LIMIT);
        assert_eq!((each.len(), of(&catalogue::FILESYSTEM_LIMIT)), (2, vec![each[0]]), "/ and /data are one disk");
    }

    #[test]
    fn sizes_are_asked_every_ten_seconds() {
        let root = tempfile::tempdir().unwrap();
        let proc = root.path().join("proc");
        fs::create_dir_all(proc.join("self")).unwrap();
        fs::create_dir_all(root.path().join("mnt/a")).unwrap();
        let mountinfo = proc.join("self/mountinfo");
        fs::write(&mountinfo, "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /mnt/a rw - xfs b rw\n").unwrap();
        let config = CollectConfig { procfs: proc, rootfs: root.path().into(), ..CollectConfig::default() };
        let mut filesystem = Filesystem::new(&config);
        let samples = sizes(&mut filesystem, 0);
        assert_eq!(samples.len(), 6);
        let of = |metric, samples: &[Sample]| {
            samples
                .iter()
                .filter(|sample| sample.series.is(metric))
                .map(|sample| match sample.value {
                    Value::Gauge(value) => value,
                    _ => unreachable!(),
                })
                .sum::<i64>()
        };
        assert_eq!(of(&catalogue::FILESYSTEM_LIMIT, &samples), of(&catalogue::MOUNT_LIMIT, &samples));
        fs::write(&mountinfo, "1 0 8:1 / / rw - ext4 a rw\n3 1 8:3 / /gone rw - xfs b rw\n").unwrap();
        assert_eq!(sizes(&mut filesystem, 9).len(), 6);
        assert_eq!(sizes(&mut filesystem, 1).len(), 4, "one unmounted, one that cannot be found");
    }

    #[test]
    fn one_that_is_not_mounted_here_has_no_size_of_another() {
        let root = tempfile::tempdir().unwrap();
        let proc = root.path().join("proc");
        for (name, text) in [
            ("1", "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /m rw - xfs b rw\n3 1 8:3 / /n rw - xfs c rw\n"),
            ("self", "1 0 0:5 / / rw - overlay o rw\n2 1 8:1 / ROOT rw - ext4 a rw\n3 2 8:3 / ROOT/n rw - xfs c rw\n"),
        ] {
            fs::create_dir_all(proc.join(name)).unwrap();
            let text = text.replace("ROOT", &root.path().display().to_string());
            fs::write(proc.join(name).join("mountinfo"), text).unwrap();
        }
        let config = CollectConfig { procfs: proc, rootfs: root.path().into(), ..CollectConfig::default() };
        let mut filesystem = Filesystem::asking(&config, |_| Answer::Size(Size { total: 100, used: 1, inodes: None }));
        let mut samples = Vec::new();
        let mut sink = Sink::new(&mut samples);
        filesystem.collect(Duration::ZERO, &mut sink).unwrap();
        let (faults, said) = sink.end();
        assert_eq!(faults, 1);
        let said = said.unwrap_or_default();
        assert!(said.starts_with("the filesystem at /m is not seen from here"), "{said}");
        let shown = samples.iter().filter(|sample| sample.series.is(&catalogue::MOUNT_LIMIT));
        let shown: Vec<_> =
            shown.filter_map(|sample| sample.series.attribute("system.filesystem.mountpoint")).collect();
        assert_eq!(shown, ["/", "/n"]);
    }

    /// As of a daemon that may not pass the folder above `m`, until a file of this name lets it.
    fn refuses_m(path: &Path) -> Answer {
        if path.ends_with("m") && !path.with_extension("open").exists() {
            // Of each question one byte.
            let mut asked =
                fs::OpenOptions::new().create(true).append(true).open(path.with_extension("asked")).unwrap();
            io::Write::write_all(&mut asked, b"x").unwrap();
            return Answer::Refused(io::Error::from_raw_os_error(13));
        }
        Answer::Size(Size { total: 100, used: 1, inodes: None })
    }

    #[test]
    fn one_that_may_not_be_entered_is_named_and_seldom_asked() {
        let root = tempfile::tempdir().unwrap();
        let proc = root.path().join("proc");
        fs::create_dir_all(proc.join("self")).unwrap();
        let mountinfo = "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /m rw - xfs b rw\n";
        fs::write(proc.join("self/mountinfo"), mountinfo).unwrap();
        let config = CollectConfig { procfs: proc, rootfs: root.path().into(), ..CollectConfig::default() };
        let mut filesystem = Filesystem::asking(&config, refuses_m);
        let mut look = |elapsed: u64| {
            let mut samples = Vec::new();
            let mut sink = Sink::new(&mut samples);
            filesystem.collect(Duration::from_secs(elapsed), &mut sink).unwrap();
            let told = sink.end();
            (samples.iter().filter(|sample| sample.series.is(&catalogue::MOUNT_LIMIT)).count(), told)
        };
        for second in 0..600 {
            let (mounts, (faults, said)) = look(second.min(1));
            let said = said.unwrap_or_default();
            assert!(
                (mounts, faults) == (1, 1) && said.starts_with("the filesystem at /m may not be entered"),
                "{said}"
            );
        }
        assert_eq!(fs::read(root.path().join("m.asked")).unwrap(), b"x", "once in ten minutes");
        fs::write(root.path().join("m.open"), "").unwrap();
        let opened = (0..61).map(|_| look(10)).last();
        assert_eq!(opened, Some((2, (0, None))));
    }

    #[test]
    fn names_that_would_be_one_series_have_one() {
        let config = CollectConfig::default();
        let mut filesystem = Filesystem::new(&config);
        let long = format!("/{}", "x".repeat(200)).into_bytes();
        let series = filesystem.detail(&long);
        assert!(series.is_some());
        let size = Size { total: 1, used: 0, inodes: None };
        let stands_on_another = false;
        filesystem.seen.push(Seen { point: long.clone().into(), size, series, answered: true, stands_on_another });
        assert!(filesystem.detail(&[&long[..], b"/other"].concat()).is_none());
    }

    /// What a dying disk does, until a file of this name beside it says that it answers again.
    fn hangs_at_m(path: &Path) -> Answer {
        while path.ends_with("m") && !path.with_extension("answers").exists() {
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let inodes = (!path.ends_with("n")).then_some(Inodes { total: 10, used: 2 });
        Answer::Size(Size { total: 100, used: 1, inodes })
    }

    #[test]
    fn one_that_does_not_answer_is_named_and_holds_up_no_other() {
        let root = tempfile::tempdir().unwrap();
        let proc = root.path().join("proc");
        fs::create_dir_all(proc.join("self")).unwrap();
        let mountinfo =
            "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /m rw - xfs b rw\n3 1 8:3 / /n rw - xfs c rw\n".to_owned();
        fs::write(proc.join("self/mountinfo"), mountinfo).unwrap();
        let config = CollectConfig { procfs: proc, rootfs: root.path().into(), ..CollectConfig::default() };
        let mut filesystem = Filesystem::asking(&config, hangs_at_m);
        let mut look = |elapsed: u64| {
            let mut samples = Vec::new();
            let mut sink = Sink::new(&mut samples);
            filesystem.collect(Duration::from_secs(elapsed), &mut sink).unwrap();
            let (faults, left_out) = sink.end();
            let mounts = samples.iter().filter(|sample| sample.series.is(&catalogue::MOUNT_LIMIT)).count();
            (mounts, faults, left_out.unwrap_or_default())
        };
        let named = (2, 1, "the filesystem at /m does not answer".to_owned());
        assert_eq!(look(0), named, "the other two are there");
        assert_eq!(look(1), named, "between two looks too");
        assert_eq!(look(10), named);
        fs::write(root.path().join("m.answers"), "").unwrap();
        while !filesystem.crew.out().is_empty() {
            std::thread::yield_now();
        }
        let mut again = |elapsed: u64| {
            let mut samples = Vec::new();
            let mut sink = Sink::new(&mut samples);
            filesystem.collect(Duration::from_secs(elapsed), &mut sink).unwrap();
            let end = sink.end();
            (samples.len(), end)
        };
        assert_eq!(again(10), (12, (0, None)), "limit and usage of three and of all, inodes of two");
    }
}
