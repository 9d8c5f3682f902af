//! An episode with all that people want to know of it.

use std::collections::BTreeMap;

use starling_proto::{catalogue::Unit, v1};

use super::{
    Book, Episode, Matcher, Rule, Rules, State, control,
    family::{self, LabelsOf},
    verdict, words,
};

/// Names that a message has of those that stand under what it is about.
const NAMES_MAX: usize = 5;

/// Makes alerts of episodes.
pub struct Shown<'a> {
    /// The rules in force.
    pub rules: &'a Rules,
    /// All records.
    pub book: &'a Book,
    /// The labels of a node.
    pub labels: &'a LabelsOf<'a>,
    /// The second now.
    pub tick: u32,
    /// What fires or did a moment ago and has others under it, and whether it is silenced.
    parents: Vec<(&'a Rule, &'a Episode, bool)>,
}

impl<'a> Shown<'a> {
    /// By `rules`, of the records in `book` as they are at `tick`; `labels` are those of a node.
    #[must_use]
    pub fn new(rules: &'a Rules, book: &'a Book, labels: &'a LabelsOf<'a>, tick: u32) -> Self {
        let mut shown = Self { rules, book, labels, tick, parents: Vec::new() };
        let has_children = rules.all().iter().any(|rule| !rule.children.is_empty());
        let open = if has_children { book.open() } else { Vec::new() };
        let over = book.episodes().filter(|one| has_children && family::settles(one, tick));
        let parents = open.into_iter().filter(|one| one.state == State::Firing).chain(over).filter_map(|one| {
            let rule: &'a Rule = rules.get(&one.rule).filter(|rule| !rule.children.is_empty())?;
            Some((rule, one, !shown.silenced_by(one).is_empty()))
        });
        shown.parents = parents.collect();
        shown
    }

    /// The firing episode that messages about `episode` wait for, see [`family::holds_back`].
    fn held_back_by(&self, episode: &Episode) -> Option<&'a Episode> {
        let holds = |(rule, parent, is_silenced): &&(&Rule, &Episode, bool)| {
            family::is_child(rule, parent, episode, self.labels)
                && family::holds_back(parent, *is_silenced, episode, self.tick)
        };
        self.parents.iter().find(holds).map(|(_, parent, _)| *parent)
    }

    /// One alert as messages have it: with the names of those that stand under it.
    #[must_use]
    pub fn told(&self, episode: &Episode) -> v1::Alert {
        let mut alert = self.alert(episode);
        if let Some((rule, parent, _)) =
            self.parents.iter().find(|(_, parent, _)| parent.id == episode.id && parent.is_open())
        {
            let under = family::culprits(rule, parent, self.book.open().into_iter(), self.labels);
            for (at, one) in under.iter().take(NAMES_MAX).enumerate() {
                alert.sentence += if at == 0 { ": " } else { ", " };
                alert.sentence += &one.subject.to_string();
            }
            if under.len() > NAMES_MAX {
                alert.sentence += &format!(" and {} more", under.len() - NAMES_MAX);
            }
        }
        alert
    }
    /// The labels by which an episode is matched.
    #[must_use]
    pub fn labels(&self, episode: &Episode) -> BTreeMap<String, String> {
        let of_node = (self.labels)(episode.subject.name());
        control::labels(episode, self.rules.get(&episode.rule).map(|rule| &**rule), &of_node)
    }

    fn is_of_alerting(&self, episode: &Episode) -> bool {
        self.rules.get(&episode.rule).is_some_and(|rule| rule.is_of_alerting())
    }

    fn silenced_by(&self, episode: &Episode) -> Vec<String> {
        self.book.silenced_by(&self.labels(episode), self.is_of_alerting(episode), self.tick)
    }

    /// Whether somebody looks after it or it is silenced.
    #[must_use]
    pub fn is_quiet(&self, episode: &Episode) -> bool {
        self.book.acknowledgement(episode, self.tick).is_some() || !self.silenced_by(episode).is_empty()
    }

    /// Whether a silence of these matchers covers an episode.
    #[must_use]
    pub fn is_covered(&self, episode: &Episode, matchers: &[Matcher]) -> bool {
        control::covers(matchers, &self.labels(episode), self.is_of_alerting(episode))
    }

    /// One alert; of a rule that is no longer there without its texts.
    #[must_use]
    pub fn alert(&self, episode: &Episode) -> v1::Alert {
        let rule = self.rules.get(&episode.rule);
        let acknowledgement = self.book.acknowledgement(episode, self.tick).cloned();
        let silenced_by = self.silenced_by(episode);
        let held_back_by = self.held_back_by(episode).map_or_else(String::new, |parent| parent.id.to_string());
        let bare = v1::Alert {
            held_back_by,
            episode: Some(episode.into()),
            sentence: words::bare(episode),
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
            let key = |one: &Episode| (one.state != State::Firing, std::cmp::Reverse(one.severity), one.since, one.id);
            key(a).cmp(&key(b))
        });
        let mut alerts: Vec<v1::Alert> = open.iter().map(|episode| self.alert(episode)).collect();
        for (parent_at, parent) in open.iter().enumerate() {
            let Some(rule) = self.rules.get(&parent.rule).filter(|rule| !rule.children.is_empty()) else { continue };
            for (at, child) in
                open.iter().enumerate().filter(|(_, one)| family::is_child(rule, parent, one, self.labels))
            {
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
        let heard = open.into_iter().filter(|one| self.silenced_by(one).is_empty());
        let with_rules: Vec<(&Rule, &Episode)> =
            heard.filter_map(|one| Some((&**self.rules.get(&one.rule)?, one))).collect();
        verdict::of(&with_rules, self.labels, healthy)
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
