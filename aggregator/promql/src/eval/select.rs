//! The newest sample of each series.

use std::{collections::HashSet, sync::Arc};

use super::{
    Evaluation,
    growth::Running,
    table::{Cell, Grid, Row},
};
use crate::{EvalError, LabelMatcher, Labels, NAME, Samples, is_stale, plan::Selector};

/// For each step the newest sample that is younger than the look-back and no end of its series; with `when` its time in
/// seconds instead of its value.
pub(super) fn newest(
    evaluation: &Evaluation<'_>,
    at: usize,
    selector: &Selector,
    grid: Grid,
    when: bool,
) -> Result<Vec<Row>, EvalError> {
    let series = &evaluation.data[selector.index];
    evaluation.build(at, series.len(), grid.count)?;
    let lookback = evaluation.options.lookback_ms;
    let moments: Vec<i64> = grid.times().map(|time| evaluation.tied(selector.at, selector.offset_ms, time)).collect();
    let mut rows = Vec::with_capacity(series.len());
    for one in series {
        evaluation.look(at, (one.samples.len() + grid.count) as u64)?;
        let young = |time: i64, moment: i64| time > moment - lookback;
        let cells: Vec<Cell> = match &one.samples {
            Samples::Floats(points) | Samples::Sums(points) => {
                let mut seen = 0;
                let cell = |&moment: &i64| {
                    while points.get(seen).is_some_and(|point| point.0 <= moment) {
                        seen += 1;
                    }
                    match seen.checked_sub(1).map(|last| points[last]) {
                        Some((time, value)) if young(time, moment) && !is_stale(value) => {
                            Cell::Float(if when { time as f64 / 1000.0 } else { value })
                        }
                        _ => Cell::Empty,
                    }
                };
                moments.iter().map(cell).collect()
            }
            Samples::Histograms(samples) => {
                let mut running = Running::new(samples);
                let mut known: Option<(i64, Cell)> = None;
                let mut cells = Vec::with_capacity(grid.count);
                for &moment in &moments {
                    running.advance(moment);
                    cells.push(match running.time() {
                        Some(time) if young(time, moment) && when => Cell::Float(time as f64 / 1000.0),
                        Some(time) if young(time, moment) => {
                            // Steps closer than samples share what was merged.
                            if known.as_ref().is_none_or(|(of, _)| *of != time) {
                                let value = running.value();
                                evaluation.look(at, value.weight())?;
                                known = Some((time, Cell::Histogram(Arc::new(value))));
                            }
                            known.as_ref().map_or(Cell::Empty, |(_, cell)| cell.clone())
                        }
                        _ => Cell::Empty,
                    });
                }
                cells
            }
        };
        let row = Row { labels: one.labels.clone(), cells };
        if !row.is_empty() {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The labels that what is absent would have had: those with one condition, of equality.
pub(super) fn labels_of_absent(matchers: &[LabelMatcher]) -> Labels {
    let mut seen = HashSet::new();
    let mut labels = Labels::default();
    for matcher in matchers.iter().filter(|matcher| matcher.label != NAME) {
        let value = matcher.condition.only().filter(|_| seen.insert(&matcher.label)).unwrap_or_default();
        labels = labels.with(&matcher.label, value);
    }
    labels
}
