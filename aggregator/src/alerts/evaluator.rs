//! The part that judges: brings every settled second, the nodes whose stream is here and who is to take care of what to the
//! rules ([`Evaluation`]), and writes down which episodes changed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use starling_alerts::{Answer, Episode, Evaluation, Now, ReadGroup, Rules, Scope, Sources, Stream, Values, facts};
use starling_ledger::{Ledger, NodeStatus, TickView};
use starling_proto::{catalogue, group::Group, ids::NodeId, series::Series};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Alerts, Files, MERGED, queries::Evaluated};
use crate::{
    catch_up::CatchUp,
    clock::{now_ms, tick_of},
    fleet::ClusterFleet,
    ingest::{Latest, Registry},
    ledger_task::LedgerHandle,
    membership::{Membership, MembershipView, State},
    metrics::Metrics,
    reading::Reading,
};

/// Between two looks at the files of rules.
const RELOAD_EVERY: Duration = Duration::from_secs(2);
/// Between two writings of the records, when values changed only.
const SAVE_EVERY: Duration = Duration::from_secs(5);
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

/// See the module.
pub(crate) struct Evaluator {
    alerts: Alerts,
    files: Files,
    parts: Parts,
    evaluation: Evaluation,
    /// Names that some rule reads.
    wanted: Arc<HashSet<String>>,
    /// Those that some rule reads of groups.
    of_groups: HashSet<String>,
    lost: usize,
}

impl Evaluator {
    /// Judges by the rules of `alerts`, which are read again from `files`.
    pub(crate) fn new(alerts: Alerts, files: Files, parts: Parts) -> Self {
        let rules = alerts.in_force().rules;
        let (wanted, of_groups) = (Arc::new(names(&rules, None)), names(&rules, Some(Scope::Group)));
        Self { alerts, files, parts, evaluation: Evaluation::new((*rules).clone()), wanted, of_groups, lost: 0 }
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
            if view.me.state != State::Ready || !is_whole {
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
                for tick in seconds {
                    let began = Instant::now();
                    self.judge(tick, settled, &view);
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
            self.of_groups = names(&next.rules, Some(Scope::Group));
            self.write(ended, tick);
        }
        self.alerts.set_in_force(next);
    }

    /// Takes note of who is there.
    fn see(&mut self, nodes: &[NodeStatus], view: &MembershipView, settled: u32) {
        let now = Instant::now();
        self.lost = view.listed.iter().filter(|listed| listed.is_lost(now)).count();
        let nodes = nodes.iter().map(|status| (&status.node, status.last_tick, status.ended));
        self.evaluation.see(nodes, self.lost, settled);
        self.alerts.book().expire(tick_of(now_ms()));
    }

    fn judge(&mut self, tick: u32, settled: u32, view: &MembershipView) {
        let recent = self.alerts.read(|book| book.recent(tick));
        let Some(second) = self.parts.ledger.view(tick) else { return };
        let coverage = (second.coverage.reporting, second.coverage.expected);
        let names = Arc::clone(&self.wanted);
        let wanted = |series: &Series| names.contains(series.name());
        let (cells, _) = second.sums.some(&Group::cluster(), wanted);
        let reading = Reading::of_cells(cells.iter().map(|(series, cell)| (series, cell)));
        let answer = |(rule, Evaluated { fingerprint, tick, answer })| Answer { rule, fingerprint, tick, answer };
        let now = Now {
            tick,
            coverage,
            first: view.is_first(MERGED),
            values: &reading,
            facts: self.cluster_facts(view, settled - tick),
            answers: self.alerts.0.answers.take().into_iter().map(answer).collect(),
        };
        let sources = Around {
            parts: &self.parts,
            view,
            second: &second,
            wanted: &self.wanted,
            of_groups: &self.of_groups,
            now: tick_of(now_ms()),
        };
        let changed = self.evaluation.judge(&now, &recent, &sources);
        self.write(changed, tick);
        self.alerts.0.judged.store(tick, Ordering::Relaxed);
    }

    fn cluster_facts(&self, view: &MembershipView, lag: u32) -> BTreeMap<&'static str, f64> {
        let ready = view.everybody().filter(|member| member.state == State::Ready);
        let (count, on_disk) = ready.fold((0u32, 0u32), |(all, disk), one| (all + 1, disk + u32::from(one.on_disk)));
        // One that never had a peer lacks none.
        let missing =
            if self.lost > 0 || !view.others.is_empty() { self.parts.copies.saturating_sub(count) } else { 0 };
        let paused = if self.parts.keeps_history { count - on_disk } else { 0 };
        let refused = self.alerts.is_refused() || view.others.iter().any(|member| member.refused);
        let notifiers = self.alerts.read(|book| book.notifiers_failing(now_ms()));
        BTreeMap::from([
            (facts::CLUSTER_LOST, self.lost as f64),
            (facts::CLUSTER_PARTITION, f64::from(u8::from(view.suspects_partition))),
            (facts::CLUSTER_COPIES, f64::from(missing)),
            (facts::CLUSTER_STORES, f64::from(paused)),
            (facts::CLUSTER_CERTIFICATES, view.everybody().filter(|member| member.ending).count() as f64),
            (facts::CLUSTER_DISPUTED, self.parts.ledger.disputed() as f64),
            (facts::CLUSTER_RULES, f64::from(u8::from(refused))),
            (facts::CLUSTER_LAG, f64::from(lag)),
            (facts::CLUSTER_QUERIES, self.alerts.0.answers.failing() as f64),
            (facts::CLUSTER_NOTIFIERS, notifiers as f64),
        ])
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

/// What this aggregator knows beside the second of the cluster.
struct Around<'a> {
    parts: &'a Parts,
    view: &'a MembershipView,
    second: &'a TickView,
    wanted: &'a HashSet<String>,
    of_groups: &'a HashSet<String>,
    now: u32,
}

impl Sources for Around<'_> {
    type Latest = Arc<Latest>;

