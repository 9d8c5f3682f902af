//! An authority and what it issued, as files: written whole or not at all, keys for their owner only.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use starling_service::{
    credentials::Files,
    state_folder::{self, OPEN, SECRET},
};

use crate::{Authority, AuthorityError, Issued};

/// Key of an authority. Its certificate lies beside it as in the folders of what it issues, where everybody trusts it.
pub const CA_KEY: &str = "ca-key.pem";

/// Keys of the gossip of aggregators.
pub const KEYRING: &str = "gossip.keyring";

/// Why files could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is something that would be lost.
    #[error("{} is there already: choose another folder, or move it away", .0.display())]
    Exists(PathBuf),
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What stands there is no authority.
    #[error("{}: {error}", path.display())]
    Authority {
        /// Which folder.
        path: PathBuf,
        /// Why.
        error: AuthorityError,
    },
}

/// Writes a new authority into a folder, which is made.
///
/// # Errors
/// [`FolderError::Exists`] when one is there.
pub fn create(folder: &Path, authority: &Authority) -> Result<(), FolderError> {
    let (certificate, key) = (Files::of_folder(folder).ca, folder.join(CA_KEY));
    if let Some(there) = [&certificate, &key].into_iter().find(|file| file.exists()) {
        return Err(FolderError::Exists(there.clone()));
    }
    make(folder)?;
    write(&key, authority.key().as_bytes(), SECRET)?;
    write(&certificate, authority.certificate().as_bytes(), OPEN)
}

/// Reads the authority in a folder.
///
/// # Errors
/// Which file, and why.
pub fn open(folder: &Path) -> Result<Authority, FolderError> {
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(|error| FolderError::Io { path, error });
    Authority::open(&read(Files::of_folder(folder).ca)?, &read(folder.join(CA_KEY))?)
        .map_err(|error| FolderError::Authority { path: folder.to_owned(), error })
}

/// Writes what was issued into a folder, which is made, beside the authority that is to be trusted. A pair that is there
/// is replaced: the key first, so that a program that reads between the two finds a pair that does not fit and waits.
///
/// # Errors
/// Which file, and why.
pub fn write_issued(folder: &Path, issued: &Issued, ca: &str) -> Result<(), FolderError> {
    make(folder)?;
    let files = Files::of_folder(folder);
    write(&files.key, issued.key.as_bytes(), SECRET)?;
    write(&files.certificate, issued.certificate.as_bytes(), OPEN)?;
    write(&files.ca, ca.as_bytes(), OPEN)
}

/// A keyring with one new key, as aggregators read it.
#[must_use]
pub fn new_keyring() -> String {
    use std::fmt::Write as _;
    let key = [starling_proto::ids::WriterId::random(), starling_proto::ids::WriterId::random()];
    let mut text = "# Keys of gossip: the first seals, all open. A line: 64 hexadecimal digits.\n".to_owned();
    for half in key {
        let _ = write!(text, "{half}");
    }
    text.push('\n');
    text
}

fn make(folder: &Path) -> Result<(), FolderError> {
    fs::create_dir_all(folder).map_err(|error| FolderError::Io { path: folder.to_owned(), error })
}

/// Writes a file of a secret, whole.
///
/// # Errors
/// Which file, and why; what was there stays.
pub fn write_secret(path: &Path, content: &[u8]) -> Result<(), FolderError> {
    write(path, content, SECRET)
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), FolderError> {
    state_folder::replace(path, content, mode).map_err(|error| FolderError::Io { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use starling_proto::ids::NodeId;
    use starling_service::{credentials::Credentials, identity::Role};
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::Wish;

    #[test]
    fn what_is_issued_is_what_programs_take() {
        let folder = tempfile::tempdir().unwrap();
        let (ca, out) = (folder.path().join("ca"), folder.path().join("a1"));
        create(&ca, &Authority::create("starling", OffsetDateTime::now_utc()).unwrap()).unwrap();
        assert!(matches!(
            create(&ca, &Authority::create("b", OffsetDateTime::now_utc()).unwrap()),
            Err(FolderError::Exists(_))
        ));
        let authority = open(&ca).unwrap();
        let files = Files::of_folder(&out);
        for role in Role::ALL {
            let wish = Wish {
                role,
                name: NodeId::parse("a1").unwrap(),
                life: Duration::days(1),
                hosts: vec!["a1.example".to_owned(), "10.0.0.1".to_owned()],
            };
            let issued = authority.issue(&wish, OffsetDateTime::now_utc()).unwrap();
            write_issued(&out, &issued, authority.certificate()).unwrap();
            Credentials::load(files.clone(), None, role, false).unwrap();
        }
        let mode = fs::metadata(&files.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = Credentials::load(files.clone(), None, Role::Node, false).unwrap_err().to_string();
        assert!(error.contains("is that of operator a1, wanted is one of the role node"), "{error}");
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Credentials::load(files, None, Role::Operator, false).unwrap_err().to_string();
        assert!(error.contains("can be read by everybody on this host (mode 644)"), "{error}");
    }
}
