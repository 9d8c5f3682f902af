//! An episode with all that people want to know of it.

use std::collections::{BTreeMap, HashMap};

use starling_proto::{catalogue::Unit, v1};

use super::{
    Book, Episode, EpisodeId, Matcher, Rule, Rules, State, Subject, backtest, control,
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
    /// Nodes that are gone, each with the episode that says so.
    gone: HashMap<&'a Subject, (&'a Rule, &'a Episode)>,
    /// What is unknown since, by the same.
    unknown: HashMap<&'a Subject, Vec<&'a Episode>>,
}

impl<'a> Shown<'a> {
    /// By `rules`, of the records in `book` as they are at `tick`; `labels` are those of a node.
    #[must_use]
    pub fn new(rules: &'a Rules, book: &'a Book, labels: &'a LabelsOf<'a>, tick: u32) -> Self {
        let (parents, gone, unknown) = (Vec::new(), HashMap::new(), HashMap::new());
        let mut shown = Self { rules, book, labels, tick, parents, gone, unknown };
        let has_children = rules.all().iter().any(|rule| !rule.children.is_empty());
        let knows_silence = rules.all().iter().any(|rule| rule.is_of_silence());
        let open = if has_children || knows_silence { book.open() } else { Vec::new() };
        let gone = open.iter().copied().filter(|one| one.state == State::Firing).filter_map(|one| {
            let rule: &'a Rule = rules.get(&one.rule).filter(|rule| rule.is_of_silence())?;
            Some((&one.subject, (rule, one)))
        });
        shown.gone = gone.collect();
        let unknown: Vec<&Episode> = open.iter().copied().filter(|one| shown.gone(one).is_some()).collect();
        for one in unknown {
            shown.unknown.entry(&one.subject).or_default().push(one);
        }
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
        let wider = self.parents.iter().find(holds).map(|(_, parent, _)| *parent);
        wider.or_else(|| self.gone(episode).filter(|gone| self.silenced_by(gone).is_empty()))
    }

