//! Questions over time.
//!
//! - [`asked`]: whose series and which, checked; [`range`], [`heatmap`], [`summary`], [`distribution`], [`series`]: the request
//!   of each rpc and its answer;
//! - [`insight`]: rules about what stands out, for which [`standing_out`] reads what they need;
//! - [`statistic`]: what is read of a series over a step;
//! - [`work`]: how many questions are worked on, and for how long;
//! - [`gather`]: reads here what is here, and asks the other aggregators for the rest;
//! - [`older`]: what is older than what is kept, from an engine;
//! - [`found`]: what was read, in the steps of the question;
//! - [`promql`]: queries in Prometheus's language over the same; [`samples`]: what was found as its samples.

mod asked;
mod distribution;
mod found;
mod gather;
mod heatmap;
mod insight;
mod older;
mod promql;
mod question;
mod range;
mod samples;
mod series;
mod standing_out;
mod statistic;
mod summary;
mod work;

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use starling_proto::{ids::NodeId, v1};
use tonic::{Request, Status};

use self::{
    found::Found,
    gather::{Gathered, find},
    question::Question,
    standing_out::Known,
    work::{Turn, Work},
};
use super::{Holders, check_group, forward};
use crate::{engine::Engine, metrics::Metrics, select::Held};

/// Answers questions over time.
pub(crate) struct OverTime {
    id: NodeId,
    held: Held,
    engine: Option<Engine>,
    holders: Arc<Holders>,
    work: Work,
    metrics: Arc<Metrics>,
}

/// What was found, and what goes with it into every answer.
struct Read {
    found: Found,
    missing: Vec<v1::MissingPart>,
    from_engine: Option<v1::FromEngine>,
    known: BTreeSet<NodeId>,
    settled: u32,
}

impl OverTime {
    /// Of the aggregator `id`, from what is held here and, by `holders`, elsewhere; what is older from the engine, if any.
    pub(crate) fn new(
        id: NodeId,
        (held, engine): (Held, Option<Engine>),
        holders: Arc<Holders>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { id, held, engine, holders, work: Work::new(metrics.clone()), metrics }
    }

    fn settled(&self) -> u32 {
        self.holders.ledger().published().borrow().settled
    }

    /// `QueryRange`.
    ///
    /// # Errors
    /// What is wrong with the request, or the limit it exceeds.
    pub(crate) async fn query_range(&self, request: Request<v1::QueryRangeRequest>) -> Result<v1::RangeAnswer, Status> {
        let began = Instant::now();
        let (metadata, _, request) = request.into_parts();
        let strict = request.strict;
        let asked = range::Asked::parse(request, self.settled()).map_err(|status| self.work.refused(status))?;
        let turn = self.work.turn("range", &metadata).await?;
        let read = self.read(&turn, asked.question(), strict).await?;
        let Read { found, missing, from_engine, known, settled } = read;
        let answer = turn.run(move |_| asked.answer(found, settled, &known)).await?;
        self.metrics.history_answer.record(began.elapsed());
        Ok(v1::RangeAnswer { missing, from_engine, answered_by: self.id.to_string(), ..answer })
    }

    /// `GetSeries` of seconds before the last 15 minutes.
    ///
    /// # Errors
    /// What is wrong with the request, or the limit it exceeds.
    pub(crate) async fn series(&self, request: Request<v1::GetSeriesRequest>) -> Result<v1::SeriesAnswer, Status> {
        let began = Instant::now();
        let (metadata, _, request) = request.into_parts();
        let asked = series::Asked::parse(request, self.settled()).map_err(|status| self.work.refused(status))?;
        let turn = self.work.turn("series", &metadata).await?;
        let Read { found, missing, from_engine, .. } = self.read(&turn, asked.question(), false).await?;
        let answer = turn.run(move |_| asked.answer(&found)).await?;
        self.metrics.history_answer.record(began.elapsed());
        Ok(v1::SeriesAnswer { missing, from_engine, answered_by: self.id.to_string(), ..answer })
    }

    /// `GetHeatmap`.
    ///
    /// # Errors
    /// What is wrong with the request, or the limit it exceeds.
    pub(crate) async fn heatmap(&self, request: Request<v1::GetHeatmapRequest>) -> Result<v1::Heatmap, Status> {
        let began = Instant::now();
        let (metadata, _, request) = request.into_parts();
        let strict = request.strict;
        let asked = heatmap::Asked::parse(request, self.settled()).map_err(|status| self.work.refused(status))?;
        let turn = self.work.turn("heatmap", &metadata).await?;
        let Read { found, missing, from_engine, known, settled } = self.read(&turn, asked.question(), strict).await?;
        let map = turn
            .run(move |_| {
                let columns = found.regrouped(asked.span())?.points(settled, &known);
                Ok::<_, Status>(v1::Heatmap { columns, ..asked.answer(found)? })
            })
            .await??;
        self.metrics.history_answer.record(began.elapsed());
        Ok(v1::Heatmap { missing, from_engine, answered_by: self.id.to_string(), ..map })
    }

