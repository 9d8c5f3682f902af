//! The state in words: the worst open episodes, each with what, where and since when. The causes are ordered, and change
//! only when their set changes.

use std::collections::HashSet;

use starling_proto::v1;

use super::{
    Episode, Rule, Scope, Severity, State, Subject, facts,
    family::{self, LabelsOf},
    words,
};

/// Causes in one sentence.
const CAUSES_MAX: usize = 3;
/// Nodes named of one cause.
const NAMES_MAX: usize = 3;

/// The verdict over episodes with their rules, of which those count that fire and are wanted. `labels` are those of a node;
/// `healthy` is what stands there when none fires.
#[must_use]
pub fn of(open: &[(&Rule, &Episode)], labels: &LabelsOf<'_>, healthy: &str) -> v1::AlertVerdict {
    let mut firing: Vec<&(&Rule, &Episode)> = open.iter().filter(|(_, one)| one.state == State::Firing).collect();
    // Of a node that is gone nothing else is known.
    let is_gone = |(rule, _): &&&(&Rule, &Episode)| rule.expression.facts().any(|fact| fact == facts::NODE_SILENT);
    let gone: HashSet<&Subject> = firing.iter().filter(is_gone).map(|(_, one)| &one.subject).collect();
    firing.retain(|(_, one)| one.absent_since.is_none() || !gone.contains(&one.subject));
    firing.sort_by(|(_, a), (_, b)| {
        b.severity.cmp(&a.severity).then(a.since.cmp(&b.since)).then_with(|| a.id.cmp(&b.id))
    });
    let Some((_, worst)) = firing.first() else {
        let parts = vec![plain(healthy.to_owned())];
        return v1::AlertVerdict { severity: 0, word: "Healthy".to_owned(), parts };
    };
    let severity = worst.severity;
    // What stands under another one is told by that.
    let parents: Vec<&&(&Rule, &Episode)> = firing.iter().filter(|(rule, _)| !rule.children.is_empty()).collect();
    let is_told = |one: &Episode| parents.iter().any(|(rule, parent)| family::is_child(rule, parent, one, labels));
    let mut causes: Vec<(&Rule, Vec<&Episode>)> = Vec::new();
    for (rule, episode) in firing.iter().copied().filter(|(_, one)| !is_told(one)) {
        let same =
            |(other, of): &(&Rule, Vec<&Episode>)| other.name == rule.name && of[0].attributes == episode.attributes;
        match causes.iter_mut().find(|cause| rule.scope != Scope::Cluster && same(cause)) {
            Some((_, episodes)) => episodes.push(episode),
            None => causes.push((*rule, vec![episode])),
        }
    }
    let mut parts = Vec::new();
    for (at, (rule, episodes)) in causes.iter().take(CAUSES_MAX).enumerate() {
        if at > 0 {
            parts.push(plain("; ".to_owned()));
        }
        let under = family::culprits(rule, episodes[0], firing.iter().map(|(_, one)| *one), labels);
        cause(&mut parts, rule, episodes, &under);
    }
    if causes.len() > CAUSES_MAX {
        parts.push(plain(format!("; and {} more", causes.len() - CAUSES_MAX)));
    }
    parts.push(plain(".".to_owned()));
    let word = if severity >= Severity::Warning { "Degraded" } else { "Healthy" };
    v1::AlertVerdict { severity: v1::AlertSeverity::from(severity).into(), word: word.to_owned(), parts }
}

fn cause(parts: &mut Vec<v1::AlertVerdictPart>, rule: &Rule, episodes: &[&Episode], under: &[&Episode]) {
    let first = episodes[0];
    parts.push(subject(first));
    let text = format!(" {}", words::filled(&rule.summary, rule, first));
    parts.push(v1::AlertVerdictPart { text, node_id: String::new(), episode_id: first.id.to_string() });
    names(parts, ", also ", &episodes[1..]);
    names(parts, ": ", under);
    // Not twice.
    if episodes.len() == 1 && rule.summary.contains("{since}") {
        return;
    }
    parts.push(plain(format!(" since {}", clock(episodes.iter().map(|one| one.since).min().unwrap_or(first.since)))));
}

/// The subjects of `episodes` after `lead`; nothing without any.
fn names(parts: &mut Vec<v1::AlertVerdictPart>, lead: &str, episodes: &[&Episode]) {
    for (at, episode) in episodes.iter().take(NAMES_MAX).enumerate() {
        parts.push(plain(if at == 0 { lead } else { ", " }.to_owned()));
        parts.push(subject(episode));
    }
    if episodes.len() > NAMES_MAX {
        parts.push(plain(format!(" and {} more", episodes.len() - NAMES_MAX)));
    }
}

