//! The rules of one node of a swarm, as a daemon keeps them: a frame is pinned to the writer it was first offered to,
//! kept until it is acknowledged, and offered again on the next connection. Pure.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use starling_proto::{
    limits::{OFFER_WINDOW, RING},
    v1::{self, ingest_request, ingest_response},
};

use super::Template;

/// Frames of the backlog sent with each new one: the backlog shrinks without a burst that would be measured.
const BACKLOG_PER_TICK: usize = 4;
/// Redirects followed before the aggregator is asked to take the node all the same.
const REDIRECTS_MAX: u32 = 2;

/// What an answer asks of the shell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Nothing,
    /// The stream is taken by this aggregator.
    Open(String),
    /// Go there.
    Redirected(String),
    /// These seconds are acknowledged.
    Acked(Vec<u32>),
    /// The decoder asks for a fresh start.
    FreshStart(String),
    /// A frame is refused.
    Refused(String),
}

/// A frame that is not acknowledged yet.
#[derive(Debug)]
struct Kept {
    tick: u32,
    /// Empty until it was offered.
    pin: Bytes,
    /// Offered on this connection.
    in_flight: bool,
}

/// One node.
#[derive(Debug)]
pub(super) struct SwarmSession {
    hello: v1::Hello,
    template: Arc<Template>,
    redirects: u32,
    /// The writer of the open stream.
    writer: Option<Bytes>,
    sequence: u32,
    last_tick: u32,
    kept: VecDeque<Kept>,
    /// Where to go when the connection breaks.
    pub(super) ranked: Vec<String>,
}

impl SwarmSession {
    pub(super) fn new(hello: v1::Hello, template: Arc<Template>) -> Self {
        Self {
            hello,
            template,
            redirects: 0,
            writer: None,
            sequence: 0,
            last_tick: 0,
            kept: VecDeque::new(),
            ranked: Vec::new(),
        }
    }

    /// A new connection: its first message.
    pub(super) fn connect(&mut self, now_ms: u64) -> v1::IngestRequest {
        self.disconnect();
        self.hello.session += 1;
        self.hello.final_hop = self.redirects >= REDIRECTS_MAX;
        self.hello.sent_at_unix_ms = now_ms;
        request(ingest_request::Body::Hello(self.hello.clone()))
    }

    /// The connection is gone.
    pub(super) fn disconnect(&mut self) {
        self.writer = None;
        self.sequence = 0;
        self.last_tick = 0;
        for kept in &mut self.kept {
            kept.in_flight = false;
        }
    }

    /// Frames kept.
    pub(super) fn unacked(&self) -> usize {
        self.kept.len()
    }

    /// Cuts the frame of `tick`. Returns how many frames were lost for want of room.
    pub(super) fn cut(&mut self, tick: u32) -> usize {
        self.kept.push_back(Kept { tick, pin: Bytes::new(), in_flight: false });
        let lost = self.kept.len().saturating_sub(RING as usize);
        self.kept.drain(..lost);
        lost
    }

    /// What may be sent now: the newest frame first, then a few of the backlog, oldest first, as far as the window of
    /// unacknowledged frames allows. Empty without an open stream.
    pub(super) fn due(&mut self) -> Vec<v1::IngestRequest> {
        let Some(writer) = self.writer.clone() else { return Vec::new() };
        let in_flight = self.kept.iter().filter(|kept| kept.in_flight).count();
        let room = OFFER_WINDOW.saturating_sub(in_flight);
        let newest = self.kept.len().checked_sub(1);
        let backlog = (0..newest.unwrap_or(0)).filter(|&i| !self.kept[i].in_flight).take(BACKLOG_PER_TICK);
        let chosen: Vec<usize> =
            newest.into_iter().filter(|&i| !self.kept[i].in_flight).chain(backlog).take(room).collect();
        chosen.into_iter().map(|i| self.offer(i, &writer)).collect()
    }

    fn offer(&mut self, i: usize, writer: &Bytes) -> v1::IngestRequest {
        let kept = &mut self.kept[i];
        if kept.pin.is_empty() {
            kept.pin = writer.clone();
        }
        kept.in_flight = true;
        self.sequence += 1;
        let frame = self.template.frame(kept.tick, self.sequence, self.last_tick, &kept.pin);
        self.last_tick = kept.tick;
        request(ingest_request::Body::Frame(frame))
    }

