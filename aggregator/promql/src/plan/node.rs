//! The tree.

use super::functions::{OverTime, Type, VectorFunction, Whole};
use crate::LabelMatcher;

/// A part of the query and its first byte in the text.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Number(f64),
    Text(String),
    /// The newest sample of each series, not older than the look-back.
    Select(Selector),
    /// A range alone: the whole of an instant query.
    Range(Window),
    Negate(Box<Node>),
    Binary {
        operator: Operator,
        left: Box<Node>,
        right: Box<Node>,
        matching: Matching,
    },
    Aggregate {
        aggregation: Aggregation,
        parameter: Option<Box<Node>>,
        inner: Box<Node>,
        grouping: Grouping,
    },
    /// A function of each series over a range, with scalar parameters.
    OverTime {
        function: OverTime,
        window: Window,
        parameters: Vec<Node>,
    },
    /// A function of each element; the first argument is the vector, the others are scalars.
    Map {
        function: VectorFunction,
        arguments: Vec<Node>,
    },
    /// A function of a whole vector, or without one.
    Whole {
        function: Whole,
        arguments: Vec<Node>,
    },
}

impl Node {
    pub(crate) const fn gives(&self) -> Type {
        match &self.kind {
            Kind::Number(_) => Type::Scalar,
            Kind::Text(_) => Type::Text,
            Kind::Range(_) => Type::Range,
            Kind::Negate(inner) => inner.gives(),
            Kind::Binary { left, right, .. } => match (left.gives(), right.gives()) {
                (Type::Scalar, Type::Scalar) => Type::Scalar,
                _ => Type::Vector,
            },
            Kind::Whole { function, .. } => function.gives(),
            Kind::Select(_) | Kind::Aggregate { .. } | Kind::OverTime { .. } | Kind::Map { .. } => Type::Vector,
        }
    }
}

/// A moment that a selector or subquery is tied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// The step that is evaluated.
    Step,
    /// First step of the whole query.
    Start,
    /// Last step of the whole query.
    End,
    /// Milliseconds of Unix time.
    Time(i64),
}

#[derive(Debug)]
pub(crate) struct Selector {
    /// Which of the answers to `Query::selects` it reads.
    pub(crate) index: usize,
    pub(crate) matchers: Vec<LabelMatcher>,
    pub(crate) offset_ms: i64,
    pub(crate) at: At,
}

/// A stretch of time before each step, open at its left.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) range_ms: i64,
    pub(crate) source: Source,
}

#[derive(Debug)]
pub(crate) enum Source {
    /// Samples as they were stored.
    Samples(Selector),
    /// The values of an expression on the grid of multiples of its step.
    Subquery { inner: Box<Node>, step_ms: Option<i64>, offset_ms: i64, at: At },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    And,
    Or,
    Unless,
}

impl Operator {
    pub(crate) const fn compares(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual | Self::Greater | Self::Less | Self::GreaterEqual | Self::LessEqual)
    }

    pub(crate) const fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// How many elements of the two sides belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cardinality {
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
}

/// Which elements of the two sides belong together and what becomes of their labels.
#[derive(Debug)]
pub(crate) struct Matching {
    /// Comparison gives 0 or 1 instead of keeping or dropping.
    pub(crate) bool_result: bool,
    pub(crate) grouping: Grouping,
    pub(crate) cardinality: Cardinality,
    /// Labels taken over from the "one" side.
    pub(crate) include: Vec<String>,
}

/// Labels that are looked at, or all but those that are not.
#[derive(Debug)]
pub(crate) enum Grouping {
    Only(Vec<String>),
    Without(Vec<String>),
}

impl Grouping {
    /// The labels of `labels` that count; the name of a metric only when it is asked for.
    pub(crate) fn of(&self, labels: &crate::Labels) -> crate::Labels {
        match self {
            Self::Only(keys) => labels.filtered(|key| keys.iter().any(|k| k == key)),
            Self::Without(keys) => labels.filtered(|key| key != crate::labels::NAME && !keys.iter().any(|k| k == key)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregation {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Quantile,
    TopK,
    BottomK,
    CountValues,
}
