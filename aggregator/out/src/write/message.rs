//! The messages of remote write, field by field: `prometheus.WriteRequest` and `io.prometheus.write.v2.Request`.
//!
//! They are written by hand because a request repeats the labels of thousands of series: nothing is copied into structs
//! first. The tests read them back by structs of prost.

use std::collections::HashMap;

use prost::encoding::{WireType, encode_key, encode_varint};
use starling_proto::{catalogue::Kind, varint::zigzag};

use super::{
    Protocol,
    batch::{Batch, Point, Points},
};
use crate::{Native, SCHEMA, native::ZERO_THRESHOLD};

impl Batch {
    /// The body of the request, before it is compressed.
    #[must_use]
    pub fn body(&self, protocol: Protocol) -> Vec<u8> {
        match protocol {
            Protocol::V1 => version_1(&self.points),
            Protocol::V2 => version_2(&self.points),
        }
    }
}

/// A message inside another one: its fields are written to a buffer of their own, as their length stands before them.
fn nested(out: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut fields = Vec::new();
    write(&mut fields);
    bytes(out, tag, &fields);
}

fn bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn double(out: &mut Vec<u8>, tag: u32, value: f64) {
    encode_key(tag, WireType::SixtyFourBit, out);
    out.extend_from_slice(&value.to_le_bytes());
}

fn integer(out: &mut Vec<u8>, tag: u32, value: u64) {
    encode_key(tag, WireType::Varint, out);
    encode_varint(value, out);
}

/// A negative `int64` is its two's complement.
fn time(out: &mut Vec<u8>, tag: u32, ms: i64) {
    integer(out, tag, ms as u64);
}

/// `Sample`, the same in both versions.
fn sample(out: &mut Vec<u8>, ms: i64, value: f64) {
    double(out, 1, value);
    time(out, 2, ms);
}

/// `Histogram` of whole counts, the same in both versions.
fn histogram(out: &mut Vec<u8>, ms: i64, native: &Native) {
    integer(out, 1, native.count);
    double(out, 3, native.sum);
    integer(out, 4, zigzag(SCHEMA.into()));
    double(out, 5, ZERO_THRESHOLD);
    integer(out, 6, native.zeros);
    for (offset, length) in native.spans() {
        nested(out, 11, |out| {
            integer(out, 1, zigzag(offset.into()));
            integer(out, 2, length.into());
        });
    }
    if !native.buckets.is_empty() {
        nested(out, 12, |out| native.deltas().into_iter().for_each(|delta| encode_varint(zigzag(delta), out)));
    }
    time(out, 15, ms);
}

fn samples(out: &mut Vec<u8>, points: &Points, of_numbers: u32, of_histograms: u32) {
    for (ms, point) in &points.samples {
        match point {
            Point::Number(value) => nested(out, of_numbers, |out| sample(out, *ms, *value)),
            Point::Histogram(native) => nested(out, of_histograms, |out| histogram(out, *ms, native)),
        }
    }
}

/// `prometheus.WriteRequest`.
fn version_1(all: &[Points]) -> Vec<u8> {
    let mut out = Vec::new();
    for points in all {
        nested(&mut out, 1, |out| {
            for (name, value) in points.labels.iter() {
                nested(out, 1, |out| {
                    bytes(out, 1, name.as_bytes());
                    bytes(out, 2, value.as_bytes());
                });
            }
            samples(out, points, 2, 4);
        });
    }
    out
}

/// The texts of a request of version 2, each once; the first is empty.
struct Symbols<'a> {
    numbers: HashMap<&'a str, u32>,
    texts: Vec<&'a str>,
}

impl<'a> Symbols<'a> {
    fn number(&mut self, text: &'a str) -> u32 {
        *self.numbers.entry(text).or_insert_with(|| {
            self.texts.push(text);
            (self.texts.len() - 1) as u32
        })
    }
}

