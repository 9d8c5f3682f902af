//! Names of the parts of the cluster that sums are kept for.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock},
};

use crate::{
    label,
    limits::{LABEL_KEY_LEN_MAX, LABEL_VALUE_LEN_MAX},
};

/// Longest name of a group, in characters: key, colon, value of a label.
pub const GROUP_NAME_LEN_MAX: usize = LABEL_KEY_LEN_MAX + 1 + LABEL_VALUE_LEN_MAX;

/// Why a group was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// No colon, or sides that are not a label ([`label::check`]).
    #[error("{0:?} is not a group: wanted \"label:value\" of at most {GROUP_NAME_LEN_MAX} characters")]
    Name(String),
}

/// The whole cluster, or the nodes that carry one value of a grouping label. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(Arc<str>);

static CLUSTER: LazyLock<Group> = LazyLock::new(|| Group("".into()));

impl Group {
    /// The whole cluster; sorts before every other group.
    #[must_use]
    pub fn cluster() -> Self {
        CLUSTER.clone()
    }

    /// The nodes with `value` for the label `key`.
    ///
    /// # Errors
    /// [`GroupError::Name`].
    pub fn of(key: &str, value: &str) -> Result<Self, GroupError> {
        Self::parse(&format!("{key}:{value}"))
    }

    /// A group by its name, "label:value". The empty name is the whole cluster.
    ///
    /// # Errors
    /// [`GroupError::Name`].
    pub fn parse(name: &str) -> Result<Self, GroupError> {
        if name.is_empty() {
            return Ok(Self::cluster());
        }
        match name.split_once(':') {
            Some((key, value)) if label::check(key, value).is_ok() => Ok(Self(name.into())),
            _ => Err(GroupError::Name(name.chars().take(GROUP_NAME_LEN_MAX).collect())),
        }
    }

    /// "label:value", empty for the whole cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The label and its value; `None` for the whole cluster. A value may hold ':', a key does not.
    #[must_use]
    pub fn label(&self) -> Option<(&str, &str)> {
        self.0.split_once(':')
    }

    /// Whether a node with these labels is in the group; every node is in the whole cluster.
    #[must_use]
    pub fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        self.label().is_none_or(|(key, value)| labels.get(key).is_some_and(|held| held == value))
    }

    /// True for the whole cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_cluster() { "cluster" } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(Group::of("zone", "a").unwrap().name(), "zone:a");
        assert_eq!(Group::parse("").unwrap(), Group::cluster());
        assert!(Group::cluster() < Group::of("a", "a").unwrap());
        for bad in
            ["zone", ":a", "zone:", "zone:\n", &format!("zone:{}", "x".repeat(65)), &format!("{}:a", "x".repeat(33))]
        {
            assert!(Group::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_group_holds_the_nodes_with_its_label() {
        let labels = BTreeMap::from([("zone".to_owned(), "a:1".to_owned())]);
        assert!(Group::cluster().holds(&labels) && Group::cluster().holds(&BTreeMap::new()));
        for (name, held) in [("zone:a:1", true), ("zone:a", false), ("rack:a:1", false)] {
            assert_eq!(Group::parse(name).unwrap().holds(&labels), held, "{name}");
        }
        assert_eq!(Group::parse("zone:a:1").unwrap().label(), Some(("zone", "a:1")));
    }
}
