//! Runs a session: turns its actions into input and output, and what happens into its inputs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use starling_proto::{frame::Content, v1};
use starling_service::{clock, credentials::Security, log::LogLimiter};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, warn};

use super::{
    Connected, LossReason, Uplink, UplinkStats,
    link::{Link, LinkEnd, LinkEvent},
    session::{Action, Event, UplinkSession},
    spool::{Answer, Writer},
};

/// Messages of an aggregator that the session has not read. When full, the link waits and HTTP/2 stops the sender.
const EVENTS_MAX: usize = 64;
/// How long the end waits for what is still to be written down.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);
/// The line of a lost frame is written at most this often for one reason.
const LOST_AGAIN: Duration = Duration::from_secs(10);
/// The line of an aggregator that does not take the stream is written at most this often.
const NOT_TAKEN_AGAIN: Duration = Duration::from_secs(60);

/// Frames that found the queue to the task full.
#[derive(Debug, Default)]
pub(super) struct NotTakenCount(AtomicU64);

impl NotTakenCount {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) async fn run(uplink: Uplink, shutdown: CancellationToken) -> UplinkStats {
    let span = tracing::info_span!("uplink", node = %uplink.settings.hello.node_id, stream = %uplink.stream_id);
    let (events, happened) = mpsc::channel(EVENTS_MAX);
    let (spool, disk) = uplink.spool.unzip();
    let shell = Shell {
        session: UplinkSession::new(uplink.settings),
        security: uplink.security,
        started: Instant::now(),
        link: None,
        events,
        not_taken: uplink.not_taken,
        published: UplinkStats::default(),
        wanted: uplink.detail.as_ref().map(|line| line.wanted.clone()),
        spool,
        stats: uplink.stats,
        lines: Lines::default(),
    };
    let replaced = uplink.replaced;
    let from = Sources {
        offers: uplink.offers,
        collectors: uplink.collectors,
        detail: uplink.detail.map(|line| line.read),
        happened,
        disk,
        replaced,
    };
    shell.run(from, uplink.after, shutdown).instrument(span).await
}

/// Where inputs come from.
struct Sources {
    offers: mpsc::Receiver<Arc<Content>>,
    collectors: Option<watch::Receiver<Arc<[v1::CollectorFault]>>>,
    /// What was read because somebody looks.
    detail: Option<watch::Receiver<Option<Arc<v1::NodeDetail>>>>,
    happened: mpsc::Receiver<(u64, LinkEvent)>,
    /// What is said of frames that are on the disk alone.
    disk: Option<mpsc::Receiver<Answer>>,
    /// Another stream goes on for the node.
    replaced: Arc<AtomicBool>,
}

struct Shell {
    session: UplinkSession,
    security: Security,
    started: Instant,
    link: Option<Link>,
    events: mpsc::Sender<(u64, LinkEvent)>,
    not_taken: Arc<NotTakenCount>,
    published: UplinkStats,
    /// Until when somebody looks.
    wanted: Option<watch::Sender<Option<std::time::Instant>>>,
    spool: Option<Writer>,
    stats: watch::Sender<UplinkStats>,
    lines: Lines,
}

