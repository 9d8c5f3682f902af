//! `GetSeries` before the last 15 minutes: the request checked, and the answer made of what was found. Pure.

use starling_history::Cell;
use starling_proto::{
    catalogue::{Kind, OverNodes, Statistic, find},
    v1,
};
use tonic::Status;

use super::{
    super::series::{About, STATISTICS_MAX, USUAL_SECONDS},
    asked::{Wanted, Whose},
    found::{Found, Keep},
    question::Question,
    statistic::RangeStatistic,
};
use crate::select::{Key, Most, POINTS, POINTS_MAX, RANGE_MAX, Span};

/// Series with points in one answer, and series in a list.
const SERIES_MAX: usize = 256;
const LISTED_MAX: usize = 10_000;
/// Values in one answer: 800 kB.
const VALUES_MAX: usize = 100_000;

/// A request, checked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    whose: Whose,
    wanted: Wanted,
    span: Span,
    total: bool,
    statistics: Vec<Statistic>,
    list: bool,
}

impl Asked {
    /// Checks a request.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` or `OUT_OF_RANGE`, naming the field.
    pub(crate) fn parse(request: v1::GetSeriesRequest, settled: u32) -> Result<Self, Status> {
        let scope = v1::Scope { group: request.group, node_id: request.node_id, each_node: false };
        let whose = Whose::parse(Some(scope))
            .map_err(|status| Status::new(status.code(), status.message().trim_start_matches("scope.")))?;
        let list = request.name.is_empty();
        let wanted = Wanted::parse(request.name, "", request.attributes, &[])?;
        if request.statistics.len() > STATISTICS_MAX {
            let given = request.statistics.len();
            return Err(Status::invalid_argument(format!("statistics: {given} are given, at most {STATISTICS_MAX}")));
        }
        let statistics = request.statistics.iter().map(|text| Statistic::parse(text));
        let statistics: Vec<_> = statistics
            .collect::<Result<_, _>>()
            .map_err(|error| Status::invalid_argument(format!("statistics: {error}")))?;
        let to = if request.to_tick == 0 { settled } else { request.to_tick };
        let from = match request.from_tick {
            _ if list => to,
            0 => to.saturating_sub(USUAL_SECONDS - 1),
            from => from,
        };
        let range = Span::range(from, to, settled, RANGE_MAX)?;
        let most = Most { asked: 0, usual: POINTS_MAX, limit: POINTS_MAX };
        let span = Span::of(range, request.step_seconds.max(1), most, POINTS)?;
        Ok(Self { whose, wanted, span, total: request.total && !list, statistics, list })
    }

    /// What is to be read for it.
    pub(crate) fn question(&self) -> Question {
        let usual = self.statistics.is_empty();
        let of_values = |statistic: &Statistic| !matches!(statistic, Statistic::Value | Statistic::Nodes);
        Question {
            whose: self.whose.clone(),
            wanted: self.wanted.clone(),
            span: self.span,
            total: self.total,
            histograms: !self.list && (usual || self.statistics.iter().any(of_values)),
            keep: Keep::ALL,
        }
    }

    /// The answer, without who gives it.
    pub(crate) fn answer(&self, found: &Found) -> v1::SeriesAnswer {
        let Some(folded) = found.subjects().values().next() else { return v1::SeriesAnswer::default() };
        let statistics = self.statistics.len().max(5);
        let most = if self.list {
            LISTED_MAX
        } else {
            (VALUES_MAX / (folded.coverage.len() * statistics).max(1)).clamp(1, SERIES_MAX)
        };
        let series = folded.series.iter().take(most).map(|(key, steps)| self.series(key, steps));
        let point = |(coverage, at): (&starling_history::Coverage, u32)| v1::SeriesPoint {
            tick: self.span.tick_of(at),
            seconds: Some(coverage.seconds),
            nodes_reporting: Some(if coverage.seconds == 0 { 0 } else { coverage.nodes_reporting }),
            nodes_expected: Some(coverage.nodes_expected),
            skipped_cells: Some(u32::try_from(coverage.dropped).unwrap_or(u32::MAX)),
        };
        v1::SeriesAnswer {
            points: if self.list { Vec::new() } else { folded.coverage.iter().zip(0..).map(point).collect() },
            series: series.collect(),
            left_out: Some(u32::try_from(folded.series.len().saturating_sub(most)).unwrap_or(u32::MAX)),
            ..v1::SeriesAnswer::default()
        }
    }

