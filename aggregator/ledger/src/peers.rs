//! What is known of the other processes.

use std::collections::{BTreeMap, VecDeque};

use starling_proto::{ids::WriterId, v1};

use super::{
    Ledger,
    faults::Fault,
    limits::{CLOSED_WAITING_MAX, DIGEST_LOGS_MAX, PEERS_MAX},
    log::Log,
    types::{DigestError, PeerStatus},
};

/// What was sent to a peer and does not show in its digests yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// Entries 1..=up_to were sent.
    pub(super) up_to: u64,
    /// Since when nothing of it showed.
    pub(super) since_ms: u64,
}

/// Lengths of one log at a peer.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    received: u64,
    /// At most `received`.
    durable: u64,
}

/// Another process.
#[derive(Debug, Default)]
pub(super) struct Peer {
    aggregator_id: String,
    /// A connection to it is up.
    pub(super) open: bool,
    /// What it holds of every log.
    held: BTreeMap<WriterId, Held>,
    pub(super) sent: BTreeMap<WriterId, Sent>,
    /// Closed, and the entries it takes are held here.
    closed: u32,
    /// Closed ticks with the length its own log must have here before they count, ascending.
    closed_waiting: VecDeque<(u32, u64)>,
    connected_nodes: u32,
    digest_at_ms: u64,
    /// The last digest sent to it, and when.
    pub(super) advertised: Option<v1::Digest>,
    pub(super) advertised_ms: u64,
}

impl Peer {
    fn held(&self, writer: WriterId) -> Held {
        self.held.get(&writer).copied().unwrap_or_default()
    }

    /// Entries of the log of `writer` that this peer has.
    pub(super) fn received(&self, writer: WriterId) -> u64 {
        self.held(writer).received
    }

    /// Entries of the log of `writer` that this peer has even after a crash.
    fn durable(&self, writer: WriterId) -> u64 {
        self.held(writer).durable
    }
}

pub(super) type Peers = BTreeMap<WriterId, Peer>;

