//! Who sends, and the identity of its streams: resource, scope and attributes of OTLP, hashed.

use std::borrow::Cow;

use base64::Engine as _;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
};
use prost::Message;
use serde_json::Value as Json;
use starling_service::requests;
use xxhash_rust::xxh3::xxh3_128;

use crate::receive::observation::{AttributeValue, StreamKey};

/// A value as a receiver of any kind would give it.
pub(super) fn value(value: Option<&AnyValue>) -> AttributeValue<'_> {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => AttributeValue::Text(Cow::Borrowed(text)),
        Some(any_value::Value::IntValue(number)) => AttributeValue::Integer(*number),
        Some(any_value::Value::BoolValue(value)) => AttributeValue::Text(Cow::Owned(value.to_string())),
        Some(any_value::Value::DoubleValue(value)) => AttributeValue::Text(Cow::Owned(value.to_string())),
        // A list, a map, bytes, nothing: as the specification writes them where there are only plain values
        // (opentelemetry-specification: common/README.md, "AnyValue representation for non-OTLP protocols").
        other => json(other, DEPTH_MAX).map_or(AttributeValue::NotPlain, |plain| match plain {
            Json::Null => AttributeValue::Text(Cow::Borrowed("")),
            Json::String(text) => AttributeValue::Text(Cow::Owned(text)),
            plain => AttributeValue::Text(Cow::Owned(plain.to_string())),
        }),
    }
}

/// Lists within lists up to this depth are written; deeper ones are no part of a series.
const DEPTH_MAX: usize = 8;