    /// The episode that says that the node of `episode` is gone, when nothing is known of it since.
    fn gone(&self, episode: &Episode) -> Option<&'a Episode> {
        let (rule, gone) = self.gone.get(&episode.subject)?;
        family::is_of_gone(rule, gone, episode).then_some(*gone)
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
        if self.gone.get(&episode.subject).is_some_and(|(_, gone)| gone.id == episode.id) {
            let unknown = self.unknown.get(&episode.subject).into_iter().flatten();
            for (at, one) in unknown.take(NAMES_MAX).enumerate() {
                alert.sentence += if at == 0 { "; unknown since then: " } else { ", " };
                alert.sentence += &one.rule;
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

    fn node_labels(&self, episode: &Episode) -> impl Iterator<Item = control::Label> {
        let node = episode.subject.node().map(|node| (self.labels)(node.as_str()));
        node.into_iter().flatten()
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
            sentence: match self.gone(episode) {
                Some(_) => words::of_gone(rule, episode),
                None => words::sentence(rule, episode),
            },
            description: words::filled(&rule.description, rule, episode),
            resolution: words::filled(&rule.resolution, rule, episode),
            runbook: rule.runbook.clone(),
            expression: rule.text.clone(),
            labels: self.node_labels(episode).chain(rule.labels.clone()).collect(),
            unit: unit(rule.unit).to_owned(),
            value_text: words::measured(rule, episode),
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
        // What is unknown since its node is gone stands under that, whatever else it is part of.
        let places: HashMap<EpisodeId, usize> = open.iter().enumerate().map(|(at, one)| (one.id, at)).collect();
        for (at, one) in open.iter().enumerate() {
            let Some(gone) = self.gone(one) else { continue };
            alerts[at].parent = gone.id.to_string();
            if let Some(parent_at) = places.get(&gone.id) {
                alerts[*parent_at].children.push(one.id.to_string());
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

/// What of history an alert is charted by; `None` when its rule judges no series that is kept.
#[must_use]
pub fn chart(rule: &Rule, episode: &Episode) -> Option<v1::AlertChart> {
    let (wanted, reaches, of) = backtest::charted(rule)?;
    let series = wanted.into_iter().map(|one| v1::AlertChartSeries {
        name: one.name,
        attributes: one.attributes.into_iter().chain(episode.attributes.iter().cloned()).collect(),
        statistic: one.statistics.into_iter().next().unwrap_or_default(),
    });
    let limit = Some(reaches.unwrap_or(episode.limit.0));
    Some(v1::AlertChart { series: series.collect(), limit, unit: unit(of).to_owned() })
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

#[cfg(test)]
mod tests {
    use starling_proto::ids::NodeId;

    use super::*;
    use crate::{
        Record, defaults,
        judge::{self, Judged},
    };

    const T0: u32 = 1_800_025_378;

    /// An episode of `rule` that fires after `values`, a second each from [`T0`] on.
    fn run(rules: &Rules, rule: &str, node: &str, values: impl IntoIterator<Item = Option<f64>>) -> Episode {
        let rule = rules.get(rule).unwrap();
        let subject = Subject::Node(NodeId::parse(node).unwrap());
        let mut last = None;
        for (tick, value) in (T0..).zip(values) {
            let judged = Judged { tick, value, coverage: (9, 10) };
            last = judge::step(rule, (&subject, &[]), last.as_ref(), judged);
        }
        last.unwrap()
    }

    #[test]
    fn what_is_unknown_of_a_node_that_is_gone_stands_under_that() {
        // A59: its memory is full for two minutes, then it is switched off for ten.
        let rules = defaults::with(&[], &[]).unwrap();
        let full = || (0..120).map(|_| Some(0.98));
        let memory = run(&rules, "memory-low", "web-6", full().chain((0..600).map(|_| None)));
        let other = run(&rules, "memory-low", "web-7", full());
        let silent = (0..600).map(|second| Some(f64::from(second)));
        let gone = run(&rules, "node-gone", "web-6", (0..120).map(|_| Some(0.0)).chain(silent));
        let mut book = Book::default();
        for one in [&memory, &other, &gone] {
            book.put(Record::Episode((*one).clone()), u64::from(T0 + 1_000) * 1_000);
        }
        let labels = |_: &str| vec![("zone".to_owned(), "a".to_owned())];
        let shown = Shown::new(&rules, &book, &labels, T0 + 720);
        let open = shown.open();
        let of = |id: EpisodeId| {
            open.iter().find(|one| one.episode.as_ref().is_some_and(|e| e.episode_id == id.to_string())).unwrap()
        };
        let (under, parent) = (of(memory.id), of(gone.id));
        assert_eq!((&under.parent, &under.held_back_by), (&gone.id.to_string(), &gone.id.to_string()));
        assert_eq!(parent.children, [memory.id.to_string()]);
        assert!(of(other.id).parent.is_empty() && of(other.id).held_back_by.is_empty());
        assert!(under.sentence.ends_with("; unknown since 15:04:58 UTC: the node is gone"), "{}", under.sentence);
        assert_eq!(under.labels.get("zone").map(String::as_str), Some("a"));
        let told = shown.told(&gone).sentence;
        assert_eq!(told, "web-6 is gone: last heard 15:04:58 UTC, 9 min ago; unknown since then: memory-low");
        // It is back: nothing is held back, and the same episode goes on or says how long nothing was known.
        let mut over = gone.clone();
        over.end(T0 + 721, crate::Outcome::Recovered);
        book.put(Record::Episode(over), u64::from(T0 + 1_000) * 1_000);
        let shown = Shown::new(&rules, &book, &labels, T0 + 721);
        assert!(shown.alert(&memory).held_back_by.is_empty());
        let rule = rules.get("memory-low").unwrap();
        let back = (T0 + 720..T0 + 790).fold(memory, |last, tick| {
            let judged = Judged { tick, value: Some(0.3), coverage: (10, 10) };
            judge::step(rule, (&last.subject.clone(), &[]), Some(&last), judged).unwrap()
        });
        let sentence = shown.alert(&back).sentence;
        assert!(
            sentence.contains("(recovered); now 30 %") && sentence.ends_with("nothing was known for 10 min of it"),
            "{sentence}"
        );
    }
}
