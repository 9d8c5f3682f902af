//! What an expression comes to, second by second.

use starling_proto::{catalogue::Statistic, histogram::Histogram};

use super::{Expression, Input, Node, Operator, Over, Values};
use crate::window::{Span, Window};

/// The inputs of one expression for one subject, with what they look back on.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    /// The attributes that are read beside those of the expression.
    with: Vec<(String, String)>,
    windows: Vec<Option<Window>>,
    now: Vec<Option<f64>>,
    /// Of the trend that was read last: the earliest and the latest.
    between: Option<(f64, f64)>,
    /// Of expressions that compare: the same of the other nodes.
    others: Vec<Option<f64>>,
}

/// The inputs of an expression that compares, of the cluster: once for all its nodes.
#[derive(Debug, Clone)]
pub(crate) struct Wholes {
    /// The second that was taken last.
    tick: u32,
    windows: Vec<Option<Window>>,
    now: Vec<Option<All>>,
}

/// One input of all nodes together.
#[derive(Debug, Clone)]
struct All {
    /// The sum over nodes, of a window its mean or sum over time.
    sum: f64,
    nodes: f64,
    histogram: Option<Histogram>,
}

/// Of whom a second is read.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'a> {
    pub(crate) own: &'a dyn Values,
    /// The cluster, to compare a node with the others.
    pub(crate) whole: Option<&'a Wholes>,
    /// How many subjects another rule fires for.
    pub(crate) firing: &'a dyn Fn(&str) -> f64,
}

fn windows(expression: &Expression) -> Vec<Option<Window>> {
    let window = |input: &Input| input.selector().and_then(|selector| selector.window).map(Window::new);
    expression.inputs.iter().map(window).collect()
}

fn attributes<'a>(input: &'a Input, with: &'a [(String, String)]) -> Vec<(&'a str, &'a str)> {
    let own = input.selector().map_or(&[][..], |selector| &selector.with);
    own.iter().chain(with).map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

const fn is_quantile(statistic: Statistic) -> bool {
    matches!(statistic, Statistic::Quantile(_))
}

impl Wholes {
    pub(crate) fn new(expression: &Expression) -> Self {
        Self { tick: 0, windows: windows(expression), now: vec![None; expression.inputs.len()] }
    }

    /// Whether a second of the last ten minutes was taken: else nobody is compared with it any more.
    pub(crate) const fn is_of_late(&self, tick: u32) -> bool {
        self.tick.saturating_add(600) > tick
    }

    /// Takes second `tick`, once.
    pub(crate) fn take(&mut self, expression: &Expression, with: &[(String, String)], tick: u32, values: &dyn Values) {
        if self.tick == tick {
            return;
        }
        self.tick = tick;
        for ((input, window), now) in expression.inputs.iter().zip(&mut self.windows).zip(&mut self.now) {
            let Input::Metric { selector, statistic, over } = input else { continue };
            let (name, with) = (selector.name.as_str(), attributes(input, with));
            let seen = |statistic| values.statistic(name, &with, statistic);
            let histogram = if is_quantile(*statistic) { values.histogram(name, &with) } else { None };
            let nodes = seen(Statistic::Nodes);
            let sum = match *statistic {
                Statistic::Quantile(_) => None,
                Statistic::Count => seen(Statistic::Count),
                _ => seen(Statistic::Sum).or_else(|| seen(Statistic::Value)),
            };
            let (sum, histogram) = match window {
                None => (sum, histogram),
                Some(window) => {
                    window.push_span(tick, sum.map(|sum| span(values, input, &with, sum)), histogram.as_ref());
                    let sum = if *over == Over::Growth { window.sum() } else { window.mean() };
                    (sum, if is_quantile(*statistic) { window.histogram() } else { None })
                }
            };
            let nodes = nodes.unwrap_or(0.0);
            *now = (sum.is_some() || histogram.is_some()).then(|| All { sum: sum.unwrap_or(0.0), nodes, histogram });
        }
    }
}

impl Inputs {
    pub(crate) fn new(expression: &Expression, with: Vec<(String, String)>) -> Self {
        let count = expression.inputs.len();
        let others = if expression.compares { vec![None; count] } else { Vec::new() };
        Self { with, windows: windows(expression), now: vec![None; count], between: None, others }
    }

    /// Takes second `tick`.
    pub(crate) fn take(&mut self, expression: &Expression, tick: u32, sight: Sight<'_>) {
        for (at, input) in expression.inputs.iter().enumerate() {
            let with = attributes(input, &self.with);
            let window = self.windows[at].as_mut();
            if let (Input::Until { selector, limit }, Some(window)) = (input, window) {
                let seen = sight.own.statistic(&selector.name, &with, Statistic::Value);
                window.push_span(tick, seen.map(|seen| span(sight.own, input, &with, seen)), None);
                let until = window.until(*limit);
                (self.now[at], self.between) = (until.map(|one| one.seconds), until.and_then(|one| one.between));
                continue;
            }
            let (value, histogram) = read(input, &with, tick, sight, self.windows[at].as_mut());
            self.now[at] = value;
            if let Some(others) = self.others.get_mut(at) {
                let whole = sight.whole.and_then(|whole| whole.now[at].as_ref());
                *others = whole.and_then(|all| of_others(input, all, value, histogram.as_ref()));
            }
        }
    }
}

