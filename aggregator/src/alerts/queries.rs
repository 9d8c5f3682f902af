//! Rules that are queries in PromQL: asked by the aggregator that judges what is merged, each in its own period and with a
//! deadline, beside the judging of seconds, which only takes what came of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use starling_alerts::{Rule, lateness::Missed, query};
use starling_proto::v1;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Alerts;
use crate::{
    catch_up::CatchUp,
    ledger_task::LedgerHandle,
    membership::{Membership, State},
    metrics::Metrics,
};

/// Queries that are asked at once: two leave room for people's questions, of which eight are answered at once.
const ASKED_MAX: usize = 2;
/// Longest time for one answer; one of a shorter period has no longer than that.
const DEADLINE: Duration = Duration::from_secs(10);
/// Characters of an error that are shown.
const ERROR_MAX: usize = 500;

/// Who answers queries.
#[tonic::async_trait]
pub(crate) trait Asks: Send + Sync {
    /// Asks what `query` comes to at second `tick`, for at most `within`, and what of it could not be read.
    ///
    /// # Errors
    /// Why there is no answer.
    async fn ask(&self, query: &str, tick: u32, within: Duration)
    -> Result<(v1::PromqlAnswer, Option<String>), String>;
}

/// What came of one evaluation.
#[derive(Debug, Clone)]
pub(super) struct Evaluated {
    /// [`Rule::fingerprint`] of the rule that asked.
    pub(super) fingerprint: u64,
    /// Which second.
    pub(super) tick: u32,
    /// The values, or why there are none.
    pub(super) answer: Result<query::Answered, String>,
}

/// How the last evaluation of a rule went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Which second was asked for.
    pub(crate) tick: u32,
    /// How long it took.
    pub(crate) took: Duration,
    /// Why it failed, or that it was late; empty when neither is so.
    pub(crate) error: String,
    /// It failed.
    pub(crate) failed: bool,
    /// Of the last evaluations so many were missed.
    pub(crate) missed: Missed,
}

/// The rule that is the latest by more than its period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Late {
    /// Its name.
    pub(super) rule: String,
    /// Seconds.
    pub(super) seconds: u32,
    /// Of its last evaluations.
    pub(super) missed: Missed,
}

/// What queries came to, until it is judged. At most one of each rule: the newest.
#[derive(Default)]
pub(super) struct Answers {
    /// Plain mutex, short sections.
    waiting: Mutex<BTreeMap<String, Evaluated>>,
    /// Plain mutex, short sections.
    standing: Mutex<BTreeMap<String, Standing>>,
    /// Plain mutex, short sections.
    late: Mutex<Option<Late>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answers {
    /// What came since the last call, by the name of the rule.
    pub(super) fn take(&self) -> BTreeMap<String, Evaluated> {
        std::mem::take(&mut lock(&self.waiting))
    }

    /// How the last evaluations went, by the name of the rule.
    pub(super) fn standing(&self) -> BTreeMap<String, Standing> {
        lock(&self.standing).clone()
    }

    /// Rules of which the last evaluation failed, by name.
    pub(super) fn failing(&self) -> Vec<String> {
        let standing = lock(&self.standing);
        standing.iter().filter(|(_, one)| one.failed).map(|(name, _)| name.clone()).collect()
    }

    /// The rule that is late the most.
    pub(super) fn late(&self) -> Option<Late> {
        lock(&self.late).clone()
    }

    fn put(&self, rule: &Rule, standing: Standing, evaluated: Evaluated) {
        lock(&self.standing).insert(rule.name.clone(), standing);
        lock(&self.waiting).insert(rule.name.clone(), evaluated);
    }

    /// Forgets rules that are not among `names`.
    fn keep(&self, names: &BTreeSet<&str>) {
        lock(&self.standing).retain(|name, _| names.contains(name.as_str()));
        lock(&self.waiting).retain(|name, _| names.contains(name.as_str()));
    }
}

/// See the module.
pub(crate) struct Queries {
    alerts: Alerts,
    asks: Arc<dyn Asks>,
    ledger: LedgerHandle,
    membership: Membership,
    catch_up: Arc<CatchUp>,
    metrics: Arc<Metrics>,
    /// The second each rule was asked for last.
    asked: HashMap<String, u32>,
    /// Of each rule what was missed of late.
    missed: HashMap<String, Missed>,
}

impl Queries {
    /// Of the rules of `alerts`, answered by `asks`.
    pub(crate) fn new(
        alerts: Alerts,
        asks: Arc<dyn Asks>,
        (ledger, membership, catch_up): (LedgerHandle, Membership, Arc<CatchUp>),
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { alerts, asks, ledger, membership, catch_up, metrics, asked: HashMap::new(), missed: HashMap::new() }
    }

