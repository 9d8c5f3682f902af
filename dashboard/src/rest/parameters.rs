//! Parameters of the JSON endpoints, checked.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::Deserialize;
use starling_proto::{group::Group, ids::NodeId};

use crate::{error::ApiError, hub::Source};

/// Parameters that say of which nodes an answer is.
pub(super) const SCOPE: [&str; 2] = ["node", "group"];

/// What stands behind the `?`.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Refuses parameters that the path does not know: a misspelt one would silently answer for the whole cluster.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(ApiError::unknown_parameter(unknown, known)),
            None => Ok(()),
        }
    }

    /// As [`Parameters::only`], but for those whose name begins with `prefix`.
    pub(crate) fn only_or(&self, known: &[&str], prefix: &str) -> Result<(), ApiError> {
        match self.0.keys().find(|name| !known.contains(&name.as_str()) && !name.starts_with(prefix)) {
            Some(unknown) => Err(ApiError::unknown_parameter(unknown, known)),
            None => Ok(()),
        }
    }

    /// Those whose name begins with `prefix`, without it.
    pub(crate) fn starting_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A whole number within bounds; 0, which means what the aggregator finds usual, when it is not given.
    pub(crate) fn whole(&self, name: &'static str, bounds: RangeInclusive<u32>) -> Result<u32, ApiError> {
        let Some(text) = self.get(name) else { return Ok(0) };
        text.parse().ok().filter(|is| bounds.contains(is)).ok_or_else(|| {
            let (least, most) = (bounds.start(), bounds.end());
            ApiError::invalid(name, format!("{text:?} is no whole number from {least} to {most}"))
        })
    }

    /// For tests.
    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// The whole cluster, `?node=` or `?group=`.
    pub(crate) fn source(&self) -> Result<Source, ApiError> {
        match (self.get("node"), self.get("group")) {
            (Some(_), Some(_)) => Err(ApiError::invalid("node", "give node or group, not both")),
            (Some(id), None) => Ok(Source::Node(node(id)?)),
            (None, group) => {
                let group = Group::parse(group.unwrap_or_default());
                Ok(Source::Cluster(group.map_err(|error| ApiError::invalid("group", error.to_string()))?))
            }
        }
    }
}

/// The parameter that names a source.
pub(crate) fn of(source: &Source) -> &'static str {
    match source {
        Source::Cluster(_) => "group",
        Source::Node(_) => "node",
    }
}

/// The name of a node.
pub(crate) fn node(id: &str) -> Result<NodeId, ApiError> {
    NodeId::parse(id).map_err(|error| ApiError::invalid("node", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Parameters {
        Parameters::of(pairs)
    }

    #[test]
    fn a_scope_is_one_of_three() {
        assert!(matches!(of(&[]).source(), Ok(Source::Cluster(group)) if group.is_cluster()));
        assert!(matches!(of(&[("node", "n1")]).source(), Ok(Source::Node(_))));
        assert!(matches!(of(&[("group", "zone:a")]).source(), Ok(Source::Cluster(_))));
        assert!(of(&[("group", "zone:a"), ("node", "n1")]).source().is_err());
        assert!(of(&[("group", "zone")]).source().is_err());
        assert!(of(&[("node", "N 1")]).source().is_err());
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        assert!(of(&[("grop", "zone:a")]).only(&["group"]).is_err());
        assert!(of(&[("group", "zone:a")]).only(&["group"]).is_ok());
    }
}