    fn stream(&self, node: &NodeId) -> Stream<Arc<Latest>> {
        let own = self.parts.registry.get(node);
        let latest = own.as_ref().and_then(|own| own.latest()).map(|latest| (latest.second.tick, latest));
        Stream { connected: own.is_some_and(|own| own.presence().0), latest }
    }

    fn takes_care(&self, node: &NodeId) -> bool {
        let elsewhere = self.parts.fleet.place(node).is_some_and(|place| {
            !place.aggregator_id.is_empty() && self.view.others.iter().any(|member| member.writer == place.writer)
        });
        !elsewhere && self.view.is_first(node.as_str())
    }

    fn facts(&self, node: &NodeId) -> BTreeMap<&'static str, f64> {
        let about = self.parts.registry.get(node).map(|own| own.about());
        let clash = self.parts.registry.clashes().of(node.as_str(), self.now).is_some();
        let faults = about.as_ref().map_or(0, |about| about.collector_faults.len());
        let refused = about.as_ref().is_some_and(|about| !about.silent_reason.is_empty());
        BTreeMap::from([
            (facts::NODE_CLASH, f64::from(u8::from(clash))),
            (facts::NODE_FAULTS, faults as f64),
            (facts::NODE_CLOCK, f64::from(u8::from(refused))),
        ])
    }

    fn read(&self, latest: &Arc<Latest>, read: &mut dyn FnMut(&dyn Values)) {
        read(&Reading::of_wanted(&latest.second, |name| self.wanted.contains(name)));
    }

    fn groups(&self) -> Vec<Group> {
        self.parts.fleet.groups()
    }

    fn by_group(&self, nodes: &[NodeId]) -> HashMap<Group, u32> {
        self.parts.fleet.by_group(nodes)
    }

    fn read_group(&self, group: &Group, silent: u32, read: &mut ReadGroup<'_>) {
        // Where no rule reads what is merged of groups, the second is not taken apart for each of them.
        if self.of_groups.is_empty() {
            let expected = self.parts.fleet.expected(group, self.second.tick);
            return read(&Reading::of_cells(std::iter::empty()), (expected.saturating_sub(silent), expected));
        }
        let (cells, census) = self.second.sums.some(group, |series: &Series| self.of_groups.contains(series.name()));
        let nodes = self.parts.fleet.coverage(group, self.second.tick, self.second.coverage, census.frames());
        let reading = Reading::of_cells(cells.iter().map(|(series, cell)| (series, cell)));
        read(&reading, (nodes.reporting, nodes.expected));
    }
}

/// The names of metrics that the rules read, those too that computed ones are made of; of one scope, or of all.
fn names(rules: &Rules, scope: Option<Scope>) -> HashSet<String> {
    let mut names = HashSet::new();
    let of_scope = rules.all().iter().filter(|rule| scope.is_none_or(|scope| rule.scope == scope));
    let mut left: Vec<String> = of_scope.flat_map(|rule| rule.metrics().map(str::to_owned)).collect();
    while let Some(name) = left.pop() {
        if let Some(derivation) = catalogue::find(&name).and_then(|metric| metric.derivation.as_ref()) {
            left.extend(derivation.operands().iter().map(|operand| operand.metric.name.to_owned()));
        }
        names.insert(name);
    }
    names
}
