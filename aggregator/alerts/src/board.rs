//! All rules over all subjects, a second at a time.

use std::{collections::HashMap, sync::Arc};

use super::{
    Episode, Outcome, Rule, Rules, Subject,
    expression::{Inputs, Sight, Values, Wholes, between, evaluate},
    judge::{self, Judged},
    subject::INSTANCES_MAX,
};

/// Seconds an episode that is over is remembered for what comes after it.
const OVER_SECONDS: u32 = judge::FLAP_SECONDS;
/// Seconds in which a subject reports and there is no verdict, from which on what fires is no longer known: a mount that is gone, a
/// condition that holds no longer. Of a subject that is silent it goes on.
const UNJUDGED_MAX: u32 = 3_600;

/// Longest detail of a fact, in characters.
const DETAIL_MAX: usize = 200;

/// One second of one subject.
#[derive(Clone, Copy)]
pub struct Second<'a> {
    /// Which.
    pub tick: u32,
    /// Whose.
    pub subject: &'a Subject,
    /// Its values; `None` of a subject that has none.
    pub values: Option<&'a dyn Values>,
    /// Nodes that are in it, and that are expected.
    pub coverage: (u32, u32),
}

/// What is known beside.
#[derive(Clone, Copy)]
pub struct Whole<'a> {
    /// The same second of the cluster, to compare nodes with each other.
    pub values: Option<&'a dyn Values>,
    /// For how many subjects a rule fires now.
    pub firing: &'a dyn Fn(&str) -> f64,
}

/// One rule for one subject and one set of attributes.
struct Instance {
    attributes: Vec<(String, String)>,
    inputs: Inputs,
    when: Option<Inputs>,
    last: Option<Episode>,
    /// The last second in which the series were there.
    seen: u32,
    /// Seconds in a row in which the subject was there and had no verdict.
    unjudged: u32,
}

impl Instance {
    fn new(rule: &Rule, attributes: Vec<(String, String)>, tick: u32) -> Self {
        let inputs = Inputs::new(&rule.expression, attributes.clone());
        let when = rule.when.as_ref().map(|when| Inputs::new(&when.expression, attributes.clone()));
        Self { attributes, inputs, when, last: None, seen: tick, unjudged: 0 }
    }

    fn judge(&mut self, rule: &Rule, second: &Second<'_>, sight: Option<Sight<'_>>) -> Option<&Episode> {
        let mut value = None;
        // What a window still holds of a subject that is silent says nothing of now.
        let is_there = sight.is_some_and(|sight| sight.own.is_there() || rule.expression.first_metric().is_none());
        let is_whole = rule.on_partial.judges(second.coverage.0, second.coverage.1);
        if let Some(sight) = sight {
            self.inputs.take(&rule.expression, second.tick, sight);
            let mut judges = is_there && is_whole;
            if let (Some(when), Some(inputs)) = (&rule.when, &mut self.when) {
                inputs.take(&when.expression, second.tick, sight);
                judges &= when.holds(evaluate(&when.expression, inputs));
            }
            value = evaluate(&rule.expression, &self.inputs).filter(|_| judges);
        }
        self.unjudged = match value {
            Some(_) => 0,
            None => self.unjudged + u32::from(is_there && is_whole),
        };
        let judged = Judged { tick: second.tick, value, coverage: second.coverage };
        let mut next = judge::step(rule, (second.subject, &self.attributes), self.last.as_ref(), judged);
        if let Some(next) = next.as_mut().filter(|next| next.is_open() && self.unjudged >= UNJUDGED_MAX) {
            next.end(second.tick, Outcome::Forgotten);
        }
        if let Some(next) = next.as_mut().filter(|next| value.is_some() && next.judged == second.tick) {
            next.between = between(&rule.expression, &self.inputs);
            // Of what is over the last one stays.
            let mut details = rule.expression.facts().filter_map(|fact| sight?.own.detail(fact));
            if let Some(detail) = details.find(|detail| !detail.is_empty()) {
                next.detail = detail.chars().take(DETAIL_MAX).collect();
            }
        }
        let next = next.filter(|next| !is_past(next, second.tick));
        let changed = match (&self.last, &next) {
            (Some(last), Some(next)) => last != next,
            (None, next) => next.is_some(),
            (Some(_), None) => false,
        };
        self.last = next;
        self.last.as_ref().filter(|_| changed)
    }
}

/// See the module.
pub struct Board {
    rules: Rules,
    /// By subject, then by the place of the rule.
    subjects: HashMap<Subject, Vec<Vec<Instance>>>,
    /// Of rules that compare nodes, by the place of the rule and the attributes: the cluster.
    wholes: HashMap<(usize, Vec<(String, String)>), Wholes>,
    left_out: u64,
    costs: Option<Costs>,
}

/// What the rules cost, each by its place.
struct Costs {
    /// Nanoseconds of a clock that never goes back.
    clock: fn() -> u64,
    nanos: Vec<u64>,
}

