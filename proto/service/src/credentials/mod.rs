//! How a program proves who it is, and what it asks of others: mutual TLS 1.3 by certificates of one cluster.
//!
//! [`Security`] is what rooms are handed: plain text, or credentials. Certificate, key and authorities are read again
//! every few seconds and taken up as a whole, once they fit; until then those in use stay.

mod files;
mod issuer;
mod settings;
mod statement;
mod stranger;
mod verify;

use std::{
    collections::HashSet,
    fmt,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use rustls::{
    ClientConfig, ServerConfig,
    client::{Resumption, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use starling_proto::hex;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{
    files::{Content, Loaded, Trusted},
    verify::{AMember, AnAggregator, Refusal, Refused, RemovedKeys},
};
pub use self::{
    files::{Files, FilesError, Standing, authority_of, standing},
    settings::{Exposure, TlsSettings},
    statement::Signatory,
    stranger::{Stranger, certificates, digest},
    verify::{KeyDigest, Revoked, key_digest},
};
use crate::{
    identity::{BACKDATED, Identity, Role},
    metrics::{Counter, Gauge, Listed},
};

pub(crate) use self::{files::plain, issuer::is_foreign, settings::JOINED};

/// How often the files are read again: a renewed certificate is in use within this time.
const READ_EVERY: Duration = Duration::from_secs(5);
/// How long before its end a certificate is spoken of that somebody renews by hand.
const WARN_BEFORE: Duration = Duration::from_secs(30 * 86_400);
/// One that lives shorter than this is renewed by something that runs.
const BY_HAND: Duration = Duration::from_secs(90 * 86_400);
/// Of its life the last eighth: what `join` got is renewed with 15 % left at the latest.
const WARN_LAST: u32 = 8;
/// Between two lines about an end that is near.
const WARN_EVERY: Duration = Duration::from_secs(3600);
/// Of gRPC: HTTP/2 and nothing else.
const ALPN: &[u8] = b"h2";

crate::metrics! {
    /// Of the certificate of a service.
    pub struct CredentialMetrics {
        /// When the certificate in use ends, seconds since 1970; 0 without one.
        expires: Gauge = "starling_certificate_expires_timestamp", unit Seconds;
        /// 1 while it must be renewed: it ends within 30 days, or is in the last eighth of a life shorter than 90 days.
        ending: Gauge = "starling_certificate_ending";
        /// Authorities that are trusted, of connections that begin from now on.
        trusted: Gauge = "starling_authorities_trusted";
        /// When each of them ends, seconds since 1970, by the SHA-256 of its certificate; 32 at most are listed.
        trusted_expire: Listed = "starling_authority_expires_timestamp", unit Seconds, label "sha256";
        /// Certificates, keys and authorities that were found and not taken, each counted once.
        refused: Counter = "starling_certificates_refused";
    }
}

/// How a program speaks with others of its cluster. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Security(Option<Arc<Credentials>>);

impl Security {
    /// In plain text, with nobody's identity: on one host, or where the operator said so.
    #[must_use]
    pub const fn plain() -> Self {
        Self(None)
    }

    /// By mutual TLS.
    #[must_use]
    pub const fn of(credentials: Arc<Credentials>) -> Self {
        Self(Some(credentials))
    }

    /// What the settings say; `role` is what the certificate must be of, and `strangers` as in [`Credentials::load`].
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub fn load(settings: &TlsSettings, role: Role, strangers: bool) -> Result<Self, FilesError> {
        let loaded = settings.files().map(|files| Credentials::load(files, settings.revoked.clone(), role, strangers));
        Ok(Self(loaded.transpose()?.map(Arc::new)))
    }

    /// As [`Security::load`], for a program that starts: see [`Credentials::load_to_run`].
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub fn load_to_run(settings: &TlsSettings, role: Role, strangers: bool) -> Result<Self, FilesError> {
        let load = |files| Credentials::load_to_run(files, settings.revoked.clone(), role, strangers);
        Ok(Self(settings.files().map(load).transpose()?.map(Arc::new)))
    }

    /// `None` in plain text.
    #[must_use]
    pub const fn credentials(&self) -> Option<&Arc<Credentials>> {
        self.0.as_ref()
    }

    /// Who this program is, by its certificate.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.0.as_ref().map(|credentials| credentials.current().identity.clone())
    }

    /// Why nobody takes the certificate in use at this time, and what to do; `None` while it is valid.
    #[must_use]
    pub fn not_valid_now(&self) -> Option<String> {
        let (current, now) = (self.0.as_ref()?.current(), SystemTime::now());
        let said = |what: &str, time, next: &str| {
            Some(format!("the certificate {what} at {}, so nobody takes it: {next}", at(time)))
        };
        if current.expires <= now {
            said("ended", current.expires, "the log says why it was not renewed, `starling doctor` what to do")
        } else if now < current.begins {
            let next = format!("here it is {}, set the clock that is wrong; no restart is needed", at(now));
            said("begins", current.begins, &next)
        } else {
            None
        }
    }

    /// Reads the files again and again, until `stop`; does nothing else in plain text.
    pub async fn run(self, metrics: CredentialMetrics, stop: CancellationToken) {
        match self.0 {
            None => stop.cancelled().await,
            Some(credentials) => credentials.run(metrics, stop).await,
        }
    }
}

/// What is in use: replaced as a whole.
struct InUse {
    identity: Identity,
    begins: SystemTime,
    expires: SystemTime,
    fingerprint: [u8; 32],
    revoked: Revoked,
    authorities: String,
    trusted: Vec<Trusted>,
    proved_by: Option<[u8; 32]>,
    key: Arc<CertifiedKey>,
    aggregators: Arc<AnAggregator>,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl fmt::Debug for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InUse")
            .field("identity", &self.identity)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Certificate, key and trusted authorities of one program.
#[derive(Debug)]
pub struct Credentials {
    source: Source,
    in_use: RwLock<Arc<InUse>>,
    /// Grows whenever somebody may be refused who was taken before: what is open is looked at again.
    refusals: AtomicU64,
}

/// Where they come from, and what they are for.
#[derive(Debug)]
struct Source {
    files: Files,
    revoked: Option<PathBuf>,
    role: Role,
    /// Who connects without a certificate is taken too.
    strangers: bool,
    removed: RemovedKeys,
    provider: Arc<CryptoProvider>,
}

impl Source {
    fn read(&self) -> Result<Content, FilesError> {
        Content::read(&self.files, self.revoked.as_deref())
    }

    /// Checks what was read, as of the time `now`, and makes of it what handshakes need.
    fn make(&self, content: &Content, now: SystemTime) -> Result<InUse, FilesError> {
        let revoked = content.revoked(self.revoked.as_deref())?;
        let loaded = content.check(&self.files, self.role, &self.provider, now)?;
        let failed = |what: String| FilesError { file: self.files.certificate.clone(), what };
        let refused = Refused { names: revoked.clone(), keys: self.removed.clone() };
        let server = server_config(&loaded, &self.provider, refused.clone(), self.strangers).map_err(failed)?;
        let domain = loaded.identity.trust_domain.clone();
        let aggregators = AnAggregator::new(Arc::clone(&loaded.roots), Arc::clone(&self.provider), domain, refused);
        let aggregators = Arc::new(aggregators);
        let client = client_config(&loaded, &self.provider, &aggregators).map_err(failed)?;
        let Loaded { key, identity, begins, expires, authorities, trusted, proved_by, .. } = loaded;
        let fingerprint = content.fingerprint();
        Ok(InUse {
            identity,
            begins,
            expires,
            fingerprint,
            revoked,
            authorities,
            trusted,
            proved_by,
            key,
            aggregators,
            server,
            client,
        })
    }
}

impl Credentials {
    /// Reads and checks the files. With `strangers`, who connects without a certificate is taken too: what it may call is
    /// a matter of the [`Gate`](crate::gate::Gate).
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub fn load(files: Files, revoked: Option<PathBuf>, role: Role, strangers: bool) -> Result<Self, FilesError> {
        Self::open(files, revoked, (role, strangers), |_| SystemTime::now())
    }

    /// As [`Credentials::load`]; a certificate that has ended is taken too, as of its last second, and one that has not begun,
    /// as of its first: the clock of a host may be set after its programs start. Nobody takes either, and
    /// [`Security::not_valid_now`] says so; but a program that starts with it does its other work, and goes on with the next
    /// one, or at that time, without being started again.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub fn load_to_run(
        files: Files,
        revoked: Option<PathBuf>,
        role: Role,
        strangers: bool,
    ) -> Result<Self, FilesError> {
        Self::open(files, revoked, (role, strangers), |content| content.valid_near(SystemTime::now()))
    }

    fn open(
        files: Files,
        revoked: Option<PathBuf>,
        (role, strangers): (Role, bool),
        as_of: impl FnOnce(&Content) -> SystemTime,
    ) -> Result<Self, FilesError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let source = Source { files, revoked, role, strangers, removed: RemovedKeys::default(), provider };
        let content = source.read()?;
        let first = source.make(&content, as_of(&content))?;
        Ok(Self { source, in_use: RwLock::new(Arc::new(first)), refusals: AtomicU64::new(0) })
    }

    fn current(&self) -> Arc<InUse> {
        Arc::clone(&self.in_use.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// For a handshake that somebody else began.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current().server)
    }

    /// For a handshake that we begin. [`crate::channel`] does so for all but tests.
    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current().client)
    }

    /// The authorities that are trusted, PEM.
    #[must_use]
    pub fn authorities(&self) -> String {
        self.current().authorities.clone()
    }

    /// SHA-256 of the authority by which our own certificate is valid.
    #[must_use]
    pub fn proved_by(&self) -> Option<[u8; 32]> {
        self.current().proved_by
    }

    /// When the certificate in use ends.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.current().expires
    }

    /// Whether it must be renewed now, see [`ends_soon`].
    #[must_use]
    pub fn ends_soon(&self, now: SystemTime) -> bool {
        let current = self.current();
        ends_soon(current.begins, current.expires, now)
    }

    /// Takes up what stands in the files now, when it differs and fits. True when something was taken up.
    ///
    /// # Errors
    /// Which file is wrong, and how; what was in use stays.
    pub fn reload(&self) -> Result<bool, FilesError> {
        let content = self.source.read()?;
        let before = self.current();
        if content.fingerprint() == before.fingerprint {
            return Ok(false);
        }
        let next = self.source.make(&content, SystemTime::now())?;
        // Names of nodes and members are taken from it at the start, and what is kept belongs to that cluster.
        if next.identity != before.identity {
            let what =
                format!("is that of {}, and this runs as {}: that takes a restart", next.identity, before.identity);
            return Err(FilesError { file: self.source.files.certificate.clone(), what });
        }
        *self.in_use.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        self.refusals.fetch_add(1, Ordering::Release);
        Ok(true)
    }

    /// Replaces the list of keys that are refused from now on, also on connections that are open.
    pub fn set_removed(&self, keys: HashSet<KeyDigest>) {
        if self.source.removed.set(keys) {
            self.refusals.fetch_add(1, Ordering::Release);
        }
    }

    /// Grows whenever who was taken before may be refused: by new files, or a longer list of those who were removed.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Acquire)
    }

    /// Why who was taken is refused by now; `None` when it is not.
    pub(crate) fn refuses(&self, identity: &Identity, key: &KeyDigest) -> Option<String> {
        let refusal = if self.current().revoked.has(identity) {
            Refusal::Revoked(identity.short())
        } else if self.source.removed.has(key) {
            Refusal::Removed(identity.short())
        } else {
            return None;
        };
        Some(refusal.to_string())
    }

    /// The authorities that are trusted, for whoever changes them: what a program has taken up is seen from outside.
    fn show_trusted(&self, metrics: &CredentialMetrics) {
        let current = self.current();
        metrics.trusted.set(current.trusted.len() as f64);
        let entry = |one: &Trusted| (hex::encode(&one.digest), unix_seconds(one.ends));
        metrics.trusted_expire.set(current.trusted.iter().map(entry));
    }

    async fn run(self: Arc<Self>, metrics: CredentialMetrics, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(READ_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut warned) = (None, None::<tokio::time::Instant>);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let this = Arc::clone(&self);
            // A panic in it would leave what is in use as it is.
            let Ok(read) = tokio::task::spawn_blocking(move || this.reload()).await else { continue };
            match read {
                Ok(true) => {
                    told = None;
                    let current = self.current();
                    info!(identity = %current.identity, expires = %at(current.expires), "certificate taken up");
                }
                Ok(false) => told = None,
                Err(wrong) if told.as_ref() == Some(&wrong) => {}
                // A line for each new thing that is wrong, not for each look at it.
                Err(wrong) => {
                    metrics.refused.inc();
                    warn!(error = %wrong, expires = %at(self.expires()), "new certificate not taken, the one in use stays");
                    told = Some(wrong);
                }
            }
            let expires = self.expires();
            metrics.expires.set(unix_seconds(expires));
            self.show_trusted(&metrics);
            let ending = self.ends_soon(SystemTime::now());
            metrics.ending.set(if ending { 1.0 } else { 0.0 });
            if ending && warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                warned = Some(tokio::time::Instant::now());
                let file = self.source.files.certificate.display();
                let what = if expires <= SystemTime::now() { "has expired, nobody takes it" } else { "ends soon" };
                warn!(%file, expires = %at(expires), "the certificate {what}: renew it");
            }
        }
    }
}

