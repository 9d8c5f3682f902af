//! Questions over time.
//!
//! - [`asked`]: whose series and which, checked; [`range`], [`heatmap`], [`summary`], [`distribution`], [`series`]: the request
//!   of each rpc and its answer;
//! - [`differ`]: what a box of a heatmap has more of than the rest;
//! - [`outliers`]: nodes that are slower than their peers;
//! - [`significance`]: whether a share is larger than chance makes it;
//! - [`insight`]: rules about what stands out, for which [`standing_out`] reads what they need;
//! - [`statistic`]: what is read of a series over a step;
//! - [`work`]: how many questions are worked on, and for how long;
//! - [`gather`]: reads here what is here, and asks the other aggregators for the rest;
//! - [`older`]: what is older than what is kept, from an engine;
//! - [`found`]: what was read, in the steps of the question;
//! - [`promql`]: queries in Prometheus's language over the same; [`grown`], [`samples`]: what was found as its samples.

mod asked;
mod differ;
mod distribution;
mod found;
mod gather;
mod grown;
mod heatmap;
mod insight;
mod older;
mod outliers;
mod promql;
mod question;
mod range;
mod samples;
mod series;
mod significance;
mod standing_out;
mod statistic;
mod summary;
mod work;

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use starling_proto::{ids::NodeId, v1};
use tonic::{Request, Status};

use self::{
    found::{Found, Keep},
    gather::{Gathered, find},
    question::Question,
    standing_out::Known,
    work::{Turn, Work},
};
use super::{Holders, check_group, forward};
use crate::{
    engine::Engine,
    metrics::Metrics,
    select::{Held, RANGE_MAX, Span},
};

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
        let coarser = self.read_coarser(&turn, &asked, &found).await?;
        let mut extremes = asked.extremes(coarser.as_ref().unwrap_or(&found));
        if let Some((peak, low)) = &mut extremes {
            for (extreme, is_peak) in [(peak, true), (low, false)] {
                if let Some(question) = asked.question_within(extreme) {
                    let within = self.read(&turn, question, false).await?;
                    *extreme = asked.within(*extreme, &within.found, is_peak);
                }
            }
        }
        let (period, week) = asked.before();
        let mut compared = [None, None];
        let mut peaks_before = Vec::new();
        for (slot, before) in compared.iter_mut().zip([period, week]) {
            if let Some(before) = before {
                let then = self.read(&turn, asked.question_before(&before), false).await?;
                let then = self.read_coarser(&turn, &asked, &then.found).await?.unwrap_or(then.found);
                peaks_before.extend(asked.extremes(&then).map(|(peak, _)| peak.value));
                *slot = Some((before, asked.totals(&then)));
            }
        }
        let (asked, found, totals) = turn
            .run(move |_| {
                let totals = asked.totals(coarser.as_ref().unwrap_or(&found));
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

    /// What `found` was read from, in steps as long as those that are kept; `None` when its steps are.
    async fn read_coarser(&self, turn: &Turn, asked: &summary::Asked, found: &Found) -> Result<Option<Found>, Status> {
        let Some(question) = asked.question_coarser(found) else { return Ok(None) };
        self.read(turn, question, false).await.map(|read| Some(read.found))
    }

    /// Whether anything of the series that `question` asks for is kept of its node at any time, by anybody who answers.
    async fn was_ever(&self, turn: &Turn, question: &Question) -> Result<bool, Status> {
        let to = self.settled();
        let span = Span { from: to.saturating_sub(RANGE_MAX), to, step: RANGE_MAX };
        let ever = Question { span, total: false, histograms: false, keep: Keep::ALL, ..question.clone() };
        let known = gather::known(&self.holders, &ever);
        let Gathered { found, missing, .. } = find((&self.held, None), &self.holders, turn, ever, &known).await?;
        Ok(!found.is_empty() || !missing.is_empty())
    }

    /// Reads what `question` asks for; `strict` makes an error of what is missing. A node of which nothing is known, live or
    /// kept, is an error; one that has nothing in the range is none.
    async fn read(&self, turn: &Turn, question: Question, strict: bool) -> Result<Read, Status> {
        if let Some(group) = question.whose.group() {
            check_group(self.holders.registry(), self.holders.fleet(), group)?;
        }
        let settled = self.settled();
        let known = gather::known(&self.holders, &question);
        let held = (&self.held, self.engine.as_ref());
        let Gathered { found, missing, from_engine } =
            find(held, &self.holders, turn, question.clone(), &known).await?;
        if let Some(node) = question.whose.node()
            && found.is_empty()
            && missing.is_empty()
            && self.holders.fleet().place(node).is_none()
            && !self.was_ever(turn, &question).await?
        {
            return Err(forward::unknown(&self.holders, node));
        }
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
