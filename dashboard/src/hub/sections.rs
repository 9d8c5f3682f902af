//! The parts that a second of the cluster and a second of a node have in common.

use std::collections::HashMap;

use starling_proto::v1;

/// One second as an aggregator reported it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Second {
    /// Of the cluster or a group.
    Cluster(Box<v1::ClusterView>),
    /// Of one node.
    Node(Box<v1::NodeView>),
}

impl Second {
    /// The second, Unix seconds.
    pub(crate) fn tick(&self) -> u32 {
        match self {
            Self::Cluster(view) => view.tick,
            Self::Node(view) => view.tick,
        }
    }

    /// How many nodes are in it.
    pub(crate) fn completeness(&self) -> Option<&v1::Completeness> {
        match self {
            Self::Cluster(view) => view.completeness.as_ref(),
            Self::Node(view) => view.completeness.as_ref(),
        }
    }

    /// Nodes in it.
    pub(crate) fn reporting(&self) -> u32 {
        self.completeness().map_or(0, |is| is.nodes_reporting())
    }

    /// Its parts.
    pub(crate) fn sections(&self) -> Option<&v1::Sections> {
        match self {
            Self::Cluster(view) => view.sections.as_ref(),
            Self::Node(view) => view.sections.as_ref(),
        }
    }

    /// What is charted, by name of the column.
    pub(crate) fn charted(&self) -> &HashMap<String, f64> {
        match self {
            Self::Cluster(view) => &view.charted,
            Self::Node(view) => &view.charted,
        }
    }

    /// Busy share per core, of a node only.
    pub(crate) fn cores(&self) -> &[f64] {
        match self {
            Self::Cluster(_) => &[],
            Self::Node(view) => &view.core_utilization_ratios,
        }
    }

    /// Requests, errors and latency.
    pub(crate) fn traffic(&self) -> Option<&v1::Traffic> {
        self.sections()?.traffic.as_ref()
    }

    /// TCP connections.
    pub(crate) fn connections(&self) -> Option<&v1::Connections> {
        self.sections()?.connections.as_ref()
    }

    /// Processors.
    pub(crate) fn cpu(&self) -> Option<&v1::Cpu> {
        self.sections()?.cpu.as_ref()
    }

    /// Memory.
    pub(crate) fn memory(&self) -> Option<&v1::Memory> {
        self.sections()?.memory.as_ref()
    }
}
