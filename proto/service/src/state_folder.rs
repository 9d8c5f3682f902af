//! Where a program keeps what must survive a restart, and how its files are written, each whole or not at all, and read again,
//! none larger than its owner writes it.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
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

/// The contents of a file; `None` without one. Blocking.
///
/// # Errors
/// Of the file system, and [`io::ErrorKind::InvalidData`] for a file of more than `bytes_max`: nobody here wrote it.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max {
        return Err(odd(format!("it has more than {bytes_max} bytes")));
    }
    Ok(Some(content))
}

/// As [`read`], of text.
///
/// # Errors
/// As [`read`], and for what is not UTF-8.
pub fn text(path: &Path, bytes_max: u64) -> io::Result<Option<String>> {
    let text = read(path, bytes_max)?.map(String::from_utf8).transpose();
    text.map_err(|error| odd(error.to_string()))
}

/// What the lines of a file say by `parse`; nothing without a file. Its first line is `head`, which names the form of the others.
///
/// # Errors
/// As [`text`], and for another first line; for one that is none the number of the line, with what `parse` says of it.
pub fn lines<T, C: FromIterator<T> + Default>(
    path: &Path,
    head: &str,
    bytes_max: u64,
    parse: impl Fn(&str) -> Result<T, String>,
) -> io::Result<C> {
    let Some(text) = text(path, bytes_max)? else { return Ok(C::default()) };
    let mut lines = text.lines();
    if lines.next() != Some(head) {
        return Err(odd(format!("line 1 is not {head:?}")));
    }
    let of = |(number, line)| parse(line).map_err(|what| odd(format!("line {number}: {what}")));
    (2..).zip(lines).map(of).collect()
}

fn odd(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
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
    fn what_is_read_is_bounded_and_what_is_wrong_has_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("numbers");
        let numbers = || {
            let parse = |line: &str| line.parse::<u8>().map_err(|error| error.to_string());
            lines::<_, Vec<u8>>(&path, "numbers 1", 15, parse)
        };
        assert_eq!(numbers().unwrap(), [] as [u8; 0], "without a file");
        fs::write(&path, "numbers 1\n7\n12\n").unwrap();
        assert_eq!(numbers().unwrap(), [7, 12], "as long as may be");
        assert_eq!(text(&path, 14).unwrap_err().to_string(), "it has more than 14 bytes");
        for (odd, wanted) in [
            ("", "line 1 is not"),
            ("numbers 2\n", "line 1 is not"),
            ("numbers 1\n7\nx\n", "line 3: invalid digit"),
            ("numbers 1\n12\n123\n", "more than 15 bytes"),
        ] {
            fs::write(&path, odd).unwrap();
            let error = numbers().unwrap_err();
            assert!(error.kind() == io::ErrorKind::InvalidData && error.to_string().contains(wanted), "{error}");
        }
        fs::write(&path, b"\xff").unwrap();
        assert!(numbers().is_err());
        assert!(read(dir.path(), 15).is_err(), "a folder is no file");
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
