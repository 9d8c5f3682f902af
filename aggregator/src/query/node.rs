//! Answers about single nodes, from the frames this aggregator holds.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};
use starling_ledger::Coverage;
use starling_proto::{catalogue, frame::Second, limits::LIVE_WINDOW, v1};
use tonic::Status;

use super::{
    Holders, OpenStream, Streams, forward, off_thread,
    series::{self, Asked, Fold},
    views::{strip_histograms, timestamp},
};
use crate::{
    clock::{age_ms, now_ms, tick_of},
    ingest::{IngestNode, Shown},
    ledger_task::Published,
    reading::{
        Amount, Entry, Reading,
        latency::{MINUTE, RollingMinute},
    },
};

/// The first detail of a node comes after half a second; a busy host is given time.
const DETAIL_WITHIN: Duration = Duration::from_millis(2_500);
/// What comes so long after it is due is old.
const DETAIL_LATE: Duration = Duration::from_secs(2);
/// What a node that reads seldom showed is shown for so long.
const DETAIL_EVERY_MAX: Duration = Duration::from_secs(30);
/// Seconds decoded at once when a stream starts in the past: about 10 ms of work.
const REPLAY_CHUNK: u32 = 60;

/// The newest second of a node with all its series; `None` before its first frame.
pub(super) fn newest(holders: &Holders, node: &IngestNode, histograms: bool) -> Option<v1::NodeView> {
    let latest = node.latest()?;
    let tick = latest.second.tick;
    let mut minute = RollingMinute::default();
    for before in node.slice(tick.saturating_sub(MINUTE - 1), tick.saturating_sub(1)).seconds() {
        minute.push(before.tick, Arc::new(Reading::of_node_shown(&before).duration()));
    }
    let mut view = view(holders, node, &latest.second, &mut minute, histograms);
    view.series = Reading::of_node(&latest.second).entries().iter().map(series_value).collect();
    // They come by name: 15 minutes before one.
    view.series.sort_by_cached_key(|series| catalogue::place(&series.name));
    Some(view)
}

/// What the node reads now because somebody looks: waits for it, which takes a second when nobody did.
///
/// # Errors
/// `FAILED_PRECONDITION` for a node without a host, `UNAVAILABLE` for one without a stream, `DEADLINE_EXCEEDED` for one that
/// shows nothing.
pub(super) async fn detail(node: &IngestNode) -> Result<v1::NodeDetail, Status> {
    let (id, about) = (&node.id, node.about());
    if about.simulated {
        return Err(Status::failed_precondition(format!("{id} is simulated: it has no processes of its own")));
    }
    let none = || Status::unavailable(format!("{id} has no stream now: nothing can be read of it"));
    let mut shown = node.look().ok_or_else(none)?;
    let asked = Instant::now();
    let is_fresh = |shown: &Shown| {
        shown.as_ref().is_some_and(|(came, read)| {
            let every = Duration::from_secs(read.every_seconds.into());
            *came + every.min(DETAIL_EVERY_MAX) + DETAIL_LATE > asked
        })
    };
    let fresh = tokio::time::timeout(DETAIL_WITHIN, shown.wait_for(is_fresh)).await;
    match fresh {
        Ok(Ok(shown)) => Ok(shown.as_ref().map(|(_, read)| v1::NodeDetail::clone(read)).unwrap_or_default()),
        Ok(Err(_)) => Err(none()),
        Err(_) => Err(Status::deadline_exceeded(format!(
            "{id} showed nothing within {} s: its daemon (version {}) cannot, or its host is too busy; see its log",
            DETAIL_WITHIN.as_secs_f64(),
            about.facts.version,
        ))),
    }
}

/// The series asked for of a node, without who answers: a list of its newest second, or points over seconds.
/// Decodes what it reads: not for a runtime thread.
pub(super) fn series(node: &IngestNode, asked: &Asked) -> v1::SeriesAnswer {
    let from = if asked.name.is_empty() { asked.to } else { asked.from };
    let seconds = node.slice(from, asked.to).seconds();
    if asked.name.is_empty() {
        seconds.last().map(|second| series::list(&Reading::of_node(second), asked)).unwrap_or_default()
    } else {
        let mut fold = Fold::new(asked);
        let mut seconds = seconds.iter().peekable();
        for tick in asked.from..=asked.to {
            let second = seconds.next_if(|second| second.tick == tick);
            let reading = second.map(|second| Reading::of_wanted(second, |name| asked.needs(name)));
            let coverage = Coverage { reporting: u32::from(reading.is_some()), expected: 1 };
            fold.take(tick, coverage, 0, reading.as_ref());
        }
        fold.finish()
    }
}

/// One second of a node. `minute` must have seen the seconds before it, in order.
fn view(
    holders: &Holders,
    node: &IngestNode,
    second: &Second,
    minute: &mut RollingMinute,
    histograms: bool,
) -> v1::NodeView {
    let reading = Reading::of_node_shown(second);
    let merged = minute.push(second.tick, Arc::new(reading.duration()));
    let mut sections = Some(reading.sections(Some(&merged)));
    if !histograms {
        strip_histograms(&mut sections);
    }
    v1::NodeView {
        tick: second.tick,
        time: Some(timestamp(second.tick)),
        row: holders.fleet().row_of(node),
        facts: Some(node.about().facts.clone()),
        completeness: Some(v1::Completeness {
            nodes_reporting: Some(1),
            nodes_expected: Some(1),
            tick: second.tick,
            age_ms: Some(age_ms(second.tick, now_ms())),
            copies: holders.ledger().copies(),
            copies_on_disk: Some(holders.ledger().copies_on_disk()),
            skipped_cells: Some(0),
            ..v1::Completeness::default()
        }),
        sections,
        charted: reading.charted(true),
        core_utilization_ratios: reading.cores(),
        series: Vec::new(),
        uptime_seconds: reading.value(&catalogue::UPTIME, &[]),
    }
}

