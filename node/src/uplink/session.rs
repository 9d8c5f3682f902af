//! The state machine of an uplink: messages and time in, actions out. No socket, no clock, no task.
//!
//! What it guarantees:
//! - every frame cut is acknowledged, kept in the ring or on the disk, counted as lost, or left on the disk for the next start;
//! - a frame's pin is the first writer it was offered to and never changes;
//! - a refusal is no progress, and costs a frame only when no aggregator would take it;
//! - on a new link every unacknowledged frame is offered again, the live one first;
//! - at most [`OFFER_WINDOW`] frames are in flight, of which [`BACKLOG_WINDOW`] may be old ones.

mod answers;
mod aside;
mod types;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use prost::Message;
use starling_proto::{
    frame::{Content, Encoder},
    limits::{DETAIL_SECONDS_MAX, KEYFRAME_SECONDS, MESSAGE_BYTES_MAX, OFFER_WINDOW},
    v1::{self, ingest_request, ingest_response},
};

use super::{
    loss::LossReason,
    pin::Pin,
    ring::{Kept, Ring},
    route::Route,
    spool::Change,
};
use aside::{Aside, Gate};
pub(super) use types::{Action, Before, Event, Settings, Taker, Totals};

/// Old frames in flight: the rest of the window is kept free for live ones, which never wait behind a backlog.
/// While a node catches up it is acknowledged as soon as its frames are held (`Pace` of the aggregator's sessions),
/// so a backfill goes at up to this a second.
pub(super) const BACKLOG_WINDOW: usize = 20;
/// A dialled aggregator accepts or redirects within this time, or the next one is dialled.
pub(super) const OPENING_MAX: Duration = Duration::from_secs(2);
/// A link that lived this long has proved itself, with or without an acknowledgement.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// How long frames may stay unacknowledged on an open link before the next aggregator is tried: the first time,
/// and then each time in a row. When no aggregator acknowledges, hopping does not help and only costs.
const PATIENCE: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
    Duration::from_secs(60),
];
/// How long to wait before an aggregator is asked again for a name that another machine holds, give or take a fifth: the
/// name is free some seconds after the other has gone, and asking is no use before somebody has acted.
const NAME_HELD_RETRY: Duration = Duration::from_secs(10);
/// Refusals in a row from which on the aggregator is said to take nothing. Fewer may be odd frames among good ones.
const REFUSALS_REPORTED: u32 = 3;
/// Requests for a fresh start that come this soon after one concern frames sent before it.
const FRESH_START_PAUSE: Duration = Duration::from_secs(1);
/// How long the aggregator has to read the end of stream and close the stream.
pub(super) const LEAVING_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Phase {
    /// Not connected; dials at `until`.
    Resting { until: Duration },
    /// Dialled, and the hello is on its way.
    Opening { link: u64, address: String, until: Duration },
    /// Frames may go.
    Open { link: u64, taker: Taker, since: Duration },
    /// The end of stream is on its way.
    Leaving { link: u64, until: Duration },
    /// Nothing more will happen.
    Ended,
}

/// The state of one uplink. Every method takes the time since the uplink's start, which never goes back.
pub(super) struct UplinkSession {
    settings: Settings,
    route: Route,
    ring: Ring,
    /// What it has no room for.
    aside: Aside,
    /// Of the last link that said so.
    gate: Option<Gate>,
    encoder: Encoder,
    phase: Phase,
    links: u32,
    /// Frames offered on this link and still in the ring.
    in_flight: usize,
    /// Since when frames were offered on this link without any acknowledgement. A refusal does not change it.
    waiting_since: Option<Duration>,
    /// Hops in a row for want of acknowledgements.
    hops_unacked: usize,
    patience: Duration,
    /// Frames refused for good since the last acknowledgement, on any link, and why the newest was.
    refusals: u32,
    refused_last: String,
    /// Why the last link was left; until the next acknowledgement.
    trouble: Option<String>,
    /// The aggregator's clock less ours, as of the newest link.
    clock_offset_ms: Option<i64>,
    /// The 300 s of the newest keyframe on this link.
    keyframe_grid: u32,
    fresh_start_at: Option<Duration>,
    last_tick: u32,
    /// The collectors that do not read all they should.
    faults: Vec<v1::CollectorFault>,
    /// When a stop gives up waiting for acknowledgements.
    stopping: Option<Duration>,
    /// Another stream takes its place.
    continues: bool,
    totals: Totals,
    actions: VecDeque<Action>,
}

