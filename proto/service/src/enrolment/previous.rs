//! What a membership was before its last renewal, kept beside it: a program whose files are damaged starts with that.
//!
//! A crash leaves each file whole ([`state_folder::replace`]), though not always all of them of one renewal; a disk that fails
//! may leave anything.

use std::{fs, path::Path};

use super::folder::{Folder, FolderError};
use crate::{
    credentials::{Credentials, JOINED},
    identity::Role,
    state_folder::{self, OPEN, SECRET},
};

/// Folder in that of the membership.
const BEFORE: &str = "before";
/// The files of a membership with their modes; the last is read first, so it is written last.
const FILES: [(&str, u32); 4] = [("key.pem", SECRET), ("ca.pem", OPEN), ("certificate.pem", OPEN), (JOINED, OPEN)];
/// None of them is longer.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

impl Folder {
    /// That a program of `role` can use it; a certificate that has ended will do, since its key gets the next one, and one that
    /// has not begun by a clock that is behind.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub(super) fn check(&self, role: Role) -> Result<(), String> {
        match self.joined() {
            Ok(Some(_)) => {}
            Ok(None) => return Err(format!("{} is not there", self.path().join(JOINED).display())),
            Err(error) => return Err(error.to_string()),
        }
        Credentials::load_to_run(self.files(), None, role, false).map(drop).map_err(|error| error.to_string())
    }

    /// Keeps a copy of it, before something else takes its place. What cannot be used is not worth keeping.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn keep(&self, role: Role) -> Result<(), FolderError> {
        if self.check(role).is_ok() { copy(self, &self.before()) } else { Ok(()) }
    }

    /// Puts back what was kept, when it can be used; true when it was. The authorities stay those of today where they are whole
    /// and trust what is put back: one that was retired since must not come back.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn fall_back(&self, role: Role) -> Result<bool, FolderError> {
        let before = self.before();
        if before.check(role).is_err() {
            return Ok(false);
        }
        let authorities = fs::read(self.files().ca);
        copy(&before, self)?;
        if let Ok(today) = authorities {
            let of_then = fs::read(self.files().ca).unwrap_or_default();
            self.write(&self.files().ca, &today, OPEN)?;
            if self.check(role).is_err() {
                self.write(&self.files().ca, &of_then, OPEN)?;
            }
        }
        Ok(true)
    }

    fn before(&self) -> Self {
        Self::at(self.path().join(BEFORE))
    }
}

