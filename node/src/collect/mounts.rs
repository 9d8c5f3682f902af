//! Which mounts hold data of this host, from `mountinfo`. Pure.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::text;

/// Filesystems on disks of this host. Others are left out: those in memory are memory, images (squashfs, erofs,
/// iso9660) are always full, and those behind a network or a process may make a question for their size wait forever.
const LOCAL: [&[u8]; 19] = [
    b"bcachefs",
    b"btrfs",
    b"exfat",
    b"ext2",
    b"ext3",
    b"ext4",
    b"f2fs",
    b"hfs",
    b"hfsplus",
    // Flash without a disk's controller: jffs2, ubifs.
    b"jffs2",
    b"jfs",
    b"msdos",
    b"nilfs2",
    b"ntfs3",
    b"reiserfs",
    b"ubifs",
    b"vfat",
    b"xfs",
    b"zfs",
];
/// Filesystems a path may lead through without waiting for a network or a process.
const PASSABLE: [&[u8]; 8] = [b"overlay", b"tmpfs", b"devtmpfs", b"ramfs", b"rootfs", b"squashfs", b"erofs", b"sysfs"];
/// Most mounts between a mount and the root; deeper is a loop in what was read.
const DEPTH_MAX: usize = 64;

/// One line of `mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    id: u64,
    parent: u64,
    /// "major:minor".
    device: Box<[u8]>,
    /// Where it is mounted: bytes, not always UTF-8.
    pub(super) point: Box<[u8]>,
    kind: Box<[u8]>,
    source: Box<[u8]>,
}

impl Mount {
    /// `None` for a line of another shape.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = text::words(line);
        let id = text::number(words.next()?)?;
        let parent = text::number(words.next()?)?;
        let device = words.next()?.into();
        let point = unescape(words.nth(1)?);
        // Options, then any number of optional fields up to a lone "-".
        words.find(|word| *word == b"-")?;
        let kind = words.next()?.into();
        let source = unescape(words.next().unwrap_or_default());
        point.starts_with(b"/").then_some(Self { id, parent, device, point, kind, source })
    }

    /// What decides whether two mounts show the same space. Datasets of one ZFS pool have devices of their own and share
    /// the pool's free space, so they are one.
    fn space(&self) -> &[u8] {
        if &*self.kind == b"zfs" {
            return self.source.split(|&byte| byte == b'/').next().unwrap_or_default();
        }
        &self.device
    }

    /// Where it is looked for by whom the root of the host is at `rootfs`.
    pub(super) fn path(&self, rootfs: &Path) -> PathBuf {
        match self.point.strip_prefix(b"/").unwrap_or(&self.point) {
            b"" => rootfs.components().as_path().to_owned(),
            relative => rootfs.join(OsStr::from_bytes(relative)),
        }
    }

    /// Whether the daemon has it there. The path alone does not say: where it is not mounted for the daemon, the size is that
    /// of what lies below.
    pub(super) fn is_here(&self, rootfs: &Path, here: &Here) -> bool {
        here.0.get(self.path(rootfs).as_os_str().as_bytes()) == Some(&self.device)
    }

    /// Whether its space is that of another filesystem, which may be mounted too.
    pub(super) fn stands_on_another(&self) -> bool {
        &*self.kind == b"overlay"
    }

    fn is_local(&self) -> bool {
        // A container's own root stands on a disk of the host; other overlays are other containers'.
        LOCAL.contains(&&*self.kind) || (&*self.kind == b"overlay" && &*self.point == b"/")
    }

    fn is_passable(&self) -> bool {
        LOCAL.contains(&&*self.kind) || PASSABLE.contains(&&*self.kind)
    }
}

/// Mounts as the daemon itself has them: the device at each point, of several the last.
#[derive(Debug)]
pub(super) struct Here(HashMap<Box<[u8]>, Box<[u8]>>);

impl Here {
    /// Of the daemon's own `mountinfo`.
    pub(super) fn of(mountinfo: &[u8]) -> Self {
        let mounts = text::lines(mountinfo).filter_map(Mount::parse);
        Self(mounts.map(|mount| (mount.point, mount.device)).collect())
    }
}

/// The mounts whose sizes add up to the local filesystems of this host, sorted by mount point, and the number of
/// lines that could not be understood.
///
/// One mount per filesystem: bind mounts and subvolumes show the same space again, so the shortest mount point is
/// taken. Where several are mounted on one point, only the last can be reached. A mount below a filesystem that may
/// wait (NFS, FUSE, autofs) is left out, because reaching it may wait too; but not one that covers it, as a disk does that
/// an automount has mounted.
pub(super) fn local(mountinfo: &[u8]) -> (Vec<Mount>, u64) {
    let mut unknown = 0;
    let mut by_id = HashMap::new();
    let mut reachable = HashMap::new();
    for line in text::lines(mountinfo).filter(|line| !line.is_empty()) {
        match Mount::parse(line) {
            Some(mount) => {
                reachable.insert(mount.point.clone(), mount.id);
                by_id.insert(mount.id, mount);
            }
            None => unknown += 1,
        }
    }
    let mut mounts: Vec<&Mount> = reachable
        .values()
        .filter_map(|id| by_id.get(id))
        .filter(|mount| mount.is_local() && is_reached_without_waiting(mount, &by_id))
        .collect();
    mounts.sort_by_key(|mount| (mount.point.len(), &mount.point));
    let mut spaces = HashSet::new();
    let mut chosen: Vec<Mount> = mounts.into_iter().filter(|mount| spaces.insert(mount.space())).cloned().collect();
    chosen.sort_by(|a, b| a.point.cmp(&b.point));
    (chosen, unknown)
}

