//! From a question to what the engine knows of each subject.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::PoisonError,
    time::Instant,
};

use futures_util::future::join_all;
use serde::Deserialize;
use starling_history::{Cell, Coverage, Selection, SeriesCells, Subject, Tier};
use starling_promql::names::{self, NODE};
use starling_proto::catalogue::{Kind, OverNodes, find};

use super::{
    Engine,
    answer::{self, Buckets, LabelSet, OneSeries, Points},
    cells::{self, KnownSteps, Reached, Sampling, Seen},
    expression::{self, Condition},
    spelled::{self, Called, Meant, NodeLabels, Owners, Reader},
    windows::{Window, windows},
};
use crate::select::{Key, Part};

/// Names that are asked for at once; an engine may have more that are alike.
const NAMES_MAX: usize = 16;

/// What is asked of the engine.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Whose series.
    pub(crate) owners: Owners,
    /// What they are called.
    pub(crate) called: Called,
    /// Which of them.
    pub(crate) selection: Selection,
    /// How coarse the steps may be; a tier's.
    pub(crate) grain: u32,
    /// First second.
    pub(crate) from: u32,
    /// First second after the last.
    pub(crate) end: u32,
    /// The series of that name that are held here.
    pub(crate) held: Vec<Key>,
    /// Labels of the nodes.
    pub(crate) nodes: NodeLabels,
}

/// What the engine answered.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    /// What it knows.
    pub(crate) parts: BTreeMap<Subject, Part>,
    /// What it did not say, and why: first second, last second, in words that name it.
    pub(crate) missing: Option<(u32, u32, String)>,
}

/// One request of a question.
struct Request<'a> {
    meant: &'a Meant,
    window: Window,
    kind: Kind,
}

/// What was answered to it, by label set.
#[derive(Default)]
struct Given {
    /// Statistics.
    numbers: BTreeMap<LabelSet, BTreeMap<u32, Seen>>,
    /// Histograms.
    histograms: BTreeMap<LabelSet, Reached>,
    warning: answer::Warning,
}

impl Given {
    fn take_numbers(&mut self, (series, warning): (Vec<OneSeries>, answer::Warning), tier: Tier) {
        self.warning = self.warning.take().or(warning);
        for OneSeries { labels, statistic, points } in series {
            if let (Some(statistic), Points::Numbers(points)) = (statistic, points) {
                cells::note(self.numbers.entry(labels).or_default(), statistic, &points, tier);
            }
        }
    }

    fn take_histograms(
        &mut self,
        (series, warning): (Vec<OneSeries>, answer::Warning),
        tier: Tier,
        of: fn(&mut Reached) -> &mut BTreeMap<u32, Buckets>,
    ) {
        self.warning = self.warning.take().or(warning);
        for OneSeries { labels, points, .. } in series {
            if let Points::Histograms(points) = points {
                let by_step = points.into_iter().filter(|(moment, _)| *moment >= tier.seconds());
                let by_step = by_step.map(|(moment, buckets)| (moment - tier.seconds(), buckets));
                of(self.histograms.entry(labels).or_default()).extend(by_step);
            }
        }
    }

    /// First and last of the steps of which the engine is to say what came in them.
    fn lacking(&self, window: Window) -> Option<(u32, u32)> {
        let of = |(labels, reached): (&LabelSet, &Reached)| {
            let counts = self.numbers.get(labels)?;
            Some(cells::lacking(counts, &reached.at_end, window.tier))
        };
        let mut steps: Vec<u32> = self.histograms.iter().filter_map(of).flatten().collect();
        steps.retain(|step| *step >= window.from);
        Some((*steps.iter().min()?, *steps.iter().max()?))
    }
}

