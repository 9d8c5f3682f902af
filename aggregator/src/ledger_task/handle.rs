//! What the rooms get of the ledger: snapshots to read, and a bounded way in.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use starling_ledger::{
    DecodedRun, DigestError, KnownStream, Ledger, Offered, OpenError, Outgoing, Quarantine, Refused, StreamNo, TickView,
};
use starling_proto::{
    ids::{NodeId, StreamId, WriterId},
    v1,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{AckQueue, Gate};
use crate::membership::Membership;

/// Requests on their way to the ledger. When it is full whoever asks waits, and with him the connection he reads from.
const REQUESTS: usize = 1_024;

/// What has been published so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published {
    /// Newest settled second.
    pub(crate) settled: u32,
    /// Rises with every settled second and with every change of one that was settled before.
    pub(crate) version: u64,
}

/// Why a stream is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TakeError {
    /// A newer connection of the node came while this one was being taken.
    #[error("a newer connection of this node took over")]
    Replaced,
    /// The ledger knows too many streams.
    #[error(transparent)]
    Full(#[from] OpenError),
    /// The process is about to end.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Why nothing can be asked of the ledger any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ledger of this aggregator has ended")]
pub(crate) struct Ended;

/// A stream of a node in the ledger, by the connection it came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(super) key: u64,
    pub(crate) stream: StreamNo,
}

/// Where messages for a peer go: the newest digest, and one batch of entries at a time.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(super) digest: watch::Sender<Option<v1::Digest>>,
    pub(super) entries: mpsc::Sender<Vec<v1::Entries>>,
}

/// The other end of an [`Outlet`].
#[derive(Debug)]
pub(crate) struct Inlet {
    /// What we hold.
    pub(crate) digest: watch::Receiver<Option<v1::Digest>>,
    /// What the peer lacks. The next batch comes after [`LedgerHandle::room`].
    pub(crate) entries: mpsc::Receiver<Vec<v1::Entries>>,
}

impl Outlet {
    /// Both ends.
    pub(crate) fn new() -> (Self, Inlet) {
        let (digest, newest) = watch::channel(None);
        // One batch is asked for at a time.
        let (entries, batches) = mpsc::channel(1);
        (Self { digest, entries }, Inlet { digest: newest, entries: batches })
    }

    /// Passes a message on. Entries that find no place are sent again when they do not show in the peer's digests.
    pub(super) fn pass(&self, message: Outgoing) {
        match message {
            Outgoing::Digest(digest) => drop(self.digest.send_replace(Some(digest))),
            Outgoing::Entries(runs) => drop(self.entries.try_send(runs)),
        }
    }
}

/// What taking one run of a peer has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// How long the ledger worked on it, and on nothing else.
    pub(crate) took: Duration,
    /// Its author is over a quota: the run was not taken.
    pub(crate) over_quota: bool,
}

/// A log that was taken back out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TakenOut {
    /// Its author.
    pub(crate) writer: WriterId,
    /// The aggregator that answers for it.
    pub(crate) aggregator: String,
    /// First and last tick of its entries that were held, Unix seconds.
    pub(crate) span: Option<(u32, u32)>,
}

/// One question about the ledger, answered inside the task: microseconds only.
pub(super) type Question = Box<dyn FnOnce(&Ledger) + Send>;

