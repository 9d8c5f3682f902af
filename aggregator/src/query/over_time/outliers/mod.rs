//! `ListOutliers`: nodes whose values are beyond those of their peers.
//!
//! - [`odd`]: which of some nodes that are, pure.

mod odd;

use std::{collections::BTreeMap, time::Instant};

use starling_history::Subject;
use starling_proto::{group::Group, histogram::Histogram, ids::NodeId, limits::LIVE_WINDOW, series::Series, v1};
use tonic::{Request, Status};

use self::odd::{Beside, Node, beside};
use super::{
    OverTime, Read,
    asked::{Wanted, Whose},
    distribution,
    found::{Found, Keep},
    heatmap,
    question::Question,
};
use crate::select::{NODES_RANGE_MAX, Span};

/// Rows of an answer at most, and how many usually.
const ROWS_MAX: u32 = 200;
const ROWS_USUAL: u32 = 10;
/// Seconds of a step: what is new is to be named in so many.
const STEP: u32 = 5;
/// Steps that are looked at for when it began: 3 minutes.
const STEPS: u32 = 36;
/// Lengths in steps of what is held against the peers: 5, 15, 60 s.
const WINDOWS: [usize; 3] = [1, 3, 12];
/// Seconds that are shown.
const WINDOW: u32 = 60;

/// A request, checked.
#[derive(Debug, Clone)]
struct Asked {
    group: Group,
    wanted: Wanted,
    /// Last second.
    to: u32,
    top: usize,
}

impl Asked {
    fn parse(request: v1::ListOutliersRequest, settled: u32) -> Result<Self, Status> {
        let group = super::super::parse_group(&request.group)?;
        let wanted = Wanted::parse(heatmap::called(request.name), "", request.attributes, &[])?;
        let from = if request.to_tick == 0 { 0 } else { request.to_tick.saturating_sub(WINDOW - 1) };
        let (_, to) = Span::range(from, request.to_tick, settled, NODES_RANGE_MAX)?;
        let top = if request.top == 0 { ROWS_USUAL } else { request.top };
        if top > ROWS_MAX {
            return Err(Status::invalid_argument(format!("top: {top} are asked for, wanted are 1 to {ROWS_MAX}")));
        }
        Ok(Self { group, wanted, to, top: top as usize })
    }

    fn question(&self, span: Span) -> Question {
        Question {
            whose: Whose::EachNode(self.group.clone()),
            wanted: self.wanted.clone(),
            span,
            total: true,
            histograms: true,
            keep: Keep::ALL,
        }
    }

    /// The steps that are looked at: whole ones, but for the newest, and of the last five seconds whatever there is.
    fn steps(&self) -> Span {
        let first = (self.to - self.to % STEP).saturating_sub((STEPS - 1) * STEP);
        Span { from: first, to: self.to, step: STEP }
    }

    /// What was usual: the oldest minute of those that are in memory, a quarter of an hour before. What is read costs by the
    /// second, so that it is one minute and not all.
    fn before(&self) -> Span {
        let from = self.to.saturating_sub(LIVE_WINDOW - 1);
        Span::one(from, from.saturating_add(WINDOW - 1).min(self.to))
    }

