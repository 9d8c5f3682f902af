//! `QueryPromql` and `ListPromqlSeries`: what a query needs is found as for every other question, and evaluated.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use starling_history::{Matcher, Subject};
use starling_promql::{
    Answer, EvalError, Failure, LabelMatcher, Labels, OfStep, Options, Query, Range, SampleValue, Select, SeriesValues,
    Value, names,
};
use starling_proto::{catalogue, group::Group, ids::NodeId, v1};
use tonic::{Code, Request, Status};

use super::{
    OverTime,
    asked::{Wanted, Whose},
    found::{Found, Keep},
    question::Question,
    samples::{self, Bases, DAY},
    statistic::RangeStatistic,
    work::Turn,
};
use crate::{
    alerts::Asks,
    select::{Span, Stop},
};

/// How old a sample may be: what did not report for so long has ended.
const LOOKBACK_MS: i64 = 10_000;
/// How a warning begins that says what could not be read.
const INCOMPLETE: &str = "incomplete: ";
/// Steps of one series that are read; beyond it samples are taken of longer steps.
const STEPS_MAX: u32 = 11_000;
/// Seconds of a step, shortest first.
const STEPS: [u32; 9] = [1, 10, 30, 60, 300, 600, 1_800, 3_600, 86_400];
/// Selectors of one list of series.
const SELECTORS_MAX: usize = 16;
/// Series of one list.
const LISTED_MAX: usize = 10_000;
/// Series of one answer.
const ANSWERED_MAX: usize = 10_000;
/// Numbers of one answer: 5 MB of the 8 MB that a message may have.
const POINTS_MAX: usize = 300_000;

/// What was read for one selector.
struct Selected {
    found: Vec<(Found, Bases)>,
    /// Seconds between samples, as they were read.
    step: u32,
}

/// What goes with an answer.
#[derive(Debug, Default)]
struct Notes {
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
}

impl Notes {
    fn missing(&mut self, part: &v1::MissingPart) {
        let v1::MissingPart { nodes, from_tick, to_tick, reason, .. } = part;
        self.warnings.insert(format!("{INCOMPLETE}{nodes} nodes from {from_tick} to {to_tick}: {reason}"));
    }
}

#[tonic::async_trait]
impl Asks for OverTime {
    async fn ask(
        &self,
        query: &str,
        tick: u32,
        within: Duration,
    ) -> Result<(v1::PromqlAnswer, Option<String>), String> {
        let at = i64::from(tick) * 1_000;
        let asked = v1::QueryPromqlRequest { query: query.to_owned(), start_ms: at, end_ms: at, ..Default::default() };
        let mut request = Request::new(asked);
        request.set_timeout(within);
        let answer = self.query_promql(request).await.map_err(|status| status.message().to_owned())?;
        let missing = answer.warnings.iter().find(|one| one.starts_with(INCOMPLETE)).cloned();
        Ok((answer, missing))
    }
}

impl OverTime {
    /// `QueryPromql`.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with "bad_data: ", `FAILED_PRECONDITION` or `RESOURCE_EXHAUSTED` with "execution: ", each with the
    /// place in the query.
    pub(crate) async fn query_promql(
        &self,
        request: Request<v1::QueryPromqlRequest>,
    ) -> Result<v1::PromqlAnswer, Status> {
        let began = Instant::now();
        let (metadata, _, request) = request.into_parts();
        let bad = |text: String| self.work.refused(Status::invalid_argument(format!("bad_data: {text}")));
        let query = Query::parse(&request.query).map_err(|error| bad(error.to_string()))?;
        let answered_by = self.id.to_string();
        if request.check_only {
            let text = Query::format(&request.query).map_err(|error| bad(error.to_string()))?;
            return Ok(v1::PromqlAnswer { text, answered_by, ..Default::default() });
        }
        let range = Range { start_ms: request.start_ms, end_ms: request.end_ms, step_ms: request.step_ms };
        range.check().map_err(bad)?;
        let mut options = Options { lookback_ms: LOOKBACK_MS, ..Options::default() };
        if request.lookback_ms > 0 {
            options.lookback_ms = request.lookback_ms.min(300_000);
        }
        let turn = self.work.turn("promql", &metadata).await?;
        let mut notes = Notes::default();
        let (mut read, mut coarsest) = (Vec::new(), 1);
        let selects = query.selects(&range, &options);
        for select in &selects {
            let selected = self.selected(&turn, select, range, request.strict, &mut notes).await?;
            coarsest = coarsest.max(selected.step);
            read.push(selected);
        }
        let lookback_ms = options.lookback_ms.max(2_000 * i64::from(coarsest));
        let limits = options.limits;
        let nodes = self.holders.fleet().labels();
        let evaluated = turn.run(move |stop: &Stop| {
            let data: Vec<_> = read
                .into_iter()
                .zip(&selects)
                .map(|(selected, select)| {
                    let of = |(found, bases): (Found, Bases)| samples::samples(found, &bases, &select.matchers, &nodes);
                    selected.found.into_iter().flat_map(of).collect()
                })
                .collect();
            let cancelled = || stop.is_due();
            let options = Options { lookback_ms, limits, cancelled: Some(&cancelled), subquery_step_ms: 1_000 };
            query.evaluate(&range, &data, &options)
        });
        let answer = evaluated.await?.map_err(|error| self.refusal(&error))?;
        let answer = written(answer, notes)?;
        self.metrics.history_answer.record(began.elapsed());
        Ok(v1::PromqlAnswer { answered_by, ..answer })
    }

