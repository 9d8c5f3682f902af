//! Disks, filesystems, network interfaces and temperatures.

use std::{collections::HashSet, ffi::OsString, os::unix::ffi::OsStrExt, time::Duration};

use starling_proto::{catalogue, series::Series};
use sysinfo::{Components, Disks, Networks};

use super::{
    super::{
        CollectError, Collected, Collector, family,
        filesystem::FILESYSTEMS_DETAILED_MAX,
        network::INTERFACES_DETAILED_MAX,
        roster::Roster,
        sensors,
        sink::{Baseline, Sink},
        text,
    },
    failed,
};

/// Bytes that disks moved, as far as something on them is mounted.
pub(in crate::collect) struct Disk {
    disks: Option<Disks>,
    before: Roster<[Baseline; 2]>,
    io: [Series; 2],
}

impl Disk {
    pub(in crate::collect) fn new() -> Self {
        let io = family(&catalogue::DISK_IO, "disk.io.direction", ["read", "write"]);
        Self { disks: None, before: Roster::new(), io }
    }
}

impl Collector for Disk {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let disks = refreshed_disks(&mut self.disks)?;
        let mut totals: Option<[u64; 2]> = None;
        for disk in disks.iter() {
            let usage = disk.usage();
            // Mounted twice it stands twice: the second time it is not met.
            let Some(before) = self.before.meet(disk.name().as_bytes(), Default::default) else { continue };
            for (direction, now) in [usage.total_read_bytes, usage.total_written_bytes].into_iter().enumerate() {
                if let Some(bytes) = sink.step(&mut before[direction], now) {
                    let total = &mut totals.get_or_insert_default()[direction];
                    *total = total.saturating_add(bytes);
                }
            }
        }
        self.before.sweep();
        let present = if disks.is_empty() { Collected::Absent } else { Collected::Present };
        for (series, bytes) in self.io.iter().zip(totals.into_iter().flatten()) {
            sink.increment(series, bytes);
        }
        Ok(present)
    }
}

fn refreshed_disks(disks: &mut Option<Disks>) -> Result<&Disks, CollectError> {
    match disks {
        Some(disks) => {
            disks.refresh(true);
            Ok(disks)
        }
        None => Ok(disks.insert(Disks::new_with_refreshed_list().map_err(failed)?)),
    }
}

/// Sizes of filesystems.
pub(in crate::collect) struct Filesystem {
    disks: Option<Disks>,
    limit: Series,
    usage: Series,
}

impl Filesystem {
    pub(in crate::collect) fn new() -> Self {
        Self {
            disks: None,
            limit: Series::of(&catalogue::FILESYSTEM_LIMIT, &[]),
            usage: Series::of(&catalogue::FILESYSTEM_USAGE, &[]),
        }
    }
}

impl Collector for Filesystem {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let disks = refreshed_disks(&mut self.disks)?;
        let (mut seen, mut points) = (HashSet::<OsString>::new(), HashSet::new());
        let (mut total, mut used) = (0u64, 0u64);
        for disk in disks.iter().filter(|disk| disk.total_space() > 0) {
            let in_use = disk.total_space().saturating_sub(disk.available_space());
            // One device mounted at several points has its space once.
            if !seen.insert(disk.name().to_owned()) {
                continue;
            }
            (total, used) = (total.saturating_add(disk.total_space()), used.saturating_add(in_use));
            let point = text::printable(disk.mount_point().as_os_str().as_bytes());
            if points.len() >= FILESYSTEMS_DETAILED_MAX {
                continue;
            }
            let series = |metric| Series::of(metric, &[("system.filesystem.mountpoint", &point)]);
            let limit = series(&catalogue::MOUNT_LIMIT);
            // Two points that are one once cut to the limit of an attribute: the second has no series.
            if points.insert(limit.clone()) {
                sink.gauge(&limit, disk.total_space());
                sink.gauge(&series(&catalogue::MOUNT_USAGE), in_use);
            }
        }
        if total == 0 {
            return Ok(Collected::Absent);
        }
        sink.gauge(&self.limit, total);
        sink.gauge(&self.usage, used);
        Ok(Collected::Present)
    }
}

/// Bytes over network interfaces.
pub(in crate::collect) struct Network {
    networks: Option<Networks>,
    before: Roster<Interface>,
    total: [Series; 2],
}

struct Interface {
    before: [Baseline; 2],
    series: Option<[Series; 2]>,
    counts: bool,
}

const DIRECTIONS: [&str; 2] = ["receive", "transmit"];

impl Network {
    pub(in crate::collect) fn new() -> Self {
        let total = family(&catalogue::NETWORK_IO, "network.io.direction", DIRECTIONS);
        Self { networks: None, before: Roster::new(), total }
    }
}

impl Collector for Network {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let networks = match &mut self.networks {
            Some(networks) => {
                networks.refresh(true);
                networks
            }
            None => self.networks.insert(Networks::new_with_refreshed_list().map_err(failed)?),
        };
        let mut detailed = self.before.values().filter(|interface| interface.series.is_some()).count();
        let mut totals: Option<[u64; 2]> = None;
        for (name, data) in networks.iter() {
            let interface = self.before.meet(name.as_bytes(), || {
                let shown = text::printable(name.as_bytes());
                let series = (detailed < INTERFACES_DETAILED_MAX).then(|| {
                    DIRECTIONS.map(|direction| {
                        let attributes = [("network.interface.name", &*shown), ("network.io.direction", direction)];
                        Series::of(&catalogue::INTERFACE_IO, &attributes)
                    })
                });
                detailed += usize::from(series.is_some());
                // "lo" on Linux, "lo0" on the BSDs.
                Interface { before: Default::default(), series, counts: !name.as_bytes().starts_with(b"lo") }
            });
            let Some(interface) = interface else { continue };
            for (direction, now) in [data.total_received(), data.total_transmitted()].into_iter().enumerate() {
                let Some(bytes) = sink.step(&mut interface.before[direction], now) else { continue };
                if let Some(series) = &interface.series {
                    sink.increment(&series[direction], bytes);
                }
                if interface.counts {
                    let total = &mut totals.get_or_insert_default()[direction];
                    *total = total.saturating_add(bytes);
                }
            }
        }
        self.before.sweep();
        for (series, bytes) in self.total.iter().zip(totals.into_iter().flatten()) {
            sink.increment(series, bytes);
        }
        Ok(if networks.is_empty() { Collected::Absent } else { Collected::Present })
    }
}

/// Temperatures.
pub(in crate::collect) struct Sensors {
    components: Option<Components>,
    highest: Series,
}

impl Sensors {
    pub(in crate::collect) fn new() -> Self {
        Self { components: None, highest: Series::of(&catalogue::TEMPERATURE_HIGHEST, &[]) }
    }
}

impl Collector for Sensors {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let components = match &mut self.components {
            Some(components) => {
                components.refresh(true);
                components
            }
            None => self.components.insert(Components::new_with_refreshed_list().map_err(failed)?),
        };
        let read = components.iter().filter_map(|component| {
            let degrees = f64::from(component.temperature()?);
            Some((text::printable(component.label().as_bytes()), catalogue::TEMPERATURE.fixed(degrees)))
        });
        sensors::give(read.collect(), &self.highest, sink)
    }
}
