//! An episode with all that people want to know of it.

use std::collections::BTreeMap;

use starling_proto::{catalogue::Unit, v1};

use super::{Book, Episode, Rule, Rules, control, control::Label, verdict, words};

/// Makes alerts of episodes.
pub struct Shown<'a> {
    /// The rules in force.
    pub rules: &'a Rules,
    /// All records.
    pub book: &'a Book,
    /// The labels of a node.
    pub labels: &'a dyn Fn(&str) -> Vec<Label>,
    /// The second now.
    pub tick: u32,
}

impl Shown<'_> {
    /// The labels by which an episode is matched.
    #[must_use]
    pub fn labels(&self, episode: &Episode) -> BTreeMap<String, String> {
        let of_node = (self.labels)(episode.subject.name());
        control::labels(episode, self.rules.get(&episode.rule).map(|rule| &**rule), &of_node)
    }

    /// One alert; of a rule that is no longer there without its texts.
    #[must_use]
    pub fn alert(&self, episode: &Episode) -> v1::Alert {
        let rule = self.rules.get(&episode.rule);
        let acknowledgement = self.book.acknowledgement(episode, self.tick).cloned();
        let silenced_by = self.book.silenced_by(&self.labels(episode), self.tick);
        let bare = v1::Alert {
            episode: Some(episode.into()),
            sentence: format!("{}: {}", episode.subject, episode.rule),
            acknowledgement,
            silenced_by,
            ..v1::Alert::default()
        };
        let Some(rule) = rule else { return bare };
        let value = |value: f64| words::value(value, rule.unit);
        v1::Alert {
            sentence: words::sentence(rule, episode),
            description: words::filled(&rule.description, rule, episode),
            resolution: words::filled(&rule.resolution, rule, episode),
            runbook: rule.runbook.clone(),
            expression: rule.text.clone(),
            labels: rule.labels.clone().into_iter().collect(),
            unit: unit(rule.unit).to_owned(),
            value_text: value(episode.value),
            worst_text: value(episode.worst),
            limit_text: value(episode.limit.0),
            above: rule.above,
            ..bare
        }
    }

    /// All that are open, worst first, then oldest, with who stands under whom.
    #[must_use]
    pub fn open(&self) -> Vec<v1::Alert> {
        let mut open = self.book.open();
        open.sort_by(|a, b| {
            let key =
                |one: &Episode| (one.state != super::State::Firing, std::cmp::Reverse(one.severity), one.since, one.id);
            key(a).cmp(&key(b))
        });
        let mut alerts: Vec<v1::Alert> = open.iter().map(|episode| self.alert(episode)).collect();
        for (parent_at, parent) in open.iter().enumerate() {
            let Some(rule) = self.rules.get(&parent.rule).filter(|rule| !rule.children.is_empty()) else { continue };
            for (at, child) in open.iter().enumerate().filter(|(_, one)| verdict::is_child(rule, parent, one)) {
                alerts[at].parent = parent.id.to_string();
                alerts[parent_at].children.push(child.id.to_string());
            }
        }
        alerts
    }

    /// The verdict over all that are open and not silenced.
    #[must_use]
    pub fn verdict(&self, healthy: &str) -> v1::AlertVerdict {
        let open = self.book.open();
        let heard = open.into_iter().filter(|one| self.book.silenced_by(&self.labels(one), self.tick).is_empty());
        let with_rules: Vec<(&Rule, &Episode)> =
            heard.filter_map(|one| Some((&**self.rules.get(&one.rule)?, one))).collect();
        verdict::of(&with_rules, healthy)
    }
}

/// The word for a unit.
#[must_use]
pub const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Number => "number",
        Unit::Rate => "rate",
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "bytes_per_second",
        Unit::Share => "share",
        Unit::Time => "time",
    }
}

/// A rule as it is listed; `open` is how many episodes of it are open.
#[must_use]
pub fn rule(rule: &Rule, open: u32) -> v1::AlertRule {
    let level = |level: &super::rule::Level| v1::AlertLevel {
        severity: v1::AlertSeverity::from(level.severity).into(),
        fire: Some(level.fire),
        clear: Some(level.clear),
    };
    v1::AlertRule {
        name: rule.name.clone(),
        file: rule.file.to_string(),
        scope: v1::AlertScope::from(rule.scope).into(),
        expression: rule.text.clone(),
        when: rule.when_text.clone(),
        by: rule.by.clone(),
        above: rule.above,
        levels: rule.levels.iter().map(level).collect(),
        for_seconds: Some(rule.pending),
        hold_seconds: Some(rule.hold),
        on_partial: rule.on_partial.as_str().to_owned(),
        labels: rule.labels.clone().into_iter().collect(),
        summary: rule.summary.clone(),
        description: rule.description.clone(),
        resolution: rule.resolution.clone(),
        runbook: rule.runbook.clone(),
        open: Some(open),
        unit: unit(rule.unit).to_owned(),
        every_seconds: rule.every,
        ..v1::AlertRule::default()
    }
}
