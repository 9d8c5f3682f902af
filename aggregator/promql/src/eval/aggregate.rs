//! Aggregations over the elements of a vector.

use std::{cmp::Ordering, collections::HashMap};

use super::{
    Evaluation,
    floats::{extreme, mean, quantile, sum, variance},
    table::{Cell, Grid, Part, Row},
};
use crate::{
    EvalError, FloatHistogram, Labels, SampleValue,
    plan::{Aggregation, Grouping},
    write_number,
};

/// The aggregation of `rows` in the groups that `grouping` makes.
pub(super) fn aggregate(
    evaluation: &Evaluation<'_>,
    at: usize,
    aggregation: Aggregation,
    parameter: Option<&Part>,
    rows: Vec<Row>,
    grouping: &Grouping,
    grid: Grid,
) -> Result<Vec<Row>, EvalError> {
    let groups = groups(&rows, grouping);
    evaluation.look(at, rows.len() as u64 * grid.count as u64)?;
    let number = |step: usize| match parameter {
        Some(Part::Scalar(values)) => values[step],
        _ => f64::NAN,
    };
    match aggregation {
        Aggregation::TopK | Aggregation::BottomK => {
            ranked(evaluation, at, aggregation == Aggregation::TopK, number, rows, &groups, grid)
        }
        Aggregation::CountValues => {
            let Some(Part::Text(label)) = parameter else {
                return Err(evaluation.bad(at, "count_values needs the name of a label"));
            };
            count_values(evaluation, at, label, &rows, &groups, grid)
        }
        _ => {
            if aggregation == Aggregation::Quantile && (0..grid.count).any(|step| !(0.0..=1.0).contains(&number(step)))
            {
                evaluation.warn(at, "quantile value should be between 0 and 1");
            }
            evaluation.build(at, groups.len(), grid.count)?;
            let mut out = Vec::with_capacity(groups.len());
            for (labels, members) in groups {
                let mut cells = Vec::with_capacity(grid.count);
                let (mut floats, mut histograms) = (Vec::new(), Vec::new());
                for step in 0..grid.count {
                    floats.clear();
                    histograms.clear();
                    for &member in &members {
                        match &rows[member].cells[step] {
                            Cell::Empty => {}
                            Cell::Float(value) => floats.push(*value),
                            Cell::Histogram(histogram) => histograms.push(&**histogram),
                        }
                    }
                    cells.push(of_group(evaluation, at, aggregation, &floats, &histograms, number(step))?);
                }
                out.push(Row { labels, cells });
            }
            out.retain(|row| !row.is_empty());
            Ok(out)
        }
    }
}

