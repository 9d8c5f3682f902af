//! Labels of Prometheus, and the identity of streams by them.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_128;

use crate::receive::observation::{Attribute, AttributeValue, StreamKey};

/// Labels of one sample, as they came.
pub(super) type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Who is asked, or who writes: what its streams have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(super) key: StreamKey,
    /// Labels that every series gets, sorted; `job` is the service.
    pub(super) labels: Vec<(String, String)>,
}

impl Source {
    /// `who` tells it from others.
    pub(super) fn new(who: &str, mut labels: Vec<(String, String)>) -> Self {
        labels.sort_unstable();
        let mut bytes = Vec::new();
        put(&mut bytes, who);
        labels.iter().for_each(|(key, value)| {
            put(&mut bytes, key);
            put(&mut bytes, value);
        });
        Self { key: xxh3_128(&bytes), labels }
    }

    /// The labels of a sample with those of the source. One of the sample that has the name of one of the source is told as
    /// `exported_...`, as Prometheus does. An empty value is no label.
    pub(super) fn with<'a>(&'a self, labels: Labels<'a>) -> Labels<'a> {
        let mut all: Labels<'a> = self
            .labels
            .iter()
            .map(|(key, value)| (Cow::Borrowed(key.as_str()), Cow::Borrowed(value.as_str())))
            .collect();
        for (key, value) in labels {
            if value.is_empty() {
                continue;
            }
            let key = if self.labels.iter().any(|(own, _)| *own == key) {
                Cow::Owned(format!("exported_{key}"))
            } else {
                key
            };
            all.push((key, value));
        }
        all.sort_unstable();
        all
    }

    /// The key of labels within one family.
    pub(super) fn labels_key(labels: &[(Cow<'_, str>, Cow<'_, str>)]) -> StreamKey {
        let mut bytes = Vec::with_capacity(128);
        labels.iter().for_each(|(key, value)| {
            put(&mut bytes, key);
            put(&mut bytes, value);
        });
        xxh3_128(&bytes)
    }

    /// The key of a family (all streams of one name and start), or of a stream when there are labels.
    pub(super) fn key(&self, name: &str, labels: &[(Cow<'_, str>, Cow<'_, str>)], start_unix_ns: u64) -> StreamKey {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&self.key.to_le_bytes());
        bytes.extend_from_slice(&start_unix_ns.to_le_bytes());
        put(&mut bytes, name);
        labels.iter().for_each(|(key, value)| {
            put(&mut bytes, key);
            put(&mut bytes, value);
        });
        xxh3_128(&bytes)
    }
}

/// Labels as attributes, and the service, which is `job`.
pub(super) fn attributes<'a>(labels: &'a [(Cow<'a, str>, Cow<'a, str>)]) -> (Option<&'a str>, Vec<Attribute<'a>>) {
    let service = labels.iter().find(|(key, _)| key == "job").map(|(_, value)| &**value);
    let rest = labels.iter().filter(|(key, _)| key != "job");
    let attributes =
        rest.map(|(key, value)| Attribute { key, value: AttributeValue::Text(Cow::Borrowed(value)) }).collect();
    (service, attributes)
}

fn put(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_the_source_win_and_empty_ones_are_none() {
        let source = Source::new(
            "http://a",
            vec![("job".to_owned(), "shop".to_owned()), ("instance".to_owned(), "a".to_owned())],
        );
        let pair = |(key, value): (&'static str, &'static str)| (Cow::Borrowed(key), Cow::Borrowed(value));
        let labels = source.with([("code", "200"), ("job", "other"), ("empty", "")].map(pair).into());
        let text: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(text.join(" "), "code=200 exported_job=other instance=a job=shop");
        let (service, attributes) = attributes(&labels);
        assert_eq!((service, attributes.len()), (Some("shop"), 3));
        assert_ne!(source.key("m", &labels, 1), source.key("m", &labels, 2));
        assert_ne!(source.key("m", &labels, 1), source.key("m", &[], 1));
    }
}
