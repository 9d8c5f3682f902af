//! One look at the host: files kept open, totals since the first look.

use std::{path::PathBuf, time::Instant};

use super::super::{
    CollectConfig, CollectError,
    kept::{KeptFile, Shape},
    network,
    pressure::{self, Line},
    roster::Roster,
    text,
};

use super::{
    busy::{Busy, Processors},
    counted::{Both, LINKS_EVERY_LOOKS, count},
    disks::Disks,
};

/// Resources with pressure.
pub(super) const RESOURCES: usize = pressure::RESOURCES.len();

/// What is read again and again.
pub(super) struct Sources {
    processors: Processors,
    pressure: [KeptFile; RESOURCES],
    disks: Disks,
    dev: KeptFile,
    class: PathBuf,
    interfaces: Roster<(network::Sort, Both)>,
    network: Interfaces,
    /// Since the last look at what stands on what.
    looks: u32,
}

/// Bytes received and sent since the first look.
#[derive(Default)]
struct Interfaces {
    physical: [u64; 2],
    others: [u64; 2],
}

/// What was seen at one moment. Totals only grow; what this host does not have is `None`.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) busy: Option<Busy>,
    /// Threads that run or could, without the one that looks.
    pub(super) running: Option<u64>,
    /// Microseconds in which at least one task waited.
    pub(super) waited_us: [Option<u64>; RESOURCES],
    /// Bytes read and written.
    pub(super) disk: Option<[u64; 2]>,
    /// Bytes received and sent.
    pub(super) network: Option<[u64; 2]>,
}

impl Sources {
    pub(super) fn new(config: &CollectConfig) -> Self {
        let proc = |name: &str| config.procfs.join(name);
        Self {
            processors: Processors::new(config),
            pressure: pressure::RESOURCES.map(|name| KeptFile::new(proc("pressure").join(name), Shape::Single)),
            disks: Disks::new(config),
            dev: KeptFile::new(config.net("dev"), Shape::ShortRecords),
            class: config.sysfs.join("class/net"),
            interfaces: Roster::new(),
            network: Interfaces::default(),
            looks: 0,
        }
    }

    /// Everything once, and why something of it could not be read. Lines that are odd are named by the collectors that
    /// read the same files each second.
    pub(super) fn look(&mut self) -> (Look, Option<CollectError>) {
        let mut error = None;
        let mut look = Look {
            at: Instant::now(),
            busy: None,
            running: None,
            waited_us: [None; RESOURCES],
            disk: None,
            network: None,
        };
        match self.processors.look() {
            Ok(seen) => (look.busy, look.running) = seen,
            Err(why) => error = Some(why),
        }
        for (file, waited) in self.pressure.iter_mut().zip(&mut look.waited_us) {
            // Where it is switched off its files cannot be read: the collector of pressure says what is to be said.
            if let Ok(Some(text)) = file.read()
                && let Line::Total(us) = pressure::total(text, b"some")
            {
                *waited = Some(us);
            }
        }
        look.disk = there(self.disks.look(), &mut error);
        look.network = self.network(&mut error);
        (look, error)
    }

    fn network(&mut self, error: &mut Option<CollectError>) -> Option<[u64; 2]> {
        let text = there(self.dev.read(), error)?;
        for line in text::lines(text).skip(2) {
            let Some((name, now)) = network::parse(line) else { continue };
            let make = || {
                self.looks = 0;
                (network::sort(&self.class, name), Both::default())
            };
            let Some((sort, bytes)) = self.interfaces.meet(name, make) else { continue };
            let total = match sort {
                network::Sort::Physical => &mut self.network.physical,
                network::Sort::Virtual => &mut self.network.others,
                network::Sort::Loopback | network::Sort::Lower => continue,
            };
            count(bytes, now[0], total);
        }
        self.interfaces.sweep();
        if self.looks == 0 {
            network::look_at_links(&self.class, &mut self.interfaces, |(sort, _)| sort);
        }
        self.looks = (self.looks + 1) % LINKS_EVERY_LOOKS;
        let has = |sort| self.interfaces.values().any(|(other, _)| *other == sort);
        if has(network::Sort::Physical) {
            return Some(self.network.physical);
        }
        has(network::Sort::Virtual).then_some(self.network.others)
    }
}

fn there<T>(read: Result<Option<T>, CollectError>, error: &mut Option<CollectError>) -> Option<T> {
    read.unwrap_or_else(|why| {
        error.get_or_insert(why);
        None
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn totals_grow_by_what_counts_and_odd_files_cost_only_themselves() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let disk = |sectors: u64| {
            format!(
                "8 0 sda 1 0 {sectors} 0 1 0 7 0 0 0 0\n8 1 sda1 1 0 {sectors} 0 1 0 7 0 0 0 0\n7 0 loop0 1 0 9 0 1 0 9 0 0 0 0\n"
            )
        };
        let net = |bytes: u64| {
            format!(
                "a\nb\neth0: {bytes} 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\nveth1: {bytes} 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\nlo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n"
            )
        };
        write("class/net/eth0/device/state", "");
        write("block/sda/device/state", "");
        write("stat", "cpu  5 0 1 100\ncpu0 5 0 1 100\nintr 5 5\nprocs_running 3\nprocs_blocked 0\nsoftirq 1\n");
        write("pressure/cpu", "some avg10=0.00 total=500\n");
        write("pressure/io", "rubbish\n");
        write("diskstats", &disk(100));
        write("net/dev", &net(1000));
        let config =
            CollectConfig { procfs: root.path().into(), sysfs: root.path().into(), ..CollectConfig::default() };
        let mut sources = Sources::new(&config);
        let (first, error) = sources.look();
        assert!(error.is_none(), "{error:?}");
        assert_eq!(first.busy, Some(Busy::Ticks([5, 0, 1, 100, 0, 0, 0, 0])));
        assert_eq!((first.running, first.waited_us), (Some(2), [Some(500), None, None]));
        assert_eq!((first.disk, first.network), (Some([0, 0]), Some([0, 0])), "nothing to compare with");
        write("diskstats", &(disk(104) + "nonsense\n"));
        write("net/dev", &net(1200));
        let (second, _) = sources.look();
        assert_eq!((second.disk, second.network), (Some([2048, 0]), Some([200, 0])));
        write("diskstats", &disk(2));
        write("net/dev", "a\nb\nveth1: 1300 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n");
        let (third, _) = sources.look();
        assert_eq!((third.disk, third.network), (Some([2048, 0]), Some([300, 0])), "one went back, one went");
    }
}