impl Board {
    /// Of these rules; nothing seen yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, subjects: HashMap::new(), wholes: HashMap::new(), left_out: 0, costs: None }
    }

    /// The rules in force.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Sets of attributes that found no place so far (`INSTANCES_MAX`).
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// From now on takes the time of each rule by `clock`, in nanoseconds; or no longer.
    pub fn measure(&mut self, clock: Option<fn() -> u64>) {
        self.costs = clock.map(|clock| Costs { clock, nanos: vec![0; self.rules.all().len()] });
    }

    /// The rule that took most of the time since [`Board::measure`], with its part of all.
    #[must_use]
    pub fn dearest(&self) -> Option<(&str, f64)> {
        let nanos = &self.costs.as_ref()?.nanos;
        let all: u64 = nanos.iter().sum();
        let (rule, most) = self.rules.all().iter().zip(nanos).max_by_key(|(_, nanos)| **nanos)?;
        (*most > 0).then(|| (rule.name.as_str(), *most as f64 / all as f64))
    }

    /// Judges a second by all rules of its scope. Returns the episodes that it changed, those too of which only the value or
    /// the second is another.
    pub fn judge(&mut self, second: &Second<'_>, whole: &Whole<'_>) -> Vec<Episode> {
        let rules = self.rules.all();
        let of_subject =
            self.subjects.entry(second.subject.clone()).or_insert_with(|| rules.iter().map(|_| Vec::new()).collect());
        let mut changed = Vec::new();
        for (place, (rule, instances)) in rules.iter().zip(of_subject).enumerate() {
            if rule.scope != second.subject.scope() || rule.every.is_some() {
                continue;
            }
            let began = self.costs.as_ref().map(|costs| (costs.clock)());
            self.left_out += grow(rule, instances, second);
            for instance in instances.iter_mut() {
                let all = whole.values.filter(|_| rule.expression.compares).map(|values| {
                    let key = (place, instance.attributes.clone());
                    let all = self.wholes.entry(key).or_insert_with(|| Wholes::new(&rule.expression));
                    all.take(&rule.expression, &instance.attributes, second.tick, values);
                    &*all
                });
                let sight = second.values.map(|own| Sight { own, whole: all, firing: whole.firing });
                changed.extend(instance.judge(rule, second, sight).cloned());
            }
            // What is no longer reported is forgotten, unless something is open that waits for it.
            instances.retain(|instance| {
                instance.last.as_ref().is_some_and(Episode::is_open) || instance.seen + OVER_SECONDS > second.tick
            });
            if let (Some(costs), Some(began)) = (&mut self.costs, began)
                && let Some(nanos) = costs.nanos.get_mut(place)
            {
                *nanos += (costs.clock)().saturating_sub(began);
            }
        }
        if *second.subject == Subject::Cluster {
            self.wholes.retain(|_, all| all.is_of_late(second.tick));
        }
        changed
    }

    /// Judges what the query of a rule answered of second `tick`. Returns the episodes that it changed.
    pub fn answered(
        &mut self,
        rule: &str,
        tick: u32,
        answer: &crate::query::Answered,
        coverage: (u32, u32),
    ) -> Vec<Episode> {
        let rules = self.rules.all();
        let found = rules.iter().position(|known| known.name == rule);
        let Some((place, rule)) = found.map(|place| (place, &rules[place])).filter(|(_, rule)| rule.every.is_some())
        else {
            return Vec::new();
        };
        self.left_out += answer.left_out;
        let of_subject =
            self.subjects.entry(Subject::Cluster).or_insert_with(|| rules.iter().map(|_| Vec::new()).collect());
        let instances = &mut of_subject[place];
        let known: HashMap<&[(String, String)], f64> =
            answer.values.iter().map(|(labels, value)| (labels.as_slice(), *value)).collect();
        for (labels, _) in &answer.values {
            if instances.iter().any(|one| one.attributes == *labels) {
                continue;
            }
            if instances.len() < INSTANCES_MAX {
                instances.push(Instance::new(rule, labels.clone(), tick));
            } else {
                self.left_out += 1;
            }
        }
        let mut changed = Vec::new();
        for instance in instances.iter_mut() {
            let value = known.get(instance.attributes.as_slice()).copied();
            let judged = Judged { tick, value, coverage };
            let last = instance.last.as_ref();
            let next = judge::answered(rule, (&Subject::Cluster, &instance.attributes), last, judged);
            instance.seen = if value.is_some() { tick } else { instance.seen };
            if let Some(next) = next.as_ref().filter(|next| Some(*next) != last) {
                changed.push(next.clone());
            }
            instance.last = next.filter(|next| !is_past(next, tick));
        }
        instances.retain(|one| one.last.is_some() || one.seen == tick);
        changed
    }

    /// Goes on at second `tick` with an episode as the book has it: it takes the place of what is known here when it is a newer
    /// reading of the same one, began first of two that are open, or is open while what is known here is over. Returns what the
    /// book is to have in its place: one that is over although it is open there, or a reading with more transitions.
    pub fn adopt(&mut self, episode: &Episode, tick: u32) -> Option<Episode> {
        let over = |outcome| {
            let mut over = episode.clone();
            over.end(tick, outcome);
            over
        };
        let rules = self.rules.all();
        let same = |rule: &Arc<Rule>| rule.name == episode.rule && rule.fingerprint() == episode.fingerprint;
        let Some(at) = rules.iter().position(same) else {
            return episode.is_open().then(|| over(Outcome::RuleChanged));
        };
        if !self.subjects.contains_key(&episode.subject) {
            self.subjects.insert(episode.subject.clone(), rules.iter().map(|_| Vec::new()).collect());
        }
        let instances = &mut self.subjects.get_mut(&episode.subject)?[at];
        let instance = match instances.iter().position(|one| one.attributes == episode.attributes) {
            Some(at) => &mut instances[at],
            None if instances.len() < INSTANCES_MAX => {
                instances.push(Instance::new(&rules[at], episode.attributes.clone(), episode.judged));
                instances.last_mut()?
            }
            None => return None,
        };
        let takes = match &instance.last {
            None => true,
            Some(last) if last.id == episode.id && last.progress() > episode.progress() => return Some(last.clone()),
            Some(last) if last.id == episode.id => episode.newer(last).is_gt(),
            Some(last) if last.is_open() && episode.is_open() => {
                if (last.since, last.id) < (episode.since, episode.id) {
                    return Some(over(Outcome::Merged));
                }
                true
            }
            Some(last) if last.is_open() => false,
            Some(last) => episode.is_open() || episode.judged > last.judged,
        };
        if takes {
            instance.last = Some(episode.clone());
        }
        None
    }

    /// Puts other rules in force. Open episodes of rules that judge as before go on; the others end at `tick`, and are
    /// returned.
    pub fn replace(&mut self, rules: Rules, tick: u32) -> Vec<Episode> {
        let before = std::mem::replace(&mut self.rules, rules);
        self.wholes.clear();
        self.costs = None;
        let places: Vec<Option<usize>> = before
            .all()
            .iter()
            .map(|old| {
                let same = |new: &Arc<Rule>| new.name == old.name && new.fingerprint() == old.fingerprint();
                self.rules.all().iter().position(same)
            })
            .collect();
        let mut ended = Vec::new();
        for of_subject in self.subjects.values_mut() {
            let mut next: Vec<Vec<Instance>> = self.rules.all().iter().map(|_| Vec::new()).collect();
            for (place, instances) in places.iter().zip(std::mem::take(of_subject)) {
                match place {
                    Some(place) => next[*place] = instances,
                    None => ended.extend(instances.into_iter().filter_map(|one| over(one, tick, Outcome::RuleChanged))),
                }
            }
            *of_subject = next;
        }
        ended
    }

    /// Forgets a subject. Its open episodes end at `tick`, and are returned.
    pub fn forget(&mut self, subject: &Subject, tick: u32, outcome: Outcome) -> Vec<Episode> {
        let all = self.subjects.remove(subject).into_iter().flatten().flatten();
        all.filter_map(|instance| over(instance, tick, outcome)).collect()
    }

    /// Stops judging a subject that another process judges from now on: nothing ends.
    pub fn hand_over(&mut self, subject: &Subject) {
        self.subjects.remove(subject);
    }
}

