//! `QueryRange`: the request checked, and the answer made of what was found. Pure.

use std::collections::{BTreeMap, BTreeSet};

use starling_history::{Cell, Subject};
use starling_proto::{catalogue::Kind, ids::NodeId, v1};
use tonic::Status;

use super::{
    asked::{Wanted, Whose},
    found::{Found, Keep},
    question::Question,
    statistic::RangeStatistic,
};
use crate::select::{Key, Most, POINTS, POINTS_MAX, POINTS_USUAL, Span};

/// Statistics asked for at once.
const STATISTICS_MAX: usize = 16;
/// Series of one answer.
const SERIES_MAX: usize = 1_000;
/// Values of one answer: 1.6 MB.
const VALUES_MAX: usize = 200_000;

/// How the nodes become one series, step by step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Sum,
    Mean,
    Min,
    Max,
    Count,
}

/// A request, checked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    whose: Whose,
    wanted: Wanted,
    span: Span,
    total: bool,
    statistics: Vec<RangeStatistic>,
    keep: Keep,
    over_nodes: Option<Over>,
}

impl Asked {
    /// Checks a request.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` or `OUT_OF_RANGE`, naming the field, what it is and what is wanted.
    pub(crate) fn parse(request: v1::QueryRangeRequest, settled: u32) -> Result<Self, Status> {
        let whose = Whose::parse(request.scope)?;
        let wanted = Wanted::parse(request.name, "traffic.requests", request.attributes, &request.matchers)?;
        if request.statistics.len() > STATISTICS_MAX {
            let given = request.statistics.len();
            return Err(Status::invalid_argument(format!("statistics: {given} are given, at most {STATISTICS_MAX}")));
        }
        let parse = |field: &str, text: &str| {
            RangeStatistic::parse(text).map_err(|error| Status::invalid_argument(format!("{field}: {error}")))
        };
        let statistics: Vec<_> =
            request.statistics.iter().map(|text| parse("statistics", text)).collect::<Result<_, _>>()?;
        let by = if request.top_by.is_empty() { RangeStatistic::Mean } else { parse("top_by", &request.top_by)? };
        if request.top as usize > SERIES_MAX {
            return Err(Status::invalid_argument(format!("top: {} are asked for, at most {SERIES_MAX}", request.top)));
        }
        let over_nodes = match request.over_nodes.as_str() {
            "" => None,
            "sum" => Some(Over::Sum),
            "mean" => Some(Over::Mean),
            "min" => Some(Over::Min),
            "max" => Some(Over::Max),
            "count" => Some(Over::Count),
            other => {
                let other: String = other.chars().take(32).collect();
                return Err(Status::invalid_argument(format!(
                    "over_nodes: {other:?} is not known, there are sum, mean, min, max and count"
                )));
            }
        };
        if over_nodes.is_some() && !whose.is_each_node() {
            return Err(Status::invalid_argument("over_nodes: it is of the nodes one by one: set scope.each_node"));
        }
        if over_nodes.is_some() && request.top > 0 {
            return Err(Status::invalid_argument(
                "top: with over_nodes there is one series for all nodes, nothing ranks",
            ));
        }
        let averaged = statistics.iter().find(|statistic| matches!(statistic, RangeStatistic::Quantile(_)));
        if let (Some(Over::Mean), Some(quantile)) = (over_nodes, averaged) {
            return Err(Status::invalid_argument(format!(
                "over_nodes: the mean of {quantile} over nodes says nothing; \"sum\" merges the histograms of the nodes"
            )));
        }
        let range = Span::range(request.from_tick, request.to_tick, settled, whose.range_max())?;
        let most = Most { asked: request.max_points, usual: POINTS_USUAL, limit: POINTS_MAX };
        let span = Span::of(range, request.step_seconds, most, POINTS)?;
        let keep = Keep { top: request.top as usize, by, bottom: request.bottom, ..Keep::ALL };
        Ok(Self { whose, wanted, span, total: request.total, statistics, keep, over_nodes })
    }

    /// What is to be read for it.
    pub(crate) fn question(&self) -> Question {
        let of_values = |statistic: &RangeStatistic| statistic.is_of_values();
        Question {
            whose: self.whose.clone(),
            wanted: self.wanted.clone(),
            span: self.span,
            total: self.total,
            histograms: self.statistics.is_empty()
                || self.statistics.iter().any(of_values)
                || (self.keep.top > 0 && self.keep.by.is_of_values()),
            keep: self.keep,
        }
    }

