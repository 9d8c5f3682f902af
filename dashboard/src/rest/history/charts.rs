//! `/api/v1/metrics/charts`: the columns of the page's charts over any range, by the names that live charts have.

use std::sync::LazyLock;

use axum::{
    Json,
    extract::{Query, State},
};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use starling_proto::{
    catalogue::{Chart, Metric, Statistic, charts},
    v1,
};

use super::{
    Asker, OVER,
    answer::{Completeness, numbers, sources},
    ask::Asking,
    present, scope,
};
use crate::{
    error::ApiError,
    hub::Source,
    rest::{
        Answer,
        number::{Number, scaled},
        parameters::{Parameters, SCOPE},
        period::{POINTS_MAX, Period, RANGE},
        time::rfc3339,
    },
};

const COLUMNS: &str = "columns";
pub(super) const PARAMETERS: [&str; 6] = [OVER[0], OVER[1], OVER[2], "step", "granularity", COLUMNS];
/// Most columns of an answer: more than a panel draws.
const COLUMNS_MAX: usize = 16;

/// Every charted column of the catalogue.
static CHARTS: LazyLock<Vec<Charted>> =
    LazyLock::new(|| charts().map(|(metric, chart)| Charted { metric, chart }).collect());

/// A charted column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Charted {
    metric: &'static Metric,
    chart: &'static Chart,
}

impl Charted {
    /// The column of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        CHARTS.iter().find(|is| is.chart.name == name).copied()
    }

    /// What is asked of an aggregator for it. Points of a second have no extremes.
    fn statistics(self, step: u32) -> Vec<String> {
        match self.chart.statistic {
            Statistic::Value if step == 1 => vec![VALUE.to_owned()],
            Statistic::Value => [VALUE, MIN, MAX].map(ToOwned::to_owned).to_vec(),
            other => vec![other.to_string()],
        }
    }

    /// Whether one question answers for both.
    fn goes_with(self, other: Self) -> bool {
        std::ptr::eq(self.metric, other.metric) && self.chart.attributes == other.chart.attributes
    }
}

const VALUE: &str = "value";
const MIN: &str = "min";
const MAX: &str = "max";

/// A column over time, in the unit in which it is charted. What is not known is NaN.
#[derive(Debug, Default)]
pub(super) struct Column {
    pub(super) values: Vec<f64>,
    /// Smallest and largest second of each step; `None` at a step of one second, and of a quantile.
    pub(super) extremes: Option<(Vec<f64>, Vec<f64>)>,
    error_bound_ppm: u32,
}

/// Columns over one range.
pub(super) struct Columns {
    /// The steps, and what is missing. Its series are in `columns`.
    pub(super) answer: v1::RangeAnswer,
    /// In the order asked for.
    pub(super) columns: Vec<Column>,
}

/// Reads columns. Those of one metric and the same attributes are asked for together.
pub(super) async fn read(
    asking: &Asking<'_>,
    source: &Source,
    columns: &[Charted],
    period: Period,
    step: u32,
) -> Result<Columns, ApiError> {
    let mut questions: Vec<(Charted, Vec<String>)> = Vec::new();
    for column in columns {
        let statistics = column.statistics(step);
        match questions.iter_mut().find(|(first, _)| first.goes_with(*column)) {
            Some((_, known)) => known.extend(statistics),
            None => questions.push((*column, statistics)),
        }
    }
    let answers = try_join_all(questions.iter().map(|(column, statistics)| async {
        let attributes = column.chart.attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let question = v1::QueryRangeRequest {
            scope: Some(scope(source, false)),
            name: column.metric.name.to_owned(),
            attributes: attributes.collect(),
            total: true,
            statistics: statistics.clone(),
            from_tick: period.from,
            to_tick: period.to,
            step_seconds: step,
            max_points: POINTS_MAX,
            ..Default::default()
        };
        asking.range(question).await
    }))
    .await?;
    let of = |column: &Charted| {
        let asked = questions.iter().position(|(first, _)| first.goes_with(*column));
        asked.and_then(|at| answers.get(at)).map_or_else(Column::default, |answer| column.read(answer))
    };
    let columns = columns.iter().map(of).collect();
    let whole = |mut all: v1::RangeAnswer, more: &v1::RangeAnswer| {
        let new = more.missing.iter().filter(|part| !all.missing.contains(part)).cloned().collect::<Vec<_>>();
        all.missing.extend(new);
        all.from_engine = all.from_engine.or_else(|| more.from_engine.clone());
        all.resolution_seconds = all.resolution_seconds.max(more.resolution_seconds);
        all
    };
    let first = answers.first().cloned().unwrap_or_default();
    Ok(Columns { answer: answers.iter().skip(1).fold(first, whole), columns })
}

