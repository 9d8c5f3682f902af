//! Quantiles and shares of histograms: classic ones, whose buckets are series with the label `le`, and Starling's own.

use std::collections::HashMap;

use super::{
    Evaluation,
    table::{Cell, Grid, Row},
};
use crate::{BOUND, EvalError, FloatHistogram, Labels, NAME};

/// Counts that differ by less than this part of themselves are the same: they were rounded differently.
const SAME: f64 = 1e-12;

/// The buckets of one classic histogram.
struct Classic {
    labels: Labels,
    /// Upper bound and row of each.
    buckets: Vec<(f64, usize)>,
}

/// `quantile(q)` of each histogram at each step.
pub(super) fn quantile(
    evaluation: &Evaluation<'_>,
    at: usize,
    q: &[f64],
    rows: &[Row],
    grid: Grid,
) -> Result<Vec<Row>, EvalError> {
    if q.iter().any(|q| !(0.0..=1.0).contains(q)) {
        evaluation.warn(at, "quantile value should be between 0 and 1");
    }
    let of_classic = |step: usize, buckets: &mut Vec<(f64, f64)>| {
        let (value, mended) = classic_quantile(q[step], buckets);
        if mended {
            evaluation.inform(at, "counts of buckets fell where they must rise and were mended");
        }
        value
    };
    each(evaluation, at, rows, grid, of_classic, |step, histogram| histogram.quantile(q[step]))
}

/// The share of the values in (`lower`, `upper`] of each histogram at each step.
pub(super) fn fraction(
    evaluation: &Evaluation<'_>,
    at: usize,
    lower: &[f64],
    upper: &[f64],
    rows: &[Row],
    grid: Grid,
) -> Result<Vec<Row>, EvalError> {
    let of_classic = |step: usize, buckets: &mut Vec<(f64, f64)>| classic_fraction(lower[step], upper[step], buckets);
    each(evaluation, at, rows, grid, of_classic, |step, histogram| histogram.fraction(lower[step], upper[step]))
}

fn each(
    evaluation: &Evaluation<'_>,
    at: usize,
    rows: &[Row],
    grid: Grid,
    of_classic: impl Fn(usize, &mut Vec<(f64, f64)>) -> f64,
    of_own: impl Fn(usize, &FloatHistogram) -> f64,
) -> Result<Vec<Row>, EvalError> {
    let (mut classics, mut places) = (Vec::<Classic>::new(), HashMap::new());
    let mut out = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        evaluation.look(at, grid.count as u64)?;
        let own: Vec<Cell> = row
            .cells
            .iter()
            .enumerate()
            .map(|(step, cell)| match cell {
                Cell::Histogram(histogram) => Cell::Float(of_own(step, histogram)),
                _ => Cell::Empty,
            })
            .collect();
        if own.iter().any(Cell::is_some) {
            evaluation.build(at, 1, grid.count)?;
            out.push(Row { labels: row.labels.nameless(), cells: own });
        }
        if row.cells.iter().all(|cell| cell.float().is_none()) {
            continue;
        }
        let Some(bound) = bound(row.labels.get(BOUND)) else {
            evaluation.warn(
                at,
                &format!("bucket label \"le\" is missing or has a malformed value of {:?}", row.labels.get(BOUND)),
            );
            continue;
        };
        let labels = row.labels.filtered(|key| key != BOUND && key != NAME);
        let classic = *places.entry(labels.clone()).or_insert_with(|| {
            classics.push(Classic { labels, buckets: Vec::new() });
            classics.len() - 1
        });
        classics[classic].buckets.push((bound, place));
    }
    for mut classic in classics {
        classic.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        evaluation.build(at, 1, grid.count)?;
        let mut held = Vec::with_capacity(classic.buckets.len());
        let cell = |step: usize| {
            held.clear();
            let present =
                classic.buckets.iter().filter_map(|&(bound, row)| Some((bound, rows[row].cells[step].float()?)));
            held.extend(present);
            if held.is_empty() { Cell::Empty } else { Cell::Float(of_classic(step, &mut held)) }
        };
        let cells = (0..grid.count).map(cell).collect();
        out.push(Row { labels: classic.labels, cells });
    }
    evaluation.join(at, out)
}

/// The bound that a label spells.
fn bound(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|bound| !bound.is_nan())
}

/// Joins buckets of one bound and takes out what falls: counts of buckets are cumulative. True when that was needed.
fn mend(buckets: &mut Vec<(f64, f64)>) -> bool {
    buckets.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 += later.1;
        }
        same
    });
    let (mut before, mut mended) = (f64::NAN, false);
    for (_, count) in buckets.iter_mut() {
        let same = (*count - before).abs() <= SAME * count.abs().max(before.abs());
        mended |= *count < before && !same;
        if same || *count < before {
            *count = before;
        }
        before = *count;
    }
    mended
}

