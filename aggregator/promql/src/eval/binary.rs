//! Operators between two parts.

use std::{collections::HashMap, sync::Arc};

use super::{
    Evaluation,
    table::{Cell, Part, Row},
};
use crate::{
    EvalError, Labels,
    plan::{Cardinality, Grouping, Matching, Operator},
};

/// `left operator right`.
pub(super) fn binary(
    evaluation: &Evaluation<'_>,
    at: usize,
    operator: Operator,
    left: Part,
    right: Part,
    matching: &Matching,
) -> Result<Part, EvalError> {
    Ok(match (left, right) {
        (Part::Scalar(left), Part::Scalar(right)) => {
            Part::Scalar(left.into_iter().zip(right).map(|(a, b)| of_scalars(operator, a, b)).collect())
        }
        (Part::Table(rows), Part::Scalar(scalar)) => {
            Part::Table(with_scalar(evaluation, at, operator, rows, &scalar, false, matching.bool_result)?)
        }
        (Part::Scalar(scalar), Part::Table(rows)) => {
            Part::Table(with_scalar(evaluation, at, operator, rows, &scalar, true, matching.bool_result)?)
        }
        (Part::Table(left), Part::Table(right)) if operator.is_set() => {
            Part::Table(of_sets(evaluation, at, operator, left, right, &matching.grouping)?)
        }
        (Part::Table(left), Part::Table(right)) => {
            Part::Table(of_vectors(evaluation, at, operator, left, right, matching)?)
        }
        _ => return Err(evaluation.bad(at, "a string is no operand")),
    })
}

/// The number that an arithmetic operator gives.
fn arithmetic(operator: Operator, a: f64, b: f64) -> f64 {
    match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        Operator::Modulo => a % b,
        Operator::Power => a.powf(b),
        Operator::Atan2 => a.atan2(b),
        _ => f64::NAN,
    }
}

fn holds(operator: Operator, a: f64, b: f64) -> bool {
    match operator {
        Operator::Equal => a == b,
        Operator::NotEqual => a != b,
        Operator::Greater => a > b,
        Operator::Less => a < b,
        Operator::GreaterEqual => a >= b,
        Operator::LessEqual => a <= b,
        _ => false,
    }
}

fn of_scalars(operator: Operator, a: f64, b: f64) -> f64 {
    if operator.compares() { f64::from(u8::from(holds(operator, a, b))) } else { arithmetic(operator, a, b) }
}

/// What two elements give: the value, and for a comparison whether it holds. `None`: nothing, because one is a histogram
/// that the operator does not take.
fn of_cells(evaluation: &Evaluation<'_>, at: usize, operator: Operator, a: &Cell, b: &Cell) -> Option<(Cell, bool)> {
    let histogram = |histogram: crate::FloatHistogram| (Cell::Histogram(Arc::new(histogram)), true);
    match (a, b) {
        (Cell::Float(a), Cell::Float(b)) if operator.compares() => Some((Cell::Float(*a), holds(operator, *a, *b))),
        (Cell::Float(a), Cell::Float(b)) => Some((Cell::Float(arithmetic(operator, *a, *b)), true)),
        (Cell::Histogram(a), Cell::Histogram(b)) => match operator {
            Operator::Add | Operator::Subtract => {
                let sum = a.plus(b, if operator == Operator::Add { 1.0 } else { -1.0 });
                if sum.is_none() {
                    evaluation.warn(at, "histograms of another precision cannot be merged; the element is left out");
                }
                sum.map(histogram)
            }
            Operator::Equal => Some((Cell::Histogram(a.clone()), a == b)),
            Operator::NotEqual => Some((Cell::Histogram(a.clone()), a != b)),
            _ => refused(evaluation, at),
        },
        (Cell::Histogram(a), Cell::Float(b)) => match operator {
            Operator::Multiply => Some(histogram(a.times(*b))),
            Operator::Divide => Some(histogram(a.times(1.0 / b))),
            _ => refused(evaluation, at),
        },
        (Cell::Float(a), Cell::Histogram(b)) if operator == Operator::Multiply => Some(histogram(b.times(*a))),
        (Cell::Empty, _) | (_, Cell::Empty) => None,
        _ => refused(evaluation, at),
    }
}

