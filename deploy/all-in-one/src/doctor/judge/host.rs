//! This host: disks, descriptors, memory, time, units, variables of the environment.

use crate::doctor::{
    facts::{Disk, Filesystem, Host, Process, Synchronised, Unit},
    finding::Finding,
};

const MIB: u64 = 1024 * 1024;
/// With less free nothing is written soon.
const FREE_LEAST: u64 = 256 * MIB;
/// Less than this share of a filesystem, in hundredths, is little.
const FREE_PERCENT: u64 = 5;
/// A file for each segment and log: far less than this is in use.
const FILES_LEAST: u64 = 1_000;
/// Descriptors in use or memory, in hundredths of the limit.
const NEARLY_PERCENT: u64 = 80;
/// A connection a node, one a browser: less than this is a shell's limit and not that of the unit.
const DESCRIPTORS_LEAST: u64 = 4_096;
/// Filesystems that another host keeps: their writes and locks are another's promise.
const REMOTE: [&str; 8] = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs"];
/// Filesystems that are gone with a restart of the host.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// Everything about this host.
pub(crate) fn host(facts: &Host) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts.disks.iter().flat_map(disk).collect();
    findings.extend(facts.processes.iter().flat_map(process));
    findings.push(time(&facts.synchronised));
    findings.extend(facts.units.iter().filter_map(unit));
    findings
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=1_073_741_823 => format!("{} MiB", bytes / MIB),
        _ => format!("{:.1} GiB", bytes as f64 / (1024.0 * MIB as f64)),
    }
}

fn disk(facts: &Disk) -> Vec<Finding> {
    let Disk { kind, folder, wanted_bytes, seen } = facts;
    let subject = format!("{} {}", kind.program(), folder.display());
    let Filesystem { kind: filesystem, mount, read_only, size: all, free, files_free } = match seen {
        Ok(seen) => seen,
        Err(error) => {
            let next = "make the folder and give it to the user of the service; systemd does it by StateDirectory=";
            return vec![Finding::fault("disk", subject, error.clone(), next)];
        }
    };
    let room = format!("{} of {} free on {mount} ({filesystem})", size(*free), size(*all));
    let next = "free space, or lower history.max_bytes_* (docs/operations/runbooks.md, \"The disk is full\")";
    let mut findings = Vec::new();
    let is_in = |list: &[&str]| list.contains(&filesystem.as_str());
    match () {
        () if *read_only => {
            let next = "dmesg | tail says whether the kernel did it after an error; then mount -o remount,rw";
            findings.push(Finding::fault("disk", &subject, format!("{mount} is read-only"), next));
        }
        () if *free < FREE_LEAST => findings.push(Finding::fault("disk", &subject, room, next)),
        () if *free < all / 100 * FREE_PERCENT => findings.push(Finding::warning("disk", &subject, room, next)),
        () if wanted_bytes > all => findings.push(Finding::warning(
            "disk",
            &subject,
            format!("{room}, and the settings allow {} of history", size(*wanted_bytes)),
            "lower history.max_bytes_*, or give it a larger disk",
        )),
        () => findings.push(Finding::ok("disk", &subject, room)),
    }
    if files_free.is_some_and(|files| files < FILES_LEAST) {
        let what = format!("{} files can still be made on {mount}", files_free.unwrap_or(0));
        findings.push(Finding::warning("disk", &subject, what, "df -i; remove small files"));
    }
    if is_in(&IN_MEMORY) {
        let what = format!("{mount} is {filesystem}: the state is gone with a restart of this host");
        findings.push(Finding::warning("disk", &subject, what, "put state_dir on a disk"));
    }
    if is_in(&REMOTE) {
        let what = format!("{mount} is {filesystem}, kept by another host: a frame is acknowledged when that says so");
        findings.push(Finding::warning("disk", &subject, what, "put state_dir on a disk of this host"));
    }
    findings
}

fn process(facts: &Process) -> Vec<Finding> {
    let subject = format!("{} (process {})", facts.name, facts.pid);
    let mut findings = Vec::new();
    let nearly = |used: u64, most: u64| u128::from(used) * 100 > u128::from(most) * u128::from(NEARLY_PERCENT);
    if let Some(most) = facts.open_max {
        let open = facts.open.map_or_else(|| "?".to_owned(), |open| open.to_string());
        let what = format!("{open} of {most} descriptors open");
        let next =
            "a larger LimitNOFILE= in a drop-in of the unit (docs/operations/packages.md, docs/operations/sizing.md)";
        findings.push(match facts.open.is_some_and(|open| nearly(open, most)) || most < DESCRIPTORS_LEAST {
            true => Finding::warning("descriptors", &subject, what, next),
            false => Finding::ok("descriptors", &subject, what),
        });
    }
    if let Some((used, most)) = facts.memory {
        let what = format!("{} of {} of its cgroup", size(used), size(most));
        let next = "raise MemoryMax= in a drop-in, or lower nodes_max and otlp_series_max (docs/operations/sizing.md)";
        findings.push(match nearly(used, most) {
            true => Finding::warning("memory", &subject, what, next),
            false => Finding::ok("memory", &subject, what),
        });
    }
    if facts.killed > 0 {
        let what = format!("the kernel killed something in its cgroup {} times for want of memory", facts.killed);
        let next = "raise MemoryMax= in a drop-in; journalctl -k | grep -i oom says what";
        findings.push(Finding::warning("memory", &subject, what, next));
    }
    if !facts.proxies.is_empty() {
        let what =
            format!("{} in its environment, and ignored: members are dialled directly", facts.proxies.join(", "));
        findings.push(Finding::ok("proxy", &subject, what));
    }
    findings
}

