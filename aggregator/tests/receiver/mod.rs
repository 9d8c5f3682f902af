//! A receiver of remote write, versions 1.0 and 2.0: it keeps every sample and answers as it is told.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use prost::Message;

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
    histograms: Vec<Histogram>,
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
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(int64, tag = "15")]
    timestamp: i64,
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
    histograms: Vec<Histogram>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata>,
    #[prost(int64, tag = "6")]
    created: i64,
}
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(int32, tag = "1")]
    kind: i32,
}

/// What it answers once, instead of taking a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u32>,
    pub(crate) text: &'static str,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    pub(crate) samples: usize,
}

/// A series with its samples in the order in which they came; the end of one is not a number.
type All = BTreeMap<String, Vec<(i64, f64)>>;

#[derive(Default)]
struct Seen {
    all: All,
    about: BTreeMap<String, (i32, i64)>,
    asked: Vec<Asked>,
    answers: VecDeque<Answer>,
}

#[derive(Clone, Default)]
pub(crate) struct Receiver {
    seen: Arc<Mutex<Seen>>,
    down: Arc<AtomicBool>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    port: u16,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self { port: listener.local_addr().unwrap().port(), ..Self::default() };
        let router = Router::new().route("/api/v1/write", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/write", self.port)
    }

    /// What it answers next, one request each.
    pub(crate) fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.seen.lock().unwrap().answers.extend(answers);
    }

    /// Takes nothing from now on.
    pub(crate) fn down(&self) {
        self.down.store(true, Ordering::Relaxed);
    }

    pub(crate) fn up(&self) {
        self.down.store(false, Ordering::Relaxed);
    }

    pub(crate) fn requests(&self) -> Vec<Asked> {
        self.seen.lock().unwrap().asked.clone()
    }

    /// Most requests there were at once.
    pub(crate) fn at_once(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.seen.lock().unwrap().all.keys().cloned().collect()
    }

    /// In the order in which they came.
    pub(crate) fn arrived(&self, series: &str) -> Vec<(i64, f64)> {
        self.seen.lock().unwrap().all.get(series).cloned().unwrap_or_default()
    }

    /// Those that are no repetition with the same value. One with another value fails the test.
    pub(crate) fn samples(&self, series: &str) -> Vec<(i64, f64)> {
        let mut kept: Vec<(i64, f64)> = Vec::new();
        for (time, value) in self.arrived(series) {
            match kept.iter().find(|held| held.0 == time) {
                Some(held) => assert_eq!(held.1.to_bits(), value.to_bits(), "{series} at {time} twice"),
                None => kept.push((time, value)),
            }
        }
        kept
    }

    /// Whether the last sample is a stale marker.
    pub(crate) fn has_ended(&self, series: &str) -> bool {
        self.arrived(series).last().is_some_and(|last| last.1.to_bits() == 0x7ff0_0000_0000_0002)
    }

    /// Kind and start of a series, of version 2.0.
    pub(crate) fn about(&self, series: &str) -> Option<(i32, i64)> {
        self.seen.lock().unwrap().about.get(series).copied()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    receiver.most.fetch_max(receiver.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
    let answer = receiver.take(&headers, body);
    tokio::time::sleep(Duration::from_millis(5)).await;
    receiver.now.fetch_sub(1, Ordering::Relaxed);
    answer
}

impl Receiver {
    fn take(&self, headers: &HeaderMap, body: Bytes) -> Response {
        let header = |name: &str| headers.get(name).unwrap().to_str().unwrap();
        assert_eq!(header("content-encoding"), "snappy");
        let plain = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        let two = header("content-type") == "application/x-protobuf;proto=io.prometheus.write.v2.Request";
        let version = header("x-prometheus-remote-write-version");
        assert_eq!(version, if two { "2.0.0" } else { "0.1.0" });
        let mut found = All::new();
        let mut about = BTreeMap::new();
        let (mut numbers, mut histograms) = (0, 0);
        let mut add = |name: &str, samples: &[Sample], of_histograms: &[Histogram]| {
            let points = found.entry(name.to_owned()).or_default();
            points.extend(samples.iter().map(|sample| (sample.timestamp, sample.value)));
            points.extend(of_histograms.iter().map(|one| {
                let value = if one.sum.is_nan() { one.sum } else { one.count as f64 };
                (one.timestamp, value)
            }));
            numbers += samples.len();
            histograms += of_histograms.len();
        };
        if two {
            let request = Request2::decode(&plain[..]).unwrap();
            for series in &request.timeseries {
                let texts: Vec<&str> = series.labels.iter().map(|at| request.symbols[*at as usize].as_str()).collect();
                let name = spelled(texts.chunks(2).map(|pair| (pair[0], pair[1])));
                add(&name, &series.samples, &series.histograms);
                let kind = series.metadata.as_ref().unwrap().kind;
                about.entry(name).or_insert((kind, series.created));
            }
        } else {
            for series in &WriteRequest::decode(&plain[..]).unwrap().timeseries {
                let name = spelled(series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())));
                add(&name, &series.samples, &series.histograms);
            }
        }
        let mut seen = self.seen.lock().unwrap();
        let down = Answer { status: 503, retry_after: None, text: "down" };
        let answer = if self.down.load(Ordering::Relaxed) { Some(down) } else { seen.answers.pop_front() };
        let status = answer.map_or(204, |answer| answer.status);
        seen.asked.push(Asked { at: Instant::now(), status, body, samples: numbers + histograms });
        if let Some(Answer { status, retry_after, text }) = answer {
            let mut response = (StatusCode::from_u16(status).unwrap(), text).into_response();
            if let Some(seconds) = retry_after {
                response.headers_mut().insert("retry-after", seconds.to_string().parse().unwrap());
            }
            return response;
        }
        for (name, points) in found {
            seen.all.entry(name).or_default().extend(points);
        }
        for (name, known) in about {
            seen.about.entry(name).or_insert(known);
        }
        let mut response = StatusCode::NO_CONTENT.into_response();
        if two {
            let mut insert = |name: &'static str, count: usize| {
                response.headers_mut().insert(name, count.to_string().parse().unwrap())
            };
            insert("x-prometheus-remote-write-samples-written", numbers);
            insert("x-prometheus-remote-write-histograms-written", histograms);
        }
        response
    }
}

/// Labels must come sorted, each once.
fn spelled<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let labels: Vec<(&str, &str)> = labels.collect();
    assert!(labels.is_sorted_by(|a, b| a.0 < b.0), "{labels:?}");
    let name = labels.iter().find(|(key, _)| *key == "__name__").unwrap().1;
    let others: Vec<String> =
        labels.iter().filter(|(key, _)| *key != "__name__").map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    format!("{name}{{{}}}", others.join(","))
}
