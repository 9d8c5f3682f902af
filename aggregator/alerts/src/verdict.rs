//! The state in words: the worst open episodes, each with what, where and since when. The causes are ordered, and change
//! only when their set changes.

use starling_proto::v1;

use super::{Episode, Rule, Scope, Severity, State, words};

/// Causes in one sentence.
const CAUSES_MAX: usize = 3;
/// Nodes named of one cause.
const NAMES_MAX: usize = 3;

/// The verdict over episodes with their rules, of which those count that fire and are wanted. `healthy` is what stands there
/// when none does.
#[must_use]
pub fn of(open: &[(&Rule, &Episode)], healthy: &str) -> v1::AlertVerdict {
    let mut firing: Vec<&(&Rule, &Episode)> = open.iter().filter(|(_, one)| one.state == State::Firing).collect();
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
    let is_told = |one: &Episode| parents.iter().any(|(rule, parent)| is_child(rule, parent, one));
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
        cause(&mut parts, rule, episodes, &firing);
    }
    if causes.len() > CAUSES_MAX {
        parts.push(plain(format!("; and {} more", causes.len() - CAUSES_MAX)));
    }
    parts.push(plain(".".to_owned()));
    let word = if severity >= Severity::Warning { "Degraded" } else { "Healthy" };
    v1::AlertVerdict { severity: v1::AlertSeverity::from(severity).into(), word: word.to_owned(), parts }
}

/// Whether `episode` stands under `parent`, an episode of `rule`.
#[must_use]
pub fn is_child(rule: &Rule, parent: &Episode, episode: &Episode) -> bool {
    let agrees = |(key, value): &(String, String)| {
        let other = episode.attributes.iter().find(|(other, _)| other == key);
        other.is_none_or(|(_, other)| other == value)
    };
    episode.rule == rule.children && parent.attributes.iter().all(agrees)
}

fn cause(parts: &mut Vec<v1::AlertVerdictPart>, rule: &Rule, episodes: &[&Episode], firing: &[&(&Rule, &Episode)]) {
    let first = episodes[0];
    for (at, episode) in episodes.iter().take(NAMES_MAX).enumerate() {
        if at > 0 {
            parts.push(plain(", ".to_owned()));
        }
        parts.push(subject(episode));
    }
    if episodes.len() > NAMES_MAX {
        parts.push(plain(format!(" and {} more", episodes.len() - NAMES_MAX)));
    }
    let each = if episodes.len() > 1 { " each" } else { "" };
    let text = format!("{each} {}", words::filled(&rule.summary, rule, first));
    parts.push(v1::AlertVerdictPart { text, node_id: String::new(), episode_id: first.id.to_string() });
    let mut under: Vec<&Episode> =
        firing.iter().map(|(_, one)| *one).filter(|one| is_child(rule, first, one)).collect();
    under.sort_by(|a, b| b.worst.total_cmp(&a.worst).then_with(|| a.subject.cmp(&b.subject)));
    for (at, child) in under.iter().take(NAMES_MAX).enumerate() {
        parts.push(plain(if at == 0 { ": " } else { ", " }.to_owned()));
        parts.push(subject(child));
    }
    if under.len() > NAMES_MAX {
        parts.push(plain(format!(" and {} more", under.len() - NAMES_MAX)));
    }
    parts.push(plain(format!(" since {}", clock(episodes.iter().map(|one| one.since).min().unwrap_or(first.since)))));
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
