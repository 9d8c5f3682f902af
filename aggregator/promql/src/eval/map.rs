//! Functions of one element.

use std::sync::Arc;

use super::{
    Evaluation, calendar,
    table::{Cell, Row},
};
use crate::{EvalError, plan::VectorFunction};

/// `function` of every cell; `scalars` are its other arguments, one number a step. The name goes.
pub(super) fn map(
    evaluation: &Evaluation<'_>,
    at: usize,
    function: VectorFunction,
    rows: Vec<Row>,
    scalars: &[Vec<f64>],
) -> Result<Vec<Row>, EvalError> {
    let scalar = |which: usize, step: usize, absent: f64| scalars.get(which).map_or(absent, |values| values[step]);
    each(evaluation, at, rows, |step, cell| {
        let of_float = |f: &dyn Fn(f64) -> f64| cell.float().map(f).into();
        let of_histogram = |f: &dyn Fn(&crate::FloatHistogram) -> f64| match cell {
            Cell::Histogram(histogram) => Cell::Float(f(histogram)),
            _ => Cell::Empty,
        };
        match function {
            VectorFunction::Plain(f) => of_float(&f),
            VectorFunction::Date(part) => of_float(&|value| calendar::part(part, value)),
            VectorFunction::Round => {
                // Halves go up; dividing by the inverse loses less.
                let inverse = 1.0 / scalar(0, step, 1.0);
                of_float(&|value| (value * inverse + 0.5).floor() / inverse)
            }
            VectorFunction::Clamp => {
                let (low, high) = (scalar(0, step, f64::NAN), scalar(1, step, f64::NAN));
                if high < low { Cell::Empty } else { of_float(&|value| lower(upper(value, low), high)) }
            }
            VectorFunction::ClampMin => of_float(&|value| upper(value, scalar(0, step, f64::NAN))),
            VectorFunction::ClampMax => of_float(&|value| lower(value, scalar(0, step, f64::NAN))),
            VectorFunction::HistogramCount => of_histogram(&|histogram| histogram.count()),
            VectorFunction::HistogramSum => of_histogram(&|histogram| histogram.sum()),
            VectorFunction::HistogramAvg => of_histogram(&|histogram| histogram.sum() / histogram.count()),
            VectorFunction::HistogramStddev => of_histogram(&|histogram| histogram.variance().sqrt()),
            VectorFunction::HistogramStdvar => of_histogram(&|histogram| histogram.variance()),
        }
    })
}

/// The larger of the two; not a number when one is none.
fn upper(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// The smaller of the two; not a number when one is none.
fn lower(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// Every value with its sign turned.
pub(super) fn negated(evaluation: &Evaluation<'_>, at: usize, rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
    each(evaluation, at, rows, |_, cell| match cell {
        Cell::Empty => Cell::Empty,
        Cell::Float(value) => Cell::Float(-value),
        Cell::Histogram(histogram) => Cell::Histogram(Arc::new(histogram.times(-1.0))),
    })
}

fn each(
    evaluation: &Evaluation<'_>,
    at: usize,
    rows: Vec<Row>,
    function: impl Fn(usize, &Cell) -> Cell,
) -> Result<Vec<Row>, EvalError> {
    let mut out = Vec::with_capacity(rows.len());
    for mut row in rows {
        evaluation.look(at, row.cells.len() as u64)?;
        row.cells.iter_mut().enumerate().for_each(|(step, cell)| *cell = function(step, cell));
        row.labels = row.labels.nameless();
        if !row.is_empty() {
            out.push(row);
        }
    }
    evaluation.join(at, out)
}