    /// The answer, without who gives it.
    pub(crate) fn answer(&self, mut found: Found, settled: u32, known: &BTreeSet<NodeId>) -> v1::RangeAnswer {
        let points = found.points(settled, known);
        let (resolution, step) = (found.resolution(), found.span().step);
        let each = if self.statistics.is_empty() { 3 } else { self.statistics.len() };
        let most = (VALUES_MAX / (points.len() * each).max(1)).clamp(1, SERIES_MAX);
        let (series, left_out) = match self.over_nodes {
            Some(over) => cut(self.over(&found, over), most),
            None if self.keep.top > 0 => {
                let ranked = found.top();
                let left_out = ranked.len().saturating_sub(most);
                let series = ranked.iter().take(most).filter_map(|(subject, key, rank)| {
                    let steps = found.subjects().get(subject)?.series.get(key)?;
                    Some(v1::RangeSeries { rank_value: *rank, ..self.series(subject, key, steps) })
                });
                (series.collect(), left_out)
            }
            None => {
                let all = found
                    .subjects()
                    .iter()
                    .flat_map(|(subject, folded)| folded.series.iter().map(move |(key, steps)| (subject, key, steps)));
                let left_out = all.clone().count().saturating_sub(most);
                (all.take(most).map(|(subject, key, steps)| self.series(subject, key, steps)).collect(), left_out)
            }
        };
        v1::RangeAnswer {
            points,
            series,
            step_seconds: step,
            resolution_seconds: resolution,
            left_out: Some(u32::try_from(left_out).unwrap_or(u32::MAX)),
            ..v1::RangeAnswer::default()
        }
    }

    fn statistics_of(&self, kind: Kind) -> Vec<RangeStatistic> {
        if self.statistics.is_empty() { RangeStatistic::usual(kind) } else { self.statistics.clone() }
    }

    fn series(&self, subject: &Subject, key: &Key, steps: &[Option<Cell>]) -> v1::RangeSeries {
        let statistics = self.statistics_of(key.series.kind());
        let read = |statistic: RangeStatistic| {
            let values = steps.iter().map(|cell| cell.as_ref().and_then(|cell| statistic.of(key, cell)));
            let bound = error_bound(statistic, steps.iter().flatten());
            values_of(statistic, values.collect(), bound)
        };
        let statistics = statistics.into_iter().map(read).collect();
        about(subject.node().map_or_else(String::new, ToString::to_string), key, statistics)
    }

    /// One series over all nodes for each of their series.
    fn over(&self, found: &Found, over: Over) -> Vec<v1::RangeSeries> {
        let mut by_key: BTreeMap<&Key, Vec<&[Option<Cell>]>> = BTreeMap::new();
        for folded in found.subjects().values() {
            for (key, steps) in &folded.series {
                by_key.entry(key).or_default().push(steps);
            }
        }
        let points = found.span().points() as usize;
        let series = by_key.into_iter().map(|(key, nodes)| {
            let read = |statistic: RangeStatistic| {
                let at = |point: usize| nodes.iter().filter_map(move |steps| steps[point].as_ref());
                let values = (0..points).map(|point| over_nodes(over, statistic, key, at(point)));
                let bound = error_bound(statistic, nodes.iter().flat_map(|steps| steps.iter().flatten()));
                values_of(statistic, values.collect(), bound)
            };
            about(String::new(), key, self.statistics_of(key.series.kind()).into_iter().map(read).collect())
        });
        series.collect()
    }
}

/// A statistic of the nodes in one step. Of histograms the sum is that of the merged histogram.
fn over_nodes<'a>(
    over: Over,
    statistic: RangeStatistic,
    key: &Key,
    cells: impl Iterator<Item = &'a Cell>,
) -> Option<f64> {
    if over == Over::Sum && (key.series.kind() == Kind::Histogram || matches!(statistic, RangeStatistic::Quantile(_))) {
        let mut merged: Option<Cell> = None;
        for cell in cells {
            match &mut merged {
                Some(merged) => merged.add_over_nodes(cell).ok()?,
                none => *none = Some(cell.clone()),
            }
        }
        return statistic.of(key, &merged?);
    }
    let mut values = cells.filter_map(|cell| statistic.of(key, cell));
    let first = values.next()?;
    let (mut count, mut together) = (1.0, first);
    for value in values {
        count += 1.0;
        together = match over {
            Over::Sum | Over::Mean => together + value,
            Over::Min => together.min(value),
            Over::Max => together.max(value),
            Over::Count => together,
        };
    }
    Some(match over {
        Over::Mean => together / count,
        Over::Count => count,
        Over::Sum | Over::Min | Over::Max => together,
    })
}

fn cut(mut series: Vec<v1::RangeSeries>, most: usize) -> (Vec<v1::RangeSeries>, usize) {
    let left_out = series.len().saturating_sub(most);
    series.truncate(most);
    (series, left_out)
}

/// Bound of the relative error of quantiles, in parts per million, the largest of all steps.
fn error_bound<'a>(statistic: RangeStatistic, cells: impl Iterator<Item = &'a Cell>) -> u32 {
    if !matches!(statistic, RangeStatistic::Quantile(_)) {
        return 0;
    }
    cells.filter_map(|cell| cell.histogram.as_ref()).map(|one| one.quantile_error_ppm()).max().unwrap_or(0)
}

fn values_of(statistic: RangeStatistic, values: Vec<Option<f64>>, error_bound_ppm: u32) -> v1::RangeValues {
    let values = values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect();
    v1::RangeValues { statistic: statistic.to_string(), values, error_bound_ppm }
}

fn about(node_id: String, key: &Key, statistics: Vec<v1::RangeValues>) -> v1::RangeSeries {
    let series = &key.series;
    v1::RangeSeries {
        node_id,
        name: series.name().to_owned(),
        attributes: series.attributes().iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        kind: series.kind().as_str().to_owned(),
        unit: series.unit().to_owned(),
        derived: key.derived,
        statistics,
        rank_value: None,
    }
}
