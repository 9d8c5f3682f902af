//! What an aggregator knows of a node or of the cluster beside its metrics. Facts are read in expressions by name, like
//! metrics; they are never absent where they apply, 0 stands for "no" and "none": but for how long nodes are silent, which is
//! open while they may be on their way to another aggregator.

use starling_proto::catalogue::Unit;

use super::Scope;

/// One fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// Its name in expressions.
    pub name: &'static str,
    /// Of whom it is known.
    pub scope: Scope,
    /// How its values are written.
    pub unit: Unit,
    /// What it says.
    pub help: &'static str,
}

const fn fact(name: &'static str, scope: Scope, unit: Unit, help: &'static str) -> Fact {
    Fact { name, scope, unit, help }
}

/// Seconds since the last second a node reported.
pub const NODE_SILENT: &str = "node.silent_seconds";
/// Another machine reports under the name of a node.
pub const NODE_CLASH: &str = "node.name_clash";
/// Collectors of a node that do not work.
pub const NODE_FAULTS: &str = "node.collector_faults";
/// The seconds of a node are refused because its clock is off.
pub const NODE_CLOCK: &str = "node.clock_refused";
/// Nodes of a group that are expected and silent.
pub const GROUP_SILENT: &str = "group.nodes_silent";
/// Nodes of a group that are expected.
pub const GROUP_EXPECTED: &str = "group.nodes_expected";
/// Most aggregators vanished at once.
pub const CLUSTER_PARTITION: &str = "cluster.partition_suspected";
/// Nodes that are expected and silent.
pub const CLUSTER_SILENT: &str = "cluster.nodes_silent";
/// Nodes that are expected.
pub const CLUSTER_EXPECTED: &str = "cluster.nodes_expected";
/// Aggregators that were lost without leaving.
pub const CLUSTER_LOST: &str = "cluster.aggregators_lost";
/// Copies that frames lack before they can be forgotten.
pub const CLUSTER_COPIES: &str = "cluster.copies_missing";
/// Aggregators whose history is not written.
pub const CLUSTER_STORES: &str = "cluster.stores_paused";
/// Aggregators whose certificate must be renewed.
pub const CLUSTER_CERTIFICATES: &str = "cluster.certificates_ending";
/// Aggregators that claim frames which another one claims, too.
pub const CLUSTER_DISPUTED: &str = "cluster.aggregators_disputed";
/// Alert rules that are refused.
pub const CLUSTER_RULES: &str = "cluster.rules_refused";
/// Seconds by which the evaluation of alerts is behind.
pub const CLUSTER_LAG: &str = "cluster.evaluation_lag_seconds";
/// Seconds by which the clock of an aggregator is wrong.
pub const CLUSTER_CLOCKS: &str = "cluster.clock_skew_seconds";
/// Aggregators that lost all their nodes at once.
pub const CLUSTER_BLIND: &str = "cluster.aggregators_blind";
/// Rules whose queries fail.
pub const CLUSTER_QUERIES: &str = "cluster.alert_queries_failing";

/// Notifiers that fail.
pub const CLUSTER_NOTIFIERS: &str = "cluster.notifiers_failing";

/// Those that say that alerting itself fails.
pub const OF_ALERTING: [&str; 4] = [CLUSTER_RULES, CLUSTER_LAG, CLUSTER_QUERIES, CLUSTER_NOTIFIERS];

/// All of them.
pub const FACTS: [Fact; 20] = [
    fact(
        NODE_SILENT,
        Scope::Node,
        Unit::Number,
        "seconds since the last second that the node reported; absent while it may be on its way to another aggregator",
    ),
    fact(NODE_CLASH, Scope::Node, Unit::Number, "1 while another machine reports under the same name"),
    fact(NODE_FAULTS, Scope::Node, Unit::Number, "collectors of the node that do not work"),
    fact(NODE_CLOCK, Scope::Node, Unit::Number, "1 while the seconds of the node are refused because its clock is off"),
    fact(GROUP_SILENT, Scope::Group, Unit::Number, "expected nodes of the group that are silent"),
    fact(
        GROUP_EXPECTED,
        Scope::Group,
        Unit::Number,
        "nodes of the group that are expected, all silent ones among them",
    ),
    fact(
        CLUSTER_PARTITION,
        Scope::Cluster,
        Unit::Number,
        "1 for a moment after most aggregators of this side vanished at once",
    ),
    fact(CLUSTER_SILENT, Scope::Cluster, Unit::Number, "expected nodes that are silent"),
    fact(CLUSTER_EXPECTED, Scope::Cluster, Unit::Number, "nodes that are expected, all silent ones among them"),
    fact(
        CLUSTER_LOST,
        Scope::Cluster,
        Unit::Number,
        "aggregators that vanished without leaving, in the last 15 minutes",
    ),
    fact(
        CLUSTER_COPIES,
        Scope::Cluster,
        Unit::Number,
        "copies that frames lack of those wanted before a node may forget them",
    ),
    fact(CLUSTER_STORES, Scope::Cluster, Unit::Number, "aggregators that do not write their history"),
    fact(
        CLUSTER_CLOCKS,
        Scope::Cluster,
        Unit::Number,
        "seconds by which the clock of an aggregator is off: of three or more from the one in the middle, of two from each other",
    ),
    fact(
        CLUSTER_BLIND,
        Scope::Cluster,
        Unit::Number,
        "aggregators that lost five or more nodes within moments, and have none since",
    ),
    fact(
        CLUSTER_CERTIFICATES,
        Scope::Cluster,
        Unit::Number,
        "aggregators whose certificate ends within 30 days, or is in the last eighth of a life shorter than 90 days",
    ),
    fact(
        CLUSTER_DISPUTED,
        Scope::Cluster,
        Unit::Number,
        "aggregators that claim frames which another one claims, too: one of each two is wrong, or a node is",
    ),
    fact(
        CLUSTER_RULES,
        Scope::Cluster,
        Unit::Number,
        "1 while the file of rules or of notifiers is refused and the former one is in force",
    ),
    fact(
        CLUSTER_LAG,
        Scope::Cluster,
        Unit::Number,
        "seconds by which the evaluation of rules is behind, or that of one in PromQL by more than its period",
    ),
    fact(CLUSTER_QUERIES, Scope::Cluster, Unit::Number, "rules in PromQL whose last evaluation failed"),
    fact(CLUSTER_NOTIFIERS, Scope::Cluster, Unit::Number, "notifiers whose receivers take nothing"),
];

/// The fact called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Fact> {
    FACTS.iter().find(|fact| fact.name == name)
}
