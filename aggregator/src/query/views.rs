//! Views of the cluster and of groups, built from the ledger once per second and revision and shared by all watchers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prost_types::Timestamp;
use starling_proto::{
    catalogue::{self, Section},
    histogram::Histogram,
    ids::NodeId,
    series::Series,
    v1,
};

use super::{
    built::Built,
    series::{self, Asked, Fold},
    services,
};

use crate::{
    clock::{age_ms, now_ms},
    fleet::ClusterFleet,
    ledger_task::LedgerHandle,
    reading::{
        Reading,
        latency::{MINUTE, MinuteCache},
    },
};
use starling_ledger::Coverage;
use starling_ledger::rollup::{BusyCore, Cell, Census, SHARE_MAX};
use starling_proto::group::Group;

/// Views kept: the whole cluster for 15 minutes, or the last seconds of some groups. The oldest go first; a
/// view is then built again when somebody asks. About 10 kB each.
const VIEWS_MAX: usize = 1_024;

/// Groups whose last minute is kept merged. Beyond it all but one are built again when asked for.
const MINUTES_MAX: usize = 64;

/// See the module.
pub(crate) struct Views {
    cluster: String,
    ledger: LedgerHandle,
    fleet: Arc<ClusterFleet>,
    built: Built<(u32, Group), v1::ClusterView>,
    /// A plain mutex: histograms are copied in and out by pointer, and merged outside of it.
    minutes: Mutex<HashMap<Group, MinuteCache>>,
}

/// Cells of one group at one second, copied out of its view.
struct Second {
    revision: u32,
    skipped_cells: u32,
    coverage: Coverage,
    /// Nodes of the whole cluster that are missing, by name.
    missing: Arc<[NodeId]>,
    /// Who is behind the group; empty without any frame of it.
    census: Census,
    cells: Vec<(Series, Cell)>,
}

impl Second {
    fn coverage_of(&self, fleet: &ClusterFleet, group: &Group, tick: u32) -> Coverage {
        fleet.coverage(group, tick, self.coverage, self.census.frames())
    }

    /// Names of those of the group that are missing.
    fn missing_of(&self, fleet: &ClusterFleet, group: &Group) -> Vec<String> {
        fleet.of_group(group, &self.missing).map(ToString::to_string).collect()
    }

    /// The busiest cores of the group in this second.
    fn busiest(&self) -> Vec<v1::CoreUtilization> {
        let core = |core: &BusyCore| v1::CoreUtilization {
            node_id: core.node.to_string(),
            core: Some(core.busy.core),
            utilization_ratio: Some(f64::from(core.busy.share) / f64::from(SHARE_MAX)),
        };
        self.census.busiest().iter().map(core).collect()
    }
}

impl Views {
    /// Of the cluster called `cluster`.
    pub(crate) fn new(cluster: String, ledger: LedgerHandle, fleet: Arc<ClusterFleet>) -> Self {
        Self { cluster, ledger, fleet, built: Built::new(VIEWS_MAX), minutes: Mutex::default() }
    }

    /// Where they are built from.
    pub(super) const fn ledger(&self) -> &LedgerHandle {
        &self.ledger
    }

    /// The view of `group` at `tick`. A second without any frame gives a view without sections.
    /// May take milliseconds for an old second: not for a runtime thread. Others wait only for the same view.
    pub(crate) fn get(&self, group: &Group, tick: u32) -> Arc<v1::ClusterView> {
        match self.ledger.revision(tick) {
            // What is built may be newer than the revision; then the next reader builds it again.
            // "The last minute" of a view is of the seconds before it too.
            Some(revision) if revision > 0 => {
                let revisions = self.ledger.revisions(tick.saturating_sub(MINUTE - 1)..=tick);
                self.built.get((tick, group.clone()), revisions, || self.build(group, tick))
            }
            _ => Arc::new(empty(self, group, tick)),
        }
    }

