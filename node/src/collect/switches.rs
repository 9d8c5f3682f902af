//! Which collectors run.

use starling_service::settings::kind;

starling_service::settings! {
    /// A switch for each collector. What one that is switched off would read is absent.
    pub struct Switches {
        /// Processors, interrupts, context switches and what runs or waits, from PROCFS/stat.
        pub cpu: bool = true, kind::flag();
        /// Load averages and the number of processes, from PROCFS/loadavg.
        pub load: bool = true, kind::flag();
        /// Memory, swap and huge pages, from PROCFS/meminfo and, for the cache of ZFS, PROCFS/spl/kstat/zfs/arcstats.
        pub memory: bool = true, kind::flag();
        /// Disks, from PROCFS/diskstats and SYSFS/block.
        pub disk: bool = true, kind::flag();
        /// Sizes of local filesystems, from PROCFS/1/mountinfo and the filesystems themselves.
        pub filesystem: bool = true, kind::flag();
        /// Network interfaces, from PROCFS/net/dev and SYSFS/class/net.
        pub network: bool = true, kind::flag();
        /// Counters of TCP, from PROCFS/net/snmp and PROCFS/net/netstat. Sockets one by one have the setting tcp.
        pub tcp: bool = true, kind::flag();
        /// Time that tasks waited for processor, memory, input and output, from PROCFS/pressure.
        pub pressure: bool = true, kind::flag();
        /// Page faults, pages swapped and programs killed for lack of memory, from PROCFS/vmstat.
        pub paging: bool = true, kind::flag();
        /// Packets that processors took from interfaces or had to drop, from PROCFS/net/softnet_stat.
        pub softnet: bool = true, kind::flag();
        /// Open files and their limit, from PROCFS/sys/fs/file-nr, every 5 s.
        pub files: bool = true, kind::flag();
        /// Tracked connections and their limit, from PROCFS/sys/net/netfilter, every 5 s.
        pub conntrack: bool = true, kind::flag();
        /// Sockets and the memory they take, from PROCFS/net/sockstat, every 5 s.
        pub sockstat: bool = true, kind::flag();
        /// Processes, from PROCFS/PID: who uses processors, memory and disks, by the name of the command. Costs about 10 us
        /// a process and second, at most 3 ms.
        pub processes: bool = true, kind::flag();
        /// Services and containers, from SYSFS/fs/cgroup (version 2), every 5 s.
        pub cgroup: bool = true, kind::flag();
        /// Software RAID, from SYSFS/block, every 10 s.
        pub raid: bool = true, kind::flag();
        /// Temperatures, from SYSFS/class/hwmon or SYSFS/class/thermal, every 10 s.
        pub sensors: bool = true, kind::flag();
        /// Energy that the processors took, from SYSFS/class/powercap, every 5 s. Only root may read it on newer kernels.
        pub energy: bool = true, kind::flag();
        /// Graphics processors, from SYSFS/class/drm, as far as their driver writes it there.
        pub gpu: bool = true, kind::flag();
        /// Units of systemd that failed, asked by the system bus (ROOTFS/run/dbus/system_bus_socket), every 10 s.
        pub units: bool = true, kind::flag();
        /// How far the clock is off, asked of chrony (127.0.0.1:323) or systemd-timesyncd, every 10 s.
        pub timekeeping: bool = true, kind::flag();
        /// Time since boot, from PROCFS/uptime.
        pub uptime: bool = true, kind::flag();
    }
}

impl Switches {
    /// Whether any collector reads the host.
    pub(crate) fn any(&self) -> bool {
        let Self {
            cpu,
            load,
            memory,
            disk,
            filesystem,
            network,
            tcp,
            pressure,
            paging,
            softnet,
            files,
            conntrack,
            sockstat,
            processes,
            cgroup,
            raid,
            sensors,
            energy,
            gpu,
            units,
            timekeeping,
            uptime,
        } = self;
        let kernel = [cpu, load, memory, disk, filesystem, network, tcp, pressure, paging, softnet];
        let rest =
            [files, conntrack, sockstat, processes, cgroup, raid, sensors, energy, gpu, units, timekeeping, uptime];
        kernel.into_iter().chain(rest).any(|on| *on)
    }
}
