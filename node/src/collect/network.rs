//! Network interfaces, from `/proc/net/dev`.
//!
//! In the totals a byte counts once: they are over the interfaces with a device behind them (`device` in
//! `/sys/class/net/NAME`), because bridges, bonds, VLANs, tunnels, `veth` pairs and what Docker makes of them carry
//! the same bytes again. Of two with a device of which one stands on the other, the upper one counts: the paravirtual
//! interface of a cloud machine on its hardware twin, the ports of a switch chip on their conduit. A host without any
//! such interface, a container with one end of a `veth` pair, has totals over all but loopback. Every interface has
//! series of its own, loopback too, as long as there is room; then those with a device go before the others.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use starling_proto::{
    catalogue::{self, Metric},
    series::Series,
};

use super::{
    CollectConfig, CollectError, Collected, Collector, family,
    kept::{KeptFile, Shape},
    roster::Roster,
    sink::{Baseline, Sink},
    text,
};

/// Interfaces with series of their own, those with a device first. Further ones are in the totals only.
pub(super) const INTERFACES_DETAILED_MAX: usize = 128;
/// Interfaces with a device of which the links are looked at; a host has a few, a switch some fifty.
const LINKED_MAX: usize = 64;
/// Between two looks at what stands on what: a twin or a port may be linked a moment after it appears.
const LINKS_EVERY: Duration = Duration::from_secs(10);
const DIRECTIONS: [&str; 2] = ["receive", "transmit"];
/// What is counted per direction: bytes, packets, errors, dropped. The first four columns of each half of a line.
const COUNTERS: usize = 4;
const PER_INTERFACE: [&Metric; COUNTERS] = [
    &catalogue::INTERFACE_IO,
    &catalogue::INTERFACE_PACKETS,
    &catalogue::INTERFACE_ERRORS,
    &catalogue::INTERFACE_DROPPED,
];
const TOTAL: [&Metric; COUNTERS] =
    [&catalogue::NETWORK_IO, &catalogue::NETWORK_PACKETS, &catalogue::NETWORK_ERRORS, &catalogue::NETWORK_DROPPED];

/// One value per counter and direction.
pub(super) type Both<T> = [[T; 2]; COUNTERS];

/// The collector.
pub(super) struct Network {
    dev: KeptFile,
    class: PathBuf,
    interfaces: Roster<Interface>,
    totals: Both<Series>,
    /// Since the last look at the links.
    since: Duration,
}

struct Interface {
    sort: Sort,
    baselines: Both<Baseline>,
    detail: Option<Both<Series>>,
}

/// What an interface is, which says into which total it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Loopback,
    Physical,
    /// With a device, and below another one with a device, which counts the same bytes.
    Lower,
    Virtual,
}

impl Network {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            dev: KeptFile::new(config.net("dev"), Shape::ShortRecords),
            class: config.sysfs.join("class/net"),
            interfaces: Roster::new(),
            totals: TOTAL.map(|metric| family(metric, "network.io.direction", DIRECTIONS)),
            since: LINKS_EVERY,
        }
    }

    /// Gives those with a device the room of others.
    fn make_room(&mut self) {
        let mut wanting =
            self.interfaces.iter().filter(|(_, one)| one.detail.is_none() && one.sort != Sort::Virtual).count();
        if wanting == 0 {
            return;
        }
        for (_, interface) in self.interfaces.iter_mut().filter(|(_, one)| one.sort == Sort::Virtual) {
            if wanting > 0 && interface.detail.take().is_some() {
                wanting -= 1;
            }
        }
        let mut room = INTERFACES_DETAILED_MAX.saturating_sub(self.detailed());
        for (name, interface) in self.interfaces.iter_mut().filter(|(_, one)| one.sort != Sort::Virtual) {
            if room > 0 && interface.detail.is_none() {
                interface.detail = Some(details(name));
                room -= 1;
            }
        }
    }

    fn detailed(&self) -> usize {
        self.interfaces.values().filter(|interface| interface.detail.is_some()).count()
    }
}