/// The value at quantile `q` of cumulative counts by ascending upper bound, by straight lines inside buckets; and whether
/// they had to be mended.
fn classic_quantile(q: f64, buckets: &mut Vec<(f64, f64)>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    if !(0.0..=1.0).contains(&q) {
        return (if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY }, false);
    }
    if buckets.last().is_none_or(|last| last.0 != f64::INFINITY) {
        return (f64::NAN, false);
    }
    let mended = mend(buckets);
    let [finite @ .., (_, all)] = &buckets[..] else { return (f64::NAN, mended) };
    if finite.is_empty() || *all == 0.0 || all.is_nan() {
        return (f64::NAN, mended);
    }
    let rank = q * all;
    let value = match finite.iter().position(|bucket| bucket.1 >= rank) {
        None => finite[finite.len() - 1].0,
        Some(0) if finite[0].0 <= 0.0 => finite[0].0,
        Some(at) => {
            let (start, below) = if at == 0 { (0.0, 0.0) } else { finite[at - 1] };
            let (end, count) = finite[at];
            start + (end - start) * ((rank - below) / (count - below))
        }
    };
    (value, mended)
}

/// The share of the values in (`lower`, `upper`].
fn classic_fraction(lower: f64, upper: f64, buckets: &mut Vec<(f64, f64)>) -> f64 {
    if lower.is_nan() || upper.is_nan() || buckets.last().is_none_or(|last| last.0 != f64::INFINITY) {
        return f64::NAN;
    }
    mend(buckets);
    let all = buckets[buckets.len() - 1].1;
    if all == 0.0 || all.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let below = |bound: f64| {
        // From 0 on, unless there are bounds below it.
        let (mut start, mut counted) = (if buckets[0].0 > 0.0 { 0.0 } else { f64::NEG_INFINITY }, 0.0);
        for &(end, count) in buckets.iter() {
            if bound < end || (bound == end && end.is_infinite()) {
                if bound == f64::INFINITY {
                    return all;
                }
                let inside =
                    if start.is_infinite() || end.is_infinite() { 0.0 } else { (bound - start) / (end - start) };
                return if bound <= start { counted } else { counted + (count - counted) * inside };
            }
            (start, counted) = (end, count);
        }
        all
    };
    (below(upper) - below(lower)) / all
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(f64, f64); 4] = [(0.1, 10.0), (0.5, 40.0), (1.0, 90.0), (f64::INFINITY, 100.0)];

    fn at(q: f64, buckets: &[(f64, f64)]) -> (f64, bool) {
        classic_quantile(q, &mut buckets.to_vec())
    }

    /// Scenario 16.
    #[test]
    fn quantiles_of_odd_buckets() {
        for (q, wanted) in [(0.05, 0.05), (0.25, 0.3), (0.5, 0.6), (0.9, 1.0), (0.99, 1.0)] {
            assert!((at(q, &ALL).0 - wanted).abs() < 1e-12, "{q}: {:?}", at(q, &ALL));
        }
        assert_eq!((at(-1.0, &ALL).0, at(2.0, &ALL).0), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(at(f64::NAN, &ALL).0.is_nan());
        assert!(at(0.5, &ALL[..3]).0.is_nan(), "without +Inf");
        assert!(at(0.5, &ALL.map(|(bound, _)| (bound, 0.0))).0.is_nan(), "all zero");
        let (value, mended) = at(0.5, &[(0.1, 10.0), (0.5, 40.0), (1.0, 90.0), (f64::INFINITY, 0.0)]);
        assert!((value - 0.55).abs() < 1e-12 && mended, "{value}");
        assert!(!at(0.5, &ALL).1);
        assert!(at(0.5, &[(f64::INFINITY, 5.0)]).0.is_nan());
    }

    #[test]
    fn shares_of_classic_buckets() {
        let share = |lower, upper| classic_fraction(lower, upper, &mut ALL.to_vec());
        assert!((share(0.0, 0.1) - 0.1).abs() < 1e-12);
        assert!((share(0.1, 1.0) - 0.8).abs() < 1e-12);
        assert!((share(f64::NEG_INFINITY, f64::INFINITY) - 1.0).abs() < 1e-12);
        assert!((share(0.3, 0.5) - 0.15).abs() < 1e-12);
        assert_eq!(share(2.0, 1.0), 0.0);
    }
}