/// Of all nodes but our own: of histograms all values less ours, else the mean of the others. A second that the cluster does
/// not have yet as we have it says nothing of the others.
fn of_others(input: &Input, all: &All, value: Option<f64>, ours: Option<&Histogram>) -> Option<f64> {
    if let (Input::Metric { statistic: statistic @ Statistic::Quantile(_), .. }, Some(whole)) = (input, &all.histogram)
    {
        return match ours {
            Some(ours) => of_histogram(&whole.minus(ours).ok()?, *statistic),
            None => of_histogram(whole, *statistic),
        };
    }
    let (ours, mine) = value.map_or((0.0, 0.0), |value| (value, 1.0));
    let others = all.nodes - mine;
    (others >= 1.0).then(|| (all.sum - ours) / others)
}

/// What a window takes of `values`, of which `input` reads `mean`.
fn span(values: &dyn Values, input: &Input, with: &[(&str, &str)], mean: f64) -> Span {
    let extremes = input.selector().and_then(|selector| values.extremes(&selector.name, with));
    let (low, high) = extremes.unwrap_or((mean, mean));
    Span { seconds: values.seconds(), mean, low, high }
}

fn of_histogram(histogram: &Histogram, statistic: Statistic) -> Option<f64> {
    let Statistic::Quantile(ppm) = statistic else { return None };
    // Histograms are in billionths of their unit.
    histogram.quantile(f64::from(ppm) / 1e6).map(|value| value as f64 / 1e9)
}

/// What an input comes to; of quantiles with what they are read of.
fn read(
    input: &Input,
    with: &[(&str, &str)],
    tick: u32,
    sight: Sight<'_>,
    window: Option<&mut Window>,
) -> (Option<f64>, Option<Histogram>) {
    let own = sight.own;
    let value = match input {
        Input::Fact(name) => own.fact(name),
        Input::Firing(rule) => Some((sight.firing)(rule)),
        Input::Nodes { selector, than } => own.nodes_above(&selector.name, with, *than),
        // Read with its interval, see [`Inputs::take`].
        Input::Until { .. } => None,
        Input::Metric { selector, statistic, .. } if is_quantile(*statistic) => {
            let seen = own.histogram(&selector.name, with);
            let all = match window {
                Some(window) => {
                    window.push_span(tick, None, seen.as_ref());
                    window.histogram()
                }
                None => seen,
            };
            // A quantile over the nodes of a gauge is read of no histogram of values.
            let value = match &all {
                Some(all) => of_histogram(all, *statistic),
                None => own.statistic(&selector.name, with, *statistic),
            };
            return (value, all);
        }
        Input::Metric { selector, statistic, over } => {
            let seen = own.statistic(&selector.name, with, *statistic);
            match window {
                None => seen,
                Some(window) => {
                    window.push_span(tick, seen.map(|seen| span(own, input, with, seen)), None);
                    match over {
                        Over::Mean => window.mean(),
                        Over::Growth => window.sum(),
                        Over::Highest => window.high(),
                        Over::Lowest => window.low(),
                    }
                }
            }
        }
    };
    (value, None)
}

/// What the expression comes to in the second that was taken last.
pub(crate) fn evaluate(expression: &Expression, inputs: &Inputs) -> Option<f64> {
    of_node(&expression.root, inputs).filter(|value| value.is_finite())
}

/// Between which values that lies, of an expression that is a trend and nothing else.
pub(crate) fn between(expression: &Expression, inputs: &Inputs) -> Option<(f64, f64)> {
    let is_trend =
        matches!((&expression.root, expression.inputs.as_slice()), (Node::Input { .. }, [Input::Until { .. }]));
    inputs.between.filter(|_| is_trend)
}

fn of_node(node: &Node, inputs: &Inputs) -> Option<f64> {
    match node {
        Node::Number(value) => Some(*value),
        Node::Input { at, peers: true } => *inputs.others.get(*at)?,
        Node::Input { at, peers: false } => *inputs.now.get(*at)?,
        Node::Two(left, operator, right) => {
            let (left, right) = (of_node(left, inputs)?, of_node(right, inputs)?);
            match operator {
                Operator::Plus => Some(left + right),
                Operator::Minus => Some(left - right),
                Operator::Times => Some(left * right),
                Operator::Per => (right != 0.0).then(|| left / right),
            }
        }
    }
}