impl Collector for Network {
    fn collect(&mut self, elapsed: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let mut detailed = self.detailed();
        let Some(dev) = self.dev.read()? else { return Ok(Collected::Absent) };
        let (mut physical, mut others) = (None, None);
        let mut is_new = false;
        // Two lines of heading.
        for line in text::lines(dev).skip(2).filter(|line| !line.is_empty()) {
            let Some((name, now)) = parse(line) else {
                sink.left_out(|| format!("net/dev: {:?} is not a line of an interface", text::excerpt(line)));
                continue;
            };
            let interface = self.interfaces.meet(name, || {
                is_new = true;
                let detail = (detailed < INTERFACES_DETAILED_MAX).then(|| details(name));
                detailed += usize::from(detail.is_some());
                Interface { sort: sort(&self.class, name), baselines: Default::default(), detail }
            });
            match interface {
                Some(interface) => {
                    let totals = match interface.sort {
                        Sort::Physical => Some(&mut physical),
                        Sort::Virtual => Some(&mut others),
                        Sort::Loopback | Sort::Lower => None,
                    };
                    interface.count(&now, totals, sink);
                }
                None => sink.left_out(|| format!("net/dev: {:?} is there twice, or no room", text::printable(name))),
            }
        }
        self.interfaces.sweep();
        self.since = self.since.saturating_add(elapsed);
        if is_new || self.since >= LINKS_EVERY {
            self.since = Duration::ZERO;
            look_at_links(&self.class, &mut self.interfaces, |interface| &mut interface.sort);
            self.make_room();
        }
        sink.without_detail("network", self.interfaces.values().filter(|one| one.detail.is_none()).count());
        let has_physical = self.interfaces.values().any(|interface| interface.sort == Sort::Physical);
        if let Some(totals) = if has_physical { physical } else { others } {
            for (series, increment) in self.totals.iter().flatten().zip(totals.iter().flatten()) {
                sink.increment(series, *increment);
            }
        }
        Ok(Collected::Present)
    }
}

impl Interface {
    /// Gives the increments since the last tick, and adds them to `totals`.
    fn count(&mut self, now: &Both<u64>, totals: Option<&mut Option<Both<u64>>>, sink: &mut Sink<'_>) {
        let mut increments = Both::<u64>::default();
        let mut compared = false;
        for counter in 0..COUNTERS {
            for direction in 0..2 {
                let step = sink.step(&mut self.baselines[counter][direction], now[counter][direction]);
                let Some(increment) = step else { continue };
                increments[counter][direction] = increment;
                compared = true;
                if let Some(detail) = &self.detail {
                    sink.increment(&detail[counter][direction], increment);
                }
            }
        }
        if let (Some(totals), true) = (totals, compared) {
            let totals = totals.get_or_insert_default();
            for (total, increment) in totals.iter_mut().flatten().zip(increments.iter().flatten()) {
                *total = total.saturating_add(*increment);
            }
        }
    }
}

/// Finds out which of those with a device stand below another.
pub(super) fn look_at_links<T>(class: &Path, interfaces: &mut Roster<T>, sort_of: impl Fn(&mut T) -> &mut Sort) {
    let entry = |name: &[u8]| class.join(OsStr::from_bytes(name));
    let mut physical: Vec<Box<[u8]>> = Vec::new();
    for (name, interface) in interfaces.iter_mut() {
        if matches!(sort_of(interface), Sort::Physical | Sort::Lower) && physical.len() < LINKED_MAX {
            physical.push(name.into());
        }
    }
    for lower in &physical {
        let master = fs::read_link(entry(lower).join("master")).ok();
        let master = master.as_deref().and_then(Path::file_name).map(OsStr::as_bytes);
        let link = |of: &[u8], kind: &str, name: &[u8]| {
            entry(of).join(OsStr::from_bytes(&[kind.as_bytes(), name].concat())).exists()
        };
        let is_lower = physical
            .iter()
            .filter(|upper| *upper != lower)
            .any(|upper| master == Some(upper) || link(upper, "lower_", lower) || link(lower, "upper_", upper));
        if let Some(interface) = interfaces.get_mut(lower) {
            *sort_of(interface) = if is_lower { Sort::Lower } else { Sort::Physical };
        }
    }
}

/// Looks it up in `/sys/class/net`.
pub(super) fn sort(class: &Path, name: &[u8]) -> Sort {
    if name == b"lo" {
        Sort::Loopback
    } else if class.join(OsStr::from_bytes(name)).join("device").exists() {
        Sort::Physical
    } else {
        Sort::Virtual
    }
}

fn details(name: &[u8]) -> Both<Series> {
    let name = &*text::printable(name);
    PER_INTERFACE.map(|metric| {
        DIRECTIONS.map(|direction| {
            Series::of(metric, &[("network.interface.name", name), ("network.io.direction", direction)])
        })
    })
}

