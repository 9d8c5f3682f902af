//! The desk with a clock and the network.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use starling_proto::v1::{Alert, AlertDelivery};
use starling_service::clock;
use tokio::{
    sync::{Notify, mpsc},
    task::{Id, JoinError, JoinSet},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, Plan},
    desk::{Action, DeadLetter, Desk, Outcome},
    encode::Speaker,
    heartbeat::{Heartbeat, Pulse},
    message::Message,
    metrics::Metrics,
    send,
    settings::Kind,
};

/// The desk is asked so often; what changes is looked at at once.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Records that wait to be replicated: those of 500 episodes at 8 notifiers. One that finds no place is lost and counted; what
/// it says may then be said again by another aggregator, with the same key.
const RECORDS_MAX: usize = 4_096;
/// What is on its way at the end may take so long.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What may change while it runs.
struct State {
    desk: Desk,
    heartbeats: HashMap<Arc<str>, Heartbeat>,
    speaker: Arc<Speaker>,
    /// Heartbeats come from rank 0 only.
    rank: Option<u32>,
    pulse: Pulse,
}

/// Notifiers of one aggregator. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Notifiers {
    /// Held for short sections without waiting.
    state: Arc<Mutex<State>>,
    wake: Arc<Notify>,
    records: mpsc::Sender<AlertDelivery>,
    metrics: Metrics,
    began: (u64, Instant),
}

impl std::fmt::Debug for Notifiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifiers").finish_non_exhaustive()
    }
}

impl Notifiers {
    /// Of a cluster and an aggregator, by their names. The records that come out are for the other aggregators and for the
    /// next start of this one.
    #[must_use]
    pub fn new(
        config: &Config,
        cluster: &str,
        aggregator: &str,
        metrics: Metrics,
    ) -> (Self, mpsc::Receiver<AlertDelivery>) {
        let (records, receiver) = mpsc::channel(RECORDS_MAX);
        let began = (clock::unix_ms(), Instant::now());
        let speaker = Speaker {
            cluster: cluster.to_owned(),
            aggregator: aggregator.to_owned(),
            page_url: config.page_url.clone(),
        };
        let state = State {
            desk: Desk::new(Arc::new(Plan::new(config)), began.0),
            heartbeats: HashMap::new(),
            speaker: Arc::new(speaker),
            rank: None,
            pulse: Pulse::default(),
        };
        (Self { state: Arc::new(Mutex::new(state)), wake: Arc::default(), records, metrics, began }, receiver)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since 1970 of a clock that never steps.
    fn now(&self) -> u64 {
        self.began.0 + clock::millis(self.began.1.elapsed())
    }

    /// Puts another file in force.
    pub fn replace(&self, config: &Config) {
        let mut state = self.state();
        let speaker = Speaker { page_url: config.page_url.clone(), ..(*state.speaker).clone() };
        state.speaker = Arc::new(speaker);
        state.desk.replace(Arc::new(Plan::new(config)));
        self.wake.notify_one();
    }

    /// The place of this aggregator among those that judge: 0 speaks at once, others wait for it. `None`: it does not judge,
    /// or has not settled yet.
    pub fn rank(&self, rank: Option<u32>) {
        let mut state = self.state();
        state.rank = rank;
        state.desk.rank(rank);
    }

    /// An episode fired, changed its severity or ended, is acknowledged or silenced, or no longer so. Values that change may
    /// come too: what is said later has the newest.
    pub fn changed(&self, alert: Alert, node_labels: &BTreeMap<String, String>) {
        self.state().desk.changed(alert, node_labels);
        self.wake.notify_one();
    }

    /// Another second was judged.
    pub fn tick(&self, pulse: Pulse) {
        let mut state = self.state();
        state.desk.judged(pulse.judged_tick);
        state.pulse = pulse;
    }

    /// A record of another aggregator, or one that this one kept.
    pub fn delivery(&self, record: &AlertDelivery) {
        self.state().desk.delivery(record);
    }

    /// All dead letters.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.state().desk.dead_letters().cloned().collect()
    }

    /// Sends the dead letter `id` of a notifier again, or all of them. Returns how many there were.
    #[must_use]
    pub fn resend(&self, notifier: &str, id: Option<u64>) -> usize {
        let count = {
            let desk = &mut self.state().desk;
            let own = |letter: &&DeadLetter| letter.notifier == notifier && id.is_none_or(|id| letter.id == id);
            let ids: Vec<u64> = desk.dead_letters().filter(own).map(|letter| letter.id).collect();
            ids.into_iter().filter(|id| desk.resend(notifier, *id)).count()
        };
        if count > 0 {
            self.metrics.resent(notifier, count);
        }
        self.wake.notify_one();
        count
    }

    /// Names of the notifiers, and whether each works: failures in a row.
    #[must_use]
    pub fn names(&self) -> Vec<(String, u32)> {
        let state = self.state();
        let names = state.desk.plan().notifiers.iter().enumerate();
        names.map(|(n, one)| (one.name.to_string(), state.desk.failures(n))).collect()
    }