    fn answer(&self, steps: &Found, before: &Found) -> Result<v1::Outliers, Status> {
        let mut series: Option<Series> = None;
        let mut nodes: BTreeMap<&NodeId, Node> = BTreeMap::new();
        for (id, key, cells) in each(steps) {
            if cells.iter().flatten().any(|cell| cell.histogram.is_none()) {
                let (name, kind) = (&self.wanted.name, key.kind().as_str());
                return Err(Status::invalid_argument(format!(
                    "name: {name} is a {kind}, wanted is a histogram; ask QueryRange with `top` for the highest nodes"
                )));
            }
            // Histograms of other scales are not of the same values.
            if series.get_or_insert_with(|| key.clone()).scale() == key.scale() {
                let histogram = |cell: &Option<starling_history::Cell>| cell.as_ref()?.histogram.clone();
                let steps = cells.iter().map(histogram).collect();
                nodes.insert(id, Node { id: id.to_string(), steps, usual: None });
            }
        }
        for (id, key, cells) in each(before) {
            let same = series.as_ref().is_some_and(|series| series.scale() == key.scale());
            if let Some(node) = nodes.get_mut(id).filter(|_| same) {
                node.usual = cells.first().and_then(|cell| cell.as_ref()?.histogram.clone());
            }
        }
        let nodes: Vec<Node> = nodes.into_values().collect();
        let overflow = |_| Status::out_of_range("name: the counts of these seconds exceed 64 bits");
        let (found, few) = beside(&nodes, &WINDOWS).map_err(overflow)?;
        let Some(series) = series else {
            return Ok(v1::Outliers {
                text: "No node has values in this minute.".to_owned(),
                ..v1::Outliers::default()
            });
        };
        let span = *steps.span();
        let rows = found.iter().take(self.top).map(|is| row(is, &nodes[is.at], &series, &span));
        let error_bound_ppm = found.iter().map(|is| is.own.quantile_error_ppm()).max().unwrap_or_default();
        Ok(v1::Outliers {
            rows: rows.collect(),
            nodes: u32::try_from(found.len()).unwrap_or(u32::MAX),
            nodes_with_few_values: u32::try_from(few).unwrap_or(u32::MAX),
            unit: series.unit().to_owned(),
            error_bound_ppm,
            text: text(&found, few, &nodes, &span, self.to),
            ..v1::Outliers::default()
        })
    }
}

/// Each node's series, of which a total has one.
fn each(found: &Found) -> impl Iterator<Item = (&NodeId, &Series, &Vec<Option<starling_history::Cell>>)> {
    found.subjects().iter().filter_map(|(subject, folded)| {
        let Subject::Node(id) = subject else { return None };
        let (key, cells) = folded.series.iter().next()?;
        Some((id, &key.series, cells))
    })
}

fn row(is: &Beside, node: &Node, series: &Series, span: &Span) -> v1::Outlier {
    let quantile = |own: &Histogram| distribution::quantiles(series, own, &[0.99]).into_iter().next();
    let first = |(step, _): (usize, bool)| span.tick_of(u32::try_from(step).unwrap_or(u32::MAX));
    v1::Outlier {
        node_id: node.id.clone(),
        values: Some(is.own.count() as f64),
        p99: quantile(&is.own),
        peers_p99: Some(series.to_f64(is.peers_p99.into())),
        factor: Some(is.ln_factor.exp()),
        distance: Some(is.distance),
        share_beyond: Some(is.share),
        usual_share_beyond: is.usual_share,
        log10_p: Some(is.log10_p),
        odd: is.odd,
        usual: is.usual,
        since_tick: is.since.map(first),
        since_before: is.since.is_some_and(|(_, before)| before),
    }
}

/// The answer in a sentence.
fn text(found: &[Beside], few: usize, nodes: &[Node], span: &Span, to: u32) -> String {
    let new: Vec<&Beside> = found.iter().filter(|is| is.odd && !is.usual).collect();
    let Some(first) = new.first() else {
        let usual = found.iter().filter(|is| is.odd).count();
        return match (found.len(), usual) {
            (0, _) if few > 0 => {
                format!("Too few values to compare {few} nodes: {} each are wanted in a minute.", odd::VALUES_MIN)
            }
            (0 | 1, _) => "There are no two nodes to compare.".to_owned(),
            (n, 0) => format!("None of {n} nodes is odd."),
            (n, usual) => format!("Nothing is new: of {n} nodes {usual} differ as they did before."),
        };
    };
    let since = first.since.map_or(to, |(step, _)| span.tick_of(u32::try_from(step).unwrap_or_default()));
    let (id, percent) = (&nodes[first.at].id, first.share * 100.0);
    let seconds = to.saturating_sub(since) + 1;
    let others = match new.len() {
        1 => String::new(),
        n => format!(" {} more are odd.", n - 1),
    };
    format!(
        "{id} has {percent:.0} % of its values beyond the p99 of its {} peers, for {seconds} s.{others}",
        found.len() - 1
    )
}

