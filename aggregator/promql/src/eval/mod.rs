//! The evaluation of a query: every part over all steps at once.

mod aggregate;
mod binary;
mod buckets;
mod calendar;
mod floats;
mod growth;
mod histograms;
mod map;
mod select;
mod state;
mod table;
mod whole;
mod windows;

use crate::{
    Answer, EvalError, SampleValue, SeriesValues, Value,
    plan::{Kind, Node},
};
pub(crate) use state::Evaluation;
use table::{Cell, Grid, Part, Row};

/// The answer of the whole query.
pub(crate) fn run(evaluation: &Evaluation<'_>, root: &Node) -> Result<Answer, EvalError> {
    let range = evaluation.range;
    let instant = range.step_ms == 0;
    let grid = Grid { start: range.start_ms, step: range.step_ms.max(1), count: range.steps() as usize };
    if let Kind::Range(window) = &root.kind {
        let value = Value::Matrix(windows::raw(evaluation, root.at, window, grid)?);
        return Ok(evaluation.answer(value));
    }
    let value = match part(evaluation, root, grid)? {
        Part::Text(text) => Value::Text(range.start_ms, text),
        Part::Scalar(values) if instant => Value::Scalar(range.start_ms, values[0]),
        Part::Scalar(values) => {
            let cells = values.into_iter().map(Cell::Float).collect();
            Value::Matrix(written(vec![Row { labels: crate::Labels::default(), cells }], grid))
        }
        Part::Table(rows) if instant => Value::Vector(written(rows, grid)),
        Part::Table(mut rows) => {
            rows.sort_by(|a, b| a.labels.cmp(&b.labels));
            Value::Matrix(written(rows, grid))
        }
    };
    Ok(evaluation.answer(value))
}

fn written(rows: Vec<Row>, grid: Grid) -> Vec<SeriesValues> {
    let series = rows.into_iter().filter(|row| !row.is_empty()).map(|row| {
        let values = row.cells.into_iter().zip(grid.times()).filter_map(|(cell, time)| match cell {
            Cell::Empty => None,
            Cell::Float(value) => Some((time, SampleValue::Float(value))),
            Cell::Histogram(histogram) => Some((time, SampleValue::Histogram(histogram))),
        });
        SeriesValues { labels: row.labels, points: values.collect() }
    });
    series.collect()
}

/// What one part gives over the steps of `grid`.
fn part(evaluation: &Evaluation<'_>, node: &Node, grid: Grid) -> Result<Part, EvalError> {
    let at = node.at;
    Ok(match &node.kind {
        Kind::Number(value) => Part::Scalar(vec![*value; grid.count]),
        Kind::Text(text) => Part::Text(text.clone()),
        Kind::Select(selector) => Part::Table(select::newest(evaluation, at, selector, grid, false)?),
        Kind::Range(_) => return Err(evaluation.bad(at, "a range is no operand; use a function such as rate()")),
        Kind::Negate(inner) => match part(evaluation, inner, grid)? {
            Part::Scalar(values) => Part::Scalar(values.into_iter().map(|value| -value).collect()),
            other => Part::Table(map::negated(evaluation, at, rows_of(evaluation, at, other)?)?),
        },
        Kind::Binary { operator, left, right, matching } => {
            let (left, right) = (part(evaluation, left, grid)?, part(evaluation, right, grid)?);
            binary::binary(evaluation, at, *operator, left, right, matching)?
        }
        Kind::Aggregate { aggregation, parameter, inner, grouping } => {
            let parameter = parameter.as_ref().map(|parameter| part(evaluation, parameter, grid)).transpose()?;
            let rows = table(evaluation, inner, grid)?;
            Part::Table(aggregate::aggregate(evaluation, at, *aggregation, parameter.as_ref(), rows, grouping, grid)?)
        }
        Kind::OverTime { function, window, parameters } => {
            let parameters = parameters.iter().map(|p| scalar(evaluation, p, grid)).collect::<Result<Vec<_>, _>>()?;
            Part::Table(windows::over_time(evaluation, at, *function, window, &parameters, grid)?)
        }
        Kind::Map { function, arguments } => {
            let rows = table(evaluation, &arguments[0], grid)?;
            let scalars = arguments[1..].iter().map(|a| scalar(evaluation, a, grid)).collect::<Result<Vec<_>, _>>()?;
            Part::Table(map::map(evaluation, at, *function, rows, &scalars)?)
        }
        Kind::Whole { function, arguments } => whole::whole(evaluation, at, *function, arguments, grid)?,
    })
}

/// The rows of a part that must give a vector.
fn table(evaluation: &Evaluation<'_>, node: &Node, grid: Grid) -> Result<Vec<Row>, EvalError> {
    let given = part(evaluation, node, grid)?;
    rows_of(evaluation, node.at, given)
}

fn rows_of(evaluation: &Evaluation<'_>, at: usize, part: Part) -> Result<Vec<Row>, EvalError> {
    match part {
        Part::Table(rows) => Ok(rows),
        _ => Err(evaluation.bad(at, "expected an instant vector")),
    }
}

/// The numbers of a part that must give a scalar.
fn scalar(evaluation: &Evaluation<'_>, node: &Node, grid: Grid) -> Result<Vec<f64>, EvalError> {
    match part(evaluation, node, grid)? {
        Part::Scalar(values) => Ok(values),
        _ => Err(evaluation.bad(node.at, "expected a scalar")),
    }
}
