//! The collectors by name.

use std::time::Duration;

use starling_proto::limits::TICK;

use super::{
    CollectConfig, Collector, budget::Level, cadence::TABLES_EVERY, cgroup, conntrack, cpu, disk, energy, files,
    filesystem, fine, gpu, load, memory, network, paging, portable, pressure, processes, raid, self_cost, sensors,
    sockets, sockstat, softnet, tcp, timekeeping, units, uptime,
};

/// What a machine is made of, and how warm it is, changes slowly, and asking a sensor may take milliseconds.
const HARDWARE_EVERY: Duration = Duration::from_secs(10);

/// One collector.
pub(super) struct Row {
    /// Value of the attribute `collector`, and its name in faults and settings.
    pub(super) name: &'static str,
    /// What it reads, for people: one of them is what hangs when it hangs.
    reads: &'static [Source],
    /// Time between two readings (`cadence`). What keeps its own, because it is read in pieces, has a second.
    pub(super) period: Duration,
    /// From which level on it is left out for what reading costs; `None` for what the host as a whole is about.
    pub(super) spared_from: Option<Level>,
    /// Whether the settings want it.
    on: fn(&CollectConfig) -> bool,
    /// Sets it up.
    make: fn(&CollectConfig) -> Box<dyn Collector>,
    /// What stands for it when the host is read through the portable library; `None` for what that does not know.
    portable: Option<fn() -> Box<dyn Collector>>,
}

