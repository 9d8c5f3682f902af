//! What a question over time asks for, checked: whose series and which.

use std::collections::HashMap;

use starling_history::{Matcher, Selection, Subject};
use starling_proto::{
    group::Group,
    ids::NodeId,
    limits::{ATTRIBUTES_MAX, NAME_LEN_MAX},
    v1,
};
use tonic::Status;

use super::super::{parse_group, parse_node};
use crate::engine::Called;
use crate::select::{NODES_RANGE_MAX, RANGE_MAX, wire};

/// Whose series are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Of one subject.
    Subject(Subject),
    /// Of each node of a group.
    EachNode(Group),
}

impl Whose {
    /// Reads a scope.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming the field.
    pub(crate) fn parse(scope: Option<v1::Scope>) -> Result<Self, Status> {
        let scope = scope.unwrap_or_default();
        let group = parse_group(&scope.group).map_err(|status| within("scope.", &status))?;
        if scope.node_id.is_empty() {
            return Ok(if scope.each_node { Self::EachNode(group) } else { Self::Subject(group.into()) });
        }
        if !group.is_cluster() {
            return Err(Status::invalid_argument("scope.node_id: give a node or a group, not both"));
        }
        if scope.each_node {
            return Err(Status::invalid_argument("scope.each_node: it is of a cluster or group, not of one node"));
        }
        let node = parse_node(&scope.node_id).map_err(|status| within("scope.", &status))?;
        Ok(Self::Subject(Subject::Node(node)))
    }

    /// The group whose existence is to be checked.
    pub(crate) fn group(&self) -> Option<&Group> {
        match self {
            Self::Subject(Subject::Group(group)) | Self::EachNode(group) => Some(group),
            Self::Subject(Subject::Cluster | Subject::Node(_)) => None,
        }
    }

    /// The node, when it is one.
    pub(crate) fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Subject(subject) => subject.node(),
            Self::EachNode(_) => None,
        }
    }

    /// Whether it is the nodes one by one.
    pub(crate) const fn is_each_node(&self) -> bool {
        matches!(self, Self::EachNode(_))
    }

    /// Longest range that is answered.
    pub(crate) const fn range_max(&self) -> u32 {
        if self.is_each_node() { NODES_RANGE_MAX } else { RANGE_MAX }
    }
}

/// `status` of a field of the message that `prefix` names.
fn within(prefix: &str, status: &Status) -> Status {
    Status::new(status.code(), format!("{prefix}{}", status.message()))
}

/// Which series are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Name of the metric; empty for all, or when `names` says which.
    pub(crate) name: String,
    /// In place of a name a pattern, or none for every name.
    names: Option<(Vec<Matcher>, Vec<v1::AttributeMatcher>)>,
    /// The name in Prometheus's spelling, when that is what is asked for.
    spelled: Option<String>,
    /// Attributes a series must have, sorted.
    pub(crate) with: Vec<(String, String)>,
    matchers: Vec<(Box<str>, Matcher)>,
    /// As they were given, to be asked of others.
    given: Vec<v1::AttributeMatcher>,
    /// What the name of a node must match, where nodes are asked for one by one.
    nodes: Vec<Matcher>,
}

impl Wanted {
    /// Reads which series; `usual` stands for no name.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming the field.
    pub(crate) fn parse(
        name: String,
        usual: &str,
        attributes: HashMap<String, String>,
        given: &[v1::AttributeMatcher],
    ) -> Result<Self, Status> {
        let name = if name.is_empty() { usual.to_owned() } else { name };
        if name.len() > NAME_LEN_MAX {
            return Err(Status::invalid_argument(format!("name: {} bytes, at most {NAME_LEN_MAX}", name.len())));
        }
        if attributes.len() > ATTRIBUTES_MAX {
            let count = attributes.len();
            return Err(Status::invalid_argument(format!("attributes: {count} are given, at most {ATTRIBUTES_MAX}")));
        }
        let matchers = wire::matchers("matchers", given).map_err(Status::invalid_argument)?;
        if let Some(at) = matchers.iter().position(|(key, _)| key.is_empty()) {
            return Err(Status::invalid_argument(format!("matchers[{at}].key: the key of an attribute is wanted")));
        }
        let mut with: Vec<(String, String)> = attributes.into_iter().collect();
        with.sort_unstable();
        Ok(Self { name, names: None, spelled: None, with, matchers, given: given.to_vec(), nodes: Vec::new() })
    }

    /// The series whose name matches `pattern`, or all of them; `spelled` is the name that it stands for.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when the pattern is none.
    pub(crate) fn named_like(pattern: Option<&str>, spelled: Option<&str>) -> Result<Self, Status> {
        let given: Vec<v1::AttributeMatcher> = pattern
            .map(|value| v1::AttributeMatcher {
                key: String::new(),
                kind: v1::MatchKind::Regex.into(),
                value: value.to_owned(),
            })
            .into_iter()
            .collect();
        let matchers = wire::matchers("names", &given).map_err(Status::invalid_argument)?;
        let names = matchers.into_iter().map(|(_, matcher)| matcher).collect();
        let (name, with, matchers) = (String::new(), Vec::new(), Vec::new());
        let spelled = spelled.map(str::to_owned);
        Ok(Self { name, names: Some((names, given)), spelled, with, matchers, given: Vec::new(), nodes: Vec::new() })
    }