/// What is asked of the task.
pub(super) enum Request {
    Open {
        node: NodeId,
        stream: StreamId,
        acks: Arc<AckQueue>,
        replaced: CancellationToken,
        answer: oneshot::Sender<Result<Seat, TakeError>>,
    },
    Offer {
        offered: Offered,
        answer: oneshot::Sender<Result<(), Refused>>,
    },
    Close {
        seat: Seat,
        last_tick: Option<u32>,
    },
    PeerOpened {
        peer: WriterId,
        link: u64,
        outlet: Outlet,
    },
    PeerClosed {
        peer: WriterId,
        link: u64,
    },
    PeerLost(WriterId),
    Room {
        peer: WriterId,
        bytes: usize,
    },
    Digest {
        digest: v1::Digest,
        answer: oneshot::Sender<Result<(), DigestError>>,
    },
    Entries {
        from: WriterId,
        run: DecodedRun,
        answer: oneshot::Sender<Turn>,
    },
    Quarantine {
        quarantine: Quarantine,
        answer: oneshot::Sender<Vec<TakenOut>>,
    },
    Recall(Vec<KnownStream>),
    /// See [`Event::CaughtUp`](starling_ledger::Event::CaughtUp).
    CaughtUp,
    Gone(NodeId),
    Stored(Vec<(WriterId, u64)>),
    Flush(oneshot::Sender<()>),
    BringOut(oneshot::Sender<()>),
    Ask(Question),
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LedgerHandle(Arc<Shared>);

/// What the task publishes.
pub(super) struct Shared {
    pub(super) writer: WriterId,
    pub(super) wanted_copies: u32,
    pub(super) membership: Membership,
    requests: mpsc::Sender<Request>,
    /// A cache of what the task brought out; short sections.
    views: RwLock<BTreeMap<u32, Arc<TickView>>>,
    pub(super) published: watch::Sender<Published>,
    /// How far the clock went back, once it did: nothing is settled from then on.
    pub(super) clock_back: watch::Sender<Option<Duration>>,
    /// Why the next entry of some log cannot be applied, while that lasts.
    pub(super) trouble: watch::Sender<Option<String>>,
    pub(super) sessions: AtomicUsize,
    /// Aggregators that claim frames which another one claims, too.
    pub(super) disputed: AtomicUsize,
    /// Only what a store has kept counts as a copy; else what is in memory does.
    pub(super) on_disk: AtomicBool,
    /// There is something for the store to keep.
    pub(super) persist: Notify,
    /// Entries that the store was to keep, since the start.
    pub(super) persists: AtomicU64,
    /// How many of them are in its log.
    pub(super) in_log: AtomicU64,
    /// See [`Gate`].
    pub(super) gate: [AtomicU32; 2],
    pub(super) is_behind: AtomicBool,
}

impl Shared {
    pub(super) fn change_views(&self, change: impl FnOnce(&mut BTreeMap<u32, Arc<TickView>>)) {
        change(&mut self.views.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl LedgerHandle {
    pub(super) fn new(
        writer: WriterId,
        wanted_copies: u32,
        membership: Membership,
        settled: u32,
    ) -> (Self, mpsc::Receiver<Request>) {
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let shared = Shared {
            writer,
            wanted_copies,
            membership,
            requests,
            views: RwLock::default(),
            published: watch::Sender::new(Published { settled, version: 0 }),
            clock_back: watch::Sender::new(None),
            trouble: watch::Sender::new(None),
            sessions: AtomicUsize::new(0),
            disputed: AtomicUsize::new(0),
            on_disk: AtomicBool::new(false),
            persist: Notify::new(),
            persists: AtomicU64::new(0),
            in_log: AtomicU64::new(0),
            gate: Default::default(),
            is_behind: AtomicBool::new(false),
        };
        (Self(Arc::new(shared)), inbox)
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.0)
    }

    /// The log this process writes.
    pub(crate) fn writer(&self) -> WriterId {
        self.0.writer
    }

    /// On how many aggregators a frame must be held now before it is acknowledged.
    pub(crate) fn copies(&self) -> u32 {
        self.0.membership.view().copies(self.0.wanted_copies, Instant::now())
    }

    /// Whether only what is on the disk of this process counts as a copy.
    pub(crate) fn on_disk(&self) -> bool {
        self.0.on_disk.load(Ordering::Relaxed)
    }

    /// From now on only what [`LedgerHandle::stored`] says counts as a copy, or what is in memory does too. Returns whether
    /// that changed.
    pub(crate) fn count_disk_only(&self, disk_only: bool) -> bool {
        self.0.on_disk.swap(disk_only, Ordering::Relaxed) != disk_only
    }

    /// Waits until there is something for a store to keep. One waits at a time.
    pub(crate) async fn unsaved(&self) {
        self.0.persist.notified().await;
    }

    /// Entries that the store was to keep so far: readers may see these.
    pub(crate) fn persists(&self) -> u64 {
        self.0.persists.load(Ordering::Acquire)
    }

    /// So many of them are in its log.
    pub(crate) fn now_in_log(&self, persists: u64) {
        self.0.in_log.fetch_max(persists, Ordering::AcqRel);
    }

    /// Whether all of them are: what readers see survives the end of the process.
    pub(crate) fn is_in_log(&self) -> bool {
        self.persists() <= self.0.in_log.load(Ordering::Acquire)
    }

    /// On how many disks an acknowledged frame is at least.
    pub(crate) fn copies_on_disk(&self) -> u32 {
        self.0.membership.view().copies_on_disk(self.copies(), self.on_disk())
    }

    /// No other aggregator is known: frames are acknowledged on our own.
    pub(crate) fn alone(&self) -> bool {
        self.0.membership.view().is_alone(Instant::now())
    }

    /// How far the clock of this host went back; `None` as long as it did not. The process must then end: the ledger
    /// never takes a closed or settled second back, so this writer would be paused until the clock has caught up.
    pub(crate) fn clock_back(&self) -> watch::Receiver<Option<Duration>> {
        self.0.clock_back.subscribe()
    }

    /// Why some log cannot be applied here; `None` as long as all can. While it lasts this process does not know all
    /// that the cluster knows.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.0.trouble.subscribe()
    }

    /// What is settled, now and from now on.
    pub(crate) fn published(&self) -> watch::Receiver<Published> {
        self.0.published.subscribe()
    }

    /// Streams of nodes connected now.
    pub(crate) fn sessions(&self) -> usize {
        self.0.sessions.load(Ordering::Relaxed)
    }

    /// The view of a second; `None` when it is not settled and nothing of it is held, or it is no longer kept.
    pub(crate) fn view(&self, tick: u32) -> Option<Arc<TickView>> {
        self.0.views.read().unwrap_or_else(PoisonError::into_inner).get(&tick).cloned()
    }

    /// How often the view of a second has changed: rises with every change.
    pub(crate) fn revision(&self, tick: u32) -> Option<u32> {
        self.view(tick).map(|view| view.revision)
    }

    /// Rises when the view of any of these seconds changes, as long as all are kept.
    pub(crate) fn revisions(&self, ticks: RangeInclusive<u32>) -> u64 {
        let views = self.0.views.read().unwrap_or_else(PoisonError::into_inner);
        views.range(ticks).map(|(_, view)| u64::from(view.revision)).sum()
    }

    /// Which seconds are taken.
    pub(crate) fn gate(&self) -> Gate {
        let [floor, old_until] = self.0.gate.each_ref().map(|second| second.load(Ordering::Relaxed));
        Gate { floor, old_until }
    }

    /// The floor while seconds of an outage are taken, or will be.
    pub(crate) fn behind(&self) -> Option<u32> {
        self.0.is_behind.load(Ordering::Relaxed).then(|| self.gate().floor)
    }

    /// The peers have been heard.
    pub(crate) async fn caught_up(&self) {
        let _ = self.request(Request::CaughtUp).await;
    }

    /// The seconds up to `last` of which anything is held, with their revisions, the newest first.
    pub(crate) fn held(&self, last: u32) -> Vec<(u32, u32)> {
        let views = self.0.views.read().unwrap_or_else(PoisonError::into_inner);
        let held = views.range(..=last).rev().filter(|(_, view)| view.revision > 0);
        held.map(|(tick, view)| (*tick, view.revision)).collect()
    }

    /// The first second from `tick` on of which anything is held.
    pub(crate) fn first_from(&self, tick: u32) -> Option<u32> {
        let views = self.0.views.read().unwrap_or_else(PoisonError::into_inner);
        views.range(tick..).find(|(_, view)| view.revision > 0).map(|(tick, _)| *tick)
    }

    async fn request(&self, request: Request) -> Result<(), Ended> {
        self.0.requests.send(request).await.map_err(|_| Ended)
    }

    async fn ask_for<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Ended> {
        let (answer, answered) = oneshot::channel();
        self.request(request(answer)).await?;
        answered.await.map_err(|_| Ended)
    }

    /// A node's stream is taken, unless its connection was `replaced` by a newer one already. Acknowledgements go to
    /// `acks` from now on.
    ///
    /// # Errors
    /// [`TakeError`].
    pub(crate) async fn open(
        &self,
        node: NodeId,
        stream: StreamId,
        acks: Arc<AckQueue>,
        replaced: CancellationToken,
    ) -> Result<Seat, TakeError> {
        self.ask_for(|answer| Request::Open { node, stream, acks, replaced, answer }).await?
    }

    /// Offers a frame.
    ///
    /// # Errors
    /// [`Ended`], or inside why the frame is not taken.
    pub(crate) async fn offer(&self, offered: Offered) -> Result<Result<(), Refused>, Ended> {
        self.ask_for(|answer| Request::Offer { offered, answer }).await
    }

    /// A node's stream broke, or ended after `last_tick`. Does nothing when a newer connection took its place.
    pub(crate) async fn close(&self, seat: Seat, last_tick: Option<u32>) {
        // An ended ledger has no streams.
        let _ = self.request(Request::Close { seat, last_tick }).await;
    }

    /// A connection `link` to a peer is up.
    pub(crate) async fn peer_opened(&self, peer: WriterId, link: u64, outlet: Outlet) {
        let _ = self.request(Request::PeerOpened { peer, link, outlet }).await;
    }

    /// A connection to a peer has ended. Does nothing when a newer one took its place.
    pub(crate) async fn peer_closed(&self, peer: WriterId, link: u64) {
        let _ = self.request(Request::PeerClosed { peer, link }).await;
    }

    /// A peer's process is gone, and with it the copies it held.
    pub(crate) async fn peer_lost(&self, peer: WriterId) {
        let _ = self.request(Request::PeerLost(peer)).await;
    }

    /// The connection to a peer takes so many bytes of entries.
    pub(crate) async fn room(&self, peer: WriterId, bytes: usize) {
        let _ = self.request(Request::Room { peer, bytes }).await;
    }

    /// What a peer says it holds.
    ///
    /// # Errors
    /// [`Ended`], or inside why the digest is not taken.
    pub(crate) async fn digest(&self, digest: v1::Digest) -> Result<Result<(), DigestError>, Ended> {
        self.ask_for(|answer| Request::Digest { digest, answer }).await
    }

    /// A run that the peer `from` sent, read already. Returns when it was taken or refused: so a peer has one run in the
    /// queue at a time, however many it sends, and waits its turn like everybody else.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) async fn entries(&self, from: WriterId, run: DecodedRun) -> Result<Turn, Ended> {
        self.ask_for(|answer| Request::Entries { from, run, answer }).await
    }

