//! The table. One row is one metric; the documentation of a row is its help.

use super::{
    Good, Metric, Statistic, Unit, counter,
    derivation::{Operand, difference, ratio, sum},
    derived,
    display::chart,
    gauge, histogram,
};

macro_rules! catalogue {
    ($( $(#[doc = $help:literal])+ $ident:ident = $metric:expr; )*) => {
        $(
            $(#[doc = $help])+
            pub static $ident: Metric = Metric { help: concat!($($help),+).trim_ascii_start(), ..$metric };
        )*
        /// Every metric, in the order of the table.
        pub static METRICS: &[&Metric] = &[$(&$ident),*];
    };
}

/// Names of the protocols of the traffic model, in the order they are shown.
pub const PROTOCOLS: [&str; 5] = ["http1", "http2", "http3", "websocket", "grpc"];

/// Key of the attribute that names one of [`PROTOCOLS`].
pub const PROTOCOL: &str = "protocol";

catalogue! {
    /// Requests served, by protocol: http1, http2, http3, websocket, grpc.
    REQUESTS = counter("traffic.requests", "{request}").by(&["protocol"]).shown("Requests", Unit::Rate).charted(&[
        chart("rps.http1").with(&[("protocol", "http1")]),
        chart("rps.http2").with(&[("protocol", "http2")]),
        chart("rps.http3").with(&[("protocol", "http3")]),
        chart("rps.websocket").with(&[("protocol", "websocket")]),
        chart("rps.grpc").with(&[("protocol", "grpc")]),
        chart("rps.total"),
    ]);
    /// Requests that failed.
    ERRORS = counter("traffic.errors", "{request}").by(&["protocol"]).shown("Errors", Unit::Rate).good(Good::Down)
        .charted(&[chart("errors.total")]);
    /// Failed share of the requests, 0 to 1.
    ERROR_RATIO = derived("traffic.error_ratio", "1", ratio(Operand::of(&ERRORS), Operand::of(&REQUESTS)))
        .by(&["protocol"]).shown("Failed requests", Unit::Share).good(Good::Down);
    /// Time to serve a request.
    DURATION = histogram("traffic.duration", "s").scale(9).by(&["protocol"]).shown("Latency", Unit::Time)
        .good(Good::Down).charted(&[
            chart("latency.p50").of(Statistic::P50),
            chart("latency.p95").of(Statistic::P95),
            chart("latency.p99").of(Statistic::P99),
            chart("latency.p999").of(Statistic::P999),
        ]);
    /// Requests or connections open now.
    ACTIVE = gauge("traffic.active", "{request}").by(&["protocol"]).shown("Open requests", Unit::Number);
    /// Seconds between two reports of the application that reports most seldom, of those that report more seldom than
    /// each second. What they report is played out evenly over as long a time.
    REPORT_INTERVAL = gauge("traffic.report_interval", "s").by(&["protocol"]).mean_over_nodes()
        .shown("Reported every", Unit::Number);
    /// The requests of `traffic.requests` by service (`service.name`, `unknown_service` without one), route (`http.route`,
    /// the method of a call; empty without one) and class of their status: 1xx to 5xx, or ok and error where no HTTP status
    /// is known. `_other` are the routes of a service, and the services, beyond the bounds of a node or an aggregator.
    SERVICE_REQUESTS = counter("traffic.service.requests", "{request}").by(&["route", "service", "status"])
        .open(&["route", "service"]).shown("Requests of a service", Unit::Rate);
    /// Requests that failed, by service and route: those whose class is 5xx or error.
    SERVICE_ERRORS = derived("traffic.service.errors", "{request}",
        sum(Operand::of(&SERVICE_REQUESTS).without(&[
            ("status", "1xx"), ("status", "2xx"), ("status", "3xx"), ("status", "4xx"), ("status", "ok"),
        ]))).by(&["route", "service"]).shown("Errors of a service", Unit::Rate).good(Good::Down);
    /// Failed share of the requests of a service or route, 0 to 1.
    SERVICE_ERROR_RATIO = derived("traffic.service.error_ratio", "1",
        ratio(Operand::of(&SERVICE_ERRORS), Operand::of(&SERVICE_REQUESTS))).by(&["route", "service"])
        .shown("Failed requests of a service", Unit::Share).good(Good::Down);
    /// Time to serve a request, by service and route. A counter of requests has none.
    SERVICE_DURATION = histogram("traffic.service.duration", "s").scale(9).by(&["route", "service"])
        .open(&["route", "service"]).shown("Latency of a service", Unit::Time).good(Good::Down);
    /// Requests that Starling's own servers served. They are no part of the traffic of the applications.
    OWN_REQUESTS = counter("starling.requests", "{request}").by(&["protocol"])
        .shown("Starling's requests", Unit::Rate);
    /// Requests that Starling's own servers failed to serve.
    OWN_ERRORS = counter("starling.errors", "{request}").by(&["protocol"]).shown("Starling's errors", Unit::Rate)
        .good(Good::Down);
    /// Time Starling's own servers took to serve a request.
    OWN_DURATION = histogram("starling.duration", "s").scale(9).by(&["protocol"])
        .shown("Starling's latency", Unit::Time).good(Good::Down);
    /// Requests, streams and sockets open at Starling's own servers.
    OWN_ACTIVE = gauge("starling.active", "{request}").by(&["protocol"])
        .shown("Starling's open requests", Unit::Number);
    /// TCP sockets by state.
    TCP_CONNECTIONS = gauge("system.tcp.connections", "{connection}").by(&["network.connection.state"])
        .shown("TCP sockets", Unit::Number);
    /// Established connections silent in both directions for more than 300 s.
    TCP_IDLE = gauge("system.tcp.idle", "{connection}").shown("Idle connections", Unit::Number);
    /// Connections that are healthy, in warning (retransmit over 2 %, or silent for 300 s) or in error (reset, refused or
    /// timed out in the last 60 s).
    TCP_HEALTH = gauge("system.tcp.health", "{connection}").by(&["health"]).shown("Connection health", Unit::Number)
        .charted(&[
            chart("connections.healthy").with(&[("health", "healthy")]),
            chart("connections.warning").with(&[("health", "warning")]),
            chart("connections.error").with(&[("health", "error")]),
        ]);
    /// Established connections by the local port on which a host listens and by health: healthy, warning. The 16 ports of a
    /// host with most connections; `_other` are those of its other ports and those it opened itself. All of them are the
    /// established connections.
    TCP_PORT_CONNECTIONS = gauge("system.tcp.port.connections", "{connection}").by(&["health", "network.local.port"])
        .open(&["network.local.port"]).shown("Connections by port", Unit::Number);
    /// TCP sockets in any state but LISTEN and CLOSE.
    TCP_OPEN = derived("system.tcp.open", "{connection}", sum(Operand::of(&TCP_CONNECTIONS)
        .without(&[("network.connection.state", "listen"), ("network.connection.state", "close")])))
        .shown("Connections", Unit::Number).charted(&[chart("connections.total")]);
    /// Established connections used within the last 300 s.
    TCP_ACTIVE = derived("system.tcp.active", "{connection}", difference(Operand::of(&TCP_CONNECTIONS)
        .with(&[("network.connection.state", "established")]), Operand::of(&TCP_IDLE)))
        .shown("Active connections", Unit::Number).charted(&[chart("connections.active")]);
    /// Connections opened, both directions.
    TCP_OPENED = counter("system.tcp.opened", "{connection}").shown("Connections opened", Unit::Rate);
    /// Connections reset.
    TCP_RESETS = counter("system.tcp.resets", "{connection}").shown("Connections reset", Unit::Rate).good(Good::Down);
    /// Segments sent, without retransmissions.
    TCP_SEGMENTS_SENT = counter("system.tcp.segments_sent", "{segment}").shown("Segments sent", Unit::Rate);
    /// Segments sent again.
    TCP_RETRANSMITS = counter("system.tcp.retransmits", "{segment}").shown("Segments sent again", Unit::Rate)
        .good(Good::Down);
    /// Connections that a full queue of a listening socket turned away.
    TCP_LISTEN_OVERFLOWS = counter("system.tcp.listen_overflows", "{connection}").shown("Connections turned away", Unit::Rate)
        .good(Good::Down);
    /// Segments sent again / segments sent, 0 to 1.
    TCP_RETRANSMIT_RATIO = derived("system.tcp.retransmit_ratio", "1",
        ratio(Operand::of(&TCP_RETRANSMITS), Operand::of(&TCP_SEGMENTS_SENT)))
        .shown("Retransmits", Unit::Share).good(Good::Down);
    /// Busy share of all cores of a node, 0 to 1; waiting for input or output is not busy.
    CPU_UTILIZATION = gauge("system.cpu.utilization", "1").scale(4).with_distribution().mean_over_nodes()
        .shown("CPU", Unit::Share).good(Good::Down);
    /// Time of all cores by mode: user, nice, system, idle, iowait, irq, softirq, steal.
    CPU_TIME = counter("system.cpu.time", "s").scale(3).by(&["cpu.mode"]).shown("CPU time", Unit::Number);
    /// Busy share of all cores of all nodes by time, 0 to 1: each core weighs the same.
    CPU_BUSY = derived("system.cpu.busy", "1", ratio(Operand::whole(&CPU_TIME)
        .without(&[("cpu.mode", "idle"), ("cpu.mode", "iowait")]), Operand::whole(&CPU_TIME)))
        .shown("CPU", Unit::Share).good(Good::Down).charted(&[chart("cpu.total")]);
    /// Share of the time of all cores in one mode, 0 to 1.
    CPU_MODE_UTILIZATION = derived("system.cpu.mode.utilization", "1",
        ratio(Operand::of(&CPU_TIME), Operand::whole(&CPU_TIME)))
        .by(&["cpu.mode"]).shown("CPU by mode", Unit::Share);
    /// Logical processors online.
    CPU_COUNT = gauge("system.cpu.logical.count", "{cpu}").shown("Logical processors", Unit::Number);
    /// Busy share of all cores of a node in a tenth of a second, or in what `fine_hz` says, 0 to 1: over nodes that of
    /// all their tenths. What comes close to 1 here and not in the mean is a burst.
    FINE_CPU = histogram("system.cpu.utilization.fine", "1").scale(4).shown("CPU, fine", Unit::Share).good(Good::Down)
        .charted(&[chart("cpu.p99").of(Statistic::P99)]);
    /// Threads that run or could run if a processor were free, at each look of the fine grain, without the one that looks.
    FINE_RUN_QUEUE = histogram("system.cpu.run_queue.fine", "{thread}").shown("Run queue, fine", Unit::Number)
        .good(Good::Down);
    /// Share of each tenth of a second in which at least one task waited for a processor, for memory, for input and output:
    /// cpu, memory, io.
    FINE_PRESSURE = histogram("system.pressure.fine", "1").scale(4).by(&["system.pressure.resource"])
        .shown("Waiting, fine", Unit::Share).good(Good::Down);
    /// Bytes a second that whole disks read or wrote in each tenth of a second: read, write.
    FINE_DISK = histogram("system.disk.io.fine", "By/s").by(&["disk.io.direction"])
        .shown("Disk, fine", Unit::BytesPerSecond);
    /// Bytes a second over the physical interfaces in each tenth of a second: receive, transmit.
    FINE_NETWORK = histogram("system.network.io.fine", "By/s").by(&["network.io.direction"])
        .shown("Network, fine", Unit::BytesPerSecond);
    /// How much more the busiest tenth of a second did than the mean of the second: cpu, disk, network. 1 while there
    /// is nearly nothing to do.
    BURST_FACTOR = gauge("system.burst_factor", "1").scale(2).by(&["resource"]).with_distribution().mean_over_nodes()
        .shown("Busiest tenth of a second to mean", Unit::Number).good(Good::Down);
    /// Interrupts served.
    INTERRUPTS = counter("system.interrupts", "{interrupt}").shown("Interrupts", Unit::Rate);
    /// Times that a processor turned from one thread to another.
    CONTEXT_SWITCHES = counter("system.context_switches", "{switch}").shown("Context switches", Unit::Rate);
    /// Processes and threads that were begun.
    PROCESSES_CREATED = counter("system.process.created", "{process}").shown("Processes begun", Unit::Rate);
    /// Threads that run or could run if a processor were free, the daemon's own included.
    RUN_QUEUE = gauge("system.cpu.run_queue", "{thread}").with_distribution().shown("Run queue", Unit::Number)
        .good(Good::Down);
    /// Threads that wait for a disk or another device and cannot be interrupted.
    PROCESSES_BLOCKED = gauge("system.process.blocked", "{thread}").shown("Waiting for devices", Unit::Number)
        .good(Good::Down);
    /// Physical memory.
    MEMORY_LIMIT = gauge("system.memory.limit", "By").shown("Memory", Unit::Bytes);
    /// What the kernel estimates can be given to programs without swapping.
    MEMORY_AVAILABLE = gauge("system.memory.available", "By").shown("Memory available", Unit::Bytes).good(Good::Up);
    /// Physical memory less what is available.
    MEMORY_USED = derived("system.memory.used", "By", difference(Operand::of(&MEMORY_LIMIT),
        Operand::of(&MEMORY_AVAILABLE))).shown("Memory used", Unit::Bytes).good(Good::Down);
    /// Used share of physical memory, 0 to 1: of several nodes together, so that each byte weighs the same.
    MEMORY_UTILIZATION = derived("system.memory.utilization", "1", ratio(Operand::of(&MEMORY_USED),
        Operand::of(&MEMORY_LIMIT))).shown("Memory", Unit::Share).good(Good::Down)
        .charted(&[chart("memory.used_ratio")]);
    /// Bytes over the physical interfaces, or where there are none over all but loopback: receive, transmit.
    NETWORK_IO = counter("system.network.io", "By").by(&["network.io.direction"])
        .shown("Network", Unit::BytesPerSecond).charted(&[
            chart("network.received").with(&[("network.io.direction", "receive")]),
            chart("network.sent").with(&[("network.io.direction", "transmit")]),
        ]);
    /// Bytes moved by whole disks: read, write.
    DISK_IO = counter("system.disk.io", "By").by(&["disk.io.direction"]).shown("Disk", Unit::BytesPerSecond)
        .charted(&[
            chart("disk.read").with(&[("disk.io.direction", "read")]),
            chart("disk.written").with(&[("disk.io.direction", "write")]),
        ]);
    /// Load average of one minute.
    LOAD_1M = gauge("system.load_average.1m", "1").scale(2).with_distribution().mean_over_nodes()
        .shown("Load, 1 min", Unit::Number).good(Good::Down).charted(&[chart("load.1m")]);
    /// Load average of five minutes.
    LOAD_5M = gauge("system.load_average.5m", "1").scale(2).mean_over_nodes().shown("Load, 5 min", Unit::Number)
        .good(Good::Down).charted(&[chart("load.5m").on_node()]);
    /// Load average of fifteen minutes.
    LOAD_15M = gauge("system.load_average.15m", "1").scale(2).mean_over_nodes().shown("Load, 15 min", Unit::Number)
        .good(Good::Down).charted(&[chart("load.15m").on_node()]);
    /// Memory by state: application, buffer_cache, system, free; they add up to the limit.
    MEMORY_USAGE = gauge("system.memory.usage", "By").by(&["system.memory.state"]).shown("Memory", Unit::Bytes)
        .charted(&[
            chart("memory.application").with(&[("system.memory.state", "application")]).on_node(),
            chart("memory.buffer_cache").with(&[("system.memory.state", "buffer_cache")]).on_node(),
            chart("memory.system").with(&[("system.memory.state", "system")]).on_node(),
            chart("memory.free").with(&[("system.memory.state", "free")]).on_node(),
        ]);
    /// Memory shared between programs, mostly files in tmpfs: a part of the state application.
    MEMORY_SHARED = gauge("system.memory.shared", "By").shown("Shared memory", Unit::Bytes).charted(&[chart("memory.shared")]);
    /// Busy share of one core, 0 to 1.
    CORE_UTILIZATION = gauge("system.cpu.core.utilization", "1").scale(4).of_node().by(&["cpu.logical_number"])
        .mean_over_nodes().shown("Core", Unit::Share);
    /// Swap space.
    SWAP_LIMIT = gauge("system.paging.limit", "By").shown("Swap", Unit::Bytes);
    /// Swap space in use.
    SWAP_USAGE = gauge("system.paging.usage", "By").shown("Swap used", Unit::Bytes).good(Good::Down);
    /// Used share of the swap space, 0 to 1.
    SWAP_UTILIZATION = derived("system.paging.utilization", "1",
        ratio(Operand::of(&SWAP_USAGE), Operand::of(&SWAP_LIMIT))).shown("Swap used", Unit::Share).good(Good::Down);
    /// Pages moved from and to swap: in, out.
    PAGING_OPERATIONS = counter("system.paging.operations", "{operation}").by(&["system.paging.direction"])
        .shown("Pages swapped", Unit::Rate).good(Good::Down);
    /// Page faults: minor, which found the page in memory or made one; major, which had to read it.
    PAGING_FAULTS = counter("system.paging.faults", "{fault}").by(&["system.paging.fault.type"])
        .shown("Page faults", Unit::Rate).good(Good::Down);
    /// Programs that the kernel ended for lack of memory.
    OOM_KILLS = counter("system.memory.oom_kills", "{process}").shown("Programs killed for memory", Unit::Rate)
        .good(Good::Down);
    /// Time in which tasks waited for a processor, for memory or for input and output: cpu, memory, io; at least one of them
    /// or all that were not idle: some, full.
    PRESSURE_TIME = counter("system.pressure.time", "s").scale(6).of_node()
        .by(&["system.pressure.resource", "system.pressure.tasks"]).shown("Waiting", Unit::Share).good(Good::Down);
    /// Memory set aside as huge pages.
    HUGE_PAGES_LIMIT = gauge("system.memory.huge_pages.limit", "By").shown("Huge pages", Unit::Bytes);
    /// Huge pages in use.
    HUGE_PAGES_USAGE = gauge("system.memory.huge_pages.usage", "By").shown("Huge pages used", Unit::Bytes);
    /// Operations completed by whole disks: read, write.
    DISK_OPERATIONS = counter("system.disk.operations", "{operation}").by(&["disk.io.direction"])
        .shown("Disk operations", Unit::Rate);
    /// Bytes moved by one disk.
    DISK_DEVICE_IO = counter("system.disk.device.io", "By").of_node().by(&["disk.io.direction", "system.device"])
        .shown("Disk", Unit::BytesPerSecond);
    /// Operations completed by one disk.
    DISK_DEVICE_OPERATIONS = counter("system.disk.device.operations", "{operation}").of_node()
        .by(&["disk.io.direction", "system.device"]).shown("Disk operations", Unit::Rate);
    /// Time that the operations completed by one disk took together.
    DISK_DEVICE_OPERATION_TIME = counter("system.disk.device.operation_time", "s").scale(3).of_node()
        .by(&["disk.io.direction", "system.device"]).shown("Time of disk operations", Unit::Share);
    /// Mean time of an operation of one disk, waiting in its queue included.
    DISK_DEVICE_LATENCY = derived("system.disk.device.latency", "s",
        ratio(Operand::of(&DISK_DEVICE_OPERATION_TIME), Operand::of(&DISK_DEVICE_OPERATIONS))).of_node()
        .by(&["disk.io.direction", "system.device"]).shown("Disk latency", Unit::Time).good(Good::Down);
    /// Time in which one disk was busy.
    DISK_DEVICE_IO_TIME = counter("system.disk.device.io_time", "s").scale(3).of_node().by(&["system.device"])
        .shown("Disk busy", Unit::Share);
    /// Size of all local filesystems.
    FILESYSTEM_LIMIT = gauge("system.filesystem.limit", "By").shown("Filesystems", Unit::Bytes);
    /// Bytes in use on all local filesystems.
    FILESYSTEM_USAGE = gauge("system.filesystem.usage", "By").shown("Filesystems used", Unit::Bytes);
    /// Used share of all local filesystems, 0 to 1.
    FILESYSTEM_UTILIZATION = derived("system.filesystem.utilization", "1",
        ratio(Operand::of(&FILESYSTEM_USAGE), Operand::of(&FILESYSTEM_LIMIT)))
        .shown("Filesystems used", Unit::Share).good(Good::Down);
    /// Size of one filesystem.
    MOUNT_LIMIT = gauge("system.filesystem.mount.limit", "By").of_node().by(&["system.filesystem.mountpoint"])
        .shown("Filesystem", Unit::Bytes);
    /// Bytes in use on one filesystem.
    MOUNT_USAGE = gauge("system.filesystem.mount.usage", "By").of_node().by(&["system.filesystem.mountpoint"])
        .shown("Filesystem used", Unit::Bytes);
    /// Used share of one filesystem, 0 to 1.
    MOUNT_UTILIZATION = derived("system.filesystem.mount.utilization", "1",
        ratio(Operand::of(&MOUNT_USAGE), Operand::of(&MOUNT_LIMIT))).of_node().by(&["system.filesystem.mountpoint"])
        .shown("Filesystem used", Unit::Share).good(Good::Down);
    /// Files and directories that one filesystem has room for; not of those that make room as they go (btrfs).
    MOUNT_INODES_LIMIT = gauge("system.filesystem.mount.inodes.limit", "{inode}").of_node()
        .by(&["system.filesystem.mountpoint"]).shown("Inodes", Unit::Number);
    /// Files and directories on one filesystem.
    MOUNT_INODES_USAGE = gauge("system.filesystem.mount.inodes.usage", "{inode}").of_node()
        .by(&["system.filesystem.mountpoint"]).shown("Inodes used", Unit::Number);
    /// Used share of the inodes of one filesystem, 0 to 1.
    MOUNT_INODES_UTILIZATION = derived("system.filesystem.mount.inodes.utilization", "1",
        ratio(Operand::of(&MOUNT_INODES_USAGE), Operand::of(&MOUNT_INODES_LIMIT))).of_node()
        .by(&["system.filesystem.mountpoint"]).shown("Inodes used", Unit::Share).good(Good::Down);
    /// Packets over the same interfaces.
    NETWORK_PACKETS = counter("system.network.packets", "{packet}").by(&["network.io.direction"])
        .shown("Packets", Unit::Rate);
    /// Errors of the same interfaces.
    NETWORK_ERRORS = counter("system.network.errors", "{error}").by(&["network.io.direction"])
        .shown("Network errors", Unit::Rate).good(Good::Down);
    /// Packets dropped by the same interfaces.
    NETWORK_DROPPED = counter("system.network.dropped", "{packet}").by(&["network.io.direction"])
        .shown("Packets dropped", Unit::Rate).good(Good::Down);
    /// Packets that the processors took from network interfaces.
    SOFTNET_PROCESSED = counter("system.network.softnet.processed", "{packet}")
        .shown("Packets taken by processors", Unit::Rate);
    /// Packets dropped because the queue of a processor was full.
    SOFTNET_DROPPED = counter("system.network.softnet.dropped", "{packet}")
        .shown("Packets dropped by processors", Unit::Rate).good(Good::Down);
    /// Times that a processor stopped taking packets, out of time or budget, with some left.
    SOFTNET_SQUEEZED = counter("system.network.softnet.squeezed", "{event}")
        .shown("Processors out of time for packets", Unit::Rate).good(Good::Down);
    /// Connections that the firewall tracks.
    CONNTRACK_COUNT = gauge("system.network.conntrack.count", "{connection}").shown("Tracked connections", Unit::Number);
    /// Connections that the firewall can track.
    CONNTRACK_LIMIT = gauge("system.network.conntrack.limit", "{connection}")
        .shown("Most tracked connections", Unit::Number);
    /// Used share of the table of tracked connections, 0 to 1; a full one drops new connections.
    CONNTRACK_UTILIZATION = derived("system.network.conntrack.utilization", "1",
        ratio(Operand::of(&CONNTRACK_COUNT), Operand::of(&CONNTRACK_LIMIT)))
        .shown("Connection tracking used", Unit::Share).good(Good::Down);
    /// Sockets of all kinds in use.
    SOCKETS = gauge("system.network.sockets", "{socket}").shown("Sockets", Unit::Number);
    /// UDP sockets in use, over IPv4.
    UDP_SOCKETS = gauge("system.network.udp.sockets", "{socket}").shown("UDP sockets", Unit::Number);
    /// Memory in the buffers of sockets: tcp, udp.
    SOCKET_MEMORY = gauge("system.network.socket.memory", "By").by(&["network.transport"])
        .shown("Memory of sockets", Unit::Bytes).good(Good::Down);
    /// TCP sockets that no process holds any more and that are not closed yet.
    TCP_ORPHANS = gauge("system.tcp.orphans", "{connection}").shown("TCP orphans", Unit::Number).good(Good::Down);
    /// Files open on the host.
    FILES_OPEN = gauge("system.files.open", "{file}").shown("Open files", Unit::Number);
    /// Files that may be open on the host; absent where there is as good as no limit.
    FILES_LIMIT = gauge("system.files.limit", "{file}").shown("Most open files", Unit::Number);
    /// Used share of the open files that there may be, 0 to 1.
    FILES_UTILIZATION = derived("system.files.utilization", "1",
        ratio(Operand::of(&FILES_OPEN), Operand::of(&FILES_LIMIT))).shown("Open files", Unit::Share).good(Good::Down);
    /// Units of systemd that failed: services, timers, mounts and others.
    UNITS_FAILED = gauge("system.systemd.units.failed", "{unit}").shown("Failed units", Unit::Number).good(Good::Down);
    /// 1 for a unit of systemd that failed; absent for others. The first 32 of a host by name.
    UNIT_FAILED = gauge("system.systemd.unit.failed", "1").of_node().by(&["systemd.unit"])
        .shown("Failed unit", Unit::Number).good(Good::Down);
    /// By how much the clock of the host is ahead of the source that keeps it right, as chrony or systemd-timesyncd measured it last; below
    /// 0 it is behind. Absent where neither runs, and while the clock is not synchronised.
    CLOCK_OFFSET = gauge("system.clock.offset", "s").scale(9).shown("Clock ahead by", Unit::Time);
    /// 1 while something keeps the clock of the host right, 0 while it is left to itself; absent where neither chrony nor
    /// systemd-timesyncd runs.
    CLOCK_SYNCHRONISED = gauge("system.clock.synchronized", "1").mean_over_nodes()
        .shown("Clock synchronised", Unit::Share);
    /// Bytes over one interface.
    INTERFACE_IO = counter("system.network.interface.io", "By").of_node()
        .by(&["network.interface.name", "network.io.direction"]).shown("Interface", Unit::BytesPerSecond);
    /// Packets over one interface.
    INTERFACE_PACKETS = counter("system.network.interface.packets", "{packet}").of_node()
        .by(&["network.interface.name", "network.io.direction"]).shown("Packets", Unit::Rate);
    /// Errors of one interface.
    INTERFACE_ERRORS = counter("system.network.interface.errors", "{error}").of_node()
        .by(&["network.interface.name", "network.io.direction"]).shown("Errors", Unit::Rate).good(Good::Down);
    /// Packets dropped by one interface.
    INTERFACE_DROPPED = counter("system.network.interface.dropped", "{packet}").of_node()
        .by(&["network.interface.name", "network.io.direction"]).shown("Packets dropped", Unit::Rate)
        .good(Good::Down);
    /// Time since boot.
    UPTIME = gauge("system.uptime", "s").of_node().shown("Uptime", Unit::Number);
    /// Scheduling entities: processes and threads.
    PROCESS_COUNT = gauge("system.process.count", "{process}").of_node().shown("Processes", Unit::Number);
    /// Processes by state: running, sleeping, uninterruptible (waits for a device), idle (a thread of the kernel without
    /// work), stopped, defunct (ended and not waited for).
    PROCESS_STATES = gauge("system.process.states", "{process}").by(&["process.state"])
        .shown("Processes by state", Unit::Number);
    /// Processor time by command, each second of the 20 that used most; `_other` is all else that the processors did.
    COMMAND_CPU_TIME = counter("system.process.command.cpu.time", "s").scale(3).by(&["process.executable.name"])
        .open(&["process.executable.name"]).shown("CPU time by command", Unit::Number);
    /// Share of all processors that one command used, 0 to 1: of a cluster, of all its processors.
    COMMAND_CPU_UTILIZATION = derived("system.process.command.cpu.utilization", "1",
        ratio(Operand::of(&COMMAND_CPU_TIME), Operand::whole(&CPU_TIME))).by(&["process.executable.name"])
        .shown("CPU by command", Unit::Share);
    /// Resident memory by command, of the 20 that have most; `_other` is that of all others. What processes share counts
    /// for each of them.
    COMMAND_MEMORY = gauge("system.process.command.memory.usage", "By").by(&["process.executable.name"])
        .open(&["process.executable.name"]).shown("Memory by command", Unit::Bytes);
    /// Bytes read from and written to disks by command: read, write. Of processes the daemon may look at.
    COMMAND_IO = counter("system.process.command.io", "By").by(&["disk.io.direction", "process.executable.name"])
        .open(&["process.executable.name"]).shown("Disk by command", Unit::BytesPerSecond);
    /// Services of systemd that are active, by their groups.
    SERVICES = gauge("system.services", "{service}").shown("Services", Unit::Number);
    /// Processor time of one service or container; `_other` is that of those without series of their own.
    CGROUP_CPU_TIME = counter("system.cgroup.cpu.time", "s").scale(6).of_node().by(&["system.cgroup.name"])
        .shown("CPU of a service", Unit::Number);
    /// Time in which a service or container was held back by its limit of processor time.
    CGROUP_THROTTLED_TIME = counter("system.cgroup.cpu.throttled_time", "s").scale(6).of_node()
        .by(&["system.cgroup.name"]).shown("Service held back", Unit::Number).good(Good::Down);
    /// Memory of one service or container, its files in cache included.
    CGROUP_MEMORY = gauge("system.cgroup.memory.usage", "By").of_node().by(&["system.cgroup.name"])
        .shown("Memory of a service", Unit::Bytes);
    /// Memory that one service or container may use; absent without a limit.
    CGROUP_MEMORY_LIMIT = gauge("system.cgroup.memory.limit", "By").of_node().by(&["system.cgroup.name"])
        .shown("Memory limit of a service", Unit::Bytes);
    /// Used share of what one service or container may use, 0 to 1.
    CGROUP_MEMORY_UTILIZATION = derived("system.cgroup.memory.utilization", "1",
        ratio(Operand::of(&CGROUP_MEMORY), Operand::of(&CGROUP_MEMORY_LIMIT))).of_node().by(&["system.cgroup.name"])
        .shown("Memory of a service", Unit::Share).good(Good::Down);
    /// Programs of one service or container that the kernel ended for lack of memory.
    CGROUP_OOM_KILLS = counter("system.cgroup.memory.oom_kills", "{process}").of_node().by(&["system.cgroup.name"])
        .shown("Killed for memory", Unit::Rate).good(Good::Down);
    /// Bytes that one service or container read from and wrote to disks: read, write.
    CGROUP_IO = counter("system.cgroup.io", "By").of_node().by(&["disk.io.direction", "system.cgroup.name"])
        .shown("Disk of a service", Unit::BytesPerSecond);
    /// Processes and threads of one service or container.
    CGROUP_PROCESSES = gauge("system.cgroup.processes", "{process}").of_node().by(&["system.cgroup.name"])
        .shown("Processes of a service", Unit::Number);
    /// Arrays of software RAID.
    RAID_ARRAYS = gauge("system.raid.arrays", "{array}").shown("RAID arrays", Unit::Number);
    /// Arrays of software RAID that lack a disk.
    RAID_ARRAYS_DEGRADED = gauge("system.raid.arrays.degraded", "{array}").shown("Degraded RAID arrays", Unit::Number)
        .good(Good::Down);
    /// Disks that one array should have.
    RAID_DISKS = gauge("system.raid.disks", "{disk}").of_node().by(&["system.device"]).shown("Disks of RAID", Unit::Number);
    /// Disks that one array lacks.
    RAID_DISKS_MISSING = gauge("system.raid.disks.missing", "{disk}").of_node().by(&["system.device"])
        .shown("Missing disks of RAID", Unit::Number).good(Good::Down);
    /// Temperature at one sensor.
    TEMPERATURE = gauge("system.temperature", "Cel").scale(3).of_node().by(&["hw.sensor"]).mean_over_nodes()
        .shown("Temperature", Unit::Number).good(Good::Down);
    /// Temperature at the hottest sensor of a node.
    TEMPERATURE_HIGHEST = gauge("system.temperature.highest", "Cel").scale(3).with_distribution().mean_over_nodes()
        .shown("Hottest sensor", Unit::Number).good(Good::Down);
    /// Energy that the processors took; a second of it is their power in watts.
    CPU_ENERGY = counter("system.cpu.energy", "J").scale(6).shown("Power of processors", Unit::Number).good(Good::Down);
    /// Busy share of one graphics processor, 0 to 1.
    GPU_UTILIZATION = gauge("system.gpu.utilization", "1").scale(4).of_node().by(&["hw.gpu"]).mean_over_nodes()
        .shown("GPU", Unit::Share).good(Good::Down);
    /// Memory in use of one graphics processor.
    GPU_MEMORY = gauge("system.gpu.memory.usage", "By").of_node().by(&["hw.gpu"]).shown("GPU memory", Unit::Bytes);
    /// Memory of one graphics processor.
    GPU_MEMORY_LIMIT = gauge("system.gpu.memory.limit", "By").of_node().by(&["hw.gpu"])
        .shown("GPU memory in all", Unit::Bytes);
    /// Processor time of the daemon itself.
    DAEMON_CPU_TIME = counter("starling.node.cpu.time", "s").scale(6).shown("Daemon CPU", Unit::Share)
        .good(Good::Down);
    /// Resident memory of the daemon itself.
    DAEMON_MEMORY = gauge("starling.node.memory.usage", "By").shown("Daemon memory", Unit::Bytes).good(Good::Down);
    /// Time one collector took.
    COLLECT_DURATION = counter("starling.node.collect.duration", "s").scale(9).of_node().by(&["collector"])
        .shown("Collector time", Unit::Share).good(Good::Down);
    /// Times one collector failed.
    COLLECT_FAILURES = counter("starling.node.collect.failures", "{failure}").of_node().by(&["collector"])
        .shown("Collector failures", Unit::Rate).good(Good::Down);
    /// Interfaces, disks and the like that have no series of their own, because there are too many: they are in the totals. Absent for 0.
    COLLECT_WITHOUT_DETAIL = gauge("starling.node.collect.without_detail", "{thing}").of_node().by(&["collector"])
        .shown("Things without series", Unit::Number);
    /// Whether a collector gave its samples: 1 when it did, or this host has nothing of the kind, 0 when it failed or
    /// did not return.
    COLLECT_UP = gauge("starling.node.collect.up", "1").of_node().by(&["collector"])
        .shown("Collector works", Unit::Number);
    /// Points of applications with more attributes than a series takes, which were added up with those that differ in the others alone. Absent
    /// until there is one.
    RECEIVE_MERGED = counter("starling.node.receive.merged", "{point}").of_node()
        .shown("Points added up without some attributes", Unit::Rate).good(Good::Down);
    /// Frames the daemon lost, by reason.
    FRAMES_DROPPED = counter("starling.node.frames.dropped", "{frame}").by(&["reason"])
        .shown("Frames lost", Unit::Rate).good(Good::Down);
}
