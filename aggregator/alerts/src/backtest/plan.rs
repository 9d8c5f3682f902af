//! What is to be read of history for a rule, and in which steps.

use std::{collections::BTreeSet, sync::Arc};

use starling_proto::catalogue::{self, Kind, OverNodes, Statistic, Unit};

use crate::{
    Rule, Scope,
    expression::{Input, Node, Operator, Over, Selector},
    words::length,
};

/// Steps in which history is kept, in seconds.
const TIERS: [u32; 4] = [3_600, 60, 10, 1];
/// Parts of the window of a trend; at least half of them must have data.
const TREND_PARTS: u32 = 12;
/// The smallest second of a step, as questions over time call it.
pub(super) const LOW: &str = "min";
/// The largest one.
pub(super) const HIGH: &str = "max";

/// One series that a rule reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Name of the metric.
    pub name: String,
    /// Attributes that it must have, beside those of [`Rule::by`].
    pub attributes: Vec<(String, String)>,
    /// What is read of each step, as questions over time call it.
    pub statistics: Vec<String>,
}

/// How a rule is judged over history.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) rule: Arc<Rule>,
    /// What is to be read; of a query nothing but itself.
    pub wanted: Vec<Wanted>,
    /// Seconds of a step, of a query between two evaluations.
    pub step: u32,
    /// What differs from the rule as it is judged live, for people.
    pub notes: Vec<String>,
}

/// How questions over time call a statistic of live seconds.
pub(super) fn word(statistic: Statistic) -> String {
    match statistic {
        // Values a second.
        Statistic::Count => "rate".to_owned(),
        other => other.to_string(),
    }
}

impl Plan {
    /// The plan of a rule.
    ///
    /// # Errors
    /// What of the rule history does not hold.
    pub fn of(rule: &Arc<Rule>) -> Result<Self, String> {
        if let Some(every) = rule.every {
            return Ok(Self { rule: Arc::clone(rule), wanted: Vec::new(), step: every, notes: Vec::new() });
        }
        if rule.expression.compares {
            return Err(
                "peers(...) compares each node with the values of all others in one second: history keeps each \
                        node's own"
                    .to_owned(),
            );
        }
        let when = rule.when.iter().flat_map(|when| &when.expression.inputs);
        let inputs: Vec<&Input> = rule.expression.inputs.iter().chain(when).collect();
        let mut wanted: Vec<Wanted> = Vec::new();
        for input in &inputs {
            let (selector, statistics) = read_of(input, rule.scope)?;
            let same = |one: &&mut Wanted| one.name == selector.name && one.attributes == selector.with;
            match wanted.iter_mut().find(same) {
                Some(known) => {
                    let missing = statistics.into_iter().filter(|one| !known.statistics.contains(one));
                    known.statistics.extend(missing.collect::<Vec<_>>());
                }
                None => {
                    let (name, attributes) = (selector.name.clone(), selector.with.clone());
                    wanted.push(Wanted { name, attributes, statistics });
                }
            }
        }
        if wanted.is_empty() {
            return Err("the expression reads no metric".to_owned());
        }
        let step = step(rule, &inputs)?;
        let mut plan = Self { rule: Arc::clone(rule), wanted, step: 0, notes: Vec::new() };
        plan.judge_by(step);
        Ok(plan)
    }

    /// The rule that is judged.
    #[must_use]
    pub const fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    /// Judges in steps of so many seconds: history holds no shorter ones, or they were asked for.
    pub fn judge_by(&mut self, step: u32) {
        self.step = step;
        self.notes.clear();
        if let Some(every) = self.rule.every {
            if step != every {
                self.notes.push(format!("asked every {} instead of every {}", length(step), length(every)));
            }
            return;
        }
        if step == 1 {
            return;
        }
        let text = format!(
            "judged in steps of {0}: the mean of a step stands for each of its seconds, what is shorter than {0} can be \
             missed, and times are right to {0}",
            length(step)
        );
        self.notes.push(text);
        let when = self.rule.when.iter().flat_map(|when| &when.expression.inputs);
        let windows: BTreeSet<u32> = self.rule.expression.inputs.iter().chain(when).filter_map(window).collect();
        let short: Vec<String> = windows.iter().filter(|window| **window < step).map(|one| length(*one)).collect();
        if !short.is_empty() {
            self.notes.push(format!("windows of {} are as long as a step here", short.join(" and ")));
        }
    }
}

fn window(input: &Input) -> Option<u32> {
    input.selector().and_then(|selector| selector.window)
}

