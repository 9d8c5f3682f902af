//! The part that judges. Every settled second it judges the nodes whose stream is here, those silent nodes and what is merged
//! of which this aggregator is the first to take care, and writes down which episodes changed.
//!
//! What is merged is judged by every aggregator, so that whoever takes it over has looked back as far as rules want; only
//! what the first one finds is written down.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use starling_alerts::{Board, Episode, Outcome, Record, Second, Subject, Whole, facts};
use starling_ledger::{Ledger, NodeStatus};
use starling_proto::{catalogue, group::Group, ids::NodeId, series::Series};
use tokio_util::sync::CancellationToken;

use super::{Alerts, Files, MERGED, queries::Evaluated, sight::Sight};
use crate::{
    catch_up::CatchUp,
    clock::{now_ms, tick_of},
    fleet::ClusterFleet,
    ingest::Registry,
    ledger_task::LedgerHandle,
    membership::{Membership, MembershipView, State},
    metrics::Metrics,
    reading::Reading,
};

/// Seconds that are judged one after another after a pause; older ones are missed, and counted.
const BEHIND_MAX: u32 = 30;
/// Between two looks at the files of rules.
const RELOAD_EVERY: Duration = Duration::from_secs(2);
/// Between two writings of the records, when values changed only.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// Seconds after the start, and after an aggregator was lost, before which no node counts as silent: they look for another
/// aggregator meanwhile.
const GRACE: u32 = 5;
/// Seconds a silent node is judged; then it is forgotten.
const SILENT_KEPT: u32 = 7 * 86_400;
/// Seconds between two records of an episode of which only the value changes.
const VALUE_EVERY: u32 = 5;

/// What is judged, and who knows it.
pub(crate) struct Parts {
    /// Settled seconds.
    pub(crate) ledger: LedgerHandle,
    /// Nodes whose stream is here.
    pub(crate) registry: Arc<Registry>,
    /// Nodes anywhere.
    pub(crate) fleet: Arc<ClusterFleet>,
    /// Who takes care of what.
    pub(crate) membership: Membership,
    /// Whether it answers yet.
    pub(crate) catch_up: Arc<CatchUp>,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Frames are wanted on so many aggregators.
    pub(crate) copies: u32,
    /// History is kept here.
    pub(crate) keeps_history: bool,
}

/// A node as it was seen last.
#[derive(Debug, Clone, Copy)]
struct Known {
    last_tick: u32,
    ended: bool,
    /// The second of it that was judged last.
    taken: u32,
}

/// See the module.
pub(crate) struct Evaluator {
    alerts: Alerts,
    files: Files,
    parts: Parts,
    board: Board,
    /// Names that some rule reads.
    wanted: Arc<HashSet<String>>,
    known: HashMap<NodeId, Known>,
    /// The nodes and groups that were judged in the second before.
    mine: HashSet<Subject>,
    /// What is merged was written down from here in the second before.
    first: bool,
    /// No node counts as silent for the time before this second.
    grace: u32,
    lost: usize,
}

impl Evaluator {
    /// Judges by the rules of `alerts`, which are read again from `files`.
    pub(crate) fn new(alerts: Alerts, files: Files, parts: Parts) -> Self {
        let rules = alerts.in_force().rules;
        let wanted = Arc::new(names(&rules));
        Self {
            alerts,
            files,
            parts,
            board: Board::new((*rules).clone()),
            wanted,
            known: HashMap::new(),
            mine: HashSet::new(),
            first: false,
            grace: 0,
            lost: 0,
        }
    }

