//! Whether a process that has just started holds what its peers hold. Until then it answers nothing about the cluster: it
//! would say "0 of 0 nodes", and lack seconds that every other member has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use starling_ledger::Ledger;
use starling_proto::{
    ids::{NodeId, WriterId},
    v1,
};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    ledger_task::LedgerHandle,
    membership::{Membership, MembershipView, State},
};

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// No entry came for this long after every peer said what it holds: what is still missing was pruned everywhere.
const STALLED: Duration = Duration::from_secs(2);
/// A peer that does not send what it holds delays the answers no longer than this.
const LONGEST: Duration = Duration::from_secs(30);
/// Peers remembered while starting: more than a cluster has.
const PEERS_MAX: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct CatchUp {
    id: NodeId,
    /// Why it does not answer yet; `None` once it does, and from then on.
    behind: watch::Sender<Option<String>>,
    heard: Mutex<Heard>,
}

/// What peers have said since the start.
#[derive(Debug, Default)]
struct Heard {
    /// The lengths of the logs that each of them held when its first stream came up.
    held: BTreeMap<WriterId, Vec<(WriterId, u64)>>,
    /// Who has sent its node rows.
    rows: BTreeSet<WriterId>,
}

impl CatchUp {
    /// Of an aggregator that starts.
    pub(crate) fn new(id: NodeId) -> Self {
        let behind = watch::Sender::new(Some("it looks for the other aggregators".to_owned()));
        Self { id, behind, heard: Mutex::default() }
    }

    /// Plain mutex, short sections.
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it does not answer yet, now and from now on.
    pub(crate) fn behind(&self) -> watch::Receiver<Option<String>> {
        self.behind.subscribe()
    }

    /// Lets a question pass.
    ///
    /// # Errors
    /// `UNAVAILABLE` with the reason until this process has caught up.
    pub(crate) fn check(&self) -> Result<(), Status> {
        match &*self.behind.borrow() {
            None => Ok(()),
            Some(reason) => Err(Status::unavailable(format!(
                "aggregator {} has just started and does not hold yet what the others hold ({reason}): ask another one, \
                 or again in some seconds",
                self.id
            ))),
        }
    }

    /// A stream with `peer` has come up, with its first digest.
    pub(crate) fn held_by(&self, peer: WriterId, digest: &v1::Digest) {
        if self.behind.borrow().is_none() {
            return;
        }
        let length = |log: &v1::LogLength| Some((WriterId::parse(&log.writer_id).ok()?, log.received));
        let logs = digest.logs.iter().filter_map(length).collect();
        let held = &mut self.heard().held;
        if held.len() < PEERS_MAX {
            held.entry(peer).or_insert(logs);
        }
    }

    /// `peer` has sent its node rows.
    pub(crate) fn rows_of(&self, peer: WriterId) {
        if self.behind.borrow().is_some() {
            let rows = &mut self.heard().rows;
            if rows.len() < PEERS_MAX {
                rows.insert(peer);
            }
        }
    }

    /// What is missing: of which peer, and how many entries in all. `None` when nothing is.
    fn missing(&self, view: &MembershipView, logs: &BTreeMap<WriterId, u64>) -> Option<(String, u64)> {
        let heard = self.heard();
        let mut entries = 0;
        for peer in view.live.iter().filter(|peer| peer.state == State::Ready) {
            let Some(held) = heard.held.get(&peer.writer).filter(|_| heard.rows.contains(&peer.writer)) else {
                return Some((format!("there is no stream with {} yet", peer.id), u64::MAX));
            };
            let lacks = |(writer, length): &(WriterId, u64)| length.saturating_sub(*logs.get(writer).unwrap_or(&0));
            entries = entries.max(held.iter().map(lacks).sum());
        }
        (entries > 0).then(|| (format!("{entries} entries are still to come"), entries))
    }

    fn caught_up(&self) {
        self.behind.send_replace(None);
        *self.heard() = Heard::default();
    }
}

/// Looks until this process has caught up, or `stop`. `recalled` becomes true when what its own log held can be asked for; `None`
/// without a history.
pub(crate) async fn run(
    catch_up: Arc<CatchUp>,
    membership: Membership,
    ledger: LedgerHandle,
    recalled: Option<watch::Receiver<bool>>,
    stop: CancellationToken,
) {
    let mut timer = tokio::time::interval(LOOK_EVERY);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (began, mut fewest, mut progress_at) = (Instant::now(), u64::MAX, Instant::now());
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        let view = membership.view();
        if view.me.state == State::Joining {
            continue;
        }
        let Ok(logs) = ledger.ask(Ledger::logs).await else { return };
        let logs = logs.into_iter().map(|log| (log.writer, log.length)).collect();
        let Some((reason, missing)) = catch_up.missing(&view, &logs) else { break };
        if missing < fewest {
            (fewest, progress_at) = (missing, Instant::now());
        }
        let stalled = missing < u64::MAX && progress_at.elapsed() >= STALLED;
        if stalled || began.elapsed() >= LONGEST {
            tracing::warn!(reason, "answers from now on, though not all came that others hold");
            break;
        }
        catch_up.behind.send_if_modified(|shown| shown.replace(reason.clone()).is_none_or(|before| before != reason));
    }
    // What all were away for may be taken from now on: whoever has forgotten it has said so.
    ledger.caught_up().await;
    // An ended ledger ends this process.
    if ledger.brought_out().await.is_err() {
        return;
    }
    if let Some(mut recalled) = recalled {
        catch_up.behind.send_replace(Some("what its log holds is put on its disk".to_owned()));
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            // A history that ended ends this process.
            recalled = recalled.wait_for(|recalled| *recalled) => if recalled.is_err() { return },
        }
    }
    tracing::info!(after_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), "caught up, answers");
    catch_up.caught_up();
}
