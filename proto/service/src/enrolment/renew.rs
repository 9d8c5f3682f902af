//! Staying a member: the next certificate long before the end of the last, or of the authority that signed it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use starling_proto::v1;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{info, warn};

use super::{
    authorities::{Step, step},
    folder::{Folder, Joined, program, request},
    join::Reason,
};
use crate::{
    backoff::Backoff,
    channel::Dial,
    credentials::{Credentials, FilesError, Security, Stranger, TlsSettings, at, standing},
    grpc::enrolment_client::EnrolmentClient,
    identity::{BACKDATED, Identity, Role},
    machine,
    metrics::Counter,
};

const DIAL: Dial = Dial::within(Duration::from_secs(3));
const ASKED_WITHIN: Duration = Duration::from_secs(5);
/// In which part of a certificate's life it is renewed: over half of it, so that those who joined together do not renew
/// together, with a seventh left for an aggregator that is away.
const RENEWED: (f64, f64) = (0.35, 0.85);
/// First and longest wait after a failure; for a certificate that lives for minutes at most this part of its life.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));
const RETRY_PARTS: u32 = 20;
/// Longest wait of a program whose certificate has ended or cannot be used: it can do nothing until that is renewed.
const MENDED_WITHIN: Duration = Duration::from_secs(30);
/// How long a start waits for the renewal of a certificate that has ended: less than service managers wait for a start.
const STARTED_WITHIN: Duration = Duration::from_secs(10);
/// Between two lines about a renewal that fails.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether it is time: the wall clock may be set.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it is asked whom to trust, at most: of 10,000 members 167 a second ask, at all aggregators together. It is how long
/// each step of a change of the authority takes. For a certificate that lives for minutes a part of its life.
const AUTHORITIES_EVERY: Duration = Duration::from_secs(60);
const AUTHORITIES_PARTS: u32 = 10;

crate::metrics! {
    /// Of the renewal of a certificate.
    pub struct RenewalMetrics {
        /// Certificates that this program had renewed.
        renewed: Counter = "starling_certificate_renewals";
        /// Attempts to renew that failed.
        failed: Counter = "starling_certificate_renewals_failed";
    }
}

/// Renews the certificate of a membership.
#[derive(Debug)]
pub struct Renewal {
    folder: Folder,
    role: Role,
    hosts: Vec<String>,
}

/// What the settings of a program say of who it is; of a membership first that it can be used. A certificate that has
/// ended is renewed before this returns when that is soon done, else while the program runs; one that cannot be read
/// however long it takes.
///
/// # Errors
/// Which file is wrong, and how; also that the membership was made on another machine.
pub async fn security(settings: &TlsSettings, role: Role, strangers: bool) -> Result<Security, FilesError> {
    if let Some(renewal) = Renewal::of(settings, role, Vec::new()) {
        let wrong =
            |error: super::FolderError| FilesError { file: renewal.folder.path().to_owned(), what: error.to_string() };
        renewal.whole();
        let joined = renewal.folder.joined().map_err(wrong)?;
        if let Some(joined) = &joined {
            renewal.folder.check_machine(joined, role, machine::here()).map_err(wrong)?;
            // Seldom taken, and large.
            Box::pin(renewal.mend(joined)).await;
        }
    }
    Security::load_to_run(settings, role, strangers)
}

/// Where aggregators are dialled: as the settings say, else as the membership does, else on this host.
#[must_use]
pub fn aggregators(given: &[String], settings: &TlsSettings) -> Vec<String> {
    let found = if given.is_empty() { joined(settings).map(|joined| joined.aggregators) } else { Some(given.to_vec()) };
    found.filter(|found| !found.is_empty()).unwrap_or_else(|| vec!["127.0.0.1:7400".to_owned()])
}

/// Where aggregators gossip: as the settings say, else as the membership does.
#[must_use]
pub fn seeds(given: &[String], settings: &TlsSettings) -> Vec<String> {
    let found = if given.is_empty() { joined(settings).map(|joined| joined.seeds) } else { Some(given.to_vec()) };
    found.unwrap_or_default()
}

