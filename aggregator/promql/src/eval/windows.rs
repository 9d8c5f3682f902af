//! Samples over a stretch of time before each step.

use std::{borrow::Cow, sync::Arc};

use starling_proto::histogram::Histogram;

use super::{
    Evaluation, floats,
    growth::{Running, Sliding, continuous, of_sums},
    histograms, part,
    select::labels_of_absent,
    table::{Cell, Grid, Part, Row, Stretch},
};
use crate::{
    EvalError, FloatHistogram, FloatPoint, Labels, SampleValue, Samples, SeriesValues, is_stale,
    plan::{OverTime, Source, Window},
};

/// The samples of one series that windows are cut from, without ends.
pub(super) struct Line<'a> {
    labels: Labels,
    floats: Cow<'a, [FloatPoint]>,
    /// The floats are a counter's growth, see [`continuous`].
    grows: bool,
    histograms: Histograms<'a>,
}

/// Histograms of a line.
enum Histograms<'a> {
    /// Values as they are.
    Values(Vec<(i64, Arc<FloatHistogram>)>),
    /// What each step added, with the decimal digits of the series.
    Increments(Vec<(i64, &'a Histogram)>, u8),
}

/// A function of each series over its window.
pub(super) fn over_time(
    evaluation: &Evaluation<'_>,
    at: usize,
    function: OverTime,
    window: &Window,
    parameters: &[Vec<f64>],
    grid: Grid,
) -> Result<Vec<Row>, EvalError> {
    let lines = lines(evaluation, at, window, function.growth_only(), grid)?;
    evaluation.build(at, lines.len(), grid.count)?;
    let stretches = stretches(evaluation, window, grid);
    let parameter = |step: usize| parameters.first().map_or(f64::NAN, |values| values[step]);
    if function == OverTime::Absent {
        return Ok(vec![absent(window, &lines, &stretches)]);
    }
    let mut rows = Vec::with_capacity(lines.len());
    for line in &lines {
        let mut cells = Vec::with_capacity(grid.count);
        let (mut float, mut histogram) = (Cut::default(), Cut::default());
        let mut sliding = match &line.histograms {
            Histograms::Increments(points, scale) => Some((points, Sliding::new(points, *scale))),
            Histograms::Values(_) => None,
        };
        for (step, &stretch) in stretches.iter().enumerate() {
            let floats = float.cut(&line.floats, stretch, |point| point.0);
            evaluation.look(at, floats.len() as u64)?;
            let points = &line.floats[floats.clone()];
            let cell = match (&line.histograms, &mut sliding) {
                (Histograms::Values(values), _) => {
                    let held = histogram.cut(values, stretch, |point| point.0);
                    evaluation.look(at, values[held.clone()].iter().map(|(_, value)| value.weight()).sum())?;
                    histograms::over_time(evaluation, at, function, points, &values[held], stretch)
                }
                (Histograms::Increments(..), Some((increments, sliding))) => {
                    let held = histogram.cut(increments, stretch, |point| point.0);
                    evaluation.look(at, held.len() as u64)?;
                    histograms::growth(function, increments, held, sliding, stretch)
                }
                (Histograms::Increments(..), None) => Cell::Empty,
            };
            cells.push(match cell {
                Cell::Empty if line.grows => of_sums(function, points, stretch).into(),
                Cell::Empty if !points.is_empty() => {
                    floats::over_time(function, points, stretch, parameter(step)).into()
                }
                cell => cell,
            });
        }
        let labels = if function.keeps_name() { line.labels.clone() } else { line.labels.nameless() };
        let row = Row { labels, cells };
        if !row.is_empty() {
            rows.push(row);
        }
    }
    if function == OverTime::Quantile && parameters.iter().flatten().any(|q| !(0.0..=1.0).contains(q)) {
        evaluation.warn(at, "quantile value should be between 0 and 1");
    }
    evaluation.join(at, rows)
}

/// The samples of an instant question about a range.
pub(super) fn raw(
    evaluation: &Evaluation<'_>,
    at: usize,
    window: &Window,
    grid: Grid,
) -> Result<Vec<SeriesValues>, EvalError> {
    let lines = lines(evaluation, at, window, false, grid)?;
    let Some(&stretch) = stretches(evaluation, window, grid).first() else { return Ok(Vec::new()) };
    let mut found = Vec::with_capacity(lines.len());
    for line in lines {
        let held = Cut::default().cut(&line.floats, stretch, |point| point.0);
        let mut points: Vec<_> =
            line.floats[held].iter().map(|&(time, value)| (time, SampleValue::Float(value))).collect();
        if let Histograms::Values(values) = line.histograms {
            let held = Cut::default().cut(&values, stretch, |point| point.0);
            points.extend(values[held].iter().map(|(time, value)| (*time, SampleValue::Histogram(value.clone()))));
            points.sort_by_key(|(time, _)| *time);
        }
        evaluation.build(at, 1, points.len())?;
        if !points.is_empty() {
            found.push(SeriesValues { labels: line.labels, points });
        }
    }
    Ok(found)
}

fn stretches(evaluation: &Evaluation<'_>, window: &Window, grid: Grid) -> Vec<Stretch> {
    let (tie, offset_ms) = match &window.source {
        Source::Samples(selector) => (selector.at, selector.offset_ms),
        Source::Subquery { offset_ms, at, .. } => (*at, *offset_ms),
    };
    let stretch = |time| {
        let to = evaluation.tied(tie, offset_ms, time);
        Stretch { from: to - window.range_ms, to }
    };
    grid.times().map(stretch).collect()
}

/// A window that moves forward over ascending points.
#[derive(Default)]
struct Cut {
    from: usize,
    to: usize,
}

impl Cut {
    /// The points after the left edge, up to the right one.
    fn cut<T>(&mut self, points: &[T], stretch: Stretch, time: impl Fn(&T) -> i64) -> std::ops::Range<usize> {
        if self.from == 0 && self.to == 0 {
            self.from = points.partition_point(|point| time(point) <= stretch.from);
        }
        while points.get(self.from).is_some_and(|point| time(point) <= stretch.from) {
            self.from += 1;
        }
        self.to = self.to.max(self.from);
        while points.get(self.to).is_some_and(|point| time(point) <= stretch.to) {
            self.to += 1;
        }
        self.from..self.to
    }
}

fn lines<'a>(
    evaluation: &'a Evaluation<'_>,
    at: usize,
    window: &'a Window,
    growth_only: bool,
    grid: Grid,
) -> Result<Vec<Line<'a>>, EvalError> {
    match &window.source {
        Source::Samples(selector) => {
            let series = &evaluation.data[selector.index];
            evaluation.build(at, series.len(), 1)?;
            let mut lines = Vec::with_capacity(series.len());
            for one in series {
                evaluation.look(at, one.samples.len() as u64)?;
                let mut line = Line {
                    labels: one.labels.clone(),
                    floats: Cow::Borrowed(&[]),
                    grows: false,
                    histograms: Histograms::Values(Vec::new()),
                };
                match &one.samples {
                    Samples::Sums(points) if growth_only => {
                        line.floats = continuous(points).into();
                        line.grows = true;
                    }
                    Samples::Floats(points) | Samples::Sums(points)
                        if points.iter().any(|&(_, value)| is_stale(value)) =>
                    {
                        line.floats = points.iter().copied().filter(|&(_, value)| !is_stale(value)).collect();
                    }
                    Samples::Floats(points) | Samples::Sums(points) => line.floats = Cow::Borrowed(points),
                    Samples::Histograms(samples) if growth_only => {
                        let known = samples
                            .increments
                            .iter()
                            .filter_map(|(time, increment)| Some((*time, &**increment.as_ref()?)));
                        line.histograms = Histograms::Increments(known.collect(), samples.scale);
                    }
                    Samples::Histograms(samples) => {
                        let mut running = Running::new(samples);
                        let mut values = Vec::with_capacity(samples.increments.len());
                        for (time, increment) in &samples.increments {
                            running.advance(*time);
                            if increment.is_some() {
                                let value = running.value();
                                evaluation.look(at, value.weight())?;
                                values.push((*time, Arc::new(value)));
                            }
                        }
                        line.histograms = Histograms::Values(values);
                    }
                }
                lines.push(line);
            }
            Ok(lines)
        }
        Source::Subquery { inner, step_ms, offset_ms, at: tie } => {
            let step = step_ms.unwrap_or(evaluation.options.subquery_step_ms).max(1);
            let first = evaluation.tied(*tie, *offset_ms, grid.time(0)) - window.range_ms;
            let last = evaluation.tied(*tie, *offset_ms, grid.time(grid.count.saturating_sub(1)));
            // On multiples of the step, whatever moment is asked for; the left edge is open.
            let start = (first.div_euclid(step) + 1) * step;
            let count = if last < start { 0 } else { (last - start) / step + 1 };
            if count == 0 {
                return Ok(Vec::new());
            }
            evaluation.build(at, 1, usize::try_from(count).unwrap_or(usize::MAX))?;
            let inner_grid = Grid { start, step, count: count as usize };
            Ok(match part(evaluation, inner, inner_grid)? {
                Part::Scalar(values) => {
                    let floats = inner_grid.times().zip(values).collect();
                    vec![Line {
                        labels: Labels::default(),
                        floats,
                        grows: false,
                        histograms: Histograms::Values(Vec::new()),
                    }]
                }
                Part::Table(rows) => rows.into_iter().map(|row| line_of(row, inner_grid)).collect(),
                Part::Text(_) => return Err(evaluation.bad(at, "a subquery needs an instant vector or a scalar")),
            })
        }
    }
}

