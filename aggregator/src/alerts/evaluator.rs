//! The part that judges: brings every settled second, the nodes whose stream is here and who is to take care of what to the
//! rules ([`Evaluation`]), and writes down which episodes changed.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, OnceLock, atomic::Ordering},
    time::{Duration, Instant},
};

use starling_alerts::{
    Answer, Episode, Evaluation, Now, Scope,
    blind::{Blind, LATELY},
    facts,
    lateness::Missed,
    words,
};
use starling_ledger::{Ledger, NodeStatus};
use starling_proto::{catalogue::Unit, group::Group, ids::WriterId, series::Series};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Alerts, Files,
    around::{Around, Parts, names},
    queries::Evaluated,
};
use crate::{
    clock::{now_ms, tick_of},
    ingest::IngestNode,
    membership::{Member, MembershipView, State},
    reading::{Reading, Shortlists},
};

/// Between two looks at the files of rules.
const RELOAD_EVERY: Duration = Duration::from_secs(2);
/// Between two writings of the records, when values changed only.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// Seconds behind from which on it is measured which rule takes the time.
const MEASURED_FROM: u32 = 2;
/// Names in one text.
const NAMES_MAX: usize = 5;

/// See the module.
pub(crate) struct Evaluator {
    alerts: Alerts,
    files: Files,
    parts: Parts,
    evaluation: Evaluation,
    /// Names that some rule reads.
    wanted: Arc<HashSet<String>>,
    /// Where those stand in what a node sends.
    shortlists: Shortlists,
    /// Those that some rule reads of groups.
    of_groups: HashSet<String>,
    lost: usize,
    blind: Blind,
    /// Those that lost all their nodes at once, with the second in which that was known here.
    blinded: BTreeMap<WriterId, u32>,
    missed: Missed,
    /// Which rule took most of the time of a second that was judged late.
    dearest: String,
}

impl Evaluator {
    /// Judges by the rules of `alerts`, which are read again from `files`.
    pub(crate) fn new(alerts: Alerts, files: Files, parts: Parts) -> Self {
        let rules = alerts.in_force().rules;
        let (wanted, of_groups) = (Arc::new(names(&rules, None)), names(&rules, Some(Scope::Group)));
        Self {
            alerts,
            files,
            parts,
            evaluation: Evaluation::new((*rules).clone()),
            wanted,
            shortlists: Shortlists::default(),
            of_groups,
            lost: 0,
            blind: Blind::default(),
            blinded: BTreeMap::new(),
            missed: Missed::default(),
            dearest: String::new(),
        }
    }

