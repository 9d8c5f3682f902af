//! `GetDistribution`: the values of any range and scope in one histogram, and what is read of it. Pure.

use starling_history::Cell;
use starling_proto::{
    catalogue::Kind,
    histogram::{Histogram, bucket_bounds},
    series::Series,
    v1,
};
use tonic::Status;

use super::{
    asked::{Wanted, Whose},
    found::{Found, Keep, whole},
    question::Question,
    statistic::RangeStatistic,
};
use crate::select::Span;

/// Quantiles asked for at once.
const QUANTILES_MAX: usize = 16;
/// When none are asked for.
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];
/// Buckets of one answer.
const BUCKETS_MAX: usize = 100;
/// Two-sided 95 % of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A request, checked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    whose: Whose,
    wanted: Wanted,
    span: Span,
    quantiles: Vec<f64>,
    include_histogram: bool,
}

impl Asked {
    /// Checks a request.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` or `OUT_OF_RANGE`, naming the field.
    pub(crate) fn parse(request: v1::GetDistributionRequest, settled: u32) -> Result<Self, Status> {
        let whose = Whose::parse(request.scope)?;
        let wanted = Wanted::parse(request.name, "traffic.duration", request.attributes, &[])?;
        if request.quantiles.len() > QUANTILES_MAX {
            let given = request.quantiles.len();
            return Err(Status::invalid_argument(format!("quantiles: {given} are given, at most {QUANTILES_MAX}")));
        }
        if let Some(odd) = request.quantiles.iter().find(|quantile| !(0.0..=1.0).contains(*quantile)) {
            return Err(Status::invalid_argument(format!("quantiles: {odd} is given, wanted is 0 to 1")));
        }
        let quantiles = if request.quantiles.is_empty() { QUANTILES.to_vec() } else { request.quantiles };
        let (from, to) = Span::range(request.from_tick, request.to_tick, settled, whose.range_max())?;
        let span = Span::one(from, to);
        Ok(Self { whose, wanted, span, quantiles, include_histogram: request.include_histogram })
    }

    /// What is to be read for it.
    pub(crate) fn question(&self) -> Question {
        Question {
            whose: self.whose.clone(),
            wanted: self.wanted.clone(),
            span: self.span,
            total: true,
            histograms: true,
            keep: Keep::ALL,
        }
    }

    /// The answer, without who gives it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a metric that has no histograms, `OUT_OF_RANGE` when counts do not fit 64 bits.
    pub(crate) fn answer(
        &self,
        found: &Found,
        completeness: Option<v1::RangePoint>,
    ) -> Result<v1::Distribution, Status> {
        let mut merged: Option<(Series, Cell)> = None;
        for (key, steps) in found.subjects().values().flat_map(|folded| &folded.series) {
            let Some(cell) = whole(steps, RangeStatistic::Quantile(0)) else { continue };
            if cell.histogram.is_none() {
                let kind = match key.series.kind() {
                    Kind::Gauge => "gauge that keeps no distribution",
                    kind => kind.as_str(),
                };
                return Err(Status::invalid_argument(format!(
                    "name: {} is a {kind}, wanted is a histogram; ask QueryRange for its values",
                    self.wanted.name
                )));
            }
            match &mut merged {
                Some((_, merged)) => merged
                    .add_over_nodes(&cell)
                    .map_err(|_| Status::out_of_range("from_tick: the counts of this range exceed 64 bits"))?,
                none => *none = Some((key.series.clone(), cell)),
            }
        }
        let none = v1::Distribution { completeness, ..v1::Distribution::default() };
        let Some((series, Cell { histogram: Some(histogram), .. })) = merged else { return Ok(none) };
        let of = |fixed: i128| series.to_f64(fixed);
        let full = |value: f64| (!histogram.is_empty()).then_some(value);
        Ok(v1::Distribution {
            count: Some(histogram.count() as f64),
            sum: Some(of(i128::try_from(histogram.sum()).unwrap_or(i128::MAX))),
            mean: histogram.mean().map(|mean| mean * of(1)),
            max: full(of(histogram.max().into())),
            quantiles: quantiles(&series, &histogram, &self.quantiles),
            buckets: buckets(&series, &histogram, BUCKETS_MAX),
            unit: series.unit().to_owned(),
            error_bound_ppm: histogram.quantile_error_ppm(),
            histogram: if self.include_histogram { histogram.encode() } else { Vec::new().into() },
            ..none
        })
    }
}

/// Quantiles with the bound of their bucket and the interval that the number of values leaves: by order statistics, the
/// values at the ranks nq -+ 1.96 sqrt(nq(1 - q)) (Conover, "Practical Nonparametric Statistics", 3.2).
pub(super) fn quantiles(series: &Series, histogram: &Histogram, wanted: &[f64]) -> Vec<v1::Quantile> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let n = histogram.count() as f64;
    let value = |quantile: f64| series.to_f64(histogram.quantile(quantile).unwrap_or_default().into());
    let at_rank = |rank: f64| value((rank.clamp(1.0, n)) / n);
    let of = |&quantile: &f64| {
        let around = Z * (n * quantile * (1.0 - quantile)).sqrt();
        v1::Quantile {
            quantile: Some(quantile),
            value: Some(value(quantile)),
            error_bound_ppm: histogram.quantile_error_ppm(),
            lower: Some(at_rank((n * quantile - around).floor())),
            upper: Some(at_rank((n * quantile + around).ceil())),
        }
    };
    wanted.iter().map(of).collect()
}

