//! What routes and receivers know an episode by.

use std::collections::BTreeMap;

use starling_alerts::{control::add_names, scope_word, severity_word};
use starling_proto::v1::Alert;

/// All labels of an alert: those of the node, of the rule, the attributes of the episode, and its names ([`add_names`]). Later ones
/// win.
#[must_use]
pub fn labels(alert: &Alert, node_labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels = node_labels.clone();
    labels.extend(alert.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    let Some(episode) = &alert.episode else { return labels };
    labels.extend(episode.attributes.iter().map(|one| (one.key.clone(), one.value.clone())));
    let of = (scope_word(episode.scope()), episode.subject.as_str());
    add_names(&mut labels, &episode.rule, of, severity_word(episode.severity()));
    labels
}