fn server_config(
    loaded: &Loaded,
    provider: &Arc<CryptoProvider>,
    refused: Refused,
    strangers: bool,
) -> Result<Arc<ServerConfig>, String> {
    let domain = loaded.identity.trust_domain.clone();
    let verifier = AMember::new(Arc::clone(&loaded.roots), Arc::clone(provider), domain, (refused, strangers))?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&loaded.key))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A session that is taken up again is not checked again: neither dates nor names that were taken out.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn client_config(
    loaded: &Loaded,
    provider: &Arc<CryptoProvider>,
    aggregators: &Arc<AnAggregator>,
) -> Result<Arc<ClientConfig>, String> {
    let verifier: Arc<dyn ServerCertVerifier> = Arc::<AnAggregator>::clone(aggregators);
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&loaded.key))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Whether a certificate of this life must be renewed now: it ends within 30 days, or, when it lives shorter than 90, is in
/// the last eighth of its life.
#[must_use]
pub fn ends_soon(begins: SystemTime, ends: SystemTime, now: SystemTime) -> bool {
    let whole = ends.duration_since(begins).unwrap_or_default().saturating_sub(BACKDATED);
    let left = ends.duration_since(now).unwrap_or_default();
    left < if whole < BY_HAND { whole / WARN_LAST } else { WARN_BEFORE }
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Day and time by UTC, for people.
pub(crate) fn at(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    x509_parser::time::ASN1Time::from_timestamp(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
