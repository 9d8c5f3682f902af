//! What stands out in a summary: what the rules of [`insight`](super::insight) need is read here, as long as there is time.

use std::collections::BTreeMap;

use starling_history::Subject;
use starling_proto::{catalogue, group::Group, ids::NodeId, v1};
use tonic::Status;

use super::{
    OverTime,
    asked::{Wanted, Whose},
    found::{Found, Keep, whole},
    insight::{self, Insight},
    question::Question,
    statistic::RangeStatistic,
    summary::{Asked, Before},
    work::Turn,
};
use crate::select::Span;

/// Seconds at the end of the range over which nodes are compared with each other.
const PEERS_SECONDS: u32 = 300;
const HOUR: u32 = 3_600;
/// Insights of one answer.
const INSIGHTS_MAX: usize = 16;

/// What a summary has read already.
pub(super) struct Known<'a> {
    /// The range, in the steps of the series that is sent along.
    pub(super) found: &'a Found,
    /// Average, and the highest value with its second.
    pub(super) average: Option<f64>,
    pub(super) peak: Option<(f64, u32)>,
    /// The highest values of the ranges compared with, as far as they are known.
    pub(super) peaks_before: &'a [f64],
    /// The period before, and the same time a week ago with its average.
    pub(super) period: Option<&'a Before>,
    pub(super) week: Option<(&'a Before, Option<f64>)>,
}

impl OverTime {
    /// What stands out, strongest first.
    ///
    /// # Errors
    /// The limit that a reading exceeds.
    pub(super) async fn stands_out(
        &self,
        turn: &Turn,
        asked: &Asked,
        request: &v1::SummarizeRequest,
        known: Known<'_>,
    ) -> Result<Vec<v1::Insight>, Status> {
        let Span { from, to, .. } = *asked.span();
        let points = asked.points(known.found);
        let mut insights = Vec::new();
        insights.extend(insight::level_shift(&points));
        insights.extend(insight::trend(&points, limit(asked.name())));
        if let Some((peak, tick)) = known.peak {
            insights.extend(insight::new_peak(peak, tick, known.peaks_before));
        }
        if let (Some(average), Some((week, Some(then)))) = (known.average, known.week) {
            let near = self.near(turn, asked, week, average, then).await?;
            insights.extend(insight::daily_pattern(average, then, &near, from));
        }
        if let Some(period) = known.period.filter(|_| asked.name().starts_with("traffic.") && !turn.stop().is_due()) {
            let (requests, errors) = self.traffic(turn, asked, (from, to)).await?;
            let (requests_then, errors_then) = self.traffic(turn, asked, (period.from, period.to)).await?;
            let now = (requests.values().sum(), errors.values().sum());
            let then = (requests_then.values().sum(), errors_then.values().sum());
            insights.extend(insight::error_ratio(now, then, from));
            insights.extend(insight::share_shift(&requests, &requests_then, from));
        }
        if let Some(group) = asked.group().filter(|_| !turn.stop().is_due()) {
            insights
                .extend(self.departs(turn, asked, group, (from.max(to.saturating_sub(PEERS_SECONDS - 1)), to)).await?);
        }
        insights.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        insights.truncate(INSIGHTS_MAX);
        Ok(insights.into_iter().map(|one| shown(one, asked, request)).collect())
    }

    /// The averages of an hour to either side of a week ago, where the time zone is not known and it matters.
    async fn near(
        &self,
        turn: &Turn,
        asked: &Asked,
        week: &Before,
        average: f64,
        then: f64,
    ) -> Result<Vec<f64>, Status> {
        let mut near = Vec::new();
        if asked.has_zone() || insight::daily_pattern(average, then, &[], 0).is_none() {
            return Ok(near);
        }
        for (from, to) in [(week.from - HOUR, week.to - HOUR), (week.from + HOUR, week.to + HOUR)] {
            let read = self.read(turn, asked.question_over(from, to), false).await?;
            near.extend(asked.totals(&read.found).average);
        }
        Ok(near)
    }

    /// Requests and errors by protocol.
    async fn traffic(
        &self,
        turn: &Turn,
        asked: &Asked,
        (from, to): (u32, u32),
    ) -> Result<(BTreeMap<String, f64>, BTreeMap<String, f64>), Status> {
        let mut both = [BTreeMap::new(), BTreeMap::new()];
        for (counts, metric) in both.iter_mut().zip([&catalogue::REQUESTS, &catalogue::ERRORS]) {
            let question = Question {
                whose: asked.whose().clone(),
                wanted: Wanted::parse(metric.name.to_owned(), "", Default::default(), &[])?,
                span: Span::one(from, to),
                total: false,
                histograms: false,
                keep: Keep::ALL,
            };
            let read = self.read(turn, question, false).await?;
            for (key, steps) in read.found.subjects().values().flat_map(|folded| &folded.series) {
                let growth = whole(steps, RangeStatistic::Increase).map_or(0.0, |cell| cell.sum);
                let protocol = key.series.attribute(catalogue::PROTOCOL).unwrap_or_default();
                *counts.entry(protocol.to_owned()).or_default() += growth;
            }
        }
        let [requests, errors] = both;
        Ok((requests, errors))
    }

    /// The node that is unlike the others.
    async fn departs(
        &self,
        turn: &Turn,
        asked: &Asked,
        group: Group,
        (from, to): (u32, u32),
    ) -> Result<Option<Insight>, Status> {
        let whose = Whose::EachNode(group);
        let question = Question { whose, span: Span::one(from, to), ..asked.question_over(from, to) };
        let read = self.read(turn, question, false).await?;
        let (mut means, mut values) = (Vec::new(), Vec::new());
        for (subject, folded) in read.found.subjects() {
            let (Subject::Node(node), Some((key, steps))) = (subject, folded.series.iter().next()) else { continue };
            let Some(cell) = whole(steps, RangeStatistic::Quantile(0)) else { continue };
            let node: &NodeId = node;
            match &cell.histogram {
                Some(histogram) => values.push((node.clone(), histogram.as_ref().clone())),
                None => means.extend(RangeStatistic::Value.of(key, &cell).map(|value| (node.clone(), value))),
            }
        }
        Ok(insight::departs_by_values(&values, from).or_else(|| insight::departs_by_mean(&means, from)))
    }
}

/// What a metric cannot exceed: a share of something is at most all of it.
fn limit(name: &str) -> Option<f64> {
    (name.ends_with(".utilization") || name.ends_with("_ratio")).then_some(1.0)
}

fn shown(insight: Insight, asked: &Asked, request: &v1::SummarizeRequest) -> v1::Insight {
    let Insight { kind, message, rule, tick, weight, node, metric } = insight;
    let mut evidence = asked.evidence(request);
    if let Some(node) = node {
        evidence.scope = Some(v1::Scope { node_id: node.to_string(), ..v1::Scope::default() });
    }
    if let Some(metric) = metric {
        evidence = v1::QueryRangeRequest {
            name: metric.to_owned(),
            attributes: Default::default(),
            statistics: Vec::new(),
            // A ratio is computed, and shares are of the series one by one.
            total: false,
            ..evidence
        };
    }
    v1::Insight { r#type: kind.to_owned(), message, rule: rule.to_owned(), evidence: Some(evidence), tick, weight }
}
