//! Asks targets, each at its own pace, and hands over what they say.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use starling_service::{
    http_client::{Access, HttpClient, HttpError},
    log::LogLimiter,
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    answer::{self, BODY_MAX},
    binary, discovery,
    exposition::{self, Given},
    labels::Source,
    target::{ScrapeTarget, TARGETS_MAX},
};
use crate::{
    metrics::Metrics,
    receive::{
        Moment, Outcome, SharedReceiver,
        observation::{Number, Reading},
    },
};

/// Samples of one answer. A node shows a few hundred series; what is refused of the others costs time too.
const SAMPLES_MAX: usize = 100_000;
/// Metrics handed over under one lock: about a millisecond.
const METRICS_PER_TURN: usize = 200;
/// How often files of targets are read.
const FILES_EVERY: Duration = Duration::from_secs(5);
/// Lines of one kind in the log come at most this often.
const REPEAT_AFTER: Duration = Duration::from_secs(60);
/// What is asked for, best first: the binary format has native histograms, and when its counters began.
const ACCEPT: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                      application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// What the settings say.
#[derive(Debug, Clone)]
pub(crate) struct ScrapeSettings {
    pub(crate) targets: Vec<ScrapeTarget>,
    pub(crate) files: Vec<PathBuf>,
    /// Of targets that state none.
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// What all targets share.
struct Scraper {
    settings: ScrapeSettings,
    receiver: SharedReceiver,
    metrics: Arc<Metrics>,
    failed: LogLimiter,
    refused: LogLimiter,
    slow: LogLimiter,
    files: LogLimiter,
}

/// Scrapes until `shutdown`.
pub(crate) async fn serve(
    settings: ScrapeSettings,
    receiver: SharedReceiver,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    let lines = || LogLimiter::new(REPEAT_AFTER);
    let limits = (LogLimiter::of(5, REPEAT_AFTER), lines(), lines(), lines());
    let (failed, refused, slow, files) = limits;
    let scraper = Arc::new(Scraper { settings, receiver, metrics, failed, refused, slow, files });
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = scraper.follow() => {}
    }
}

