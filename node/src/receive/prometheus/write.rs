//! Remote write, as a receiver: requests of version 1 (`prometheus.WriteRequest`) and 2 (`io.prometheus.write.v2.Request`),
//! read series by series without a copy of the whole.
//!
//! Version 2 says the type of each series. Version 1 says the types of families in requests of their own, once a minute; a
//! family of which nothing was said is told by its name: `_total` is a counter, `_bucket` with `le` part of a histogram.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use super::{
    assemble::{Assembler, Complete, Part},
    exposition::{Given, Kind, UNKNOWN_START, take_one, ucum},
    labels::{Labels, Source},
    native::{Native, is_stale},
};
use crate::receive::{
    Moment, Outcome, Refusal, SharedReceiver, decimal,
    mapping::unit_of,
    observation::{Number, Reading, Temporality},
    wire::{Field, WireError, each_field, numbers},
};

/// Families whose type is known, of version 1. Of more the name tells.
const FAMILIES_MAX: usize = 8_192;
/// Labels of a series at most; more are no series.
const LABELS_MAX: usize = 64;

/// The version of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// What came of a request.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) outcome: Outcome,
    /// Samples and histograms that were taken.
    pub(crate) samples: u64,
    pub(crate) histograms: u64,
}

/// What is kept between requests.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    types: HashMap<String, Kind>,
    assembler: Assembler,
}

/// A series of a request.
#[derive(Debug)]
struct Series<'a> {
    name: &'a str,
    labels: Labels<'a>,
    kind: Option<Kind>,
    unit: &'a str,
    created_ms: i64,
    samples: Vec<(i64, f64, i64)>,
    histograms: Vec<Native>,
}

/// The number of a type, the same in both versions.
const fn kind_of(number: u64) -> Option<Kind> {
    match number {
        1 => Some(Kind::Counter),
        2 | 6 | 7 => Some(Kind::Gauge),
        3 => Some(Kind::Histogram),
        4 => Some(Kind::GaugeHistogram),
        5 => Some(Kind::Summary),
        _ => None,
    }
}

impl Writes {
    /// Takes a request, decompressed.
    ///
    /// # Errors
    /// [`WireError`]: what stands before it was taken.
    pub(crate) fn take(
        &mut self,
        version: Version,
        body: &[u8],
        receiver: &SharedReceiver,
    ) -> Result<Written, WireError> {
        let mut written = Written::default();
        let mut symbols: Vec<&str> = Vec::new();
        // Symbols stand before the series that use them, types before or after.
        each_field(body, |number, field| {
            match (version, number) {
                (Version::V1, 3) => self.learn(field)?,
                (Version::V2, 4) => symbols.push(field.text()?),
                _ => {}
            }
            Ok(())
        })?;
        each_field(body, |number, field| {
            let series = match (version, number) {
                (Version::V1, 1) => first(field)?,
                (Version::V2, 5) => second(field, &symbols)?,
                _ => return Ok(()),
            };
            self.series(series, receiver, &mut written);
            Ok(())
        })?;
        Ok(written)
    }

    /// Hands over histograms that have been silent for a while, which are complete.
    pub(crate) fn settle(&mut self, receiver: &SharedReceiver) -> Outcome {
        let settled = self.assembler.settled(receiver.now().monotonic);
        give_complete(receiver, settled)
    }

    /// Hands over all of them.
    pub(crate) fn settle_all(&mut self, receiver: &SharedReceiver) -> Outcome {
        give_complete(receiver, self.assembler.settled(Duration::MAX))
    }

    /// True when no histogram is being put together.
    pub(crate) fn is_settled(&self) -> bool {
        self.assembler.is_empty()
    }

    fn learn(&mut self, field: Field<'_>) -> Result<(), WireError> {
        let (mut kind, mut family) = (None, "");
        each_field(field.bytes().unwrap_or_default(), |number, field| {
            match number {
                1 => kind = kind_of(field.number()),
                2 => family = field.text()?,
                _ => {}
            }
            Ok(())
        })?;
        if let Some(kind) = kind
            && (self.types.contains_key(family) || self.types.len() < FAMILIES_MAX)
        {
            self.types.insert(family.to_owned(), kind);
        }
        Ok(())
    }

