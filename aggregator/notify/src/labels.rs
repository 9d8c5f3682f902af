//! What routes and receivers know an episode by.

use std::collections::BTreeMap;

use starling_proto::v1::{Alert, AlertScope, AlertSeverity};

/// The word for a severity.
pub(crate) const fn severity(severity: AlertSeverity) -> &'static str {
    match severity {
        AlertSeverity::Unspecified => "unknown",
        AlertSeverity::Info => "info",
        AlertSeverity::Warning => "warning",
        AlertSeverity::Error => "error",
        AlertSeverity::Critical => "critical",
    }
}

/// The word for a scope.
pub(crate) const fn scope(scope: AlertScope) -> &'static str {
    match scope {
        AlertScope::Unspecified => "unknown",
        AlertScope::Cluster => "cluster",
        AlertScope::Group => "group",
        AlertScope::Node => "node",
    }
}

/// All labels of an alert: those of the node, of the rule, the attributes of the episode, and `rule`, `scope`, `subject`,
/// `severity`, for an episode of a node `node`. Later ones win.
#[must_use]
pub fn labels(alert: &Alert, node_labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels = node_labels.clone();
    labels.extend(alert.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    let Some(episode) = &alert.episode else { return labels };
    labels.extend(episode.attributes.iter().map(|one| (one.key.clone(), one.value.clone())));
    let mut set = |key: &str, value: &str| drop(labels.insert(key.to_owned(), value.to_owned()));
    set("rule", &episode.rule);
    set("scope", scope(episode.scope()));
    set("subject", &episode.subject);
    set("severity", severity(episode.severity()));
    match (episode.scope(), episode.subject.split_once(':')) {
        (AlertScope::Node, _) => set("node", &episode.subject),
        (AlertScope::Group, Some((key, value))) => set(key, value),
        _ => {}
    }
    labels
}
