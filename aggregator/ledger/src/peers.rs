//! What is known of the other processes: a table that knows nothing of the ledger that asks it.

use std::collections::{BTreeMap, VecDeque};

use starling_proto::{ids::WriterId, v1};

use super::{
    faults::{Fault, Faults},
    limits::{CLOSED_WAITING_MAX, DIGEST_LOGS_MAX, PEERS_MAX},
    types::{DigestError, PeerStatus},
};

/// A digest goes to every peer at least this often, so that silence means that this process is gone.
const DIGEST_MS: u64 = 500;
/// A digest that differs from the last one waits this long: many entries make one digest.
const DIGEST_GATHER_MS: u64 = 20;

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
    open: bool,
    /// Bytes that its connection takes.
    room: usize,
    /// What it holds of every log.
    held: BTreeMap<WriterId, Held>,
    sent: BTreeMap<WriterId, Sent>,
    /// Closed, and the entries it takes are held here.
    closed: u32,
    /// Closed ticks with the length its own log must have here before they count, ascending.
    closed_waiting: VecDeque<(u32, u64)>,
    connected_nodes: u32,
    digest_at_ms: u64,
    /// The last digest sent to it, and when.
    advertised: Option<v1::Digest>,
    advertised_ms: u64,
}

impl Peer {
    fn held(&self, writer: WriterId) -> Held {
        self.held.get(&writer).copied().unwrap_or_default()
    }

    /// Entries of the log of `writer` that this peer has.
    fn received(&self, writer: WriterId) -> u64 {
        self.held(writer).received
    }

    /// Entries of the log of `writer` that this peer has even after a crash.
    fn durable(&self, writer: WriterId) -> u64 {
        self.held(writer).durable
    }
}

/// The other processes, by writer: at most [`PEERS_MAX`], those beyond are refused.
#[derive(Debug, Default)]
pub(super) struct Peers {
    by_writer: BTreeMap<WriterId, Peer>,
}

impl Peers {
    fn has_room_for(&self, peer: WriterId) -> bool {
        self.by_writer.len() < PEERS_MAX || self.by_writer.contains_key(&peer)
    }

    pub(super) fn contains(&self, peer: WriterId) -> bool {
        self.by_writer.contains_key(&peer)
    }

    /// True while a connection to it is up.
    pub(super) fn is_open(&self, peer: WriterId) -> bool {
        self.by_writer.get(&peer).is_some_and(|peer| peer.open)
    }

    /// Those with a connection that is up.
    pub(super) fn open(&self) -> Vec<WriterId> {
        self.by_writer.iter().filter(|(_, peer)| peer.open).map(|(&writer, _)| writer).collect()
    }

    /// A connection to a peer is up: everything its digests do not show is sent again.
    pub(super) fn opened(&mut self, peer: WriterId) {
        if !self.has_room_for(peer) {
            return;
        }
        let peer = self.by_writer.entry(peer).or_default();
        peer.open = true;
        peer.advertised = None;
        peer.sent.clear();
    }

    /// A peer's connection ended. What it holds still counts as a copy: a network in two parts loses no copy.
    pub(super) fn closed(&mut self, peer: WriterId) {
        if let Some(peer) = self.by_writer.get_mut(&peer) {
            (peer.open, peer.room) = (false, 0);
            peer.sent.clear();
        }
    }

    /// A peer's process is known to be gone, and with it the copies it held.
    pub(super) fn lost(&mut self, peer: WriterId) {
        self.by_writer.remove(&peer);
    }

    /// Name of a peer, as its last digest said.
    pub(super) fn name_of(&self, peer: WriterId) -> Option<&str> {
        self.by_writer.get(&peer).map(|peer| peer.aggregator_id.as_str())
    }

    /// Those whose name is `gone` are peers no more, and what they say they hold is no copy.
    pub(super) fn drop_named(&mut self, gone: impl Fn(&str) -> bool) {
        self.by_writer.retain(|_, peer| !gone(&peer.aggregator_id));
    }

    /// The connection to a peer takes so many more bytes.
    pub(super) fn add_room(&mut self, peer: WriterId, bytes: usize) {
        if let Some(peer) = self.by_writer.get_mut(&peer) {
            peer.room = peer.room.saturating_add(bytes);
        }
    }

    /// Bytes that the connection to a peer takes.
    pub(super) fn room(&self, peer: WriterId) -> usize {
        self.by_writer.get(&peer).map_or(0, |peer| peer.room)
    }

    /// Something goes to a peer; the next room is said when it is on its way.
    pub(super) fn take_room(&mut self, peer: WriterId) {
        if let Some(peer) = self.by_writer.get_mut(&peer) {
            peer.room = 0;
        }
    }