fn time(facts: &Synchronised) -> Finding {
    let next = "install chrony or switch systemd-timesyncd on (timedatectl set-ntp true)";
    match facts {
        Synchronised::Yes(by) => Finding::ok("time", "this host", format!("in step, says {by}")),
        Synchronised::Runs(by) => Finding::ok(
            "time",
            "this host",
            format!("{by} runs; how far it is off says `chronyc tracking` or `ntpq -p`"),
        ),
        Synchronised::NotYet(by) => Finding::warning(
            "time",
            "this host",
            format!("{by} runs and has reached no server"),
            "timedatectl timesync-status",
        ),
        Synchronised::Nothing => {
            Finding::warning("time", "this host", "nothing was found that keeps the clock in step", next)
        }
    }
}

fn unit(facts: &Unit) -> Option<Finding> {
    let name = format!("{}.service", facts.kind.program());
    let next =
        format!("move the change to a drop-in (systemctl edit {}): an upgrade replaces the file", facts.kind.program());
    if let Some(file) = &facts.replaced_by {
        let what = format!("{} stands before the file of the package, which upgrades change", file.display());
        return Some(Finding::warning("unit", name, what, next));
    }
    match facts.edited? {
        true => Some(Finding::warning("unit", name, "the file of the package was edited", next)),
        false => Some(Finding::ok("unit", name, "as the package has it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{finding::Level, installed::Kind};

    const GIB: u64 = 1024 * MIB;

    fn on(seen: Filesystem) -> Vec<(Level, String)> {
        let facts = Disk { kind: Kind::Aggregator, folder: "/s".into(), wanted_bytes: 10 * GIB, seen: Ok(seen) };
        disk(&facts).into_iter().map(|one| (one.level, one.what)).collect()
    }

    fn filesystem(size: u64, free: u64) -> Filesystem {
        Filesystem { kind: "ext4".into(), mount: "/".into(), read_only: false, size, free, files_free: Some(1 << 20) }
    }

    #[test]
    fn a_disk_is_judged_by_room_kind_and_mode() {
        let levels = |seen| on(seen).into_iter().map(|(level, _)| level).collect::<Vec<_>>();
        assert_eq!(levels(filesystem(100 * GIB, 50 * GIB)), [Level::Ok]);
        assert_eq!(levels(filesystem(100 * GIB, 4 * GIB)), [Level::Warning]);
        assert_eq!(levels(filesystem(100 * GIB, GIB / 8)), [Level::Fault]);
        assert!(on(filesystem(8 * GIB, 6 * GIB))[0].1.contains("allow 10.0 GiB"));
        assert_eq!(levels(Filesystem { read_only: true, ..filesystem(100 * GIB, 50 * GIB) }), [Level::Fault]);
        for kind in ["tmpfs", "nfs4"] {
            let seen = Filesystem { kind: kind.into(), ..filesystem(100 * GIB, 50 * GIB) };
            assert_eq!(levels(seen), [Level::Ok, Level::Warning], "{kind}");
        }
        let full = Filesystem { files_free: Some(3), ..filesystem(100 * GIB, 50 * GIB) };
        assert_eq!(levels(full), [Level::Ok, Level::Warning]);
    }

    #[test]
    fn limits_of_a_process_are_said_before_they_are_reached() {
        let facts =
            Process { open: Some(20), open_max: Some(65_536), memory: Some((GIB, 8 * GIB)), ..Process::default() };
        let levels = |facts: &Process| process(facts).into_iter().map(|one| one.level).collect::<Vec<_>>();
        assert_eq!(levels(&facts), [Level::Ok, Level::Ok]);
        assert_eq!(levels(&Process { open_max: Some(1_024), ..facts.clone() }), [Level::Warning, Level::Ok]);
        assert_eq!(levels(&Process { open: Some(60_000), ..facts.clone() }), [Level::Warning, Level::Ok]);
        assert_eq!(levels(&Process { memory: Some((7 * GIB, 8 * GIB)), ..facts.clone() }), [Level::Ok, Level::Warning]);
        assert_eq!(levels(&Process { killed: 1, ..facts }), [Level::Ok, Level::Ok, Level::Warning]);
    }

    #[test]
    fn an_edited_unit_is_told_to_move_to_a_drop_in() {
        let facts = |edited, replaced_by| Unit { kind: Kind::Node, edited, replaced_by };
        assert_eq!(unit(&facts(None, None)), None);
        assert_eq!(unit(&facts(Some(false), None)).unwrap().level, Level::Ok);
        let edited = unit(&facts(Some(true), None)).unwrap();
        assert!(edited.level == Level::Warning && edited.next.contains("systemctl edit starling-node"), "{edited}");
        assert!(unit(&facts(Some(false), Some("/etc/x".into()))).unwrap().what.starts_with("/etc/x"));
    }
}
