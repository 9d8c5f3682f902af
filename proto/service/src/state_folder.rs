//! Where a program keeps what must survive a restart, and how its files are written: each whole, or not at all.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

/// Mode of a file that only its owner reads.
pub const SECRET: u32 = 0o600;
/// Mode of a file that everybody reads who reaches its folder.
pub const OPEN: u32 = 0o644;

/// The folder of `program`, such as "node": $STATE_DIRECTORY, which systemd sets; for root /var/lib/starling/PROGRAM; for
/// others $XDG_STATE_HOME/starling/PROGRAM, else ~/.local/state/starling/PROGRAM.
#[must_use]
pub fn of(program: &str) -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    // /proc/self belongs to the effective user.
    let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    find(program, &variable, root)
}

fn find(program: &str, variable: &dyn Fn(&str) -> Option<OsString>, root: bool) -> PathBuf {
    // systemd.exec(5): several folders are separated by colons.
    let of_service = variable("STATE_DIRECTORY").and_then(|all| {
        let first = all.as_bytes().split(|&byte| byte == b':').next().unwrap_or_default();
        Some(PathBuf::from(OsStr::from_bytes(first))).filter(|path| path.is_absolute())
    });
    let of_user = || {
        // XDG Base Directory Specification: a path that is not absolute is to be ignored.
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
        Some(state.join("starling").join(program))
    };
    of_service
        .or_else(|| (!root).then(of_user).flatten())
        .unwrap_or_else(|| PathBuf::from("/var/lib/starling").join(program))
}

/// Replaces a file, for those whom `mode` lets read it: written under another name, then onto the disk, then in its place. A
/// crash leaves the old contents or the new ones, and those for good once this returns. Blocking.
///
/// # Errors
/// Of the file system; the old contents are still there unless only the last sync failed.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut other = path.as_os_str().to_owned();
    other.push(".new");
    let other = PathBuf::from(other);
    // One that an attempt before left may have another mode.
    match fs::remove_file(&other) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&other)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&other, path)?;
    File::open(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_whole_file_is_replaced_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nodes");
        // Of an attempt that did not end.
        fs::write(dir.path().join("nodes.new"), "half").unwrap();
        for (contents, mode) in [(&b"long before"[..], OPEN), (b"now", SECRET)] {
            replace(&path, contents, mode).unwrap();
            assert_eq!(fs::read(&path).unwrap(), contents);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace(&dir.path().join("none/nodes"), b"", OPEN).is_err());
    }

    #[test]
    fn the_state_folder_follows_the_service_and_then_the_user() {
        let of = |set: &[(&str, &str)], root| {
            let found = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            find("aggregator", &found, root).display().to_string()
        };
        let service = ("STATE_DIRECTORY", "/var/lib/private/starling:/other");
        let (xdg, home) = (("XDG_STATE_HOME", "/x"), ("HOME", "/home/a"));
        assert_eq!(of(&[service, xdg, home], false), "/var/lib/private/starling");
        assert_eq!(of(&[service], true), "/var/lib/private/starling");
        assert_eq!(of(&[xdg, home], false), "/x/starling/aggregator");
        assert_eq!(of(&[("XDG_STATE_HOME", "relative"), home], false), "/home/a/.local/state/starling/aggregator");
        for (set, root) in [(&[xdg, home][..], true), (&[], false)] {
            assert_eq!(of(set, root), "/var/lib/starling/aggregator");
        }
    }
}
