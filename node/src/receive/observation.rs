//! What applications say, in one form for all receivers.
//!
//! Every receiver (OTLP, StatsD, Prometheus) turns what arrives into [`Observation`]s; everything behind it knows only these. Identity is
//! resource, scope, name and attributes; the type of a number, the unit and the shape of a histogram are
//! representation and may change from one observation of a stream to the next.

use std::{borrow::Cow, time::Duration};

use starling_proto::histogram::Histogram;

use super::point::Point;

/// Identity of a stream of observations, as its receiver makes it. 128 bits: the chance that two of 65,536 streams
/// meet is 10^-29.
pub(super) type StreamKey = u128;

/// A moment by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Since the Unix epoch, to compare with what senders say.
    pub(crate) unix_ns: u64,
    /// Since any fixed moment; never goes back.
    pub(crate) monotonic: Duration,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum AttributeValue<'a> {
    /// Text, or another plain value in its usual text form.
    Text(Cow<'a, str>),
    /// An integer.
    Integer(i64),
    /// A list, a map or bytes: no part of a series.
    NotPlain,
}

/// One attribute of an observation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attribute<'a> {
    pub(super) key: &'a str,
    pub(super) value: AttributeValue<'a>,
}

impl Attribute<'_> {
    /// The value as text; `None` when it is not plain.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        match &self.value {
            AttributeValue::Text(text) => Some(Cow::Borrowed(text)),
            AttributeValue::Integer(number) => Some(Cow::Owned(number.to_string())),
            AttributeValue::NotPlain => None,
        }
    }
}

/// The attribute `key` as text; `None` when it is absent or not a plain value.
pub(super) fn text<'a>(attributes: &'a [Attribute<'_>], key: &str) -> Option<Cow<'a, str>> {
    attributes.iter().find(|attribute| attribute.key == key)?.text()
}

/// The attribute `key` as an integer, also when it was sent as text.
pub(super) fn integer(attributes: &[Attribute<'_>], key: &str) -> Option<i64> {
    match &attributes.iter().find(|attribute| attribute.key == key)?.value {
        AttributeValue::Integer(number) => Some(*number),
        AttributeValue::Text(text) => text.parse().ok(),
        AttributeValue::NotPlain => None,
    }
}

/// What names an observation: its stream, the family of that, and when it began and was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Origin, metric and attributes; of what adds up since a start, the start as well.
    pub(super) key: StreamKey,
    /// All streams of one origin, metric and start, whatever their attributes.
    pub(super) family: StreamKey,
    /// The origin: what reports everything at the same moment.
    pub(super) sender: StreamKey,
    /// Of a cumulative value when it began, of a delta the time of the one before. 0 when the sender does not say; then processes that share an origin cannot be distinguished, and there are no
    /// families.
    pub(super) start_unix_ns: u64,
    pub(super) time_unix_ns: u64,
}

/// Whether a value stands for the time since the last one or since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Temporality {
    /// Since the last one.
    Delta,
    /// Since the start of the sequence.
    Cumulative,
}

/// A number as it came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Integer(i64),
    Double(f64),
    /// `value / 10^scale`, as it was written; `scale` at most [`SCALE_MAX`](starling_proto::limits::SCALE_MAX).
    Decimal {
        value: i64,
        scale: u8,
    },
}

/// What an observation says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reading {
    /// A value that holds until the next one; `None` when the sender says that there is none now.
    Level(Option<Number>),
    /// A change of a level.
    Change(Number),
    /// A count that only rises.
    Counter(Number, Temporality),
    /// A histogram.
    Histogram(Point, Temporality),
    /// Values that came one by one since the last one, in our own layout: nanoseconds when the unit is one of time, else
    /// as [`histogram_form`](super::application::histogram_form) has it.
    Values(Histogram),
    /// Hashes of members of a set, of which the distinct ones of a second are counted.
    Members(Vec<u64>),
}

/// One value of one stream.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Observation<'a> {
    pub(super) metric: &'a str,
    /// Unit by UCUM; empty when the sender does not state one.
    pub(super) unit: &'a str,
    /// `service.name` of the resource.
    pub(super) service: Option<&'a str>,
    /// Reported by one of Starling's own servers.
    pub(super) own: bool,
    pub(super) attributes: Vec<Attribute<'a>>,
    pub(super) identity: Identity,
    pub(super) reading: Reading,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_text_and_number() {
        let attribute = |key, value| Attribute { key, value };
        let attributes = [
            attribute("code", AttributeValue::Integer(503)),
            attribute("text", AttributeValue::Text("500".into())),
            attribute("list", AttributeValue::NotPlain),
        ];
        assert_eq!(text(&attributes, "code").as_deref(), Some("503"));
        assert_eq!((integer(&attributes, "code"), integer(&attributes, "text")), (Some(503), Some(500)));
        assert_eq!((text(&attributes, "none"), integer(&attributes, "none")), (None, None));
        assert_eq!((text(&attributes, "list"), integer(&attributes, "list")), (None, None));
    }
}