impl UplinkSession {
    pub(super) fn new(mut settings: Settings) -> Self {
        let kept = std::mem::take(&mut settings.before.kept);
        let aside = Aside::of(std::mem::take(&mut settings.before.aside));
        let mut session = Self {
            route: Route::new(settings.seeds.clone(), settings.seed),
            ring: Ring::new(settings.ring_frames, settings.ring_bytes),
            encoder: Encoder::new(),
            phase: Phase::Resting { until: settings.hold },
            links: 0,
            in_flight: 0,
            waiting_since: None,
            hops_unacked: 0,
            patience: PATIENCE[0],
            refusals: 0,
            refused_last: String::new(),
            trouble: None,
            clock_offset_ms: None,
            keyframe_grid: 0,
            fresh_start_at: None,
            last_tick: settings.before.last_tick,
            faults: Vec::new(),
            stopping: None,
            continues: false,
            totals: Totals { recovered: aside.len() as u64, ..Totals::default() },
            aside,
            gate: None,
            actions: VecDeque::new(),
            settings,
        };
        for (pin, content) in kept {
            session.totals.recovered += 1;
            session.keep(content, pin);
        }
        session
    }

    /// Takes a frame. Its second must be after the one before.
    pub(super) fn offer(&mut self, content: Arc<Content>, now: Duration) {
        self.totals.cut += 1;
        let tick = content.tick;
        if self.stopping.is_some() {
            self.lose(tick, LossReason::Shutdown, "offered after the stop");
        } else if tick <= self.last_tick {
            self.lose(tick, LossReason::OutOfOrder, "not after the second before");
        } else if let Err(error) = content.check() {
            self.last_tick = tick;
            self.lose(tick, LossReason::Invalid, &error.to_string());
        } else {
            self.last_tick = tick;
            self.spool(Change::Cut(Arc::clone(&content)));
            self.keep(content, Pin::Free);
        }
        self.advance(now);
    }

    fn keep(&mut self, content: Arc<Content>, pin: Pin) {
        for gone in self.ring.push(content, pin) {
            self.put_aside(&gone);
        }
    }

    fn spool(&mut self, change: Change) {
        if self.settings.spooled {
            self.actions.push_back(Action::Spool(change));
        }
    }

    /// Takes a message of an aggregator. One of a link that is gone is ignored. `wall` is the node's clock, since the
    /// Unix epoch; it decides whether a second is really too old when an aggregator says so.
    pub(super) fn received(&mut self, link: u64, response: v1::IngestResponse, now: Duration, wall: Duration) {
        if self.link() != Some(link) {
            return;
        }
        match response.body {
            Some(ingest_response::Body::Accept(accept)) => self.accepted(&accept, now, wall),
            Some(ingest_response::Body::Redirect(redirect)) => self.redirected(&redirect, now),
            Some(ingest_response::Body::Ack(ack)) => self.acknowledged(&ack, now, wall),
            Some(ingest_response::Body::KeyframeRequest(request)) => self.fresh_start(&request.reason, now),
            Some(ingest_response::Body::Refusal(refusal)) => self.refused(&refusal, now, wall),
            Some(ingest_response::Body::DetailRequest(request)) => {
                self.actions.push_back(Action::Look { seconds: request.seconds.min(DETAIL_SECONDS_MAX) });
            }
            // A message of a later version.
            None => {}
        }
        self.advance(now);
    }

    /// A link ended, or was never made.
    pub(super) fn lost(&mut self, link: u64, reason: &str, now: Duration) {
        if self.link() == Some(link) {
            self.drop_link(reason, now);
        }
        self.advance(now);
    }