fn is_reached_without_waiting(mount: &Mount, by_id: &HashMap<u64, Mount>) -> bool {
    let (mut parent, mut point) = (mount.parent, &mount.point);
    for _ in 0..DEPTH_MAX {
        // The parent of the topmost mount is not in the list.
        let Some(mount) = by_id.get(&parent) else { return true };
        let is_covered = mount.point == *point;
        if !mount.is_passable() && !is_covered {
            return false;
        }
        if mount.parent == parent {
            return true;
        }
        (parent, point) = (mount.parent, &mount.point);
    }
    false
}

/// The kernel writes blank, tab, line end and backslash as three octal digits.
fn unescape(word: &[u8]) -> Box<[u8]> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, tail @ ..] = rest {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) = (first, tail) {
            plain.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
            rest = tail;
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(mountinfo: &[u8]) -> Vec<String> {
        local(mountinfo).0.iter().map(|mount| text::printable(&mount.point)).collect()
    }

    #[test]
    fn a_disk_on_an_automount_is_reached_and_what_may_wait_is_not() {
        let text = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
            40 1 0:40 / /data rw - autofs systemd-1 rw,fd=50,direct\n\
            41 40 8:16 / /data rw - ext4 /dev/sdb rw\n\
            42 41 8:32 / /data/more rw - xfs /dev/sdc rw\n\
            50 1 0:50 / /net rw - autofs auto.net rw\n\
            51 50 8:48 / /net/disk rw - ext4 /dev/sdd rw\n\
            60 1 0:60 / /mnt/nand rw - ubifs /dev/ubi1_0 rw\n";
        let points: Vec<_> =
            local(text).0.iter().map(|mount| String::from_utf8_lossy(&mount.point).into_owned()).collect();
        assert_eq!(points, ["/", "/data", "/data/more", "/mnt/nand"], "below /net it may wait");
    }

    #[test]
    fn one_mount_per_filesystem_of_a_disk() {
        let mountinfo = b"\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
28 27 254:0 /srv /srv/bind rw - ext4 /dev/vda rw
29 27 0:25 / /tmp rw - tmpfs tmpfs rw
30 27 8:1 / /mnt/with\\040blank rw shared:2 master:1 - xfs /dev/sda1 rw
31 27 0:50 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
32 27 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro
33 27 0:51 / /net rw - nfs4 server:/x rw
34 33 8:2 / /net/disk rw - ext4 /dev/sdb1 rw
35 27 0:60 / /a rw - zfs tank/a rw
36 27 0:61 / /home rw - zfs tank/home rw
";
        assert_eq!(points(mountinfo), ["/", "/a", "/mnt/with blank"]);
    }

    #[test]
    fn odd_mounts() {
        assert_eq!(points(b"1 0 8:1 / /mnt/\xff\xfe rw - ext4 /dev/sda1 rw"), ["/mnt/\\xff\\xfe"], "not UTF-8");
        assert_eq!(points(b"1 0 0:5 / / rw - overlay overlay rw\n"), ["/"], "a container");
        let over = b"1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /m rw - ext4 b rw\n3 2 0:9 / /m rw - nfs c rw\n";
        assert_eq!(points(over), ["/"], "hidden below a network mount");
        let ring = b"1 2 8:1 / /a rw - ext4 a rw\n2 1 8:2 / /b rw - ext4 b rw\n";
        assert_eq!(points(ring), [""; 0], "parents in a circle");
        let (mounts, unknown) = local(b"rubbish\n1 0 8:1 / relative rw - ext4 a rw\n5 1 8:1 / / rw\n\n");
        assert!(mounts.is_empty() && unknown == 3);
        assert_eq!(&*unescape(b"a\\040b\\134\\9\\04"), b"a b\\\\9\\04");
    }

    #[test]
    fn what_is_mounted_for_others_only_is_not_here() {
        let host = b"1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /home rw - ext4 b rw\n3 1 8:3 / /late rw - xfs c rw\n";
        let here = |own: &[u8], rootfs: &str| {
            let own = Here::of(own);
            let (mounts, _) = local(host);
            let here = mounts.iter().filter(|mount| mount.is_here(Path::new(rootfs), &own));
            here.map(|mount| text::printable(&mount.point)).collect::<Vec<_>>()
        };
        assert_eq!(here(host, "/"), ["/", "/home", "/late"]);
        let sandbox = b"1 0 8:1 / / rw - ext4 a rw\n2 1 0:9 / /home rw - tmpfs t rw\n";
        assert_eq!(here(sandbox, "/"), ["/"], "another one at its place, and one that came later");
        let container =
            b"1 0 0:5 / / rw - overlay o rw\n2 1 8:1 / /host rw - ext4 a rw\n3 2 8:2 / /host/home rw - ext4 b rw\n";
        for rootfs in ["/host", "/host/"] {
            assert_eq!(here(container, rootfs), ["/", "/home"]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "([0-9]{1,2} [0-9]{1,2} [0-9:]{1,4} / /[a-z\\\\0-9]{0,5} rw (a )?- (ext4|nfs|zfs) x rw\n){0,6}") {
            local(&bytes);
            local(text.as_bytes());
        }
    }
}
