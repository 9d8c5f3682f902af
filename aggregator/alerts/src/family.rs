//! Who stands under whom: what one incident of a wider scope explains of narrower ones. A switch that fails is one alert with
//! twenty names, not twenty-one alerts.

use super::{Episode, Outcome, Rule, Scope, State, Subject, control::Label};

/// The labels of a node.
pub type LabelsOf<'a> = dyn Fn(&str) -> Vec<Label> + 'a;

/// Whether `episode` stands under `parent`, an episode of `rule`: it is of one of the rules that `rule` names, agrees with it in
/// the attributes that both have, and is of a node of the group that the parent is about.
#[must_use]
pub fn is_child(rule: &Rule, parent: &Episode, episode: &Episode, labels: &LabelsOf<'_>) -> bool {
    let agrees = |(key, value): &(String, String)| {
        let other = episode.attributes.iter().find(|(other, _)| other == key);
        other.is_none_or(|(_, other)| other == value)
    };
    rule.children.contains(&episode.rule)
        && parent.attributes.iter().all(agrees)
        && holds(&parent.subject, episode, labels)
}

fn holds(subject: &Subject, episode: &Episode, labels: &LabelsOf<'_>) -> bool {
    let Subject::Group(group) = subject else { return true };
    let Subject::Node(node) = &episode.subject else { return false };
    group.label().is_none_or(|(key, value)| labels(node.as_str()).iter().any(|(k, v)| k == key && v == value))
}

/// Whether nothing is known of `episode` because its node is gone, as `parent` says, an episode of `rule`.
#[must_use]
pub fn is_of_gone(rule: &Rule, parent: &Episode, episode: &Episode) -> bool {
    rule.is_of_silence()
        && parent.state == State::Firing
        && episode.is_open()
        && episode.absent_since.is_some()
        && parent.subject == episode.subject
        && parent.id != episode.id
}

/// Seconds after the end of a parent in which those under it are not told: what is well again needs some to be seen.
pub const SETTLE: u32 = 15;

/// Whether an episode recovered just now, so that those which stand under it may follow, at second `tick`.
#[must_use]
pub fn settles(parent: &Episode, tick: u32) -> bool {
    parent.has_fired() && matches!(parent.ended, Some((end, Outcome::Recovered)) if end.saturating_add(SETTLE) > tick)
}

/// Whether messages about `episode` wait at second `tick` while `parent`, which it stands under, fires or recovered after it began:
/// it is no worse, and the parent is told itself.
#[must_use]
pub fn holds_back(parent: &Episode, parent_is_silenced: bool, episode: &Episode, tick: u32) -> bool {
    let began_before = parent.ended.is_none_or(|(end, _)| episode.since <= end);
    let is_told = parent.state == State::Firing || began_before && settles(parent, tick);
    is_told && episode.severity <= parent.severity && !parent_is_silenced
}

/// Those of `all` that fire and stand under `parent`, in the order in which they are named: groups first, then the worst. A node
/// of a group that is named is not named again.
#[must_use]
pub fn culprits<'a>(
    rule: &Rule,
    parent: &Episode,
    all: impl Iterator<Item = &'a Episode>,
    labels: &LabelsOf<'_>,
) -> Vec<&'a Episode> {
    let fires = |one: &&Episode| one.state == State::Firing && is_child(rule, parent, one, labels);
    let mut found: Vec<&Episode> = all.filter(fires).collect();
    let groups: Vec<&Episode> = found.iter().copied().filter(|one| one.subject.scope() == Scope::Group).collect();
    found.retain(|one| {
        one.subject.scope() == Scope::Group || !groups.iter().any(|group| holds(&group.subject, one, labels))
    });
    let scope = |one: &Episode| one.subject.scope() == Scope::Node;
    found.sort_by(|a, b| {
        let by_scope = scope(a).cmp(&scope(b));
        by_scope.then_with(|| beyond(rule, b, a)).then_with(|| a.subject.cmp(&b.subject))
    });
    found
}

