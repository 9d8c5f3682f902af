//! What a session does about the messages of an aggregator.

use std::time::Duration;

use starling_proto::{
    frame::Encoder,
    ids::{NodeId, WriterId},
    limits::{EARLY_SECONDS, LATE_WINDOW},
    v1,
};

use super::{Event, FRESH_START_PAUSE, Gate, LossReason, PATIENCE, Phase, Taker, UplinkSession, excerpt};

impl UplinkSession {
    pub(super) fn accepted(&mut self, accept: &v1::Accept, now: Duration, wall: Duration) {
        let Phase::Opening { link, address, .. } = &self.phase else {
            return self.drop_link("it accepted twice", now);
        };
        let (Ok(writer), Ok(aggregator)) = (WriterId::parse(&accept.writer_id), NodeId::parse(&accept.aggregator_id))
        else {
            return self.drop_link("it accepted without a good name", now);
        };
        let link = *link;
        let taker = Taker { aggregator, writer, address: address.clone(), copies: 0, alone: false };
        self.report(Event::Accepted {
            address: taker.address.clone(),
            aggregator: taker.aggregator.clone(),
            writer,
            unacknowledged: self.ring.len(),
        });
        if !accept.node_id.is_empty() && accept.node_id != self.settings.hello.node_id {
            self.report(Event::Renamed { name: excerpt(&accept.node_id) });
        }
        self.phase = Phase::Open { link, taker, since: now };
        self.takes(Gate::of(accept.floor, accept.old_until, wall.as_secs() as u32));
        self.route.learn(&accept.ranked, &accept.known);
        self.encoder = Encoder::new();
        self.keyframe_grid = 0;
        self.fresh_start_at = None;
        // An aggregator takes every collector for sound until it hears otherwise.
        if !self.faults.is_empty() {
            self.report_collectors(link);
        }
    }

    pub(super) fn redirected(&mut self, redirect: &v1::Redirect, now: Duration) {
        let (link, address) = match &self.phase {
            Phase::Opening { link, address, .. } => (*link, address.clone()),
            Phase::Open { link, taker, .. } => (*link, taker.address.clone()),
            // It is leaving anyway; what is unacknowledged is lost with or without a redirect.
            Phase::Leaving { .. } | Phase::Resting { .. } | Phase::Ended => return,
        };
        self.totals.redirects += 1;
        self.route.learn(&redirect.ranked, &redirect.known);
        if !self.route.redirected() {
            self.route.failed(&address);
        }
        self.report(Event::Redirected { address });
        self.unlink(link);
        self.phase = Phase::Resting { until: now };
    }

    pub(super) fn acknowledged(&mut self, ack: &v1::Ack, now: Duration, wall: Duration) {
        self.takes(Gate::of(ack.floor, ack.old_until, wall.as_secs() as u32));
        let mut progress = false;
        for &tick in &ack.ticks {
            // What was never offered cannot be held by anyone.
            if self.ring.get(tick).is_some_and(|kept| kept.pin.was_offered())
                && let Some(kept) = self.ring.remove(tick)
            {
                self.removed(&kept);
                self.totals.acked += 1;
                progress = true;
            } else if self.acknowledged_aside(tick) {
                self.totals.acked += 1;
                progress = true;
            }
        }
        if progress {
            self.waiting_since = (self.in_flight > 0).then_some(now);
            self.hops_unacked = 0;
            self.patience = PATIENCE[0];
            self.refusals = 0;
            self.trouble = None;
            self.route.settled();
        }
        if let Phase::Open { taker, .. } = &mut self.phase {
            (taker.copies, taker.alone) = (ack.copies, ack.alone);
        }
    }

    /// A refusal is no progress: the patience with the link goes on running out. A second that is fresh by our own
    /// clock and refused for its time says that one of the two clocks is wrong; it is kept for an aggregator whose
    /// clock agrees. Anything else will never be taken by anyone.
    pub(super) fn refused(&mut self, refusal: &v1::Refusal, now: Duration, wall: Duration) {
        let tick = refusal.tick;
        if self.ring.get(tick).is_none_or(|kept| !kept.pin.was_offered()) {
            return;
        }
        if refusal.reason() == v1::RefusalReason::NotYet {
            return self.not_yet(tick);
        }
        let detail = excerpt(&refusal.detail);
        let reason = match refusal.reason() {
            v1::RefusalReason::TooLate | v1::RefusalReason::NotYet => LossReason::TooLate,
            v1::RefusalReason::TooEarly => LossReason::TooEarly,
            v1::RefusalReason::Invalid | v1::RefusalReason::Unspecified => LossReason::Invalid,
        };
        if reason != LossReason::Invalid && is_fresh(tick, wall) {
            return self.leave_for_its_clock(tick, reason, now, wall);
        }
        if let Some(kept) = self.ring.remove(tick) {
            self.removed(&kept);
            self.refusals = self.refusals.saturating_add(1);
            self.refused_last = format!("{}: {detail}", reason.as_str());
            self.lose(tick, reason, &detail);
        }
    }

    fn leave_for_its_clock(&mut self, tick: u32, reason: LossReason, now: Duration, wall: Duration) {
        // While leaving there is no time for another aggregator: what stays in the ring is counted at the end.
        if !matches!(self.phase, Phase::Open { .. }) {
            return;
        }
        let reason = match self.clock_offset_ms {
            Some(offset) if offset.unsigned_abs() >= 1000 => format!("its clock differs by {} s", offset / 1000),
            _ => {
                let age = i128::from(wall.as_secs()) - i128::from(tick);
                format!("it refuses as {} a second that is {age} s old by our clock", reason.as_str())
            }
        };
        self.totals.clock_hops += 1;
        if let Some((address, _)) = self.abandon(now) {
            self.trouble = Some(format!("{address}: {reason}"));
            self.report(Event::ClockDiffers { address, tick, reason });
        }
    }

    pub(super) fn fresh_start(&mut self, reason: &str, now: Duration) {
        if !matches!(self.phase, Phase::Open { .. })
            || self.fresh_start_at.is_some_and(|at| now.saturating_sub(at) < FRESH_START_PAUSE)
        {
            return;
        }
        self.fresh_start_at = Some(now);
        self.encoder.restart();
        self.ring.forget_offers();
        self.in_flight = 0;
        self.report(Event::FreshStart { reason: excerpt(reason) });
    }
}

/// True for a second that any aggregator takes whose clock agrees with `wall`, the node's own. Clocks that differ by
/// up to [`EARLY_SECONDS`] agree: the last seconds before the late limit are not fresh, because there an aggregator
/// may be right to refuse.
fn is_fresh(tick: u32, wall: Duration) -> bool {
    let (tick, now) = (u64::from(tick), wall.as_secs());
    // The last cut of a daemon is for the second in progress.
    tick <= now + 1 && now < tick + u64::from(LATE_WINDOW - EARLY_SECONDS)
}