    /// Judges until the stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut published = self.parts.ledger.published();
        let (mut reloaded, mut saved) = (Instant::now(), Instant::now());
        let (mut last, mut saved_revision) = (0u32, 0);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = published.changed() => changed?,
            }
            let settled = published.borrow_and_update().settled;
            let view = self.parts.membership.view();
            // Nobody is judged by a picture that is not whole.
            if view.me.state != State::Ready || self.parts.catch_up.behind().borrow().is_some() {
                last = settled;
                self.grace = settled + GRACE;
                continue;
            }
            if last == 0 {
                last = settled.saturating_sub(1);
                self.grace = settled + GRACE;
            }
            let Ok(nodes) = self.parts.ledger.ask(Ledger::nodes).await else { break };
            let from = last.saturating_add(1).max(settled.saturating_sub(BEHIND_MAX));
            self.parts.metrics.alerts_missed.add(from.saturating_sub(last.saturating_add(1)).into());
            let reload = reloaded.elapsed() >= RELOAD_EVERY;
            let save = saved.elapsed() >= SAVE_EVERY;
            (self, saved_revision) = tokio::task::spawn_blocking(move || {
                if reload {
                    self.reload(settled);
                }
                self.see(&nodes, &view, settled);
                for tick in from..=settled {
                    let began = Instant::now();
                    self.judge(tick, settled, &view);
                    self.parts.metrics.alerts_evaluation.record(began.elapsed());
                }
                let revision = *self.alerts.changed().borrow();
                if save && revision != saved_revision {
                    self.alerts.save();
                    return (self, revision);
                }
                (self, saved_revision)
            })
            .await?;
            last = settled;
            if reload {
                reloaded = Instant::now();
            }
            if save {
                saved = Instant::now();
            }
        }
        let alerts = self.alerts.clone();
        tokio::task::spawn_blocking(move || alerts.save()).await?;
        Ok(())
    }

    fn reload(&mut self, tick: u32) {
        let before = self.alerts.in_force();
        let Some(next) = self.files.again(&before, tick) else { return };
        self.parts.metrics.alert_rules(&next.rules, &next.mistakes);
        if next.rules.fingerprint() != before.rules.fingerprint() || next.rules != before.rules {
            let ended = self.board.replace((*next.rules).clone(), tick);
            self.wanted = Arc::new(names(&next.rules));
            self.alerts.put(ended.into_iter().filter(|one| self.mine.contains(&one.subject)).map(Record::Episode));
        }
        self.alerts.set_in_force(next);
    }

    /// Takes note of who is there.
    fn see(&mut self, nodes: &[NodeStatus], view: &MembershipView, settled: u32) {
        for status in nodes {
            let known = Known { last_tick: status.last_tick, ended: status.ended, taken: 0 };
            let held = self.known.entry(status.node.clone()).or_insert(known);
            if known.last_tick >= held.last_tick {
                *held = Known { taken: held.taken, ..known };
            }
        }
        // Once what is open of it has ended.
        self.known.retain(|_, known| known.last_tick.saturating_add(SILENT_KEPT + BEHIND_MAX) > settled);
        let now = Instant::now();
        let lost = view.listed.iter().filter(|listed| listed.is_lost(now)).count();
        if lost > self.lost {
            self.grace = settled + GRACE;
        }
        self.lost = lost;
        self.alerts.book().expire(tick_of(now_ms()));
    }

    fn judge(&mut self, tick: u32, settled: u32, view: &MembershipView) {
        let open: Vec<Episode> = self.alerts.read(|book| book.open().into_iter().cloned().collect());
        self.adopt(&open);
        let firing = |rule: &str| open.iter().filter(|one| one.has_fired() && one.rule == rule).count() as f64;
        let Some(second) = self.parts.ledger.view(tick) else { return };
        let coverage = (second.coverage.reporting, second.coverage.expected);
        let names = Arc::clone(&self.wanted);
        let wanted = |series: &Series| names.contains(series.name());
        let (cells, _) = second.sums.some(&Group::cluster(), wanted);
        let reading = Reading::of_cells(cells.iter().map(|(series, cell)| (series, cell)));
        let mut cluster = Sight { reading: Some(reading), facts: self.cluster_facts(view, coverage, settled - tick) };
        let mut mine = HashSet::new();
        let mut changed = Vec::new();
        let silent = self.judge_nodes((tick, coverage), view, &cluster, &firing, (&mut mine, &mut changed));
        cluster.facts.insert(facts::CLUSTER_SILENT, f64::from(silent));
        let first = view.is_first(MERGED);
        if first && !self.first {
            self.board.begin_again(|subject| subject.scope() != starling_alerts::Scope::Node);
            open.iter().filter(|one| one.subject.node().is_none()).for_each(|one| self.board.adopt(one));
        }
        self.first = first;
        let whole = Whole { values: None, firing: &firing };
        let of = Second { tick, subject: &Subject::Cluster, values: Some(&cluster), coverage };
        let mut of_merged = self.board.judge(&of, &whole);
        // Reading a group costs as much as reading the cluster: only where a rule asks for it.
        let judges_groups = self.board.rules().all().iter().any(|rule| rule.scope == starling_alerts::Scope::Group);
        let groups = if judges_groups { self.parts.fleet.groups() } else { Vec::new() };
        for group in groups {
            let (cells, census) = second.sums.some(&group, wanted);
            let nodes = self.parts.fleet.coverage(&group, tick, second.coverage, census.frames());
            let reading = Reading::of_cells(cells.iter().map(|(series, cell)| (series, cell)));
            let sight = Sight { reading: Some(reading), facts: BTreeMap::new() };
            let subject = Subject::Group(group);
            let coverage = (nodes.reporting, nodes.expected);
            let of = Second { tick, subject: &subject, values: Some(&sight), coverage };
            of_merged.extend(self.board.judge(&of, &whole));
        }
        let answers = self.alerts.0.answers.take();
        if first {
            mine.insert(Subject::Cluster);
            changed.extend(of_merged);
            changed.extend(answers.into_iter().flat_map(|(rule, answer)| self.answered(&rule, answer, coverage)));
        }
        // Others take care of those from now on: what is open stays as it is.
        for gone in self.mine.difference(&mine).filter(|subject| subject.node().is_some()) {
            self.board.hand_over(gone);
        }
        self.mine = mine;
        self.write(changed, tick);
        self.alerts.0.judged.store(tick, Ordering::Relaxed);
    }

    /// Judges the nodes of which this aggregator takes care. Returns how many expected nodes are silent anywhere.
    fn judge_nodes(
        &mut self,
        (tick, coverage): (u32, (u32, u32)),
        view: &MembershipView,
        cluster: &Sight<'_>,
        firing: &dyn Fn(&str) -> f64,
        (mine, changed): (&mut HashSet<Subject>, &mut Vec<Episode>),
    ) -> u32 {
        let mut silent = 0;
        let now = tick_of(now_ms());
        let mut all = std::mem::take(&mut self.known);
        for (node, known) in &mut all {
            let subject = Subject::Node(node.clone());
            let own = self.parts.registry.get(node);
            let latest = own.as_ref().and_then(|own| own.latest());
            let connected = own.as_ref().is_some_and(|own| own.presence().0);
            let last = known.last_tick.max(latest.as_ref().map_or(0, |latest| latest.second.tick));
            let quiet = tick.saturating_sub(last.max(self.grace));
            silent += u32::from(!known.ended && quiet > 3);
            if !connected && !self.takes_care(node, view) {
                continue;
            }
            let over = match () {
                () if known.ended && !connected => Some(Outcome::Left),
                () if last.saturating_add(SILENT_KEPT) <= tick => Some(Outcome::Forgotten),
                () => None,
            };
            if let Some(outcome) = over {
                changed.extend(self.board.forget(&subject, tick, outcome));
                continue;
            }
            let about = own.as_ref().map(|own| own.about());
            let clash = self.parts.registry.clashes().of(node.as_str(), now).is_some();
            let faults = about.as_ref().map_or(0, |about| about.collector_faults.len());
            let refused = about.as_ref().is_some_and(|about| !about.silent_reason.is_empty());
            let facts = BTreeMap::from([
                (facts::NODE_SILENT, f64::from(quiet)),
                (facts::NODE_CLASH, f64::from(u8::from(clash))),
                (facts::NODE_FAULTS, if quiet == 0 { faults as f64 } else { 0.0 }),
                (facts::NODE_CLOCK, f64::from(u8::from(refused))),
            ]);
            // Each second of it once: when it is ahead of the cluster's, the next one.
            let fresh = latest.as_ref().map(|latest| latest.second.tick).filter(|at| *at >= tick && *at > known.taken);
            known.taken = fresh.unwrap_or(known.taken);
            let fresh = latest.as_ref().filter(|_| fresh.is_some());
            let reading = fresh.map(|latest| Reading::of_wanted(&latest.second, |name| self.wanted.contains(name)));
            let sight = Sight { reading, facts };
            // Only a second that the cluster has too can be taken out of it.
            let same = fresh.is_some_and(|latest| latest.second.tick == tick);
            let whole = Whole { values: same.then_some(cluster as &dyn starling_alerts::Values), firing };
            let second = Second { tick, subject: &subject, values: Some(&sight), coverage };
            changed.extend(self.board.judge(&second, &whole));
            mine.insert(subject);
        }
        self.known = all;
        silent
    }

    /// Judges what the query of a rule answered; of one that failed, or was asked by a rule as it no longer is, nothing.
    fn answered(&mut self, rule: &str, evaluated: Evaluated, coverage: (u32, u32)) -> Vec<Episode> {
        let Some(rule) = self.board.rules().get(rule).cloned() else { return Vec::new() };
        let judges = rule.fingerprint() == evaluated.fingerprint && rule.on_partial.judges(coverage.0, coverage.1);
        match evaluated.answer {
            Ok(answer) if judges => self.board.answered(&rule.name, evaluated.tick, &answer, coverage),
            _ => Vec::new(),
        }
    }

    /// Whether a node without a stream here is ours to judge: no other has its stream, and we are the first to take it.
    fn takes_care(&self, node: &NodeId, view: &MembershipView) -> bool {
        let elsewhere = self.parts.fleet.place(node).is_some_and(|place| {
            !place.aggregator_id.is_empty() && view.others.iter().any(|member| member.writer == place.writer)
        });
        !elsewhere && view.rank(node).first().is_some_and(|member| member.id == view.me.id)
    }

    fn cluster_facts(&self, view: &MembershipView, coverage: (u32, u32), lag: u32) -> BTreeMap<&'static str, f64> {
        let ready = view.everybody().filter(|member| member.state == State::Ready);
        let (count, on_disk) = ready.fold((0u32, 0u32), |(all, disk), one| (all + 1, disk + u32::from(one.on_disk)));
        // One that never had a peer lacks none.
        let missing =
            if self.lost > 0 || !view.others.is_empty() { self.parts.copies.saturating_sub(count) } else { 0 };
        let paused = if self.parts.keeps_history { count - on_disk } else { 0 };
        let refused = !self.alerts.in_force().mistakes.is_empty();
        BTreeMap::from([
            (facts::CLUSTER_EXPECTED, f64::from(coverage.1)),
            (facts::CLUSTER_LOST, self.lost as f64),
            (facts::CLUSTER_COPIES, f64::from(missing)),
            (facts::CLUSTER_STORES, f64::from(paused)),
            (facts::CLUSTER_RULES, f64::from(u8::from(refused))),
            (facts::CLUSTER_LAG, f64::from(lag)),
            (facts::CLUSTER_QUERIES, self.alerts.0.answers.failing() as f64),
        ])
    }

    /// Goes on with what others judged until now, of those that are judged here from now on too.
    fn adopt(&mut self, open: &[Episode]) {
        for episode in open {
            if let Some(node) = episode.subject.node() {
                self.known.entry(node.clone()).or_insert(Known { last_tick: episode.since, ended: false, taken: 0 });
                if !self.mine.contains(&episode.subject) {
                    self.board.adopt(episode);
                }
            }
        }
    }

    /// Writes down what changed: transitions at once, values now and then.
    fn write(&mut self, changed: Vec<Episode>, tick: u32) {
        let (records, transitions) = self.alerts.read(|book| {
            let (mut records, mut transitions) = (Vec::new(), Vec::new());
            for episode in changed {
                let known = book.episode(episode.id);
                let is_transition = known.is_none_or(|known| known.sequence != episode.sequence);
                if !is_transition && (u64::from(tick) + episode.id.0) % u64::from(VALUE_EVERY) != 0 {
                    continue;
                }
                // Nobody heard of it, and nobody shall.
                if episode.ended.is_some() && !episode.has_fired() && known.is_none() {
                    continue;
                }
                if is_transition && episode.has_fired() {
                    transitions.push(episode.clone());
                    if let Some(by) =
                        book.inherited(&episode, tick).filter(|_| book.acknowledgement(&episode, tick).is_none())
                    {
                        let origin = self.parts.membership.view().me.id.to_string();
                        let control = book.acknowledge(&episode, by.clone(), &origin, now_ms());
                        records.extend(control.ok().filter(|_| episode.is_open()).map(Record::Control));
                    }
                }
                records.push(Record::Episode(episode));
            }
            (records, transitions)
        });
        for episode in &transitions {
            self.parts.metrics.alert_transition(episode);
        }
        if !records.is_empty() {
            self.alerts.put(records);
        }
        let open = self.alerts.read(|book| book.open().iter().filter(|one| one.has_fired()).count());
        self.parts.metrics.alerts_open.set(open as f64);
        self.parts.metrics.alerts_left_out.set(self.board.left_out() as f64);
    }
}

/// The names of metrics that the rules read, those too that computed ones are made of.
fn names(rules: &starling_alerts::Rules) -> HashSet<String> {
    let mut names = HashSet::new();
    let mut left: Vec<String> = rules.all().iter().flat_map(|rule| rule.metrics().map(str::to_owned)).collect();
    while let Some(name) = left.pop() {
        if let Some(derivation) = catalogue::find(&name).and_then(|metric| metric.derivation.as_ref()) {
            left.extend(derivation.operands().iter().map(|operand| operand.metric.name.to_owned()));
        }
        names.insert(name);
    }
    names
}
