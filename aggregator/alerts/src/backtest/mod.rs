//! What a rule would have said of history: read in steps, judged by the same machine as live seconds.
//!
//! A [`Plan`] says what is to be read of a rule, and in which steps: the coarsest that still show what the rule looks at. A
//! step of which the mean is beyond a limit counts as that many bad seconds. What history does not hold cannot be judged,
//! and is refused by name.

mod plan;

use starling_proto::{catalogue::Statistic, histogram::Histogram};

pub use self::plan::{Plan, Wanted, charted};
use super::{
    Episode, Rule, Severity, State, Subject, Values,
    expression::{Inputs, Sight, evaluate},
    judge::{self, Judged},
};

/// The steps that were read, oldest first. All vectors are of one length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// First second of each.
    pub ticks: Vec<u32>,
    /// Seconds of each.
    pub seconds: Vec<u32>,
    /// Nodes in each, and expected.
    pub coverage: Vec<(u32, u32)>,
}

/// What was read of one subject and one set of attributes.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// The attributes of [`Rule::by`].
    pub attributes: Vec<(String, String)>,
    /// For each of [`Plan::wanted`], for each of its statistics the value of each step; NaN where there is none.
    pub values: Vec<Vec<Vec<f64>>>,
}

/// One time that a rule would have fired.
#[derive(Debug, Clone, PartialEq)]
pub struct Fired {
    /// For whom.
    pub subject: Subject,
    /// For what of it.
    pub attributes: Vec<(String, String)>,
    /// The first bad second.
    pub since: u32,
    /// When it fired.
    pub fired: u32,
    /// When it was over; `None` of what is open at the end.
    pub ended: Option<u32>,
    /// The last second that was judged of it.
    pub judged: u32,
    /// The worst it was.
    pub severity: Severity,
    /// The value when it fired.
    pub value: f64,
    /// The worst value.
    pub worst: f64,
    /// How often it went from bad to good and back.
    pub crossings: u32,
}

impl Fired {
    fn of(episode: &Episode, fired: u32) -> Self {
        let severities = episode.severities.iter().map(|(_, severity)| *severity);
        Self {
            subject: episode.subject.clone(),
            attributes: episode.attributes.clone(),
            since: episode.since,
            fired,
            ended: episode.ended.map(|(tick, _)| tick),
            judged: episode.judged,
            severity: severities.max().unwrap_or(episode.severity),
            value: episode.value_at_firing,
            worst: episode.worst,
            crossings: episode.crossings,
        }
    }

    /// Seconds from the first bad one to the end.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.ended.unwrap_or(self.judged).saturating_sub(self.since)
    }
}

/// Lengths that are tried beside those of a rule: a breath, a hiccup, an outage.
pub const TRIED: [u32; 3] = [30, 120, 300];

/// The rule as it is, then with each longer hold and with each longer `for` of `holds` and `pendings`.
#[must_use]
pub fn variants(rule: &Rule, holds: &[u32], pendings: &[u32]) -> Vec<Rule> {
    let longer = |of: &[u32], than: u32| of.iter().copied().filter(|other| *other > than).collect::<Vec<_>>();
    let held = longer(holds, rule.hold).into_iter().map(|hold| rule.lasting(rule.pending, hold));
    let waited = longer(pendings, rule.pending).into_iter().map(|pending| rule.lasting(pending, rule.hold));
    std::iter::once(rule.clone()).chain(held).chain(waited).collect()
}