    fn series(&mut self, series: Series<'_>, receiver: &SharedReceiver, written: &mut Written) {
        let of = |key: &str| series.labels.iter().find(|(own, _)| own == key).map_or("", |(_, value)| value);
        // What one target reports is reported at the same moment; Prometheus sends the metrics of many.
        let source = Source::new(&format!("remote write\0{}\0{}", of("job"), of("instance")), Vec::new());
        let Series { name, labels, kind, unit, created_ms, samples, histograms } = series;
        let part = Part::of(name, &labels, kind, &self.types);
        let (name, kind, part) = match part {
            Part::Whole(kind) => (name, kind, None),
            Part::Of { family, suffix } => (family, Kind::Histogram, Some(suffix)),
        };
        let unit = if unit.is_empty() { unit_of(name).unwrap_or("").to_owned() } else { ucum(unit) };
        let now = receiver.now();
        // Hands over what is a metric by itself; gives how many samples were taken.
        let whole = |reading, time_ms, start_unix_ns, outcome: &mut Outcome| {
            let (name, unit, labels) = (Cow::Borrowed(name), unit.clone(), labels.clone());
            let before = outcome.taken;
            let given = Given { name, unit, labels, reading, start_unix_ns, lines: 1 };
            give(receiver, &source, given, time_ms, now, outcome);
            outcome.taken - before
        };
        for (time_ms, value, start_ms) in samples {
            let start_unix_ns = start([start_ms, created_ms]);
            if let Some(suffix) = part {
                let (service, attributes) = super::labels::attributes(&labels);
                receiver.lock().expect_durations(name, service, &attributes, now);
                let before = self.assembler.add(
                    &source,
                    (name, suffix),
                    &labels,
                    (time_ms, value, start_unix_ns),
                    &unit,
                    now.monotonic,
                );
                match before {
                    Ok(complete) => {
                        written.samples += 1;
                        written.outcome.taken += 1;
                        if let Some((source, time, given)) = complete {
                            give(receiver, &source, given, time, now, &mut written.outcome);
                        }
                    }
                    Err(refusal) => written.outcome.refuse(name, &refusal, 1),
                }
                continue;
            }
            let reading = number_reading(kind, name, value);
            written.samples += whole(reading, time_ms, start_unix_ns, &mut written.outcome);
        }
        for native in histograms {
            let (time_ms, start_unix_ns) = (native.time_ms, start([native.start_ms, created_ms]));
            let reading = match (native.is_stale(), kind) {
                (true, _) => Ok(None),
                (_, Kind::GaugeHistogram) => Err(Refusal::UnknownType),
                _ => native.point().map(|point| Some(Reading::Histogram(point, Temporality::Cumulative))),
            };
            written.histograms += whole(reading, time_ms, start_unix_ns, &mut written.outcome);
        }
    }
}

fn give_complete(receiver: &SharedReceiver, complete: Vec<Complete>) -> Outcome {
    let (mut outcome, now) = (Outcome::default(), receiver.now());
    for (source, time, given) in complete {
        give(receiver, &source, given, time, now, &mut outcome);
    }
    outcome
}

/// What a number says by the type and name of its metric.
pub(super) fn number_reading(kind: Kind, name: &str, value: f64) -> Result<Option<Reading>, Refusal> {
    // By its shortest text: 12.5 has one digit after the point, as the sender wrote it.
    let number = decimal::number(value.to_string().as_bytes()).unwrap_or(Number::Double(value));
    match kind {
        Kind::Summary => Err(Refusal::Summary),
        Kind::GaugeHistogram => Err(Refusal::UnknownType),
        _ if value.is_nan() && (kind == Kind::Counter || name.ends_with("_total")) => Ok(None),
        Kind::Counter => Ok(Some(Reading::Counter(number, Temporality::Cumulative))),
        Kind::Unknown if name.ends_with("_total") => Ok(Some(Reading::Counter(number, Temporality::Cumulative))),
        // Stale, or no number: there is none now.
        _ => Ok(Some(Reading::Level((!is_stale(value) && !value.is_nan()).then_some(number)))),
    }
}