impl Shell {
    async fn run(
        mut self,
        from: Sources,
        after: Vec<watch::Receiver<UplinkStats>>,
        shutdown: CancellationToken,
    ) -> UplinkStats {
        let Sources { mut offers, mut collectors, mut detail, mut happened, mut disk, replaced } = from;
        if let Some(collectors) = &mut collectors {
            collectors.mark_changed();
        }
        let (mut stopping, mut feeding, mut held) = (false, true, !after.is_empty());
        let mut before = std::pin::pin!(all_ended(after));
        self.session.advance(Duration::ZERO);
        loop {
            self.execute();
            self.publish();
            if self.session.ended() {
                // Nothing waits for it to be read.
                drop(disk);
                self.end_spool().await;
                return self.published;
            }
            let deadline = self.session.deadline().map(|deadline| self.started + deadline);
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    while let Ok(content) = offers.try_recv() {
                        self.session.offer(content, self.started.elapsed());
                    }
                    self.session.stop(self.started.elapsed());
                }
                content = offers.recv(), if feeding => match content {
                    Some(content) => self.session.offer(content, self.started.elapsed()),
                    None => {
                        feeding = false;
                        if replaced.load(Ordering::Acquire) {
                            self.session.replaced();
                        }
                        self.session.drain(self.started.elapsed());
                    }
                },
                faults = newest(&mut collectors) => match faults {
                    Some(faults) => self.session.collectors(&faults),
                    // The collectors have ended; what they reported last stays.
                    None => collectors = None,
                },
                read = newest(&mut detail) => match read {
                    Some(Some(read)) => self.session.detail(&read),
                    Some(None) => {}
                    None => detail = None,
                },
                () = &mut before, if held => {
                    held = false;
                    self.session.release(self.started.elapsed());
                }
                Some((link, event)) = happened.recv() => self.happened(link, event),
                answer = said(&mut disk) => match answer {
                    Some(answer) => self.session.disk_answered(answer, self.started.elapsed()),
                    // The thread is gone, and with it what only it can read.
                    None => {
                        disk = None;
                        self.session.disk_answered(Answer::AllLost, self.started.elapsed());
                    }
                },
                () = sleep_until(deadline) => self.session.advance(self.started.elapsed()),
            }
        }
    }

    fn happened(&mut self, link: u64, event: LinkEvent) {
        let now = self.started.elapsed();
        match event {
            LinkEvent::Received(response) => self.session.received(link, response, now, clock::unix()),
            LinkEvent::Ended(LinkEnd::Lost(reason)) => self.session.lost(link, &reason, now),
            LinkEvent::Ended(LinkEnd::NameHeld(reason)) => self.session.name_held(link, &reason, now),
            LinkEvent::ClockOffset(offset) => self.session.clock_offset(link, offset),
        }
    }

    fn execute(&mut self) {
        while let Some(action) = self.session.next_action() {
            match action {
                Action::Dial { link, address, hello } => {
                    self.link = Some(Link::dial(link, (self.security.clone(), address), *hello, self.events.clone()));
                }
                Action::Send { link, request } => {
                    let sent = self.link.as_ref().filter(|open| open.number() == link).map(|open| open.send(request));
                    if sent == Some(false) {
                        self.session.lost(link, "the aggregator does not read", self.started.elapsed());
                    }
                }
                // The link is full of frames: those come first.
                Action::Tell { link, request } => {
                    self.link.as_ref().filter(|open| open.number() == link).map(|open| open.send(request));
                }
                Action::Look { seconds } => {
                    if let Some(wanted) = &self.wanted {
                        let until = std::time::Instant::now() + Duration::from_secs(seconds.into());
                        wanted.send_replace(Some(until));
                    }
                }
                Action::Finish { link } => {
                    if let Some(open) = self.link.as_mut().filter(|open| open.number() == link) {
                        open.finish();
                    }
                }
                Action::Close { link } => {
                    self.link.take_if(|open| open.number() == link);
                }
                Action::Spool(change) => {
                    if let Some(spool) = &self.spool {
                        spool.push(change);
                    }
                }
                Action::Report(event) => self.report(&event),
            }
        }
    }

    /// Waits until all is written down; a disk that hangs is not waited for.
    async fn end_spool(&mut self) {
        let Some(spool) = self.spool.take() else { return };
        let ended = tokio::task::spawn_blocking(move || spool.end());
        if tokio::time::timeout(WRITTEN_WITHIN, ended).await.is_err() {
            warn!(frames = self.published.left, "the disk does not take the last frames: they may be lost");
        }
    }

    fn publish(&mut self) {
        let (totals, not_taken) = (self.session.totals(), self.not_taken.get());
        let mut lost = totals.lost;
        lost.add(LossReason::QueueFull, not_taken);
        let spool = self.spool.as_ref().map(Writer::health).unwrap_or_default();
        let stats = UplinkStats {
            recovered: totals.recovered,
            cut: totals.cut + not_taken,
            acked: totals.acked,
            unacked: (self.session.ring().len() + self.session.aside_len()) as u64,
            unacked_bytes: self.session.ring().bytes(),
            lost,
            left: totals.left,
            spool_failures: spool.failures,
            spool_trouble: spool.trouble,
            spool_bytes: spool.bytes,
            last_tick: self.session.last_tick(),
            sessions: self.session.links(),
            redirects: totals.redirects,
            no_ack_hops: totals.no_ack_hops,
            clock_hops: totals.clock_hops,
            clock_offset_ms: self.session.clock_offset_ms(),
            trouble: self.session.trouble(),
            ended: self.session.ended(),
            connected: self.session.taker().map(|taker| Connected {
                aggregator_id: taker.aggregator.clone(),
                writer_id: taker.writer,
                address: taker.address.clone(),
                copies: taker.copies,
                alone: taker.alone,
            }),
        };
        match (&stats.spool_trouble, &self.published.spool_trouble) {
            (Some(why), before) if before.as_ref() != Some(why) => {
                if let Some(left_out) = self.lines.spool.allow() {
                    warn!(why, left_out, "frames are kept in memory only until the disk takes them again");
                }
            }
            (None, Some(_)) => info!("frames are written to the disk again"),
            _ => {}
        }
        if stats != self.published {
            self.stats.send_replace(stats.clone());
            self.published = stats;
        }
    }

    /// One log line an event; its counter follows from the published counts.
    fn report(&self, event: &Event) {
        match event {
            Event::Dialled { address } => debug!(%address, "dialling aggregator"),
            Event::Accepted { address, aggregator, writer, unacknowledged } => {
                info!(%address, %aggregator, %writer, unacknowledged, "aggregator took the stream");
            }
            Event::Redirected { address } => debug!(%address, "redirected"),
            Event::LinkLost { address, reason, was_open: true } => warn!(%address, %reason, "link lost"),
            Event::LinkLost { address, reason, was_open: false } => {
                if let Some(left_out) = self.lines.not_taken.allow() {
                    warn!(%address, %reason, left_out, "aggregator not reached, or it did not take the stream");
                }
            }
            Event::NameHeld { address, reason } => {
                if let Some(left_out) = self.lines.name_held.allow() {
                    warn!(%address, %reason, left_out, "this node is not taken, another machine has its name");
                }
            }
            Event::Renamed { name } => {
                warn!(%name, "another machine has the name of this node, it is shown under another");
            }
            Event::ClockDiffers { address, tick, reason } => {
                if let Some(left_out) = self.lines.clock_differs.allow() {
                    warn!(%address, tick, %reason, left_out, "frame refused, trying another aggregator");
                }
            }
            // The first, the second, the fourth...: an outage of a day is some twenty lines.
            Event::RoundFailed { rounds, retry_in } if rounds.is_power_of_two() => {
                warn!(rounds, ?retry_in, unacknowledged = self.session.ring().len(), "no aggregator reached");
            }
            Event::RoundFailed { .. } => {}
            Event::NotAcknowledged { address, patience } => {
                warn!(%address, ?patience, unacknowledged = self.session.ring().len(), "nothing was acknowledged");
            }
            Event::FreshStart { reason } => info!(%reason, "aggregator asked for a fresh start"),
            Event::Lost { tick, reason, detail } => {
                let line = reason.as_str();
                match self.lines.lost[*reason as usize].allow() {
                    Some(0) => warn!(tick, reason = line, %detail, "frame lost"),
                    Some(left_out) => warn!(tick, reason = line, %detail, left_out, "frame lost"),
                    None => {}
                }
            }
            Event::Ended { unacknowledged: 0 } => info!("uplink ended, everything acknowledged"),
            Event::Ended { unacknowledged } if self.session.totals().left > 0 => {
                info!(unacknowledged, "uplink ended, the frames not acknowledged are on the disk for the next start");
            }
            Event::Ended { unacknowledged } => warn!(unacknowledged, "uplink ended with frames not acknowledged"),
        }
    }
}

