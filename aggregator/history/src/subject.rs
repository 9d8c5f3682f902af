//! Whose seconds are kept.

use std::fmt;

use starling_proto::{
    group::{Group, GroupError},
    ids::{IdError, NodeId},
};

const CLUSTER: &str = "cluster";
const GROUP: &str = "group/";
const NODE: &str = "node/";

/// Whose series they are. Sorts the cluster before groups before nodes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Merged over all nodes.
    Cluster,
    /// Merged over the nodes with one value of a grouping label; never [`Group::cluster`].
    Group(Group),
    /// One node's own.
    Node(NodeId),
}

/// Why a text is no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// None of the three forms.
    #[error("{0:?} is no subject: wanted \"cluster\", \"group/LABEL:VALUE\" or \"node/NAME\"")]
    Form(String),
    /// The group is none.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The name of the node is none.
    #[error("not the name of a node: {0}")]
    Node(#[from] IdError),
}

impl Subject {
    /// How the names of nodes as subjects begin.
    pub const NODES: &str = NODE;

    /// Reads what `Display` writes.
    ///
    /// # Errors
    /// [`SubjectError`], with at most the start of what was given.
    pub fn parse(text: &str) -> Result<Self, SubjectError> {
        if text == CLUSTER {
            return Ok(Self::Cluster);
        }
        if let Some(name) = text.strip_prefix(NODE) {
            return Ok(Self::Node(NodeId::parse(name)?));
        }
        match text.strip_prefix(GROUP) {
            Some(name) if !name.is_empty() => Ok(Self::Group(Group::parse(name)?)),
            _ => Err(SubjectError::Form(text.chars().take(64).collect())),
        }
    }

    /// The node, when it is one.
    #[must_use]
    pub const fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Node(node) => Some(node),
            Self::Cluster | Self::Group(_) => None,
        }
    }

    /// True for what is merged over nodes.
    #[must_use]
    pub const fn is_merged(&self) -> bool {
        self.node().is_none()
    }
}

impl From<Group> for Subject {
    fn from(group: Group) -> Self {
        if group.is_cluster() { Self::Cluster } else { Self::Group(group) }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str(CLUSTER),
            Self::Group(group) => write!(f, "{GROUP}{}", group.name()),
            Self::Node(node) => write!(f, "{NODE}{node}"),
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_written_and_read() {
        for text in ["cluster", "group/zone:a", "group/zone:a/b:c", "node/web-1.example"] {
            assert_eq!(Subject::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Subject::from(Group::cluster()), Subject::Cluster);
        assert_eq!(Subject::from(Group::of("zone", "a").unwrap()), Subject::parse("group/zone:a").unwrap());
        for text in ["", "Cluster", "cluster/", "group/", "group/zone", "node/", "node/Web 1", "zone:a", "groups"] {
            assert!(Subject::parse(text).is_err(), "{text:?} was taken");
        }
        let long = Subject::parse(&"x".repeat(1 << 20)).unwrap_err().to_string();
        assert!(long.len() < 200, "an error of {} bytes", long.len());
    }

    #[test]
    fn the_cluster_comes_first() {
        let [cluster, group, node] = ["cluster", "group/a:a", "node/a"].map(|text| Subject::parse(text).unwrap());
        assert!(cluster < group && group < node);
        assert!(cluster.is_merged() && group.is_merged() && node.node().unwrap().as_str() == "a");
    }
}