/// `io.prometheus.write.v2.Request`.
fn version_2(all: &[Points]) -> Vec<u8> {
    let mut symbols = Symbols { numbers: HashMap::from([("", 0)]), texts: vec![""] };
    let mut series = Vec::new();
    for points in all {
        nested(&mut series, 5, |out| {
            nested(out, 1, |out| {
                for text in points.labels.iter().flat_map(|(name, value)| [name, value]) {
                    encode_varint(symbols.number(text).into(), out);
                }
            });
            samples(out, points, 2, 3);
            nested(out, 5, |out| {
                let kind = match points.kind {
                    Kind::Counter => 1,
                    Kind::Gauge => 2,
                    Kind::Histogram => 3,
                };
                integer(out, 1, kind);
                integer(out, 3, symbols.number(points.help).into());
            });
            if points.created_ms != 0 {
                time(out, 6, points.created_ms);
            }
        });
    }
    let mut out = Vec::with_capacity(series.len() + 1_024);
    symbols.texts.iter().for_each(|text| bytes(&mut out, 4, text.as_bytes()));
    out.extend_from_slice(&series);
    out
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use starling_promql::{Labels, is_stale};
    use starling_proto::histogram::Histogram;

    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        timeseries: Vec<TimeSeries>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        samples: Vec<Sample>,
        #[prost(message, repeated, tag = "4")]
        histograms: Vec<HistogramMessage>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Label {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "2")]
        value: String,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Sample {
        #[prost(double, tag = "1")]
        value: f64,
        #[prost(int64, tag = "2")]
        timestamp: i64,
    }
    #[derive(Clone, PartialEq, Message)]
    struct HistogramMessage {
        #[prost(uint64, optional, tag = "1")]
        count: Option<u64>,
        #[prost(double, tag = "3")]
        sum: f64,
        #[prost(sint32, tag = "4")]
        schema: i32,
        #[prost(double, tag = "5")]
        zero_threshold: f64,
        #[prost(uint64, optional, tag = "6")]
        zeros: Option<u64>,
        #[prost(message, repeated, tag = "11")]
        spans: Vec<Span>,
        #[prost(sint64, repeated, tag = "12")]
        deltas: Vec<i64>,
        #[prost(int64, tag = "15")]
        timestamp: i64,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Span {
        #[prost(sint32, tag = "1")]
        offset: i32,
        #[prost(uint32, tag = "2")]
        length: u32,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Request2 {
        #[prost(string, repeated, tag = "4")]
        symbols: Vec<String>,
        #[prost(message, repeated, tag = "5")]
        timeseries: Vec<TimeSeries2>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct TimeSeries2 {
        #[prost(uint32, repeated, tag = "1")]
        labels: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        histograms: Vec<HistogramMessage>,
        #[prost(message, optional, tag = "5")]
        metadata: Option<Metadata>,
        #[prost(int64, tag = "6")]
        created: i64,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Metadata {
        #[prost(int32, tag = "1")]
        kind: i32,
        #[prost(uint32, tag = "3")]
        help: u32,
    }

    fn points() -> Vec<Points> {
        let native = Native::of(&Histogram::of(2_000_000, 3).plus(&Histogram::of(0, 1)).unwrap(), 9);
        let of = |name, kind, samples| Points {
            labels: Labels::new([("__name__", name), ("node", "web-1")]),
            kind,
            help: "What it is.",
            created_ms: 999_000,
            samples,
        };
        vec![
            of("a_total", Kind::Counter, vec![(999_500, Point::Number(0.0)), (1_000_000, Point::Number(2.5))]),
            of(
                "b_seconds",
                Kind::Histogram,
                vec![(1_000_000, Point::Histogram(native)), (1_000_250, Point::end(true))],
            ),
            Points { created_ms: 0, ..of("c", Kind::Gauge, vec![(-1, Point::Number(-0.0)), (1, Point::end(false))]) },
        ]
    }

    fn check(histogram: &HistogramMessage) {
        let HistogramMessage { count, sum, schema, zeros, spans, deltas, timestamp, .. } = histogram;
        assert_eq!((*count, *sum, *schema, *zeros, *timestamp), (Some(4), 0.006, 5, Some(1), 1_000_000));
        assert_eq!((spans.len(), spans[0].length, &deltas[..]), (1, 1, &[3][..]));
        // 2 ms is 2^-8.97: bucket -287 ends at 2^-8.96875.
        assert_eq!(spans[0].offset, -286);
    }

    #[test]
    fn version_1_is_read_back() {
        let request = WriteRequest::decode(&version_1(&points())[..]).unwrap();
        let [counter, histogram, gauge] = &request.timeseries[..] else { panic!("{request:?}") };
        let names: Vec<_> = counter.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
        assert_eq!(names, [("__name__", "a_total"), ("node", "web-1")]);
        assert_eq!(
            counter.samples,
            [Sample { value: 0.0, timestamp: 999_500 }, Sample { value: 2.5, timestamp: 1_000_000 }]
        );
        check(&histogram.histograms[0]);
        assert!(is_stale(histogram.histograms[1].sum) && histogram.histograms[1].spans.is_empty());
        assert!(gauge.samples[0].timestamp == -1 && is_stale(gauge.samples[1].value));
    }

    #[test]
    fn version_2_is_read_back_and_says_each_text_once() {
        let request = Request2::decode(&version_2(&points())[..]).unwrap();
        assert_eq!(request.symbols[0], "");
        let mut once = request.symbols.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), request.symbols.len());
        let text = |number: u32| request.symbols[number as usize].as_str();
        let [counter, histogram, gauge] = &request.timeseries[..] else { panic!("{request:?}") };
        let labels: Vec<_> = histogram.labels.iter().map(|number| text(*number)).collect();
        assert_eq!(labels, ["__name__", "b_seconds", "node", "web-1"]);
        check(&histogram.histograms[0]);
        let about = |series: &TimeSeries2| series.metadata.as_ref().map(|one| (one.kind, text(one.help))).unwrap();
        assert_eq!((about(counter), counter.created), ((1, "What it is."), 999_000));
        assert_eq!((about(histogram).0, about(gauge).0, gauge.created), (3, 2, 0));
    }

    #[test]
    fn neither_version_can_be_taken_for_the_other() {
        assert!(WriteRequest::decode(&version_2(&points())[..]).unwrap().timeseries.is_empty());
        assert!(Request2::decode(&version_1(&points())[..]).unwrap().timeseries.is_empty());
    }
}