/// Whether an episode is over for so long that it says nothing of the next one.
fn is_past(episode: &Episode, tick: u32) -> bool {
    episode.ended.is_some_and(|(end, _)| end + OVER_SECONDS < tick)
}

/// Makes instances for the attributes that are there. Returns how many found no place.
fn grow(rule: &Rule, instances: &mut Vec<Instance>, second: &Second<'_>) -> u64 {
    let Some(values) = second.values else { return 0 };
    let sets = match (rule.by.as_slice(), rule.expression.first_metric()) {
        ([], _) | (_, None) => vec![Vec::new()],
        (by, Some(metric)) => values.attributes(&metric.name, by),
    };
    let mut left_out = 0;
    for set in sets {
        let is = |one: &Instance| one.attributes.iter().map(|(_, value)| value).eq(&set);
        match instances.iter().position(is) {
            Some(known) => instances[known].seen = second.tick,
            None if instances.len() < INSTANCES_MAX => {
                instances.push(Instance::new(rule, rule.by.iter().cloned().zip(set).collect(), second.tick));
            }
            None => left_out += 1,
        }
    }
    left_out
}

fn over(instance: Instance, tick: u32, outcome: Outcome) -> Option<Episode> {
    let mut last = instance.last.filter(Episode::is_open)?;
    last.end(tick, outcome);
    Some(last)
}

#[cfg(test)]
mod tests;