impl Ledger {
    /// A connection to a peer is up: everything its digests do not show is sent again.
    pub(crate) fn peer_opened(&mut self, peer: WriterId) {
        if peer == self.writer || (self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer)) {
            return;
        }
        let peer = self.peers.entry(peer).or_default();
        peer.open = true;
        peer.advertised = None;
        peer.sent.clear();
    }

    /// A peer's connection ended. What it holds still counts as a copy: a network in two parts loses no copy.
    pub(crate) fn peer_closed(&mut self, peer_id: WriterId) {
        if let Some(peer) = self.peers.get_mut(&peer_id) {
            peer.open = false;
            peer.sent.clear();
        }
        self.credit.remove(&peer_id);
    }

    /// A peer's process is known to be gone, and with it the copies it held.
    pub(crate) fn peer_lost(&mut self, peer: WriterId) {
        self.peers.remove(&peer);
        self.credit.remove(&peer);
    }

    /// What this process holds, to send to peers.
    pub(crate) fn digest(&mut self, now_ms: u64) -> v1::Digest {
        self.closed_tick(now_ms);
        self.own_digest()
    }

    /// What this process holds, with the closed tick of the last [`super::Event::Tick`].
    #[must_use]
    pub fn own_digest(&self) -> v1::Digest {
        let length = |(_, log): (u16, &Log)| v1::LogLength {
            writer_id: log.writer().to_bytes(),
            received: log.length(),
            durable: if self.faults.has(Fault::AckBeforeSync) { log.length() } else { log.durable() },
        };
        v1::Digest {
            writer_id: self.writer.to_bytes(),
            aggregator_id: self.config.aggregator_id.clone(),
            closed_tick: self.closed,
            logs: self.logs.iter().map(length).collect(),
            connected_nodes: self.sessions.len() as u32,
        }
    }

    /// Takes a peer's digest. Another process under the same aggregator name replaces the one before, which is gone
    /// with the copies it held. Returns the peer.
    ///
    /// # Errors
    /// [`DigestError`]; nothing has changed then.
    pub(crate) fn peer_digest(&mut self, now_ms: u64, digest: &v1::Digest) -> Result<WriterId, DigestError> {
        let writer = WriterId::parse(&digest.writer_id)?;
        if writer == self.writer {
            return Err(DigestError::Own);
        }
        if digest.logs.len() > DIGEST_LOGS_MAX {
            return Err(DigestError::Logs(digest.logs.len()));
        }
        let mut held = BTreeMap::new();
        for log in &digest.logs {
            let lied = self.faults.has(Fault::ReceivedIsDurable);
            let durable = if lied { log.durable.max(log.received) } else { log.durable.min(log.received) };
            held.insert(WriterId::parse(&log.writer_id)?, Held { received: log.received, durable });
        }
        let name: String = digest.aggregator_id.chars().take(starling_proto::limits::NODE_ID_LEN_MAX).collect();
        self.peers.retain(|&other, peer| other == writer || name.is_empty() || peer.aggregator_id != name);
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&writer) {
            return Err(DigestError::Peers);
        }
        let received = |held: &BTreeMap<WriterId, Held>, log: &WriterId| held.get(log).map_or(0, |held| held.received);
        let peer = self.peers.entry(writer).or_default();
        peer.sent.retain(|log, sent| {
            let (before, now) = (received(&peer.held, log), received(&held, log));
            if now > before {
                sent.since_ms = now_ms;
            }
            now < sent.up_to
        });
        let own_length = received(&held, &writer);
        if digest.closed_tick > peer.closed_waiting.back().map_or(peer.closed, |&(tick, _)| tick) {
            if peer.closed_waiting.len() >= CLOSED_WAITING_MAX {
                peer.closed_waiting.pop_back();
            }
            peer.closed_waiting.push_back((digest.closed_tick, own_length));
        }
        peer.held = held;
        peer.aggregator_id = name;
        peer.connected_nodes = digest.connected_nodes;
        peer.digest_at_ms = now_ms;
        self.acks_due = true;
        self.confirm_closed(writer);
        Ok(writer)
    }

    /// Lets the closed ticks of a peer count whose entries are held here.
    pub(super) fn confirm_closed(&mut self, writer: WriterId) {
        let held = self.logs.of(writer).map_or(0, Log::length);
        let Some(peer) = self.peers.get_mut(&writer) else { return };
        while let Some(&(tick, length)) = peer.closed_waiting.front()
            && length <= held
        {
            peer.closed = peer.closed.max(tick);
            peer.closed_waiting.pop_front();
        }
    }

    /// On how many aggregators entry `sequence` of a log is held and survives a crash, this one included.
    pub(super) fn copies(&self, log: &Log, sequence: u64) -> u32 {
        let own = log.durable() >= sequence || self.faults.has(Fault::AckBeforeSync);
        let writer = log.writer();
        let holds = |peer: &&Peer| {
            let sent = || peer.sent.get(&writer).map_or(0, |sent| sent.up_to);
            peer.durable(writer) >= sequence || (self.faults.has(Fault::AckOnSent) && sent() >= sequence)
        };
        u32::from(own) + self.peers.values().filter(holds).count() as u32
    }

    /// What is known of every peer.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        let status = |(&writer, peer): (&WriterId, &Peer)| PeerStatus {
            writer,
            aggregator_id: peer.aggregator_id.clone(),
            closed_tick: peer.closed,
            connected_nodes: peer.connected_nodes,
            digest_at_ms: peer.digest_at_ms,
            behind: self.logs.iter().map(|(_, log)| log.length().saturating_sub(peer.durable(log.writer()))).sum(),
        };
        self.peers.iter().map(status).collect()
    }

    /// True when every live peer, and this process, has closed `tick`, or its time is up: `settle_after` its end.
    #[must_use]
    pub(crate) fn is_settled(&self, tick: u32, now_ms: u64, live_peers: &[WriterId]) -> bool {
        let up = u64::from(tick) * 1000 + self.config.settle_after.as_millis() as u64;
        let closed = |peer: &WriterId| self.peers.get(peer).is_some_and(|peer| peer.closed >= tick);
        now_ms >= up || (self.closed >= tick && live_peers.iter().all(closed))
    }

    /// Every frame of the streams connected here up to this tick is in the log, as of the last [`super::Event::Tick`].
    #[must_use]
    pub const fn closed(&self) -> u32 {
        self.closed
    }

    /// Every frame of the streams connected here up to this tick is in the log; never falls. Streams that lag by
    /// more than 5 s are not waited for. Without streams the tick that has had its time to be gathered is closed.
    pub(crate) fn closed_tick(&mut self, now_ms: u64) -> u32 {
        let idle = (now_ms.saturating_sub(self.config.flush_after.as_millis() as u64) / 1000) as u32;
        let reported =
            self.sessions.reported_by_all((now_ms / 1000) as u32).unwrap_or(idle).min((now_ms / 1000) as u32);
        let gathered = self.gather.lowest_tick_after(self.closed).map_or(u32::MAX, |tick| tick.saturating_sub(1));
        self.closed = self.closed.max(reported.min(gathered));
        self.closed
    }
}
