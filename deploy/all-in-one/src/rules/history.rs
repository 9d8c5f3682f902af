//! What rules read of history, asked of an aggregator.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::try_join_all;
use starling_alerts::{
    Rule, Scope, Subject,
    backtest::{Columns, Plan, Steps, Wanted},
    query,
};
use starling_proto::{limits::PEER_MESSAGE_BYTES_MAX, v1};
use starling_service::grpc::query_client::QueryClient;
use tonic::{Code, Request, Status, transport::Channel};

/// How long an aggregator may take for one answer.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// Points of one answer, as `QueryRange` limits them.
const POINTS_MAX: u32 = 11_000;
/// Rows of one page of nodes.
const PAGE: u32 = 1_000;
/// Groups that are judged of a rule; sets of attributes of one subject, as live.
const SETS_MAX: usize = 256;

/// One series of an answer over the whole range.
type Read = (v1::RangeSeries, Vec<Vec<f64>>);

/// Whose values, by the name of the node and the set of attributes.
type Own = (String, Vec<String>);

/// An aggregator that is asked.
#[derive(Clone)]
pub(super) struct History {
    client: QueryClient<Channel>,
}

/// What was read for a rule.
pub(super) struct Found {
    /// The steps, the same for all.
    pub(super) steps: Steps,
    /// Seconds of them that hold data.
    pub(super) seconds: u64,
    /// Each subject with each of its sets of attributes.
    pub(super) columns: Vec<(Subject, Columns)>,
    /// What is incomplete, for people.
    pub(super) notes: Vec<String>,
}

/// The answer for one series of a plan.
#[derive(Default)]
struct Answer {
    points: Vec<v1::RangePoint>,
    series: Vec<Read>,
    resolution: u32,
    notes: Vec<String>,
}

fn failed(status: &Status) -> String {
    format!("the aggregator answers: {}", status.message())
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_WAIT);
    request
}

