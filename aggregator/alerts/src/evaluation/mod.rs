//! Who is judged here, second by second, and with what it goes on.
//!
//! - A node is judged where its stream is; a silent one where it would go. What is merged is judged by every aggregator, so that
//!   whoever takes it over has looked back as far as rules want; only what the first one finds is written down.
//! - The book is what all go on with: in each second what it has of a subject comes first. An open episode that another
//!   aggregator judged until now is adopted as it is; one that ended there has ended here.
//! - Two open episodes of one cause come of two sides of a partition: the one that began first stays, the other one ends
//!   ([`Outcome::Merged`]).
//! - An open episode of a rule that is no longer in force as it was ends, whoever began it.

mod presence;
mod records;
mod sources;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::RangeInclusive,
    sync::Arc,
};

use starling_proto::{group::Group, ids::NodeId};

use self::{
    presence::{Presence, SILENT_KEPT},
    sources::WithFacts,
};
pub use self::{
    records::{Written, records},
    sources::{Answer, Now, ReadGroup, Sources, Stream},
};
use super::{Board, Episode, Outcome, Rules, Scope, Second, Subject, Values, Whole, facts};

/// Seconds that are judged one after another after a pause; older ones are missed.
const BEHIND_MAX: u32 = 30;
/// Seconds after which a group without a node is forgotten.
const GROUP_KEPT: u32 = 60;

/// What the book has of each subject, oldest first.
type Recent<'a> = HashMap<&'a Subject, Vec<&'a Episode>>;

/// See the module.
pub struct Evaluation {
    board: Board,
    presence: Presence,
    /// The nodes that were judged here in the second before.
    mine: HashSet<NodeId>,
    /// What is merged was written down from here in the second before.
    first: bool,
    /// Groups that have a node or an episode, with the second in which they were there last.
    groups: HashMap<Group, u32>,
    /// The second that was judged last; 0 before the first.
    last: u32,
}