fn series_value(entry: &Entry<'_>) -> v1::SeriesValue {
    let series = entry.series;
    let (value, histogram) = match entry.amount {
        Amount::Counter(number) | Amount::Gauge { sum: number, .. } => (Some(series.to_f64(number)), None),
        Amount::Histogram(histogram) => {
            let value = |number: u64| series.to_f64(number.into());
            let mut summary = v1::HistogramSummary {
                count: Some(histogram.count() as f64),
                sum: Some(series.to_f64(i128::try_from(histogram.sum()).unwrap_or(i128::MAX))),
                ..v1::HistogramSummary::default()
            };
            if !histogram.is_empty() {
                let quantiles = histogram.quantiles(&[0.5, 0.99]);
                summary.p50 = Some(value(quantiles[0]));
                summary.p99 = Some(value(quantiles[1]));
                summary.max = Some(value(histogram.max()));
            }
            (None, Some(summary))
        }
    };
    v1::SeriesValue {
        name: series.name().to_owned(),
        attributes: series.attributes().iter().map(|(key, value)| format!("{key}={value}")).collect(),
        kind: series.kind().as_str().to_owned(),
        unit: series.unit().to_owned(),
        value,
        histogram,
    }
}

/// One reader of a node's seconds.
struct Cursor {
    holders: Arc<Holders>,
    node: Arc<IngestNode>,
    ticks: tokio::sync::watch::Receiver<u32>,
    published: tokio::sync::watch::Receiver<Published>,
    /// Next second to send.
    next: u32,
    /// Decoded and not sent yet: at most one chunk.
    ready: VecDeque<v1::NodeView>,
    minute: RollingMinute,
    /// The minute before the first second was read.
    primed: bool,
    /// The last word was sent.
    ended: bool,
    /// The histograms behind the latencies are wanted too.
    histograms: bool,
    open: OpenStream,
}

/// The seconds of a node from the one asked for on (0: from its newest one), oldest first, then as they come. Seconds that come
/// later than a newer one are left out. A start in the future begins with the next second. Ends with `UNAVAILABLE`
/// when another aggregator holds the node, naming it.
pub(super) fn watch(
    holders: Arc<Holders>,
    streams: &Streams,
    node: Arc<IngestNode>,
    asked: &v1::WatchNodeRequest,
) -> impl Stream<Item = Result<v1::NodeView, Status>> + use<> {
    let from = asked.from_tick;
    let ticks = node.ticks();
    let newest = *ticks.borrow();
    let oldest = tick_of(now_ms()).saturating_sub(LIVE_WINDOW);
    let next = if from == 0 { newest } else { from.min(newest.saturating_add(1)) }.max(oldest);
    let open = streams.open();
    let published = holders.ledger().published();
    let cursor = Cursor {
        holders,
        node,
        ticks,
        published,
        next,
        ready: VecDeque::new(),
        minute: RollingMinute::default(),
        primed: false,
        ended: false,
        histograms: asked.include_histograms,
        open,
    };
    stream::unfold(cursor, |mut cursor| async move {
        let item = cursor.next().await?;
        Some((item, cursor))
    })
}

impl Cursor {
    async fn next(&mut self) -> Option<Result<v1::NodeView, Status>> {
        loop {
            if let Some(view) = self.ready.pop_front() {
                return Some(Ok(view));
            }
            if self.ended {
                return None;
            }
            let newest = *self.ticks.borrow_and_update();
            if self.next <= newest {
                if let Err(status) = self.read(newest).await {
                    return Some(Err(status));
                }
                continue;
            }
            tokio::select! {
                biased;
                () = self.open.stop.cancelled() => return None,
                changed = self.ticks.changed() => if changed.is_err() { return None },
                changed = self.published.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                    if let Some(status) = self.elsewhere() {
                        self.ended = true;
                        return Some(Err(status));
                    }
                }
            }
        }
    }

    /// Why nothing more will come from here; `None` while it may.
    fn elsewhere(&self) -> Option<Status> {
        let id = &self.node.id;
        if !self.holders.registry().get(id).is_some_and(|node| Arc::ptr_eq(&node, &self.node)) {
            return Some(Status::unavailable(format!("node {id} was silent for 15 minutes and is forgotten here")));
        }
        let member = forward::holder(&self.holders, id, false).ok()??;
        Some(Status::unavailable(format!("node {id} moved to aggregator {} at {}", member.id, member.grpc)))
    }

    /// Reads the next chunk of seconds.
    async fn read(&mut self, newest: u32) -> Result<(), Status> {
        let to = newest.min(self.next.saturating_add(REPLAY_CHUNK - 1));
        let first = if self.primed { self.next } else { self.next.saturating_sub(MINUTE - 1) };
        let (holders, node, next, histograms) = (self.holders.clone(), self.node.clone(), self.next, self.histograms);
        let mut minute = std::mem::take(&mut self.minute);
        let (minute, ready) = off_thread(move || {
            let mut ready = VecDeque::new();
            let newest = node.latest().filter(|latest| first == to && latest.second.tick == to);
            let seconds = match newest {
                // Following live: nothing to read.
                Some(latest) => vec![latest.second.clone()],
                None => node.slice(first, to).seconds(),
            };
            for second in &seconds {
                if second.tick < next {
                    minute.push(second.tick, Arc::new(Reading::of_node_shown(second).duration()));
                } else {
                    ready.push_back(view(&holders, &node, second, &mut minute, histograms));
                }
            }
            (minute, ready)
        })
        .await?;
        (self.minute, self.ready, self.primed, self.next) = (minute, ready, true, to + 1);
        Ok(())
    }
}
