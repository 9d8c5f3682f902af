//! Programs that run here, by procfs, and who has a port.

use std::{
    collections::HashMap,
    fs, io,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::Path,
};

use crate::doctor::{
    facts::{Holder, Port, Process},
    installed::{Kind, Listener, Transport},
};

/// Longest name of a process that the kernel keeps (proc(5), comm).
const COMM_LEN_MAX: usize = 15;
/// The state of a listener in /proc/net/tcp (include/net/tcp_states.h).
const LISTENS: &str = "0A";

/// What runs here, read once.
#[derive(Debug, Default)]
pub(crate) struct Running {
    /// Programs of ours.
    pub(crate) processes: Vec<Process>,
    /// Name and number of the process that has a socket, by its inode. Root sees all, others their own.
    sockets: HashMap<u64, (String, u32)>,
}

impl Running {
    /// Looks through /proc.
    pub(crate) fn read() -> Self {
        let mut running = Self::default();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let folder = entry.path();
            let Ok(comm) = fs::read_to_string(folder.join("comm")) else { continue };
            let name = full_name(comm.trim());
            let open = fs::read_dir(folder.join("fd"));
            let mut count = None;
            for descriptor in open.into_iter().flatten().flatten() {
                *count.get_or_insert(0) += 1;
                let target = fs::read_link(descriptor.path()).unwrap_or_default();
                if let Some(inode) = socket_inode(&target.to_string_lossy()) {
                    running.sockets.insert(inode, (name.clone(), pid));
                }
            }
            if Kind::ALL.iter().any(|kind| kind.program() == name) {
                running.processes.push(process(name, pid, &folder, count));
            }
        }
        running.processes.sort_by_key(|process| process.pid);
        running
    }

    /// Whether a program of this kind runs.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.processes.iter().any(|process| process.name == kind.program())
    }
}

/// The kernel cuts names; ours are made whole.
fn full_name(comm: &str) -> String {
    let cut = |program: &&str| program[..program.len().min(COMM_LEN_MAX)] == *comm;
    Kind::ALL.map(Kind::program).iter().find(|&program| cut(program)).map_or(comm, |whole| *whole).to_owned()
}

fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn process(name: String, pid: u32, folder: &Path, open: Option<u64>) -> Process {
    let text = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
    let group = cgroup_path(&text("cgroup")).map(|path| Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')));
    let of_group = |file: &str| group.as_ref().and_then(|group| fs::read_to_string(group.join(file)).ok());
    let number = |file: &str| of_group(file)?.trim().parse::<u64>().ok();
    let environment = fs::read(folder.join("environ")).unwrap_or_default();
    Process {
        name,
        pid,
        open,
        open_max: descriptors_max(&text("limits")),
        // "max" is no limit and no number.
        // Pages of files that can be dropped are counted along, and fill what there is.
        memory: number("memory.current").zip(number("memory.max")).map(|(used, most)| {
            let spare = of_group("memory.stat").and_then(|text| inactive_file(&text)).unwrap_or(0);
            (used.saturating_sub(spare), most)
        }),
        killed: of_group("memory.events").and_then(|text| killed(&text)).unwrap_or(0),
        proxies: proxies(&String::from_utf8_lossy(&environment)),
    }
}

/// The path in the one hierarchy of cgroup v2 (cgroups(7)).
fn cgroup_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Of the text of memory.stat.
fn inactive_file(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("inactive_file "))?.trim().parse().ok()
}

fn descriptors_max(limits: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

fn killed(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Names of the variables by which other programs are told of a proxy.
fn proxies(environment: &str) -> Vec<String> {
    let is_proxy = |name: &&str| {
        ["http_proxy", "https_proxy", "all_proxy", "grpc_proxy"].contains(&name.to_ascii_lowercase().as_str())
    };
    let names = environment.split('\0').filter_map(|variable| variable.split_once('=')).map(|(name, _)| name);
    names.filter(is_proxy).map(str::to_owned).collect()
}

/// Who has an address that a program wants. Nobody: it is bound for a moment to see that it can be.
pub(crate) fn port(kind: Kind, listener: &Listener, running: &Running) -> Port {
    let Listener { key, address, transport, .. } = listener;
    let bound = match transport {
        Transport::Tcp => TcpListener::bind(address).map(drop),
        Transport::Udp => UdpSocket::bind(address).map(drop),
    };
    let holder = match bound {
        Ok(()) => Holder::Nobody,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => holder(*address, *transport, running),
        Err(error) => Holder::Refused(error.to_string()),
    };
    Port { kind, key, address: *address, holder }
}

fn holder(address: SocketAddr, transport: Transport, running: &Running) -> Holder {
    let files = match transport {
        Transport::Tcp => ["tcp", "tcp6"],
        Transport::Udp => ["udp", "udp6"],
    };
    let texts = files.map(|file| fs::read_to_string(Path::new("/proc/net").join(file)).unwrap_or_default());
    let inodes = texts.iter().flat_map(|text| inodes(text, address.port(), transport));
    match inodes.filter_map(|inode| running.sockets.get(&inode)).next() {
        Some((name, pid)) => Holder::Process(name.clone(), *pid),
        None => Holder::Unseen,
    }
}

/// Inodes of the sockets that listen at a port, of the text of /proc/net/tcp or udp (proc(5)).
fn inodes(text: &str, port: u16, transport: Transport) -> Vec<u64> {
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let is_here = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()? == port;
        (is_here && (transport == Transport::Udp || *state == LISTENS)).then(|| inode.parse().ok())?
    };
    text.lines().skip(1).filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_cut_are_made_whole() {
        for (comm, name) in
            [("starling-aggreg", "starling-aggregator"), ("starling-node", "starling-node"), ("nginx", "nginx")]
        {
            assert_eq!(full_name(comm), name);
        }
    }

    #[test]
    fn files_of_procfs_are_read() {
        assert_eq!(cgroup_path("1:name=systemd:/x\n0::/system.slice/a.service\n"), Some("/system.slice/a.service"));
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 65536                files     \n";
        assert_eq!(descriptors_max(limits), Some(1_024));
        assert_eq!(killed("low 0\noom 1\noom_kill 3\n"), Some(3));
        assert_eq!(proxies("A=1\0HTTPS_PROXY=http://p\0no_proxy=x\0"), ["HTTPS_PROXY"]);
        assert_eq!(socket_inode("socket:[42]"), Some(42));
        assert_eq!(socket_inode("/dev/null"), None);
    }

    #[test]
    fn a_listener_is_found_and_a_connection_is_none() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 0100007F:1CE8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 111 1 0\n\
                     1: 0100007F:1CE8 0100007F:9999 01 00000000:00000000 00:00000000 00000000  0  0 222 1 0\n";
        assert_eq!(inodes(text, 7_400, Transport::Tcp), [111]);
        assert_eq!(inodes(text, 7_400, Transport::Udp), [111, 222]);
        assert!(inodes(text, 7_401, Transport::Tcp).is_empty());
    }
}