    /// Of the nodes only those whose name all of these match.
    pub(crate) fn of_nodes(self, nodes: Vec<Matcher>) -> Self {
        Self { nodes, ..self }
    }

    /// Whether a node is among those that are asked for one by one.
    pub(crate) fn wants_node(&self, node: &NodeId) -> bool {
        self.nodes.iter().all(|matcher| matcher.matches(node.as_str()))
    }

    /// The name that an engine can be asked for; `None` when it is not one.
    pub(crate) fn called(&self) -> Option<Called> {
        let ours = Some(&self.name).filter(|name| !name.is_empty()).cloned().map(Called::Ours);
        ours.or_else(|| self.spelled.clone().map(Called::Theirs))
    }

    /// The same as a question to another aggregator, without subjects and seconds.
    pub(crate) fn request(&self) -> v1::ReadHistoryRequest {
        let equal = |key: &str, value: &str| v1::AttributeMatcher {
            key: key.to_owned(),
            kind: v1::MatchKind::Equal.into(),
            value: value.to_owned(),
        };
        let with = self.with.iter().map(|(key, value)| equal(key, value));
        v1::ReadHistoryRequest {
            names: match &self.names {
                Some((_, given)) => given.clone(),
                None if self.name.is_empty() => Vec::new(),
                None => vec![equal("", &self.name)],
            },
            attributes: with.chain(self.given.iter().cloned()).collect(),
            ..v1::ReadHistoryRequest::default()
        }
    }

    /// The same as a selection of `from..=to`.
    pub(crate) fn selection(&self, from: u32, to: u32, histograms: bool) -> Selection {
        let all = Selection::all(from, to);
        let named = if self.name.is_empty() { all } else { Selection::named(&self.name, from, to) };
        let mut selection = Selection { histograms, ..named };
        if let Some((names, _)) = &self.names {
            selection.names.clone_from(names);
        }
        for (key, value) in &self.with {
            selection = selection.with(key, value);
        }
        selection.attributes.extend(self.matchers.iter().cloned());
        selection
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_one_thing() {
        let parse = |group: &str, node: &str, each_node| {
            Whose::parse(Some(v1::Scope { group: group.into(), node_id: node.into(), each_node }))
        };
        assert_eq!(Whose::parse(None).unwrap(), Whose::Subject(Subject::Cluster));
        assert!(matches!(parse("zone:a", "", false).unwrap(), Whose::Subject(Subject::Group(_))));
        assert!(parse("zone:a", "", true).unwrap().is_each_node());
        assert_eq!(parse("", "web-1", false).unwrap().node().unwrap().as_str(), "web-1");
        for (group, node, each, text) in [
            ("zone", "", false, "scope.group: "),
            ("zone:a", "web-1", false, "scope.node_id: give a node or a group"),
            ("", "Web 1", false, "scope.node_id: "),
            ("", "web-1", true, "scope.each_node: "),
        ] {
            let error = parse(group, node, each).unwrap_err();
            assert!(error.message().starts_with(text), "{error}");
        }
    }

    #[test]
    fn series_are_asked_for_with_every_field_checked() {
        let none = HashMap::new;
        assert_eq!(Wanted::parse(String::new(), "traffic.requests", none(), &[]).unwrap().name, "traffic.requests");
        let long = Wanted::parse("x".repeat(129), "", none(), &[]).unwrap_err();
        assert!(long.message().starts_with("name: 129 bytes"), "{long}");
        let many = (0..9).map(|n| (format!("k{n}"), String::new())).collect();
        assert!(Wanted::parse(String::new(), "a", many, &[]).unwrap_err().message().starts_with("attributes: 9"));
        let regex = |key: &str, value: &str| v1::AttributeMatcher {
            key: key.into(),
            kind: v1::MatchKind::Regex.into(),
            value: value.into(),
        };
        let error = Wanted::parse(String::new(), "a", none(), &[regex("k", "*")]).unwrap_err();
        assert!(error.message().starts_with("matchers[0].value: "), "{error}");
        let error = Wanted::parse(String::new(), "a", none(), &[regex("", ".*")]).unwrap_err();
        assert!(error.message().starts_with("matchers[0].key: "), "{error}");
        let wanted =
            Wanted::parse(String::new(), "a", [("x".into(), "1".into())].into(), &[regex("k", "b.*")]).unwrap();
        let selection = wanted.selection(1, 2, false);
        assert!(selection.wants("a", &[("k", "bc"), ("x", "1")]) && !selection.wants("a", &[("k", "c"), ("x", "1")]));
    }
}
