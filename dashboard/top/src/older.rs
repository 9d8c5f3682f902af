//! The shapes of the figures over hours and days: what is asked of an aggregator, and what its answers say. Pure but for [`ask`].

use std::{collections::HashMap, time::Duration};

use futures_util::future::try_join_all;
use starling_proto::{catalogue::charts, v1};
use starling_service::grpc::query_client::QueryClient;
use tokio::time::timeout;
use tonic::transport::Channel;

/// Points of a shape: as many columns as a wide terminal has for it.
const POINTS: u32 = 120;
/// An answer that takes longer is not waited for: history of days is read from disks of several aggregators.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Columns whose shapes are drawn.
pub(crate) const COLUMNS: [&str; 8] = [
    "rps.total",
    "latency.p99",
    "errors.total",
    "connections.active",
    "cpu.total",
    "memory.used_ratio",
    "network.received",
    "disk.written",
];

/// How far back shapes go: in words, and in seconds.
pub(crate) const SPANS: [(&str, u32); 4] = [("1 h", 3_600), ("6 h", 21_600), ("24 h", 86_400), ("7 d", 604_800)];

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    /// Whose: a node, or the cluster.
    pub(crate) node: Option<String>,
    /// Last second.
    pub(crate) to: u32,
    /// Seconds that end with it.
    pub(crate) span: u32,
}

/// The shapes of a range.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Older {
    pub(crate) range: Range,
    columns: HashMap<&'static str, Vec<Option<f32>>>,
}

impl Range {
    /// One question for each column.
    fn questions(&self) -> Vec<(&'static str, v1::QueryRangeRequest)> {
        let step = (self.span / POINTS).max(1);
        // Whole steps, so that no point holds a part of one.
        let to = (self.to + 1) / step * step;
        let question = |name: &'static str| {
            let (metric, chart) = charts().find(|(_, chart)| chart.name == name)?;
            let attributes = chart.attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let scope = v1::Scope { node_id: self.node.clone().unwrap_or_default(), ..Default::default() };
            Some((
                name,
                v1::QueryRangeRequest {
                    scope: Some(scope),
                    name: metric.name.to_owned(),
                    attributes: attributes.collect(),
                    total: true,
                    statistics: vec![chart.statistic.to_string()],
                    from_tick: to.saturating_sub(self.span).max(1),
                    to_tick: to.saturating_sub(1).max(1),
                    step_seconds: step,
                    max_points: POINTS + 1,
                    ..Default::default()
                },
            ))
        };
        COLUMNS.into_iter().filter_map(question).collect()
    }
}

impl Older {
    /// The shape of a column in `width` places: the highest of those that fall together.
    pub(crate) fn shape(&self, column: &str, width: usize) -> Vec<Option<f32>> {
        let Some(values) = self.columns.get(column).filter(|values| !values.is_empty()) else {
            return vec![None; width];
        };
        let place = |at: usize| at * values.len() / width.max(1);
        let highest = |values: &[Option<f32>]| values.iter().flatten().copied().reduce(f32::max);
        (0..width).map(|at| highest(&values[place(at)..place(at + 1).max(place(at) + 1)])).collect()
    }
}

#[allow(clippy::cast_possible_truncation)] // drawn
fn values(answer: &v1::RangeAnswer) -> Vec<Option<f32>> {
    let series = answer.series.first().and_then(|series| series.statistics.first());
    series.map_or_else(Vec::new, |series| {
        series.values.iter().map(|value| Some(*value as f32).filter(|value| value.is_finite())).collect()
    })
}

/// Asks an aggregator.
///
/// # Errors
/// Why there is no answer, in words.
pub(crate) async fn ask(channel: Channel, range: Range) -> Result<Older, String> {
    let answers = try_join_all(range.questions().into_iter().map(|(name, question)| {
        let mut client = QueryClient::new(channel.clone());
        async move { client.query_range(question).await.map(|answer| (name, values(answer.get_ref()))) }
    }));
    match timeout(ANSWER_WAIT, answers).await {
        Ok(Ok(columns)) => Ok(Older { range, columns: columns.into_iter().collect() }),
        Ok(Err(status)) => Err(format!("history: {}", status.message())),
        Err(_) => Err(format!("history: no answer within {} s", ANSWER_WAIT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_asked_for_in_whole_steps() {
        let range = Range { node: Some("n1".into()), to: 1_700_000_123, span: 86_400 };
        let questions = range.questions();
        assert_eq!(
            questions.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            COLUMNS,
            "all are charts of the catalogue"
        );
        let (_, latency) = &questions[1];
        assert_eq!(
            (latency.name.as_str(), latency.statistics.as_slice()),
            ("traffic.duration", ["p99".to_owned()].as_slice())
        );
        assert_eq!((latency.step_seconds, latency.to_tick, latency.from_tick), (720, 1_699_999_919, 1_699_913_520));
        assert_eq!((latency.from_tick % 720, (latency.to_tick + 1) % 720), (0, 0));
        assert_eq!(latency.scope.as_ref().unwrap().node_id, "n1");
        assert_eq!(questions[6].1.attributes["network.io.direction"], "receive");
    }

    #[test]
    fn a_peak_is_not_lost_and_what_is_missing_is_not_zero() {
        let mut values: Vec<_> = (0..120).map(|_| Some(1.0)).collect();
        values[7] = Some(9.0);
        values[60..].fill(None);
        let range = Range { node: None, to: 9, span: 3_600 };
        let older = Older { range, columns: HashMap::from([("rps.total", values)]) };
        let shape = older.shape("rps.total", 20);
        assert_eq!((shape.len(), shape[1], shape[0], shape[19]), (20, Some(9.0), Some(1.0), None));
        assert_eq!(older.shape("rps.total", 240).len(), 240);
        assert_eq!(older.shape("cpu.total", 3), [None; 3]);
        assert_eq!(older.shape("rps.total", 0), []);
    }
}
