//! Values in the middle of an evaluation: of each series one cell for each step.

use std::{collections::HashMap, sync::Arc};

use crate::{FloatHistogram, Labels};

/// The steps of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) start: i64,
    pub(super) step: i64,
    pub(super) count: usize,
}

impl Grid {
    pub(super) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.count as i64).map(move |i| self.start + i * self.step)
    }

    pub(super) const fn time(self, step: usize) -> i64 {
        self.start + step as i64 * self.step
    }
}

/// The stretch of one step: samples after `from` up to `to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) from: i64,
    pub(super) to: i64,
}

/// The value of a series at one step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Empty,
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

impl Cell {
    pub(super) const fn is_some(&self) -> bool {
        !matches!(self, Self::Empty)
    }

    pub(super) const fn float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }
}

impl From<Option<f64>> for Cell {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Empty, Self::Float)
    }
}

impl From<Option<FloatHistogram>> for Cell {
    fn from(value: Option<FloatHistogram>) -> Self {
        value.map_or(Self::Empty, |histogram| Self::Histogram(Arc::new(histogram)))
    }
}

/// A series and its cells, one a step.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) labels: Labels,
    pub(super) cells: Vec<Cell>,
}

impl Row {
    pub(super) fn is_empty(&self) -> bool {
        !self.cells.iter().any(Cell::is_some)
    }
}

/// What a part of the query gave.
#[derive(Debug)]
pub(super) enum Part {
    /// One number a step.
    Scalar(Vec<f64>),
    Table(Vec<Row>),
    Text(String),
}

/// Joins rows of equal labels, which may come from names that were dropped; `Err` with the labels when two of them have a
/// value at the same step.
pub(super) fn joined(rows: Vec<Row>) -> Result<Vec<Row>, Labels> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut out: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        match places.get(&row.labels) {
            None => {
                places.insert(row.labels.clone(), out.len());
                out.push(row);
            }
            Some(&place) => {
                for (cell, other) in out[place].cells.iter_mut().zip(row.cells) {
                    match (cell.is_some(), other.is_some()) {
                        (true, true) => return Err(row.labels),
                        (false, true) => *cell = other,
                        _ => {}
                    }
                }
            }
        }
    }
    Ok(out)
}
