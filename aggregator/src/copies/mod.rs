//! Copies of the history of nodes: the owner of a node and the aggregator that is ranked second for it have the same blocks.
//!
//! Each aggregator looks itself for what it lacks: it asks the others which blocks they have, fetches those of the nodes for which
//! it is ranked first or second, and writes them as they came. So a copy follows its owner within seconds, what a disk lost
//! comes back, and the history of a node goes where the node goes; nobody has to know who had what before.
//!
//! - [`rounds`]: when what is looked through, pure; [`plan`]: what is lacking and of whom it is asked, pure; [`verdict`]: whether
//!   what came is what was asked for and adds something, pure;
//! - [`ask`]: the questions to others; [`shelf`]: what is here, read and written on the thread of the history, within its
//!   budget;
//! - [`status`]: how far it is;
//! - [`taking_over`]: the last 15 minutes in memory of a node that moved here.

mod ask;
mod plan;
mod rounds;
mod shelf;
#[cfg(test)]
mod simulation;
mod status;
mod taking_over;
mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use starling_history::Tier;
use starling_proto::ids::{NodeId, WriterId};
use tokio_util::sync::CancellationToken;

use self::{
    ask::{AskError, Has},
    plan::{Errand, HOLDERS, PassedOver},
    rounds::{Owners, Round, Rounds},
    shelf::{Lacking, Shelf},
};
pub(crate) use self::{
    status::{CopyStatus, Status},
    taking_over::TakingOver,
};
use crate::{
    clock::{now_ms, tick_of},
    config::HistorySettings,
    history::{Chores, Copying, Disk, Shift, listing::span_of},
    membership::{Member, Membership, MembershipView, State},
    metrics::Metrics,
    peer::{Channels, WANTED_MAX},
};

/// Between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What is looked through every few seconds: what was sealed while a member restarted, and longer than frames may be late.
const RECENT_SECONDS: u32 = 2 * 3_600;
/// Blocks in one errand: with what is held of each a request stays below what a message may have.
const ERRAND_BLOCKS: usize = 256;
const _: () = assert!(ERRAND_BLOCKS <= WANTED_MAX);
/// Bytes of one errand, held in memory until it is written, and at most what the rate allows in this time.
const ERRAND_BYTES: u64 = 16 << 20;
/// See [`ERRAND_BYTES`].
const ERRAND_SECONDS: u64 = 4;

/// See the module.
pub(crate) struct Copies {
    membership: Membership,
    chores: Chores,
    copying: Arc<Copying>,
    metrics: Arc<Metrics>,
    shelf: Shelf,
    channels: Channels,
    /// Bytes a second.
    rate: u64,
    started: Instant,
    rounds: Rounds,
    /// Of each process, up to which of its segments the newest hours were looked through.
    seen: BTreeMap<WriterId, u32>,
    passed_over: PassedOver,
    status: Status,
}

/// Says that copies of all times come, as long as it is held.
struct Restoring(Arc<Copying>);

impl Restoring {
    fn begin(copying: &Arc<Copying>) -> Self {
        copying.restores(true);
        Self(copying.clone())
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        self.0.restores(false);
    }
}

/// What one list of the others, or several, came to.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    /// Somebody did not answer, or what was lacking is lacking still.
    undone: bool,
    blocks: u64,
    bytes: u64,
}

impl Copies {
    /// Of what is on `disk`, within `settings`.
    pub(crate) fn new(
        membership: Membership,
        disk: Arc<Disk>,
        (chores, copying): (Chores, Arc<Copying>),
        metrics: Arc<Metrics>,
        settings: &HistorySettings,
        status: Status,
    ) -> Self {
        let channels = Channels::new(membership.security().clone());
        Self {
            membership,
            chores,
            copying,
            shelf: Shelf::new(disk, metrics.clone()),
            metrics,
            channels,
            rate: settings.copy_bytes_per_sec,
            started: Instant::now(),
            rounds: Rounds::new(settings.restore_after),
            seen: BTreeMap::new(),
            passed_over: PassedOver::default(),
            status,
        }
    }