    /// An aggregator does not take us, because another machine reports under our name. Others would say the same, so none
    /// is asked for a while; frames are kept.
    pub(super) fn name_held(&mut self, link: u64, reason: &str, now: Duration) {
        if self.link() == Some(link)
            && let Some((address, _)) = self.abandon(now)
        {
            let until = now + self.route.jittered(NAME_HELD_RETRY);
            self.trouble = Some(format!("{address}: {reason}"));
            self.report(Event::NameHeld { address, reason: reason.to_owned() });
            self.phase = Phase::Resting { until };
        }
        self.advance(now);
    }

    /// Notes the aggregator's clock less ours.
    pub(super) fn clock_offset(&mut self, link: u64, offset_ms: i64) {
        if self.link() == Some(link) {
            self.clock_offset_ms = Some(offset_ms);
        }
    }

    /// Reports the collectors that do not read all they should, on this link and on those that follow.
    pub(super) fn collectors(&mut self, faults: &[v1::CollectorFault]) {
        if self.faults == faults {
            return;
        }
        self.faults = faults.to_vec();
        if let Phase::Open { link, .. } = &self.phase {
            self.report_collectors(*link);
        }
    }

    /// Shows what was read because somebody looks.
    pub(super) fn detail(&mut self, detail: &v1::NodeDetail) {
        if let Phase::Open { link, .. } = &self.phase {
            let request = v1::IngestRequest { body: Some(ingest_request::Body::Detail(detail.clone())) };
            self.actions.push_back(Action::Tell { link: *link, request });
        }
    }

    fn report_collectors(&mut self, link: u64) {
        let report = v1::CollectorReport { faults: self.faults.clone() };
        let request = v1::IngestRequest { body: Some(ingest_request::Body::Collectors(report)) };
        self.actions.push_back(Action::Send { link, request });
    }

    /// Ends [`Settings::hold`]: dials now.
    pub(super) fn release(&mut self, now: Duration) {
        if self.links == 0
            && let Phase::Resting { until } = &mut self.phase
        {
            *until = now.min(*until);
        }
        self.advance(now);
    }

    /// Ends the uplink: waits for acknowledgements within the grace period, then ends its stream.
    pub(super) fn stop(&mut self, now: Duration) {
        let until = now + self.settings.grace;
        self.stopping = Some(self.stopping.map_or(until, |earlier| earlier.min(until)));
        self.release(now);
    }

    /// Another stream takes the place of this one: its end is no stop of the node.
    pub(super) const fn replaced(&mut self) {
        self.continues = true;
    }

    /// Ends the uplink once everything is acknowledged, however long that takes.
    pub(super) fn drain(&mut self, now: Duration) {
        self.stopping.get_or_insert(Duration::MAX);
        self.advance(now);
    }

    /// Lets time pass, and does what is due.
    pub(super) fn advance(&mut self, now: Duration) {
        self.run_deadlines(now);
        self.dial(now);
        self.fetch();
        self.send(now);
        self.leave(now);
    }

