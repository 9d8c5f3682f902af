//! `Differ`: what is over-represented in a box of seconds and values, against the rest.
//!
//! - [`asked`]: the request, what is read for it, and the answer;
//! - [`tally`]: what was counted by node, label, attribute, service and route, and its order.

mod asked;
mod tally;

use std::time::Instant;

use starling_proto::{catalogue::Kind, v1};
use tonic::{Request, Status};

use self::asked::{Asked, Labels, Pair};
use super::{OverTime, Read, found::Found, gather, question::Question, work::Turn};

/// An answer without who gives it, what could not be had, and what came from an engine.
type Answered = (v1::Differences, Vec<v1::MissingPart>, Option<v1::FromEngine>);

impl OverTime {
    /// `Differ`.
    ///
    /// # Errors
    /// What is wrong with the request, or the limit it exceeds.
    pub(crate) async fn differ(&self, request: Request<v1::DifferRequest>) -> Result<v1::Differences, Status> {
        let began = Instant::now();
        let (metadata, _, request) = request.into_parts();
        let strict = request.strict;
        let asked = Asked::parse(request, self.settled()).map_err(|status| self.work.refused(status))?;
        let turn = self.work.turn("differ", &metadata).await?;
        let kind = match asked.kind() {
            Some(kind) => Some(kind),
            None => {
                let any = self.read(&turn, asked.question_whole(false), strict).await?.found;
                any.keys().next().map(|key| key.series.kind())
            }
        };
        if kind.is_some_and(|kind| kind != Kind::Histogram) {
            asked.check_box().map_err(|status| self.work.refused(status))?;
        }
        let labels = self.holders.fleet().labels();
        let (answer, missing, from_engine) = match kind {
            Some(Kind::Gauge) => self.of_readings(&turn, asked, labels, strict).await?,
            Some(Kind::Counter) => self.of_events(&turn, asked, labels, strict).await?,
            Some(Kind::Histogram) | None => self.of_values(&turn, asked, labels, strict).await?,
        };
        self.metrics.history_answer.record(began.elapsed());
        Ok(v1::Differences { missing, from_engine, answered_by: self.id.to_string(), ..answer })
    }

    async fn of_readings(&self, turn: &Turn, asked: Asked, labels: Labels, strict: bool) -> Result<Answered, Status> {
        let once = asked.question_whole(false);
        let nodes = gather::known(&self.holders, &once).len();
        let read = self.read(turn, asked.question_of_readings(nodes), strict).await?;
        let Read { found, missing, from_engine, known, settled } = read;
        let answer = turn.run(move |_| {
            let completeness = found.regrouped(&once.span)?.points(settled, &known).into_iter().next();
            Ok::<_, Status>(v1::Differences { completeness, ..asked.of_readings(&found, &labels) })
        });
        Ok((answer.await??, missing, from_engine))
    }

    async fn of_values(&self, turn: &Turn, asked: Asked, labels: Labels, strict: bool) -> Result<Answered, Status> {
        let boxed = asked.question_box(true);
        let Read { found, missing, from_engine, known, settled } =
            self.read(turn, asked.question_whole(true), strict).await?;
        let pair = self.pair(turn, found, boxed, strict).await?;
        let services = match asked.of_services() {
            Some(of) => {
                let found = self.read(turn, of.question_whole(true), strict).await?.found;
                Some(self.pair(turn, found, of.question_box(true), strict).await?)
            }
            None => None,
        };
        let answer = turn.run(move |_| {
            let completeness = pair.whole.points(settled, &known).into_iter().next();
            let answer = asked.of_values(&pair, services.as_ref(), &labels)?;
            Ok::<_, Status>(v1::Differences { completeness, ..answer })
        });
        Ok((answer.await??, missing, from_engine))
    }

    async fn of_events(&self, turn: &Turn, asked: Asked, labels: Labels, strict: bool) -> Result<Answered, Status> {
        let whole = asked.question_whole(false);
        let by_rate = asked.question_of_rate(gather::known(&self.holders, &whole).len());
        let rate = match by_rate.clone() {
            Some(question) => Some(self.read(turn, question, strict).await?.found),
            None => None,
        };
        // In steps, when these are held against bounds.
        let boxed = |asked: &Asked| match &by_rate {
            Some(rate) => Some(asked.question_by_step(rate)),
            None => asked.question_box(false),
        };
        let Read { found, missing, from_engine, known, settled } = self.read(turn, whole, strict).await?;
        let pair = self.pair(turn, found, boxed(&asked), strict).await?;
        let services = match asked.of_services() {
            Some(of) => {
                let found = self.read(turn, of.question_whole(false), strict).await?.found;
                Some(self.pair(turn, found, boxed(&of), strict).await?)
            }
            None => None,
        };
        let answer = turn.run(move |_| {
            let completeness = pair.whole.points(settled, &known).into_iter().next();
            let answer = asked.of_events(&pair, services.as_ref(), rate.as_ref(), &labels);
            v1::Differences { completeness, ..answer }
        });
        Ok((answer.await?, missing, from_engine))
    }

    /// What was read of all seconds, with those of the box.
    async fn pair(&self, turn: &Turn, whole: Found, boxed: Option<Question>, strict: bool) -> Result<Pair, Status> {
        let boxed = match boxed {
            Some(question) => Some(self.read(turn, question, strict).await?.found),
            None => None,
        };
        Ok(Pair { whole, boxed })
    }
}
