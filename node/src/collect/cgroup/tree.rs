//! Services and containers, as the folders of cgroup v2 say.
//!
//! A group is a service or a scope of systemd, a container, or a machine of LXC: a folder whose name says so. What lies
//! below one belongs to it and is not told apart; what lies above (slices, pods) is only walked through.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::super::text;

/// Groups that are read. Further ones, in the order of their names, are not, and count as a fault.
pub(super) const GROUPS_MAX: usize = 256;
/// Groups with series of their own: those that used most processor time lately. The others are one together.
pub(in crate::collect) const GROUPS_NAMED_MAX: usize = 48;
/// How deep services and containers lie: kubepods.slice / kind / pod / container.
const DEPTH_MAX: usize = 6;
/// Folders looked into at most, whatever lies there.
const FOLDERS_MAX: usize = 4_096;
/// Hexadecimal digits of the name of a container, and how many of them are shown, as its own tools do.
const CONTAINER_DIGITS: usize = 64;
const CONTAINER_SHOWN: usize = 12;
/// What programs write before the name of a container.
const RUNTIMES: [(&str, &str); 5] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("crio-", "crio"),
    ("libpod-", "podman"),
    ("", "container"),
];

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    /// For people; no two of a host are the same.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) service: bool,
}

/// The groups of a host, by name, and whether there are more.
///
/// # Errors
/// When the root cannot be listed.
pub(super) fn list(root: &Path) -> io::Result<(Vec<Found>, bool)> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    let mut looked = 0;
    while let Some((folder, depth)) = folders.pop() {
        looked += 1;
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(error),
            // It went meanwhile, or is not for this daemon.
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            match named(entry.file_name().as_bytes()) {
                Some((name, service)) => found.push(Found { name, path, service }),
                None if depth < DEPTH_MAX && looked + folders.len() < FOLDERS_MAX => folders.push((path, depth + 1)),
                None => {}
            }
        }
    }
    found.sort_unstable();
    let mut names = HashSet::new();
    for group in &mut found {
        if !names.insert(group.name.clone()) {
            // Two of one name in different slices: the second by its whole path.
            let below = group.path.strip_prefix(root).unwrap_or(&group.path);
            group.name = text::printable(below.as_os_str().as_bytes());
        }
    }
    let more = found.len() > GROUPS_MAX || looked >= FOLDERS_MAX;
    found.truncate(GROUPS_MAX);
    Ok((found, more))
}

/// What the group of a folder is called, and whether it is a service; `None` for one that is no group.
fn named(folder: &[u8]) -> Option<(String, bool)> {
    let text = text::printable(folder);
    let bare = text.strip_suffix(".scope").unwrap_or(&text);
    for (prefix, runtime) in RUNTIMES {
        let id = bare.strip_prefix(prefix).filter(|id| id.len() == CONTAINER_DIGITS);
        if let Some(id) = id.filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            return Some((format!("{runtime}/{}", &id[..CONTAINER_SHOWN]), false));
        }
    }
    if let Some(machine) = text.strip_prefix("lxc.payload.") {
        return Some((format!("lxc/{machine}"), false));
    }
    let service = text.ends_with(".service");
    (service || text.ends_with(".scope")).then_some((text, service))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_say_what_they_are() {
        let id = "0123456789abcdef".repeat(4);
        let name = |folder: &str| named(folder.as_bytes()).map(|(name, _)| name);
        assert_eq!(named(b"nginx.service"), Some(("nginx.service".to_owned(), true)));
        assert_eq!(name("session-1.scope").as_deref(), Some("session-1.scope"));
        assert_eq!(name(&format!("docker-{id}.scope")).as_deref(), Some("docker/0123456789ab"));
        assert_eq!(name(&format!("cri-containerd-{id}.scope")).as_deref(), Some("containerd/0123456789ab"));
        assert_eq!(name(&id).as_deref(), Some("container/0123456789ab"));
        assert_eq!(name("lxc.payload.web").as_deref(), Some("lxc/web"));
        for no in ["system.slice", "kubepods", "docker", "0123", "init"] {
            assert_eq!(name(no), None, "{no}");
        }
        assert_eq!(named(b"x\xff\x01.service"), Some(("x\\xff\\x01.service".to_owned(), true)));
    }

    #[test]
    fn what_lies_below_a_group_is_part_of_it_and_names_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        for path in ["system.slice/a.service/deep.service", "user.slice/a.service", "machine.slice/b.scope", "x/y"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        let (found, more) = list(root.path()).unwrap();
        let names: Vec<_> = found.iter().map(|group| group.name.as_str()).collect();
        assert_eq!((names, more), (vec!["a.service", "user.slice/a.service", "b.scope"], false));
        assert!(list(&root.path().join("none")).is_err());
        (0..GROUPS_MAX).for_each(|n| fs::create_dir_all(root.path().join(format!("s{n:03}.service"))).unwrap());
        let (found, more) = list(root.path()).unwrap();
        assert_eq!((found.len(), more), (GROUPS_MAX, true));
    }
}