    fn refusal(&self, error: &EvalError) -> Status {
        match error.failure {
            Failure::BadData => self.work.refused(Status::invalid_argument(format!("bad_data: {error}"))),
            Failure::Execution => Status::failed_precondition(format!("execution: {error}")),
            Failure::Limit => Status::resource_exhausted(format!("execution: {error}")),
            Failure::Cancelled => Status::deadline_exceeded(format!("execution: {error}, its time was over")),
        }
    }

    /// Finds what `select` asks for: every second where that fits, else in the shortest steps that do.
    async fn selected(
        &self,
        turn: &Turn,
        select: &Select,
        range: Range,
        strict: bool,
        notes: &mut Notes,
    ) -> Result<Selected, Status> {
        let settled = self.settled();
        let tick = |ms: i64| u32::try_from(ms.div_euclid(1_000).clamp(1, i64::from(u32::MAX))).unwrap_or(1);
        // Samples after the left edge up to the right one.
        let (from, to) = (tick(select.after_ms + 1_000), tick(select.to_ms).min(settled));
        let mut selected = Selected { found: Vec::new(), step: 1 };
        if from > to {
            return Ok(selected);
        }
        let window = u32::try_from(select.hint.range_ms / 1_000).unwrap_or(u32::MAX);
        let newest_only = select.hint.range_ms == 0;
        // Of these only the newest sample of each step of the query is looked at.
        let of_query = if newest_only { u32::try_from(range.step_ms / 1_000).unwrap_or(u32::MAX).max(1) } else { 1 };
        let name = Name::of(&select.matchers);
        let of_gauge = match select.hint.of_step {
            OfStep::Last => RangeStatistic::Last,
            OfStep::Mean => RangeStatistic::Mean,
            OfStep::Min => RangeStatistic::Min,
            OfStep::Max => RangeStatistic::Max,
        };
        for whose in self.whose(&select.matchers) {
            let mut steps = steps(of_query, to - from).into_iter();
            let mut step = steps.next().unwrap_or(DAY);
            let found = loop {
                if !newest_only && step > 1 && window < 2 * step {
                    return Err(too_narrow(step));
                }
                let read_to = if to < settled { read_to(from, to, step) } else { to };
                let question = Question {
                    keep: Keep { samples: Some(of_gauge), ..Keep::ALL },
                    ..question(whose.clone(), &name, (from, read_to), step)?
                };
                match self.read(turn, question, strict).await {
                    // Too much in such short steps.
                    Err(status) if status.code() == Code::ResourceExhausted => match steps.next() {
                        Some(longer) => step = longer,
                        None => return Err(status),
                    },
                    Err(status) if status.code() == Code::NotFound => break None,
                    Err(status) => return Err(status),
                    Ok(read) => break Some(read),
                }
            };
            let Some(read) = found else { continue };
            read.missing.iter().for_each(|part| notes.missing(part));
            notes.infos.extend(read.from_engine.as_ref().map(|from| {
                let v1::FromEngine { engine, from_tick, to_tick, resolution_seconds } = from;
                format!(
                    "from {from_tick} to {to_tick} read from the engine {engine}, in steps of {resolution_seconds} s"
                )
            }));
            let resolution = step.max(read.found.resolution());
            if !newest_only && resolution > 1 && window < 2 * resolution {
                return Err(too_narrow(resolution));
            }
            if resolution > of_query {
                notes.infos.insert(format!("samples of this range are {resolution} s apart"));
            }
            selected.step = selected.step.max(resolution);
            let mut bases = Bases::default();
            let first = samples::midnight(from);
            if from > first && !select.hint.growth_only && samples::has_sums(&read.found) {
                // Whole cells, however coarse, and then the seconds up to the first sample: one that is read beyond it
                // would count twice.
                let whole = read_to(first, from - 1, DAY);
                for (span, step) in [((first, whole), DAY), ((whole + 1, from - 1), 1)] {
                    if span.0 > span.1 {
                        continue;
                    }
                    match self.read(turn, question(whose.clone(), &name, span, step)?, false).await {
                        Err(status) if status.code() == Code::NotFound => {}
                        read => bases.add(&read?.found),
                    }
                }
            }
            selected.found.push((read.found, bases));
        }
        Ok(selected)
    }