/// Name and counters of one line: eight columns received, eight sent (`dev_seq_printf_stats` in
/// `net/core/net-procfs.c`). `None` for a line of another shape.
pub(super) fn parse(line: &[u8]) -> Option<(&[u8], Both<u64>)> {
    // The last colon: an alias has one in its name.
    let colon = line.iter().rposition(|&byte| byte == b':')?;
    let name = line[..colon].trim_ascii();
    let mut columns: [Option<&[u8]>; 16] = [None; 16];
    let mut words = text::words(&line[colon + 1..]);
    for column in &mut columns {
        *column = Some(words.next()?);
    }
    // Bytes and packets as they are; the errors and drops of a half follow them. Only what is used must be a number.
    let mut counters = Both::<u64>::default();
    for (counter, both) in counters.iter_mut().enumerate() {
        *both = [text::number(columns[counter]?)?, text::number(columns[8 + counter]?)?];
    }
    (!name.is_empty()).then_some((name, counters))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_proto::series::{Sample, Value};

    use super::*;

    const HEADING: &str = "Inter-|   Receive\n face |bytes\n";

    struct Host {
        root: tempfile::TempDir,
        network: Network,
    }

    impl Host {
        fn new(physical: &[&str]) -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join("net")).unwrap();
            for name in physical {
                fs::create_dir_all(root.path().join("class/net").join(name).join("device")).unwrap();
            }
            let config =
                CollectConfig { procfs: root.path().into(), sysfs: root.path().into(), ..CollectConfig::default() };
            Self { network: Network::new(&config), root }
        }

        /// Collects after `lines` of interface and bytes received; gives the samples, the total received and faults.
        fn tick(&mut self, lines: &[(&str, u64)]) -> (Vec<Sample>, Option<u64>, u64) {
            let lines: String =
                lines.iter().map(|(name, bytes)| format!("{name}: {bytes} 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n")).collect();
            fs::write(self.root.path().join("net/dev"), format!("{HEADING}{lines}")).unwrap();
            let mut samples = Vec::new();
            let mut sink = Sink::new(&mut samples);
            self.network.collect(Duration::from_secs(1), &mut sink).unwrap();
            let (faults, _) = sink.end();
            let received = samples.iter().find(|sample| sample.series == self.network.totals[0][0]);
            let received = received.map(|sample| match sample.value {
                Value::Counter(increment) => increment,
                _ => unreachable!(),
            });
            (samples, received, faults)
        }
    }

    #[test]
    fn a_byte_counts_once() {
        let mut host = Host::new(&["eth0", "eth1"]);
        host.tick(&[("lo", 0), ("eth0", 0), ("eth1", 0), ("docker0", 0), ("veth1", 0)]);
        let (samples, received, _) =
            host.tick(&[("lo", 7), ("eth0", 100), ("eth1", 20), ("docker0", 100), ("veth1", 100)]);
        assert_eq!(received, Some(120));
        assert_eq!(samples.len(), 5 * 8 + 8, "each has its own series");
    }

    #[test]
    fn a_container_counts_what_it_has() {
        let mut host = Host::new(&[]);
        host.tick(&[("lo", 0), ("eth0", 50)]);
        assert_eq!(host.tick(&[("lo", 9), ("eth0", 80)]).1, Some(30));
    }

    #[test]
    fn interfaces_that_come_go_and_reset() {
        let mut host = Host::new(&["eth0", "usb0"]);
        host.tick(&[("eth0", 0)]);
        assert_eq!(host.tick(&[("eth0", 5), ("usb0", 1_000)]).1, Some(5), "a new one sets its baselines");
        assert_eq!(host.tick(&[("eth0", 10), ("usb0", 1_003)]).1, Some(8));
        assert_eq!(host.tick(&[("eth0", 11)]).1, Some(1));
        assert_eq!(host.tick(&[("eth0", 12), ("usb0", 5)]).1, Some(1), "plugged in again");
        let (_, received, faults) = host.tick(&[("eth0", 2), ("usb0", 6)]);
        assert_eq!((received, faults), (Some(1), 1), "a driver that reset its counters");
    }

    #[test]
    fn of_two_with_a_device_the_upper_one_counts() {
        let mut host = Host::new(&["eth0", "enP1s1", "lan1", "lan2", "eth1", "port0"]);
        let class = host.root.path().join("class/net");
        fs::create_dir(class.join("eth0/lower_enP1s1")).unwrap();
        // A switch chip: two ports on their conduit.
        fs::create_dir(class.join("lan1/lower_eth1")).unwrap();
        fs::create_dir(class.join("eth1/upper_lan2")).unwrap();
        // Below a bond, which has no device.
        fs::create_dir(class.join("port0/upper_bond0")).unwrap();
        std::os::unix::fs::symlink("../bond0", class.join("port0/master")).unwrap();
        let all = |n| ["eth0", "enP1s1", "lan1", "lan2", "eth1", "port0", "bond0"].map(|name| (name, n));
        host.tick(&all(0));
        assert_eq!(host.tick(&all(1_000)).1, Some(4_000), "eth0, lan1, lan2, port0");
        // The twin is linked by its master only, and later.
        let mut host = Host::new(&["eth0", "enP1s1"]);
        let all = |n| [("eth0", n), ("enP1s1", n)];
        host.tick(&all(0));
        assert_eq!(host.tick(&all(10)).1, Some(20));
        std::os::unix::fs::symlink("../eth0", host.root.path().join("class/net/enP1s1/master")).unwrap();
        (2..15).for_each(|n| drop(host.tick(&all(10 * n))));
        assert_eq!(host.tick(&all(150)).1, Some(10));
    }

    #[test]
    fn one_with_a_device_has_its_series_however_many_came_before() {
        let mut host = Host::new(&["eth0", "usb0"]);
        let names: Vec<String> = (0..300).map(|i| format!("veth{i}")).collect();
        let lines = |n, with: &'static [&'static str]| {
            names
                .iter()
                .map(|name| (name.as_str(), n))
                .chain(with.iter().map(move |&name| (name, n)))
                .collect::<Vec<_>>()
        };
        let received = |samples: &[Sample], name: &str| {
            samples.iter().any(|sample| sample.series.attribute("network.interface.name") == Some(name))
        };
        host.tick(&lines(0, &["eth0"]));
        let (samples, ..) = host.tick(&lines(10, &["eth0"]));
        assert!(received(&samples, "eth0"), "it stands behind 300 others");
        let bare = samples.iter().find(|sample| sample.series.is(&catalogue::COLLECT_WITHOUT_DETAIL)).unwrap();
        assert_eq!(bare.value, Value::Gauge(301 - INTERFACES_DETAILED_MAX as i64));
        host.tick(&lines(20, &["eth0", "usb0"]));
        let (samples, ..) = host.tick(&lines(30, &["eth0", "usb0"]));
        assert!(received(&samples, "eth0") && received(&samples, "usb0"), "plugged in later");
    }

    #[test]
    fn many_interfaces() {
        let mut host = Host::new(&["eth0"]);
        let names: Vec<String> = (0..300).map(|i| format!("veth{i}")).collect();
        let lines: Vec<(&str, u64)> =
            [("eth0", 0)].into_iter().chain(names.iter().map(|name| (name.as_str(), 0))).collect();
        host.tick(&lines);
        assert_eq!(host.tick(&lines).0.len(), INTERFACES_DETAILED_MAX * 8 + 8 + 1);
    }

    #[test]
    fn an_odd_line_costs_its_interface_only_and_names_that_look_alike_stay_apart() {
        let mut host = Host::new(&["eth0"]);
        let lines = |n| [("eth0", n), ("w\u{1}", n), ("w\u{2}", n)];
        host.tick(&lines(0));
        let (samples, received, faults) = host.tick(&lines(100));
        assert_eq!((received, faults), (Some(100), 0));
        let series: std::collections::HashSet<_> = samples.iter().map(|sample| &sample.series).collect();
        assert_eq!(series.len(), samples.len(), "each stands once: a frame with one twice is refused");
        let name = |sample: &Sample| sample.series.attribute("network.interface.name").map(str::to_owned);
        assert!(samples.iter().filter_map(name).any(|name| name == "w\\x01"));
        let (_, received, faults) = host.tick(&[("eth0", 150), ("odd: 7 7\nw\u{1}", 100)]);
        assert_eq!((received, faults), (Some(50), 1));
    }

    #[test]
    fn usual_and_odd_lines() {
        let (name, now) = parse(b"  eth0:538371139   17167    1    2    0     0          0         0  1143240   10609    3    4    0     0       0          0").unwrap();
        assert_eq!(name, b"eth0");
        assert_eq!(now, [[538_371_139, 1_143_240], [17_167, 10_609], [1, 3], [2, 4]]);
        assert_eq!(parse(b"eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16").unwrap().0, b"eth0:1");
        for bad in [
            "",
            "eth0",
            "eth0: 1 2 3",
            ": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
            "eth0: 1 2 3 4 5 6 7 8 9 10 11 -12 13 14 15 16",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes);
        }
    }
}
