//! The collectors by name.

use super::{
    CollectConfig, Collector, cpu, disk, filesystem, load, memory, network, paging, pressure, self_cost, sockets, tcp,
    uptime,
};

/// One collector.
pub(super) struct Row {
    /// Value of the attribute `collector`, and its name in faults and settings.
    pub(super) name: &'static str,
    /// What it reads, for people: one of them is what hangs when it hangs.
    reads: &'static [Source],
    /// Whether the settings want it.
    pub(super) on: fn(&CollectConfig) -> bool,
    /// Sets it up.
    pub(super) make: fn(&CollectConfig) -> Box<dyn Collector>,
}

/// Where a collector reads.
enum Source {
    Proc(&'static str),
    Sys(&'static str),
    /// In words.
    Other(&'static str),
}

use Source::{Other, Proc, Sys};

impl Row {
    /// What it reads, for people.
    pub(super) fn reads(&self, config: &CollectConfig) -> String {
        let sources = self.reads.iter().map(|source| match source {
            Proc(name) => config.procfs.join(name).display().to_string(),
            Sys(name) => config.sysfs.join(name).display().to_string(),
            Other(words) => (*words).to_owned(),
        });
        sources.collect::<Vec<_>>().join(" or ")
    }
}

/// Every collector. The order is that of their samples and that in which they are started.
pub(super) static TABLE: [Row; 12] = [
    Row {
        name: "cpu",
        reads: &[Proc("stat")],
        on: |config| config.collectors.cpu,
        make: |config| Box::new(cpu::Cpu::new(config)),
    },
    Row {
        name: "load",
        reads: &[Proc("loadavg")],
        on: |config| config.collectors.load,
        make: |config| Box::new(load::Load::new(config)),
    },
    Row {
        name: "memory",
        reads: &[Proc("meminfo")],
        on: |config| config.collectors.memory,
        make: |config| Box::new(memory::Memory::new(config)),
    },
    Row {
        name: "disk",
        reads: &[Proc("diskstats"), Sys("block")],
        on: |config| config.collectors.disk,
        make: |config| Box::new(disk::Disk::new(config)),
    },
    Row {
        name: "filesystem",
        reads: &[Proc("1/mountinfo"), Other("the size of a filesystem")],
        on: |config| config.collectors.filesystem,
        make: |config| Box::new(filesystem::Filesystem::new(config)),
    },
    Row {
        name: "network",
        reads: &[Proc("net/dev"), Sys("class/net")],
        on: |config| config.collectors.network,
        make: |config| Box::new(network::Network::new(config)),
    },
    Row {
        name: "tcp",
        reads: &[Proc("net/snmp"), Proc("net/netstat")],
        on: |config| config.collectors.tcp,
        make: |config| Box::new(tcp::Tcp::new(config)),
    },
    Row {
        name: "pressure",
        reads: &[Proc("pressure")],
        on: |config| config.collectors.pressure,
        make: |config| Box::new(pressure::Pressure::new(config)),
    },
    Row {
        name: "paging",
        reads: &[Proc("vmstat")],
        on: |config| config.collectors.paging,
        make: |config| Box::new(paging::Paging::new(config)),
    },
    Row {
        name: "uptime",
        reads: &[Proc("uptime")],
        on: |config| config.collectors.uptime,
        make: |config| Box::new(uptime::Uptime::new(config)),
    },
    Row {
        name: "self",
        reads: &[Proc("self/statm")],
        // What the daemon itself costs is always shown.
        on: |_| true,
        make: |config| Box::new(self_cost::SelfCost::new(config)),
    },
    Row {
        name: "sockets",
        reads: &[Other("the list of TCP sockets (netlink)")],
        on: |config| config.tcp,
        make: |_| Box::new(sockets::Sockets::new()),
    },
];