    fn series(&self, key: &Key, steps: &[Option<Cell>]) -> v1::Series {
        let about = About { derived: key.derived, ..About::from(&key.series) };
        let attributes = super::super::series::pairs(&key.series);
        if self.list {
            return about.series(key.series.name(), &attributes, Vec::new());
        }
        let statistics = if self.statistics.is_empty() { about.usual() } else { self.statistics.clone() };
        let of = |statistic: Statistic| {
            let values = steps.iter().map(|cell| cell.as_ref().and_then(|cell| read(statistic, key, cell)));
            let histograms = steps.iter().flatten().filter_map(|cell| cell.histogram.as_ref());
            let bound = histograms.map(|one| one.quantile_error_ppm()).max().unwrap_or(0);
            v1::StatisticValues {
                statistic: statistic.to_string(),
                values: values.map(|value| value.unwrap_or(f64::NAN)).collect(),
                error_bound_ppm: if statistic.quantile().is_some() { bound } else { 0 },
            }
        };
        about.series(key.series.name(), &attributes, statistics.into_iter().map(of).collect())
    }
}

/// A statistic as it is read of single seconds: over the nodes, in the mean of the seconds of a step.
fn read(statistic: Statistic, key: &Key, cell: &Cell) -> Option<f64> {
    let histogram = key.series.kind() == Kind::Histogram;
    let one_node = (1..=u64::from(cell.seconds)).contains(&cell.nodes);
    let ratio = key.derived && find(key.series.name()).is_some_and(|metric| metric.over_nodes == OverNodes::Mean);
    match statistic {
        Statistic::Quantile(ppm) => RangeStatistic::Quantile(ppm).of(key, cell),
        Statistic::Value => RangeStatistic::Value.of(key, cell),
        Statistic::Nodes => RangeStatistic::Nodes.of(key, cell),
        Statistic::Count => {
            if histogram {
                Some(cell.sum)
            } else {
                None
            }
        }
        Statistic::Sum if histogram => RangeStatistic::Sum.of(key, cell),
        Statistic::Mean if histogram => RangeStatistic::Mean.of(key, cell),
        Statistic::Max if histogram => RangeStatistic::Max.of(key, cell),
        Statistic::Min if histogram => None,
        // A ratio of sums is no sum of ratios.
        _ if ratio && !one_node => None,
        Statistic::Sum => Some(cell.mean()),
        Statistic::Mean => Some(cell.node_mean()),
        Statistic::Min => cell.node_min.or(one_node.then_some(cell.min)),
        Statistic::Max => cell.node_max.or(one_node.then_some(cell.max)),
    }
    .filter(|value| !value.is_nan())
}

#[cfg(test)]
mod tests {
    use starling_history::{Coverage, Subject};
    use starling_proto::{catalogue, series::Series};

    use super::*;
    use crate::select::Folded;

    #[test]
    fn old_seconds_read_like_new_ones() {
        let request = v1::GetSeriesRequest {
            name: "system.load_average.1m".into(),
            statistics: ["value", "sum", "mean", "min", "max", "nodes"].map(String::from).to_vec(),
            from_tick: 100_000,
            to_tick: 100_001,
            ..Default::default()
        };
        let asked = Asked::parse(request, 200_000).unwrap();
        // Four nodes.
        let cell = Cell { nodes: 4, node_min: Some(1.0), node_max: Some(9.0), ..Cell::second(20.0) };
        let folded = Folded {
            coverage: vec![Coverage::second(4, 5, 2), Coverage::default()],
            series: [(Key { series: Series::of(&catalogue::LOAD_1M, &[]), derived: false }, vec![Some(cell), None])]
                .into(),
            resolution: 1,
        };
        let mut found = Found::new(asked.question().span, Keep::ALL);
        found.add(Subject::Cluster, folded).unwrap();
        let answer = asked.answer(&found);
        let first: Vec<f64> = answer.series[0].statistics.iter().map(|one| one.values[0]).collect();
        assert_eq!(first, [5.0, 20.0, 5.0, 1.0, 9.0, 4.0]);
        assert!(answer.series[0].statistics.iter().all(|one| one.values[1].is_nan()));
        let points: Vec<_> =
            answer.points.iter().map(|point| (point.tick, point.seconds(), point.skipped_cells())).collect();
        assert_eq!(points, [(100_000, 1, 2), (100_001, 0, 0)]);
    }

    #[test]
    fn fields_are_called_as_they_are_in_this_request() {
        let refused = |request: v1::GetSeriesRequest| Asked::parse(request, 200_000).unwrap_err().message().to_owned();
        let both = v1::GetSeriesRequest { group: "zone:a".into(), node_id: "a".into(), ..Default::default() };
        assert!(refused(both).starts_with("node_id: give a node or a group"));
        let odd = v1::GetSeriesRequest { name: "a".into(), statistics: vec!["rate".into()], ..Default::default() };
        assert!(refused(odd).starts_with("statistics: "));
        let long = v1::GetSeriesRequest { name: "a".into(), from_tick: 100_000, ..Default::default() };
        assert!(refused(long).starts_with("step_seconds: 1 s over 100001 s"));
    }
}
