//! Labels of a series as Prometheus has them.

use std::{fmt, sync::Arc};

use starling_history::Matcher;

/// The label that holds the name of a metric.
pub const NAME: &str = "__name__";
/// The label that holds the upper bound of a classic bucket.
pub const BOUND: &str = "le";

/// Pairs sorted by key, without empty values: a label that is absent is the same as one that is empty. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Labels(Arc<[(Box<str>, Box<str>)]>);

impl Labels {
    /// Labels from pairs in any order. Of a key that stands twice the last value counts.
    #[must_use]
    pub fn new<K: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut sorted: Vec<(Box<str>, Box<str>)> =
            pairs.into_iter().map(|(key, value)| (key.as_ref().into(), value.as_ref().into())).collect();
        // Stable, so that the last of equal keys stays last and is the one kept.
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        sorted.reverse();
        sorted.dedup_by(|later, earlier| later.0 == earlier.0);
        sorted.reverse();
        sorted.retain(|(_, value)| !value.is_empty());
        Self(sorted.into())
    }

    /// The value of `key`; empty when absent.
    #[must_use]
    pub fn get(&self, key: &str) -> &str {
        self.0.binary_search_by(|(k, _)| (**k).cmp(key)).map_or("", |i| &self.0[i].1)
    }

    /// Pairs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// True without labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those whose key passes.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        if self.0.iter().all(|(key, _)| keep(key)) {
            return self.clone();
        }
        Self(self.0.iter().filter(|(key, _)| keep(key)).cloned().collect())
    }

    /// Without the name of the metric.
    #[must_use]
    pub fn nameless(&self) -> Self {
        self.filtered(|key| key != NAME)
    }

    /// With `key` set to `value`, or taken away when it is empty.
    #[must_use]
    pub fn with(&self, key: &str, value: &str) -> Self {
        if self.get(key) == value {
            return self.clone();
        }
        Self::new(self.iter().filter(|(k, _)| *k != key).chain([(key, value)]))
    }
}

/// One condition of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMatcher {
    /// Which label; [`NAME`] for the name.
    pub label: String,
    /// What must hold for its value. An absent label reads as empty.
    pub condition: Matcher,
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get(NAME))?;
        let pairs: Vec<_> =
            self.iter().filter(|(key, _)| *key != NAME).map(|(key, value)| format!("{key}={value:?}")).collect();
        if pairs.is_empty() && !self.get(NAME).is_empty() {
            return Ok(());
        }
        write!(f, "{{{}}}", pairs.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_absent_and_the_last_of_two_counts() {
        let labels = Labels::new([("b", "1"), ("a", ""), ("b", "2"), (NAME, "up")]);
        assert_eq!(labels.to_string(), "up{b=\"2\"}");
        assert_eq!(labels.get("a"), "");
        assert_eq!(labels.with("b", ""), Labels::new([(NAME, "up")]));
        assert_eq!(labels.nameless().to_string(), "{b=\"2\"}");
        assert_eq!(Labels::default().to_string(), "{}");
    }
}
