//! Questions over time.
//!
//! - [`asked`]: whose series and which, checked; [`range`]: the request of `QueryRange` and its answer;
//! - [`statistic`]: what is read of a series over a step;
//! - [`work`]: how many questions are worked on, and for how long;
//! - [`gather`]: reads here what is here, and asks the other aggregators for the rest;
//! - [`found`]: what was read, in the steps of the question.

mod asked;
mod found;
mod gather;
mod range;
mod statistic;
mod work;

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use starling_proto::{ids::NodeId, v1};
use tonic::{Request, Status};

use self::{
    found::Found,
    gather::{Question, find},
    work::{Turn, Work},
};
use super::{Holders, check_group, forward};
use crate::{metrics::Metrics, select::Held};

/// Answers questions over time.
pub(crate) struct OverTime {
    id: NodeId,
    held: Held,
    holders: Arc<Holders>,
    work: Work,
    metrics: Arc<Metrics>,
}

/// What was found, and what goes with it into every answer.
struct Read {
    found: Found,
    missing: Vec<v1::MissingPart>,
    known: BTreeSet<NodeId>,
    settled: u32,
}

impl OverTime {
    /// Of the aggregator `id`, from what is held here and, by `holders`, elsewhere.
    pub(crate) fn new(id: NodeId, held: Held, holders: Arc<Holders>, metrics: Arc<Metrics>) -> Self {
        Self { id, held, holders, work: Work::new(metrics.clone()), metrics }
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
        let Read { found, missing, known, settled } = read;
        let answer = turn.run(move |_| asked.answer(found, settled, &known)).await?;
        self.metrics.history_answer.record(began.elapsed());
        Ok(v1::RangeAnswer { missing, answered_by: self.id.to_string(), ..answer })
    }

    /// Reads what `question` asks for; `strict` makes an error of what is missing.
    async fn read(&self, turn: &Turn, question: Question, strict: bool) -> Result<Read, Status> {
        if let Some(group) = question.whose.group() {
            check_group(self.holders.registry(), self.holders.fleet(), group)?;
        }
        let settled = self.settled();
        let known = gather::known(&self.holders, &question.whose, question.span.from);
        let node = question.whose.node().cloned();
        let (found, missing) = find(&self.held, &self.holders, turn, question, &known).await?;
        if let Some(node) = node
            && found.is_empty()
            && missing.is_empty()
            && self.holders.fleet().place(&node).is_none()
        {
            return Err(forward::unknown(&self.holders, &node));
        }
        if !missing.is_empty() {
            self.metrics.history_answers_partial.inc();
        }
        match missing.first() {
            Some(first) if strict => Err(Status::unavailable(format!(
                "strict: the answer lacks what another aggregator holds, of {} nodes from {} to {}: {}",
                missing.iter().map(|part| part.nodes).sum::<u32>(),
                missing.iter().map(|part| part.from_tick).min().unwrap_or(first.from_tick),
                missing.iter().map(|part| part.to_tick).max().unwrap_or(first.to_tick),
                first.reason
            ))),
            _ => Ok(Read { found, missing, known, settled }),
        }
    }
}
