//! What an expression comes to, second by second.

use starling_proto::{catalogue::Statistic, histogram::Histogram};

use super::{Expression, Input, Node, Operator, Over, Selector, Values};
use crate::window::Window;

/// The inputs of one expression for one subject, with what they look back on.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    /// The attributes that are read beside those of the expression.
    with: Vec<(String, String)>,
    own: Vec<Option<Window>>,
    peers: Vec<Option<Window>>,
    now: Vec<Option<f64>>,
    now_peers: Vec<Option<f64>>,
}

/// Of whom a second is read.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'a> {
    pub(crate) own: &'a dyn Values,
    /// The cluster, to compare a node with the others.
    pub(crate) whole: Option<&'a dyn Values>,
    /// How many subjects another rule fires for.
    pub(crate) firing: &'a dyn Fn(&str) -> f64,
}

impl Inputs {
    pub(crate) fn new(expression: &Expression, with: Vec<(String, String)>) -> Self {
        let window = |input: &Input| input.selector().and_then(|selector| selector.window).map(Window::new);
        let windows: Vec<_> = expression.inputs.iter().map(window).collect();
        let count = windows.len();
        let peers = if expression.compares { windows.clone() } else { Vec::new() };
        let now_peers = if expression.compares { vec![None; count] } else { Vec::new() };
        Self { with, own: windows, peers, now: vec![None; count], now_peers }
    }

    /// Takes second `tick`.
    pub(crate) fn take(&mut self, expression: &Expression, tick: u32, sight: Sight<'_>) {
        for (at, input) in expression.inputs.iter().enumerate() {
            let with: Vec<(&str, &str)> = match input.selector() {
                Some(Selector { with, .. }) => {
                    let all = with.iter().chain(&self.with);
                    all.map(|(key, value)| (key.as_str(), value.as_str())).collect()
                }
                None => Vec::new(),
            };
            self.now[at] = read(input, &with, tick, sight, self.own[at].as_mut(), |name, with, statistic| {
                Seen::of(sight.own, name, with, statistic)
            });
            if expression.compares {
                let window = self.peers[at].as_mut();
                self.now_peers[at] = read(input, &with, tick, sight, window, |name, with, statistic| {
                    Seen::of_others(sight.own, sight.whole?, name, with, statistic)
                });
            }
        }
    }
}

/// One reading of a second.
struct Seen {
    value: Option<f64>,
    histogram: Option<Histogram>,
}

impl Seen {
    fn of(values: &dyn Values, name: &str, with: &[(&str, &str)], statistic: Statistic) -> Option<Self> {
        if let Statistic::Quantile(_) | Statistic::Count = statistic
            && let Some(histogram) = values.histogram(name, with)
        {
            return Some(Self { value: of_histogram(&histogram, statistic), histogram: Some(histogram) });
        }
        values.statistic(name, with, statistic).map(|value| Self { value: Some(value), histogram: None })
    }

    /// Of all nodes but our own: of histograms all values less ours, else the mean of the others.
    fn of_others(
        own: &dyn Values,
        whole: &dyn Values,
        name: &str,
        with: &[(&str, &str)],
        statistic: Statistic,
    ) -> Option<Self> {
        if let Statistic::Quantile(_) | Statistic::Count = statistic
            && let Some(all) = whole.histogram(name, with)
        {
            let others = match own.histogram(name, with) {
                // A second in which the cluster has not yet what we have says nothing of the others.
                Some(ours) => all.minus(&ours).ok()?,
                None => all,
            };
            return Some(Self { value: of_histogram(&others, statistic), histogram: Some(others) });
        }
        let (sum, nodes) =
            (whole.statistic(name, with, Statistic::Sum), whole.statistic(name, with, Statistic::Nodes)?);
        let sum = sum.or_else(|| whole.statistic(name, with, Statistic::Value))?;
        let (ours, mine) = match own.statistic(name, with, Statistic::Value) {
            Some(value) => (value, 1.0),
            None => (0.0, 0.0),
        };
        let others = nodes - mine;
        (others >= 1.0).then(|| Self { value: Some((sum - ours) / others), histogram: None })
    }
}

fn of_histogram(histogram: &Histogram, statistic: Statistic) -> Option<f64> {
    match statistic {
        Statistic::Count => Some(histogram.count() as f64),
        // Histograms are in billionths of their unit.
        Statistic::Quantile(ppm) => histogram.quantile(f64::from(ppm) / 1e6).map(|value| value as f64 / 1e9),
        _ => None,
    }
}

fn read(
    input: &Input,
    with: &[(&str, &str)],
    tick: u32,
    sight: Sight<'_>,
    window: Option<&mut Window>,
    see: impl Fn(&str, &[(&str, &str)], Statistic) -> Option<Seen>,
) -> Option<f64> {
    match input {
        Input::Fact(name) => sight.own.fact(name),
        Input::Firing(rule) => Some((sight.firing)(rule)),
        Input::Nodes { selector, than } => sight.own.nodes_above(&selector.name, with, *than),
        Input::Until { selector, limit } => {
            let window = window?;
            let seen = see(&selector.name, with, Statistic::Value);
            window.push(tick, seen.and_then(|seen| seen.value), None);
            let (slope, now) = window.trend()?;
            let left = limit - now;
            // Away from the limit, or not at all, is never.
            (left * slope > 0.0).then(|| left / slope)
        }
        Input::Metric { selector, statistic, over } => {
            let seen = see(&selector.name, with, *statistic);
            let Some(window) = window else { return seen?.value };
            let (value, histogram) = seen.map_or((None, None), |seen| (seen.value, seen.histogram));
            window.push(tick, value, histogram.as_ref().filter(|_| matches!(statistic, Statistic::Quantile(_))));
            match (over, statistic) {
                (Over::Mean, Statistic::Quantile(_)) => of_histogram(&window.histogram()?, *statistic),
                (Over::Mean, Statistic::Count) | (Over::Growth, _) => window.sum(),
                (Over::Mean, _) => window.mean(),
                (Over::Highest, _) => window.high(),
                (Over::Lowest, _) => window.low(),
            }
        }
    }
}

/// What the expression comes to in the second that was taken last.
pub(crate) fn evaluate(expression: &Expression, inputs: &Inputs) -> Option<f64> {
    of_node(&expression.root, inputs).filter(|value| value.is_finite())
}

fn of_node(node: &Node, inputs: &Inputs) -> Option<f64> {
    match node {
        Node::Number(value) => Some(*value),
        Node::Input { at, peers: true } => *inputs.now_peers.get(*at)?,
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