impl Charted {
    fn read(self, answer: &v1::RangeAnswer) -> Column {
        let factor = self.metric.shown_as.charted();
        let series = answer.series.first();
        let statistic = |name: &str| series?.statistics.iter().find(|is| is.statistic == name);
        let values = |name: &str| match statistic(name) {
            Some(is) => is.values.iter().map(|value| scaled(*value, factor)).collect(),
            None => vec![f64::NAN; answer.points.len()],
        };
        let name = self.chart.statistic.to_string();
        Column {
            values: values(&name),
            extremes: statistic(MIN)
                .zip(statistic(MAX))
                .filter(|_| self.chart.statistic == Statistic::Value)
                .map(|_| (values(MIN), values(MAX))),
            error_bound_ppm: statistic(&name).map_or(0, |is| is.error_bound_ppm),
        }
    }
}

/// The columns named by the request.
fn asked(query: &Parameters) -> Result<Vec<Charted>, ApiError> {
    let known = || CHARTS.iter().map(|is| is.chart.name).collect::<Vec<_>>().join(", ");
    let Some(list) = query.get(COLUMNS) else {
        return Err(ApiError::invalid(
            COLUMNS,
            format!("names of columns are wanted, with commas; known: {}", known()),
        ));
    };
    let names: Vec<_> = list.split(',').map(str::trim).collect();
    if names.len() > COLUMNS_MAX {
        let message = format!("{} columns are asked for, at most {COLUMNS_MAX} are answered", names.len());
        return Err(ApiError::invalid(COLUMNS, message));
    }
    let column = |name: &&str| {
        let unknown = || ApiError::invalid(COLUMNS, format!("{name:?} is not known; known: {}", known()));
        Charted::named(name).ok_or_else(unknown)
    };
    names.iter().map(column).collect()
}

pub(super) async fn answer(State(asker): State<Asker>, Query(query): Query<Parameters>) -> Answer {
    query.only(&[&SCOPE[..], &PARAMETERS].concat())?;
    let (source, columns, at) = (query.source()?, asked(&query)?, present(&asker.readers));
    let period = Period::asked(&query, RANGE, "1h", at)?;
    let step = period.step(&query, POINTS_MAX)?;
    let period = period.on_grid(step);
    let asking = asker.aggregator().await?;
    let read = read(&asking, &source, &columns, period, step).await?;
    let points = &read.answer.points;
    let column = |(is, values): (&Charted, &Column)| {
        json!({
            "name": is.chart.name,
            "unit": is.metric.shown_as.as_str(),
            "values": numbers(&values.values, 1.0),
            "min": values.extremes.as_ref().map(|(min, _)| numbers(min, 1.0)),
            "max": values.extremes.as_ref().map(|(_, max)| numbers(max, 1.0)),
            "errorBoundPpm": Some(values.error_bound_ppm).filter(|bound| *bound > 0),
        })
    };
    Ok(Json(json!({
        "from": rfc3339(period.from),
        "to": rfc3339(period.to),
        "stepSeconds": step,
        "resolutionSeconds": read.answer.resolution_seconds,
        // In columns, as the values are.
        "points": {
            "tick": points.iter().map(|is| is.tick).collect::<Vec<_>>(),
            "seconds": points.iter().map(v1::RangePoint::seconds).collect::<Vec<_>>(),
            "secondsExpected": points.iter().map(|is| is.seconds_expected).collect::<Vec<_>>(),
            "nodesReporting": points.iter().map(|is| is.nodes_reporting).collect::<Vec<_>>(),
            "nodesExpected": points.iter().map(|is| is.nodes_expected).collect::<Vec<_>>(),
        },
        "columns": columns.iter().zip(&read.columns).map(column).collect::<Vec<Value>>(),
        "answeredBy": read.answer.answered_by,
        "completeness": json!(Completeness::of(points, sources(&read.answer), period, at.now)),
    })))
}

/// A value of a column at a point; `None` where there is none.
pub(super) fn known(values: &[f64], at: usize) -> Option<Number> {
    values.get(at).filter(|value| value.is_finite()).map(|value| Number(*value))
}