    /// What a peer holds of a log, and what was sent of it; `None` for a process that is no peer.
    pub(super) fn progress(&self, peer: WriterId, log: WriterId) -> Option<(u64, Option<Sent>)> {
        let peer = self.by_writer.get(&peer)?;
        Some((peer.received(log), peer.sent.get(&log).copied()))
    }

    /// Entries of a log were sent to a peer.
    pub(super) fn note_sent(&mut self, peer: WriterId, log: WriterId, sent: Sent) {
        if let Some(peer) = self.by_writer.get_mut(&peer) {
            peer.sent.insert(log, sent);
        }
    }

    /// True when this digest is due at a peer; it then counts as sent.
    pub(super) fn advertise(&mut self, now_ms: u64, peer: WriterId, digest: &v1::Digest) -> bool {
        let Some(peer) = self.by_writer.get_mut(&peer) else { return false };
        let differs = peer.advertised.as_ref() != Some(digest);
        let wait = if differs { DIGEST_GATHER_MS } else { DIGEST_MS };
        let due = peer.advertised.is_none() || now_ms >= peer.advertised_ms + wait;
        if due {
            peer.advertised = Some(digest.clone());
            peer.advertised_ms = now_ms;
        }
        due
    }

    /// Takes a digest that the process `own` received. Another process under the same aggregator name replaces the one
    /// before, which is gone with the copies it held. Returns the peer.
    ///
    /// # Errors
    /// [`DigestError`]; nothing has changed then.
    pub(super) fn take_digest(
        &mut self,
        now_ms: u64,
        own: WriterId,
        digest: &v1::Digest,
        faults: Faults,
    ) -> Result<WriterId, DigestError> {
        let writer = WriterId::parse(&digest.writer_id)?;
        if writer == own {
            return Err(DigestError::Own);
        }
        if digest.logs.len() > DIGEST_LOGS_MAX {
            return Err(DigestError::Logs(digest.logs.len()));
        }
        let mut held = BTreeMap::new();
        for log in &digest.logs {
            let lied = faults.has(Fault::ReceivedIsDurable);
            let durable = if lied { log.durable.max(log.received) } else { log.durable.min(log.received) };
            held.insert(WriterId::parse(&log.writer_id)?, Held { received: log.received, durable });
        }
        let name: String = digest.aggregator_id.chars().take(starling_proto::limits::NODE_ID_LEN_MAX).collect();
        self.by_writer.retain(|&other, peer| other == writer || name.is_empty() || peer.aggregator_id != name);
        if !self.has_room_for(writer) {
            return Err(DigestError::Peers);
        }
        let received = |held: &BTreeMap<WriterId, Held>, log: &WriterId| held.get(log).map_or(0, |held| held.received);
        let peer = self.by_writer.entry(writer).or_default();
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
        Ok(writer)
    }

    /// Lets the closed ticks of a peer count whose entries are held here: the first `held` of its log are.
    pub(super) fn confirm_closed(&mut self, peer: WriterId, held: u64) {
        let Some(peer) = self.by_writer.get_mut(&peer) else { return };
        while let Some(&(tick, length)) = peer.closed_waiting.front()
            && length <= held
        {
            peer.closed = peer.closed.max(tick);
            peer.closed_waiting.pop_front();
        }
    }

    /// True when a peer has closed `tick` and all that it closed is held here.
    pub(super) fn has_closed(&self, peer: WriterId, tick: u32) -> bool {
        self.by_writer.get(&peer).is_some_and(|peer| peer.closed >= tick)
    }

    /// At how many peers entry `sequence` of a log survives a crash.
    pub(super) fn copies(&self, log: WriterId, sequence: u64, faults: Faults) -> u32 {
        let holds = |peer: &&Peer| {
            let sent = || peer.sent.get(&log).map_or(0, |sent| sent.up_to);
            peer.durable(log) >= sequence || (faults.has(Fault::AckOnSent) && sent() >= sequence)
        };
        self.by_writer.values().filter(holds).count() as u32
    }

    /// What is known of every peer. `lengths` are those of the logs held here, by author.
    pub(super) fn status(&self, lengths: &[(WriterId, u64)]) -> Vec<PeerStatus> {
        let behind = |peer: &Peer| lengths.iter().map(|&(log, length)| length.saturating_sub(peer.durable(log))).sum();
        let status = |(&writer, peer): (&WriterId, &Peer)| PeerStatus {
            writer,
            aggregator_id: peer.aggregator_id.clone(),
            closed_tick: peer.closed,
            connected_nodes: peer.connected_nodes,
            digest_at_ms: peer.digest_at_ms,
            behind: behind(peer),
        };
        self.by_writer.iter().map(status).collect()
    }
}
