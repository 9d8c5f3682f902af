//! Where the seconds come from that are judged.

use std::collections::{BTreeMap, HashMap};

use starling_proto::{catalogue::Statistic, group::Group, histogram::Histogram, ids::NodeId};

use crate::{Values, query::Answered};

/// What an aggregator has of a node's stream.
pub struct Stream<L> {
    /// It is open here.
    pub connected: bool,
    /// The newest second that came by it, and how it is read.
    pub latest: Option<(u32, L)>,
}

/// Takes the values of a group, and how many of its nodes are in them and expected.
pub type ReadGroup<'a> = dyn FnMut(&dyn Values, (u32, u32)) + 'a;

/// What an aggregator knows beside the second of the cluster.
pub trait Sources {
    /// The newest second of a node, to be read.
    type Latest;

    /// The stream of a node.
    fn stream(&self, node: &NodeId) -> Stream<Self::Latest>;

    /// Whether a node without a stream here is judged here: no other aggregator has its stream, and this one is to take it.
    fn takes_care(&self, node: &NodeId) -> bool;

    /// What is known of a node beside its metrics and its silence.
    fn facts(&self, node: &NodeId) -> BTreeMap<&'static str, f64>;

    /// Whom or what those facts are about, in words.
    fn details(&self, _node: &NodeId) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }

    /// Whether its silence says nothing yet: who had its stream lost all of its streams at once, and the nodes look for another
    /// aggregator.
    fn is_unsure(&self, _node: &NodeId) -> bool {
        false
    }

    /// Reads a second of a node.
    fn read(&self, latest: &Self::Latest, read: &mut dyn FnMut(&dyn Values));

    /// Every group that has a node.
    fn groups(&self) -> Vec<Group>;

    /// How many of `nodes` are in each group; those of none may be left out.
    fn by_group(&self, nodes: &[NodeId]) -> HashMap<Group, u32>;

    /// Reads the second of the cluster for a group, of whose nodes so many are `silent`.
    fn read_group(&self, group: &Group, silent: u32, read: &mut ReadGroup<'_>);
}

/// One second of the cluster.
pub struct Now<'a> {
    /// Which.
    pub tick: u32,
    /// Nodes that are in it, and that are expected.
    pub coverage: (u32, u32),
    /// This aggregator is the first to take care of what is merged.
    pub first: bool,
    /// What is merged.
    pub values: &'a dyn Values,
    /// What is known of the cluster, but for how many nodes are silent.
    pub facts: BTreeMap<&'static str, f64>,
    /// Whom or what those are about, in words.
    pub details: BTreeMap<&'static str, String>,
    /// What queries came to since the second before.
    pub answers: Vec<Answer>,
}

/// What the query of a rule came to.
pub struct Answer {
    /// Name of the rule.
    pub rule: String,
    /// [`crate::Rule::fingerprint`] of the rule that asked.
    pub fingerprint: u64,
    /// Of which second.
    pub tick: u32,
    /// The values, or why there are none.
    pub answer: Result<Answered, String>,
}

/// Values of a second, if there are any, with what is known beside.
pub(super) struct WithFacts<'a> {
    pub(super) values: Option<&'a dyn Values>,
    pub(super) facts: &'a BTreeMap<&'static str, f64>,
    pub(super) details: &'a BTreeMap<&'static str, String>,
}

impl Values for WithFacts<'_> {
    fn statistic(&self, name: &str, with: &[(&str, &str)], statistic: Statistic) -> Option<f64> {
        self.values?.statistic(name, with, statistic)
    }

    fn histogram(&self, name: &str, with: &[(&str, &str)]) -> Option<Histogram> {
        self.values?.histogram(name, with)
    }

    fn nodes_above(&self, name: &str, with: &[(&str, &str)], than: f64) -> Option<f64> {
        self.values?.nodes_above(name, with, than)
    }

    fn attributes(&self, name: &str, keys: &[String]) -> Vec<Vec<String>> {
        self.values.map_or_else(Vec::new, |values| values.attributes(name, keys))
    }

    fn fact(&self, name: &str) -> Option<f64> {
        self.facts.get(name).copied()
    }

    fn detail(&self, fact: &str) -> Option<&str> {
        self.details.get(fact).map(String::as_str)
    }

    fn is_there(&self) -> bool {
        self.values.is_some()
    }
}