/// The latest start that is stated, in nanoseconds.
fn start(stated_ms: [i64; 2]) -> u64 {
    let latest = stated_ms.into_iter().max().and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);
    latest.map_or(UNKNOWN_START, |ms| ms.saturating_mul(1_000_000))
}

/// A sample is as old as it says, but for the time for which a sender that caught up would be taken for silent.
const AGE_MAX: Duration = Duration::from_secs(60);

/// Hands one metric over, as of the time its sender states: one request may hold what was scraped in several seconds.
fn give(
    receiver: &SharedReceiver,
    source: &Source,
    given: Given<'_>,
    time_ms: i64,
    now: Moment,
    outcome: &mut Outcome,
) {
    let unix_ns = u64::try_from(time_ms).unwrap_or(0).saturating_mul(1_000_000);
    let age = Duration::from_nanos(now.unix_ns.saturating_sub(unix_ns)).min(AGE_MAX);
    let moment = Moment { unix_ns, monotonic: now.monotonic.saturating_sub(age) };
    take_one(&mut receiver.lock(), source, given, moment, outcome);
}

/// Sample, in both versions: value, time, and in version 2 its start.
fn sample(field: Field<'_>) -> Result<(i64, f64, i64), WireError> {
    let (mut value, mut time_ms, mut start_ms) = (0.0, 0, 0);
    each_field(field.bytes().unwrap_or_default(), |number, field| {
        match number {
            1 => value = field.double(),
            // Two's complement.
            2 => time_ms = field.number() as i64,
            3 => start_ms = field.number() as i64,
            _ => {}
        }
        Ok(())
    })?;
    Ok((time_ms, value, start_ms))
}

impl<'a> Series<'a> {
    const fn new() -> Self {
        Self {
            name: "",
            labels: Vec::new(),
            kind: None,
            unit: "",
            created_ms: 0,
            samples: Vec::new(),
            histograms: Vec::new(),
        }
    }

    fn label(&mut self, name: &'a str, value: &'a str) {
        if name == "__name__" {
            self.name = value;
        } else if !name.is_empty() && self.labels.len() < LABELS_MAX {
            self.labels.push((Cow::Borrowed(name), Cow::Borrowed(value)));
        }
    }
}

/// `prometheus.TimeSeries`.
fn first(field: Field<'_>) -> Result<Series<'_>, WireError> {
    let mut series = Series::new();
    each_field(field.bytes().unwrap_or_default(), |number, field| {
        match number {
            1 => {
                let (mut name, mut value) = ("", "");
                each_field(field.bytes().unwrap_or_default(), |number, field| {
                    match number {
                        1 => name = field.text()?,
                        2 => value = field.text()?,
                        _ => {}
                    }
                    Ok(())
                })?;
                series.label(name, value);
            }
            2 => series.samples.push(sample(field)?),
            4 => series.histograms.push(Native::read(field.bytes().unwrap_or_default())?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(series)
}

/// `io.prometheus.write.v2.TimeSeries`.
fn second<'a>(field: Field<'a>, symbols: &[&'a str]) -> Result<Series<'a>, WireError> {
    let text = |number: u64| usize::try_from(number).ok().and_then(|at| symbols.get(at)).copied().unwrap_or("");
    let mut series = Series::new();
    let mut references = Vec::new();
    each_field(field.bytes().unwrap_or_default(), |number, field| {
        match number {
            1 => numbers(field, &mut references)?,
            2 => series.samples.push(sample(field)?),
            3 => series.histograms.push(Native::read(field.bytes().unwrap_or_default())?),
            5 => each_field(field.bytes().unwrap_or_default(), |number, field| {
                match number {
                    1 => series.kind = kind_of(field.number()),
                    4 => series.unit = text(field.number()),
                    _ => {}
                }
                Ok(())
            })?,
            6 => series.created_ms = field.number() as i64,
            _ => {}
        }
        Ok(())
    })?;
    for pair in references.as_chunks::<2>().0 {
        series.label(text(pair[0]), text(pair[1]));
    }
    Ok(series)
}
