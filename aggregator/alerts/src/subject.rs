//! Whom a rule judges.

use std::fmt;

use starling_proto::{group::Group, ids::NodeId};

/// Most sets of attributes one rule makes subjects of, of one node, group or cluster. What is beyond is counted and not
/// judged: the first ones by name are.
pub(crate) const INSTANCES_MAX: usize = 256;

/// Which kind of subject a rule judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The cluster as a whole.
    Cluster,
    /// Each group of nodes.
    Group,
    /// Each node.
    Node,
}

impl Scope {
    /// All of them, with the words for them in rules.
    pub const ALL: [(&'static str, Self); 3] =
        [("cluster", Self::Cluster), ("group", Self::Group), ("node", Self::Node)];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Group => "group",
            Self::Node => "node",
        }
    }
}

/// One subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The cluster as a whole.
    Cluster,
    /// The nodes with one value of a grouping label.
    Group(Group),
    /// One node.
    Node(NodeId),
}

impl Subject {
    /// Its kind.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        match self {
            Self::Cluster => Scope::Cluster,
            Self::Group(_) => Scope::Group,
            Self::Node(_) => Scope::Node,
        }
    }

    /// The node that it is.
    #[must_use]
    pub const fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Node(node) => Some(node),
            Self::Cluster | Self::Group(_) => None,
        }
    }

    /// Its name: empty for the cluster, "label:value" for a group.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Cluster => "",
            Self::Group(group) => group.name(),
            Self::Node(node) => node.as_str(),
        }
    }

    /// The subject that a person writes: "cluster", "group zone:a" or "node web-1".
    ///
    /// # Errors
    /// What of it is not so.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scope, name) = text.split_once(' ').unwrap_or((text, ""));
        let scope = Scope::ALL.into_iter().find(|(word, _)| *word == scope);
        let (_, scope) = scope.ok_or_else(|| format!("{text:?} begins with none of cluster, group, node"))?;
        Self::of(scope, name).map_err(|name| format!("{name:?} is no name of a {}", scope.as_str()))
    }

    /// The subject of a scope and a name.
    ///
    /// # Errors
    /// The name, when no group or node can be called so.
    pub fn of(scope: Scope, name: &str) -> Result<Self, String> {
        let refused = || name.chars().take(64).collect::<String>();
        match scope {
            Scope::Cluster if name.is_empty() => Ok(Self::Cluster),
            Scope::Cluster => Err(refused()),
            Scope::Group => {
                Group::parse(name).ok().filter(|group| !group.is_cluster()).map(Self::Group).ok_or_else(refused)
            }
            Scope::Node => NodeId::parse(name).map(Self::Node).map_err(|_| refused()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("the cluster"),
            Self::Group(group) => f.write_str(group.name()),
            Self::Node(node) => f.write_str(node.as_str()),
        }
    }
}