/// The buckets in use, neighbours joined to at most `most`.
fn buckets(series: &Series, histogram: &Histogram, most: usize) -> Vec<v1::DistributionBucket> {
    let used: Vec<(usize, u64)> = histogram.buckets().collect();
    let joined = used.chunks(used.len().div_ceil(most).max(1)).map(|some| {
        let (first, last) = (some[0].0, some[some.len() - 1].0);
        v1::DistributionBucket {
            lower: Some(series.to_f64(bucket_bounds(first).0.into())),
            upper: Some(series.to_f64(i128::from(bucket_bounds(last).1) + 1)),
            count: Some(some.iter().map(|(_, count)| *count as f64).sum()),
        }
    });
    joined.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use starling_history::{Coverage, Subject};
    use starling_proto::{catalogue, histogram::HistogramSum};

    use super::*;
    use crate::select::{Folded, Key};

    fn asked() -> Asked {
        let request = v1::GetDistributionRequest { from_tick: 1_000, to_tick: 1_059, ..Default::default() };
        Asked::parse(request, 2_000).unwrap()
    }

    fn found(parts: &[(&str, &[(u64, u64)])]) -> Found {
        let mut found = Found::new(asked().span, Keep::ALL);
        for (node, values) in parts {
            let mut sum = HistogramSum::new();
            values.iter().for_each(|(value, n)| sum.record(*value, *n));
            let histogram = Some(Arc::new(sum.to_histogram()));
            let series = Series::of(&catalogue::DURATION, &[("protocol", "grpc")]);
            let cell = Cell { histogram, ..Cell::second(sum.count() as f64) };
            let folded = Folded {
                coverage: vec![Coverage::second(1, 1, 0)],
                series: [(Key { series, derived: false }, vec![Some(cell)])].into(),
                resolution: 1,
            };
            found.add(Subject::parse(&format!("node/{node}")).unwrap(), folded).unwrap();
        }
        found
    }

    /// Scenario 5.
    #[test]
    fn the_percentile_of_all_requests_is_not_a_mean_of_percentiles() {
        const MS: u64 = 1_000_000;
        let found = found(&[("a", &[(10 * MS, 9_900)]), ("b", &[(1_000 * MS, 200)])]);
        let answer = asked().answer(&found, None).unwrap();
        assert_eq!((answer.count, answer.unit.as_str()), (Some(10_100.0), "s"));
        let of = |quantile| answer.quantiles.iter().find(|one| one.quantile() == quantile).unwrap();
        let close = |value: f64, wanted: f64| (value / wanted - 1.0).abs() <= f64::from(answer.error_bound_ppm) / 1e6;
        assert!(close(of(0.99).value(), 1.0) && close(of(0.5).value(), 0.01), "{answer:?}");
        assert!((answer.mean.unwrap() - (99.0 + 200.0) / 10_100.0).abs() < 1e-9);
        // 200 of 10,100 are slow: the rank of the 99th percentile is 101 +- 20 from the end, all of it slow.
        assert!(close(of(0.99).lower(), 1.0) && close(of(0.99).upper(), 1.0));
        let buckets: Vec<_> = answer.buckets.iter().map(|bucket| bucket.count()).collect();
        assert_eq!(buckets, [9_900.0, 200.0]);
        assert!(answer.buckets[0].lower() <= 0.01 && answer.buckets[0].upper() > 0.01);
        assert!(answer.histogram.is_empty());
    }

    /// Scenario 58.
    #[test]
    fn zeros_are_values() {
        let answer = asked().answer(&found(&[("a", &[(0, 800), (1_000_000_000, 200)])]), None).unwrap();
        let values: Vec<_> = answer.quantiles.iter().map(|one| one.value()).collect();
        assert_eq!((values[0], answer.count), (0.0, Some(1_000.0)));
        assert!((values[1] - 1.0).abs() < 0.004, "{values:?}");
        // A zero is sent, in JSON too.
        assert_eq!((answer.quantiles[0].value, answer.buckets[0].lower), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn few_values_leave_a_wide_interval() {
        let values: Vec<(u64, u64)> = (1..=100).map(|n| (n * 1_000_000, 1)).collect();
        let answer = asked().answer(&found(&[("a", &values)]), None).unwrap();
        let median = &answer.quantiles[0];
        assert!((median.lower() - 0.040).abs() < 0.001 && (median.upper() - 0.060).abs() < 0.001, "{median:?}");
        assert_eq!(answer.buckets.len(), 100);
        let none = asked().answer(&found(&[]), None).unwrap();
        assert!(none.count.is_none() && none.quantiles.is_empty());
        assert_eq!(asked().answer(&found(&[("a", &[])]), None).unwrap().count, Some(0.0));
    }

    #[test]
    fn what_is_no_quantile_is_refused() {
        for odd in [-0.1, 1.1, f64::NAN] {
            let request = v1::GetDistributionRequest { quantiles: vec![odd], ..Default::default() };
            let error = Asked::parse(request, 2_000_000_000).unwrap_err();
            assert!(error.message().starts_with("quantiles: "), "{error}");
        }
    }
}
