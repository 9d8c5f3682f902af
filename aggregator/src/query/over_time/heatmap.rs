//! `GetHeatmap`: values by time and value, or by time and node. Pure.

use starling_history::{Cell, Coverage};
use starling_proto::{
    catalogue::Kind,
    histogram::{BUCKETS, Histogram, HistogramSum, bucket_bounds, bucket_index},
    series::Series,
    v1,
};
use tonic::Status;

use super::{
    asked::{Wanted, Whose},
    found::{Found, Keep},
    question::Question,
    statistic::RangeStatistic,
};
use crate::select::{Folded, Key, Most, Names, Span};

/// Columns of one answer, and rows.
const SIDE_MAX: u32 = 1_000;
/// Columns when the request does not say.
const COLUMNS_USUAL: u32 = 120;
/// Rows when the request does not say.
const ROWS_USUAL: u32 = 24;
/// Cells of one answer: 1.6 MB.
const CELLS_MAX: u32 = 200_000;
/// Steps that are read to count the seconds of a column by value: a day by the second.
const STEPS_MAX: u32 = 86_400;
const COLUMNS: Names = Names { step: "step_seconds", most: "max_columns" };

/// A request, checked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    whose: Whose,
    wanted: Wanted,
    span: Span,
    rows: usize,
    /// Values are those of a histogram, as far as its name says.
    histogram: bool,
}

impl Asked {
    /// Checks a request.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` or `OUT_OF_RANGE`, naming the field.
    pub(crate) fn parse(request: v1::GetHeatmapRequest, settled: u32) -> Result<Self, Status> {
        let whose = Whose::parse(request.scope)?;
        let wanted = Wanted::parse(called(request.name), "", request.attributes, &[])?;
        let rows = if request.max_rows == 0 { ROWS_USUAL } else { request.max_rows };
        if !(2..=SIDE_MAX).contains(&rows) {
            return Err(Status::invalid_argument(format!(
                "max_rows: {rows} are asked for, wanted are 2 to {SIDE_MAX}"
            )));
        }
        let range = Span::range(request.from_tick, request.to_tick, settled, whose.range_max())?;
        let limit = SIDE_MAX.min(CELLS_MAX / rows);
        let most = Most { asked: request.max_columns, usual: COLUMNS_USUAL.min(limit), limit };
        let span = Span::of(range, request.step_seconds, most, COLUMNS)?;
        let histogram =
            starling_proto::catalogue::find(&wanted.name).is_none_or(|metric| metric.kind == Kind::Histogram);
        Ok(Self { whose, wanted, span, rows: rows as usize, histogram })
    }

    /// What is to be read for it: numbers by the second, as far as there are not too many, to count these by value.
    pub(crate) fn question(&self) -> Question {
        let each = self.whose.is_each_node();
        let fine = self.span.seconds().div_ceil(STEPS_MAX);
        let step = if each || self.histogram { self.span.step } else { fine.min(self.span.step) };
        Question {
            whose: self.whose.clone(),
            wanted: self.wanted.clone(),
            span: Span { step, ..self.span },
            total: true,
            histograms: !each && self.histogram,
            keep: if each { Keep { top: self.rows, ..Keep::ALL } } else { Keep::ALL },
        }
    }

    /// The answer, without its columns and who gives it.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` when counts do not fit 64 bits.
    pub(crate) fn answer(&self, mut found: Found) -> Result<v1::Heatmap, Status> {
        let map = if self.whose.is_each_node() { self.of_nodes(&mut found) } else { self.of_values(&found)? };
        Ok(v1::Heatmap { step_seconds: self.span.step, ..map })
    }

    /// The seconds that are in it, in its columns.
    pub(crate) const fn span(&self) -> &Span {
        &self.span
    }

    fn of_nodes(&self, found: &mut Found) -> v1::Heatmap {
        let mut ranked = found.top();
        ranked.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let unit = ranked.first().map(|(_, key, _)| key.series.unit().to_owned()).unwrap_or_default();
        let rows = ranked.iter().filter_map(|(subject, key, _)| {
            let steps = found.subjects().get(subject)?.series.get(key)?;
            let value = |cell: &Option<Cell>| {
                cell.as_ref().and_then(|cell| RangeStatistic::Value.of(key, cell)).unwrap_or(f64::NAN)
            };
            let cells = steps.iter().map(value).collect();
            let node_id = subject.node().map_or_else(String::new, ToString::to_string);
            Some(v1::HeatmapRow { node_id, cells, ..v1::HeatmapRow::default() })
        });
        v1::Heatmap { rows: rows.collect(), unit, cells_are: "values".to_owned(), ..v1::Heatmap::default() }
    }