    /// Asks until the stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut published = self.ledger.published();
        let mut asking: JoinSet<String> = JoinSet::new();
        let mut open: BTreeSet<String> = BTreeSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(ended) = asking.join_next() => {
                    // One that panicked: none of its kind is asked before the others have ended.
                    match ended {
                        Ok(name) => drop(open.remove(&name)),
                        Err(_) if asking.is_empty() => open.clear(),
                        Err(_) => {}
                    }
                }
                changed = published.changed() => changed?,
            }
            let settled = published.borrow_and_update().settled;
            let rules = self.alerts.in_force().rules;
            let queries: Vec<&Arc<Rule>> = rules.all().iter().filter(|rule| rule.every.is_some()).collect();
            let names: BTreeSet<&str> = queries.iter().map(|rule| rule.name.as_str()).collect();
            if !self.is_mine() {
                self.alerts.0.answers.keep(&BTreeSet::new());
                self.asked.clear();
                self.missed.clear();
                *lock(&self.alerts.0.answers.late) = None;
                continue;
            }
            self.alerts.0.answers.keep(&names);
            self.asked.retain(|name, _| names.contains(name.as_str()));
            self.missed.retain(|name, _| names.contains(name.as_str()));
            let due = due(&queries, &self.asked, settled);
            *lock(&self.alerts.0.answers.late) = latest(&due, &self.missed);
            for (rule, late) in due {
                if open.contains(&rule.name) {
                    continue;
                }
                if asking.len() >= ASKED_MAX {
                    break;
                }
                let missed = late / rule.every.unwrap_or(1).max(1);
                self.metrics.alert_queries_late.add(u64::from(missed));
                let of_late = self.missed.entry(rule.name.clone()).or_default();
                of_late.made_after(missed);
                self.asked.insert(rule.name.clone(), settled);
                open.insert(rule.name.clone());
                asking.spawn(evaluate(
                    Arc::clone(rule),
                    (settled, late, *of_late),
                    self.alerts.clone(),
                    Arc::clone(&self.asks),
                    Arc::clone(&self.metrics),
                ));
            }
        }
    }

    /// Whether this aggregator judges what is merged.
    fn is_mine(&self) -> bool {
        let view = self.membership.view();
        view.me.state == State::Ready && self.catch_up.behind().borrow().is_none() && self.alerts.is_first(&view)
    }
}

/// The rules whose time has come at second `settled`, the one that waits longest first, each with the seconds by which it is late.
fn due<'a>(queries: &[&'a Arc<Rule>], asked: &HashMap<String, u32>, settled: u32) -> Vec<(&'a Arc<Rule>, u32)> {
    let late = |rule: &'a Arc<Rule>| {
        let every = rule.every?;
        match asked.get(&rule.name) {
            Some(last) => settled.checked_sub(last.saturating_add(every)).map(|late| (rule, late)),
            None => Some((rule, 0)),
        }
    };
    let mut due: Vec<_> = queries.iter().copied().filter_map(late).collect();
    due.sort_by_key(|(_, late)| std::cmp::Reverse(*late));
    due
}