fn line_of(row: Row, grid: Grid) -> Line<'static> {
    let (mut floats, mut values) = (Vec::new(), Vec::new());
    for (time, cell) in grid.times().zip(row.cells) {
        match cell {
            Cell::Empty => {}
            Cell::Float(value) => floats.push((time, value)),
            Cell::Histogram(histogram) => values.push((time, histogram)),
        }
    }
    Line { labels: row.labels, floats: floats.into(), grows: false, histograms: Histograms::Values(values) }
}

/// 1 at each step whose window holds nothing, with the labels that the selector says.
fn absent(window: &Window, lines: &[Line<'_>], stretches: &[Stretch]) -> Row {
    let mut cells = vec![Cell::Float(1.0); stretches.len()];
    for line in lines {
        let (mut float, mut histogram) = (Cut::default(), Cut::default());
        for (&stretch, cell) in stretches.iter().zip(&mut cells) {
            let held = float.cut(&line.floats, stretch, |point| point.0).len()
                + match &line.histograms {
                    Histograms::Values(values) => histogram.cut(values, stretch, |point| point.0).len(),
                    Histograms::Increments(increments, _) => histogram.cut(increments, stretch, |point| point.0).len(),
                };
            if held > 0 {
                *cell = Cell::Empty;
            }
        }
    }
    let labels = match &window.source {
        Source::Samples(selector) => labels_of_absent(&selector.matchers),
        Source::Subquery { .. } => Labels::default(),
    };
    Row { labels, cells }
}
