//! Events in, actions out.

use std::sync::Arc;

use starling_proto::ids::WriterId;

use super::{
    Ledger,
    limits::{BRING_OUT_MS, VIEWS_PER_STEP},
    message::{Action, Event, Outgoing, TickView},
    types::Offer,
};

/// Ticks and logs are pruned this often.
const PRUNE_MS: u64 = 1_000;
/// Seconds that may be settled at once after a long pause of the process; older ones are skipped.
const CATCH_UP_SECONDS: u32 = 900;

impl Ledger {
    /// Takes one event. What follows from it is asked for by [`Ledger::next_action`], at the latest after the next
    /// [`Event::Tick`].
    pub fn handle(&mut self, now_ms: u64, event: Event) {
        match event {
            Event::Open { key, node, stream } => {
                let result = self.open_stream(now_ms, key, &node, stream);
                self.actions.push_back(Action::Opened { key, result });
            }
            Event::Offer(offered) => {
                let (stream, tick) = (offered.stream, offered.tick);
                if let Offer::Refused(refused) = self.offer(now_ms, offered) {
                    self.actions.push_back(Action::Refused { stream, tick, refused });
                }
            }
            Event::Close { key, stream, last_tick } => {
                if self.close_stream(key, stream)
                    && let Some(last_tick) = last_tick
                {
                    self.end_stream(now_ms, stream, last_tick);
                }
            }
            Event::PeerOpened(peer) => self.peer_opened(peer),
            Event::PeerClosed(peer) => self.peers.closed(peer),
            Event::PeerLost(peer) => self.peers.lost(peer),
            Event::Room { peer, bytes } => self.peers.add_room(peer, bytes),
            Event::Digest(digest) => {
                if let Err(error) = self.peer_digest(now_ms, &digest) {
                    self.actions.push_back(Action::DigestRefused { writer: digest.writer_id, error });
                }
            }
            Event::Entries { from, run } => {
                let result = self.apply_entries(now_ms, from, &run);
                self.actions.push_back(Action::Taken { from, result });
            }
            Event::Synced { writer, up_to } => self.synced(writer, up_to),
            Event::Live(live) => self.live = live,
            Event::Copies(copies) => self.set_copies(copies),
            Event::Quarantine(quarantine) => self.set_quarantine(now_ms, quarantine),
            Event::Tick => self.tick(now_ms),
            Event::BringOut => self.bring_out_at_most(usize::MAX),
            Event::Flush => self.flush(now_ms),
            Event::Floor(before) => self.gate.begin(now_ms, before),
            Event::CaughtUp => self.gate.open(now_ms),
            Event::Gone(node) => self.end_node(now_ms, &node),
            Event::Recall(known) => self.recall(now_ms, known),
        }
    }

    /// What is to be done next; to be asked until there is nothing.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(crate) fn synced(&mut self, writer: WriterId, up_to: u64) {
        let number = self.logs.number(writer);
        if let Some(log) = number.and_then(|number| self.logs.get_mut(number)) {
            log.synced(up_to);
            self.acks_due = true;
        }
    }

    fn tick(&mut self, now_ms: u64) {
        self.move_floor(now_ms);
        let appended = self.poll(now_ms);
        self.apply_ahead(now_ms);
        // Not in a step that did much already, unless no other came for long.
        if now_ms >= self.pruned_ms + if appended { 2 * PRUNE_MS } else { PRUNE_MS } {
            self.pruned_ms = now_ms;
            self.prune(now_ms);
        }
        self.settle(now_ms);
        self.bring_out(now_ms);
        let acks = self.acks();
        if !acks.is_empty() {
            self.actions.push_back(Action::Acks(acks));
        }
        self.send(now_ms);
    }

    /// Brings out the seconds such that each and all before it are settled.
    fn settle(&mut self, now_ms: u64) {
        let newest = (now_ms / 1000) as u32;
        let mut settled = self.settled.unwrap_or(newest.saturating_sub(1)).max(newest.saturating_sub(CATCH_UP_SECONDS));
        self.closed_tick(now_ms);
        let before = self.settled;
        while settled < newest && self.is_settled(settled + 1, now_ms, &self.live) {
            settled += 1;
            let view = self.snapshot(settled).unwrap_or_else(|| Arc::new(self.nothing_at(settled)));
            if self.ticks.take_change(settled) {
                self.actions.push_back(Action::Changed(Arc::clone(&view)));
            }
            self.actions.push_back(Action::Settled(view));
        }
        self.settled = Some(settled);
        if before != self.settled {
            // Corrections of older seconds belong to the same moment.
            self.brought_out_ms = 0;
        }
    }

    fn bring_out(&mut self, now_ms: u64) {
        if now_ms < self.brought_out_ms + BRING_OUT_MS {
            return;
        }
        self.bring_out_at_most(VIEWS_PER_STEP);
        if self.ticks.has_changed() {
            // The rest in the next step.
            return;
        }
        self.brought_out_ms = now_ms;
        for tick in self.ticks.take_packed() {
            if let Some(view) = self.snapshot(tick) {
                self.actions.push_back(Action::Packed(view));
            }
        }
    }

    fn bring_out_at_most(&mut self, views: usize) {
        for tick in self.ticks.take_changed(views) {
            if let Some(view) = self.snapshot(tick) {
                self.actions.push_back(Action::Changed(view));
            }
        }
    }

    fn snapshot(&self, tick: u32) -> Option<Arc<TickView>> {
        self.view(tick).map(Arc::new)
    }

    /// Sends every peer what it lacks, as far as its connection has room, and the digest when it changed.
    fn send(&mut self, now_ms: u64) {
        let open = self.peers.open();
        for &peer in &open {
            let room = self.peers.room(peer);
            if room == 0 {
                continue;
            }
            let runs = self.entries_for(now_ms, peer, room);
            if !runs.is_empty() {
                self.peers.take_room(peer);
                self.actions.push_back(Action::Send { peer, message: Outgoing::Entries(runs) });
            }
        }
        if open.is_empty() {
            return;
        }
        let digest = self.digest(now_ms);
        for peer in open {
            if self.peers.advertise(now_ms, peer, &digest) {
                let message = Outgoing::Digest(digest.clone());
                self.actions.push_back(Action::Send { peer, message });
            }
        }
    }
}
