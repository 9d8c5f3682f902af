//! From settled seconds to requests in the queue, every few seconds. Blocks: not for a runtime thread.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use starling_history::Subject;
use starling_out::write::{Batch, Outlet, OutletSettings, Protocol};
use starling_store::LogError;

use super::{
    queue::{Queue, Taken},
    turns::{Now, Turn, Turns},
};
use crate::{
    config::SeriesScope,
    ingest::Registry,
    membership::{Membership, MembershipView, State},
    metrics::Metrics,
    out::follow::Follow,
};

/// A second of what is merged that lacks nodes is waited for so long: nodes come back after a restart within this time.
const PATIENCE: u32 = 10;
/// Series that are followed; further ones are left out and counted. 2,000 nodes of 500 series, some 500 MB.
const SERIES_MAX: usize = 1_000_000;
/// Seconds of one subject that are read at once while it is not known how many series it has.
const FIRST_SECONDS: u32 = 5;
/// Bytes of requests that the disk does not take; then no further seconds are read until it does, and memory holds 15 minutes.
const UNWRITTEN_MAX: usize = 32 * 1024 * 1024;

/// What is sent, and how.
#[derive(Debug, Clone)]
pub(super) struct What {
    pub(super) scopes: Vec<SeriesScope>,
    pub(super) protocol: Protocol,
    pub(super) outlet: OutletSettings,
}

/// See the module.
pub(super) struct Gather {
    follow: Follow,
    registry: Arc<Registry>,
    membership: Membership,
    metrics: Arc<Metrics>,
    queue: Arc<Queue>,
    what: What,
    outlet: Outlet,
    turns: Turns,
    /// What the disk did not take yet, in order.
    unwritten: VecDeque<(Batch, Vec<u8>)>,
}

impl Gather {
    /// Goes on behind what is `taken`.
    pub(super) fn new(
        follow: Follow,
        (registry, membership): (Arc<Registry>, Membership),
        metrics: Arc<Metrics>,
        queue: Arc<Queue>,
        mut what: What,
        taken: Taken,
    ) -> Self {
        what.outlet.series_max = SERIES_MAX;
        let outlet = Outlet::new(what.outlet.clone(), taken);
        let (turns, unwritten) = (Turns::default(), VecDeque::new());
        Self { follow, registry, membership, metrics, queue, what, outlet, turns, unwritten }
    }

    /// Takes what is new; at the stop all series end, as another aggregator sends them from then on or none does.
    pub(super) fn step(&mut self, stopping: bool) {
        let settled = self.follow.settled();
        if self.unwritten.iter().map(|(_, body)| body.len()).sum::<usize>() < UNWRITTEN_MAX {
            self.take(settled);
            if stopping {
                self.outlet.subjects().iter().for_each(|subject| self.outlet.end(subject));
            }
            for batch in self.outlet.batches(settled) {
                let body = compressed(&batch, self.what.protocol);
                self.unwritten.push_back((batch, body));
            }
        }
        if let Err(error) = self.write() {
            self.metrics.remote_write_not_kept(&error);
        }
        self.metrics.remote_write_series.set(self.outlet.open_series() as f64);
        self.metrics.remote_write_series_left_out.set(self.outlet.left_out() as f64);
    }

    fn write(&mut self) -> Result<(), LogError> {
        while let Some((batch, body)) = self.unwritten.front() {
            self.queue.put(self.what.protocol, batch, body)?;
            self.unwritten.pop_front();
        }
        self.queue.settle(self.outlet.all_taken(self.follow.oldest()))
    }

    fn take(&mut self, settled: u32) {
        let view = self.membership.view();
        if view.me.state == State::Joining {
            // It is not known yet who else is there, and sends.
            return;
        }
        let alone = view.listed.iter().all(|listed| listed.member.id == view.me.id);
        let now = Now { settled, oldest: self.follow.oldest(), alone };
        let mut subjects = BTreeSet::new();
        for scope in self.what.scopes.clone() {
            subjects.extend(self.follow.subjects(scope));
        }
        for subject in &subjects {
            let taken = self.outlet.taken(subject);
            match self.turns.take(subject, is_first(&view, subject), taken, now) {
                Turn::From(from) => {
                    if let Some(lost) = taken.map(|taken| from.saturating_sub(taken + 1)).filter(|_| from == now.oldest)
                    {
                        self.metrics.remote_write_lost_seconds(subject, lost);
                    }
                    self.take_subject(subject, from);
                }
                Turn::Ends => self.outlet.end(subject),
                Turn::Elsewhere => {}
            }
        }
        for subject in self.outlet.subjects() {
            match &subject {
                Subject::Node(node) => match self.registry.holder(node).map(|node| node.presence()) {
                    // It ended its stream, and all that it sent is taken.
                    Some((false, true)) => self.outlet.end(&subject),
                    _ => self.outlet.quiet(&subject, settled),
                },
                // It may wait for nodes.
                merged if subjects.contains(merged) => {
                    let taken = self.outlet.taken(merged).unwrap_or_default();
                    self.outlet.quiet(merged, taken);
                }
                gone => self.outlet.end(gone),
            }
        }
        self.turns.keep_nodes(&subjects);
    }

    /// Reads in pieces that make about one request each.
    fn take_subject(&mut self, subject: &Subject, mut from: u32) {
        let Some(labels) = self.follow.labels(subject) else { return };
        let newest = self.follow.newest(subject);
        while from <= newest {
            let seconds = match self.outlet.open(subject) {
                0 => FIRST_SECONDS,
                series => u32::try_from(self.what.outlet.batch_samples / series as u64).unwrap_or(u32::MAX).max(1),
            };
            let to = newest.min(from.saturating_add(seconds - 1));
            let (series, next) = self.follow.read(subject, from, to, PATIENCE);
            if next <= from {
                // Of a node nothing is there: there may be more behind a hole.
                if subject.is_merged() {
                    return;
                }
                from = to + 1;
                continue;
            }
            self.outlet.take(subject, &labels, &series, next - 1);
            from = if subject.is_merged() && next <= to { return } else { to + 1 };
        }
    }
}

/// Whether this aggregator is the first for a merged subject. One that leaves is not.
fn is_first(view: &MembershipView, subject: &Subject) -> bool {
    view.me.state != State::Leaving && view.is_first(&subject.to_string())
}

/// The body of a request, as a block of snappy.
fn compressed(batch: &Batch, protocol: Protocol) -> Vec<u8> {
    let body = batch.body(protocol);
    // It fails only beyond 4 GiB.
    snap::raw::Encoder::new().compress_vec(&body).unwrap_or_default()
}