    /// Takes one answer.
    pub(super) fn answer(&mut self, answer: v1::IngestResponse) -> Outcome {
        match answer.body {
            Some(ingest_response::Body::Accept(accept)) => {
                self.writer = Some(accept.writer_id);
                self.redirects = 0;
                self.ranked = accept.ranked.into_iter().map(|endpoint| endpoint.address).collect();
                Outcome::Open(accept.aggregator_id)
            }
            Some(ingest_response::Body::Redirect(redirect)) => {
                self.redirects += 1;
                match redirect.ranked.into_iter().next() {
                    Some(endpoint) => Outcome::Redirected(endpoint.address),
                    None => Outcome::Nothing,
                }
            }
            Some(ingest_response::Body::Ack(ack)) => {
                // Of what was sent again both acknowledgements may come.
                let (acked, kept): (VecDeque<_>, _) =
                    self.kept.drain(..).partition(|kept: &Kept| ack.ticks.contains(&kept.tick));
                self.kept = kept;
                Outcome::Acked(acked.into_iter().map(|kept| kept.tick).collect())
            }
            Some(ingest_response::Body::KeyframeRequest(request)) => {
                self.sequence = 0;
                self.last_tick = 0;
                for kept in &mut self.kept {
                    kept.in_flight = false;
                }
                Outcome::FreshStart(request.reason)
            }
            Some(ingest_response::Body::Refusal(refusal)) => {
                self.kept.retain(|kept| kept.tick != refusal.tick);
                Outcome::Refused(refusal.detail)
            }
            Some(ingest_response::Body::DetailRequest(_)) | None => Outcome::Nothing,
        }
    }
}

fn request(body: ingest_request::Body) -> v1::IngestRequest {
    v1::IngestRequest { body: Some(body) }
}

#[cfg(test)]
mod tests {
    use starling_proto::frame::Content;

    use super::*;

    fn accept(writer: u8) -> v1::IngestResponse {
        let accept = v1::Accept { writer_id: vec![writer; 16].into(), aggregator_id: "a".into(), ..Default::default() };
        v1::IngestResponse { body: Some(ingest_response::Body::Accept(accept)) }
    }

    fn frames(session: &mut SwarmSession) -> Vec<(u32, u32, u8, bool)> {
        let frame = |request: v1::IngestRequest| match request.body {
            Some(ingest_request::Body::Frame(f)) => (f.tick, f.sequence, f.pin[0], f.keyframe),
            other => panic!("{other:?}"),
        };
        session.due().into_iter().map(frame).collect()
    }

    #[test]
    fn a_frame_keeps_its_pin_and_is_offered_again() {
        let template = Template::of(&[Content::default(), Content::default()]);
        let mut session = SwarmSession::new(v1::Hello::default(), Arc::new(template));
        session.cut(10);
        assert!(frames(&mut session).is_empty(), "no stream is open");
        session.connect(0);
        session.answer(accept(1));
        assert_eq!(frames(&mut session), [(10, 1, 1, true)]);
        session.cut(11);
        assert_eq!(frames(&mut session), [(11, 2, 1, false)]);
        let ack = v1::Ack { ticks: vec![11], copies: 2, alone: false, ..v1::Ack::default() };
        session.answer(v1::IngestResponse { body: Some(ingest_response::Body::Ack(ack)) });
        session.connect(0);
        session.answer(accept(2));
        session.cut(12);
        assert_eq!(frames(&mut session), [(12, 1, 2, true), (10, 2, 1, true)], "newest first, the old pin stays");
        assert_eq!(session.unacked(), 2);
    }

    #[test]
    fn the_window_bounds_what_is_in_flight() {
        let mut session = SwarmSession::new(v1::Hello::default(), Arc::new(Template::of(&[Content::default()])));
        session.connect(0);
        session.answer(accept(1));
        for tick in 1..=100 {
            session.cut(tick);
            session.due();
        }
        assert_eq!(session.kept.iter().filter(|kept| kept.in_flight).count(), OFFER_WINDOW);
    }
}
