//! What can be looked at: names of views and of the upstream series behind them.

use std::fmt;

use starling_proto::{
    group::{Group, GroupError},
    ids::NodeId,
    live,
};

/// Why a request does not name a view. The text says what was wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// Not "label:value".
    #[error(transparent)]
    Group(#[from] GroupError),
    /// Not the name of a node.
    #[error("not the name of a node: {0}")]
    Node(#[from] starling_proto::ids::IdError),
    /// `VIEW_UNSPECIFIED`, or a view of a newer page.
    #[error("unknown view {0}; known: 1 overview, 2 hosts, 3 node, 4 aggregators")]
    View(i32),
    /// Both a node and a group, or one of them where the view takes neither.
    #[error("this view does not take {0}")]
    Extra(&'static str),
}

/// A stream of seconds that an aggregator serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// The cluster or a group.
    Cluster(Group),
    /// One node.
    Node(NodeId),
}

/// A view clients can follow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ViewKey {
    /// The cluster or a group.
    Overview(Group),
    /// One row per node.
    Hosts(Group),
    /// One node.
    Node(NodeId),
    /// The aggregators.
    Aggregators,
}

impl ViewKey {
    /// The view a page asks for.
    pub(crate) fn of(subscribe: &live::Subscribe) -> Result<Self, KeyError> {
        let no_node = || if subscribe.node_id.is_empty() { Ok(()) } else { Err(KeyError::Extra("node_id")) };
        let no_group = || if subscribe.group.is_empty() { Ok(()) } else { Err(KeyError::Extra("group")) };
        match live::View::try_from(subscribe.view) {
            Ok(live::View::Overview) => no_node().and_then(|()| Ok(Self::Overview(Group::parse(&subscribe.group)?))),
            Ok(live::View::Hosts) => no_node().and_then(|()| Ok(Self::Hosts(Group::parse(&subscribe.group)?))),
            Ok(live::View::Node) => no_group().and_then(|()| Ok(Self::Node(NodeId::parse(&subscribe.node_id)?))),
            Ok(live::View::Aggregators) => no_node().and_then(|()| no_group()).map(|()| Self::Aggregators),
            Ok(live::View::Unspecified) | Err(_) => Err(KeyError::View(subscribe.view)),
        }
    }

    /// The upstream stream behind the view; `None` when it needs none of its own.
    pub(crate) fn source(&self) -> Option<Source> {
        match self {
            Self::Overview(group) => Some(Source::Cluster(group.clone())),
            Self::Node(node) => Some(Source::Node(node.clone())),
            Self::Hosts(_) | Self::Aggregators => None,
        }
    }

    /// Views that exist as long as the server runs. The others come and go with their clients.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::Overview(group) | Self::Hosts(group) => group.is_cluster(),
            Self::Node(_) => false,
            Self::Aggregators => true,
        }
    }
}

impl From<&Source> for ViewKey {
    fn from(source: &Source) -> Self {
        match source {
            Source::Cluster(group) => Self::Overview(group.clone()),
            Source::Node(node) => Self::Node(node.clone()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(group) if group.is_cluster() => out.write_str("cluster"),
            Self::Cluster(group) => write!(out, "group {group}"),
            Self::Node(node) => write!(out, "node {}", node.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(view: i32, node_id: &str, group: &str) -> live::Subscribe {
        live::Subscribe { id: 1, view, node_id: node_id.into(), group: group.into(), resume_tick: 0 }
    }

    #[test]
    fn views_take_only_what_they_need() {
        assert!(matches!(ViewKey::of(&subscribe(1, "", "zone:a")), Ok(ViewKey::Overview(_))));
        assert!(matches!(ViewKey::of(&subscribe(3, "n1", "")), Ok(ViewKey::Node(_))));
        assert_eq!(ViewKey::of(&subscribe(1, "n1", "")).err(), Some(KeyError::Extra("node_id")));
        assert_eq!(ViewKey::of(&subscribe(4, "", "zone:a")).err(), Some(KeyError::Extra("group")));
        assert_eq!(ViewKey::of(&subscribe(0, "", "")).err(), Some(KeyError::View(0)));
        assert_eq!(ViewKey::of(&subscribe(9, "", "")).err(), Some(KeyError::View(9)));
        assert!(matches!(ViewKey::of(&subscribe(3, "", "")), Err(KeyError::Node(_))));
    }
}
