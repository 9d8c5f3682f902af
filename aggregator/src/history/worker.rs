//! Seals, rolls up, joins and deletes: one blocking thread that does what the [`agenda`](super::agenda) says, at a share of
//! one core.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use starling_history::{Block, BlockError, Subject, Tier, roll_up};
use starling_proto::ids::NodeId;
use starling_store::{SegmentId, Subjects, TierLimit, WriteError};

use super::{
    History,
    agenda::{Backlog, Facts, HOUR, Job, Piece, Waiting},
    chores::{ChoreQueue, Shift},
    disk::{Disk, Row, row},
    pace::{self, Pace},
    record::{Recalled, RecalledSecond},
    recorder::CHANGES_FOR,
    remake::{read_all, remake},
    seal::{self, ClusterSecond, Expects},
};
use crate::{
    blocks::{BLOCK_SECONDS, Lost, OpenBlock},
    clock::{now_ms, tick_of},
    config::HistorySettings,
    ingest::IngestNode,
};

/// Between two looks at the agenda when nothing is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two times that old segments are deleted and the numbers of the store are shown.
const RETAIN_EVERY: Duration = Duration::from_secs(10);
/// Old hours wait for copies that come no longer than this: they are rolled up again when more of them come.
const WAIT_FOR_COPIES: Duration = Duration::from_secs(1_800);
/// A tier that has reached this many hundredths of its bytes takes no copies of what is older than its oldest segment: they would
/// go again at once.
const FULL_PERCENT: u64 = 90;
/// After a job that failed: a disk that is full is asked again within 10 seconds.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Worker {
    history: Arc<History>,
    settings: HistorySettings,
    expects: Arc<dyn Expects>,
    /// Seconds of the cluster from the log of the former process, until they are on the disk.
    recalled: Recalled,
    /// The revision of each second of the cluster that is on the disk.
    views: BTreeMap<u32, u32>,
    /// When each window was last written.
    written: BTreeMap<u32, u32>,
    /// The end of the newest segment of each tier that was deleted.
    deleted_up_to: [u32; 4],
    chores: ChoreQueue,
    /// Since when copies of all times come.
    copies_since: Option<Instant>,
    pace: Pace,
    stop: Arc<AtomicBool>,
}

impl Worker {
    pub(super) fn new(
        history: Arc<History>,
        (settings, expects): (HistorySettings, Arc<dyn Expects>),
        recalled: Recalled,
        chores: ChoreQueue,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let pace = Pace::new(settings.work_percent);
        let (views, written) = (BTreeMap::new(), BTreeMap::new());
        let (deleted_up_to, copies_since) = ([0; 4], None);
        Self { history, settings, expects, recalled, views, written, deleted_up_to, chores, copies_since, pace, stop }
    }

    /// Works until the stop. A job that is cut short by it is done again by the next process.
    pub(super) fn run(mut self) {
        self.keep_recalled();
        // Also when the disk took nothing: that is reported, and the live view goes on.
        self.history.recalled.send_replace(true);
        let mut retained: Option<Instant> = None;
        while !self.stops() {
            // Before it looks: what is to be done names segments, which are there until it is done.
            if retained.is_none_or(|at| at.elapsed() >= RETAIN_EVERY) {
                retained = Some(Instant::now());
                self.retain();
            }
            let (job, backlog) = self.look();
            self.show(backlog);
            match job {
                Some(job) => self.work(job, backlog),
                None => self.do_chores(),
            }
        }
    }