/// What is read of history for an input.
fn read_of(input: &Input, scope: Scope) -> Result<(&Selector, Vec<String>), String> {
    let refused = |what: String| Err(format!("{what}: history does not hold it"));
    let (selector, statistic, over) = match input {
        Input::Fact(name) => return refused(format!("{name} is a fact of the moment")),
        Input::Firing(rule) => return refused(format!("firing({rule:?}) counts episodes that were open")),
        Input::Nodes { selector, .. } => {
            return refused(format!("nodes({} > ...) counts nodes second by second", selector.name));
        }
        Input::Until { selector, .. } => (selector, Statistic::Value, Over::Mean),
        Input::Metric { selector, statistic, over } => (selector, *statistic, *over),
    };
    let metric = catalogue::find(&selector.name);
    let kind = metric.map(|metric| metric.kind);
    let one_node = scope == Scope::Node;
    let statistic = match (statistic, kind) {
        (Statistic::Value | Statistic::Count | Statistic::Nodes | Statistic::Quantile(_), _)
        | (Statistic::Mean | Statistic::Max, Some(Kind::Histogram)) => word(statistic),
        // Of one node they are all the same.
        (_, Some(Kind::Counter | Kind::Gauge)) if one_node => word(Statistic::Value),
        (Statistic::Sum, Some(Kind::Counter)) => word(Statistic::Value),
        (Statistic::Mean, Some(Kind::Gauge)) if metric.is_some_and(|one| one.over_nodes == OverNodes::Mean) => {
            word(Statistic::Value)
        }
        _ => return refused(format!("{statistic}({}) is made of the nodes of each second", selector.name)),
    };
    let mut statistics = vec![statistic];
    if matches!(over, Over::Highest | Over::Lowest) {
        statistics.extend([LOW.to_owned(), HIGH.to_owned()]);
    }
    Ok((selector, statistics))
}

/// The series whose values, or whose ratio when there are two, are those that `rule` judges, or nearly: of each step in the place of
/// each window. With what a trend is to reach, in the unit of its metric, and that unit. `None`: it judges no such series.
#[must_use]
pub fn charted(rule: &Rule) -> Option<(Vec<Wanted>, Option<f64>, Unit)> {
    let inputs = &rule.expression.inputs;
    let is_plain = match (&rule.expression.root, inputs.as_slice()) {
        (Node::Input { peers: false, .. }, [_]) => true,
        (Node::Two(above, Operator::Per, below), [_, _]) => {
            matches!((&**above, &**below), (Node::Input { at: 0, peers: false }, Node::Input { at: 1, peers: false }))
        }
        _ => false,
    };
    // A sum over a window is not what a step holds.
    let is_sum = |input: &Input| matches!(input, Input::Metric { over: Over::Growth, .. });
    if !is_plain || rule.every.is_some() || inputs.iter().any(is_sum) {
        return None;
    }
    let wanted = inputs.iter().map(|input| {
        let (selector, statistics) = read_of(input, rule.scope).ok()?;
        let statistics = statistics.into_iter().take(1).collect();
        Some(Wanted { name: selector.name.clone(), attributes: selector.with.clone(), statistics })
    });
    let wanted: Vec<Wanted> = wanted.collect::<Option<_>>()?;
    match inputs.as_slice() {
        [Input::Until { selector, limit }] => {
            let unit = catalogue::find(&selector.name).map_or(Unit::Number, |metric| metric.shown_as);
            Some((wanted, Some(*limit), unit))
        }
        _ => Some((wanted, None, rule.unit)),
    }
}

/// The coarsest step that shows what a rule looks at: not longer than its shortest window, or than `for` when that is longer.
fn step(rule: &Rule, inputs: &[&Input]) -> Result<u32, String> {
    let is_quantile = |input: &&&Input| {
        matches!(input, Input::Metric { statistic: Statistic::Quantile(_), selector, .. }
            if catalogue::find(&selector.name).is_none_or(|metric| metric.kind == Kind::Histogram))
    };
    let of_quantiles: BTreeSet<u32> = inputs.iter().filter(is_quantile).filter_map(|input| window(input)).collect();
    let of_trends =
        inputs.iter().filter(|input| matches!(input, Input::Until { .. })).filter_map(|input| window(input));
    let most = of_trends.map(|window| window / TREND_PARTS).min().unwrap_or(u32::MAX);
    let shortest = inputs.iter().map(|input| window(input).unwrap_or(1)).min().unwrap_or(1);
    let wanted = shortest.max(rule.pending).min(most).max(1);
    match of_quantiles.iter().copied().collect::<Vec<_>>().as_slice() {
        // Merged in one step: histograms of several are not sent.
        [window] if *window >= 10 => Ok(*window),
        [] | [_] => Ok(TIERS.into_iter().find(|tier| *tier <= wanted).unwrap_or(1)),
        [first, .., last] => Err(format!(
            "it compares quantiles over {} with those over {}: history is read in steps of one length",
            length(*first),
            length(*last)
        )),
    }
}