/// What cannot be read is told by [`security`], which every program asks first.
fn joined(settings: &TlsSettings) -> Option<Joined> {
    Folder::at(settings.joined_folder()?.to_owned()).joined().ok().flatten()
}

impl Renewal {
    /// Of the membership that is used; `None` when there is none. `hosts` are names by which others reach an aggregator.
    #[must_use]
    pub fn of(settings: &TlsSettings, role: Role, hosts: Vec<String>) -> Option<Self> {
        let folder = Folder::at(settings.joined_folder()?.to_owned());
        Some(Self { folder, role, hosts })
    }

    /// Renews the membership of the settings until `stop`; only waits for that without one. What was renewed is taken up as
    /// every other change of the files.
    pub async fn run(this: Option<Self>, metrics: RenewalMetrics, stop: CancellationToken) {
        let Some(this) = this else { return stop.cancelled().await };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = this.again_and_again(&metrics) => {}
        }
    }

    async fn again_and_again(&self, metrics: &RenewalMetrics) {
        let mut share = share();
        let mut trouble = Trouble::default();
        // Those that were started together do not ask together.
        let mut asked = Instant::now() - AUTHORITIES_EVERY.mul_f64(rand::random::<f64>());
        loop {
            sleep(LOOK_EVERY).await;
            let (begins, ends) = self.life();
            let whole = ends.duration_since(begins).unwrap_or_default();
            let mut is_time = SystemTime::now() >= begins + whole.mul_f64(share);
            if !is_time && asked.elapsed() >= AUTHORITIES_EVERY.min(whole / AUTHORITIES_PARTS) {
                asked = Instant::now();
                is_time = self.follow().await;
            }
            if !is_time {
                continue;
            }
            match self.renew().await {
                Ok(ends) => {
                    metrics.renewed.inc();
                    info!(ends = %at(ends), "certificate renewed");
                    share = self::share();
                    trouble = Trouble::default();
                }
                Err(error) => {
                    metrics.failed.inc();
                    trouble.tell(&error, ends);
                    let is_over = ends <= SystemTime::now();
                    sleep(trouble.wait(if is_over { MENDED_WITHIN } else { whole / RETRY_PARTS })).await;
                }
            }
        }
    }

    /// What is damaged gives way to what there was before; without that it is told by whoever reads it.
    fn whole(&self) {
        let Err(damaged) = self.folder.check(self.role) else { return };
        match self.folder.fall_back(self.role) {
            Ok(true) => {
                let ends = at(self.life().1);
                warn!(damaged, ends, "the membership is damaged, the one before the last renewal is used");
            }
            Ok(false) => {}
            Err(error) => {
                warn!(damaged, %error, "the membership is damaged, and the one before cannot be put in its place");
            }
        }
    }

    /// Has a certificate that cannot be used renewed, before anything else is done.
    async fn mend(&self, joined: &Joined) {
        let mut trouble = Trouble::default();
        loop {
            let (_, ends) = self.life();
            let is_whole = Credentials::load_to_run(self.folder.files(), None, self.role, false).is_ok();
            if is_whole && ends > SystemTime::now() {
                return;
            }
            let in_time = timeout(STARTED_WITHIN, self.renew()).await;
            match in_time.unwrap_or_else(|_| Err("no aggregator answers in time".to_owned())) {
                Ok(ends) => info!(identity = joined.identity, ends = %at(ends), "certificate renewed"),
                Err(error) => trouble.tell(&error, ends),
            }
            // The program says what is wrong: that it ended while it goes on trying, else which file it is.
            if ends > UNIX_EPOCH {
                return;
            }
            sleep(trouble.wait(MENDED_WITHIN)).await;
        }
    }

    /// When the certificate was made and ends; the epoch for one that cannot be read.
    fn life(&self) -> (SystemTime, SystemTime) {
        let all = standing(&self.folder.files().certificate).unwrap_or_default();
        let begins = all.first().map_or(UNIX_EPOCH, |own| own.from + BACKDATED);
        (begins, all.iter().map(|one| one.until).min().unwrap_or(UNIX_EPOCH))
    }

    /// Asks whom to trust, and does; true when the certificate must be renewed, since another authority signs now.
    async fn follow(&self) -> bool {
        match self.authorities().await {
            Ok(Some(Step::Trust(authorities))) => match self.folder.trust(&authorities) {
                Ok(()) => info!(file = %self.folder.files().ca.display(), "other authorities are trusted from now on"),
                Err(error) => warn!(%error, "the authorities of the cluster changed, and cannot be written"),
            },
            Ok(Some(Step::Renew)) => {
                info!("another authority signs now: the certificate is renewed");
                return true;
            }
            Ok(Some(Step::Nothing) | None) => {}
            Err(error) => warn!(error, "the authorities of the cluster are not understood"),
        }
        false
    }

    /// What follows from the first answer that counts; `None` when nobody gives one, of which the renewal will speak in time.
    async fn authorities(&self) -> Result<Option<Step>, String> {
        let Some(joined) = self.folder.joined().map_err(|error| error.to_string())? else { return Ok(None) };
        let files = self.folder.files();
        let (known, stranger) = self.folder.believed(&joined)?;
        let own = Credentials::load(files, None, self.role, false).map_err(|error| error.to_string())?.proved_by();
        for address in &joined.aggregators {
            let Ok(channel) = DIAL.connect_as(&stranger, address).await else { continue };
            let mut client = EnrolmentClient::new(channel);
            let answer = timeout(ASKED_WITHIN, client.get_authorities(v1::GetAuthoritiesRequest {})).await;
            let Ok(Ok(answer)) = answer else { continue };
            let answer = answer.into_inner();
            if !answer.signed_by.is_empty() {
                return step(&known, own, &answer).map(Some).map_err(|what| format!("{address}: {what}"));
            }
        }
        Ok(None)
    }

    /// One attempt, at all aggregators that are known; when the new certificate ends.
    async fn renew(&self) -> Result<SystemTime, String> {
        let joined = self.folder.joined().map_err(|error| error.to_string())?;
        let joined = joined.ok_or_else(|| "nobody has joined here".to_owned())?;
        let key = self.folder.open_key().map_err(|error| error.to_string())?;
        let identity = Identity::parse(&joined.identity).map_err(|error| error.to_string())?;
        let (_, stranger) = self.folder.believed(&joined)?;
        let machine = machine::here();
        // Those of the first certificate, and those that the settings say since.
        let further = self.hosts.iter().filter(|host| !joined.hosts.contains(host));
        let hosts: Vec<String> = joined.hosts.iter().chain(further).cloned().collect();
        let request = v1::RenewRequest { request: request(&key)?, machine: machine.to_bytes().0, hosts: hosts.clone() };
        let mut last = "no aggregator is known".to_owned();
        for address in &joined.aggregators {
            match self.ask(&stranger, address, &request).await {
                Ok(answer) => {
                    let known = (identity.role, &identity.name);
                    let taken = self.folder.take(&answer, &key, machine, (known, &hosts));
                    taken.map_err(|error| format!("the renewal cannot be stored: {error}"))?;
                    if !answer.shortened.is_empty() {
                        warn!(why = answer.shortened, "the certificate ends earlier than others");
                    }
                    return Ok(UNIX_EPOCH + Duration::from_secs(answer.ends_unix_s.try_into().unwrap_or(0)));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask(
        &self,
        stranger: &Stranger,
        address: &str,
        request: &v1::RenewRequest,
    ) -> Result<v1::Membership, String> {
        let channel = DIAL.connect_as(stranger, address).await.map_err(|error| format!("{address}: {error}"))?;
        let mut client = EnrolmentClient::new(channel);
        let answer = timeout(ASKED_WITHIN, client.renew(request.clone()))
            .await
            .map_err(|_| format!("{address} does not answer"))?;
        answer.map(tonic::Response::into_inner).map_err(|status| match (Reason::of(&status), status.code()) {
            (Some(Reason::Unknown | Reason::Removed | Reason::Machine), _) => {
                let next = format!("`{} join --replace` with a new token makes it a member again", program(self.role));
                format!("{address}: {}; {next}", status.message())
            }
            (_, Code::Unimplemented) => format!("{address} is no aggregator that renews"),
            _ => format!("{address}: {}", status.message()),
        })
    }
}

/// How much of a certificate is left, for people.
fn left(ends: SystemTime, now: SystemTime) -> String {
    let seconds = ends.duration_since(now).unwrap_or_default().as_secs();
    match seconds {
        0 => "nothing".to_owned(),
        1..7_200 => format!("{} minutes", seconds.div_ceil(60)),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Where in the life of the next certificate it is renewed.
fn share() -> f64 {
    RENEWED.0 + rand::random::<f64>() * (RENEWED.1 - RENEWED.0)
}

/// A renewal that fails again and again.
struct Trouble {
    since: SystemTime,
    told: Option<Instant>,
    tries: u32,
    backoff: Backoff,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { since: SystemTime::now(), told: None, tries: 0, backoff: Backoff::new(RETRY.0, RETRY.1) }
    }
}

impl Trouble {
    fn tell(&mut self, error: &str, ends: SystemTime) {
        self.tries += 1;
        if self.told.is_some_and(|told| told.elapsed() < TOLD_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        let what = if ends <= SystemTime::now() { "the certificate has ended and" } else { "the certificate" };
        let left = left(ends, SystemTime::now());
        warn!(error, ends = %at(ends), left, since = %at(self.since), tries = self.tries, "{what} cannot be renewed");
    }

    /// Before the next attempt: `longest` at most, but never shorter than the first wait.
    fn wait(&mut self, longest: Duration) -> Duration {
        self.backoff.wait(rand::random()).min(longest.max(RETRY.0))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;
    use starling_proto::ids::{Machine, NodeId};

    use super::*;
    use crate::credentials::testing::Site;

    #[tokio::test]
    async fn a_program_starts_with_what_there_was_before_a_file_was_damaged() {
        let (site, state) = (Site::new("one"), tempfile::tempdir().unwrap());
        let settings = TlsSettings { folder: Some(state.path().join("identity")), ..TlsSettings::default() };
        let folder = Folder::at(state.path().join("identity"));
        let (key, name) = (KeyPair::generate().unwrap(), NodeId::parse("web-1").unwrap());
        folder.make().unwrap();
        std::fs::write(folder.files().key, key.serialize_pem()).unwrap();
        std::process::Command::new("chmod").arg("600").arg(folder.files().key).status().unwrap();
        for _ in 0..2 {
            let answer = v1::Membership {
                certificate: site.certificate_for(&key, Role::Node, "web-1"),
                authorities: site.certificate(),
                ..v1::Membership::default()
            };
            folder.take(&answer, &key, Machine::default(), ((Role::Node, &name), &[])).unwrap();
        }
        for file in
            [folder.files().key, folder.files().certificate, folder.files().ca, folder.path().join("joined.toml")]
        {
            std::fs::write(&file, "").unwrap();
            // No aggregator is known, nobody could be asked.
            let security = security(&settings, Role::Node, false).await.unwrap();
            assert_eq!(security.identity().map(|own| own.name), Some(name.clone()), "{}", file.display());
        }
    }

    #[test]
    fn what_is_left_of_a_certificate_is_said_in_days() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let said = |seconds| left(now + Duration::from_secs(seconds), now);
        assert_eq!([said(0), said(61), said(7_200), said(6 * 86_400)], ["nothing", "2 minutes", "2 hours", "6 days"]);
        assert_eq!(left(UNIX_EPOCH, now), "nothing");
    }
}