/// What the expression of `plan` comes to in each step; `None` where it has no verdict.
#[must_use]
pub fn values(plan: &Plan, steps: &Steps, columns: &Columns) -> Vec<Option<f64>> {
    let rule = &plan.rule;
    if rule.every.is_some() {
        // The answer is the value.
        let column = columns.values.first().and_then(|one| one.first());
        return column.into_iter().flatten().map(|value| (!value.is_nan()).then_some(*value)).collect();
    }
    let mut inputs = Inputs::new(&rule.expression, columns.attributes.clone());
    let mut when = rule.when.as_ref().map(|when| (when, Inputs::new(&when.expression, columns.attributes.clone())));
    let all = steps.ticks.iter().zip(&steps.seconds).zip(&steps.coverage).enumerate();
    let each = all.map(|(at, ((tick, seconds), coverage))| {
        let own = At { plan, columns, at, seconds: *seconds };
        let sight = Sight { own: &own, whole: None, firing: &|_| 0.0 };
        // Windows end with the step.
        let last = tick + seconds.saturating_sub(1);
        inputs.take(&rule.expression, last, sight);
        let mut judges = rule.on_partial.judges(coverage.0, coverage.1);
        if let Some((when, inputs)) = &mut when {
            inputs.take(&when.expression, last, sight);
            judges &= when.holds(evaluate(&when.expression, inputs));
        }
        evaluate(&rule.expression, &inputs).filter(|_| judges)
    });
    each.collect()
}

/// When `rule` would have fired for a subject that had these values; of a query those of a set of labels.
#[must_use]
pub fn fired(
    rule: &Rule,
    (subject, attributes): (&Subject, &[(String, String)]),
    steps: &Steps,
    values: &[Option<f64>],
) -> Vec<Fired> {
    let (mut all, mut last): (Vec<Fired>, Option<Episode>) = (Vec::new(), None);
    let each = steps.ticks.iter().zip(&steps.seconds).zip(&steps.coverage).zip(values);
    for (((&tick, &seconds), &coverage), &value) in each {
        let open = last.as_ref().is_some_and(Episode::is_open);
        let (who, judged) = ((subject, attributes), Judged { tick, value, coverage });
        last = match rule.every {
            None => judge::span(rule, who, last, judged, tick + seconds.saturating_sub(1)),
            Some(_) => judge::answered(rule, who, last.as_ref(), judged),
        };
        let Some(episode) = &last else { continue };
        if let (true, Some(fired), State::Cleared) = (open, episode.fired, episode.state) {
            all.push(Fired::of(episode, fired));
        }
    }
    let open = last.as_ref().filter(|episode| episode.is_open());
    all.extend(open.and_then(|episode| Some(Fired::of(episode, episode.fired?))));
    all
}

/// One step of one subject.
#[derive(Clone, Copy)]
struct At<'a> {
    plan: &'a Plan,
    columns: &'a Columns,
    at: usize,
    seconds: u32,
}

impl At<'_> {
    fn read(&self, name: &str, with: &[(&str, &str)], statistic: &str) -> Option<f64> {
        let own = |wanted: &Wanted| {
            let named = wanted.attributes.iter().chain(&self.columns.attributes);
            wanted.name == name && named.map(|(key, value)| (key.as_str(), value.as_str())).eq(with.iter().copied())
        };
        let place = self.plan.wanted.iter().position(own)?;
        let column = self.plan.wanted[place].statistics.iter().position(|one| one == statistic)?;
        let value = self.columns.values.get(place)?.get(column)?.get(self.at).copied()?;
        (!value.is_nan()).then_some(value)
    }
}

impl Values for At<'_> {
    fn statistic(&self, name: &str, with: &[(&str, &str)], statistic: Statistic) -> Option<f64> {
        self.read(name, with, &plan::word(statistic))
    }

    fn histogram(&self, _: &str, _: &[(&str, &str)]) -> Option<Histogram> {
        // Quantiles are read of the step as a whole, which is as long as the window.
        None
    }

    fn nodes_above(&self, _: &str, _: &[(&str, &str)], _: f64) -> Option<f64> {
        None
    }

    fn attributes(&self, _: &str, _: &[String]) -> Vec<Vec<String>> {
        Vec::new()
    }

    fn fact(&self, _: &str) -> Option<f64> {
        None
    }

    fn seconds(&self) -> u32 {
        self.seconds
    }

    fn extremes(&self, name: &str, with: &[(&str, &str)]) -> Option<(f64, f64)> {
        Some((self.read(name, with, plan::LOW)?, self.read(name, with, plan::HIGH)?))
    }
}

#[cfg(test)]
mod tests;