    fn of_values(&self, found: &Found) -> Result<v1::Heatmap, Status> {
        let none = v1::Heatmap { cells_are: "counts".to_owned(), ..v1::Heatmap::default() };
        let Some(folded) = found.subjects().values().next() else { return Ok(none) };
        let Some((key, steps)) = folded.series.iter().next() else { return Ok(none) };
        let unit = key.series.unit().to_owned();
        if key.series.kind() != Kind::Histogram {
            let rows = self.counted_seconds(found, folded, key, steps);
            return Ok(v1::Heatmap { rows, unit, ..none });
        }
        let overflow = |_| Status::out_of_range("from_tick: the counts of this range exceed 64 bits");
        // A metric that the catalogue does not know was read by the column, as if it were a histogram.
        let columns = folded.regrouped(found.span(), &self.span).map_err(overflow)?;
        let (rows, error_bound_ppm) = self.counted_values(&key.series, &columns, key).map_err(overflow)?;
        Ok(v1::Heatmap { rows, unit, error_bound_ppm, ..none })
    }

    fn counted_values(
        &self,
        series: &Series,
        columns: &Folded,
        key: &Key,
    ) -> Result<(Vec<v1::HeatmapRow>, u32), starling_proto::histogram::OverflowError> {
        let none = Vec::new();
        let steps = columns.series.get(key).unwrap_or(&none);
        let histograms = || steps.iter().map(|cell| cell.as_ref().and_then(|cell| cell.histogram.as_deref()));
        let mut all = HistogramSum::new();
        histograms().flatten().try_for_each(|histogram| all.add(histogram))?;
        let all = all.to_histogram();
        let borders = borders(&all, self.rows);
        let mut rows: Vec<v1::HeatmapRow> = borders
            .windows(2)
            .map(|pair| v1::HeatmapRow {
                lower: Some(series.to_f64(bucket_bounds(pair[0]).0.into())),
                upper: Some(series.to_f64(i128::from(bucket_bounds(pair[1] - 1).1) + 1)),
                node_id: String::new(),
                cells: empty_cells(&columns.coverage),
            })
            .collect();
        for (at, histogram) in histograms().enumerate() {
            for (bucket, count) in histogram.into_iter().flat_map(Histogram::buckets) {
                let row = borders.partition_point(|border| *border <= bucket) - 1;
                rows[row].cells[at] += count as f64;
            }
        }
        Ok((rows, all.quantile_error_ppm()))
    }

    fn counted_seconds(
        &self,
        found: &Found,
        folded: &Folded,
        key: &Key,
        steps: &[Option<Cell>],
    ) -> Vec<v1::HeatmapRow> {
        let mut values: Vec<(usize, f64, u32)> = Vec::new();
        let mut coverage = vec![Coverage::default(); self.span.points() as usize];
        for ((cell, one), at) in steps.iter().zip(&folded.coverage).zip(0..) {
            let Some(column) = self.span.point_of(found.span().tick_of(at)) else { continue };
            coverage[column as usize].append(one);
            let value = cell.as_ref().and_then(|cell| RangeStatistic::Value.of(key, cell));
            if let (Some(cell), Some(value)) = (cell, value.filter(|value| value.is_finite())) {
                values.push((column as usize, value, cell.seconds));
            }
        }
        let low = values.iter().map(|(_, value, _)| *value).fold(f64::INFINITY, f64::min);
        let high = values.iter().map(|(_, value, _)| *value).fold(f64::NEG_INFINITY, f64::max);
        if values.is_empty() {
            return Vec::new();
        }
        let (first, width) = grid(low, high, self.rows);
        let row_of = |value: f64| ((value / width).floor() - first).max(0.0) as usize;
        let row = |at: usize| v1::HeatmapRow {
            lower: Some((first + at as f64) * width),
            upper: Some((first + at as f64 + 1.0) * width),
            node_id: String::new(),
            cells: empty_cells(&coverage),
        };
        let mut rows: Vec<v1::HeatmapRow> = (0..=row_of(high)).map(row).collect();
        for (column, value, seconds) in values {
            rows[row_of(value)].cells[column] += f64::from(seconds);
        }
        rows
    }
}

/// The metric that a request calls so.
pub(super) fn called(name: String) -> String {
    match name.as_str() {
        "" | "latency" => "traffic.duration".to_owned(),
        "throughput" => "traffic.requests".to_owned(),
        "errors" => "traffic.errors".to_owned(),
        _ => name,
    }
}

/// 0 where something is known, else nothing.
fn empty_cells(coverage: &[Coverage]) -> Vec<f64> {
    coverage.iter().map(|one| if one.seconds > 0 { 0.0 } else { f64::NAN }).collect()
}