    fn build(&self, group: &Group, tick: u32) -> v1::ClusterView {
        let Some(second) = copy(self, group, tick, |_| true) else { return empty(self, group, tick) };
        let reading = Reading::of_cells(second.cells.iter().map(|(series, cell)| (series, cell)));
        let mut sections = reading.sections(Some(&self.last_minute(group, tick)));
        if let Some(cpu) = &mut sections.cpu {
            cpu.busiest = second.busiest();
        }
        v1::ClusterView {
            revision: second.revision,
            completeness: Some(v1::Completeness {
                skipped_cells: Some(second.skipped_cells),
                sections: Some(section_nodes(&second.census)),
                nodes_missing: second.missing_of(&self.fleet, group),
                ..completeness(&self.ledger, tick, second.coverage_of(&self.fleet, group, tick))
            }),
            sections: Some(sections),
            charted: reading.charted(false),
            ..empty(self, group, tick)
        }
    }

    /// The latencies of the 60 seconds that end with `tick`, merged.
    fn last_minute(&self, group: &Group, tick: u32) -> Histogram {
        let mut minute = self.minutes().get(group).cloned().unwrap_or_default();
        let merged =
            minute.last_minute(tick, |other| self.ledger.revision(other), |other| duration(self, group, other));
        let mut minutes = self.minutes();
        minutes.entry(group.clone()).or_default().take_in(minute, tick);
        if minutes.len() > MINUTES_MAX {
            minutes.retain(|other, _| other == group);
        }
        merged
    }