/// Labels and members of each group, in the order in which they are met.
fn groups(rows: &[Row], grouping: &Grouping) -> Vec<(Labels, Vec<usize>)> {
    let mut places = HashMap::new();
    let mut groups: Vec<(Labels, Vec<usize>)> = Vec::new();
    for (member, row) in rows.iter().enumerate() {
        let labels = grouping.of(&row.labels);
        let place = *places.entry(labels.clone()).or_insert_with(|| {
            groups.push((labels, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(member);
    }
    groups
}

fn of_group(
    evaluation: &Evaluation<'_>,
    at: usize,
    aggregation: Aggregation,
    floats: &[f64],
    histograms: &[&FloatHistogram],
    parameter: f64,
) -> Result<Cell, EvalError> {
    let members = floats.len() + histograms.len();
    if members == 0 {
        return Ok(Cell::Empty);
    }
    let values = || floats.iter().copied();
    match aggregation {
        Aggregation::Count => return Ok(Cell::Float(members as f64)),
        Aggregation::Group => return Ok(Cell::Float(1.0)),
        Aggregation::Sum | Aggregation::Avg if !histograms.is_empty() => {
            if !floats.is_empty() {
                evaluation.warn(at, "a group of both numbers and histograms is left out");
                return Ok(Cell::Empty);
            }
            evaluation.look(at, histograms.iter().map(|histogram| histogram.weight()).sum())?;
            let merged = histograms[1..].iter().try_fold(histograms[0].clone(), |sum, next| sum.plus(next, 1.0));
            if merged.is_none() {
                evaluation.warn(at, "histograms of another precision cannot be merged; the group is left out");
            }
            let factor = if aggregation == Aggregation::Avg { 1.0 / members as f64 } else { 1.0 };
            return Ok(merged.map(|merged| merged.times(factor)).into());
        }
        _ => {}
    }
    if !histograms.is_empty() {
        evaluation.inform(at, "histograms are left out by this aggregation");
    }
    if floats.is_empty() {
        return Ok(Cell::Empty);
    }
    let value = match aggregation {
        Aggregation::Sum => sum(values()),
        Aggregation::Avg => mean(values()),
        Aggregation::Min => extreme(values(), |new, old| new < old),
        Aggregation::Max => extreme(values(), |new, old| new > old),
        Aggregation::Stdvar => variance(values()),
        Aggregation::Stddev => variance(values()).sqrt(),
        _ => quantile(parameter, floats.to_vec()),
    };
    Ok(Cell::Float(value))
}

/// The k highest or lowest of each group at each step, with their own labels. Of equal ones those that come first.
fn ranked(
    evaluation: &Evaluation<'_>,
    at: usize,
    top: bool,
    k: impl Fn(usize) -> f64,
    mut rows: Vec<Row>,
    groups: &[(Labels, Vec<usize>)],
    grid: Grid,
) -> Result<Vec<Row>, EvalError> {
    let mut order = Vec::new();
    for step in 0..grid.count {
        let wanted = k(step);
        if wanted.is_nan() {
            return Err(evaluation.failed(at, "the parameter k is not a number"));
        }
        let wanted = wanted.max(0.0) as usize;
        for (_, members) in groups {
            let mut found: Vec<(f64, usize)> =
                members.iter().filter_map(|&member| Some((rows[member].cells[step].float()?, member))).collect();
            evaluation.look(at, found.len() as u64)?;
            found.sort_by(|a, b| ranking(a.0, b.0, top));
            found.truncate(wanted);
            let kept: std::collections::HashSet<usize> = found.iter().map(|&(_, member)| member).collect();
            for &member in members.iter().filter(|member| !kept.contains(member)) {
                rows[member].cells[step] = Cell::Empty;
            }
            if grid.count == 1 {
                order.extend(found.into_iter().map(|(_, member)| member));
            }
        }
    }
    if grid.count == 1 {
        // About one moment the order is the ranking.
        return Ok(order.into_iter().map(|member| rows[member].clone()).collect());
    }
    rows.retain(|row| !row.is_empty());
    Ok(rows)
}

/// Highest (or lowest) first; what is no number last.
pub(super) fn ranking(a: f64, b: f64, highest_first: bool) -> Ordering {
    let numbers = || if highest_first { b.partial_cmp(&a) } else { a.partial_cmp(&b) };
    a.is_nan().cmp(&b.is_nan()).then_with(|| numbers().unwrap_or(Ordering::Equal))
}

/// How many elements of each group have the same value, with the value as a label.
fn count_values(
    evaluation: &Evaluation<'_>,
    at: usize,
    label: &str,
    rows: &[Row],
    groups: &[(Labels, Vec<usize>)],
    grid: Grid,
) -> Result<Vec<Row>, EvalError> {
    if label.is_empty() {
        return Err(evaluation.failed(at, "invalid label name \"\" in count_values"));
    }
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut out: Vec<Row> = Vec::new();
    for (labels, members) in groups {
        for &member in members {
            for (step, cell) in rows[member].cells.iter().enumerate() {
                let text = match cell {
                    Cell::Empty => continue,
                    Cell::Float(value) => write_number(*value),
                    Cell::Histogram(histogram) => SampleValue::Histogram(histogram.clone()).to_string(),
                };
                let labels = labels.with(label, &text);
                let place = match places.get(&labels) {
                    Some(&place) => place,
                    None => {
                        evaluation.build(at, out.len() + 1, 0)?;
                        evaluation.build(at, 1, grid.count)?;
                        out.push(Row { labels: labels.clone(), cells: vec![Cell::Empty; grid.count] });
                        places.insert(labels, out.len() - 1);
                        out.len() - 1
                    }
                };
                let count = out[place].cells[step].float().unwrap_or(0.0) + 1.0;
                out[place].cells[step] = Cell::Float(count);
            }
        }
    }
    Ok(out)
}