fn refused(evaluation: &Evaluation<'_>, at: usize) -> Option<(Cell, bool)> {
    evaluation.inform(at, "the operator does not take histograms; such elements are left out");
    None
}

/// 1 or 0 of a comparison with `bool`, else the value where it holds.
fn judged(value: Cell, holds: bool, bool_result: bool) -> Cell {
    match (bool_result, holds) {
        (true, _) => Cell::Float(f64::from(u8::from(holds))),
        (false, true) => value,
        (false, false) => Cell::Empty,
    }
}

fn with_scalar(
    evaluation: &Evaluation<'_>,
    at: usize,
    operator: Operator,
    rows: Vec<Row>,
    scalar: &[f64],
    swapped: bool,
    bool_result: bool,
) -> Result<Vec<Row>, EvalError> {
    let mut out = Vec::with_capacity(rows.len());
    for mut row in rows {
        evaluation.look(at, row.cells.len() as u64)?;
        for (cell, &number) in row.cells.iter_mut().zip(scalar) {
            let number = Cell::Float(number);
            let given = if swapped {
                of_cells(evaluation, at, operator, &number, cell)
            } else {
                of_cells(evaluation, at, operator, cell, &number)
            };
            *cell = match given {
                None => Cell::Empty,
                // A comparison keeps the element, on whichever side it stands.
                Some((_, holds)) if operator.compares() => judged(cell.clone(), holds, bool_result),
                Some((value, _)) => value,
            };
        }
        if !operator.compares() || bool_result {
            row.labels = row.labels.nameless();
        }
        if !row.is_empty() {
            out.push(row);
        }
    }
    evaluation.join(at, out)
}

/// Numbers for the groups of matching labels: of each row of both sides which group it belongs to, and how many groups.
fn matched(left: &[Row], right: &[Row], grouping: &Grouping) -> (Vec<usize>, Vec<usize>, Vec<Labels>) {
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut all = Vec::new();
    let mut number = |row: &Row| {
        let labels = grouping.of(&row.labels);
        *known.entry(labels.clone()).or_insert_with(|| {
            all.push(labels);
            all.len() - 1
        })
    };
    let left = left.iter().map(&mut number).collect();
    let right = right.iter().map(&mut number).collect();
    (left, right, all)
}

fn of_sets(
    evaluation: &Evaluation<'_>,
    at: usize,
    operator: Operator,
    mut left: Vec<Row>,
    mut right: Vec<Row>,
    grouping: &Grouping,
) -> Result<Vec<Row>, EvalError> {
    let steps = left.first().or(right.first()).map_or(0, |row| row.cells.len());
    let (of_left, of_right, groups) = matched(&left, &right, grouping);
    evaluation.look(at, ((left.len() + right.len()) * steps) as u64)?;
    let mut present = vec![false; groups.len()];
    for step in 0..steps {
        present.fill(false);
        // Elements of the other side that count: of the right for `and` and `unless`, of the left for `or`.
        let (rows, of_rows) = if operator == Operator::Or { (&left, &of_left) } else { (&right, &of_right) };
        for (row, &group) in rows.iter().zip(of_rows) {
            present[group] |= row.cells[step].is_some();
        }
        let (rows, of_rows) = if operator == Operator::Or { (&mut right, &of_right) } else { (&mut left, &of_left) };
        let wanted = operator == Operator::And;
        for (row, &group) in rows.iter_mut().zip(of_rows) {
            if present[group] != wanted {
                row.cells[step] = Cell::Empty;
            }
        }
    }
    if operator == Operator::Or {
        left.append(&mut right);
    }
    left.retain(|row| !row.is_empty());
    evaluation.join(at, left)
}