    /// Looks for copies until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled_owned(async move {
            loop {
                self.look().await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        })
        .await;
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Does what is due.
    async fn look(&mut self) {
        let view = self.membership.view();
        // A disk that takes nothing is not asked to: whoever seals notices when it does again.
        if view.me.state != State::Ready || view.suspects_partition || view.degraded || self.shelf.is_paused() {
            return;
        }
        let owners = owners(&view);
        if self.rounds.observe(self.now(), owners.clone()) {
            // Other nodes are to be here now: what was looked through for those before does not count.
            self.seen.clear();
        }
        let Some(round) = self.rounds.next(self.now()) else { return };
        let done = match round {
            Round::Recent => self.recent(&view).await,
            Round::All => self.all(&view, &owners).await,
        };
        self.rounds.ended(self.now(), round, &owners, !done.undone);
    }

    /// Looks through the newest hours.
    async fn recent(&mut self, view: &MembershipView) -> Outcome {
        let now = tick_of(now_ms());
        let range = (now.saturating_sub(RECENT_SECONDS), now);
        self.seen.retain(|writer, _| view.live.iter().any(|member| member.writer == *writer));
        let after: Vec<u32> =
            view.live.iter().map(|member| self.seen.get(&member.writer).copied().unwrap_or(0)).collect();
        let mut outcome = Outcome::default();
        let has = self.list(view, Tier::Second, range, &after, &mut outcome).await;
        let newest: Vec<(WriterId, u32)> = has.iter().map(|(writer, has)| (*writer, has.newest_segment)).collect();
        let page = self.page(view, Tier::Second, range, has).await;
        if !page.undone {
            self.seen.extend(newest);
        }
        outcome.add(page);
        outcome
    }

    /// Looks through all of history, finest first: coarser steps are made of what came.
    async fn all(&mut self, view: &MembershipView, owners: &Owners) -> Outcome {
        let _restoring = Restoring::begin(&self.copying);
        let began = Instant::now();
        let mut outcome = Outcome::default();
        let now = tick_of(now_ms());
        let mut pages = Vec::new();
        for tier in Tier::ALL {
            let none = vec![0; view.live.len()];
            let has = self.list(view, tier, (1, 0), &none, &mut outcome).await;
            let oldest = has.iter().map(|(_, has)| has.oldest).filter(|oldest| *oldest > 0).min();
            let Some(oldest) = oldest.map(|oldest| oldest.max(self.copying.wanted_from(tier))) else { continue };
            let mut span = span_of(tier, now);
            while span.end > oldest && span.end <= now.saturating_add(span.end - span.start) {
                pages.push((tier, (span.start, span.end - 1)));
                let Some(before) = span.start.checked_sub(1) else { break };
                span = span_of(tier, before);
            }
        }
        let count = pages.len();
        self.status.begins(count);
        let mut said = false;
        for (at, (tier, range)) in pages.into_iter().enumerate() {
            if *owners != self::owners(&self.membership.view()) {
                // It begins again when the members have stood.
                outcome.undone = true;
                break;
            }
            let none = vec![0; view.live.len()];
            let has = self.list(view, tier, range, &none, &mut outcome).await;
            let page = self.page(view, tier, range, has).await;
            if page.blocks > 0 && !said {
                said = true;
                tracing::info!(spans = count, "copies of the history of nodes are lacking, they are being restored");
            }
            outcome.add(page);
            self.status.is_at(at + 1, said);
            if self.rounds.next(self.now()) == Some(Round::Recent) {
                let recent = self.recent(view).await;
                self.rounds.ended(self.now(), Round::Recent, owners, !recent.undone);
            }
        }
        let first = self.status.read().whole_tick == 0;
        self.status.ended(!outcome.undone);
        if said || (first && !outcome.undone) {
            let Outcome { undone, blocks, bytes } = outcome;
            let seconds = began.elapsed().as_secs();
            if undone {
                tracing::warn!(
                    blocks,
                    bytes,
                    seconds,
                    "some copies of the history of nodes are lacking still, they are tried again"
                );
            } else {
                tracing::info!(blocks, bytes, seconds, "the copies of the history of nodes are whole");
            }
        }
        outcome
    }

    /// What the others have. Who does not answer has nothing, and `outcome` says so.
    async fn list(
        &self,
        view: &MembershipView,
        tier: Tier,
        range: (u32, u32),
        after: &[u32],
        outcome: &mut Outcome,
    ) -> Vec<(WriterId, Has)> {
        let asked = view.live.iter().zip(after);
        let asked = asked.map(|(member, after)| ask::list(&self.channels, member, tier, range, *after));
        let mut all = Vec::new();
        for (member, answer) in view.live.iter().zip(join_all(asked).await) {
            match answer {
                Ok(has) => all.push((member.writer, has)),
                Err(error) => outcome.undone |= self.failed(member, &error),
            }
        }
        all
    }

    /// Whether it may be otherwise the next time.
    fn failed(&self, member: &Member, error: &AskError) -> bool {
        let older = matches!(error, AskError::Older);
        self.metrics.history_copies_failed(if older { "older" } else { "peer" }, member.id.as_str(), error);
        !older
    }

    /// Fetches what is lacking here of what the others have.
    async fn page(
        &mut self,
        view: &MembershipView,
        tier: Tier,
        range: (u32, u32),
        has: Vec<(WriterId, Has)>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if has.iter().all(|(_, has)| has.blocks.is_empty()) {
            return outcome;
        }
        let theirs: Vec<_> = has.into_iter().map(|(writer, has)| (writer, has.blocks)).collect();
        let nodes: BTreeSet<&NodeId> = theirs.iter().flat_map(|(_, inventory)| inventory.keys()).collect();
        let wanted: BTreeSet<NodeId> = nodes.into_iter().filter(|node| is_holder(view, node)).cloned().collect();
        let kept = self.copying.wanted_from(tier)..tick_of(now_ms());
        let (shelf, passed_over) = (self.shelf.clone(), std::mem::take(&mut self.passed_over));
        let look = move |shift: &mut Shift<'_>| {
            let mut passed_over = passed_over;
            let lacking = shelf.lacking((tier, range), &theirs, &wanted, kept, &mut passed_over, shift);
            (lacking, passed_over)
        };
        let lacking = match self.chores.run(look).await {
            Ok((Ok(lacking), passed_over)) => {
                self.passed_over = passed_over;
                lacking
            }
            Ok((Err(error), passed_over)) => {
                self.passed_over = passed_over;
                self.metrics.history_copies_failed("disk", "here", &error);
                return Outcome { undone: true, ..outcome };
            }
            Err(_) => return Outcome { undone: true, ..outcome },
        };
        self.fetch(view, tier, lacking, &mut outcome).await;
        outcome
    }

    async fn fetch(&mut self, view: &MembershipView, tier: Tier, lacking: Lacking, outcome: &mut Outcome) {
        let Lacking { wishes, mut held } = lacking;
        let mut left = wishes.len();
        self.status.lacks(left);
        let most = (ERRAND_BLOCKS, ERRAND_BYTES.min(self.rate * ERRAND_SECONDS));
        let mut silent = BTreeSet::new();
        for Errand { holder, wishes } in plan::errands(tier, wishes, most) {
            let count = wishes.len();
            let member = view.live.iter().find(|member| member.writer == holder && !silent.contains(&holder));
            let Some(member) = member else {
                outcome.undone = true;
                continue;
            };
            let wishes: Vec<_> = wishes.into_iter().map(|wish| shelf::with_held(tier, wish, &mut held)).collect();
            match ask::read(&self.channels, member, tier, &wishes, self.rate).await {
                Ok(came) => {
                    let came = wishes.into_iter().zip(came).collect();
                    if !self.keep(tier, member, came, outcome).await {
                        return;
                    }
                }
                Err(error) => {
                    outcome.undone |= self.failed(member, &error);
                    silent.insert(holder);
                    continue;
                }
            }
            left -= count;
            self.status.lacks(left);
        }
    }

    /// Writes what came. False when the disk does not take it.
    async fn keep(&mut self, tier: Tier, member: &Member, came: Vec<shelf::Delivered>, outcome: &mut Outcome) -> bool {
        let (shelf, passed_over) = (self.shelf.clone(), std::mem::take(&mut self.passed_over));
        let (holder, name) = (member.writer, member.id.clone());
        let write = move |shift: &mut Shift<'_>| {
            let mut passed_over = passed_over;
            let kept = shelf.keep(tier, (holder, &name), came, &mut passed_over, shift);
            (kept, passed_over)
        };
        let Ok((kept, passed_over)) = self.chores.run(write).await else {
            outcome.undone = true;
            return false;
        };
        self.passed_over = passed_over;
        match kept {
            Ok((blocks, bytes)) => {
                outcome.blocks += blocks;
                outcome.bytes += bytes;
                self.status.fetched(blocks, bytes);
                true
            }
            Err(error) => {
                self.metrics.history_copies_failed("disk", "here", &error);
                outcome.undone = true;
                false
            }
        }
    }
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.undone |= other.undone;
        self.blocks += other.blocks;
        self.bytes += other.bytes;
    }
}

/// The members that may own nodes.
fn owners(view: &MembershipView) -> Owners {
    let ready = view.everybody().filter(|member| member.state == State::Ready);
    let mut owners: Owners = ready.map(|member| (member.id.clone(), member.weight)).collect();
    owners.sort();
    owners
}

/// Whether the history of `node` is to be here.
fn is_holder(view: &MembershipView, node: &NodeId) -> bool {
    view.rank(node).iter().take(HOLDERS).any(|member| member.writer == view.me.writer)
}
