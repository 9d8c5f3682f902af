//! Certificate, key and authorities as they stand in files: read and checked as a whole.

use std::{
    fmt,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::{ParsedCertificate, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    at,
    issuer::named,
    stranger::{certificates, digest},
    verify::Revoked,
};
use crate::{
    identity::{Identity, Role},
    secret,
};

/// Longest file that is read: a bundle of a hundred authorities has 200 KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// PEM: the certificate, then those between it and the authority.
    pub certificate: PathBuf,
    /// PEM: its key.
    pub key: PathBuf,
    /// PEM: the authorities that are trusted, one or more.
    pub ca: PathBuf,
}

impl Files {
    /// As `starling ca issue` lays them down in a folder.
    #[must_use]
    pub fn of_folder(folder: &Path) -> Self {
        let [certificate, key, ca] = ["certificate.pem", "key.pem", "ca.pem"].map(|name| folder.join(name));
        Self { certificate, key, ca }
    }
}

/// Why they are not taken; names the file and the next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", file.display())]
pub struct FilesError {
    /// Which.
    pub file: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

/// An authority that is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trusted {
    /// SHA-256 of its certificate.
    pub(crate) digest: [u8; 32],
    /// Last moment of its validity.
    pub(crate) ends: SystemTime,
}

/// A pair that fits, with what it was checked against.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) identity: Identity,
    /// When the certificate begins.
    pub(crate) begins: SystemTime,
    /// When the certificate ends; its issuer may end earlier, then that.
    pub(crate) expires: SystemTime,
    /// PEM of the authorities.
    pub(crate) authorities: String,
    /// Each of them, once.
    pub(crate) trusted: Vec<Trusted>,
    /// SHA-256 of the authority by which our own certificate is valid.
    pub(crate) proved_by: Option<[u8; 32]>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("identity", &self.identity)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// What stands in the files, not checked yet.
pub(crate) struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    ca: Vec<u8>,
    /// Empty when nobody is revoked.
    revoked: Vec<u8>,
}

impl Content {
    /// Reads all of them. The list of those who are revoked need not be there.
    pub(crate) fn read(files: &Files, revoked: Option<&Path>) -> Result<Self, FilesError> {
        let revoked = match revoked.map(|file| (file, content(file))) {
            None => Vec::new(),
            // Before the first name is taken out there is no file.
            Some((_, Err(error))) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Some((file, read)) => read.map_err(|error| unread(file, &error))?,
        };
        let bytes = |file: &Path| content(file).map_err(|error| unread(file, &error));
        let key = secret::text(&files.key).map_err(|what| FilesError { file: files.key.clone(), what })?;
        Ok(Self { certificate: bytes(&files.certificate)?, key: key.into_bytes(), ca: bytes(&files.ca)?, revoked })
    }

    /// Of every byte.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in [&self.certificate, &self.key, &self.ca, &self.revoked] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    /// The moment nearest to `now` in which the certificate and those between it and the authority are all valid; `now` for
    /// what is none.
    pub(crate) fn valid_near(&self, now: SystemTime) -> SystemTime {
        let chain = CertificateDer::pem_slice_iter(&self.certificate).flatten();
        let lives: Vec<_> = chain.filter_map(|certificate| validity(&certificate)).collect();
        let (begins, ends) = (lives.iter().map(|life| life.0).max(), lives.iter().map(|life| life.1).min());
        // Where they never are, the end says so.
        now.max(begins.unwrap_or(now)).min(ends.unwrap_or(now))
    }

