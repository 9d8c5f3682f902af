//! A query as it is evaluated: our own tree, checked, with the place of every part.

mod compile;
mod functions;
mod node;

pub(crate) use compile::compile;
pub(crate) use functions::{Calendar, OverTime, Type, VectorFunction, Whole};
pub(crate) use node::{
    Aggregation, At, Cardinality, Grouping, Kind, Matching, Node, Operator, Selector, Source, Window,
};