impl Engine {
    /// Asks for all of `asked` until `until`; what does not come is named in the answer.
    pub(crate) async fn read(&self, asked: &Asked, until: Instant) -> Answered {
        let windows = windows((asked.from, asked.end), asked.grain, self.interval);
        let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Answered::default() };
        let range = (first.from.max(asked.from), last.end - 1);
        let meant = match self.meant(asked, until).await {
            Ok(meant) => meant,
            Err(reason) => return self.nothing(range, &reason),
        };
        let requests: Vec<Request<'_>> = meant
            .iter()
            .flat_map(|meant| windows.iter().map(move |window| (meant, *window)))
            .flat_map(|(meant, window)| {
                // Whether it is a gauge or a histogram is seen by what there is.
                let kinds = meant.kind.map_or(vec![Kind::Gauge, Kind::Histogram], |kind| vec![kind]);
                kinds.into_iter().map(move |kind| Request { meant, window, kind })
            })
            .collect();
        let answers = join_all(requests.iter().map(|request| self.ask(asked, request, until))).await;
        let mut answered = Answered::default();
        let mut gathered = Gathered::default();
        let reader =
            Reader { owners: &asked.owners, selection: &asked.selection, nodes: &asked.nodes, added: &self.added };
        // A name that may be either: what has histograms is one, whatever else is said of it.
        let of_histograms: BTreeSet<(String, LabelSet)> = requests
            .iter()
            .zip(&answers)
            .filter_map(|(request, given)| Some((request, given.as_ref().ok()?)))
            .flat_map(|(request, given)| {
                given.histograms.keys().map(|labels| (request.meant.spelled.clone(), labels.clone()))
            })
            .collect();
        for (request, given) in requests.iter().zip(answers) {
            let given = given.map(|mut given| {
                if request.meant.kind.is_none() && request.kind == Kind::Gauge {
                    let is_one =
                        |labels: &LabelSet| of_histograms.contains(&(request.meant.spelled.clone(), labels.clone()));
                    given.numbers.retain(|labels, _| !is_one(labels));
                }
                given
            });
            let window = request.window;
            let lost = match given {
                Ok(given) => {
                    let warning = given.warning.clone();
                    gathered.take(request, given, &reader, self.interval, asked.selection.histograms);
                    // Its own sources did not all answer.
                    warning.map(|warning| format!("says: {warning}"))
                }
                Err(reason) => Some(reason),
            };
            if let Some(reason) = lost {
                answered.miss((window.from.max(asked.from), window.end - 1), &self.name, &reason);
            }
        }
        let histograms = meant.iter().any(|meant| meant.kind == Some(Kind::Histogram));
        answered.parts = gathered.into_parts();
        if histograms && answered.missing.is_none() && answered.parts.is_empty() && !self.keeps_histograms(until).await
        {
            let name = &meant[0].spelled;
            let reason = format!(
                "keeps no native histograms (VictoriaMetrics): nothing is known of {name} of that time, its percentiles neither"
            );
            answered.miss(range, &self.name, &reason);
        }
        answered
    }

    fn nothing(&self, range: (u32, u32), reason: &str) -> Answered {
        let mut answered = Answered::default();
        answered.miss(range, &self.name, reason);
        answered
    }

    /// What the series that are asked for may be.
    async fn meant(&self, asked: &Asked, until: Instant) -> Result<Vec<Meant>, String> {
        let known = spelled::meant(&asked.called, &asked.held);
        let (Called::Ours(name), true) = (&asked.called, known.is_empty()) else { return Ok(known) };
        let prefix = asked.owners.prefix();
        let like =
            Condition { label: starling_promql::NAME.into(), operator: "=~", value: spelled::pattern(name, prefix) };
        let mut conditions = self.conditions(asked);
        conditions.push(like);
        let fields = [
            ("match[]", expression::selector("", &conditions)),
            ("start", asked.from.to_string()),
            ("end", asked.end.to_string()),
        ];
        let body = self.get("/api/v1/label/__name__/values", &fields, until).await?;
        let found = answer::texts(&body).inspect_err(|error| self.unreadable(error))?;
        let mut meant = spelled::among(&found, name, prefix);
        meant.truncate(NAMES_MAX);
        Ok(meant)
    }

    fn conditions(&self, asked: &Asked) -> Vec<Condition> {
        let is = |label: &str, value: &str| Condition {
            label: names::label_name(label),
            operator: "=",
            value: value.to_owned(),
        };
        let mut all: Vec<Condition> = self.matchers.iter().map(|(label, value)| is(label, value)).collect();
        match &asked.owners {
            Owners::One(Subject::Cluster) => {}
            Owners::One(Subject::Node(node)) => all.push(is(NODE, node.as_str())),
            Owners::One(Subject::Group(group)) => all.extend(group.label().map(|(key, value)| is(key, value))),
            Owners::Nodes(label) => {
                all.push(Condition { label: NODE.into(), operator: "!=", value: String::new() });
                all.extend(label.as_ref().map(|(key, value)| is(key, value)));
            }
        }
        all
    }

    async fn ask(&self, asked: &Asked, request: &Request<'_>, until: Instant) -> Result<Given, String> {
        let Request { meant, window, kind } = request;
        let attributes = spelled::conditions(meant, &asked.selection);
        let mut conditions = self.conditions(asked);
        conditions.extend(attributes.into_iter().map(|(label, value)| Condition { label, operator: "=", value }));
        let selector = expression::selector(&format!("{}{}", asked.owners.prefix(), meant.spelled), &conditions);
        let length = window.tier.seconds();
        // What had been reached before the first step is asked for too, except of gauges.
        let first = if *kind == Kind::Gauge { window.from + length } else { window.from };
        let read = async |query: String, (start, end): (u32, u32)| {
            let fields = [
                ("query", query),
                ("start", start.to_string()),
                ("end", end.to_string()),
                ("step", length.to_string()),
                // VictoriaMetrics: moments as they are asked for.
                ("nocache", "1".to_owned()),
            ];
            let body = self.post("/api/v1/query_range", &fields, until).await?;
            let read = tokio::task::spawn_blocking(move || answer::matrix(&body)).await;
            let read = read.map_err(|error| format!("answered what was not read: {error}"))?;
            read.inspect_err(|error| self.unreadable(error))
        };
        let mut given = Given::default();
        let range = (first, window.end);
        given.take_numbers(read(expression::statistics(&selector, *kind, window.tier), range).await?, window.tier);
        if *kind == Kind::Histogram && !given.numbers.is_empty() {
            let reached = read(expression::histograms(&selector), range).await?;
            given.take_histograms(reached, window.tier, |reached| &mut reached.at_end);
            if let Some((from, to)) = given.lacking(*window) {
                let increases = expression::increases(&selector, window.tier);
                let within = read(increases, (from + length, to + length)).await?;
                given.take_histograms(within, window.tier, |reached| &mut reached.within);
            }
        }
        Ok(given)
    }

    /// Whether it keeps native histograms. VictoriaMetrics does not, and says less of its build than all others.
    async fn keeps_histograms(&self, until: Instant) -> bool {
        let known = *self.keeps_histograms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known {
            return known;
        }
        let Ok(body) = self.get("/api/v1/status/buildinfo", &[], until).await else { return true };
        let keeps = says_its_revision(&body);
        *self.keeps_histograms.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeps);
        keeps
    }
}

