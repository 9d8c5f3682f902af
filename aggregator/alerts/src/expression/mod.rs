//! What a rule computes: arithmetic over readings of a second, now or over the last seconds.
//!
//! | written | is |
//! |---|---|
//! | `system.cpu.utilization` | the value of this second: of counters the increment, of gauges by the catalogue's rule over nodes |
//! | `traffic.errors{protocol="grpc"}` | only the series with that attribute |
//! | `traffic.errors[60s]` | the mean of the last 60 seconds |
//! | `p99(traffic.duration[60s])` | a statistic ([`Statistic`]); over time histograms are merged, never averaged |
//! | `growth(x[60s])`, `highest(x[60s])`, `lowest(x[60s])` | sum, largest and smallest second |
//! | `seconds_until(x[1h], 100%)` | when the straight line through the window reaches a value; a year when it does not |
//! | `peers(EXPRESSION)` | the same over all other nodes: of histograms all values less our own, else the mean of the others |
//! | `nodes(system.cpu.utilization > 90%)` | nodes of which that holds, of metrics that keep their distribution over nodes |
//! | `firing("rule")` | subjects for which another rule has an open episode |
//! | `node.silent_seconds` | a fact ([`super::facts`]) |
//!
//! Numbers may end in `%`, in a unit of time (seconds are meant) or in `KiB`, `MiB`, `GiB`, `TiB`. What is absent makes
//! everything it is part of absent.

mod parse;
mod value;

use starling_proto::{
    catalogue::{self, Statistic, Unit},
    histogram::Histogram,
};

use crate::facts;

pub use parse::ExpressionError;
pub(crate) use parse::number;
pub(crate) use value::{Inputs, Sight, Wholes, between, evaluate};

/// What is read of a second of a subject.
pub trait Values {
    /// One statistic of what is called `name` and has the attributes `with`.
    fn statistic(&self, name: &str, with: &[(&str, &str)], statistic: Statistic) -> Option<f64>;
    /// All values of a histogram in one.
    fn histogram(&self, name: &str, with: &[(&str, &str)]) -> Option<Histogram>;
    /// How many nodes have more than `than` of a gauge that keeps its distribution over nodes.
    fn nodes_above(&self, name: &str, with: &[(&str, &str)], than: f64) -> Option<f64>;
    /// The values that the attributes `keys` have together, of the series called `name`, sorted.
    fn attributes(&self, name: &str, keys: &[String]) -> Vec<Vec<String>>;
    /// A fact; `None` where it does not apply.
    fn fact(&self, name: &str) -> Option<f64>;
    /// Whom or what a fact is about, in words.
    fn detail(&self, _fact: &str) -> Option<&str> {
        None
    }
    /// Whether there is a second to be read: a subject that is silent has none.
    fn is_there(&self) -> bool {
        true
    }
    /// Seconds that are read in one: their means are read then.
    fn seconds(&self) -> u32 {
        1
    }
    /// The smallest and the largest of several seconds; `None` of one, and where they are not known.
    fn extremes(&self, _name: &str, _with: &[(&str, &str)]) -> Option<(f64, f64)> {
        None
    }
}

/// Over the seconds of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Over {
    Mean,
    Growth,
    Highest,
    Lowest,
}

/// A metric as it is read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selector {
    pub(crate) name: String,
    /// Sorted by key.
    pub(crate) with: Vec<(String, String)>,
    /// Seconds; `None` for this second alone.
    pub(crate) window: Option<u32>,
}

/// One thing that is read each second.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    /// A statistic of a metric.
    Metric { selector: Selector, statistic: Statistic, over: Over },
    /// The line through a window, until it reaches a value.
    Until { selector: Selector, limit: f64 },
    /// Nodes that have more than so much.
    Nodes { selector: Selector, than: f64 },
    /// A fact.
    Fact(String),
    /// Open episodes of another rule.
    Firing(String),
}

/// An operator between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Plus,
    Minus,
    Times,
    Per,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Number(f64),
    /// Place of an input; read of the other nodes if `peers`.
    Input {
        at: usize,
        peers: bool,
    },
    Two(Box<Self>, Operator, Box<Self>),
}

/// An expression, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    pub(crate) inputs: Vec<Input>,
    pub(crate) root: Node,
    /// Some input is read of the other nodes.
    pub(crate) compares: bool,
}

/// `EXPRESSION >= NUMBER` and the like.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub(crate) expression: Expression,
    above: bool,
    or_equal: bool,
    limit: f64,
}

impl Condition {
    /// Whether it holds of a value; not when that is absent.
    pub(crate) fn holds(&self, value: Option<f64>) -> bool {
        value.is_some_and(|value| match (self.above, self.or_equal) {
            (true, false) => value > self.limit,
            (true, true) => value >= self.limit,
            (false, false) => value < self.limit,
            (false, true) => value <= self.limit,
        })
    }
}

impl Input {
    /// How its values are written.
    pub(crate) fn unit(&self) -> Unit {
        match self {
            Self::Until { .. } => Unit::Time,
            Self::Fact(name) => facts::find(name).map_or(Unit::Number, |fact| fact.unit),
            Self::Nodes { .. } | Self::Firing(_) => Unit::Number,
            Self::Metric { statistic: Statistic::Nodes | Statistic::Count, .. } => Unit::Number,
            Self::Metric { selector, .. } => {
                catalogue::find(&selector.name).map_or(Unit::Number, |metric| metric.shown_as)
            }
        }
    }

    /// The metric it reads.
    pub(crate) const fn selector(&self) -> Option<&Selector> {
        match self {
            Self::Metric { selector, .. } | Self::Until { selector, .. } | Self::Nodes { selector, .. } => {
                Some(selector)
            }
            Self::Fact(_) | Self::Firing(_) => None,
        }
    }
}

impl Expression {
    /// One that reads nothing and has no value.
    pub(crate) const fn none() -> Self {
        Self { inputs: Vec::new(), root: Node::Number(f64::NAN), compares: false }
    }

    /// The first metric it reads.
    pub(crate) fn first_metric(&self) -> Option<&Selector> {
        self.inputs.iter().find_map(Input::selector)
    }

    /// The names of rules whose episodes it counts.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().filter_map(|input| match input {
            Input::Firing(rule) => Some(rule.as_str()),
            _ => None,
        })
    }

    /// The fact that it is, and nothing else.
    pub(crate) fn fact(&self) -> Option<&str> {
        match (&self.root, self.inputs.as_slice()) {
            (Node::Input { .. }, [Input::Fact(name)]) => Some(name),
            _ => None,
        }
    }

    /// The facts it reads.
    pub(crate) fn facts(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().filter_map(|input| match input {
            Input::Fact(name) => Some(name.as_str()),
            _ => None,
        })
    }
}