/// Where a collector reads.
enum Source {
    Proc(&'static str),
    /// Of the host's network namespace.
    Net(&'static str),
    Sys(&'static str),
    /// In words.
    Other(&'static str),
}

use Source::{Net, Other, Proc, Sys};

impl Row {
    /// Whether it runs.
    pub(super) fn runs(&self, config: &CollectConfig) -> bool {
        (self.on)(config) && (config.source == super::Source::Proc || self.portable.is_some())
    }

    /// Sets it up.
    pub(super) fn collector(&self, config: &CollectConfig) -> Box<dyn Collector> {
        match (config.source, self.portable) {
            (super::Source::Portable, Some(make)) => make(),
            _ => (self.make)(config),
        }
    }

    /// What it reads, for people.
    pub(super) fn reads(&self, config: &CollectConfig) -> String {
        let sources = self.reads.iter().map(|source| match source {
            Proc(name) => config.procfs.join(name).display().to_string(),
            Net(name) => config.net(name).display().to_string(),
            Sys(name) => config.sysfs.join(name).display().to_string(),
            Other(words) => (*words).to_owned(),
        });
        sources.collect::<Vec<_>>().join(" or ")
    }
}

/// Every collector. The order is that of their samples and that in which they are started.
pub(super) static TABLE: [Row; 26] = [
    Row {
        name: "cpu",
        reads: &[Proc("stat")],
        period: TICK,
        spared_from: None,
        on: |config| config.collectors.cpu,
        make: |config| Box::new(cpu::Cpu::new(config)),
        portable: Some(|| Box::new(portable::Cpu::new())),
    },
    Row {
        name: "load",
        reads: &[Proc("loadavg")],
        period: TICK,
        spared_from: None,
        on: |config| config.collectors.load,
        make: |config| Box::new(load::Load::new(config)),
        portable: Some(|| Box::new(portable::Load::new())),
    },
    Row {
        name: "memory",
        reads: &[Proc("meminfo")],
        period: TICK,
        spared_from: None,
        on: |config| config.collectors.memory,
        make: |config| Box::new(memory::Memory::new(config)),
        portable: Some(|| Box::new(portable::Memory::new())),
    },
    Row {
        name: "disk",
        reads: &[Proc("diskstats"), Sys("block")],
        period: TICK,
        spared_from: None,
        on: |config| config.collectors.disk,
        make: |config| Box::new(disk::Disk::new(config)),
        portable: Some(|| Box::new(portable::Disk::new())),
    },
    Row {
        name: "filesystem",
        reads: &[Proc("1/mountinfo"), Other("the size of a filesystem")],
        period: TICK,
        spared_from: None,
        on: |config| config.collectors.filesystem,
        make: |config| Box::new(filesystem::Filesystem::new(config)),
        portable: Some(|| Box::new(portable::Filesystem::new())),
    },
    Row {
        name: "network",
        reads: &[Net("dev"), Sys("class/net")],
        period: TICK,
        spared_from: None,
        on: |config| config.collectors.network,
        make: |config| Box::new(network::Network::new(config)),
        portable: Some(|| Box::new(portable::Network::new())),
    },
    Row {
        name: "tcp",
        reads: &[Net("snmp"), Net("netstat")],
        period: TICK,
        spared_from: None,
        on: |config| config.collectors.tcp,
        make: |config| Box::new(tcp::Tcp::new(config)),
        portable: None,
    },
    Row {
        name: "pressure",
        reads: &[Proc("pressure")],
        period: TICK,
        spared_from: None,
        on: |config| config.collectors.pressure,
        make: |config| Box::new(pressure::Pressure::new(config)),
        portable: None,
    },
    Row {
        name: "paging",
        reads: &[Proc("vmstat")],
        period: TICK,
        spared_from: None,
        on: |config| config.collectors.paging,
        make: |config| Box::new(paging::Paging::new(config)),
        portable: None,
    },
    Row {
        name: "softnet",
        reads: &[Net("softnet_stat")],
        period: TICK,
        spared_from: None,
        on: |config| config.collectors.softnet,
        make: |config| Box::new(softnet::Softnet::new(config)),
        portable: None,
    },
    Row {
        name: "files",
        reads: &[Proc("sys/fs/file-nr")],
        period: TABLES_EVERY,
        spared_from: None,
        on: |config| config.collectors.files,
        make: |config| Box::new(files::Files::new(config)),
        portable: None,
    },
    Row {
        name: "conntrack",
        reads: &[Proc("sys/net/netfilter")],
        period: TABLES_EVERY,
        spared_from: None,
        on: |config| config.collectors.conntrack,
        make: |config| Box::new(conntrack::Conntrack::new(config)),
        portable: None,
    },
    Row {
        name: "sockstat",
        reads: &[Net("sockstat")],
        period: TABLES_EVERY,
        spared_from: None,
        on: |config| config.collectors.sockstat,
        make: |config| Box::new(sockstat::Sockstat::new(config)),
        portable: None,
    },
    Row {
        name: "processes",
        reads: &[Proc("PID/stat"), Proc("PID/io"), Proc("stat")],
        period: TICK,
        spared_from: Some(Level::PROCESSES),
        on: |config| config.collectors.processes,
        make: |config| Box::new(processes::Processes::new(config)),
        portable: Some(|| Box::new(portable::Processes::new())),
    },
    Row {
        name: "cgroup_cpu",
        reads: &[Sys("fs/cgroup")],
        period: TABLES_EVERY,
        spared_from: Some(Level::PARTS),
        on: |config| config.collectors.cgroup,
        make: |config| Box::new(cgroup::CgroupCpu::new(config)),
        portable: None,
    },
    Row {
        name: "cgroup",
        reads: &[Sys("fs/cgroup")],
        period: TABLES_EVERY,
        spared_from: Some(Level::PARTS),
        on: |config| config.collectors.cgroup,
        make: |config| Box::new(cgroup::Cgroup::new(config)),
        portable: None,
    },
    Row {
        name: "raid",
        reads: &[Sys("block")],
        period: HARDWARE_EVERY,
        spared_from: Some(Level::PARTS),
        on: |config| config.collectors.raid,
        make: |config| Box::new(raid::Raid::new(config)),
        portable: None,
    },
    Row {
        name: "sensors",
        reads: &[Sys("class/hwmon"), Sys("class/thermal")],
        period: HARDWARE_EVERY,
        spared_from: Some(Level::PARTS),
        on: |config| config.collectors.sensors,
        make: |config| Box::new(sensors::Sensors::new(config)),
        portable: Some(|| Box::new(portable::Sensors::new())),
    },
    Row {
        name: "energy",
        reads: &[Sys("class/powercap")],
        period: TABLES_EVERY,
        spared_from: Some(Level::PARTS),
        on: |config| config.collectors.energy,
        make: |config| Box::new(energy::Energy::new(config)),
        portable: None,
    },
    Row {
        name: "gpu",
        reads: &[Sys("class/drm")],
        period: TICK,
        spared_from: Some(Level::PARTS),
        on: |config| config.collectors.gpu,
        make: |config| Box::new(gpu::Gpu::new(config)),
        portable: None,
    },
    Row {
        name: "units",
        reads: &[Other("systemd, by the system bus")],
        period: HARDWARE_EVERY,
        spared_from: Some(Level::PARTS),
        on: |config| config.collectors.units,
        make: |config| Box::new(units::Units::new(config)),
        portable: None,
    },
    Row {
        name: "timekeeping",
        reads: &[Other("chrony, or systemd-timesyncd by the system bus")],
        period: HARDWARE_EVERY,
        spared_from: Some(Level::PARTS),
        on: |config| config.collectors.timekeeping,
        make: |config| Box::new(timekeeping::Timekeeping::new(config)),
        portable: None,
    },
    Row {
        name: "fine",
        reads: &[Proc("stat"), Proc("pressure"), Proc("diskstats"), Net("dev")],
        period: TICK,
        spared_from: Some(Level::FINE),
        on: |config| config.fine_hz > 0,
        make: |config| Box::new(fine::Fine::new(config)),
        portable: None,
    },
    Row {
        name: "uptime",
        reads: &[Proc("uptime")],
        period: TICK,
        spared_from: None,
        on: |config| config.collectors.uptime,
        make: |config| Box::new(uptime::Uptime::new(config)),
        portable: Some(|| Box::new(portable::Uptime::new())),
    },
    Row {
        name: "self",
        reads: &[Proc("self/statm")],
        period: TICK,
        spared_from: None,
        // What the daemon itself costs is always shown.
        on: |_| true,
        make: |config| Box::new(self_cost::SelfCost::new(config)),
        portable: Some(|| Box::new(self_cost::SelfCost::new(&CollectConfig::default()))),
    },
    Row {
        name: "sockets",
        reads: &[Other("the list of TCP sockets (netlink)")],
        period: TICK,
        spared_from: Some(Level::PARTS),
        on: |config| config.tcp,
        make: |_| Box::new(sockets::Sockets::new()),
        portable: None,
    },
];