fn says_its_revision(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Build {
        data: BTreeMap<String, serde_json::Value>,
    }
    serde_json::from_slice::<Build>(body).is_ok_and(|build| build.data.contains_key("revision"))
}

impl Answered {
    fn miss(&mut self, (from, to): (u32, u32), name: &str, reason: &str) {
        match &mut self.missing {
            Some((first, last, _)) => (*first, *last) = ((*first).min(from), (*last).max(to)),
            none => *none = Some((from, to, format!("the engine {name} {reason}"))),
        }
    }
}

/// Steps of all series that were answered.
#[derive(Default)]
struct Gathered {
    /// By subject, series and tier.
    known: BTreeMap<(Subject, Key, Tier), KnownSteps>,
}

impl Gathered {
    fn take(&mut self, request: &Request<'_>, given: Given, reader: &Reader<'_>, interval: u32, histograms: bool) {
        let Request { meant, window, kind } = request;
        let Given { numbers, histograms: mut reached, .. } = given;
        for (labels, seen) in numbers {
            let of_histograms = reached.remove(&labels);
            let Some((subject, key)) = reader.series(meant, *kind, &labels) else { continue };
            let scale = meant.scale.unwrap_or(key.series.scale());
            let sampling = Sampling { tier: window.tier, interval, scale: meant.scale };
            let known = match kind {
                Kind::Gauge => cells::gauge(&seen, sampling),
                Kind::Counter => cells::counter(&seen, sampling, window.from),
                Kind::Histogram => match of_histograms {
                    Some(reached) => cells::histogram(&seen, &reached, sampling, (window.from, scale)),
                    None => continue,
                },
            };
            let all = self.known.entry((subject, key, window.tier)).or_default();
            for (start, mut step) in known {
                if !histograms {
                    step.cell.histogram = None;
                }
                // Two label sets of one series, such as two replicas: of each step the one that knows more.
                match all.entry(start) {
                    Entry::Vacant(free) => drop(free.insert(step)),
                    Entry::Occupied(mut held) if held.get().seconds < step.seconds => drop(held.insert(step)),
                    Entry::Occupied(_) => {}
                }
            }
        }
    }

    fn into_parts(self) -> BTreeMap<Subject, Part> {
        let mut parts: BTreeMap<Subject, Part> = BTreeMap::new();
        for ((subject, key, tier), steps) in self.known {
            let part = parts.entry(subject.clone()).or_default();
            // Of what is merged the number of nodes is not known.
            let merged = subject.is_merged();
            let nodes = u32::from(!merged);
            let mean = names_a_mean(&key);
            let mut cells = Vec::with_capacity(steps.len());
            for (start, step) in steps {
                let coverage =
                    Coverage { seconds: step.seconds, nodes_reporting: nodes, nodes_expected: nodes, dropped: 0 };
                let held = part.coverage.entry((start, tier)).or_insert(coverage);
                held.seconds = held.seconds.max(step.seconds);
                let nodes = if merged && !mean { 0 } else { step.cell.seconds.into() };
                cells.push((start, Cell { nodes, ..step.cell }));
            }
            part.series.push(SeriesCells { subject, series: key.series, derived: key.derived, tier, cells });
        }
        parts
    }
}

/// Whether the series is read as a mean over nodes, which the engine's value already is: as of one node, then.
fn names_a_mean(key: &Key) -> bool {
    !key.derived && find(key.series.name()).is_some_and(|metric| metric.over_nodes == OverNodes::Mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_told_apart_by_what_they_say_of_their_build() {
        assert!(says_its_revision(br#"{"status":"success","data":{"version":"2.42.0","revision":"x"}}"#));
        for other in [&br#"{"status":"success","data":{}}"#[..], br#"{"status":"success","data":{"version":"2.24.0"}}"#]
        {
            assert!(!says_its_revision(other));
        }
    }
}