    /// `GetDistribution`.
    ///
    /// # Errors
    /// What is wrong with the request, or the limit it exceeds.
    pub(crate) async fn distribution(
        &self,
        request: Request<v1::GetDistributionRequest>,
    ) -> Result<v1::Distribution, Status> {
        let began = Instant::now();
        let (metadata, _, request) = request.into_parts();
        let strict = request.strict;
        let asked = distribution::Asked::parse(request, self.settled()).map_err(|status| self.work.refused(status))?;
        let turn = self.work.turn("distribution", &metadata).await?;
        let Read { found, missing, from_engine, known, settled } = self.read(&turn, asked.question(), strict).await?;
        let completeness = move |found: &Found| found.points(settled, &known).into_iter().next();
        let answer = turn.run(move |_| asked.answer(&found, completeness(&found))).await??;
        self.metrics.history_answer.record(began.elapsed());
        Ok(v1::Distribution { missing, from_engine, answered_by: self.id.to_string(), ..answer })
    }

    /// `Summarize`.
    ///
    /// # Errors
    /// What is wrong with the request, or the limit it exceeds.
    pub(crate) async fn summarize(&self, request: Request<v1::SummarizeRequest>) -> Result<v1::Summary, Status> {
        let began = Instant::now();
        let (metadata, _, request) = request.into_parts();
        let asked =
            summary::Asked::parse(request.clone(), self.settled()).map_err(|status| self.work.refused(status))?;
        let turn = self.work.turn("summary", &metadata).await?;
        let read = self.read(&turn, asked.question(), request.strict).await?;
        let Read { found, missing, from_engine, known, settled } = read;
        let mut extremes = asked.extremes(&found);
        if let Some((peak, low)) = &mut extremes {
            for (extreme, is_peak) in [(peak, true), (low, false)] {
                if let Some(question) = asked.question_within(extreme) {
                    let within = self.read_any(&turn, question, false).await?;
                    *extreme = asked.within(*extreme, &within.found, is_peak);
                }
            }
        }
        let (period, week) = asked.before();
        let mut compared = [None, None];
        let mut peaks_before = Vec::new();
        for (slot, before) in compared.iter_mut().zip([period, week]) {
            if let Some(before) = before {
                let then = self.read_any(&turn, asked.question_before(&before), false).await?;
                peaks_before.extend(asked.extremes(&then.found).map(|(peak, _)| peak.value));
                *slot = Some((before, asked.totals(&then.found)));
            }
        }
        let (asked, found, totals) = turn
            .run(move |_| {
                let totals = asked.totals(&found);
                let longer = found.regrouped(asked.span())?;
                Ok::<_, Status>((asked, longer, totals))
            })
            .await??;
        let out = Known {
            found: &found,
            average: totals.average,
            peak: extremes.map(|(peak, _)| (peak.value, peak.tick)),
            peaks_before: &peaks_before,
            period: compared[0].as_ref().map(|(before, _)| before),
            week: compared[1].as_ref().map(|(before, then)| (before, then.average)),
        };
        let insights = self.stands_out(&turn, &asked, &request, out).await?;
        let evidence = asked.evidence(&request);
        let answer = turn
            .run(move |_| {
                let answer = asked.answer(summary::unit(&found), &totals, extremes, compared);
                let series = range::Asked::parse(evidence, settled)?.answer(found, settled, &known);
                Ok::<_, Status>(v1::Summary { series: Some(series), insights, ..answer })
            })
            .await??;
        self.metrics.history_answer.record(began.elapsed());
        let series = answer.series.map(|series| v1::RangeAnswer {
            missing,
            from_engine,
            answered_by: self.id.to_string(),
            ..series
        });
        Ok(v1::Summary { series, answered_by: self.id.to_string(), ..answer })
    }

    /// Reads what `question` asks for; `strict` makes an error of what is missing. A node of which nothing is known, live or
    /// kept, is an error.
    async fn read(&self, turn: &Turn, question: Question, strict: bool) -> Result<Read, Status> {
        let node = question.whose.node().cloned();
        let read = self.read_any(turn, question, strict).await?;
        match node {
            Some(node)
                if read.found.is_empty() && read.missing.is_empty() && self.holders.fleet().place(&node).is_none() =>
            {
                Err(forward::unknown(&self.holders, &node))
            }
            _ => Ok(read),
        }
    }

    /// The same of a node that is known by another reading: nothing of it here is no error.
    async fn read_any(&self, turn: &Turn, question: Question, strict: bool) -> Result<Read, Status> {
        if let Some(group) = question.whose.group() {
            check_group(self.holders.registry(), self.holders.fleet(), group)?;
        }
        let settled = self.settled();
        let known = gather::known(&self.holders, &question.whose, question.span.from);
        let held = (&self.held, self.engine.as_ref());
        let Gathered { found, missing, from_engine } = find(held, &self.holders, turn, question, &known).await?;
        if !missing.is_empty() {
            self.metrics.history_answers_partial.inc();
        }
        match missing.first() {
            Some(first) if strict => Err(Status::unavailable(format!(
                "strict: the answer lacks what another aggregator or an engine holds, of {} nodes from {} to {}: {}",
                missing.iter().map(|part| part.nodes).sum::<u32>(),
                missing.iter().map(|part| part.from_tick).min().unwrap_or(first.from_tick),
                missing.iter().map(|part| part.to_tick).max().unwrap_or(first.to_tick),
                first.reason
            ))),
            _ => Ok(Read { found, missing, from_engine, known, settled }),
        }
    }
}