impl OverTime {
    /// `ListOutliers`.
    ///
    /// # Errors
    /// What is wrong with the request, or the limit it exceeds.
    pub(crate) async fn outliers(&self, request: Request<v1::ListOutliersRequest>) -> Result<v1::Outliers, Status> {
        let began = Instant::now();
        let (metadata, _, request) = request.into_parts();
        let strict = request.strict;
        let asked = Asked::parse(request, self.settled()).map_err(|status| self.work.refused(status))?;
        let turn = self.work.turn("outliers", &metadata).await?;
        let read = self.read(&turn, asked.question(asked.steps()), strict).await?;
        let Read { found, missing, from_engine, known, settled } = read;
        let before = self.read(&turn, asked.question(asked.before()), strict).await?.found;
        let answer = turn.run(move |_| {
            let minute = Span::one(asked.to.saturating_sub(WINDOW - 1).max(found.span().from), asked.to);
            let completeness = found.regrouped(&minute)?.points(settled, &known).into_iter().next();
            Ok::<_, Status>(v1::Outliers { completeness, ..asked.answer(&found, &before)? })
        });
        let answer = answer.await??;
        self.metrics.history_answer.record(began.elapsed());
        Ok(v1::Outliers { missing, from_engine, answered_by: self.id.to_string(), ..answer })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use starling_history::{Cell, Coverage};
    use starling_proto::catalogue;

    use super::*;
    use crate::select::{Folded, Key};

    #[test]
    fn fields_are_checked_and_steps_end_with_the_newest_second() {
        let parse = |change: fn(&mut v1::ListOutliersRequest)| {
            let mut request = v1::ListOutliersRequest::default();
            change(&mut request);
            Asked::parse(request, 10_002)
        };
        let asked = parse(|_| {}).unwrap();
        assert_eq!(
            (asked.to, asked.steps(), asked.steps().points()),
            (10_002, Span { from: 9_825, to: 10_002, step: 5 }, 36)
        );
        assert_eq!(asked.before(), Span::one(9_103, 9_162));
        assert!(parse(|r| r.top = 300).unwrap_err().message().starts_with("top: 300"));
        assert!(parse(|r| r.to_tick = 90_000).unwrap_err().message().starts_with("to_tick: "));
        assert!(parse(|r| r.group = "x".into()).unwrap_err().message().starts_with("group: "));
        assert_eq!(parse(|r| r.to_tick = 3).unwrap().steps().from, 0, "near the beginning of time");
    }

    #[test]
    fn an_answer_has_the_values_of_the_minute_and_the_moment_it_began() {
        let asked = Asked::parse(v1::ListOutliersRequest::default(), 10_002).unwrap();
        let cell = |ms: u64, n: u64| {
            let histogram = Some(Arc::new(Histogram::of(ms * 1_000_000, n)));
            Some(Cell { seconds: 5, histogram, ..Cell::second(0.0) })
        };
        let found = |span: Span, slow_from: usize| {
            let mut found = Found::new(span, Keep::ALL);
            for n in 0..4 {
                let points = span.points() as usize;
                let steps =
                    (0..points).map(|at| cell(if n == 2 && at >= slow_from { 500 } else { 10 + n }, 100)).collect();
                let key = Key { series: Series::of(&catalogue::DURATION, &[("protocol", "grpc")]), derived: false };
                let coverage = vec![Coverage { seconds: 5, ..Coverage::second(1, 1, 0) }; points];
                let folded = Folded { coverage, series: [(key, steps)].into(), resolution: 1 };
                found.add(Subject::parse(&format!("node/web-{n}")).unwrap(), folded).unwrap();
            }
            found
        };
        let answer = asked.answer(&found(asked.steps(), 26), &found(asked.before(), 1)).unwrap();
        let first = &answer.rows[0];
        assert_eq!((first.node_id.as_str(), first.odd, first.usual, first.values()), ("web-2", true, false, 1_200.0));
        assert_eq!((first.since_tick(), first.since_before), (9_955, false));
        assert!(
            (first.p99.unwrap().value() - 0.5).abs() < 0.01 && (first.peers_p99() - 0.013).abs() < 0.001,
            "{first:?}"
        );
        assert_eq!((answer.nodes, answer.rows[1].odd, answer.unit.as_str()), (4, false, "s"));
        assert_eq!(answer.text, "web-2 has 83 % of its values beyond the p99 of its 3 peers, for 48 s.");
        let usual = asked.answer(&found(asked.steps(), 0), &found(asked.before(), 0)).unwrap();
        assert_eq!(usual.text, "Nothing is new: of 4 nodes 1 differ as they did before.");
        assert!(usual.rows[0].usual && usual.rows[0].since_before);
    }
}