    /// Nothing is due: what others want done, until it is time to look again.
    fn do_chores(&mut self) {
        let Some(chore) = self.chores.next(&self.stop, LOOK_EVERY) else { return };
        let began = Instant::now();
        self.pace.begin(self.settings.work_percent);
        chore(&mut Shift { pace: &mut self.pace, stop: &self.stop });
        self.pace.pause(&self.stop);
        self.history.metrics.history_work.record(began.elapsed());
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn rest(&self, time: Duration) {
        let began = Instant::now();
        while !self.stops() && began.elapsed() < time {
            pace::sleep(Duration::from_millis(100).min(time));
        }
    }

    fn work(&mut self, job: Job<SegmentId>, backlog: Backlog) {
        let began = Instant::now();
        // What is behind by more than a window takes a whole core.
        let behind = backlog.oldest_seconds > 2 * BLOCK_SECONDS;
        self.pace.begin(if behind { 100 } else { self.settings.work_percent });
        let (what, done) = match job {
            Job::Seal(start) => ("seal", self.seal(start)),
            Job::RollUp { hour, tiers } => ("roll up", tiers.into_iter().try_for_each(|tier| self.roll_up(tier, hour))),
            Job::Join { tier, window, pieces } => ("join", self.join(tier, window, &pieces)),
        };
        self.history.metrics.history_work.record(began.elapsed());
        match done {
            Ok(()) => {}
            Err(_) if self.stops() => {}
            Err(error) => {
                self.history.metrics.history_failed(what, &error);
                self.rest(AFTER_FAILURE);
            }
        }
    }

    /// What is due.
    fn look(&mut self) -> (Option<Job<SegmentId>>, Backlog) {
        let copies_come = self.history.copying.is_restoring();
        self.copies_since = copies_come.then(|| self.copies_since.unwrap_or_else(Instant::now));
        let copies_come = self.copies_since.is_some_and(|since| since.elapsed() < WAIT_FOR_COPIES);
        self.with_facts(&self.waiting(), copies_come, |facts| facts.next())
    }

    fn with_facts<T>(
        &self,
        waiting: &BTreeMap<u32, Waiting>,
        copies_come: bool,
        tell: impl Fn(&Facts<'_, SegmentId>) -> T,
    ) -> T {
        let store = self.history.disk.store();
        let tiers = Tier::ALL.map(|tier| {
            let segments = store.segments(tier.code()).into_iter();
            segments.map(|segment| Piece { window: segment.window, id: segment.id }).collect()
        });
        let now = tick_of(now_ms());
        let kept = u32::try_from(self.settings.keep_1s.as_secs()).unwrap_or(u32::MAX);
        let gone_before = self.deleted_up_to[0].max(now.saturating_sub(kept));
        let behind = self.history.ledger.behind();
        tell(&Facts { now, waiting, gone_before, copies_come, behind, tiers: &tiers })
    }

    /// What of each window is in memory and not on the disk.
    fn waiting(&self) -> BTreeMap<u32, Waiting> {
        let mut waiting = BTreeMap::<u32, Waiting>::new();
        let now = tick_of(now_ms());
        for node in self.history.registry.holders() {
            for (start, sealed) in node.waiting(now) {
                let window = waiting.entry(start).or_default();
                *(if sealed { &mut window.sealed } else { &mut window.open }) += 1;
            }
        }
        for tick in self.changed_views() {
            waiting.entry(tick - tick % BLOCK_SECONDS).or_default().cluster = true;
        }
        for (start, window) in &mut waiting {
            window.written = self.written.get(start).copied().unwrap_or(0);
        }
        waiting
    }

    /// Settled seconds of the cluster that are not on the disk as they are now.
    fn changed_views(&self) -> impl Iterator<Item = u32> + '_ {
        let ledger = &self.history.ledger;
        let settled = ledger.published().borrow().settled;
        let changed = |(tick, revision): &(u32, u32)| self.views.get(tick) != Some(revision);
        ledger.held(settled).into_iter().filter(changed).map(|(tick, _)| tick)
    }

    /// A second of the cluster: of what the ledger has and what was recalled the one of the higher rank.
    fn cluster_second(&self, tick: u32) -> Option<ClusterSecond> {
        let view = self.history.ledger.view(tick).filter(|view| view.revision > 0);
        let recalled = self.recalled.rank(tick);
        if view.as_ref().is_none_or(|view| recalled > Some(view.rank()))
            && let Some(second) = self.recalled.second(tick)
        {
            let RecalledSecond { rank, coverage, skipped, frames_of, sums } = second;
            return Some(ClusterSecond { tick, rank, coverage, frames_of, skipped, sums });
        }
        let view = view?;
        let sums = view.sums();
        let frames_of = |group: &starling_proto::group::Group| {
            (group.clone(), sums.census(group).map_or(0, starling_ledger::rollup::Census::frames))
        };
        Some(ClusterSecond {
            tick,
            rank: view.rank(),
            coverage: view.coverage,
            frames_of: sums.groups().map(frames_of).collect(),
            skipped: view.skipped_cells,
            sums,
        })
    }

    /// Puts what the former process knew of the cluster on the disk at once: from there it is answered.
    fn keep_recalled(&mut self) {
        let windows: BTreeSet<u32> = self.recalled.ticks().map(|tick| tick - tick % BLOCK_SECONDS).collect();
        for start in windows {
            let rows = self.cluster_rows(start, tick_of(now_ms()));
            if let Err(error) = self.write(Tier::Second, start..start + BLOCK_SECONDS, rows.into_iter()) {
                self.history.metrics.history_failed("keep what was read again", &error);
                return;
            }
        }
    }

    fn cluster_rows(&self, start: u32, now: u32) -> Vec<Row> {
        let mut rows = Vec::new();
        let second = |tick| self.cluster_second(tick);
        seal::of_cluster(start, now, &*self.expects, second, |block| match block {
            Ok(block) => rows.push(row(&block)),
            Err(error) => self.history.metrics.history_failed("seal a window of the cluster", &error),
        });
        rows
    }

    fn seal(&mut self, start: u32) -> Result<(), WriteError> {
        let now = tick_of(now_ms());
        let window = start..start + BLOCK_SECONDS;
        let ledger = &self.history.ledger;
        let views: Vec<(u32, u32)> =
            window.clone().filter_map(|tick| Some((tick, ledger.revision(tick).filter(|one| *one > 0)?))).collect();
        let cluster = if self.changed_views().any(|tick| window.contains(&tick)) {
            self.cluster_rows(start, now)
        } else {
            Vec::new()
        };
        let mut taken = Vec::<(Arc<IngestNode>, usize)>::new();
        let (pace, stop, metrics) = (&mut self.pace, &self.stop, &self.history.metrics);
        let (registry, backing, disk) = (&self.history.registry, &self.history.backing, &self.history.disk);
        let due = |node: Arc<IngestNode>| {
            let open = node.due(now).into_iter().find(|open| open.start() == start)?;
            Some((node, open))
        };
        // One after the other: memory holds the seconds of one node.
        let nodes = registry.holders().into_iter().filter_map(due).map_while(|(node, open)| {
            pace.pause(stop);
            // The nodes that are left wait for the next process: their seconds are in the log.
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let sealed = (!is_on_disk(disk, &node.id, &open)).then(|| {
                let (seconds, unread) = open.seconds(Some(&**backing));
                let lost = Lost { seconds: unread as u64, first: start, last: start };
                disk.progresses(|progress| progress.lost.merge(lost));
                metrics.history_lost(lost);
                seal::of_node(&node.id, start, &seconds, now)
            });
            taken.push((node, open.len()));
            Some(sealed)
        });
        let nodes = nodes.flatten().filter_map(|sealed| {
            let failed = |error: &BlockError| metrics.history_failed("seal a window of a node", error);
            sealed.inspect_err(failed).ok().map(|block| row(&block))
        });
        match disk.store().write_segment(Tier::Second.code(), window, cluster.into_iter().chain(nodes)) {
            Ok(_) | Err(WriteError::NoBlocks) => {}
            Err(error) => return Err(error),
        }
        metrics.history_blocks.of(Tier::Second.name()).add(taken.len() as u64);
        taken.iter().for_each(|(node, seconds)| node.forget_block(start, *seconds));
        self.views.extend(views);
        let changes_from = ledger.behind().unwrap_or(now).min(now).saturating_sub(2 * CHANGES_FOR);
        self.views = self.views.split_off(&changes_from);
        self.recalled.forget_before(changes_from);
        self.written.insert(start, now);
        self.written = self.written.split_off(&now.saturating_sub(2 * HOUR));
        Ok(())
    }

    fn write(&self, tier: Tier, window: Range<u32>, rows: impl Iterator<Item = Row>) -> Result<(), WriteError> {
        match self.history.disk.store().write_segment(tier.code(), window, rows) {
            Ok(_) | Err(WriteError::NoBlocks) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes one tier of an hour from the one before it, in the place of what was made of it earlier or came as a copy: nothing
    /// of that is lost where it knows more.
    fn roll_up(&mut self, tier: Tier, hour: u32) -> Result<(), WriteError> {
        let window = hour..hour + HOUR;
        let finer = Tier::ALL[usize::from(tier.code()) - 1];
        let old = self.segments(tier, |segment| *segment == window);
        self.rewrite((finer, tier), window, &old, |blocks| Ok(vec![roll_up(blocks, tier, hour)?]))
    }

    /// Joins segments; what is too large for one block stays in several.
    fn join(&mut self, tier: Tier, window: Range<u32>, pieces: &[SegmentId]) -> Result<(), WriteError> {
        let join = |blocks: &[Block]| Ok(Block::join(blocks).map_or_else(|_| blocks.to_vec(), |joined| vec![joined]));
        self.rewrite((tier, tier), window, pieces, join)
    }

    fn rewrite(
        &mut self,
        tiers: (Tier, Tier),
        window: Range<u32>,
        old: &[SegmentId],
        make: impl Fn(&[Block]) -> Result<Vec<Block>, BlockError>,
    ) -> Result<(), WriteError> {
        let History { disk, metrics, .. } = &*self.history;
        let mut shift = Shift { pace: &mut self.pace, stop: &self.stop };
        let count = remake(disk, metrics, &mut shift, tiers, window, old, make)?;
        metrics.history_blocks.of(tiers.1.name()).add(count);
        Ok(())
    }

    /// Deletes what is older or more than is kept, and shows what there is.
    fn retain(&mut self) {
        let History { disk, ledger, metrics, registry, copying, .. } = &*self.history;
        let settled = ledger.published().borrow().settled;
        let HistorySettings { keep_1s, keep_10s, keep_1m, keep_1h, .. } = self.settings;
        let HistorySettings { max_bytes_1s, max_bytes_10s, max_bytes_1m, max_bytes_1h, .. } = self.settings;
        let limits =
            [(keep_1s, max_bytes_1s), (keep_10s, max_bytes_10s), (keep_1m, max_bytes_1m), (keep_1h, max_bytes_1h)];
        // Of these seconds coarser tiers are still to be made.
        let needed = self.with_facts(&BTreeMap::new(), false, |facts| facts.oldest_not_rolled_up());
        let of_tiers = limits.iter().zip(0u8..).map(|((seconds, bytes), tier)| {
            let needed_from = needed.filter(|_| tier == Tier::Second.code());
            let seconds = u32::try_from(seconds.as_secs()).unwrap_or(u32::MAX);
            TierLimit { tier, seconds: Some(seconds), bytes: Some(*bytes), needed_from }
        });
        let retained = disk.store().retain(settled, &of_tiers.collect::<Vec<_>>());
        metrics.history_deleted.add(retained.removed.len() as u64);
        for segment in &retained.removed {
            let end = &mut self.deleted_up_to[usize::from(segment.tier)];
            *end = segment.window.end.max(*end);
        }
        retained.failed.iter().for_each(|error| metrics.history_failed("delete a segment", error));
        let lost = registry.take_lost();
        disk.progresses(|progress| {
            progress.bytes_max = limits.map(|(_, bytes)| bytes);
            progress.lost.merge(lost);
        });
        metrics.history_lost(lost);
        let stats = disk.store().stats(settled);
        metrics.history_stats(&stats);
        let now = tick_of(now_ms());
        let kept_from = std::array::from_fn(|tier| {
            let (seconds, bytes) = limits[tier];
            let kept = now.saturating_sub(u32::try_from(seconds.as_secs()).unwrap_or(u32::MAX));
            let full = stats.tiers.get(tier).filter(|tier| tier.bytes >= bytes / 100 * FULL_PERCENT);
            let oldest = full.and_then(|tier| Some(tier.window.as_ref()?.start)).unwrap_or(0);
            kept.max(self.deleted_up_to[tier]).max(oldest)
        });
        copying.kept_from(kept_from);
    }

    fn show(&self, backlog: Backlog) {
        let History { metrics, disk, .. } = &*self.history;
        disk.progresses(|progress| progress.due = [backlog.windows, backlog.hours, backlog.joins]);
        for (work, count) in [("seal", backlog.windows), ("roll_up", backlog.hours), ("join", backlog.joins)] {
            metrics.history_backlog.of(work).set(count as f64);
        }
    }

    fn segments(&self, tier: Tier, wanted: impl Fn(&Range<u32>) -> bool) -> Vec<SegmentId> {
        let all = self.history.disk.store().segments(tier.code());
        all.into_iter().filter(|segment| wanted(&segment.window)).map(|segment| segment.id).collect()
    }
}

/// Whether all seconds of an open block are on the disk: a node that moved here brings some along of which copies are here too.
fn is_on_disk(disk: &Disk, node: &NodeId, open: &OpenBlock) -> bool {
    let window = open.start()..open.start() + BLOCK_SECONDS;
    let subject = Subject::Node(node.clone()).to_string();
    let found = disk.store().find(Tier::Second.code(), Subjects::One(&subject), window.clone()).blocks;
    let read = read_all(disk, &found).unwrap_or_default();
    let kept: BTreeSet<u32> = read.iter().flat_map(|block| block.steps().map(|(tick, _)| tick)).collect();
    window.filter(|tick| open.holds(*tick)).all(|tick| kept.contains(&tick))
}