/// Which of two is further beyond.
fn beyond(rule: &Rule, one: &Episode, other: &Episode) -> std::cmp::Ordering {
    let order = one.worst.total_cmp(&other.worst);
    if rule.above { order } else { order.reverse() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use starling_proto::{group::Group, ids::NodeId};

    use super::*;
    use crate::{
        Rules, Severity, defaults,
        judge::{self, Judged},
    };

    fn fired(rules: &Rules, rule: &str, subject: &Subject, value: f64) -> (Arc<Rule>, Episode) {
        let rule = rules.get(rule).unwrap();
        let judged = Judged { tick: 1_800_000_000, value: Some(value), coverage: (3, 9) };
        (rule.clone(), judge::step(rule, (subject, &[]), None, judged).unwrap())
    }

    fn node(name: &str) -> Subject {
        Subject::Node(NodeId::parse(name).unwrap())
    }

    /// Nodes a-1, a-2, ... are in zone a.
    fn labels(node: &str) -> Vec<Label> {
        vec![("zone".to_owned(), node[..1].to_owned())]
    }

    #[test]
    fn a_zone_that_is_gone_is_named_in_the_place_of_its_nodes() {
        let rules = defaults::with(&[], &[]).unwrap();
        let (many, of_cluster) = fired(&rules, "many-nodes-gone", &Subject::Cluster, 0.4);
        let (of_group, zone) = fired(&rules, "group-gone", &Subject::Group(Group::parse("zone:a").unwrap()), 1.0);
        let gone: Vec<Episode> = [("a-1", 9.0), ("a-2", 9.0), ("b-1", 4.0), ("b-2", 6.0)]
            .map(|(name, silent)| fired(&rules, "node-gone", &node(name), silent).1)
            .to_vec();
        let all = || gone.iter().chain([&zone]);
        let names = |rule: &Rule, parent: &Episode| -> Vec<String> {
            culprits(rule, parent, all(), &labels).iter().map(|one| one.subject.to_string()).collect()
        };
        assert_eq!(names(&many, &of_cluster), ["zone:a", "b-2", "b-1"], "groups, then who is silent for longest");
        assert_eq!(names(&of_group, &zone), ["a-1", "a-2"]);
        assert!(!is_child(&of_group, &zone, &of_cluster, &labels) && !is_child(&of_group, &zone, &gone[2], &labels));
    }

    #[test]
    fn what_is_worse_or_whose_parent_is_silenced_is_told() {
        let rules = defaults::with(&[], &[]).unwrap();
        let (_, parent) = fired(&rules, "many-nodes-gone", &Subject::Cluster, 0.2);
        let (_, child) = fired(&rules, "node-gone", &node("a-1"), 9.0);
        let worse = Episode { severity: Severity::Critical, ..child.clone() };
        assert!(holds_back(&parent, false, &child, child.since) && !holds_back(&parent, false, &worse, child.since));
        assert!(!holds_back(&parent, true, &child, child.since), "a silence covers no more than it says");
    }

    #[test]
    fn those_under_one_that_recovered_are_told_once_they_had_time_to_follow() {
        // A38.
        let rules = defaults::with(&[], &[]).unwrap();
        let (_, mut parent) = fired(&rules, "many-nodes-gone", &Subject::Cluster, 0.2);
        let (_, child) = fired(&rules, "node-gone", &node("a-1"), 9.0);
        let end = child.since + 100;
        parent.end(end, Outcome::Recovered);
        assert!(holds_back(&parent, false, &child, end + SETTLE - 1));
        assert!(!holds_back(&parent, false, &child, end + SETTLE) && !holds_back(&parent, true, &child, end));
        let (_, mut later) = fired(&rules, "node-gone", &node("a-2"), 9.0);
        later.since = end + 1;
        assert!(!holds_back(&parent, false, &later, end + 5), "what began since has another cause");
        parent.ended = Some((end, Outcome::RuleChanged));
        assert!(!holds_back(&parent, false, &child, end + 1));
    }
}