impl Scraper {
    /// Keeps a task for each target of the settings and the files.
    async fn follow(self: Arc<Self>) {
        // Ended with this future.
        let mut tasks = JoinSet::new();
        let mut running: HashMap<ScrapeTarget, CancellationToken> = HashMap::new();
        loop {
            let targets = self.targets().await;
            running.retain(|target, stop| {
                let stays = targets.contains(target);
                if !stays {
                    stop.cancel();
                }
                stays
            });
            for target in targets {
                if running.contains_key(&target) {
                    continue;
                }
                let (stop, scraper) = (CancellationToken::new(), Arc::clone(&self));
                running.insert(target.clone(), stop.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = scraper.target(&target) => {}
                    }
                });
            }
            self.metrics.scrape_targets.set(running.len() as f64);
            while tasks.try_join_next().is_some() {}
            if self.settings.files.is_empty() {
                std::future::pending::<()>().await;
            }
            sleep(FILES_EVERY).await;
        }
    }

    /// All targets, each once, within their bound.
    async fn targets(&self) -> Vec<ScrapeTarget> {
        let files = self.settings.files.clone();
        let found = tokio::task::spawn_blocking(move || discovery::read(&files)).await;
        let (found, mut wrong) = found.unwrap_or_else(|bug| (Vec::new(), vec![bug.to_string()]));
        let mut targets = self.settings.targets.clone();
        for target in found {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        if targets.len() > TARGETS_MAX {
            wrong.push(format!("{} targets, of which the first {TARGETS_MAX} are scraped", targets.len()));
            targets.truncate(TARGETS_MAX);
        }
        self.metrics.scrape_file_mistakes.set(wrong.len() as f64);
        if !wrong.is_empty()
            && let Some(left_out) = self.files.allow()
        {
            warn!(left_out, mistakes = wrong.join("; "), "targets in files (scrape_files)");
        }
        targets
    }

    /// Asks one target for ever.
    async fn target(&self, target: &ScrapeTarget) {
        let every = target.interval.unwrap_or(self.settings.interval);
        let within = target.timeout.unwrap_or(self.settings.timeout);
        let headers = [("accept", ACCEPT), ("accept-encoding", "gzip")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let access = Access { url: target.base.clone(), headers, credentials: target.login.credentials() };
        if target.login.is_in_the_clear(&target.base) {
            warn!(%target, "credentials go over the network in plain text: write https:// and, for a CA of your own, ca_file");
        }
        let client = match HttpClient::trusting(access, target.login.trust.clone()) {
            Ok(client) => client,
            Err(error) => {
                warn!(%target, error, "this target is not scraped");
                return;
            }
        };
        let source = Source::new(&target.url(), target.labels.clone());
        info!(%target, ?every, "scraping");
        // Spread over the interval, the same after each start: many targets do not come at once.
        let offset = every.mul_f64((source.key % 1_000) as f64 / 1_000.0);
        let mut ticks = interval_at(Instant::now() + offset, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let began = Instant::now();
            let result = self.once(&client, target, &source, within).await;
            let took = began.elapsed();
            self.metrics.scrapes.inc();
            let up = i64::from(result.is_ok());
            let mut outcome = Outcome::default();
            let given = Given::gauge("up", Number::Integer(up));
            let now = self.receiver.now();
            exposition::take_one(&mut self.receiver.lock(), &source, given, now, &mut outcome);
            self.note(target, &outcome);
            if let Err((reason, error)) = result {
                self.metrics.scrape_failed.of(reason).inc();
                if let Some(left_out) = self.failed.allow() {
                    warn!(left_out, %target, error, "a scrape failed");
                }
            }
            if took > every {
                self.metrics.scrapes_skipped.add((took.as_nanos() / every.as_nanos().max(1)) as u64);
                if let Some(left_out) = self.slow.allow() {
                    warn!(left_out, %target, ?took, ?every, "a target answers slower than it is asked: give it a longer interval");
                }
            }
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// The word used as a label, and what happened.
    async fn once(
        &self,
        client: &HttpClient,
        target: &ScrapeTarget,
        source: &Source,
        within: Duration,
    ) -> Result<(), (&'static str, String)> {
        // What the target says it has reached is as of now.
        let asked = self.receiver.now();
        let answer = client.get(&target.path, within, BODY_MAX).await.map_err(|error| {
            let reason = match &error {
                HttpError::Late(_) => "late",
                HttpError::Unreachable(_) => "unreachable",
                HttpError::Secret(_) => "secret",
                HttpError::TooLong(_) => "too_large",
            };
            (reason, error.to_string())
        })?;
        if let Some(failure) = answer.failure() {
            return Err(match target.login.advice(answer.status) {
                Some(advice) => ("denied", format!("{failure}; {advice}")),
                None => ("status", failure),
            });
        }
        let body = answer::inflated(&answer)?;
        let mut outcome = Outcome::default();
        let text;
        let mut all: Vec<Given<'_>> = Vec::new();
        let read = if answer::is_binary(&answer.headers) {
            binary::read(&body, SAMPLES_MAX, &mut outcome, |given| all.push(given))
        } else {
            text = String::from_utf8_lossy(&body);
            exposition::read(&text, SAMPLES_MAX, &mut outcome, |given, _| all.push(given))
        };
        // Durations first: what else counts the same requests is known by them.
        all.sort_by_key(|given| !matches!(given.reading, Ok(Some(Reading::Histogram(..)))));
        let mut given = all.into_iter().peekable();
        while given.peek().is_some() {
            let now = Moment { unix_ns: asked.unix_ns, ..self.receiver.now() };
            {
                let mut receiver = self.receiver.lock();
                for one in given.by_ref().take(METRICS_PER_TURN) {
                    exposition::take_one(&mut receiver, source, one, now, &mut outcome);
                }
            }
            // Gives way by the runtime's own budget, so that a large answer does not hold up the second's cut.
            tokio::task::coop::consume_budget().await;
        }
        self.note(target, &outcome);
        read.map(drop).map_err(|error| ("malformed", error))
    }

    fn note(&self, target: &ScrapeTarget, outcome: &Outcome) {
        outcome.count_in(&self.metrics.scrape_samples, &self.metrics.scrape_refused);
        let refused = outcome.refused_total();
        if refused == 0 {
            return;
        }
        self.receiver.lock().count_refused(refused);
        if let Some(left_out) = self.refused.allow() {
            warn!(left_out, %target, refused, taken = outcome.taken, detail = %outcome, "samples of a target refused");
        }
    }
}

impl Given<'_> {
    fn gauge(name: &'static str, value: Number) -> Self {
        Self {
            name: name.into(),
            unit: String::new(),
            labels: Vec::new(),
            reading: Ok(Some(Reading::Level(Some(value)))),
            start_unix_ns: 0,
            lines: 1,
        }
    }
}