    /// Judges until the stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut published = self.parts.ledger.published();
        let (mut reloaded, mut saved) = (Instant::now(), Instant::now());
        let (mut saved_revision, mut saving) = (0, JoinSet::new());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = published.changed() => changed?,
            }
            let settled = published.borrow_and_update().settled;
            let view = self.parts.membership.view();
            // Nobody is judged by a picture that is not whole.
            let is_whole = self.parts.catch_up.behind().borrow().is_none()
                && self.alerts.is_caught_up(view.is_alone(Instant::now()));
            // To a clock that is wrong all nodes are silent, or far ahead.
            let is_off = self.alerts.skew(&view.me.id).off.iter().any(|name| name == view.me.id.as_str());
            if view.me.state != State::Ready || !is_whole || is_off {
                self.evaluation.rest(settled);
                continue;
            }
            let Ok(nodes) = self.parts.ledger.ask(Ledger::nodes).await else { break };
            let (seconds, missed) = self.evaluation.due(settled);
            self.parts.metrics.alerts_missed.add(missed.into());
            let reload = reloaded.elapsed() >= RELOAD_EVERY;
            self = tokio::task::spawn_blocking(move || {
                if reload {
                    self.reload(settled);
                }
                self.see(&nodes, &view, settled);
                for (at, tick) in seconds.enumerate() {
                    let began = Instant::now();
                    self.missed.made_after(if at == 0 { missed } else { 0 });
                    self.judge(tick, &view);
                    self.parts.metrics.alerts_evaluation.record(began.elapsed());
                }
                self
            })
            .await?;
            if reload {
                reloaded = Instant::now();
            }
            // Beside the judging: a disk that hangs must not end that.
            while saving.try_join_next().is_some() {}
            let revision = *self.alerts.changed().borrow();
            if saving.is_empty() && saved.elapsed() >= SAVE_EVERY && revision != saved_revision {
                (saved, saved_revision) = (Instant::now(), revision);
                let alerts = self.alerts.clone();
                saving.spawn_blocking(move || drop(alerts.save()));
            }
        }
        let alerts = self.alerts.clone();
        // A failure is counted.
        let _ = tokio::task::spawn_blocking(move || alerts.save()).await?;
        Ok(())
    }

    fn reload(&mut self, tick: u32) {
        let before = self.alerts.in_force();
        let Some(next) = self.files.again(&before, tick) else { return };
        self.parts.metrics.alert_rules(&next.rules, &next.mistakes);
        if next.rules.fingerprint() != before.rules.fingerprint() || next.rules != before.rules {
            let ended = self.evaluation.replace((*next.rules).clone(), tick);
            self.wanted = Arc::new(names(&next.rules, None));
            self.shortlists = Shortlists::default();
            self.of_groups = names(&next.rules, Some(Scope::Group));
            self.write(ended, tick);
        }
        self.alerts.set_in_force(next);
    }

    /// Takes note of who is there.
    fn see(&mut self, nodes: &[NodeStatus], view: &MembershipView, settled: u32) {
        let now = Instant::now();
        self.lost = view.listed.iter().filter(|listed| listed.is_lost(now)).count();
        let expected = nodes.iter().filter(|status| !status.ended).count();
        let nodes = nodes.iter().map(|status| (&status.node, status.last_tick, status.ended));
        self.evaluation.see(nodes, self.lost, settled);
        self.see_blind(expected, view, settled);
        self.alerts.book().expire(tick_of(now_ms()));
    }

    /// Takes note of who lost all its nodes at once, of `expected` anywhere.
    fn see_blind(&mut self, expected: usize, view: &MembershipView, settled: u32) {
        let Parts { registry, fleet, .. } = &self.parts;
        let connected = registry.connected_len();
        let now = tick_of(now_ms());
        let is_lost = |node: &Arc<IngestNode>| {
            let (connected, stopped) = node.presence();
            let lately = node.latest().is_some_and(|latest| latest.second.tick.saturating_add(LATELY) > now);
            !connected && !stopped && lately && !fleet.is_held_elsewhere(&node.id, now, LATELY)
        };
        let lost = if connected > 0 { 0 } else { registry.all().iter().filter(|node| is_lost(node)).count() };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let own = self.blind.see(count(connected), count(expected), count(lost));
        self.alerts.0.blind.store(own, Ordering::Relaxed);
        let others = view.others.iter().filter(|member| member.blind > 0);
        let all: HashSet<WriterId> = others.chain((own > 0).then_some(&view.me)).map(|member| member.writer).collect();
        self.blinded.retain(|writer, _| all.contains(writer));
        for writer in all {
            self.blinded.entry(writer).or_insert(settled);
        }
    }

    fn judge(&mut self, tick: u32, view: &MembershipView) {
        let recent = self.alerts.read(|book| book.recent(tick));
        let Some(second) = self.parts.ledger.view(tick) else { return };
        let coverage = (second.coverage.reporting, second.coverage.expected);
        let names = Arc::clone(&self.wanted);
        let wanted = |series: &Series| names.contains(series.name());
        let (cells, _) = second.sums.some(&Group::cluster(), wanted);
        let reading = Reading::of_cells(cells.iter().map(|(series, cell)| (series, cell)));
        let answer = |(rule, Evaluated { fingerprint, tick, answer })| Answer { rule, fingerprint, tick, answer };
        let lag = self.parts.ledger.published().borrow().settled.saturating_sub(tick);
        let (facts, details) = self.cluster_facts(view, lag);
        let now = Now {
            tick,
            coverage,
            first: self.alerts.is_first(view),
            values: &reading,
            facts,
            details,
            answers: self.alerts.0.answers.take().into_iter().map(answer).collect(),
        };
        let sources = Around {
            parts: &self.parts,
            view,
            second: &second,
            wanted: &self.wanted,
            shortlists: &self.shortlists,
            of_groups: &self.of_groups,
            now: tick_of(now_ms()),
            blinded: &self.blinded,
        };
        self.evaluation.measure((lag >= MEASURED_FROM).then_some(nanos));
        let changed = self.evaluation.judge(&now, &recent, &sources);
        if lag >= MEASURED_FROM {
            let dearest = self.evaluation.dearest();
            self.dearest = dearest.map_or_else(String::new, |(rule, part)| {
                format!("rule {rule} takes {} of the time", words::value(part, Unit::Share))
            });
        }
        self.write(changed, tick);
        self.alerts.0.judged.store(tick, Ordering::Relaxed);
    }

    /// What is known of the cluster, and whom or what that is about, when the second that is judged lies `lag` back.
    fn cluster_facts(
        &self,
        view: &MembershipView,
        lag: u32,
    ) -> (BTreeMap<&'static str, f64>, BTreeMap<&'static str, String>) {
        let ready: Vec<&Member> = view.everybody().filter(|member| member.state == State::Ready).collect();
        let count = u32::try_from(ready.len()).unwrap_or(u32::MAX);
        let name = |member: &Member| member.id.to_string();
        // One that never had a peer lacks none.
        let missing =
            if self.lost > 0 || !view.others.is_empty() { self.parts.copies.saturating_sub(count) } else { 0 };
        let paused = ready.iter().filter(|member| self.parts.keeps_history && !member.on_disk);
        let paused: Vec<String> = paused.map(|member| name(member)).collect();
        let own = self.alerts.is_refused().then_some(&view.me);
        let refused: Vec<String> = view.others.iter().filter(|member| member.refused).chain(own).map(name).collect();
        let ending: Vec<String> = view.everybody().filter(|member| member.ending).map(name).collect();
        let notifiers: Vec<String> =
            self.alerts.read(|book| book.notifiers_failing(now_ms()).into_iter().map(str::to_owned).collect());
        let now = Instant::now();
        let lost = view.listed.iter().filter(|listed| listed.is_lost(now)).map(|listed| name(&listed.member));
        let lost = some_of(&lost.collect::<Vec<_>>());
        let own = self.alerts.blind();
        let blind = view.others.iter().map(|member| (member, member.blind)).chain([(&view.me, own)]);
        let blind: Vec<String> = blind
            .filter(|(_, lost)| *lost > 0)
            .map(|(member, lost)| format!("{} (had {lost} nodes)", member.id))
            .collect();
        let failing = self.alerts.0.answers.failing();
        let skew = self.alerts.skew(&view.me.id);
        let (late, of_late) = self.lateness(lag);
        let facts = BTreeMap::from([
            (facts::CLUSTER_LOST, self.lost as f64),
            (facts::CLUSTER_PARTITION, f64::from(u8::from(view.suspects_partition))),
            (facts::CLUSTER_COPIES, f64::from(missing)),
            (facts::CLUSTER_STORES, paused.len() as f64),
            (facts::CLUSTER_CERTIFICATES, ending.len() as f64),
            (facts::CLUSTER_CLOCKS, skew.seconds),
            (facts::CLUSTER_BLIND, blind.len() as f64),
            (facts::CLUSTER_DISPUTED, self.parts.ledger.disputed() as f64),
            (facts::CLUSTER_RULES, f64::from(u8::from(!refused.is_empty()))),
            (facts::CLUSTER_LAG, f64::from(late)),
            (facts::CLUSTER_QUERIES, failing.len() as f64),
            (facts::CLUSTER_NOTIFIERS, notifiers.len() as f64),
        ]);
        let details = BTreeMap::from([
            (facts::CLUSTER_LOST, lost.clone()),
            (facts::CLUSTER_PARTITION, lost),
            (facts::CLUSTER_STORES, some_of(&paused)),
            (facts::CLUSTER_CERTIFICATES, some_of(&ending)),
            (facts::CLUSTER_CLOCKS, skew.text),
            (facts::CLUSTER_BLIND, some_of(&blind)),
            (facts::CLUSTER_RULES, some_of(&refused)),
            (facts::CLUSTER_LAG, of_late),
            (facts::CLUSTER_QUERIES, some_of(&failing)),
            (facts::CLUSTER_NOTIFIERS, some_of(&notifiers)),
        ]);
        (facts, details)
    }

    /// By how many seconds rules are late, and which: those that are judged each second, or the query that is the latest.
    fn lateness(&self, lag: u32) -> (u32, String) {
        match self.alerts.0.answers.late().filter(|late| late.seconds > lag) {
            Some(late) => (late.seconds, format!("rule {}, {}", late.rule, late.missed.text())),
            None if self.dearest.is_empty() => (lag, self.missed.text()),
            None => (lag, format!("{}, {}", self.dearest, self.missed.text())),
        }
    }

    /// Writes down what changed.
    fn write(&self, changed: Vec<Episode>, tick: u32) {
        let origin = self.parts.membership.view().me.id.to_string();
        let written = self.alerts.read(|book| starling_alerts::records(changed, book, (tick, now_ms()), &origin));
        for episode in &written.transitions {
            self.parts.metrics.alert_transition(episode);
        }
        if !written.records.is_empty() {
            self.alerts.put(written.records);
        }
        let open = self.alerts.read(|book| book.open().iter().filter(|one| one.has_fired()).count());
        self.parts.metrics.alerts_open.set(open as f64);
        self.parts.metrics.alerts_left_out.set(self.evaluation.left_out() as f64);
    }
}

/// Some of them by name.
fn some_of(names: &[String]) -> String {
    let named = names.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_MAX { format!("{named} and {} more", names.len() - NAMES_MAX) } else { named }
}

/// Nanoseconds since the first call.
fn nanos() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGAN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}