impl Evaluation {
    /// By these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            board: Board::new(rules),
            presence: Presence::default(),
            mine: HashSet::new(),
            first: false,
            groups: HashMap::new(),
            last: 0,
        }
    }

    /// The rules in force.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        self.board.rules()
    }

    /// Sets of attributes that found no place so far.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.board.left_out()
    }

    /// Judges nothing up to second `settled`: what is known is not whole.
    pub const fn rest(&mut self, settled: u32) {
        self.last = settled;
        self.presence.spare(settled);
    }

    /// See [`Board::measure`].
    pub fn measure(&mut self, clock: Option<fn() -> u64>) {
        self.board.measure(clock);
    }

    /// See [`Board::dearest`].
    #[must_use]
    pub fn dearest(&self) -> Option<(&str, f64)> {
        self.board.dearest()
    }

    /// The seconds that are to be judged now, and how many before them are missed.
    pub fn due(&mut self, settled: u32) -> (RangeInclusive<u32>, u32) {
        if self.last == 0 {
            self.rest(settled.saturating_sub(1));
        }
        let next = self.last.saturating_add(1);
        let from = next.max(settled.saturating_sub(BEHIND_MAX));
        self.last = self.last.max(settled);
        (from..=settled, from - next)
    }

    /// Puts other rules in force at second `tick`. Returns the episodes that end with the rules before.
    pub fn replace(&mut self, rules: Rules, tick: u32) -> Vec<Episode> {
        let mut ended = self.board.replace(rules, tick);
        ended.retain(|one| one.subject.node().map_or(self.first, |node| self.mine.contains(node)));
        ended
    }

    /// Takes note of who is there: nodes with their last second and whether they left as planned, and how many aggregators are
    /// lost.
    pub fn see<'a>(&mut self, nodes: impl Iterator<Item = (&'a NodeId, u32, bool)>, lost: usize, settled: u32) {
        self.presence.see(nodes, lost, settled);
        self.presence.expire(settled, BEHIND_MAX);
    }

    /// Judges a second. `recent` is what the book has ([`super::Book::recent`]). Returns the episodes that changed.
    pub fn judge(&mut self, now: &Now<'_>, recent: &[Arc<Episode>], sources: &impl Sources) -> Vec<Episode> {
        let mut by_subject = Recent::new();
        let mut firing: HashMap<&str, f64> = HashMap::new();
        let of_silence = self.board.rules().all().iter().filter(|rule| rule.is_of_silence());
        let of_silence: Vec<String> = of_silence.map(|rule| rule.name.clone()).collect();
        for episode in recent {
            by_subject.entry(&episode.subject).or_default().push(episode);
            if episode.is_open() {
                if episode.has_fired() {
                    *firing.entry(&episode.rule).or_default() += 1.0;
                }
                if let Some(node) = episode.subject.node() {
                    let of_silence = of_silence.contains(&episode.rule);
                    self.presence.know(node, (episode.since, of_silence), now.tick);
                }
            }
        }
        by_subject.values_mut().for_each(|all| all.sort_by_key(|one| (one.since, one.id)));
        let firing = |rule: &str| firing.get(rule).copied().unwrap_or(0.0);
        let mut changed = Vec::new();
        let silent = self.judge_nodes(now, &by_subject, &firing, sources, &mut changed);
        let of_merged = self.judge_merged(now, silent.as_deref(), &by_subject, &firing, sources);
        self.first = now.first;
        if now.first {
            changed.extend(of_merged);
        }
        changed
    }

    /// Judges the nodes of which this aggregator takes care. Returns the expected nodes that are silent anywhere; `None` while that
    /// is open.
    fn judge_nodes(
        &mut self,
        now: &Now<'_>,
        recent: &Recent<'_>,
        firing: &dyn Fn(&str) -> f64,
        sources: &impl Sources,
        changed: &mut Vec<Episode>,
    ) -> Option<Vec<NodeId>> {
        let tick = now.tick;
        let (mut silent, mut open) = (Vec::new(), 0);
        let mut mine = HashSet::new();
        let cluster = WithFacts { values: Some(now.values), facts: &now.facts, details: &now.details };
        let mut all = std::mem::take(&mut self.presence.nodes);
        for (node, known) in &mut all {
            let stream = sources.stream(node);
            let latest = stream.latest.as_ref().map_or(0, |(tick, _)| *tick);
            let last = known.last.max(latest);
            let grace = if sources.is_unsure(node) { tick } else { self.presence.grace };
            let quiet = known.silence(tick, last, grace);
            silent.extend(known.is_silent().then(|| node.clone()));
            open += u32::from(quiet.is_none() && !known.ended);
            if !stream.connected && !sources.takes_care(node) {
                continue;
            }
            let subject = Subject::Node(node.clone());
            self.take_in(&subject, recent, tick, Some(changed));
            let over = match () {
                () if known.ended && !stream.connected => Some(Outcome::Left),
                () if last.saturating_add(SILENT_KEPT) <= tick => Some(Outcome::Forgotten),
                () => None,
            };
            if let Some(outcome) = over {
                changed.extend(self.board.forget(&subject, tick, outcome));
                continue;
            }
            let (mut of_node, details) = (sources.facts(node), sources.details(node));
            of_node.extend(quiet.map(|quiet| (facts::NODE_SILENT, f64::from(quiet))));
            if quiet != Some(0) {
                of_node.insert(facts::NODE_FAULTS, 0.0);
            }
            // Each second of it once: when it is ahead of the cluster's, the next one.
            let fresh = stream.latest.filter(|(at, _)| *at >= tick && *at > known.taken);
            known.taken = fresh.as_ref().map_or(known.taken, |(at, _)| *at);
            // Only a second that the cluster has too can be taken out of it.
            let same = fresh.as_ref().is_some_and(|(at, _)| *at == tick);
            let whole = Whole { values: same.then_some(&cluster as &dyn Values), firing };
            let mut judge = |values: Option<&dyn Values>| {
                let values = WithFacts { values, facts: &of_node, details: &details };
                let second = Second { tick, subject: &subject, values: Some(&values), coverage: now.coverage };
                changed.extend(self.board.judge(&second, &whole));
            };
            match fresh {
                Some((_, latest)) => sources.read(&latest, &mut |values| judge(Some(values))),
                None => judge(None),
            }
            mine.insert(node.clone());
        }
        self.presence.nodes = all;
        // Others take care of those from now on: what is open stays as it is.
        for gone in self.mine.difference(&mine) {
            self.board.hand_over(&Subject::Node(gone.clone()));
        }
        self.mine = mine;
        (open == 0).then_some(silent)
    }

    /// Judges the cluster and its groups, of whose nodes those are silent that `silent` says.
    fn judge_merged(
        &mut self,
        now: &Now<'_>,
        silent: Option<&[NodeId]>,
        recent: &Recent<'_>,
        firing: &dyn Fn(&str) -> f64,
        sources: &impl Sources,
    ) -> Vec<Episode> {
        let tick = now.tick;
        let mut changed = Vec::new();
        let whole = Whole { values: None, firing };
        self.take_in(&Subject::Cluster, recent, tick, now.first.then_some(&mut changed));
        let mut known = now.facts.clone();
        if let Some(silent) = silent.map(|silent| u32::try_from(silent.len()).unwrap_or(u32::MAX)) {
            known.insert(facts::CLUSTER_SILENT, f64::from(silent));
            known.insert(facts::CLUSTER_EXPECTED, expected(now.coverage, silent));
        }
        let values = WithFacts { values: Some(now.values), facts: &known, details: &now.details };
        let second = Second { tick, subject: &Subject::Cluster, values: Some(&values), coverage: now.coverage };
        changed.extend(self.board.judge(&second, &whole));
        // Only where a rule asks for it.
        let judges_groups = self.board.rules().all().iter().any(|rule| rule.scope == Scope::Group);
        let silent = silent.filter(|_| judges_groups).map(|silent| sources.by_group(silent));
        for group in if judges_groups { sources.groups() } else { Vec::new() } {
            let subject = Subject::Group(group.clone());
            self.take_in(&subject, recent, tick, now.first.then_some(&mut changed));
            let silent = silent.as_ref().map(|silent| silent.get(&group).copied().unwrap_or(0));
            sources.read_group(&group, silent.unwrap_or(0), &mut |values, coverage| {
                let mut known = BTreeMap::new();
                if let Some(silent) = silent {
                    known.insert(facts::GROUP_SILENT, f64::from(silent));
                    known.insert(facts::GROUP_EXPECTED, expected(coverage, silent));
                }
                let values = WithFacts { values: Some(values), facts: &known, details: &BTreeMap::new() };
                let second = Second { tick, subject: &subject, values: Some(&values), coverage };
                changed.extend(self.board.judge(&second, &whole));
            });
            self.groups.insert(group, tick);
        }
        changed.extend(self.forget_groups(now, recent));
        for answer in &now.answers {
            changed.extend(self.answered(answer, now.coverage));
        }
        changed
    }

    /// What is open of groups that have no node any more ends.
    fn forget_groups(&mut self, now: &Now<'_>, recent: &Recent<'_>) -> Vec<Episode> {
        let (tick, mut changed) = (now.tick, Vec::new());
        let groups = recent.keys().filter_map(|subject| match subject {
            Subject::Group(group) => Some(group),
            Subject::Cluster | Subject::Node(_) => None,
        });
        for group in groups {
            self.groups.entry(group.clone()).or_insert(tick);
        }
        let gone: Vec<Group> =
            self.groups.iter().filter(|(_, seen)| **seen < tick).map(|(group, _)| group.clone()).collect();
        for group in gone {
            let seen = self.groups[&group];
            let subject = Subject::Group(group.clone());
            self.take_in(&subject, recent, tick, now.first.then_some(&mut changed));
            if seen.saturating_add(GROUP_KEPT) < tick {
                changed.extend(self.board.forget(&subject, tick, Outcome::Forgotten));
                self.groups.remove(&group);
            }
        }
        changed
    }

    /// Judges what the query of a rule answered; of one that failed, or was asked by a rule as it no longer is, nothing.
    fn answered(&mut self, answer: &Answer, coverage: (u32, u32)) -> Vec<Episode> {
        let Some(rule) = self.board.rules().get(&answer.rule).cloned() else { return Vec::new() };
        let judges = rule.fingerprint() == answer.fingerprint && rule.on_partial.judges(coverage.0, coverage.1);
        match &answer.answer {
            Ok(values) if judges => self.board.answered(&rule.name, answer.tick, values, coverage),
            _ => Vec::new(),
        }
    }

    /// Goes on with what the book has of a subject. What it is to have in the place of that is written into `changed`.
    fn take_in(&mut self, subject: &Subject, recent: &Recent<'_>, tick: u32, mut changed: Option<&mut Vec<Episode>>) {
        for episode in recent.get(subject).into_iter().flatten() {
            if let (Some(instead), Some(changed)) = (self.board.adopt(episode, tick), &mut changed) {
                changed.push(instead);
            }
        }
    }
}

/// Nodes that are expected, when `silent` ones do not report: seconds wait for one for some minutes only, while its silence is judged for
/// days, and a share of those that are left would grow without any further loss.
fn expected((reporting, expected): (u32, u32), silent: u32) -> f64 {
    f64::from(expected.max(reporting.saturating_add(silent)))
}
