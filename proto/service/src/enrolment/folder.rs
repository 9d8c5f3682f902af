//! What a membership is on the disk.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use rcgen::{CertificateParams, KeyPair};
use serde::{Deserialize, Serialize};
use starling_proto::{ids::Machine, v1};

use super::hex;
use crate::{
    credentials::{Files, JOINED, certificates, key_digest},
    identity::{Identity, Role},
    machine, secret,
};

/// Of keys.
const SECRET: u32 = 0o600;
/// Of everything else.
const OPEN: u32 = 0o644;
/// Most addresses that are kept of a kind.
const ADDRESSES_MAX: usize = 64;

/// A folder of a membership: `key.pem`, `certificate.pem`, `ca.pem`, and `joined.toml`, which is written last.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// What is known of a membership beside its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Whom its certificates name: spiffe://CLUSTER/ROLE/NAME.
    pub identity: String,
    /// Made of the machine-id of the host that joined, hexadecimal; empty when it has none.
    #[serde(default)]
    pub machine: String,
    /// When, Unix time in seconds.
    #[serde(default)]
    pub joined_unix_s: u64,
    /// "host:port" of aggregators.
    #[serde(default)]
    pub aggregators: Vec<String>,
    /// "host:port" of their gossip.
    #[serde(default)]
    pub seeds: Vec<String>,
    /// Names in the certificate by which other clients reach an aggregator.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// Why a membership cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What stands there is something else.
    #[error("{}: {what}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// What was answered does not belong to our key.
    #[error("what was answered is not a certificate for this host: {0}")]
    Answer(String),
    /// The disk was copied from another machine.
    #[error(
        "the identity {identity} in {} was made on another machine: this disk is a copy; run `{program} join --replace` to \
         give this host one of its own", path.display()
    )]
    Copied {
        /// Which folder.
        path: PathBuf,
        /// Whose.
        identity: String,
        /// The program to run.
        program: &'static str,
    },
}

impl Folder {
    /// The one at `path`, which need not be there.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The three files of TLS.
    #[must_use]
    pub fn files(&self) -> Files {
        Files::of_folder(&self.0)
    }