fn of_vectors(
    evaluation: &Evaluation<'_>,
    at: usize,
    operator: Operator,
    left: Vec<Row>,
    right: Vec<Row>,
    matching: &Matching,
) -> Result<Vec<Row>, EvalError> {
    // The "one" side is called right from here on.
    let swapped = matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let steps = many.first().or(one.first()).map_or(0, |row| row.cells.len());
    let (of_many, of_one, groups) = matched(&many, &one, &matching.grouping);
    let side = if swapped { "left" } else { "right" };
    let mut ones: Vec<Option<usize>> = vec![None; groups.len()];
    // Result rows by the pair they come from, and the results that were given in this step.
    let mut pairs: HashMap<(usize, usize), usize> = HashMap::new();
    let mut by_labels: HashMap<Labels, usize> = HashMap::new();
    let mut out: Vec<Row> = Vec::new();
    let mut given: Vec<usize> = Vec::new();
    let mut taken: Vec<usize> = vec![usize::MAX; groups.len()];
    for step in 0..steps {
        evaluation.look(at, (many.len() + one.len()) as u64)?;
        if !many.iter().any(|row| row.cells[step].is_some()) {
            continue;
        }
        ones.fill(None);
        for (place, (row, &group)) in one.iter().zip(&of_one).enumerate() {
            if !row.cells[step].is_some() {
                continue;
            }
            if let Some(other) = ones[group].replace(place) {
                let mut both = [one[other].labels.to_string(), row.labels.to_string()];
                both.sort();
                return Err(evaluation.failed(at, format!(
                    "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}]; many-to-many matching not allowed: matching labels must be unique on one side",
                    groups[group], both[0], both[1]
                )));
            }
        }
        for (place, (row, &group)) in many.iter().zip(&of_many).enumerate() {
            let Some(other) = ones[group].filter(|_| row.cells[step].is_some()) else { continue };
            let (a, b) = (&row.cells[step], &one[other].cells[step]);
            let (a, b) = if swapped { (b, a) } else { (a, b) };
            let Some((value, holds)) = of_cells(evaluation, at, operator, a, b) else { continue };
            if matching.cardinality == Cardinality::OneToOne && std::mem::replace(&mut taken[group], step) == step {
                return Err(evaluation.failed(
                    at,
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                ));
            }
            let result = match pairs.get(&(place, other)) {
                Some(&result) => result,
                None => {
                    let labels = labels_of(operator, matching, &row.labels, &one[other].labels);
                    let result = *by_labels.entry(labels.clone()).or_insert(out.len());
                    if result == out.len() {
                        evaluation.build(at, out.len() + 1, 0)?;
                        evaluation.build(at, 1, steps)?;
                        out.push(Row { labels, cells: vec![Cell::Empty; steps] });
                        given.push(usize::MAX);
                    }
                    pairs.insert((place, other), result);
                    result
                }
            };
            if std::mem::replace(&mut given[result], step) == step {
                return Err(
                    evaluation.failed(at, "multiple matches for labels: grouping labels must ensure unique matches")
                );
            }
            out[result].cells[step] =
                if operator.compares() { judged(value, holds, matching.bool_result) } else { value };
        }
    }
    out.retain(|row| !row.is_empty());
    Ok(out)
}

/// Labels of the result of an element of the "many" side with one of the "one" side.
fn labels_of(operator: Operator, matching: &Matching, many: &Labels, one: &Labels) -> Labels {
    let mut labels = if !operator.compares() || matching.bool_result { many.nameless() } else { many.clone() };
    if matching.cardinality == Cardinality::OneToOne {
        labels = match &matching.grouping {
            Grouping::Only(keys) => labels.filtered(|key| keys.iter().any(|k| k == key)),
            Grouping::Without(keys) => labels.filtered(|key| !keys.iter().any(|k| k == key)),
        };
    }
    matching.include.iter().fold(labels, |labels, key| labels.with(key, one.get(key)))
}
