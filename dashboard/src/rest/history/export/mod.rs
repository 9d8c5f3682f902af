//! `/api/v1/export`: the points of any series as a stream of CSV, JSON or Parquet.
//!
//! The range is read in parts, so that neither side holds it whole. A part that fails ends the stream as broken: a
//! reader never takes a piece for the whole.

mod parquet;
mod text;

use std::{io, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, stream, stream::try_unfold};
use starling_proto::v1;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use self::parquet::Table;
use super::{ATTRIBUTE, ATTRIBUTES, Asker, OVER, present, series::question};
use crate::{
    error::ApiError,
    rest::parameters::{Parameters, SCOPE},
};

pub(super) const PARAMETERS: [&str; 11] =
    [OVER[0], OVER[1], OVER[2], "step", "granularity", "name", ATTRIBUTES, "total", "statistics", "eachNode", "format"];
/// Media type of Parquet.
pub(crate) const PARQUET: &str = "application/vnd.apache.parquet";
/// Exports at once: each keeps an aggregator reading for minutes.
const EXPORTS_MAX: usize = 4;
/// Most points of each series: a month of seconds, two years at half a minute.
const POINTS_MAX: u32 = 2_700_000;
/// Points of a part. Of a hundred series with three statistics it is 150,000 values, 20 MB of text.
const PART_POINTS: u32 = 500;

/// Places for exports.
#[derive(Clone)]
pub(in crate::rest) struct Exports(Arc<Semaphore>);

impl Default for Exports {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(EXPORTS_MAX)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Json,
    Parquet,
}

impl Format {
    fn asked(query: &Parameters) -> Result<Self, ApiError> {
        match query.get("format") {
            None | Some("csv") => Ok(Self::Csv),
            Some("json") => Ok(Self::Json),
            Some("parquet") => Ok(Self::Parquet),
            Some(other) => {
                Err(ApiError::invalid("format", format!("{other:?} is not known; known: csv, json, parquet")))
            }
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Json => "application/json",
            Self::Parquet => PARQUET,
        }
    }

    const fn disposition(self) -> &'static str {
        match self {
            Self::Csv => "attachment; filename=\"starling.csv\"",
            Self::Json => "attachment; filename=\"starling.json\"",
            Self::Parquet => "attachment; filename=\"starling.parquet\"",
        }
    }
}

pub(super) async fn answer(
    State(asker): State<Asker>,
    State(Exports(places)): State<Exports>,
    Query(query): Query<Parameters>,
) -> Result<Response, ApiError> {
    query.only_or(&[&SCOPE[..], &PARAMETERS].concat(), ATTRIBUTE)?;
    let (source, at, format) = (query.source()?, present(&asker.readers), Format::asked(&query)?);
    if query.get("name").is_none() {
        return Err(ApiError::invalid("name", "the name of a series is wanted; /api/v1/series lists them"));
    }
    let (period, question) = question(&query, &source, at, POINTS_MAX)?;
    let busy = |_| ApiError::limit(format!("{EXPORTS_MAX} exports are running; try again when one has ended"));
    let place = places.try_acquire_owned().map_err(busy)?;
    let export = Export {
        asker,
        format,
        end: period.to,
        next: Some(period.on_grid(question.step_seconds).from),
        points: PART_POINTS,
        question,
        known: Vec::new(),
        statistics: None,
        unit: String::new(),
        begun: false,
        table: None,
        _place: place,
    };
    // The first part is read before anything is answered, so that a mistake is an error and no broken stream.
    let Some((head, export)) = export.part().await? else {
        return Err(ApiError::unavailable("there is nothing to export"));
    };
    let rest = try_unfold(export, |export| async { export.part().await.map_err(|error| broken(&error)) });
    let body = Body::from_stream(stream::once(async move { Ok::<_, io::Error>(head) }).chain(rest));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(format.media_type())),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static(format.disposition())),
    ];
    Ok((headers, body).into_response())
}

/// Ends the stream without its end, which a reader of HTTP sees.
fn broken(error: &ApiError) -> io::Error {
    io::Error::other(error.message().to_owned())
}

/// One export on its way.
struct Export {
    asker: Asker,
    format: Format,
    question: v1::QueryRangeRequest,
    /// First second of the next part; `None` after the last one, when the end is still to be written.
    next: Option<u32>,
    /// Last second.
    end: u32,
    /// Points of a part: fewer when there are so many series that an answer cannot hold them.
    points: u32,
    /// The series met so far: one that a part does not hold has rows without values there. At most as many as an answer
    /// holds in every part.
    known: Vec<Key>,
    /// Once the first series is met: all have one name, so one kind.
    statistics: Option<Vec<String>>,
    /// The unit of their values, known at the same time.
    unit: String,
    begun: bool,
    /// The file that is written, once the columns are known.
    table: Option<Table>,
    _place: OwnedSemaphorePermit,
}

/// What tells series of one name apart: the node and its attributes.
type Key = (String, Vec<(String, String)>);