    /// Sends a message that says it is a test.
    ///
    /// # Errors
    /// What went wrong, or that there is no notifier of that name.
    pub async fn test(&self, name: &str) -> Result<(), String> {
        let (notifier, speaker, pulse) = {
            let state = self.state();
            let found = state.desk.plan().notifiers.iter().find(|one| *one.name == *name).cloned();
            (found.ok_or_else(|| format!("there is no notifier {name:?}"))?, state.speaker.clone(), state.pulse)
        };
        let outcome = if notifier.settings.kind == Kind::Heartbeat {
            send::heartbeat(&notifier, pulse, &speaker).await
        } else {
            let (id, begin_until) = (self.now(), u64::MAX);
            let test =
                Message { id, notifier: 0, items: Vec::new(), group: None, attempts: 0, test: true, begin_until };
            send::message(&notifier, &test, &speaker).await
        };
        self.metrics.outcome(name, &outcome, 0);
        match outcome {
            Outcome::Accepted => Ok(()),
            Outcome::Retry { what, .. } | Outcome::Refused(what) => Err(what),
            Outcome::Stale => Err("this aggregator slept meanwhile".to_owned()),
        }
    }

    /// Runs until `stop`. What is on its way then is waited for a little while.
    pub async fn run(self, stop: CancellationToken) {
        let mut sending = Sending::default();
        let mut timer = tokio::time::interval(LOOK_EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = sending.tasks.join_next_with_id() => self.ended(&mut sending, ended),
                () = self.wake.notified() => {}
                _ = timer.tick() => {}
            }
            self.step(&mut sending);
        }
        let last_words = async {
            while let Some(ended) = sending.tasks.join_next_with_id().await {
                self.ended(&mut sending, ended);
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
        let now = self.now();
        self.state().desk.rank(None);
        let actions = self.state().desk.poll(now);
        self.records_of(actions.into_iter().filter_map(|action| match action {
            Action::Record(record) => Some(record),
            Action::Send(_) => None,
        }));
    }

    fn records_of(&self, records: impl Iterator<Item = AlertDelivery>) {
        for record in records {
            if self.records.try_send(record).is_err() {
                self.metrics.records_dropped.inc();
            }
        }
    }

    /// Does what is to be done now.
    fn step(&self, sending: &mut Sending) {
        let now = self.now();
        let (actions, beats, plan, speaker) = {
            let mut state = self.state();
            let actions = state.desk.poll(now);
            let beats = state.beats(now);
            self.stands(&mut state.desk);
            (actions, beats, state.desk.plan().clone(), state.speaker.clone())
        };
        for action in actions {
            match action {
                Action::Record(record) => self.records_of(std::iter::once(record)),
                Action::Send(message) => {
                    let Some(notifier) = plan.notifiers.get(message.notifier).cloned() else { continue };
                    let (speaker, clock, id, name) = (speaker.clone(), self.clone(), message.id, notifier.name.clone());
                    let task = async move {
                        // This process slept: what the message says may be old.
                        if clock.now() > message.begin_until {
                            return Outcome::Stale;
                        }
                        send::message(&notifier, &message, &speaker).await
                    };
                    let task = sending.tasks.spawn(task).id();
                    sending.messages.insert(task, (name, Some(id)));
                }
            }
        }
        for (n, pulse) in beats {
            let Some(notifier) = plan.notifiers.get(n).cloned() else { continue };
            let (speaker, name) = (speaker.clone(), notifier.name.clone());
            let task = sending.tasks.spawn(async move { send::heartbeat(&notifier, pulse, &speaker).await }).id();
            sending.messages.insert(task, (name, None));
        }
    }

    /// A message came to its end.
    fn ended(&self, sending: &mut Sending, ended: Result<(Id, Outcome), JoinError>) {
        let (task, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // A panic is in the log.
                (error.id(), Outcome::Retry { what: "the sender failed".to_owned(), after: None, slower: false })
            }
        };
        let Some((name, message)) = sending.messages.remove(&task) else { return };
        let now = self.now();
        let mut state = self.state();
        let place = state.desk.plan().notifiers.iter().position(|one| one.name == name);
        self.metrics.outcome(&name, &outcome, place.map_or(0, |n| state.desk.failures(n)));
        if let Some(id) = message {
            state.desk.outcome(id, outcome, now, rand::random());
        }
    }

    fn stands(&self, desk: &mut Desk) {
        let plan = desk.plan().clone();
        for (n, notifier) in plan.notifiers.iter().enumerate() {
            let counts = desk.take_counts(n);
            self.metrics.stands(&notifier.name, (desk.queued(n), desk.letters(n), desk.failures(n)), counts);
        }
        self.metrics.left_out.add(desk.take_left_out());
    }
}

impl State {
    /// Heartbeats that are due: the places of their notifiers.
    fn beats(&mut self, now: u64) -> Vec<(usize, Pulse)> {
        let mut beats = Vec::new();
        let plan = self.desk.plan().clone();
        let hearts = plan.notifiers.iter().enumerate().filter(|(_, one)| one.settings.kind == Kind::Heartbeat);
        for (n, notifier) in hearts {
            let heart = self.heartbeats.entry(notifier.name.clone()).or_default();
            heart.judged(self.pulse, now);
            if self.rank == Some(0)
                && let Some(pulse) = heart.beat(notifier.settings.every.as_millis() as u64, now)
            {
                beats.push((n, pulse));
            }
        }
        self.heartbeats.retain(|name, _| plan.notifiers.iter().any(|one| one.name == *name));
        beats
    }
}

/// Messages on their way.
#[derive(Default)]
struct Sending {
    tasks: JoinSet<Outcome>,
    /// By task: the notifier, and the message unless it is a heartbeat.
    messages: HashMap<Id, (Arc<str>, Option<u64>)>,
}

#[cfg(test)]
mod tests;