    fn minutes(&self) -> MutexGuard<'_, HashMap<Group, MinuteCache>> {
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The view as it is published at this moment. Without `histograms` those behind the latencies are left out: a person who
/// asks sees kilobytes of them otherwise.
pub(super) fn stamped(view: &v1::ClusterView, histograms: bool) -> v1::ClusterView {
    let mut view = view.clone();
    if !histograms {
        strip_histograms(&mut view.sections);
    }
    if let Some(completeness) = &mut view.completeness {
        completeness.age_ms = Some(age_ms(view.tick, now_ms()));
    }
    view
}

/// Leaves out the histograms behind the latencies.
pub(super) fn strip_histograms(sections: &mut Option<v1::Sections>) {
    let Some(traffic) = sections.as_mut().and_then(|sections| sections.traffic.as_mut()) else { return };
    let protocols = traffic.protocols.iter_mut().map(|protocol| &mut protocol.latency);
    let all = protocols.chain([&mut traffic.latency, &mut traffic.latency_last_minute]);
    for latency in all.flatten() {
        latency.histogram.clear();
    }
}

/// How much of the truth is known of `tick`, without cells that were skipped; the age is filled in when it is published.
pub(crate) fn completeness(ledger: &LedgerHandle, tick: u32, coverage: Coverage) -> v1::Completeness {
    v1::Completeness {
        nodes_reporting: Some(coverage.reporting),
        nodes_expected: Some(coverage.expected),
        tick,
        age_ms: Some(age_ms(tick, now_ms())),
        copies: ledger.copies(),
        copies_on_disk: Some(ledger.copies_on_disk()),
        skipped_cells: Some(0),
        ..v1::Completeness::default()
    }
}

/// How many of the nodes behind a view reported what.
pub(super) fn section_nodes(census: &Census) -> v1::SectionNodes {
    let count = |section| Some(census.count(section));
    v1::SectionNodes {
        cpu: count(Section::Cpu),
        memory: count(Section::Memory),
        disk: count(Section::Disk),
        filesystem: count(Section::Filesystem),
        network: count(Section::Network),
        connections: count(Section::Connections),
        traffic: count(Section::Traffic),
        latency: count(Section::Latency),
    }
}

/// A second as a timestamp.
pub(crate) fn timestamp(tick: u32) -> Timestamp {
    Timestamp { seconds: tick.into(), nanos: 0 }
}

fn empty(views: &Views, group: &Group, tick: u32) -> v1::ClusterView {
    let (coverage, missing) =
        views.ledger.view(tick).map(|view| (view.coverage, Arc::clone(&view.missing))).unwrap_or_default();
    v1::ClusterView {
        tick,
        time: Some(timestamp(tick)),
        cluster: views.cluster.clone(),
        group: group.name().to_owned(),
        completeness: Some(v1::Completeness {
            nodes_missing: views.fleet.of_group(group, &missing).map(ToString::to_string).collect(),
            ..completeness(&views.ledger, tick, coverage)
        }),
        ..v1::ClusterView::default()
    }
}

fn copy(views: &Views, group: &Group, tick: u32, wanted: impl Fn(&Series) -> bool) -> Option<Second> {
    let view = views.ledger.view(tick).filter(|view| view.revision > 0)?;
    let sums = view.sums();
    Some(Second {
        revision: view.revision,
        skipped_cells: view.skipped_cells,
        coverage: view.coverage,
        missing: Arc::clone(&view.missing),
        census: sums.census(group).cloned().unwrap_or_default(),
        cells: sums
            .cells(group)
            .filter(|(series, _)| wanted(series))
            .map(|(series, cell)| (series.clone(), cell.clone()))
            .collect(),
    })
}

/// The series asked for of `group`, without who answers: a list of its newest second, or points over seconds.
/// Takes milliseconds for each old second: not for a runtime thread.
pub(super) fn series(views: &Views, group: &Group, asked: &Asked) -> v1::SeriesAnswer {
    let read = |tick| copy(views, group, tick, |series| asked.needs(series.name()));
    if asked.name.is_empty() {
        let second = read(asked.to);
        let cells = second.iter().flat_map(|second| &second.cells).map(|(series, cell)| (series, cell));
        series::list(&Reading::of_cells(cells), asked)
    } else {
        let mut fold = Fold::new(asked);
        for tick in asked.from..=asked.to {
            let second = read(tick);
            let coverage = match &second {
                Some(second) => second.coverage_of(&views.fleet, group, tick),
                None => views.ledger.view(tick).map(|view| view.coverage).unwrap_or_default(),
            };
            let cells = second.as_ref().map(|second| second.cells.iter().map(|(series, cell)| (series, cell)));
            let reading = cells.map(Reading::of_cells);
            let skipped_cells = second.as_ref().map_or(0, |second| second.skipped_cells);
            fold.take(tick, coverage, skipped_cells, reading.as_ref());
        }
        fold.finish()
    }
}

/// Services and routes of `group`, without who answers. Takes milliseconds for each old second: not for a runtime
/// thread.
pub(super) fn services(views: &Views, group: &Group, asked: &services::Asked) -> v1::ServiceList {
    let mut fold = services::Fold::new(asked);
    let mut skipped_cells = 0;
    for tick in asked.from..=asked.to {
        let Some(second) = copy(views, group, tick, services::is_needed) else { continue };
        skipped_cells = skipped_cells.max(second.skipped_cells);
        fold.take(&second.cells);
    }
    let of_last = empty(views, group, asked.to).completeness.map(|last| {
        let coverage = copy(views, group, asked.to, |_| false)
            .map(|second| second.coverage_of(&views.fleet, group, asked.to))
            .unwrap_or_default();
        v1::Completeness {
            nodes_missing: last.nodes_missing,
            skipped_cells: Some(skipped_cells),
            ..completeness(&views.ledger, asked.to, coverage)
        }
    });
    v1::ServiceList { completeness: of_last, ..fold.finish() }
}

fn duration(views: &Views, group: &Group, tick: u32) -> Option<Arc<Histogram>> {
    let second = copy(views, group, tick, |series| series.is(&catalogue::DURATION))?;
    let reading = Reading::of_cells(second.cells.iter().map(|(series, cell)| (series, cell)));
    Some(Arc::new(reading.duration()))
}

#[cfg(test)]
mod tests {
    use starling_ledger::{
        Action, DecodedRun, Event, Ledger, LedgerConfig, LedgerLimits, Offered, Outgoing, rollup::Cores,
    };
    use starling_proto::{
        frame::Columns,
        ids::{NodeId, StreamId, WriterId},
        interner::Interner,
        series::{Sample, Value},
    };
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::{clock::tick_of, ingest::Registry, ledger_task::tests::task_limited, metrics::Metrics};

    fn views(ledger: LedgerHandle) -> Views {
        let metrics = Metrics::of_a_test();
        let registry = Arc::new(Registry::new(Vec::new(), 10, 10, metrics.clone()));
        let fleet = Arc::new(ClusterFleet::new(ledger.writer(), NodeId::parse("solo").unwrap(), registry, metrics));
        Views::new("test".into(), ledger, fleet)
    }