    /// Checks that they belong together and can be used by `role` at the time `now`.
    pub(crate) fn check(
        &self,
        files: &Files,
        role: Role,
        provider: &Arc<CryptoProvider>,
        now: SystemTime,
    ) -> Result<Loaded, FilesError> {
        let wrong = |file: &Path, what: String| FilesError { file: file.to_owned(), what };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(&files.certificate, format!("not PEM: {error}")))?;
        let Some(own) = chain.first() else {
            return Err(wrong(&files.certificate, "holds no certificate (BEGIN CERTIFICATE)".to_owned()));
        };
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| wrong(&files.key, format!("holds no private key in PEM: {error}")))?;
        let signing = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| wrong(&files.key, format!("cannot be used: {error}")))?;
        let certified = CertifiedKey::new(chain.clone(), signing);
        certified.keys_match().map_err(|_| {
            let what = format!("is not the key of the certificate in {}", files.certificate.display());
            wrong(&files.key, what)
        })?;
        let roots = self.roots(files)?;
        let identity = Identity::of(own).map_err(|error| wrong(&files.certificate, error.to_string()))?;
        if identity.role != role {
            let what = format!("is that of {}, wanted is one of the role {role}", identity.short());
            return Err(wrong(&files.certificate, what));
        }
        let validity = |certificate: &CertificateDer<'_>| validity(certificate).unwrap_or((now, now));
        let (begins, _) = validity(own);
        let expires = chain.iter().map(|certificate| validity(certificate).1).min().unwrap_or(now);
        let by = |roots: &Arc<RootCertStore>| is_by(roots, role, &chain, provider, now);
        let roots = Arc::new(roots);
        by(&roots).map_err(|error| {
            let what = format!("is not valid by {}: {}", files.ca.display(), plain(&error));
            wrong(&files.certificate, what)
        })?;
        let proved_by = proved_by(self.authorities(), role, &chain, provider, now);
        Ok(Loaded {
            key: Arc::new(certified),
            roots,
            identity,
            begins,
            expires,
            authorities: String::from_utf8_lossy(&self.ca).into_owned(),
            trusted: self.trusted(),
            proved_by,
        })
    }

    /// Those in the file that are certificates.
    fn authorities(&self) -> impl Iterator<Item = CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(&self.ca).flatten()
    }

    /// Each of them once, by its digest.
    fn trusted(&self) -> Vec<Trusted> {
        let ends = |authority: &CertificateDer<'_>| validity(authority).map_or(UNIX_EPOCH, |(_, ends)| ends);
        let all = self.authorities().map(|one| Trusted { digest: digest(&one), ends: ends(&one) });
        let mut all: Vec<Trusted> = all.collect();
        all.sort_unstable_by_key(|one| one.digest);
        all.dedup();
        all
    }

    /// The names that are refused, of the file `revoked`.
    pub(crate) fn revoked(&self, file: Option<&Path>) -> Result<Revoked, FilesError> {
        let text = String::from_utf8_lossy(&self.revoked);
        Revoked::parse(&text).map_err(|what| FilesError { file: file.map(Path::to_owned).unwrap_or_default(), what })
    }

    fn roots(&self, files: &Files) -> Result<RootCertStore, FilesError> {
        let wrong = |what: String| FilesError { file: files.ca.clone(), what };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.ca) {
            let certificate = certificate.map_err(|error| wrong(format!("not PEM: {error}")))?;
            roots.add(certificate).map_err(|error| wrong(format!("holds what is no authority: {error}")))?;
        }
        if roots.is_empty() { Err(wrong("holds no certificate (BEGIN CERTIFICATE)".to_owned())) } else { Ok(roots) }
    }
}

/// Whether it is valid by one of `roots`, as the other end will look at it: only an aggregator's says that it may serve, and a
/// wrong purpose is seen before a wrong signature.
fn is_by(
    roots: &Arc<RootCertStore>,
    role: Role,
    chain: &[CertificateDer<'_>],
    provider: &Arc<CryptoProvider>,
    now: SystemTime,
) -> Result<(), rustls::Error> {
    let Some((own, between)) = chain.split_first() else { return Err(rustls::Error::NoCertificatesPresented) };
    let at = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO));
    let valid = match role {
        Role::Aggregator => {
            let algorithms = provider.signature_verification_algorithms.all;
            let own = ParsedCertificate::try_from(own)?;
            verify_server_cert_signed_by_trust_anchor(&own, roots, between, at, algorithms)
        }
        Role::Node | Role::Dashboard | Role::Operator => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider));
            let verifier = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
            verifier.verify_client_cert(own, between, at).map(|_| ())
        }
    };
    valid.map_err(|error| named(error, (own, between), roots))
}