    /// When [`UplinkSession::advance`] is wanted next; `None` when only an event can change anything.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let phase = match &self.phase {
            Phase::Resting { until } | Phase::Opening { until, .. } => Some(*until),
            Phase::Open { .. } => self.waiting_since.map(|since| since + self.patience),
            // The stop has done its part.
            Phase::Leaving { until, .. } => return Some(*until),
            Phase::Ended => return None,
        };
        phase.into_iter().chain(self.stopping.filter(|&until| until < Duration::MAX)).min()
    }

    /// The next thing to do, oldest first.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// True when nothing more will happen.
    pub(super) const fn ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    pub(super) const fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(super) const fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Links dialled so far.
    pub(super) const fn links(&self) -> u32 {
        self.links
    }

    /// The newest second taken; 0 before the first.
    pub(super) const fn last_tick(&self) -> u32 {
        self.last_tick
    }

    /// The aggregator that has the stream now.
    pub(super) const fn taker(&self) -> Option<&Taker> {
        match &self.phase {
            Phase::Open { taker, .. } => Some(taker),
            _ => None,
        }
    }

    /// Why nothing is acknowledged; `None` while frames are, or before anything went wrong.
    pub(super) fn trouble(&self) -> Option<String> {
        match self.taker() {
            Some(taker) if self.refusals >= REFUSALS_REPORTED => {
                Some(format!("{}: {}", taker.address, self.refusing()))
            }
            _ => self.trouble.clone(),
        }
    }

    /// The aggregator's clock less ours, in milliseconds, as of the last accept.
    pub(super) const fn clock_offset_ms(&self) -> Option<i64> {
        self.clock_offset_ms
    }

    fn refusing(&self) -> String {
        format!("it refused {} frames and acknowledged none, the last as {}", self.refusals, self.refused_last)
    }

    /// The link whose messages count.
    fn link(&self) -> Option<u64> {
        match &self.phase {
            Phase::Opening { link, .. } | Phase::Open { link, .. } | Phase::Leaving { link, .. } => Some(*link),
            Phase::Resting { .. } | Phase::Ended => None,
        }
    }

    fn run_deadlines(&mut self, now: Duration) {
        match &self.phase {
            Phase::Opening { until, .. } if now >= *until => self.drop_link("no answer to the hello", now),
            Phase::Open { taker, .. } if self.waiting_since.is_some_and(|since| now >= since + self.patience) => {
                let (address, patience) = (taker.address.clone(), self.patience);
                self.hops_unacked = (self.hops_unacked + 1).min(PATIENCE.len() - 1);
                self.patience = self.route.jittered(PATIENCE[self.hops_unacked]);
                self.totals.no_ack_hops += 1;
                self.report(Event::NotAcknowledged { address, patience });
                if self.refusals > 0 {
                    self.drop_link(&self.refusing(), now);
                } else {
                    self.drop_link("nothing was acknowledged", now);
                }
            }
            Phase::Leaving { link, until } if now >= *until => {
                let link = *link;
                self.unlink(link);
                self.end();
            }
            _ => {}
        }
    }

    fn dial(&mut self, now: Duration) {
        if !matches!(self.phase, Phase::Resting { until } if now >= until) {
            return;
        }
        let Some(address) = self.route.next().map(str::to_owned) else {
            let retry_in = self.route.pause();
            self.phase = Phase::Resting { until: now + retry_in };
            return self.report(Event::RoundFailed { rounds: self.route.rounds_failed(), retry_in });
        };
        self.links += 1;
        let link = u64::from(self.links);
        let mut hello = Box::new(self.settings.hello.clone());
        hello.session = self.settings.before.links.saturating_add(self.links);
        hello.final_hop = self.route.final_hop();
        self.report(Event::Dialled { address: address.clone() });
        self.actions.push_back(Action::Dial { link, address: address.clone(), hello });
        self.phase = Phase::Opening { link, address, until: now + OPENING_MAX };
    }

    /// Offers what the window has room for, the newest first.
    fn send(&mut self, now: Duration) {
        let Phase::Open { link, taker, .. } = &self.phase else { return };
        let (link, writer) = (*link, taker.writer);
        while self.in_flight < OFFER_WINDOW {
            let newest = self.ring.newest();
            let backlog_is_full = self.in_flight >= BACKLOG_WINDOW;
            let Some(kept) = self.ring.newest_not_offered(link) else { break };
            let tick = kept.content.tick;
            if backlog_is_full && Some(tick) != newest {
                break;
            }
            let is_first = kept.pin.set(writer);
            let pin = kept.pin.on_the_wire();
            kept.offered_on = link;
            let content = Arc::clone(&kept.content);
            self.in_flight += 1;
            if is_first {
                self.spool(Change::Offered { tick, writer });
            }
            let grid = tick / KEYFRAME_SECONDS;
            let frame = self.encoder.encode(&content, pin, grid > self.keyframe_grid);
            self.keyframe_grid = self.keyframe_grid.max(grid);
            let request = v1::IngestRequest { body: Some(ingest_request::Body::Frame(frame)) };
            if request.encoded_len() > MESSAGE_BYTES_MAX {
                // The encoder has counted it, so the next one must start again.
                self.encoder.restart();
                if let Some(kept) = self.ring.remove(tick) {
                    self.removed(&kept);
                }
                self.lose(tick, LossReason::TooLarge, &format!("{} bytes", request.encoded_len()));
                continue;
            }
            self.waiting_since.get_or_insert(now);
            self.actions.push_back(Action::Send { link, request });
        }
    }

    /// Ends its stream when a stop has nothing more to wait for.
    fn leave(&mut self, now: Duration) {
        let Some(until) = self.stopping else { return };
        if !self.ring.is_empty() && now < until {
            return;
        }
        // What is on the disk is safe there: a stop does not wait for it.
        if until == Duration::MAX && self.is_fetching() {
            return;
        }
        match &self.phase {
            Phase::Open { link, .. } => {
                let link = *link;
                let end_of_stream = ingest_request::Body::EndOfStream(v1::EndOfStream {
                    last_tick: self.last_tick,
                    continues: self.continues,
                });
                self.actions.push_back(Action::Send { link, request: v1::IngestRequest { body: Some(end_of_stream) } });
                self.actions.push_back(Action::Finish { link });
                self.spool(Change::Ended);
                self.phase = Phase::Leaving { link, until: now + LEAVING_MAX };
            }
            Phase::Opening { link, .. } => {
                let link = *link;
                self.unlink(link);
                self.end();
            }
            Phase::Resting { .. } => self.end(),
            Phase::Leaving { .. } | Phase::Ended => {}
        }
    }

    /// The link is of no use any more: goes on with the next address.
    fn drop_link(&mut self, reason: &str, now: Duration) {
        if let Some((address, was_open)) = self.abandon(now) {
            self.trouble = Some(format!("{address}: {reason}"));
            self.report(Event::LinkLost { address, reason: reason.to_owned(), was_open });
        }
    }

    /// Closes the link and marks its address. Gives the address and whether the stream was open, unless the session
    /// has nothing more to do with it.
    fn abandon(&mut self, now: Duration) -> Option<(String, bool)> {
        let (link, address, was_open) = match &self.phase {
            Phase::Opening { link, address, .. } => (*link, address.clone(), false),
            Phase::Open { link, taker, since } => {
                if now.saturating_sub(*since) >= SETTLED_AFTER && self.hops_unacked == 0 {
                    self.route.settled();
                }
                (*link, taker.address.clone(), true)
            }
            Phase::Leaving { link, .. } => {
                let link = *link;
                self.unlink(link);
                self.end();
                return None;
            }
            Phase::Resting { .. } | Phase::Ended => return None,
        };
        self.route.failed(&address);
        self.unlink(link);
        self.phase = Phase::Resting { until: now };
        Some((address, was_open))
    }

    fn unlink(&mut self, link: u64) {
        self.actions.push_back(Action::Close { link });
        self.in_flight = 0;
        self.waiting_since = None;
    }

    fn end(&mut self) {
        let unacknowledged = self.ring.len() + self.aside.len();
        self.totals.left += self.aside.len() as u64;
        self.aside = Aside::default();
        while let Some(tick) = self.ring.newest() {
            self.ring.remove(tick);
            if self.settings.spooled {
                self.totals.left += 1;
            } else {
                self.totals.lost.add(LossReason::Shutdown, 1);
            }
        }
        self.phase = Phase::Ended;
        self.report(Event::Ended { unacknowledged });
    }

    /// Keeps the window, and what is written down, in step with a frame that left the ring.
    fn removed(&mut self, kept: &Kept) {
        self.spool(Change::Gone { ticks: vec![kept.content.tick] });
        self.left_ring(kept);
    }

    fn lose(&mut self, tick: u32, reason: LossReason, detail: &str) {
        self.totals.lost.add(reason, 1);
        self.report(Event::Lost { tick, reason, detail: detail.to_owned() });
    }

    fn report(&mut self, event: Event) {
        self.actions.push_back(Action::Report(event));
    }
}

/// The start of a text from a peer, for a log line.
pub(super) fn excerpt(text: &str) -> String {
    /// Enough to name a field and a limit.
    const CHARS_MAX: usize = 200;
    text.chars().take(CHARS_MAX).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests;