fn subject(episode: &Episode) -> v1::AlertVerdictPart {
    let node_id =
        if episode.subject.scope() == Scope::Node { episode.subject.name().to_owned() } else { String::new() };
    v1::AlertVerdictPart { text: episode.subject.to_string(), node_id, episode_id: episode.id.to_string() }
}

fn plain(text: String) -> v1::AlertVerdictPart {
    v1::AlertVerdictPart { text, ..v1::AlertVerdictPart::default() }
}

/// The time of the day, UTC.
fn clock(tick: u32) -> String {
    format!("{:02}:{:02} UTC", tick / 3_600 % 24, tick / 60 % 60)
}

/// The sentence as plain text.
#[must_use]
pub fn text(verdict: &v1::AlertVerdict) -> String {
    verdict.parts.iter().map(|part| part.text.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use starling_proto::ids::NodeId;

    use super::*;
    use crate::{
        Rules, defaults,
        judge::{self, Judged},
    };

    /// 15:01 UTC.
    const SINCE: u32 = 1_800_025_260;

    fn fired(rules: &Rules, rule: &str, of: &str, since: u32, value: f64) -> (Arc<Rule>, Episode) {
        let rule = rules.get(rule).unwrap();
        let subject = match of {
            "" => Subject::Cluster,
            node => Subject::Node(NodeId::parse(node).unwrap()),
        };
        let attributes: Vec<_> = rule.by.iter().map(|key| (key.clone(), "grpc".to_owned())).collect();
        let mut last = None;
        for tick in since..=since + rule.pending {
            let judged = Judged { tick, value: Some(value), coverage: (3, 3) };
            last = judge::step(rule, (&subject, &attributes), last.as_ref(), judged);
        }
        (rule.clone(), last.unwrap())
    }

    fn said(all: &[(Arc<Rule>, Episode)]) -> v1::AlertVerdict {
        let zone = |node: &str| vec![("zone".to_owned(), if node < "web-3" { "a" } else { "b" }.to_owned())];
        of(&all.iter().map(|(rule, one)| (&**rule, one)).collect::<Vec<_>>(), &zone, "all is well.")
    }

    #[test]
    fn the_worst_is_said_first_with_who_and_since_when() {
        let rules = defaults::with(&[], &[]).unwrap();
        let nothing = said(&[]);
        assert_eq!((nothing.word.as_str(), text(&nothing).as_str()), ("Healthy", "all is well."));
        let of = |rule, node, since, value| fired(&rules, rule, node, since, value);
        let mut all = vec![
            of("cpu-busy", "web-1", SINCE + 60, 0.97),
            of("cpu-busy", "web-2", SINCE, 0.99),
            of("node-gone", "web-3", SINCE + 120, 4.0),
        ];
        let verdict = said(&all);
        assert_eq!((verdict.word.as_str(), verdict.severity()), ("Degraded", v1::AlertSeverity::Error));
        assert_eq!(
            text(&verdict),
            "web-3 is gone: last heard 15:02:56 UTC, 4 s ago; \
             web-2 has its CPU 99 % busy, also web-1 since 15:01 UTC."
        );
        all.swap(0, 2);
        assert_eq!(said(&all), verdict, "whatever the order in which they came");
        let linked: Vec<_> = verdict.parts.iter().filter(|part| !part.node_id.is_empty()).collect();
        assert_eq!(linked.iter().map(|part| part.node_id.as_str()).collect::<Vec<_>>(), ["web-3", "web-2", "web-1"]);
    }

    #[test]
    fn a_node_that_is_gone_is_named_and_not_its_memory() {
        // A59.
        let rules = defaults::with(&[], &[]).unwrap();
        let mut memory = fired(&rules, "memory-low", "web-6", SINCE, 0.98);
        memory.1.absent_since = Some(SINCE + 120);
        let all = vec![memory, fired(&rules, "node-gone", "web-6", SINCE + 120, 4.0)];
        assert_eq!(text(&said(&all)), "web-6 is gone: last heard 15:02:56 UTC, 4 s ago.");
        assert!(text(&said(&all[..1])).contains("memory"), "without that it is said");
    }

    #[test]
    fn who_stands_under_another_one_is_named_there() {
        let rules = defaults::with(&[], &[]).unwrap();
        let mut all = vec![fired(&rules, "errors", "", SINCE, 0.15)];
        for (at, value) in [0.06, 0.3, 0.1, 0.07, 0.08].into_iter().enumerate() {
            all.push(fired(&rules, "node-errors", &format!("web-{at}"), SINCE + 5, value));
        }
        assert_eq!(
            text(&said(&all)),
            "the cluster fails 15 % of its grpc requests: web-1, web-2, web-4 and 2 more since 15:01 UTC."
        );
    }
}
