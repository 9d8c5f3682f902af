//! What a membership is on the disk.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde::{Deserialize, Serialize};
use starling_proto::{
    hex,
    ids::{Machine, NodeId},
    v1,
};

use crate::{
    credentials::{Files, JOINED, Stranger, certificates, key_digest},
    identity::{Identity, Role},
    secret,
    state_folder::{self, OPEN, SECRET},
};

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

    /// That `here`, of a program of `role`, is the machine on which it was made.
    ///
    /// # Errors
    /// [`FolderError::Copied`]. A host that does not know its machine is not refused.
    pub fn check_machine(&self, joined: &Joined, role: Role, here: Machine) -> Result<(), FolderError> {
        let here = here.id.map(|id| hex::encode(&id)).unwrap_or_default();
        if here.is_empty() || joined.machine.is_empty() || here == joined.machine {
            return Ok(());
        }
        Err(FolderError::Copied { path: self.0.clone(), identity: joined.identity.clone(), program: program(role) })
    }

    /// The key.
    pub(super) fn open_key(&self) -> Result<KeyPair, FolderError> {
        let path = self.files().key;
        let wrong = |what| FolderError::Content { path: path.clone(), what };
        let text = secret::text(&path).map_err(wrong)?;
        KeyPair::from_pem(&text).map_err(|error| wrong(format!("holds no private key in PEM: {error}")))
    }

    /// The key, made when there is none: one that tried before and did not end asks again with the same.
    pub(super) fn key_or_new(&self) -> Result<KeyPair, FolderError> {
        let path = self.files().key;
        if path.exists() {
            return self.open_key();
        }
        self.make()?;
        let key = KeyPair::generate().map_err(|error| FolderError::Answer(error.to_string()))?;
        self.write(&path, key.serialize_pem().as_bytes(), SECRET)?;
        Ok(key)
    }

    /// Takes what was answered to `key`: nothing is written unless it is for that key and for who asked. What was asked for:
    /// its role and name, and the hosts that were asked for.
    pub(super) fn take(
        &self,
        answer: &v1::Membership,
        key: &KeyPair,
        machine: Machine,
        ((role, name), hosts): ((Role, &NodeId), &[String]),
    ) -> Result<Joined, FolderError> {
        let odd = FolderError::Answer;
        let chain = certificates(&answer.certificate).map_err(odd)?;
        certificates(&answer.authorities).map_err(|what| odd(format!("authorities: {what}")))?;
        let own = chain.first().ok_or_else(|| odd("it is empty".to_owned()))?;
        if key_digest(own) != Some(of_key(key)) {
            return Err(odd("it is for another key".to_owned()));
        }
        let identity = Identity::of(own).map_err(|error| odd(error.to_string()))?;
        if (identity.role, &identity.name) != (role, name) {
            return Err(odd(format!("it is that of {}, wanted is {role} {name}", identity.short())));
        }
        let before = self.joined()?;
        let addresses = |new: &[String], old: Option<&Vec<String>>| match new {
            // One that knows nobody says nothing of those who were there.
            [] => old.cloned().unwrap_or_default(),
            new => new.iter().take(ADDRESSES_MAX).cloned().collect(),
        };
        let joined = Joined {
            identity: identity.to_string(),
            machine: machine.id.map(|id| hex::encode(&id)).unwrap_or_default(),
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
        self.keep(role)?;
        self.write(&files.ca, answer.authorities.as_bytes(), OPEN)?;
        self.write(&files.certificate, answer.certificate.as_bytes(), OPEN)?;
        self.write(&self.0.join(JOINED), text.as_bytes(), OPEN)?;
        Ok(joined)
    }

    /// The authorities of the membership, PEM, and who asks by them.
    pub(super) fn believed(&self, joined: &Joined) -> Result<(String, Stranger), String> {
        let identity = Identity::parse(&joined.identity).map_err(|error| error.to_string())?;
        let ca = self.files().ca;
        let authorities = fs::read_to_string(&ca).map_err(|error| format!("{}: {error}", ca.display()))?;
        let stranger =
            Stranger::of(&authorities, &identity.trust_domain).map_err(|what| format!("{}: {what}", ca.display()))?;
        Ok((authorities, stranger))
    }

    /// Replaces the authorities that are trusted, PEM.
    pub(super) fn trust(&self, authorities: &str) -> Result<(), FolderError> {
        self.write(&self.files().ca, authorities.as_bytes(), OPEN)
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

    pub(super) fn make(&self) -> Result<(), FolderError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.and_then(|()| self.give(&self.0)).map_err(|error| FolderError::Io { path: self.0.clone(), error })
    }

    pub(super) fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), FolderError> {
        let written = state_folder::replace(path, content, mode).and_then(|()| self.give(path));
        written.map_err(|error| FolderError::Io { path: path.to_owned(), error })
    }

    /// To whoever owns the folder above: an administrator joins, the user of the service reads.
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
    signed(key, &CertificateParams::default())
}