/// A value as JSON; `None` for one that is too deep. Memory in proportion to the value.
fn json(value: Option<&any_value::Value>, depth: usize) -> Option<Json> {
    let depth = depth.checked_sub(1)?;
    let inner = |value: Option<&AnyValue>| json(value.and_then(|value| value.value.as_ref()), depth);
    Some(match value {
        None => Json::Null,
        Some(any_value::Value::StringValue(text)) => Json::String(text.clone()),
        Some(any_value::Value::BoolValue(value)) => Json::Bool(*value),
        Some(any_value::Value::IntValue(number)) => Json::from(*number),
        // What JSON has no number for is text there.
        Some(any_value::Value::DoubleValue(number)) => {
            serde_json::Number::from_f64(*number).map_or_else(|| Json::String(number.to_string()), Json::Number)
        }
        Some(any_value::Value::BytesValue(bytes)) => {
            Json::String(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Some(any_value::Value::ArrayValue(list)) => {
            Json::Array(list.values.iter().map(|value| inner(Some(value))).collect::<Option<_>>()?)
        }
        Some(any_value::Value::KvlistValue(map)) => {
            let pair = |pair: &KeyValue| Some((pair.key.clone(), inner(pair.value.as_ref())?));
            Json::Object(map.values.iter().map(pair).collect::<Option<_>>()?)
        }
        // Of a later version.
        Some(_) => return None,
    })
}

/// Where metrics come from: one resource and instrumentation scope.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(super) key: StreamKey,
    pub(super) service_name: Option<String>,
    /// One of Starling's own servers.
    pub(super) own: bool,
    /// It says which one of several alike it is (`service.instance.id`), so that one that begins again is the same.
    pub(super) is_one: bool,
}

impl Origin {
    /// Reads what identifies the sender.
    pub(crate) fn new(resource: Option<&Resource>, scope: Option<&InstrumentationScope>) -> Self {
        let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
        let mut bytes = Vec::new();
        put_attributes(&mut bytes, attributes);
        if let Some(scope) = scope {
            put_text(&mut bytes, &scope.name);
            put_text(&mut bytes, &scope.version);
            put_attributes(&mut bytes, &scope.attributes);
        }
        let named = attributes.iter().find(|attribute| attribute.key == "service.name");
        let service_name = match named.map(|attribute| value(attribute.value.as_ref())) {
            Some(AttributeValue::Text(name)) if !name.is_empty() => Some(name.into_owned()),
            Some(AttributeValue::Integer(number)) => Some(number.to_string()),
            _ => None,
        };
        let own = scope.is_some_and(|scope| scope.name == requests::SCOPE)
            && service_name.as_ref().is_some_and(|name| name.starts_with(requests::SERVICES));
        let is_one = attributes.iter().any(|attribute| attribute.key == "service.instance.id");
        Self { key: xxh3_128(&bytes), service_name, own, is_one }
    }

    /// The identity of all streams of one metric and start, whatever their attributes.
    pub(super) fn family(&self, metric: &str, start_unix_ns: u64) -> StreamKey {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&self.key.to_le_bytes());
        bytes.extend_from_slice(&start_unix_ns.to_le_bytes());
        put_text(&mut bytes, metric);
        xxh3_128(&bytes)
    }

    /// The identity of one stream: this origin, the metric, the point's attributes, and the start of the sequence
    /// where there is one. Processes that share all else, such as workers without an instance id, differ by it.
    pub(super) fn stream(&self, metric: &str, attributes: &[KeyValue], start_unix_ns: u64) -> StreamKey {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&self.key.to_le_bytes());
        bytes.extend_from_slice(&start_unix_ns.to_le_bytes());
        put_text(&mut bytes, metric);
        put_attributes(&mut bytes, attributes);
        xxh3_128(&bytes)
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn put_attributes(bytes: &mut Vec<u8>, attributes: &[KeyValue]) {
    // Senders may change the order from one export to the next.
    let mut sorted: Vec<&KeyValue> = attributes.iter().collect();
    sorted.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    bytes.extend_from_slice(&(sorted.len() as u64).to_le_bytes());
    for attribute in sorted {
        put_text(bytes, &attribute.key);
        let value = attribute.value.as_ref().map(Message::encode_to_vec).unwrap_or_default();
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::attribute;
    use super::*;

    #[test]
    fn what_is_not_plain_is_written_as_json() {
        use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
        let any = |value| AnyValue { value: Some(value) };
        let text = |it: Option<&AnyValue>| match value(it) {
            AttributeValue::Text(text) => text.into_owned(),
            other => panic!("{other:?}"),
        };
        let list = any(any_value::Value::ArrayValue(ArrayValue {
            values: vec![any(any_value::Value::StringValue("a".into())), any(any_value::Value::IntValue(7))],
        }));
        let map = any(any_value::Value::KvlistValue(KeyValueList {
            values: vec![KeyValue { key: "k".into(), value: Some(list.clone()), ..KeyValue::default() }],
        }));
        assert_eq!((text(Some(&list)), text(Some(&map))), (r#"["a",7]"#.into(), r#"{"k":["a",7]}"#.into()));
        assert_eq!(text(Some(&any(any_value::Value::BytesValue(vec![1, 2])))), "AQI=");
        assert_eq!((text(None), text(Some(&AnyValue::default()))), (String::new(), String::new()));
        let deep =
            (0..DEPTH_MAX).fold(list, |inner, _| any(any_value::Value::ArrayValue(ArrayValue { values: vec![inner] })));
        assert_eq!(value(Some(&deep)), AttributeValue::NotPlain);
    }

    #[test]
    fn the_order_of_attributes_does_not_matter_and_everything_else_does() {
        let origin = Origin::new(None, None);
        let (a, b) = (attribute("a", "1"), attribute("b", "2"));
        let key = origin.stream("m", &[a.clone(), b.clone()], 7);
        assert_eq!(key, origin.stream("m", &[b.clone(), a.clone()], 7));
        assert_ne!(key, origin.stream("m", &[a.clone(), b.clone()], 8));
        assert_ne!(key, origin.stream("n", &[a.clone(), b.clone()], 7));
        assert_ne!(key, origin.stream("m", std::slice::from_ref(&a), 7));
        let resource = Resource { attributes: vec![attribute("service.name", "shop")], ..Resource::default() };
        let other = Origin::new(Some(&resource), None);
        assert_eq!(other.service_name.as_deref(), Some("shop"));
        assert_ne!(key, other.stream("m", &[a, b], 7));
    }
}
