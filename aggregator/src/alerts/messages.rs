//! What notifiers need to know: episodes and what people said of them, what other aggregators told, and whose turn it is.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, anyhow};
use starling_alerts::{Episode, News, Record};
use starling_notify::{Config, Notifiers, Pulse};
use starling_proto::v1;
use starling_service::clock;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Alerts;
use crate::{
    clock::{now_ms, tick_of},
    fleet::ClusterFleet,
    ledger_task::LedgerHandle,
    membership::{Membership, State},
    metrics::Metrics,
};

/// Between two looks when nothing changes: whose turn it is may.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks while something waits until another aggregator has it.
const WAITING_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at the file.
const RELOAD_EVERY: Duration = Duration::from_secs(2);
/// The name of all messages, for whose turn it is.
const MESSAGES: &str = "messages of alerts";

/// See the module.
pub(crate) struct Messages {
    alerts: Alerts,
    notifiers: Notifiers,
    records: mpsc::Receiver<v1::AlertDelivery>,
    path: PathBuf,
    stamp: Option<SystemTime>,
    membership: Membership,
    fleet: Arc<ClusterFleet>,
    ledger: LedgerHandle,
    metrics: Arc<Metrics>,
    news: News,
    began: Instant,
}

/// Reads the file of notifiers. Blocks.
///
/// # Errors
/// Every mistake in it.
pub(crate) fn read(path: &PathBuf) -> anyhow::Result<Config> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("alerts.notify: {name} cannot be read"))?;
    Config::read(&name, &text).map_err(|mistakes| anyhow!("alerts.notify: {}", mistakes.join("; ")))
}

impl Messages {
    /// Of the file at `path`, which `notifiers` were made of.
    pub(crate) fn new(
        (alerts, path): (Alerts, PathBuf),
        (notifiers, records): (Notifiers, mpsc::Receiver<v1::AlertDelivery>),
        (membership, fleet, ledger): (Membership, Arc<ClusterFleet>, LedgerHandle),
        metrics: Arc<Metrics>,
    ) -> Self {
        let stamp = modified(&path);
        Self {
            alerts,
            notifiers,
            records,
            path,
            stamp,
            membership,
            fleet,
            ledger,
            metrics,
            news: News::default(),
            began: Instant::now(),
        }
    }

    /// Hands on what changes, until the stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let (mut changed, mut shared) = (self.alerts.changed(), self.alerts.shared());
        let mut reloaded = tokio::time::Instant::now();
        loop {
            if reloaded.elapsed() >= RELOAD_EVERY {
                reloaded = tokio::time::Instant::now();
                self.reload().await?;
            }
            let heard = *shared.borrow_and_update();
            self.hand_on(heard);
            let waits = self.news.waits();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(record) = self.records.recv() => {
                    let mut all = vec![Record::Delivery(record)];
                    while let Ok(more) = self.records.try_recv() {
                        all.push(Record::Delivery(more));
                    }
                    self.alerts.put(all);
                }
                result = changed.changed() => result?,
                result = shared.changed(), if waits => result?,
                () = tokio::time::sleep(if waits { WAITING_EVERY } else { LOOK_EVERY }) => {}
            }
        }
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        let path = self.path.clone();
        let stamp = tokio::task::spawn_blocking(move || modified(&path)).await?;
        if stamp == self.stamp {
            return Ok(());
        }
        self.stamp = stamp;
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || read(&path)).await?;
        self.alerts.set_notifiers_refused(read.is_err());
        match read {
            Ok(config) => self.notifiers.replace(&config),
            Err(error) => self.metrics.notifiers_refused(&error),
        }
        Ok(())
    }

    fn hand_on(&mut self, shared: Option<u64>) {
        let view = self.membership.view();
        let place = view.ranked(MESSAGES).iter().position(|member| member.id == view.me.id);
        let speaks = view.me.state == State::Ready && self.alerts.is_caught_up(view.is_alone(Instant::now()));
        let rank = place.filter(|_| speaks).and_then(|place| u32::try_from(place).ok());
        self.notifiers.rank(rank);
        let now = clock::millis(self.began.elapsed());
        self.news.by(&self.alerts.in_force().rules);
        let told = self.alerts.read(|book| self.news.next(book, (now, tick_of(now_ms())), shared));
        told.deliveries.iter().for_each(|delivery| self.notifiers.delivery(delivery));
        let alerts = self.alerts.shown(&self.fleet, |shown| {
            let episodes: Vec<&Episode> = told.episodes.iter().filter_map(|id| shown.book.episode(*id)).collect();
            let with_labels = |episode: &Episode| -> (v1::Alert, BTreeMap<String, String>) {
                let labels = (shown.labels)(episode.subject.name()).into_iter().collect();
                (shown.told(episode), labels)
            };
            episodes.into_iter().map(with_labels).collect::<Vec<_>>()
        });
        for (alert, labels) in alerts {
            self.notifiers.changed(alert, &labels);
        }
        self.notifiers.tick(self.pulse());
    }

    fn pulse(&self) -> Pulse {
        let judged_tick = self.alerts.judged();
        let coverage = self.ledger.view(judged_tick).map(|view| view.coverage).unwrap_or_default();
        let rules = self.alerts.in_force().rules.all().len();
        let (open, quiet) = self.alerts.shown(&self.fleet, |shown| {
            let open = shown.book.open();
            let firing = open.iter().filter(|one| one.has_fired());
            (firing.clone().count(), firing.filter(|one| shown.is_quiet(one)).count())
        });
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Pulse {
            judged_tick,
            rules: count(rules),
            open: count(open),
            quiet: count(quiet),
            nodes_reporting: coverage.reporting,
            nodes_expected: coverage.expected,
        }
    }
}

fn modified(path: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|about| about.modified()).ok()
}