    /// The membership; `None` where nobody has joined.
    ///
    /// # Errors
    /// That the file cannot be read, or is damaged.
    pub fn joined(&self) -> Result<Option<Joined>, FolderError> {
        let path = self.0.join(JOINED);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FolderError::Io { path, error }),
        };
        let wrong = |what: String| FolderError::Content { path: path.clone(), what };
        let joined: Joined = toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
        Identity::parse(&joined.identity).map_err(|error| wrong(error.to_string()))?;
        Ok(Some(joined))
    }

    /// That this is the machine on which it was made.
    ///
    /// # Errors
    /// [`FolderError::Copied`]. A host that does not know its machine is not refused.
    pub fn check_machine(&self, joined: &Joined, role: Role) -> Result<(), FolderError> {
        let here = machine::here().id.map(|id| hex(&id)).unwrap_or_default();
        if here.is_empty() || joined.machine.is_empty() || here == joined.machine {
            return Ok(());
        }
        Err(FolderError::Copied { path: self.0.clone(), identity: joined.identity.clone(), program: program(role) })
    }

    /// The key, made when there is none: one that tried before and did not end asks again with the same.
    pub(super) fn key(&self) -> Result<KeyPair, FolderError> {
        let path = self.files().key;
        match fs::metadata(&path) {
            Ok(_) => {
                let wrong = |what| FolderError::Content { path: path.clone(), what };
                let text = secret::text(&path).map_err(wrong)?;
                KeyPair::from_pem(&text).map_err(|error| wrong(format!("holds no private key in PEM: {error}")))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make()?;
                let key = KeyPair::generate().map_err(|error| FolderError::Answer(error.to_string()))?;
                self.write(&path, key.serialize_pem().as_bytes(), SECRET)?;
                Ok(key)
            }
            Err(error) => Err(FolderError::Io { path, error }),
        }
    }

    /// Takes what was answered to `key`: nothing is written unless all of it belongs together.
    pub(super) fn take(
        &self,
        answer: &v1::Membership,
        key: &KeyPair,
        (machine, hosts): (Machine, &[String]),
    ) -> Result<Joined, FolderError> {
        let odd = FolderError::Answer;
        let chain = certificates(&answer.certificate).map_err(odd)?;
        certificates(&answer.authorities).map_err(|what| odd(format!("authorities: {what}")))?;
        let own = chain.first().ok_or_else(|| odd("it is empty".to_owned()))?;
        if key_digest(own) != Some(of_key(key)) {
            return Err(odd("it is for another key".to_owned()));
        }
        let identity = Identity::of(own).map_err(|error| odd(error.to_string()))?;
        let before = self.joined()?;
        let addresses = |new: &[String], old: Option<&Vec<String>>| match new {
            // One that knows nobody says nothing of those who were there.
            [] => old.cloned().unwrap_or_default(),
            new => new.iter().take(ADDRESSES_MAX).cloned().collect(),
        };
        let joined = Joined {
            identity: identity.to_string(),
            machine: machine.id.map(|id| hex(&id)).unwrap_or_default(),
            joined_unix_s: before
                .as_ref()
                .map_or_else(|| crate::clock::unix().as_secs(), |before| before.joined_unix_s),
            aggregators: addresses(&answer.aggregators, before.as_ref().map(|before| &before.aggregators)),
            seeds: addresses(&answer.seeds, before.as_ref().map(|before| &before.seeds)),
            hosts: hosts.to_vec(),
        };
        let text = toml::to_string(&joined).map_err(|error| odd(error.to_string()))?;
        let files = self.files();
        self.make()?;
        self.write(&files.ca, answer.authorities.as_bytes(), OPEN)?;
        self.write(&files.certificate, answer.certificate.as_bytes(), OPEN)?;
        self.write(&self.0.join(JOINED), text.as_bytes(), OPEN)?;
        Ok(joined)
    }

    /// Puts the membership aside, under a name with the time; nothing when there is none.
    ///
    /// # Errors
    /// Of the file system.
    pub fn put_aside(&self) -> Result<Option<PathBuf>, FolderError> {
        let mut name = self.0.as_os_str().to_owned();
        name.push(format!(".before-{}", crate::clock::unix().as_secs()));
        let aside = PathBuf::from(name);
        match fs::rename(&self.0, &aside) {
            Ok(()) => Ok(Some(aside)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FolderError::Io { path: self.0.clone(), error }),
        }
    }

    fn make(&self) -> Result<(), FolderError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.and_then(|()| self.give(&self.0)).map_err(|error| FolderError::Io { path: self.0.clone(), error })
    }

    fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), FolderError> {
        let written = secret::replace(path, content, mode).and_then(|()| self.give(path));
        written.map_err(|error| FolderError::Io { path: path.to_owned(), error })
    }

    /// To whoever owns the state folder: an administrator joins, the user of the service reads.
    fn give(&self, path: &Path) -> io::Result<()> {
        let Some(state) = self.0.parent() else { return Ok(()) };
        let (to, now) = (fs::metadata(state)?, fs::metadata(path)?);
        if (to.uid(), to.gid()) == (now.uid(), now.gid()) {
            return Ok(());
        }
        match std::os::unix::fs::chown(path, Some(to.uid()), Some(to.gid())) {
            // Only an administrator can, and whoever is none needs not.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            done => done,
        }
    }
}

/// A request for a certificate for `key`; it says nothing else.
pub(super) fn request(key: &KeyPair) -> Result<String, String> {
    let request = CertificateParams::default().serialize_request(key).and_then(|request| request.pem());
    request.map_err(|error| error.to_string())
}

fn of_key(key: &KeyPair) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(key)).into()
}

/// What is run as a role.
pub(super) const fn program(role: Role) -> &'static str {
    match role {
        Role::Node => "starling-node",
        Role::Aggregator => "starling-aggregator",
        Role::Dashboard => "starling-dashboard",
        Role::Operator => "starling",
    }
}