/// A proof by `key` that its bearer wants to be `identity` no more; see `LeaveRequest`.
pub(super) fn leave_request(key: &KeyPair, identity: &Identity) -> Result<String, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, leaving(identity));
    signed(key, &params)
}

fn signed(key: &KeyPair, params: &CertificateParams) -> Result<String, String> {
    params.serialize_request(key).and_then(|request| request.pem()).map_err(|error| error.to_string())
}

/// What the request of who leaves says.
#[must_use]
pub fn leaving(identity: &Identity) -> String {
    format!("leave {identity}")
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::SanType;

    use super::*;

    /// What an aggregator would answer to `key`.
    fn answer(key: &KeyPair, uri: &str) -> v1::Membership {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        let certificate = params.self_signed(key).unwrap().pem();
        v1::Membership {
            authorities: certificate.clone(),
            certificate,
            aggregators: vec!["agg-1:7400".to_owned()],
            ..v1::Membership::default()
        }
    }

    #[test]
    fn a_membership_is_taken_whole_and_only_by_who_asked() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path().join("identity"));
        assert!(folder.joined().unwrap().is_none());
        assert!(folder.open_key().is_err(), "a renewal never makes a key");
        let key = folder.key_or_new().unwrap();
        assert_eq!(folder.key_or_new().unwrap().serialize_pem(), key.serialize_pem(), "who tries again has the same");
        let name = NodeId::parse("web-1").unwrap();
        let machine = Machine { id: Some([7; 16]), boot: None };
        let take = |answer: &v1::Membership| folder.take(answer, &key, machine, ((Role::Node, &name), &[]));
        let other = KeyPair::generate().unwrap();
        for (odd, wanted) in [
            (answer(&other, "spiffe://s/node/web-1"), "for another key"),
            (answer(&key, "spiffe://s/node/web-2"), "that of node web-2, wanted is node web-1"),
            (answer(&key, "spiffe://s/operator/web-1"), "that of operator web-1"),
            (v1::Membership { authorities: String::new(), ..answer(&key, "spiffe://s/node/web-1") }, "authorities"),
            (v1::Membership::default(), "holds no certificate"),
        ] {
            let error = take(&odd).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
            assert!(folder.joined().unwrap().is_none(), "nothing of it is written");
        }
        let joined = take(&answer(&key, "spiffe://s/node/web-1")).unwrap();
        assert_eq!(
            (folder.joined().unwrap().as_ref(), &joined.aggregators[..]),
            (Some(&joined), &["agg-1:7400".to_owned()][..])
        );
        let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder.files().key), mode(folder.path())), (0o600, 0o700));
        // One that knows no aggregators takes none away.
        let renewed = v1::Membership { aggregators: Vec::new(), ..answer(&key, "spiffe://s/node/web-1") };
        assert_eq!(take(&renewed).unwrap(), joined);
        // Another machine.
        let copied = |id| folder.check_machine(&joined, Role::Node, Machine { id, boot: None });
        assert!(copied(Some([7; 16])).is_ok() && copied(None).is_ok());
        let error = copied(Some([8; 16])).unwrap_err().to_string();
        assert!(error.contains("made on another machine") && error.contains("starling-node join --replace"), "{error}");
        let aside = folder.put_aside().unwrap().unwrap();
        assert!(aside.join(JOINED).is_file() && folder.joined().unwrap().is_none());
        assert!(folder.put_aside().unwrap().is_none());
    }

    #[test]
    fn a_damaged_membership_says_which_file() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path().to_owned());
        for text in ["x", "identity = 7", "identity = \"spiffe://s/king/a\""] {
            fs::write(dir.path().join(JOINED), text).unwrap();
            let error = folder.joined().unwrap_err().to_string();
            assert!(error.contains("joined.toml: "), "{error}");
        }
    }
}