impl History {
    /// Asks the one at the other end.
    pub(super) fn of(channel: Channel) -> Self {
        Self { client: QueryClient::new(channel).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX) }
    }

    /// The newest settled second.
    pub(super) async fn newest(&self) -> Result<u32, String> {
        let view = self.client.clone().get_cluster(within(v1::GetClusterRequest::default())).await;
        let tick = view.map_err(|status| failed(&status))?.into_inner().tick;
        if tick == 0 { Err("the aggregator has no settled second yet".to_owned()) } else { Ok(tick) }
    }

    /// What `plan` reads of `from..=to`; of one subject only when `only` is one. The plan is changed to longer steps when
    /// history has no shorter ones.
    pub(super) async fn read(
        &self,
        plan: &mut Plan,
        (from, to): (u32, u32),
        only: Option<&Subject>,
    ) -> Result<Found, String> {
        if plan.rule().every.is_some() {
            return self.answers(plan, (from, to)).await;
        }
        loop {
            let step = plan.step;
            // Whole steps.
            let range = (from / step * step, ((to + 1) / step * step).max(from / step * step + step) - 1);
            let scopes = self.scopes(plan.rule(), only).await?;
            let mut found: Option<Found> = None;
            let mut resolution = step;
            for scope in &scopes {
                let read = plan.wanted.iter().map(|wanted| self.wanted(plan, wanted, scope, range));
                let answers = match try_join_all(read).await {
                    Ok(answers) => answers,
                    // A label that makes no group.
                    Err(status) if status.code() == Code::NotFound && scopes.len() > 1 => continue,
                    Err(status) => return Err(failed(&status)),
                };
                resolution = answers.iter().map(|one| one.resolution).fold(resolution, u32::max);
                let columns = columns(plan, scope, &answers)?;
                let Some(first) = answers.into_iter().next() else { continue };
                match &mut found {
                    Some(found) => found.columns.extend(columns),
                    none => *none = Some(of_first(first, columns)),
                }
            }
            if resolution > step {
                plan.judge_by(resolution);
                continue;
            }
            return found.ok_or_else(|| "no group of nodes is known".to_owned());
        }
    }

    /// What the query of a rule answers in each step.
    async fn answers(&self, plan: &Plan, (from, to): (u32, u32)) -> Result<Found, String> {
        let step = plan.step;
        let ticks: Vec<u32> = (from.next_multiple_of(step)..=to).step_by(step as usize).collect();
        let mut sets: BTreeMap<Vec<(String, String)>, Vec<f64>> = BTreeMap::new();
        let mut notes: Vec<String> = Vec::new();
        for part in ticks.chunks(POINTS_MAX as usize) {
            let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
            let ms = |tick: u32| i64::from(tick) * 1_000;
            let request = v1::QueryPromqlRequest {
                query: plan.rule().text.clone(),
                start_ms: ms(*first),
                end_ms: ms(*last),
                step_ms: ms(step),
                ..v1::QueryPromqlRequest::default()
            };
            let answer = self.client.clone().query_promql(within(request)).await;
            let answer = answer.map_err(|status| failed(&status))?.into_inner();
            notes.extend(answer.warnings);
            notes.extend(answer.infos);
            for series in &answer.series {
                let column = sets.entry(query::labels(series)?).or_insert_with(|| vec![f64::NAN; ticks.len()]);
                for (time, value) in series.times_ms.iter().zip(&series.values) {
                    let place = ticks.partition_point(|tick| ms(*tick) < *time);
                    if let Some(slot) = column.get_mut(place).filter(|_| value.is_finite()) {
                        *slot = *value;
                    }
                }
            }
        }
        notes.sort();
        notes.dedup();
        if sets.len() > SETS_MAX {
            notes.push(format!("{} sets of labels, of which the first {SETS_MAX} are judged", sets.len()));
        }
        let columns = sets
            .into_iter()
            .take(SETS_MAX)
            .map(|(attributes, values)| (Subject::Cluster, Columns { attributes, values: vec![vec![values]] }));
        let count = ticks.len();
        Ok(Found {
            steps: Steps { ticks, seconds: vec![step; count], coverage: vec![(1, 1); count] },
            seconds: count as u64 * u64::from(step),
            columns: columns.collect(),
            notes,
        })
    }

    /// Whose series are read for the subjects of a rule.
    async fn scopes(&self, rule: &Rule, only: Option<&Subject>) -> Result<Vec<v1::Scope>, String> {
        let scope = |group: &str, node_id: &str, each_node| v1::Scope {
            group: group.to_owned(),
            node_id: node_id.to_owned(),
            each_node,
        };
        Ok(match (only, rule.scope) {
            (Some(subject), wanted) if subject.scope() != wanted => {
                return Err(format!("{subject} is no {}, which the rule judges", wanted.as_str()));
            }
            (Some(Subject::Node(node)), _) => vec![scope("", node.as_str(), false)],
            (Some(Subject::Group(group)), _) => vec![scope(group.name(), "", false)],
            (_, Scope::Cluster) => vec![scope("", "", false)],
            (None, Scope::Node) => vec![scope("", "", true)],
            (_, Scope::Group | Scope::Node) => {
                self.labels().await?.iter().map(|group| scope(group, "", false)).collect()
            }
        })
    }

    /// The labels of all nodes, as groups are called.
    async fn labels(&self) -> Result<Vec<String>, String> {
        let (mut all, mut token) = (BTreeMap::new(), String::new());
        loop {
            let request =
                v1::ListNodesRequest { page_size: PAGE, page_token: token, ..v1::ListNodesRequest::default() };
            let page = self.client.clone().list_nodes(within(request)).await;
            let page = page.map_err(|status| failed(&status))?.into_inner();
            for (key, value) in page.nodes.into_iter().flat_map(|node| node.labels) {
                all.insert(format!("{key}:{value}"), ());
            }
            token = page.next_page_token;
            if token.is_empty() || all.len() > SETS_MAX {
                return Ok(all.into_keys().take(SETS_MAX).collect());
            }
        }
    }

    /// One series of a plan over the whole range; of a rule with `by` each of its series.
    async fn wanted(
        &self,
        plan: &Plan,
        wanted: &Wanted,
        scope: &v1::Scope,
        range: (u32, u32),
    ) -> Result<Answer, Status> {
        let by = &plan.rule().by;
        let mut answer = self.series(plan.step, wanted, &wanted.attributes, scope, range, by.is_empty()).await?;
        // What several series of one set come to is for the aggregator to say: it knows how they merge.
        let mut sets: BTreeMap<Own, usize> = BTreeMap::new();
        for (series, _) in &answer.series {
            *sets.entry((series.node_id.clone(), set_of(series, by).unwrap_or_default())).or_default() += 1;
        }
        let mut several: Vec<Vec<String>> =
            sets.into_iter().filter(|(_, count)| *count > 1).map(|((_, set), _)| set).collect();
        several.dedup();
        several.retain(|set| !set.is_empty());
        several.truncate(SETS_MAX);
        for set in several {
            answer.series.retain(|(series, _)| set_of(series, by).as_ref() != Some(&set));
            let own = by.iter().cloned().zip(set);
            let attributes: Vec<_> = wanted.attributes.iter().cloned().chain(own).collect();
            answer.series.extend(self.series(plan.step, wanted, &attributes, scope, range, true).await?.series);
        }
        Ok(answer)
    }

    /// The series that have `attributes`, in as many questions as the limits want.
    async fn series(
        &self,
        step: u32,
        wanted: &Wanted,
        attributes: &[(String, String)],
        scope: &v1::Scope,
        (from, to): (u32, u32),
        total: bool,
    ) -> Result<Answer, Status> {
        let mut answer = Answer::default();
        let mut places: BTreeMap<(String, Vec<(String, String)>), usize> = BTreeMap::new();
        let (mut at, mut points) = (from, POINTS_MAX);
        while at <= to {
            let last = at.saturating_add((points * step).saturating_sub(1)).min(to);
            let request = v1::QueryRangeRequest {
                scope: Some(scope.clone()),
                name: wanted.name.clone(),
                attributes: attributes.iter().cloned().collect(),
                total,
                statistics: wanted.statistics.clone(),
                from_tick: at,
                to_tick: last,
                step_seconds: step,
                max_points: POINTS_MAX,
                ..v1::QueryRangeRequest::default()
            };
            let part = self.client.clone().query_range(within(request)).await?.into_inner();
            let left_out = part.left_out.unwrap_or(0);
            let listed = u32::try_from(part.series.len()).unwrap_or(u32::MAX);
            if left_out > 0 && points > 1 && listed < 1_000 {
                // Fewer steps at once leave room for more series.
                points = (points.min((last - at) / step + 1) * listed / (listed + left_out)).clamp(1, points - 1);
                continue;
            }
            if left_out > 0 && at == from {
                answer.notes.push(format!("{left_out} series of {} are beyond the limits and not judged", wanted.name));
            }
            answer.notes.extend(
                part.missing
                    .iter()
                    .map(|one| format!("incomplete from {} to {}: {}", one.from_tick, one.to_tick, one.reason)),
            );
            answer.resolution = answer.resolution.max(part.resolution_seconds);
            let before = answer.points.len();
            answer.points.extend(part.points);
            for mut series in part.series {
                let mut attributes: Vec<_> = series.attributes.clone().into_iter().collect();
                attributes.sort_unstable();
                let place = *places.entry((series.node_id.clone(), attributes)).or_insert_with(|| {
                    answer.series.push((v1::RangeSeries::default(), vec![Vec::new(); wanted.statistics.len()]));
                    answer.series.len() - 1
                });
                let statistics = std::mem::take(&mut series.statistics);
                let (about, columns) = &mut answer.series[place];
                *about = series;
                for (column, values) in columns.iter_mut().zip(statistics) {
                    // It may not have been there before.
                    column.resize(before, f64::NAN);
                    column.extend(values.values);
                }
            }
            at = last + 1;
        }
        let count = answer.points.len();
        answer.series.iter_mut().flat_map(|(_, columns)| columns).for_each(|column| column.resize(count, f64::NAN));
        Ok(answer)
    }
}