/// Numbers of buckets at which rows begin, and where the last one ends: at most `rows`, from the lowest bucket in use to
/// the highest, each a like factor longer than the one before; what is 0 has a row of its own, up to the next that is in use.
fn borders(all: &Histogram, rows: usize) -> Vec<usize> {
    let used: Vec<usize> = all.buckets().map(|(bucket, _)| bucket).collect();
    let (Some(&first), Some(&last)) = (used.first(), used.last()) else { return Vec::new() };
    let mut borders = Vec::with_capacity(rows + 1);
    let (mut from, mut rows) = (first, rows);
    if let (true, Some(&next)) = (first == bucket_index(0), used.get(1)) {
        borders.push(first);
        (from, rows) = (next, rows - 1);
    }
    let (low, high) = (bucket_bounds(from).0.max(1) as f64, bucket_bounds(last).1 as f64 + 1.0);
    let mut border = |bucket: usize| {
        if borders.last().is_none_or(|before| *before < bucket) {
            borders.push(bucket);
        }
    };
    border(from);
    for row in 1..rows {
        border(bucket_index((low * (high / low).powf(row as f64 / rows as f64)) as u64).min(last));
    }
    border((last + 1).min(BUCKETS));
    borders
}

/// Rows of a width that people read, 1, 2 or 5 times a power of ten: the number of the row of `low`, and the width, so that
/// at most `rows` reach `high`.
fn grid(low: f64, high: f64, rows: usize) -> (f64, f64) {
    // Of one value a row as wide as the value is precise for people.
    let span = if high > low { high - low } else { low.abs().max(1.0) / 100.0 };
    let mut power = (span / rows as f64).log10().floor();
    loop {
        for factor in [1.0, 2.0, 5.0] {
            let width = factor * 10f64.powf(power);
            let (first, last) = ((low / width).floor(), (high / width).floor());
            if last - first < rows as f64 {
                return (first, width);
            }
        }
        power += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use starling_history::Subject;
    use starling_proto::catalogue;

    use super::*;

    const MS: u64 = 1_000_000;

    fn asked(name: &str, step: u32, each_node: bool) -> Asked {
        let request = v1::GetHeatmapRequest {
            scope: Some(v1::Scope { each_node, ..Default::default() }),
            name: name.into(),
            from_tick: 1_200,
            to_tick: 1_259,
            step_seconds: step,
            ..Default::default()
        };
        Asked::parse(request, 2_000).unwrap()
    }

    fn found(asked: &Asked, of: &[(&str, Key, Vec<Option<Cell>>)]) -> Found {
        let question = asked.question();
        let mut found = Found::new(question.span, question.keep);
        for (subject, key, steps) in of {
            let coverage = steps.iter().map(|step| match step {
                Some(cell) => Coverage { seconds: cell.seconds, ..Coverage::second(1, 1, 0) },
                None => Coverage::default(),
            });
            let folded =
                Folded { coverage: coverage.collect(), series: [(key.clone(), steps.clone())].into(), resolution: 1 };
            found.add(Subject::parse(subject).unwrap(), folded).unwrap();
        }
        found
    }

    fn key(metric: &'static catalogue::Metric, with: &[(&str, &str)]) -> Key {
        Key { series: Series::of(metric, with), derived: false }
    }

    fn of_values(values: &[u64]) -> Cell {
        let mut sum = HistogramSum::new();
        values.iter().for_each(|value| sum.record(*value, 1));
        Cell { histogram: Some(Arc::new(sum.to_histogram())), ..Cell::second(values.len() as f64) }
    }

    fn rising(rows: &[v1::HeatmapRow]) -> bool {
        rows.windows(2).all(|pair| pair[0].upper == pair[1].lower)
            && rows.iter().all(|row| row.upper.is_none_or(|upper| row.lower.unwrap() < upper))
    }

    /// Scenario 14.
    #[test]
    fn rows_rise_and_every_value_is_in_its_row() {
        let values = [MS / 20, 2 * MS, 200 * MS, 3_000 * MS, 12_000 * MS, 90_000 * MS];
        let asked = asked("latency", 1, false);
        let steps: Vec<_> = (0..60).map(|at| (at != 7).then(|| of_values(&values))).collect();
        let map = asked
            .answer(found(&asked, &[("cluster", key(&catalogue::DURATION, &[("protocol", "grpc")]), steps)]))
            .unwrap();
        assert!(rising(&map.rows) && map.rows.len() <= 24, "{:?}", map.rows);
        assert_eq!((map.unit.as_str(), map.cells_are.as_str(), map.step_seconds), ("s", "counts", 1));
        for value in values {
            let seconds = value as f64 / 1e9;
            let row = map.rows.iter().find(|row| row.lower() <= seconds && seconds < row.upper()).unwrap();
            assert_eq!(row.cells[0], 1.0, "{seconds} s");
            assert!(row.cells[7].is_nan(), "nothing is known of that second");
        }
        let column: f64 = map.rows.iter().map(|row| row.cells[0]).sum();
        assert_eq!(column, 6.0);
    }

    /// Scenario 58.
    #[test]
    fn zeros_have_a_row_of_their_own() {
        let mut sum = HistogramSum::new();
        sum.record(0, 800);
        sum.record(1_000 * MS, 200);
        let cell = Cell { histogram: Some(Arc::new(sum.to_histogram())), ..Cell::second(1_000.0) };
        let asked = asked("latency", 60, false);
        let map = asked
            .answer(found(&asked, &[("cluster", key(&catalogue::DURATION, &[("protocol", "grpc")]), vec![Some(cell)])]))
            .unwrap();
        let counts: Vec<f64> = map.rows.iter().map(|row| row.cells[0]).collect();
        assert_eq!((counts[0], counts.iter().sum::<f64>(), map.rows[0].lower), (800.0, 1_000.0, Some(0.0)));
        assert!(rising(&map.rows) && counts[1..].iter().filter(|count| **count > 0.0).eq([&200.0]));
    }

    #[test]
    fn requests_are_counted_second_by_second() {
        let asked = asked("throughput", 30, false);
        let steps: Vec<_> = (0..60).map(|at| (at < 45).then(|| Cell::second(f64::from(at % 3) * 10.0))).collect();
        let map = asked
            .answer(found(&asked, &[("cluster", key(&catalogue::REQUESTS, &[("protocol", "grpc")]), steps)]))
            .unwrap();
        assert!(rising(&map.rows), "{:?}", map.rows);
        assert_eq!(map.rows[0].cells, [10.0, 5.0], "seconds of 0 requests");
        assert_eq!(map.rows.iter().map(|row| row.cells[0]).sum::<f64>(), 30.0);
        assert_eq!(map.rows.last().unwrap().cells, [10.0, 5.0], "the highest is in the last row");
    }

    #[test]
    fn nodes_are_rows_by_name() {
        let asked = asked("system.load_average.1m", 60, true);
        let load = |value| vec![Some(Cell::second(value))];
        let nodes = [("node/b", load(2.0)), ("node/c", vec![None]), ("node/a", load(1.0))];
        let nodes = nodes.map(|(node, steps)| (node, key(&catalogue::LOAD_1M, &[]), steps));
        let map = asked.answer(found(&asked, &nodes)).unwrap();
        let names: Vec<_> = map.rows.iter().map(|row| row.node_id.as_str()).collect();
        assert_eq!((names, map.cells_are.as_str()), (vec!["a", "b", "c"], "values"));
        assert!(map.rows[0].cells[0] == 1.0 && map.rows[2].cells[0].is_nan());
    }

    #[test]
    fn sides_are_limited() {
        let parse = |max_rows, max_columns, step_seconds| {
            let request =
                v1::GetHeatmapRequest { max_rows, max_columns, step_seconds, from_tick: 1_000, ..Default::default() };
            Asked::parse(request, 200_000).map(|asked| (asked.span.points(), asked.rows))
        };
        assert!(parse(1, 0, 0).unwrap_err().message().starts_with("max_rows: 1 "));
        assert!(parse(0, 1_001, 0).unwrap_err().message().starts_with("max_columns: 1001 "));
        assert!(parse(0, 0, 1).unwrap_err().message().starts_with("step_seconds: 1 s"));
        assert!(parse(0, 0, 0).unwrap().0 <= 120);
        assert!(parse(1_000, 0, 0).unwrap().0 <= 200);
    }

    proptest! {
        #[test]
        fn every_value_has_a_row(values in prop::collection::vec(prop_oneof![Just(0u64), 0u64..300, any::<u64>()], 1..60), rows in 2usize..40) {
            let mut sum = HistogramSum::new();
            values.iter().for_each(|value| sum.record(*value, 1));
            let borders = borders(&sum.to_histogram(), rows);
            prop_assert!(borders.len() >= 2 && borders.len() <= rows + 1 && borders.is_sorted_by(|a, b| a < b), "{borders:?}");
            for value in values {
                let bucket = bucket_index(value);
                prop_assert!(borders[0] <= bucket && bucket < borders[borders.len() - 1]);
            }
        }

        #[test]
        fn a_grid_holds_all_values(low in -1e12..1e12f64, length in prop_oneof![Just(0.0), 0.0..1e12f64], rows in 2usize..100) {
            let high = low + length;
            let (first, width) = grid(low, high, rows);
            let last = (high / width).floor() - first;
            prop_assert!(width > 0.0 && last >= 0.0 && last < rows as f64, "{first} {width} {last}");
        }
    }
}
