//! Where a program keeps what must survive a restart.

use std::{
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::PathBuf,
};

/// The folder of `program`, such as "node": $STATE_DIRECTORY, which systemd sets; for root /var/lib/starling/PROGRAM; for
/// others $XDG_STATE_HOME/starling/PROGRAM, else ~/.local/state/starling/PROGRAM.
#[must_use]
pub fn of(program: &str) -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    // /proc/self belongs to the effective user.
    let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
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

#[cfg(test)]
mod tests {
    use super::*;

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
