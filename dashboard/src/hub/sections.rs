//! The parts that a second of the cluster and a second of a node have in common.

use starling_proto::v1;

/// One second as an aggregator told it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Second {
    /// Of the cluster or a group.
    Cluster(Box<v1::ClusterView>),
    /// Of one node.
    Node(Box<v1::NodeView>),
}

/// Borrowed parts of a [`Second`]. A part is absent when nobody reported it.
#[derive(Clone, Copy)]
pub(crate) struct Sections<'a> {
    pub(crate) completeness: Option<&'a v1::Completeness>,
    pub(crate) traffic: Option<&'a v1::Traffic>,
    pub(crate) connections: Option<&'a v1::Connections>,
    pub(crate) cpu: Option<&'a v1::Cpu>,
    pub(crate) memory: Option<&'a v1::Memory>,
    pub(crate) disk: Option<&'a v1::Disk>,
    pub(crate) network: Option<&'a v1::Network>,
    /// Busy share per core, of a node only.
    pub(crate) cores: &'a [f64],
}

impl Second {
    /// The second, Unix seconds.
    pub(crate) fn tick(&self) -> u32 {
        match self {
            Self::Cluster(view) => view.tick,
            Self::Node(view) => view.tick,
        }
    }

    /// Nodes in it.
    pub(crate) fn reporting(&self) -> u32 {
        self.sections().completeness.map_or(0, |is| is.nodes_reporting)
    }

    /// Its parts.
    pub(crate) fn sections(&self) -> Sections<'_> {
        match self {
            Self::Cluster(view) => Sections {
                completeness: view.completeness.as_ref(),
                traffic: view.traffic.as_ref(),
                connections: view.connections.as_ref(),
                cpu: view.cpu.as_ref(),
                memory: view.memory.as_ref(),
                disk: view.disk.as_ref(),
                network: view.network.as_ref(),
                cores: &[],
            },
            Self::Node(view) => Sections {
                completeness: view.completeness.as_ref(),
                traffic: view.traffic.as_ref(),
                connections: view.connections.as_ref(),
                cpu: view.cpu.as_ref(),
                memory: view.memory.as_ref(),
                disk: view.disk.as_ref(),
                network: view.network.as_ref(),
                cores: &view.cores,
            },
        }
    }
}
