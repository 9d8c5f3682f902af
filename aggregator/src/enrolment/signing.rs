//! The authority of this aggregator. Its calls go to the disk, hence to threads for that.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use starling_authority::{Life, Signer, SignerError};
use starling_service::{
    clock,
    credentials::{Security, authority_of, certificates, digest},
    enrolment::Reason,
};
use tokio::{sync::Semaphore, time::timeout};
use tonic::Status;
use tracing::warn;

use crate::config::EnrolmentSettings;

/// Calls that wait for the disk at once; beyond, who asks waits a little and then asks again.
const CALLS_MAX: usize = 64;
const QUEUED_FOR: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Signing {
    signer: Arc<Mutex<Signer>>,
    calls: Semaphore,
    /// Digest of the authority that who joins is to trust: the root above our own certificate.
    root: [u8; 32],
    /// Digest of the root above what is signed here. Another one only while the authority of the cluster is changed.
    signed_by: [u8; 32],
}

impl Signing {
    pub(super) async fn open(
        folder: PathBuf,
        register: PathBuf,
        settings: &EnrolmentSettings,
        security: &Security,
    ) -> anyhow::Result<Self> {
        let wrong = |what: String| anyhow::anyhow!("enrolment.authority = {}: {what}", folder.display());
        let credentials = security.credentials().ok_or_else(|| wrong("it is of use with TLS only".to_owned()))?;
        let life = Life { life: settings.life.as_secs(), grace: settings.grace.as_secs() };
        let path = folder.clone();
        let opened =
            tokio::task::spawn_blocking(move || Signer::open(&path, &register, life, clock::unix().as_secs())).await?;
        let mut signer = opened.map_err(|error| wrong(error.to_string()))?;
        let own = security.identity().map_or_else(String::new, |own| own.trust_domain);
        if signer.cluster() != own {
            return Err(wrong(format!("it is of the cluster {}, our certificate is of {own}", signer.cluster())));
        }
        let root = credentials.proved_by().ok_or_else(|| wrong("our own certificate is by no authority".to_owned()))?;
        let known = certificates(&credentials.authorities()).map_err(|error| wrong(format!("tls.ca: {error}")))?;
        if !known.iter().any(|known| digest(known) == root) {
            return Err(wrong("the authority above our certificate is not in tls.ca".to_owned()));
        }
        let signed_by = match signer.sample() {
            Ok(sample) => authority_of(&sample, &credentials.authorities())
                .map_err(wrong)?
                .ok_or_else(|| wrong("the authority above it is not in tls.ca".to_owned()))?,
            // One that has ended signs nothing, and says so to who asks.
            Err(_) => root,
        };
        signer.signs_below(signed_by);
        Ok(Self { signer: Arc::new(Mutex::new(signer)), calls: Semaphore::new(CALLS_MAX), root, signed_by })
    }

    /// Digest of the authority that who joins is to trust.
    pub(super) const fn root(&self) -> [u8; 32] {
        self.root
    }

    /// Digest of the authority below which certificates are signed.
    pub(super) const fn signed_by(&self) -> [u8; 32] {
        self.signed_by
    }

    /// Does something with the signer, on a thread for what blocks.
    ///
    /// # Errors
    /// `UNAVAILABLE` when there is too much to do; what the signer says.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Signer, u64) -> Result<T, SignerError> + Send + 'static,
    ) -> Result<T, Status> {
        let place = timeout(QUEUED_FOR, self.calls.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(Status::unavailable("too many join at once: ask again in a few seconds"));
        };
        let signer = Arc::clone(&self.signer);
        let done = tokio::task::spawn_blocking(move || {
            // A panic in it leaves the state as the file has it: it is applied after it was written.
            let mut signer = signer.lock().unwrap_or_else(PoisonError::into_inner);
            what(&mut signer, clock::unix().as_secs())
        });
        match done.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(status(&error)),
            Err(_) => Err(Status::internal("signing failed, the log says how")),
        }
    }

    /// Now and then: forgets what is over.
    pub(super) async fn tidy(&self) {
        if let Err(status) = self.with(|signer, now| signer.tidy(now)).await {
            warn!(error = status.message(), "the register of who has joined is not tidied");
        }
    }
}

fn status(error: &SignerError) -> Status {
    match error {
        SignerError::Refused(refusal) => refusal.reason().status(refusal.to_string()),
        SignerError::Authority(
            wrong @ (starling_authority::AuthorityError::Host(_) | starling_authority::AuthorityError::Request(_)),
        ) => Reason::Request.status(wrong.to_string()),
        // It passes, and nothing was spent: who asks asks again.
        other => Status::unavailable(format!("nobody can join now: {other}")),
    }
}
