//! Functions of a whole vector, and those that need none.

use regex::{Regex, RegexBuilder};

use super::{
    Evaluation,
    aggregate::ranking,
    buckets, scalar, select,
    table::{Cell, Grid, Part, Row},
};
use crate::{
    EvalError, Labels,
    limits::REGEX_BYTES_MAX,
    plan::{Kind, Node, Whole},
};

pub(super) fn whole(
    evaluation: &Evaluation<'_>,
    at: usize,
    function: Whole,
    arguments: &[Node],
    grid: Grid,
) -> Result<Part, EvalError> {
    let needs = |which: usize| {
        arguments.get(which).ok_or_else(|| evaluation.bad(at, format!("argument {} is missing", which + 1)))
    };
    let table = |which: usize| super::table(evaluation, needs(which)?, grid);
    let number = |which: usize| scalar(evaluation, needs(which)?, grid);
    Ok(match function {
        Whole::Time => Part::Scalar(grid.times().map(|time| time as f64 / 1000.0).collect()),
        Whole::Pi => Part::Scalar(vec![std::f64::consts::PI; grid.count]),
        Whole::Scalar => Part::Scalar(only_element(&table(0)?, grid)),
        Whole::Vector => {
            let cells = number(0)?.into_iter().map(Cell::Float).collect();
            Part::Table(vec![Row { labels: Labels::default(), cells }])
        }
        Whole::Timestamp => Part::Table(timestamp(evaluation, at, needs(0)?, grid)?),
        Whole::Absent => {
            let rows = table(0)?;
            let labels = match &needs(0)?.kind {
                Kind::Select(selector) => select::labels_of_absent(&selector.matchers),
                _ => Labels::default(),
            };
            let absent = |step: usize| !rows.iter().any(|row| row.cells[step].is_some());
            let cells = (0..grid.count).map(|step| absent(step).then_some(1.0).into()).collect();
            Part::Table(vec![Row { labels, cells }])
        }
        Whole::Sort | Whole::SortDescending => {
            let mut rows = table(0)?;
            // Over a range the answer is sorted by labels. Histograms have no order and are left out.
            if grid.count == 1 {
                rows.retain(|row| row.cells[0].float().is_some());
                let value = |row: &Row| row.cells[0].float().unwrap_or(f64::NAN);
                rows.sort_by(|a, b| ranking(value(a), value(b), function == Whole::SortDescending));
            }
            Part::Table(rows)
        }
        Whole::LabelReplace => {
            let rows = table(0)?;
            let texts = texts(evaluation, &arguments[1..])?;
            Part::Table(label_replace(evaluation, at, rows, &texts)?)
        }
        Whole::LabelJoin => {
            let rows = table(0)?;
            let texts = texts(evaluation, &arguments[1..])?;
            Part::Table(label_join(evaluation, at, rows, &texts)?)
        }
        Whole::HistogramQuantile => Part::Table(buckets::quantile(evaluation, at, &number(0)?, &table(1)?, grid)?),
        Whole::HistogramFraction => {
            Part::Table(buckets::fraction(evaluation, at, &number(0)?, &number(1)?, &table(2)?, grid)?)
        }
    })
}

/// The value of the only element at each step; not a number when there is none, or more than one.
fn only_element(rows: &[Row], grid: Grid) -> Vec<f64> {
    let only = |step: usize| {
        let mut found = rows.iter().filter_map(|row| row.cells[step].float());
        match (found.next(), found.next()) {
            (Some(value), None) => value,
            _ => f64::NAN,
        }
    };
    (0..grid.count).map(only).collect()
}

/// When each element was sampled; of a computed one that is the step.
fn timestamp(evaluation: &Evaluation<'_>, at: usize, inner: &Node, grid: Grid) -> Result<Vec<Row>, EvalError> {
    let mut rows = match &inner.kind {
        Kind::Select(selector) => select::newest(evaluation, at, selector, grid, true)?,
        _ => {
            let mut rows = super::table(evaluation, inner, grid)?;
            for row in &mut rows {
                for (cell, time) in row.cells.iter_mut().zip(grid.times()).filter(|(cell, _)| cell.is_some()) {
                    *cell = Cell::Float(time as f64 / 1000.0);
                }
            }
            rows
        }
    };
    rows.iter_mut().for_each(|row| row.labels = row.labels.nameless());
    evaluation.join(at, rows)
}

fn texts(evaluation: &Evaluation<'_>, nodes: &[Node]) -> Result<Vec<String>, EvalError> {
    let text = |node: &Node| match &node.kind {
        Kind::Text(text) => Ok(text.clone()),
        _ => Err(evaluation.bad(node.at, "expected a string")),
    };
    nodes.iter().map(text).collect()
}

fn label_replace(
    evaluation: &Evaluation<'_>,
    at: usize,
    mut rows: Vec<Row>,
    texts: &[String],
) -> Result<Vec<Row>, EvalError> {
    let [to, replacement, from, pattern] = texts else {
        return Err(evaluation.bad(at, "label_replace needs four strings"));
    };
    let pattern = anchored(pattern).map_err(|why| {
        evaluation.failed(at, format!("invalid regular expression in label_replace(): {pattern:?}: {why}"))
    })?;
    check_label(evaluation, at, "destination", "label_replace", to)?;
    for row in &mut rows {
        let mut value = String::new();
        if let Some(found) = pattern.captures(row.labels.get(from)) {
            found.expand(replacement, &mut value);
            row.labels = row.labels.with(to, &value);
        }
    }
    evaluation.join(at, rows)
}

fn label_join(
    evaluation: &Evaluation<'_>,
    at: usize,
    mut rows: Vec<Row>,
    texts: &[String],
) -> Result<Vec<Row>, EvalError> {
    let [to, between, from @ ..] = texts else {
        return Err(evaluation.bad(at, "label_join needs the name of a label and what stands between"));
    };
    check_label(evaluation, at, "destination", "label_join", to)?;
    from.iter().try_for_each(|label| check_label(evaluation, at, "source", "label_join", label))?;
    for row in &mut rows {
        let values: Vec<_> = from.iter().map(|label| row.labels.get(label)).collect();
        row.labels = row.labels.with(to, &values.join(between));
    }
    evaluation.join(at, rows)
}

/// Names of labels as they are written without quotes; Starling makes no others.
fn check_label(
    evaluation: &Evaluation<'_>,
    at: usize,
    which: &str,
    function: &str,
    label: &str,
) -> Result<(), EvalError> {
    let fits = label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if fits {
        Ok(())
    } else {
        Err(evaluation.failed(at, format!("invalid {which} label name in {function}(): {label:?}")))
    }
}

/// The expression over a whole text; a dot takes a line break too. By itself first: `a)|(b` would be one only between
/// the brackets of the anchors.
fn anchored(pattern: &str) -> Result<Regex, String> {
    let build = |text: &str| {
        RegexBuilder::new(text)
            .dot_matches_new_line(true)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build()
    };
    let built = build(pattern).and_then(|_| build(&format!("^(?:{pattern})$")));
    built.map_err(|error| error.to_string().lines().last().unwrap_or_default().trim().to_owned())
}
