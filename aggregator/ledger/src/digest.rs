//! What processes say of themselves: how far they are, and what they hold.

use starling_proto::{ids::WriterId, v1};

use super::{
    Ledger,
    faults::Fault,
    log::Log,
    types::{DigestError, PeerStatus},
};

impl Ledger {
    /// A connection to a peer is up.
    pub(crate) fn peer_opened(&mut self, peer: WriterId) {
        if peer != self.writer {
            self.peers.opened(peer);
        }
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
            floor: self.gate.told(),
            forgotten: self.floor,
        }
    }

    /// Takes a peer's digest, and returns the peer.
    ///
    /// # Errors
    /// [`DigestError`]; nothing has changed then.
    pub(crate) fn peer_digest(&mut self, now_ms: u64, digest: &v1::Digest) -> Result<WriterId, DigestError> {
        if self.quarantine.has_name(&digest.aggregator_id) && !self.faults.has(Fault::QuarantinedComesBack) {
            return Err(DigestError::Quarantined(digest.aggregator_id.clone()));
        }
        let writer = self.peers.take_digest(now_ms, self.writer, digest, self.faults)?;
        if !self.faults.has(Fault::FloorIsOwn) {
            self.gate.hear(now_ms, digest.floor);
        }
        if self.hears_what_is_forgotten() {
            self.hear_forgotten(now_ms, digest);
        }
        self.acks_due = true;
        self.confirm_closed(writer);
        Ok(writer)
    }

    /// False for the faults that do not.
    pub(super) fn hears_what_is_forgotten(&self) -> bool {
        !self.faults.has(Fault::ForgottenIsOwn) && !self.faults.has(Fault::FloorIsOwn)
    }

    /// What a peer has forgotten is forgotten here, at once: its logs are no copies of it, whatever their lengths say.
    fn hear_forgotten(&mut self, now_ms: u64, digest: &v1::Digest) {
        // One that does not know the rule forgets by the clock.
        let by_clock = || ((now_ms / 1000) as u32).saturating_sub(self.config.late_seconds + self.config.slack_seconds);
        self.gate.hear_forgotten(now_ms, if digest.floor == 0 { by_clock() } else { digest.forgotten });
        let floor = self.gate.forgotten();
        if floor > self.floor {
            self.prune_ticks(floor);
        }
    }

    /// Lets the closed ticks of a peer count whose entries are held here.
    pub(super) fn confirm_closed(&mut self, writer: WriterId) {
        let held = self.logs.of(writer).map_or(0, Log::length);
        self.peers.confirm_closed(writer, held);
    }

    /// On how many aggregators entry `sequence` of a log is held and survives a crash, this one included.
    pub(super) fn copies(&self, log: &Log, sequence: u64) -> u32 {
        let own = log.durable() >= sequence || self.faults.has(Fault::AckBeforeSync);
        u32::from(own) + self.peers.copies(log.writer(), sequence, self.faults)
    }

    /// What is known of every peer.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        let lengths: Vec<_> = self.logs.iter().map(|(_, log)| (log.writer(), log.length())).collect();
        self.peers.status(&lengths)
    }

    /// True when every live peer, and this process, has closed `tick`, or its time is up: `settle_after` its end.
    #[must_use]
    pub(crate) fn is_settled(&self, tick: u32, now_ms: u64, live_peers: &[WriterId]) -> bool {
        let up = u64::from(tick) * 1000 + self.config.settle_after.as_millis() as u64;
        let closed = |&peer: &WriterId| self.peers.has_closed(peer, tick);
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
