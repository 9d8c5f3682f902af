//! Functions of the histograms of one series in a window.

use std::{ops::Range, sync::Arc};

use starling_proto::histogram::Histogram;

use super::{
    Evaluation,
    floats::{seconds, stretched},
    growth::Sliding,
    table::{Cell, Stretch},
};
use crate::{FloatHistogram, FloatPoint, plan::OverTime};

/// The value of `function` over the histograms `values` that stand in a window beside `floats`; empty when there is none
/// for it, or when only the floats say something.
pub(super) fn over_time(
    evaluation: &Evaluation<'_>,
    at: usize,
    function: OverTime,
    floats: &[FloatPoint],
    values: &[(i64, Arc<FloatHistogram>)],
    stretch: Stretch,
) -> Cell {
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return Cell::Empty };
    match function {
        OverTime::Count => return Cell::Float((values.len() + floats.len()) as f64),
        OverTime::Present => return Cell::Float(1.0),
        OverTime::Last if floats.last().is_none_or(|point| point.0 < last.0) => return Cell::Histogram(last.1.clone()),
        OverTime::First if floats.first().is_none_or(|point| point.0 > first.0) => {
            return Cell::Histogram(first.1.clone());
        }
        OverTime::Last | OverTime::First => return Cell::Empty,
        OverTime::Rate
        | OverTime::Irate
        | OverTime::Increase
        | OverTime::Delta
        | OverTime::Idelta
        | OverTime::Avg
        | OverTime::Sum
        | OverTime::Resets
        | OverTime::Changes => {}
        // The others are of numbers.
        _ => {
            evaluation.inform(at, "histograms are left out by this function");
            return Cell::Empty;
        }
    }
    if !floats.is_empty() {
        evaluation.warn(at, "a window holds both numbers and histograms and is left out");
        return Cell::Empty;
    }
    let resets = || values.windows(2).filter(|pair| pair[1].1.is_reset_after(&pair[0].1));
    let result =
        match function {
            OverTime::Resets => return Cell::Float(resets().count() as f64),
            OverTime::Changes => {
                return Cell::Float(values.windows(2).filter(|pair| pair[0].1 != pair[1].1).count() as f64);
            }
            OverTime::Sum => sum(values),
            OverTime::Avg => sum(values).map(|sum| sum.times(1.0 / values.len() as f64)),
            OverTime::Irate | OverTime::Idelta => match values {
                [.., before, newest] => {
                    let reset = function == OverTime::Irate && newest.1.is_reset_after(&before.1);
                    let grown = if reset { Some((*newest.1).clone()) } else { newest.1.plus(&before.1, -1.0) };
                    let factor = if function == OverTime::Irate { 1.0 / seconds(newest.0 - before.0) } else { 1.0 };
                    grown.map(|grown| grown.times(factor))
                }
                _ => None,
            },
            _ => {
                let counter = function != OverTime::Delta;
                let grown = last.1.plus(&first.1, -1.0);
                let grown = match counter {
                    true => resets().fold(grown, |grown, pair| grown.and_then(|grown| grown.plus(&pair[0].1, 1.0))),
                    false => grown,
                };
                grown.and_then(|grown| {
                    let zero = (counter && grown.count() > 0.0).then(|| first.1.count() / grown.count());
                    Some(grown.times(
                        stretched(first.0, last.0, values.len(), stretch, zero)? / per_second(function, stretch),
                    ))
                })
            }
        };
    result.into()
}

/// Seconds that a rate is divided by.
fn per_second(function: OverTime, stretch: Stretch) -> f64 {
    if function == OverTime::Rate { seconds(stretch.to - stretch.from) } else { 1.0 }
}

fn sum(values: &[(i64, Arc<FloatHistogram>)]) -> Option<FloatHistogram> {
    let (first, rest) = values.split_first()?;
    rest.iter().try_fold((*first.1).clone(), |sum, (_, value)| sum.plus(value, 1.0))
}

/// The value of a function that only looks at growth, over the increments `held`. The first sample of a window is where
/// its growth begins, so its own increment is not part of it.
pub(super) fn growth(
    function: OverTime,
    increments: &[(i64, &Histogram)],
    held: Range<usize>,
    sliding: &mut Sliding<'_>,
    stretch: Stretch,
) -> Cell {
    match function {
        OverTime::Count if !held.is_empty() => return Cell::Float(held.len() as f64),
        OverTime::Present if !held.is_empty() => return Cell::Float(1.0),
        // What is kept are increments: nothing begins again.
        OverTime::Resets if !held.is_empty() => return Cell::Float(0.0),
        _ => {}
    }
    if held.len() < 2 {
        return Cell::Empty;
    }
    let (first, last) = (increments[held.start].0, increments[held.end - 1].0);
    let grown = match function {
        OverTime::Irate => {
            let before = increments[held.end - 2].0;
            Some(sliding.merge(held.end - 1, held.end).times(1.0 / seconds(last - before)))
        }
        OverTime::Rate | OverTime::Increase => {
            let grown = sliding.merge(held.start + 1, held.end);
            stretched(first, last, held.len(), stretch, None)
                .map(|factor| grown.times(factor / per_second(function, stretch)))
        }
        _ => None,
    };
    grown.into()
}