/// Keeps repeated lines out of the log, one limiter a kind.
struct Lines {
    lost: [LogLimiter; LossReason::ALL.len()],
    not_taken: LogLimiter,
    name_held: LogLimiter,
    clock_differs: LogLimiter,
    spool: LogLimiter,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            lost: [const { LogLimiter::new(LOST_AGAIN) }; LossReason::ALL.len()],
            not_taken: LogLimiter::new(NOT_TAKEN_AGAIN),
            name_held: LogLimiter::new(NOT_TAKEN_AGAIN),
            clock_differs: LogLimiter::new(NOT_TAKEN_AGAIN),
            spool: LogLimiter::new(NOT_TAKEN_AGAIN),
        }
    }
}

/// Waits until every uplink whose counts these are has ended, in whatever way.
async fn all_ended(uplinks: Vec<watch::Receiver<UplinkStats>>) {
    for mut stats in uplinks {
        while stats.changed().await.is_ok() {}
    }
}

/// The next state of something; `None` when no more will come. Waits forever for what is not there.
async fn newest<T: Clone>(states: &mut Option<watch::Receiver<T>>) -> Option<T> {
    match states {
        Some(states) => {
            states.changed().await.ok()?;
            Some(states.borrow_and_update().clone())
        }
        None => std::future::pending().await,
    }
}

/// What the disk says next; `None` when it says nothing more. Waits forever without one.
async fn said(disk: &mut Option<mpsc::Receiver<Answer>>) -> Option<Answer> {
    match disk {
        Some(disk) => disk.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