    /// Whose word counts no more: replaces those before. Returns the logs that were taken out.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) async fn quarantine(&self, quarantine: Quarantine) -> Result<Vec<TakenOut>, Ended> {
        self.ask_for(|answer| Request::Quarantine { quarantine, answer }).await
    }

    /// Aggregators that claim frames which another one claims, too: as of the last second or so.
    pub(crate) fn disputed(&self) -> usize {
        self.0.disputed.load(Ordering::Relaxed)
    }

    /// Streams known from before the start; of nodes of which no log speaks they go into our own.
    pub(crate) async fn recall(&self, known: Vec<KnownStream>) {
        let _ = self.request(Request::Recall(known)).await;
    }

    /// A node is gone for good.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) async fn gone(&self, node: NodeId) -> Result<(), Ended> {
        self.request(Request::Gone(node)).await
    }

    /// The store holds each of these logs up to an entry.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) async fn stored(&self, up_to: Vec<(WriterId, u64)>) -> Result<(), Ended> {
        self.request(Request::Stored(up_to)).await
    }

    /// Everything pending becomes an entry now, for a stop.
    pub(crate) async fn flush(&self) {
        let _ = self.ask_for(Request::Flush).await;
    }

    /// Returns when readers see all that the ledger knew when it was asked.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) async fn brought_out(&self) -> Result<(), Ended> {
        self.ask_for(Request::BringOut).await
    }

    /// Asks the ledger something that takes microseconds.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Ledger) -> T + Send + 'static,
    ) -> Result<T, Ended> {
        self.ask_for(|answer| {
            Request::Ask(Box::new(move |ledger| {
                // Who asked may have gone.
                let _ = answer.send(question(ledger));
            }))
        })
        .await
    }
}