/// The first of `authorities` by which it is valid.
fn proved_by(
    mut authorities: impl Iterator<Item = CertificateDer<'static>>,
    role: Role,
    chain: &[CertificateDer<'_>],
    provider: &Arc<CryptoProvider>,
    now: SystemTime,
) -> Option<[u8; 32]> {
    let found = authorities.find(|authority| {
        let mut one = RootCertStore::empty();
        one.add(authority.clone()).is_ok() && is_by(&Arc::new(one), role, chain, provider, now).is_ok()
    });
    found.map(|authority| digest(&authority))
}

/// SHA-256 of the first of `authorities` by which the first certificate of `chain`, a node's, is valid now; both PEM.
///
/// # Errors
/// That one of them is not PEM, or holds nothing.
pub fn authority_of(chain: &str, authorities: &str) -> Result<Option<[u8; 32]>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, authorities) = (certificates(chain)?, certificates(authorities)?);
    Ok(proved_by(authorities.into_iter(), Role::Node, &chain, &provider, SystemTime::now()))
}

/// One certificate of a file, for people.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Whom it names; of others their subject.
    pub who: String,
    /// Number that its authority gave it, hexadecimal.
    pub serial: String,
    /// First moment of its validity.
    pub from: SystemTime,
    /// Last moment of its validity.
    pub until: SystemTime,
}

/// Every certificate of a PEM file.
///
/// # Errors
/// That it cannot be read, or what is wrong with it.
pub fn standing(file: &Path) -> Result<Vec<Standing>, FilesError> {
    let wrong = |what: String| FilesError { file: file.to_owned(), what };
    let content = content(file).map_err(|error| unread(file, &error))?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(&content)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(format!("not PEM: {error}")))?;
    if all.is_empty() {
        return Err(wrong("holds no certificate (BEGIN CERTIFICATE)".to_owned()));
    }
    let one = |certificate: &CertificateDer<'_>| {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| wrong(error.to_string()))?;
        let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Ok(Standing {
            who: Identity::of(certificate).map_or_else(|_| parsed.subject().to_string(), |found| found.to_string()),
            serial: parsed.raw_serial_as_string(),
            from: time(parsed.validity().not_before.timestamp()),
            until: time(parsed.validity().not_after.timestamp()),
        })
    };
    all.iter().map(one).collect()
}

/// From when to when a certificate is valid.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(SystemTime, SystemTime)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let time = |seconds: i64| Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).ok()?));
    Some((time(parsed.validity().not_before.timestamp())?, time(parsed.validity().not_after.timestamp())?))
}

/// An error of the library without the words before it.
pub(crate) fn plain(error: &rustls::Error) -> String {
    use rustls::{CertificateError as Wrong, Error::InvalidCertificate};
    let day = |time: &UnixTime| at(UNIX_EPOCH + Duration::from_secs(time.as_secs()));
    match error {
        InvalidCertificate(Wrong::ExpiredContext { not_after, time }) => {
            format!("it ended at {}, and it is {} here", day(not_after), day(time))
        }
        InvalidCertificate(Wrong::NotValidYetContext { not_before, time }) => format!(
            "it is not valid before {}, and it is {} here: one of the two clocks is wrong",
            day(not_before),
            day(time)
        ),
        // A refusal of our own.
        InvalidCertificate(Wrong::Other(cause)) => cause.0.to_string(),
        InvalidCertificate(cause) => cause.to_string(),
        other => other.to_string(),
    }
}

fn unread(file: &Path, error: &io::Error) -> FilesError {
    FilesError { file: file.to_owned(), what: format!("cannot be read: {error}") }
}

fn content(file: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(content)
}