fn copy(from: &Folder, to: &Folder) -> Result<(), FolderError> {
    let read = |path: &Path| {
        let read =
            state_folder::read(path, FILE_BYTES_MAX).map_err(|error| FolderError::Io { path: path.into(), error });
        read.map(Option::unwrap_or_default)
    };
    let files = FILES.map(|(name, mode)| (name, mode, read(&from.path().join(name))));
    to.make()?;
    for (name, mode, content) in files {
        to.write(&to.path().join(name), &content?, mode)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rcgen::KeyPair;
    use starling_proto::{
        ids::{Machine, NodeId},
        v1,
    };

    use super::*;
    use crate::{
        admin::Readiness,
        credentials::{Security, TlsSettings, testing::Site},
    };

    const ROLE: Role = Role::Node;

    /// What an aggregator of `site` answers to `key`, and what is taken of it.
    fn renew(site: &Site, folder: &Folder, key: &KeyPair) -> Result<(), FolderError> {
        let name = NodeId::parse("web-1").unwrap();
        let answer = v1::Membership {
            certificate: site.certificate_for(key, ROLE, "web-1"),
            authorities: site.certificate(),
            ..v1::Membership::default()
        };
        folder.take(&answer, key, Machine::default(), ((ROLE, &name), &[])).map(drop)
    }

    fn certificate(folder: &Folder) -> Vec<u8> {
        fs::read(folder.files().certificate).unwrap()
    }

    #[test]
    fn whatever_file_is_damaged_the_one_before_is_put_back() {
        let (site, dir) = (Site::new("one"), tempfile::tempdir().unwrap());
        let folder = Folder::at(dir.path().join("identity"));
        let key = folder.key_or_new().unwrap();
        renew(&site, &folder, &key).unwrap();
        let first = certificate(&folder);
        assert!(!folder.fall_back(ROLE).unwrap(), "nothing was there before");
        renew(&site, &folder, &key).unwrap();
        assert_ne!(certificate(&folder), first);
        folder.check(ROLE).unwrap();
        for (name, _) in FILES {
            for left in [0, 20] {
                let file = folder.path().join(name);
                let whole = fs::read(&file).unwrap();
                fs::write(&file, &whole[..left]).unwrap();
                let why = folder.check(ROLE).unwrap_err();
                assert!(why.contains(name), "{why}");
                // A renewal of what is damaged keeps what was kept.
                folder.keep(ROLE).unwrap();
                assert!(folder.fall_back(ROLE).unwrap(), "{name}");
                folder.check(ROLE).unwrap();
                assert_eq!(certificate(&folder), first, "{name}");
            }
        }
        let mode = |name: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::metadata(folder.path().join(BEFORE).join(name)).unwrap().permissions().mode() & 0o777
        };
        assert_eq!((mode("key.pem"), mode("")), (0o600, 0o700));
    }

    #[test]
    fn an_authority_that_was_retired_since_does_not_come_back() {
        let (site, retired, dir) = (Site::new("one"), Site::new("retired"), tempfile::tempdir().unwrap());
        let folder = Folder::at(dir.path().join("identity"));
        let key = folder.key_or_new().unwrap();
        renew(&site, &folder, &key).unwrap();
        let ca = folder.files().ca;
        let both = format!("{}{}", site.certificate(), retired.certificate());
        folder.trust(&both).unwrap();
        renew(&site, &folder, &key).unwrap();
        let today = fs::read(&ca).unwrap();
        fs::write(folder.files().certificate, "").unwrap();
        assert!(folder.fall_back(ROLE).unwrap());
        assert_eq!(fs::read(&ca).unwrap(), today);
        folder.check(ROLE).unwrap();
        // Authorities of today that do not trust what is put back are no help.
        fs::write(&ca, retired.certificate()).unwrap();
        assert!(folder.fall_back(ROLE).unwrap());
        folder.check(ROLE).unwrap();
        assert_eq!(fs::read_to_string(&ca).unwrap(), both);
    }

    #[test]
    fn a_clock_that_is_behind_is_no_damage() {
        let (site, dir) = (Site::new("one"), tempfile::tempdir().unwrap());
        let folder = Folder::at(dir.path().join("identity"));
        let key = folder.key_or_new().unwrap();
        renew(&site, &folder, &key).unwrap();
        let certificate = site.certificate_of_years(&key, (ROLE, "web-1"), (3000, 3001));
        fs::write(folder.files().certificate, certificate).unwrap();
        folder.check(ROLE).unwrap();
        let settings = TlsSettings { folder: Some(folder.path().into()), ..TlsSettings::default() };
        let security = Security::load_to_run(&settings, ROLE, false).unwrap();
        let said = Readiness::Ready.of(&security).to_string();
        assert!(said.contains("begins at Jan  1 00:00:00 3000") && said.contains("set the clock"), "{said}");
        // Who only looks is told at once.
        assert!(
            Security::load(&settings, ROLE, false)
                .unwrap_err()
                .to_string()
                .contains("not valid before Jan  1 00:00:00 3000")
        );
    }

    /// A file system of its own, until this is dropped.
    struct Small(tempfile::TempDir);

    impl Small {
        /// `None` for whoever may not mount one.
        fn new() -> Option<Self> {
            let small = Self(tempfile::tempdir().unwrap());
            small.mount(&["-t", "tmpfs", "-o", "size=128k", "tmpfs"]).then_some(small)
        }

        fn mount(&self, arguments: &[&str]) -> bool {
            let mut command = Command::new("mount");
            command.args(arguments).arg(self.0.path()).output().is_ok_and(|output| output.status.success())
        }
    }

    impl Drop for Small {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0.path()).output();
        }
    }

    #[test]
    fn what_cannot_be_stored_leaves_what_there_was_and_says_so() {
        let Some(small) = Small::new() else {
            eprintln!("left out: who runs this may not mount a file system");
            return;
        };
        let (site, state) = (Site::new("one"), small.0.path());
        let folder = Folder::at(state.join("identity"));
        let key = folder.key_or_new().unwrap();
        renew(&site, &folder, &key).unwrap();
        let first = certificate(&folder);
        let refused = |wanted: &str| {
            let error = renew(&site, &folder, &key).unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains("identity"), "{error}");
            folder.check(ROLE).unwrap();
            assert_eq!(certificate(&folder), first);
        };
        // To the last byte.
        let filler = state.join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        while std::io::Write::write(&mut file, &[7; 1024]).is_ok_and(|written| written > 0) {}
        drop(file);
        refused("No space left");
        fs::remove_file(&filler).unwrap();
        assert!(small.mount(&["-o", "remount,ro"]));
        refused("Read-only file system");
        // As soon as it can be, without a start.
        assert!(small.mount(&["-o", "remount,rw"]));
        renew(&site, &folder, &key).unwrap();
        folder.check(ROLE).unwrap();
        assert_ne!(certificate(&folder), first);
    }
}