    /// What another aggregator sends to `peer` after one frame with these samples.
    fn entries_of(author: WriterId, peer: WriterId, tick: u32, samples: &[Sample]) -> Vec<v1::Entries> {
        let interner = Arc::new(Interner::default());
        let (columns, _) = Columns::of_samples(&interner, samples.iter());
        let mut ledger = Ledger::new(author, LedgerConfig::default(), interner);
        let now = u64::from(tick) * 1000 + 10;
        let (node, stream) = (NodeId::parse("web-1").unwrap(), StreamId::random());
        ledger.handle(now, Event::Open { key: 1, node, stream });
        let Some(Action::Opened { result: Ok(stream), .. }) = ledger.next_action() else { panic!("not opened") };
        let offered = Offered { stream, tick, pin: Some(author), groups: [].into(), columns, cores: Cores::default() };
        for event in [
            Event::Offer(offered),
            Event::PeerOpened(peer),
            Event::Room { peer, bytes: 1 << 20 },
            Event::Flush,
            Event::Tick,
        ] {
            ledger.handle(now, event);
        }
        let sent = std::iter::from_fn(|| ledger.next_action()).find_map(|action| match action {
            Action::Send { message: Outgoing::Entries(runs), .. } => Some(runs),
            _ => None,
        });
        sent.expect("its entries are sent")
    }

    #[tokio::test]
    async fn values_without_room_are_counted_in_the_view() {
        let (tasks, state) = (TaskTracker::new(), tempfile::tempdir().unwrap());
        let small = LedgerLimits { series: 1, ..LedgerLimits::default() };
        let ledger = task_limited(&tasks, &state, small).await;
        let requests = |protocol| Series::of(&catalogue::REQUESTS, &[("protocol", protocol)]);
        let samples =
            ["grpc", "http1", "http2"].map(|protocol| Sample { series: requests(protocol), value: Value::Counter(1) });
        let (author, tick) = (WriterId::random(), tick_of(now_ms()));
        let mut published = ledger.published();
        for run in entries_of(author, ledger.writer(), tick, &samples) {
            ledger.entries(author, DecodedRun::decode(&run).unwrap()).await.unwrap();
        }
        published.wait_for(|_| ledger.revision(tick) > Some(0)).await.unwrap();

        let views = views(ledger);
        let view = views.get(&Group::cluster(), tick);
        let completeness = view.completeness.clone().unwrap();
        assert_eq!((completeness.nodes_reporting(), completeness.skipped_cells()), (1, 2));
        let request = v1::GetSeriesRequest { name: "traffic.requests".into(), ..Default::default() };
        let points = series(&views, &Group::cluster(), &Asked::parse(&request, tick, tick).unwrap()).points;
        assert_eq!(points.iter().map(|point| (point.tick, point.skipped_cells())).collect::<Vec<_>>(), [(tick, 2)]);
        let traffic = view.sections.as_ref().unwrap().traffic.as_ref().unwrap();
        assert_eq!(traffic.requests_per_second, Some(1.0), "one of three series has room");
    }

    #[tokio::test]
    async fn a_late_frame_changes_the_last_minute_of_the_seconds_after_it() {
        let (tasks, state) = (TaskTracker::new(), tempfile::tempdir().unwrap());
        let ledger = task_limited(&tasks, &state, LedgerLimits::default()).await;
        let sample = Sample {
            series: Series::of(&catalogue::DURATION, &[("protocol", "grpc")]),
            value: Value::Histogram(Arc::new(Histogram::of(1_000_000, 3))),
        };
        let tick = tick_of(now_ms()) - 1;
        let mut published = ledger.published();
        let views = views(ledger.clone());
        let last_minute = || {
            let sections = views.get(&Group::cluster(), tick).sections.clone().unwrap();
            sections.traffic.unwrap().latency_last_minute.unwrap().count
        };
        for (late, seen) in [(0, 3.0), (30, 6.0)] {
            let author = WriterId::random();
            for run in entries_of(author, ledger.writer(), tick - late, std::slice::from_ref(&sample)) {
                ledger.entries(author, DecodedRun::decode(&run).unwrap()).await.unwrap();
            }
            published.wait_for(|_| ledger.revision(tick - late) > Some(0)).await.unwrap();
            assert_eq!(last_minute(), seen);
        }
    }
}