    /// Whose series the conditions can hold for.
    fn whose(&self, matchers: &[LabelMatcher]) -> Vec<Whose> {
        let mut all = Vec::new();
        for kind in names::whose(matchers) {
            match kind {
                names::Whose::Cluster => all.push(Whose::Subject(Subject::Cluster)),
                names::Whose::Groups => {
                    all.extend(self.holders.fleet().groups().into_iter().map(|group| Whose::Subject(group.into())));
                }
                names::Whose::Nodes => match names::node_of(matchers).filter(|node| !node.is_empty()) {
                    // What is no name of a node has no series.
                    Some(node) => all.extend(NodeId::parse(node).ok().map(|node| Whose::Subject(Subject::Node(node)))),
                    None => all.push(Whose::EachNode(Group::cluster())),
                },
            }
        }
        all
    }

    /// `ListPromqlSeries`.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a selector that is none.
    pub(crate) async fn list_promql_series(
        &self,
        request: Request<v1::ListPromqlSeriesRequest>,
    ) -> Result<v1::PromqlSeriesList, Status> {
        let (metadata, _, request) = request.into_parts();
        let bad = |text: String| self.work.refused(Status::invalid_argument(format!("bad_data: {text}")));
        if request.selectors.len() > SELECTORS_MAX {
            return Err(bad(format!("{} selectors, at most {SELECTORS_MAX} are taken", request.selectors.len())));
        }
        let parse = |text: &String| Query::selector(text).map_err(|error| bad(error.to_string()));
        let mut selectors = request.selectors.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        if selectors.is_empty() {
            selectors.push(Vec::new());
        }
        let settled = self.settled();
        let tick = |ms: i64| u32::try_from(ms.div_euclid(1_000).clamp(1, i64::from(u32::MAX))).unwrap_or(1);
        let to = if request.end_ms == 0 { settled } else { tick(request.end_ms).min(settled) };
        let from = if request.start_ms == 0 { to.saturating_sub(3_599) } else { tick(request.start_ms) };
        if from > to {
            return Ok(v1::PromqlSeriesList::default());
        }
        let turn = self.work.turn("promql_series", &metadata).await?;
        let (nodes, mut notes) = (self.holders.fleet().labels(), Notes::default());
        let mut listed: BTreeMap<Labels, v1::PromqlSeriesEntry> = BTreeMap::new();
        for matchers in &selectors {
            let name = Name::of(matchers);
            for whose in self.whose(matchers) {
                let span = (from, to);
                let question = question(whose, &name, span, to - from + 1)?;
                let read = match self.read(&turn, question, false).await {
                    Err(status) if status.code() == Code::NotFound => continue,
                    read => read?,
                };
                read.missing.iter().for_each(|part| notes.missing(part));
                for (subject, folded) in read.found.subjects() {
                    for key in folded.series.keys() {
                        let labels = samples::labels(subject, key, &nodes);
                        if samples::matches(matchers, &labels) {
                            let series = &key.series;
                            let entry = v1::PromqlSeriesEntry {
                                labels: map(&labels),
                                kind: series.kind().as_str().to_owned(),
                                unit: series.unit().to_owned(),
                                help: catalogue::find(series.name()).map_or("", |metric| metric.help).to_owned(),
                            };
                            listed.insert(labels, entry);
                        }
                    }
                }
            }
        }
        let limit = if request.limit == 0 { LISTED_MAX } else { (request.limit as usize).min(LISTED_MAX) };
        let cut = listed.len() > limit;
        let series = listed.into_values().take(limit).collect();
        Ok(v1::PromqlSeriesList { series, cut, warnings: notes.warnings.into_iter().collect() })
    }
}

/// The name that a selector asks for, when it gives one, and of which nodes.
struct Name {
    /// For names in Starling's spelling.
    pattern: Option<String>,
    /// As it is given, without what it is merged over.
    spelled: Option<String>,
    /// What the names of nodes must match.
    nodes: Vec<Matcher>,
}

