//! Addresses, disks, time and units of this host.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use crate::doctor::{
    facts::{Disk, Filesystem, Synchronised, Unit},
    installed::Kind,
};

/// How long a package manager may take to compare a few files.
const PACKAGE_WITHIN: Duration = Duration::from_secs(5);

/// The addresses of this host but loopback and link-local.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let text = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let mut all = of_fib_trie(&text("/proc/net/fib_trie"));
    all.extend(of_if_inet6(&text("/proc/net/if_inet6")));
    all
}

/// Local addresses of the kernel's routes: "|-- ADDRESS" and below it "/32 host LOCAL".
fn of_fib_trie(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<IpAddr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last.filter(|address| !address.is_loopback()));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn of_if_inet6(text: &str) -> Vec<IpAddr> {
    let of_line = |line: &str| u128::from_str_radix(line.split_whitespace().next()?, 16).ok().map(Ipv6Addr::from_bits);
    let far = |address: &Ipv6Addr| !address.is_loopback() && !address.is_unicast_link_local();
    text.lines().filter_map(of_line).filter(far).map(IpAddr::V6).collect()
}

/// The filesystem of a folder.
pub(crate) fn disk(kind: Kind, folder: PathBuf, wanted_bytes: u64) -> Disk {
    let seen = filesystem(&folder);
    Disk { kind, folder, wanted_bytes, seen }
}

fn filesystem(folder: &Path) -> Result<Filesystem, String> {
    // A folder that is still to be made has the filesystem of what is above it.
    let there = folder.ancestors().find(|path| path.exists()).ok_or("there is no such folder")?;
    let there = fs::canonicalize(there).map_err(|error| error.to_string())?;
    let stats = rustix::fs::statvfs(&there).map_err(|error| format!("cannot be looked at: {error}"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let (mount, kind, read_only) = mount_of(&there, &mounts).unwrap_or_else(|| ("/".into(), "unknown".into(), false));
    Ok(Filesystem {
        kind,
        mount,
        read_only,
        size: stats.f_blocks.saturating_mul(stats.f_frsize),
        free: stats.f_bavail.saturating_mul(stats.f_frsize),
        files_free: (stats.f_files > 0).then_some(stats.f_favail),
    })
}

/// Mount point, kind and whether it is read-only, of the mount that a path is on (proc(5), mountinfo). Of several at one
/// point the last counts.
fn mount_of(path: &Path, mountinfo: &str) -> Option<(String, String, bool)> {
    let of_line = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let mut fields = front.split_whitespace().skip(4);
        let point = fields.next()?.replace("\\040", " ");
        let mut behind = back.split_whitespace();
        let kind = behind.next()?.to_owned();
        let has_ro = |options: Option<&str>| options.is_some_and(|list| list.split(',').any(|option| option == "ro"));
        let read_only = has_ro(fields.next()) | has_ro(behind.nth(1));
        path.starts_with(&point).then_some((point, kind, read_only))
    };
    mountinfo.lines().filter_map(of_line).max_by_key(|(point, ..)| point.len())
}

/// What keeps the clock in step, by the files that its program leaves in /run: nothing is asked of the kernel.
pub(crate) fn synchronised() -> Synchronised {
    let has = |file: &str| Path::new(file).exists();
    if has("/run/systemd/timesync/synchronized") {
        return Synchronised::Yes("systemd-timesyncd");
    }
    let runs = |files: &[&str]| {
        let pid = |file: &&str| fs::read_to_string(file).ok()?.trim().parse::<u32>().ok();
        files.iter().filter_map(pid).any(|pid| has(&format!("/proc/{pid}")))
    };
    for (program, files) in [
        ("chrony", &["/run/chrony/chronyd.pid", "/run/chronyd.pid"][..]),
        ("ntpd", &["/run/ntpd.pid", "/run/ntpsec/ntpd.pid", "/run/openntpd.pid"][..]),
    ] {
        if runs(files) {
            return Synchronised::Runs(program);
        }
    }
    match has("/run/systemd/timesync") {
        true => Synchronised::NotYet("systemd-timesyncd"),
        false => Synchronised::Nothing,
    }
}

/// The unit of a program; `None` when it is not installed.
pub(crate) async fn unit(kind: Kind) -> Option<Unit> {
    let name = format!("{}.service", kind.program());
    let vendor = format!("usr/lib/systemd/system/{name}");
    if !Path::new("/").join(&vendor).exists() {
        return None;
    }
    let own = Path::new("/etc/systemd/system").join(&name);
    let verified = match Path::new("/var/lib/dpkg/status").exists() {
        // One that is not of a package cannot differ from it.
        true if !Path::new("/var/lib/dpkg/info").join(format!("{}.list", kind.program())).exists() => None,
        true => says("dpkg", &["--verify", kind.program()]).await,
        false => says("rpm", &["-V", kind.program()]).await,
    };
    let edited = verified.and_then(|lines| edited(&lines, &vendor));
    Some(Unit { kind, edited, replaced_by: own.exists().then_some(own) })
}

/// Whether a file is among those that a package manager says differ, one a line; `None` when it knows no such package.
fn edited(lines: &str, file: &str) -> Option<bool> {
    (!lines.contains("is not installed")).then(|| lines.lines().any(|line| line.ends_with(file)))
}

async fn says(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = timeout(PACKAGE_WITHIN, output).await.ok()?.ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_others_may_reach() {
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.1\n        /32 host LOCAL\n     |-- 10.0.0.255\n        \
                    /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 10.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(of_fib_trie(trie), [IpAddr::from([10, 0, 0, 1])]);
        let six = "00000000000000000000000000000001 01 80 10 80       lo\n\
                   fd900000000000000000000000000002 02 40 00 80     eth0\n\
                   fe800000000000000000000000000002 02 40 20 80     eth0\n";
        assert_eq!(of_if_inet6(six), ["fd90::2".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn package_managers_name_what_differs() {
        let unit = "usr/lib/systemd/system/starling-node.service";
        for (said, found) in [
            ("", Some(false)),
            ("??5?????? c /etc/starling/node.toml\n", Some(false)),
            ("??5??????   /usr/lib/systemd/system/starling-node.service\n", Some(true)),
            ("S.5....T.    /usr/lib/systemd/system/starling-node.service\n", Some(true)),
            ("package starling-node is not installed\n", None),
        ] {
            assert_eq!(edited(said, unit), found, "{said}");
        }
    }

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                      2 1 0:2 / /var/lib rw - xfs /dev/sdb rw\n\
                      3 1 0:3 / /var/lib/star rw - tmpfs tmpfs rw\n\
                      4 1 0:4 / /mnt/a\\040b ro - nfs4 h:/x rw\n";
        let of = |path: &str| mount_of(Path::new(path), mounts).unwrap();
        assert_eq!(of("/var/lib/starling"), ("/var/lib".into(), "xfs".into(), false));
        assert_eq!(of("/tmp").1, "ext4");
        assert_eq!(of("/mnt/a b/c"), ("/mnt/a b".into(), "nfs4".into(), true));
    }
}