/// Asks a rule, which is late by so many seconds, and puts down what came of it. Returns its name.
async fn evaluate(
    rule: Arc<Rule>,
    (tick, late, missed): (u32, u32, Missed),
    alerts: Alerts,
    asks: Arc<dyn Asks>,
    metrics: Arc<Metrics>,
) -> String {
    let began = Instant::now();
    let within = DEADLINE.min(Duration::from_secs(rule.every.unwrap_or(1).into()));
    let asked = tokio::time::timeout(within, asks.ask(&rule.text, tick, within)).await;
    let answer = match asked {
        Err(_) => Err(format!("it was not answered within {} s", within.as_secs())),
        Ok(Err(why)) => Err(why),
        // A part of the truth is judged only by rules that want it.
        Ok(Ok((_, Some(missing)))) if !rule.on_partial.judges(0, 1) => Err(missing),
        Ok(Ok((answer, _))) => query::values(&answer),
    };
    let took = began.elapsed();
    let error = match &answer {
        Err(why) => why.chars().take(ERROR_MAX).collect(),
        Ok(_) => lateness(late, rule.every.unwrap_or(1)),
    };
    let failed = answer.is_err();
    metrics.alert_query(&rule.name, took, &error);
    let evaluated = Evaluated { fingerprint: rule.fingerprint(), tick, answer };
    alerts.0.answers.put(&rule, Standing { tick, took, error, failed, missed }, evaluated);
    rule.name.clone()
}

/// The rule of those that are `due` that is the latest by more than its period.
fn latest(due: &[(&Arc<Rule>, u32)], missed: &HashMap<String, Missed>) -> Option<Late> {
    let late = due.iter().filter(|(rule, late)| *late >= rule.every.unwrap_or(1)).max_by_key(|(_, late)| *late);
    late.map(|(rule, late)| {
        // What waits now is missed already.
        let mut missed = missed.get(&rule.name).copied().unwrap_or_default();
        missed.made_after(late / rule.every.unwrap_or(1).max(1));
        Late { rule: rule.name.clone(), seconds: *late, missed }
    })
}

/// That an evaluation came too late, in words; nothing of one that was late by less than its period.
fn lateness(late: u32, every: u32) -> String {
    if late < every {
        return String::new();
    }
    format!("it was asked {late} s late, it should be each {every} s: too many rules in PromQL, or too slow ones")
}

#[cfg(test)]
mod tests {
    use starling_alerts::Rules;

    use super::*;

    #[test]
    fn whoever_waits_longest_is_asked_first() {
        let rule = |name: &str, every: &str| {
            format!(
                "[[rule]]\nname = \"{name}\"\npromql = \"up\"\nevery = \"{every}\"\nabove = 1\nseverity = \"info\"\nsummary = \"is\"\n"
            )
        };
        let text = rule("a", "10s") + &rule("b", "1m") + &rule("c", "10s");
        let rules = Rules::read(&[("f", &text)]).unwrap();
        let queries: Vec<&Arc<Rule>> = rules.all().iter().collect();
        let names = |asked: &[(&str, u32)]| -> Vec<(String, u32)> {
            let asked = asked.iter().map(|(name, tick)| ((*name).to_owned(), *tick)).collect();
            due(&queries, &asked, 1_000).into_iter().map(|(rule, late)| (rule.name.clone(), late)).collect()
        };
        assert_eq!(names(&[]).len(), 3, "none was asked yet");
        // A49: which of them is behind is said of each.
        assert!(
            lateness(9, 10).is_empty()
                && lateness(10, 10).starts_with("it was asked 10 s late, it should be each 10 s")
        );
        let of = |name: &str, late| (name.to_owned(), late);
        assert_eq!(names(&[("a", 991), ("b", 930), ("c", 985)]), [of("b", 10), of("c", 5)]);
        let late = |asked: &[(&str, u32)]| {
            let asked = asked.iter().map(|(name, tick)| ((*name).to_owned(), *tick)).collect();
            let mut missed = Missed::default();
            (0..57).for_each(|_| missed.made_after(0));
            latest(&due(&queries, &asked, 1_000), &HashMap::from([("c".to_owned(), missed)]))
        };
        assert_eq!(late(&[("a", 991), ("b", 930), ("c", 985)]), None, "late by less than their periods");
        let found = late(&[("a", 991), ("b", 930), ("c", 965)]).unwrap();
        assert_eq!((found.rule.as_str(), found.seconds, found.missed.text().as_str()), ("c", 25, "2 of 60 missed"));
    }
}