impl Export {
    /// What is written of the next part, which may be nothing yet; `None` at the end.
    async fn part(mut self) -> Result<Option<(Bytes, Self)>, ApiError> {
        let Some(from) = self.next else { return Ok(None) };
        let answer = loop {
            let step = self.question.step_seconds;
            let to = from.saturating_add(step.saturating_mul(self.points) - 1).min(self.end);
            let question = v1::QueryRangeRequest { from_tick: from, to_tick: to, ..self.question.clone() };
            let answer = self.asker.part().await?.range(question).await?;
            match answer.left_out() {
                0 => {
                    self.next = to.checked_add(1).filter(|next| *next <= self.end);
                    break answer;
                }
                _ if self.points > 1 => self.points /= 4,
                more => {
                    let message =
                        format!("{more} series more than an answer holds; ask for fewer by attributes or by node");
                    return Err(ApiError::invalid("name", message));
                }
            }
            self.points = self.points.max(1);
        };
        // Many milliseconds for a part of many series.
        let written = spawn_blocking(move || self.write(&answer).map(|written| (written.into(), self))).await;
        let written = written.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
        written.map(Some).map_err(|error| ApiError::unavailable(format!("the export cannot be written: {error}")))
    }

    fn write(&mut self, answer: &v1::RangeAnswer) -> io::Result<Vec<u8>> {
        for series in &answer.series {
            let key = key(series);
            if self.statistics.is_none() {
                self.unit.clone_from(&series.unit);
            }
            if !self.known.contains(&key) {
                self.known.push(key);
            }
            self.statistics.get_or_insert_with(|| series.statistics.iter().map(|is| is.statistic.clone()).collect());
        }
        let statistics = self.statistics.clone().unwrap_or_default();
        let mut text = String::new();
        if self.format == Format::Parquet && self.table.is_none() && (self.next.is_none() || !self.known.is_empty()) {
            self.table = Some(Table::new(&self.question.name, &self.unit, &statistics)?);
        }
        let held: Vec<_> = self.known.iter().map(|known| answer.series.iter().find(|is| key(is) == *known)).collect();
        for (place, point) in answer.points.iter().enumerate() {
            let missing = missing(&answer.missing, point.tick, self.question.step_seconds);
            for (known, series) in self.known.iter().zip(&held) {
                let value = |name: &String| {
                    let of = series.and_then(|is| is.statistics.iter().find(|is| is.statistic == *name));
                    of.and_then(|is| is.values.get(place).copied()).unwrap_or(f64::NAN)
                };
                let values: Vec<_> = statistics.iter().map(|name| (name.as_str(), value(name))).collect();
                let row = Row {
                    name: &self.question.name,
                    unit: &self.unit,
                    key: known,
                    point,
                    values: &values,
                    missing: missing.as_deref(),
                };
                let first = !std::mem::replace(&mut self.begun, true);
                match self.format {
                    Format::Csv if first => text.extend([row.csv_head(), row.csv()]),
                    Format::Csv => text.push_str(&row.csv()),
                    Format::Json => {
                        text.push_str(if first { "{\"rows\":[\n" } else { ",\n" });
                        text.push_str(&row.json().to_string());
                    }
                    Format::Parquet => {
                        if let Some(table) = &mut self.table {
                            table.push(&row)?;
                        }
                    }
                }
            }
        }
        if self.next.is_none() && self.format == Format::Json {
            text.push_str(if self.begun { "\n]}\n" } else { "{\"rows\":[]}\n" });
        }
        match &mut self.table {
            Some(table) if self.next.is_none() => table.end(),
            Some(table) => Ok(table.take()),
            None => Ok(text.into_bytes()),
        }
    }
}

fn key(of: &v1::RangeSeries) -> Key {
    let mut attributes: Vec<_> = of.attributes.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    attributes.sort_unstable();
    (of.node_id.clone(), attributes)
}

/// Why a step may lack something.
fn missing(parts: &[v1::MissingPart], tick: u32, step: u32) -> Option<String> {
    let last = tick.saturating_add(step - 1);
    let here = parts.iter().filter(|part| part.from_tick <= last && part.to_tick >= tick);
    let words: Vec<_> = here.map(|part| format!("{} {}", part.aggregator_id, part.reason).trim().to_owned()).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// One series at one step.
struct Row<'a> {
    name: &'a str,
    unit: &'a str,
    key: &'a Key,
    point: &'a v1::RangePoint,
    values: &'a [(&'a str, f64)],
    missing: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_missing_where_it_overlaps() {
        let part = v1::MissingPart {
            aggregator_id: "a2".into(),
            reason: "stopped".into(),
            from_tick: 100,
            to_tick: 159,
            ..Default::default()
        };
        let at = |tick| missing(std::slice::from_ref(&part), tick, 60);
        assert_eq!(
            (at(0), at(60), at(120), at(160)),
            (None, Some("a2 stopped".into()), Some("a2 stopped".into()), None)
        );
    }
}