/// The values of the attributes `by`; `None` when it lacks one.
fn set_of(series: &v1::RangeSeries, by: &[String]) -> Option<Vec<String>> {
    by.iter().map(|key| series.attributes.get(key).cloned()).collect()
}

fn of_first(first: Answer, columns: Vec<(Subject, Columns)>) -> Found {
    let points = first.points;
    let mut notes = first.notes;
    notes.dedup();
    Found {
        seconds: points.iter().map(|point| u64::from(point.seconds.unwrap_or(0))).sum(),
        steps: Steps {
            ticks: points.iter().map(|point| point.tick).collect(),
            seconds: points.iter().map(|point| point.seconds_expected.unwrap_or(1)).collect(),
            coverage: points
                .iter()
                .map(|point| (point.nodes_reporting.unwrap_or(0), point.nodes_expected.unwrap_or(0)))
                .collect(),
        },
        columns,
        notes,
    }
}

/// What was read by subject and set of attributes.
fn columns(plan: &Plan, scope: &v1::Scope, answers: &[Answer]) -> Result<Vec<(Subject, Columns)>, String> {
    let by = &plan.rule().by;
    let points = answers.first().map_or(0, |answer| answer.points.len());
    let nothing = || plan.wanted.iter().map(|one| vec![vec![f64::NAN; points]; one.statistics.len()]).collect();
    let mut all: BTreeMap<Own, Vec<Vec<Vec<f64>>>> = BTreeMap::new();
    for (place, answer) in answers.iter().enumerate() {
        for (series, columns) in &answer.series {
            let Some(set) = set_of(series, by) else { continue };
            all.entry((series.node_id.clone(), set)).or_insert_with(nothing)[place].clone_from(columns);
        }
    }
    let subject = |node: &str| match (scope.node_id.as_str(), scope.group.as_str()) {
        ("", "") if node.is_empty() => Ok(Subject::Cluster),
        ("", "") => Subject::of(Scope::Node, node),
        ("", group) => Subject::of(Scope::Group, group),
        (node, _) => Subject::of(Scope::Node, node),
    };
    let named = all.into_iter().map(|((node, set), values)| {
        let attributes = by.iter().cloned().zip(set).collect();
        Ok((subject(&node)?, Columns { attributes, values }))
    });
    named.collect::<Result<Vec<_>, String>>().map_err(|name| format!("the aggregator sent a node called {name:?}"))
}