impl Name {
    fn of(matchers: &[LabelMatcher]) -> Self {
        let spelled = names::name_of(matchers).map(|name| names::merged_over(name).1.to_owned());
        let of_node = matchers.iter().filter(|matcher| matcher.label == names::NODE);
        let nodes = of_node.map(|matcher| matcher.condition.clone()).collect();
        Self { pattern: names::pattern(matchers), spelled, nodes }
    }
}

fn question(whose: Whose, name: &Name, (from, to): (u32, u32), step: u32) -> Result<Question, Status> {
    Ok(Question {
        whose,
        wanted: Wanted::named_like(name.pattern.as_deref(), name.spelled.as_deref())?.of_nodes(name.nodes.clone()),
        span: Span { from, to, step },
        total: false,
        histograms: true,
        keep: Keep::ALL,
    })
}

fn map(labels: &Labels) -> HashMap<String, String> {
    labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Seconds between samples that are tried, shortest first: at most [`STEPS_MAX`] of them in `seconds`.
fn steps(of_query: u32, seconds: u32) -> Vec<u32> {
    let mut steps: Vec<u32> = STEPS.into_iter().chain([of_query]).filter(|step| seconds / step < STEPS_MAX).collect();
    steps.sort_unstable();
    steps.dedup();
    steps
}

/// The last second up to `to` that can be read without what comes after it: where cells of several seconds are read, one that
/// reaches beyond it would put a value of later under the time of the last sample.
fn read_to(from: u32, to: u32, step: u32) -> u32 {
    let grain = Span { from, to, step }.grain();
    let after = (to + 1) - (to + 1) % grain;
    if after > from { after - 1 } else { to }
}

fn too_narrow(step: u32) -> Status {
    Status::resource_exhausted(format!(
        "execution: samples of this range are {step} s apart: the window must be at least {} s, or ask for fewer series or a shorter or newer range",
        2 * step
    ))
}

/// The answer as a message.
fn written(answer: Answer, notes: Notes) -> Result<v1::PromqlAnswer, Status> {
    let (result_type, series, text) = match answer.value {
        Value::Scalar(time, value) => {
            let series = v1::PromqlSeries { times_ms: vec![time], values: vec![value], ..Default::default() };
            ("scalar", vec![series], String::new())
        }
        Value::Text(time, text) => {
            ("string", vec![v1::PromqlSeries { times_ms: vec![time], ..Default::default() }], text)
        }
        Value::Vector(series) => ("vector", all_series(series)?, String::new()),
        Value::Matrix(series) => ("matrix", all_series(series)?, String::new()),
    };
    Ok(v1::PromqlAnswer {
        result_type: result_type.to_owned(),
        series,
        text,
        warnings: answer.warnings.into_iter().chain(notes.warnings).collect(),
        infos: answer.infos.into_iter().chain(notes.infos).collect(),
        answered_by: String::new(),
    })
}

fn all_series(series: Vec<SeriesValues>) -> Result<Vec<v1::PromqlSeries>, Status> {
    let weight = |value: &SampleValue| match value {
        SampleValue::Float(_) => 1,
        SampleValue::Histogram(histogram) => usize::try_from(2 * histogram.weight()).unwrap_or(usize::MAX),
    };
    let points: usize = series.iter().flat_map(|one| &one.points).map(|(_, value)| weight(value)).sum();
    if points > POINTS_MAX || series.len() > ANSWERED_MAX {
        return Err(Status::resource_exhausted(format!(
            "execution: the answer has {} series and {points} numbers, at most {ANSWERED_MAX} and {POINTS_MAX} are sent; take a longer step or aggregate",
            series.len()
        )));
    }
    Ok(series.into_iter().map(one_series).collect())
}

fn one_series(series: SeriesValues) -> v1::PromqlSeries {
    let mut out = v1::PromqlSeries { labels: map(&series.labels), ..Default::default() };
    for (time, value) in series.points {
        match value {
            SampleValue::Float(value) => {
                out.times_ms.push(time);
                out.values.push(value);
            }
            SampleValue::Histogram(histogram) => out.histograms.push(v1::PromqlHistogram {
                time_ms: time,
                count: histogram.count(),
                sum: histogram.sum(),
                uppers: histogram.buckets().map(|bucket| bucket.upper).collect(),
                lowers: histogram.buckets().map(|bucket| bucket.lower).collect(),
                counts: histogram.buckets().map(|bucket| bucket.count).collect(),
            }),
        }
    }
    out
}
